/* The container of GGUF files: what is found in good ones, and what is said of bad ones. */
#include "folder.h"
#include "unit.h"

#include "base/gguf.h"
#include "gguf_file.h"

enum { F32 = 0, Q8_0 = 8, Q2_K = 10, Q4_K = 12 }; /* types of tensors */

static vkmoe_status try_open(vkmoe_error *err)
{
    struct vkm_gguf *g = NULL;
    *err = (vkmoe_error){VKMOE_OK, ""};
    vkmoe_status status = vkm_gguf_open(NULL, test_folder_path("m.gguf"), SIZE_MAX, &g, err);
    vkm_gguf_close(g);
    return status;
}

/* Writes f and expects it to be refused with these words. */
static void expect_refusal(struct gguf_file *f, vkmoe_status wanted, const char *text,
                           const char *text2)
{
    vkmoe_error err;
    gguf_write(f, test_folder_path("m.gguf"));
    expect_failure(try_open(&err), &err, wanted, text, text2);
    assert_non_null(strstr(err.message, "m.gguf"));
}

static struct vkm_gguf *open_file(struct gguf_file *f, size_t longest_array)
{
    struct vkm_gguf *g = NULL;
    vkmoe_error err;
    gguf_write(f, test_folder_path("m.gguf"));
    assert_int_equal(vkm_gguf_open(NULL, test_folder_path("m.gguf"), longest_array, &g, &err),
                     VKMOE_OK);
    return g;
}

static const unsigned char zeros[1024];

static void add_tensor(struct gguf_file *f, const char *name, uint32_t type, uint64_t cols,
                       uint64_t rows, size_t size)
{
    const uint64_t shape[] = {cols, rows};
    gguf_tensor(f, name, type, 2, shape, zeros, size);
}

/* Every kind of value and some tensors. */
static struct gguf_file rich_file(void)
{
    static const char *const words[] = {"a", "",
                                        "\xc4\xa0"
                                        "b"};
    static const int32_t numbers[] = {7, -7};
    struct gguf_file f = gguf_new();
    gguf_put(&f, "u8", GGUF_U8, 200, 1);
    gguf_put(&f, "i8", GGUF_I8, (uint8_t)-128, 1);
    gguf_put(&f, "u16", GGUF_U16, 65535, 2);
    gguf_put(&f, "i16", GGUF_I16, (uint16_t)-2, 2);
    gguf_put(&f, "u32", GGUF_U32, UINT32_MAX, 4);
    gguf_put(&f, "i32", GGUF_I32, (uint32_t)INT32_MIN, 4);
    gguf_put(&f, "u64", GGUF_U64, INT64_MAX, 8);
    gguf_put(&f, "huge", GGUF_U64, UINT64_MAX, 8);
    gguf_put(&f, "i64", GGUF_I64, (uint64_t)INT64_MIN, 8);
    gguf_put_f32(&f, "f32", 0.5f);
    gguf_put(&f, "f64", GGUF_F64, 0xc004000000000000u, 8); /* -2.5 */
    gguf_put(&f, "nan", GGUF_F32, 0x7fc00000u, 4);
    gguf_put_bool(&f, "bool", true);
    gguf_put_string(&f, "string", "text");
    gguf_put_strings(&f, "strings", words, 3);
    gguf_put_integers(&f, "integers", numbers, 2);
    /* an array of an array of an array of one byte */
    gguf_put(&f, "nested", GGUF_ARRAY, GGUF_ARRAY, 4);
    gguf_append_number(&f.keys, 1, 8);
    gguf_append_number(&f.keys, GGUF_ARRAY, 4);
    gguf_append_number(&f.keys, 1, 8);
    gguf_append_number(&f.keys, GGUF_U8, 4);
    gguf_append_number(&f.keys, 1, 8);
    gguf_append_number(&f.keys, 9, 1);
    add_tensor(&f, "b", Q8_0, 64, 3, 6 * 34);
    add_tensor(&f, "a", F32, 2, 2, 16);
    add_tensor(&f, "none", F32, 0, 4, 0);
    return f;
}

