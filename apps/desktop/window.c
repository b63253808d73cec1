#include "window_private.h"

#include "experts.h"
#include "settings.h"
#include "window_devices.h"

G_DEFINE_FINAL_TYPE(MoeWindow, moe_window, GTK_TYPE_APPLICATION_WINDOW)

MoeWorker *moe_window_get_worker(MoeWindow *self)
{
    return self->worker;
}

MoeTranscript *moe_window_get_transcript(MoeWindow *self)
{
    return self->transcript;
}

MoeSampler *moe_window_get_sampler(MoeWindow *self)
{
    return self->sampler;
}

void moe_window_add_page(MoeWindow *self, GtkWidget *page, const char *name, const char *title)
{
    gtk_stack_add_titled(self->pages, page, name, title);
    gtk_widget_set_visible(self->side, TRUE);
}

void moe_window_set_device_popover(MoeWindow *self, GtkWidget *popover)
{
    gtk_menu_button_set_popover(self->title_button, popover);
}

void moe_window_set_routing(MoeWindow *self, MoeRoutingFunc *func, gpointer data)
{
    self->routing = func;
    self->routing_data = data;
}

/* --- notices --- */

void moe_window_show_error(MoeWindow *self, const char *sentence, gboolean again)
{
    gtk_label_set_label(self->notice_label, sentence);
    gtk_widget_set_visible(self->retry, again);
    gtk_widget_set_visible(self->reference, FALSE);
    gtk_info_bar_set_revealed(self->notice, TRUE);
}

void moe_window_hide_error(MoeWindow *self)
{
    gtk_info_bar_set_revealed(self->notice, FALSE);
}

static void on_notice_response(MoeWindow *self, int response)
{
    if (response == GTK_RESPONSE_CLOSE)
        moe_window_hide_error(self);
}

void moe_window_update_welcome(MoeWindow *self)
{
    const GPtrArray *messages = moe_conversation_get_messages(self->conversation);
    gtk_label_set_label(
        self->welcome,
        moe_composer_get_chat(self->composer)
            ? "Say something below, and the model answers."
            : "Type the beginning of a text below and press Run: the model continues it.");
    gtk_widget_set_visible(GTK_WIDGET(self->welcome), messages->len == 0);
}

/* --- what is remembered --- */

static void restore_state(MoeWindow *self)
{
    MoeSettings *settings = moe_application_get_settings(self->application);
    gtk_window_set_default_size(GTK_WINDOW(self), moe_settings_get_int(settings, "width", 1180),
                                moe_settings_get_int(settings, "height", 760));
    if (moe_settings_get_int(settings, "maximized", FALSE))
        gtk_window_maximize(GTK_WINDOW(self));
    gtk_paned_set_position(self->paned, moe_settings_get_int(settings, "divider", 560));
    gtk_revealer_set_reveal_child(self->sidebar,
                                  moe_settings_get_int(settings, "conversations", FALSE));
    moe_composer_set_chat(self->composer, moe_settings_get_int(settings, "chat", FALSE));
}

static void keep_state(MoeWindow *self)
{
    MoeSettings *settings = moe_application_get_settings(self->application);
    int width, height;
    gtk_window_get_default_size(GTK_WINDOW(self), &width, &height);
    moe_settings_set_int(settings, "width", width);
    moe_settings_set_int(settings, "height", height);
    moe_settings_set_int(settings, "maximized", gtk_window_is_maximized(GTK_WINDOW(self)));
    moe_settings_set_int(settings, "divider", gtk_paned_get_position(self->paned));
    moe_settings_set_int(settings, "conversations", gtk_revealer_get_reveal_child(self->sidebar));
    moe_settings_set_int(settings, "chat", moe_composer_get_chat(self->composer));
    moe_settings_save(settings);
}

static gboolean moe_window_close_request(GtkWindow *window)
{
    MoeWindow *self = MOE_WINDOW(window);
    moe_window_end_run(self);
    moe_window_save(self);
    keep_state(self);
    moe_store_flush(self->store);
    return GTK_WINDOW_CLASS(moe_window_parent_class)->close_request(window);
}

/* --- actions --- */

