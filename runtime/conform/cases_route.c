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

static void topk(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t rows, bool normalise,
                 enum logits kind)
{
    if (!vkm_case(s, "n=%u k=%u rows=%u%s %s", n, k, rows, normalise ? " normalise" : "",
                  logits_names[kind]))
        return;
    uint32_t ld = vkm_ld(n);
    struct vkm_params_topk p = {
        .logits = make_logits(s, rows, n, kind),
        .probs = vkm_case_output(s, (uint64_t)rows * ld),
        .ids = vkm_case_output(s, (uint64_t)rows * k),
        .gates = vkm_case_output(s, (uint64_t)rows * k),
        .n = n,
        .ld = ld,
        .k = k,
        .normalise = normalise,
        .scale = normalise ? 2.5f : 1,
    };
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows}, &p);
}

void vkm_cases_topk(struct vkm_suite *s)
{
    static const uint32_t sizes[] = {1,  2,   3,   7,   8,   31,  32,   33,
                                     64, 127, 128, 160, 256, 257, 1023, 1024};
    static const uint32_t ks[] = {1, 2, 6, 33, 1024};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++)
        for (size_t j = 0; j < VKM_COUNT(ks); j++)
            for (uint32_t kind = 0; kind < LOGITS_COUNT; kind++) {
                bool all = ks[j] >= sizes[i];
                if (all && j > 0 && ks[j - 1] >= sizes[i])
                    continue;
                topk(s, sizes[i], all ? sizes[i] : ks[j], 2, (i + j + kind) % 2, (enum logits)kind);
            }
    topk(s, 64, 6, 100, false, LOGITS_PLAIN);
    topk(s, 128, 12, 33, true, LOGITS_TIES);
}

/* --- steered --- */

enum steering {
    STEER_NOTHING,
    STEER_OFF,    /* as many experts off as may be */
    STEER_FORCED, /* more forced than fit where there are enough, then as many as fit */
    STEER_SKIP,
    STEER_ALL, /* some off, some forced, some passed over, noise */
    STEER_NOISE,
    STEER_TABLE,
    STEER_COUNT
};

static const char *const steering_names[] = {"free", "off",   "forced", "skip",
                                             "all",  "noise", "table"};

enum { STEER_VOCAB = 37 };

/* How many experts of n are off and forced, and how many ranks are passed over, k being chosen. */
static void steer(enum steering kind, uint32_t n, uint32_t k, uint32_t *off, uint32_t *forced,
                  uint32_t *skip)
{
    uint32_t spare = n - k;
    *off = kind == STEER_OFF ? spare : kind == STEER_ALL || kind == STEER_TABLE ? spare / 3 : 0;
    *forced = kind == STEER_FORCED ? vkm_min_u32(k + 2, n) : kind == STEER_ALL ? k / 2 : 0;
    *skip = kind == STEER_SKIP ? spare : kind == STEER_ALL ? (spare - *off) / 2 : 0;
}

static struct vkm_view make_states(struct vkm_suite *s, uint32_t n, uint32_t off, uint32_t forced)
{
    struct vkm_view states = vkm_case_alloc(s, n * sizeof(uint32_t));
    struct vkm_view order = vkm_case_permutation(s, n);
    uint32_t *state = vkm_case_host(states);
    const uint32_t *at = vkm_case_host(order);
    for (uint32_t i = 0; i < n; i++)
        state[at[i]] = i < off            ? VKM_EXPERT_OFF
                       : i < off + forced ? VKM_EXPERT_FORCED
                                          : VKM_EXPERT_FREE;
    return states;
}

/* One id beyond the experts, if there is more than one token, and one token beyond the table. */
static struct vkm_view make_table(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t vocab,
                                  struct vkm_view rows)
{
    struct vkm_view table = vkm_case_uints(s, (uint64_t)vocab * k, n);
    struct vkm_row *row = vkm_case_host(rows);
    uint32_t *ids = vkm_case_host(table);
    row[0].token = vocab;
    row[1].token %= vocab;
    if (vocab > 1)
        ids[row[1].token * k] = n;
    return table;
}

