/* Quantised tensors in safetensors files: what is written is read, and what others write is
 * checked.
 */
#include "base/rows.h"
#include "model/packed.h"
#include "unit.h"

enum { ROWS = 10, COLS = 40, LD = 64, BYTES = 2176 /* two panels of one block */ };

static uint8_t matrix[BYTES];

static void fill(enum vkm_dtype dtype)
{
    float row[COLS];
    memset(matrix, 0, sizeof(matrix));
    for (size_t r = 0; r < vkm_stored_rows(dtype, ROWS); r++) {
        for (int i = 0; i < COLS; i++)
            row[i] = (float)(i - 7) * 0.25f + (float)r;
        assert_true(vkm_row_store(matrix, dtype, LD, r, row, r < ROWS ? COLS : 0));
    }
}

static void a_quantised_tensor_is_read_as_it_was_written(void **state)
{
    static const enum vkm_dtype dtypes[] = {VKM_DTYPE_Q8, VKM_DTYPE_Q4};
    static const float floats[2] = {1, 2};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(dtypes); i++) {
        const struct vkm_tensor_out out[] = {{"m", dtypes[i], 2, {ROWS, COLS}, matrix},
                                             {"v", VKM_DTYPE_F32, 1, {2}, floats}};
        const char *path = test_folder_path("f");
        uint8_t read[BYTES];
        struct vkm_checkpoint *c;
        vkmoe_error err;
        fill(dtypes[i]);
        assert_ok(vkm_safetensors_write(NULL, path, out, 2, &err), &err);
        assert_ok(vkm_checkpoint_open_file(NULL, path, &c, &err), &err);
        const struct vkm_tensor *m = vkm_checkpoint_find(c, "m"), *v = vkm_checkpoint_find(c, "v");
        assert_true(m->packed && !v->packed);
        assert_int_equal(m->dtype, dtypes[i]);
        assert_string_equal(m->dtype_name, vkm_dtype_name(dtypes[i]));
        assert_int_equal(m->n_dims, 2);
        assert_true(m->shape[0] == ROWS && m->shape[1] == COLS);
        assert_int_equal(m->size, vkm_matrix_bytes(dtypes[i], ROWS, LD));
        assert_ok(vkm_tensor_read(m, 0, read, m->size, &err), &err);
        assert_memory_equal(read, matrix, m->size);
        assert_int_equal(vkm_checkpoint_quantised(c), dtypes[i]);
        vkm_checkpoint_close(c);
    }
}

static void other_programs_find_plain_bytes(void **state)
{
    const struct vkm_tensor_out out = {"m", VKM_DTYPE_Q8, 2, {ROWS, COLS}, matrix};
    vkmoe_error err;
    size_t size;
    (void)state;
    assert_ok(vkm_safetensors_write(NULL, test_folder_path("f"), &out, 1, &err), &err);
    char *bytes = test_file_read(test_folder_path("f"), &size);
    json_t *header =
        json_loadb(bytes + 8, (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1], 0, NULL);
    const json_t *m = json_object_get(header, "m");
    assert_string_equal(json_string_value(json_object_get(m, "dtype")), "U8");
    assert_int_equal(json_array_size(json_object_get(m, "shape")), 1);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(m, "shape"), 0)), BYTES);
    const json_t *metadata = json_object_get(header, "__metadata__");
    assert_string_equal(json_string_value(json_object_get(metadata, "m")), "Q8 10 40");
    assert_non_null(json_object_get(metadata, VKM_PACKED_KEY));
    json_decref(header);
    free(bytes);
}

static void files_without_quantised_tensors_are_what_they_were(void **state)
{
    static const float floats[2] = {1, 2};
    const struct vkm_tensor_out out = {"v", VKM_DTYPE_F32, 1, {2}, floats};
    size_t size;
    (void)state;
    assert_int_equal(vkm_safetensors_write(NULL, test_folder_path("f"), &out, 1, NULL), VKMOE_OK);
    char *bytes = test_file_read(test_folder_path("f"), &size);
    assert_null(strstr(bytes + 8, "__metadata__"));
    free(bytes);
}

/* --- what is refused --- */

