#include "window.h"

#include "composer.h"

struct _MoeWindow {
    GtkApplicationWindow parent;
    GtkMenuButton *title_button;
    GtkLabel *model_label, *device_label, *rate, *notice_label;
    GtkInfoBar *notice;
    GtkWidget *retry, *side;
    GtkPaned *paned;
    GtkProgressBar *progress;
    GtkStack *pages;
    MoeTranscript *transcript;
    MoeComposer *composer;
    MoeWorker *worker;
    GPtrArray *messages; /* of the conversation */
    guint run;           /* that generates; 0: none */
};

G_DEFINE_FINAL_TYPE(MoeWindow, moe_window, GTK_TYPE_APPLICATION_WINDOW)

MoeWorker *moe_window_get_worker(MoeWindow *self)
{
    return self->worker;
}

MoeTranscript *moe_window_get_transcript(MoeWindow *self)
{
    return self->transcript;
}

void moe_window_add_page(MoeWindow *self, GtkWidget *page, const char *name, const char *title)
{
    gtk_stack_add_titled(self->pages, page, name, title);
    gtk_widget_set_visible(self->side, TRUE);
}

void moe_window_set_device_popover(MoeWindow *self, GtkWidget *popover)
{
    gtk_menu_button_set_popover(self->title_button, popover);
}

void moe_window_show_error(MoeWindow *self, const char *sentence, gboolean again)
{
    gtk_label_set_label(self->notice_label, sentence);
    gtk_widget_set_visible(self->retry, again);
    gtk_info_bar_set_revealed(self->notice, TRUE);
}

/* --- the worker's state --- */

static void update_actions(MoeWindow *self)
{
    MoeWorkerState state = moe_worker_get_state(self->worker);
    gboolean busy = self->run != 0 || state == MOE_WORKER_RUNNING;
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "win.run", state == MOE_WORKER_READY && !busy);
    gtk_widget_action_set_enabled(GTK_WIDGET(self), "win.stop",
                                  busy || state == MOE_WORKER_LOADING);
    moe_composer_set_busy(self->composer, busy);
}

static void show_loaded(MoeWindow *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    const MoeOpenParams *params = moe_worker_get_params(self->worker);
    const char *path = loaded ? loaded->params->model : params ? params->model : NULL;
    g_autofree char *name = path ? g_path_get_basename(path) : g_strdup("vkmoe");
    gtk_label_set_label(self->model_label, name);
    gtk_label_set_label(self->device_label, loaded ? loaded->device.name : "no device");
}

static void on_state(MoeWindow *self)
{
    MoeWorkerState state = moe_worker_get_state(self->worker);
    const char *error = moe_worker_get_error(self->worker);
    gtk_widget_set_visible(GTK_WIDGET(self->progress), state == MOE_WORKER_LOADING);
    if (state == MOE_WORKER_LOADING) {
        gtk_info_bar_set_revealed(self->notice, FALSE);
        gtk_progress_bar_set_fraction(self->progress, 0);
    }
    if (error)
        moe_window_show_error(self, error, TRUE);
    show_loaded(self);
    update_actions(self);
}

static void on_load_progress(MoeWindow *self, double share)
{
    gtk_progress_bar_set_fraction(self->progress, share);
}

/* --- a run --- */

static void on_tokens(MoeWindow *self, const MoeTokenBatch *batch)
{
    if (batch->run != self->run)
        return;
    moe_transcript_append(self->transcript, batch->text);
    moe_transcript_add_tokens(self->transcript, batch->tokens, batch->count, batch->prompt);
    MoeMessage *answer = g_ptr_array_index(self->messages, self->messages->len - 1);
    char *longer = g_strconcat(answer->text, batch->text, NULL);
    g_free(answer->text);
    answer->text = longer;
    if (batch->seconds > 0) {
        g_autofree char *rate =
            g_strdup_printf("%.1f tokens/s", batch->generated / batch->seconds);
        gtk_label_set_label(self->rate, rate);
    }
}

static void on_finished(MoeWindow *self, const MoeResult *result)
{
    if (result->run != self->run)
        return;
    self->run = 0;
    if (result->status != VKMOE_OK && result->status != VKMOE_CANCELLED)
        moe_window_show_error(self, result->message, FALSE);
    update_actions(self);
}

