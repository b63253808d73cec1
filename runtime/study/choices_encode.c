/* Multiple choice: from texts to tokens. */
#include <string.h>

#include "engine/engine.h"
#include "text/tokenizer.h"
#include "vkmoe/eval.h"

void vkmoe_choices_free(const vkmoe_tokenizer *tokenizer, vkmoe_choices *choices)
{
    if (!choices)
        return;
    for (uint32_t i = 0; i < choices->count && choices->tokens; i++)
        vkmoe_tokenizer_free(tokenizer, choices->tokens[i]);
    vkmoe_tokenizer_free(tokenizer, choices->tokens);
    vkmoe_tokenizer_free(tokenizer, choices->n_tokens);
    vkmoe_tokenizer_free(tokenizer, choices->n_bytes);
    *choices = (vkmoe_choices){0};
}

static vkmoe_status allocate(const vkmoe_tokenizer *t, uint32_t count, vkmoe_choices *out,
                             vkmoe_error *err)
{
    *out = (vkmoe_choices){.count = count};
    out->tokens = vkm_calloc(t->allocator, count, sizeof(*out->tokens));
    out->n_tokens = vkm_calloc(t->allocator, count, sizeof(*out->n_tokens));
    out->n_bytes = vkm_calloc(t->allocator, count, sizeof(*out->n_bytes));
    if (out->tokens && out->n_tokens && out->n_bytes)
        return VKMOE_OK;
    return vkm_fail_memory(err, count * sizeof(*out->tokens), "choices");
}

static vkmoe_status encode_both(const vkmoe_tokenizer *t, vkmoe_text context, vkmoe_text choice,
                                int32_t **ids, size_t *count, vkmoe_error *err)
{
    size_t size = context.size + choice.size;
    char *both = vkm_malloc(t->allocator, size, 1);
    if (!both)
        return vkm_fail_memory(err, size, "a context with its choice");
    if (context.size > 0)
        memcpy(both, context.bytes, context.size);
    if (choice.size > 0)
        memcpy(both + context.size, choice.bytes, choice.size);
    vkmoe_status status = vkmoe_tokenizer_encode(t, both, size, true, ids, count, err);
    vkm_free(t->allocator, both);
    return status;
}

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n])
        n++;
    return n;
}

static vkmoe_status encode_all(const vkmoe_tokenizer *t, vkmoe_text context,
                               const vkmoe_text *choices, vkmoe_choices *out, vkmoe_error *err)
{
    int32_t *ids = NULL;
    vkmoe_status status = encode_both(t, context, (vkmoe_text){0}, &ids, &out->shared, err);
    for (uint32_t i = 0; i < out->count && status == VKMOE_OK; i++) {
        out->n_bytes[i] = choices[i].size;
        status = encode_both(t, context, choices[i], &out->tokens[i], &out->n_tokens[i], err);
        if (status == VKMOE_OK)
            out->shared = common(ids, out->shared, out->tokens[i], out->n_tokens[i]);
    }
    vkmoe_tokenizer_free(t, ids);
    return status;
}

static vkmoe_status check(const vkmoe_choices *c, vkmoe_error *err)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->n_bytes[i] == 0 || c->n_tokens[i] <= c->shared)
            return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "choice %u has no tokens of its own", i);
    if (c->shared == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "nothing comes before the choices: the context has no token that all of "
                        "them begin with, and the tokenizer puts no BOS before it");
    return VKMOE_OK;
}

vkmoe_status vkmoe_choices_encode(const vkmoe_tokenizer *tokenizer, vkmoe_text context,
                                  const vkmoe_text *choices, uint32_t count, vkmoe_choices *out,
                                  vkmoe_error *err)
{
    VKM_REQUIRE(tokenizer && out && (choices || count == 0), err);
    VKM_REQUIRE(context.bytes || context.size == 0, err);
    for (uint32_t i = 0; i < count; i++)
        VKM_REQUIRE(choices[i].bytes || choices[i].size == 0, err);
    if (count < 2)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%u choices, expected at least 2", count);
    vkmoe_status status = allocate(tokenizer, count, out, err);
    if (status == VKMOE_OK)
        status = encode_all(tokenizer, context, choices, out, err);
    if (status == VKMOE_OK)
        status = check(out, err);
    if (status != VKMOE_OK)
        vkmoe_choices_free(tokenizer, out);
    return status;
}
