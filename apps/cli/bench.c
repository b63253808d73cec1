/* vkmoe bench: how fast a model, or a shape of one, runs on a device. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "drawing.h"

static const char help[] =
    "usage: vkmoe bench [-m MODEL | --config NAME|FILE [--layers N]] [OPTIONS]\n"
    "Measures prompts (pp) and generation (tg), in tokens per second.\n\n"
    "      --config NAME|FILE a configuration instead of a model, with weights made up on the\n"
    "                         device (`vkmoe info --help` lists the names)\n"
    "      --layers N         only its first N layers\n"
    "  -p, --prompt N         tokens of the prompt; 0: none (default: 512)\n"
    "  -n, --tokens N         tokens to generate; 0: none (default: 128)\n"
    "  -d, --depth N          tokens in the sequence before either (default: 0)\n"
    "  -b, --batch ROWS       sequences that generate together, one row of each in a step; t/s\n"
    "                         counts the tokens of all (default: 1)\n"
    "  -r, --repetitions N    that are measured, after one that is not (default: 5)\n"
    "      --profile          also every kernel's time by the device's clock, GB/s, GFLOP/s and\n"
    "                         share of the device's peak\n"
    "      --count-routing    also what it costs to count routes while generating: sessions that "
    "do\n"
    "                         and do not take turns; the median ratio of their times, with a 95 %\n"
    "                         interval\n"
    "      --svg FILE         also draw the time of every kernel (with --profile or without)\n"
    "      --tune             instead: find out, in under a minute, how kernels are best launched\n"
    "                         on this device, for later sessions (--no-tuning: without)\n"
    "      --json             as JSON\n" CLI_COMMON_HELP;

enum {
    OPTION_CONFIG = CLI_OPTION_OWN,
    OPTION_LAYERS,
    OPTION_PROFILE,
    OPTION_COUNT_ROUTING,
    OPTION_JSON,
    OPTION_SVG,
    OPTION_TUNE
};

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"prompt", required_argument, NULL, 'p'},
    {"tokens", required_argument, NULL, 'n'},
    {"depth", required_argument, NULL, 'd'},
    {"batch", required_argument, NULL, 'b'},
    {"repetitions", required_argument, NULL, 'r'},
    {"profile", no_argument, NULL, OPTION_PROFILE},
    {"count-routing", no_argument, NULL, OPTION_COUNT_ROUTING},
    {"json", no_argument, NULL, OPTION_JSON},
    {"tune", no_argument, NULL, OPTION_TUNE},
    {"svg", required_argument, NULL, OPTION_SVG},
    {NULL, 0, NULL, 0},
};

#define MOST_TOKENS (1u << 20)
#define MOST_BATCH 1024

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct bench_options *o, int option)
{
    bool good = true;
    o->measures |= option < CHAR_MAX && strchr("pndbr", option);
    switch (option) {
    case OPTION_CONFIG:
        o->config = optarg;
        break;
    case OPTION_LAYERS:
        good = cli_parse_u64("--layers", optarg, 1, 1024, &o->layers);
        break;
    case 'p':
        good = cli_parse_u64("-p", optarg, 0, MOST_TOKENS, &o->prompt);
        break;
    case 'n':
        good = cli_parse_u64("-n", optarg, 0, MOST_TOKENS, &o->generate);
        break;
    case 'd':
        good = cli_parse_u64("-d", optarg, 0, MOST_TOKENS, &o->depth);
        break;
    case 'b':
        good = cli_parse_u64("-b", optarg, 1, MOST_BATCH, &o->batch);
        break;
    case 'r':
        good = cli_parse_u64("-r", optarg, 1, 1000, &o->repetitions);
        break;
    case OPTION_SVG:
        o->svg = optarg;
        o->profile = true;
        good = *optarg || (cli_usage("--svg: an empty name is no file"), false);
        break;
    case OPTION_TUNE:
        o->tune = true;
        o->common.no_tuning = true; /* held against the library's own launches */
        break;
    case OPTION_PROFILE:
        o->profile = true;
        break;
    case OPTION_COUNT_ROUTING:
        o->count_routing = true;
        break;
    case OPTION_JSON:
        o->as_json = true;
        break;
    default:
        return cli_common_option(&o->common, option, help);
    }
    return good ? -1 : EXIT_USAGE;
}

