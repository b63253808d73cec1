/* vkmoe study affinity: which experts serve which text. */
#include "study.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heat_map.h"

#define WINDOW 128
#define LEVEL 0.05 /* of adjusted p values, for what is called a difference */

struct affinity {
    const struct study_options *options;
    uint32_t n_texts, layers, experts;
    struct cli_engine engine;
    struct cli_text *texts;
    struct cli_text_progress progress;
    uint8_t *states;
    double *expert_p; /* [layers, experts], as they come */
    vkmoe_affinity result;
};

static bool on_window(void *user, uint64_t done, uint64_t total)
{
    struct affinity *m = user;
    cli_text_show(&m->progress, "affinity", done, total, "windows");
    return !cli_interrupted();
}

static bool allocate(struct affinity *m)
{
    size_t n = (size_t)m->layers * m->experts;
    vkmoe_affinity *r = &m->result;
    r->windows = calloc(m->n_texts, sizeof(*r->windows));
    r->tokens = calloc(m->n_texts, sizeof(*r->tokens));
    r->chosen = calloc(m->n_texts * n + 1, sizeof(*r->chosen));
    r->layers = calloc(m->layers + 1, sizeof(*r->layers));
    r->layer_p = calloc(m->layers + 1, sizeof(double));
    r->expert_p = calloc(n + 1, sizeof(double));
    m->expert_p = calloc(n + 1, sizeof(double));
    for (uint32_t l = 0; r->layers && m->expert_p && l < m->layers; l++)
        r->layers[l].expert_p = m->expert_p + (size_t)l * m->experts;
    return r->windows && r->tokens && r->chosen && r->layers && r->layer_p && r->expert_p &&
           m->expert_p;
}

static void release(struct affinity *m)
{
    free(m->result.windows);
    free(m->result.tokens);
    free(m->result.chosen);
    free(m->result.layers);
    free(m->result.layer_p);
    free(m->result.expert_p);
    free(m->expert_p);
    free(m->states);
}

/* Of a text's choices in a layer, in shares of an even load. */
static double share(const struct affinity *m, uint32_t text, uint32_t layer, uint32_t expert)
{
    const vkmoe_affinity *r = &m->result;
    size_t at = ((size_t)text * m->layers + layer) * m->experts + expert;
    double even = (double)r->tokens[text] * r->experts_per_token / m->experts;
    return (double)r->chosen[at] / even;
}

static double expert_p(const struct affinity *m, uint32_t layer, uint32_t expert)
{
    return m->result.expert_p[(size_t)layer * m->experts + expert];
}

/* Of all texts, each counting the same. */
static double mean_share(const struct affinity *m, uint32_t layer, uint32_t expert)
{
    double mean = 0;
    for (uint32_t t = 0; t < m->n_texts; t++)
        mean += share(m, t, layer, expert) / m->n_texts;
    return mean;
}

static uint32_t differing(const struct affinity *m, uint32_t layer)
{
    uint32_t n = 0;
    for (uint32_t e = 0; e < m->experts; e++)
        n += expert_p(m, layer, e) <= LEVEL;
    return n;
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash && slash[1] ? slash + 1 : file;
}

/* --- results --- */

/* The experts that a text favours most over the mean of all, of those that differ. */
static void print_favoured(const struct affinity *m, uint32_t layer, uint32_t text)
{
    uint8_t shown[CLI_MOST_EXPERTS] = {0};
    printf("       %-14.14s", base_name(m->texts[text].file));
    for (int i = 0; i < 5; i++) {
        int best = -1;
        double most = 0;
        for (uint32_t e = 0; e < m->experts; e++) {
            double mean = mean_share(m, layer, e), own = share(m, text, layer, e);
            if (shown[e] || expert_p(m, layer, e) > LEVEL || own <= mean || own - mean <= most)
                continue;
            best = (int)e;
            most = own - mean;
        }
        if (best < 0)
            break;
        shown[best] = 1;
        printf("  %d (%.2f)", best, share(m, text, layer, (uint32_t)best));
    }
    putchar('\n');
}

static void print_text(const struct affinity *m)
{
    const vkmoe_affinity *r = &m->result;
    for (uint32_t t = 0; t < m->n_texts; t++)
        printf("%s: %llu tokens in %u window%s\n", m->texts[t].file,
               (unsigned long long)r->tokens[t], r->windows[t], r->windows[t] == 1 ? "" : "s");
    printf(
        "\nlayer  divergence  by chance  p (Holm)  experts that differ (p <= %g, FDR); under it\n"
        "       those that each text favours most, with their load over an even one\n",
        LEVEL);
    for (uint32_t l = 0; l < m->layers; l++) {
        uint32_t n = differing(m, l);
        printf("%5u %11.4f %10.4f %9.2g  %u of %u\n", l, r->layers[l].divergence,
               r->layers[l].chance, r->layer_p[l], n, m->experts);
        for (uint32_t t = 0; n > 0 && t < m->n_texts; t++)
            print_favoured(m, l, t);
    }
}

