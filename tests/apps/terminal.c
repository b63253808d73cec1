#include "terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* Far beyond what anything takes, on a slow and busy machine too: then it is a failure. */
#define WAIT_SECONDS 240
#define LIFE_SECONDS 600 /* of a program whose test is no more */

static void run_child(const char *slave, const char *const argv[])
{
    setsid();
    int fd = open(slave, O_RDWR); /* becomes the controlling terminal */
    if (fd < 0 || chdir(test_folder()) != 0)
        _exit(125);
    for (int i = 0; i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    setenv("TERM", "dumb", 1);
    setenv("LC_ALL", "C", 1); /* lines are UTF-8 all the same */
    setenv("XDG_STATE_HOME", test_folder(), 1);
    alarm(LIFE_SECONDS);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(126);
}

void terminal_start(struct terminal *t, const char *const argv[])
{
    memset(t, 0, sizeof(*t));
    t->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(t->fd >= 0);
    assert_int_equal(grantpt(t->fd), 0);
    assert_int_equal(unlockpt(t->fd), 0);
    const char *slave = ptsname(t->fd);
    assert_non_null(slave);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid == 0)
        run_child(slave, argv);
}

void terminal_drop(struct terminal *t)
{
    if (t->pid <= 0)
        return;
    kill(t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    close(t->fd);
    t->pid = 0;
}

double terminal_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Reads what there is, waiting up to a tenth of a second for it; false when the program is gone. */
static bool read_some(struct terminal *t)
{
    struct pollfd poll_fd = {.fd = t->fd, .events = POLLIN};
    if (poll(&poll_fd, 1, 100) <= 0)
        return true;
    size_t room = sizeof(t->text) - 1 - t->size;
    assert_true(room > 0);
    ssize_t n = read(t->fd, t->text + t->size, room);
    if (n <= 0)
        return false;
    for (ssize_t i = 0; i < n; i++) { /* a zero byte would hide the rest */
        if (!t->text[t->size + (size_t)i])
            t->text[t->size + (size_t)i] = '?';
    }
    t->size += (size_t)n;
    return true;
}

void terminal_expect(struct terminal *t, const char *part)
{
    double end = terminal_seconds() + WAIT_SECONDS;
    const char *found = NULL;
    bool alive = true;
    while (!(found = strstr(t->text + t->seen, part)) && alive && terminal_seconds() < end)
        alive = read_some(t);
    if (!found)
        fail_msg("'%s' does not come: %s", part, t->text + t->seen);
    t->seen = (size_t)(found - t->text) + strlen(part);
}

void terminal_expect_bytes(struct terminal *t, size_t n)
{
    double end = terminal_seconds() + WAIT_SECONDS;
    while (t->size < t->seen + n && terminal_seconds() < end)
        assert_true(read_some(t));
    assert_true(t->size >= t->seen + n);
}

void terminal_type(const struct terminal *t, const char *keys)
{
    assert_int_equal(write(t->fd, keys, strlen(keys)), strlen(keys));
}

int terminal_exit_code(struct terminal *t)
{
    int status;
    double end = terminal_seconds() + WAIT_SECONDS;
    while (read_some(t)) {
        if (terminal_seconds() > end)
            fail_msg("the program does not end: %s", t->text + t->seen);
    }
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    t->pid = 0;
    close(t->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
