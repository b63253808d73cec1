/* vkmoe bench: how fast a model, or a shape of one, runs on a device. */
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "interrupt.h"

static const char help[] =
    "usage: vkmoe bench [-m MODEL | --config NAME|FILE [--layers N]] [OPTIONS]\n"
    "Measures prompts (pp) and generation (tg), in tokens per second.\n\n"
    "      --config NAME|FILE a configuration instead of a model, with weights made up on the\n"
    "                         device (`vkmoe info --help` lists the names)\n"
    "      --layers N         only its first N layers\n"
    "  -p, --prompt N         tokens of the prompt; 0: none (default: 512)\n"
    "  -n, --tokens N         tokens to generate; 0: none (default: 128)\n"
    "  -d, --depth N          tokens in the sequence before either (default: 0)\n"
    "  -r, --repetitions N    that are measured, after one that is not (default: 5)\n"
    "      --profile          also the time of every kernel, by the device's clock\n"
    "      --json             as JSON\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    const char *config;
    uint64_t layers, prompt, generate, depth, repetitions;
    bool profile, as_json;
};

enum { OPTION_CONFIG = CLI_OPTION_OWN, OPTION_LAYERS, OPTION_PROFILE, OPTION_JSON };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"layers", required_argument, NULL, OPTION_LAYERS},
    {"prompt", required_argument, NULL, 'p'},
    {"tokens", required_argument, NULL, 'n'},
    {"depth", required_argument, NULL, 'd'},
    {"repetitions", required_argument, NULL, 'r'},
    {"profile", no_argument, NULL, OPTION_PROFILE},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

#define MOST_TOKENS (1u << 20)

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    bool good = true;
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
    case 'r':
        good = cli_parse_u64("-r", optarg, 1, 1000, &o->repetitions);
        break;
    case OPTION_PROFILE:
        o->profile = true;
        break;
    case OPTION_JSON:
        o->as_json = true;
        break;
    default:
        return cli_common_option(&o->common, option, help);
    }
    return good ? -1 : EXIT_USAGE;
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){.prompt = 512, .generate = 128, .repetitions = 5};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "p:n:d:r:", long_options)) !=
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
    return -1;
}

/* What is measured needs its own room in the context. */
static vkmoe_model_params load_params(const struct options *o)
{
    vkmoe_model_params params = cli_model_params(&o->common);
    uint64_t longest = o->prompt > o->generate ? o->prompt : o->generate;
    params.context = (uint32_t)(longest + (o->depth > 0 ? o->depth : 1));
    params.prompt_tokens = (uint32_t)o->prompt;
    return params;
}

static bool on_progress(void *user, uint32_t done, uint32_t total)
{
    (void)user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kmeasuring, %u of %u", done + 1, total);
    return !cli_interrupted();
}

/* --- results --- */

static void name_test(char *name, size_t size, const struct options *o, bool prompt)
{
    int n = snprintf(name, size, "%s%llu", prompt ? "pp" : "tg",
                     (unsigned long long)(prompt ? o->prompt : o->generate));
    if (o->depth > 0)
        snprintf(name + n, size - (size_t)n, "@d%llu", (unsigned long long)o->depth);
}

static void print_kernels(const vkmoe_bench_result *r, bool prompt)
{
    double total = 0;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        total += r->kernels[i].seconds;
    if (r->n_kernels == 0)
        return;
    printf("\n  %s, %.3f ms on the device\n", prompt ? "one prompt" : "one token", 1e3 * total);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        printf("    %-14s %5u dispatches %10.3f ms %5.1f %%\n", r->kernels[i].name,
               r->kernels[i].dispatches, 1e3 * r->kernels[i].seconds,
               total > 0 ? 100 * r->kernels[i].seconds / total : 0);
}

