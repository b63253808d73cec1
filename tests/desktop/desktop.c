#include "desktop.h"

#include <string.h>

#include "composer.h"

#define LIMIT_SECONDS 300

static char *home;

/* Half a second after the pointer was on a popover GTK 4.8 looks there for a hint to show, whether
 * or not a window has closed and taken it along. Whatever else is critical ends the test. */
static gboolean is_fatal(const char *domain, GLogLevelFlags level, const char *message,
                         gpointer data)
{
    static const char *const hints[] = {"gdk_surface_get_device_position:",
                                        "_gtk_widget_find_at_coords:"};
    (void)domain, (void)level, (void)data;
    for (size_t i = 0; i < G_N_ELEMENTS(hints); i++)
        if (g_str_has_prefix(message, hints[i]) && strstr(message, "GDK_IS_SURFACE (surface)"))
            return FALSE;
    return TRUE;
}

void desktop_set_up(void)
{
    g_test_log_set_fatal_handler(is_fatal, NULL);
    home = test_folder_make();
    static const char *const variables[] = {"XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"};
    for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
        g_autofree char *folder = g_build_filename(home, variables[i], NULL);
        g_setenv(variables[i], folder, TRUE);
    }
    cmocka_set_test_filter(g_getenv("VKMOE_TEST_ONLY"));
    gtk_init(); /* not before, as GLib remembers where they are */
}

int desktop_clean_up(int result)
{
    test_folder_remove(home);
    return result;
}

/* --- waiting --- */

static gboolean time_is_up(gpointer data)
{
    *(bool *)data = true;
    return G_SOURCE_REMOVE;
}

void desktop_wait(desktop_condition *condition, void *data, const char *what)
{
    bool late = false;
    guint limit = g_timeout_add_seconds(LIMIT_SECONDS, time_is_up, &late);
    while (!condition(data) && !late)
        g_main_context_iteration(NULL, TRUE);
    if (late)
        fail_msg("nothing came of it in %d s: %s", LIMIT_SECONDS, what);
    g_source_remove(limit);
}

static bool is_idle(void *data)
{
    struct desktop *d = data;
    MoeWorkerState state = moe_worker_get_state(d->worker);
    return state == MOE_WORKER_READY ||
           (state == MOE_WORKER_EMPTY && moe_worker_get_error(d->worker));
}

void desktop_wait_idle(struct desktop *d)
{
    desktop_wait(is_idle, d, "the worker should be ready or have failed");
}

static bool has_no_run(void *data)
{
    struct desktop *d = data;
    return moe_window_get_current_run(d->window) == 0 &&
           moe_worker_get_state(d->worker) != MOE_WORKER_GENERATING;
}

