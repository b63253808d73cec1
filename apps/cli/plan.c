/* vkmoe plan: the memory that a model would take on a device, before anything is loaded. */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"

static const char help[] =
    "usage: vkmoe plan [-m MODEL | --config NAME|FILE] [-c N] [OPTIONS]\n"
    "Tells what loading a model and running one session of it takes of each heap of a device,\n"
    "and whether it fits. Nothing is loaded. With a --memory-limit beyond what the device has "
    "left,\n"
    "only the limit counts: for a device that is not here.\n\n"
    "      --config NAME|FILE a configuration by its name (`vkmoe info --help` lists them), or a\n"
    "                         config.json without weights, which are taken to be BF16\n"
    "  -c, --context N        room for N tokens of prompt and text\n"
    "                         (default: what the model was made for, at most 4096)\n"
    "      --json             as JSON\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    const char *config;
    bool as_json;
};

enum { OPTION_CONFIG = CLI_OPTION_OWN, OPTION_JSON };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"context", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "c:", long_options)) != -1) {
        int code = -1;
        if (option == OPTION_CONFIG)
            o->config = optarg;
        else if (option == OPTION_JSON)
            o->as_json = true;
        else if (option == 'c')
            code = cli_parse_context(optarg, &o->common) ? -1 : EXIT_USAGE;
        else
            code = cli_common_option(&o->common, option, help);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("plan: '%s' is not an option", argv[optind]);
    if (o->common.model && o->config)
        return cli_usage("plan: give -m or --config, not both");
    return -1;
}

static double mb(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

static void print_heap(const vkmoe_heap_plan *h, uint32_t index)
{
    if (h->total + h->staging == 0)
        return;
    printf("\nheap %u, %s\n", index,
           h->device_local ? "memory of the device" : "memory of the host");
    printf("  weights                  %12.1f MB\n", mb(h->weights));
    printf("  KV cache                 %12.1f MB\n", mb(h->kv_cache));
    printf("  scratch                  %12.1f MB\n", mb(h->scratch));
    printf("  unused in allocations    %12.1f MB\n", mb(h->unused));
    printf("  all                      %12.1f MB\n", mb(h->total));
    if (h->staging > 0)
        printf("  staging, while loading   %12.1f MB\n", mb(h->staging));
    if (h->reserve > 0)
        printf("  kept for the driver      %12.1f MB\n", mb(h->reserve));
    printf("  there is                 %12.1f MB\n", mb(h->left));
}

static uint64_t local_left(const vkmoe_plan *p)
{
    uint64_t left = 0;
    for (uint32_t i = 0; i < p->n_heaps; i++)
        left += p->heaps[i].device_local ? p->heaps[i].left : 0;
    return left;
}

static uint64_t local_total(const vkmoe_plan *p)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < p->n_heaps; i++)
        total += p->heaps[i].device_local ? p->heaps[i].total : 0;
    return total;
}

static void print_verdict(const vkmoe_plan *p, const vkmoe_device_info *device)
{
    char reason[CLI_REASON_SIZE];
    cli_plan_reason(p, reason);
    if (p->memory_limit > 0)
        printf("memory limit               %.1f MB, of which it takes %.1f MB\n",
               mb(p->memory_limit), mb(p->device_bytes));
    if (!p->fits)
        printf("it does not fit: %s\n", reason);
    else if (device->kind == VKMOE_DEVICE_REFERENCE && p->memory_limit == 0 &&
             local_total(p) > local_left(p))
        puts(
            "it is not refused, as the reference executor refuses nothing, but takes more than the "
            "host's memory");
    else
        puts("it fits");
    if (p->limit_alone)
        printf("judged by the limit alone, as %s has %.1f MB left\n", device->name,
               mb(local_left(p)));
}

