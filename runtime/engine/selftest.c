/* Runs the self-test of a path in a process of its own, which a driver may crash or hang. */
#define _GNU_SOURCE /* dladdr, pipe2 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/verdict.h"

extern char **environ;

#define TICK_SECONDS 0.1 /* after which the caller is asked whether to go on */
#define END_SECONDS 5.0  /* that a process may take to end after its last word, or after SIGKILL */

/* --- where the program is --- */

/* The program at `way` from the folder of `file`, if it is there. */
static char *beside(const vkmoe_allocator *a, const char *file, const char *way)
{
    const char *slash = strrchr(file, '/');
    char *path = slash ? vkm_format(a, "%.*s/%s", (int)(slash - file), file, way) : NULL;
    if (path && access(path, X_OK) == 0)
        return path;
    vkm_free(a, path);
    return NULL;
}

/* From the library, or from the program that has it in itself; NULL where there is none. */
static char *find_program(const vkmoe_allocator *a)
{
    const char *named = getenv("VKMOE_SELFTEST");
    char self[4096], *path = NULL;
    Dl_info library;
    if (named && named[0])
        return vkm_strdup(a, named);
    /* Of a main program dladdr tells how it was called, which need not be a path. */
    if (dladdr((const void *)(uintptr_t)vkm_selftest_admit, &library) && library.dli_fname &&
        library.dli_fname[0] == '/') {
        path = beside(a, library.dli_fname, VKMOE_SELFTEST_FROM_LIB);
        if (!path)
            path = beside(a, library.dli_fname, VKMOE_SELFTEST_IN_BUILD);
    }
    ssize_t n = path ? 0 : readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        path = beside(a, self, VKMOE_SELFTEST_FROM_BIN);
    }
    return path;
}

/* --- running it --- */

