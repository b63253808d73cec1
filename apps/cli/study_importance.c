/* vkmoe study importance: what a text loses with each expert. */
#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "heat_map.h"
#include "interval.h"

struct importance {
    const struct study_options *options;
    const struct cli_text *text;
    uint32_t layers, experts;
    struct cli_text_progress progress;
    uint8_t *states, *only;
    vkmoe_importance result;
    uint32_t *order; /* of those measured, the most harmful loss first */
    size_t count;
};

static bool on_window(void *user, uint64_t done, uint64_t total)
{
    struct importance *m = user;
    cli_text_show(&m->progress, "importance", done, total, "windows");
    return !cli_interrupted();
}

static bool allocate(struct importance *m)
{
    size_t n = (size_t)m->layers * m->experts + 1;
    m->result.harm = calloc(n, sizeof(double));
    m->result.standard_error = calloc(n, sizeof(double));
    m->result.chosen = calloc(n, sizeof(*m->result.chosen));
    m->order = calloc(n, sizeof(*m->order));
    m->only = m->options->only ? calloc(n, 1) : NULL;
    return m->result.harm && m->result.standard_error && m->result.chosen && m->order &&
           (m->only || !m->options->only);
}

static void release(struct importance *m)
{
    free(m->result.harm);
    free(m->result.standard_error);
    free(m->result.chosen);
    free(m->order);
    free(m->only);
    free(m->states);
}

/* Straight insertion: a run takes far longer than thousands of experts to sort. */
static void sort(struct importance *m)
{
    for (uint32_t i = 0; i < m->layers * m->experts; i++) {
        double harm = m->result.harm[i];
        size_t at = m->count;
        if (isnan(harm))
            continue;
        for (; at > 0 && m->result.harm[m->order[at - 1]] < harm; at--)
            m->order[at] = m->order[at - 1];
        m->order[at] = i;
        m->count++;
    }
}

/* --- results --- */

static double half_interval(const struct importance *m, size_t expert)
{
    return cli_half_interval(m->result.standard_error[expert], m->result.runs);
}

static void print_text(const struct importance *m)
{
    const vkmoe_importance *r = &m->result;
    printf("%llu tokens, nll %.4f with all experts; what it rises by without one:\n"
           "layer  expert   chosen     more      +-\n",
           (unsigned long long)r->scored, r->nll);
    for (size_t i = 0; i < m->count; i++) {
        uint32_t at = m->order[i];
        printf("%5u %7u %8llu %8.5f %s\n", at / m->experts, at % m->experts,
               (unsigned long long)r->chosen[at], r->harm[at],
               cli_figure(half_interval(m, at), 7, 5).text);
    }
}

static void print_csv(const struct importance *m)
{
    const vkmoe_importance *r = &m->result;
    printf("layer,expert,tokens,more,standard_error\n");
    for (size_t i = 0; i < m->count; i++) {
        uint32_t at = m->order[i];
        printf("%u,%u,%llu,%.9g,%s\n", at / m->experts, at % m->experts,
               (unsigned long long)r->chosen[at], r->harm[at],
               cli_csv_error(r->standard_error[at], r->runs).text);
    }
}

static int print_json(const struct importance *m)
{
    const vkmoe_importance *r = &m->result;
    json_t *experts = json_array();
    for (size_t i = 0; i < m->count; i++) {
        uint32_t at = m->order[i];
        json_array_append_new(
            experts, json_pack("{s:i, s:i, s:I, s:f, s:o}", "layer", (int)(at / m->experts),
                               "expert", (int)(at % m->experts), "tokens",
                               (json_int_t)r->chosen[at], "more", r->harm[at], "standard_error",
                               r->runs > 1 ? json_real(r->standard_error[at]) : json_null()));
    }
    return cli_print_json(json_pack("{s:s, s:o, s:I, s:f, s:o}", "study",
                                    study_name(STUDY_IMPORTANCE), "model",
                                    cli_json_text(cli_model_path(&m->options->common)), "tokens",
                                    (json_int_t)r->scored, "nll", r->nll, "experts", experts),
                          "the result");
}