static void print_plan(const vkmoe_plan *p, const vkmoe_device_info *device, const char *model)
{
    printf("%s on %s, ", model, device->name);
    if (p->weights != VKMOE_WEIGHTS_STORED)
        printf("weights as %s, ", cli_weights_name(p->weights));
    printf("context %u, chunks of %u, KV cache in %s\n", p->context, p->chunk, cli_kv_name(p->kv));
    for (uint32_t i = 0; i < p->n_heaps; i++)
        print_heap(&p->heaps[i], i);
    printf("\nKV cache for a token       %.1f KB", (double)p->kv_bytes_per_token / 1e3);
    printf("\nexperts in host memory     %u of %u", p->n_host_experts, p->n_experts);
    if (p->n_host_experts > 0)
        printf(", %.1f MB; a token reads %.1f MB of them", mb(p->host_expert_bytes),
               p->host_bytes_per_token / 1e6);
    printf("\nread for a token           %.1f MB from the device's memory\n",
           p->device_bytes_per_token / 1e6);
    print_verdict(p, device);
}

static json_t *heap_json(const vkmoe_heap_plan *h)
{
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "device_local",
                     h->device_local, "weights", (json_int_t)h->weights, "kv_cache",
                     (json_int_t)h->kv_cache, "scratch", (json_int_t)h->scratch, "unused",
                     (json_int_t)h->unused, "total", (json_int_t)h->total, "staging",
                     (json_int_t)h->staging, "reserve", (json_int_t)h->reserve, "left",
                     (json_int_t)h->left);
}

static int print_json(const vkmoe_plan *p, const vkmoe_device_info *device, const char *model)
{
    char reason[CLI_REASON_SIZE];
    json_t *heaps = json_array();
    cli_plan_reason(p, reason);
    for (uint32_t i = 0; i < p->n_heaps; i++)
        json_array_append_new(heaps, heap_json(&p->heaps[i]));
    json_t *root =
        json_pack("{s:o, s:o, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, "
                  "s:b, s:s, s:o}",
                  "model", cli_json_text(model), "device", cli_json_text(device->name), "weights",
                  cli_weights_name(p->weights), "context", (json_int_t)p->context, "chunk",
                  (json_int_t)p->chunk, "kv", cli_kv_name(p->kv), "kv_bytes_per_token",
                  (json_int_t)p->kv_bytes_per_token, "memory_limit", (json_int_t)p->memory_limit,
                  "device_bytes", (json_int_t)p->device_bytes, "experts", (json_int_t)p->n_experts,
                  "host_experts", (json_int_t)p->n_host_experts, "host_expert_bytes",
                  (json_int_t)p->host_expert_bytes, "host_bytes_per_token", p->host_bytes_per_token,
                  "device_bytes_per_token", p->device_bytes_per_token, "limit_alone",
                  p->limit_alone, "fits", p->fits, "reason", reason, "heaps", heaps);
    return cli_print_json(root, "the plan");
}

/* A limit beyond what the device here has is of another device: then it counts alone. */
static vkmoe_status make_plan(vkmoe_device *device, const char *model, vkmoe_model_params *params,
                              vkmoe_plan *p, vkmoe_error *err)
{
    vkmoe_status status = vkmoe_model_plan(device, model, params, p, err);
    if (status != VKMOE_OK || (p->fits && p->n_host_experts == 0) ||
        params->memory_limit <= local_left(p))
        return status;
    params->limit_alone = true;
    return vkmoe_model_plan(device, model, params, p, err);
}

static int plan(struct options *o)
{
    const char *model = o->config ? o->config : cli_model_path(&o->common);
    uint32_t *table;
    int code = cli_router_table(&o->common, model, &table);
    if (code != EXIT_DONE)
        return code;
    vkmoe_log log = cli_log(&o->common);
    vkmoe_model_params params = cli_model_params(&o->common);
    vkmoe_device *device = NULL;
    vkmoe_plan p;
    vkmoe_error err;
    vkmoe_status status = cli_device_open(&o->common, &log, &device, &err);
    if (status == VKMOE_OK)
        status = make_plan(device, model, &params, &p, &err);
    if (status != VKMOE_OK)
        code = cli_failed(&err);
    else if (o->as_json)
        code = print_json(&p, vkmoe_device_get_info(device), model);
    else
        print_plan(&p, vkmoe_device_get_info(device), model);
    vkmoe_device_close(device);
    free(table);
    return code;
}

int cmd_plan(int argc, char **argv)
{
    struct options o;
    int code = parse(argc, argv, &o);
    return code >= 0 ? code : plan(&o);
}
