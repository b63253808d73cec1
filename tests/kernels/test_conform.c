/* The conformance suite itself: references that are made wrong on purpose, one per kernel, must be
 * caught in every case, and so must addresses outside the declared views. */
#include "device.h"

#include "conform/conform.h"
#include "kernels/ops.h"

/* --- a set of kernels whose references are wrong --- */

enum fault { FAULT_NONE, FAULT_VALUE, FAULT_STRAY, FAULT_INPUT };
static enum fault fault;     /* of all references of the set below */
static uint32_t fault_count; /* spreads faults over views and elements */

/* The i-th view that the kernel has and (does not) write, counted round. */
static const struct vkm_field *pick_view(const struct vkm_kernel *kernel, const void *params,
                                         bool written, uint32_t i)
{
    const struct vkm_field *found[VKM_MAX_FIELDS];
    uint32_t n = 0;
    for (uint32_t f = 0; f < kernel->n_fields; f++) {
        const struct vkm_field *field = &kernel->fields[f];
        if (vkm_field_is_view(field->kind) && vkm_field_writes(field->kind) == written &&
            vkm_params_view(params, field)->buffer)
            found[n++] = field;
    }
    return found[i % n];
}

static void spoil_value(const struct vkm_ref *ref, const struct vkm_kernel *kernel,
                        const void *params)
{
    const struct vkm_field *field = pick_view(kernel, params, true, fault_count++);
    const struct vkm_view *view = vkm_params_view(params, field);
    uint32_t *data = ref->view(ref->user, view, true);
    size_t i = (size_t)(fault_count * UINT64_C(2654435761) % (view->size / 4));
    float value = vkm_bits_f32(data[i]);
    bool words = field->kind == VKM_FIELD_WRITE_KV && ref->dtype != VKM_DTYPE_F32;
    if (field->kind == VKM_FIELD_WRITE_U32 || words)
        data[i]++;
    else
        data[i] = vkm_f32_bits(isfinite(value) ? value + 1 : 0);
}

/* The view that holds what a kernel reads through addresses, or NULL. */
static const struct vkm_field *find_table(const struct vkm_kernel *kernel, const void *params)
{
    for (uint32_t f = 0; f < kernel->n_fields; f++)
        if (kernel->fields[f].kind == VKM_FIELD_TABLE &&
            vkm_params_view(params, &kernel->fields[f])->buffer)
            return &kernel->fields[f];
    return NULL;
}

/* Changes device memory as a kernel would that strays: behind a written view, or in the first view
 * that it reads, where one bit leads to no address out of bounds; by turns in its table. */
static void spoil_memory(const struct vkm_ref *ref, const struct vkm_kernel *kernel,
                         const void *params)
{
    bool stray = fault == FAULT_STRAY;
    uint32_t turn = fault_count++;
    const struct vkm_field *table = stray || turn % 2 == 0 ? NULL : find_table(kernel, params);
    const struct vkm_field *field =
        table ? table : pick_view(kernel, params, stray, stray ? turn : 0);
    const struct vkm_view *view = vkm_params_view(params, field);
    unsigned char *data = view->buffer->mapped + view->offset;
    (void)ref;
    data[stray ? view->size : 0] ^= 1;
}

static void wrong_reference(const struct vkm_ref *ref, enum vkm_kernel_id id, const void *params)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[id];
    kernel->reference(ref, params);
    if (ref->magnitude)
        return;
    if (fault == FAULT_VALUE)
        spoil_value(ref, kernel, params);
    else if (fault != FAULT_NONE)
        spoil_memory(ref, kernel, params);
}

#define KERNEL(name, ...)                                                                          \
    static void wrong_##name(const struct vkm_ref *ref, const void *params)                        \
    {                                                                                              \
        wrong_reference(ref, VKM_K_##name, params);                                                \
    }
#include "kernels/table.def"
#undef KERNEL

static vkm_ref_fn *const wrong_references[] = {
#define KERNEL(name, ...) wrong_##name,
#include "kernels/table.def"
#undef KERNEL
};

static struct vkm_kernel wrong_kernels[VKM_KERNEL_COUNT];
static const struct vkm_kernel_set wrong_set = {wrong_kernels, VKM_KERNEL_COUNT};
static struct test_device plain, checked;

static int open_devices(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        wrong_kernels[k] = vkm_kernels.kernels[k];
        wrong_kernels[k].reference = wrong_references[k];
    }
    return test_device_open(&plain, &wrong_set, false) ||
           test_device_open(&checked, &vkm_kernels, true);
}

