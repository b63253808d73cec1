/* The hazard checker and the shuffled reference executor, against the recorder: what it records
 * both accept, and without any one of its barriers they do not. */
#include "stream_fixture.h"

enum { STREAMS = 1000, OPS = 24, BUFFERS = 3, BYTES = 1024 };

static struct vkm_gpu *gpu;
static struct vkm_buffer *buffers[BUFFERS];

static int open_reference(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_gpu_params params = {.selector = "reference"};
    if (vkm_gpu_open(&params, &fixture_kernels, &gpu, &err) != VKMOE_OK)
        return -1;
    for (int i = 0; i < BUFFERS; i++)
        if (vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, BYTES, "a test", &buffers[i], &err) !=
            VKMOE_OK)
            return -1;
    return 0;
}

static int close_reference(void **state)
{
    (void)state;
    for (int i = 0; i < BUFFERS; i++)
        vkm_buffer_destroy(gpu, buffers[i]);
    vkm_gpu_close(gpu);
    return 0;
}

/* --- random streams --- */

static struct vkm_view random_view(uint64_t *random)
{
    uint32_t r = random_u32(random);
    if (r % 8 == 0)
        return (struct vkm_view){0};
    uint64_t offset = random_u32(random) % (BYTES / 16) * 16;
    uint64_t size = random_u32(random) % (r % 3 == 0 ? 33 : 200);
    return range(buffers[r / 8 % BUFFERS], offset, size < BYTES - offset ? size : BYTES - offset);
}

static void record_random(struct fixture *f, uint64_t *random)
{
    union {
        struct params_mix mix;
        struct params_update update;
        struct params_lookup lookup;
        struct params_matrix matrix;
    } p;
    struct vkm_dispatch d = {
        .kernel = random_u32(random) % FIXTURE_KERNELS, .spec = {64}, .params = &p};
    for (int i = 0; i < 3; i++)
        d.groups[i] = 1 + random_u32(random) % 9;
    if (random_u32(random) % 5 == 0)
        d.indirect = range(buffers[random_u32(random) % BUFFERS],
                           random_u32(random) % ((BYTES - 12) / 4) * 4, 12);
    switch (d.kernel) {
    case MIX:
        p.mix = (struct params_mix){random_view(random), random_view(random), random_view(random),
                                    random_u32(random)};
        break;
    case UPDATE:
        p.update = (struct params_update){random_view(random), random_view(random), 7};
        break;
    case LOOKUP:
        p.lookup =
            (struct params_lookup){random_view(random), random_view(random), random_view(random)};
        break;
    default:
        p.matrix = (struct params_matrix){random_view(random), random_view(random), 1};
        break;
    }
    vkm_record(&f->recorder, &d);
}

static void make_stream(struct fixture *f, uint64_t seed)
{
    vkmoe_error err;
    uint64_t random = seed * 2654435761u + 1;
    fixture_init(f);
    for (int i = 0; i < OPS; i++)
        record_random(f, &random);
    if (vkm_recorder_status(&f->recorder, &err) != VKMOE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(f->stream.ops.count, OPS);
}

static void the_checker_accepts_what_the_recorder_makes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < STREAMS; seed++) {
        struct fixture f;
        vkmoe_error err;
        make_stream(&f, seed);
        if (vkm_hazard_check(&f.stream, &err) != VKMOE_OK)
            fail_msg("stream %u: %s", (unsigned)seed, err.message);
        fixture_finish(&f);
    }
}

static void without_any_one_barrier_the_checker_refuses(void **state)
{
    (void)state;
    unsigned barriers = 0;
    for (uint64_t seed = 0; seed < STREAMS; seed++) {
        struct fixture f;
        vkmoe_error err;
        make_stream(&f, seed);
        for (size_t i = 0; i < OPS; i++) {
            struct vkm_op *op = &f.stream.ops.items[i];
            if (!op->barrier)
                continue;
            op->barrier = false;
            if (vkm_hazard_check(&f.stream, &err) != VKMOE_INTERNAL)
                fail_msg("stream %u: the barrier before op %u is superfluous", (unsigned)seed,
                         (unsigned)i);
            op->barrier = true;
            barriers++;
        }
        fixture_finish(&f);
    }
    assert_in_range(barriers, STREAMS * 5, STREAMS * OPS);
    print_message("%u barriers in %u streams of %u dispatches\n", barriers, (unsigned)STREAMS,
                  (unsigned)OPS);
}

/* --- the checker's own judgement --- */

