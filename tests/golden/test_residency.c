/* Plans against what loading takes, refusals, and experts in host memory: the same bits wherever
 * they lie. */
#include "checkpoint.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"

#define MIB (UINT64_C(1) << 20)

static struct test_log device_log;
static vkmoe_device *device;

static vkmoe_device *open_with(vkmoe_device_params params)
{
    vkmoe_error err;
    vkmoe_device *opened;
    params.log = &device_log.log;
    assert_ok(vkmoe_device_open(&params, &opened, &err), &err);
    return opened;
}

static int open_device(void **state)
{
    (void)state;
    test_log_init(&device_log);
    device = open_with((vkmoe_device_params){0});
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    vkmoe_device_close(device);
    return device_log.errors;
}

static vkmoe_plan plan_for(vkmoe_device *on, const char *model, const vkmoe_model_params *params)
{
    vkmoe_plan plan;
    vkmoe_error err;
    assert_ok(vkmoe_model_plan(on, model, params, &plan, &err), &err);
    assert_int_equal(plan.reason[0] == '\0', plan.fits);
    return plan;
}

struct loaded {
    vkmoe_model *model;
    vkmoe_session *session;
};

static struct loaded load(vkmoe_device *on, const char *model, const vkmoe_model_params *params)
{
    struct loaded l;
    vkmoe_error err;
    vkmoe_session_params session = {
        .context = params->context, .chunk = params->chunk, .kv = params->kv};
    assert_ok(vkmoe_model_load(on, model, params, &l.model, &err), &err);
    assert_ok(vkmoe_session_create(l.model, &session, &l.session, &err), &err);
    return l;
}

static void unload(struct loaded *l)
{
    vkmoe_session_destroy(l->session);
    vkmoe_model_destroy(l->model);
}

/* --- plans --- */

static double worst;

/* Each heap holds what the plan said, within 3 %. */
static void expect_as_planned(vkmoe_device *on, const char *model, const vkmoe_model_params *params)
{
    vkmoe_plan plan = plan_for(on, model, params);
    struct loaded l = load(on, model, params);
    uint64_t planned = 0;
    for (uint32_t i = 0; i < plan.n_heaps; i++) {
        struct vkm_heap_use use;
        vkm_gpu_heap_use(on->gpu, i, &use);
        double error = fabs((double)plan.heaps[i].total - (double)use.blocks);
        worst = use.blocks > 0 ? fmax(worst, error / (double)use.blocks) : worst;
        if (!(error <= 0.03 * (double)use.blocks))
            fail_msg("heap %u: %llu bytes planned, %llu taken", i,
                     (unsigned long long)plan.heaps[i].total, (unsigned long long)use.blocks);
        planned += plan.heaps[i].total;
    }
    uint64_t used = vkm_gpu_memory_used(on->gpu);
    if (!(fabs((double)planned - (double)used) <= 0.03 * (double)used))
        fail_msg("%llu bytes planned, %llu taken", (unsigned long long)planned,
                 (unsigned long long)used);
    const vkmoe_model_info *info = vkmoe_model_get_info(l.model);
    assert_int_equal(info->n_host_experts, plan.n_host_experts);
    assert_int_equal(info->host_expert_bytes, plan.host_expert_bytes);
    assert_int_equal(plan.device_bytes, vkm_plan_device_bytes(on->gpu));
    unload(&l);
    assert_int_equal(vkm_gpu_memory_used(on->gpu), 0);
}

