#include "life.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../golden/checkpoint.h"
#include "base/base.h"
#include "engine/engine.h"
#include "memory.h"
#include "watch.h"

enum { LIMIT_SECONDS = 300, ATTEMPTS = 4, VOCAB = 61, TOP_K = 2 };

char *life_model_make(void)
{
    const struct test_shape shape = test_shape_complete(&(struct test_shape){.vocab = VOCAB,
                                                                             .hidden = 32,
                                                                             .heads = 2,
                                                                             .dense_width = 24,
                                                                             .experts = 4,
                                                                             .top_k = TOP_K,
                                                                             .expert_width = 16,
                                                                             .shared = 1,
                                                                             .first_dense = 1,
                                                                             .max_position = 128});
    char *folder = test_folder_make();
    checkpoint_write(&shape, folder);
    return folder;
}

/* --- what is alive in a life --- */

struct being {
    const struct life_setup *setup;
    const struct life_faults *faults;
    struct life life;
    struct test_log log;
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_session *session;
    int32_t tokens[LIFE_PROMPT + LIFE_TEXT]; /* prompt, and text as it was handed out */
    size_t count;
    char what[512]; /* fails, for messages */
};

static char current[512]; /* for the alarm, which has no other way to know */

static void describe(struct being *b)
{
    size_t at = 0;
    b->what[0] = '\0';
    if (b->faults->allocation)
        snprintf(b->what, sizeof(b->what), "allocation %llu",
                 (unsigned long long)b->faults->allocation);
    for (size_t i = 0; i < b->faults->n_plans; i++) {
        const struct fault_plan *p = &b->faults->plans[i];
        at += (size_t)snprintf(b->what + at, sizeof(b->what) - at, "%s%s, call %llu%s, %s (%u)",
                               i ? "; " : "", fault_call_name(p->call), (unsigned long long)p->nth,
                               p->for_good ? " and all later ones" : "",
                               p->result ? vkm_vk_result_name(p->result) : "any result", p->draw);
    }
    snprintf(current, sizeof(current), "hangs: %s\n", b->what);
}

static void say_what_hangs(int signal)
{
    (void)signal;
    ssize_t written = write(STDERR_FILENO, current, strlen(current));
    _exit(written > 0 ? 1 : 2);
}

static void broken(const struct being *b, const char *promise)
{
    fail_msg("%s: %s (last fault: %s; first failure: %s)", b->what, promise, fault_last(),
             b->life.failures ? b->life.sentence : "none");
}

/* --- failures --- */

/* The status that the driver's result calls for. */
static void check_status(struct being *b, vkmoe_status status)
{
    const struct life_faults *f = b->faults;
    if (f->allocation && status != VKMOE_OUT_OF_HOST_MEMORY)
        broken(b, "running out of host memory is reported as something else");
    if (f->n_plans != 1 || f->plans[0].result == VK_SUCCESS || b->life.failures > 1)
        return;
    VkResult result = f->plans[0].result;
    vkmoe_status expected =
        result == VK_TIMEOUT ? VKMOE_DEVICE_LOST : vkm_vk_status(result, status);
    if (status != expected)
        broken(b, "the status is not what the driver's result calls for");
}

static void check_sentence(struct being *b, vkmoe_status status, const vkmoe_error *err)
{
    size_t n = strnlen(err->message, sizeof(err->message));
    if (err->status != status)
        broken(b, "the error's status differs from the one returned");
    if (n < 20 || n == sizeof(err->message) || strchr(err->message, '\n') ||
        strstr(err->message, ". ") || strstr(err->message, "(null)") ||
        strstr(err->message, "unknown Vulkan"))
        broken(b, "the message is no sentence");
}

/* Takes note of a call's end; true if it was a failure. */
static bool failed(struct being *b, vkmoe_status status, const vkmoe_error *err)
{
    if (status == VKMOE_OK)
        return false;
    if (b->life.failures++ == 0) {
        b->life.status = status;
        snprintf(b->life.sentence, sizeof(b->life.sentence), "%s", err->message);
    }
    check_sentence(b, status, err);
    check_status(b, status);
    if (!fault_count() && !memory_failed())
        broken(b, "a call failed though nothing had");
    return true;
}

