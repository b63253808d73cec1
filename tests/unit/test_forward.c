/* The recorded forward pass: its barriers are enough, and none is there in vain. On the reference
 * executor alone; no device takes part. */
#include "../golden/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "gpu/hazard.h"
#include "kernels/ops.h"

/* --- what is recorded --- */

enum { LONGEST_PAST = 70 }; /* more than a block of the KV cache */

/* One step of a session that holds `past` tokens. */
struct step {
    const char *name;
    uint32_t past, n_rows;
    bool all_logits;
    uint32_t tiled_rows; /* rows above which products are tiled */
    uint32_t split;      /* positions that attention takes in a workgroup; 0: all */
};

static const struct step steps[] = {
    {"decode", 9, 1, false, 100, 0},
    {"a prompt, untiled", 0, 6, false, 100, 0},
    {"a prompt, tiled", 0, 6, false, 1, 0},
    {"more of a prompt, tiled, all logits", 5, 7, true, 1, 0},
    {"a longer prompt, in tiles of two heights", 0, 33, false, 1, 0},
    {"decode, attention split", LONGEST_PAST, 1, false, 100, VKM_KV_BLOCK},
};
enum { N_STEPS = sizeof(steps) / sizeof(steps[0]) };

/* A model on the reference executor. NULL: the shipped one. */
struct subject {
    const struct test_shape *shape;
    char *folder;
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_session *session;
};

static const struct test_shape mixed = {
    .shared = 1, .first_dense = 1, .layers = 3, .bias = true, .storage = STORE_MIXED};
static const struct test_shape plain = {.layers = 3, .layer_freq = 2};

static void open_subject(struct subject *s)
{
    vkmoe_error err;
    /* With room for split attention; the steps say whether it is. */
    vkmoe_device_params device = {.selector = "reference", .split_positions = VKM_KV_BLOCK};
    vkmoe_session_params session = {.context = 100, .chunk = 33};
    s->folder = test_folder_make();
    if (s->shape) {
        struct test_shape shape = test_shape_complete(s->shape);
        checkpoint_write(&shape, s->folder);
    }
    const char *path = s->shape ? s->folder : VKMOE_TEST_MODEL;
    assert_ok(vkmoe_device_open(&device, &s->device, &err), &err);
    assert_ok(vkmoe_model_load(s->device, path, NULL, &s->model, &err), &err);
    assert_ok(vkmoe_session_create(s->model, &session, &s->session, &err), &err);
}

static void close_subject(struct subject *s)
{
    vkmoe_session_destroy(s->session);
    vkmoe_model_destroy(s->model);
    vkmoe_device_close(s->device);
    test_folder_remove(s->folder);
}

static void record(const struct subject *s, const struct step *step, const struct vkm_caps *caps,
                   struct vkm_stream *stream)
{
    const struct vkm_state *state = &s->session->state;
    const struct vkm_weights *weights = &s->model->weights;
    struct vkm_gpu *gpu = s->model->gpu;
    struct vkm_recorder r;
    vkmoe_error err;
    bool decode = step->n_rows == 1;
    struct vkm_batch batch = {.rows = decode ? state->next : state->rows,
                              .n_rows = step->n_rows,
                              .bound = vkm_attention_bound(step->past + step->n_rows),
                              .n_logits = step->all_logits ? step->n_rows : 1,
                              .select_logits = !step->all_logits && !decode,
                              .penalise = decode,
                              .cut = !step->all_logits};
    vkm_stream_init(stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&r, stream, caps);
    vkm_forward(&r, weights, &s->session->memory->kv, state, &batch);
    vkm_forward_sample(&r, &weights->config, state, &batch);
    vkm_recorder_finish(&r);
    assert_ok(vkm_recorder_status(&r, &err), &err);
    assert_ok(vkm_hazard_check(stream, &err), &err);
}

