/* The checkpoint reader and writer: what they read, and that no file makes them crash. */
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "model/safetensors.h"
#include "unit.h"

/* All bytes of a tensor, to be freed. */
static void *bytes_of(const struct vkm_tensor *t)
{
    vkmoe_error err;
    void *bytes = malloc(t->size + 1);
    assert_non_null(bytes);
    if (vkm_tensor_read(t, 0, bytes, t->size, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    return bytes;
}

/* Opens FOLDER/name; on success reads every tensor and closes it again. */
static vkmoe_status try_file(const char *name, vkmoe_error *err)
{
    struct vkm_checkpoint *c = NULL;
    const char *path = test_folder_path(name);
    vkmoe_status status = vkm_checkpoint_open_file(NULL, path, &c, err);
    if (status != VKMOE_OK)
        return status;
    for (size_t i = 0; i < vkm_checkpoint_count(c); i++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(c, i);
        assert_ptr_equal(vkm_checkpoint_find(c, t->name), t);
        assert_true(t->n_dims <= VKM_MAX_DIMS);
        free(bytes_of(t));
    }
    vkm_checkpoint_close(c);
    return VKMOE_OK;
}

static void the_shipped_model_opens_with_every_tensor_in_place(void **state)
{
    (void)state;
    vkmoe_error err = {VKMOE_OK, "untouched"};
    struct vkm_checkpoint *c;
    uint64_t end = 0, total = 0;
    assert_int_equal(vkm_checkpoint_open(NULL, VKMOE_TEST_MODEL, &c, &err), VKMOE_OK);
    assert_string_equal(err.message, "untouched");
    assert_string_equal(vkm_checkpoint_path(c), VKMOE_TEST_MODEL "/model.safetensors");
    assert_int_equal(vkm_checkpoint_count(c), 330);
    const struct vkm_tensor *t = vkm_checkpoint_find(c, "model.embed_tokens.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, VKM_DTYPE_BF16);
    assert_string_equal(t->dtype_name, "BF16");
    assert_string_equal(t->file, VKMOE_TEST_MODEL "/model.safetensors");
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->shape[0], 1536);
    assert_int_equal(t->shape[1], 256);
    assert_int_equal(t->size, 1536 * 256 * 2);
    for (size_t i = 0; i < vkm_checkpoint_count(c); i++) {
        const struct vkm_tensor *each = vkm_checkpoint_at(c, i);
        uint64_t last = each->offset + each->size;
        assert_true(i == 0 || strcmp(vkm_checkpoint_at(c, i - 1)->name, each->name) < 0);
        end = last > end ? last : end;
        total += each->size;
    }
    assert_int_equal(end, t->from->size);
    assert_int_equal(total, 14930432);
    assert_null(vkm_checkpoint_find(c, "model.embed_tokens.bias"));
    assert_null(vkm_checkpoint_find(c, "__metadata__"));
    vkm_checkpoint_close(c);
}

static void golden_files_hold_the_tokens_of_their_manifest(void **state)
{
    (void)state;
    json_t *manifest = json_load_file(VKMOE_GOLDEN "/manifest.json", JSON_ALLOW_NUL, NULL);
    json_t *cases = json_object_get(manifest, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *one = json_array_get(cases, i), *ids = json_object_get(one, "ids");
        struct vkm_checkpoint *c;
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", VKMOE_GOLDEN,
                 json_string_value(json_object_get(one, "file")));
        assert_int_equal(vkm_checkpoint_open_file(NULL, path, &c, NULL), VKMOE_OK);
        const struct vkm_tensor *t = vkm_checkpoint_find(c, "tokens");
        assert_non_null(t);
        assert_int_equal(t->dtype, VKM_DTYPE_I32);
        assert_int_equal(t->shape[0], json_array_size(ids));
        int32_t *tokens = bytes_of(t);
        for (size_t k = 0; k < json_array_size(ids); k++)
            assert_int_equal(tokens[k], json_integer_value(json_array_get(ids, k)));
        free(tokens);
        assert_int_equal(vkm_checkpoint_find(c, "logits")->n_dims, 2);
        vkm_checkpoint_close(c);
    }
    json_decref(manifest);
}

static const uint16_t halves[15] = {0, 1, 0x3c00, 0x7c00, 0xffff, 5, 6, 7, 8, 9, 10, 11, 12, 13};
static const float floats[6] = {0.0f, -1.5f, 1e-38f, 3e38f, 5.0f, 6.0f};
static const int32_t integers[3] = {-1, INT32_MAX, INT32_MIN};

static const struct vkm_tensor_out samples[] = {
    {"a.half", VKM_DTYPE_F16, 2, {3, 5}, halves},
    {"b.float", VKM_DTYPE_F32, 4, {1, 2, 1, 3}, floats},
    {"c.bfloat", VKM_DTYPE_BF16, 1, {1}, halves + 2},
    {"d \"quoted\"\\\n \xc3\xa9", VKM_DTYPE_I32, 1, {3}, integers},
    {"e.scalar", VKM_DTYPE_F32, 0, {0}, floats + 3},
    {"f.empty", VKM_DTYPE_F32, 2, {0, 7}, NULL},
};

static void written_tensors_read_back_bit_for_bit(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_checkpoint *c;
    const char *path = test_folder_path("out.safetensors");
    assert_int_equal(vkm_safetensors_write(NULL, path, samples, VKM_COUNT(samples), &err),
                     VKMOE_OK);
    assert_int_equal(vkm_checkpoint_open_file(NULL, path, &c, &err), VKMOE_OK);
    assert_int_equal(vkm_checkpoint_count(c), VKM_COUNT(samples));
    for (size_t i = 0; i < VKM_COUNT(samples); i++) {
        const struct vkm_tensor_out *want = &samples[i];
        const struct vkm_tensor *t = vkm_checkpoint_find(c, want->name);
        uint64_t size = vkm_dtype_size(want->dtype);
        assert_non_null(t);
        assert_int_equal(t->dtype, want->dtype);
        assert_int_equal(t->n_dims, want->n_dims);
        for (uint32_t k = 0; k < t->n_dims; k++) {
            assert_int_equal(t->shape[k], want->shape[k]);
            size *= want->shape[k];
        }
        assert_int_equal(t->size, size);
        assert_int_equal(t->offset % vkm_dtype_size(t->dtype), 0);
        void *bytes = bytes_of(t);
        if (size > 0)
            assert_memory_equal(bytes, want->data, size);
        free(bytes);
    }
    vkm_checkpoint_close(c);
}

static void the_order_of_the_tensors_does_not_change_the_file(void **state)
{
    (void)state;
    struct vkm_tensor_out reversed[VKM_COUNT(samples)];
    size_t size[2], n = VKM_COUNT(samples);
    for (size_t i = 0; i < n; i++)
        reversed[i] = samples[n - 1 - i];
    assert_int_equal(vkm_safetensors_write(NULL, test_folder_path("1"), samples, n, NULL),
                     VKMOE_OK);
    assert_int_equal(vkm_safetensors_write(NULL, test_folder_path("2"), reversed, n, NULL),
                     VKMOE_OK);
    char *first = test_file_read(test_folder_path("1"), &size[0]);
    char *second = test_file_read(test_folder_path("2"), &size[1]);
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(first, second, size[0]);
    assert_int_equal((unsigned char)first[0] % 8, 0);
    assert_int_equal(first[8], '{');
    free(first);
    free(second);
}

static void no_tensors_at_all_make_a_valid_file(void **state)
{
    (void)state;
    vkmoe_error err;
    assert_int_equal(vkm_safetensors_write(NULL, test_folder_path("none"), samples, 0, &err),
                     VKMOE_OK);
    assert_int_equal(try_file("none", &err), VKMOE_OK);
}

static void the_writer_refuses_what_no_reader_would_take(void **state)
{
    (void)state;
    static const struct {
        struct vkm_tensor_out tensors[2];
        const char *text;
    } rows[] = {
        {{{"x", VKM_DTYPE_F32, 1, {1}, floats}, {"x", VKM_DTYPE_F16, 1, {1}, halves}}, "twice"},
        {{{"x", VKM_DTYPE_F32, 1, {1}, floats}, {"__metadata__", VKM_DTYPE_F32, 0, {0}, floats}},
         "__metadata__"},
        {{{"x", VKM_DTYPE_F32, 5, {1}, floats}, {"y", VKM_DTYPE_F32, 0, {0}, floats}}, "\"x\""},
        {{{"x", VKM_DTYPE_COUNT, 1, {1}, floats}, {"y", VKM_DTYPE_F32, 0, {0}, floats}}, "\"x\""},
        {{{"\xff", VKM_DTYPE_F32, 1, {1}, floats}, {"y", VKM_DTYPE_F32, 0, {0}, floats}}, "UTF-8"},
        {{{"x", VKM_DTYPE_F32, 2, {1ull << 32, 1ull << 32}, floats},
          {"y", VKM_DTYPE_F32, 0, {0}, floats}},
         "fits no memory"},
        {{{"x", VKM_DTYPE_F32, 2, {0, 1ull << 63}, floats}, {"y", VKM_DTYPE_F32, 0, {0}, floats}},
         "fits no memory"},
        {{{"x", VKM_DTYPE_F32, 1, {1ull << 61}, floats},
          {"y", VKM_DTYPE_F32, 1, {1ull << 60}, floats}},
         "63 bits"},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        vkmoe_error err;
        const char *path = test_folder_path("refused");
        vkmoe_status status = vkm_safetensors_write(NULL, path, rows[i].tensors, 2, &err);
        expect_failure(status, &err, VKMOE_INVALID_ARGUMENT, rows[i].text, "refused");
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void a_folder_that_does_not_exist_cannot_be_written_to(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_status status =
        vkm_safetensors_write(NULL, test_folder_path("no/such"), samples, 1, &err);
    expect_failure(status, &err, VKMOE_IO, "no/such", NULL);
}

static void tensors_of_dtypes_the_runtime_lacks_are_listed_under_their_name(void **state)
{
    (void)state;
    struct vkm_checkpoint *c;
    tensors_write("f",
                  "{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                  "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[16,19]},"
                  "\"c\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[19,20]},"
                  "\"d\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[21,29]},"
                  "\"e\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[20,21]},"
                  "\"f\":{\"dtype\":\"Q99\",\"shape\":[2],\"data_offsets\":[29,34]}}",
                  34);
    assert_int_equal(vkm_checkpoint_open_file(NULL, test_folder_path("f"), &c, NULL), VKMOE_OK);
    static const char *const names[] = {"F64", "U8", "F8_E4M3", "I64", "F4", "Q99"};
    assert_int_equal(vkm_checkpoint_count(c), 6);
    for (size_t i = 0; i < 6; i++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(c, i);
        assert_int_equal(t->dtype, VKM_DTYPE_COUNT);
        assert_string_equal(t->dtype_name, names[i]);
    }
    vkm_checkpoint_close(c);
}

static void every_malformed_header_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        const char *text, *text2;
    } rows[] = {
        {"", 0, "start with '{'", NULL},
        {" {}", 0, "start with '{'", NULL},
        {"[]", 0, "start with '{'", NULL},
        {"{", 0, "not valid JSON", NULL},
        {"{}x", 0, "not valid JSON", NULL},
        {"{\"a\":\"\\u0000\"}", 0, "not valid JSON", NULL},
        {"{\"\xff\":1}", 0, "not valid JSON", NULL},
        {"{\"a\":99999999999999999999}", 0, "not valid JSON", NULL},
        {"{\"a\":1e999}", 0, "not valid JSON", NULL},
        {"{}", 1, "end after 0 bytes", "expected 1"},
        {"{\"a\":1}", 0, "\"a\" has no dtype string", NULL},
        {"{\"a\\n\\u001b\":null}", 0, "\"a??\"", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape array", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "no data_offsets array", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "data_offsets",
         NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{\"0\":0,\"1\":4}}}", 4,
         "data_offsets", NULL},
        {"{\"a\":" ENTRY("32", "[1]", 0, 4) "}", 4, "dtype", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "1", 0, 4) "}", 4, "shape", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[\"1\"]", 0, 4) "}", 4, "shape", "entry 0"},
        {"{\"a\":" ENTRY("\"F32\"", "[1.0]", 0, 4) "}", 4, "shape", "entry 0"},
        {"{\"a\":" ENTRY("\"F32\"", "[1,-1]", 0, 4) "}", 4, "shape", "entry 1"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4.0) "}", 4, "data_offsets", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", -4, 0) "}", 4, "bytes -4 to 0", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 4, 0) "}", 4, "bytes 4 to 0", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 8) "}", 4, "bytes 0 to 8", "4 bytes of data"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 9223372036854775807) "}", 4, "lies at bytes", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[2]", 0, 4) "}", 4, "occupies 4 bytes", "2 elements of F32"},
        {"{\"a\":" ENTRY("\"F32\"", "[0]", 0, 4) "}", 4, "occupies 4 bytes", "0 elements"},
        {"{\"a\":" ENTRY("\"F4\"", "[3]", 0, 1) "}", 1, "occupies 1 bytes", "3 elements of F4"},
        {"{\"a\":" ENTRY("\"F32\"", "[4294967296,4294967296]", 0, 4) "}", 4, "64 bits", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[9223372036854775807,4]", 0, 4) "}", 4, "64 bits", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[4611686018427387905]", 0, 4) "}", 4, "occupies 4", NULL},
        {"{\"a\":" ENTRY("\"F64\"", "[2305843009213693953]", 0, 8) "}", 8, "occupies 8", NULL},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4) ",\"b\":" ENTRY("\"F32\"", "[1]", 0, 4) "}", 4,
         "starts at byte 0", "expected 4"},
        {"{\"a\":" ENTRY("\"F32\"", "[2]", 0, 8) ",\"b\":" ENTRY("\"F32\"", "[2]", 4, 12) "}", 12,
         "\"b\" starts at byte 4", "expected 8"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4) ",\"b\":" ENTRY("\"F32\"", "[1]", 8, 12) "}", 12,
         "\"b\" starts at byte 8", "expected 4"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 4, 8) "}", 8, "starts at byte 4", "expected 0"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4) "}", 8, "end after 4 bytes", "expected 8"},
        {"{\"a\":" ENTRY("\"F32\"", "[1]", 0, 4) ",\"a\":" ENTRY("\"F32\"", "[1]", 4, 8) "}", 8,
         "duplicate", "a"},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        vkmoe_error err;
        tensors_write("bad", rows[i].header, rows[i].size);
        expect_failure(try_file("bad", &err), &err, VKMOE_BAD_FORMAT, rows[i].text, rows[i].text2);
        assert_non_null(strstr(err.message, test_folder_path("bad")));
    }
}

