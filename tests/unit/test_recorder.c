/* The recorder: where it puts barriers, what it refuses, and how it fails. Streams at random are in
 * test_hazards.c. */
#include "stream_fixture.h"

static const struct vkm_view none;

#define expect_barriers(f, flags)                                                                  \
    do {                                                                                           \
        vkmoe_error err_;                                                                          \
        assert_int_equal(vkm_recorder_status(&(f).recorder, &err_), VKMOE_OK);                     \
        assert_string_equal(fixture_barriers(&f), flags);                                          \
        assert_int_equal(vkm_hazard_check(&(f).stream, &err_), VKMOE_OK);                          \
    } while (0)

static int make_fixture(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    *state = &f;
    return 0;
}

static int drop_fixture(void **state)
{
    fixture_finish(*state);
    return 0;
}

/* --- barriers --- */

static void a_read_of_what_was_written_waits(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 64));
    fixture_mix(f, range(&x, 48, 64), none, range(&y, 0, 64));
    expect_barriers(*f, ".b");
}

static void a_write_of_what_was_read_waits(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    fixture_mix(f, range(&x, 0, 64), none, range(&y, 0, 64));
    fixture_mix(f, none, none, range(&x, 48, 64));
    expect_barriers(*f, ".b");
}

static void a_write_of_what_was_written_waits(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 64));
    fixture_mix(f, none, none, range(&x, 48, 64));
    expect_barriers(*f, ".b");
}

static void one_byte_of_overlap_is_enough(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 65));
    fixture_mix(f, range(&x, 64, 1), none, range(&y, 0, 16));
    fixture_mix(f, none, none, range(&x, 0, 65));
    expect_barriers(*f, ".bb");
}

static void disjoint_ranges_of_one_buffer_do_not_wait(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 64, 64));
    fixture_mix(f, range(&x, 128, 64), range(&x, 48, 16), range(&x, 0, 48));
    fixture_update(f, range(&x, 192, 64), range(&x, 224 + 32, 0));
    expect_barriers(*f, "...");
}

static void reads_of_the_same_bytes_do_not_wait(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    fixture_mix(f, range(&x, 0, 256), range(&x, 0, 256), range(&y, 0, 64));
    fixture_mix(f, range(&x, 0, 256), none, range(&y, 64, 64));
    fixture_mix(f, range(&x, 128, 16), none, range(&y, 128, 64));
    expect_barriers(*f, "...");
}

static void the_same_range_of_another_buffer_does_not_wait(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256), z = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 256));
    fixture_mix(f, range(&y, 0, 256), none, range(&z, 0, 256));
    expect_barriers(*f, "..");
}

static void empty_and_absent_views_touch_nothing(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 256));
    fixture_mix(f, range(&x, 64, 0), none, range(&x, 128, 0));
    fixture_mix(f, none, none, none);
    expect_barriers(*f, "...");
}

static void an_update_reads_and_writes(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    fixture_mix(f, range(&x, 0, 64), none, range(&y, 0, 64));
    fixture_update(f, none, range(&x, 0, 64)); /* after a read */
    fixture_update(f, none, range(&x, 0, 64)); /* after a write */
    fixture_mix(f, range(&x, 0, 64), none, range(&y, 64, 64));
    expect_barriers(*f, ".bbb");
}

static void one_barrier_clears_all_that_came_before(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256), z = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 64));
    fixture_mix(f, none, none, range(&x, 64, 64));
    fixture_mix(f, none, none, range(&y, 0, 64));
    fixture_mix(f, range(&x, 0, 64), none, range(&z, 0, 64)); /* waits for the first */
    fixture_mix(f, range(&x, 64, 64), none, range(&z, 64, 64));
    fixture_mix(f, range(&y, 0, 64), none, range(&z, 128, 64));
    expect_barriers(*f, "...b..");
}

static void a_kernel_does_not_wait_for_itself(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    fixture_mix(f, range(&x, 0, 64), range(&x, 32, 64), range(&x, 0, 64));
    expect_barriers(*f, ".");
}

