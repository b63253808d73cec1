/* The launch table, and choices of one device in its place: what they may be, and their file. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/launch.h"
#include "kernels/ops.h"

#define IDENTITY "device 1234\ndriver 5 version 6\n"

static const struct vkm_caps caps = {.max_groups = {1u << 20, 1u << 20, 64},
                                     .max_invocations = 256,
                                     .shared_bytes = 16384,
                                     .subgroup_size = 32,
                                     .paths = {true, true}};

static struct vkm_tuning some_tuning(void)
{
    struct vkm_tuning t = {.launch_class = VKM_LAUNCH_GPU_SUBGROUP};
    t.kernels[VKM_K_gemv][VKM_DTYPE_BF16] = (struct vkm_geometry){64, 8, 4, 0};
    t.kernels[VKM_K_gemv][VKM_DTYPE_Q8] = (struct vkm_geometry){32, 4, 2, 0};
    t.kernels[VKM_K_moe_gemv_up][VKM_DTYPE_Q4] = (struct vkm_geometry){256, 1, 4, 0};
    t.kernels[VKM_K_rmsnorm][VKM_DTYPE_COUNT] = (struct vkm_geometry){.lanes = 256};
    t.settings[VKM_SETTING_tiled_rows] = 24;
    t.settings[VKM_SETTING_split_span] = 512;
    return t;
}

static void the_table_has_every_kernel_on_every_class(void **state)
{
    (void)state;
    for (int class = 0; class < VKM_LAUNCH_CLASSES; class ++) {
        struct vkm_caps c = caps;
        c.paths[VKM_PATH_WIDE] = class == VKM_LAUNCH_CPU_WIDE;
        c.cpu = class <= VKM_LAUNCH_CPU_SUBGROUP || c.paths[VKM_PATH_WIDE];
        c.paths[VKM_PATH_SUBGROUP] = class % 2 || c.paths[VKM_PATH_WIDE];
        assert_int_equal(vkm_launch_class(&c), class);
        for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
            struct vkm_geometry g = vkm_launch_geometry(&c, k, VKM_DTYPE_BF16, true);
            assert_true(g.lanes > 0);
            assert_true(!vkm_launch_is_tunable(k) || vkm_launch_fits(&c, k, g));
        }
        for (int s = 0; s < VKM_SETTING_COUNT; s++)
            assert_true(vkm_launch_setting_fits((enum vkm_setting)s,
                                                vkm_launch_setting(&c, (enum vkm_setting)s)));
    }
}

/* Lanes and outputs of a product as it is recorded. */
static void assert_gemv(const struct vkm_caps *c, enum vkm_dtype dtype, uint32_t rows,
                        uint32_t lanes, uint32_t outputs)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    const struct vkm_params_gemv p = {.k_ld = 128, .n_out = 64, .n_rows = rows, .y_ld = 64};
    vkmoe_error err;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, c);
    vkm_op_gemv(&recorder, (struct vkm_launch){.n_rows = rows, .dtype = dtype}, &p);
    vkm_recorder_finish(&recorder);
    assert_ok(vkm_recorder_status(&recorder, &err), &err);
    assert_int_equal(stream.ops.items[0].spec[0], lanes);
    assert_int_equal(stream.ops.items[0].spec[1], outputs);
    vkm_stream_finish(&stream);
}

static void choices_hold_for_one_row_in_their_class(void **state)
{
    (void)state;
    const struct vkm_tuning t = some_tuning();
    struct vkm_caps tuned = caps, base = caps, wide = caps;
    tuned.tuning = &t;
    wide.tuning = &t;
    wide.cpu = wide.paths[VKM_PATH_WIDE] = true;
    wide.subgroup_size = 8;
    assert_gemv(&caps, VKM_DTYPE_BF16, 1, 128, 4);
    assert_gemv(&tuned, VKM_DTYPE_BF16, 1, 64, 8);
    assert_gemv(&tuned, VKM_DTYPE_Q8, 1, 32, 2);
    assert_gemv(&tuned, VKM_DTYPE_F16, 1, 128, 4); /* none of these weights */
    assert_gemv(&tuned, VKM_DTYPE_Q4, 1, 128, 4);
    assert_int_equal(vkm_launch_geometry(&tuned, VKM_K_rmsnorm, VKM_DTYPE_F32, true).lanes, 256);
    assert_int_equal(vkm_tuning_choices(&t), 6);
    assert_gemv(&tuned, VKM_DTYPE_BF16, 2, 128, 4);
    base.tuning = &t;
    base.paths[VKM_PATH_SUBGROUP] = false;
    assert_gemv(&base, VKM_DTYPE_BF16, 1, 64, 4);
    assert_gemv(&wide, VKM_DTYPE_BF16, 1, 8, 1); /* by the table's own columns */
    assert_gemv(&wide, VKM_DTYPE_Q8, 1, 8, 4);
    assert_gemv(&wide, VKM_DTYPE_BF16, 2, 8, 4);
    assert_int_equal(vkm_gemm_threshold(&caps), 32);
    assert_int_equal(vkm_gemm_threshold(&tuned), 24);
    assert_int_equal(vkm_gemm_threshold(&base), 32);
}

