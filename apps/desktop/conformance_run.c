#include "conformance_run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct MoeConformanceRun {
    /* set before the thread begins */
    MoeDevice *device;
    vkmoe_conform_level level;
    char *kernels, *model, *folder;
    gint cancelled; /* atomic */

    /* the thread's own */
    struct conform_report record; /* of one device */
    bool out_of_memory;

    GMutex mutex; /* of what follows */
    MoeConformanceStatus status;
    GPtrArray *fresh;       /* results that were not taken yet; NULL: none */
    char *outcome, *report; /* set once, before status.ended */
};

/* --- callbacks of the suite, on the thread --- */

static void on_device(void *user, const vkmoe_device_info *info)
{
    MoeConformanceRun *run = user;
    run->record.devices->info = *info;
}

static void on_case(void *user, const vkmoe_conform_case *c)
{
    MoeConformanceRun *run = user;
    if (!conform_record_case(run->record.devices, c))
        run->out_of_memory = true;
    g_mutex_lock(&run->mutex);
    run->status.cases++;
    run->status.failed += !c->passed;
    g_strlcpy(run->status.current, c->test.kernel, sizeof(run->status.current));
    g_mutex_unlock(&run->mutex);
}

static void on_result(void *user, const vkmoe_conform_result *r)
{
    MoeConformanceRun *run = user;
    if (run->out_of_memory)
        return;
    struct conform_device *d = run->record.devices;
    conform_record_result(d, r);
    MoeConformanceResult *result = moe_conformance_result_new(&d->tests[d->n_tests - 1]);
    g_mutex_lock(&run->mutex);
    if (!run->fresh)
        run->fresh = g_ptr_array_new_with_free_func(g_object_unref);
    g_ptr_array_add(run->fresh, result);
    g_mutex_unlock(&run->mutex);
}

static bool is_cancelled(MoeConformanceRun *run)
{
    return g_atomic_int_get(&run->cancelled) || run->out_of_memory;
}

/* --- the end --- */

static char *sentence_of(const MoeConformanceRun *run, vkmoe_status status)
{
    const struct conform_device *d = run->record.devices;
    guint cases = run->status.cases, failed = run->status.failed;
    if (run->out_of_memory)
        return g_strdup("Not finished: host memory ran out for the report.");
    if (status == VKMOE_CANCELLED)
        return g_strdup_printf("Stopped after %u cases, of which %u failed.", cases, failed);
    if (status != VKMOE_OK)
        return g_strdup_printf("Not finished: %s.", d->error.message);
    if (failed > 0)
        return g_strdup_printf("%u of %u cases failed: do not trust what this device computes.",
                               failed, cases);
    return g_strdup_printf("All %u cases passed, in %.0f seconds.", cases, d->seconds);
}

/* Writes the page; its path, or NULL with the reason appended to *sentence. */
static char *write_report(MoeConformanceRun *run, char **sentence)
{
    const vkmoe_device_info *info = &run->record.devices->info;
    char *name = g_strdup_printf("conformance-%s-%u.html", info->uuid, info->driver_id);
    char *path = g_build_filename(run->folder, name, NULL);
    size_t size = 0;
    char *page = conform_html(&run->record, &size), *whole;
    GError *error = NULL;
    g_mkdir_with_parents(run->folder, 0700); /* if that fails, so does what follows */
    if (!page)
        error = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_NOMEM, g_strerror(ENOMEM));
    if (error || !g_file_set_contents(path, page, (gssize)size, &error)) {
        whole = g_strdup_printf("%s There is no report: %s.", *sentence, error->message);
        g_free(*sentence);
        *sentence = whole;
        g_clear_pointer(&path, g_free);
        g_error_free(error);
    }
    free(page);
    g_free(name);
    return path;
}

static void finish(MoeConformanceRun *run, vkmoe_status status)
{
    char *sentence, *report = NULL;
    char *message = run->record.devices->error.message;
    if (status == VKMOE_OK)
        message[0] = '\0';
    if (status == VKMOE_CANCELLED)
        g_strlcpy(message, "stopped by the user", sizeof(run->record.devices->error.message));
    sentence = sentence_of(run, status);
    if (run->record.devices->n_tests > 0 && !run->out_of_memory)
        report = write_report(run, &sentence);
    g_mutex_lock(&run->mutex);
    run->outcome = sentence;
    run->report = report;
    run->status.current[0] = '\0';
    run->status.passed =
        status == VKMOE_OK && run->status.failed == 0 && run->status.cases > 0 && report;
    run->status.ended = TRUE;
    g_mutex_unlock(&run->mutex);
}

