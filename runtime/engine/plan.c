/* Plans for programs, and the refusal of what does not fit: with the numbers, and with the settings
 * that were tried and would do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "model/named.h"

/* Whether no other weights are made of those of a checkpoint. */
static bool are_fixed(const struct vkm_checkpoint *c)
{
    return vkm_checkpoint_is_gguf(c) || vkm_checkpoint_quantised(c) != VKM_DTYPE_COUNT;
}

static vkmoe_status make(const struct vkm_plan_request *q, vkmoe_plan *plan,
                         struct vkm_placement *placement, vkmoe_error *err)
{
    struct vkm_plan_params params = {
        .config = q->config,
        .checkpoint = q->checkpoint,
        .weights = q->weights,
        .loaded = q->loaded,
        .loaded_bytes = q->loaded_bytes,
        .state = vkm_session_layout(q->gpu, q->config, &q->session),
        .memory_limit = q->memory_limit,
        .limit_alone = q->limit_alone,
        .usage = q->usage,
    };
    params.cached = q->session.cache_tokens > 0 ? q->session.cache_tokens : params.state.context;
    return vkm_plan_make(q->gpu, &params, plan, placement, err);
}

/* --- how large a chunk, where nobody says --- */

#define MARGIN_PART 16u /* of the memory, that a chunk larger than need be leaves */

static bool leaves_room(const vkmoe_plan *plan)
{
    uint64_t limit = plan->memory_limit;
    if (!plan->fits || plan->n_host_experts > 0 ||
        (limit > 0 && plan->device_bytes > limit - limit / MARGIN_PART))
        return false;
    for (uint32_t i = 0; i < plan->n_heaps && !plan->limit_alone; i++) {
        const vkmoe_heap_plan *h = &plan->heaps[i];
        if (h->device_local && h->total + h->staging + h->reserve > h->left - h->left / MARGIN_PART)
            return false;
    }
    return true;
}

/* On GPUs the largest that leaves room: an expert is read once for all rows of a chunk, and of 64
 * with 6 for each token, 2048 rows give 192 to each. A CPU driver computes no faster for it. 0: the
 * library's least. */
static vkmoe_status choose_chunk(const struct vkm_plan_request *q, uint32_t *chunk,
                                 vkmoe_error *err)
{
    static const uint32_t sizes[] = {2048, 1024, 512};
    struct vkm_plan_request larger = *q;
    vkmoe_status status = VKMOE_OK;
    *chunk = q->session.chunk;
    if (*chunk > 0 || vkm_gpu_caps(q->gpu)->cpu)
        return VKMOE_OK;
    for (size_t i = 0; i < VKM_COUNT(sizes) && *chunk == 0 && status == VKMOE_OK; i++) {
        vkmoe_plan plan;
        larger.session.chunk = sizes[i];
        status = make(&larger, &plan, NULL, err);
        if (status == VKMOE_OK && leaves_room(&plan))
            *chunk = sizes[i];
    }
    return status;
}

static bool would_fit(const struct vkm_plan_request *q)
{
    vkmoe_plan plan;
    return make(q, &plan, NULL, NULL) == VKMOE_OK && plan.fits;
}

/* --- what would make it fit; 0 where nothing would --- */

/* The largest context, a multiple of the KV cache's blocks. */
static uint32_t context_that_fits(struct vkm_plan_request q, uint32_t context)
{
    uint32_t low = 0, high = vkm_ceil_div(context, VKM_KV_BLOCK); /* low fits, high does not */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        q.session.context = middle * VKM_KV_BLOCK;
        if (would_fit(&q))
            low = middle;
        else
            high = middle;
    }
    return low * VKM_KV_BLOCK;
}

static uint32_t chunk_that_fits(struct vkm_plan_request q, uint32_t chunk)
{
    for (chunk /= 2; chunk > 0; chunk /= 2) {
        q.session.chunk = chunk;
        if (would_fit(&q))
            break;
    }
    return chunk;
}