static void rows_that_share_experts_read_them_once(void **state)
{
    (void)state;
    struct vkm_caps gpu = caps, cpu = caps, forced = caps;
    cpu.cpu = true;
    forced.tiled_rows = 8;
    assert_false(vkm_groups_experts(&gpu, 1, 6, 64));
    assert_false(vkm_groups_experts(&gpu, 3, 6, 64));
    for (uint32_t rows = 4; rows <= 64; rows++) {
        assert_true(vkm_groups_experts(&gpu, rows, 6, 64));
        assert_true(vkm_groups_experts(&cpu, rows, 6, 64));
        assert_int_equal(vkm_groups_experts(&forced, rows, 6, 64), rows > 8);
        /* Where hardly any are shared, sorting is worth it only for tiles. */
        assert_int_equal(vkm_groups_experts(&gpu, rows, 1, 1024), rows > 32);
    }
    assert_true(vkm_groups_experts(&gpu, 4, 1, 1));
    assert_false(vkm_groups_experts(&gpu, 1, 0, 0)); /* a dense model */
}

static void what_a_device_does_not_grant_does_not_fit(void **state)
{
    (void)state;
    struct vkm_caps base = caps;
    base.paths[VKM_PATH_SUBGROUP] = false;
    const struct {
        uint32_t kernel;
        struct vkm_geometry geometry;
    } wrong[] = {
        {VKM_K_gemv, {512, 4, 4, 0}},     {VKM_K_gemv, {96, 4, 4, 0}},
        {VKM_K_gemv, {128, 3, 4, 0}},     {VKM_K_gemv, {128, 4, 16, 0}},
        {VKM_K_gemv, {128, 0, 4, 0}},     {VKM_K_rmsnorm, {128, 4, 0, 0}},
        {VKM_K_rmsnorm, {2, 0, 0, 0}},    {VKM_K_gemm, {64, 0, 0, 0}},
        {VKM_K_moe_scan, {64, 0, 0, 0}},  {VKM_K_sample, {256, 0, 0, 0}},
        {VKM_K_rmsnorm, {1024, 0, 0, 0}},
    };
    for (size_t i = 0; i < VKM_COUNT(wrong); i++)
        assert_false(vkm_launch_fits(&caps, wrong[i].kernel, wrong[i].geometry));
    struct vkm_geometry large = {256, 8, 8, 0};
    base.shared_bytes = 16383;
    assert_true(vkm_launch_fits(&caps, VKM_K_gemv, large));
    assert_false(vkm_launch_fits(&base, VKM_K_gemv, large)); /* 16 KiB of sums */
}

static char *written(const struct vkm_tuning *t, size_t *size)
{
    char *text = vkm_tuning_format(NULL, t, IDENTITY);
    assert_non_null(text);
    *size = strlen(text);
    return text;
}

/* The same choices, and the hash that the text ends with. */
static void assert_choices_of_text(const struct vkm_tuning *t, const struct vkm_tuning *back,
                                   const char *text)
{
    struct vkm_tuning expected = *t;
    const char *line = strstr(text, "\nhash ");
    assert_non_null(line);
    expected.hash = strtoull(line + strlen("\nhash "), NULL, 16);
    assert_memory_equal(&expected, back, sizeof(expected));
}

static void choices_come_back_as_they_were_written(void **state)
{
    (void)state;
    struct vkm_tuning t = some_tuning(), back;
    size_t size;
    char *text = written(&t, &size);
    assert_int_equal(vkm_tuning_parse(text, size, IDENTITY, &caps, &back), VKM_TUNING_GOOD);
    assert_choices_of_text(&t, &back, text);
    vkm_free(NULL, text);
    t = (struct vkm_tuning){.launch_class = VKM_LAUNCH_GPU_SUBGROUP};
    text = written(&t, &size);
    assert_int_equal(vkm_tuning_parse(text, size, IDENTITY, &caps, &back), VKM_TUNING_GOOD);
    assert_choices_of_text(&t, &back, text);
    vkm_free(NULL, text);
}

