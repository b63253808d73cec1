/* `vkmoe chat` loses its device in the middle of an answer. The program's own sources are built
 * into this one, but for the two calls that CMakeLists.txt turns to the functions below; started
 * with "chat" as its first argument it is that program, on a terminal. */
#include "../apps/saved.h"
#include "../apps/terminal.h"
#include "lossy.h"
#include "process.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cmd_chat(int argc, char **argv);

/* --- in the program --- */

vkmoe_status lossy_session_generate(vkmoe_session *s, const vkmoe_generate_params *params,
                                    size_t *count, vkmoe_error *err);

vkmoe_status lossy_session_generate(vkmoe_session *s, const vkmoe_generate_params *params,
                                    size_t *count, vkmoe_error *err)
{
    struct lossy_listener l;
    const vkmoe_generate_params own = lossy_params(&l, params);
    return vkmoe_session_generate(s, &own, count, err);
}

/* --- at the terminal --- */

static struct terminal terminal;
static char self[4096];

static size_t occurrences(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static void a_device_lost_in_an_answer_costs_no_turn(void **state)
{
    (void)state;
    terminal_start(&terminal,
                   (const char *const[]){self, "chat", "-m", VKMOE_TEST_MODEL, "--temp", "0", "-n",
                                         "12", "--ignore-eos", "--chat-template", "plain", NULL});
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "ROMEO:\n");
    terminal_expect(&terminal, "VK_ERROR_DEVICE_LOST\r\n");
    terminal_expect(&terminal, "vkmoe: the conversation is still here; the next message opens the "
                               "device again");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "JULIET:\n");
    terminal_expect(&terminal, "cut after 12 tokens");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/save talk.json\n");
    terminal_expect(&terminal, "Saved");
    terminal_expect(&terminal, "> ");
    terminal_type(&terminal, "/quit\n");
    assert_int_equal(terminal_exit_code(&terminal), 0);
    /* the failure, what comes of it, and the answer that was cut */
    assert_int_equal(occurrences(terminal.text, "vkmoe: "), 3);
    assert_int_equal(occurrences(terminal.text, "VK_ERROR_DEVICE_LOST"), 1);
    json_t *list = saved("talk.json");
    assert_int_equal(json_array_size(list), 4);
    assert_string_equal(saved_content(list, 0), "ROMEO:");
    assert_true(strlen(saved_content(list, 1)) > 0);
    assert_string_equal(saved_content(list, 2), "JULIET:");
    assert_true(strlen(saved_content(list, 3)) > strlen(saved_content(list, 1)));
    json_decref(list);
}

static int end_and_remove(void **state)
{
    terminal_drop(&terminal); /* of a test that failed */
    return test_folder_teardown(state);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "chat") == 0)
        return cmd_chat(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_device_lost_in_an_answer_costs_no_turn, test_folder_setup,
                                        end_and_remove),
    };
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
        return EXIT_FAILURE;
    return cmocka_run_group_tests_name("a chat that loses its device", tests, NULL, NULL);
}
