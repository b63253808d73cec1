#include "conform/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "conform/case.h"

#define LOOK_NS 50000000 /* between looks at whether the caller wants to stop */
#define NONE UINT32_MAX

/* One test of the suite: its cases, whose strings are their own, and then what is said of all. */
struct test {
    struct vkm_conform_case *items;
    size_t count, capacity;
    struct vkm_conform_variant variant;
    bool done;
};

struct member {
    struct crew *crew;
    struct vkm_gpu *gpu; /* NULL: it opens its own */
    pthread_t thread;
    bool started;
    uint32_t seen;   /* tests so far, its own or not */
    uint32_t ticket; /* the next that it will run, or NONE */
    uint32_t index;  /* of the test that it runs, or NONE */
    struct test test;
    struct vkm_conform_params params; /* the crew's, with callbacks of its own */
    struct vkm_suite suite;
    struct vkm_conform_totals totals;
};

struct crew {
    const struct vkm_conform_params *params;
    const struct vkm_gpu_params *open;
    const vkmoe_allocator *allocator;
    struct member members[VKM_CREW_MOST];
    atomic_uint next; /* test that none has begun */
    atomic_bool stop;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t change;
    struct {
        struct test *items;
        size_t count, capacity;
    } tests;
    size_t told;       /* of them */
    uint32_t working;  /* threads */
    vkmoe_error error; /* what ended it first */
};

static void drop_test(const vkmoe_allocator *a, struct test *t)
{
    for (size_t i = 0; i < t->count; i++) {
        vkm_free(a, (void *)(uintptr_t)t->items[i].name);
        vkm_free(a, (void *)(uintptr_t)t->items[i].sentence);
        vkm_free(a, (void *)(uintptr_t)t->items[i].bundle);
    }
    vkm_free(a, t->items);
    *t = (struct test){0};
}

/* Ends it for all; of several reasons the first counts, unless it is that the caller stopped. */
static void give_up(struct crew *crew, const vkmoe_error *error)
{
    pthread_mutex_lock(&crew->lock);
    if (crew->error.status == VKMOE_OK || crew->error.status == VKMOE_CANCELLED)
        crew->error = *error;
    pthread_mutex_unlock(&crew->lock);
    atomic_store(&crew->stop, true);
}

static void give_up_memory(struct crew *crew, size_t size)
{
    vkmoe_error error = {0};
    vkm_fail_memory(&error, size, "what cases found");
    give_up(crew, &error);
}

/* --- what a member's suite calls --- */

static void keep_case(void *user, const struct vkm_conform_case *c)
{
    struct member *m = user;
    const vkmoe_allocator *a = m->crew->allocator;
    if (!VKM_ARRAY_RESERVE(a, &m->test, 1)) {
        give_up_memory(m->crew, sizeof(*c));
        return;
    }
    struct vkm_conform_case *own = &m->test.items[m->test.count++];
    *own = *c;
    own->name = vkm_strdup(a, c->name);
    own->sentence = vkm_strdup(a, c->sentence);
    own->bundle = c->bundle ? vkm_strdup(a, c->bundle) : NULL;
    if (!own->name || !own->sentence || (c->bundle && !own->bundle)) {
        m->test.count--;
        vkm_free(a, (void *)(uintptr_t)own->name);
        vkm_free(a, (void *)(uintptr_t)own->sentence);
        vkm_free(a, (void *)(uintptr_t)own->bundle);
        give_up_memory(m->crew, sizeof(*c));
    }
}

static void keep_variant(void *user, const struct vkm_conform_variant *v)
{
    ((struct member *)user)->test.variant = *v;
}

/* Hands in the test that the member has run, if any. */
static void hand_in(struct member *m)
{
    struct crew *crew = m->crew;
    if (m->index == NONE)
        return;
    pthread_mutex_lock(&crew->lock);
    size_t more = m->index < crew->tests.count ? 0 : m->index + 1 - crew->tests.count;
    bool room = VKM_ARRAY_RESERVE(crew->allocator, &crew->tests, more);
    if (room) {
        memset(crew->tests.items + crew->tests.count, 0, more * sizeof(*crew->tests.items));
        crew->tests.count += more;
        crew->tests.items[m->index] = m->test;
        crew->tests.items[m->index].done = true;
        m->test = (struct test){0};
    }
    pthread_cond_signal(&crew->change);
    pthread_mutex_unlock(&crew->lock);
    if (!room)
        give_up_memory(crew, sizeof(m->test));
    drop_test(crew->allocator, &m->test);
    m->index = NONE;
}

