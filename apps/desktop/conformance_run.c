#include "conformance_run.h"

#include <gio/gio.h>
#include <signal.h>
#include <string.h>

#define PROGRAM "../libexec/vkmoe/vkmoe-conformance" /* from this program's folder */

struct MoeConformanceRun {
    GSubprocess *process; /* NULL: it could not be started */
    gint cancelled;       /* atomic: how often it was asked for */

    GMutex mutex; /* of what follows */
    MoeConformanceStatus status;
    guint untested;   /* cases that could not be tested */
    GPtrArray *fresh; /* results that were not taken yet; NULL: none */
    char *report;     /* that was written; NULL: none */
    char *unreported; /* why it was not; NULL: it was, or there is nothing to report */
    char *outcome;    /* set once, before status.ended */
    int end;          /* vkmoe_status that the process told; -1: none yet */
    char *sentence;   /* that goes with it */
    gint64 start;     /* monotonic time */
};

/* --- lines of the process, on the thread --- */

static guint number(const char *word)
{
    return (guint)g_ascii_strtoull(word, NULL, 10);
}

static void take_result(MoeConformanceRun *run, char *const *words)
{
    MoeConformanceResult *result =
        moe_conformance_result_new(words[1], words[2], number(words[3]), number(words[4]),
                                   g_ascii_strtod(words[5], NULL), words[6]);
    if (!run->fresh)
        run->fresh = g_ptr_array_new_with_free_func(g_object_unref);
    g_ptr_array_add(run->fresh, result);
}

/* A line that is none of those is passed over. */
static void take_line(MoeConformanceRun *run, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, "\t", -1);
    guint count = g_strv_length(words);
    g_mutex_lock(&run->mutex);
    if (count == 2 && strcmp(words[0], "total") == 0) {
        run->status.total = number(words[1]);
    } else if (count == 3 && strcmp(words[0], "case") == 0) {
        run->status.cases++;
        run->untested += strcmp(words[2], "untested") == 0;
        run->status.failed += strcmp(words[2], "failed") == 0;
        g_strlcpy(run->status.current, words[1], sizeof(run->status.current));
    } else if (count == 7 && strcmp(words[0], "result") == 0) {
        take_result(run, words);
    } else if (count == 2 && strcmp(words[0], "report") == 0) {
        g_free(run->report);
        run->report = g_strdup(words[1]);
    } else if (count == 2 && strcmp(words[0], "unreported") == 0) {
        g_free(run->unreported);
        run->unreported = g_utf8_make_valid(words[1], -1);
    } else if (count == 3 && strcmp(words[0], "end") == 0) {
        run->end = (int)number(words[1]);
        g_free(run->sentence);
        run->sentence = g_utf8_make_valid(words[2], -1);
    }
    g_mutex_unlock(&run->mutex);
}

static void read_lines(MoeConformanceRun *run)
{
    g_autoptr(GDataInputStream) lines =
        g_data_input_stream_new(g_subprocess_get_stdout_pipe(run->process));
    char *line;
    while ((line = g_data_input_stream_read_line(lines, NULL, NULL, NULL))) {
        take_line(run, line);
        g_free(line);
    }
}

/* --- the end --- */

/* The process is gone without a word. */
static char *crashed(const MoeConformanceRun *run)
{
    const MoeConformanceStatus *s = &run->status;
    g_autofree char *how =
        g_subprocess_get_if_signaled(run->process)
            ? g_strdup_printf("ended by signal %d", g_subprocess_get_term_sig(run->process))
            : g_strdup("ended too early");
    return s->cases > 0 ? g_strdup_printf("The driver crashed the test: it %s after %u cases, the "
                                          "last of them of %s.",
                                          how, s->cases, s->current)
                        : g_strdup_printf("The driver crashed the test: it %s before the first "
                                          "case.",
                                          how);
}

static gboolean was_stopped(const MoeConformanceRun *run)
{
    return run->end == VKMOE_CANCELLED || (run->end < 0 && g_atomic_int_get(&run->cancelled) > 0);
}