static json_int_t integer(const struct vkm_gguf *g, const char *key)
{
    const json_t *value = json_object_get(g->metadata, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void values_of_every_kind_are_found(void **state)
{
    struct gguf_file f = rich_file();
    struct vkm_gguf *g = open_file(&f, SIZE_MAX);
    (void)state;
    assert_int_equal(integer(g, "u8"), 200);
    assert_int_equal(integer(g, "i8"), -128);
    assert_int_equal(integer(g, "u16"), 65535);
    assert_int_equal(integer(g, "i16"), -2);
    assert_int_equal(integer(g, "u32"), UINT32_MAX);
    assert_int_equal(integer(g, "i32"), INT32_MIN);
    assert_int_equal(integer(g, "u64"), INT64_MAX);
    assert_true(json_real_value(json_object_get(g->metadata, "huge")) == 0x1p64);
    assert_int_equal(integer(g, "i64"), INT64_MIN);
    assert_true(json_real_value(json_object_get(g->metadata, "f32")) == 0.5);
    assert_true(json_real_value(json_object_get(g->metadata, "f64")) == -2.5);
    assert_false(json_is_number(json_object_get(g->metadata, "nan")));
    assert_true(json_is_true(json_object_get(g->metadata, "bool")));
    assert_string_equal(json_string_value(json_object_get(g->metadata, "string")), "text");
    const json_t *strings = json_object_get(g->metadata, "strings");
    assert_int_equal(json_array_size(strings), 3);
    assert_string_equal(json_string_value(json_array_get(strings, 2)), "\xc4\xa0"
                                                                       "b");
    assert_int_equal(
        json_integer_value(json_array_get(json_object_get(g->metadata, "integers"), 1)), -7);
    const json_t *nested = json_object_get(g->metadata, "nested");
    assert_int_equal(
        json_integer_value(json_array_get(json_array_get(json_array_get(nested, 0), 0), 0)), 9);
    vkm_gguf_close(g);
}

static void tensors_are_found_by_name_where_they_lie(void **state)
{
    struct gguf_file f = rich_file();
    struct vkm_gguf *g = open_file(&f, SIZE_MAX);
    (void)state;
    assert_int_equal(g->tensors.count, 3);
    const struct vkm_gguf_tensor *a = vkm_gguf_find(g, "a"), *b = vkm_gguf_find(g, "b");
    assert_string_equal(b->format->name, "Q8_0");
    assert_int_equal(b->shape[0], 64);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->shape[3], 1);
    assert_int_equal(b->size, 6 * 34);
    assert_int_equal(b->offset % 32, 0);
    assert_int_equal(a->offset, b->offset + 224);
    assert_int_equal(a->size, 16);
    assert_null(vkm_gguf_find(g, "c"));
    vkm_gguf_close(g);
}

static void long_arrays_are_left_out_where_nobody_wants_them(void **state)
{
    struct gguf_file f = rich_file();
    struct vkm_gguf *g = open_file(&f, 2);
    (void)state;
    assert_true(json_is_null(json_object_get(g->metadata, "strings")));
    assert_int_equal(json_array_size(json_object_get(g->metadata, "integers")), 2);
    assert_int_equal(g->tensors.count, 3);
    vkm_gguf_close(g);
}

static void version_2_and_other_alignments_are_read(void **state)
{
    struct gguf_file f = rich_file();
    (void)state;
    f.version = 2;
    vkm_gguf_close(open_file(&f, SIZE_MAX));
    f = gguf_new();
    f.alignment = 8;
    gguf_put_u32(&f, "general.alignment", 8);
    add_tensor(&f, "a", F32, 2, 1, 8);
    add_tensor(&f, "b", F32, 2, 1, 8);
    struct vkm_gguf *g = open_file(&f, SIZE_MAX);
    assert_int_equal(vkm_gguf_find(g, "b")->offset, vkm_gguf_find(g, "a")->offset + 8);
    vkm_gguf_close(g);
}

static void a_file_without_anything_in_it_is_read(void **state)
{
    struct gguf_file f = gguf_new();
    struct vkm_gguf *g = open_file(&f, SIZE_MAX);
    (void)state;
    assert_null(vkm_gguf_find(g, "a"));
    vkm_gguf_close(g);
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
    struct gguf_file f = rich_file();
    size_t size;
    unsigned char *bytes = gguf_finish(&f, &size);
    vkmoe_error err;
    (void)state;
    for (size_t n = 0; n < size; n++) {
        test_folder_write("m.gguf", bytes, n);
        vkmoe_status status = try_open(&err);
        expect_failure(status, &err, VKMOE_BAD_FORMAT, "m.gguf", NULL);
    }
    test_folder_write("m.gguf", bytes, size);
    assert_int_equal(try_open(&err), VKMOE_OK);
    free(bytes);
}

static void any_byte_of_the_header_may_be_wrong(void **state)
{
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    struct gguf_file f = rich_file();
    size_t size;
    unsigned char *bytes = gguf_finish(&f, &size);
    (void)state;
    for (size_t n = 0; n < size - 300; n++) {
        unsigned char kept = bytes[n];
        for (size_t k = 0; k < sizeof(values); k++) {
            vkmoe_error err;
            bytes[n] = values[k];
            test_folder_write("m.gguf", bytes, size);
            vkmoe_status status = try_open(&err);
            expect_sane(status, &err);
        }
        bytes[n] = kept;
    }
    free(bytes);
}

static void other_versions_and_other_files_are_refused(void **state)
{
    struct gguf_file f = gguf_new();
    vkmoe_error err;
    (void)state;
    f.version = 1;
    expect_refusal(&f, VKMOE_UNSUPPORTED, "version 1, expected 2 or 3", NULL);
    f.version = 0x03000000; /* big-endian */
    expect_refusal(&f, VKMOE_UNSUPPORTED, "version 50331648", "little-endian");
    test_folder_write_text("m.gguf", "{\"a\": 1, \"b\": 2, \"cdefghijklm\": 3}");
    expect_failure(try_open(&err), &err, VKMOE_BAD_FORMAT, "begins with \"{", "GGUF");
    gguf_put_u32(&f, "split.count", 3);
    expect_refusal(&f, VKMOE_UNSUPPORTED, "split.count is 3", "in one file");
}

static void absurd_counts_are_refused_before_memory_is_asked_for(void **state)
{
    static const uint64_t counts[] = {1000, UINT32_MAX, INT64_MAX, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(counts); i++) {
        struct gguf_file f = gguf_new();
        f.n_tensors = counts[i];
        expect_refusal(&f, VKMOE_BAD_FORMAT, "the list of tensors has a count of", NULL);
        f.n_keys = counts[i];
        expect_refusal(&f, VKMOE_BAD_FORMAT, "the metadata has a count of", NULL);
        gguf_put(&f, "k", GGUF_ARRAY, GGUF_F64, 4);
        gguf_append_number(&f.keys, counts[i], 8);
        expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" has a count of", NULL);
        gguf_put(&f, "k", GGUF_STRING, counts[i], 8);
        expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" takes", "end of the file");
        gguf_append_number(&f.keys, counts[i], 8);
        f.n_keys = 1;
        expect_refusal(&f, VKMOE_BAD_FORMAT, "", NULL);
    }
}

