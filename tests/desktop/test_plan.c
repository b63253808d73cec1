/* Plans with their alternatives, and the words for them; on the reference device, no display. */
#include <string.h>

#include "device.h"
#include "memory_view.h"
#include "planner.h"
#include "sentence.h"
#include "support.h"

static vkmoe_device *open_reference(void)
{
    const vkmoe_device_params params = {.selector = "reference"};
    vkmoe_device *device;
    vkmoe_error err;
    assert_ok(vkmoe_device_open(&params, &device, &err), &err);
    return device;
}

static MoePlan *plan_with(const MoeOpenParams *params)
{
    g_autoptr(GError) error = NULL;
    vkmoe_device *device = open_reference();
    MoePlan *plan = moe_plan_new(device, params, NULL, &error);
    if (!plan)
        fail_msg("%s", error->message);
    vkmoe_device_close(device);
    return plan;
}

static const MoePlanCost *context_of(const MoePlan *plan, guint32 size)
{
    for (guint i = 0; i < plan->n_contexts; i++)
        if (plan->contexts[i].value == size)
            return &plan->contexts[i];
    return NULL;
}

static void every_choice_has_its_cost(void **state)
{
    const MoeOpenParams params = {.model = (char[]){VKMOE_TEST_MODEL}};
    (void)state;
    MoePlan *plan = plan_with(&params);
    assert_true(plan->plan.fits);
    assert_string_equal(plan->reason, "");
    assert_false(plan->formats_fixed);
    assert_true(plan->formats[VKMOE_WEIGHTS_STORED].bytes > plan->formats[VKMOE_WEIGHTS_Q8].bytes);
    assert_true(plan->formats[VKMOE_WEIGHTS_Q8].bytes > plan->formats[VKMOE_WEIGHTS_Q4].bytes);
    assert_true(plan->formats[VKMOE_WEIGHTS_STORED].bytes == plan->weights);
    assert_true(plan->kvs[VKMOE_KV_F32].bytes == plan->kv_cache);
    assert_true(plan->kvs[VKMOE_KV_F32].bytes > plan->kvs[VKMOE_KV_F16].bytes);
    assert_true(plan->kvs[VKMOE_KV_F16].bytes > plan->kvs[VKMOE_KV_Q8].bytes);
    for (guint i = 1; i < plan->n_contexts; i++) {
        assert_true(plan->contexts[i].value > plan->contexts[i - 1].value);
        assert_true(plan->contexts[i].bytes >= plan->contexts[i - 1].bytes);
    }
    assert_true(plan->contexts[plan->n_contexts - 1].bytes > plan->contexts[0].bytes);
    assert_non_null(context_of(plan, plan->plan.context));
    assert_non_null(context_of(plan, plan->model.max_context));
    moe_plan_free(plan);
}

static void an_odd_context_is_among_the_choices(void **state)
{
    static const guint32 sizes[] = {100, 256, 300, 512, 777, 5000};
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const MoeOpenParams params = {.model = (char[]){VKMOE_TEST_MODEL}, .context = sizes[i]};
        MoePlan *plan = plan_with(&params);
        if (!context_of(plan, sizes[i]))
            fail_msg("%u tokens cannot be chosen", sizes[i]);
        for (guint j = 1; j < plan->n_contexts; j++)
            assert_true(plan->contexts[j].value > plan->contexts[j - 1].value);
        moe_plan_free(plan);
    }
}

static void what_is_quantised_already_has_one_format(void **state)
{
    const vkmoe_quantize_params quantize = {.weights = VKMOE_WEIGHTS_Q8};
    vkmoe_error err;
    (void)state;
    g_autofree char *folder = g_strdup(test_folder_path("q8"));
    assert_ok(vkmoe_model_quantize(VKMOE_TEST_MODEL, folder, &quantize, &err), &err);
    const MoeOpenParams params = {.model = folder};
    MoePlan *plan = plan_with(&params);
    assert_true(plan->formats_fixed);
    moe_plan_free(plan);
}

static void what_is_too_large_says_why_and_what_would_do(void **state)
{
    const MoeOpenParams params = {.model = (char[]){"deepseek-moe-145b"}, .context = 4000000};
    (void)state;
    MoePlan *plan = plan_with(&params);
    assert_false(plan->plan.fits);
    assert_non_null(strstr(plan->reason, "; it would fit with a context of "));
    assert_null(strchr(plan->reason, '\n'));
    assert_false(plan->formats[VKMOE_WEIGHTS_STORED].fits);
    assert_false(context_of(plan, 4000000)->fits);
    assert_true(context_of(plan, 4096)->fits);
    moe_plan_free(plan);
}

static void memory_that_is_missing_is_told(void **state)
{
    const vkmoe_device_info device = {.n_heaps = 1, .heaps = {{.size = 1000, .budget = 900}}};
    const vkmoe_plan plan = {
        .n_heaps = 1,
        .heaps = {{.weights = 700,
                   .kv_cache = 100,
                   .scratch = 50,
                   .unused = 10,
                   .total = 860,
                   .staging = 20,
                   .reserve = 40,
                   .left = 800}},
    };
    (void)state;
    MoeMemory m = moe_memory_of(&plan, &device, 0);
    assert_true(m.weights == 700 && m.kv_cache == 100 && m.scratch == 80);
    assert_true(m.others == 200 + 40);
    assert_true(m.free == 0 && m.missing == 120);
}

