#include "conform/aside.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "conform/steps.h"

#define LOOK_NS 50000000 /* between looks at whether the caller wants to stop */

/* A case with strings of its own, all cut from `text`. */
struct kept {
    vkmoe_conform_case c;
    char *text;
};

struct vkm_aside {
    const vkmoe_device_params *device;
    const vkmoe_allocator *allocator;
    vkmoe_conform_params params;
    struct vkm_report report;
    pthread_t thread;
    atomic_bool stop, done;
    struct {
        struct kept *items;
        size_t count, capacity;
    } cases;
    vkmoe_status status;
    vkmoe_error error;
};

/* A copy at *at, which it moves behind it. */
static const char *put(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static void keep(void *user, const vkmoe_conform_case *c)
{
    struct vkm_aside *a = user;
    size_t size = strlen(c->name) + strlen(c->sentence) + strlen(c->note) + strlen(c->bundle) +
                  strlen(c->worst.view) + 5;
    char *at = vkm_malloc(a->allocator, size, 1);
    if (!at || !VKM_ARRAY_RESERVE(a->allocator, &a->cases, 1)) {
        vkm_free(a->allocator, at);
        a->status = vkm_fail_memory(&a->error, size, "what checks found");
        atomic_store(&a->stop, true);
        return;
    }
    struct kept *k = &a->cases.items[a->cases.count++];
    *k = (struct kept){.c = *c, .text = at};
    k->c.name = put(&at, c->name);
    k->c.sentence = put(&at, c->sentence);
    k->c.note = put(&at, c->note);
    k->c.bundle = put(&at, c->bundle);
    k->c.worst.view = put(&at, c->worst.view);
}

static bool stops(void *user)
{
    return atomic_load(&((struct vkm_aside *)user)->stop);
}

static void *work(void *user)
{
    struct vkm_aside *a = user;
    vkmoe_error error = {0};
    vkmoe_status status = vkm_steps_run(a->device, &a->report, &error);
    if (a->status == VKMOE_OK && status != VKMOE_OK) {
        a->status = status;
        a->error = error;
    }
    atomic_store(&a->done, true);
    return NULL;
}

struct vkm_aside *vkm_aside_begin(const vkmoe_device_params *device,
                                  const struct vkm_report *report)
{
    const vkmoe_allocator *allocator = device ? device->allocator : NULL;
    struct vkm_aside *a = vkm_calloc(allocator, 1, sizeof(*a));
    if (!a)
        return NULL;
    a->device = device;
    a->allocator = allocator;
    a->params = *report->params;
    a->params.stops = stops;
    a->params.on_case = keep;
    a->params.on_result = NULL;
    a->params.user = a;
    vkm_report_init(&a->report, &a->params);
    if (pthread_create(&a->thread, NULL, work, a) != 0) {
        vkm_free(allocator, a);
        return NULL;
    }
    return a;
}

static void tell(const struct vkm_aside *a, struct vkm_report *report)
{
    for (size_t i = 0; i < a->cases.count; i++) {
        const vkmoe_conform_case *c = &a->cases.items[i].c;
        bool first = i == 0 || strcmp(c->test.kernel, a->cases.items[i - 1].c.test.kernel) != 0;
        if (first) {
            vkm_report_end(report); /* the one before; nothing if there is none */
            vkm_report_begin(report, &c->test);
        }
        vkm_report_case(report, c);
    }
    vkm_report_end(report);
}

vkmoe_status vkm_aside_end(struct vkm_aside *a, struct vkm_report *report, bool waits,
                           vkmoe_error *err)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    while (waits && !atomic_load(&a->done)) {
        if (vkm_report_stops(report))
            break;
        nanosleep(&pause, NULL);
    }
    if (!atomic_load(&a->done))
        atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    vkmoe_status status = a->status;
    tell(a, report);
    if (waits && status != VKMOE_OK && err)
        *err = a->error;
    for (size_t i = 0; i < a->cases.count; i++)
        vkm_free(a->allocator, a->cases.items[i].text);
    vkm_free(a->allocator, a->cases.items);
    vkm_free(a->allocator, a);
    return status;
}