static void memory_behind_a_table_is_one_resource(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), pages = fixture_buffer(4096);
    struct params_lookup p = {none, range(&pages, 0, 4096), range(&x, 0, 64)};
    struct vkm_dispatch d = {.kernel = LOOKUP, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
    fixture_mix(f, none, none, range(&pages, 1024, 16));
    vkm_record(&f->recorder, &d);
    fixture_mix(f, none, none, range(&pages, 0, 16));
    expect_barriers(*f, ".bb");
}

static struct vkm_dispatch indirect_mix(const struct params_mix *p, struct vkm_view counts)
{
    return (struct vkm_dispatch){.kernel = MIX, .spec = {64}, .indirect = counts, .params = p};
}

static void indirect_counts_are_read(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), counts = fixture_buffer(64);
    struct params_mix p = {.y = range(&x, 0, 64)};
    fixture_mix(f, none, none, range(&counts, 0, 32));
    struct vkm_dispatch d = indirect_mix(&p, range(&counts, 12, 12));
    vkm_record(&f->recorder, &d);                       /* reads what was just written */
    fixture_mix(f, range(&counts, 0, 64), none, none);  /* reads it too */
    fixture_mix(f, none, none, range(&counts, 16, 16)); /* overwrites it */
    fixture_mix(f, none, none, range(&counts, 32, 16));
    expect_barriers(*f, ".b.b.");
}

static void record_beside(struct fixture *f, struct vkm_view a, struct vkm_view y, bool beside)
{
    struct params_mix p = {a, none, y, 1};
    vkm_record(
        &f->recorder,
        &(struct vkm_dispatch){
            .kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p, .beside = beside});
}

static void dispatches_beside_one_another_wait_for_what_came_before_alone(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256), z = fixture_buffer(256);
    fixture_mix(f, none, none, range(&x, 0, 64));
    record_beside(f, range(&x, 0, 64), range(&y, 0, 64), false);
    record_beside(f, range(&x, 0, 64), range(&y, 0, 64), true);
    record_beside(f, none, range(&y, 0, 64), true);
    record_beside(f, range(&y, 0, 64), range(&z, 0, 64), false);
    record_beside(f, range(&z, 0, 64), none, true); /* of its own group alone */
    record_beside(f, range(&z, 64, 64), range(&x, 0, 64), true);
    fixture_mix(f, range(&z, 0, 64), none, range(&x, 0, 64));
    expect_barriers(*f, ".b..b..b");
}

static void the_first_of_those_beside_one_another_clears_nothing_for_later_ones(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256), y = fixture_buffer(256);
    vkmoe_error err;
    fixture_mix(f, none, none, range(&x, 0, 64));
    record_beside(f, none, range(&y, 0, 64), false);
    record_beside(f, range(&x, 0, 64), range(&y, 0, 64), true);
    expect_barriers(*f, "..b");
    f->stream.ops.items[2].barrier = false;
    expect_failure(vkm_hazard_check(&f->stream, &err), &err, VKMOE_INTERNAL,
                   "op 0 (writes, y of mix)", "op 2 (reads, a of mix)");
}

/* --- what is recorded --- */

static void a_dispatch_keeps_all_that_was_said(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    struct params_matrix p = {range(&x, 0, 64), range(&x, 64, 64), 0.5f};
    struct vkm_dispatch d = {.kernel = MATRIX,
                             .dtype = VKM_DTYPE_BF16,
                             .spec = {32, 7, 8, 9},
                             .groups = {100, 200, 300},
                             .params = &p};
    vkm_record(&f->recorder, &d);
    p.scale = 9; /* the recorder has its own copy */
    assert_int_equal(vkm_recorder_status(&f->recorder, NULL), VKMOE_OK);
    assert_int_equal(f->stream.ops.count, 1);
    const struct vkm_op *op = &f->stream.ops.items[0];
    const struct params_matrix *kept = vkm_op_params(&f->stream, op);
    assert_int_equal(op->kernel, MATRIX);
    assert_int_equal(fixture_kernels.kernels[MATRIX].variants[op->variant].dtype, VKM_DTYPE_BF16);
    assert_memory_equal(op->spec, d.spec, sizeof(d.spec));
    assert_memory_equal(op->groups, d.groups, sizeof(d.groups));
    assert_true(kept->scale == 0.5f && kept->y.offset == 64 && kept->y.buffer == &x);
    vkm_stream_clear(&f->stream);
    assert_int_equal(f->stream.ops.count, 0);
}

