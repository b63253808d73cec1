/* vkmoe run: how its text is chosen, where it ends, and how it is interrupted. */
#include "../golden/manifest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

static struct golden golden;

static const char *prompt(void)
{
    return golden.greedy[0].prompt;
}

static void absurd_values_are_named_with_their_range(void **state)
{
    static const struct {
        const char *flag, *range, *values[6];
    } cases[] = {
        {"--temp", "from 0 to 1000", {"nan", "inf", "-0.1", "1001", "hot", ""}},
        {"--top-k", "from 0 to 4294967295", {"-1", "1.5", "4294967296", "many", ""}},
        {"--top-p", "from 0 to 1", {"nan", "-0.1", "1.1", "0.9x", ""}},
        {"--min-p", "from 0 to 1", {"-nan", "-1", "2", "inf", ""}},
        {"--repeat-penalty", "from 0 to 1000", {"nan", "-1", "1e9", "1,1", ""}},
        {"--repeat-last", "from 1 to 4294967295", {"0", "-1", "all", "4294967296", ""}},
        {"--seed", "from 0 to 18446744073709551615", {"-1", "0x1", "18446744073709551616", ""}},
    };
    static const char *const commands[] = {"run", "chat"};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t j = 0; j < 6 && cases[i].values[j]; j++) {
            struct test_process p = {0};
            char part[64];
            snprintf(part, sizeof(part), "%s: '%s'", cases[i].flag, cases[i].values[j]);
            test_vkmoe(&p, commands[j % 2], cases[i].flag, cases[i].values[j]);
            test_process_assert_sentence(&p, 2, part);
            test_assert_part(p.err, cases[i].range);
            test_process_free(&p);
        }
    }
}

static void an_empty_stop_and_too_many_are_refused(void **state)
{
    struct test_process empty = {0}, many = {0};
    const char *arguments[2 * 33 + 3] = {VKMOE_PROGRAM, "run"};
    (void)state;
    test_vkmoe(&empty, "run", "-p", "a", "--stop", "");
    test_process_assert_sentence(&empty, 2, "--stop");
    test_assert_part(empty.err, "empty");
    for (size_t i = 0; i < 33; i++) {
        arguments[2 + 2 * i] = "--stop";
        arguments[3 + 2 * i] = "x";
    }
    test_process_run(&many, arguments);
    test_process_assert_sentence(&many, 2, "--stop");
    test_assert_part(many.err, "at most 32");
    test_process_free(&empty);
    test_process_free(&many);
}

static void options_take_the_place_of_the_models_defaults(void **state)
{
    struct test_process defaults = {0}, given = {0};
    (void)state;
    test_vkmoe(&defaults, "run", "-p", "a", "-n", "1", "-v", "--seed", "7");
    test_process_assert_code(&defaults, 0);
    assert_non_null(strstr(defaults.err, "temperature 0.8, top-k 0, top-p 0.95, min-p 0, seed 7"));
    test_vkmoe(&given, "run", "-p", "a", "-n", "1", "-v", "--seed", "8", "--temp", "0.5", "--top-k",
               "40", "--top-p", "0.25", "--min-p", "0.125", "--repeat-penalty", "1.5",
               "--repeat-last", "9");
    test_process_assert_code(&given, 0);
    assert_non_null(strstr(given.err,
                           "repeat penalty 1.5 of the last 9, temperature 0.5, top-k 40, "
                           "top-p 0.25, min-p 0.125, seed 8"));
    test_process_free(&defaults);
    test_process_free(&given);
}

static void one_candidate_is_the_likeliest_and_a_seed_repeats_its_text(void **state)
{
    struct test_process one = {0}, texts[3] = {{0}};
    static const char *const seeds[] = {"1", "1", "2"};
    size_t size = strlen(golden.greedy[0].text);
    (void)state;
    test_vkmoe(&one, "run", "-p", prompt(), "-n", "64", "--temp", "1", "--top-k", "1");
    test_process_assert_code(&one, 0);
    assert_int_equal(one.out_size, size + 1);
    assert_memory_equal(one.out, golden.greedy[0].text, size);
    for (size_t i = 0; i < 3; i++) {
        test_vkmoe(&texts[i], "run", "-p", prompt(), "-n", "40", "--temp", "1", "--seed", seeds[i]);
        test_process_assert_code(&texts[i], 0);
    }
    assert_string_equal(texts[0].out, texts[1].out);
    assert_string_not_equal(texts[0].out, texts[2].out);
    for (size_t i = 0; i < 3; i++)
        test_process_free(&texts[i]);
    test_process_free(&one);
}

/* Of the likeliest text, what comes before the first of two of its own parts. */
static void text_ends_before_the_first_stop(void **state)
{
    const char *text = golden.greedy[0].text;
    char first[6] = "", later[6] = "";
    struct test_process p = {0};
    (void)state;
    assert_true(strlen(text) > 60);
    memcpy(first, text + 20, 5);
    memcpy(later, text + 50, 5);
    size_t end = (size_t)(strstr(text, first) - text);
    size_t other = (size_t)(strstr(text, later) - text);
    end = end < other ? end : other;
    test_vkmoe(&p, "run", "-p", prompt(), "-n", "64", "--temp", "0", "--stop", later, "--stop",
               first, "--stop", "never in this text");
    test_process_assert_code(&p, 0);
    assert_int_equal(p.out_size, end + 1);
    assert_memory_equal(p.out, text, end);
    assert_int_equal(p.out[end], '\n');
    test_process_free(&p);
}