/* The first kind that takes less memory than the one asked for, and little enough. */
static vkmoe_weights weights_that_fit(struct vkm_plan_request q)
{
    unsigned kind = (unsigned)q.weights + 1;
    if (q.loaded || (q.checkpoint && are_fixed(q.checkpoint)))
        return VKMOE_WEIGHTS_STORED;
    for (; kind < VKMOE_WEIGHTS_COUNT; kind++) {
        q.weights = (vkmoe_weights)kind;
        if (would_fit(&q))
            return q.weights;
    }
    return VKMOE_WEIGHTS_STORED;
}

/* Likewise of the KV cache's kinds, which are listed from large to small. */
static vkmoe_kv kv_that_fits(struct vkm_plan_request q)
{
    for (unsigned kind = (unsigned)q.session.kv + 1; kind < VKMOE_KV_COUNT; kind++) {
        q.session.kv = (vkmoe_kv)kind;
        if (would_fit(&q))
            return q.session.kv;
    }
    return VKMOE_KV_F32;
}

/* What was still needed with as many experts as could be in host memory, in whole MiB; or where the
 * host has no room for those, what is needed without a limit. */
static uint64_t limit_that_fits(struct vkm_plan_request q, uint64_t needed)
{
    const uint64_t unit = UINT64_C(1) << 20;
    vkmoe_plan plan;
    if (q.memory_limit == 0)
        return 0;
    q.memory_limit = vkm_align_up(needed, unit);
    if (would_fit(&q))
        return q.memory_limit;
    q.memory_limit = 0;
    if (make(&q, &plan, NULL, NULL) != VKMOE_OK || !plan.fits)
        return 0;
    return vkm_align_up(plan.device_bytes, unit);
}

/* Another device with so much memory of its own in one heap. */
static bool device_that_fits(const struct vkm_gpu *gpu, uint64_t needed, vkmoe_device_info *found)
{
    vkmoe_device_info infos[16];
    struct vkm_gpu_params params = {.allocator = vkm_gpu_allocator(gpu)};
    size_t count = 0;
    if (vkm_gpu_list(&params, infos, VKM_COUNT(infos), &count, NULL) != VKMOE_OK)
        return false;
    for (size_t i = 0; i < count && i < VKM_COUNT(infos); i++) {
        if (!infos[i].usable || strcmp(infos[i].uuid, vkm_gpu_info(gpu)->uuid) == 0)
            continue;
        for (uint32_t h = 0; h < infos[i].n_heaps; h++) {
            if (infos[i].heaps[h].device_local && infos[i].heaps[h].budget >= needed) {
                *found = infos[i];
                return true;
            }
        }
    }
    return false;
}

/* --- the sentence --- */

struct sentence {
    char *text;
    size_t size, at;
};

static void say(struct sentence *s, const char *format, ...) VKM_PRINTF(2, 3);
static void say(struct sentence *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->text + s->at, s->size - s->at, format, args);
    va_end(args);
    s->at += n < 0 ? 0 : (size_t)n < s->size - s->at ? (size_t)n : s->size - s->at - 1;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 0x1p20;
}

static uint64_t heap_needs(const vkmoe_heap_plan *h)
{
    return h->total + h->staging + h->reserve;
}

/* The heap that has most too little; n_heaps where none has. */
static uint32_t worst_heap(const struct vkm_plan_request *q, const vkmoe_plan *plan)
{
    uint64_t most = 0;
    uint32_t worst = plan->n_heaps;
    for (uint32_t i = 0; i < plan->n_heaps && !q->limit_alone; i++) {
        uint64_t needed = heap_needs(&plan->heaps[i]), left = plan->heaps[i].left;
        if (needed > left && needed - left > most) {
            most = needed - left;
            worst = i;
        }
    }
    return worst;
}

/* What is needed and what there is: by the caller's limit where it has a part in it, and of a heap
 * of the device. Returns what is needed. */