static int parse(int argc, char **argv, struct bench_options *o)
{
    int option;
    *o = (struct bench_options){.prompt = 512, .generate = 128, .batch = 1, .repetitions = 5};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "p:n:d:b:r:", long_options)) !=
           -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("bench: '%s' is not an option", argv[optind]);
    if (o->common.model && o->config)
        return cli_usage("bench: give -m or --config, not both");
    if (o->layers && !o->config)
        return cli_usage("bench: --layers goes with --config");
    if (o->prompt == 0 && o->generate == 0)
        return cli_usage("bench: -p 0 -n 0 leaves nothing to measure");
    if (o->tune && (o->profile || o->count_routing || o->measures))
        return cli_usage("bench: --tune measures for itself: leave out -p, -n, -d, -b, -r, "
                         "--profile, --count-routing and --svg");
    if (o->count_routing && o->generate == 0)
        return cli_usage(
            "bench: --count-routing is of tokens that are generated, -n 0 leaves none");
    if (o->batch > 1 && o->generate == 0)
        return cli_usage("bench: -b is of sequences that generate, -n 0 leaves none");
    return drawing_check("--svg", o->svg);
}

static bool on_load(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return !cli_interrupted();
}

/* What is measured needs its own room: that of all sequences together. */
static vkmoe_model_params load_params(const struct bench_options *o)
{
    vkmoe_model_params params = cli_model_params(&o->common);
    uint64_t longest = o->prompt > o->generate ? o->prompt : o->generate;
    uint64_t sequences = o->count_routing && o->batch < 2 ? 2 : o->batch; /* of turns, two */
    uint64_t context = sequences * (longest + (o->depth > 0 ? o->depth : 1));
    params.context = (uint32_t)(context < CLI_MOST_TOKENS ? context : CLI_MOST_TOKENS);
    params.prompt_tokens = (uint32_t)o->prompt;
    params.progress = on_load;
    return params;
}

/* --- running --- */

/* Told after every step, shown once for each repetition. */
static bool on_progress(void *user, uint32_t done, uint32_t total)
{
    uint32_t *shown = user;
    if (*shown != done + 1 && isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kmeasuring, %u of %u", done + 1, total);
    *shown = done + 1;
    return !cli_interrupted();
}

static int put_results(const struct bench_results *r)
{
    int code = EXIT_DONE;
    if (r->options->as_json)
        code = bench_print_json(r);
    else
        bench_print_table(r);
    return code == EXIT_DONE && r->options->svg ? bench_draw(r, r->options->svg) : code;
}

static int measure(const struct bench_options *o, vkmoe_device *device, vkmoe_model *model,
                   const char *name)
{
    uint32_t shown = 0;
    const vkmoe_bench_params params = {
        .prompt = (uint32_t)o->prompt,
        .generate = (uint32_t)o->generate,
        .depth = (uint32_t)o->depth,
        .batch = (uint32_t)o->batch,
        .chunk = o->common.chunk,
        .routing = o->common.routing,
        .kv = o->common.kv,
        .repetitions = (uint32_t)o->repetitions,
        .profile = o->profile,
        .count_routing = o->count_routing,
        .progress = on_progress,
        .user = &shown,
    };
    struct bench_results r = {.options = o,
                              .model = name,
                              .device = vkmoe_device_get_info(device),
                              .weights = vkmoe_model_get_info(model)->weights};
    vkmoe_error err;
    if (o->tune)
        return bench_tune(&r, model);
    vkmoe_status status = vkmoe_bench_run(model, &params, &r.prompt, &r.generate, &err);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    return put_results(&r);
}

int cmd_bench(int argc, char **argv)
{
    struct bench_options o;
    vkmoe_device *device = NULL;
    vkmoe_model *model = NULL;
    uint32_t *table;
    vkmoe_error err;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    const char *name = o.config ? o.config : cli_model_path(&o.common);
    code = cli_router_table(&o.common, name, &table);
    if (code != EXIT_DONE)
        return code;
    vkmoe_log log = cli_log(&o.common);
    vkmoe_model_params params = load_params(&o);
    vkmoe_status status = cli_device_open(&o.common, &log, &device, &err);
    if (status == VKMOE_OK)
        status = o.config
                     ? vkmoe_model_invent(device, name, (uint32_t)o.layers, &params, &model, &err)
                     : vkmoe_model_load(device, name, &params, &model, &err);
    if (status == VKMOE_OK)
        code = measure(&o, device, model, name);
    else
        code = cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    free(table);
    return code;
}
