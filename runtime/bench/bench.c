/* Prompts and generation, timed as a program that uses the library sees them. */
#include <math.h>
#include <stdlib.h>

#include "bench/bench.h"

#define DEFAULT_REPETITIONS 5u
#define LARGE_BYTES (UINT64_C(256) << 20) /* that no cache of a GPU holds */
#define COUNTING_TURN 8u                  /* tokens */
#define LONG_SHARE 0.05                   /* of the time, by which a kernel is not just noise */

_Static_assert(VKM_KERNEL_COUNT <= VKMOE_BENCH_MAX_KERNELS, "a result holds every kernel");

struct bench {
    struct vkmoe_model *model;
    const vkmoe_bench_params *params;
    int32_t *tokens; /* as many as depth, batch and prompt need */
    uint32_t depth;  /* at least one: generation continues something */
    uint32_t batch;
    uint32_t repetitions;
    uint32_t done, total;
};

/* One test: a prompt of one sequence, or generation of one or several. */
struct test {
    struct bench *bench;
    bool prompt;
    struct vkmoe_session *session;
    struct vkm_together *together; /* in its place where there are several */
    struct vkm_profile *profile;   /* of what is run now; or NULL */
};

/* Tokens without a pattern, the same ones each time. */
static vkmoe_status make_tokens(struct bench *b, vkmoe_error *err)
{
    uint32_t count = vkm_max_u32(b->depth + b->batch, b->params->prompt), state = 1;
    b->tokens = vkm_malloc(vkm_gpu_allocator(b->model->gpu), count, sizeof(*b->tokens));
    if (!b->tokens)
        return vkm_fail_memory(err, count * sizeof(*b->tokens), "a prompt");
    for (uint32_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        b->tokens[i] = (int32_t)((state >> 8) % b->model->info.vocab_size);
    }
    return VKMOE_OK;
}

/* --- running --- */

static bool go_on(void *user)
{
    const struct bench *b = user;
    const vkmoe_bench_params *p = b->params;
    return !p->progress || p->progress(p->user, b->done, b->total);
}

static bool on_step(void *user, const vkmoe_step *step)
{
    (void)step;
    return go_on(user);
}

static vkmoe_session_params session_params(struct bench *b)
{
    return (vkmoe_session_params){
        .chunk = b->params->chunk,
        .routing = b->params->routing,
        .kv = b->params->kv,
        .on_step = on_step,
        .user = b,
    };
}

static vkmoe_status open_session(struct test *t, vkmoe_error *err)
{
    struct bench *b = t->bench;
    vkmoe_session_params params = session_params(b);
    params.context = b->depth + (t->prompt ? b->params->prompt : b->params->generate);
    vkmoe_status status = vkmoe_session_create(b->model, &params, &t->session, err);
    return status == VKMOE_OK ? vkmoe_session_eval(t->session, b->tokens, b->depth, NULL, err)
                              : status;
}

static vkmoe_status open_test(struct test *t, vkmoe_error *err)
{
    struct bench *b = t->bench;
    const struct vkm_together_params params = {
        .sequences = b->batch,
        .depth = b->depth,
        .generate = b->params->generate,
        .chunk = b->params->chunk,
        .routing = b->params->routing,
        .kv = b->params->kv,
        .go_on = go_on,
        .user = b,
    };
    if (t->prompt || b->batch == 1)
        return open_session(t, err);
    return vkm_together_create(b->model, &params, b->tokens, &t->together, err);
}

static void close_test(struct test *t)
{
    vkmoe_session_destroy(t->session);
    vkm_together_destroy(t->together);
    t->session = NULL;
    t->together = NULL;
}

/* After the tokens of `depth`, which stay. */
static vkmoe_status run_session(struct test *t, vkmoe_error *err)
{
    struct bench *b = t->bench;
    const vkmoe_generate_params generate = {.max_tokens = b->params->generate, .ignore_eos = true};
    t->session->profile = t->profile;
    if (t->prompt)
        return vkmoe_session_eval(t->session, b->tokens, b->params->prompt, NULL, err);
    return vkmoe_session_generate(t->session, &generate, NULL, err);
}