static void the_checker_names_both_kernels_and_fields(void **state)
{
    (void)state;
    struct fixture f;
    vkmoe_error err;
    fixture_init(&f);
    fixture_mix(&f, range(buffers[0], 0, 64), (struct vkm_view){0}, range(buffers[1], 0, 64));
    fixture_mix(&f, (struct vkm_view){0}, (struct vkm_view){0}, range(buffers[2], 0, 64));
    fixture_update(&f, range(buffers[1], 32, 16), range(buffers[2], 512, 64));
    f.stream.ops.items[2].barrier = false;
    expect_failure(vkm_hazard_check(&f.stream, &err), &err, VKMOE_INTERNAL,
                   "op 0 (writes, y of mix)", "op 2 (reads, a of update)");
    fixture_finish(&f);
}

static void the_checker_looks_past_one_barrier_only(void **state)
{
    (void)state;
    struct fixture f;
    vkmoe_error err;
    struct vkm_view none = {0}, x = range(buffers[0], 0, 64), y = range(buffers[1], 0, 64);
    fixture_init(&f);
    fixture_mix(&f, none, none, x);
    fixture_mix(&f, none, none, y); /* a barrier here is enough for both below */
    fixture_mix(&f, x, none, range(buffers[2], 0, 64));
    assert_string_equal(fixture_barriers(&f), "..b");
    f.stream.ops.items[2].barrier = false;
    f.stream.ops.items[1].barrier = true;
    assert_int_equal(vkm_hazard_check(&f.stream, &err), VKMOE_OK);
    f.stream.ops.items[1].barrier = false;
    f.stream.ops.items[0].barrier = true; /* too early */
    assert_int_equal(vkm_hazard_check(&f.stream, &err), VKMOE_INTERNAL);
    fixture_finish(&f);
}

static void the_checker_sees_through_two_names_of_the_same_bytes(void **state)
{
    (void)state;
    struct fixture f;
    vkmoe_error err;
    struct vkm_buffer alias = *buffers[0]; /* another buffer at the same address */
    fixture_init(&f);
    fixture_mix(&f, (struct vkm_view){0}, (struct vkm_view){0}, range(buffers[0], 0, 64));
    fixture_mix(&f, range(&alias, 0, 64), (struct vkm_view){0}, range(buffers[1], 0, 64));
    assert_string_equal(fixture_barriers(&f), "..");
    assert_int_equal(vkm_hazard_check(&f.stream, &err), VKMOE_INTERNAL);
    fixture_finish(&f);
}

static void a_check_without_memory_is_no_approval(void **state)
{
    (void)state;
    struct fixture f;
    vkmoe_error err;
    struct scarce scarce = {0};
    vkmoe_allocator a = scarce_allocator(&scarce);
    make_stream(&f, 1);
    f.stream.allocator = &a;
    expect_failure(vkm_hazard_check(&f.stream, &err), &err, VKMOE_OUT_OF_HOST_MEMORY, "hazard",
                   NULL);
    f.stream.allocator = NULL;
    fixture_finish(&f);
}

/* --- running --- */

static void fill(unsigned char memory[BUFFERS][BYTES])
{
    uint64_t random = 99;
    for (int i = 0; i < BUFFERS; i++)
        for (int j = 0; j < BYTES; j++)
            memory[i][j] = (unsigned char)random_u32(&random);
}

/* Runs the stream on fresh memory; what it leaves goes to `after`. */
static void run(const struct fixture *f, uint64_t shuffle, unsigned char after[BUFFERS][BYTES])
{
    fill(after);
    for (int i = 0; i < BUFFERS; i++)
        memcpy(buffers[i]->mapped, after[i], BYTES);
    vkm_reference_run(gpu, &f->stream, shuffle);
    for (int i = 0; i < BUFFERS; i++)
        memcpy(after[i], buffers[i]->mapped, BYTES);
}

static void any_order_between_barriers_leaves_the_same_memory(void **state)
{
    (void)state;
    static unsigned char straight[BUFFERS][BYTES], shuffled[BUFFERS][BYTES];
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        make_stream(&f, seed);
        run(&f, 0, straight);
        for (uint64_t shuffle = 1; shuffle <= 5; shuffle++) {
            run(&f, shuffle * 77777, shuffled);
            assert_memory_equal(shuffled, straight, sizeof(straight));
        }
        fixture_finish(&f);
    }
}