static void more_dimensions_than_the_runtime_holds_are_unsupported(void **state)
{
    (void)state;
    vkmoe_error err;
    tensors_write("f", "{\"a\":" ENTRY("\"F32\"", "[1,1,1,1,1]", 0, 4) "}", 4);
    expect_failure(try_file("f", &err), &err, VKMOE_UNSUPPORTED, "5 dimensions", "at most 4");
}

static void a_tensor_off_its_elements_alignment_is_refused(void **state)
{
    (void)state;
    vkmoe_error err;
    static const char header[] = "{\"a\":" ENTRY("\"F16\"", "[1]", 0, 2) "}";
    for (size_t length = strlen(header); length < strlen(header) + 4; length++) {
        tensors_write_padded("f", header, length, 2);
        if (length % 2 == 0)
            assert_int_equal(try_file("f", &err), VKMOE_OK);
        else
            expect_failure(try_file("f", &err), &err, VKMOE_BAD_FORMAT, "\"a\" starts at byte",
                           "multiple of 2");
    }
}

static void a_long_name_leaves_room_for_the_rest_of_the_sentence(void **state)
{
    (void)state;
    vkmoe_error err;
    static char header[5000];
    memcpy(header, "{\"", 2);
    for (size_t i = 2; i < 4000; i += 2)
        memcpy(header + i, "\xc3\xa9", 2);
    strcpy(header + 4000, "\":{\"dtype\":5}}");
    tensors_write("f", header, 0);
    expect_failure(try_file("f", &err), &err, VKMOE_BAD_FORMAT, "\xc3\xa9...\" has no dtype", NULL);
}

