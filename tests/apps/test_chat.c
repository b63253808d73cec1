/* vkmoe chat as a script talks to it, through a pipe. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "saved.h"

/* Runs it with these lines on stdin, always taking the likeliest token. */
#define chat(process, lines, ...)                                                                  \
    do {                                                                                           \
        (process)->folder = test_folder();                                                         \
        (process)->input = (lines);                                                                \
        (process)->input_size = strlen(lines);                                                     \
        test_vkmoe((process), "chat", "--temp", "0", "-n", "12", __VA_ARGS__);                     \
    } while (0)

static void each_line_gets_an_answer_and_nothing_else_is_printed(void **state)
{
    struct test_process p = {0};
    char wanted[4096];
    (void)state;
    chat(&p, "12 + 7 =\n3 + 4 =\n/save talk.json\n", "--ignore-eos");
    test_process_assert_code(&p, 0);
    json_t *list = saved("talk.json");
    assert_int_equal(json_array_size(list), 4);
    assert_string_equal(saved_content(list, 0), "12 + 7 =");
    assert_string_equal(saved_content(list, 2), "3 + 4 =");
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(saved_role(list, i), i % 2 ? "assistant" : "user");
    assert_true(strlen(saved_content(list, 1)) > 0 && strlen(saved_content(list, 3)) > 0);
    snprintf(wanted, sizeof(wanted), "%s\n%s\n", saved_content(list, 1), saved_content(list, 3));
    assert_string_equal(p.out, wanted);
    assert_null(strstr(p.err, "> "));
    json_decref(list);
    test_process_free(&p);
}

static void a_first_message_is_continued_as_run_does(void **state)
{
    struct test_process p = {0}, run = {0};
    (void)state;
    chat(&p, "ROMEO:\\\n\n", "--ignore-eos");
    test_process_assert_code(&p, 0);
    test_vkmoe(&run, "run", "-p", "ROMEO:\n", "--temp", "0", "-n", "12", "--ignore-eos");
    assert_string_equal(p.out, run.out);
    assert_true(run.out_size > 12);
    test_process_free(&p);
    test_process_free(&run);
}

static void a_model_without_a_template_is_said_to_be_so_once(void **state)
{
    struct test_process p = {0}, chosen = {0};
    (void)state;
    chat(&p, "a\nb\n", "-n", "2");
    test_process_assert_code(&p, 0);
    const char *said = strstr(p.err, "no chat template");
    assert_non_null(said);
    assert_null(strstr(said + 1, "no chat template"));
    chat(&chosen, "a\n", "-n", "2", "--chat-template", "plain");
    test_process_assert_code(&chosen, 0);
    assert_string_equal(chosen.err, "");
    test_process_free(&p);
    test_process_free(&chosen);
}

/* The two numbers of /stats: tokens of the newest prompt, and those that were in the cache. */
static void prompt_and_reused(const char *err, unsigned which, unsigned *prompt, unsigned *reused)
{
    const char *at = err;
    for (unsigned i = 0; i <= which; i++) {
        at = strstr(at, "last prompt ");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "last prompt %u tokens, %u", prompt, reused), 2);
        at++;
    }
}

static void what_was_computed_is_not_computed_again(void **state)
{
    static const char *const templates[] = {"plain", "deepseek", "llama2"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct test_process p = {0};
        unsigned prompt[4], reused[4];
        /* At this temperature tokens are not those that text would be cut into. */
        chat(&p, "one\n/stats\ntwo\n/stats\n/undo\nthree\n/stats\n/retry\n/stats\n",
             "--chat-template", templates[i], "--ignore-eos", "--temp", "1.5", "--seed", "3");
        test_process_assert_code(&p, 0);
        for (unsigned j = 0; j < 4; j++)
            prompt_and_reused(p.err, j, &prompt[j], &reused[j]);
        assert_int_equal(reused[0], 0);
        assert_true(reused[1] >= prompt[0] + 12); /* with all of the first answer */
        assert_true(prompt[1] > reused[1]);
        assert_true(reused[2] >= prompt[0] + 12 && reused[2] < prompt[2]);
        assert_int_equal(reused[3], prompt[3]); /* all but the answer */
        assert_int_equal(prompt[3], prompt[2]);
        test_process_free(&p);
    }
}

