#include "application.h"

#include "window.h"

struct _MoeApplication {
    GtkApplication parent;
    MoeWorker *worker;
    MoeStore *store;
    MoeSettings *settings;
    MoeOpenParams *params; /* as the command line says */
    gboolean parsed;       /* it could be read */
};

G_DEFINE_FINAL_TYPE(MoeApplication, moe_application, GTK_TYPE_APPLICATION)

static const GOptionEntry options[] = {
    {"version", 'V', 0, G_OPTION_ARG_NONE, NULL, "Print the version and exit", NULL},
    {"device", 0, 0, G_OPTION_ARG_STRING, NULL,
     "Device: an index, a UUID or part of a name, or \"reference\"", "DEVICE"},
    {"model", 'm', 0, G_OPTION_ARG_FILENAME, NULL,
     "Model: a folder in Hugging Face layout or a GGUF file (default: the shipped one)", "MODEL"},
    {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, NULL, NULL, "[MODEL]"},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

MoeWorker *moe_application_get_worker(MoeApplication *self)
{
    return self->worker;
}

MoeStore *moe_application_get_store(MoeApplication *self)
{
    return self->store;
}

MoeSettings *moe_application_get_settings(MoeApplication *self)
{
    return self->settings;
}

/* --- the command line --- */

enum { USAGE = 2 };

static int refuse(const char *sentence)
{
    g_printerr("vkmoe-desktop: %s\n", sentence);
    return USAGE;
}

/* Takes --device, --model and MODEL; -1, or an exit code. */
static int take_params(MoeApplication *self, GVariantDict *given)
{
    const char *device = NULL, *model = NULL;
    g_autofree const char **models = NULL;
    g_variant_dict_lookup(given, "device", "&s", &device);
    g_variant_dict_lookup(given, "model", "^&ay", &model);
    g_variant_dict_lookup(given, G_OPTION_REMAINING, "^a&ay", &models);
    if (models && models[0] && (model || models[1]))
        return refuse("more than one model is given, one can be opened");
    if (models && models[0])
        model = models[0];
    if (device) {
        g_free(self->params->device);
        self->params->device = g_strdup(device);
    }
    if (model) {
        g_autoptr(GFile) file = g_file_new_for_commandline_arg(model);
        g_free(self->params->model);
        self->params->model = g_file_get_path(file);
        if (!self->params->model) {
            g_autofree char *sentence = g_strdup_printf("%s is no file of this machine", model);
            return refuse(sentence);
        }
    }
    return -1;
}

/* Where vkmoe-desktop runs already, that one opens the model, on the device; returns -1 where it
 * does not. */
static int hand_over(MoeApplication *self)
{
    GApplication *application = G_APPLICATION(self);
    const MoeOpenParams *params = self->params;
    if (!g_application_register(application, NULL, NULL) ||
        !g_application_get_is_remote(application))
        return -1;
    g_action_group_activate_action(G_ACTION_GROUP(application), "open-on",
                                   g_variant_new("(s^ay)", params->device ? params->device : "",
                                                 params->model ? params->model : ""));
    return 0;
}

static void open_on_action(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    MoeApplication *self = data;
    const MoeOpenParams *open = moe_worker_get_params(self->worker);
    MoeOpenParams *params = moe_open_params_copy(open ? open : self->params);
    const char *device, *model;
    (void)action;
    g_variant_get(parameter, "(&s^&ay)", &device, &model);
    if (*device) {
        g_free(params->device);
        params->device = g_strdup(device);
    }
    if (*model) {
        g_free(params->model);
        params->model = g_strdup(model);
    }
    moe_worker_open(self->worker, params);
    moe_open_params_free(params);
    g_application_activate(G_APPLICATION(self));
}

static int moe_application_handle_local_options(GApplication *application, GVariantDict *given)
{
    MoeApplication *self = MOE_APPLICATION(application);
    self->parsed = TRUE;
    if (g_variant_dict_contains(given, "version")) {
        g_print("vkmoe-desktop %s\n", vkmoe_version());
        return 0;
    }
    int code = take_params(self, given);
    if (code >= 0 || (!self->params->device && !self->params->model))
        return code;
    return hand_over(self);
}

static gboolean moe_application_local_command_line(GApplication *application, char ***arguments,
                                                   int *status)
{
    gboolean done = G_APPLICATION_CLASS(moe_application_parent_class)
                        ->local_command_line(application, arguments, status);
    if (done && *status == EXIT_FAILURE && !MOE_APPLICATION(application)->parsed)
        *status = USAGE;
    return done;
}

static void moe_application_open(GApplication *application, GFile **files, int n_files,
                                 const char *hint)
{
    MoeApplication *self = MOE_APPLICATION(application);
    (void)hint;
    if (n_files > 0) {
        g_free(self->params->model);
        self->params->model = g_file_get_path(files[0]);
        moe_worker_open(self->worker, self->params);
    }
    g_application_activate(application);
}

/* --- windows --- */

static void load_css(void)
{
    g_autoptr(GtkCssProvider) css = gtk_css_provider_new();
    gtk_css_provider_load_from_resource(css, MOE_RESOURCES "style.css");
    gtk_style_context_add_provider_for_display(gdk_display_get_default(), GTK_STYLE_PROVIDER(css),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
}

static void quit_action(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    GtkWindow *window;
    (void)action;
    (void)parameter;
    /* Each keeps what it has as it closes. */
    while ((window = gtk_application_get_active_window(GTK_APPLICATION(data))))
        gtk_window_close(window);
}

static void about_action(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    gtk_show_about_dialog(gtk_application_get_active_window(GTK_APPLICATION(data)), "program-name",
                          "vkmoe", "version", vkmoe_version(), "comments",
                          "Watch a mixture of experts think", "license-type", GTK_LICENSE_MIT_X11,
                          "logo-icon-name", MOE_APPLICATION_ID, NULL);
}

static void add_actions(MoeApplication *self)
{
    static const GActionEntry actions[] = {
        {.name = "quit", .activate = quit_action},
        {.name = "about", .activate = about_action},
        {.name = "open-on", .activate = open_on_action, .parameter_type = "(say)"},
    };
    static const struct {
        const char *action, *keys[3];
    } shortcuts[] = {
        {"app.quit", {"<Control>q"}},
        {"window.close", {"<Control>w"}},
        {"win.new", {"<Control>n"}},
        {"win.open-model", {"<Control>o"}},
        {"win.device", {"<Control>d"}},
        {"win.show-help-overlay", {"<Control>question"}},
        {"win.regenerate", {"<Control>r"}},
        {"win.edit", {"<Control>e"}},
        {"win.export", {"<Control>s"}},
        {"win.rename", {"F2"}},
        {"win.sidebar", {"F9"}},
        {"win.copy-all", {"<Control><Shift>c"}},
    };
    g_action_map_add_action_entries(G_ACTION_MAP(self), actions, G_N_ELEMENTS(actions), self);
    for (guint i = 0; i < G_N_ELEMENTS(shortcuts); i++)
        gtk_application_set_accels_for_action(GTK_APPLICATION(self), shortcuts[i].action,
                                              (const char **)(gpointer)shortcuts[i].keys);
}

static void moe_application_startup(GApplication *application)
{
    MoeApplication *self = MOE_APPLICATION(application);
    G_APPLICATION_CLASS(moe_application_parent_class)->startup(application);
    load_css();
    add_actions(self);
    self->settings = moe_settings_new(NULL);
    self->store = moe_store_new(NULL);
    self->worker = moe_worker_new();
}

static void moe_application_activate(GApplication *application)
{
    MoeApplication *self = MOE_APPLICATION(application);
    GtkWindow *window = gtk_application_get_active_window(GTK_APPLICATION(application));
    if (!moe_worker_get_params(self->worker))
        moe_worker_open(self->worker, self->params);
    if (!window)
        window = GTK_WINDOW(moe_window_new(self));
    gtk_window_present(window);
}

static void moe_application_shutdown(GApplication *application)
{
    MoeApplication *self = MOE_APPLICATION(application);
    G_APPLICATION_CLASS(moe_application_parent_class)->shutdown(application);
    /* Whoever still holds it, a measurement for one: its thread ends here. */
    if (self->worker)
        g_object_run_dispose(G_OBJECT(self->worker));
    g_clear_object(&self->worker);
    g_clear_object(&self->store);
    g_clear_pointer(&self->settings, moe_settings_free);
}

static void moe_application_finalize(GObject *object)
{
    MoeApplication *self = MOE_APPLICATION(object);
    moe_open_params_free(self->params);
    G_OBJECT_CLASS(moe_application_parent_class)->finalize(object);
}

static void moe_application_init(MoeApplication *self)
{
    self->params = moe_open_params_copy(NULL);
    g_application_add_main_option_entries(G_APPLICATION(self), options);
    g_application_set_option_context_summary(
        G_APPLICATION(self),
        "Opens a window in which a mixture of experts continues what you type, and shows which\n"
        "experts every word wakes. MODEL is the same as --model MODEL.");
}

static void moe_application_class_init(MoeApplicationClass *class)
{
    GApplicationClass *application = G_APPLICATION_CLASS(class);
    application->handle_local_options = moe_application_handle_local_options;
    application->local_command_line = moe_application_local_command_line;
    application->open = moe_application_open;
    application->startup = moe_application_startup;
    application->activate = moe_application_activate;
    application->shutdown = moe_application_shutdown;
    G_OBJECT_CLASS(class)->finalize = moe_application_finalize;
}

MoeApplication *moe_application_new(void)
{
    return g_object_new(MOE_TYPE_APPLICATION, "application-id", MOE_APPLICATION_ID, "flags",
                        G_APPLICATION_HANDLES_OPEN, NULL);
}
