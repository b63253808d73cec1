#include "model_dialog.h"

#include "application.h"
#include "choice.h"
#include "device.h"
#include "memory_view.h"
#include "model_drop.h"
#include "planner.h"
#include "sentence.h"

struct _MoeModelDialog {
    GtkWindow parent;
    GtkLabel *name, *place, *summary, *problem, *host, *driver;
    GtkWidget *problem_box, *none;
    GtkSpinner *spinner;
    GtkDropDown *device, *context, *weights, *kv;
    MoeMemoryView *memory;
    GtkListView *recent_list;

    MoeWorker *worker;
    MoeRecentModels *recent;
    MoePlanner *planner;
    GListModel *devices;   /* of MoeDevice; NULL: not listed yet, or there are none */
    MoeOpenParams *params; /* as chosen; model NULL: none is chosen */
    char *wanted_device;   /* to be chosen once the devices are listed */
    MoePlan *plan;         /* for params; NULL: none yet, or it failed */
    GCancellable *listing, *planning;
    gboolean filling; /* drop-downs change by themselves */
};

G_DEFINE_FINAL_TYPE(MoeModelDialog, moe_model_dialog, GTK_TYPE_WINDOW)

const MoePlan *moe_model_dialog_plan(MoeModelDialog *self)
{
    return self->plan;
}

const char *moe_model_dialog_problem(MoeModelDialog *self)
{
    return gtk_label_get_label(self->problem);
}

static MoeDevice *chosen_device(MoeModelDialog *self)
{
    return gtk_drop_down_get_selected_item(self->device);
}

/* --- what is shown --- */

static void show_problem(MoeModelDialog *self, const char *sentence)
{
    gtk_label_set_label(self->problem, sentence);
    gtk_widget_set_visible(self->problem_box, *sentence != '\0');
}

/* Whether it would fit into memories that nothing else used. */
static gboolean fits_alone(const MoePlan *plan)
{
    for (uint32_t i = 0; i < plan->plan.n_heaps && i < plan->device.n_heaps; i++) {
        const vkmoe_heap_plan *h = &plan->plan.heaps[i];
        if (h->total + h->staging + h->reserve > plan->device.heaps[i].size)
            return FALSE;
    }
    return TRUE;
}

/* The model that is open is closed before another one is loaded. */
static gboolean room_will_be_made(MoeModelDialog *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    return loaded && g_strcmp0(loaded->device.uuid, self->plan->device.uuid) == 0 &&
           fits_alone(self->plan);
}

static void show_verdict(MoeModelDialog *self)
{
    gboolean good = self->plan && self->plan->plan.fits;
    if (good) {
        show_problem(self, "");
    } else if (self->plan && room_will_be_made(self)) {
        g_autofree char *text = g_strdup_printf(
            "It does not fit beside the model that is open, which is closed first; whether there "
            "is room then is found out before anything is read. Now: %s.",
            self->plan->reason);
        show_problem(self, text);
        good = TRUE;
    } else if (self->plan) {
        g_autofree char *text = g_strdup_printf("It cannot be opened: %s.", self->plan->reason);
        show_problem(self, text);
    }
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "dialog.open", good);
}

static void append_choice(GListStore *store, const MoePlanCost *cost, const char *text,
                          const char *with)
{
    g_autofree char *size = g_format_size(cost->bytes);
    g_autofree char *shown =
        g_strdup_printf("%s%s%s", size, with, cost->fits ? "" : ", does not fit");
    g_autoptr(MoeChoice) choice = moe_choice_new(cost->value, text, shown, cost->fits);
    g_list_store_append(store, choice);
}

static void fill(GtkDropDown *drop, GListStore *choices, guint32 value)
{
    gtk_drop_down_set_model(drop, G_LIST_MODEL(choices));
    guint position = moe_choice_find(G_LIST_MODEL(choices), value);
    gtk_drop_down_set_selected(drop, position);
}

