/* Block formats: every element against a second implementation of their definition and against
 * values worked out by hand, and what the device stores against what the file means. */
#include "folder.h"
#include "unit.h"

#include "base/blocks.h"
#include "gguf_file.h"

static const uint32_t types[] = {2, 3, 6, 7, 8, 12, 13, 14, 20};

#define BLOCKS 500 /* of each type */

static void every_element_decodes_to_what_the_definition_says(void **state)
{
    (void)state;
    for (size_t k = 0; k < VKM_COUNT(types); k++) {
        const struct vkm_block_format *f = vkm_block_format_find(types[k]);
        uint64_t random = types[k];
        assert_non_null(f);
        assert_int_equal(f->elements, gguf_block_elements(types[k]));
        assert_int_equal(f->bytes, gguf_block_bytes(types[k]));
        for (uint32_t n = 0; n < BLOCKS; n++) {
            unsigned char block[VKM_BLOCK_MAX];
            float values[VKM_BLOCK_MAX];
            gguf_block_random(types[k], &random, n % 2 ? 1 : 1e-2, true, block);
            vkm_block_decode(f, block, values);
            for (uint32_t i = 0; i < f->elements; i++) {
                float expected = gguf_block_value(types[k], block, i);
                if (memcmp(&values[i], &expected, sizeof(expected)) != 0 &&
                    (values[i] != 0 || expected != 0))
                    fail_msg("%s, block %u: element %u is %a, expected %a", f->name, n, i,
                             (double)values[i], (double)expected);
            }
        }
    }
}

enum {
    PANEL = 4096, /* bytes: more than a block of the largest type takes */
    ROW = 3       /* of it */
};

/* A block stored as a type is what it was, but for the sign of zeros. */
static void expect_same_values(const struct vkm_block_format *f, enum vkm_dtype dtype,
                               const unsigned char *block)
{
    unsigned char matrix[PANEL];
    float values[VKM_BLOCK_MAX];
    vkm_block_decode(f, block, values);
    memset(matrix, 0xa5, sizeof(matrix));
    assert_true(vkm_block_put(f, block, matrix, dtype, f->elements, ROW, 0));
    for (uint32_t i = 0; i < f->elements; i++) {
        float stored = vkm_row_load(matrix, dtype, f->elements, ROW, i);
        if (stored != values[i])
            fail_msg("%s as %s: element %u is stored as %a, expected %a", f->name,
                     vkm_dtype_name(dtype), i, (double)stored, (double)values[i]);
    }
    for (uint64_t i = vkm_matrix_bytes(dtype, 1, f->elements); i < sizeof(matrix); i++)
        assert_int_equal(matrix[i], 0xa5);
}

/* Its own, and those in which it lies together with others. */
static void quantised_forms_hold_every_value_of_a_block(void **state)
{
    static const enum vkm_dtype others[] = {VKM_DTYPE_Q8, VKM_DTYPE_Q4, VKM_DTYPE_Q8K,
                                            VKM_DTYPE_Q4K};
    (void)state;
    for (size_t k = 0; k < VKM_COUNT(types); k++) {
        const struct vkm_block_format *f = vkm_block_format_find(types[k]);
        uint64_t random = 77 + types[k];
        assert_true(vkm_dtype_is_quantised(f->stored));
        for (uint32_t n = 0; n < BLOCKS; n++) {
            unsigned char block[VKM_BLOCK_MAX];
            /* Q8 has no place for the sign of a scale beside a quant of -128, Q4 for none */
            gguf_block_random(types[k], &random, 0.5, f->stored != VKM_DTYPE_Q4 && types[k] != 8,
                              block);
            expect_same_values(f, f->stored, block);
            for (size_t o = 0; o < VKM_COUNT(others); o++)
                expect_same_values(f, vkm_dtype_join(f->stored, others[o]), block);
        }
    }
}