struct test {
    const struct vkm_gpu_params *params;
    pid_t pid;
    int in;          /* its stdin, which closes when this process ends: then it does, too */
    int out;         /* what it says: a line that begins with a dot for what it has done, */
    char text[1024]; /* and others, as far as there is room */
    size_t size;
    bool in_line, in_dots; /* what was read last is part of a line, of one with a dot */
    int status;            /* as waitpid tells it */
    bool ended, hung, cancelled;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A process group of its own, so that a Ctrl-C in a terminal is not taken for a crash. Returns an
 * errno. */
static int spawn(struct test *t, char *const argv[], int in, int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int error = posix_spawn(&t->pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

static void take(struct test *t, const char *more, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        t->in_dots = t->in_line ? t->in_dots : more[i] == '.';
        t->in_line = more[i] != '\n';
        if (!t->in_dots && t->size < sizeof(t->text) - 1)
            t->text[t->size++] = more[i];
    }
}

static bool is_cancelled(struct test *t)
{
    t->cancelled = t->params->go_on && !t->params->go_on(t->params->user);
    return t->cancelled;
}

/* Reads until the process closes its stdout, says nothing for so long, or is no longer wanted. */
static void listen(struct test *t)
{
    struct pollfd fd = {.fd = t->out, .events = POLLIN};
    double deadline = now() + t->params->hang_seconds;
    while (!is_cancelled(t)) {
        double left = deadline - now();
        char more[256];
        int n = poll(&fd, 1, (int)(1000 * (left < TICK_SECONDS ? left : TICK_SECONDS)) + 1);
        if (n < 0 && errno != EINTR)
            return;
        if (n == 0 && now() >= deadline) {
            t->hung = true;
            return;
        }
        if (n <= 0)
            continue;
        ssize_t got = read(t->out, more, sizeof(more));
        if (got == 0 || (got < 0 && errno != EINTR))
            return;
        if (got > 0) {
            take(t, more, (size_t)got);
            deadline = now() + t->params->hang_seconds;
        }
    }
}

/* False where it goes on, or whoever called us wants no word of processes that end. */
static bool await_end(struct test *t, double seconds)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    double deadline = now() + seconds;
    for (;;) {
        pid_t pid = waitpid(t->pid, &t->status, WNOHANG);
        if (pid == t->pid || (pid < 0 && errno != EINTR)) {
            t->ended = pid == t->pid;
            return true;
        }
        if (now() >= deadline)
            return false;
        nanosleep(&pause, NULL);
    }
}

/* Returns an errno. */
static int run(struct test *t, char *const argv[])
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return errno;
    if (pipe2(out, O_CLOEXEC) != 0) {
        int error = errno;
        close(in[0]);
        close(in[1]);
        return error;
    }
    int error = spawn(t, argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    t->in = in[1];
    t->out = out[0];
    if (error == 0) {
        listen(t);
        bool kills = t->hung || t->cancelled;
        if (kills || !await_end(t, END_SECONDS)) {
            t->hung = !t->cancelled;
            kill(-t->pid, SIGKILL);
            (void)await_end(t, END_SECONDS); /* a driver may keep even that from ending it */
        }
    }
    close(t->in);
    close(t->out);
    return error;
}

/* --- what came of it --- */

/* Signals that others send: they say nothing of the driver. */
static bool is_from_outside(int signal)
{
    return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

/* The state stays UNTESTED where nothing was learnt. */
static void judge(const struct test *t, struct vkm_verdict *v)
{
    static const char failed[] = "failed: ", error[] = "error: ";
    const size_t room = sizeof(v->reason);
    int line = (int)strcspn(t->text, "\n");
    int signal = t->ended && WIFSIGNALED(t->status) ? WTERMSIG(t->status) : 0;
    v->state = VKMOE_PATH_FAILED;
    if (strcmp(t->text, "passed\n") == 0) {
        v->state = VKMOE_PATH_PASSED;
        v->reason[0] = '\0';
    } else if (strncmp(t->text, failed, strlen(failed)) == 0) {
        snprintf(v->reason, room, "%.*s", line - (int)strlen(failed), t->text + strlen(failed));
    } else if (t->hung) { /* or the machine is busy */
        v->state = VKMOE_PATH_UNTESTED;
        snprintf(v->reason, room,
                 "its self-test said nothing for %g seconds; it is tested again the next time",
                 t->params->hang_seconds);
    } else if (signal && !is_from_outside(signal)) {
        snprintf(v->reason, room, "its self-test crashed with signal %d", signal);
    } else {
        v->state = VKMOE_PATH_UNTESTED;
        if (signal)
            snprintf(v->reason, room, "its self-test was ended by signal %d", signal);
        else if (strncmp(t->text, error, strlen(error)) == 0)
            snprintf(v->reason, room, "its self-test could not be made: %.*s",
                     line - (int)strlen(error), t->text + strlen(error));
        else
            snprintf(v->reason, room, "its self-test ended without a verdict");
    }
}

/* False where the caller wanted it no longer. */
static bool run_selftest(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                         enum vkm_path path, struct vkm_verdict *v)
{
    struct test test = {.params = params, .in = -1, .out = -1};
    char index[16], name[16];
    char *program = find_program(params->allocator);
    *v = (struct vkm_verdict){.state = VKMOE_PATH_UNTESTED};
    if (!program) {
        snprintf(v->reason, sizeof(v->reason),
                 "the program that tests it, vkmoe-selftest, is not installed");
        return true;
    }
    snprintf(index, sizeof(index), "%u", device->index);
    snprintf(name, sizeof(name), "%s", vkm_path_name(path));
    char uuid[sizeof(device->uuid)];
    memcpy(uuid, device->uuid, sizeof(uuid));
    vkm_log(params->log, VKMOE_LOG_NOTICE, "testing the path %s on %s, once for this driver", name,
            device->name);
    int error = run(&test, (char *const[]){program, index, uuid, name, NULL});
    if (error)
        snprintf(v->reason, sizeof(v->reason), "%.120s, which tests it, cannot be run: %.60s",
                 program, strerror(error));
    else if (test.cancelled)
        snprintf(v->reason, sizeof(v->reason), "its self-test was cancelled");
    else
        judge(&test, v);
    vkm_free(params->allocator, program);
    return !test.cancelled;
}

bool vkm_selftest_admit(struct vkm_gpu *gpu, enum vkm_path path)
{
    const struct vkm_gpu_params *params = vkm_gpu_parameters(gpu);
    const vkmoe_device_info *device = vkm_gpu_info(gpu);
    const char *name = vkm_path_name(path);
    struct vkm_verdict verdict;
    vkmoe_error err;
    vkm_verdict_load(params, device, path, &verdict);
    bool known = verdict.state != VKMOE_PATH_UNTESTED;
    bool cancelled = !known && !run_selftest(params, device, path, &verdict);
    vkm_gpu_judge_path(gpu, path, verdict.state, verdict.reason);
    if (!known && verdict.state != VKMOE_PATH_UNTESTED &&
        vkm_verdict_store(params, device, path, &verdict, &err) != VKMOE_OK)
        vkm_log(params->log, VKMOE_LOG_INFO, "path %s: its verdict was not kept: %s", name,
                err.message);
    bool passed = verdict.state == VKMOE_PATH_PASSED;
    if (!passed) {
        bool quiet = (known && params->wishes[path] == VKM_WISH_NONE) || cancelled;
        vkm_log(params->log, quiet ? VKMOE_LOG_INFO : VKMOE_LOG_WARNING,
                "path %s is not used on %s: %s", name, device->name, verdict.reason);
    }
    return passed;
}
