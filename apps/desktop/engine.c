#include "engine.h"

#include <string.h>

#define SHIPPED_MODEL "../share/vkmoe/trio" /* from the program's folder */

char *moe_shipped_model(void)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = program ? g_path_get_dirname(program) : g_strdup(".");
    g_autofree char *path = g_build_filename(folder, SHIPPED_MODEL, NULL);
    return g_canonicalize_filename(path, NULL);
}

MoeOpenParams *moe_open_params_copy(const MoeOpenParams *params)
{
    MoeOpenParams *copy = g_new0(MoeOpenParams, 1);
    if (params) {
        *copy = *params;
        copy->device = g_strdup(params->device);
        copy->model = g_strdup(params->model);
    }
    return copy;
}

void moe_open_params_free(MoeOpenParams *params)
{
    if (!params)
        return;
    g_free(params->device);
    g_free(params->model);
    g_free(params);
}

MoeLoaded *moe_loaded_copy(const MoeLoaded *loaded)
{
    MoeLoaded *copy = g_new(MoeLoaded, 1);
    *copy = *loaded;
    copy->params = moe_open_params_copy(loaded->params);
    copy->moe_layers =
        g_memdup2(loaded->moe_layers, loaded->model.n_moe_layers * sizeof(*loaded->moe_layers));
    return copy;
}

void moe_loaded_free(MoeLoaded *loaded)
{
    if (!loaded)
        return;
    moe_open_params_free(loaded->params);
    g_free(loaded->moe_layers);
    g_free(loaded);
}

/* --- opening --- */

static void write_log(void *user, vkmoe_log_level level, const char *line)
{
    (void)user;
    if (level <= VKMOE_LOG_NOTICE)
        g_message("%s", line);
    else
        g_debug("%s", line);
}

static const vkmoe_log engine_log = {.write = write_log};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    const MoeListener *listener = user;
    return listener->progress(listener->user, total ? (double)done / (double)total : 1);
}

