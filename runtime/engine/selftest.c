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

#define END_SECONDS 5.0 /* that a process may take to end after its last word, or after SIGKILL */

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
    pid_t pid;
    int out;         /* what it says */
    char text[1024]; /* as far as there is room */
    size_t size;
    int status; /* as waitpid tells it */
    bool ended, hung;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A process group of its own, so that a Ctrl-C in a terminal is not taken for a crash. Returns an
 * errno. */
static int spawn(struct test *t, char *const argv[], int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
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

/* Reads until the process closes its stdout, or the time is over. */
static void listen(struct test *t, double deadline)
{
    struct pollfd fd = {.fd = t->out, .events = POLLIN};
    for (;;) {
        double left = deadline - now();
        char more[256];
        int n = left > 0 ? poll(&fd, 1, left > 60 ? 60000 : (int)(1000 * left) + 1) : 0;
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
        for (ssize_t i = 0; i < got && t->size < sizeof(t->text) - 1; i++)
            t->text[t->size++] = more[i];
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
static int run(struct test *t, char *const argv[], double seconds)
{
    int ends[2];
    double deadline = now() + seconds;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    int error = spawn(t, argv, ends[1]);
    close(ends[1]);
    t->out = ends[0];
    if (error == 0) {
        listen(t, deadline);
        if (t->hung || !await_end(t, END_SECONDS)) {
            t->hung = true;
            kill(-t->pid, SIGKILL);
            (void)await_end(t, END_SECONDS); /* a driver may keep even that from ending it */
        }
    }
    close(ends[0]);
    return error;
}

/* --- what came of it --- */

/* Signals that others send: they say nothing of the driver. */
static bool is_from_outside(int signal)
{
    return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

/* The state stays UNTESTED where nothing was learnt. */
static void judge(const struct test *t, double seconds, struct vkm_verdict *v)
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
    } else if (t->hung) {
        snprintf(v->reason, room, "its self-test was not done after %g seconds", seconds);
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

static void run_selftest(const struct vkm_gpu_params *params, const vkmoe_device_info *device,
                         enum vkm_path path, struct vkm_verdict *v)
{
    struct test test = {.out = -1};
    char index[16], name[16];
    char *program = find_program(params->allocator);
    double seconds = params->hang_seconds;
    *v = (struct vkm_verdict){.state = VKMOE_PATH_UNTESTED};
    if (!program) {
        snprintf(v->reason, sizeof(v->reason),
                 "the program that tests it, vkmoe-selftest, is not installed");
        return;
    }
    snprintf(index, sizeof(index), "%u", device->index);
    snprintf(name, sizeof(name), "%s", vkm_path_name(path));
    char uuid[sizeof(device->uuid)];
    memcpy(uuid, device->uuid, sizeof(uuid));
    vkm_log(params->log, VKMOE_LOG_INFO, "path %s: testing it on %s, once for this driver", name,
            device->name);
    int error = run(&test, (char *const[]){program, index, uuid, name, NULL}, seconds);
    if (error)
        snprintf(v->reason, sizeof(v->reason), "%.120s, which tests it, cannot be run: %.60s",
                 program, strerror(error));
    else
        judge(&test, seconds, v);
    vkm_free(params->allocator, program);
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
    if (!known)
        run_selftest(params, device, path, &verdict);
    vkm_gpu_judge_path(gpu, path, verdict.state, verdict.reason);
    if (!known && verdict.state != VKMOE_PATH_UNTESTED &&
        vkm_verdict_store(params, device, path, &verdict, &err) != VKMOE_OK)
        vkm_log(params->log, VKMOE_LOG_INFO, "path %s: its verdict was not kept: %s", name,
                err.message);
    bool passed = verdict.state == VKMOE_PATH_PASSED;
    if (!passed) {
        bool quiet = known && params->wishes[path] == VKM_WISH_NONE;
        vkm_log(params->log, quiet ? VKMOE_LOG_INFO : VKMOE_LOG_WARNING,
                "path %s is not used on %s: %s", name, device->name, verdict.reason);
    }
    return passed;
}
