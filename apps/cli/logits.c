/* vkmoe logits: what a model computes for given tokens, as a safetensors file. */
#include <stdlib.h>
#include <string.h>

#include <stdio.h>

#include "cli.h"

static const char help[] =
    "usage: vkmoe logits (--tokens 1,2,3 | -p TEXT) -o OUT.safetensors [OPTIONS]\n"
    "Writes tokens I32 [T], logits F32 [T, vocabulary] and, for each MoE layer L,\n"
    "layers.L.topk_idx I32 and layers.L.topk_weight F32 [T, K] by falling weight.\n\n"
    "      --tokens LIST      token ids, taken as they are\n"
    "  -p, --prompt TEXT      or text, with the BOS token before it if the model wants one\n"
    "  -o, --output FILE      where to write\n"
    "      --reference        compute on the float64 reference executor, without "
    "Vulkan\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    const char *tokens, *prompt, *output;
};

enum { OPTION_TOKENS = CLI_OPTION_OWN, OPTION_REFERENCE };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"prompt", required_argument, NULL, 'p'},
    {"output", required_argument, NULL, 'o'},
    {"reference", no_argument, NULL, OPTION_REFERENCE},
    {NULL, 0, NULL, 0},
};

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "p:o:", long_options)) != -1) {
        int code = -1;
        if (option == OPTION_TOKENS)
            o->tokens = optarg;
        else if (option == OPTION_REFERENCE)
            o->common.device = "reference";
        else if (option == 'p')
            o->prompt = optarg;
        else if (option == 'o')
            o->output = optarg;
        else
            code = cli_common_option(&o->common, option, help);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("logits: '%s' is not an option", argv[optind]);
    if (!o->tokens == !o->prompt)
        return cli_usage(o->tokens ? "logits: give --tokens or -p, not both"
                                   : "logits: --tokens LIST or -p TEXT is needed");
    if (!o->output)
        return cli_usage("logits: -o FILE is needed");
    return -1;
}

static void free_trace(vkmoe_trace *t)
{
    free(t->logits);
    free(t->topk_ids);
    free(t->topk_gates);
}

/* One byte more than nothing, so that a dense model's empty routing is not NULL. */
static bool alloc_trace(const vkmoe_model_info *info, size_t count, vkmoe_trace *t)
{
    size_t routes = (size_t)info->n_moe_layers * count * t->experts_per_token;
    t->logits = malloc(count * info->vocab_size * sizeof(float));
    t->topk_ids = malloc(routes * sizeof(int32_t) + 1);
    t->topk_gates = malloc(routes * sizeof(float) + 1);
    return t->logits && t->topk_ids && t->topk_gates;
}

static int compute(const struct options *o, struct cli_engine *e, const int32_t *ids, size_t count)
{
    vkmoe_error err;
    vkmoe_trace trace = {0};
    vkmoe_session *session = NULL;
    const vkmoe_model_info *info = vkmoe_model_get_info(e->model);
    int code = cli_session_create(&o->common, e->model, &session);
    if (code != EXIT_DONE)
        return code;
    trace.experts_per_token = vkmoe_session_experts_per_token(session);
    if (!alloc_trace(info, count, &trace)) {
        free_trace(&trace);
        vkmoe_session_destroy(session);
        return cli_fail("host memory ran out for the logits of %zu tokens", count);
    }
    vkmoe_status status = vkmoe_session_eval(session, ids, count, &trace, &err);
    if (status == VKMOE_OK)
        status = vkmoe_trace_write(e->model, ids, count, &trace, o->output, &err);
    vkmoe_session_destroy(session);
    free_trace(&trace);
    return status == VKMOE_OK ? EXIT_DONE : cli_failed(&err);
}

/* The ids of the prompt, to be freed with free. */
static int encode_prompt(const struct options *o, const struct cli_engine *e, int32_t **ids,
                         size_t *count)
{
    vkmoe_error err;
    int32_t *encoded;
    if (vkmoe_tokenizer_encode(e->tokenizer, o->prompt, strlen(o->prompt), true, &encoded, count,
                               &err) != VKMOE_OK)
        return cli_failed(&err);
    *ids = malloc(*count * sizeof(**ids) + 1);
    if (*ids)
        memcpy(*ids, encoded, *count * sizeof(**ids));
    vkmoe_tokenizer_free(e->tokenizer, encoded);
    return *ids ? EXIT_DONE : EXIT_FAILED;
}

int cmd_logits(int argc, char **argv)
{
    struct options o;
    struct cli_engine e;
    int32_t *ids = NULL;
    size_t count = 0;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    if (o.tokens && !cli_parse_numbers("--tokens", "a token id", o.tokens, &ids, &count))
        return EXIT_USAGE;
    if (o.prompt && !cli_check_utf8("-p", o.prompt, strlen(o.prompt)))
        return EXIT_FAILED;
    code = cli_tokenizer_open(&o.common, &e);
    if (code == EXIT_DONE && o.prompt)
        code = encode_prompt(&o, &e, &ids, &count);
    o.common.context = count < UINT32_MAX ? (uint32_t)count : 0;
    o.common.fixed_context = true;
    if (code == EXIT_DONE)
        code = cli_engine_open(&o.common, count < UINT32_MAX ? (uint32_t)count : 0, &e);
    if (code == EXIT_DONE)
        code = compute(&o, &e, ids, count);
    cli_engine_close(&e);
    free(ids);
    return code;
}
