/* Affinity: which experts serve which text. */
#include <string.h>

#include "study/permute.h"
#include "study/windows.h"

#define PERMUTATIONS 999

struct run {
    struct vkm_windows windows;
    const vkmoe_affinity_text *texts;
    uint32_t n_texts, permutations;
    uint64_t seed;
    size_t n_windows, experts; /* of all texts, of all layers */
    vkmoe_affinity *result;
    uint32_t *text_of; /* [n_windows] */
    uint32_t *chosen;  /* [n_layers, n_windows, n_experts] */
    uint64_t *window;  /* [n_layers, n_experts] */
};

static vkmoe_status allocate(struct run *r, const vkmoe_allocator *a, vkmoe_error *err)
{
    r->text_of = vkm_malloc(a, r->n_windows, sizeof(*r->text_of));
    r->chosen = vkm_malloc(a, r->n_windows * r->experts, sizeof(*r->chosen));
    r->window = vkm_malloc(a, r->experts, sizeof(*r->window));
    if (!r->text_of || !r->chosen || !r->window)
        return vkm_fail_memory(err, r->n_windows * r->experts * sizeof(*r->chosen),
                               "the counts of every window");
    return VKMOE_OK;
}

static void release(struct run *r, const vkmoe_allocator *a)
{
    vkm_free(a, r->text_of);
    vkm_free(a, r->chosen);
    vkm_free(a, r->window);
}

/* The counts of a window, layer by layer. */
static void keep(struct run *r, uint32_t text, size_t window)
{
    uint32_t n = r->windows.n_experts;
    uint64_t *sums = r->result->chosen + text * r->experts;
    r->text_of[window] = text;
    for (size_t i = 0; i < r->experts; i++) {
        r->chosen[(i / n * r->n_windows + window) * n + i % n] = (uint32_t)r->window[i];
        sums[i] += r->window[i];
    }
}

static vkmoe_status route(struct run *r, vkmoe_error *err)
{
    size_t window = 0;
    memset(r->result->chosen, 0, r->n_texts * r->experts * sizeof(*r->result->chosen));
    for (uint32_t t = 0; t < r->n_texts; t++) {
        const vkmoe_affinity_text *text = &r->texts[t];
        uint32_t n_windows = (uint32_t)vkm_windows_of(&r->windows, text->count);
        r->result->windows[t] = n_windows;
        r->result->tokens[t] = text->count + n_windows * r->windows.params->bos;
        for (size_t at = 0; at < text->count; at += r->windows.room) {
            size_t left = text->count - at;
            vkmoe_status status = vkm_windows_eval(&r->windows, text->tokens + at,
                                                   left < r->windows.room ? left : r->windows.room,
                                                   NULL, r->window, err);
            if (status != VKMOE_OK)
                return status;
            keep(r, t, window++);
        }
    }
    return VKMOE_OK;
}

static bool is_cancelled(void *session)
{
    return vkm_session_take_cancel(session, NULL);
}

static vkmoe_status test(const struct run *r, vkmoe_error *err)
{
    uint32_t n = r->windows.n_experts, layers = r->windows.n_layers;
    vkmoe_affinity *out = r->result;
    vkmoe_status status = VKMOE_OK;
    for (uint32_t l = 0; l < layers && status == VKMOE_OK; l++) {
        status = vkm_affinity_of(r->chosen + l * r->n_windows * n, r->text_of, r->n_windows,
                                 r->n_texts, n, r->permutations, r->seed, is_cancelled,
                                 r->windows.session, &out->layers[l], err);
        if (status != VKMOE_OK)
            break;
        out->layer_p[l] = out->layers[l].p;
        memcpy(out->expert_p + (size_t)l * n, out->layers[l].expert_p, n * sizeof(double));
    }
    if (status == VKMOE_OK)
        status = vkmoe_adjust(VKMOE_ADJUST_HOLM, out->layer_p, layers, out->layer_p, err);
    if (status == VKMOE_OK)
        status = vkmoe_adjust(VKMOE_ADJUST_FDR, out->expert_p, r->experts, out->expert_p, err);
    return status;
}

static vkmoe_status check(const struct run *r, vkmoe_error *err)
{
    if (r->n_texts < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "%u text has nothing to differ from, expected at least 2", r->n_texts);
    for (uint32_t t = 0; t < r->n_texts; t++)
        if (r->texts[t].count == 0)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "text %u has no tokens", t);
    return VKMOE_OK;
}

static vkmoe_status run(struct run *r, struct vkmoe_model *m, vkmoe_error *err)
{
    const vkmoe_affinity *out = r->result;
    r->experts = (size_t)r->windows.n_layers * r->windows.n_experts;
    for (uint32_t t = 0; t < r->n_texts; t++)
        r->n_windows += (size_t)vkm_windows_of(&r->windows, r->texts[t].count);
    r->windows.total = r->n_windows;
    for (uint32_t l = 0; l < r->windows.n_layers; l++)
        VKM_REQUIRE(out->layers[l].expert_p, err);
    vkmoe_status status = allocate(r, vkm_gpu_allocator(m->gpu), err);
    if (status == VKMOE_OK)
        status = route(r, err);
    if (status == VKMOE_OK)
        status = test(r, err);
    r->result->experts_per_token = vkmoe_session_experts_per_token(r->windows.session);
    release(r, vkm_gpu_allocator(m->gpu));
    return status;
}

vkmoe_status vkmoe_affinity_run(vkmoe_model *model, const vkmoe_affinity_text *texts,
                                uint32_t n_texts, uint32_t permutations, uint64_t seed,
                                const vkmoe_study_params *params, vkmoe_affinity *result,
                                vkmoe_error *err)
{
    static const vkmoe_study_params defaults;
    VKM_REQUIRE(model && result && (texts || n_texts == 0), err);
    VKM_REQUIRE(result->windows && result->tokens && result->chosen && result->layers, err);
    VKM_REQUIRE(result->layer_p && result->expert_p, err);
    struct run r = {.texts = texts,
                    .n_texts = n_texts,
                    .permutations = permutations > 0 ? permutations : PERMUTATIONS,
                    .seed = seed,
                    .result = result};
    vkmoe_status status = check(&r, err);
    if (status == VKMOE_OK)
        status = vkm_windows_open(&r.windows, model, params ? params : &defaults, err);
    if (status == VKMOE_OK)
        status = run(&r, model, err);
    vkm_windows_close(&r.windows);
    return status;
}
