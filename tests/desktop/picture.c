#include "picture.h"

#include "desktop.h"

static bool is_mapped(void *data)
{
    return gtk_widget_get_mapped(data) && gtk_widget_get_width(data) > 1;
}

static gboolean count_frame(GtkWidget *widget, GdkFrameClock *clock, gpointer data)
{
    (void)widget;
    (void)clock;
    return --*(int *)data > 0;
}

static bool is_zero(void *data)
{
    return *(int *)data <= 0;
}

static GdkTexture *draw(GtkWidget *window)
{
    g_autoptr(GdkPaintable) picture = gtk_widget_paintable_new(window);
    GtkSnapshot *snapshot = gtk_snapshot_new();
    gdk_paintable_snapshot(picture, snapshot, gtk_widget_get_width(window),
                           gtk_widget_get_height(window));
    GskRenderNode *node = gtk_snapshot_free_to_node(snapshot);
    assert_non_null(node);
    GdkTexture *texture =
        gsk_renderer_render_texture(gtk_native_get_renderer(GTK_NATIVE(window)), node, NULL);
    gsk_render_node_unref(node);
    return texture;
}

/* Whether there are more colours than an empty window has. */
static bool is_colourful(GdkTexture *texture)
{
    enum { ENOUGH = 16 };
    uint32_t seen[ENOUGH];
    size_t n = 0, pixels = (size_t)gdk_texture_get_width(texture) *
                           (size_t)gdk_texture_get_height(texture);
    g_autofree uint32_t *data = g_new(uint32_t, pixels);
    gdk_texture_download(texture, (guchar *)data, (gsize)gdk_texture_get_width(texture) * 4);
    for (size_t i = 0; i < pixels && n < ENOUGH; i++) {
        size_t k = 0;
        while (k < n && seen[k] != data[i])
            k++;
        if (k == n)
            seen[n++] = data[i];
    }
    return n == ENOUGH;
}

void picture_take(GtkWidget *window, bool dark, const char *name)
{
    const char *folder = g_getenv("VKMOE_TEST_SCREENSHOTS");
    int frames = 3;
    g_object_set(gtk_settings_get_default(), "gtk-application-prefer-dark-theme", (gboolean)dark,
                 NULL);
    desktop_wait(is_mapped, window, "the window should be on the display");
    /* No window manager, no focus: it should look as if it had it. */
    gtk_widget_unset_state_flags(window, GTK_STATE_FLAG_BACKDROP);
    gtk_widget_add_tick_callback(window, count_frame, &frames, NULL);
    desktop_wait(is_zero, &frames, "the window should be drawn");
    g_autoptr(GdkTexture) texture = draw(window);
    assert_true(is_colourful(texture));
    if (folder) {
        g_autofree char *path = g_strdup_printf("%s/%s.png", folder, name);
        assert_true(gdk_texture_save_to_png(texture, path));
    }
}