/* Tells the caller of what is done, as far as nothing before it is missing; in the end of all. */
static void tell(struct crew *crew, bool end)
{
    const struct vkm_conform_params *p = crew->params;
    pthread_mutex_lock(&crew->lock);
    while (crew->told < crew->tests.count && (end || crew->tests.items[crew->told].done)) {
        struct test t = crew->tests.items[crew->told];
        crew->tests.items[crew->told++] = (struct test){0};
        pthread_mutex_unlock(&crew->lock);
        for (size_t i = 0; i < t.count && p->on_case; i++)
            p->on_case(p->user, &t.items[i]);
        if (t.variant.cases > 0 && p->on_variant)
            p->on_variant(p->user, &t.variant);
        drop_test(crew->allocator, &t);
        pthread_mutex_lock(&crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
}

static bool takes(void *user)
{
    struct member *m = user;
    struct crew *crew = m->crew;
    hand_in(m);
    if (m == &crew->members[0])
        tell(crew, false);
    if (m->ticket == NONE)
        m->ticket = atomic_fetch_add(&crew->next, 1);
    uint32_t index = m->seen++;
    if (index != m->ticket)
        return false;
    m->index = index;
    m->ticket = NONE;
    return true;
}

/* The caller is asked by its own thread alone, and no more once it has said so. */
static bool stops(void *user)
{
    struct member *m = user;
    struct crew *crew = m->crew;
    const struct vkm_conform_params *p = crew->params;
    if (m == &crew->members[0] && p->stops && !atomic_load(&crew->stop) && p->stops(p->user)) {
        vkmoe_error error = {0};
        vkm_fail(&error, VKMOE_CANCELLED, "the suite was stopped");
        give_up(crew, &error);
    }
    return atomic_load(&crew->stop);
}

/* --- the members --- */

/* Makes ready for tests, before the member has taken any. */
static vkmoe_status prepare(struct member *m, vkmoe_error *err)
{
    m->params = *m->crew->params;
    m->params.on_case = keep_case;
    m->params.on_variant = keep_variant;
    m->params.takes = takes;
    m->params.stops = stops;
    m->params.on_device = NULL;
    m->params.user = m;
    m->suite = (struct vkm_suite){.gpu = m->gpu, .params = &m->params};
    return vkm_suite_prepare(&m->suite, err);
}

static void run_member(struct member *m)
{
    vkmoe_error error = {0};
    if (vkm_suite_run(&m->suite, &m->totals, &error) != VKMOE_OK)
        give_up(m->crew, &error);
    hand_in(m);
}

static void *work(void *user)
{
    struct member *m = user;
    struct crew *crew = m->crew;
    vkmoe_error error = {0};
    const struct vkm_gpu *first = crew->members[0].gpu;
    vkmoe_status status = vkm_gpu_open(crew->open, vkm_gpu_kernels(first), &m->gpu, &error);
    if (status == VKMOE_OK) {
        vkm_gpu_tune(m->gpu, vkm_gpu_caps(first)->tuning, vkm_gpu_info(first)->tuning);
        status = prepare(m, &error);
    }
    if (status == VKMOE_OK)
        run_member(m);
    else
        vkm_log(crew->open->log, VKMOE_LOG_INFO, "the suite does with fewer devices: %s",
                error.message);
    if (m->gpu)
        vkm_suite_finish(&m->suite);
    vkm_gpu_close(m->gpu);
    pthread_mutex_lock(&crew->lock);
    crew->working--;
    pthread_cond_signal(&crew->change);
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* Until the other threads are done: tells what they find, and looks whether to stop. */
static void wait_for_others(struct crew *crew)
{
    bool more = true;
    while (more) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&crew->lock);
        if (crew->working > 0)
            pthread_cond_timedwait(&crew->change, &crew->lock, &until);
        more = crew->working > 0;
        pthread_mutex_unlock(&crew->lock);
        tell(crew, false);
        if (more)
            (void)stops(&crew->members[0]);
    }
}

static void start_others(struct crew *crew, uint32_t count)
{
    crew->working = count - 1;
    for (uint32_t i = 1; i < count; i++) {
        struct member *m = &crew->members[i];
        m->started = pthread_create(&m->thread, NULL, work, m) == 0;
        if (!m->started) {
            pthread_mutex_lock(&crew->lock);
            crew->working--;
            pthread_mutex_unlock(&crew->lock);
        }
    }
}

/* The caller's device is made ready first: what memory there is, it has before the others. */
static void run_all(struct crew *crew, uint32_t count)
{
    struct member *first = &crew->members[0];
    vkmoe_error error = {0};
    if (prepare(first, &error) == VKMOE_OK) {
        (void)stops(first);
        start_others(crew, count);
        run_member(first);
        wait_for_others(crew);
    } else {
        give_up(crew, &error);
    }
    vkm_suite_finish(&first->suite);
}

vkmoe_status vkm_crew_run(struct vkm_gpu *gpu, const struct vkm_gpu_params *open, uint32_t count,
                          const struct vkm_conform_params *params,
                          struct vkm_conform_totals *totals, vkmoe_error *err)
{
    struct crew crew = {.params = params, .open = open, .allocator = vkm_gpu_allocator(gpu)};
    count = vkm_min_u32(vkm_max_u32(1, count), VKM_CREW_MOST);
    pthread_mutex_init(&crew.lock, NULL);
    pthread_cond_init(&crew.change, NULL);
    for (uint32_t i = 0; i < count; i++)
        crew.members[i] = (struct member){.crew = &crew, .ticket = NONE, .index = NONE};
    crew.members[0].gpu = gpu;
    if (params->on_device)
        params->on_device(params->user, vkm_gpu_info(gpu));
    run_all(&crew, count);
    *totals = (struct vkm_conform_totals){0};
    for (uint32_t i = 0; i < count; i++) {
        if (crew.members[i].started)
            pthread_join(crew.members[i].thread, NULL);
        totals->cases += crew.members[i].totals.cases;
        totals->failed += crew.members[i].totals.failed;
    }
    tell(&crew, true);
    vkm_free(crew.allocator, crew.tests.items);
    pthread_cond_destroy(&crew.change);
    pthread_mutex_destroy(&crew.lock);
    if (crew.error.status != VKMOE_OK && err)
        *err = crew.error;
    return crew.error.status;
}