static void negative_scales_turn_the_quants_round_where_they_fit(void **state)
{
    const struct vkm_block_format *q8_0 = vkm_block_format_find(8);
    const struct vkm_block_format *q4_1 = vkm_block_format_find(3);
    unsigned char block[34] = {0x00, 0xbc, 127, 129, 5}; /* d = -1 */
    struct vkm_group group;
    (void)state;
    assert_true(vkm_block_group(q8_0, block, 0, VKM_DTYPE_Q8, &group));
    assert_int_equal(group.quants[0], -127);
    assert_int_equal(group.quants[1], 127);
    expect_same_values(q8_0, VKM_DTYPE_Q8, block);
    block[3] = 128; /* -(-128) is no int8 */
    assert_false(vkm_block_group(q8_0, block, 0, VKM_DTYPE_Q8, &group));
    expect_same_values(q8_0, VKM_DTYPE_Q8K, block);
    block[1] = 0x3c; /* d = 1 */
    expect_same_values(q8_0, VKM_DTYPE_Q8, block);
    block[1] = 0xbc;
    assert_false(vkm_block_group(q4_1, block, 0, VKM_DTYPE_Q4, &group));
    expect_same_values(q4_1, VKM_DTYPE_Q4K, block);
}

/* Groups lie where they should, whichever way they are written. */
static void blocks_fill_a_row_and_end_it(void **state)
{
    enum { GROUPS = 3, LD = GROUPS * VKM_GROUP };
    const struct vkm_block_format *f = vkm_block_format_find(8);
    unsigned char matrix[PANEL], expected[PANEL], blocks[GROUPS][34];
    uint64_t random = 5;
    (void)state;
    memset(matrix, 0xa5, sizeof(matrix));
    memset(expected, 0xa5, sizeof(expected));
    for (size_t i = 0; i < GROUPS; i++) {
        struct vkm_group group;
        gguf_block_random(8, &random, 1, false, blocks[i]);
        assert_true(vkm_block_put(f, blocks[i], matrix, f->stored, LD, ROW, i));
        assert_true(vkm_block_group(f, blocks[i], 0, f->stored, &group));
        vkm_row_put(expected, f->stored, LD, ROW, i, &group);
    }
    assert_memory_equal(matrix, expected, sizeof(matrix));
    for (size_t i = 0; i < VKM_PANEL_COLS; i++) { /* the other rows are left alone */
        float value = vkm_row_load(matrix, f->stored, VKM_PANEL_COLS, ROW, i);
        if (i < LD)
            assert_true(value == vkm_row_load(matrix, f->stored, LD, ROW, i));
        else
            assert_true(value == 0);
        assert_int_equal(matrix[ROW * VKM_PANEL_COLS + VKM_PANEL_COLS + i], 0xa5);
    }
    assert_int_equal(matrix[vkm_matrix_bytes(f->stored, 1, LD)], 0xa5);
}

static void infinite_scales_are_never_stored(void **state)
{
    unsigned char matrix[PANEL];
    struct vkm_group group;
    (void)state;
    for (size_t k = 0; k < VKM_COUNT(types); k++) {
        const struct vkm_block_format *f = vkm_block_format_find(types[k]);
        unsigned char block[VKM_BLOCK_MAX] = {0};
        unsigned char *scale = block + (types[k] == 14 ? 208 : 0);
        scale[1] = 0x7c;
        assert_false(vkm_block_group(f, block, 0, f->stored, &group));
        assert_false(vkm_block_put(f, block, matrix, f->stored, f->elements, ROW, 0));
        scale[0] = 1; /* NaN */
        assert_false(vkm_block_group(f, block, 0, f->stored, &group));
    }
}