static void keys_are_checked(void **state)
{
    struct gguf_file f = gguf_new();
    (void)state;
    gguf_put_u32(&f, "k", 1);
    gguf_put_u32(&f, "k", 2);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" comes twice", NULL);
    gguf_put(&f, "k", (enum gguf_type)13, 0, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" has a value of type 13, expected 0 to 12",
                   NULL);
    gguf_put_string(&f, "k", "a\xff");
    expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" is not UTF-8 at byte 1", NULL);
    gguf_put_u32(&f, "k\xff", 1);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "is not UTF-8", NULL);
    gguf_put(&f, "k", GGUF_STRING, 3, 8);
    gguf_append(&f.keys, "a\0b", 3);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\"", "zero byte");
    gguf_put_u32(&f, "general.alignment", 0);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "general.alignment is 0", NULL);
    for (int depth = 0; depth < 6; depth++) {
        if (depth == 0)
            gguf_put(&f, "k", GGUF_ARRAY, GGUF_ARRAY, 4);
        else
            gguf_append_number(&f.keys, GGUF_ARRAY, 4);
        gguf_append_number(&f.keys, 1, 8);
    }
    gguf_append(&f.keys, zeros, 64);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "key \"k\" has arrays within arrays", "at most 4");
}

static void tensors_are_checked(void **state)
{
    static const uint64_t dims[] = {4, 1, 1, 1, 1}, wide[] = {1u << 31, 1u << 31, 1u << 31, 1};
    struct gguf_file f = gguf_new();
    (void)state;
    gguf_tensor(&f, "t", F32, 5, dims, zeros, 16);
    expect_refusal(&f, VKMOE_UNSUPPORTED, "tensor \"t\" has 5 dimensions, expected at most 4",
                   NULL);
    gguf_tensor(&f, "t", F32, 4, wide, zeros, 16);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"t\" has a shape whose product", NULL);
    gguf_tensor(&f, "t", Q4_K, 2, (uint64_t[]){UINT64_MAX / 256 * 256, 1}, zeros, 16);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"t\" takes", "of the data on");
    add_tensor(&f, "t", Q2_K, 256, 1, 84);
    expect_refusal(&f, VKMOE_UNSUPPORTED, "tensor \"t\" is of type 10 (Q2_K), expected F32, F16",
                   "Q6_K");
    add_tensor(&f, "t", 99, 256, 1, 84);
    expect_refusal(&f, VKMOE_UNSUPPORTED, "tensor \"t\" is of type 99, expected", NULL);
    add_tensor(&f, "t", Q8_0, 48, 2, 102);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "rows of 48 elements, expected a multiple of 32 for Q8_0",
                   NULL);
    add_tensor(&f, "t", F32, 4, 2, 31);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"t\" takes 32 bytes from byte 0", "31 bytes");
    add_tensor(&f, "a b", F32, 1, 1, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "printable ASCII", NULL);
    add_tensor(&f, "", F32, 1, 1, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "an empty name", NULL);
    add_tensor(&f, "t", F32, 1, 1, 4);
    add_tensor(&f, "t", F32, 1, 1, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"t\" comes twice", NULL);
    add_tensor(&f, "t", F32, 8, 2, 64);
    f.overlap = 32;
    add_tensor(&f, "u", F32, 1, 1, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"u\" starts at byte", "within tensor \"t\"");
    add_tensor(&f, "t", F32, 8, 2, 64);
    f.overlap = 1;
    add_tensor(&f, "u", F32, 1, 1, 4);
    expect_refusal(&f, VKMOE_BAD_FORMAT, "tensor \"u\" starts at byte 63", "multiple of 32");
}

