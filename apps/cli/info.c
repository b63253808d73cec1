/* vkmoe info: what a model is, without a device and without reading its weights. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: vkmoe info [-m MODEL | --config NAME|FILE] [--json]\n"
    "Prints the shape of a model, its parameters, operations and bytes.\n\n"
    "  -m, --model MODEL      folder in Hugging Face layout, or GGUF file (default: the shipped\n"
    "                         model)\n"
    "      --config NAME|FILE a configuration by its name, or a config.json without weights\n"
    "      --json             as JSON\n"
    "  -h, --help             this text\n\n"
    "Known configurations:";

struct row {
    const char *name;
    uint64_t bytes_each;
};

static const struct row dtypes[] = {{"BF16", 2}, {"F16", 2}, {"F32", 4}};
enum { N_DTYPES = sizeof(dtypes) / sizeof(dtypes[0]) };

/* "16.38 B": a count in thousands, millions, ... */
struct text {
    char text[32];
};

static struct text scaled(double value, const char *const units[], size_t n)
{
    struct text t;
    size_t i = 0;
    for (; value >= 999.5 && i + 1 < n; i++)
        value /= 1000;
    snprintf(t.text, sizeof(t.text), i ? "%.2f %s" : "%.0f %s", value, units[i]);
    return t;
}

static struct text count_text(double value)
{
    static const char *const units[] = {"", "K", "M", "B", "T"};
    return scaled(value, units, sizeof(units) / sizeof(units[0]));
}

static struct text bytes_text(double value)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    return scaled(value, units, sizeof(units) / sizeof(units[0]));
}

static void print_router(const vkmoe_description *d)
{
    static const char *const what[VKMOE_ROUTER_COUNT] = {
        [VKMOE_ROUTER_TOPK] = "the best by score, gates are probabilities",
        [VKMOE_ROUTER_TOPK_NORMED] = "the best by score, gates add up to 1",
        [VKMOE_ROUTER_GSHARD] = "the two best by score, gates add up to 1",
        [VKMOE_ROUTER_SWITCH] = "the best one by score, its gate is its probability",
        [VKMOE_ROUTER_DENSE] = "all experts, gates are probabilities",
        [VKMOE_ROUTER_HASH] = "a table over token ids, all gates are the same",
    };
    printf("router           %s: %s", cli_router_name(d->router), what[d->router]);
    if (d->router_noise > 0)
        printf("; normal noise of %g on scores", (double)d->router_noise);
    if (d->router_noise > 0 || d->router == VKMOE_ROUTER_HASH)
        printf(", seed %llu", (unsigned long long)d->router_seed);
    putchar('\n');
}

static void print_shape(const vkmoe_description *d)
{
    printf("layers           %u: %u dense, %u with experts\n", d->n_layers,
           d->n_layers - d->n_moe_layers, d->n_moe_layers);
    printf("hidden size      %u\n", d->hidden_size);
    printf("attention        %u heads of %u", d->n_heads, d->head_size);
    printf(d->n_kv_heads < d->n_heads ? " on %u key-value heads\n" : "\n", d->n_kv_heads);
    printf("vocabulary       %u%s\n", d->vocab_size,
           d->tied_embeddings ? ", embeddings and head are one table" : "");
    printf("context          %u tokens\n", d->max_context);
    if (d->dense_width > 0)
        printf("dense FFN        %u wide\n", d->dense_width);
    if (d->n_moe_layers == 0)
        return;
    printf("routed experts   %u in a layer, each %u wide; %u of them for each token\n",
           d->n_routed_experts, d->expert_width, d->n_experts_per_token);
    printf("shared experts   %u in a layer, for every token\n", d->n_shared_experts);
    print_router(d);
    printf("combinations     %.*g ways to choose a token's experts in a layer\n",
           d->expert_combinations < 0x1p43 ? 15 : 4, d->expert_combinations);
}

static void print_parameters(const vkmoe_description *d)
{
    printf("\nparameters               total    activated for one token\n");
    for (int i = 0; i < VKMOE_PART_COUNT; i++) {
        if (d->parts[i].total > 0)
            printf("  %-16s  %10s   %10s\n", vkmoe_part_text((vkmoe_part)i),
                   count_text((double)d->parts[i].total).text,
                   count_text((double)d->parts[i].activated).text);
    }
    printf("  %-16s  %10s   %10s\n", "all", count_text((double)d->parameters.total).text,
           count_text((double)d->parameters.activated).text);
}

static void print_costs(const vkmoe_description *d)
{
    printf("\noperations (FLOPs)  2048 tokens  4096 tokens\n");
    printf("  forward           %10s   %10s\n", count_text(d->flops.forward_per_2k).text,
           count_text(d->flops.forward_per_4k).text);
    printf("  training          %10s   %10s\n", count_text(d->flops.training_per_2k).text,
           count_text(d->flops.training_per_4k).text);
    printf("\nweights          ");
    for (int i = 0; i < N_DTYPES; i++)
        printf("%s%s as %s", i ? ", " : "",
               bytes_text((double)(d->parameters.total * dtypes[i].bytes_each)).text,
               dtypes[i].name);
    printf("\nKV cache         ");
    for (int i = 0; i < VKMOE_KV_COUNT; i++)
        printf("%s%s as %s", i ? ", " : "", bytes_text((double)d->kv_bytes_per_token[i]).text,
               cli_kv_name((vkmoe_kv)i));
    printf(", for each token of context\n");
    if (d->weights != VKMOE_WEIGHTS_STORED)
        printf("quantised        to %s, in the layout of this vkmoe\n",
               cli_weights_name(d->weights));
    for (uint32_t i = 0; i < d->n_stored; i++)
        printf("%-16s %s in %llu tensors of %s\n", i ? "" : "checkpoint",
               bytes_text((double)d->stored[i].bytes).text,
               (unsigned long long)d->stored[i].tensors, d->stored[i].dtype);
}

