/* vkmoe quantize: a model's weights quantised once, to be loaded as they are. */
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: vkmoe quantize [-m MODEL] --weights q8|q4 -o FOLDER [OPTIONS]\n"
    "Writes the model with the weights that --weights makes of it while loading, so that loading\n"
    "FOLDER is reading it, with the same results to the bit. No device is needed.\n\n"
    "  -m, --model MODEL      folder in Hugging Face layout (default: the shipped model)\n"
    "      --weights KIND     q8: 8 bits; q4: 4 bits, the head 8\n"
    "  -o, --output FOLDER    where to write; nothing of that name may exist\n"
    "      --shard-size N     at most N bytes of weights in one file (default: 4G)\n"
    "  -v, --verbose          say what was chosen and why; twice: more\n"
    "  -h, --help             this text\n";

struct options {
    struct cli_common common;
    const char *output;
    uint64_t shard_bytes;
};

enum { OPTION_SHARD_SIZE = CLI_OPTION_OWN };

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"model", required_argument, NULL, 'm'},
    {"verbose", no_argument, NULL, 'v'},
    {"weights", required_argument, NULL, CLI_OPTION_WEIGHTS},
    {"output", required_argument, NULL, 'o'},
    {"shard-size", required_argument, NULL, OPTION_SHARD_SIZE},
    {NULL, 0, NULL, 0},
};

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    bool chosen = false;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "o:", long_options)) != -1) {
        int code = -1;
        if (option == 'o')
            o->output = optarg;
        else if (option == OPTION_SHARD_SIZE)
            code = cli_parse_bytes("--shard-size", optarg, &o->shard_bytes) ? -1 : EXIT_USAGE;
        else
            code = cli_common_option(&o->common, option, help);
        chosen |= option == CLI_OPTION_WEIGHTS;
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("quantize: '%s' is not an option", argv[optind]);
    if (!chosen)
        return cli_usage("quantize: --weights q8 or --weights q4 is needed");
    if (o->common.weights == VKMOE_WEIGHTS_STORED)
        return cli_usage("quantize: --weights bf16 is what the model has, expected q8 or q4");
    if (!o->output || !*o->output)
        return cli_usage("quantize: -o FOLDER is needed");
    return -1;
}

int cmd_quantize(int argc, char **argv)
{
    struct options o;
    vkmoe_error err;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    if (!cli_model_is_there(&o.common))
        return EXIT_FAILED;
    cli_catch_interrupt();
    struct cli_progress progress = {.doing = "quantising", .after = "writing the rest"};
    vkmoe_log log = cli_log(&o.common);
    const vkmoe_quantize_params params = {
        .log = &log,
        .weights = o.common.weights,
        .progress = cli_on_progress,
        .user = &progress,
        .shard_bytes = o.shard_bytes,
    };
    vkmoe_status status = vkmoe_model_quantize(cli_model_path(&o.common), o.output, &params, &err);
    cli_end_progress();
    if (status == VKMOE_OK)
        return EXIT_DONE;
    return status == VKMOE_CANCELLED && cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
}