static void every_column_of_the_table_tells_builds_apart(void **state)
{
    (void)state;
    struct vkm_caps classes[VKM_LAUNCH_CLASSES];
    for (int class = 0; class < VKM_LAUNCH_CLASSES; class ++) {
        bool wide = class == VKM_LAUNCH_CPU_WIDE;
        classes[class] = vkm_launch_class_caps((enum vkm_launch_class) class);
        assert_int_equal(vkm_launch_class(&classes[class]), class);
        assert_int_equal(classes[class].paths[VKM_PATH_WIDE], wide);
    }
}

static void no_damaged_file_is_taken(void **state)
{
    (void)state;
    static const struct vkm_tuning none;
    struct vkm_tuning t = some_tuning(), back;
    size_t size;
    char *text = written(&t, &size);
    for (size_t cut = 0; cut < size; cut++) {
        char *part = malloc(cut + 1); /* so that a sanitizer sees a read beyond */
        assert_non_null(part);
        memcpy(part, text, cut);
        assert_int_not_equal(vkm_tuning_parse(part, cut, IDENTITY, &caps, &back), VKM_TUNING_GOOD);
        assert_memory_equal(&back, &none, sizeof(none));
        free(part);
    }
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            assert_int_not_equal(vkm_tuning_parse(text, size, IDENTITY, &caps, &back),
                                 VKM_TUNING_GOOD);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
    }
    vkm_free(NULL, text);
}

static void other_devices_and_builds_are_told_apart(void **state)
{
    (void)state;
    struct vkm_tuning t = some_tuning(), back;
    size_t size;
    char *text = written(&t, &size);
    static const char *const others[] = {"device 1235\ndriver 5 version 6\n",
                                         "device 1234\ndriver 5 version 7\n",
                                         "device 1234\ndriver 5 version 6\nbuild 2\n", ""};
    for (size_t i = 0; i < VKM_COUNT(others) - 1; i++)
        assert_int_equal(vkm_tuning_parse(text, size, others[i], &caps, &back), VKM_TUNING_OTHERS);
    assert_int_equal(vkm_tuning_parse(text, size, "", &caps, &back), VKM_TUNING_BEYOND);
    vkm_free(NULL, text);
}

/* Written by nobody but somebody's editor, hash and all. */
static void whole_files_that_ask_too_much_are_not_taken(void **state)
{
    (void)state;
    const struct {
        uint32_t kernel;
        struct vkm_geometry geometry;
    } wrong[] = {
        {VKM_K_gemv, {512, 4, 4, 0}}, {VKM_K_gemv, {128, 3, 4, 0}}, {VKM_K_gemm, {64, 0, 0, 0}}};
    struct vkm_tuning back;
    size_t size;
    for (size_t i = 0; i <= VKM_COUNT(wrong) + 1; i++) {
        struct vkm_tuning t = some_tuning();
        if (i < VKM_COUNT(wrong))
            t.kernels[wrong[i].kernel][VKM_DTYPE_BF16] = wrong[i].geometry;
        else if (i == VKM_COUNT(wrong))
            t.settings[VKM_SETTING_attention_rows] = 3;
        else
            t.launch_class = VKM_LAUNCH_CPU_BASE;
        char *text = written(&t, &size);
        assert_int_equal(vkm_tuning_parse(text, size, IDENTITY, &caps, &back), VKM_TUNING_BEYOND);
        assert_int_equal(vkm_tuning_choices(&back), 0);
        vkm_free(NULL, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_every_kernel_on_every_class),
        cmocka_unit_test(choices_hold_for_one_row_in_their_class),
        cmocka_unit_test(rows_that_share_experts_read_them_once),
        cmocka_unit_test(what_a_device_does_not_grant_does_not_fit),
        cmocka_unit_test(choices_come_back_as_they_were_written),
        cmocka_unit_test(every_column_of_the_table_tells_builds_apart),
        cmocka_unit_test(no_damaged_file_is_taken),
        cmocka_unit_test(other_devices_and_builds_are_told_apart),
        cmocka_unit_test(whole_files_that_ask_too_much_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
