#include "load_bar.h"

#include "application.h"

struct _MoeLoadBar {
    GtkBox parent;
    GtkProgressBar *progress;
    GtkWidget *cancel;
    MoeWorker *worker;
};

G_DEFINE_FINAL_TYPE(MoeLoadBar, moe_load_bar, GTK_TYPE_BOX)

static void show(MoeLoadBar *self, double share)
{
    const MoeOpenParams *params = moe_worker_get_params(self->worker);
    g_autofree char *name = params && params->model ? g_filename_display_basename(params->model)
                                                    : g_strdup("the shipped model");
    g_autofree char *text = share >= 1 ? g_strdup_printf("Preparing shaders for %s", name)
                            : share <= 0
                                ? g_strdup_printf("Opening %s", name)
                                : g_strdup_printf("Loading %s, %.0f %%", name, 100 * share);
    gtk_progress_bar_set_fraction(self->progress, share);
    gtk_progress_bar_set_text(self->progress, text);
}

static void on_state(MoeLoadBar *self)
{
    gboolean loading = moe_worker_get_state(self->worker) == MOE_WORKER_LOADING;
    if (loading && !gtk_widget_get_visible(GTK_WIDGET(self)))
        show(self, 0);
    gtk_widget_set_visible(GTK_WIDGET(self), loading);
}

static void on_progress(MoeLoadBar *self, double share)
{
    show(self, share);
}

static void on_cancel(MoeLoadBar *self)
{
    moe_worker_cancel(self->worker);
}

void moe_load_bar_set_worker(MoeLoadBar *self, MoeWorker *worker)
{
    self->worker = g_object_ref(worker);
    g_signal_connect_object(worker, "notify::state", G_CALLBACK(on_state), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(worker, "load-progress", G_CALLBACK(on_progress), self,
                            G_CONNECT_SWAPPED);
    on_state(self);
}

static void moe_load_bar_dispose(GObject *object)
{
    g_clear_object(&MOE_LOAD_BAR(object)->worker);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_LOAD_BAR);
    G_OBJECT_CLASS(moe_load_bar_parent_class)->dispose(object);
}

static void moe_load_bar_class_init(MoeLoadBarClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_load_bar_dispose;
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "load_bar.ui");
    gtk_widget_class_bind_template_child(widget, MoeLoadBar, progress);
    gtk_widget_class_bind_template_child(widget, MoeLoadBar, cancel);
}

static void moe_load_bar_init(MoeLoadBar *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_object(self->cancel, "clicked", G_CALLBACK(on_cancel), self,
                            G_CONNECT_SWAPPED);
}
