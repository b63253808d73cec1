/* Whether the quick conformance cases find changes made to the shaders by rule (rules.h). At least
 * 95 % of the mutants that are not equivalent must die, and each that lives must stand in
 * survivors.txt with the reason.
 *
 * A run tries a few mutants of each file, and a few of those listed, always the same ones. In the
 * environment, VKMOE_MUTANTS_SEED is a number that draws others, VKMOE_MUTANTS a pattern of names
 * to try instead, listed or not (`*` for all), and VKMOE_MUTANTS_LOG a file that gets a line for
 * each. Those that it has a line for already are not tried again. VKMOE_MUTANTS_BEFORE is the log
 * of a run before shaders or cases changed: who found a mutant then is tried on it first.
 * VKMOE_MUTANTS_PATIENCE is the processor time in seconds after which one is left undecided. */
#include "killer.h"
#include "support.h"
#include "survivors.h"
#include "trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conform/conform.h"

/* What a run draws of a kernel's file, of one that kernels include, which takes longer to try, and
 * of the survivors that are listed, which go through all cases. */
#define DRAWN_OF_KERNEL 3u
#define DRAWN_OF_LIBRARY 1u
#define DRAWN_OF_LISTED 2u
#define LEAST_KILLED 0.95
#define MAX_WORKERS 16u

struct worker {
    pid_t pid; /* 0: idle */
    size_t mutant;
    char *folder;
    int output; /* what the process says */
    double since;
};

struct run {
    struct shaders shaders;
    struct mutants mutants;
    struct survivors survivors;
    struct worker workers[MAX_WORKERS];
    unsigned n_workers;
    const char *pattern; /* NULL: those drawn */
    uint64_t seed;
    FILE *log;
    char *tried;     /* what the log held before */
    char *before;    /* the log of an earlier run; NULL: none */
    rlim_t patience; /* 0: none */
    /* Who found the last one that was found, and in which file. */
    struct killer killer;
    unsigned killer_file;
    unsigned killed, lived, equivalent, uncounted, undecided, complaints;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- what is tried --- */

static uint64_t lot(const struct run *r, const struct mutant *m)
{
    uint64_t hash = vkm_hash(VKM_HASH_INIT, &r->seed, sizeof(r->seed));
    return vkm_hash(hash, m->name, strlen(m->name));
}

/* Whether few enough mutants have lower lots: of its file's, or if it is listed of all that are. */
static bool drawn(const struct run *r, const struct mutant *m)
{
    bool listed = survivors_have(&r->survivors, m->name);
    bool library = strncmp(m->name, "lib/", 4) == 0;
    unsigned below = 0, most = library ? DRAWN_OF_LIBRARY : DRAWN_OF_KERNEL;
    if (listed)
        most = DRAWN_OF_LISTED;
    for (size_t i = 0; i < r->mutants.count; i++) {
        const struct mutant *other = &r->mutants.items[i];
        below += (listed || other->file == m->file) && lot(r, other) < lot(r, m) &&
                 survivors_have(&r->survivors, other->name) == listed;
    }
    return below < most;
}

static bool wanted(const struct run *r, const struct mutant *m)
{
    return r->pattern ? vkm_glob(r->pattern, m->name) : drawn(r, m);
}

/* --- one process for each mutant --- */

static int make_file(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 3);
    assert_true(fd >= 0);
    fclose(file);
    return fd;
}

/* Who is tried first on a mutant: who found it before, else who found one of the same file. */
static bool suspect(const struct run *r, const struct mutant *m, struct killer *killer)
{
    const char *line = log_find(r->before, m->name);
    if (line && log_killer(line, killer))
        return true;
    *killer = r->killer;
    return killer->kernel[0] && r->killer_file == m->file;
}

_Noreturn static void become_trial(const struct run *r, const struct worker *w,
                                   const struct killer *first)
{
    char index[32], first_case[1024] = "";
    snprintf(index, sizeof(index), "%zu", w->mutant);
    if (first)
        snprintf(first_case, sizeof(first_case), "%s (%s, %s), case %s:", first->kernel,
                 first->dtype, first->path, first->name);
    struct rlimit limit = {r->patience, RLIM_INFINITY};
    int null = open("/dev/null", O_WRONLY);
    if (r->patience > 0)
        setrlimit(RLIMIT_CPU, &limit);
    dup2(w->output, STDOUT_FILENO);
    dup2(r->log ? w->output : null, STDERR_FILENO);
    execl("/proc/self/exe", "test_mutants", index, w->folder, first_case, (char *)NULL);
    _exit(126);
}