static vkmoe_status run_once(struct test *t, double *seconds, vkmoe_error *err)
{
    struct bench *b = t->bench;
    if (!go_on(b))
        return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    vkmoe_status status = t->session ? vkmoe_session_rollback(t->session, b->depth, err) : VKMOE_OK;
    double start = vkm_seconds();
    if (status == VKMOE_OK)
        status = t->session ? run_session(t, err) : vkm_together_run(t->together, t->profile, err);
    *seconds = vkm_seconds() - start;
    b->done++;
    return status;
}

/* Mean and standard deviation of tokens per second, after one repetition that does not count. */
static vkmoe_status run_all(struct test *t, vkmoe_bench_result *r, vkmoe_error *err)
{
    struct vkm_profile *counted = t->profile;
    double sum = 0, squares = 0, seconds;
    t->profile = NULL;
    vkmoe_status status = run_once(t, &seconds, err);
    t->profile = counted;
    for (uint32_t i = 0; i < r->repetitions && status == VKMOE_OK; i++) {
        status = run_once(t, &seconds, err);
        double rate = r->tokens / seconds;
        sum += rate;
        squares += rate * rate;
    }
    double n = r->repetitions;
    r->mean = sum / n;
    r->deviation = n > 1 ? sqrt(fmax(0, (squares - sum * sum / n) / (n - 1))) : 0;
    return status;
}

/* The second of two repetitions counts: the first has kernels to time that were never run. Both on
 * a session of their own, whose steps have timestamps. */
static vkmoe_status run_profiled(struct test *t, struct vkm_profile *timed, vkmoe_error *err)
{
    double seconds;
    vkmoe_status status = open_test(t, err);
    t->profile = timed;
    for (int i = 0; i < 2 && status == VKMOE_OK; i++) {
        *timed = (struct vkm_profile){.timed = true};
        status = run_once(t, &seconds, err);
    }
    return status;
}

/* --- what comes of it --- */

static int by_falling_time(const void *a, const void *b)
{
    const vkmoe_bench_kernel *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return (int)y->dispatches - (int)x->dispatches;
}

/* Of the same steps all of it: kernels are slower with timestamps between them. */
static double step_over_weights(const vkmoe_bench_result *r)
{
    double weights = 0;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        if (r->kernels[i].bytes > 0)
            weights += r->kernels[i].seconds * r->kernels[i].weight_bytes / r->kernels[i].bytes;
    return weights > 0 ? r->step_seconds / weights : 0;
}

/* Generation is told by the step, a prompt as a whole. */
static void take_profile(const struct bench *b, const struct vkm_profile *p, bool prompt,
                         vkmoe_bench_result *r)
{
    const struct vkm_kernel_set *set = vkm_gpu_kernels(b->model->gpu);
    uint32_t parts = prompt ? 1 : p->steps;
    for (uint32_t i = 0; i < VKM_KERNEL_COUNT; i++) {
        double seconds = p->seconds[i];
        if (p->dispatches[i] == 0)
            continue;
        r->kernels[r->n_kernels++] = (vkmoe_bench_kernel){
            .name = set->kernels[i].name,
            .dispatches = p->dispatches[i] / parts,
            .seconds = seconds / parts,
            .bytes = p->cost[i].bytes / parts,
            .weight_bytes = p->cost[i].weights / parts,
            .operations = p->cost[i].operations / parts,
            .unit_unknown = p->rounds[i],
        };
    }
    qsort(r->kernels, r->n_kernels, sizeof(r->kernels[0]), by_falling_time);
    if (!prompt && p->steps > 0) {
        r->step_seconds = p->step_seconds / p->steps;
        r->step_over_weights = step_over_weights(r);
    }
}

static void raise_peak(vkmoe_bench_peak *peak, double rate)
{
    peak->measured = fmax(peak->measured, rate);
    peak->rate = fmax(peak->rate, rate);
}