static void sidebar_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    (void)name;
    (void)parameter;
    gtk_revealer_set_reveal_child(self->sidebar, !gtk_revealer_get_reveal_child(self->sidebar));
}

static void retry_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    (void)name;
    (void)parameter;
    moe_worker_open(self->worker, moe_worker_get_params(self->worker));
}

static void reference_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    MoeOpenParams *params = moe_open_params_copy(moe_worker_get_params(self->worker));
    (void)name;
    (void)parameter;
    g_free(params->device);
    params->device = g_strdup("reference");
    moe_worker_open(self->worker, params);
    moe_open_params_free(params);
}

/* --- the widget --- */

static void moe_window_dispose(GObject *object)
{
    MoeWindow *self = MOE_WINDOW(object);
    moe_window_drop_popover(self);
    g_clear_object(&self->worker);
    g_clear_object(&self->store);
    g_clear_object(&self->sampler);
    g_clear_object(&self->selection);
    g_clear_object(&self->conversation);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_WINDOW);
    G_OBJECT_CLASS(moe_window_parent_class)->dispose(object);
}

static void bind_children(GtkWidgetClass *widget)
{
    gtk_widget_class_bind_template_child(widget, MoeWindow, title_button);
    gtk_widget_class_bind_template_child(widget, MoeWindow, model_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, device_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, rate);
    gtk_widget_class_bind_template_child(widget, MoeWindow, welcome);
    gtk_widget_class_bind_template_child(widget, MoeWindow, notice);
    gtk_widget_class_bind_template_child(widget, MoeWindow, notice_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, retry);
    gtk_widget_class_bind_template_child(widget, MoeWindow, reference);
    gtk_widget_class_bind_template_child(widget, MoeWindow, rename_button);
    gtk_widget_class_bind_template_child(widget, MoeWindow, sidebar);
    gtk_widget_class_bind_template_child(widget, MoeWindow, list);
    gtk_widget_class_bind_template_child(widget, MoeWindow, load_bar);
    gtk_widget_class_bind_template_child(widget, MoeWindow, paned);
    gtk_widget_class_bind_template_child(widget, MoeWindow, side);
    gtk_widget_class_bind_template_child(widget, MoeWindow, pages);
    gtk_widget_class_bind_template_child(widget, MoeWindow, transcript);
    gtk_widget_class_bind_template_child(widget, MoeWindow, composer);
    gtk_widget_class_bind_template_callback(widget, on_notice_response);
}

static void moe_window_class_init(MoeWindowClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_window_dispose;
    GTK_WINDOW_CLASS(class)->close_request = moe_window_close_request;
    g_type_ensure(MOE_TYPE_LOAD_BAR);
    g_type_ensure(MOE_TYPE_TRANSCRIPT);
    g_type_ensure(MOE_TYPE_COMPOSER);
    g_type_ensure(MOE_TYPE_CONVERSATION);
    g_signal_new("cleared", MOE_TYPE_WINDOW, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL, G_TYPE_NONE,
                 0);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "window.ui");
    bind_children(widget);
    gtk_widget_class_install_action(widget, "win.sidebar", NULL, sidebar_action);
    gtk_widget_class_install_action(widget, "win.retry", NULL, retry_action);
    gtk_widget_class_install_action(widget, "win.reference", NULL, reference_action);
    moe_window_install_run_actions(widget);
    moe_window_install_conversation_actions(widget);
}

static void moe_window_init(MoeWindow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}

MoeWindow *moe_window_new(MoeApplication *application)
{
    MoeWindow *self = g_object_new(MOE_TYPE_WINDOW, "application", application, NULL);
    self->application = application;
    self->worker = g_object_ref(moe_application_get_worker(application));
    self->store = g_object_ref(moe_application_get_store(application));
    self->sampler = moe_sampler_new();
    g_autoptr(GtkWidget) popover = moe_sampler_popover_new(self->sampler);
    moe_composer_set_popover(self->composer, popover);
    restore_state(self);
    moe_window_init_conversations(self);
    moe_window_connect_worker(self);
    moe_experts_attach(self);
    moe_load_bar_set_worker(self->load_bar, self->worker);
    moe_window_add_devices(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->composer));
    return self;
}
