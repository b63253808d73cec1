/* vkmoe balance: how evenly a text uses the experts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drawing.h"
#include "heat_map.h"
#include "text.h"
#include "text_options.h"

static const char help[] =
    "usage: vkmoe balance -f FILE [OPTIONS]\n"
    "Routes a text and tells, for each MoE layer, how evenly it uses the experts: the busiest\n"
    "expert's load over the mean, the load's coefficient of variation and entropy (1: even),\n"
    "experts never chosen, and the paper's balance losses divided by their factor alpha\n"
    "(1: even): expert level, over all tokens and as the mean over sequences, weighed by their\n"
    "tokens, and device level. JSON and CSV have the counts of each expert as "
    "well.\n\n" CLI_TEXT_HELP
    "      --devices D        experts are spread over D devices (default: 1), in equal runs\n"
    "      --pairs FILE       also write as CSV how many tokens chose each pair of experts, and "
    "how\n"
    "                         many would if they were chosen independently\n"
    "      --map FILE         also draw each expert's share, as SVG or, with .png, as "
    "PNG\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    struct cli_text_options text;
    uint64_t devices;
    const char *map, *pairs;
};

enum { OPTION_DEVICES = CLI_OPTION_TEXT_OWN, OPTION_MAP, OPTION_PAIRS };

static const struct option long_options[] = {
    CLI_TEXT_LONG,
    {"devices", required_argument, NULL, OPTION_DEVICES},
    {"map", required_argument, NULL, OPTION_MAP},
    {"pairs", required_argument, NULL, OPTION_PAIRS},
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    switch (option) {
    case OPTION_DEVICES:
        return cli_parse_u64("--devices", optarg, 1, CLI_MOST_EXPERTS, &o->devices) ? -1
                                                                                    : EXIT_USAGE;
    case OPTION_MAP:
        o->map = optarg;
        return *optarg ? -1 : cli_usage("--map: an empty name is no file");
    case OPTION_PAIRS:
        o->pairs = optarg;
        return *optarg ? -1 : cli_usage("--pairs: an empty name is no file");
    default:
        return cli_text_option(&o->text, &o->common, option, help);
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){.devices = 1};
    while ((option = cli_next_option(argc, argv, CLI_TEXT_SHORT, long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    int code = cli_text_check_file(&o->text, "balance", argc, argv);
    if (code >= 0)
        return code;
    if (o->pairs && cli_try_file(o->pairs) != EXIT_DONE)
        return EXIT_FAILED;
    return drawing_check("--map", o->map);
}

/* --- what is measured --- */

struct measurement {
    const struct options *options;
    uint32_t layers, experts;
    struct cli_text_progress progress;
    vkmoe_balance_result result;
};

static bool allocate(struct measurement *m)
{
    size_t n = (size_t)m->layers * m->experts + 1;
    vkmoe_balance_result *r = &m->result;
    r->counts.chosen = calloc(n, sizeof(*r->counts.chosen));
    r->counts.gate_mass = calloc(n, sizeof(double));
    r->counts.prob_mass = calloc(n, sizeof(double));
    if (m->options->pairs)
        r->counts.pairs = calloc(n, m->experts * sizeof(*r->counts.pairs));
    r->batch = calloc(m->layers + 1, sizeof(*r->batch));
    r->sequence_loss = calloc(m->layers + 1, sizeof(double));
    return r->counts.chosen && r->counts.gate_mass && r->counts.prob_mass && r->batch &&
           r->sequence_loss && (!m->options->pairs || r->counts.pairs);
}

static void release(struct measurement *m)
{
    free(m->result.counts.chosen);
    free(m->result.counts.gate_mass);
    free(m->result.counts.prob_mass);
    free(m->result.counts.pairs);
    free(m->result.batch);
    free(m->result.sequence_loss);
}

