#include "device_page.h"

#include "application.h"
#include "memory_view.h"

struct _MoeDevicePage {
    GtkBox parent;
    GtkLabel *model, *rate, *advice;
    MoeMemoryView *memory;
    GtkListView *list;
    MoeWorker *worker;
};

G_DEFINE_FINAL_TYPE(MoeDevicePage, moe_device_page, GTK_TYPE_BOX)

static void on_state(MoeDevicePage *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    if (!loaded) {
        gtk_label_set_label(self->model, "No model is open.");
        moe_memory_view_set(self->memory, NULL, NULL);
        return;
    }
    g_autofree char *name = g_filename_display_basename(loaded->params->model);
    g_autofree char *device = g_utf8_make_valid(loaded->device.name, -1);
    g_autofree char *text =
        g_strdup_printf("%s on %s, opened in %.1f seconds, with room for %u tokens", name, device,
                        loaded->seconds, loaded->context);
    gtk_label_set_label(self->model, text);
    moe_memory_view_set(self->memory, &loaded->plan, &loaded->device);
}

static void on_tokens(MoeDevicePage *self, const MoeTokenBatch *batch)
{
    if (batch->prompt || batch->seconds <= 0)
        return;
    g_autofree char *text = g_strdup_printf("The last answer came at %.1f tokens/s.",
                                            batch->generated / batch->seconds);
    gtk_label_set_label(self->rate, text);
    gtk_widget_set_visible(GTK_WIDGET(self->rate), TRUE);
}

static void on_activate(MoeDevicePage *self, guint position)
{
    GListModel *rows = G_LIST_MODEL(gtk_list_view_get_model(self->list));
    g_autoptr(MoeDevice) device = g_list_model_get_item(rows, position);
    if (device)
        g_signal_emit_by_name(self, "chosen", device);
}

void moe_device_page_set_devices(MoeDevicePage *self, GListModel *devices, const char *problem)
{
    if (!devices) {
        gtk_label_set_label(self->advice, problem);
        return;
    }
    g_autoptr(GtkNoSelection) rows = gtk_no_selection_new(g_object_ref(devices));
    gtk_list_view_set_model(self->list, GTK_SELECTION_MODEL(rows));
}

static void moe_device_page_dispose(GObject *object)
{
    g_clear_object(&MOE_DEVICE_PAGE(object)->worker);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_DEVICE_PAGE);
    G_OBJECT_CLASS(moe_device_page_parent_class)->dispose(object);
}

static void moe_device_page_class_init(MoeDevicePageClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_device_page_dispose;
    g_type_ensure(MOE_TYPE_MEMORY_VIEW);
    g_type_ensure(MOE_TYPE_DEVICE);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "device_page.ui");
    gtk_widget_class_bind_template_child(widget, MoeDevicePage, model);
    gtk_widget_class_bind_template_child(widget, MoeDevicePage, rate);
    gtk_widget_class_bind_template_child(widget, MoeDevicePage, advice);
    gtk_widget_class_bind_template_child(widget, MoeDevicePage, memory);
    gtk_widget_class_bind_template_child(widget, MoeDevicePage, list);
    g_signal_new("chosen", MOE_TYPE_DEVICE_PAGE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                 G_TYPE_NONE, 1, MOE_TYPE_DEVICE);
}

static void moe_device_page_init(MoeDevicePage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_object(self->list, "activate", G_CALLBACK(on_activate), self,
                            G_CONNECT_SWAPPED);
}

GtkWidget *moe_device_page_new(MoeWorker *worker)
{
    MoeDevicePage *self = g_object_new(MOE_TYPE_DEVICE_PAGE, NULL);
    self->worker = g_object_ref(worker);
    g_signal_connect_object(worker, "notify::state", G_CALLBACK(on_state), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(worker, "tokens", G_CALLBACK(on_tokens), self, G_CONNECT_SWAPPED);
    on_state(self);
    return GTK_WIDGET(self);
}
