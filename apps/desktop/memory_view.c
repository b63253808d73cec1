#include "memory_view.h"

#include "bar.h"

struct _MoeMemoryView {
    GtkBox parent;
};

G_DEFINE_FINAL_TYPE(MoeMemoryView, moe_memory_view, GTK_TYPE_BOX)

MoeMemory moe_memory_of(const vkmoe_plan *plan, const vkmoe_device_info *device, uint32_t index)
{
    const vkmoe_heap_info *heap = &device->heaps[index];
    MoeMemory m = {.size = heap->size};
    uint64_t left = MIN(heap->budget, heap->size), taken = 0;
    if (plan && index < plan->n_heaps) {
        const vkmoe_heap_plan *h = &plan->heaps[index];
        m.weights = h->weights;
        m.kv_cache = h->kv_cache;
        m.scratch = h->scratch + h->unused + h->staging;
        m.others = h->reserve;
        left = MIN(h->left, heap->size);
        taken = h->total + h->staging + h->reserve;
    }
    m.others += heap->size - left;
    m.free = left > taken ? left - taken : 0;
    m.missing = taken > left ? taken - left : 0;
    return m;
}

/* --- one memory --- */

static GtkWidget *legend_entry(MoeInk ink, const char *what, uint64_t bytes)
{
    g_autofree char *size = g_format_size(bytes);
    g_autofree char *text = g_strdup_printf("%s %s", what, size);
    GtkWidget *entry = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label = gtk_label_new(text);
    gtk_widget_add_css_class(label, "caption");
    gtk_widget_add_css_class(label, "numeric");
    gtk_box_append(GTK_BOX(entry), moe_bar_patch_new(ink));
    gtk_box_append(GTK_BOX(entry), label);
    return entry;
}

static GtkWidget *legend_of(const MoeMemory *m)
{
    const struct {
        MoeInk ink;
        const char *what;
        uint64_t bytes;
        gboolean always;
    } entries[] = {
        {MOE_INK_WEIGHTS, "Weights", m->weights, m->weights + m->kv_cache > 0},
        {MOE_INK_KV, "KV cache", m->kv_cache, m->weights + m->kv_cache > 0},
        {MOE_INK_SCRATCH, "Scratch", m->scratch, FALSE},
        {MOE_INK_OTHERS, "Other use, reserve", m->others, FALSE},
        {MOE_INK_FREE, "Free", m->free, TRUE},
    };
    GtkWidget *legend = gtk_flow_box_new();
    gtk_flow_box_set_selection_mode(GTK_FLOW_BOX(legend), GTK_SELECTION_NONE);
    gtk_flow_box_set_max_children_per_line(GTK_FLOW_BOX(legend), 5);
    gtk_flow_box_set_column_spacing(GTK_FLOW_BOX(legend), 9);
    for (guint i = 0; i < G_N_ELEMENTS(entries); i++) {
        if (!entries[i].always && entries[i].bytes == 0)
            continue;
        gtk_flow_box_insert(GTK_FLOW_BOX(legend),
                            legend_entry(entries[i].ink, entries[i].what, entries[i].bytes), -1);
        GtkWidget *child = gtk_widget_get_last_child(legend);
        gtk_widget_set_focusable(child, FALSE);
    }
    return legend;
}

/* For those who cannot see the bar. */
static char *words_of(const char *title, const MoeMemory *m)
{
    g_autofree char *weights = g_format_size(m->weights);
    g_autofree char *kv = g_format_size(m->kv_cache);
    g_autofree char *scratch = g_format_size(m->scratch);
    g_autofree char *others = g_format_size(m->others);
    g_autofree char *free_bytes = g_format_size(m->free);
    return g_strdup_printf(
        "%s: weights %s, KV cache %s, scratch %s, other use and reserve %s, free %s", title,
        weights, kv, scratch, others, free_bytes);
}

static char *title_of(const vkmoe_device_info *device, uint32_t index, const MoeMemory *m)
{
    gboolean shared = device->kind == VKMOE_DEVICE_CPU || device->kind == VKMOE_DEVICE_INTEGRATED;
    gboolean own = device->heaps[index].device_local && device->kind != VKMOE_DEVICE_REFERENCE;
    g_autofree char *size = g_format_size(m->size);
    g_autofree char *missing = g_format_size(m->missing);
    const char *what = own && shared ? "Memory, shared with the host"
                       : own         ? "Memory of the device"
                                     : "Memory of the host";
    return m->missing > 0 ? g_strdup_printf("%s, %s: %s too little", what, size, missing)
                          : g_strdup_printf("%s, %s", what, size);
}

static GtkWidget *heap_view(const MoeMemory *m, const char *title)
{
    const MoeBarSegment segments[] = {
        {(double)m->others, MOE_INK_OTHERS},
        {(double)m->weights, MOE_INK_WEIGHTS},
        {(double)m->kv_cache, MOE_INK_KV},
        {(double)m->scratch, MOE_INK_SCRATCH},
    };
    g_autofree char *words = words_of(title, m);
    GtkWidget *view = gtk_box_new(GTK_ORIENTATION_VERTICAL, 3);
    GtkWidget *label = gtk_label_new(title), *bar = moe_bar_new();
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_widget_add_css_class(label, "heading");
    moe_bar_set(MOE_BAR(bar), segments, G_N_ELEMENTS(segments), (double)(m->size + m->missing),
                (double)m->size);
    gtk_accessible_update_property(GTK_ACCESSIBLE(bar), GTK_ACCESSIBLE_PROPERTY_LABEL, words, -1);
    gtk_widget_set_tooltip_text(bar, words);
    gtk_box_append(GTK_BOX(view), label);
    gtk_box_append(GTK_BOX(view), bar);
    gtk_box_append(GTK_BOX(view), legend_of(m));
    return view;
}

/* --- all of them --- */

void moe_memory_view_set(MoeMemoryView *self, const vkmoe_plan *plan,
                         const vkmoe_device_info *device)
{
    GtkWidget *child;
    while ((child = gtk_widget_get_first_child(GTK_WIDGET(self))))
        gtk_box_remove(GTK_BOX(self), child);
    for (uint32_t i = 0; device && i < device->n_heaps; i++) {
        MoeMemory m = moe_memory_of(plan, device, i);
        g_autofree char *title = title_of(device, i, &m);
        gtk_box_append(GTK_BOX(self), heap_view(&m, title));
    }
}

static void moe_memory_view_class_init(MoeMemoryViewClass *class)
{
    gtk_widget_class_set_css_name(GTK_WIDGET_CLASS(class), "memory-view");
}

static void moe_memory_view_init(MoeMemoryView *self)
{
    gtk_orientable_set_orientation(GTK_ORIENTABLE(self), GTK_ORIENTATION_VERTICAL);
    gtk_box_set_spacing(GTK_BOX(self), 12);
}

GtkWidget *moe_memory_view_new(void)
{
    return g_object_new(MOE_TYPE_MEMORY_VIEW, NULL);
}
