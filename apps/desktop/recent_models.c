#include "recent_models.h"

#include <string.h>

struct _MoeRecentModel {
    GObject parent_instance;
    MoeOpenParams *params;
    char *name, *place;
};

enum { PROP_0, PROP_NAME, PROP_PLACE, N_PROPS };

G_DEFINE_TYPE(MoeRecentModel, moe_recent_model, G_TYPE_OBJECT)

const MoeOpenParams *moe_recent_model_params(MoeRecentModel *self)
{
    return self->params;
}

const char *moe_recent_model_name(MoeRecentModel *self)
{
    return self->name;
}

const char *moe_recent_model_place(MoeRecentModel *self)
{
    return self->place;
}

static char *place_of(const char *path)
{
    const char *home = g_get_home_dir();
    gsize length = strlen(home);
    char *folder = g_path_get_dirname(path);
    char *shown = g_filename_display_name(folder);
    if (length > 1 && strncmp(folder, home, length) == 0 &&
        (folder[length] == '/' || !folder[length])) {
        g_free(shown);
        char *rest = g_filename_display_name(folder + length);
        shown = g_strconcat("~", rest, NULL);
        g_free(rest);
    }
    g_free(folder);
    return shown;
}

static MoeRecentModel *recent_model_new(const MoeOpenParams *params)
{
    MoeRecentModel *self = g_object_new(MOE_TYPE_RECENT_MODEL, NULL);
    self->params = moe_open_params_copy(params);
    g_clear_pointer(&self->params->device, g_free);
    self->name = g_filename_display_basename(params->model);
    self->place = place_of(params->model);
    return self;
}