static bool on_sequence(void *user, uint64_t done, uint64_t total)
{
    struct measurement *m = user;
    cli_text_show(&m->progress, "routing", done, total, "tokens");
    return !cli_interrupted();
}

/* --- results --- */

static void print_text(const struct measurement *m)
{
    const vkmoe_balance_result *r = &m->result;
    double sums[3] = {0};
    printf("%llu tokens in %llu sequences, %u of %u experts each, %llu devices\n"
           "layer  busiest  variation  entropy  dead  expert loss  by sequence  device loss\n",
           (unsigned long long)r->counts.tokens, (unsigned long long)r->sequences,
           r->experts_per_token, m->experts, (unsigned long long)m->options->devices);
    for (uint32_t l = 0; l < m->layers; l++) {
        const vkmoe_balance *b = &r->batch[l];
        printf("%5u %8.2f %10.3f %8.4f %5u %12.4f %12.4f %12.4f\n", l, b->busiest, b->variation,
               b->entropy, b->dead, b->expert_loss, r->sequence_loss[l], b->device_loss);
        sums[0] += b->expert_loss;
        sums[1] += r->sequence_loss[l];
        sums[2] += b->device_loss;
    }
    printf("  sum %47.4f %12.4f %12.4f\n", sums[0], sums[1], sums[2]);
}

static void print_csv(const struct measurement *m)
{
    const vkmoe_routing_counts *c = &m->result.counts;
    printf("layer,expert,tokens,gate_mass,probability_mass\n");
    for (size_t i = 0; i < (size_t)m->layers * m->experts; i++)
        printf("%zu,%zu,%llu,%.9g,%.9g\n", i / m->experts, i % m->experts,
               (unsigned long long)c->chosen[i], c->gate_mass[i], c->prob_mass[i]);
}

static json_t *layer_json(const struct measurement *m, uint32_t layer)
{
    const vkmoe_balance_result *r = &m->result;
    const vkmoe_balance *b = &r->batch[layer];
    json_t *tokens = json_array(), *gates = json_array(), *probs = json_array();
    for (size_t i = 0; i < m->experts; i++) {
        size_t at = (size_t)layer * m->experts + i;
        json_array_append_new(tokens, json_integer((json_int_t)r->counts.chosen[at]));
        json_array_append_new(gates, json_real(r->counts.gate_mass[at]));
        json_array_append_new(probs, json_real(r->counts.prob_mass[at]));
    }
    return json_pack("{s:i, s:f, s:f, s:f, s:i, s:f, s:f, s:f, s:o, s:o, s:o}", "layer", (int)layer,
                     "busiest", b->busiest, "variation", b->variation, "entropy", b->entropy,
                     "dead", (int)b->dead, "expert_loss", b->expert_loss, "sequence_loss",
                     r->sequence_loss[layer], "device_loss", b->device_loss, "tokens", tokens,
                     "gate_mass", gates, "probability_mass", probs);
}

static int print_json(const struct measurement *m)
{
    const vkmoe_balance_result *r = &m->result;
    json_t *layers = json_array();
    for (uint32_t l = 0; l < m->layers; l++)
        json_array_append_new(layers, layer_json(m, l));
    return cli_print_json(json_pack("{s:o, s:I, s:I, s:i, s:i, s:I, s:o}", "model",
                                    cli_json_text(cli_model_path(&m->options->common)), "tokens",
                                    (json_int_t)r->counts.tokens, "sequences",
                                    (json_int_t)r->sequences, "experts_per_token",
                                    (int)r->experts_per_token, "experts", (int)m->experts,
                                    "devices", (json_int_t)m->options->devices, "layers", layers),
                          "the result");
}

/* What a layer's experts i and j, i < j, have in common. */
static void put_pairs(const struct measurement *m, uint32_t layer, FILE *out)
{
    const vkmoe_routing_counts *c = &m->result.counts;
    size_t n = m->experts;
    const uint64_t *chosen = c->chosen + layer * n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            fprintf(out, "%u,%zu,%zu,%u,%.9g\n", layer, i, j, c->pairs[(layer * n + i) * n + j],
                    (double)chosen[i] * (double)chosen[j] / (double)c->tokens);
}

