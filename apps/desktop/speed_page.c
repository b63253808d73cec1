#include "speed_page.h"

#include "application.h"
#include "bar.h"
#include "kernel_chart.h"
#include "speed.h"

struct _MoeSpeedPage {
    GtkBox parent;
    GtkWidget *measure, *stop, *results, *legend;
    GtkProgressBar *progress;
    GtkLabel *problem;
    MoeKernelChart *generation, *prompt;
    MoeWorker *worker;
    MoeSpeed *speed;
};

G_DEFINE_FINAL_TYPE(MoeSpeedPage, moe_speed_page, GTK_TYPE_BOX)

gboolean moe_speed_page_is_running(MoeSpeedPage *self)
{
    return moe_speed_is_running(self->speed);
}

static void update(MoeSpeedPage *self)
{
    gboolean running = moe_speed_is_running(self->speed);
    gtk_widget_set_visible(self->measure, !running);
    gtk_widget_set_visible(self->stop, running);
    gtk_widget_set_visible(GTK_WIDGET(self->progress), running);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "speed.measure",
                                  moe_worker_is_ready(self->worker));
}

static void on_fraction(MoeSpeedPage *self)
{
    double fraction = 0;
    g_object_get(self->speed, "fraction", &fraction, NULL);
    gtk_progress_bar_set_fraction(self->progress, fraction);
}

static void on_finished(MoeSpeedPage *self)
{
    const vkmoe_bench_result *prompt = moe_speed_prompt(self->speed);
    const vkmoe_bench_result *generation = moe_speed_generation(self->speed);
    const char *error = moe_speed_error(self->speed);
    gtk_widget_set_visible(GTK_WIDGET(self->problem), error != NULL);
    if (error) {
        g_autofree char *text = g_strdup_printf("Not measured: %s.", error);
        gtk_label_set_label(self->problem, text);
    }
    if (prompt && generation) {
        moe_kernel_chart_set(self->prompt, prompt, "prompt");
        moe_kernel_chart_set(self->generation, generation, "token");
        gtk_widget_set_visible(self->results, TRUE);
    }
}

static void measure_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    moe_speed_start(MOE_SPEED_PAGE(widget)->speed);
}

static void stop_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    moe_speed_cancel(MOE_SPEED_PAGE(widget)->speed);
}

/* What is measured is another model now. */
static void on_state(MoeSpeedPage *self)
{
    if (moe_worker_get_state(self->worker) == MOE_WORKER_LOADING)
        gtk_widget_set_visible(self->results, FALSE);
    update(self);
}

static void moe_speed_page_dispose(GObject *object)
{
    MoeSpeedPage *self = MOE_SPEED_PAGE(object);
    g_clear_object(&self->speed);
    g_clear_object(&self->worker);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_SPEED_PAGE);
    G_OBJECT_CLASS(moe_speed_page_parent_class)->dispose(object);
}

static void moe_speed_page_class_init(MoeSpeedPageClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_speed_page_dispose;
    g_type_ensure(MOE_TYPE_KERNEL_CHART);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "speed_page.ui");
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, measure);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, stop);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, results);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, legend);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, progress);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, problem);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, generation);
    gtk_widget_class_bind_template_child(widget, MoeSpeedPage, prompt);
    gtk_widget_class_install_action(widget, "speed.measure", NULL, measure_action);
    gtk_widget_class_install_action(widget, "speed.stop", NULL, stop_action);
}

static void add_legend(MoeSpeedPage *self, MoeInk ink, const char *text)
{
    GtkWidget *label = gtk_label_new(text);
    gtk_widget_add_css_class(label, "caption");
    gtk_widget_set_margin_end(label, 12);
    gtk_box_append(GTK_BOX(self->legend), moe_bar_patch_new(ink));
    gtk_box_append(GTK_BOX(self->legend), label);
}

static void moe_speed_page_init(MoeSpeedPage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    add_legend(self, MOE_INK_NEEDED, "What it would take at the device's peak");
    add_legend(self, MOE_INK_TIME, "What it takes besides");
}

GtkWidget *moe_speed_page_new(MoeWorker *worker)
{
    MoeSpeedPage *self = g_object_new(MOE_TYPE_SPEED_PAGE, NULL);
    self->worker = g_object_ref(worker);
    self->speed = moe_speed_new(worker);
    g_signal_connect_object(self->speed, "notify::running", G_CALLBACK(update), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->speed, "notify::fraction", G_CALLBACK(on_fraction), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->speed, "finished", G_CALLBACK(on_finished), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(worker, "notify::state", G_CALLBACK(on_state), self, G_CONNECT_SWAPPED);
    update(self);
    return GTK_WIDGET(self);
}