static void topk_steered(struct vkm_suite *s, uint32_t n, uint32_t k, enum steering kind,
                         enum logits logits)
{
    enum { ROWS = 3 };
    uint32_t ld = vkm_ld(n), off, forced, skip;
    bool noise = kind == STEER_NOISE || kind == STEER_ALL;
    if (!vkm_case(s, "n=%u k=%u %s %s", n, k, steering_names[kind], logits_names[logits]))
        return;
    steer(kind, n, k, &off, &forced, &skip);
    struct vkm_params_topk_steered p = {
        .logits = make_logits(s, ROWS, n, logits),
        .probs = vkm_case_output(s, (uint64_t)ROWS * ld),
        .rows = vkm_case_batch(s, ROWS, STEER_VOCAB, 1000000, 3),
        .states = make_states(s, n, off, forced),
        .ids = vkm_case_output(s, (uint64_t)ROWS * k),
        .gates = vkm_case_output(s, (uint64_t)ROWS * k),
        .n = n,
        .ld = ld,
        .k = k,
        .normalise = kind % 2 == 0,
        .skip = skip,
        .layer = 5,
        .seed_low = vkm_random_below(&s->random, UINT32_MAX),
        .seed_high = vkm_random_below(&s->random, UINT32_MAX),
        .scale = 1.5f,
        .noise = noise ? 1.0f / VKM_NOISE_DEVIATION : 0,
    };
    if (kind == STEER_TABLE) {
        p.vocab = n == 2 ? 1 : STEER_VOCAB;
        p.table = make_table(s, n, k, p.vocab, p.rows);
    }
    vkm_case_run(s, (struct vkm_launch){.n_rows = ROWS}, &p);
}

void vkm_cases_topk_steered(struct vkm_suite *s)
{
    static const uint32_t shapes[][2] = {{1, 1},    {2, 1},   {8, 2},   {33, 33}, {64, 6},
                                         {127, 12}, {160, 1}, {257, 8}, {1024, 3}};
    static const enum logits kinds[] = {LOGITS_PLAIN, LOGITS_TIES, LOGITS_SPECIAL, LOGITS_NAN};
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        for (uint32_t kind = 0; kind < STEER_COUNT; kind++)
            for (size_t j = 0; j < VKM_COUNT(kinds); j++) {
                if (kind == STEER_TABLE && j > 0)
                    continue; /* scores say nothing */
                topk_steered(s, shapes[i][0], shapes[i][1], (enum steering)kind, kinds[j]);
            }
}

/* --- kept --- */

/* Rows of two sequences at positions of their own, the last one beyond those that are kept. */
static struct vkm_view make_places(struct vkm_suite *s, uint32_t n, uint32_t positions)
{
    struct vkm_view rows = vkm_case_batch(s, n, STEER_VOCAB, 1, 1);
    struct vkm_row *row = vkm_case_host(rows);
    for (uint32_t i = 0; i < n; i++) {
        row[i].position = i + 1 < n ? positions - 1 - i / 2 : positions;
        row[i].sequence = i % 2;
    }
    return rows;
}

static void topk_kept(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t ranks,
                      enum steering kind, enum logits logits)
{
    enum { ROWS = 4, SEQUENCES = 2, POSITIONS = 3 };
    uint32_t off, forced, skip;
    bool noise = kind == STEER_NOISE || kind == STEER_ALL;
    if (!vkm_case(s, "n=%u k=%u ranks=%u %s %s", n, k, ranks, steering_names[kind],
                  logits_names[logits]))
        return;
    steer(kind, n, k, &off, &forced, &skip);
    struct vkm_params_topk_kept p = {
        .logits = make_logits(s, ROWS, n, logits),
        .probs = vkm_case_output(s, (uint64_t)ROWS * vkm_ld(n)),
        .rows = make_places(s, ROWS, POSITIONS),
        .states = make_states(s, n, off, forced),
        .ids = vkm_case_output(s, (uint64_t)ROWS * k),
        .gates = vkm_case_output(s, (uint64_t)ROWS * k),
        .kept_ids = vkm_case_output(s, (uint64_t)SEQUENCES * POSITIONS * ranks),
        .kept_weights = vkm_case_output(s, (uint64_t)SEQUENCES * POSITIONS * 2 * ranks),
        .n = n,
        .k = k,
        .normalise = kind % 2 == 0,
        .skip = skip,
        .layer = 5,
        .seed_low = vkm_random_below(&s->random, UINT32_MAX),
        .seed_high = vkm_random_below(&s->random, UINT32_MAX),
        .ranks = ranks,
        .positions = POSITIONS,
        .scale = 1.5f,
        .noise = noise ? 1.0f / VKM_NOISE_DEVIATION : 0,
    };
    if (kind == STEER_TABLE) {
        p.vocab = n == 2 ? 1 : STEER_VOCAB;
        p.table = make_table(s, n, k, p.vocab, p.rows);
    }
    vkm_case_run(s, (struct vkm_launch){.n_rows = ROWS}, &p);
}