static void a_header_longer_than_the_file_or_the_format_allows_is_refused(void **state)
{
    (void)state;
    static const unsigned char lengths[][8] = {
        {9}, {255, 255, 255, 255, 255, 255, 255, 255}, {248, 255, 255, 255, 255, 255, 255, 255}};
    for (size_t i = 0; i < VKM_COUNT(lengths); i++) {
        vkmoe_error err;
        unsigned char bytes[16] = "........{      }";
        memcpy(bytes, lengths[i], 8);
        test_folder_write("f", bytes, sizeof(bytes));
        expect_failure(try_file("f", &err), &err, VKMOE_BAD_FORMAT, "header claims", "at most 8");
    }
    vkmoe_error err;
    unsigned char length[8] = {1, 0xe1, 0xf5, 5}; /* 100 000 001 */
    test_folder_write("f", length, sizeof(length));
    assert_int_equal(truncate(test_folder_path("f"), 200000000), 0);
    expect_failure(try_file("f", &err), &err, VKMOE_BAD_FORMAT, "claims 100000001",
                   "at most 100000000");
}

static void a_file_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    vkmoe_error err;
    size_t size;
    const char *path = test_folder_path("whole");
    assert_int_equal(vkm_safetensors_write(NULL, path, samples, VKM_COUNT(samples), &err),
                     VKMOE_OK);
    char *bytes = test_file_read(path, &size);
    for (size_t n = 0; n < size; n++) {
        test_folder_write("cut", bytes, n);
        expect_failure(try_file("cut", &err), &err, VKMOE_BAD_FORMAT, "cut",
                       n < 8 ? "expected at least 8" : NULL);
    }
    free(bytes);
}