static void set_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static json_t *shape_json(const vkmoe_description *d, const char *model)
{
    json_t *o = json_pack("{s:o}", "model", cli_json_text(model));
    set_count(o, "layers", d->n_layers);
    set_count(o, "moe_layers", d->n_moe_layers);
    set_count(o, "hidden_size", d->hidden_size);
    set_count(o, "vocabulary", d->vocab_size);
    set_count(o, "heads", d->n_heads);
    set_count(o, "key_value_heads", d->n_kv_heads);
    set_count(o, "head_size", d->head_size);
    set_count(o, "dense_width", d->dense_width);
    set_count(o, "expert_width", d->expert_width);
    set_count(o, "routed_experts", d->n_routed_experts);
    set_count(o, "experts_per_token", d->n_experts_per_token);
    set_count(o, "shared_experts", d->n_shared_experts);
    json_object_set_new(
        o, "router", d->n_moe_layers > 0 ? json_string(cli_router_name(d->router)) : json_null());
    json_object_set_new(o, "router_noise", json_real((double)d->router_noise));
    set_count(o, "router_seed", d->router_seed);
    set_count(o, "context", d->max_context);
    json_object_set_new(o, "tied_embeddings", json_boolean(d->tied_embeddings));
    json_object_set_new(o, "expert_combinations",
                        d->expert_combinations < 0x1p53
                            ? json_integer((json_int_t)d->expert_combinations)
                            : json_real(d->expert_combinations));
    return o;
}

static json_t *parts_json(const vkmoe_description *d)
{
    json_t *parts = json_object();
    for (int i = 0; i < VKMOE_PART_COUNT; i++) {
        json_t *part = json_object();
        set_count(part, "total", d->parts[i].total);
        set_count(part, "activated", d->parts[i].activated);
        json_object_set_new(parts, vkmoe_part_text((vkmoe_part)i), part);
    }
    return parts;
}

static int print_json(const vkmoe_description *d, const char *model)
{
    json_t *o = shape_json(d, model), *bytes = json_object(), *stored = json_object(),
           *kv = json_object();
    set_count(o, "total_parameters", d->parameters.total);
    set_count(o, "activated_parameters", d->parameters.activated);
    json_object_set_new(o, "parameters", parts_json(d));
    json_object_set_new(o, "forward_flops_per_2k", json_real(d->flops.forward_per_2k));
    json_object_set_new(o, "forward_flops_per_4k", json_real(d->flops.forward_per_4k));
    json_object_set_new(o, "training_flops_per_2k", json_real(d->flops.training_per_2k));
    json_object_set_new(o, "training_flops_per_4k", json_real(d->flops.training_per_4k));
    for (int i = 0; i < N_DTYPES; i++)
        set_count(bytes, dtypes[i].name, d->parameters.total * dtypes[i].bytes_each);
    json_object_set_new(o, "weight_bytes", bytes);
    for (uint32_t i = 0; i < d->n_stored; i++)
        set_count(stored, d->stored[i].dtype, d->stored[i].bytes);
    json_object_set_new(o, "checkpoint_bytes", stored);
    if (d->weights != VKMOE_WEIGHTS_STORED)
        json_object_set_new(o, "quantised", json_string(cli_weights_name(d->weights)));
    set_count(o, "kv_bytes_per_token", d->kv_bytes_per_token[VKMOE_KV_F32]);
    for (int i = 0; i < VKMOE_KV_COUNT; i++)
        set_count(kv, cli_kv_name((vkmoe_kv)i), d->kv_bytes_per_token[i]);
    json_object_set_new(o, "kv_bytes_per_token_as", kv);
    return cli_print_json(o, "the model");
}

static int info(const char *model, bool as_json)
{
    vkmoe_description d;
    vkmoe_error err;
    if (vkmoe_model_describe(model, &d, &err) != VKMOE_OK)
        return cli_failed(&err);
    if (as_json)
        return print_json(&d, model);
    printf("%s: %s parameters, %s of them activated for a token\n\n", model,
           count_text((double)d.parameters.total).text,
           count_text((double)d.parameters.activated).text);
    print_shape(&d);
    print_parameters(&d);
    print_costs(&d);
    return EXIT_DONE;
}

static int print_help(void)
{
    fputs(help, stdout);
    for (size_t i = 0; vkmoe_config_name(i); i++)
        printf("%s%s", i % 4 ? " " : "\n  ", vkmoe_config_name(i));
    fputc('\n', stdout);
    return EXIT_DONE;
}

int cmd_info(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"model", required_argument, NULL, 'm'},
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    struct cli_common common = {0};
    const char *config = NULL;
    bool as_json = false;
    int option;
    while ((option = cli_next_option(argc, argv, "hm:", long_options)) != -1) {
        if (option == 'h')
            return print_help();
        else if (option == 'c')
            config = optarg;
        else if (option == 'j')
            as_json = true;
        else {
            int code = cli_common_option(&common, option, help);
            if (code >= 0)
                return code;
        }
    }
    if (optind < argc)
        return cli_usage("info: '%s' is not an option", argv[optind]);
    if (common.model && config)
        return cli_usage("info: give -m or --config, not both");
    return info(config ? config : cli_model_path(&common), as_json);
}
