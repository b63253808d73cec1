#include "settings.h"

#define GROUP "desktop"

struct MoeSettings {
    GKeyFile *file;
    char *path;
};

MoeSettings *moe_settings_new(const char *path)
{
    MoeSettings *self = g_new(MoeSettings, 1);
    self->path = path ? g_strdup(path)
                      : g_build_filename(g_get_user_config_dir(), "vkmoe", "desktop.ini", NULL);
    self->file = g_key_file_new();
    g_key_file_load_from_file(self->file, self->path, G_KEY_FILE_NONE, NULL);
    return self;
}

void moe_settings_free(MoeSettings *self)
{
    if (!self)
        return;
    g_key_file_unref(self->file);
    g_free(self->path);
    g_free(self);
}

int moe_settings_get_int(MoeSettings *self, const char *key, int otherwise)
{
    g_autoptr(GError) error = NULL;
    int value = g_key_file_get_integer(self->file, GROUP, key, &error);
    return error ? otherwise : value;
}

void moe_settings_set_int(MoeSettings *self, const char *key, int value)
{
    g_key_file_set_integer(self->file, GROUP, key, value);
}

char *moe_settings_get_text(MoeSettings *self, const char *key)
{
    return g_key_file_get_string(self->file, GROUP, key, NULL);
}

void moe_settings_set_text(MoeSettings *self, const char *key, const char *value)
{
    g_key_file_set_string(self->file, GROUP, key, value);
}

void moe_settings_save(MoeSettings *self)
{
    g_autofree char *folder = g_path_get_dirname(self->path);
    if (g_mkdir_with_parents(folder, 0700) == 0)
        g_key_file_save_to_file(self->file, self->path, NULL);
}