static void a_file_with_one_byte_changed_never_crashes_the_reader(void **state)
{
    (void)state;
    vkmoe_error err;
    size_t size;
    uint64_t random = 1;
    const char *path = test_folder_path("whole");
    assert_int_equal(vkm_safetensors_write(NULL, path, samples, VKM_COUNT(samples), &err),
                     VKMOE_OK);
    char *bytes = test_file_read(path, &size);
    size_t header = 8 + (unsigned char)bytes[0] + 256u * (unsigned char)bytes[1];
    static const char likely[] = "0123456789-[]{},:\"\\.eE \n";
    for (int i = 0; i < 4000; i++) {
        size_t at = random_u32(&random) % header;
        char old = bytes[at];
        bytes[at] =
            i % 2 ? (char)random_u32(&random) : likely[random_u32(&random) % (sizeof(likely) - 1)];
        test_folder_write("mutant", bytes, size);
        expect_sane(try_file("mutant", &err), &err);
        bytes[at] = old;
    }
    free(bytes);
}

static void only_regular_files_are_opened(void **state)
{
    (void)state;
    vkmoe_error err;
    assert_int_equal(mkdir(test_folder_path("folder"), 0700), 0);
    assert_int_equal(mkfifo(test_folder_path("pipe"), 0600), 0);
    test_folder_write("empty", "", 0);
    tensors_write("good", "{}", 0);
    assert_int_equal(symlink("good", test_folder_path("link")), 0);
    assert_int_equal(symlink("nowhere", test_folder_path("dangling")), 0);
    expect_failure(try_file("folder", &err), &err, VKMOE_BAD_FORMAT, "not a regular file", NULL);
    expect_failure(try_file("pipe", &err), &err, VKMOE_BAD_FORMAT, "not a regular file", NULL);
    expect_failure(try_file("empty", &err), &err, VKMOE_BAD_FORMAT, "0 bytes", "at least 8");
    expect_failure(try_file("dangling", &err), &err, VKMOE_NOT_FOUND, "dangling", NULL);
    expect_failure(try_file("absent", &err), &err, VKMOE_NOT_FOUND, "absent", NULL);
    assert_int_equal(try_file("link", &err), VKMOE_OK);
}