/* What the executor offers, and what a graphics card might. */
static struct vkm_caps caps_of(const struct subject *s, const struct step *step, bool card)
{
    struct vkm_caps caps = *vkm_gpu_caps(s->model->gpu);
    caps.tiled_rows = step->tiled_rows;
    caps.split_positions = step->split;
    if (card) {
        caps.cpu = false;
        caps.paths[VKM_PATH_SUBGROUP] = true;
        caps.subgroup_size = 32;
    }
    return caps;
}

typedef void check_fn(const struct subject *s, const struct step *step, struct vkm_stream *stream);

/* Every step of every model, recorded for two kinds of device. */
static void for_each_stream(check_fn *check)
{
    struct subject subjects[] = {{.shape = NULL}, {.shape = &mixed}, {.shape = &plain}};
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        open_subject(&subjects[i]);
        for (int j = 0; j < 2 * N_STEPS; j++) {
            struct vkm_stream stream;
            struct vkm_caps caps = caps_of(&subjects[i], &steps[j / 2], j % 2);
            record(&subjects[i], &steps[j / 2], &caps, &stream);
            check(&subjects[i], &steps[j / 2], &stream);
            vkm_stream_finish(&stream);
        }
        close_subject(&subjects[i]);
    }
}

/* --- barriers, by the hazard checker --- */

static void check_each_barrier(const struct subject *s, const struct step *step,
                               struct vkm_stream *stream)
{
    size_t n = 0;
    (void)s;
    for (size_t i = 0; i < stream->ops.count; i++) {
        struct vkm_op *op = &stream->ops.items[i];
        if (!op->barrier)
            continue;
        vkmoe_error err = {0};
        op->barrier = false;
        if (vkm_hazard_check(stream, &err) != VKMOE_INTERNAL)
            fail_msg("%s: nothing needs the barrier before op %zu, %s", step->name, i,
                     vkm_op_kernel(stream, op)->name);
        op->barrier = true;
        n++;
    }
    assert_true(n > 0 && n < stream->ops.count);
}

static void no_barrier_can_be_left_out(void **state)
{
    (void)state;
    for_each_stream(check_each_barrier);
}

/* Sets a barrier only where the ops so far cannot go without; no stream of this order needs fewer.
 */
static void check_fewest(const struct subject *s, const struct step *step,
                         struct vkm_stream *stream)
{
    size_t count = stream->ops.count;
    bool *recorded = calloc(count, sizeof(*recorded));
    assert_non_null(recorded);
    (void)s;
    for (size_t i = 0; i < count; i++) {
        recorded[i] = stream->ops.items[i].barrier;
        stream->ops.items[i].barrier = false;
    }
    for (size_t i = 0; i < count; i++) {
        struct vkm_op *op = &stream->ops.items[i];
        stream->ops.count = i + 1;
        op->barrier = vkm_hazard_check(stream, NULL) != VKMOE_OK;
        if (op->barrier != recorded[i])
            fail_msg("%s: op %zu, %s, has %s barrier", step->name, i,
                     vkm_op_kernel(stream, op)->name, recorded[i] ? "a needless" : "no");
    }
    free(recorded);
}

static void there_are_as_few_barriers_as_can_be(void **state)
{
    (void)state;
    for_each_stream(check_fewest);
}

/* --- barriers, by execution in another order --- */

/* All memory that a step writes. */
struct memory {
    struct vkm_buffer *buffers[64];
    unsigned char *copies[64];
    size_t count;
};

static void list_memory(const struct subject *s, struct memory *m)
{
    *m = (struct memory){0};
    m->buffers[m->count++] = s->session->memory->activations;
    m->buffers[m->count++] = s->session->state.host;
    for (uint32_t i = 0; i < s->session->memory->kv.n_layers; i++) {
        assert_true(m->count + 2 <= 64);
        m->buffers[m->count++] = s->session->memory->kv.keys[i];
        m->buffers[m->count++] = s->session->memory->kv.values[i];
    }
    for (size_t i = 0; i < m->count; i++) {
        m->copies[i] = malloc((size_t)m->buffers[i]->size);
        assert_non_null(m->copies[i]);
    }
}