static void a_full_context_ends_a_text_that_is_kept(void **state)
{
    struct test_process p = {0}, none = {0};
    (void)state;
    test_vkmoe(&p, "run", "-p", prompt(), "-n", "400", "-c", "40", "--temp", "0", "--ignore-eos");
    test_process_assert_code(&p, 0);
    assert_true(p.out_size > 5);
    assert_non_null(strstr(p.err, "the context of 40 tokens is full; -c makes a larger one\n"));
    test_vkmoe(&none, "run", "-p", "a b c d e f g h i j k l m n o p", "-n", "9", "-c", "4");
    test_process_assert_sentence(&none, 1,
                                 "tokens, which leave no room in the context of 4 tokens; -c ");
    test_process_free(&p);
    test_process_free(&none);
}

static void a_context_beyond_the_models_is_said(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "run", "-p", "a", "-n", "1", "-c", "600", "-v", "--repeat-last", "4294967295");
    test_process_assert_code(&p, 0);
    assert_non_null(strstr(p.err, "a context of 600 tokens is more than the 512"));
    assert_non_null(strstr(p.err, "of all tokens"));
    test_process_free(&p);
}

/* --- Ctrl-C --- */

static size_t size_of(FILE *file)
{
    struct stat st;
    assert_int_equal(fstat(fileno(file), &st), 0);
    return (size_t)st.st_size;
}

/* Waits until stderr has this word in it. */
static void wait_for(const struct test_process *p, const char *word)
{
    static char text[1 << 16];
    for (int i = 0; i < 48000; i++) {
        size_t size = size_of(p->files[2]);
        size = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
        assert_true(pread(fileno(p->files[2]), text, size, 0) == (ssize_t)size);
        text[size] = '\0';
        if (strstr(text, word))
            return;
        usleep(5000);
    }
    fail_msg("'%s' does not come: %s", word, text);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void an_interrupt_while_loading_ends_it(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_process_start(
        &p, (const char *const[]){VKMOE_PROGRAM, "run", "-p", "a", "-vv", "--no-cache", NULL});
    wait_for(&p, "vkmoe: "); /* the device was chosen */
    kill(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_string_equal(p.out, "");
    assert_null(strstr(p.err, "seed")); /* it never came to generate */
    test_process_free(&p);
}

static void an_interrupt_ends_a_long_prompt_at_once(void **state)
{
    size_t size = 40000;
    char *text = malloc(size);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++)
        text[i] = (i + 1) % 5 ? (char)('a' + i * i % 26) : ' ';
    struct test_process p = {.input = text, .input_size = size};
    test_process_start(
        &p, (const char *const[]){VKMOE_PROGRAM, "run", "-f", "-", "-v", "-c", "40000", NULL});
    wait_for(&p, "seed");
    usleep(300000);
    double start = seconds();
    kill(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    assert_string_equal(p.out, "");
    assert_null(strstr(p.err, "| text ")); /* the statistics of a text */
    assert_true(seconds() - start < 20);   /* the whole prompt takes minutes */
    test_process_free(&p);
    free(text);
}

static void a_second_interrupt_does_not_wait(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_process_start(
        &p, (const char *const[]){VKMOE_PROGRAM, "run", "-p", "a", "-vv", "--no-cache", NULL});
    wait_for(&p, "vkmoe: ");
    test_process_signal(p.pid, SIGINT);
    test_process_signal(p.pid, SIGINT);
    test_process_wait(&p);
    test_process_assert_code(&p, 130);
    test_process_free(&p);
}

static void an_interrupt_while_stdin_is_read_ends_it_without_a_word(void **state)
{
    int pipe_fds[2];
    char text[256];
    (void)state;
    assert_int_equal(pipe(pipe_fds), 0);
    FILE *err = tmpfile();
    assert_non_null(err);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipe_fds[0], 0); /* its other end stays open, and little comes */
        dup2(fileno(err), 2);
        alarm(300);
        execl(VKMOE_PROGRAM, VKMOE_PROGRAM, "run", "-f", "-", (char *)NULL);
        _exit(126);
    }
    int status;
    int unread = 1;
    assert_int_equal(write(pipe_fds[1], "a", 1), 1);
    while (unread > 0 && ioctl(pipe_fds[0], FIONREAD, &unread) == 0)
        usleep(1000);
    test_process_await_sleep(pid); /* in the next read */
    kill(pid, SIGINT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_equal(pread(fileno(err), text, sizeof(text), 0), 0);
    fclose(err);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static int load(void **state)
{
    (void)state;
    golden_load(&golden);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    golden_free(&golden);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absurd_values_are_named_with_their_range),
        cmocka_unit_test(an_empty_stop_and_too_many_are_refused),
        cmocka_unit_test(options_take_the_place_of_the_models_defaults),
        cmocka_unit_test(one_candidate_is_the_likeliest_and_a_seed_repeats_its_text),
        cmocka_unit_test(text_ends_before_the_first_stop),
        cmocka_unit_test(a_full_context_ends_a_text_that_is_kept),
        cmocka_unit_test(a_context_beyond_the_models_is_said),
        cmocka_unit_test(an_interrupt_while_stdin_is_read_ends_it_without_a_word),
        cmocka_unit_test(an_interrupt_while_loading_ends_it),
        cmocka_unit_test(an_interrupt_ends_a_long_prompt_at_once),
        cmocka_unit_test(a_second_interrupt_does_not_wait),
    };
    return cmocka_run_group_tests_name("run", tests, load, unload);
}