static void memory_adds_up_to_its_size(void **state)
{
    const MoeOpenParams params = {.model = (char[]){VKMOE_TEST_MODEL}};
    (void)state;
    MoePlan *plan = plan_with(&params);
    assert_true(plan->device.n_heaps > 0);
    for (uint32_t i = 0; i < plan->device.n_heaps; i++) {
        MoeMemory m = moe_memory_of(&plan->plan, &plan->device, i);
        assert_int_equal(m.missing, 0);
        assert_true(m.weights + m.kv_cache + m.scratch + m.others + m.free == m.size);
        MoeMemory bare = moe_memory_of(NULL, &plan->device, i);
        assert_true(bare.weights + bare.kv_cache + bare.scratch == 0);
        assert_true(bare.others + bare.free == bare.size);
    }
    moe_plan_free(plan);
}

static void a_model_that_is_not_there_is_one_sentence(void **state)
{
    g_autoptr(GError) error = NULL;
    const MoeOpenParams params = {.model = (char[]){"/nonexistent/model"}};
    vkmoe_device *device = open_reference();
    (void)state;
    assert_null(moe_plan_new(device, &params, NULL, &error));
    assert_true(g_error_matches(error, MOE_ERROR, VKMOE_NOT_FOUND));
    assert_non_null(strstr(error->message, "/nonexistent/model"));
    vkmoe_device_close(device);
}

static void remedies_are_worded_as_this_program_offers_them(void **state)
{
    vkmoe_plan plan = {.context = 4096,
                       .reason = "it needs more",
                       .remedies = {.context = 1024,
                                    .chunk = 32,
                                    .weights = VKMOE_WEIGHTS_Q4,
                                    .kv = VKMOE_KV_Q8,
                                    .other_device = true,
                                    .device_name = "Big GPU"}};
    (void)state;
    g_autofree char *all = moe_plan_reason(&plan);
    assert_string_equal(all, "it needs more; it would fit with a context of 1024 tokens or weights "
                             "in 4 bits or a KV cache in 8 bits or the device Big GPU");
    plan.remedies = (vkmoe_remedies){0};
    g_autofree char *none = moe_plan_reason(&plan);
    assert_string_equal(none, "it needs more");
}

static void what_the_library_says_becomes_a_sentence(void **state)
{
    static const char *const texts[][2] = {
        {"no Vulkan driver", "No Vulkan driver."},
        {"config.json: it is empty", "config.json: it is empty."},
        {"vkCreateInstance failed", "vkCreateInstance failed."},
        {"/a b: gone.", "/a b: gone."},
        {"the folder \xff is empty", "The folder \xef\xbf\xbd is empty."},
        {"", "."},
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *sentence = moe_sentence(texts[i][0]);
        assert_string_equal(sentence, texts[i][1]);
    }
}

/* --- in a thread --- */

struct answer {
    MoePlan *plan;
    GError *error;
    bool came;
};

static void on_planned(GObject *source, GAsyncResult *result, gpointer data)
{
    struct answer *answer = data;
    (void)source;
    answer->plan = moe_planner_plan_finish(result, &answer->error);
    answer->came = true;
}

static void await(const struct answer *answer)
{
    while (!answer->came)
        g_main_context_iteration(NULL, TRUE);
}

static void a_planner_answers_on_the_main_thread_and_can_be_stopped(void **state)
{
    const MoeOpenParams params = {.model = (char[]){VKMOE_TEST_MODEL},
                                  .device = (char[]){"reference"}};
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    struct answer first = {0}, stopped = {0}, second = {0};
    MoePlanner *planner = moe_planner_new();
    (void)state;
    moe_planner_plan_async(planner, &params, NULL, on_planned, &first);
    moe_planner_plan_async(planner, &params, cancellable, on_planned, &stopped);
    g_cancellable_cancel(cancellable);
    moe_planner_plan_async(planner, &params, NULL, on_planned, &second);
    moe_planner_free(planner); /* what was asked for is answered all the same */
    await(&first);
    await(&stopped);
    await(&second);
    assert_non_null(first.plan);
    assert_non_null(second.plan);
    assert_null(stopped.plan);
    assert_true(g_error_matches(stopped.error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
    assert_true(first.plan->weights == second.plan->weights);
    moe_plan_free(first.plan);
    moe_plan_free(second.plan);
    g_error_free(stopped.error);
}

static void a_device_that_is_not_there_is_one_sentence(void **state)
{
    const MoeOpenParams params = {.model = (char[]){VKMOE_TEST_MODEL},
                                  .device = (char[]){"no such device"}};
    struct answer answer = {0};
    MoePlanner *planner = moe_planner_new();
    (void)state;
    moe_planner_plan_async(planner, &params, NULL, on_planned, &answer);
    await(&answer);
    assert_null(answer.plan);
    assert_int_equal(answer.error->domain, MOE_ERROR);
    assert_null(strchr(answer.error->message, '\n'));
    g_error_free(answer.error);
    moe_planner_free(planner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_choice_has_its_cost),
        cmocka_unit_test(an_odd_context_is_among_the_choices),
        TEST_IN_FOLDER(what_is_quantised_already_has_one_format),
        cmocka_unit_test(what_is_too_large_says_why_and_what_would_do),
        cmocka_unit_test(memory_that_is_missing_is_told),
        cmocka_unit_test(memory_adds_up_to_its_size),
        cmocka_unit_test(a_model_that_is_not_there_is_one_sentence),
        cmocka_unit_test(remedies_are_worded_as_this_program_offers_them),
        cmocka_unit_test(what_the_library_says_becomes_a_sentence),
        cmocka_unit_test(a_planner_answers_on_the_main_thread_and_can_be_stopped),
        cmocka_unit_test(a_device_that_is_not_there_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