static void fill_contexts(MoeModelDialog *self)
{
    g_autoptr(GListStore) store = g_list_store_new(MOE_TYPE_CHOICE);
    for (guint i = 0; i < self->plan->n_contexts; i++) {
        const MoePlanCost *cost = &self->plan->contexts[i];
        g_autofree char *text = g_strdup_printf("%u tokens", cost->value);
        append_choice(store, cost, text, " with scratch");
    }
    fill(self->context, store, self->plan->plan.context);
}

static void fill_weights(MoeModelDialog *self)
{
    g_autoptr(GListStore) store = g_list_store_new(MOE_TYPE_CHOICE);
    for (guint i = 0; i < (self->plan->formats_fixed ? 1 : VKMOE_WEIGHTS_COUNT); i++) {
        g_autofree char *text = moe_plan_format_text(self->plan, (vkmoe_weights)i);
        append_choice(store, &self->plan->formats[i], text, "");
    }
    fill(self->weights, store, self->plan->formats_fixed ? 0 : self->params->weights);
    gtk_widget_set_sensitive(GTK_WIDGET(self->weights), !self->plan->formats_fixed);
}

static void fill_kvs(MoeModelDialog *self)
{
    g_autoptr(GListStore) store = g_list_store_new(MOE_TYPE_CHOICE);
    for (guint i = 0; i < VKMOE_KV_COUNT; i++)
        append_choice(store, &self->plan->kvs[i], moe_plan_kv_text((vkmoe_kv)i), "");
    fill(self->kv, store, self->params->kv);
}

static void show_plan(MoeModelDialog *self)
{
    const MoePlan *plan = self->plan;
    g_autofree char *summary = moe_plan_model_text(&plan->model);
    self->filling = TRUE;
    fill_contexts(self);
    fill_weights(self);
    fill_kvs(self);
    self->filling = FALSE;
    gtk_label_set_label(self->summary, summary);
    moe_memory_view_set(self->memory, &plan->plan, &plan->device);
    gtk_widget_set_visible(GTK_WIDGET(self->host), plan->plan.n_host_experts > 0);
    if (plan->plan.n_host_experts > 0) {
        g_autofree char *size = g_format_size(plan->plan.host_expert_bytes);
        g_autofree char *text = g_strdup_printf(
            "%u of %u experts, %s, stay in the host's memory and are read over the bus: the same "
            "text, more slowly.",
            plan->plan.n_host_experts, plan->plan.n_experts, size);
        gtk_label_set_label(self->host, text);
    }
    gtk_widget_set_visible(GTK_WIDGET(self->summary), TRUE);
    show_verdict(self);
}

/* What was planned does not hold any more. */
static void forget_plan(MoeModelDialog *self)
{
    g_clear_pointer(&self->plan, moe_plan_free);
    g_cancellable_cancel(self->planning);
    g_clear_object(&self->planning);
    gtk_spinner_stop(self->spinner);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "dialog.open", FALSE);
}

static void show_failure(MoeModelDialog *self, const char *sentence)
{
    MoeDevice *device = chosen_device(self);
    g_autofree char *text = moe_sentence(sentence);
    show_problem(self, text);
    gtk_widget_set_visible(GTK_WIDGET(self->summary), FALSE);
    gtk_widget_set_visible(GTK_WIDGET(self->host), FALSE);
    moe_memory_view_set(self->memory, NULL, device ? moe_device_info(device) : NULL);
}

static void show_model(MoeModelDialog *self)
{
    const char *path = self->params->model;
    g_autofree char *shipped = moe_shipped_model();
    if (!path)
        return;
    g_autofree char *name = g_filename_display_basename(path);
    g_autofree char *whole = g_filename_display_name(path);
    gtk_label_set_label(self->name, name);
    gtk_label_set_label(self->place, g_strcmp0(path, shipped) == 0 ? "Comes with vkmoe" : whole);
    gtk_widget_set_tooltip_text(GTK_WIDGET(self->place), whole);
}

/* --- planning --- */