/* Weights, KV cache and the arena are all there is: neither prompts nor texts take more. */
static void running_takes_no_more_device_memory_than_was_planned(void **state)
{
    const vkmoe_model_params params = {.context = 512, .memory_limit = 64 * MIB};
    static const int32_t tokens[300] = {7, 8, 9};
    vkmoe_plan plan = plan_for(device, VKMOE_TEST_MODEL, &params);
    struct loaded l = load(device, VKMOE_TEST_MODEL, &params);
    const vkmoe_generate_params generate = {.max_tokens = 40, .ignore_eos = true};
    vkmoe_error err;
    (void)state;
    uint64_t weights = l.model->device_bytes, all = vkm_plan_device_bytes(device->gpu);
    assert_int_equal(all, plan.device_bytes);
    assert_true(weights < all && all <= params.memory_limit);
    assert_ok(vkmoe_session_eval(l.session, tokens, VKM_COUNT(tokens), NULL, &err), &err);
    assert_int_equal(vkm_plan_device_bytes(device->gpu), all);
    assert_ok(vkmoe_session_generate(l.session, &generate, NULL, &err), &err);
    assert_int_equal(vkm_plan_device_bytes(device->gpu), all);
    unload(&l);
}

static void the_shipped_model_takes_what_was_planned(void **state)
{
    static const vkmoe_model_params params[] = {
        {.context = 0},
        {.context = 64, .chunk = 1},
        {.context = 4096, .chunk = 512},
        {.memory_limit = 26 * MIB},
        {.memory_limit = 30 * MIB, .context = 256, .chunk = 64},
        {.weights = VKMOE_WEIGHTS_Q8, .kv = VKMOE_KV_BF16},
        {.context = 4096, .kv = VKMOE_KV_Q8},
        {.weights = VKMOE_WEIGHTS_Q4, .memory_limit = 17 * MIB},
    };
    (void)state;
    worst = 0;
    for (size_t i = 0; i < VKM_COUNT(params); i++)
        expect_as_planned(device, VKMOE_TEST_MODEL, &params[i]);
    print_message("within %.2g %%\n", 100 * worst);
}

static void random_shapes_take_what_was_planned(void **state)
{
    static const struct test_shape shapes[] = {
        {.dense = true, .dense_width = 100},
        {.shared = 1, .first_dense = 1, .layers = 3, .bias = true, .storage = STORE_MIXED},
        {.vocab = 5000, .hidden = 320, .heads = 5, .tied = true, .storage = STORE_F32},
        {.hidden = 288, .heads = 6, .kv_heads = 3, .shared = 2, .experts = 40, .expert_width = 333},
        {.layers = 5, .layer_freq = 2, .first_dense = 1, .experts = 1, .top_k = 1},
    };
    (void)state;
    worst = 0;
    for (size_t i = 0; i < VKM_COUNT(shapes); i++) {
        const struct test_shape shape = test_shape_complete(&shapes[i]);
        vkmoe_model_params params = {.context = 100 + 700 * (uint32_t)i,
                                     .chunk = 3 + 40 * (uint32_t)i,
                                     .weights = (vkmoe_weights)(i % VKMOE_WEIGHTS_COUNT),
                                     .kv = (vkmoe_kv)(i % VKMOE_KV_COUNT)};
        char *folder = test_folder_make();
        checkpoint_write(&shape, folder);
        expect_as_planned(device, folder, &params);
        test_folder_remove(folder);
    }
    print_message("within %.2g %%\n", 100 * worst);
}

static void staged_uploads_take_what_was_planned(void **state)
{
    vkmoe_device *staging = open_with((vkmoe_device_params){.force_staging = true});
    vkmoe_model_params params = {.memory_limit = 26 * MIB};
    (void)state;
    vkmoe_plan plan = plan_for(staging, VKMOE_TEST_MODEL, &params);
    uint64_t staged = 0;
    for (uint32_t i = 0; i < plan.n_heaps; i++)
        staged += plan.heaps[i].staging;
    assert_true(staged >= 32 * MIB);
    expect_as_planned(staging, VKMOE_TEST_MODEL, &params);
    vkmoe_device_close(staging);
}

static void the_reference_takes_what_was_planned(void **state)
{
    vkmoe_device *reference = open_with((vkmoe_device_params){.selector = "reference"});
    (void)state;
    expect_as_planned(reference, VKMOE_TEST_MODEL, &(vkmoe_model_params){.context = 64});
    vkmoe_device_close(reference);
}

