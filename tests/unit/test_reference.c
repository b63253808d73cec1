/* The reference kernels against values worked out by hand or in another way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "gpu/gpu.h"
#include "kernels/ref.h"

/* Host arrays stand in for device buffers: a view's buffer holds the array's pointer. */
static void *host_view(void *user, const struct vkm_view *view, bool written)
{
    (void)user;
    (void)written;
    return view->buffer ? view->buffer->mapped + view->offset : NULL;
}

static const void *host_address(void *user, uint64_t address)
{
    (void)user;
    return (const void *)(uintptr_t)address;
}

static struct vkm_ref host_ref(uint32_t groups_x, uint32_t groups_y)
{
    return (struct vkm_ref){
        .view = host_view,
        .address = host_address,
        .dtype = VKM_DTYPE_F32,
        .groups = {groups_x, groups_y, 1},
    };
}

/* A view of a host array, which must live in the same block. */
#define VIEW(array)                                                                                \
    {                                                                                              \
        &(struct vkm_buffer){.size = sizeof(array), .mapped = (unsigned char *)(array)}, 0,        \
            sizeof(array)                                                                          \
    }

static void assert_close(double got, double want)
{
    if (!(fabs(got - want) <= 1e-6 * (fabs(want) + 1e-6)))
        fail_msg("got %.9g, expected %.9g", got, want);
}

static void philox_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t key[2], counter[4], out[4];
    } cases[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0xa4093822, 0x299f31d0},
         {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        uint32_t out[4];
        vkm_ref_philox(cases[i].key, cases[i].counter, out);
        assert_memory_equal(out, cases[i].out, sizeof(out));
    }
}

static void embed_rows_and_bounds(void **state)
{
    (void)state;
    uint16_t table[2 * 32] = {0};
    table[32] = 0x3f80; /* row 1: 1, -2 in bf16 */
    table[33] = 0xc000;
    struct vkm_row rows[3] = {{.token = 1}, {.token = 2}, {.token = 0}};
    float y[3 * 32];
    memset(y, 0xff, sizeof(y));
    struct vkm_params_embed p = {
        .table = VIEW(table), .rows = VIEW(rows), .y = VIEW(y), .ld = 32, .vocab = 2};
    struct vkm_ref ref = host_ref(1, 3);
    ref.dtype = VKM_DTYPE_BF16;
    vkm_ref_embed(&ref, &p);
    for (size_t i = 0; i < VKM_COUNT(y); i++)
        assert_true(y[i] == (i == 0 ? 1.0f : i == 1 ? -2.0f : 0.0f));
}

static void rmsnorm_by_hand(void **state)
{
    (void)state;
    float x[64] = {[32] = 3, [33] = 4}, weight[32] = {2, 0.5f}, y[32];
    uint32_t index[1] = {1};
    memset(y, 0xff, sizeof(y));
    struct vkm_params_rmsnorm p = {
        .x = VIEW(x),
        .weight = VIEW(weight),
        .index = VIEW(index),
        .y = VIEW(y),
        .width = 2,
        .ld = 32,
        .use_index = 1,
        .eps = 0.5f,
    };
    struct vkm_ref ref = host_ref(1, 1);
    vkm_ref_rmsnorm(&ref, &p);
    double scale = 1 / sqrt(13.0);
    assert_close((double)y[0], 6 * scale);
    assert_close((double)y[1], 2 * scale);
    for (size_t i = 2; i < 32; i++)
        assert_true(y[i] == 0);
}

