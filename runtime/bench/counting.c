/* What it costs generation to count routes: two sessions, of which one counts, take turns. */
#include <math.h>
#include <stdlib.h>

#include "bench/bench.h"

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Order statistics: the interval holds for any distribution, which times on a busy machine have. */
vkmoe_bench_counting vkm_counting_of(double *ratios, uint32_t n)
{
    vkmoe_bench_counting c = {.pairs = n};
    double outside = floor((n + 1) / 2.0 - 1.96 * sqrt(n) / 2);
    qsort(ratios, n, sizeof(*ratios), by_size);
    c.ratio = n > 0 ? (ratios[(n - 1) / 2] + ratios[n / 2]) / 2 : 0;
    if (outside >= 1) {
        c.low = ratios[(uint32_t)outside - 1];
        c.high = ratios[n - (uint32_t)outside];
    }
    return c;
}

static vkmoe_status open_session(struct vkmoe_model *model, const struct vkm_counting_params *p,
                                 bool counts, const int32_t *tokens, vkmoe_session **out,
                                 vkmoe_error *err)
{
    vkmoe_session_params params = p->session;
    params.context = p->depth + p->turn;
    params.count_routing = counts;
    vkmoe_status status = vkmoe_session_create(model, &params, out, err);
    return status == VKMOE_OK ? vkmoe_session_eval(*out, tokens, p->depth, NULL, err) : status;
}

/* The same positions each time. */
static vkmoe_status take_turn(vkmoe_session *session, const struct vkm_counting_params *p,
                              double *seconds, vkmoe_error *err)
{
    const vkmoe_generate_params params = {.max_tokens = p->turn, .ignore_eos = true};
    vkmoe_status status = vkmoe_session_rollback(session, p->depth, err);
    double start = vkm_seconds();
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(session, &params, NULL, err);
    *seconds = vkm_seconds() - start;
    return status;
}

/* One pair goes before; who begins changes from pair to pair. */
static vkmoe_status take_turns(vkmoe_session *const sessions[2],
                               const struct vkm_counting_params *p, double *ratios,
                               vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i <= p->pairs && status == VKMOE_OK; i++) {
        double seconds[2] = {1, 1};
        for (uint32_t j = 0; j < 2 && status == VKMOE_OK; j++)
            status = take_turn(sessions[(i + j) % 2], p, &seconds[(i + j) % 2], err);
        if (i > 0)
            ratios[i - 1] = seconds[1] / seconds[0];
    }
    return status;
}

vkmoe_status vkm_measure_counting(struct vkmoe_model *model, const struct vkm_counting_params *p,
                                  const int32_t *tokens, vkmoe_bench_counting *out,
                                  vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(model->gpu);
    vkmoe_session *sessions[2] = {NULL, NULL};
    double *ratios = vkm_malloc(a, p->pairs, sizeof(*ratios));
    vkmoe_status status = VKMOE_OK;
    if (!ratios)
        return vkm_fail_memory(err, p->pairs * sizeof(*ratios), "the times of pairs");
    for (int i = 0; i < 2 && status == VKMOE_OK; i++)
        status = open_session(model, p, i == 1, tokens, &sessions[i], err);
    if (status == VKMOE_OK)
        status = take_turns(sessions, p, ratios, err);
    if (status == VKMOE_OK)
        *out = vkm_counting_of(ratios, p->pairs);
    for (int i = 0; i < 2; i++)
        vkmoe_session_destroy(sessions[i]);
    vkm_free(a, ratios);
    return status;
}