/* --- refusals --- */

static void expect_refused(const vkmoe_model_params *params, const char *part)
{
    vkmoe_model *model = NULL;
    vkmoe_error err;
    test_assert_fails(vkmoe_model_load(device, VKMOE_TEST_MODEL, params, &model, &err), &err,
                      VKMOE_OUT_OF_DEVICE_MEMORY, part);
    assert_int_equal(vkm_gpu_memory_used(device->gpu), 0);
}

static void what_does_not_fit_is_refused_with_settings_that_do(void **state)
{
    /* Room for the weights that cannot be moved, and for little more. */
    vkmoe_model_params least = {.context = 64, .chunk = 1, .memory_limit = 1};
    vkmoe_model_params params = {.context = 2048, .chunk = 512};
    (void)state;
    params.memory_limit = plan_for(device, VKMOE_TEST_MODEL, &least).device_bytes + 20 * MIB;
    vkmoe_plan plan = plan_for(device, VKMOE_TEST_MODEL, &params);
    assert_false(plan.fits);
    print_message("%s\n", plan.reason);
    expect_refused(&params, plan.reason);
    expect_refused(&params, "force tries anyway");
    const vkmoe_remedies *r = &plan.remedies;
    assert_true(r->context > 0 && r->chunk > 0 && r->memory_limit > 0);
    assert_false(r->together);
    char part[256];
    snprintf(part, sizeof(part),
             "; it would fit with a context of %u instead of 2048 or a chunk of %u instead of 512",
             r->context, r->chunk);
    expect_refused(&params, part);
    snprintf(part, sizeof(part), " or a memory limit of %llu bytes",
             (unsigned long long)r->memory_limit);
    expect_refused(&params, part);

    vkmoe_model_params smaller = params, shorter = params, larger = params;
    smaller.context = r->context;
    shorter.chunk = r->chunk;
    larger.memory_limit = r->memory_limit;
    struct loaded l = load(device, VKMOE_TEST_MODEL, &smaller);
    unload(&l);
    l = load(device, VKMOE_TEST_MODEL, &shorter);
    unload(&l);
    l = load(device, VKMOE_TEST_MODEL, &larger);
    unload(&l);
    smaller.context += 64;
    shorter.chunk *= 2;
    larger.memory_limit -= MIB;
    assert_false(plan_for(device, VKMOE_TEST_MODEL, &smaller).fits);
    assert_false(plan_for(device, VKMOE_TEST_MODEL, &shorter).fits);
    assert_false(plan_for(device, VKMOE_TEST_MODEL, &larger).fits);
}

/* With room for all but half of a megabyte of what cannot be moved. */
static void smaller_weights_are_offered_where_they_are_enough(void **state)
{
    (void)state;
    vkmoe_model_params params = {.context = 64, .chunk = 1, .memory_limit = 1};
    params.memory_limit = plan_for(device, VKMOE_TEST_MODEL, &params).device_bytes - MIB / 2;
    vkmoe_plan plan = plan_for(device, VKMOE_TEST_MODEL, &params);
    assert_false(plan.fits);
    assert_int_equal(plan.remedies.weights, VKMOE_WEIGHTS_Q8);
    expect_refused(&params, " weights quantised to 8 bits");
    params.weights = plan.remedies.weights;
    struct loaded l = load(device, VKMOE_TEST_MODEL, &params);
    unload(&l);
    params.memory_limit = 1;
    assert_int_equal(plan_for(device, VKMOE_TEST_MODEL, &params).remedies.weights,
                     VKMOE_WEIGHTS_STORED);
}