static void a_gguf_file_is_told_by_its_name_or_its_first_bytes(void **state)
{
    (void)state;
    test_folder_write_text("m.gguf", "");
    test_folder_write_text("plain", "GGUF...");
    test_folder_write_text("other", "GGU");
    assert_true(vkm_gguf_is(test_folder_path("m.gguf")));
    assert_true(vkm_gguf_is(test_folder_path("plain")));
    assert_false(vkm_gguf_is(test_folder_path("other")));
    assert_false(vkm_gguf_is(test_folder_path(".")));
    assert_false(vkm_gguf_is(test_folder_path("none.gguf")));
}

static void any_allocation_may_fail(void **state)
{
    struct gguf_file f = rich_file();
    vkmoe_error err;
    bool done = false;
    (void)state;
    gguf_write(&f, test_folder_path("m.gguf"));
    for (long n = 0; !done; n++) {
        struct vkm_gguf *g = NULL;
        struct scarce s = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&s);
        vkmoe_status status = vkm_gguf_open(&a, test_folder_path("m.gguf"), SIZE_MAX, &g, &err);
        done = status == VKMOE_OK;
        if (!done)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
        vkm_gguf_close(g);
        assert_int_equal(s.live, 0);
    }
    done = false;
    for (long n = 0; !done; n++) {
        scarce_json(n);
        vkmoe_status status = try_open(&err);
        scarce_json(-1);
        done = status == VKMOE_OK;
        if (!done)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(values_of_every_kind_are_found),
        TEST_IN_FOLDER(tensors_are_found_by_name_where_they_lie),
        TEST_IN_FOLDER(long_arrays_are_left_out_where_nobody_wants_them),
        TEST_IN_FOLDER(version_2_and_other_alignments_are_read),
        TEST_IN_FOLDER(a_file_without_anything_in_it_is_read),
        TEST_IN_FOLDER(a_file_cut_at_any_byte_is_refused),
        TEST_IN_FOLDER(any_byte_of_the_header_may_be_wrong),
        TEST_IN_FOLDER(other_versions_and_other_files_are_refused),
        TEST_IN_FOLDER(absurd_counts_are_refused_before_memory_is_asked_for),
        TEST_IN_FOLDER(keys_are_checked),
        TEST_IN_FOLDER(tensors_are_checked),
        TEST_IN_FOLDER(a_gguf_file_is_told_by_its_name_or_its_first_bytes),
        TEST_IN_FOLDER(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
