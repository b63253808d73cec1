#include "model/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../shaders/params.h"
#include "model/kv.h"

/* What a driver needs itself, for pipelines and command buffers: a small part of the heap. */
#define RESERVE_PART 64u
#define RESERVE_MAX (UINT64_C(128) << 20)

/* --- rehearsing --- */

/* A model and a session in memory that is only booked. */
struct rehearsal {
    struct vkm_gpu *gpu;
    const struct vkm_plan_params *params;
    const struct vkm_placement *placement;
    vkmoe_plan *plan;
    struct vkm_weights weights;
    struct vkm_kv kv;
    struct vkm_state state;
    struct vkm_heap_use now[VKMOE_MAX_HEAPS]; /* as last measured */
    uint64_t oversize; /* bytes of a KV cache that cannot be placed, counted in this heap */
    uint32_t oversize_heap;
};

/* Adds what was placed since the last call to the member at `member` of each heap's plan. */
static void count(struct rehearsal *r, size_t member)
{
    for (uint32_t i = 0; i < r->plan->n_heaps; i++) {
        uint64_t before = r->now[i].buffers;
        vkm_gpu_heap_use(r->gpu, i, &r->now[i]);
        uint64_t *bytes = (uint64_t *)(void *)((char *)&r->plan->heaps[i] + member);
        *bytes += r->now[i].buffers - before;
    }
}

/* The staging ring fills, then goes. */
static vkmoe_status rehearse_staging(struct rehearsal *r, vkmoe_error *err)
{
    struct vkm_buffer *slots[VKM_UPLOAD_SLOTS] = {NULL};
    vkmoe_status status = VKMOE_OK;
    if (!vkm_gpu_stages(r->gpu))
        return VKMOE_OK;
    for (uint32_t i = 0; i < VKM_UPLOAD_SLOTS && status == VKMOE_OK; i++)
        status = vkm_buffer_create(r->gpu, VKM_MEMORY_HOST, VKM_UPLOAD_CHUNK, "the staging ring",
                                   &slots[i], err);
    for (uint32_t i = 0; i < r->plan->n_heaps; i++) {
        struct vkm_heap_use use;
        vkm_gpu_heap_use(r->gpu, i, &use);
        r->plan->heaps[i].staging = use.blocks - r->now[i].blocks;
    }
    for (uint32_t i = 0; i < VKM_UPLOAD_SLOTS; i++)
        vkm_buffer_destroy(r->gpu, slots[i]);
    return status;
}

static vkmoe_status rehearse_weights(struct rehearsal *r, vkmoe_error *err)
{
    struct vkm_weights_params params = {.config = r->params->config,
                                        .checkpoint = r->params->checkpoint,
                                        .placement = r->placement,
                                        .weights = r->params->weights};
    vkmoe_status status = vkm_weights_bind(r->gpu, &params, &r->weights, err);
    if (status != VKMOE_OK)
        return status;
    count(r, offsetof(vkmoe_heap_plan, weights));
    return rehearse_staging(r, err);
}

/* A cache of which one layer's keys exceed what the device grants in one piece cannot be placed: it
 * is only counted, in the first of the device's own heaps. */
static bool cache_is_too_large(struct rehearsal *r)
{
    const struct vkm_config *c = r->params->config;
    enum vkm_dtype dtype = vkm_kv_dtype(r->params->state.kv);
    uint64_t all = vkm_kv_bytes(c, dtype, r->params->cached);
    uint64_t piece = all / (2 * c->num_hidden_layers);
    if (piece <= vkm_gpu_max_buffer(r->gpu))
        return false;
    for (uint32_t i = 0; i < r->plan->n_heaps && r->oversize == 0; i++) {
        if (r->plan->heaps[i].device_local) {
            r->plan->heaps[i].kv_cache = r->oversize = all;
            r->oversize_heap = i;
        }
    }
    snprintf(r->plan->reason, sizeof(r->plan->reason),
             "the keys of one layer's KV cache need %.1f MiB in one piece, and %s grants at most "
             "%.1f MiB",
             (double)piece / 0x1p20, vkm_gpu_info(r->gpu)->name,
             (double)vkm_gpu_max_buffer(r->gpu) / 0x1p20);
    return true;
}

static vkmoe_status rehearse_session(struct rehearsal *r, vkmoe_error *err)
{
    const struct vkm_state_params *p = &r->params->state;
    uint32_t blocks = vkm_ceil_div(r->params->cached, VKM_KV_BLOCK);
    vkmoe_status status = VKMOE_OK;
    if (!cache_is_too_large(r)) {
        status = vkm_kv_init(&r->kv, r->gpu, r->params->config, vkm_kv_dtype(p->kv), blocks, err);
        if (status != VKMOE_OK)
            return status;
        count(r, offsetof(vkmoe_heap_plan, kv_cache));
    }
    status = vkm_state_allocate(&r->state, r->gpu, r->params->config, p, err);
    if (status == VKMOE_OK)
        count(r, offsetof(vkmoe_heap_plan, scratch));
    return status;
}

