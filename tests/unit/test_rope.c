/* The tables of rotary position embedding against cosines and sines taken directly. */
#include "unit.h"

#include <math.h>

#include "base/base.h"
#include "model/rope.h"

enum { SPLIT = 256, MAX_HALF = 64 };

struct tables {
    struct vkm_config config;
    uint32_t context, half;
    float *low, *high;
};

static struct tables make(struct vkm_config config, uint32_t context)
{
    struct tables t = {.config = config, .context = context, .half = config.head_dim / 2};
    t.low = calloc((size_t)SPLIT * t.half, 2 * sizeof(float));
    t.high = calloc((size_t)vkm_rope_high_count(context) * t.half, 2 * sizeof(float));
    assert_non_null(t.low);
    assert_non_null(t.high);
    vkm_rope_tables(&t.config, context, t.low, t.high);
    return t;
}

static void drop(struct tables *t)
{
    free(t->low);
    free(t->high);
}

/* The largest error of cos and sin of `position` times each frequency, composed as the kernel does
 * but in float64. */
static double worst_error(const struct tables *t, uint32_t position, const double *frequencies)
{
    double worst = 0;
    for (uint32_t i = 0; i < t->half; i++) {
        const float *low = &t->low[2 * ((size_t)(position % SPLIT) * t->half + i)];
        const float *high = &t->high[2 * ((size_t)(position / SPLIT) * t->half + i)];
        double cosine = (double)low[0] * (double)high[0] - (double)low[1] * (double)high[1];
        double sine = (double)low[1] * (double)high[0] + (double)low[0] * (double)high[1];
        double angle = position * frequencies[i];
        worst = fmax(worst, fmax(fabs(cosine - cos(angle)), fabs(sine - sin(angle))));
    }
    return worst;
}

/* Checks positions of every kind below the context: around each power of two, and at random. */
static void check(const struct tables *t, const double *frequencies)
{
    double worst = 0;
    uint64_t random = 3;
    for (uint32_t p = 0; p < vkm_min_u32(t->context, 1000); p++)
        worst = fmax(worst, worst_error(t, p, frequencies));
    for (uint32_t power = 1; power < t->context; power *= 2)
        for (uint32_t p = power - 1; p <= power + 1 && p < t->context; p++)
            worst = fmax(worst, worst_error(t, p, frequencies));
    for (int i = 0; i < 2000; i++)
        worst = fmax(worst, worst_error(t, random_u32(&random) % t->context, frequencies));
    worst = fmax(worst, worst_error(t, t->context - 1, frequencies));
    print_message("worst error %.2e\n", worst);
    assert_true(worst <= 3e-7);
}

static void default_frequencies(const struct vkm_config *c, double base, double *frequencies)
{
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        frequencies[i] = 1 / pow(base, 2.0 * i / c->head_dim);
}

static const struct vkm_config plain = {
    .head_dim = 128, .rope_theta = 10000, .max_position_embeddings = 4096, .rope_factor = 1};

static void tables_compose_to_any_position_up_to_a_million(void **state)
{
    (void)state;
    double frequencies[MAX_HALF];
    struct tables t = make(plain, 1000001);
    default_frequencies(&plain, 10000, frequencies);
    check(&t, frequencies);
    assert_true(worst_error(&t, 1000000, frequencies) <= 3e-7);
    drop(&t);
}

static void every_position_of_a_usual_context_is_right(void **state)
{
    (void)state;
    double frequencies[MAX_HALF], worst = 0;
    struct vkm_config config = plain;
    config.head_dim = 32;
    struct tables t = make(config, 4096);
    default_frequencies(&config, 10000, frequencies);
    for (uint32_t p = 0; p < 4096; p++)
        worst = fmax(worst, worst_error(&t, p, frequencies));
    assert_true(worst <= 3e-7);
    drop(&t);
}