static void products_add_bias_and_magnitude(void **state)
{
    (void)state;
    float w[2 * 32] = {1, 2, [32] = -3, 4}, x[32] = {5, -6}, bias[2] = {0.25f, -0.5f};
    float y[32] = {100, 200, 300};
    struct vkm_params_gemv p = {
        .w = VIEW(w),
        .x = VIEW(x),
        .bias = VIEW(bias),
        .y = VIEW(y),
        .k_ld = 32,
        .n_out = 2,
        .n_rows = 1,
        .y_ld = 32,
        .use_bias = 1,
    };
    struct vkm_params_gemv_add add;
    memcpy(&add, &p, sizeof(add));
    struct vkm_ref ref = host_ref(1, 1);
    vkm_ref_gemv_add(&ref, &add);
    assert_true(y[0] == 93.25f && y[1] == 160.5f && y[2] == 300);
    vkm_ref_gemv(&ref, &p);
    assert_true(y[0] == -6.75f && y[1] == -39.5f && y[2] == 0);
    ref.magnitude = true;
    vkm_ref_gemv_add(&ref, &add);
    assert_true(y[0] == 6.75f + 17.25f && y[1] == 39.5f + 39.5f);
}

static void probabilities_of_known_logits(void **state)
{
    (void)state;
    float logits[3 * 32] = {0, 0.69314718f, 1.0986123f, NAN};
    for (size_t i = 0; i < 4; i++) {
        logits[32 + i] = NAN;
        logits[64 + i] = -INFINITY;
    }
    logits[65] = INFINITY;
    logits[66] = 3.4e38f;
    float probs[3 * 32], gates[3 * 4];
    uint32_t ids[3 * 4];
    memset(probs, 0xff, sizeof(probs));
    struct vkm_params_topk p = {.logits = VIEW(logits),
                                .probs = VIEW(probs),
                                .ids = VIEW(ids),
                                .gates = VIEW(gates),
                                .n = 4,
                                .ld = 32,
                                .k = 4,
                                .scale = 1};
    struct vkm_ref ref = host_ref(1, 3);
    vkm_ref_topk(&ref, &p);
    for (size_t i = 0; i < 3; i++)
        assert_close((double)probs[i], (double)(i + 1) / 6);
    assert_true(probs[3] == 0);
    for (size_t i = 0; i < 28; i++)
        assert_true(probs[4 + i] == 0 && probs[32 + i] == 0 && probs[68 + i] == 0);
    assert_close((double)probs[65], 1);
    assert_true(probs[64] == 0 && probs[66] == 0); /* no denormals */
}

static void losses_of_known_logits(void **state)
{
    (void)state;
    float logits[5 * 32] = {0, 0.69314718f, 1.0986123f}; /* 1/6, 2/6, 3/6 */
    uint32_t targets[5] = {0, 2, 3, 1, 0};
    float losses[5];
    memcpy(logits + 32, logits, 32 * sizeof(float));
    memcpy(logits + 64, logits, 32 * sizeof(float)); /* the target is no token */
    logits[96] = 3;
    logits[97] = NAN;
    logits[98] = -INFINITY;
    for (size_t i = 0; i < 3; i++)
        logits[128 + i] = i == 0 ? 40 : 0; /* a loss far below what 1 + x holds */
    struct vkm_params_token_loss p = {.logits = VIEW(logits),
                                      .targets = VIEW(targets),
                                      .loss = VIEW(losses),
                                      .vocab = 3,
                                      .ld = 32};
    struct vkm_ref ref = host_ref(1, 5);
    vkm_ref_token_loss(&ref, &p);
    assert_close((double)losses[0], log(6));
    assert_close((double)losses[1], log(2));
    assert_true(losses[2] == 0);
    assert_true(isnan(losses[3]));
    assert_true(fabs((double)losses[4] / (2 * exp(-40)) - 1) < 1e-6);
}