static void a_named_model_that_is_too_large_is_no_failure_of_the_plan(void **state)
{
    (void)state;
    vkmoe_plan plan = plan_for(device, "deepseek-moe-145b", NULL);
    assert_int_equal(plan.n_experts, 61 * 128);
    uint64_t weights = 0;
    for (uint32_t i = 0; i < plan.n_heaps; i++)
        weights += plan.heaps[i].weights;
    assert_in_range(weights, 289000000000, 290000000000);
    assert_false(plan.fits);
}

static void a_folder_without_weights_is_planned_as_its_configuration(void **state)
{
    char *folder = test_folder_make(), path[4096];
    (void)state;
    snprintf(path, sizeof(path), "%s/config.json", folder);
    assert_int_equal(symlink(VKMOE_TEST_MODEL "/config.json", path), 0);
    vkmoe_plan with = plan_for(device, VKMOE_TEST_MODEL, NULL);
    vkmoe_plan without = plan_for(device, folder, NULL), file = plan_for(device, path, NULL);
    for (uint32_t i = 0; i < with.n_heaps; i++) {
        assert_int_equal(without.heaps[i].total, with.heaps[i].total);
        assert_int_equal(file.heaps[i].total, with.heaps[i].total);
    }
    /* An index promises weights. */
    vkmoe_plan plan;
    vkmoe_error err;
    snprintf(path, sizeof(path), "%s/model.safetensors.index.json", folder);
    FILE *index = fopen(path, "w");
    assert_non_null(index);
    fputs("{\"weight_map\": {\"lm_head.weight\": \"gone.safetensors\"}}", index);
    fclose(index);
    test_assert_fails(vkmoe_model_plan(device, folder, NULL, &plan, &err), &err, VKMOE_NOT_FOUND,
                      "gone.safetensors");
    test_folder_remove(folder);
}

static void force_tries_anyway(void **state)
{
    vkmoe_model_params params = {.memory_limit = MIB, .force = true};
    (void)state;
    struct loaded l = load(device, VKMOE_TEST_MODEL, &params);
    unload(&l);
}

static void a_session_beyond_the_plan_is_refused(void **state)
{
    vkmoe_model_params params = {.context = 64, .chunk = 1, .memory_limit = 1};
    vkmoe_model *model;
    vkmoe_session *session = NULL;
    vkmoe_error err;
    (void)state;
    params.memory_limit = plan_for(device, VKMOE_TEST_MODEL, &params).device_bytes;
    assert_ok(vkmoe_model_load(device, VKMOE_TEST_MODEL, &params, &model, &err), &err);
    vkmoe_session_params too_long = {.context = 8192, .chunk = 1},
                         short_enough = {.context = 64, .chunk = 1};
    test_assert_fails(vkmoe_session_create(model, &too_long, &session, &err), &err,
                      VKMOE_OUT_OF_DEVICE_MEMORY, "the model with a session needs");
    assert_ok(vkmoe_session_create(model, &short_enough, &session, &err), &err);
    vkmoe_session_destroy(session);
    vkmoe_model_destroy(model);
}

/* --- experts in host memory --- */

#define PROMPT 70u /* more than a block of the KV cache */
#define TEXT 8u

struct run {
    struct test_trace prompt, next; /* of many rows, and of one */
    int32_t text[TEXT];
    uint32_t n_text, n_host;
};

static bool keep(void *user, int32_t token)
{
    struct run *r = user;
    r->text[r->n_text++] = token;
    return true;
}

static struct run run_with(vkmoe_device *on, const char *folder, uint64_t limit,
                           vkmoe_weights weights)
{
    struct run r = {0};
    vkmoe_error err;
    int32_t tokens[PROMPT];
    vkmoe_model_params params = {
        .context = 320, .memory_limit = limit, .weights = weights, .force = true};
    vkmoe_generate_params generate = {
        .max_tokens = TEXT, .ignore_eos = true, .on_token = keep, .user = &r};
    struct loaded l = load(on, folder, &params);
    const vkmoe_model_info *info = vkmoe_model_get_info(l.model);
    for (uint32_t i = 0; i < PROMPT; i++)
        tokens[i] = (int32_t)((i * 7919u + i * i * 31u + 5u) % info->vocab_size);
    r.n_host = info->n_host_experts;
    r.prompt = test_trace_eval(l.model, l.session, tokens, PROMPT);
    r.next = test_trace_append(l.model, l.session, tokens, 1);
    assert_ok(vkmoe_session_generate(l.session, &generate, NULL, &err), &err);
    unload(&l);
    return r;
}