static int close_devices(void **state)
{
    (void)state;
    int plain_bad = test_device_close(&plain), checked_bad = test_device_close(&checked);
    return plain_bad || checked_bad;
}

/* --- every fault is caught --- */

#define CASES_OF_A_KIND 6u

struct outcome {
    const char *part; /* of every sentence, or NULL */
    uint32_t seen, passed;
};

/* The base path and one storage type, and a few cases of each kernel. */
static bool skip_most(void *user, struct vkm_gpu *gpu, struct vkm_stream *stream)
{
    struct outcome *o = user;
    const struct vkm_op *op = stream->ops.items;
    const struct vkm_variant *variant = &vkm_op_kernel(stream, op)->variants[op->variant];
    (void)gpu;
    bool wanted = variant->path == VKM_PATH_BASE &&
                  (variant->dtype == VKM_DTYPE_BF16 || variant->dtype == VKM_DTYPE_COUNT);
    return !wanted || o->seen >= CASES_OF_A_KIND;
}

static void record_case(void *user, const struct vkm_conform_case *result)
{
    struct outcome *o = user;
    o->seen++;
    /* Of a stray write alone no element is told, as it would be any other; an input that was
     * changed may be an element's fault. */
    bool element = result->outcome.view != NULL;
    if (!result->passed && (!o->part || strstr(result->sentence, o->part)) &&
        (fault == FAULT_INPUT || element == (fault == FAULT_VALUE)))
        return;
    o->passed++;
    print_error("%s, case %s: not caught, or not for the right reason: %s\n",
                vkm_kernels.kernels[result->kernel].name, result->name, result->sentence);
}

/* Whether a kernel has a view that it reads and does not write. */
static bool has_input(const struct vkm_kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->n_fields; i++)
        if (kernel->fields[i].kind == VKM_FIELD_READ)
            return true;
    return false;
}

static void run_with_fault(enum fault which, const char *part)
{
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        if (which == FAULT_INPUT && !has_input(&vkm_kernels.kernels[k]))
            continue;
        struct outcome outcome = {.part = part};
        struct vkm_conform_totals totals;
        vkmoe_error err = {0};
        struct vkm_conform_params params = {
            .kernels = vkm_kernels.kernels[k].name,
            .level = VKM_CONFORM_BRIEF,
            .intercept = skip_most,
            .on_case = record_case,
            .user = &outcome,
        };
        fault = which;
        vkmoe_status status = vkm_conform_run(plain.gpu, &params, &totals, &err);
        fault = FAULT_NONE;
        assert_ok(status, &err);
        assert_int_equal(outcome.seen, CASES_OF_A_KIND);
        assert_int_equal(totals.cases, CASES_OF_A_KIND);
        assert_int_equal(totals.failed, CASES_OF_A_KIND);
        assert_int_equal(outcome.passed, 0);
    }
}

static void wrong_values_are_caught(void **state)
{
    (void)state;
    run_with_fault(FAULT_VALUE, ": got ");
}

static void writes_outside_views_are_caught(void **state)
{
    (void)state;
    run_with_fault(FAULT_STRAY, "outside its views, 0 bytes behind the end of");
}

static void changed_inputs_are_caught(void **state)
{
    (void)state;
    run_with_fault(FAULT_INPUT, "changed its input");
}

/* --- what a stray write did is in the bundle --- */

struct strayed {
    char *bundle; /* of the first case whose table was changed */
};

static void note_table(void *user, const struct vkm_conform_case *c)
{
    struct strayed *s = user;
    if (c->bundle && !s->bundle && strstr(c->sentence, "changed its input weights"))
        s->bundle = vkm_strdup(NULL, c->bundle);
}

static unsigned char first_byte(const char *bundle, const char *name)
{
    char *path = vkm_format(NULL, "%s/%s", bundle, name);
    size_t size;
    char *data = test_file_read(path, &size);
    unsigned char byte = (unsigned char)data[0];
    assert_true(size > 0);
    free(data);
    vkm_free(NULL, path);
    return byte;
}