static void topk_orders_on_bits(void **state)
{
    (void)state;
    float logits[32] = {NAN, -0.0f, 0.0f, 1, -INFINITY, 1, 1e-45f, -1e-45f};
    float probs[32];
    uint32_t ids[8];
    float gates[8];
    struct vkm_params_topk p = {
        .logits = VIEW(logits),
        .probs = VIEW(probs),
        .ids = VIEW(ids),
        .gates = VIEW(gates),
        .n = 8,
        .ld = 32,
        .k = 8,
        .scale = 2,
    };
    struct vkm_ref ref = host_ref(1, 1);
    vkm_ref_topk(&ref, &p);
    assert_memory_equal(ids, ((uint32_t[]){3, 5, 6, 1, 2, 7, 4, 0}), sizeof(ids));
    double largest = 1 / (2 + 4 * exp(-1));
    assert_close((double)gates[0], 2 * largest);
    assert_close((double)gates[2], 2 * largest * exp(-1));
    assert_true(gates[1] == gates[0] && gates[5] == gates[2] && gates[6] == 0 && gates[7] == 0);
    p.k = 3;
    p.normalise = 1;
    vkm_ref_topk(&ref, &p);
    assert_close((double)gates[0], 2 / (2 + exp(-1)));
    assert_close((double)gates[2], 2 * exp(-1) / (2 + exp(-1)));
}

/* cos and sin of position * frequency in the tables' form. */
static void fill_rope(float *table, size_t n, size_t step, size_t half)
{
    for (size_t p = 0; p < n; p++)
        for (size_t i = 0; i < half; i++) {
            double angle = (double)(p * step) * pow(10000, -(double)i / (double)half);
            table[(p * half + i) * 2] = (float)cos(angle);
            table[(p * half + i) * 2 + 1] = (float)sin(angle);
        }
}