void desktop_wait_end(struct desktop *d)
{
    desktop_wait(has_no_run, d, "the run should end");
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

void desktop_settle(struct desktop *d)
{
    int frames = 3;
    gtk_widget_add_tick_callback(GTK_WIDGET(d->window), count_frame, &frames, NULL);
    desktop_wait(is_zero, &frames, "the window should be drawn");
}

/* --- starting and stopping --- */

void desktop_start(struct desktop *d, const char *model)
{
    g_autoptr(GError) error = NULL;
    *d = (struct desktop){.application = moe_application_new()};
    GApplication *application = G_APPLICATION(d->application);
    /* A service opens no window by itself: the test does, and once more at the end would not do. */
    g_application_set_flags(application, g_application_get_flags(application) |
                                             G_APPLICATION_NON_UNIQUE | G_APPLICATION_IS_SERVICE);
    assert_true(g_application_register(application, NULL, &error));
    if (model) {
        g_autoptr(GFile) file = g_file_new_for_path(model);
        g_application_open(application, &file, 1, "");
    } else {
        g_application_activate(application);
    }
    d->window = MOE_WINDOW(gtk_application_get_active_window(GTK_APPLICATION(d->application)));
    d->worker = moe_window_get_worker(d->window);
    d->transcript = moe_window_get_transcript(d->window);
}

static bool has_no_window(void *data)
{
    return gtk_application_get_windows(data) == NULL;
}

static gboolean quit(gpointer application)
{
    g_application_quit(application);
    return G_SOURCE_REMOVE;
}

/* Only g_application_run takes back what registering did, on the bus for one; what has quit before
 * cannot run. */
static void end_application(GApplication *application)
{
    char name[] = "vkmoe-desktop", *arguments[] = {name, NULL};
    g_application_hold(application); /* or it would wait for others to make use of the service */
    g_idle_add(quit, application);
    assert_int_equal(g_application_run(application, 1, arguments), 0);
}

void desktop_stop(struct desktop *d)
{
    gtk_window_close(GTK_WINDOW(d->window));
    desktop_wait(has_no_window, d->application, "the window should close");
    while (g_main_context_iteration(NULL, FALSE))
        ;
    end_application(G_APPLICATION(d->application));
    g_object_unref(d->application);
}

/* --- what a user does and sees --- */

static GtkWidget *find(GtkWidget *widget, GType type)
{
    if (g_type_is_a(G_OBJECT_TYPE(widget), type))
        return widget;
    GtkWidget *found = NULL;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = find(child, type);
    return found;
}

GtkWidget *desktop_find(struct desktop *d, GType type)
{
    GtkWidget *found = find(GTK_WIDGET(d->window), type);
    if (!found)
        fail_msg("the window has no %s", g_type_name(type));
    return found;
}

void desktop_type(struct desktop *d, const char *text)
{
    moe_composer_set_text(MOE_COMPOSER(desktop_find(d, MOE_TYPE_COMPOSER)), text);
}

bool desktop_can_do(struct desktop *d, const char *action)
{
    /* A button that triggers the action is sensitive only where it is enabled. */
    GtkWidget *button = g_object_ref_sink(gtk_button_new());
    gtk_widget_set_parent(button, GTK_WIDGET(d->transcript));
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    bool enabled = gtk_widget_get_sensitive(button);
    gtk_widget_unparent(button);
    g_object_unref(button);
    return enabled;
}

void desktop_do(struct desktop *d, const char *action)
{
    if (!desktop_can_do(d, action))
        fail_msg("%s cannot be done now", action);
    gtk_widget_activate_action(GTK_WIDGET(d->window), action, NULL);
}

void desktop_choose(struct desktop *d, MoeConversation *conversation)
{
    GtkListView *list = GTK_LIST_VIEW(desktop_find(d, GTK_TYPE_LIST_VIEW));
    GtkSelectionModel *model = gtk_list_view_get_model(list);
    guint at = 0;
    for (bool found = false; !found; at += !found) {
        g_autoptr(MoeConversation) item = g_list_model_get_item(G_LIST_MODEL(model), at);
        assert_non_null(item);
        found = item == conversation;
    }
    gtk_selection_model_select_item(model, at, TRUE);
}

char *desktop_text(struct desktop *d)
{
    return moe_transcript_get_text(d->transcript);
}

const char *desktop_notice(struct desktop *d)
{
    GtkWidget *bar = desktop_find(d, GTK_TYPE_INFO_BAR);
    return gtk_info_bar_get_revealed(GTK_INFO_BAR(bar))
               ? gtk_label_get_label(GTK_LABEL(find(bar, GTK_TYPE_LABEL)))
               : NULL;
}

/* --- pictures --- */

struct wanted_size {
    GtkWidget *window;
    int width, height;
};

static bool has_size(void *data)
{
    const struct wanted_size *w = data;
    GdkSurface *surface = gtk_native_get_surface(GTK_NATIVE(w->window)); /* frame included */
    return gdk_surface_get_width(surface) == w->width &&
           gdk_surface_get_height(surface) == w->height;
}

static GdkTexture *draw(GtkWidget *window)
{
    GdkPaintable *picture = gtk_widget_paintable_new(window);
    GtkSnapshot *snapshot = gtk_snapshot_new();
    gdk_paintable_snapshot(picture, snapshot, gtk_widget_get_width(window),
                           gtk_widget_get_height(window));
    GskRenderNode *node = gtk_snapshot_free_to_node(snapshot);
    assert_non_null(node);
    GdkTexture *texture =
        gsk_renderer_render_texture(gtk_native_get_renderer(GTK_NATIVE(window)), node, NULL);
    gsk_render_node_unref(node);
    g_object_unref(picture);
    return texture;
}

/* Colours that differ, up to 64. */
static size_t count_colours(GdkTexture *texture)
{
    uint32_t seen[64];
    size_t n = 0, w = (size_t)gdk_texture_get_width(texture),
           h = (size_t)gdk_texture_get_height(texture);
    uint32_t *pixels = g_new(uint32_t, w * h);
    gdk_texture_download(texture, (guchar *)pixels, w * 4);
    for (size_t i = 0; i < w * h && n < G_N_ELEMENTS(seen); i++) {
        size_t k = 0;
        while (k < n && seen[k] != pixels[i])
            k++;
        if (k == n)
            seen[n++] = pixels[i];
    }
    g_free(pixels);
    return n;
}

void desktop_screenshot(struct desktop *d, int width, int height, bool dark, const char *name)
{
    const char *folder = g_getenv("VKMOE_TEST_SCREENSHOTS");
    struct wanted_size wanted = {GTK_WIDGET(d->window), width, height};
    g_object_set(gtk_settings_get_default(), "gtk-application-prefer-dark-theme", (gboolean)dark,
                 NULL);
    desktop_settle(d);
    /* Without a window manager a window that is seen keeps its size. */
    gtk_widget_set_visible(wanted.window, FALSE);
    gtk_window_set_default_size(GTK_WINDOW(d->window), width, height);
    gtk_widget_set_visible(wanted.window, TRUE);
    desktop_wait(has_size, &wanted, "the window should take the size asked for");
    /* No window manager, no focus: it should look as if it had it. */
    gtk_widget_unset_state_flags(wanted.window, GTK_STATE_FLAG_BACKDROP);
    desktop_settle(d);
    GdkTexture *texture = draw(wanted.window);
    assert_true(count_colours(texture) > 16);
    if (folder) {
        g_autofree char *path = g_strdup_printf("%s/%s.png", folder, name);
        assert_true(gdk_texture_save_to_png(texture, path));
    }
    g_object_unref(texture);
}
