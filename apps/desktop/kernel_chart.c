#include "kernel_chart.h"

#include "bar.h"

struct _MoeKernelChart {
    GtkBox parent;
    GtkWidget *headline, *grid;
};

G_DEFINE_FINAL_TYPE(MoeKernelChart, moe_kernel_chart, GTK_TYPE_BOX)

/* Seconds of all kernels together. */
static double sum_of(const vkmoe_bench_result *result)
{
    double seconds = 0;
    for (uint32_t i = 0; i < result->n_kernels; i++)
        seconds += result->kernels[i].seconds;
    return seconds;
}

/* One kernel in words. */
static char *kernel_text(const vkmoe_bench_kernel *k, double all_seconds)
{
    return g_strdup_printf("%s: %.3f ms, %.0f %% of the time, %.1f GB/s, %.0f %% of the peak",
                           k->name, 1e3 * k->seconds,
                           all_seconds > 0 ? 100 * k->seconds / all_seconds : 0,
                           k->seconds > 0 ? k->bytes / k->seconds / 1e9 : 0, 100 * k->share);
}

static GtkWidget *cell(MoeKernelChart *self, int column, int row, float align, const char *text)
{
    GtkWidget *label = gtk_label_new(text);
    gtk_label_set_xalign(GTK_LABEL(label), align);
    gtk_widget_add_css_class(label, "numeric");
    gtk_grid_attach(GTK_GRID(self->grid), label, column, row, 1, 1);
    return label;
}

static void add_heads(MoeKernelChart *self)
{
    static const char *const heads[] = {"Kernel", "", "ms", "Time", "Peak"};
    for (int i = 0; i < (int)G_N_ELEMENTS(heads); i++)
        gtk_widget_add_css_class(cell(self, i, 0, i == 0 ? 0 : 1, heads[i]), "dim-label");
}

static void add_kernel(MoeKernelChart *self, int row, const vkmoe_bench_kernel *k, double most,
                       double all)
{
    double needed = k->seconds * MIN(k->share, 1);
    const MoeBarSegment segments[] = {{needed, MOE_INK_NEEDED},
                                      {k->seconds - needed, MOE_INK_TIME}};
    g_autofree char *words = kernel_text(k, all);
    g_autofree char *ms = g_strdup_printf("%.3f", 1e3 * k->seconds);
    g_autofree char *time = g_strdup_printf("%.0f %%", all > 0 ? 100 * k->seconds / all : 0);
    g_autofree char *peak = g_strdup_printf("%.0f %%", 100 * k->share);
    GtkWidget *bar = moe_bar_new();
    moe_bar_set(MOE_BAR(bar), segments, G_N_ELEMENTS(segments), most, 0);
    gtk_widget_set_hexpand(bar, TRUE);
    gtk_widget_set_valign(bar, GTK_ALIGN_CENTER);
    gtk_widget_set_tooltip_text(bar, words);
    gtk_accessible_update_property(GTK_ACCESSIBLE(bar), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
    gtk_grid_attach(GTK_GRID(self->grid), bar, 1, row, 1, 1);
    gtk_widget_add_css_class(cell(self, 0, row, 0, k->name), "monospace");
    cell(self, 2, row, 1, ms);
    cell(self, 3, row, 1, time);
    cell(self, 4, row, 1, peak);
}

static void clear(MoeKernelChart *self)
{
    GtkWidget *child;
    while ((child = gtk_widget_get_first_child(self->grid)))
        gtk_grid_remove(GTK_GRID(self->grid), child);
}

void moe_kernel_chart_set(MoeKernelChart *self, const vkmoe_bench_result *r, const char *step)
{
    double all = sum_of(r), most = r->n_kernels > 0 ? r->kernels[0].seconds : 0;
    g_autofree char *headline = g_strdup_printf(
        "%.1f tokens/s. Timed one by one, the kernels take %.2f ms for a %s, in %u dispatches.",
        r->mean, 1e3 * all, step, r->dispatches);
    clear(self);
    gtk_label_set_label(GTK_LABEL(self->headline), headline);
    add_heads(self);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        add_kernel(self, (int)i + 1, &r->kernels[i], most, all);
}

static void moe_kernel_chart_class_init(MoeKernelChartClass *class)
{
    gtk_widget_class_set_css_name(GTK_WIDGET_CLASS(class), "kernel-chart");
}

static void moe_kernel_chart_init(MoeKernelChart *self)
{
    gtk_orientable_set_orientation(GTK_ORIENTABLE(self), GTK_ORIENTATION_VERTICAL);
    gtk_box_set_spacing(GTK_BOX(self), 9);
    self->headline = gtk_label_new("");
    gtk_label_set_xalign(GTK_LABEL(self->headline), 0);
    gtk_label_set_wrap(GTK_LABEL(self->headline), TRUE);
    gtk_widget_add_css_class(self->headline, "heading");
    self->grid = gtk_grid_new();
    gtk_grid_set_row_spacing(GTK_GRID(self->grid), 4);
    gtk_grid_set_column_spacing(GTK_GRID(self->grid), 12);
    gtk_box_append(GTK_BOX(self), self->headline);
    gtk_box_append(GTK_BOX(self), self->grid);
}