static void a_changed_input_is_exported_as_it_was_and_as_it_became(void **state)
{
    struct strayed strayed = {0};
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    struct vkm_conform_params params = {
        .kernels = "moe_gemv_up",
        .cases = "hidden=33 width=31 experts=8*",
        .path = "base",
        .export_dir = test_folder(),
        .on_case = note_table,
        .user = &strayed,
    };
    (void)state;
    fault = FAULT_INPUT;
    fault_count = 1; /* the turn of the table */
    vkmoe_status status = vkm_conform_run(plain.gpu, &params, &totals, &err);
    fault = FAULT_NONE;
    assert_ok(status, &err);
    assert_non_null(strayed.bundle);
    assert_int_equal(first_byte(strayed.bundle, "weights.before.bin") ^ 1,
                     first_byte(strayed.bundle, "weights.got.bin"));
    vkm_free(NULL, strayed.bundle);
}

/* --- a stream of several operations --- */

struct chain {
    struct vkm_buffer *buffer;
    struct vkm_stream stream;
    struct vkm_recorder recorder;
};

/* rmsnorm of 2 rows, then a product. */
static void make_chain(struct chain *c)
{
    enum { WIDTH = 32, ROWS = 2 };
    vkmoe_error err = {0};
    assert_ok(vkm_buffer_create(plain.gpu, VKM_MEMORY_DEVICE, 16384, "a chain", &c->buffer, &err),
              &err);
    float *data = (float *)(void *)c->buffer->mapped;
    for (uint32_t i = 0; i < 4096; i++)
        data[i] = (float)(i % 13) - 6;
    struct vkm_view all = vkm_buffer_view(c->buffer);
    struct vkm_view x = vkm_view_slice(all, 0, 4 * WIDTH * ROWS);
    struct vkm_view norm = vkm_view_slice(all, 1024, 4 * WIDTH * ROWS);
    vkm_stream_init(&c->stream, &wrong_set, NULL);
    vkm_recorder_init(&c->recorder, &c->stream, vkm_gpu_caps(plain.gpu));
    vkm_op_rmsnorm(&c->recorder, (struct vkm_launch){.n_rows = ROWS},
                   &(struct vkm_params_rmsnorm){
                       .x = x,
                       .weight = vkm_view_slice(all, 512, 4 * WIDTH),
                       .y = norm,
                       .width = WIDTH,
                       .ld = WIDTH,
                       .eps = 1e-5f,
                   });
    vkm_op_gemv(&c->recorder, (struct vkm_launch){.n_rows = ROWS, .dtype = VKM_DTYPE_F32},
                &(struct vkm_params_gemv){
                    .w = vkm_view_slice(all, 4096, 4 * WIDTH * WIDTH),
                    .x = norm,
                    .y = vkm_view_slice(all, 2048, 4 * WIDTH * ROWS),
                    .k_ld = WIDTH,
                    .n_out = WIDTH,
                    .n_rows = ROWS,
                    .y_ld = WIDTH,
                });
    assert_ok(vkm_recorder_status(&c->recorder, &err), &err);
}

static void lockstep_names_the_first_wrong_kernel(void **state)
{
    (void)state;
    struct chain c;
    struct vkm_lockstep result;
    char sentence[512];
    vkmoe_error err = {0};
    make_chain(&c);
    assert_ok(vkm_lockstep(plain.gpu, &c.stream, &result, &err), &err);
    assert_null(result.compare.broken);
    assert_int_equal(result.op, 1);
    assert_true(result.nmse > 0 && result.nmse < VKM_NMSE_BOUND);

    wrong_kernels[VKM_K_rmsnorm].reference = vkm_kernels.kernels[VKM_K_rmsnorm].reference;
    fault = FAULT_VALUE;
    vkmoe_status status = vkm_lockstep(plain.gpu, &c.stream, &result, &err);
    fault = FAULT_NONE;
    wrong_kernels[VKM_K_rmsnorm].reference = wrong_rmsnorm;
    assert_ok(status, &err);
    assert_int_equal(result.op, 1);
    vkm_lockstep_sentence(&result, sentence, sizeof(sentence));
    assert_non_null(strstr(sentence, "gemv (F32, "));
    assert_non_null(strstr(sentence, "): y["));
    vkm_recorder_finish(&c.recorder);
    vkm_stream_finish(&c.stream);
    vkm_buffer_destroy(plain.gpu, c.buffer);
}