static void start(struct run *r, struct worker *w, size_t mutant)
{
    struct killer killer;
    bool any = suspect(r, &r->mutants.items[mutant], &killer);
    w->mutant = mutant;
    w->output = make_file();
    w->since = seconds();
    fflush(NULL);
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0)
        become_trial(r, w, any ? &killer : NULL);
}

/* Puts what the process said last on one line. */
static void read_last_words(struct worker *w, char *text, size_t size)
{
    lseek(w->output, 0, SEEK_SET);
    ssize_t n = read(w->output, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    close(w->output);
}

static void complain(struct run *r, const char *what, const char *name)
{
    print_error("%s: %s\n", what, name);
    r->complaints++;
}

static void count_survivor(struct run *r, const char *name)
{
    if (survivors_equivalent(&r->survivors, name))
        r->equivalent++;
    else
        r->lived++;
}

/* Counts a mutant that ended so; false if that says nothing. */
static bool count(struct run *r, const char *name, int code)
{
    bool listed = survivors_have(&r->survivors, name);
    if (code == VERDICT_KILLED) {
        r->killed++;
        if (listed)
            complain(r, "found, though survivors.txt lists it", name);
    } else if (code == VERDICT_SURVIVED) {
        count_survivor(r, name);
        if (!listed)
            complain(r, "survived", name);
    } else if (code == VERDICT_SAME || code == VERDICT_INVALID) {
        r->uncounted++;
        if (listed)
            complain(r, "changes no module, though survivors.txt lists it", name);
    } else if (code == VERDICT_UNDECIDED) {
        r->undecided++;
    } else {
        return false;
    }
    return true;
}

static void judge(struct run *r, struct worker *w, int status)
{
    static const char *const ends[] = {[VERDICT_KILLED] = "killed",
                                       [VERDICT_SURVIVED] = "survived",
                                       [VERDICT_SAME] = "same",
                                       [VERDICT_INVALID] = "invalid",
                                       [VERDICT_UNDECIDED] = "undecided"};
    char words[512];
    const struct mutant *m = &r->mutants.items[w->mutant];
    const char *name = m->name, *how = "could not be tried";
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : VERDICT_KILLED;
    read_last_words(w, words, sizeof(words));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        code = VERDICT_UNDECIDED;
    if (WIFSIGNALED(status) && code == VERDICT_KILLED)
        how = WTERMSIG(status) == SIGPROF ? "killed (hung)" : "killed (crashed)";
    else if (code >= VERDICT_KILLED && code <= VERDICT_UNDECIDED)
        how = ends[code];
    if (code == VERDICT_KILLED && killer_read(&r->killer, words, strlen(words)))
        r->killer_file = m->file;
    if (!count(r, name, code)) {
        complain(r, how, name);
        print_error("exit code %d: %s\n", code, words);
    }
    if (r->log)
        fprintf(r->log, "%s\t%.1f\t%s\t%s\n", how, seconds() - w->since, name, words);
}

static struct worker *find_worker(struct run *r, pid_t pid)
{
    for (unsigned i = 0; i < r->n_workers; i++)
        if (r->workers[i].pid == pid)
            return &r->workers[i];
    return NULL;
}

static void reap(struct run *r)
{
    int status;
    pid_t pid = wait(&status);
    struct worker *w = find_worker(r, pid);
    assert_true(pid > 0 && w);
    judge(r, w, status);
    w->pid = 0;
}

/* --- a log that is there --- */

static char *read_log(const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    assert_int_equal(fstat(fileno(file), &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)st.st_size, file), st.st_size);
    text[st.st_size] = '\0';
    fclose(file);
    return text;
}

