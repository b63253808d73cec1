/* Cases of the router: softmax and top-K. */
#include "conform/case.h"

#include <float.h>

enum logits {
    LOGITS_PLAIN,
    LOGITS_WIDE, /* a far spread: most probabilities underflow */
    LOGITS_TIES, /* few distinct values, zeros of both signs */
    LOGITS_EQUAL,
    LOGITS_SPECIAL, /* NaN, infinities, the largest floats, denormals */
    LOGITS_NAN,     /* nothing else */
    LOGITS_COUNT
};

static const char *const logits_names[] = {"plain", "wide", "ties", "equal", "special", "nan"};

static float logit(struct vkm_random *r, enum logits kind)
{
    static const float specials[] = {NAN,     INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 1e-45f,
                                     -1e-45f, 1e-40f,   -1e-40f,   0,       -0.0f,    1};
    switch (kind) {
    case LOGITS_WIDE:
        return vkm_random_f32(r, -2000, 2000);
    case LOGITS_TIES:
        return (float)vkm_random_below(r, 4) * (vkm_random_below(r, 2) ? 0.5f : -0.5f);
    case LOGITS_EQUAL:
        return -3.25f;
    case LOGITS_SPECIAL:
        return specials[vkm_random_below(r, (uint32_t)VKM_COUNT(specials))];
    case LOGITS_NAN:
        return NAN;
    default:
        return vkm_random_f32(r, -8, 8);
    }
}

/* Rows of logits whose padding must not be read: it is larger than most. */
static struct vkm_view make_logits(struct vkm_suite *s, uint32_t rows, uint32_t n, enum logits kind)
{
    uint32_t ld = vkm_ld(n);
    struct vkm_view view = vkm_case_alloc(s, 4 * (uint64_t)rows * ld);
    float *data = vkm_case_host(view);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < ld; i++)
            data[r * ld + i] = i < n ? logit(&s->random, kind) : 100;
    return view;
}

static void softmax(struct vkm_suite *s, uint32_t n, uint32_t rows, enum logits kind)
{
    if (!vkm_case(s, "n=%u rows=%u %s", n, rows, logits_names[kind]))
        return;
    uint32_t ld = vkm_ld(n);
    struct vkm_params_softmax p = {
        .logits = make_logits(s, rows, n, kind),
        .probs = vkm_case_output(s, (uint64_t)rows * ld),
        .n = n,
        .ld = ld,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows}, &p);
}

void vkm_cases_softmax(struct vkm_suite *s)
{
    static const uint32_t sizes[] = {1,  2,   3,   7,   8,   31,  32,   33,
                                     64, 127, 128, 160, 256, 257, 1023, 1024};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++)
        for (uint32_t kind = 0; kind < LOGITS_COUNT; kind++)
            softmax(s, sizes[i], kind == LOGITS_PLAIN ? 5 : 2, (enum logits)kind);
    softmax(s, 64, 100, LOGITS_PLAIN);
}

/* Normalising must survive probabilities that underflowed. */
static float prob_size(enum logits kind)
{
    return kind == LOGITS_NAN ? 0 : kind == LOGITS_EQUAL ? 1e-20f : 1;
}

static void topk(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t rows, bool normalise,
                 enum logits kind)
{
    if (!vkm_case(s, "n=%u k=%u rows=%u%s %s", n, k, rows, normalise ? " normalise" : "",
                  logits_names[kind]))
        return;
    uint32_t ld = vkm_ld(n);
    struct vkm_params_topk p = {
        .logits = make_logits(s, rows, n, kind),
        .probs = vkm_case_rows(s, rows, n, prob_size(kind)),
        .ids = vkm_case_output(s, (uint64_t)rows * k),
        .gates = vkm_case_output(s, (uint64_t)rows * k),
        .n = n,
        .ld = ld,
        .k = k,
        .normalise = normalise,
        .scale = normalise ? 2.5f : 1,
    };
    float *probs = vkm_case_host(p.probs);
    for (uint32_t i = 0; i < rows * ld; i++)
        probs[i] = fabsf(probs[i]);
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows}, &p);
}

void vkm_cases_topk(struct vkm_suite *s)
{
    static const uint32_t sizes[] = {1, 2, 7, 8, 31, 32, 33, 64, 127, 128, 160, 257, 1024};
    static const uint32_t ks[] = {1, 2, 6, 33, 1024};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++)
        for (size_t j = 0; j < VKM_COUNT(ks); j++)
            for (uint32_t kind = 0; kind < LOGITS_COUNT; kind++) {
                bool all = ks[j] >= sizes[i];
                if ((all && j > 0 && ks[j - 1] >= sizes[i]) || (kind == LOGITS_WIDE))
                    continue;
                topk(s, sizes[i], all ? sizes[i] : ks[j], 2, (i + j + kind) % 2, (enum logits)kind);
            }
    topk(s, 64, 6, 100, false, LOGITS_PLAIN);
    topk(s, 128, 12, 33, true, LOGITS_TIES);
}
