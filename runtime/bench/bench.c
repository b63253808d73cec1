/* Prompts and generation, timed as a program that uses the library sees them. */
#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "vkmoe/bench.h"

#define DEFAULT_REPETITIONS 5u

_Static_assert(VKM_KERNEL_COUNT <= VKMOE_BENCH_MAX_KERNELS, "a result holds every kernel");

struct bench {
    struct vkmoe_model *model;
    const vkmoe_bench_params *params;
    int32_t *tokens; /* as many as depth and prompt need */
    uint32_t depth;  /* at least one: generation continues something */
    uint32_t repetitions;
    uint32_t done, total;
};

/* Tokens without a pattern, the same ones each time. */
static vkmoe_status make_tokens(struct bench *b, vkmoe_error *err)
{
    uint32_t count = vkm_max_u32(b->depth, b->params->prompt), state = 1;
    b->tokens = vkm_malloc(vkm_gpu_allocator(b->model->gpu), count, sizeof(*b->tokens));
    if (!b->tokens)
        return vkm_fail_memory(err, count * sizeof(*b->tokens), "a prompt");
    for (uint32_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        b->tokens[i] = (int32_t)((state >> 8) % b->model->info.vocab_size);
    }
    return VKMOE_OK;
}

static vkmoe_status open_session(struct bench *b, struct vkm_profile *profile,
                                 struct vkmoe_session **s, vkmoe_error *err)
{
    const vkmoe_session_params params = {
        .context = b->depth + vkm_max_u32(b->params->prompt, b->params->generate),
        .chunk = b->params->chunk,
        .routing = b->params->routing,
    };
    vkmoe_status status = vkmoe_session_create(b->model, &params, s, err);
    if (status != VKMOE_OK)
        return status;
    status = vkmoe_session_eval(*s, b->tokens, b->depth, NULL, err);
    (*s)->profile = profile;
    return status;
}

static vkmoe_status run_once(struct bench *b, struct vkmoe_session *s, bool prompt, double *seconds,
                             vkmoe_error *err)
{
    const vkmoe_bench_params *p = b->params;
    const vkmoe_generate_params generate = {.max_tokens = p->generate, .ignore_eos = true};
    if (p->progress && !p->progress(p->user, b->done++, b->total))
        return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    vkmoe_status status = vkmoe_session_rollback(s, b->depth, err);
    double start = vkm_seconds();
    if (status == VKMOE_OK)
        status = prompt ? vkmoe_session_eval(s, b->tokens, p->prompt, NULL, err)
                        : vkmoe_session_generate(s, &generate, NULL, err);
    *seconds = vkm_seconds() - start;
    return status;
}

/* Mean and standard deviation of tokens per second. */
static vkmoe_status run_all(struct bench *b, struct vkmoe_session *s, bool prompt,
                            vkmoe_bench_result *r, vkmoe_error *err)
{
    double sum = 0, squares = 0, seconds;
    vkmoe_status status = run_once(b, s, prompt, &seconds, err);
    for (uint32_t i = 0; i < r->repetitions && status == VKMOE_OK; i++) {
        status = run_once(b, s, prompt, &seconds, err);
        double rate = r->tokens / seconds;
        sum += rate;
        squares += rate * rate;
    }
    double n = r->repetitions;
    r->mean = sum / n;
    r->deviation = n > 1 ? sqrt(fmax(0, (squares - sum * sum / n) / (n - 1))) : 0;
    return status;
}

static int by_falling_time(const void *a, const void *b)
{
    const vkmoe_bench_kernel *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return (int)y->dispatches - (int)x->dispatches;
}

/* Generation is told by the token, a prompt as a whole. */
static void take_profile(const struct bench *b, const struct vkm_profile *p, bool prompt,
                         vkmoe_bench_result *r)
{
    const struct vkm_kernel_set *set = vkm_gpu_kernels(b->model->gpu);
    uint32_t parts = prompt ? 1 : r->tokens;
    for (uint32_t i = 0; i < VKM_KERNEL_COUNT; i++)
        if (p->dispatches[i] > 0)
            r->kernels[r->n_kernels++] =
                (vkmoe_bench_kernel){.name = set->kernels[i].name,
                                     .dispatches = p->dispatches[i] / parts,
                                     .seconds = p->seconds[i] / parts};
    qsort(r->kernels, r->n_kernels, sizeof(r->kernels[0]), by_falling_time);
}

