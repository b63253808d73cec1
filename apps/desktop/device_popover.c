#include "device_popover.h"

#include "application.h"
#include "memory_view.h"

struct _MoeDevicePopover {
    GtkPopover parent;
    GtkLabel *summary;
    MoeMemoryView *memory;
    MoeWorker *worker;
};

G_DEFINE_FINAL_TYPE(MoeDevicePopover, moe_device_popover, GTK_TYPE_POPOVER)

static char *summary_of(const MoeLoaded *loaded)
{
    const vkmoe_model_info *m = &loaded->model;
    g_autofree char *device = g_utf8_make_valid(loaded->device.name, -1);
    if (m->n_moe_layers == 0)
        return g_strdup_printf("A dense model of %u layers on %s", m->n_layers, device);
    return g_strdup_printf("%u experts in each of %u MoE layers, %u active for a token, on %s",
                           m->n_routed_experts, m->n_moe_layers, m->n_experts_per_token, device);
}

static void on_state(MoeDevicePopover *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    g_autofree char *summary = loaded ? summary_of(loaded) : g_strdup("No model is open.");
    gtk_label_set_label(self->summary, summary);
    moe_memory_view_set(self->memory, loaded ? &loaded->plan : NULL,
                        loaded ? &loaded->device : NULL);
}

static void moe_device_popover_dispose(GObject *object)
{
    g_clear_object(&MOE_DEVICE_POPOVER(object)->worker);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_DEVICE_POPOVER);
    G_OBJECT_CLASS(moe_device_popover_parent_class)->dispose(object);
}

static void moe_device_popover_class_init(MoeDevicePopoverClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_device_popover_dispose;
    g_type_ensure(MOE_TYPE_MEMORY_VIEW);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "device_popover.ui");
    gtk_widget_class_bind_template_child(widget, MoeDevicePopover, summary);
    gtk_widget_class_bind_template_child(widget, MoeDevicePopover, memory);
}

static void moe_device_popover_init(MoeDevicePopover *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}

GtkWidget *moe_device_popover_new(MoeWorker *worker)
{
    MoeDevicePopover *self = g_object_new(MOE_TYPE_DEVICE_POPOVER, NULL);
    self->worker = g_object_ref(worker);
    g_signal_connect_object(worker, "notify::state", G_CALLBACK(on_state), self, G_CONNECT_SWAPPED);
    on_state(self);
    return GTK_WIDGET(self);
}