static void print_csv(const struct affinity *m)
{
    const vkmoe_affinity *r = &m->result;
    printf("text,layer,expert,tokens,chosen,share,p,p_adjusted\n");
    for (uint32_t t = 0; t < m->n_texts; t++)
        for (size_t i = 0; i < (size_t)m->layers * m->experts; i++)
            printf("%u,%zu,%zu,%llu,%llu,%.9g,%.9g,%.9g\n", t, i / m->experts, i % m->experts,
                   (unsigned long long)r->tokens[t],
                   (unsigned long long)r->chosen[t * (size_t)m->layers * m->experts + i],
                   share(m, t, (uint32_t)(i / m->experts), (uint32_t)(i % m->experts)),
                   m->expert_p[i], r->expert_p[i]);
}

static json_t *layer_json(const struct affinity *m, uint32_t layer)
{
    const vkmoe_affinity_layer *of = &m->result.layers[layer];
    json_t *p = json_array(), *adjusted = json_array(), *texts = json_array();
    for (uint32_t e = 0; e < m->experts; e++) {
        json_array_append_new(p, json_real(of->expert_p[e]));
        json_array_append_new(adjusted, json_real(expert_p(m, layer, e)));
    }
    for (uint32_t t = 0; t < m->n_texts; t++) {
        size_t at = ((size_t)t * m->layers + layer) * m->experts;
        json_t *chosen = json_array();
        for (uint32_t e = 0; e < m->experts; e++)
            json_array_append_new(chosen, json_integer((json_int_t)m->result.chosen[at + e]));
        json_array_append_new(texts, chosen);
    }
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "layer", (int)layer, "divergence",
                     of->divergence, "chance", of->chance, "p", of->p, "p_adjusted",
                     m->result.layer_p[layer], "chosen", texts, "expert_p", p, "expert_p_adjusted",
                     adjusted);
}

static int print_json(const struct affinity *m)
{
    json_t *texts = json_array(), *layers = json_array();
    for (uint32_t t = 0; t < m->n_texts; t++)
        json_array_append_new(texts,
                              json_pack("{s:o, s:I, s:I}", "file", cli_json_text(m->texts[t].file),
                                        "tokens", (json_int_t)m->result.tokens[t], "windows",
                                        (json_int_t)m->result.windows[t]));
    for (uint32_t l = 0; l < m->layers; l++)
        json_array_append_new(layers, layer_json(m, l));
    return cli_print_json(
        json_pack("{s:s, s:o, s:i, s:i, s:o, s:o}", "study", study_name(STUDY_AFFINITY), "model",
                  cli_json_text(cli_model_path(&m->options->common)), "experts", (int)m->experts,
                  "experts_per_token", (int)m->result.experts_per_token, "texts", texts, "layers",
                  layers),
        "the result");
}

/* --- a picture: a panel for each layer, in it a row for each text --- */

#define MOST 2 /* of a preference that the picture tells apart */

/* How many times as often as the mean of the texts a text chooses an expert, as a logarithm to base
 * 2; NaN where the texts do not differ. */
static double preference(const struct affinity *m, uint32_t text, uint32_t layer, uint32_t expert)
{
    double own = share(m, text, layer, expert), mean = mean_share(m, layer, expert);
    if (mean == 0)
        return 0;
    if (expert_p(m, layer, expert) > LEVEL)
        return (double)NAN;
    return own > 0 ? log2(own / mean) : -MOST;
}

struct picture {
    double *values;
    json_t *rows;
    const char **row_names, **names;
    char (*headings)[96];
};

static bool fill(const struct affinity *m, struct picture *p)
{
    size_t rows = (size_t)m->layers * m->n_texts;
    p->values = calloc(rows * m->experts, sizeof(double));
    p->rows = json_array();
    p->row_names = calloc(m->n_texts, sizeof(*p->row_names));
    p->names = calloc(m->layers, sizeof(*p->names));
    p->headings = calloc(m->layers, sizeof(*p->headings));
    if (!p->values || !p->rows || !p->row_names || !p->names || !p->headings)
        return false;
    for (size_t i = 0; i < rows * m->experts; i++) {
        uint32_t e = (uint32_t)(i % m->experts), row = (uint32_t)(i / m->experts);
        p->values[i] = preference(m, row % m->n_texts, row / m->n_texts, e);
    }
    for (uint32_t t = 0; t < m->n_texts; t++) {
        json_array_append_new(p->rows, cli_json_text(base_name(m->texts[t].file)));
        p->row_names[t] = json_string_value(json_array_get(p->rows, t));
        if (!p->row_names[t])
            return false;
    }
    for (uint32_t l = 0; l < m->layers; l++) {
        const vkmoe_affinity_layer *of = &m->result.layers[l];
        snprintf(p->headings[l], sizeof(*p->headings),
                 "Layer %u: divergence %.3f, by chance %.3f, p = %.3g", l, of->divergence,
                 of->chance, m->result.layer_p[l]);
        p->names[l] = p->headings[l];
    }
    return true;
}