/* A CPU has no rate of its own that a kernel could not beat out of its caches. */
static void raise_peaks(const vkmoe_bench_result *r, vkmoe_bench_result *peaks)
{
    double total = 0;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        total += r->kernels[i].seconds;
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const vkmoe_bench_kernel *k = &r->kernels[i];
        if (k->seconds <= 0 || k->seconds < LONG_SHARE * total)
            continue;
        raise_peak(&peaks->memory, k->bytes / k->seconds);
        if (!k->unit_unknown)
            raise_peak(&peaks->arithmetic, k->operations / k->seconds);
    }
}

static void take_shares(vkmoe_bench_result *r, const vkmoe_bench_result *peaks, bool cpu)
{
    if (r->tokens == 0)
        return;
    r->memory = peaks->memory;
    r->arithmetic = peaks->arithmetic;
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        vkmoe_bench_kernel *k = &r->kernels[i];
        double bytes = k->bytes / r->memory.rate;
        double operations = k->unit_unknown ? 0 : k->operations / r->arithmetic.rate;
        k->share = k->seconds > 0 ? fmax(bytes, operations) / k->seconds : 0;
        k->share = cpu ? fmin(k->share, 1) : k->share;
    }
}

static vkmoe_status measure_peaks(const struct bench *b, vkmoe_bench_result *peaks,
                                  vkmoe_error *err)
{
    const struct vkmoe_model *m = b->model;
    vkmoe_status status =
        vkm_measure_reads(m->gpu, &m->weights.lm_head, &peaks->read_bandwidth, err);
    bool large = vkm_gpu_caps(m->gpu)->cpu || m->weights.lm_head.view.size >= LARGE_BYTES;
    return status == VKMOE_OK ? vkm_measure_peaks(m->gpu, large ? peaks->read_bandwidth : 0,
                                                  &peaks->memory, &peaks->arithmetic, err)
                              : status;
}

static void take_counts(const struct vkm_profile *p, vkmoe_bench_result *r)
{
    uint32_t dispatches = 0;
    double tokens = (double)r->tokens * r->repetitions;
    for (uint32_t i = 0; i < VKM_KERNEL_COUNT; i++)
        dispatches += p->dispatches[i];
    r->dispatches = p->steps ? dispatches / p->steps : 0;
    r->barriers = p->steps ? p->barriers / p->steps : 0;
    r->dispatches_per_token = dispatches / tokens;
    r->barriers_per_token = p->barriers / tokens;
    r->record_seconds = p->record_seconds / tokens;
    r->submit_seconds = p->submit_seconds / tokens;
    r->wait_seconds = p->wait_seconds / tokens;
}

/* Weights that a step passes: of the experts only so many in each layer, of the embeddings no more
 * than its rows. */
static double weight_bytes(const struct vkmoe_model *m, double experts)
{
    const struct vkm_weights *w = &m->weights;
    const struct vkm_config *c = &w->config;
    double idle = w->embed.view.buffer == w->lm_head.view.buffer ? 0 : (double)w->embed.view.size;
    for (uint32_t i = 0; i < c->num_hidden_layers; i++)
        if (w->layers[i].is_moe)
            idle += (c->n_routed_experts - experts) *
                    (double)vkm_expert_bytes(c, w->layers[i].expert_dtype);
    return (double)w->bytes - idle;
}

static vkmoe_status take_bytes(const struct test *t, vkmoe_bench_result *r, vkmoe_error *err)
{
    const struct bench *b = t->bench;
    double positions = b->depth + (b->params->generate - 1) / 2.0;
    double experts = t->session ? vkmoe_session_experts_per_token(t->session) : 0;
    vkmoe_status status = t->together ? vkm_together_experts(t->together, &experts, err) : VKMOE_OK;
    r->weight_bytes = weight_bytes(b->model, experts);
    r->kv_bytes =
        b->batch * positions *
        (double)vkm_kv_bytes(&b->model->weights.config, vkm_kv_dtype(b->params->kv), VKM_KV_BLOCK) /
        VKM_KV_BLOCK;
    r->bytes_per_second = (r->weight_bytes + r->kv_bytes) * r->mean / b->batch;
    return status;
}