/* --- steps --- */

static vkmoe_status open_device(struct being *b, vkmoe_error *err)
{
    const struct life_setup *s = b->setup;
    vkmoe_device_params params = {
        .allocator = memory_hook(),
        .log = &b->log.log,
        .selector = s->selector,
        .cache_dir = s->cache_dir ? s->cache_dir : "",
        .check_addresses = s->check_addresses,
        .tiled_rows = 1, /* so that tokens need kernels that the prompt does not */
    };
    return vkm_device_open(&params, fault_loader, &b->device, err);
}

static vkmoe_status load(struct being *b, vkmoe_error *err)
{
    return vkmoe_model_load(b->device, b->setup->model, NULL, &b->model, err);
}

static vkmoe_status create_session(struct being *b, vkmoe_error *err)
{
    const vkmoe_session_params params = {.context = 64, .chunk = LIFE_CHUNK, .cache_tokens = 128};
    return vkmoe_session_create(b->model, &params, &b->session, err);
}

/* The last tokens come with a trace, so that logits and routing are read back. */
static vkmoe_status evaluate(struct being *b, vkmoe_error *err)
{
    enum { TRACED = 4 }; /* leaves whole chunks of the prompt */
    float logits[TRACED * VOCAB], gates[TRACED * TOP_K];
    int32_t ids[TRACED * TOP_K];
    const vkmoe_trace trace = {.logits = logits, .topk_ids = ids, .topk_gates = gates};
    size_t head = b->count - TRACED;
    vkmoe_status status = VKMOE_OK;
    if (vkmoe_session_length(b->session) < head)
        status = vkmoe_session_eval(b->session, b->tokens, head, NULL, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(b->session, b->tokens + head, TRACED, &trace, err);
    return status;
}

/* A fork goes its own way, with every kernel of the sampler, is rolled back, and goes another. */
static vkmoe_status branch(struct being *b, vkmoe_error *err)
{
    const vkmoe_generate_params params = {
        .max_tokens = 2,
        .sampling = {.repeat_penalty = 1.5f, .temperature = 1, .top_k = 9, .top_p = 0.9f},
        .ignore_eos = true,
    };
    vkmoe_session *fork = NULL;
    vkmoe_status status = vkmoe_session_fork(b->session, &fork, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(fork, &params, NULL, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_rollback(fork, (uint32_t)b->count - 5, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(fork, &params, NULL, err);
    vkmoe_session_destroy(fork);
    return status;
}

static bool keep(void *user, int32_t token)
{
    struct being *b = user;
    b->tokens[b->count++] = token;
    return true;
}

static vkmoe_status generate(struct being *b, vkmoe_error *err)
{
    const vkmoe_generate_params params = {.max_tokens = LIFE_PROMPT + LIFE_TEXT - b->count,
                                          .ignore_eos = true,
                                          .on_token = keep,
                                          .user = b};
    size_t before = b->count, n = 0;
    uint64_t submits = watch_submits();
    vkmoe_status status = vkmoe_session_generate(b->session, &params, &n, err);
    if (n != b->count - before)
        broken(b, "the number of tokens is not the number handed out");
    if (fault_calls(FAULT_ANY) > 0 && watch_submits() - submits < n)
        broken(b, "a token was handed out that was not computed");
    return status;
}

typedef vkmoe_status step_fn(struct being *b, vkmoe_error *err);
static step_fn *const steps[] = {open_device, load, create_session, evaluate, branch, generate};

/* A step is tried again until it succeeds, or the device is lost, or there is no recovery. */
static vkmoe_status take_step(struct being *b, step_fn *step)
{
    vkmoe_status status = VKMOE_OK;
    for (int i = 0; i < ATTEMPTS; i++) {
        vkmoe_error err = {0};
        status = step(b, &err);
        if (!failed(b, status, &err) || status == VKMOE_DEVICE_LOST || b->faults->no_recovery)
            return status;
    }
    broken(b, "what failed once fails again");
    return status;
}

/* Evaluating on a lost device says so, unless another fault comes first. */
static void expect_lost(struct being *b, vkmoe_session *session, const char *promise)
{
    vkmoe_error err = {0};
    uint64_t before = fault_count();
    vkmoe_status status = vkmoe_session_eval(session, b->tokens, 1, NULL, &err);
    if (status == VKMOE_OK || (status != VKMOE_DEVICE_LOST && fault_count() == before))
        broken(b, promise);
    if (err.status != status || !err.message[0])
        broken(b, "a lost device has no sentence");
}

static void check_lost(struct being *b)
{
    vkmoe_error err = {0};
    vkmoe_session *session = NULL;
    if (b->session)
        expect_lost(b, b->session, "a session does not say that its device is lost");
    if (b->model && vkmoe_session_create(b->model, NULL, &session, &err) == VKMOE_OK)
        expect_lost(b, session, "a new session does not say that its device is lost");
    vkmoe_session_destroy(session);
}

static void end(struct being *b)
{
    vkmoe_session_destroy(b->session);
    vkmoe_model_destroy(b->model);
    vkmoe_device_close(b->device);
    b->session = NULL;
    b->model = NULL;
    b->device = NULL;
    /* A device that never ends what it was given keeps its memory; that is said, and no leak. */
    if (strstr(b->log.warning, "its memory is left to it"))
        watch_forget();
    if (b->log.warning[0])
        memcpy(b->life.warning, b->log.warning, sizeof(b->life.warning));
    b->log.warning[0] = '\0';
}

/* --- a life --- */

static void live(struct being *b)
{
    vkmoe_status status = VKMOE_OK;
    for (size_t i = 0; i < VKM_COUNT(steps) && status == VKMOE_OK; i++)
        status = take_step(b, steps[i]);
    if (status == VKMOE_DEVICE_LOST && b->device) {
        b->life.lost++;
        check_lost(b);
    }
    end(b);
    if (status == VKMOE_OK || b->faults->no_recovery)
        return;
    if (b->life.failures > 2 * ATTEMPTS)
        broken(b, "devices are lost without end");
    live(b);
}

static void check_end(struct being *b)
{
    if (watch_misuse()[0])
        broken(b, watch_misuse());
    if (memory_in_use())
        broken(b, "host memory is left behind");
    if (watch_alive())
        broken(b, "Vulkan objects are left behind");
    if (b->log.errors)
        broken(b, "errors were logged");
}

static struct being begin(const struct life_setup *setup, const struct life_faults *faults)
{
    struct being b = {.setup = setup, .faults = faults, .count = LIFE_PROMPT};
    for (int32_t i = 0; i < LIFE_PROMPT; i++)
        b.tokens[i] = (i * 7 + 3) % VOCAB;
    fault_start(setup->under, faults->plans, faults->n_plans);
    memory_start(faults->allocation);
    return b;
}

static struct life lead(const struct life_setup *setup, const struct life_faults *faults,
                        int32_t text[LIFE_TEXT])
{
    struct being b = begin(setup, faults);
    test_log_init(&b.log);
    describe(&b);
    signal(SIGALRM, say_what_hangs);
    alarm(LIMIT_SECONDS);
    live(&b);
    alarm(0);
    check_end(&b);
    memcpy(text, b.tokens + LIFE_PROMPT, LIFE_TEXT * sizeof(*text));
    b.life.fired = fault_count() > 0 || memory_failed();
    if (b.count < LIFE_PROMPT + LIFE_TEXT && !faults->no_recovery)
        broken(&b, "the text is not whole");
    return b.life;
}

void life_setup_measure(struct life_setup *setup)
{
    const struct life_faults none = {0};
    struct life life = lead(setup, &none, setup->text);
    assert_int_equal(life.failures, 0);
}

struct life life_lead(const struct life_setup *setup, const struct life_faults *faults)
{
    int32_t text[LIFE_TEXT];
    struct life life = lead(setup, faults, text);
    if (life.failures == 0 || !faults->no_recovery) {
        if (memcmp(text, setup->text, sizeof(text)) != 0)
            fail_msg("%s: another text", current);
    }
    return life;
}