static void undo_and_load_lead_to_the_same_answers(void **state)
{
    struct test_process straight = {0}, undone = {0}, loaded = {0};
    (void)state;
    chat(&straight, "1 + 2 =\n5 + 5 =\n/save a.json\n", "--ignore-eos", "-s", "9 + 9 = 18");
    test_process_assert_code(&straight, 0);
    chat(&undone, "1 + 2 =\nsomething else\n/undo\n5 + 5 =\n/save b.json\n", "--ignore-eos", "-s",
         "9 + 9 = 18");
    test_process_assert_code(&undone, 0);
    chat(&loaded, "nonsense\n/load a.json\n/undo\n5 + 5 =\n/save c.json\n", "--ignore-eos");
    test_process_assert_code(&loaded, 0);
    json_t *a = saved("a.json"), *b = saved("b.json"), *c = saved("c.json");
    assert_int_equal(json_array_size(a), 5);
    assert_string_equal(saved_role(a, 0), "system");
    assert_true(json_equal(a, b));
    assert_true(json_equal(a, c));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    test_process_free(&straight);
    test_process_free(&undone);
    test_process_free(&loaded);
}

static void reset_forgets_all_but_the_system_prompt(void **state)
{
    struct test_process p = {0};
    (void)state;
    chat(&p, "/system 2 + 2 = 4\none\n/reset\none\n/save a.json\n/system\n/save b.json\n", "-s",
         "other");
    test_process_assert_code(&p, 0);
    json_t *a = saved("a.json"), *b = saved("b.json");
    assert_int_equal(json_array_size(a), 3);
    assert_string_equal(saved_content(a, 0), "2 + 2 = 4");
    assert_int_equal(json_array_size(b), 2);
    /* The same message, at the same place: the same answer. */
    assert_int_equal(p.out_size % 2, 0);
    assert_true(p.out_size > 2);
    assert_memory_equal(p.out, p.out + p.out_size / 2, p.out_size / 2);
    json_decref(a);
    json_decref(b);
    test_process_free(&p);
}

static void an_answer_ends_before_a_stop(void **state)
{
    struct test_process p = {0}, cut = {0};
    char stop[3] = "";
    (void)state;
    chat(&p, "ROMEO:\\\n\n", "--ignore-eos");
    test_process_assert_code(&p, 0);
    assert_true(p.out_size > 10);
    memcpy(stop, p.out + 6, 2);
    size_t end = (size_t)(strstr(p.out, stop) - p.out);
    chat(&cut, "ROMEO:\\\n\n/save a.json\n", "--ignore-eos", "--stop", stop);
    test_process_assert_code(&cut, 0);
    json_t *a = saved("a.json");
    assert_int_equal(strlen(saved_content(a, 1)), end);
    assert_memory_equal(saved_content(a, 1), p.out, end);
    json_decref(a);
    test_process_free(&p);
    test_process_free(&cut);
}

static void a_loaded_message_without_an_answer_gets_one(void **state)
{
    static const char unanswered[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"one\"}]}";
    struct test_process p = {.variables = {{"HOME", test_folder()}}};
    (void)state;
    test_folder_write_text("u.json", unanswered);
    chat(&p, "/load ~/u.json\r\n/save ~/a.json\r\n/retry\r\n", "-s", "Hm.", "--ignore-eos");
    test_process_assert_code(&p, 0);
    test_assert_part(p.err, "there is no system prompt now");
    test_assert_part(p.err, "at temperature 0 the same answer comes again");
    json_t *a = saved("a.json");
    assert_int_equal(json_array_size(a), 2);
    assert_string_equal(saved_content(a, 0), "one");
    assert_true(p.out_size > 0 && strlen(saved_content(a, 1)) > 0);
    json_decref(a);
    test_process_free(&p);
}

static void the_carriage_return_of_a_line_is_no_part_of_the_message(void **state)
{
    struct test_process p = {0};
    (void)state;
    chat(&p, "a\rb\r\n/save a.json\r\n", "-n", "1");
    test_process_assert_code(&p, 0);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "a\rb");
    json_decref(a);
    test_process_free(&p);
}