static void rope_matches_direct_angles(void **state)
{
    (void)state;
    enum { DIM = 4, POSITION = 256 * 6 + 131 };
    static float low[256 * DIM], high[8 * DIM], k_cache[28 * DIM * 64], v_cache[28 * DIM * 64];
    fill_rope(low, 256, 1, DIM / 2);
    fill_rope(high, 8, 256, DIM / 2);
    float qkv[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    uint32_t blocks[27] = {[POSITION / 64] = 27};
    struct vkm_row rows[1] = {{.position = POSITION}};
    struct vkm_params_rope_kv p = {
        .rows = VIEW(rows),
        .blocks = VIEW(blocks),
        .rope_low = VIEW(low),
        .rope_high = VIEW(high),
        .qkv = VIEW(qkv),
        .k_cache = VIEW(k_cache),
        .v_cache = VIEW(v_cache),
        .n_heads = 1,
        .n_kv_heads = 1,
        .head_dim = DIM,
        .qkv_ld = 32,
        .block_stride = 27,
    };
    struct vkm_ref ref = host_ref(3, 1);
    vkm_ref_rope_kv(&ref, &p);
    for (size_t i = 0; i < 2; i++) {
        double angle = POSITION * pow(10000, -(double)i / 2), c = cos(angle), s = sin(angle);
        double q[2] = {(double)(1 + i), (double)(3 + i)}, k[2] = {(double)(5 + i), (double)(7 + i)};
        size_t at = (27 * DIM + i) * 64 + POSITION % 64;
        assert_close((double)qkv[i], q[0] * c - q[1] * s);
        assert_close((double)qkv[i + 2], q[1] * c + q[0] * s);
        assert_close((double)k_cache[at], k[0] * c - k[1] * s);
        assert_close((double)k_cache[at + 128], k[1] * c + k[0] * s);
    }
    for (size_t i = 0; i < DIM; i++) {
        assert_true(qkv[4 + i] == (float)(5 + i) && qkv[8 + i] == (float)(9 + i));
        assert_true(v_cache[(27 * 64 + POSITION % 64) * DIM + i] == (float)(9 + i));
    }
}

/* Block 1 holds a sequence of two positions: keys (1, 0) and (0, 1), values (10, 20) and (30, 40).
 * Two query heads, two rows: one sees both positions, the other the first alone. */
enum { DIM = 2 };
static float two_keys[2 * DIM * 64] = {[DIM * 64] = 1, [DIM * 64 + 65] = 1};
static float two_values[2 * 64 * DIM] = {[64 * DIM] = 10, 20, 30, 40};
static float two_queries[2 * 32] = {1, 3, 3, 1, [32] = 7, 7, 7, 7};
static struct vkm_row two_rows[2] = {{.position = 1, .sequence = 1},
                                     {.position = 0, .sequence = 1}};
static uint32_t two_blocks[2] = {9, 1};

static const struct vkm_params_attention attention_of_two = {
    .n_rows = 2,
    .rows = VIEW(two_rows),
    .blocks = VIEW(two_blocks),
    .qkv = VIEW(two_queries),
    .k_cache = VIEW(two_keys),
    .v_cache = VIEW(two_values),
    .n_heads = 2,
    .n_kv_heads = 1,
    .head_dim = DIM,
    .qkv_ld = 32,
    .y_ld = 32,
    .block_stride = 1,
    .n_splits = 1,
    .scale = 0.5f,
};

static void check_attention_of_two(const float *y)
{
    double first = 1 / (1 + exp(1)), second = 1 / (1 + exp(-1));
    assert_close((double)y[0], 10 * first + 30 * (1 - first));
    assert_close((double)y[1], 20 * first + 40 * (1 - first));
    assert_close((double)y[2], 10 * second + 30 * (1 - second));
    for (size_t i = 4; i < 32; i++)
        assert_true(y[i] == 0);
    assert_true(y[32] == 10 && y[33] == 20 && y[34] == 10 && y[35] == 20 && y[36] == 0);
}

static void attention_on_two_positions(void **state)
{
    (void)state;
    float y[2 * 32];
    memset(y, 0xff, sizeof(y));
    struct vkm_params_attention p = attention_of_two;
    p.y = (struct vkm_view)VIEW(y);
    struct vkm_ref ref = host_ref(2, 2);
    vkm_ref_attention(&ref, &p);
    check_attention_of_two(y);
}

/* A split for each position: sum of values, largest score, sum of weights; then the same result. */
static void attention_in_two_splits(void **state)
{
    (void)state;
    enum { PART = DIM + 2 };
    float y[2 * 32], parts[2 * 2 * 2 * PART];
    memset(y, 0xff, sizeof(y));
    memset(parts, 0xff, sizeof(parts));
    struct vkm_params_attention p = attention_of_two;
    p.parts = (struct vkm_view)VIEW(parts);
    p.n_splits = 2;
    p.span = 1;
    struct vkm_ref ref = host_ref(2, 2);
    vkm_ref_attention(&ref, &p);
    const float first[] = {10, 20, 0.5f, 1}, second[] = {30, 40, 1.5f, 1};
    assert_memory_equal(parts, first, sizeof(first));
    assert_memory_equal(parts + PART, second, sizeof(second));
    assert_true(isnan(parts[5 * PART]) && isnan(parts[7 * PART])); /* the second row sees one */
    struct vkm_params_attention_combine c = {.rows = VIEW(two_rows),
                                             .parts = VIEW(parts),
                                             .y = VIEW(y),
                                             .n_heads = 2,
                                             .head_dim = DIM,
                                             .y_ld = 32,
                                             .n_splits = 2,
                                             .span = 1};
    vkm_ref_attention_combine(&ref, &c);
    check_attention_of_two(y);
}

static void experts_up_down_and_combine_agree(void **state)
{
    (void)state;
    /* One expert of width 1 and hidden 1: h = silu(2 x) * 3 x, down 4. */
    float weights[3 * 32] = {[0] = 2, [32] = 3, [64] = 4};
    uint64_t address = (uint64_t)(uintptr_t)weights;
    uint32_t experts[2] = {(uint32_t)address, (uint32_t)(address >> 32)};
    float x[32] = {1}, h[32], gates[1] = {0.5f};
    uint32_t ids[1] = {0};
    struct vkm_ref ref = host_ref(1, 1);
    vkm_ref_moe_gemv_up(&ref, &(struct vkm_params_moe_gemv_up){
                                  .x = VIEW(x),
                                  .ids = VIEW(ids),
                                  .experts = VIEW(experts),
                                  .h = VIEW(h),
                                  .k = 1,
                                  .k_ld = 32,
                                  .width = 1,
                                  .n_pairs = 1,
                                  .h_ld = 32,
                                  .n_experts = 1,
                              });
    double want = 2 / (1 + exp(-2)) * 3;
    assert_close((double)h[0], want);
    assert_true(h[1] == 0 && h[31] == 0);
    vkm_ref_moe_gemv_down(&ref, &(struct vkm_params_moe_gemv_down){
                                    .h = VIEW(h),
                                    .ids = VIEW(ids),
                                    .gates = VIEW(gates),
                                    .experts = VIEW(experts),
                                    .shared_w = VIEW(weights),
                                    .shared_h = VIEW(h),
                                    .x = VIEW(x),
                                    .k = 1,
                                    .n_out = 1,
                                    .x_ld = 32,
                                    .width = 1,
                                    .h_ld = 32,
                                    .shared_width = 1,
                                    .shared_ld = 32,
                                    .n_experts = 1,
                                });
    assert_close((double)x[0], 1 + 4 * want * 1.5);
}

static void sampling_follows_the_mass(void **state)
{
    (void)state;
    enum { N = 4000 };
    float logits[32] = {0, 0.69314718f, NAN, 1.0986123f};
    struct vkm_sampler sampler[1] = {{.inverse_temperature = 1, .seed_low = 7}};
    uint32_t sampled[1], index[1] = {1}, counts[4] = {0};
    struct vkm_row rows[2] = {{.token = 9}, {.token = 8}}, next[1];
    struct vkm_params_sample p = {
        .logits = VIEW(logits),
        .rows = VIEW(rows),
        .index = VIEW(index),
        .samplers = VIEW(sampler),
        .sampled = VIEW(sampled),
        .next_rows = VIEW(next),
        .vocab = 4,
        .ld = 32,
        .use_index = 1,
    };
    struct vkm_ref ref = host_ref(1, 1);
    for (uint32_t i = 0; i < N; i++) {
        rows[1].position = i;
        vkm_ref_sample(&ref, &p);
        assert_true(sampled[0] < 4 && next[0].token == sampled[0] && next[0].position == i + 1);
        counts[sampled[0]]++;
    }
    assert_int_equal(counts[2], 0);
    for (size_t i = 0; i < 4; i++)
        if (i != 2)
            assert_true(fabs(counts[i] - N * (i == 3 ? 3.0 : (double)(i + 1)) / 6) < 120);
    sampler[0].inverse_temperature = 0;
    vkm_ref_sample(&ref, &p);
    assert_int_equal(sampled[0], 3);
}

/* --- activations rounded to 8 bits --- */

static void check_group(const float *values, size_t n)
{
    struct vkm_int8_group g;
    double largest = 0, step;
    vkm_round_int8(values, n, &g);
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)values[i]));
    step = largest / 127;
    assert_true(fabs((double)g.scale - step) <= 4e-5 * step);
    for (size_t i = 0; i < VKM_GROUP; i++) {
        double value = i < n ? (double)values[i] : 0;
        assert_in_range(g.quants[i] + 127, 0, 254);
        assert_true(fabs((double)g.scale * g.quants[i] - value) <= 0.505 * step);
    }
}