static void free_run(struct run *r)
{
    test_trace_free(&r->prompt);
    test_trace_free(&r->next);
}

static void expect_same(const struct run *a, const struct run *b)
{
    test_trace_assert_identical(&a->prompt, &b->prompt);
    test_trace_assert_identical(&a->next, &b->next);
    assert_int_equal(a->n_text, TEXT);
    assert_int_equal(b->n_text, TEXT);
    assert_memory_equal(a->text, b->text, sizeof(a->text));
}

/* A limit that moves about half of the experts: memory is taken in blocks, so that few do. */
static uint64_t limit_for_half(vkmoe_device *on, const char *folder, const vkmoe_model_params *like,
                               uint64_t low, uint64_t high)
{
    enum { STEPS = 24 };
    uint64_t best = 0;
    uint32_t off = UINT32_MAX;
    for (uint64_t i = 0; i <= STEPS; i++) {
        vkmoe_model_params params = *like;
        params.memory_limit = low + (high - low) / STEPS * i;
        vkmoe_plan plan = plan_for(on, folder, &params);
        uint32_t twice = 2 * plan.n_host_experts;
        uint32_t away = twice > plan.n_experts ? twice - plan.n_experts : plan.n_experts - twice;
        if (plan.fits && away < off) {
            off = away;
            best = params.memory_limit;
        }
    }
    return best;
}

/* The same bits with none, about half and all of the experts in host memory. */
static void expect_same_bits_anywhere(vkmoe_device *on, const char *folder, vkmoe_weights weights)
{
    vkmoe_model_params params = {.context = 320, .weights = weights};
    vkmoe_plan none = plan_for(on, folder, &params);
    params.memory_limit = 1;
    vkmoe_plan all = plan_for(on, folder, &params);
    assert_int_equal(all.n_host_experts, all.n_experts);
    struct run on_device = run_with(on, folder, 0, weights);
    struct run on_host = run_with(on, folder, params.memory_limit, weights);
    struct run mixed =
        run_with(on, folder,
                 limit_for_half(on, folder, &params, all.device_bytes, none.device_bytes), weights);
    print_message("%u, %u and %u of %u experts in host memory\n", on_device.n_host, mixed.n_host,
                  on_host.n_host, all.n_experts);
    assert_int_equal(on_device.n_host, 0);
    assert_in_range(mixed.n_host, all.n_experts / 4, 3 * all.n_experts / 4);
    assert_int_equal(on_host.n_host, all.n_experts);
    expect_same(&on_device, &mixed);
    expect_same(&on_device, &on_host);
    free_run(&on_device);
    free_run(&mixed);
    free_run(&on_host);
}

static void the_shipped_model_gives_the_same_bits_wherever_experts_lie(void **state)
{
    (void)state;
    expect_same_bits_anywhere(device, VKMOE_TEST_MODEL, VKMOE_WEIGHTS_STORED);
}

static void the_same_through_staging(void **state)
{
    vkmoe_device *staging = open_with((vkmoe_device_params){.force_staging = true});
    (void)state;
    expect_same_bits_anywhere(staging, VKMOE_TEST_MODEL, VKMOE_WEIGHTS_Q8);
    vkmoe_device_close(staging);
}

