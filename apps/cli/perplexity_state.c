#include "perplexity_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

void perplexity_state_identify(struct perplexity_state *s, const char *model, const int32_t *ids,
                               size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    const unsigned char *bytes = (const unsigned char *)ids;
    for (size_t i = 0; i < count * sizeof(*ids); i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    snprintf(s->text, sizeof(s->text), "%016" PRIx64, hash);
    s->model = model;
}

/* Counts are whole numbers, sums may have any value that was written. */
#define COUNTS(X) X(tokens) X(next) X(windows) X(scored) X(bytes)
#define SUMS(X)                                                                                    \
    X(sum)                                                                                         \
    X(sum_squares)                                                                                 \
    X(sum_products) X(count_squares) X(nll) X(standard_error) X(perplexity) X(bits_per_byte)

static bool same(const char *path, const json_t *root, const char *key, const char *wanted)
{
    const char *value = json_string_value(json_object_get(root, key));
    if (value && strcmp(value, wanted) == 0)
        return true;
    cli_fail("%s: '%s' is %.200s, expected %.200s: it belongs to another measurement", path, key,
             value ? value : "not there", wanted);
    return false;
}

static bool same_number(const char *path, const json_t *root, const char *key, json_int_t wanted)
{
    const json_t *value = json_object_get(root, key);
    if (json_is_integer(value) && json_integer_value(value) == wanted)
        return true;
    cli_fail("%s: '%s' is not %" JSON_INTEGER_FORMAT ": it belongs to another measurement", path,
             key, wanted);
    return false;
}

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
    char *text;
    size_t size;
    json_error_t error;
    *found = false;
    if (access(path, F_OK) != 0)
        return true;
    if (!cli_read_all(path, &text, &size))
        return false;
    json_t *root = json_loadb(text, size, 0, &error);
    free(text);
    if (!root) {
        cli_fail("%s: not JSON (%s), expected a measurement kept by --resume", path, error.text);
        return false;
    }
    bool good = same(path, root, "model", s->model) && same(path, root, "text", s->text) &&
                same_number(path, root, "context", s->context) &&
                same_number(path, root, "stride", s->stride) &&
                same(path, root, "routing", s->routing) && same_number(path, root, "bos", s->bos) &&
                same(path, root, "weights", s->weights) && same(path, root, "kv", s->kv) &&
                take_result(s, path, root);
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
    char *text = failed ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    int code = text ? cli_write_file(path, text, strlen(text))
                    : cli_fail("--resume: the measurement cannot be put as JSON for %s", path);
    free(text);
    json_decref(root);
    return code;
}
