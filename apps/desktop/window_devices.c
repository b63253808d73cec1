#include "window_devices.h"

#include "device_popover.h"
#include "model_drop.h"

#define DATA "vkmoe-devices"

/* What a window keeps for this; freed with it. */
struct devices {
    MoeWindow *window; /* that has it */
    MoeRecentModels *recent;
    GtkWidget *device_window; /* weak; NULL: none is open */
    GtkWidget *dialog;        /* likewise */
};

static void free_devices(gpointer data)
{
    struct devices *d = data;
    g_clear_weak_pointer(&d->device_window);
    g_clear_weak_pointer(&d->dialog);
    g_object_unref(d->recent);
    g_free(d);
}

static struct devices *devices_of(MoeWindow *window)
{
    return g_object_get_data(G_OBJECT(window), DATA);
}

/* --- the dialog --- */

static char *selector_of(const vkmoe_device_info *device)
{
    g_autoptr(MoeDevice) listed = device->kind == VKMOE_DEVICE_REFERENCE
                                      ? moe_device_new_reference()
                                      : moe_device_new(device);
    return g_strdup(moe_device_selector(listed));
}

MoeModelDialog *moe_window_open_model_dialog(MoeWindow *window, const MoeOpenParams *params)
{
    struct devices *d = devices_of(window);
    MoeWorker *worker = moe_window_get_worker(window);
    const MoeLoaded *loaded = moe_worker_get_loaded(worker);
    const MoeOpenParams *last = moe_worker_get_params(worker), shipped = {0};
    g_autofree char *selector = loaded ? selector_of(&loaded->device) : NULL;
    MoeOpenParams open = loaded ? *loaded->params : last ? *last : shipped;
    open.device =
        loaded ? selector : open.device; /* which may be the default, or a part of a name */
    if (!d->dialog) {
        MoeModelDialog *dialog = moe_model_dialog_new(GTK_WINDOW(window), worker, d->recent);
        g_set_weak_pointer(&d->dialog, GTK_WIDGET(dialog));
    }
    moe_model_dialog_set_params(MOE_MODEL_DIALOG(d->dialog), params ? params : &open);
    gtk_window_present(GTK_WINDOW(d->dialog));
    return MOE_MODEL_DIALOG(d->dialog);
}

static void open_model_action(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action, (void)parameter;
    moe_window_open_model_dialog(data, NULL);
}

static void on_dropped(GtkWidget *widget, const char *path)
{
    const MoeOpenParams params = {.model = (char *)(uintptr_t)path};
    moe_window_open_model_dialog(MOE_WINDOW(widget), &params);
}

static void on_refused(GtkWidget *widget, const char *sentence)
{
    moe_window_show_error(MOE_WINDOW(widget), sentence, FALSE);
}

static const MoeModelDrop drop = {on_dropped, on_refused};

/* --- the window about the device --- */

/* What is open, on another device. */
static void on_device_chosen(struct devices *d, MoeDevice *device)
{
    MoeWorker *worker = moe_window_get_worker(d->window);
    const MoeLoaded *loaded = moe_worker_get_loaded(worker);
    const MoeOpenParams *open = loaded ? loaded->params : moe_worker_get_params(worker);
    MoeOpenParams params = open ? *open : (MoeOpenParams){0};
    params.device = (char *)(uintptr_t)moe_device_selector(device);
    moe_window_open_model_dialog(d->window, &params);
}

MoeDeviceWindow *moe_window_open_device_window(MoeWindow *window, const char *page)
{
    struct devices *d = devices_of(window);
    if (!d->device_window) {
        MoeDeviceWindow *made =
            moe_device_window_new(GTK_WINDOW(window), moe_window_get_worker(window));
        g_set_weak_pointer(&d->device_window, GTK_WIDGET(made));
        g_signal_connect_swapped(made, "chosen", G_CALLBACK(on_device_chosen), d);
    }
    moe_device_window_show_page(MOE_DEVICE_WINDOW(d->device_window), page);
    gtk_window_present(GTK_WINDOW(d->device_window));
    return MOE_DEVICE_WINDOW(d->device_window);
}

/* win.device shows the page "device", and so on. */
static void page_action(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)parameter;
    moe_window_open_device_window(data, g_action_get_name(G_ACTION(action)));
}

/* --- recent models --- */

static void on_state(struct devices *d)
{
    MoeWorker *worker = moe_window_get_worker(d->window);
    const MoeLoaded *loaded = moe_worker_get_loaded(worker);
    g_autofree char *shipped = moe_shipped_model();
    g_autoptr(GError) error = NULL;
    if (!moe_worker_is_ready(worker) || !loaded || g_strcmp0(loaded->params->model, shipped) == 0 ||
        moe_recent_models_has_newest(d->recent, loaded->params))
        return;
    if (!moe_recent_models_add(d->recent, loaded->params, &error))
        g_message("%s", error->message);
}

void moe_window_add_devices(MoeWindow *window)
{
    static const GActionEntry actions[] = {
        {.name = "open-model", .activate = open_model_action},
        {.name = "device", .activate = page_action},
        {.name = "speed", .activate = page_action},
        {.name = "conformance", .activate = page_action},
    };
    MoeWorker *worker = moe_window_get_worker(window);
    struct devices *d = g_new0(struct devices, 1);
    d->window = window;
    d->recent = moe_recent_models_new(NULL);
    g_object_set_data_full(G_OBJECT(window), DATA, d, free_devices);
    g_action_map_add_action_entries(G_ACTION_MAP(window), actions, G_N_ELEMENTS(actions), window);
    moe_window_set_device_popover(window, moe_device_popover_new(worker));
    moe_model_drop_add(GTK_WIDGET(window), &drop);
    GClosure *closure = g_cclosure_new_swap(G_CALLBACK(on_state), d, NULL);
    g_object_watch_closure(G_OBJECT(window), closure);
    g_signal_connect_closure(worker, "notify::state", closure, FALSE);
    on_state(d);
}
