#include "planner.h"

#include "device.h"

/* Shared by the planner and the threads of its plans. */
struct MoePlanner {
    GMutex mutex; /* one plan at a time */
    vkmoe_device *device;
    char *selector; /* that it was opened with */
};

static void close_device(MoePlanner *self)
{
    vkmoe_device_close(self->device);
    g_free(self->selector);
    self->device = NULL;
    self->selector = NULL;
}

static void clear(gpointer data)
{
    MoePlanner *self = data;
    close_device(self);
    g_mutex_clear(&self->mutex);
}

static void release(gpointer data)
{
    g_atomic_rc_box_release_full(data, clear);
}

static gpointer release_in_thread(gpointer data)
{
    release(data);
    return NULL;
}

MoePlanner *moe_planner_new(void)
{
    MoePlanner *self = g_atomic_rc_box_new0(MoePlanner);
    g_mutex_init(&self->mutex);
    return self;
}

void moe_planner_free(MoePlanner *self)
{
    if (self) /* closing a device may take a while */
        g_thread_unref(g_thread_new("close-device", release_in_thread, self));
}

struct job {
    MoePlanner *planner;
    MoeOpenParams *params;
};

static void free_job(gpointer data)
{
    struct job *job = data;
    release(job->planner);
    moe_open_params_free(job->params);
    g_free(job);
}

static gboolean open_device(MoePlanner *self, const char *selector, GError **error)
{
    const vkmoe_device_params params = {.selector = selector};
    vkmoe_error err = {.message = ""};
    if (self->device && g_strcmp0(self->selector, selector) == 0)
        return TRUE;
    close_device(self);
    vkmoe_status status = vkmoe_device_open(&params, &self->device, &err);
    if (status != VKMOE_OK) {
        self->device = NULL;
        g_propagate_error(error, moe_error_new(status, &err));
        return FALSE;
    }
    self->selector = g_strdup(selector);
    return TRUE;
}

static void plan_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    struct job *job = data;
    MoePlanner *self = job->planner;
    MoePlan *plan = NULL;
    GError *error = NULL;
    (void)source;
    g_mutex_lock(&self->mutex);
    if (!g_cancellable_set_error_if_cancelled(cancellable, &error) &&
        open_device(self, job->params->device, &error))
        plan = moe_plan_new(self->device, job->params, cancellable, &error);
    g_mutex_unlock(&self->mutex);
    if (plan)
        g_task_return_pointer(task, plan, (GDestroyNotify)moe_plan_free);
    else
        g_task_return_error(task, error);
}

void moe_planner_plan_async(MoePlanner *self, const MoeOpenParams *params,
                            GCancellable *cancellable, GAsyncReadyCallback done, gpointer user)
{
    GTask *task = g_task_new(NULL, cancellable, done, user);
    struct job *job = g_new0(struct job, 1);
    job->planner = g_atomic_rc_box_acquire(self);
    job->params = moe_open_params_copy(params);
    g_task_set_task_data(task, job, free_job);
    g_task_run_in_thread(task, plan_in_thread);
    g_object_unref(task);
}

MoePlan *moe_planner_plan_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