static uint64_t say_numbers(struct sentence *s, const struct vkm_plan_request *q,
                            const vkmoe_plan *plan)
{
    uint64_t needed = plan->device_bytes, limit = plan->memory_limit;
    uint32_t worst = worst_heap(q, plan);
    bool limited = limit > 0 && needed > limit;
    s->at = strlen(plan->reason);
    if (s->at > 0)
        return needed;
    if (limited)
        say(s, "%.200s needs %.1f MiB of device memory, the memory limit grants %.1f MiB",
            q->loaded ? "the model with a session" : q->name, mib(needed), mib(limit));
    if (worst < plan->n_heaps) {
        needed = heap_needs(&plan->heaps[worst]);
        say(s, "%s%.200s needs %.1f MiB of memory heap %u of %s, where %.1f MiB are left",
            limited ? "; " : "",
            q->loaded ? "a session"
            : limited ? "it"
                      : q->name,
            mib(needed), worst, vkm_gpu_info(q->gpu)->name, mib(plan->heaps[worst].left));
        if (limit > 0 && !limited)
            say(s, ", under a memory limit of %.1f MiB", mib(limit));
    }
    if (plan->n_host_experts > 0)
        say(s, ", even with %u of %u experts in host memory", plan->n_host_experts,
            plan->n_experts);
    return needed;
}

static void find_remedies(const struct vkm_plan_request *q, uint64_t needed, vkmoe_plan *plan)
{
    vkmoe_remedies *r = &plan->remedies;
    vkmoe_device_info other;
    r->context = context_that_fits(*q, plan->context);
    r->chunk = chunk_that_fits(*q, plan->chunk);
    if (r->context == 0 && r->chunk == 0) {
        struct vkm_plan_request small = *q;
        small.session.chunk = 1;
        r->context = context_that_fits(small, plan->context);
        r->chunk = r->together = r->context > 0;
    }
    r->weights = weights_that_fit(*q);
    r->kv = kv_that_fits(*q);
    r->memory_limit = limit_that_fits(*q, plan->device_bytes);
    r->other_device = q->memory_limit == 0 && device_that_fits(q->gpu, needed, &other);
    if (r->other_device) {
        r->device = other.index;
        snprintf(r->device_name, sizeof(r->device_name), "%s", other.name);
    }
}

static bool any_remedy(const vkmoe_remedies *r)
{
    return r->context || r->chunk || r->weights || r->kv || r->memory_limit || r->other_device;
}

static void explain(const struct vkm_plan_request *q, vkmoe_plan *plan)
{
    struct sentence s = {.text = plan->reason, .size = sizeof(plan->reason)};
    find_remedies(q, say_numbers(&s, q, plan), plan);
    if (!any_remedy(&plan->remedies))
        say(&s,
            "; no smaller context or chunk, no smaller weights or KV cache, and no other %s would "
            "do",
            q->memory_limit > 0 ? "limit" : "device here");
}

static void say_remedies(struct sentence *s, const vkmoe_plan *plan)
{
    const vkmoe_remedies *r = &plan->remedies;
    const char *next = "; it would fit with";
    if (r->context > 0) {
        say(s, "%s a context of %u instead of %u", next, r->context, plan->context);
        next = r->together ? " and" : " or";
    }
    if (r->chunk > 0) {
        say(s, "%s a chunk of %u instead of %u", next, r->chunk, plan->chunk);
        next = " or";
    }
    if (r->weights != VKMOE_WEIGHTS_STORED) {
        say(s, "%s weights quantised to %d bits", next, r->weights == VKMOE_WEIGHTS_Q8 ? 8 : 4);
        next = " or";
    }
    if (r->kv != VKMOE_KV_F32) {
        say(s, "%s a KV cache of %d bits", next, r->kv == VKMOE_KV_Q8 ? 8 : 16);
        next = " or";
    }
    if (r->memory_limit > 0) {
        say(s, "%s a memory limit of %" PRIu64 " bytes", next, r->memory_limit);
        next = " or";
    }
    if (r->other_device)
        say(s, "%s device %u (%s)", next, r->device, r->device_name);
}

vkmoe_status vkm_plan_request(const struct vkm_plan_request *asked, vkmoe_plan *plan,
                              struct vkm_placement *placement, vkmoe_error *err)
{
    struct vkm_plan_request request = *asked, *q = &request;
    vkmoe_status status = vkm_session_check(q->config, &q->session, err);
    if (status == VKMOE_OK && (unsigned)q->weights >= VKMOE_WEIGHTS_COUNT)
        status = vkm_fail(err, VKMOE_INVALID_ARGUMENT, "weights are to be kept as kind %d of %d",
                          (int)q->weights, (int)VKMOE_WEIGHTS_COUNT);
    if (status == VKMOE_OK)
        status = choose_chunk(asked, &request.session.chunk, err);
    if (status == VKMOE_OK)
        status = make(q, plan, placement, err);
    if (status == VKMOE_OK && !plan->fits)
        explain(q, plan);
    return status;
}