/* --- the shaders that check their addresses --- */

struct narrowed {
    uint32_t reported; /* bit f: an access to field f was reported when its view was narrowed */
    uint32_t narrowed;
    uint32_t wrong; /* runs that ended in another way */
    uint64_t keep;  /* bytes that are left of a view */
};

/* Whether a run of the stream is reported to leave its views. */
static bool is_reported(struct narrowed *n, struct vkm_gpu *gpu, const struct vkm_stream *stream)
{
    vkmoe_error err = {0};
    vkmoe_status status = vkm_stream_run(gpu, stream, &err);
    bool reported = status == VKMOE_INTERNAL && strstr(err.message, "outside its views") &&
                    strstr(err.message, vkm_op_kernel(stream, stream->ops.items)->name);
    if (!reported && status != VKMOE_OK) {
        n->wrong++;
        print_error("%s\n", err.message);
    }
    return reported;
}

/* Runs the case once for each of its views with only that view narrowed. Views reached through a
 * table are checked against whole buffers. */
static bool narrow_views(void *user, struct vkm_gpu *gpu, struct vkm_stream *stream)
{
    struct narrowed *n = user;
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, stream->ops.items);
    unsigned char *params = stream->params.items + stream->ops.items->params;
    for (uint32_t f = 0; f < kernel->n_fields; f++) {
        const struct vkm_field *field = &kernel->fields[f];
        if (!vkm_field_is_view(field->kind) || field->kind == VKM_FIELD_TABLE)
            continue;
        struct vkm_view *view = (struct vkm_view *)(void *)(params + field->offset);
        if (!view->buffer || (n->reported >> f & 1))
            continue;
        uint64_t size = view->size;
        n->narrowed |= 1u << f;
        view->size = n->keep < size ? n->keep : size - 4;
        if (is_reported(n, gpu, stream))
            n->reported |= 1u << f;
        view->size = size;
    }
    return true;
}

/* In some case of the kernel, each view's narrowing must be reported. */
static void assert_all_reported(const struct vkm_kernel *kernel, uint64_t keep)
{
    struct narrowed n = {.keep = keep};
    struct vkm_conform_totals totals;
    vkmoe_error err = {0};
    struct vkm_conform_params params = {
        .kernels = kernel->name,
        .level = VKM_CONFORM_BRIEF,
        .intercept = narrow_views,
        .user = &n,
    };
    assert_ok(vkm_conform_run(checked.gpu, &params, &totals, &err), &err);
    for (uint32_t f = 0; f < kernel->n_fields; f++)
        if ((n.narrowed & ~n.reported) >> f & 1)
            print_error("%s: no access to %s was checked\n", kernel->name, kernel->fields[f].name);
    assert_int_equal(n.wrong, 0);
    assert_true(n.narrowed != 0);
    assert_int_equal(n.narrowed, n.reported);
}

static void empty_views_are_reported(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        assert_all_reported(&vkm_kernels.kernels[k], 0);
}

/* Products touch all of every view: one element less is one too few. */
static void views_short_of_one_element_are_reported(void **state)
{
    (void)state;
    static const enum vkm_kernel_id kernels[] = {VKM_K_gemv, VKM_K_gemm, VKM_K_gemv_add,
                                                 VKM_K_moe_combine, VKM_K_topk};
    for (size_t i = 0; i < VKM_COUNT(kernels); i++)
        assert_all_reported(&vkm_kernels.kernels[kernels[i]], UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_values_are_caught),
        cmocka_unit_test(writes_outside_views_are_caught),
        cmocka_unit_test(changed_inputs_are_caught),
        TEST_IN_FOLDER(a_changed_input_is_exported_as_it_was_and_as_it_became),
        cmocka_unit_test(lockstep_names_the_first_wrong_kernel),
        cmocka_unit_test(empty_views_are_reported),
        cmocka_unit_test(views_short_of_one_element_are_reported),
    };
    return cmocka_run_group_tests_name("conformance suite", tests, open_devices, close_devices);
}