static void on_planned(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    MoePlan *plan = moe_planner_plan_finish(result, &error);
    MoeModelDialog *self = data;
    (void)source;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
        g_object_unref(self);
        return; /* another one was asked for, or the dialog is closed */
    }
    gtk_spinner_stop(self->spinner);
    g_clear_pointer(&self->plan, moe_plan_free);
    self->plan = plan;
    if (plan)
        show_plan(self);
    else
        show_failure(self, error->message);
    g_object_unref(self);
}

static void make_plan(MoeModelDialog *self)
{
    MoeDevice *device = chosen_device(self);
    forget_plan(self);
    if (!self->params->model || !device || !self->planner)
        return;
    if (!moe_device_info(device)->usable) {
        show_failure(self, moe_device_summary(device));
        return;
    }
    g_free(self->params->device);
    self->params->device = g_strdup(moe_device_selector(device));
    self->planning = g_cancellable_new();
    gtk_spinner_start(self->spinner);
    moe_planner_plan_async(self->planner, self->params, self->planning, on_planned,
                           g_object_ref(self));
}

static guint find_device(MoeModelDialog *self, const char *selector)
{
    for (guint i = 0; selector && i < g_list_model_get_n_items(self->devices); i++) {
        g_autoptr(MoeDevice) device = g_list_model_get_item(self->devices, i);
        if (g_strcmp0(moe_device_selector(device), selector) == 0 ||
            g_strcmp0(moe_device_info(device)->uuid, selector) == 0)
            return i;
    }
    return moe_device_list_default(self->devices);
}

/* Chooses it without a plan being made. */
static void select_device(MoeModelDialog *self, const char *selector)
{
    self->filling = TRUE;
    gtk_drop_down_set_selected(self->device, find_device(self, selector));
    self->filling = FALSE;
}

void moe_model_dialog_set_params(MoeModelDialog *self, const MoeOpenParams *params)
{
    MoeOpenParams *copy = moe_open_params_copy(params);
    if (!copy->model)
        copy->model = moe_shipped_model();
    if (!copy->device)
        copy->device = g_strdup(self->params->device);
    g_free(self->wanted_device);
    self->wanted_device = g_strdup(params->device);
    moe_open_params_free(self->params);
    self->params = copy;
    if (self->devices && params->device)
        select_device(self, params->device);
    show_model(self);
    make_plan(self);
}

/* --- choosing --- */

static guint32 chosen(GtkDropDown *drop, guint32 otherwise)
{
    MoeChoice *choice = gtk_drop_down_get_selected_item(drop);
    return choice ? moe_choice_value(choice) : otherwise;
}

static void on_chosen(MoeModelDialog *self)
{
    if (self->filling)
        return;
    self->params->context = chosen(self->context, self->params->context);
    self->params->weights = (vkmoe_weights)chosen(self->weights, self->params->weights);
    self->params->kv = (vkmoe_kv)chosen(self->kv, self->params->kv);
    make_plan(self);
}

static void on_device_chosen(MoeModelDialog *self)
{
    if (!self->filling)
        make_plan(self);
}

static void choose_path(MoeModelDialog *self, const char *path)
{
    const MoeOpenParams params = {.model = (char *)(uintptr_t)path};
    moe_model_dialog_set_params(self, &params);
}

static void on_recent(MoeModelDialog *self, guint position)
{
    g_autoptr(MoeRecentModel) model = g_list_model_get_item(G_LIST_MODEL(self->recent), position);
    if (model)
        moe_model_dialog_set_params(self, moe_recent_model_params(model));
}

/* Delete: the chosen row goes, what it names stays where it is. */
static gboolean forget(GtkWidget *widget, GVariant *args, gpointer data)
{
    MoeModelDialog *self = data;
    GtkSelectionModel *rows = gtk_list_view_get_model(self->recent_list);
    g_autoptr(GError) error = NULL;
    MoeRecentModel *model = gtk_single_selection_get_selected_item(GTK_SINGLE_SELECTION(rows));
    (void)widget;
    (void)args;
    if (!model)
        return FALSE;
    g_autofree char *path = g_strdup(moe_recent_model_params(model)->model);
    if (!moe_recent_models_remove(self->recent, path, &error))
        show_problem(self, error->message);
    return TRUE;
}