uint64_t vkm_plan_device_bytes(const struct vkm_gpu *gpu)
{
    return vkm_gpu_kind_used(gpu, VKM_MEMORY_DEVICE) + vkm_gpu_kind_used(gpu, VKM_MEMORY_SHARED);
}

/* What the heaps hold and have left before anything is placed. */
static void begin(struct rehearsal *r, struct vkm_gpu *gpu)
{
    const vkmoe_device_info *info = vkm_gpu_info(gpu);
    vkmoe_plan *plan = r->plan;
    *plan = (vkmoe_plan){.n_heaps = info->n_heaps,
                         .context = r->params->state.context,
                         .chunk = r->params->state.max_rows,
                         .kv = r->params->state.kv,
                         .memory_limit = r->params->memory_limit,
                         .limit_alone = r->params->limit_alone,
                         .n_experts = r->placement->n_layers * r->placement->n_experts,
                         .n_host_experts = r->placement->n_host};
    plan->kv_bytes_per_token =
        vkm_kv_bytes(r->params->config, vkm_kv_dtype(plan->kv), VKM_KV_BLOCK) / VKM_KV_BLOCK;
    for (uint32_t i = 0; i < plan->n_heaps; i++) {
        uint64_t part = info->heaps[i].size / RESERVE_PART;
        vkm_gpu_heap_use(r->gpu, i, &r->now[i]);
        plan->heaps[i].device_local = info->heaps[i].device_local;
        plan->heaps[i].left = r->now[i].left;
        if (info->heaps[i].device_local && !vkm_gpu_is_reference(gpu))
            plan->heaps[i].reserve = part < RESERVE_MAX ? part : RESERVE_MAX;
    }
}

/* How likely a token is to choose expert e of a layer: as often as in the past, if that is known.
 */
static double chance(const struct rehearsal *r, uint32_t moe, uint32_t e)
{
    double k = r->params->state.routing.k, sum = 0;
    uint32_t n = r->params->config->n_routed_experts;
    const uint64_t *usage = r->params->usage ? r->params->usage + (size_t)moe * n : NULL;
    for (uint32_t i = 0; usage && i < n; i++)
        sum += (double)usage[i];
    return sum > 0 ? k * (double)usage[e] / sum : k / n;
}

/* Bytes of weights that one token reads, from the device and over the bus. */
static void count_reads(struct rehearsal *r)
{
    const struct vkm_config *c = r->params->config;
    const struct vkm_placement *p = r->placement;
    const struct vkm_weights *w = &r->weights;
    double device = (double)w->bytes - (c->tie_word_embeddings ? 0 : (double)w->embed.view.size);
    double host = 0;
    uint32_t moe = 0;
    for (uint32_t i = 0; i < c->num_hidden_layers; i++) {
        if (!w->layers[i].is_moe)
            continue;
        const bool *on_host = p->on_host + (size_t)moe * p->n_experts;
        double size = (double)vkm_expert_bytes(c, w->layers[i].expert_dtype);
        for (uint32_t e = 0; e < p->n_experts; e++) {
            double chosen = chance(r, moe, e);
            device -= size * (on_host[e] ? 1 : 1 - chosen);
            host += on_host[e] ? size * chosen : 0;
        }
        moe++;
    }
    r->plan->device_bytes_per_token = device;
    r->plan->host_bytes_per_token = host;
    r->plan->host_expert_bytes = w->host_bytes;
}

/* Everything placed once, and counted. */
static vkmoe_status rehearse(struct vkm_gpu *gpu, const struct vkm_plan_params *params,
                             const struct vkm_placement *placement, vkmoe_plan *plan,
                             vkmoe_error *err)
{
    struct rehearsal r = {.params = params, .placement = placement, .plan = plan};
    struct vkm_heap_use first[VKMOE_MAX_HEAPS];
    vkmoe_status status = vkm_gpu_rehearse(gpu, &r.gpu, err);
    if (status != VKMOE_OK)
        return status;
    begin(&r, gpu);
    for (uint32_t i = 0; i < plan->n_heaps; i++)
        first[i] = r.now[i];
    if (!params->loaded)
        status = rehearse_weights(&r, err);
    if (status == VKMOE_OK)
        status = rehearse_session(&r, err);
    if (status == VKMOE_OK && !params->loaded)
        count_reads(&r);
    for (uint32_t i = 0; i < plan->n_heaps; i++) {
        vkmoe_heap_plan *h = &plan->heaps[i];
        uint64_t in_buffers = h->weights + h->kv_cache + h->scratch;
        h->total = r.now[i].blocks - first[i].blocks + (i == r.oversize_heap ? r.oversize : 0);
        h->unused = h->total > in_buffers ? h->total - in_buffers : 0;
    }
    plan->device_bytes = r.oversize + params->loaded_bytes + vkm_plan_device_bytes(r.gpu) -
                         vkm_plan_device_bytes(gpu);
    vkm_state_finish(&r.state);
    vkm_kv_finish(&r.kv);
    vkm_weights_finish(&r.weights);
    vkm_gpu_rehearsal_end(r.gpu);
    return status;
}

/* --- placing experts --- */

