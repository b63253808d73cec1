/* --router-table: the experts of each token, from a file. */
#include <stdlib.h>

#include "cli.h"
#include "kept.h"

/* What the file has to be like. */
struct form {
    const char *file;
    uint32_t vocabulary, experts; /* of the model */
    uint32_t k;                   /* experts of each token, as token 0 has them */
};

static int take_token(const struct form *f, const json_t *row, size_t token, uint32_t *ids)
{
    if (!json_is_array(row) || json_array_size(row) != f->k)
        return cli_fail("%s: token %zu has %zu experts in an array, expected %u, as token 0 has",
                        f->file, token, json_array_size(row), f->k);
    for (size_t i = 0; i < f->k; i++) {
        const json_t *id = json_array_get(row, i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id))
            return cli_fail("%s: an expert of token %zu is no whole number, expected 0 to %u",
                            f->file, token, f->experts - 1);
        if (value < 0 || value >= f->experts)
            return cli_fail("%s: token %zu has expert %" JSON_INTEGER_FORMAT
                            ", expected 0 to %u, which the model has",
                            f->file, token, value, f->experts - 1);
        for (size_t j = 0; j < i; j++)
            if (ids[j] == (uint32_t)value)
                return cli_fail("%s: token %zu has expert %u twice, expected %u different ones",
                                f->file, token, ids[j], f->k);
        ids[i] = (uint32_t)value;
    }
    return EXIT_DONE;
}

static int check_form(struct form *f, const json_t *root)
{
    if (!json_is_array(root))
        return cli_fail("%s is no JSON array, expected one of the experts of every token, such as "
                        "[[0, 7], [3, 1], ...]",
                        f->file);
    if (f->experts == 0)
        return cli_fail("%s: the model has no routed experts that a table could name", f->file);
    if (json_array_size(root) != f->vocabulary)
        return cli_fail("%s has %zu tokens, expected the %u of the model's vocabulary", f->file,
                        json_array_size(root), f->vocabulary);
    size_t k = json_array_size(json_array_get(root, 0));
    if (k < 1 || k > f->experts)
        return cli_fail("%s: token 0 has %zu experts in an array, expected 1 to %u", f->file, k,
                        f->experts);
    f->k = (uint32_t)k;
    return EXIT_DONE;
}

static int take_table(struct form *f, const json_t *root, uint32_t **table)
{
    int code = check_form(f, root);
    if (code != EXIT_DONE)
        return code;
    uint32_t *ids = malloc((size_t)f->vocabulary * f->k * sizeof(*ids));
    if (!ids)
        return cli_fail("host memory ran out for the %u tokens of %s", f->vocabulary, f->file);
    for (size_t t = 0; t < f->vocabulary && code == EXIT_DONE; t++)
        code = take_token(f, json_array_get(root, t), t, ids + t * f->k);
    if (code == EXIT_DONE)
        *table = ids;
    else
        free(ids);
    return code;
}

static int read_table(struct form *f, uint32_t **table)
{
    char *text;
    size_t size;
    json_error_t error;
    if (!cli_read_all(f->file, &text, &size))
        return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    json_t *root = json_loadb(text, size, 0, &error);
    free(text);
    if (!root)
        return cli_fail("%s, line %d: %s", f->file, error.line, error.text);
    int code = take_table(f, root, table);
    json_decref(root);
    return code;
}

int cli_router_table(struct cli_common *common, const char *model, uint32_t **table)
{
    vkmoe_routing *routing = &common->routing;
    struct form form = {.file = common->router_table};
    vkmoe_description d;
    vkmoe_error err;
    *table = NULL;
    if (!form.file)
        return EXIT_DONE;
    if (routing->router != VKMOE_ROUTER_MODEL && routing->router != VKMOE_ROUTER_HASH)
        return cli_usage("--router-table goes with --router hash, not %s",
                         cli_router_name(routing->router));
    if (vkmoe_model_describe(model, &d, &err) != VKMOE_OK)
        return cli_failed(&err);
    form.vocabulary = d.vocab_size;
    form.experts = d.n_routed_experts;
    int code = read_table(&form, table);
    if (code != EXIT_DONE)
        return code;
    if (routing->experts_per_token > 0 && routing->experts_per_token != form.k) {
        free(*table);
        *table = NULL;
        return cli_fail("%s has %u experts for each token, and --experts wants %u", form.file,
                        form.k, routing->experts_per_token);
    }
    routing->router = VKMOE_ROUTER_HASH;
    routing->experts_per_token = form.k;
    routing->table = *table;
    common->table_hash =
        kept_hash(KEPT_HASH_INIT, *table, (size_t)form.vocabulary * form.k * sizeof(**table));
    return EXIT_DONE;
}
