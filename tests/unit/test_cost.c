/* What dispatches have to move and to compute, against figures worked out by hand. */
#include "support.h"

#include "engine/engine.h"
#include "kernels/cost.h"
#include "kernels/ops.h"

static const struct vkm_caps caps = {.max_groups = {1u << 20, 1u << 20, 64},
                                     .max_invocations = 128,
                                     .paths = {true},
                                     .cpu = true,
                                     .cores = 1};

static struct vkm_cost cost_of(enum vkm_kernel_id kernel, struct vkm_launch launch,
                               const void *params, struct vkm_cost_facts facts)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkmoe_error err;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, &caps);
    vkm_op(&recorder, kernel, launch, params);
    vkm_recorder_finish(&recorder);
    assert_ok(vkm_recorder_status(&recorder, &err), &err);
    assert_int_equal(stream.ops.count, 1);
    struct vkm_cost cost = vkm_op_cost(&stream, &stream.ops.items[0], &facts);
    vkm_stream_finish(&stream);
    return cost;
}

static void check(struct vkm_cost cost, double bytes, double operations)
{
    assert_true(cost.bytes == bytes);
    assert_true(cost.operations == operations);
}

static void a_product_reads_weights_once_for_all_rows(void **state)
{
    (void)state;
    const struct vkm_params_gemv p = {.k_ld = 64, .n_out = 5, .n_rows = 3, .y_ld = 32};
    const struct vkm_launch bf16 = {.n_rows = 3, .dtype = VKM_DTYPE_BF16};
    const struct vkm_launch f32 = {.n_rows = 3, .dtype = VKM_DTYPE_F32};
    double activations = 4 * 3 * (64 + 32);
    check(cost_of(VKM_K_gemv, f32, &p, (struct vkm_cost_facts){0}), 4 * 5 * 64 + activations,
          2 * 5 * 64 * 3);
    check(cost_of(VKM_K_gemm, bf16, &p, (struct vkm_cost_facts){0}), 2 * 5 * 64 + activations,
          2 * 5 * 64 * 3);
}

static void experts_count_once_however_many_rows_chose_them(void **state)
{
    (void)state;
    const struct vkm_params_moe_gemv_up p = {
        .k = 2, .k_ld = 32, .width = 7, .n_pairs = 8, .h_ld = 32, .n_experts = 16};
    const struct vkm_launch launch = {.n_rows = 8, .dtype = VKM_DTYPE_F32};
    double expert = 2 * 4 * 7 * 32, activations = 4 * (4 * 32 + 8 * 32);
    for (uint32_t experts = 2; experts <= 8; experts++)
        check(cost_of(VKM_K_moe_gemv_up, launch, &p, (struct vkm_cost_facts){.experts = experts}),
              experts * expert + activations, 2 * 2 * 7 * 32 * 8);
}

static void attention_counts_what_its_rows_see(void **state)
{
    (void)state;
    const struct vkm_params_attention p = {.n_rows = 4,
                                           .consecutive = true,
                                           .n_heads = 6,
                                           .n_kv_heads = 2,
                                           .head_dim = 8,
                                           .qkv_ld = 96,
                                           .y_ld = 64,
                                           .n_splits = 1,
                                           .span = 64};
    const struct vkm_cost_facts facts = {.positions = 11 + 12 + 13 + 14, .cached = 14};
    check(cost_of(VKM_K_attention, (struct vkm_launch){.n_rows = 4}, &p, facts),
          4 * (2 * 14 * 2 * 8 + 4 * (48 + 48)), 50 * (4 * 48 + 4 * 6));
}

static void a_probe_is_all_multiply_adds(void **state)
{
    (void)state;
    const struct vkm_params_probe_fma p = {.rounds = 10, .count = 100};
    check(
        cost_of(VKM_K_probe_fma, (struct vkm_launch){.n_rows = 1}, &p, (struct vkm_cost_facts){0}),
        400, 2.0 * VKM_PROBE_CHAINS * VKM_PROBE_UNROLL * 10 * 100);
}

/* Records a step of the shipped model and adds up what it costs. */
static struct vkm_cost cost_of_step(vkmoe_session *s, uint32_t n_rows, double experts,
                                    bool touched[VKM_KERNEL_COUNT])
{
    vkmoe_error err;
    struct vkm_step step = {0};
    const struct vkm_batch batch = {.rows = s->state.rows,
                                    .n_rows = n_rows,
                                    .n_logits = 1,
                                    .select_logits = true,
                                    .consecutive = true,
                                    .penalise = true,
                                    .cut = true,
                                    .bound = vkm_attention_bound(n_rows)};
    const struct vkm_cost_facts facts = {
        .positions = n_rows * (n_rows + 1) / 2.0, .cached = n_rows, .experts = experts};
    struct vkm_cost sum = {0};
    assert_ok(vkm_step_record(&step, s->model->gpu, &s->model->weights, &s->memory->kv, &s->state,
                              &batch, VKM_STEP_FORWARD | VKM_STEP_SAMPLE | VKM_STEP_LOSS, &err),
              &err);
    for (size_t i = 0; i < step.stream.ops.count; i++) {
        const struct vkm_op *op = &step.stream.ops.items[i];
        struct vkm_cost cost = vkm_op_cost(&step.stream, op, &facts);
        if (!(cost.bytes > 0))
            fail_msg("%s costs nothing", vkm_kernels.kernels[op->kernel].name);
        touched[op->kernel] = true;
        sum.bytes += cost.bytes;
        sum.operations += cost.operations;
    }
    vkm_step_finish(&step);
    return sum;
}

static void steps_cost_their_weights_and_little_more(void **state)
{
    (void)state;
    vkmoe_error err;
    const vkmoe_device_params params = {.selector = "reference"};
    vkmoe_device *device = NULL;
    vkmoe_model *model = NULL;
    vkmoe_session *session = NULL;
    bool touched[VKM_KERNEL_COUNT] = {false};
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    assert_ok(vkmoe_model_load(device, VKMOE_TEST_MODEL, NULL, &model, &err), &err);
    assert_ok(vkmoe_session_create(model, NULL, &session, &err), &err);
    const vkmoe_model_info *info = vkmoe_model_get_info(model);
    double all = (double)info->weight_bytes;
    struct vkm_cost one = cost_of_step(session, 1, info->n_experts_per_token, touched);
    struct vkm_cost many = cost_of_step(session, 200, info->n_routed_experts, touched);
    assert_true(one.bytes > 0.1 * all && one.bytes < all);
    assert_true(many.bytes > all);               /* all experts, and the activations */
    assert_true(one.operations > one.bytes / 2); /* BF16: a multiply-add for two bytes */
    assert_true(many.operations > 100 * one.operations && many.operations < 400 * one.operations);
    int kernels = 0;
    for (int i = 0; i < VKM_KERNEL_COUNT; i++)
        kernels += touched[i];
    assert_true(kernels >= 20);
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_reads_weights_once_for_all_rows),
        cmocka_unit_test(experts_count_once_however_many_rows_chose_them),
        cmocka_unit_test(attention_counts_what_its_rows_see),
        cmocka_unit_test(a_probe_is_all_multiply_adds),
        cmocka_unit_test(steps_cost_their_weights_and_little_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