/* How the mutant ended according to the log; 0 if that does not have it, or left it undecided. */
static int logged(const struct run *r, const char *name)
{
    const char *line = log_find(r->tried, name);
    return !line                        ? 0
           : log_says(line, "killed")   ? VERDICT_KILLED
           : log_says(line, "survived") ? VERDICT_SURVIVED
           : log_says(line, "same")     ? VERDICT_SAME
           : log_says(line, "invalid")  ? VERDICT_INVALID
                                        : 0;
}

/* --- the test --- */

static void try_all(struct run *r)
{
    for (size_t i = 0; i < r->mutants.count; i++) {
        const struct mutant *m = &r->mutants.items[i];
        if (!wanted(r, m) || count(r, m->name, logged(r, m->name)))
            continue;
        while (!find_worker(r, 0))
            reap(r);
        start(r, find_worker(r, 0), i);
    }
    for (unsigned i = 0; i < r->n_workers; i++)
        while (r->workers[i].pid != 0)
            reap(r);
}

static void open_run(struct run *r)
{
    const char *log = getenv("VKMOE_MUTANTS_LOG"), *seed = getenv("VKMOE_MUTANTS_SEED");
    const char *before = getenv("VKMOE_MUTANTS_BEFORE");
    const char *patience = getenv("VKMOE_MUTANTS_PATIENCE");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    shaders_load(&r->shaders);
    shaders_mutants(&r->shaders, &r->mutants);
    survivors_load(&r->survivors);
    r->pattern = getenv("VKMOE_MUTANTS");
    r->before = before ? read_log(before) : NULL;
    r->patience = patience ? strtoull(patience, NULL, 10) : 0;
    r->seed = seed ? strtoull(seed, NULL, 10) : 0;
    if (log) {
        r->tried = read_log(log);
        r->log = fopen(log, "a");
        assert_non_null(r->log);
        setvbuf(r->log, NULL, _IOLBF, 0);
    }
    r->n_workers = cores < 1 ? 1 : cores > (long)MAX_WORKERS ? MAX_WORKERS : (unsigned)cores;
    for (unsigned i = 0; i < r->n_workers; i++)
        r->workers[i].folder = test_folder_make();
    /* Each worker keeps to a core, and leaves no mutants in the driver's cache. */
    setenv("LP_NUM_THREADS", "1", 1);
    setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
}

static void close_run(struct run *r)
{
    for (unsigned i = 0; i < r->n_workers; i++)
        test_folder_remove(r->workers[i].folder);
    if (r->log)
        fclose(r->log);
    free(r->tried);
    free(r->before);
    survivors_free(&r->survivors);
    mutants_free(&r->mutants);
    shaders_free(&r->shaders);
}

static void quick_cases_find_mutants(void **state)
{
    struct run r = {.killed = 0};
    (void)state;
    open_run(&r);
    try_all(&r);
    unsigned counted = r.killed + r.lived, all = counted + r.equivalent;
    print_message("%u mutants, and %u that change no module: %u killed, %u survived, %u of them "
                  "equivalent\n",
                  all, r.uncounted, r.killed, r.lived + r.equivalent, r.equivalent);
    if (r.undecided > 0)
        print_message("%u were left undecided\n", r.undecided);
    assert_int_equal(r.complaints, 0);
    assert_true(all > 0);
    print_message("%.1f %% of all killed", 100.0 * r.killed / all);
    if (counted > 0)
        print_message(", %.1f %% of those that are not equivalent", 100.0 * r.killed / counted);
    print_message("\n");
    /* A pattern may well choose survivors. */
    if (!r.pattern || strcmp(r.pattern, "*") == 0)
        assert_true(r.killed >= LEAST_KILLED * counted);
    close_run(&r);
}

static void try_one(const char *index, const char *folder, const char *first_case)
{
    struct killer first;
    bool any = killer_read(&first, first_case, strlen(first_case));
    struct shaders shaders;
    struct mutants mutants = {0};
    size_t i = strtoul(index, NULL, 10);
    shaders_load(&shaders);
    shaders_mutants(&shaders, &mutants);
    assert_true(i < mutants.count);
    trial_run(&shaders, &mutants.items[i], folder, any ? &first : NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quick_cases_find_mutants),
    };
    if (argc == 4)
        try_one(argv[1], argv[2], argv[3]);
    return cmocka_run_group_tests_name("mutants", tests, NULL, NULL);
}