static void another_shape_gives_the_same_bits_wherever_experts_lie(void **state)
{
    const struct test_shape shape = test_shape_complete(&(struct test_shape){.hidden = 192,
                                                                             .heads = 3,
                                                                             .layers = 3,
                                                                             .first_dense = 1,
                                                                             .experts = 50,
                                                                             .top_k = 5,
                                                                             .expert_width = 150,
                                                                             .storage = STORE_F32});
    char *folder = test_folder_make();
    (void)state;
    checkpoint_write(&shape, folder);
    expect_same_bits_anywhere(device, folder, VKMOE_WEIGHTS_STORED);
    expect_same_bits_anywhere(device, folder, VKMOE_WEIGHTS_Q4);
    test_folder_remove(folder);
}

/* --- what earlier runs chose --- */

#define TRIO_EXPERTS 96u

static int rising(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Bytes that a token reads of the n experts that the prompts of `r` chose least. */
static double least_chosen_bytes(const struct run *r, uint32_t n)
{
    double counts[TRIO_EXPERTS] = {0}, chosen = 0;
    const struct test_trace *traces[] = {&r->prompt, &r->next};
    for (int t = 0; t < 2; t++)
        for (uint32_t i = 0; i < traces[t]->n_layers * traces[t]->count * traces[t]->k; i++)
            counts[i / (traces[t]->count * traces[t]->k) * 32 + (uint32_t)traces[t]->ids[i]]++;
    qsort(counts, TRIO_EXPERTS, sizeof(counts[0]), rising);
    for (uint32_t i = 0; i < n; i++)
        chosen += counts[i];
    return chosen / (r->prompt.count + r->next.count) * 3 * 64 * 256 * 2;
}

/* The only file of that kind in the folder. */
static void usage_path(const char *folder, char path[4096])
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.usage", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, 4096, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void experts_chosen_least_go_to_the_host_in_the_next_run(void **state)
{
    char *cache = test_folder_make(), path[4096];
    vkmoe_device *caching = open_with((vkmoe_device_params){.cache_dir = cache});
    vkmoe_model_params params = {.context = 320, .memory_limit = 1};
    uint64_t least = plan_for(caching, VKMOE_TEST_MODEL, &params).device_bytes;
    (void)state;
    params.memory_limit = limit_for_half(caching, VKMOE_TEST_MODEL, &params, least, 2 * least);
    vkmoe_plan by_layer = plan_for(caching, VKMOE_TEST_MODEL, &params);
    struct run first =
        run_with(caching, VKMOE_TEST_MODEL, params.memory_limit, VKMOE_WEIGHTS_STORED);
    vkmoe_plan by_use = plan_for(caching, VKMOE_TEST_MODEL, &params);
    double expected = least_chosen_bytes(&first, by_use.n_host_experts);
    print_message("%u experts on the host: %.0f bytes a token by layer, %.0f by use\n",
                  by_use.n_host_experts, by_layer.host_bytes_per_token,
                  by_use.host_bytes_per_token);
    assert_true(fabs(by_use.host_bytes_per_token / expected - 1) < 1e-9);
    assert_true(expected < 0.9 * by_use.n_host_experts * 3 * 64 * 256 * 2 * 6 / 32);
    struct run second =
        run_with(caching, VKMOE_TEST_MODEL, params.memory_limit, VKMOE_WEIGHTS_STORED);
    expect_same(&first, &second);

    /* A damaged file is as good as none. */
    int warnings = device_log.warnings;
    usage_path(cache, path);
    assert_int_equal(truncate(path, 100), 0);
    vkmoe_plan again = plan_for(caching, VKMOE_TEST_MODEL, &params);
    assert_true(again.host_bytes_per_token == by_layer.host_bytes_per_token);
    assert_int_equal(device_log.warnings, warnings + 1);
    free_run(&first);
    free_run(&second);
    vkmoe_device_close(caching);
    test_folder_remove(cache);
}

static void the_cost_of_reading_from_the_host_is_told(void **state)
{
    vkmoe_model_params params = {.context = 320, .memory_limit = 1, .force = true};
    vkmoe_plan plan = plan_for(device, VKMOE_TEST_MODEL, &params);
    vkmoe_model_params none = {.context = 320};
    (void)state;
    struct loaded l = load(device, VKMOE_TEST_MODEL, &params);
    vkmoe_host_cost c = *vkmoe_model_get_host_cost(l.model);
    unload(&l);
    /* 6 of 32 experts in each of 3 layers, all in host memory. */
    assert_true(fabs(c.host_bytes_per_token / (3.0 * 6 * 3 * 64 * 256 * 2) - 1) < 1e-9);
    assert_true(c.host_bytes_per_token == plan.host_bytes_per_token);
    assert_true(c.device_bytes_per_token == plan.device_bytes_per_token);
    assert_true(c.host_bandwidth > 1e6 && c.host_bandwidth < 1e13);
    assert_true(c.device_bandwidth > 1e6 && c.device_bandwidth < 1e13);
    assert_true(c.host_seconds_per_token == c.host_bytes_per_token / c.host_bandwidth);
    double seconds = c.host_seconds_per_token + c.device_bytes_per_token / c.device_bandwidth;
    assert_true(fabs(c.tokens_per_second * seconds - 1) < 1e-12);
    l = load(device, VKMOE_TEST_MODEL, &none);
    c = *vkmoe_model_get_host_cost(l.model);
    assert_true(c.host_bytes_per_token == 0 && c.tokens_per_second == 0);
    unload(&l);
}

/* Every address that a shader touches lies in the buffers of its experts. One token at a time: the
 * checking shaders are many, and slow to compile. */
static void checked_addresses_find_the_experts_in_host_memory(void **state)
{
    vkmoe_device *checking = open_with((vkmoe_device_params){.check_addresses = true});
    vkmoe_model_params params = {.context = 64, .chunk = 1, .prompt_tokens = 1, .memory_limit = 1};
    int32_t token = 887;
    vkmoe_error err;
    (void)state;
    uint64_t least = plan_for(checking, VKMOE_TEST_MODEL, &params).device_bytes;
    params.memory_limit = limit_for_half(checking, VKMOE_TEST_MODEL, &params, least, 2 * least);
    struct loaded l = load(checking, VKMOE_TEST_MODEL, &params);
    assert_in_range(vkmoe_model_get_info(l.model)->n_host_experts, 1, 95);
    for (int i = 0; i < 3; i++)
        assert_ok(vkmoe_session_eval(l.session, &token, 1, NULL, &err), &err);
    unload(&l);
    vkmoe_device_close(checking);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_takes_no_more_device_memory_than_was_planned),
        cmocka_unit_test(the_shipped_model_takes_what_was_planned),
        cmocka_unit_test(random_shapes_take_what_was_planned),
        cmocka_unit_test(staged_uploads_take_what_was_planned),
        cmocka_unit_test(the_reference_takes_what_was_planned),
        cmocka_unit_test(what_does_not_fit_is_refused_with_settings_that_do),
        cmocka_unit_test(smaller_weights_are_offered_where_they_are_enough),
        cmocka_unit_test(a_named_model_that_is_too_large_is_no_failure_of_the_plan),
        cmocka_unit_test(a_folder_without_weights_is_planned_as_its_configuration),
        cmocka_unit_test(force_tries_anyway),
        cmocka_unit_test(a_session_beyond_the_plan_is_refused),
        cmocka_unit_test(the_shipped_model_gives_the_same_bits_wherever_experts_lie),
        cmocka_unit_test(the_same_through_staging),
        cmocka_unit_test(another_shape_gives_the_same_bits_wherever_experts_lie),
        cmocka_unit_test(experts_chosen_least_go_to_the_host_in_the_next_run),
        cmocka_unit_test(the_cost_of_reading_from_the_host_is_told),
        cmocka_unit_test(checked_addresses_find_the_experts_in_host_memory),
    };
    return cmocka_run_group_tests_name("residency", tests, open_device, close_device);
}