static void heads_of_any_even_size_and_other_bases_work(void **state)
{
    (void)state;
    static const uint32_t dims[] = {2, 4, 6, 20, 64, 80, 96};
    static const double bases[] = {10000, 1e6, 500000.5, 2};
    for (size_t i = 0; i < VKM_COUNT(dims); i++) {
        double frequencies[MAX_HALF];
        struct vkm_config config = plain;
        config.head_dim = dims[i];
        config.rope_theta = bases[i % VKM_COUNT(bases)];
        struct tables t = make(config, 10000);
        default_frequencies(&config, config.rope_theta, frequencies);
        check(&t, frequencies);
        drop(&t);
    }
}

static void linear_scaling_divides_positions(void **state)
{
    (void)state;
    double frequencies[MAX_HALF];
    struct vkm_config config = plain;
    config.rope_scaling = VKM_ROPE_LINEAR;
    config.rope_factor = 3;
    struct tables t = make(config, 20000);
    default_frequencies(&config, 10000, frequencies);
    for (uint32_t i = 0; i < t.half; i++)
        frequencies[i] /= 3;
    check(&t, frequencies);
    drop(&t);
    /* whatever the context */
    t = make(config, 100);
    check(&t, frequencies);
    drop(&t);
}

static void dynamic_scaling_raises_the_base_of_long_contexts(void **state)
{
    (void)state;
    double frequencies[MAX_HALF];
    struct vkm_config config = plain;
    config.rope_scaling = VKM_ROPE_DYNAMIC;
    config.rope_factor = 2;
    struct tables t = make(config, 16384);
    /* base * (factor * context / trained - (factor - 1)) ^ (d / (d - 2)) */
    double base = 10000 * pow(2.0 * 16384 / 4096 - 1, 128.0 / 126.0);
    default_frequencies(&config, base, frequencies);
    check(&t, frequencies);
    drop(&t);
}

static void dynamic_scaling_leaves_short_contexts_alone(void **state)
{
    (void)state;
    double frequencies[MAX_HALF];
    struct vkm_config config = plain;
    config.rope_scaling = VKM_ROPE_DYNAMIC;
    config.rope_factor = 8;
    default_frequencies(&config, 10000, frequencies);
    static const uint32_t contexts[] = {1, 100, 4096};
    for (size_t i = 0; i < VKM_COUNT(contexts); i++) {
        struct tables t = make(config, contexts[i]);
        check(&t, frequencies);
        drop(&t);
    }
    /* a head of two has no base to raise: its one frequency is 1 */
    config.head_dim = 2;
    struct tables t = make(config, 100000);
    default_frequencies(&config, 10000, frequencies);
    check(&t, frequencies);
    drop(&t);
}

static void the_high_table_covers_the_context_and_no_more(void **state)
{
    (void)state;
    assert_int_equal(vkm_rope_high_count(1), 1);
    assert_int_equal(vkm_rope_high_count(256), 1);
    assert_int_equal(vkm_rope_high_count(257), 2);
    assert_int_equal(vkm_rope_high_count(VKM_MAX_CONTEXT), VKM_MAX_CONTEXT / 256);
    /* nothing is written beyond: the tables end where these arrays end */
    struct vkm_config config = plain;
    config.head_dim = 4;
    float low[SPLIT * 2 * 2 + 1], high[2 * 2 * 2 + 1];
    low[SPLIT * 4] = high[8] = 42;
    vkm_rope_tables(&config, 300, low, high);
    assert_true(low[SPLIT * 4] == 42 && high[8] == 42);
    assert_true(low[0] == 1 && low[1] == 0 && high[0] == 1 && high[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_compose_to_any_position_up_to_a_million),
        cmocka_unit_test(every_position_of_a_usual_context_is_right),
        cmocka_unit_test(heads_of_any_even_size_and_other_bases_work),
        cmocka_unit_test(linear_scaling_divides_positions),
        cmocka_unit_test(dynamic_scaling_raises_the_base_of_long_contexts),
        cmocka_unit_test(dynamic_scaling_leaves_short_contexts_alone),
        cmocka_unit_test(the_high_table_covers_the_context_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