/* --- the thread --- */

static void note_kernel(void *user, const vkmoe_conform_case *c)
{
    GPtrArray *names = user;
    if (names->len == 0 || strcmp(g_ptr_array_index(names, names->len - 1), c->test.kernel) != 0)
        g_ptr_array_add(names, g_strdup(c->test.kernel));
}

/* The names of all kernels and checks that are to be run, in order, and how many cases. */
static vkmoe_status list(MoeConformanceRun *run, const vkmoe_device_params *device,
                         const vkmoe_conform_params *params, GPtrArray *names)
{
    struct conform_device *d = run->record.devices;
    vkmoe_conform_params listing = *params;
    listing.list = true;
    listing.on_case = note_kernel;
    listing.on_result = NULL;
    listing.on_device = NULL;
    listing.user = names;
    vkmoe_status status = vkmoe_conform_run(device, &listing, &d->totals, &d->error);
    g_mutex_lock(&run->mutex);
    run->status.total = d->totals.cases;
    g_mutex_unlock(&run->mutex);
    return status;
}

/* Each by itself: between two it can be stopped. */
static vkmoe_status run_each(MoeConformanceRun *run, const vkmoe_device_params *device,
                             const vkmoe_conform_params *params, const GPtrArray *names)
{
    struct conform_device *d = run->record.devices;
    vkmoe_status status = VKMOE_OK;
    d->totals = (vkmoe_conform_totals){0};
    for (guint i = 0; i < names->len && status == VKMOE_OK; i++) {
        vkmoe_conform_params one = *params;
        vkmoe_conform_totals totals = {0};
        one.kernels = g_ptr_array_index(names, i);
        if (is_cancelled(run))
            return VKMOE_CANCELLED;
        status = vkmoe_conform_run(device, &one, &totals, &d->error);
        d->totals.cases += totals.cases;
        d->totals.failed += totals.failed;
    }
    return status;
}

static gpointer run_in_thread(gpointer data)
{
    MoeConformanceRun *run = data;
    const vkmoe_device_params device = {.selector = moe_device_selector(run->device)};
    const vkmoe_conform_params params = {.kernels = run->kernels,
                                         .level = run->level,
                                         .model = run->model,
                                         .on_device = on_device,
                                         .on_case = on_case,
                                         .on_result = on_result,
                                         .user = run};
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    gint64 start = g_get_monotonic_time();
    vkmoe_status status = list(run, &device, &params, names);
    if (status == VKMOE_OK)
        status = run_each(run, &device, &params, names);
    run->record.devices->seconds = (double)(g_get_monotonic_time() - start) / 1e6;
    finish(run, status);
    moe_conformance_run_unref(run);
    return NULL;
}

MoeConformanceRun *moe_conformance_run_new(MoeDevice *device, const MoeConformanceParams *params,
                                           const char *folder)
{
    MoeConformanceRun *run = g_atomic_rc_box_new0(MoeConformanceRun);
    run->device = g_object_ref(device);
    run->level = params->level;
    run->record = (struct conform_report){.full = params->level == VKMOE_CONFORM_FULL,
                                          .devices = g_new0(struct conform_device, 1),
                                          .n_devices = 1};
    run->kernels = g_strdup(params->kernels);
    run->record.model = run->model = g_strdup(params->model);
    run->folder = g_strdup(folder);
    g_mutex_init(&run->mutex);
    g_thread_unref(g_thread_new("conformance", run_in_thread, g_atomic_rc_box_acquire(run)));
    return run;
}

static void clear(gpointer data)
{
    MoeConformanceRun *run = data;
    conform_report_free(&run->record);
    g_clear_pointer(&run->fresh, g_ptr_array_unref);
    g_object_unref(run->device);
    g_free(run->kernels);
    g_free(run->model);
    g_free(run->folder);
    g_free(run->outcome);
    g_free(run->report);
    g_mutex_clear(&run->mutex);
}

void moe_conformance_run_unref(MoeConformanceRun *run)
{
    g_atomic_rc_box_release_full(run, clear);
}

void moe_conformance_run_cancel(MoeConformanceRun *run)
{
    g_atomic_int_set(&run->cancelled, 1);
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