static void tens_of_thousands_of_tensors_are_found_by_name(void **state)
{
    (void)state;
    enum { N = 30000 };
    struct vkm_checkpoint *c;
    static char names[N][64];
    static struct vkm_tensor_out tensors[N];
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "model.layers.%d.mlp.experts.%d.up_proj.weight",
                 i / 500, i % 500);
        tensors[i] = (struct vkm_tensor_out){names[i], VKM_DTYPE_F32, 1, {1}, floats + i % 6};
    }
    const char *path = test_folder_path("many");
    assert_int_equal(vkm_safetensors_write(NULL, path, tensors, N, NULL), VKMOE_OK);
    assert_int_equal(vkm_checkpoint_open_file(NULL, path, &c, NULL), VKMOE_OK);
    assert_int_equal(vkm_checkpoint_count(c), N);
    for (int i = 0; i < N; i++) {
        const struct vkm_tensor *t = vkm_checkpoint_find(c, names[i]);
        assert_non_null(t);
        float value;
        assert_int_equal(vkm_tensor_read(t, 0, &value, 4, NULL), VKMOE_OK);
        assert_memory_equal(&value, floats + i % 6, 4);
    }
    assert_null(vkm_checkpoint_find(c, "model.layers.0.mlp.experts.500.up_proj.weight"));
    vkm_checkpoint_close(c);
}