static void zero_groups_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    struct params_mix p = {.y = range(&x, 0, 64)};
    for (int axis = 0; axis < 3; axis++) {
        struct vkm_dispatch d = {.kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
        d.groups[axis] = 0;
        vkm_record(&f->recorder, &d);
    }
    assert_int_equal(f->stream.ops.count, 0);
    /* and what they would have written is no hazard */
    fixture_mix(f, range(&x, 0, 64), none, none);
    fixture_mix(f, range(&x, 0, 64), none, none);
    expect_barriers(*f, "..");
}

/* --- failures --- */

/* The dispatch fails as said, the stream is as it was, and whatever comes later is dropped. */
static void check_refused(struct fixture *f, const struct vkm_dispatch *d, vkmoe_status status,
                          const char *text, const char *text2)
{
    vkmoe_error err, again;
    size_t ops = f->stream.ops.count, bytes = f->stream.params.count;
    struct vkm_dispatch good = *d;
    struct params_mix p = {0};
    vkm_record(&f->recorder, d);
    expect_failure(vkm_recorder_status(&f->recorder, &err), &err, status, text, text2);
    good = (struct vkm_dispatch){.kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
    vkm_record(&f->recorder, &good);
    good.path = VKM_PATH_SUBGROUP; /* another reason to fail */
    vkm_record(&f->recorder, &good);
    assert_int_equal(vkm_recorder_status(&f->recorder, NULL), status);
    vkm_recorder_status(&f->recorder, &again);
    assert_string_equal(again.message, err.message);
    assert_int_equal(f->stream.ops.count, ops);
    assert_int_equal(f->stream.params.count, bytes);
    vkm_recorder_finish(&f->recorder);
    vkm_recorder_init(&f->recorder, &f->stream, &fixture_caps);
}

static void too_many_groups_are_refused(void **state)
{
    struct fixture *f = *state;
    struct params_mix p = {0};
    static const char *const said[] = {"101 workgroups on axis 0", "201 workgroups on axis 1",
                                       "301 workgroups on axis 2"};
    static const char *const granted[] = {"grants 100", "grants 200", "grants 300"};
    for (int axis = 0; axis < 3; axis++) {
        struct vkm_dispatch d = {.kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
        d.groups[axis] = fixture_caps.max_groups[axis] + 1;
        check_refused(f, &d, VKMOE_UNSUPPORTED, said[axis], granted[axis]);
    }
}

static void a_workgroup_beyond_the_device_is_refused(void **state)
{
    struct fixture *f = *state;
    struct params_mix p = {0};
    struct vkm_dispatch d = {.kernel = MIX, .groups = {1, 1, 1}, .params = &p};
    check_refused(f, &d, VKMOE_INTERNAL, "mix", "workgroup of 0");
    d.spec[0] = 129;
    check_refused(f, &d, VKMOE_INTERNAL, "workgroup of 129", "128");
}

static void a_missing_variant_is_refused(void **state)
{
    struct fixture *f = *state;
    struct params_matrix p = {0};
    struct vkm_dispatch d = {.kernel = MATRIX,
                             .dtype = VKM_DTYPE_BF16,
                             .path = VKM_PATH_SUBGROUP,
                             .spec = {64},
                             .groups = {1, 1, 1},
                             .params = &p};
    check_refused(f, &d, VKMOE_INTERNAL, "matrix", "no variant");
    d.dtype = VKM_DTYPE_F16;
    d.path = VKM_PATH_BASE;
    check_refused(f, &d, VKMOE_INTERNAL, "matrix", "no variant");
    struct params_mix q = {0};
    d.kernel = MIX; /* has no weights: the dtype does not matter, the path does */
    d.params = &q;
    vkm_record(&f->recorder, &d);
    expect_barriers(*f, ".");
    d.path = VKM_PATH_SUBGROUP;
    check_refused(f, &d, VKMOE_INTERNAL, "mix", "no variant");
}

static void a_view_beyond_its_buffer_is_refused(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(256);
    const struct vkm_view bad[] = {
        {&x, 0, 257},  {&x, 256, 1},         {&x, 272, 0},
        {&x, 240, 17}, {&x, 16, UINT64_MAX}, {&x, UINT64_MAX - 15, 16},
        {&x, 8, 16},
    };
    for (size_t i = 0; i < VKM_COUNT(bad); i++) {
        struct params_mix p = {.b = bad[i]};
        struct vkm_dispatch d = {.kernel = MIX, .spec = {64}, .groups = {1, 1, 1}, .params = &p};
        check_refused(f, &d, VKMOE_INTERNAL, "mix", "view b");
    }
    fixture_mix(f, range(&x, 0, 256), none, range(&x, 240, 16));
    fixture_mix(f, range(&x, 256, 0), none, none);
    expect_barriers(*f, "..");
}

static void indirect_counts_beyond_their_buffer_are_refused(void **state)
{
    struct fixture *f = *state;
    struct vkm_buffer x = fixture_buffer(28);
    struct params_mix p = {0};
    const struct vkm_view bad[] = {{&x, 16, 16}, {&x, 20, 12}, {&x, 0, 8}, {&x, 14, 12}};
    for (size_t i = 0; i < VKM_COUNT(bad); i++) {
        struct vkm_dispatch d = indirect_mix(&p, bad[i]);
        check_refused(f, &d, VKMOE_INTERNAL, "mix", "indirect");
    }
}

static void running_out_of_memory_sticks_too(void **state)
{
    (void)state;
    struct vkm_buffer x = fixture_buffer(256);
    bool recorded = false;
    for (long n = 0; !recorded; n++) {
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        struct fixture f;
        vkmoe_error err = {0};
        vkm_stream_init(&f.stream, &fixture_kernels, &a);
        vkm_recorder_init(&f.recorder, &f.stream, &fixture_caps);
        for (int i = 0; i < 40; i++)
            fixture_mix(&f, none, none, range(&x, 0, 16));
        recorded = vkm_recorder_status(&f.recorder, &err) == VKMOE_OK;
        assert_int_equal(err.status, recorded ? VKMOE_OK : VKMOE_OUT_OF_HOST_MEMORY);
        assert_int_equal(f.stream.ops.count == 40, recorded);
        fixture_finish(&f);
        assert_int_equal(scarce.live, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_read_of_what_was_written_waits),
        TEST(a_write_of_what_was_read_waits),
        TEST(a_write_of_what_was_written_waits),
        TEST(one_byte_of_overlap_is_enough),
        TEST(disjoint_ranges_of_one_buffer_do_not_wait),
        TEST(reads_of_the_same_bytes_do_not_wait),
        TEST(the_same_range_of_another_buffer_does_not_wait),
        TEST(empty_and_absent_views_touch_nothing),
        TEST(an_update_reads_and_writes),
        TEST(one_barrier_clears_all_that_came_before),
        TEST(a_kernel_does_not_wait_for_itself),
        TEST(memory_behind_a_table_is_one_resource),
        TEST(indirect_counts_are_read),
        TEST(dispatches_beside_one_another_wait_for_what_came_before_alone),
        TEST(the_first_of_those_beside_one_another_clears_nothing_for_later_ones),
        TEST(a_dispatch_keeps_all_that_was_said),
        TEST(zero_groups_are_dropped),
        TEST(too_many_groups_are_refused),
        TEST(a_workgroup_beyond_the_device_is_refused),
        TEST(a_missing_variant_is_refused),
        TEST(a_view_beyond_its_buffer_is_refused),
        TEST(indirect_counts_beyond_their_buffer_are_refused),
        TEST(running_out_of_memory_sticks_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
