/* The same faults over a real driver, fewer of them, with text that means something; above all a
 * device lost at any point. */
#include "life.h"

#include <stdlib.h>

static struct life_setup setup;

static int measure(void **state)
{
    (void)state;
    setup.model = life_model_make();
    setup.cache_dir = test_folder_make(); /* shaders are compiled in the first life alone */
    life_setup_measure(&setup);
    return 0;
}

static int drop_model(void **state)
{
    (void)state;
    test_folder_remove((char *)(uintptr_t)setup.model);
    test_folder_remove((char *)(uintptr_t)setup.cache_dir);
    return 0;
}

/* Leads a life in which that call fails; false if it was not made that often. */
static bool fail_at(enum fault_call call, uint64_t nth, VkResult result, struct life *life)
{
    const struct life_faults faults = {.plans = {{.call = call, .nth = nth, .result = result}},
                                       .n_plans = 1};
    *life = life_lead(&setup, &faults);
    return life->fired;
}

/* The first calls of each kind, then ever fewer, with results in turn. */
static void a_failing_call_changes_no_text(void **state)
{
    unsigned lives = 0;
    (void)state;
    for (int call = 0; call < FAULT_CALLS; call++) {
        struct life life;
        size_t turn = 0;
        for (uint64_t nth = 1;; nth += 1 + nth / 2) {
            VkResult result = fault_result((enum fault_call)call, turn++);
            if (result == VK_SUCCESS)
                result = fault_result((enum fault_call)call, turn = 0);
            if (!fail_at((enum fault_call)call, nth, result, &life))
                break;
            lives++;
        }
    }
    print_message("%u faults\n", lives);
    assert_true(lives > 50);
}

/* Every submit and every wait: in the prompt, between its chunks, and at each token. */
static void another_device_goes_on_where_one_was_lost(void **state)
{
    static const enum fault_call calls[] = {FAULT_QueueSubmit2, FAULT_WaitSemaphores};
    unsigned lost = 0;
    (void)state;
    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        struct life life;
        for (uint64_t nth = 1; fail_at(calls[c], nth, VK_ERROR_DEVICE_LOST, &life); nth++) {
            assert_int_equal(life.status, VKMOE_DEVICE_LOST);
            assert_int_equal(life.lost, 1);
            lost++;
        }
    }
    print_message("lost %u times\n", lost);
    assert_true(lost > LIFE_TEXT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call_changes_no_text),
        cmocka_unit_test(another_device_goes_on_where_one_was_lost),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("faults over a real driver", tests, measure, drop_model);
}