static void take_counts(const struct vkm_profile *p, vkmoe_bench_result *r)
{
    uint32_t dispatches = 0;
    for (uint32_t i = 0; i < VKM_KERNEL_COUNT; i++)
        dispatches += p->dispatches[i];
    r->dispatches = p->steps ? dispatches / p->steps : 0;
    r->barriers = p->steps ? p->barriers / p->steps : 0;
}

/* Weights that a generated token passes: of the experts only those chosen, of the embeddings one
 * row. */
static double weight_bytes(const struct vkmoe_model *m, uint32_t experts_per_token)
{
    const struct vkm_weights *w = &m->weights;
    const struct vkm_config *c = &w->config;
    uint64_t idle = w->embed.view.buffer == w->lm_head.view.buffer ? 0 : w->embed.view.size;
    for (uint32_t i = 0; i < c->num_hidden_layers; i++)
        if (w->layers[i].is_moe)
            idle += (c->n_routed_experts - experts_per_token) *
                    vkm_expert_bytes(c, w->layers[i].expert_dtype);
    return (double)(w->bytes - idle);
}

/* The second of two repetitions counts: the first token of a new session is chosen from logits that
 * are there already. */
static vkmoe_status profile(struct bench *b, bool prompt, struct vkm_profile *timed,
                            vkmoe_error *err)
{
    struct vkmoe_session *s = NULL;
    double seconds;
    *timed = (struct vkm_profile){.timed = true};
    vkmoe_status status = open_session(b, timed, &s, err);
    if (status == VKMOE_OK)
        status = run_once(b, s, prompt, &seconds, err);
    *timed = (struct vkm_profile){.timed = true};
    if (status == VKMOE_OK)
        status = run_once(b, s, prompt, &seconds, err);
    vkmoe_session_destroy(s);
    return status;
}

static vkmoe_status measure(struct bench *b, bool prompt, vkmoe_bench_result *r, vkmoe_error *err)
{
    const vkmoe_bench_params *p = b->params;
    struct vkm_profile counted = {0}, timed;
    struct vkmoe_session *s = NULL;
    r->tokens = prompt ? p->prompt : p->generate;
    r->repetitions = b->repetitions;
    vkmoe_status status =
        vkm_measure_reads(b->model->gpu, &b->model->weights.lm_head, &r->read_bandwidth, err);
    if (status == VKMOE_OK)
        status = open_session(b, &counted, &s, err);
    if (status == VKMOE_OK)
        status = run_all(b, s, prompt, r, err);
    uint32_t experts = s ? vkmoe_session_experts_per_token(s) : 0;
    vkmoe_session_destroy(s);
    if (status == VKMOE_OK && p->profile)
        status = profile(b, prompt, &timed, err);
    take_counts(&counted, r);
    if (status == VKMOE_OK && p->profile)
        take_profile(b, &timed, prompt, r);
    if (!prompt) {
        double positions = b->depth + (r->tokens - 1) / 2.0;
        r->weight_bytes = weight_bytes(b->model, experts);
        r->kv_bytes = positions * (double)vkm_kv_bytes(&b->model->weights.config, VKM_KV_BLOCK) /
                      VKM_KV_BLOCK;
        r->bytes_per_second = (r->weight_bytes + r->kv_bytes) * r->mean;
    }
    return status;
}

vkmoe_status vkmoe_bench_run(vkmoe_model *model, const vkmoe_bench_params *params,
                             vkmoe_bench_result *prompt, vkmoe_bench_result *generate,
                             vkmoe_error *err)
{
    VKM_REQUIRE(model && params && prompt && generate, err);
    struct bench b = {.model = model,
                      .params = params,
                      .depth = vkm_max_u32(params->depth, 1),
                      .repetitions =
                          params->repetitions ? params->repetitions : DEFAULT_REPETITIONS};
    uint32_t each = b.repetitions + 1 + (params->profile ? 2 : 0);
    *prompt = *generate = (vkmoe_bench_result){0};
    if (params->prompt == 0 && params->generate == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "neither a prompt nor generated tokens are to be measured");
    b.total = (params->prompt > 0 ? each : 0) + (params->generate > 0 ? each : 0);
    vkmoe_status status = make_tokens(&b, err);
    if (status == VKMOE_OK && params->prompt > 0)
        status = measure(&b, true, prompt, err);
    if (status == VKMOE_OK && params->generate > 0)
        status = measure(&b, false, generate, err);
    vkm_free(vkm_gpu_allocator(model->gpu), b.tokens);
    return status;
}
