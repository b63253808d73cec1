/* Generating: the actions run, stop, regenerate and edit, and what the worker says. */
#include <string.h>

#include "sentence.h"
#include "window_private.h"

#define SAVE_INTERVAL_US (5 * G_USEC_PER_SEC) /* while text comes */
#define FIRST_PROMPT "ROMEO:"                 /* of what the shipped model was trained on */

guint moe_window_get_current_run(MoeWindow *self)
{
    return self->run;
}

/* --- what can be done --- */

void moe_window_update_actions(MoeWindow *self)
{
    GtkWidget *widget = GTK_WIDGET(self);
    const MoeWorkerState state = moe_worker_get_state(self->worker);
    const GPtrArray *messages = moe_conversation_get_messages(self->conversation);
    gboolean busy = self->run != 0 || state == MOE_WORKER_GENERATING || state == MOE_WORKER_RUNNING;
    gboolean ready = moe_worker_is_ready(self->worker) && !busy;
    gboolean stops = busy || state == MOE_WORKER_LOADING || state == MOE_WORKER_ROUTING;
    gtk_widget_action_set_enabled(widget, "win.run", ready);
    gtk_widget_action_set_enabled(widget, "win.regenerate", ready && messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.edit", self->run == 0 && messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.stop", stops);
    gtk_widget_action_set_enabled(widget, "win.export", messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.export-json", messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.copy-all", messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.copy-answer", messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.rename", messages->len > 0);
    gtk_widget_action_set_enabled(widget, "win.delete", messages->len > 0);
    moe_composer_set_busy(self->composer, busy);
    moe_window_update_welcome(self);
}

/* --- the worker's state --- */

static void show_loaded(MoeWindow *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    const MoeOpenParams *params = moe_worker_get_params(self->worker);
    g_autofree char *shipped = moe_shipped_model();
    const char *path = loaded                    ? loaded->params->model
                       : params && params->model ? params->model
                                                 : shipped;
    g_autofree char *name = g_path_get_basename(path);
    gtk_label_set_label(self->model_label, name);
    gtk_label_set_label(self->device_label,
                        loaded ? loaded->device.name
                        : moe_worker_get_state(self->worker) == MOE_WORKER_LOADING ? "loading…"
                                                                                   : "not loaded");
}

static void suggest_prompt(MoeWindow *self, const MoeLoaded *loaded)
{
    g_autofree char *shipped = moe_shipped_model();
    g_autofree char *typed = moe_composer_get_text(self->composer);
    if (!self->suggested && !*typed &&
        moe_conversation_get_messages(self->conversation)->len == 0 &&
        !moe_composer_get_chat(self->composer) && g_strcmp0(loaded->params->model, shipped) == 0) {
        self->suggested = TRUE;
        moe_composer_set_text(self->composer, FIRST_PROMPT);
    }
}

void moe_window_withdraw_prompt(MoeWindow *self)
{
    g_autofree char *typed = moe_composer_get_text(self->composer);
    if (self->suggested && strcmp(typed, FIRST_PROMPT) == 0)
        moe_composer_set_text(self->composer, "");
}

static void show_failure(MoeWindow *self, const char *error)
{
    const vkmoe_status status = moe_worker_get_error_status(self->worker);
    g_autofree char *lost =
        g_strconcat("the device was lost, and what had come is kept: ", error, NULL);
    g_autofree char *sentence = moe_sentence(status == VKMOE_DEVICE_LOST ? lost : error);
    moe_window_show_error(self, sentence, TRUE);
    gtk_widget_set_visible(self->reference, status == VKMOE_NO_DEVICE);
}

static void on_state(MoeWindow *self)
{
    const MoeWorkerState state = moe_worker_get_state(self->worker);
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    const char *error = moe_worker_get_error(self->worker);
    if (state == MOE_WORKER_LOADING)
        moe_window_hide_error(self);
    if (error)
        show_failure(self, error);
    if (loaded) {
        moe_sampler_set_defaults(self->sampler, &loaded->sampling);
        suggest_prompt(self, loaded);
    }
    show_loaded(self);
    moe_window_update_actions(self);
}

/* --- a run --- */

static void show_rate(MoeWindow *self, const MoeTokenBatch *batch)
{
    if (!(batch->seconds > 0) || batch->generated == 0)
        return;
    g_autofree char *rate = g_strdup_printf("%.1f tokens/s", batch->generated / batch->seconds);
    gtk_label_set_label(self->rate, rate);
}