static void on_recent_changed(MoeModelDialog *self)
{
    gtk_widget_set_visible(self->none, g_list_model_get_n_items(G_LIST_MODEL(self->recent)) == 0);
}

static void show_recent(MoeModelDialog *self)
{
    GtkSingleSelection *rows = gtk_single_selection_new(NULL);
    gtk_single_selection_set_autoselect(rows, FALSE);
    gtk_single_selection_set_can_unselect(rows, TRUE);
    gtk_single_selection_set_model(rows, G_LIST_MODEL(self->recent));
    gtk_list_view_set_model(self->recent_list, GTK_SELECTION_MODEL(rows));
    g_object_unref(rows);
    GtkEventController *keys = gtk_shortcut_controller_new();
    gtk_event_controller_set_name(keys, "recent");
    gtk_shortcut_controller_add_shortcut(
        GTK_SHORTCUT_CONTROLLER(keys),
        gtk_shortcut_new(gtk_keyval_trigger_new(GDK_KEY_Delete, 0),
                         gtk_callback_action_new(forget, self, NULL)));
    gtk_widget_add_controller(GTK_WIDGET(self->recent_list), keys);
    g_signal_connect_object(self->recent, "items-changed", G_CALLBACK(on_recent_changed), self,
                            G_CONNECT_SWAPPED);
    on_recent_changed(self);
}

static void on_file(GtkNativeDialog *chooser, int response, gpointer data)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr(GFile) file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(chooser));
        g_autofree char *path = g_file_get_path(file);
        if (path)
            choose_path(data, path);
        else
            show_failure(data, "the file is not on this computer");
    }
    g_object_unref(chooser);
}

static void choose(MoeModelDialog *self, GtkFileChooserAction action, const char *title)
{
    GtkFileChooserNative *chooser =
        gtk_file_chooser_native_new(title, GTK_WINDOW(self), action, "_Choose", "_Cancel");
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(chooser), TRUE);
    if (action == GTK_FILE_CHOOSER_ACTION_OPEN) {
        g_autoptr(GtkFileFilter) gguf = gtk_file_filter_new();
        gtk_file_filter_set_name(gguf, "GGUF files");
        gtk_file_filter_add_suffix(gguf, "gguf");
        gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(chooser), gguf);
    }
    g_signal_connect_object(chooser, "response", G_CALLBACK(on_file), self, 0);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(chooser));
}

static void folder_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    choose(MOE_MODEL_DIALOG(widget), GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER,
           "Choose a Model's Folder");
}

static void file_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    choose(MOE_MODEL_DIALOG(widget), GTK_FILE_CHOOSER_ACTION_OPEN, "Choose a GGUF File");
}

static void shipped_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    g_autofree char *path = moe_shipped_model();
    (void)name, (void)parameter;
    choose_path(MOE_MODEL_DIALOG(widget), path);
}

static void open_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeModelDialog *self = MOE_MODEL_DIALOG(widget);
    (void)name, (void)parameter;
    moe_worker_open(self->worker, self->params);
    gtk_window_close(GTK_WINDOW(self));
}

static void on_dropped(GtkWidget *widget, const char *path)
{
    choose_path(MOE_MODEL_DIALOG(widget), path);
}

static void on_refused(GtkWidget *widget, const char *sentence)
{
    show_problem(MOE_MODEL_DIALOG(widget), sentence);
}

static const MoeModelDrop drop = {on_dropped, on_refused};

/* --- devices --- */

