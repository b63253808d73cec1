#include "device_window.h"

#include "application.h"
#include "sentence.h"

struct _MoeDeviceWindow {
    GtkWindow parent;
    GtkStack *pages;
    MoeDevicePage *device;
    MoeSpeedPage *speed;
    MoeConformancePage *conformance;
    GCancellable *listing;
};

G_DEFINE_FINAL_TYPE(MoeDeviceWindow, moe_device_window, GTK_TYPE_WINDOW)

MoeSpeedPage *moe_device_window_speed(MoeDeviceWindow *self)
{
    return self->speed;
}

MoeConformancePage *moe_device_window_conformance(MoeDeviceWindow *self)
{
    return self->conformance;
}

void moe_device_window_show_page(MoeDeviceWindow *self, const char *name)
{
    gtk_stack_set_visible_child_name(self->pages, name);
}

static void on_listed(GObject *source, GAsyncResult *result, gpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GListModel) devices = moe_device_list_finish(result, &error);
    MoeDeviceWindow *self = data;
    (void)source;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return;
    if (!devices) {
        g_autofree char *text = moe_sentence(error->message);
        moe_device_page_set_devices(self->device, NULL, text);
        return;
    }
    moe_device_page_set_devices(self->device, devices, NULL);
    moe_conformance_page_set_devices(self->conformance, devices, moe_device_list_default(devices));
}

static void on_chosen(MoeDeviceWindow *self, MoeDevice *device)
{
    g_signal_emit_by_name(self, "chosen", device);
}

static void moe_device_window_dispose(GObject *object)
{
    MoeDeviceWindow *self = MOE_DEVICE_WINDOW(object);
    g_cancellable_cancel(self->listing);
    g_clear_object(&self->listing);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_DEVICE_WINDOW);
    G_OBJECT_CLASS(moe_device_window_parent_class)->dispose(object);
}

static void moe_device_window_class_init(MoeDeviceWindowClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_device_window_dispose;
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "device_window.ui");
    gtk_widget_class_bind_template_child(widget, MoeDeviceWindow, pages);
    gtk_widget_class_add_binding_action(widget, GDK_KEY_Escape, 0, "window.close", NULL);
    gtk_widget_class_add_binding_action(widget, GDK_KEY_w, GDK_CONTROL_MASK, "window.close", NULL);
    g_signal_new("chosen", MOE_TYPE_DEVICE_WINDOW, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                 G_TYPE_NONE, 1, MOE_TYPE_DEVICE);
}

static void moe_device_window_init(MoeDeviceWindow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    self->listing = g_cancellable_new();
}

MoeDeviceWindow *moe_device_window_new(GtkWindow *parent, MoeWorker *worker)
{
    MoeDeviceWindow *self = g_object_new(MOE_TYPE_DEVICE_WINDOW, "transient-for", parent, NULL);
    self->device = MOE_DEVICE_PAGE(moe_device_page_new(worker));
    self->speed = MOE_SPEED_PAGE(moe_speed_page_new(worker));
    self->conformance = MOE_CONFORMANCE_PAGE(moe_conformance_page_new());
    gtk_stack_add_titled(self->pages, GTK_WIDGET(self->device), "device", "Device");
    gtk_stack_add_titled(self->pages, GTK_WIDGET(self->speed), "speed", "Speed");
    gtk_stack_add_titled(self->pages, GTK_WIDGET(self->conformance), "conformance", "Conformance");
    g_signal_connect_object(self->device, "chosen", G_CALLBACK(on_chosen), self, G_CONNECT_SWAPPED);
    moe_device_list_async(self->listing, on_listed, self);
    return self;
}
