#include "conformance_page.h"

#include "application.h"

struct _MoeConformancePage {
    GtkBox parent;
    GtkDropDown *device;
    GtkWidget *run, *stop, *scroller;
    GtkProgressBar *progress;
    GtkLabel *outcome;
    GtkColumnView *results;
    MoeConformance *conformance;
    char *kernels; /* NULL: all */
};

G_DEFINE_FINAL_TYPE(MoeConformancePage, moe_conformance_page, GTK_TYPE_BOX)

MoeConformance *moe_conformance_page_conformance(MoeConformancePage *self)
{
    return self->conformance;
}

void moe_conformance_page_set_kernels(MoeConformancePage *self, const char *pattern)
{
    g_free(self->kernels);
    self->kernels = g_strdup(pattern);
}

/* --- the columns --- */

typedef char *cell_text(MoeConformanceResult *result);

static char *kernel_text(MoeConformanceResult *result)
{
    return g_strdup(moe_conformance_result_kernel(result));
}

static char *variant_text(MoeConformanceResult *result)
{
    return g_strdup(moe_conformance_result_variant(result));
}

static char *verdict_text(MoeConformanceResult *result)
{
    guint cases = moe_conformance_result_cases(result);
    guint failed = moe_conformance_result_failed(result);
    return failed > 0 ? g_strdup_printf("%u of %u failed", failed, cases)
                      : g_strdup_printf("%u passed", cases);
}

static char *error_text(MoeConformanceResult *result)
{
    double nmse = moe_conformance_result_nmse(result);
    return nmse > 0 ? g_strdup_printf("%.1e", nmse) : g_strdup("exact");
}

static void setup_cell(GtkSignalListItemFactory *factory, GtkListItem *item, gpointer data)
{
    GtkWidget *label = gtk_label_new(NULL);
    (void)factory, (void)data;
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_widget_add_css_class(label, "numeric");
    gtk_list_item_set_child(item, label);
}

static void bind_cell(GtkSignalListItemFactory *factory, GtkListItem *item, gpointer data)
{
    cell_text *const *text_of = data;
    MoeConformanceResult *result = gtk_list_item_get_item(item);
    GtkWidget *label = gtk_list_item_get_child(item);
    g_autofree char *text = (*text_of)(result);
    const char *sentence = moe_conformance_result_sentence(result);
    (void)factory;
    gtk_label_set_label(GTK_LABEL(label), text);
    gtk_widget_set_tooltip_text(label, *sentence ? sentence : NULL);
    if (moe_conformance_result_failed(result) > 0)
        gtk_widget_add_css_class(label, "problem");
    else
        gtk_widget_remove_css_class(label, "problem");
}

static void add_columns(MoeConformancePage *self)
{
    static const struct {
        const char *title;
        cell_text *text;
        gboolean expand;
    } columns[] = {
        {"Kernel", kernel_text, TRUE},
        {"Variant", variant_text, TRUE},
        {"Cases", verdict_text, TRUE},
        {"Worst error (NMSE)", error_text, FALSE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(columns); i++) {
        GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
        g_signal_connect(factory, "setup", G_CALLBACK(setup_cell), NULL);
        g_signal_connect(factory, "bind", G_CALLBACK(bind_cell),
                         (gpointer)(uintptr_t)&columns[i].text);
        g_autoptr(GtkColumnViewColumn) column =
            gtk_column_view_column_new(columns[i].title, factory);
        gtk_column_view_column_set_expand(column, columns[i].expand);
        gtk_column_view_append_column(self->results, column);
    }
}

/* --- what is shown --- */

static void show_progress(MoeConformancePage *self)
{
    g_autofree char *current = NULL, *text = NULL;
    guint cases, failed;
    double fraction;
    g_object_get(self->conformance, "current", &current, "cases", &cases, "failed", &failed,
                 "fraction", &fraction, NULL);
    if (failed > 0)
        text = g_strdup_printf("%s: %u cases, %u failed", current, cases, failed);
    else if (cases > 0)
        text = g_strdup_printf("%s: %u cases, none failed", current, cases);
    else
        text = g_strdup("Opening the device");
    gtk_progress_bar_set_fraction(self->progress, fraction);
    gtk_progress_bar_set_text(self->progress, text);
}

static void show_outcome(MoeConformancePage *self, const char *outcome)
{
    gboolean passed, stopped;
    guint failed;
    g_object_get(self->conformance, "passed", &passed, "stopped", &stopped, "failed", &failed,
                 NULL);
    gboolean problem = !passed && !(stopped && failed == 0);
    gtk_widget_set_visible(GTK_WIDGET(self->outcome), outcome != NULL);
    gtk_label_set_label(self->outcome, outcome ? outcome : "");
    gtk_widget_remove_css_class(GTK_WIDGET(self->outcome), "good");
    gtk_widget_remove_css_class(GTK_WIDGET(self->outcome), "problem");
    if (passed || problem)
        gtk_widget_add_css_class(GTK_WIDGET(self->outcome), passed ? "good" : "problem");
}

static void update(MoeConformancePage *self)
{
    gboolean running = moe_conformance_is_running(self->conformance);
    GListModel *results = moe_conformance_results(self->conformance);
    MoeDevice *device = gtk_drop_down_get_selected_item(self->device);
    gtk_widget_set_visible(self->run, !running);
    gtk_widget_set_visible(self->stop, running);
    gtk_widget_set_visible(GTK_WIDGET(self->progress), running);
    gtk_widget_set_sensitive(GTK_WIDGET(self->device), !running);
    gtk_widget_set_visible(self->scroller, g_list_model_get_n_items(results) > 0);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "conformance.run",
                                  !running && device && moe_device_info(device)->usable);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "conformance.report",
                                  moe_conformance_report(self->conformance) != NULL);
    if (running)
        show_progress(self);
    show_outcome(self, moe_conformance_outcome(self->conformance));
}