static void finalize_model(GObject *object)
{
    MoeRecentModel *self = MOE_RECENT_MODEL(object);
    moe_open_params_free(self->params);
    g_free(self->name);
    g_free(self->place);
    G_OBJECT_CLASS(moe_recent_model_parent_class)->finalize(object);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeRecentModel *self = MOE_RECENT_MODEL(object);
    if (id == PROP_NAME)
        g_value_set_string(value, self->name);
    else if (id == PROP_PLACE)
        g_value_set_string(value, self->place);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_recent_model_class_init(MoeRecentModelClass *class)
{
    GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    G_OBJECT_CLASS(class)->finalize = finalize_model;
    G_OBJECT_CLASS(class)->get_property = get_property;
    g_object_class_install_property(G_OBJECT_CLASS(class), PROP_NAME,
                                    g_param_spec_string("name", NULL, NULL, NULL, flags));
    g_object_class_install_property(G_OBJECT_CLASS(class), PROP_PLACE,
                                    g_param_spec_string("place", NULL, NULL, NULL, flags));
}

static void moe_recent_model_init(MoeRecentModel *self)
{
    (void)self;
}

/* --- the list --- */

struct _MoeRecentModels {
    GObject parent_instance;
    char *file;
    GPtrArray *models; /* of MoeRecentModel */
};

static GType item_type(GListModel *list)
{
    (void)list;
    return MOE_TYPE_RECENT_MODEL;
}

static guint n_items(GListModel *list)
{
    return MOE_RECENT_MODELS(list)->models->len;
}

static gpointer item(GListModel *list, guint position)
{
    GPtrArray *models = MOE_RECENT_MODELS(list)->models;
    return position < models->len ? g_object_ref(g_ptr_array_index(models, position)) : NULL;
}

static void list_interface(GListModelInterface *interface)
{
    interface->get_item_type = item_type;
    interface->get_n_items = n_items;
    interface->get_item = item;
}

G_DEFINE_TYPE_WITH_CODE(MoeRecentModels, moe_recent_models, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(G_TYPE_LIST_MODEL, list_interface))

static void finalize_list(GObject *object)
{
    MoeRecentModels *self = MOE_RECENT_MODELS(object);
    g_free(self->file);
    g_ptr_array_unref(self->models);
    G_OBJECT_CLASS(moe_recent_models_parent_class)->finalize(object);
}

static void moe_recent_models_class_init(MoeRecentModelsClass *class)
{
    G_OBJECT_CLASS(class)->finalize = finalize_list;
}

static void moe_recent_models_init(MoeRecentModels *self)
{
    self->models = g_ptr_array_new_with_free_func(g_object_unref);
}

/* --- the file: a group for each model, "1" the newest; paths as URIs, as names of files may be any
 * bytes --- */

/* A number of a group below `end`; 0 where there is none. */
static guint32 read_number(GKeyFile *file, const char *group, const char *key, guint64 end)
{
    guint64 value = g_key_file_get_uint64(file, group, key, NULL);
    return value < end ? (guint32)value : 0;
}

static void read_group(MoeRecentModels *self, GKeyFile *file, const char *group)
{
    char *uri = g_key_file_get_string(file, group, "uri", NULL);
    char *path = uri ? g_filename_from_uri(uri, NULL, NULL) : NULL;
    const MoeOpenParams params = {
        .model = path,
        .weights = (vkmoe_weights)read_number(file, group, "weights", VKMOE_WEIGHTS_COUNT),
        .kv = (vkmoe_kv)read_number(file, group, "kv", VKMOE_KV_COUNT),
        .context = read_number(file, group, "context", (guint64)1 << 24),
    };
    if (path)
        g_ptr_array_add(self->models, recent_model_new(&params));
    g_free(path);
    g_free(uri);
}

static void read_file(MoeRecentModels *self)
{
    GKeyFile *file = g_key_file_new();
    if (g_key_file_load_from_file(file, self->file, G_KEY_FILE_NONE, NULL)) {
        char **groups = g_key_file_get_groups(file, NULL);
        for (gsize i = 0; groups[i] && self->models->len < MOE_RECENT_MODELS_MOST; i++)
            read_group(self, file, groups[i]);
        g_strfreev(groups);
    }
    g_key_file_unref(file);
}

static void write_group(GKeyFile *file, guint number, const MoeOpenParams *params)
{
    char group[16];
    char *uri = g_filename_to_uri(params->model, NULL, NULL);
    g_snprintf(group, sizeof(group), "%u", number);
    if (uri) {
        g_key_file_set_string(file, group, "uri", uri);
        g_key_file_set_uint64(file, group, "weights", params->weights);
        g_key_file_set_uint64(file, group, "kv", params->kv);
        g_key_file_set_uint64(file, group, "context", params->context);
    }
    g_free(uri);
}

static gboolean write_file(MoeRecentModels *self, GError **error)
{
    GKeyFile *file = g_key_file_new();
    gsize size;
    for (guint i = 0; i < self->models->len; i++)
        write_group(file, i + 1, moe_recent_model_params(g_ptr_array_index(self->models, i)));
    char *text = g_key_file_to_data(file, &size, NULL);
    char *folder = g_path_get_dirname(self->file);
    g_mkdir_with_parents(folder, 0700); /* if that fails, so does what follows, and says why */
    gboolean written = g_file_set_contents_full(self->file, text, (gssize)size,
                                                G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
    g_free(folder);
    g_free(text);
    g_key_file_unref(file);
    return written;
}

MoeRecentModels *moe_recent_models_new(const char *file)
{
    MoeRecentModels *self = g_object_new(MOE_TYPE_RECENT_MODELS, NULL);
    self->file = file ? g_strdup(file)
                      : g_build_filename(g_get_user_data_dir(), "vkmoe", "recent-models", NULL);
    read_file(self);
    return self;
}

static void drop(MoeRecentModels *self, guint position)
{
    g_ptr_array_remove_index(self->models, position);
    g_list_model_items_changed(G_LIST_MODEL(self), position, 1, 0);
}

static void drop_path(MoeRecentModels *self, const char *path)
{
    for (guint i = self->models->len; i-- > 0;)
        if (strcmp(moe_recent_model_params(g_ptr_array_index(self->models, i))->model, path) == 0)
            drop(self, i);
}

gboolean moe_recent_models_add(MoeRecentModels *self, const MoeOpenParams *params, GError **error)
{
    MoeOpenParams absolute = *params;
    absolute.model = g_canonicalize_filename(params->model, NULL);
    drop_path(self, absolute.model);
    while (self->models->len >= MOE_RECENT_MODELS_MOST)
        drop(self, self->models->len - 1);
    g_ptr_array_insert(self->models, 0, recent_model_new(&absolute));
    g_list_model_items_changed(G_LIST_MODEL(self), 0, 0, 1);
    g_free(absolute.model);
    return write_file(self, error);
}

gboolean moe_recent_models_has_newest(MoeRecentModels *self, const MoeOpenParams *params)
{
    if (self->models->len == 0)
        return FALSE;
    const MoeOpenParams *newest = moe_recent_model_params(g_ptr_array_index(self->models, 0));
    g_autofree char *path = g_canonicalize_filename(params->model, NULL);
    return strcmp(newest->model, path) == 0 && newest->weights == params->weights &&
           newest->kv == params->kv && newest->context == params->context;
}

gboolean moe_recent_models_remove(MoeRecentModels *self, const char *path, GError **error)
{
    char *absolute = g_canonicalize_filename(path, NULL);
    drop_path(self, absolute);
    g_free(absolute);
    return write_file(self, error);
}