static void on_listed(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    GListModel *devices = moe_device_list_finish(result, &error);
    g_autoptr(MoeDevice) reference = moe_device_new_reference();
    MoeModelDialog *self = data;
    (void)source;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return;
    if (!devices) {
        g_autofree char *text = moe_sentence(error->message);
        gtk_label_set_label(self->driver, text);
        gtk_widget_set_visible(GTK_WIDGET(self->driver), TRUE);
        devices = G_LIST_MODEL(g_list_store_new(MOE_TYPE_DEVICE));
    }
    g_list_store_append(G_LIST_STORE(devices), reference);
    self->devices = devices;
    self->filling = TRUE;
    gtk_drop_down_set_model(self->device, devices);
    select_device(self, self->wanted_device);
    make_plan(self);
}

/* --- the widget --- */

static void moe_model_dialog_dispose(GObject *object)
{
    MoeModelDialog *self = MOE_MODEL_DIALOG(object);
    g_cancellable_cancel(self->listing);
    g_cancellable_cancel(self->planning);
    g_clear_object(&self->listing);
    g_clear_object(&self->planning);
    g_clear_pointer(&self->planner, moe_planner_free);
    g_clear_object(&self->devices);
    g_clear_object(&self->worker);
    g_clear_object(&self->recent);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_MODEL_DIALOG);
    G_OBJECT_CLASS(moe_model_dialog_parent_class)->dispose(object);
}

static void moe_model_dialog_finalize(GObject *object)
{
    MoeModelDialog *self = MOE_MODEL_DIALOG(object);
    moe_open_params_free(self->params);
    g_free(self->wanted_device);
    moe_plan_free(self->plan);
    G_OBJECT_CLASS(moe_model_dialog_parent_class)->finalize(object);
}

static void bind_children(GtkWidgetClass *widget)
{
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, name);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, place);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, summary);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, problem);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, problem_box);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, none);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, host);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, driver);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, spinner);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, device);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, context);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, weights);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, kv);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, memory);
    gtk_widget_class_bind_template_child(widget, MoeModelDialog, recent_list);
}

static void moe_model_dialog_class_init(MoeModelDialogClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_model_dialog_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_model_dialog_finalize;
    g_type_ensure(MOE_TYPE_MEMORY_VIEW);
    g_type_ensure(MOE_TYPE_CHOICE);
    g_type_ensure(MOE_TYPE_DEVICE);
    g_type_ensure(MOE_TYPE_RECENT_MODEL);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "model_dialog.ui");
    bind_children(widget);
    gtk_widget_class_install_action(widget, "dialog.open", NULL, open_action);
    gtk_widget_class_install_action(widget, "dialog.folder", NULL, folder_action);
    gtk_widget_class_install_action(widget, "dialog.file", NULL, file_action);
    gtk_widget_class_install_action(widget, "dialog.shipped", NULL, shipped_action);
    gtk_widget_class_add_binding_action(widget, GDK_KEY_Escape, 0, "window.close", NULL);
}

static void moe_model_dialog_init(MoeModelDialog *self)
{
    GtkDropDown **drops[] = {&self->context, &self->weights, &self->kv};
    self->params = moe_open_params_copy(NULL);
    self->planner = moe_planner_new();
    gtk_widget_init_template(GTK_WIDGET(self));
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "dialog.open", FALSE);
    for (guint i = 0; i < G_N_ELEMENTS(drops); i++)
        g_signal_connect_object(*drops[i], "notify::selected", G_CALLBACK(on_chosen), self,
                                G_CONNECT_SWAPPED);
    g_signal_connect_object(self->device, "notify::selected", G_CALLBACK(on_device_chosen), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->recent_list, "activate", G_CALLBACK(on_recent), self,
                            G_CONNECT_SWAPPED);
    moe_model_drop_add(GTK_WIDGET(self), &drop);
}

MoeModelDialog *moe_model_dialog_new(GtkWindow *parent, MoeWorker *worker, MoeRecentModels *recent)
{
    MoeModelDialog *self = g_object_new(MOE_TYPE_MODEL_DIALOG, "transient-for", parent, NULL);
    self->worker = g_object_ref(worker);
    self->recent = g_object_ref(recent);
    show_recent(self);
    self->listing = g_cancellable_new();
    moe_device_list_async(self->listing, on_listed, self);
    return self;
}