static void free_memory(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->copies[i]);
}

static void save(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        memcpy(m->copies[i], m->buffers[i]->mapped, (size_t)m->buffers[i]->size);
}

static void restore(struct memory *m)
{
    for (size_t i = 0; i < m->count; i++)
        memcpy(m->buffers[i]->mapped, m->copies[i], (size_t)m->buffers[i]->size);
}

static bool is_as_saved(const struct memory *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (memcmp(m->copies[i], m->buffers[i]->mapped, (size_t)m->buffers[i]->size) != 0)
            return false;
    }
    return true;
}

static void *mapped(struct vkm_view view)
{
    return view.buffer->mapped + view.offset;
}

/* Activations are NaN (which also is no valid id), the past is in the cache, the rows are set. */
static void prepare(const struct subject *s, const struct step *step)
{
    struct vkm_state *state = &s->session->state;
    uint32_t vocab = s->model->info.vocab_size;
    int32_t past[LONGEST_PAST + 1];
    vkmoe_error err;
    for (uint32_t i = 0; i < step->past + 1; i++)
        past[i] = (int32_t)((i * 37 + 11) % vocab);
    /* At least one token, so that the block table has its first block. */
    vkmoe_session_reset(s->session);
    assert_ok(vkmoe_session_eval(s->session, past, step->past + 1, NULL, &err), &err);
    memset(mapped(state->x), 0xff, (size_t)(state->x.buffer->size - state->x.offset));
    struct vkm_row *rows = mapped(step->n_rows == 1 ? state->next : state->rows);
    for (uint32_t i = 0; i < step->n_rows; i++)
        rows[i] = (struct vkm_row){.token = (i * 101 + 3) % vocab, .position = step->past + i};
    ((uint32_t *)mapped(state->logit_rows))[0] = step->n_rows - 1;
    *(struct vkm_sampler *)mapped(state->samplers) = (struct vkm_sampler){.inverse_temperature = 1,
                                                                          .seed_low = 7,
                                                                          .top_k = 40,
                                                                          .top_p = 0xe0000000u,
                                                                          .min_p_distance = 9,
                                                                          .repeat_penalty = 1.5f,
                                                                          .repeat_last = 5};
}

/* How many barriers change what a few shuffles compute when they are taken away. Not for tiled
 * steps: their reference kernels trust the indices of those before. */
static size_t count_seen(const struct subject *s, struct vkm_stream *stream, struct memory *start,
                         const struct memory *end, size_t *barriers)
{
    size_t seen = 0;
    for (size_t i = 0; i < stream->ops.count; i++) {
        struct vkm_op *op = &stream->ops.items[i];
        bool differs = false;
        if (!op->barrier)
            continue;
        op->barrier = false;
        for (uint64_t seed = 1; seed <= 4 && !differs; seed++) {
            restore(start);
            vkm_reference_run(s->model->gpu, stream, seed);
            differs = !is_as_saved(end);
        }
        op->barrier = true;
        seen += differs;
        ++*barriers;
    }
    return seen;
}

static void check_orders(const struct subject *s, const struct step *step, bool without)
{
    struct vkm_stream stream;
    struct vkm_caps caps = caps_of(s, step, false);
    struct memory start, end;
    record(s, step, &caps, &stream);
    prepare(s, step);
    list_memory(s, &start);
    list_memory(s, &end);
    save(&start);
    vkm_reference_run(s->model->gpu, &stream, 0);
    save(&end);
    const float *logits = mapped(s->session->state.logits);
    assert_true(isfinite(logits[0]) && logits[0] != 0);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        restore(&start);
        vkm_reference_run(s->model->gpu, &stream, seed);
        assert_true(is_as_saved(&end));
    }
    if (without) {
        size_t barriers = 0, seen = count_seen(s, &stream, &start, &end, &barriers);
        print_message("%s: without one of the %zu barriers, %zu change the result\n", step->name,
                      barriers, seen);
    }
    free_memory(&start);
    free_memory(&end);
    vkm_stream_finish(&stream);
}

