#include "watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

enum { MAX_OBJECTS = 4096, MAX_SUBMITS = 256 };

struct object {
    enum watch_kind kind;
    uint64_t handle;
    uint64_t pool; /* of commands */
    bool recorded; /* likewise, wholly */
    bool bound;    /* of pipelines */
    uint64_t born; /* submits before it */
};

struct submit {
    uint64_t number;
    VkSemaphore semaphore; /* that it signals ... */
    uint64_t value;        /* ... with this value */
    uint64_t commands;
};

static struct {
    struct object objects[MAX_OBJECTS];
    size_t n_objects;
    struct submit submits[MAX_SUBMITS]; /* not known to have ended */
    size_t n_submits;
    uint64_t submitted;
    char misuse[256];
} watch;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const names[] = {
    "an instance", "a device",        "a semaphore",       "a buffer",
    "memory",      "a shader module", "a pipeline layout", "a pipeline cache",
    "a pipeline",  "a command pool",  "a query pool",      "a command buffer",
};

static void misuse(enum watch_kind kind, const char *what)
{
    if (!watch.misuse[0])
        snprintf(watch.misuse, sizeof(watch.misuse), "%s %s", names[kind], what);
}

void watch_start(void)
{
    pthread_mutex_lock(&lock);
    watch.n_objects = watch.n_submits = 0;
    watch.submitted = 0;
    watch.misuse[0] = '\0';
    pthread_mutex_unlock(&lock);
}

static void add(struct object object)
{
    object.born = watch.submitted;
    if (watch.n_objects < MAX_OBJECTS)
        watch.objects[watch.n_objects++] = object;
    else
        misuse(object.kind, "is one too many to be watched");
}

void watch_born(enum watch_kind kind, uint64_t object)
{
    pthread_mutex_lock(&lock);
    add((struct object){.kind = kind, .handle = object});
    pthread_mutex_unlock(&lock);
}

void watch_commands(uint64_t pool, const VkCommandBuffer *commands, uint32_t n)
{
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < n; i++)
        add((struct object){
            .kind = WATCH_COMMANDS, .handle = (uint64_t)(uintptr_t)commands[i], .pool = pool});
    pthread_mutex_unlock(&lock);
}

static bool commands_in_flight(uint64_t commands)
{
    for (size_t i = 0; i < watch.n_submits; i++) {
        if (watch.submits[i].commands == commands)
            return true;
    }
    return false;
}

static bool pool_in_flight(uint64_t pool)
{
    for (size_t i = 0; i < watch.n_objects; i++) {
        const struct object *o = &watch.objects[i];
        if (o->kind == WATCH_COMMANDS && o->pool == pool && commands_in_flight(o->handle))
            return true;
    }
    return false;
}

/* What a submit may reach must have been there before it. */
static bool may_be_reached(const struct object *o)
{
    for (size_t i = 0; i < watch.n_submits; i++) {
        if (o->born <= watch.submits[i].number)
            return true;
    }
    return false;
}

static bool in_flight(const struct object *o)
{
    switch (o->kind) {
    case WATCH_BUFFER:
    case WATCH_MEMORY:
    case WATCH_QUERIES:
    case WATCH_SEMAPHORE:
        return may_be_reached(o);
    case WATCH_PIPELINE:
        return o->bound && may_be_reached(o);
    case WATCH_POOL:
        return pool_in_flight(o->handle);
    case WATCH_DEVICE:
        return watch.n_submits > 0;
    default:
        return false;
    }
}

static void drop_commands(uint64_t pool)
{
    size_t kept = 0;
    for (size_t i = 0; i < watch.n_objects; i++) {
        if (watch.objects[i].kind != WATCH_COMMANDS || watch.objects[i].pool != pool)
            watch.objects[kept++] = watch.objects[i];
    }
    watch.n_objects = kept;
}

/* Everything but the instance belongs to the device. */
static void check_last(enum watch_kind kind)
{
    for (size_t i = 0; i < watch.n_objects; i++) {
        enum watch_kind other = watch.objects[i].kind;
        if (other > kind)
            misuse(other, "outlives what it belongs to");
    }
}

static struct object *find(enum watch_kind kind, uint64_t handle)
{
    for (size_t i = 0; i < watch.n_objects; i++) {
        if (watch.objects[i].kind == kind && watch.objects[i].handle == handle)
            return &watch.objects[i];
    }
    return NULL;
}