struct ranked {
    uint64_t count; /* of times chosen */
    uint32_t expert;
};

/* The search for a placement. */
struct search {
    struct vkm_gpu *gpu;
    const struct vkm_plan_params *params;
    struct ranked *order; /* in which experts go to host memory */
    uint32_t n;
    struct vkm_placement placement;
    vkmoe_plan *plan;
};

/* The least used first, and among equals from the last layer back. */
static int by_use(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return x->expert < y->expert ? 1 : x->expert > y->expert ? -1 : 0;
}

static void rank(struct search *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        s->order[i] = (struct ranked){s->params->usage ? s->params->usage[i] : 0, i};
    qsort(s->order, s->n, sizeof(*s->order), by_use);
}

static vkmoe_status try_place(struct search *s, uint32_t n_host, vkmoe_error *err)
{
    s->placement.n_host = n_host;
    for (uint32_t i = 0; i < s->n; i++)
        s->placement.on_host[s->order[i].expert] = i < n_host;
    return rehearse(s->gpu, s->params, &s->placement, s->plan, err);
}

static uint64_t over(uint64_t needed, uint64_t granted)
{
    return needed > granted ? needed - granted : 0;
}

static uint64_t over_heap(const vkmoe_heap_plan *h)
{
    return over(h->total + h->staging + h->reserve, h->left);
}

/* By how much the plan overfills what experts can be moved away from: a heap of the device, if the
 * host has one of its own, and the limit. */
static uint64_t movable(const vkmoe_plan *plan)
{
    uint64_t most = 0, limited = 0;
    bool host_heap = false;
    if (plan->memory_limit > 0)
        limited = over(plan->device_bytes, plan->memory_limit);
    for (uint32_t i = 0; i < plan->n_heaps && !plan->limit_alone; i++) {
        const vkmoe_heap_plan *h = &plan->heaps[i];
        host_heap |= !h->device_local;
        if (h->device_local && over_heap(h) > most)
            most = over_heap(h);
    }
    return host_heap && most > limited ? most : limited;
}

static bool fits(const vkmoe_plan *plan, bool unlimited_heaps)
{
    bool good = !plan->reason[0];
    good &= plan->memory_limit == 0 || plan->device_bytes <= plan->memory_limit;
    for (uint32_t i = 0; i < plan->n_heaps && !unlimited_heaps; i++)
        good &= over_heap(&plan->heaps[i]) == 0;
    return good;
}

/* Moves as many experts as the last rehearsal was too large by, until it fits or all are moved;
 * then back as many as allocations, which come in blocks, have left room for. */
static vkmoe_status settle(struct search *s, vkmoe_error *err)
{
    uint64_t expert = vkm_expert_bytes(s->params->config, VKM_DTYPE_BF16), excess;
    uint32_t placed = 0, too_few = 0;
    vkmoe_status status = try_place(s, 0, err);
    while (status == VKMOE_OK && !s->params->loaded && placed < s->n &&
           (excess = movable(s->plan)) > 0) {
        uint64_t more = excess / expert + (excess % expert != 0);
        too_few = placed;
        placed = more < s->n - placed ? placed + (uint32_t)more : s->n;
        status = try_place(s, placed, err);
    }
    if (status != VKMOE_OK || movable(s->plan) > 0)
        return status;
    while (placed - too_few > 1 && status == VKMOE_OK) {
        uint32_t middle = too_few + (placed - too_few) / 2;
        status = try_place(s, middle, err);
        if (movable(s->plan) > 0)
            too_few = middle;
        else
            placed = middle;
    }
    if (status == VKMOE_OK && s->placement.n_host != placed)
        status = try_place(s, placed, err);
    return status;
}

vkmoe_status vkm_plan_make(struct vkm_gpu *gpu, const struct vkm_plan_params *params,
                           vkmoe_plan *plan, struct vkm_placement *placement, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(gpu);
    uint32_t layers = vkm_config_moe_layers(params->config);
    uint32_t experts = params->config->n_routed_experts;
    struct search s = {.gpu = gpu, .params = params, .n = layers * experts, .plan = plan};
    s.placement = (struct vkm_placement){.n_layers = layers, .n_experts = experts};
    s.placement.on_host = vkm_calloc(a, s.n, sizeof(*s.placement.on_host));
    s.order = vkm_calloc(a, s.n, sizeof(*s.order));
    vkmoe_status status = VKMOE_OK;
    if (!s.placement.on_host || !s.order)
        status = vkm_fail_memory(err, s.n * sizeof(*s.order), "the places of experts");
    if (status == VKMOE_OK) {
        rank(&s);
        status = settle(&s, err);
    }
    if (status == VKMOE_OK)
        plan->fits = fits(plan, params->limit_alone || vkm_gpu_is_reference(gpu));
    vkm_free(a, s.order);
    if (placement && status == VKMOE_OK)
        *placement = s.placement;
    else
        vkm_placement_finish(a, &s.placement);
    return status;
}

void vkm_placement_finish(const vkmoe_allocator *a, struct vkm_placement *p)
{
    vkm_free(a, p->on_host);
    *p = (struct vkm_placement){0};
}