vkmoe_status vkm_plan_refuse(const vkmoe_plan *plan, bool force, vkmoe_error *err)
{
    if (plan->fits || force)
        return VKMOE_OK;
    char text[1024] = "";
    say_remedies(&(struct sentence){.text = text, .size = sizeof(text)}, plan);
    return vkm_fail(err, VKMOE_OUT_OF_DEVICE_MEMORY, "%s%s (loading with force tries anyway)",
                    plan->reason, text);
}

vkmoe_weights vkm_weights_found(const struct vkm_checkpoint *checkpoint, vkmoe_weights kept)
{
    enum vkm_dtype found = checkpoint ? vkm_checkpoint_quantised(checkpoint) : VKM_DTYPE_COUNT;
    return found == VKM_DTYPE_Q8   ? VKMOE_WEIGHTS_Q8
           : found == VKM_DTYPE_Q4 ? VKMOE_WEIGHTS_Q4
                                   : kept;
}

vkmoe_weights vkm_weights_kept(const struct vkm_gpu *gpu, const struct vkm_checkpoint *checkpoint,
                               vkmoe_weights asked)
{
    bool known = asked == VKMOE_WEIGHTS_Q8 || asked == VKMOE_WEIGHTS_Q4;
    if (!checkpoint || !are_fixed(checkpoint) || !known)
        return asked;
    if (vkm_checkpoint_is_gguf(checkpoint))
        vkm_log(vkm_gpu_log(gpu), VKMOE_LOG_WARNING,
                "%s: the types of a GGUF file are used as they are, no other weights are made of "
                "them",
                vkm_checkpoint_path(checkpoint));
    else if (vkm_weights_found(checkpoint, asked) != asked)
        vkm_log(vkm_gpu_log(gpu), VKMOE_LOG_WARNING,
                "%s: the weights are quantised as %s already and used as they are, no others are "
                "made of them",
                vkm_checkpoint_path(checkpoint),
                vkm_dtype_name(vkm_checkpoint_quantised(checkpoint)));
    return VKMOE_WEIGHTS_STORED;
}

/* --- for programs --- */

vkmoe_status vkmoe_model_plan(vkmoe_device *device, const char *model,
                              const vkmoe_model_params *params, vkmoe_plan *out, vkmoe_error *err)
{
    static const vkmoe_model_params defaults;
    const vkmoe_model_params *p = params ? params : &defaults;
    VKM_REQUIRE(device && model && out, err);
    const vkmoe_allocator *a = vkm_gpu_allocator(device->gpu);
    struct vkm_config config;
    struct vkm_checkpoint *checkpoint = NULL;
    bool has_weights;
    vkmoe_plan plan;
    vkmoe_status status = vkm_config_resolve(a, model, &config, &has_weights, err);
    if (status == VKMOE_OK && has_weights)
        status = vkm_checkpoint_open_any(a, model, &checkpoint, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_plan_request request = {
        .gpu = device->gpu,
        .name = model,
        .config = &config,
        .checkpoint = checkpoint,
        .weights = vkm_weights_kept(device->gpu, checkpoint, p->weights),
        .session = {.context = p->context, .chunk = p->chunk, .routing = p->routing, .kv = p->kv},
        .memory_limit = p->memory_limit,
        .limit_alone = p->limit_alone && p->memory_limit > 0,
    };
    struct vkm_usage usage = {0};
    if (checkpoint) {
        vkm_usage_load(&usage, device->gpu, model, &config, checkpoint);
        request.usage = usage.counts;
    }
    status = vkm_plan_request(&request, &plan, NULL, err);
    plan.weights = vkm_weights_found(checkpoint, request.weights);
    vkm_usage_finish(&usage, device->gpu);
    vkm_checkpoint_close(checkpoint);
    if (status == VKMOE_OK)
        *out = plan;
    return status;
}