/* By hand: the block's first bytes, and what three elements are. */
static void values_worked_out_by_hand_are_met(void **state)
{
    static const struct {
        uint32_t type;
        unsigned char start[24];
        struct {
            uint32_t at;
            float value;
        } expected[3];
    } samples[] = {
        /* d = 1.5; byte 0 holds 15 and 2 */
        {2, {0x00, 0x3e, 0x2f}, {{0, 10.5f}, {16, -9}, {1, -12}}},
        /* d = 0.5, m = -3 */
        {3, {0x00, 0x38, 0x00, 0xc2, 0x7c}, {{0, 3}, {16, 0.5f}, {31, -3}}},
        /* d = 1; fifth bits of elements 0 and 17; nibbles 4 and 9, then 0 and 15 */
        {6, {0x00, 0x3c, 0x01, 0x00, 0x02, 0x00, 0x94, 0xf0}, {{0, 4}, {16, -7}, {17, 15}}},
        /* d = 2, m = 1; the same */
        {7,
         {0x00, 0x40, 0x00, 0x3c, 0x01, 0x00, 0x02, 0x00, 0x94, 0xf0},
         {{0, 41}, {16, 19}, {17, 63}}},
        /* d = 0.25 */
        {8, {0x00, 0x34, 0x7f, 0x80, 0xff}, {{0, 31.75f}, {1, -32}, {2, -0.25f}}},
        /* d = 1; the table's first, last and eighth */
        {20, {0x00, 0x3c, 0xf0, 0x07}, {{0, -127}, {16, 113}, {1, -10}}},
        /* d = 1, m = 2; scale 0 is 3, minimum 0 is 1, scale 4 is 5 | 2 << 4, minimum 4 is 6 | 1 <<
         * 4; the first byte of nibbles is of elements 0 and 32 */
        {12,
         {0x00, 0x3c, 0x00, 0x40, 0x83, 0, 0, 0, 0x41, 0, 0, 0, 0x65, 0, 0, 0, 0x0a},
         {{0, 28}, {128, -44}, {32, 0}}},
        /* d = 1, m = 0; scale 0 is 1, scale 1 is 2; of the fifth bits' first byte, those of groups
         * 0 and 1 */
        {13,
         {0x00, 0x3c, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x03},
         {{0, 16}, {32, 32}, {1, 0}}},
    };
    (void)state;
    for (size_t k = 0; k < VKM_COUNT(samples); k++) {
        const struct vkm_block_format *f = vkm_block_format_find(samples[k].type);
        unsigned char block[VKM_BLOCK_MAX] = {0};
        float values[VKM_BLOCK_MAX];
        memcpy(block, samples[k].start, sizeof(samples[k].start));
        vkm_block_decode(f, block, values);
        for (size_t i = 0; i < VKM_COUNT(samples[k].expected); i++) {
            float expected = samples[k].expected[i].value;
            if (values[samples[k].expected[i].at] != expected)
                fail_msg("%s: element %u is %g, expected %g", f->name, samples[k].expected[i].at,
                         (double)values[samples[k].expected[i].at], (double)expected);
        }
    }
}

static void q6_k_values_worked_out_by_hand_are_met(void **state)
{
    const struct vkm_block_format *f = vkm_block_format_find(14);
    unsigned char block[210] = {0};
    float values[VKM_BLOCK_MAX];
    (void)state;
    block[0] = 0x5a;       /* nibbles of elements 0 and 64 */
    block[128] = 0x93;     /* pairs of elements 0, 32, 64, 96: 3, 0, 1, 2 */
    block[192] = 2;        /* scale of elements 0 .. 15 */
    block[192 + 4] = 0xff; /* -1, of elements 64 .. 79 */
    block[192 + 6] = 1;    /* of elements 96 .. 111 */
    block[208 + 1] = 0x3c; /* d = 1 */
    vkm_block_decode(f, block, values);
    assert_true(values[0] == 2 * (10 + 48 - 32));
    assert_true(values[64] == -(5 + 16 - 32));
    assert_true(values[96] == 32 - 32);
    assert_true(values[97] == -32);
    assert_true(values[1] == -64);
}

static void types_that_are_not_read_have_names_but_no_format(void **state)
{
    (void)state;
    assert_null(vkm_block_format_find(10));
    assert_string_equal(vkm_block_type_name(10), "Q2_K");
    assert_null(vkm_block_format_find(31));
    assert_string_equal(vkm_block_type_name(31), "");
    for (uint32_t number = 0; number < 64; number++) {
        const struct vkm_block_format *f = vkm_block_format_find(number);
        if (f) {
            assert_string_equal(f->name, vkm_block_type_name(number));
            assert_non_null(strstr(vkm_block_format_names, f->name));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_decodes_to_what_the_definition_says),
        cmocka_unit_test(quantised_forms_hold_every_value_of_a_block),
        cmocka_unit_test(negative_scales_turn_the_quants_round_where_they_fit),
        cmocka_unit_test(blocks_fill_a_row_and_end_it),
        cmocka_unit_test(infinite_scales_are_never_stored),
        cmocka_unit_test(values_worked_out_by_hand_are_met),
        cmocka_unit_test(q6_k_values_worked_out_by_hand_are_met),
        cmocka_unit_test(types_that_are_not_read_have_names_but_no_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