void moe_conformance_page_set_devices(MoeConformancePage *self, GListModel *devices, guint selected)
{
    gtk_drop_down_set_model(self->device, devices);
    gtk_drop_down_set_selected(self->device, selected);
    update(self);
}

/* --- actions --- */

static void run_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeConformancePage *self = MOE_CONFORMANCE_PAGE(widget);
    MoeDevice *device = gtk_drop_down_get_selected_item(self->device);
    const MoeConformanceParams params = {.kernels = self->kernels};
    (void)name, (void)parameter;
    if (device)
        moe_conformance_start(self->conformance, device, &params);
}

static void stop_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    moe_conformance_cancel(MOE_CONFORMANCE_PAGE(widget)->conformance);
}

static void report_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeConformancePage *self = MOE_CONFORMANCE_PAGE(widget);
    const char *report = moe_conformance_report(self->conformance);
    g_autofree char *uri = report ? g_filename_to_uri(report, NULL, NULL) : NULL;
    (void)name, (void)parameter;
    if (uri)
        gtk_show_uri(GTK_WINDOW(gtk_widget_get_root(widget)), uri, GDK_CURRENT_TIME);
}

/* --- the widget --- */

static void moe_conformance_page_dispose(GObject *object)
{
    MoeConformancePage *self = MOE_CONFORMANCE_PAGE(object);
    g_clear_object(&self->conformance);
    g_clear_pointer(&self->kernels, g_free);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_CONFORMANCE_PAGE);
    G_OBJECT_CLASS(moe_conformance_page_parent_class)->dispose(object);
}

static void moe_conformance_page_class_init(MoeConformancePageClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_conformance_page_dispose;
    g_type_ensure(MOE_TYPE_DEVICE);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "conformance_page.ui");
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, device);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, run);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, stop);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, scroller);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, progress);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, outcome);
    gtk_widget_class_bind_template_child(widget, MoeConformancePage, results);
    gtk_widget_class_install_action(widget, "conformance.run", NULL, run_action);
    gtk_widget_class_install_action(widget, "conformance.stop", NULL, stop_action);
    gtk_widget_class_install_action(widget, "conformance.report", NULL, report_action);
}

static void moe_conformance_page_init(MoeConformancePage *self)
{
    self->conformance = moe_conformance_new(NULL);
    gtk_widget_init_template(GTK_WIDGET(self));
    add_columns(self);
    GtkNoSelection *rows =
        gtk_no_selection_new(g_object_ref(moe_conformance_results(self->conformance)));
    gtk_column_view_set_model(self->results, GTK_SELECTION_MODEL(rows));
    g_object_unref(rows);
    g_signal_connect_object(self->conformance, "notify::cases", G_CALLBACK(update), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->device, "notify::selected", G_CALLBACK(update), self,
                            G_CONNECT_SWAPPED);
    update(self);
}

GtkWidget *moe_conformance_page_new(void)
{
    return g_object_new(MOE_TYPE_CONFORMANCE_PAGE, NULL);
}
