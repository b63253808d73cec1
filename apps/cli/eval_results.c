#include "eval_results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key, *accuracy_key, *text;
} rules[VKMOE_CHOICE_RULE_COUNT] = {
    [VKMOE_CHOICE_SUM] = {"sum", "acc", "log-likelihood"},
    [VKMOE_CHOICE_PER_TOKEN] = {"per_token", "acc_per_token", "per token"},
    [VKMOE_CHOICE_PER_BYTE] = {"per_byte", "acc_per_byte", "per byte"},
};

bool eval_results_init(struct eval_results *r)
{
    *r = (struct eval_results){.items = json_array()};
    return r->items != NULL;
}

void eval_results_finish(struct eval_results *r)
{
    json_decref(r->items);
    *r = (struct eval_results){0};
}

/* --- items --- */

static size_t n_choices(const json_t *item)
{
    return json_array_size(json_object_get(item, "log_likelihood"));
}

/* False for what is no score. */
static bool score_of(const json_t *item, size_t i, vkmoe_choice_score *score)
{
    const json_t *sum = json_array_get(json_object_get(item, "log_likelihood"), i);
    const json_t *tokens = json_array_get(json_object_get(item, "tokens"), i);
    const json_t *bytes = json_array_get(json_object_get(item, "bytes"), i);
    if (!json_is_number(sum) || json_integer_value(tokens) < 1 || json_integer_value(bytes) < 1)
        return false;
    *score = (vkmoe_choice_score){.log_likelihood = json_number_value(sum),
                                  .tokens = (uint64_t)json_integer_value(tokens),
                                  .bytes = (uint64_t)json_integer_value(bytes)};
    return true;
}

static json_t *pick(struct eval_results *r, const vkmoe_choice_score *scores, size_t n,
                    json_int_t answer)
{
    json_t *picked = json_object();
    for (int i = 0; i < VKMOE_CHOICE_RULE_COUNT; i++) {
        uint32_t best = vkmoe_choices_pick(scores, (uint32_t)n, (vkmoe_choice_rule)i);
        r->correct[i] += best == answer;
        json_object_set_new(picked, rules[i].key, json_integer(best));
    }
    return picked;
}

bool eval_results_add(struct eval_results *r, json_t *item)
{
    size_t n = n_choices(item);
    const json_t *answer = json_object_get(item, "answer");
    vkmoe_choice_score *scores = calloc(n + 1, sizeof(*scores));
    bool good = scores && n >= 2 && n <= UINT32_MAX && json_is_integer(answer) &&
                json_is_integer(json_object_get(item, "line"));
    for (size_t i = 0; i < n && good; i++)
        good = score_of(item, i, &scores[i]);
    if (good) {
        json_object_set_new(item, "picked", pick(r, scores, n, json_integer_value(answer)));
        r->chance += 1 / (double)n;
        r->count++;
        good = json_array_append(r->items, item) == 0;
    }
    json_decref(item);
    free(scores);
    return good;
}

/* --- telling --- */

void eval_results_print(const struct eval_results *r, const struct eval_title *title)
{
    printf("%llu of %zu items of %s, by chance %.1f %%\n"
           "compared by      correct  accuracy  95 %% interval\n",
           (unsigned long long)r->count, title->n_items, title->task,
           100 * r->chance / (double)r->count);
    for (int i = 0; i < VKMOE_CHOICE_RULE_COUNT; i++) {
        vkmoe_accuracy a = vkmoe_accuracy_of(r->correct[i], r->count);
        printf("%-15s %8llu %7.1f %%  %.1f to %.1f %%\n", rules[i].text,
               (unsigned long long)r->correct[i], 100 * a.mean, 100 * a.low, 100 * a.high);
    }
}

static int write_text(const char *path, const char *text)
{
    if (strcmp(path, "-") != 0)
        return cli_write_file(path, text, strlen(text));
    fputs(text, stdout); /* whether it arrives is seen at the end */
    return EXIT_DONE;
}

int eval_results_write_json(const struct eval_results *r, const struct eval_title *title,
                            const char *path)
{
    json_t *root = json_pack("{s:o, s:o, s:I, s:I, s:f}", "model", cli_json_text(title->model),
                             "task", cli_json_text(title->task), "items", (json_int_t)r->count,
                             "of", (json_int_t)title->n_items, "chance",
                             r->count > 0 ? r->chance / (double)r->count : 0.0);
    for (int i = 0; i < VKMOE_CHOICE_RULE_COUNT; i++) {
        vkmoe_accuracy a = vkmoe_accuracy_of(r->correct[i], r->count);
        json_object_set_new(root, rules[i].accuracy_key,
                            json_pack("{s:I, s:f, s:[f, f]}", "correct", (json_int_t)r->correct[i],
                                      "mean", a.mean, "interval_95", a.low, a.high));
    }
    json_object_set(root, "results", r->items);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    int code =
        text ? write_text(path, text) : cli_fail("--json: the results cannot be put as JSON");
    if (text && strcmp(path, "-") == 0)
        putchar('\n');
    free(text);
    json_decref(root);
    return code;
}

/* A field, quoted where it must be. */
static void print_field(FILE *to, const char *text)
{
    bool quoted = strpbrk(text, ",\"\r\n") != NULL;
    if (quoted)
        fputc('"', to);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', to);
        fputc(*text, to);
    }
    if (quoted)
        fputc('"', to);
}

static void print_item(FILE *to, const json_t *item)
{
    const json_t *id = json_object_get(item, "id");
    char *other = id && !json_is_string(id) ? json_dumps(id, JSON_ENCODE_ANY) : NULL;
    json_int_t answer = json_integer_value(json_object_get(item, "answer"));
    for (size_t i = 0; i < n_choices(item); i++) {
        vkmoe_choice_score s = {0};
        (void)score_of(item, i, &s); /* it was added with it */
        fprintf(to, "%" JSON_INTEGER_FORMAT ",", json_integer_value(json_object_get(item, "line")));
        print_field(to, json_is_string(id) ? json_string_value(id) : other ? other : "");
        fprintf(to, ",%zu,%d,%llu,%llu,%.15g\n", i, (json_int_t)i == answer,
                (unsigned long long)s.tokens, (unsigned long long)s.bytes, s.log_likelihood);
    }
    free(other);
}

int eval_results_write_csv(const struct eval_results *r, const char *path)
{
    char *text = NULL;
    size_t size, i;
    const json_t *item;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return cli_fail("--csv: host memory ran out for the results");
    fputs("line,id,choice,is_answer,tokens,bytes,log_likelihood\n", to);
    json_array_foreach(r->items, i, item) print_item(to, item);
    bool good = !ferror(to);
    good = fclose(to) == 0 && good;
    int code =
        good ? write_text(path, text) : cli_fail("--csv: host memory ran out for the results");
    free(text);
    return code;
}