static void any_order_between_barriers_gives_the_same_bits(void **state)
{
    struct subject subjects[] = {{.shape = NULL}, {.shape = &mixed}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_subject(&subjects[i]);
        for (int j = 0; j < N_STEPS; j++)
            check_orders(&subjects[i], &steps[j], i == 1 && steps[j].tiled_rows > 1);
        close_subject(&subjects[i]);
    }
}

/* Both the checker and another order see when the splits of attention are not waited for. */
static void combining_waits_for_every_split(void **state)
{
    struct subject s = {.shape = &mixed};
    const struct step *step = &steps[N_STEPS - 1];
    struct vkm_stream stream;
    struct memory start, end;
    size_t n = 0;
    vkmoe_error err;
    (void)state;
    open_subject(&s);
    struct vkm_caps caps = caps_of(&s, step, false);
    record(&s, step, &caps, &stream);
    prepare(&s, step);
    list_memory(&s, &start);
    list_memory(&s, &end);
    save(&start);
    vkm_reference_run(s.model->gpu, &stream, 0);
    save(&end);
    for (size_t i = 0; i < stream.ops.count; i++) {
        struct vkm_op *op = &stream.ops.items[i];
        bool differs = false;
        if (op->kernel != VKM_K_attention_combine)
            continue;
        assert_true(op->barrier);
        op->barrier = false;
        assert_int_equal(vkm_hazard_check(&stream, &err), VKMOE_INTERNAL);
        assert_non_null(strstr(err.message, "attention_combine"));
        for (uint64_t seed = 1; seed <= 8 && !differs; seed++) {
            restore(&start);
            vkm_reference_run(s.model->gpu, &stream, seed);
            differs = !is_as_saved(&end);
        }
        assert_true(differs);
        op->barrier = true;
        n++;
    }
    assert_int_equal(n, s.model->info.n_layers);
    free_memory(&start);
    free_memory(&end);
    vkm_stream_finish(&stream);
    close_subject(&s);
}

/* --- what runs side by side --- */

static bool writes(const struct vkm_stream *stream, const struct vkm_op *op, struct vkm_view view)
{
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, op);
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        const struct vkm_view *own = vkm_params_view(vkm_op_params(stream, op), field);
        if (vkm_field_is_view(field->kind) && vkm_field_writes(field->kind) &&
            own->buffer == view.buffer && own->offset == view.offset)
            return true;
    }
    return false;
}

/* In every MoE layer the first products of the shared experts wait for nothing that routing does.
 */
static void shared_experts_run_beside_the_routing(void **state)
{
    struct subject s = {.shape = NULL};
    (void)state;
    open_subject(&s);
    for (int i = 0; i < N_STEPS; i++) {
        struct vkm_stream stream;
        struct vkm_caps caps = caps_of(&s, &steps[i], false);
        uint32_t free_of_waiting = 0;
        record(&s, &steps[i], &caps, &stream);
        for (size_t j = 0; j < stream.ops.count; j++) {
            const struct vkm_op *op = &stream.ops.items[j];
            free_of_waiting += writes(&stream, op, s.session->state.ffn_hidden) && !op->barrier;
        }
        assert_int_equal(free_of_waiting, s.model->info.n_moe_layers);
        vkm_stream_finish(&stream);
    }
    close_subject(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_barrier_can_be_left_out),
        cmocka_unit_test(there_are_as_few_barriers_as_can_be),
        cmocka_unit_test(any_order_between_barriers_gives_the_same_bits),
        cmocka_unit_test(combining_waits_for_every_split),
        cmocka_unit_test(shared_experts_run_beside_the_routing),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