static void add_message(MoeWindow *self, vkmoe_chat_role role, const char *text)
{
    g_ptr_array_add(self->messages, moe_message_new(role, text, NULL));
    moe_transcript_add_message(self->transcript, role, text);
}

static void run_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    g_autofree char *text = moe_composer_get_text(self->composer);
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    (void)name;
    (void)parameter;
    add_message(self, VKMOE_CHAT_USER, text);
    const MoeGenerateParams params = {.messages = self->messages,
                                      .chat = moe_composer_get_chat(self->composer),
                                      .sampling = loaded->sampling,
                                      .max_tokens = 256};
    self->run = moe_worker_generate(self->worker, &params);
    add_message(self, VKMOE_CHAT_ASSISTANT, "");
    moe_composer_set_text(self->composer, "");
    update_actions(self);
}

static void stop_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name;
    (void)parameter;
    moe_worker_cancel(MOE_WINDOW(widget)->worker);
}

static void retry_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    (void)name;
    (void)parameter;
    moe_worker_open(self->worker, moe_worker_get_params(self->worker));
}

static void on_notice_response(MoeWindow *self, int response)
{
    if (response == GTK_RESPONSE_CLOSE)
        gtk_info_bar_set_revealed(self->notice, FALSE);
}

/* --- the widget --- */

static void moe_window_dispose(GObject *object)
{
    MoeWindow *self = MOE_WINDOW(object);
    g_clear_object(&self->worker);
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_WINDOW);
    G_OBJECT_CLASS(moe_window_parent_class)->dispose(object);
}

static void moe_window_finalize(GObject *object)
{
    g_ptr_array_unref(MOE_WINDOW(object)->messages);
    G_OBJECT_CLASS(moe_window_parent_class)->finalize(object);
}

static void bind_children(GtkWidgetClass *widget)
{
    gtk_widget_class_bind_template_child(widget, MoeWindow, title_button);
    gtk_widget_class_bind_template_child(widget, MoeWindow, model_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, device_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, rate);
    gtk_widget_class_bind_template_child(widget, MoeWindow, notice);
    gtk_widget_class_bind_template_child(widget, MoeWindow, notice_label);
    gtk_widget_class_bind_template_child(widget, MoeWindow, retry);
    gtk_widget_class_bind_template_child(widget, MoeWindow, progress);
    gtk_widget_class_bind_template_child(widget, MoeWindow, paned);
    gtk_widget_class_bind_template_child(widget, MoeWindow, side);
    gtk_widget_class_bind_template_child(widget, MoeWindow, pages);
    gtk_widget_class_bind_template_child(widget, MoeWindow, transcript);
    gtk_widget_class_bind_template_child(widget, MoeWindow, composer);
}

static void moe_window_class_init(MoeWindowClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_window_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_window_finalize;
    g_type_ensure(MOE_TYPE_TRANSCRIPT);
    g_type_ensure(MOE_TYPE_COMPOSER);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "window.ui");
    bind_children(widget);
    gtk_widget_class_install_action(widget, "win.run", NULL, run_action);
    gtk_widget_class_install_action(widget, "win.stop", NULL, stop_action);
    gtk_widget_class_install_action(widget, "win.retry", NULL, retry_action);
    gtk_widget_class_add_binding_action(widget, GDK_KEY_Escape, 0, "win.stop", NULL);
}

static void moe_window_init(MoeWindow *self)
{
    self->messages = moe_messages_new();
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_object(self->notice, "response", G_CALLBACK(on_notice_response), self,
                            G_CONNECT_SWAPPED);
}

MoeWindow *moe_window_new(MoeApplication *application)
{
    MoeWindow *self = g_object_new(MOE_TYPE_WINDOW, "application", application, NULL);
    self->worker = g_object_ref(moe_application_get_worker(application));
    g_signal_connect_object(self->worker, "notify::state", G_CALLBACK(on_state), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "load-progress", G_CALLBACK(on_load_progress), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "tokens", G_CALLBACK(on_tokens), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "finished", G_CALLBACK(on_finished), self,
                            G_CONNECT_SWAPPED);
    moe_composer_set_text(self->composer, "ROMEO:");
    on_state(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->composer));
    return self;
}
