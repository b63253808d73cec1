/* vkmoe perplexity and vkmoe eval on a terminal: how far they are, and Ctrl-C. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "measured.h"
#include "sums_task.h"
#include "support.h"
#include "terminal.h"

static struct terminal terminal; /* of the running test */

static int drop(void **state)
{
    terminal_drop(&terminal);
    return test_folder_teardown(state);
}

/* Sees the progress and interrupts it; much is left to be done then. */
static void watch_and_interrupt(const char *part)
{
    terminal_expect(&terminal, part);
    terminal_expect(&terminal, " s left");
    kill(terminal.pid, SIGINT);
    assert_int_equal(terminal_exit_code(&terminal), 130);
}

static void perplexity_tells_the_running_value_and_keeps_it(void **state)
{
    (void)state;
    enum { COPIES = 600 };
    size_t size = strlen(measured_document()->text);
    char *text = malloc(COPIES * size + 1);
    assert_non_null(text);
    for (size_t i = 0; i < COPIES; i++)
        memcpy(text + i * size, measured_document()->text, size + 1);
    test_folder_write_text("text", text);
    free(text);
    terminal_start(&terminal, (const char *const[]){VKMOE_PROGRAM, "perplexity", "-f", "text", "-c",
                                                    "32", "--resume", "state", NULL});
    watch_and_interrupt("perplexity ");
    json_t *kept = json_load_file(test_folder_path("state"), 0, NULL);
    assert_non_null(kept);
    assert_true(measured_number(kept, "next") > 0);
    assert_true(measured_number(kept, "next") < measured_number(kept, "tokens"));
    assert_true(measured_number(kept, "nll") > 0);
    json_decref(kept);
}

static void eval_tells_the_running_accuracy_and_keeps_what_is_done(void **state)
{
    (void)state;
    enum { ITEMS = 4000 };
    char *task = sums_task(ITEMS);
    test_folder_write_text("task", task);
    free(task);
    terminal_start(&terminal, (const char *const[]){VKMOE_PROGRAM, "eval", "task", "--json", "out",
                                                    "--resume", "state", NULL});
    watch_and_interrupt("items, right ");
    json_t *out = json_load_file(test_folder_path("out"), 0, NULL);
    json_t *kept = json_load_file(test_folder_path("state"), 0, NULL);
    assert_non_null(out);
    assert_non_null(kept);
    double items = measured_number(out, "items");
    assert_true(items > 0 && items < ITEMS && measured_number(out, "of") == ITEMS);
    assert_true((double)json_array_size(json_object_get(kept, "results")) == items);
    assert_true(measured_number(kept, "lines") == items);
    json_decref(out);
    json_decref(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(perplexity_tells_the_running_value_and_keeps_it,
                                        test_folder_setup, drop),
        cmocka_unit_test_setup_teardown(eval_tells_the_running_accuracy_and_keeps_what_is_done,
                                        test_folder_setup, drop),
    };
    return cmocka_run_group_tests(tests, measured_setup, measured_teardown);
}