/* A round number that the largest change of either sign stays below. */
static double scale_of(const struct importance *m)
{
    double most = 0;
    for (size_t i = 0; i < m->count; i++)
        most = fmax(most, fabs(m->result.harm[m->order[i]]));
    double unit = pow(10, floor(log10(fmax(most, 1e-6))));
    return most <= unit       ? unit
           : most <= 2 * unit ? 2 * unit
           : most <= 5 * unit ? 5 * unit
                              : 10 * unit;
}

/* What is left empty in a picture: a change that its interval does not tell from none. */
static bool is_unclear(const struct importance *m, size_t expert)
{
    double harm = m->result.harm[expert], half = half_interval(m, expert);
    return isnan(harm) || (harm != 0 && !(fabs(harm) > half)); /* an unknown one tells nothing */
}

static int draw(const struct importance *m)
{
    size_t n = (size_t)m->layers * m->experts;
    double *values = malloc(n * sizeof(*values) + 1);
    char line[1024];
    snprintf(line, sizeof(line),
             "%s, %llu tokens, NLL %.4f; empty: no change beyond its 95 %% interval", m->text->file,
             (unsigned long long)m->result.scored, m->result.nll);
    for (size_t i = 0; values && i < n; i++)
        values[i] = is_unclear(m, i) ? (double)NAN : m->result.harm[i];
    json_t *subtitle = cli_json_text(line);
    const struct heat_map map = {
        .title = "What a text loses with each expert",
        .subtitle = json_string_value(subtitle),
        .layers = m->layers,
        .experts = m->experts,
        .panels = 1,
        .values = values,
        .most = scale_of(m),
        .legend = "rise of the NLL without the expert, nats per token",
    };
    int code = values && subtitle ? heat_map_draw(&map, m->options->map)
                                  : cli_fail("--map: host memory ran out for the picture");
    json_decref(subtitle);
    free(values);
    return code;
}

/* --- running --- */

static int measure(struct importance *m, const struct cli_engine *e)
{
    const struct cli_common *common = &m->options->common;
    const vkmoe_study_params params = {.context = common->context,
                                       .chunk = common->chunk,
                                       .routing = common->routing,
                                       .kv = common->kv,
                                       .experts = m->states,
                                       .bos = m->text->bos,
                                       .bos_token = m->text->bos_token,
                                       .on_session = cli_text_cancel,
                                       .progress = on_window,
                                       .user = m};
    vkmoe_error err;
    vkmoe_status status =
        vkmoe_importance_run(e->model, m->text->ids, study_tokens(m->options, m->text), m->only,
                             &params, &m->result, &err);
    cli_end_progress();
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    sort(m);
    int code = m->options->map ? draw(m) : EXIT_DONE;
    if (code != EXIT_DONE)
        return code;
    return CLI_TEXT_PRINT(&m->options->text, print_json(m), print_csv(m), print_text(m));
}

static int run(void *user, const struct cli_engine *e, const struct cli_text *text)
{
    struct importance *m = user;
    const vkmoe_model_info *info = vkmoe_model_get_info(e->model);
    m->text = text;
    m->layers = info->n_moe_layers;
    m->experts = info->n_routed_experts;
    int code = cli_expert_states(&m->options->common, info, &m->states);
    if (code == EXIT_DONE && m->experts == 0)
        code = cli_fail("%s: the model has no routed experts", cli_model_path(&m->options->common));
    if (code == EXIT_DONE && !allocate(m))
        code = cli_fail("host memory ran out for the importance of %u experts", m->experts);
    if (code == EXIT_DONE && m->only &&
        !cli_expert_list("--only", m->options->only, info, VKMOE_EXPERT_OFF, m->only))
        code = EXIT_FAILED;
    if (code == EXIT_DONE)
        code = measure(m, e);
    release(m);
    return code;
}

int study_importance(struct study_options *o)
{
    struct importance m = {.options = o};
    return cli_with_text(&o->common, o->text.file, run, &m);
}