/* Whether one of a few orders leaves other memory than the recorded one. */
static bool order_shows(const struct fixture *f)
{
    static unsigned char straight[BUFFERS][BYTES], shuffled[BUFFERS][BYTES];
    bool differs = false;
    run(f, 0, straight);
    for (uint64_t shuffle = 1; shuffle <= 24 && !differs; shuffle++) {
        run(f, shuffle * 0x9e3779b97f4a7c15u, shuffled);
        differs = memcmp(shuffled, straight, sizeof(straight)) != 0;
    }
    return differs;
}

static void a_missing_barrier_shows_in_a_shuffled_run(void **state)
{
    (void)state;
    struct vkm_view none = {0}, x = range(buffers[0], 0, 64), y = range(buffers[1], 0, 64);
    for (int kind = 0; kind < 4; kind++) {
        struct fixture f;
        fixture_init(&f);
        fixture_mix(&f, kind == 1 ? x : none, none, kind == 1 ? y : x);
        switch (kind) {
        case 0: /* read after write */
            fixture_mix(&f, x, none, y);
            break;
        case 1: /* write after read */
            fixture_mix(&f, none, none, x);
            break;
        case 2: { /* write after write, with something else */
            struct params_mix p = {none, none, x, 4711};
            struct vkm_dispatch d = {
                .kernel = MIX, .spec = {64}, .groups = {2, 1, 1}, .params = &p};
            vkm_record(&f.recorder, &d);
            break;
        }
        default: { /* counts read after they are written */
            struct params_mix p = {none, none, y, 3};
            struct vkm_dispatch d = {
                .kernel = MIX, .spec = {64}, .indirect = range(buffers[0], 16, 12), .params = &p};
            vkm_record(&f.recorder, &d);
            break;
        }
        }
        assert_string_equal(fixture_barriers(&f), ".b");
        assert_false(order_shows(&f));
        f.stream.ops.items[1].barrier = false;
        assert_true(order_shows(&f));
        fixture_finish(&f);
    }
}

/* Most missing barriers of random streams show, too; what is overwritten unseen cannot. */
static void most_missing_barriers_show_in_shuffled_runs(void **state)
{
    (void)state;
    unsigned removed = 0, shown = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct fixture f;
        make_stream(&f, seed);
        for (size_t i = 0; i < OPS; i++) {
            if (!f.stream.ops.items[i].barrier)
                continue;
            f.stream.ops.items[i].barrier = false;
            removed++;
            shown += order_shows(&f);
            f.stream.ops.items[i].barrier = true;
        }
        fixture_finish(&f);
    }
    print_message("%u of %u missing barriers show in shuffled runs\n", shown, removed);
    assert_true(shown * 4 > removed * 3);
}

static void a_run_writes_nothing_but_declared_ranges(void **state)
{
    (void)state;
    static unsigned char before[BUFFERS][BYTES], after[BUFFERS][BYTES];
    fill(before);
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        bool written[BUFFERS][BYTES] = {{false}};
        make_stream(&f, seed);
        for (size_t i = 0; i < OPS; i++) {
            const struct vkm_op *op = &f.stream.ops.items[i];
            const struct vkm_kernel *kernel = vkm_op_kernel(&f.stream, op);
            for (uint32_t j = 0; j < kernel->n_fields; j++) {
                if (!vkm_field_writes(kernel->fields[j].kind))
                    continue;
                const struct vkm_view *v =
                    vkm_params_view(vkm_op_params(&f.stream, op), &kernel->fields[j]);
                for (int b = 0; b < BUFFERS; b++)
                    for (uint64_t k = 0; v->buffer == buffers[b] && k < v->size; k++)
                        written[b][v->offset + k] = true;
            }
        }
        run(&f, seed, after);
        for (int b = 0; b < BUFFERS; b++)
            for (int i = 0; i < BYTES; i++)
                assert_true(written[b][i] || after[b][i] == before[b][i]);
        fixture_finish(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checker_accepts_what_the_recorder_makes),
        cmocka_unit_test(without_any_one_barrier_the_checker_refuses),
        cmocka_unit_test(the_checker_names_both_kernels_and_fields),
        cmocka_unit_test(the_checker_looks_past_one_barrier_only),
        cmocka_unit_test(the_checker_sees_through_two_names_of_the_same_bytes),
        cmocka_unit_test(a_check_without_memory_is_no_approval),
        cmocka_unit_test(any_order_between_barriers_leaves_the_same_memory),
        cmocka_unit_test(a_missing_barrier_shows_in_a_shuffled_run),
        cmocka_unit_test(most_missing_barriers_show_in_shuffled_runs),
        cmocka_unit_test(a_run_writes_nothing_but_declared_ranges),
    };
    return cmocka_run_group_tests(tests, open_reference, close_reference);
}