void watch_bound(uint64_t pipeline)
{
    pthread_mutex_lock(&lock);
    struct object *o = find(WATCH_PIPELINE, pipeline);
    if (o)
        o->bound = true;
    else
        misuse(WATCH_PIPELINE, "is bound that is not alive");
    pthread_mutex_unlock(&lock);
}

void watch_dead(enum watch_kind kind, uint64_t object)
{
    if (!object)
        return;
    pthread_mutex_lock(&lock);
    struct object *o = find(kind, object);
    if (!o) {
        misuse(kind, "ends that is not alive");
    } else {
        if (in_flight(o))
            misuse(kind, "ends while in flight");
        *o = watch.objects[--watch.n_objects];
        if (kind == WATCH_POOL)
            drop_commands(object);
        if (kind <= WATCH_DEVICE)
            check_last(kind);
    }
    pthread_mutex_unlock(&lock);
}

void watch_resetting(uint64_t pool)
{
    pthread_mutex_lock(&lock);
    if (pool_in_flight(pool))
        misuse(WATCH_POOL, "is reset while in flight");
    for (size_t i = 0; i < watch.n_objects; i++) {
        if (watch.objects[i].kind == WATCH_COMMANDS && watch.objects[i].pool == pool)
            watch.objects[i].recorded = false;
    }
    pthread_mutex_unlock(&lock);
}

void watch_recorded(VkCommandBuffer commands, bool whole)
{
    pthread_mutex_lock(&lock);
    struct object *o = find(WATCH_COMMANDS, (uint64_t)(uintptr_t)commands);
    if (o)
        o->recorded = whole;
    pthread_mutex_unlock(&lock);
}

static uint64_t submitted_commands(const VkSubmitInfo2 *submit)
{
    return (uint64_t)(uintptr_t)submit->pCommandBufferInfos[0].commandBuffer;
}

void watch_submitting(const VkSubmitInfo2 *submit)
{
    pthread_mutex_lock(&lock);
    const struct object *o = find(WATCH_COMMANDS, submitted_commands(submit));
    if (!o || !o->recorded)
        misuse(WATCH_COMMANDS, "is submitted that was not recorded");
    if (commands_in_flight(submitted_commands(submit)))
        misuse(WATCH_COMMANDS, "is submitted while in flight");
    pthread_mutex_unlock(&lock);
}

void watch_submitted(const VkSubmitInfo2 *submit)
{
    pthread_mutex_lock(&lock);
    if (watch.n_submits < MAX_SUBMITS)
        watch.submits[watch.n_submits++] =
            (struct submit){watch.submitted++, submit->pSignalSemaphoreInfos[0].semaphore,
                            submit->pSignalSemaphoreInfos[0].value, submitted_commands(submit)};
    else
        misuse(WATCH_COMMANDS, "is one too many to be in flight");
    pthread_mutex_unlock(&lock);
}

void watch_waited(const VkSemaphoreWaitInfo *info)
{
    size_t kept = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < watch.n_submits; i++) {
        const struct submit *s = &watch.submits[i];
        if (s->semaphore != info->pSemaphores[0] || s->value > info->pValues[0])
            watch.submits[kept++] = *s;
    }
    watch.n_submits = kept;
    pthread_mutex_unlock(&lock);
}

void watch_all_ended(void)
{
    pthread_mutex_lock(&lock);
    watch.n_submits = 0;
    pthread_mutex_unlock(&lock);
}

/* Kept where a leak checker finds it. */
static struct forgotten {
    struct forgotten *next;
    uint64_t handles[];
} * forgotten;

void watch_forget(void)
{
    pthread_mutex_lock(&lock);
    struct forgotten *f = calloc(1, sizeof(*f) + watch.n_objects * sizeof(f->handles[0]));
    for (size_t i = 0; i < watch.n_objects && f; i++)
        f->handles[i] = watch.objects[i].handle;
    if (f) {
        f->next = forgotten;
        forgotten = f;
    }
    watch.n_objects = watch.n_submits = 0;
    pthread_mutex_unlock(&lock);
}

size_t watch_alive(void)
{
    pthread_mutex_lock(&lock);
    size_t n = watch.n_objects;
    pthread_mutex_unlock(&lock);
    return n;
}

uint64_t watch_submits(void)
{
    pthread_mutex_lock(&lock);
    uint64_t n = watch.submitted;
    pthread_mutex_unlock(&lock);
    return n;
}

const char *watch_misuse(void)
{
    return watch.misuse;
}