static vkmoe_status measure(struct bench *b, bool prompt, vkmoe_bench_result *r, vkmoe_error *err)
{
    const vkmoe_bench_params *p = b->params;
    struct vkm_profile counted = {0}, timed = {0};
    struct test t = {.bench = b, .prompt = prompt, .profile = &counted};
    r->batch = prompt ? 1 : b->batch;
    r->tokens = prompt ? p->prompt : p->generate * b->batch;
    r->repetitions = b->repetitions;
    vkmoe_status status = open_test(&t, err);
    if (status == VKMOE_OK)
        status = run_all(&t, r, err);
    if (status == VKMOE_OK && !prompt)
        status = take_bytes(&t, r, err);
    close_test(&t);
    if (status == VKMOE_OK && p->profile)
        status = run_profiled(&t, &timed, err);
    close_test(&t);
    take_counts(&counted, r);
    if (status == VKMOE_OK && p->profile)
        take_profile(b, &timed, prompt, r);
    return status;
}

static vkmoe_status measure_counting(struct bench *b, vkmoe_bench_result *r, vkmoe_error *err)
{
    uint32_t turn = vkm_min_u32(b->params->generate, COUNTING_TURN);
    uint64_t pairs = (uint64_t)b->repetitions * b->params->generate / turn;
    const struct vkm_counting_params params = {
        .session = session_params(b),
        .depth = b->depth,
        .turn = turn,
        .pairs = (uint32_t)(pairs < UINT32_MAX ? pairs : UINT32_MAX),
    };
    if (!go_on(b))
        return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    vkmoe_status status = vkm_measure_counting(b->model, &params, b->tokens, &r->counting, err);
    b->done++;
    return status;
}

static vkmoe_status check(const struct bench *b, vkmoe_error *err)
{
    const vkmoe_bench_params *p = b->params;
    if (p->prompt == 0 && p->generate == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "neither a prompt nor generated tokens are to be measured");
    if (p->count_routing && (p->generate == 0 || b->model->info.n_routed_experts == 0))
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "there are no %s to count routes of",
                        p->generate == 0 ? "generated tokens" : "routed experts");
    return VKMOE_OK;
}

vkmoe_status vkmoe_bench_run(vkmoe_model *model, const vkmoe_bench_params *params,
                             vkmoe_bench_result *prompt, vkmoe_bench_result *generate,
                             vkmoe_error *err)
{
    VKM_REQUIRE(model && params && prompt && generate, err);
    struct bench b = {.model = model,
                      .params = params,
                      .depth = vkm_max_u32(params->depth, 1),
                      .batch = vkm_max_u32(params->batch, 1),
                      .repetitions =
                          params->repetitions ? params->repetitions : DEFAULT_REPETITIONS};
    uint32_t each = b.repetitions + 1 + (params->profile ? 2 : 0);
    vkmoe_bench_result peaks = {0};
    *prompt = *generate = (vkmoe_bench_result){0};
    b.total =
        (params->prompt > 0 ? each : 0) + (params->generate > 0 ? each : 0) + params->count_routing;
    vkmoe_status status = check(&b, err);
    if (status == VKMOE_OK)
        status = measure_peaks(&b, &peaks, err);
    if (status == VKMOE_OK)
        status = make_tokens(&b, err);
    if (status == VKMOE_OK && params->prompt > 0) {
        *prompt = peaks;
        status = measure(&b, true, prompt, err);
    }
    if (status == VKMOE_OK && params->generate > 0) {
        *generate = peaks;
        status = measure(&b, false, generate, err);
    }
    if (status == VKMOE_OK && params->count_routing)
        status = measure_counting(&b, generate, err);
    bool cpu = vkm_gpu_caps(model->gpu)->cpu;
    if (cpu) {
        raise_peaks(prompt, &peaks);
        raise_peaks(generate, &peaks);
    }
    take_shares(prompt, &peaks, cpu);
    take_shares(generate, &peaks, cpu);
    vkm_free(vkm_gpu_allocator(model->gpu), b.tokens);
    return status;
}