static void on_tokens(MoeWindow *self, const MoeTokenBatch *batch)
{
    if (batch->run != self->run)
        return;
    moe_conversation_append(self->conversation, batch->text);
    moe_transcript_append(self->transcript, batch->text);
    moe_transcript_add_tokens(self->transcript, batch->tokens, batch->count, batch->prompt);
    show_rate(self, batch);
    if (!batch->prompt && !self->stopping)
        moe_composer_set_hint(self->composer, "Esc stops it.");
    if (g_get_monotonic_time() - self->saved > SAVE_INTERVAL_US)
        moe_window_save(self);
}

static void remove_from(MoeWindow *self, guint count)
{
    moe_conversation_truncate(self->conversation, count);
    moe_transcript_truncate(self->transcript, count);
}

/* A prompt that got no answer goes back to where it was typed. */
static void take_back(MoeWindow *self)
{
    guint n = moe_conversation_get_messages(self->conversation)->len;
    g_autofree char *typed = moe_composer_get_text(self->composer);
    remove_from(self, n - 1);
    const MoeMessage *prompt = moe_conversation_last(self->conversation);
    if (!prompt || prompt->role != VKMOE_CHAT_USER)
        return;
    if (!*typed)
        moe_composer_set_text(self->composer, prompt->text);
    remove_from(self, n - 2);
}

static void say_outcome(MoeWindow *self, const MoeResult *result)
{
    const MoeMessage *answer = moe_conversation_last(self->conversation);
    g_autofree char *outcome = g_strdup_printf(
        "%u %s, seed %" G_GUINT64_FORMAT "%s", result->n_answer,
        result->n_answer == 1 ? "token" : "tokens", (guint64)(answer ? answer->seed : 0),
        result->status == VKMOE_CANCELLED      ? ", stopped"
        : result->status == VKMOE_CONTEXT_FULL ? ", context full"
                                               : "");
    moe_composer_set_hint(self->composer, outcome);
    if (result->status == VKMOE_OK || result->status == VKMOE_CANCELLED)
        return;
    /* What the worker says about itself brings a way to try again along. */
    if (result->status == VKMOE_DEVICE_LOST)
        return;
    g_autofree char *sentence = moe_sentence(result->message);
    g_autofree char *advice = g_strconcat(
        sentence, " Begin a new text (Ctrl+N), or open the model with a larger context (Ctrl+O).",
        NULL);
    moe_window_show_error(self, result->status == VKMOE_CONTEXT_FULL ? advice : sentence, FALSE);
}

static void on_finished(MoeWindow *self, const MoeResult *result)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    if (result->run != self->run)
        return;
    self->run = 0;
    MoeMessage *answer = moe_conversation_last(self->conversation);
    if (loaded)
        moe_message_set_tokens(answer, result->answer, result->n_answer, loaded->params->model);
    say_outcome(self, result);
    if (result->n_answer == 0 && result->status != VKMOE_OK)
        take_back(self);
    moe_window_save(self);
    moe_window_update_actions(self);
}

void moe_window_end_run(MoeWindow *self)
{
    if (self->run == 0)
        return;
    moe_worker_cancel(self->worker);
    self->run = 0;
}

static void add_message(MoeWindow *self, vkmoe_chat_role role, const char *text)
{
    moe_conversation_add(self->conversation, moe_message_new(role, text));
    moe_transcript_add_message(self->transcript, role, text);
}

/* Answers the conversation as it is. */
static void start_run(MoeWindow *self)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    MoeRouting routing = {0};
    if (self->routing)
        self->routing(&routing, self->routing_data);
    moe_sampler_next_seed(self->sampler);
    g_autoptr(GPtrArray) messages =
        moe_messages_copy(moe_conversation_get_messages(self->conversation), loaded->params->model);
    const MoeGenerateParams params = {.messages = messages,
                                      .chat = moe_conversation_get_chat(self->conversation),
                                      .sampling = moe_sampler_get_sampling(self->sampler),
                                      .max_tokens = moe_sampler_get_max_tokens(self->sampler),
                                      .routing = routing};
    self->run = moe_worker_generate(self->worker, &params);
    self->stopping = FALSE;
    self->saved = g_get_monotonic_time();
    add_message(self, VKMOE_CHAT_ASSISTANT, "");
    moe_conversation_last(self->conversation)->seed = params.sampling.seed;
    moe_composer_set_hint(self->composer, "Reading the text…");
    moe_window_hide_error(self);
    moe_window_save(self);
    moe_window_update_actions(self);
}