static vkmoe_status open_header(const char *metadata, const char *rest, size_t size,
                                vkmoe_error *err)
{
    char header[1024];
    struct vkm_checkpoint *c = NULL;
    snprintf(header, sizeof(header), "{\"__metadata__\":%s,%s}", metadata, rest);
    tensors_write("f", header, size);
    vkmoe_status status = vkm_checkpoint_open_file(NULL, test_folder_path("f"), &c, err);
    vkm_checkpoint_close(c);
    return status;
}

#define M "\"m\":" ENTRY("\"U8\"", "[2176]", 0, 2176)
#define LAYOUT "{\"vkmoe_layout\":\"1: groups of 32 in panels of 8 rows by 128 columns\","

static void every_wrong_description_is_refused_by_name(void **state)
{
    static const struct {
        const char *metadata, *rest, *text;
    } rows[] = {
        {LAYOUT "\"m\":\"Q8 10 41\"}", M, NULL}, /* as many bytes */
        {LAYOUT "\"m\":\"Q8 17 40\"}", M, "occupies 2176 bytes, expected 3264 for Q8 17 40"},
        {LAYOUT "\"m\":\"Q4 10 40\"}", M, "expected 1280"},
        {LAYOUT "\"m\":\"Q8 10 200\"}", M, "expected 4352"},
        {LAYOUT "\"m\":\"Q5 10 40\"}", M, "\"Q5 10 40\", expected Q8 or Q4"},
        {LAYOUT "\"m\":\"BF16 10 40\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 10\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 10 40 1\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 -10 40\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 010 40\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 0 40\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 10 0\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 99999999999999999999 40\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"Q8 4611686018427387904 4611686018427387904\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"\"}", M, "expected Q8 or Q4"},
        {LAYOUT "\"m\":\"\\u001b\\n\"}", M, "\"??\", expected"},
        {LAYOUT "\"m\":5}", M, "__metadata__ has \"m\", expected a tensor of the file and a text"},
        {LAYOUT "\"n\":\"Q8 10 40\"}", M, "__metadata__ has \"n\", expected a tensor of the file"},
        {LAYOUT "\"m\":\"Q8 10 40\"}", "\"m\":" ENTRY("\"I8\"", "[2176]", 0, 2176), "is I8"},
        {LAYOUT "\"m\":\"Q8 10 40\"}", "\"m\":" ENTRY("\"U8\"", "[2,1088]", 0, 2176),
         "is U8 of 2 dimensions"},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        vkmoe_error err;
        vkmoe_status status = open_header(rows[i].metadata, rows[i].rest, BYTES, &err);
        if (!rows[i].text)
            assert_ok(status, &err);
        else
            expect_failure(status, &err, VKMOE_BAD_FORMAT, rows[i].text, test_folder_path("f"));
    }
}

static void another_layout_is_to_be_quantised_again(void **state)
{
    static const char *const layouts[] = {"\"2: groups of 64\"", "\"\"", "1", "null",
                                          "\"\\u0007\""};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(layouts); i++) {
        char metadata[256];
        vkmoe_error err;
        snprintf(metadata, sizeof(metadata), "{\"vkmoe_layout\":%s,\"m\":\"Q8 10 40\"}",
                 layouts[i]);
        expect_failure(open_header(metadata, M, BYTES, &err), &err, VKMOE_UNSUPPORTED,
                       "quantise the model again", test_folder_path("f"));
    }
}

static void metadata_of_other_programs_says_nothing(void **state)
{
    static const char *const others[] = {
        "{\"format\":\"pt\"}", "{\"m\":\"Q8 10 40\"}", "{}", "5", "null", "[]"};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(others); i++) {
        vkmoe_error err;
        assert_ok(open_header(others[i], M, BYTES, &err), &err);
    }
}

static void a_description_that_has_no_matrix_cannot_be_written(void **state)
{
    static const struct vkm_tensor_out wrong[] = {
        {"m", VKM_DTYPE_Q8, 1, {ROWS}, matrix},
        {"m", VKM_DTYPE_Q4, 2, {0, COLS}, matrix},
        {"m", VKM_DTYPE_Q4, 2, {1ull << 40, COLS}, matrix},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(wrong); i++) {
        vkmoe_error err;
        expect_failure(vkm_safetensors_write(NULL, test_folder_path("f"), &wrong[i], 1, &err), &err,
                       VKMOE_INVALID_ARGUMENT, "\"m\"", "fits no memory");
    }
}