static void memory_running_out_at_any_allocation_is_a_status_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        vkmoe_error err;
        status = vkm_safetensors_write(&a, test_folder_path("written"), samples, VKM_COUNT(samples),
                                       &err);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
        assert_int_equal(scarce.live, 0);
        assert_int_equal(access(test_folder_path("written"), F_OK) == 0, status == VKMOE_OK);
    }
}

static void memory_running_out_in_the_json_library_is_a_sentence_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        vkmoe_error err;
        scarce_json(n);
        status = vkm_safetensors_write(NULL, test_folder_path("written"), samples,
                                       VKM_COUNT(samples), &err);
        scarce_json(-1);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
    }
    status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct vkm_checkpoint *c = NULL;
        vkmoe_error err;
        scarce_json(n);
        status = vkm_checkpoint_open_file(NULL, test_folder_path("written"), &c, &err);
        scarce_json(-1);
        expect_sane(status, &err); /* the library calls some of these a syntax error */
        if (status == VKMOE_OK)
            assert_int_equal(vkm_checkpoint_count(c), VKM_COUNT(samples));
        vkm_checkpoint_close(c);
    }
}

static void the_error_may_be_null(void **state)
{
    (void)state;
    tensors_write("bad", "{\"a\":1}", 0);
    assert_int_equal(try_file("bad", NULL), VKMOE_BAD_FORMAT);
    assert_int_equal(try_file("absent", NULL), VKMOE_NOT_FOUND);
    assert_int_equal(vkm_safetensors_write(NULL, test_folder_path("no/such"), samples, 1, NULL),
                     VKMOE_IO);
    vkm_checkpoint_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(the_shipped_model_opens_with_every_tensor_in_place),
        TEST_IN_FOLDER(golden_files_hold_the_tokens_of_their_manifest),
        TEST_IN_FOLDER(written_tensors_read_back_bit_for_bit),
        TEST_IN_FOLDER(the_order_of_the_tensors_does_not_change_the_file),
        TEST_IN_FOLDER(no_tensors_at_all_make_a_valid_file),
        TEST_IN_FOLDER(the_writer_refuses_what_no_reader_would_take),
        TEST_IN_FOLDER(a_folder_that_does_not_exist_cannot_be_written_to),
        TEST_IN_FOLDER(tensors_of_dtypes_the_runtime_lacks_are_listed_under_their_name),
        TEST_IN_FOLDER(every_malformed_header_is_refused_with_its_reason),
        TEST_IN_FOLDER(more_dimensions_than_the_runtime_holds_are_unsupported),
        TEST_IN_FOLDER(a_tensor_off_its_elements_alignment_is_refused),
        TEST_IN_FOLDER(a_long_name_leaves_room_for_the_rest_of_the_sentence),
        TEST_IN_FOLDER(a_header_longer_than_the_file_or_the_format_allows_is_refused),
        TEST_IN_FOLDER(a_file_cut_at_any_byte_is_refused),
        TEST_IN_FOLDER(a_file_with_one_byte_changed_never_crashes_the_reader),
        TEST_IN_FOLDER(only_regular_files_are_opened),
        TEST_IN_FOLDER(tens_of_thousands_of_tensors_are_found_by_name),
        TEST_IN_FOLDER(memory_running_out_at_any_allocation_is_a_status_and_no_leak),
        TEST_IN_FOLDER(memory_running_out_in_the_json_library_is_a_sentence_and_no_leak),
        TEST_IN_FOLDER(the_error_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