static void groups_are_rounded_to_their_own_scale(void **state)
{
    static const float scales[] = {1, 0x1p-99f, 0x1p-24f, 3e-7f, 1234.5f, 0x1.fffffep126f};
    float values[VKM_GROUP];
    uint32_t random = 1;
    (void)state;
    for (size_t s = 0; s < VKM_COUNT(scales); s++)
        for (int turn = 0; turn < 1000; turn++) {
            for (size_t i = 0; i < VKM_GROUP; i++) {
                random = random * 1664525u + 1013904223u;
                values[i] = ((float)(random >> 8) * 0x1p-23f - 1) * scales[s];
            }
            values[turn % 32] = turn % 2 ? scales[s] : -scales[s];
            check_group(values, 1 + (size_t)turn % VKM_GROUP);
        }
}

static void groups_of_nothing_and_of_no_numbers(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float values[VKM_GROUP] = {0};
    struct vkm_int8_group g;
    (void)state;
    vkm_round_int8(values, VKM_GROUP, &g);
    assert_true(g.scale == 0);
    values[3] = 0x1p-101f;
    vkm_round_int8(values, VKM_GROUP, &g);
    assert_true(g.scale == 0 && g.quants[3] == 0);
    for (size_t i = 0; i < VKM_COUNT(bad); i++) {
        values[9] = bad[i];
        vkm_round_int8(values, VKM_GROUP, &g);
        assert_true(isnan(g.scale) && g.quants[9] == 0);
    }
}