static void memory_may_run_out_anywhere(void **state)
{
    const struct vkm_tensor_out out = {"m", VKM_DTYPE_Q8, 2, {ROWS, COLS}, matrix};
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    (void)state;
    for (long n = 0; status != VKMOE_OK; n++) {
        vkmoe_error err;
        scarce_json(n);
        status = vkm_safetensors_write(NULL, test_folder_path("f"), &out, 1, &err);
        scarce_json(-1);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, "memory", NULL);
    }
}

/* --- what a block may hold --- */

static bool block_valid(enum vkm_dtype dtype, uint64_t index, uint64_t *row, uint64_t *group)
{
    return vkm_panel_block_valid(matrix + index * vkm_panel_block_bytes(dtype), dtype, ROWS, LD,
                                 index, row, group);
}

/* Writes a scale (or with `minimum` that) of group g of a row of block 0. */
static void poke(enum vkm_dtype dtype, size_t row, size_t g, bool minimum, uint16_t bits)
{
    size_t per = dtype == VKM_DTYPE_Q8 ? 1 : 2, quants = dtype == VKM_DTYPE_Q8 ? 1024 : 512;
    memcpy(matrix + quants + ((g * VKM_PANEL_ROWS + row) * per + minimum) * 2, &bits, 2);
}

static void scales_that_no_kernel_may_read_are_found_with_their_place(void **state)
{
    static const uint16_t bad[] = {0x7c00 /* infinity */, 0x7e00 /* NaN */, 0xfc00, 0x8001, 0xbc00};
    uint64_t row, group;
    (void)state;
    for (int d = VKM_DTYPE_Q8; d <= VKM_DTYPE_Q4; d++) {
        enum vkm_dtype dtype = (enum vkm_dtype)d;
        fill(dtype);
        assert_true(block_valid(dtype, 0, &row, &group) && block_valid(dtype, 1, &row, &group));
        for (size_t i = 0; i < VKM_COUNT(bad); i++) {
            fill(dtype);
            poke(dtype, 5, 1, false, bad[i]);
            assert_false(block_valid(dtype, 0, &row, &group));
            assert_true(row == 5 && group == 1);
        }
        fill(dtype);
        poke(dtype, 5, 1, false, 0x8000); /* zero, with a sign */
        assert_true(block_valid(dtype, 0, &row, &group));
        poke(dtype, 3, 2, false, 0x3c00); /* beyond ld */
        assert_false(block_valid(dtype, 0, &row, &group));
        assert_true(row == 3 && group == 2);
    }
    fill(VKM_DTYPE_Q4);
    poke(VKM_DTYPE_Q4, 0, 0, true, 0xbc00); /* a minimum may be negative */
    assert_true(block_valid(VKM_DTYPE_Q4, 0, &row, &group));
    poke(VKM_DTYPE_Q4, 0, 0, true, 0xfc00);
    assert_false(block_valid(VKM_DTYPE_Q4, 0, &row, &group));
}

static void rows_beyond_the_end_of_a_matrix_are_zero(void **state)
{
    uint64_t row, group;
    uint16_t one = 0x3c00;
    (void)state;
    fill(VKM_DTYPE_Q8);
    memcpy(matrix + 1088 + 1024 + 2 * 2, &one, 2); /* row 10 */
    assert_false(block_valid(VKM_DTYPE_Q8, 1, &row, &group));
    assert_true(row == 10 && group == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_quantised_tensor_is_read_as_it_was_written),
        TEST_IN_FOLDER(other_programs_find_plain_bytes),
        TEST_IN_FOLDER(files_without_quantised_tensors_are_what_they_were),
        TEST_IN_FOLDER(every_wrong_description_is_refused_by_name),
        TEST_IN_FOLDER(another_layout_is_to_be_quantised_again),
        TEST_IN_FOLDER(metadata_of_other_programs_says_nothing),
        TEST_IN_FOLDER(a_description_that_has_no_matrix_cannot_be_written),
        TEST_IN_FOLDER(memory_may_run_out_anywhere),
        cmocka_unit_test(scales_that_no_kernel_may_read_are_found_with_their_place),
        cmocka_unit_test(rows_beyond_the_end_of_a_matrix_are_zero),
    };
    return cmocka_run_group_tests_name("packed", tests, NULL, NULL);
}