static void print_result(const struct options *o, const vkmoe_bench_result *r, bool prompt)
{
    char name[64];
    if (r->tokens == 0)
        return;
    name_test(name, sizeof(name), o, prompt);
    printf("%-14s %9.2f +- %.2f t/s", name, r->mean, r->deviation);
    if (!prompt)
        printf(", %.2f GB/s, %.0f %% of the %.2f GB/s that a large product reads",
               r->bytes_per_second / 1e9, 100 * r->bytes_per_second / r->read_bandwidth,
               r->read_bandwidth / 1e9);
    printf("\n%-14s %u dispatches and %u barriers in a step\n", "", r->dispatches, r->barriers);
    print_kernels(r, prompt);
}

static json_t *result_json(const struct options *o, const vkmoe_bench_result *r, bool prompt)
{
    char name[64];
    json_t *kernels = json_array();
    name_test(name, sizeof(name), o, prompt);
    for (uint32_t i = 0; i < r->n_kernels; i++)
        json_array_append_new(kernels, json_pack("{s:s, s:I, s:f}", "name", r->kernels[i].name,
                                                 "dispatches", (json_int_t)r->kernels[i].dispatches,
                                                 "seconds", r->kernels[i].seconds));
    return json_pack("{s:s, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:o}", "test", name,
                     "mean", r->mean, "sd", r->deviation, "tokens", (json_int_t)r->tokens,
                     "repetitions", (json_int_t)r->repetitions, "weight_bytes", r->weight_bytes,
                     "kv_bytes", r->kv_bytes, "bytes_per_second", r->bytes_per_second,
                     "read_bandwidth", r->read_bandwidth, "dispatches", (json_int_t)r->dispatches,
                     "barriers", (json_int_t)r->barriers, "kernels", kernels);
}

static int print_json(const struct options *o, const vkmoe_device_info *device, const char *model,
                      const vkmoe_bench_result *prompt, const vkmoe_bench_result *generate)
{
    json_t *results = json_array();
    if (prompt->tokens)
        json_array_append_new(results, result_json(o, prompt, true));
    if (generate->tokens)
        json_array_append_new(results, result_json(o, generate, false));
    return cli_print_json(json_pack("{s:o, s:o, s:o, s:I, s:o}", "model", cli_json_text(model),
                                    "device", cli_json_text(device->name), "driver",
                                    cli_json_text(device->driver), "layers", (json_int_t)o->layers,
                                    "results", results),
                          "the measurements");
}

/* --- running --- */

static int measure(const struct options *o, vkmoe_device *device, vkmoe_model *model,
                   const char *name)
{
    const vkmoe_bench_params params = {
        .prompt = (uint32_t)o->prompt,
        .generate = (uint32_t)o->generate,
        .depth = (uint32_t)o->depth,
        .chunk = o->common.chunk,
        .routing = o->common.routing,
        .repetitions = (uint32_t)o->repetitions,
        .profile = o->profile,
        .progress = on_progress,
    };
    const vkmoe_device_info *info = vkmoe_device_get_info(device);
    vkmoe_bench_result prompt, generate;
    vkmoe_error err;
    vkmoe_status status = vkmoe_bench_run(model, &params, &prompt, &generate, &err);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    if (o->as_json)
        return print_json(o, info, name, &prompt, &generate);
    printf("%s on %s, %s\n", name, info->name, info->driver);
    print_result(o, &prompt, true);
    print_result(o, &generate, false);
    return EXIT_DONE;
}

int cmd_bench(int argc, char **argv)
{
    struct options o;
    vkmoe_device *device = NULL;
    vkmoe_model *model = NULL;
    vkmoe_error err;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    const char *name = o.config ? o.config : cli_model_path(&o.common);
    vkmoe_log log = cli_log(&o.common);
    vkmoe_model_params params = load_params(&o);
    vkmoe_status status = cli_device_open(&o.common, &log, &device, &err);
    if (status == VKMOE_OK)
        status = o.config
                     ? vkmoe_model_invent(device, name, (uint32_t)o.layers, &params, &model, &err)
                     : vkmoe_model_load(device, name, &params, &model, &err);
    code = status == VKMOE_OK ? measure(&o, device, model, name) : cli_failed(&err);
    vkmoe_model_destroy(model);
    vkmoe_device_close(device);
    return code;
}