static char *sentence_of(const MoeConformanceRun *run)
{
    const MoeConformanceStatus *s = &run->status;
    if (was_stopped(run))
        return g_strdup_printf("Stopped after %u cases, of which %u failed.", s->cases, s->failed);
    if (run->end < 0)
        return crashed(run);
    if (run->end != VKMOE_OK)
        return g_strdup_printf("Not finished: %s.", run->sentence);
    if (s->cases == 0)
        return g_strdup("There was nothing to test.");
    if (s->failed > 0)
        return g_strdup_printf("%u of %u cases failed: do not trust what this device computes.",
                               s->failed, s->cases);
    double seconds = (double)(g_get_monotonic_time() - run->start) / 1e6;
    if (run->untested > 0)
        return g_strdup_printf("%u of %u cases passed, in %.0f seconds; the others could not be "
                               "tested here.",
                               s->cases - run->untested, s->cases, seconds);
    return g_strdup_printf("All %u cases passed, in %.0f seconds.", s->cases, seconds);
}

static void finish(MoeConformanceRun *run)
{
    g_mutex_lock(&run->mutex);
    run->outcome = sentence_of(run);
    if (run->unreported) {
        char *whole = g_strdup_printf("%s There is no report: %s.", run->outcome, run->unreported);
        g_free(run->outcome);
        run->outcome = whole;
    }
    run->status.current[0] = '\0';
    run->status.passed = run->end == VKMOE_OK && run->status.failed == 0 && run->status.cases > 0;
    run->status.stopped = was_stopped(run);
    run->status.ended = TRUE;
    g_mutex_unlock(&run->mutex);
}

static gpointer run_in_thread(gpointer data)
{
    MoeConformanceRun *run = data;
    read_lines(run);
    g_subprocess_wait(run->process, NULL, NULL);
    finish(run);
    moe_conformance_run_unref(run);
    return NULL;
}

/* --- what others call --- */

static char *find_program(void)
{
    const char *named = g_getenv("VKMOE_CONFORMANCE");
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : g_strdup(".");
    g_autofree char *path = g_build_filename(folder, PROGRAM, NULL);
    return named ? g_strdup(named) : g_canonicalize_filename(path, NULL);
}

static GSubprocess *start(MoeDevice *device, const MoeConformanceParams *params, const char *folder,
                          GError **error)
{
    g_autofree char *program = find_program();
    g_mkdir_with_parents(folder, 0700); /* if that fails, there is no report, for that reason */
    return g_subprocess_new(
        G_SUBPROCESS_FLAGS_STDOUT_PIPE, error, program, moe_device_selector(device),
        params->level == VKMOE_CONFORM_FULL ? "full" : "quick",
        params->kernels ? params->kernels : "*", params->model ? params->model : "", folder, NULL);
}

MoeConformanceRun *moe_conformance_run_new(MoeDevice *device, const MoeConformanceParams *params,
                                           const char *folder)
{
    MoeConformanceRun *run = g_atomic_rc_box_new0(MoeConformanceRun);
    g_autoptr(GError) error = NULL;
    run->end = -1;
    run->start = g_get_monotonic_time();
    g_mutex_init(&run->mutex);
    run->process = start(device, params, folder, &error);
    if (run->process) {
        g_thread_unref(g_thread_new("conformance", run_in_thread, g_atomic_rc_box_acquire(run)));
    } else {
        run->end = VKMOE_NOT_FOUND;
        run->sentence = g_strdup(error->message);
        finish(run);
    }
    return run;
}

static void clear(gpointer data)
{
    MoeConformanceRun *run = data;
    g_clear_object(&run->process);
    g_clear_pointer(&run->fresh, g_ptr_array_unref);
    g_free(run->report);
    g_free(run->unreported);
    g_free(run->outcome);
    g_free(run->sentence);
    g_mutex_clear(&run->mutex);
}

void moe_conformance_run_unref(MoeConformanceRun *run)
{
    g_atomic_rc_box_release_full(run, clear);
}

void moe_conformance_run_cancel(MoeConformanceRun *run)
{
    if (!run->process)
        return;
    if (g_atomic_int_add(&run->cancelled, 1) == 0)
        g_subprocess_send_signal(run->process, SIGTERM);
    else
        g_subprocess_force_exit(run->process);
}

GPtrArray *moe_conformance_run_poll(MoeConformanceRun *run, MoeConformanceStatus *status)
{
    g_mutex_lock(&run->mutex);
    GPtrArray *fresh = g_steal_pointer(&run->fresh);
    *status = run->status;
    g_mutex_unlock(&run->mutex);
    return fresh;
}

const char *moe_conformance_run_outcome(MoeConformanceRun *run)
{
    return run->outcome;
}

const char *moe_conformance_run_report(MoeConformanceRun *run)
{
    return run->report;
}