enum { ROUNDED_K = 1408, ROUNDED_ROWS = 60 };

/* NMSE of products with nearly normal values, their activations rounded. */
static double error_of_rounding(enum vkm_rounding rounding)
{
    static float w[ROUNDED_ROWS * ROUNDED_K], x[ROUNDED_K];
    const struct vkm_ref plain = {.dtype = VKM_DTYPE_F32},
                         rounded = {.dtype = VKM_DTYPE_F32, .rounding = rounding};
    double error = 0, power = 0;
    uint32_t random = 7;
    for (size_t i = 0; i < (ROUNDED_ROWS + 1) * ROUNDED_K; i++) {
        float sum = -6; /* of twelve */
        for (int j = 0; j < 12; j++) {
            random = random * 1664525u + 1013904223u;
            sum += (float)(random >> 8) * 0x1p-24f;
        }
        *(i < ROUNDED_K ? &x[i] : &w[i - ROUNDED_K]) = sum;
    }
    for (size_t r = 0; r < ROUNDED_ROWS; r++) {
        double exact = vkm_ref_dot(&plain, w, r, ROUNDED_K, x, ROUNDED_K);
        double difference = vkm_ref_dot(&rounded, w, r, ROUNDED_K, x, ROUNDED_K) - exact;
        error += difference * difference;
        power += exact * exact;
    }
    print_message("NMSE of rounding: %.2e\n", error / power);
    return error / power;
}

/* Which kernels that round activations are allowed apart from their own errors. */
static void rounding_is_bounded_in_products(void **state)
{
    double int8 = error_of_rounding(VKM_ROUNDING_INT8), f16 = error_of_rounding(VKM_ROUNDING_F16);
    (void)state;
    assert_true(int8 > 0 && int8 <= 1e-4);
    assert_true(f16 > 0 && f16 <= 1e-6);
    assert_true(error_of_rounding(VKM_ROUNDING_NONE) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(embed_rows_and_bounds),
        cmocka_unit_test(rmsnorm_by_hand),
        cmocka_unit_test(products_add_bias_and_magnitude),
        cmocka_unit_test(probabilities_of_known_logits),
        cmocka_unit_test(losses_of_known_logits),
        cmocka_unit_test(topk_orders_on_bits),
        cmocka_unit_test(rope_matches_direct_angles),
        cmocka_unit_test(attention_on_two_positions),
        cmocka_unit_test(attention_in_two_splits),
        cmocka_unit_test(experts_up_down_and_combine_agree),
        cmocka_unit_test(sampling_follows_the_mass),
        cmocka_unit_test(groups_are_rounded_to_their_own_scale),
        cmocka_unit_test(groups_of_nothing_and_of_no_numbers),
        cmocka_unit_test(rounding_is_bounded_in_products),
    };
    return cmocka_run_group_tests_name("reference kernels", tests, NULL, NULL);
}