static int write_pairs(const struct measurement *m)
{
    char *csv = NULL;
    size_t size;
    FILE *out = open_memstream(&csv, &size);
    if (out) {
        fputs("layer,expert,other,tokens,expected\n", out);
        for (uint32_t l = 0; l < m->layers; l++)
            put_pairs(m, l, out);
    }
    bool good = out && !ferror(out);
    if (out)
        good &= fclose(out) == 0;
    int code =
        good ? cli_write_file(m->options->pairs, csv, size)
             : cli_fail("--pairs: host memory ran out for the pairs of %u experts", m->experts);
    free(csv);
    return code;
}

static int draw(const struct measurement *m, const struct cli_text *text)
{
    const vkmoe_balance_result *r = &m->result;
    size_t n = (size_t)m->layers * m->experts;
    double *shares = malloc(n * sizeof(*shares) + 1);
    double even = (double)r->counts.tokens * r->experts_per_token / m->experts;
    char line[1024];
    for (size_t i = 0; shares && i < n; i++)
        shares[i] = (double)r->counts.chosen[i] / even;
    snprintf(line, sizeof(line), "%s, %llu tokens, %u of %u experts each", text->file,
             (unsigned long long)r->counts.tokens, r->experts_per_token, m->experts);
    json_t *subtitle = cli_json_text(line);
    const struct heat_map map = {
        .title = "Which experts a text chooses",
        .subtitle = json_string_value(subtitle),
        .layers = m->layers,
        .experts = m->experts,
        .panels = 1,
        .values = shares,
        .legend = "tokens, in shares of an even load; crossed out: never chosen",
    };
    int code = shares && subtitle ? heat_map_draw(&map, m->options->map)
                                  : cli_fail("--map: host memory ran out for the picture");
    json_decref(subtitle);
    free(shares);
    return code;
}

/* --- running --- */

static int measure(void *user, const struct cli_engine *e, const struct cli_text *text)
{
    struct measurement *m = user;
    const struct cli_common *common = &m->options->common;
    const vkmoe_model_info *info = vkmoe_model_get_info(e->model);
    vkmoe_error err;
    uint8_t *states;
    int code = cli_expert_states(common, info, &states);
    if (code != EXIT_DONE)
        return code;
    m->layers = info->n_moe_layers;
    m->experts = info->n_routed_experts;
    const vkmoe_balance_params params = {.context = common->context,
                                         .chunk = common->chunk,
                                         .routing = common->routing,
                                         .kv = common->kv,
                                         .experts = states,
                                         .bos = text->bos,
                                         .bos_token = text->bos_token,
                                         .n_devices = (uint32_t)m->options->devices,
                                         .on_session = cli_text_cancel,
                                         .progress = on_sequence,
                                         .user = m};
    if (!allocate(m))
        code = cli_fail("host memory ran out for the counts of %u experts", info->n_routed_experts);
    else if (vkmoe_balance_run(e->model, text->ids, text->count, &params, &m->result, &err) !=
             VKMOE_OK)
        code = cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    cli_end_progress();
    if (code == EXIT_DONE && m->options->pairs)
        code = write_pairs(m);
    if (code == EXIT_DONE && m->options->map)
        code = draw(m, text);
    if (code == EXIT_DONE)
        code = CLI_TEXT_PRINT(&m->options->text, print_json(m), print_csv(m), print_text(m));
    release(m);
    free(states);
    return code;
}

int cmd_balance(int argc, char **argv)
{
    struct options o;
    struct measurement m = {.options = &o};
    int code = parse(argc, argv, &o);
    return code >= 0 ? code : cli_with_text(&o.common, o.text.file, measure, &m);
}