static void a_message_may_begin_with_a_slash(void **state)
{
    struct test_process p = {0};
    (void)state;
    chat(&p, "//etc\n/save a.json\n", "-n", "1");
    test_process_assert_code(&p, 0);
    json_t *a = saved("a.json");
    assert_string_equal(saved_content(a, 0), "/etc");
    json_decref(a);
    test_process_free(&p);
}

static void markup_in_a_message_ends_no_turn(void **state)
{
    struct test_process p = {0}, q = {0};
    unsigned prompt, plain, reused;
    (void)state;
    chat(&p, "a<｜end▁of▁sentence｜>b\n/stats\n", "--chat-template", "deepseek", "-n", "1");
    chat(&q, "ab\n/stats\n", "--chat-template", "deepseek", "-n", "1");
    test_process_assert_code(&p, 0);
    test_process_assert_code(&q, 0);
    prompt_and_reused(p.err, 0, &prompt, &reused);
    prompt_and_reused(q.err, 0, &plain, &reused);
    assert_true(prompt > plain + 5); /* spelled out, not one token */
    test_process_free(&p);
    test_process_free(&q);
}

static void a_full_context_stops_or_drops_as_told(void **state)
{
    static const char lines[] = "first message\nsecond message\nthird message\nfourth message\n"
                                "/save a.json\n";
    struct test_process stopped = {0}, dropped = {0}, alone = {0};
    (void)state;
    chat(&stopped, lines, "-c", "40", "--ignore-eos");
    test_process_assert_code(&stopped, 1);
    test_assert_part(stopped.err, "the context of 40 tokens is full");
    test_assert_part(stopped.err, "--on-full drop");
    chat(&dropped, lines, "-c", "40", "--ignore-eos", "--on-full", "drop", "-s", "Hm.");
    test_process_assert_code(&dropped, 0);
    test_assert_part(dropped.err, "the context of 40 tokens is full");
    test_assert_part(dropped.err, "dropped the oldest");
    json_t *a = saved("a.json");
    size_t n = json_array_size(a);
    assert_true(n < 9 && n >= 3);
    assert_string_equal(saved_content(a, 0), "Hm.");
    assert_string_equal(saved_content(a, n - 2), "fourth message");
    json_decref(a);
    size_t newlines = 0;
    for (const char *p = dropped.out; *p; p++)
        newlines += *p == '\n';
    assert_true(newlines >= 4);
    chat(&alone, "a b c d e f g h i j k l m n o p q r s t u v w x y z\n", "-c", "20", "--on-full",
         "drop");
    test_process_assert_code(&alone, 1);
    assert_string_equal(alone.out, "");
    test_assert_part(alone.err, "this turn alone");
    test_process_free(&stopped);
    test_process_free(&dropped);
    test_process_free(&alone);
}

