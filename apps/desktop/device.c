#include "device.h"

struct _MoeDevice {
    GObject parent_instance;
    vkmoe_device_info info;
    char *summary;
    char selector[16];
};

enum { PROP_0, PROP_NAME, PROP_SUMMARY, PROP_USABLE, N_PROPS };

G_DEFINE_TYPE(MoeDevice, moe_device, G_TYPE_OBJECT)
G_DEFINE_QUARK(moe - error - quark, moe_error)

GError *moe_error_new(vkmoe_status status, const vkmoe_error *err)
{
    const char *text = err && err->message[0] ? err->message : vkmoe_status_text(status);
    char *valid = g_utf8_make_valid(text, -1);
    GError *error = g_error_new_literal(MOE_ERROR, (int)status, valid);
    g_free(valid);
    return error;
}

static const char *kind_text(vkmoe_device_kind kind)
{
    switch (kind) {
    case VKMOE_DEVICE_DISCRETE:
        return "Discrete GPU";
    case VKMOE_DEVICE_INTEGRATED:
        return "Integrated GPU";
    case VKMOE_DEVICE_VIRTUAL:
        return "Virtual GPU";
    case VKMOE_DEVICE_CPU:
        return "CPU";
    case VKMOE_DEVICE_REFERENCE:
        return "Reference";
    case VKMOE_DEVICE_OTHER:
        break;
    }
    return "Other device";
}

/* Bytes of its own memory; of all it reaches where it has none. */
static guint64 memory_of(MoeDevice *self)
{
    guint64 own = 0, all = 0;
    for (guint i = 0; i < self->info.n_heaps; i++) {
        all += self->info.heaps[i].size;
        own += self->info.heaps[i].device_local ? self->info.heaps[i].size : 0;
    }
    return own ? own : all;
}

static char *summary_of(MoeDevice *self)
{
    if (self->info.kind == VKMOE_DEVICE_REFERENCE)
        return g_strdup("Needs no graphics driver; exact, and very slow");
    char *memory = g_format_size(memory_of(self));
    char *driver = g_utf8_make_valid(self->info.driver, -1);
    char *reason = g_utf8_make_valid(self->info.reason, -1);
    char *text = self->info.usable
                     ? g_strdup_printf("%s, %s, %s", kind_text(self->info.kind), memory, driver)
                     : g_strdup_printf("Cannot be used: %s", reason);
    g_free(memory);
    g_free(driver);
    g_free(reason);
    return text;
}

MoeDevice *moe_device_new(const vkmoe_device_info *info)
{
    MoeDevice *self = g_object_new(MOE_TYPE_DEVICE, NULL);
    char *name = g_utf8_make_valid(info->name, -1);
    self->info = *info;
    g_strlcpy(self->info.name, name, sizeof(self->info.name));
    g_snprintf(self->selector, sizeof(self->selector), "%u", info->index);
    self->summary = summary_of(self);
    g_free(name);
    return self;
}

MoeDevice *moe_device_new_reference(void)
{
    const vkmoe_device_info info = {
        .kind = VKMOE_DEVICE_REFERENCE, .name = "Reference", .usable = true};
    MoeDevice *self = moe_device_new(&info);
    g_strlcpy(self->selector, "reference", sizeof(self->selector));
    return self;
}

const vkmoe_device_info *moe_device_info(MoeDevice *self)
{
    return &self->info;
}

const char *moe_device_name(MoeDevice *self)
{
    return self->info.name;
}

const char *moe_device_summary(MoeDevice *self)
{
    return self->summary;
}

const char *moe_device_selector(MoeDevice *self)
{
    return self->selector;
}

static void finalize(GObject *object)
{
    g_free(MOE_DEVICE(object)->summary);
    G_OBJECT_CLASS(moe_device_parent_class)->finalize(object);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeDevice *self = MOE_DEVICE(object);
    if (id == PROP_NAME)
        g_value_set_string(value, self->info.name);
    else if (id == PROP_SUMMARY)
        g_value_set_string(value, self->summary);
    else if (id == PROP_USABLE)
        g_value_set_boolean(value, self->info.usable);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_device_class_init(MoeDeviceClass *class)
{
    GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    G_OBJECT_CLASS(class)->finalize = finalize;
    G_OBJECT_CLASS(class)->get_property = get_property;
    GParamSpec *const specs[N_PROPS] = {
        [PROP_NAME] = g_param_spec_string("name", NULL, NULL, NULL, flags),
        [PROP_SUMMARY] = g_param_spec_string("summary", NULL, NULL, NULL, flags),
        [PROP_USABLE] = g_param_spec_boolean("usable", NULL, NULL, FALSE, flags),
    };
    g_object_class_install_properties(G_OBJECT_CLASS(class), N_PROPS, (GParamSpec **)specs);
}

static void moe_device_init(MoeDevice *self)
{
    (void)self;
}

/* --- all of them --- */

/* Devices may come between the call that counts and the one that lists. */
static vkmoe_status list(GListStore *store, vkmoe_error *err)
{
    vkmoe_device_info *infos = NULL;
    size_t count = 0, capacity = 0;
    vkmoe_status status;
    do {
        capacity = count;
        infos = g_renew(vkmoe_device_info, infos, capacity);
        status = vkmoe_device_list(NULL, infos, capacity, &count, err);
    } while (status == VKMOE_OK && count > capacity);
    for (size_t i = 0; status == VKMOE_OK && i < count; i++) {
        MoeDevice *device = moe_device_new(&infos[i]);
        g_list_store_append(store, device);
        g_object_unref(device);
    }
    g_free(infos);
    return status;
}

static void list_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    vkmoe_error err = {.message = ""};
    GListStore *store = g_list_store_new(MOE_TYPE_DEVICE);
    (void)source, (void)data, (void)cancellable;
    vkmoe_status status = list(store, &err);
    if (status == VKMOE_OK) {
        g_task_return_pointer(task, store, g_object_unref);
        return;
    }
    g_object_unref(store);
    g_task_return_error(task, moe_error_new(status, &err));
}

void moe_device_list_async(GCancellable *cancellable, GAsyncReadyCallback done, gpointer user)
{
    GTask *task = g_task_new(NULL, cancellable, done, user);
    g_task_run_in_thread(task, list_in_thread);
    g_object_unref(task);
}

GListModel *moe_device_list_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}

guint moe_device_list_default(GListModel *devices)
{
    guint usable = G_MAXUINT;
    for (guint i = g_list_model_get_n_items(devices); i-- > 0;) {
        MoeDevice *device = g_list_model_get_item(devices, i);
        const vkmoe_device_info *info = moe_device_info(device);
        bool chosen = info->usable && info->is_default;
        if (info->usable)
            usable = i;
        g_object_unref(device);
        if (chosen)
            return i;
    }
    return usable;
}