void vkm_cases_topk_kept(struct vkm_suite *s)
{
    static const uint32_t shapes[][3] = {{1, 1, 1},    {2, 1, 2},     {8, 2, 5},
                                         {33, 33, 33}, {64, 6, 16},   {127, 12, 127},
                                         {160, 1, 1},  {257, 8, 256}, {1024, 3, 70}};
    static const enum logits kinds[] = {LOGITS_PLAIN, LOGITS_TIES, LOGITS_SPECIAL, LOGITS_NAN};
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        for (uint32_t kind = 0; kind < STEER_COUNT; kind++)
            for (size_t j = 0; j < VKM_COUNT(kinds); j++) {
                if (kind == STEER_TABLE && j > 0)
                    continue; /* scores say nothing */
                topk_kept(s, shapes[i][0], shapes[i][1], shapes[i][2], (enum steering)kind,
                          kinds[j]);
            }
}

/* --- counting --- */

/* Counts that came before, some of them just short of a carry. */
static struct vkm_view make_counts(struct vkm_suite *s, uint64_t n)
{
    struct vkm_view view = vkm_case_uints(s, n, 1000);
    uint32_t *words = vkm_case_host(view);
    for (uint64_t i = 0; i < n; i += 2)
        words[i] = UINT32_MAX - vkm_random_below(&s->random, 100);
    return view;
}

enum masses { MASSES_PLAIN, MASSES_LARGE, MASSES_SPECIAL, MASSES_COUNT };

static struct vkm_view make_masses(struct vkm_suite *s, uint64_t n, enum masses kind)
{
    static const float specials[] = {NAN,  -NAN,     INFINITY, -INFINITY, 63,     62.999996f,
                                     -1.f, 1.49e-8f, 1.5e-8f,  0x1p-26f,  1e-45f, -0.0f};
    struct vkm_view view = vkm_case_floats(s, n, 0, kind == MASSES_LARGE ? 70 : 1);
    float *x = vkm_case_host(view);
    for (uint64_t i = 0; kind == MASSES_SPECIAL && i < n; i++)
        x[i] = specials[vkm_random_below(&s->random, (uint32_t)VKM_COUNT(specials))];
    return view;
}

/* Each row's experts differ; one id of all or two stand for no expert, such as the one after the
 * last. */
static struct vkm_view make_ids(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t rows)
{
    struct vkm_view view = vkm_case_alloc(s, 4 * (uint64_t)rows * k);
    uint32_t *ids = vkm_case_host(view);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0, first = vkm_random_below(&s->random, n); i < k; i++)
            ids[r * k + i] = (first + i) % n;
    ids[vkm_random_below(&s->random, rows * k)] = n + 3;
    ids[vkm_random_below(&s->random, rows * k)] = n;
    return view;
}

static void route_count(struct vkm_suite *s, uint32_t n, uint32_t k, uint32_t rows, bool pairs,
                        enum masses kind)
{
    static const char *const names[] = {"", " large", " special"};
    if (!vkm_case(s, "n=%u k=%u rows=%u%s%s", n, k, rows, pairs ? " pairs" : "", names[kind]))
        return;
    struct vkm_params_route_count p = {
        .ids = make_ids(s, n, k, rows),
        .gates = make_masses(s, (uint64_t)rows * k, kind),
        .probs = make_masses(s, (uint64_t)rows * vkm_ld(n), kind),
        .counts = make_counts(s, (uint64_t)n * VKM_COUNT_WORDS),
        .n = n,
        .ld = vkm_ld(n),
        .k = k,
        .n_rows = rows,
        .use_pairs = pairs,
    };
    if (pairs)
        p.pairs = make_counts(s, (uint64_t)n * n);
    vkm_case_run(s, (struct vkm_launch){.n_rows = rows}, &p);
}

void vkm_cases_route_count(struct vkm_suite *s)
{
    static const uint32_t shapes[][3] = {{1, 1, 3},     {2, 1, 1},   {8, 8, 5},    {63, 7, 16},
                                         {64, 6, 17},   {65, 2, 33}, {160, 6, 40}, {257, 12, 9},
                                         {1024, 3, 20}, {64, 6, 300}};
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        for (uint32_t kind = 0; kind < MASSES_COUNT; kind++)
            route_count(s, shapes[i][0], shapes[i][1], shapes[i][2], (i + kind) % 2 == 0,
                        (enum masses)kind);
}
