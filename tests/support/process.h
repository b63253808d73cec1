/* Running programs, above all the command line program, as a user would. */
#ifndef VKM_TEST_PROCESS_H
#define VKM_TEST_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* Where a process's stdout goes; a test that cares about nothing leaves it zero. */
enum test_output {
    TEST_OUTPUT_KEPT,   /* to process->out */
    TEST_OUTPUT_UNREAD, /* into a pipe that nobody reads any more */
    TEST_OUTPUT_CLOSED, /* there is no stdout */
    TEST_OUTPUT_FULL,   /* onto a full disk */
};

struct test_process {
    const char *folder; /* to run in; NULL: the current one */
    const char *input;  /* what its stdin holds; NULL: nothing */
    size_t input_size;
    enum test_output output;     /* of stdout */
    size_t file_limit;           /* bytes that it may put into one file; 0: no limit */
    const char *variables[4][2]; /* names and values of its environment, besides what there is */

    int code;  /* exit code, or 128 + the signal that ended it */
    char *out; /* what came on stdout, zero-terminated */
    size_t out_size;
    char *err; /* and on stderr, without the lines that a driver of SwiftShader's writes there */

    pid_t pid;
    FILE *files[3];
};

/* Runs the program at argv[0] to its end, or for five minutes. The result is released with
 * test_process_free. */
void test_process_run(struct test_process *p, const char *const argv[]);
void test_process_start(struct test_process *p, const char *const argv[]);
/* Bytes that came on stdout so far. */
size_t test_process_written(const struct test_process *p);
void test_process_wait(struct test_process *p);
void test_process_free(struct test_process *p);

/* Sends a signal, and waits until the program has taken it or is gone: a second one does not merge
 * with it. */
void test_process_signal(pid_t pid, int signal);
/* Waits until the program's first thread sleeps, as in a read of what is not there. */
void test_process_await_sleep(pid_t pid);

/* Fails the test unless the program ended with `code`. */
void test_process_assert_code(const struct test_process *p, int code);

/* Fails the test unless `part` is in `text`. */
void test_assert_part(const char *text, const char *part);

/* Fails the test unless the program said nothing on stdout, ended with `code`, and put exactly one
 * printable line on stderr, which has `part` in it. */
void test_process_assert_sentence(const struct test_process *p, int code, const char *part);

/* The command line program with these arguments. */
#define test_vkmoe(process, ...)                                                                   \
    test_process_run((process), (const char *const[]){VKMOE_PROGRAM, __VA_ARGS__, NULL})

#endif