static vkmoe_status load(MoeRuntime *self, const MoeOpenParams *params, const MoeListener *listener,
                         vkmoe_plan *plan, vkmoe_error *err)
{
    const vkmoe_device_params device = {.log = &engine_log, .selector = params->device};
    const vkmoe_model_params model = {.progress = on_progress,
                                      .user = (void *)(uintptr_t)listener,
                                      .context = params->context,
                                      .weights = params->weights,
                                      .kv = params->kv};
    vkmoe_status status = vkmoe_tokenizer_load(params->model, NULL, &self->open.tokenizer, err);
    if (status == VKMOE_OK)
        status = vkmoe_device_open(&device, &self->open.device, err);
    if (status == VKMOE_OK)
        status = vkmoe_model_plan(self->open.device, params->model, &model, plan, err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(self->open.device, params->model, &model, &self->open.model, err);
    return status;
}

/* Runners-up that are kept beside the experts that each token activates. */
#define RUNNERS_UP 4
#define ROUTES_INTERVAL_US (G_USEC_PER_SEC / 30) /* between batches of routes */
#define ROUTES_AT_ONCE 256 /* tokens of a text that is routed again, between two batches */

/* The experts of a token that a session routing so can and should keep. */
static uint32_t ranks_of(const vkmoe_model_info *model, const vkmoe_routing *routing)
{
    uint32_t k =
        routing->experts_per_token ? routing->experts_per_token : model->n_experts_per_token;
    if (routing->router == VKMOE_ROUTER_DENSE)
        k = model->n_routed_experts;
    return k ? MIN(MAX(k, 2) + RUNNERS_UP, model->n_routed_experts) : 0;
}

/* Opens the session that the first run will use, so that it fits before anything is typed. */
static vkmoe_status make_session(MoeRuntime *self, const MoeRouting *routing, vkmoe_error *err)
{
    const MoeOpenParams *params = self->loaded->params;
    const vkmoe_session_params session = {
        .context = params->context,
        .routing = routing->routing,
        .kv = params->kv,
        .keep_ranks = ranks_of(vkmoe_model_get_info(self->open.model), &routing->routing),
    };
    vkmoe_status status = vkmoe_session_create(self->open.model, &session, &self->session, err);
    if (status == VKMOE_OK) {
        self->routing = routing->routing;
        self->ranks = session.keep_ranks;
    }
    return status;
}

static MoeLoaded *describe(const MoeRuntime *self, const MoeOpenParams *params)
{
    const vkmoe_model *model = self->open.model;
    MoeLoaded *loaded = g_new0(MoeLoaded, 1);
    loaded->params = moe_open_params_copy(params);
    loaded->device = *vkmoe_device_get_info(self->open.device);
    loaded->model = *vkmoe_model_get_info(model);
    loaded->sampling = *vkmoe_model_get_sampling(model);
    loaded->moe_layers = g_new(uint32_t, loaded->model.n_moe_layers);
    for (uint32_t i = 0; i < loaded->model.n_moe_layers; i++)
        loaded->moe_layers[i] = vkmoe_model_moe_layer(model, i);
    loaded->has_template =
        vkmoe_chat_template_find(params->model, &loaded->chat_template, NULL) == VKMOE_OK &&
        loaded->chat_template != VKMOE_CHAT_PLAIN;
    return loaded;
}

vkmoe_status moe_runtime_open(MoeRuntime *self, const MoeOpenParams *params,
                              const MoeListener *listener, vkmoe_error *err)
{
    const gint64 start = g_get_monotonic_time();
    const MoeRouting as_trained = {0};
    MoeOpenParams *whole = moe_open_params_copy(params);
    vkmoe_plan plan;
    if (!whole->model)
        whole->model = moe_shipped_model();
    vkmoe_status status = load(self, whole, listener, &plan, err);
    if (status == VKMOE_OK) {
        self->loaded = describe(self, whole);
        self->loaded->plan = plan;
        status = make_session(self, &as_trained, err);
    }
    if (status == VKMOE_OK) {
        self->loaded->context = vkmoe_session_context(self->session);
        self->loaded->seconds = 1e-6 * (double)(g_get_monotonic_time() - start);
    } else {
        moe_runtime_close(self);
    }
    moe_open_params_free(whole);
    return status;
}

void moe_runtime_close_session(MoeRuntime *self)
{
    vkmoe_session_destroy(self->session);
    self->session = NULL;
    g_clear_pointer(&self->states, g_bytes_unref);
}

void moe_runtime_close(MoeRuntime *self)
{
    moe_runtime_close_session(self);
    vkmoe_model_destroy(self->open.model);
    vkmoe_device_close(self->open.device);
    vkmoe_tokenizer_destroy(self->open.tokenizer);
    moe_loaded_free(self->loaded);
    *self = (MoeRuntime){0};
}

/* --- running --- */

struct run {
    MoeRuntime *runtime;
    const MoeGenerateParams *params;
    const MoeListener *listener;
    MoeRunResult *result;
    MoePieces pieces;
    GString *text; /* of the tokens at hand */
    guint number;
    uint32_t next;   /* position of the next token */
    uint32_t routed; /* positions whose routes were told, */
    gint64 told;     /* and when that was */
    gint64 started;  /* when the prompt was computed */
    int32_t end;     /* the token that ends an answer; -1: none */
};

static bool same_bytes(GBytes *a, GBytes *b)
{
    return a == b || (a && b && g_bytes_equal(a, b));
}

static bool same_routing(const vkmoe_routing *a, const vkmoe_routing *b)
{
    return a->router == b->router && a->experts_per_token == b->experts_per_token &&
           a->noise == b->noise && a->seed == b->seed && a->skip == b->skip &&
           a->without_shared == b->without_shared;
}

/* Sees to a session that routes so. What was computed otherwise is forgotten: the same settings and
 * seed give the same text, whatever came before. */
static vkmoe_status set_routing(MoeRuntime *self, const MoeRouting *wanted, vkmoe_error *err)
{
    if (self->session && !same_routing(&self->routing, &wanted->routing))
        moe_runtime_close_session(self);
    vkmoe_status status = VKMOE_OK;
    if (!self->session)
        status = make_session(self, wanted, err);
    if (status != VKMOE_OK || same_bytes(self->states, wanted->states))
        return status;
    vkmoe_session_reset(self->session);
    status = vkmoe_session_set_experts(
        self->session, wanted->states ? g_bytes_get_data(wanted->states, NULL) : NULL, err);
    if (status == VKMOE_OK) {
        g_clear_pointer(&self->states, g_bytes_unref);
        self->states = wanted->states ? g_bytes_ref(wanted->states) : NULL;
    }
    return status;
}

/* Leaves what the session has of the first `count` tokens, but for the last one, whose logits are
 * needed; *same: how many those are. */
static vkmoe_status reuse(struct run *r, const int32_t *ids, uint32_t count, uint32_t *same,
                          vkmoe_error *err)
{
    vkmoe_session *session = r->runtime->session;
    const int32_t *held = vkmoe_session_tokens(session);
    uint32_t n_held = vkmoe_session_length(session);
    for (*same = 0; *same + 1 < count && *same < n_held && ids[*same] == held[*same];)
        ++*same;
    r->result->result.prompt_tokens = count;
    r->result->result.reused_tokens = *same;
    return vkmoe_session_rollback(session, *same, err);
}

static vkmoe_status evaluate(struct run *r, const MoePrompt *prompt, vkmoe_error *err)
{
    const int32_t *ids = (const int32_t *)(gpointer)prompt->ids->data;
    uint32_t count = prompt->ids->len, same;
    vkmoe_status status = reuse(r, ids, count, &same, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(r->runtime->session, ids + same, count - same, NULL, err);
    return status;
}

static void say_prompt(const struct run *r, const MoePrompt *prompt)
{
    const MoeTokenBatch batch = {.run = r->number,
                                 .prompt = true,
                                 .tokens = (const MoeToken *)(gpointer)prompt->tokens->data,
                                 .count = prompt->tokens->len,
                                 .text = ""};
    r->listener->tokens(r->listener->user, &batch);
}

static double seconds_since(gint64 start)
{
    return 1e-6 * (double)(g_get_monotonic_time() - start);
}

static void say_token(struct run *r, const MoeToken *token)
{
    const MoeTokenBatch batch = {.run = r->number,
                                 .tokens = token,
                                 .count = token ? 1 : 0,
                                 .text = r->text->str,
                                 .generated = r->result->answer->len,
                                 .seconds = seconds_since(r->started)};
    r->listener->tokens(r->listener->user, &batch);
}

/* Tells where the tokens went that were computed since, up to position `end`. */
static void say_routes(struct run *r, uint32_t end)
{
    const vkmoe_model_info *model = &r->runtime->loaded->model;
    uint32_t ranks = r->runtime->ranks, count = end > r->routed ? end - r->routed : 0;
    size_t n = (size_t)model->n_moe_layers * count * ranks;
    if (n == 0)
        return;
    g_autofree int32_t *ids = g_new(int32_t, n);
    g_autofree float *gates = g_new(float, n);
    g_autofree float *probs = g_new(float, n);
    vkmoe_routes routes = {
        .first = r->routed, .count = count, .ids = ids, .gates = gates, .probs = probs};
    if (vkmoe_session_read_routes(r->runtime->session, &routes, NULL) != VKMOE_OK)
        return; /* they only illustrate */
    const MoeRouteBatch batch = {.run = r->number,
                                 .first = routes.first,
                                 .count = count,
                                 .layers = model->n_moe_layers,
                                 .ranks = routes.ranks,
                                 .ids = ids,
                                 .gates = gates,
                                 .probs = probs};
    r->listener->routes(r->listener->user, &batch);
    r->routed = end;
    r->told = g_get_monotonic_time();
}

static bool on_token(void *user, int32_t id)
{
    struct run *r = user;
    MoeToken token = {.id = id, .position = r->next, .message = r->params->messages->len};
    if (g_get_monotonic_time() - r->told >= ROUTES_INTERVAL_US)
        say_routes(r, r->next); /* this token's own are computed with the next */
    if (id == r->end)
        return false;
    g_array_append_val(r->result->answer, id);
    g_string_truncate(r->text, 0);
    moe_pieces_add(&r->pieces, id, r->text, &token);
    r->next++;
    say_token(r, &token);
    return !r->listener->cancelled(r->listener->user);
}

/* The newest token has no route until it is computed, which otherwise the next run would do. */
static void route_last(struct run *r)
{
    vkmoe_session *session = r->runtime->session;
    uint32_t length = vkmoe_session_length(session);
    vkmoe_routes routes = {.first = length, .count = 0};
    if (r->runtime->ranks == 0 || length == 0)
        return;
    if (vkmoe_session_read_routes(session, &routes, NULL) != VKMOE_OK) {
        const int32_t last = vkmoe_session_tokens(session)[length - 1];
        vkmoe_session_clear_cancel(session);
        if (vkmoe_session_rollback(session, length - 1, NULL) != VKMOE_OK ||
            vkmoe_session_eval(session, &last, 1, NULL, NULL) != VKMOE_OK)
            return; /* the next run finds out, and says it */
    }
    say_routes(r, length);
}

/* The text so far once more, for what each of its tokens was worth. */
static vkmoe_status compute_losses(struct run *r, vkmoe_error *err)
{
    vkmoe_session *session = r->runtime->session;
    uint32_t count = vkmoe_session_length(session);
    if (count < 2)
        return VKMOE_OK;
    g_autofree int32_t *ids = g_memdup2(vkmoe_session_tokens(session), count * sizeof(*ids));
    float *losses = g_new(float, count - 1);
    const vkmoe_trace trace = {.losses = losses};
    vkmoe_session_reset(session);
    vkmoe_status status = vkmoe_session_eval(session, ids, count, &trace, err);
    if (status != VKMOE_OK) {
        g_free(losses);
        return status;
    }
    r->result->losses = losses;
    r->result->result.losses = losses;
    r->result->result.n_losses = count - 1;
    return VKMOE_OK;
}

static vkmoe_status run_text(struct run *r, MoePrompt *prompt, vkmoe_error *err)
{
    const MoeGenerateParams *params = r->params;
    MoeResult *result = &r->result->result;
    const vkmoe_generate_params generate = {.max_tokens = params->max_tokens,
                                            .sampling = params->sampling,
                                            .on_token = on_token,
                                            .user = r};
    gint64 start = g_get_monotonic_time();
    say_prompt(r, prompt);
    vkmoe_status status = evaluate(r, prompt, err);
    result->prompt_seconds = seconds_since(start);
    r->started = g_get_monotonic_time();
    r->next = prompt->ids->len;
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(r->runtime->session, &generate, NULL, err);
    result->seconds = seconds_since(r->started);
    if (status == VKMOE_OK || status == VKMOE_CANCELLED || status == VKMOE_CONTEXT_FULL)
        route_last(r);
    g_string_truncate(r->text, 0);
    moe_pieces_finish(&r->pieces, r->text);
    if (r->text->len > 0)
        say_token(r, NULL);
    if ((status == VKMOE_OK || status == VKMOE_CONTEXT_FULL) && params->want_losses) {
        vkmoe_status losses = compute_losses(r, err);
        status = losses == VKMOE_OK ? status : losses;
    }
    return status;
}

/* In pieces: what is known is told, and kept where the rest is cancelled. */
static vkmoe_status route_text(struct run *r, MoePrompt *prompt, vkmoe_error *err)
{
    vkmoe_session *session = r->runtime->session;
    moe_prompt_trim(prompt);
    const int32_t *ids = (const int32_t *)(gpointer)prompt->ids->data;
    uint32_t count = MIN(prompt->ids->len, vkmoe_session_context(session)), at;
    gint64 start = g_get_monotonic_time();
    say_prompt(r, prompt);
    if (count == 0)
        return VKMOE_OK;
    vkmoe_status status = reuse(r, ids, count, &at, err);
    while (status == VKMOE_OK && at < count && !r->listener->cancelled(r->listener->user)) {
        uint32_t n = MIN(count - at, ROUTES_AT_ONCE);
        status = vkmoe_session_eval(session, ids + at, n, NULL, err);
        at += status == VKMOE_OK ? n : 0;
        say_routes(r, at);
    }
    r->result->result.prompt_seconds = seconds_since(start);
    return status;
}

static vkmoe_status nothing_open(vkmoe_error *err)
{
    *err = (vkmoe_error){.status = VKMOE_NOT_FOUND};
    g_strlcpy(err->message, "no model is open; open one first", sizeof(err->message));
    return err->status;
}

static vkmoe_status no_tokens(vkmoe_error *err)
{
    *err = (vkmoe_error){.status = VKMOE_INVALID_ARGUMENT};
    g_strlcpy(err->message,
              "the prompt is empty, and the model has no token that begins a text; "
              "type something for it to continue",
              sizeof(err->message));
    return err->status;
}

typedef vkmoe_status run_func(struct run *r, MoePrompt *prompt, vkmoe_error *err);

static vkmoe_status run_messages(struct run *r, run_func *func, vkmoe_error *err)
{
    MoeRuntime *self = r->runtime;
    const MoeGenerateParams *params = r->params;
    MoePrompt prompt;
    if (!self->loaded)
        return nothing_open(err);
    vkmoe_chat_template chat_template = self->loaded->chat_template;
    vkmoe_status status = moe_prompt_init(&prompt, self->open.tokenizer, params->chat,
                                          chat_template, params->messages, err);
    if (status != VKMOE_OK)
        return status;
    r->pieces.tokenizer = self->open.tokenizer;
    r->pieces.trim = params->chat;
    r->end = params->chat ? vkmoe_chat_end_token(chat_template, self->open.tokenizer) : -1;
    status = prompt.ids->len > 0 ? set_routing(self, &params->routing, err) : no_tokens(err);
    if (status == VKMOE_OK) {
        r->listener->session(r->listener->user, self->session);
        status = func(r, &prompt, err);
        r->listener->session(r->listener->user, NULL);
        vkmoe_session_clear_cancel(self->session);
        vkmoe_session_get_stats(self->session, &r->result->result.stats);
    }
    moe_prompt_clear(&prompt);
    return status;
}

static void run_text_by(run_func *func, MoeRuntime *self, guint run,
                        const MoeGenerateParams *params, const MoeListener *listener,
                        MoeRunResult *result)
{
    *result = (MoeRunResult){.answer = g_array_new(FALSE, FALSE, sizeof(int32_t))};
    struct run r = {.runtime = self,
                    .params = params,
                    .listener = listener,
                    .result = result,
                    .text = g_string_new(NULL),
                    .number = run};
    vkmoe_status status = run_messages(&r, func, &result->err);
    if (status == VKMOE_OK && listener->cancelled(listener->user)) {
        status = VKMOE_CANCELLED; /* `func` found out */
        g_strlcpy(result->err.message, "stopped", sizeof(result->err.message));
    }
    result->result.run = run;
    result->result.status = status;
    result->result.message = status == VKMOE_OK ? "" : result->err.message;
    result->result.answer = (const int32_t *)(gpointer)result->answer->data;
    result->result.n_answer = result->answer->len;
    g_string_free(r.text, TRUE);
}

void moe_runtime_generate(MoeRuntime *self, guint run, const MoeGenerateParams *params,
                          const MoeListener *listener, MoeRunResult *result)
{
    run_text_by(run_text, self, run, params, listener, result);
}

void moe_runtime_route(MoeRuntime *self, guint run, const MoeGenerateParams *params,
                       const MoeListener *listener, MoeRunResult *result)
{
    run_text_by(route_text, self, run, params, listener, result);
}

void moe_run_result_clear(MoeRunResult *result)
{
    g_clear_pointer(&result->answer, g_array_unref);
    g_clear_pointer(&result->losses, g_free);
}