static int draw(const struct affinity *m)
{
    struct picture p = {0};
    char line[160];
    snprintf(line, sizeof(line),
             "%u of %u experts for each token; empty: no difference beyond chance (p > %g)",
             m->result.experts_per_token, m->experts, LEVEL);
    int code = fill(m, &p) ? EXIT_DONE : cli_fail("--map: host memory ran out for the picture");
    const struct heat_map map = {
        .title = "Which experts serve which text",
        .subtitle = line,
        .layers = m->n_texts,
        .experts = m->experts,
        .rows = p.row_names,
        .panels = m->layers,
        .names = p.names,
        .values = p.values,
        .most = MOST,
        .linear = true,
        .legend = "log2 of the text's share over the mean of the texts: +1 is twice it",
    };
    if (code == EXIT_DONE)
        code = heat_map_draw(&map, m->options->map);
    free(p.values);
    free((void *)p.row_names);
    free((void *)p.names);
    free(p.headings);
    json_decref(p.rows);
    return code;
}

/* --- running --- */

static int measure(struct affinity *m)
{
    const struct study_options *o = m->options;
    vkmoe_affinity_text *texts = calloc(m->n_texts, sizeof(*texts));
    const vkmoe_study_params params = {.context = o->common.context,
                                       .chunk = o->common.chunk,
                                       .routing = o->common.routing,
                                       .kv = o->common.kv,
                                       .experts = m->states,
                                       .bos = m->texts[0].bos,
                                       .bos_token = m->texts[0].bos_token,
                                       .on_session = cli_text_cancel,
                                       .progress = on_window,
                                       .user = m};
    vkmoe_error err;
    if (!texts)
        return cli_fail("host memory ran out for %u texts", m->n_texts);
    for (uint32_t t = 0; t < m->n_texts; t++)
        texts[t] = (vkmoe_affinity_text){m->texts[t].ids, study_tokens(o, &m->texts[t])};
    vkmoe_status status =
        vkmoe_affinity_run(m->engine.model, texts, m->n_texts, (uint32_t)o->permutations, o->seed,
                           &params, &m->result, &err);
    free(texts);
    cli_end_progress();
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    int code = o->map ? draw(m) : EXIT_DONE;
    if (code != EXIT_DONE)
        return code;
    return CLI_TEXT_PRINT(&m->options->text, print_json(m), print_csv(m), print_text(m));
}

static int run(struct affinity *m)
{
    const vkmoe_model_info *info = vkmoe_model_get_info(m->engine.model);
    m->layers = info->n_moe_layers;
    m->experts = info->n_routed_experts;
    int code = cli_expert_states(&m->options->common, info, &m->states);
    if (code == EXIT_DONE && m->experts == 0)
        code = cli_fail("%s: the model has no routed experts", cli_model_path(&m->options->common));
    if (code == EXIT_DONE && !allocate(m))
        code = cli_fail("host memory ran out for the counts of %u texts", m->n_texts);
    if (code == EXIT_DONE)
        code = measure(m);
    release(m);
    return code;
}

/* Opens the tokenizer, every text and the model, in this order. */
static int open_all(struct affinity *m, struct cli_common *common)
{
    int code = cli_tokenizer_open(common, &m->engine);
    if (code != EXIT_DONE)
        return code;
    for (uint32_t t = 0; t < m->n_texts && code == EXIT_DONE; t++)
        code = cli_text_open(m->engine.tokenizer, m->options->files[t], &m->texts[t]);
    if (code == EXIT_DONE)
        code = cli_engine_open(common, 0, &m->engine);
    if (code == EXIT_DONE)
        code = run(m);
    for (uint32_t t = 0; t < m->n_texts; t++)
        cli_text_close(m->engine.tokenizer, &m->texts[t]);
    cli_engine_close(&m->engine);
    return code;
}

int study_affinity(struct study_options *o)
{
    struct affinity m = {.options = o, .n_texts = (uint32_t)o->n_files};
    if (o->common.context == 0)
        o->common.context = WINDOW;
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    m.texts = calloc(m.n_texts, sizeof(*m.texts));
    if (!m.texts)
        return cli_fail("host memory ran out for %u texts", m.n_texts);
    int code = open_all(&m, &o->common);
    free(m.texts);
    return code;
}
