#include "perplexity_state.h"

#include <inttypes.h>
#include <stdio.h>

#include "kept.h"

void perplexity_state_identify(struct perplexity_state *s, const char *model, const int32_t *ids,
                               size_t count)
{
    uint64_t hash = kept_hash(KEPT_HASH_INIT, ids, count * sizeof(*ids));
    snprintf(s->text, sizeof(s->text), "%016" PRIx64, hash);
    s->model = model;
}

/* Counts are whole numbers, sums may have any value that was written. */
#define COUNTS(X) X(tokens) X(next) X(windows) X(scored) X(bytes)
#define SUMS(X)                                                                                    \
    X(sum)                                                                                         \
    X(sum_squares)                                                                                 \
    X(sum_products) X(count_squares) X(nll) X(standard_error) X(perplexity) X(bits_per_byte)

static bool take_result(struct perplexity_state *s, const char *path, const json_t *root)
{
    const char *bad = NULL;
    const json_t *value;
#define TAKE_COUNT(name)                                                                           \
    value = json_object_get(root, #name);                                                          \
    if (!json_is_integer(value) || json_integer_value(value) < 0)                                  \
        bad = #name;                                                                               \
    s->result.name = (uint64_t)json_integer_value(value);
#define TAKE_SUM(name)                                                                             \
    value = json_object_get(root, #name);                                                          \
    if (!json_is_real(value))                                                                      \
        bad = #name;                                                                               \
    s->result.name = json_real_value(value);
    COUNTS(TAKE_COUNT)
    SUMS(TAKE_SUM)
#undef TAKE_COUNT
#undef TAKE_SUM
    if (bad)
        cli_fail("%s: '%s' is missing or no number, expected a measurement kept by --resume", path,
                 bad);
    return !bad;
}

bool perplexity_state_read(struct perplexity_state *s, const char *path, bool *found)
{
    json_t *root;
    *found = false;
    if (!kept_read(path, &root))
        return false;
    if (!root)
        return true;
    bool good = kept_same(path, root, "model", s->model) &&
                kept_same(path, root, "text", s->text) &&
                kept_same_number(path, root, "context", s->context) &&
                kept_same_number(path, root, "stride", s->stride) &&
                kept_same(path, root, "routing", s->routing) &&
                kept_same_number(path, root, "bos", s->bos) &&
                kept_same(path, root, "weights", s->weights) &&
                kept_same(path, root, "kv", s->kv) && take_result(s, path, root);
    json_decref(root);
    *found = good;
    return good;
}

int perplexity_state_write(const struct perplexity_state *s, const char *path)
{
    json_t *root =
        json_pack("{s:o, s:s, s:i, s:i, s:s, s:i, s:s, s:s}", "model", cli_json_text(s->model),
                  "text", s->text, "context", (int)s->context, "stride", (int)s->stride, "routing",
                  s->routing, "bos", (int)s->bos, "weights", s->weights, "kv", s->kv);
    int failed = !root;
#define SET_COUNT(name)                                                                            \
    failed |= json_object_set_new(root, #name, json_integer((json_int_t)s->result.name));
#define SET_SUM(name) failed |= json_object_set_new(root, #name, json_real(s->result.name));
    COUNTS(SET_COUNT)
    SUMS(SET_SUM)
#undef SET_COUNT
#undef SET_SUM
    int code = kept_write(path, failed ? NULL : root);
    json_decref(root);
    return code;
}
