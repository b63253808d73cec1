#include "model_drop.h"

gboolean moe_model_drop_accepts(GFile *file)
{
    g_autofree char *path = g_file_get_path(file);
    g_autofree char *lower = path ? g_ascii_strdown(path, -1) : NULL;
    return path && (g_str_has_suffix(lower, ".gguf") || g_file_test(path, G_FILE_TEST_IS_DIR));
}

static gboolean on_drop(GtkDropTarget *target, const GValue *value, double x, double y,
                        gpointer data)
{
    const GSList *files = g_value_get_boxed(value);
    const MoeModelDrop *drop = data;
    GtkWidget *widget = gtk_event_controller_get_widget(GTK_EVENT_CONTROLLER(target));
    (void)x, (void)y;
    if (!files)
        return FALSE;
    if (!moe_model_drop_accepts(files->data)) {
        g_autofree char *name = g_file_get_parse_name(files->data);
        g_autofree char *text = g_strdup_printf(
            "%s is no model: drop a folder in Hugging Face layout or a GGUF file of this computer.",
            name);
        drop->refuse(widget, text);
        return FALSE;
    }
    g_autofree char *path = g_file_get_path(files->data);
    drop->choose(widget, path);
    return TRUE;
}

void moe_model_drop_add(GtkWidget *widget, const MoeModelDrop *drop)
{
    GtkDropTarget *target = gtk_drop_target_new(GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);
    /* Before a text inside takes the file's name for something to be typed. */
    gtk_event_controller_set_propagation_phase(GTK_EVENT_CONTROLLER(target), GTK_PHASE_CAPTURE);
    g_signal_connect(target, "drop", G_CALLBACK(on_drop), (gpointer)(guintptr)drop);
    gtk_widget_add_controller(widget, GTK_EVENT_CONTROLLER(target));
}