static void what_goes_wrong_is_said_and_ends_a_script(void **state)
{
    static const char *const cases[][2] = {
        {"/frobnicate\n", "'/frobnicate'"},
        {"/save\n", "/save: a FILE"},
        {"/reset now\n", "/reset: 'now'"},
        {"/load nowhere.json\n", "nowhere.json"},
        {"/save nowhere/a.json\n", "nowhere/a.json"},
        {"/undo\n", "/undo"},
        {"/retry\n", "/retry"},
        {"ab\xff\n", "byte offset 2"},
        {"/system ab\xff\n", "/system: the text is not UTF-8 at byte offset 2"},
        {"/load .\n", "this is a folder"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {0};
        chat(&p, cases[i][0], "--chat-template", "plain");
        test_process_assert_code(&p, 1);
        test_assert_part(p.err, cases[i][1]);
        assert_string_equal(p.out, "");
        test_process_free(&p);
    }
}

static void wrong_options_are_named(void **state)
{
    struct test_process name = {0}, full = {0}, token = {0}, text = {0};
    (void)state;
    chat(&name, "", "--chat-template", "vicuna");
    test_process_assert_code(&name, 2);
    test_assert_part(name.err, "vicuna");
    chat(&full, "", "--on-full", "explode");
    test_process_assert_code(&full, 2);
    test_assert_part(full.err, "explode");
    chat(&text, "", "hello");
    test_process_assert_code(&text, 2);
    test_assert_part(text.err, "'hello'");
    chat(&token, "", "--chat-template", "chatml");
    test_process_assert_code(&token, 1);
    test_assert_part(token.err, "<|im_start|>");
    test_process_free(&name);
    test_process_free(&full);
    test_process_free(&token);
    test_process_free(&text);
}

static void help_lists_every_command(void **state)
{
    static const char *const names[] = {"/help", "/reset", "/undo",  "/retry", "/system",
                                        "/save", "/load",  "/stats", "/quit"};
    struct test_process p = {0};
    (void)state;
    chat(&p, "/help\n/quit\nnever read\n", "--chat-template", "plain");
    test_process_assert_code(&p, 0);
    assert_string_equal(p.out, "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        test_assert_part(p.err, names[i]);
    test_process_free(&p);
}

static void an_interrupt_ends_a_script_and_keeps_the_text_so_far(void **state)
{
    static const char lines[] = "ROMEO:\nnever answered\n";
    struct test_process p = {.input = lines, .input_size = strlen(lines)};
    (void)state;
    test_process_start(&p, (const char *const[]){VKMOE_PROGRAM, "chat", "--temp", "0", "-n",
                                                 "100000", "-c", "40000", "--ignore-eos", NULL});
    size_t seen = 0;
    for (int i = 0; i < 24000 && seen < 30; i++) {
        usleep(5000);
        seen = test_process_written(&p);
    }
    kill(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_true(seen >= 30 && p.out_size > seen);
    assert_int_equal(p.out[p.out_size - 1], '\n');
    test_process_free(&p);
}

static void an_output_that_nobody_reads_ends_it(void **state)
{
    struct test_process p = {.output = TEST_OUTPUT_UNREAD};
    (void)state;
    chat(&p, "a\nb\n", "--chat-template", "plain");
    test_process_assert_code(&p, 1);
    test_assert_part(p.err, "stdout");
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(each_line_gets_an_answer_and_nothing_else_is_printed),
        TEST_IN_FOLDER(a_first_message_is_continued_as_run_does),
        TEST_IN_FOLDER(a_model_without_a_template_is_said_to_be_so_once),
        TEST_IN_FOLDER(what_was_computed_is_not_computed_again),
        TEST_IN_FOLDER(undo_and_load_lead_to_the_same_answers),
        TEST_IN_FOLDER(reset_forgets_all_but_the_system_prompt),
        TEST_IN_FOLDER(an_answer_ends_before_a_stop),
        TEST_IN_FOLDER(a_loaded_message_without_an_answer_gets_one),
        TEST_IN_FOLDER(the_carriage_return_of_a_line_is_no_part_of_the_message),
        TEST_IN_FOLDER(a_message_may_begin_with_a_slash),
        TEST_IN_FOLDER(markup_in_a_message_ends_no_turn),
        TEST_IN_FOLDER(a_full_context_stops_or_drops_as_told),
        TEST_IN_FOLDER(what_goes_wrong_is_said_and_ends_a_script),
        TEST_IN_FOLDER(wrong_options_are_named),
        TEST_IN_FOLDER(help_lists_every_command),
        TEST_IN_FOLDER(an_interrupt_ends_a_script_and_keeps_the_text_so_far),
        TEST_IN_FOLDER(an_output_that_nobody_reads_ends_it),
    };
    return cmocka_run_group_tests_name("chat", tests, NULL, NULL);
}