gboolean moe_window_get_text(MoeWindow *self, MoeGenerateParams *out)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    const GPtrArray *messages = moe_conversation_get_messages(self->conversation);
    if (!loaded || messages->len == 0)
        return FALSE;
    *out = (MoeGenerateParams){.messages = moe_messages_copy(messages, loaded->params->model),
                               .chat = moe_conversation_get_chat(self->conversation)};
    return TRUE;
}

gboolean moe_window_get_run(MoeWindow *self, MoeGenerateParams *out)
{
    const MoeLoaded *loaded = moe_worker_get_loaded(self->worker);
    g_autofree char *text = moe_composer_get_text(self->composer);
    if (!loaded)
        return FALSE;
    GPtrArray *messages =
        moe_messages_copy(moe_conversation_get_messages(self->conversation), loaded->params->model);
    if (*text) {
        g_ptr_array_add(messages, moe_message_new(VKMOE_CHAT_USER, text));
    } else {
        const MoeMessage *last;
        while (messages->len > 0 && (last = g_ptr_array_index(messages, messages->len - 1)) &&
               last->role == VKMOE_CHAT_ASSISTANT)
            g_ptr_array_set_size(messages, (int)messages->len - 1);
    }
    *out = (MoeGenerateParams){.messages = messages,
                               .chat = moe_conversation_get_chat(self->conversation),
                               .sampling = moe_sampler_get_sampling(self->sampler),
                               .max_tokens = moe_sampler_get_max_tokens(self->sampler)};
    if (messages->len > 0)
        return TRUE;
    g_ptr_array_unref(messages);
    return FALSE;
}

/* --- actions --- */

static void run_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    g_autofree char *text = moe_composer_get_text(self->composer);
    (void)name;
    (void)parameter;
    if (!*text && moe_conversation_get_chat(self->conversation)) {
        moe_composer_set_hint(self->composer, "Type a message first.");
        return;
    }
    if (*text) {
        add_message(self, VKMOE_CHAT_USER, text);
        moe_composer_set_text(self->composer, "");
    }
    start_run(self);
}

/* What a device is at takes a while to end, on a slow one. */
static void stop_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    (void)name;
    (void)parameter;
    moe_worker_cancel(self->worker);
    if (self->run == 0)
        return;
    self->stopping = TRUE;
    moe_composer_set_hint(self->composer, "Stopping…");
}

/* The last answer goes, and another comes. */
static void regenerate_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    const MoeMessage *last = moe_conversation_last(self->conversation);
    guint n = moe_conversation_get_messages(self->conversation)->len;
    (void)name;
    (void)parameter;
    if (last && last->role == VKMOE_CHAT_ASSISTANT)
        remove_from(self, n - 1);
    start_run(self);
}

/* The last prompt, with its answers, goes back to where it was typed. */
static void edit_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    const GPtrArray *messages = moe_conversation_get_messages(self->conversation);
    guint at = messages->len;
    (void)name;
    (void)parameter;
    while (at > 0 &&
           ((const MoeMessage *)g_ptr_array_index(messages, at - 1))->role != VKMOE_CHAT_USER)
        at--;
    if (at > 0) {
        const MoeMessage *prompt = g_ptr_array_index(messages, at - 1);
        moe_composer_set_text(self->composer, prompt->text);
    }
    remove_from(self, at > 0 ? at - 1 : 0);
    moe_composer_set_hint(self->composer, "");
    moe_window_save(self);
    moe_window_update_actions(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->composer));
}

void moe_window_install_run_actions(GtkWidgetClass *widget)
{
    gtk_widget_class_install_action(widget, "win.run", NULL, run_action);
    gtk_widget_class_install_action(widget, "win.stop", NULL, stop_action);
    gtk_widget_class_install_action(widget, "win.regenerate", NULL, regenerate_action);
    gtk_widget_class_install_action(widget, "win.edit", NULL, edit_action);
    gtk_widget_class_add_binding_action(widget, GDK_KEY_Escape, 0, "win.stop", NULL);
}

void moe_window_connect_worker(MoeWindow *self)
{
    g_signal_connect_object(self->worker, "notify::state", G_CALLBACK(on_state), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "tokens", G_CALLBACK(on_tokens), self, G_CONNECT_SWAPPED);
    g_signal_connect_object(self->worker, "finished", G_CALLBACK(on_finished), self,
                            G_CONNECT_SWAPPED);
    on_state(self);
}
