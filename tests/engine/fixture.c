#include "fixture.h"

#include <string.h>

void engine_open(struct engine *e, const struct test_shape *shape)
{
    vkmoe_error err;
    vkmoe_device_params params = {.log = &e->log.log, .validation = true};
    *e = (struct engine){0};
    test_log_init(&e->log);
    if (shape) {
        struct test_shape complete = test_shape_complete(shape);
        e->folder = test_folder_make();
        checkpoint_write(&complete, e->folder);
    }
    assert_ok(vkmoe_device_open(&params, &e->device, &err), &err);
    assert_ok(vkmoe_model_load(e->device, e->folder ? e->folder : VKMOE_TEST_MODEL, NULL, &e->model,
                               &err),
              &err);
}

void engine_close(struct engine *e)
{
    vkmoe_model_destroy(e->model);
    vkmoe_device_close(e->device);
    if (e->folder)
        test_folder_remove(e->folder);
    assert_int_equal(e->log.errors, 0);
}

vkmoe_session *engine_session(const struct engine *e, const vkmoe_session_params *params)
{
    vkmoe_error err;
    vkmoe_session *s = NULL;
    assert_ok(vkmoe_session_create(e->model, params, &s, &err), &err);
    return s;
}

void engine_tokens(const struct engine *e, uint64_t seed, int32_t *tokens, size_t count)
{
    uint32_t vocab = vkmoe_model_get_info(e->model)->vocab_size;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (int32_t)((seed >> 33) % vocab);
    }
}

static bool keep(void *user, int32_t token)
{
    struct engine_text *text = user;
    assert_true(text->count < sizeof(text->ids) / sizeof(text->ids[0]));
    text->ids[text->count++] = token;
    return true;
}

struct engine_text engine_generate(vkmoe_session *s, const vkmoe_sampling *sampling, size_t count)
{
    vkmoe_error err;
    struct engine_text text = {.count = 0};
    vkmoe_generate_params params = {
        .max_tokens = count, .ignore_eos = true, .on_token = keep, .user = &text};
    if (sampling)
        params.sampling = *sampling;
    assert_ok(vkmoe_session_generate(s, &params, NULL, &err), &err);
    assert_int_equal(text.count, count);
    return text;
}

void assert_same_text(const struct engine_text *a, const struct engine_text *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, a->count * sizeof(a->ids[0]));
}
