/* Options that say how experts are chosen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

const char *cli_router_name(vkmoe_router router)
{
    static const char *const names[VKMOE_ROUTER_COUNT] = {
        "model", "topk", "topk-normed", "gshard", "switch", "dense", "hash"};
    return names[router];
}

static bool parse_router(const char *text, vkmoe_router *router)
{
    for (int i = 0; i < VKMOE_ROUTER_COUNT; i++) {
        if (strcmp(text, cli_router_name((vkmoe_router)i)) == 0) {
            *router = (vkmoe_router)i;
            return true;
        }
    }
    cli_usage("--router: '%s' is not model, topk, topk-normed, gshard, switch, dense or hash",
              text);
    return false;
}

int cli_routing_option(struct cli_common *common, int option)
{
    vkmoe_routing *routing = &common->routing;
    uint64_t number;
    switch (option) {
    case CLI_OPTION_ROUTER:
        return parse_router(optarg, &routing->router) ? -1 : EXIT_USAGE;
    case CLI_OPTION_EXPERTS:
        if (!cli_parse_u64("--experts", optarg, 1, CLI_MOST_EXPERTS, &number))
            return EXIT_USAGE;
        routing->experts_per_token = (uint32_t)number;
        return -1;
    case CLI_OPTION_ROUTER_NOISE:
        return cli_parse_float("--router-noise", optarg, 0, 1e6f, &routing->noise) ? -1
                                                                                   : EXIT_USAGE;
    case CLI_OPTION_ROUTER_SEED:
        return cli_parse_u64("--router-seed", optarg, 0, UINT64_MAX, &routing->seed) ? -1
                                                                                     : EXIT_USAGE;
    case CLI_OPTION_ROUTER_TABLE:
        common->router_table = optarg;
        return *optarg ? -1 : cli_usage("--router-table: an empty name is no file");
    case CLI_OPTION_SKIP_EXPERTS:
        if (!cli_parse_u64("--skip-experts", optarg, 0, CLI_MOST_EXPERTS, &number))
            return EXIT_USAGE;
        routing->skip = (uint32_t)number;
        return -1;
    case CLI_OPTION_NO_SHARED:
        routing->without_shared = true;
        return -1;
    case CLI_OPTION_EXPERTS_OFF:
        common->experts_off = optarg;
        return -1;
    case CLI_OPTION_EXPERTS_FORCED:
        common->experts_forced = optarg;
        return -1;
    default:
        return EXIT_USAGE;
    }
}

/* --- lists of experts --- */

/* "7" or "3-7" below `limit`, or "*" for all; where it ends, or NULL. */
static const char *parse_range(const char *text, uint32_t limit, uint32_t *first, uint32_t *last)
{
    char *end;
    if (*text == '*') {
        *first = 0;
        *last = limit - 1;
        return limit > 0 ? text + 1 : NULL;
    }
    if (*text < '0' || *text > '9')
        return NULL;
    unsigned long low = strtoul(text, &end, 10), high = low;
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        high = strtoul(end + 1, &end, 10);
    if (low > high || high >= limit)
        return NULL;
    *first = (uint32_t)low;
    *last = (uint32_t)high;
    return end;
}

/* Gives experts of a layer, first to last, a state that none of them must have another than. */
static bool set_states(const char *flag, vkmoe_expert_state state, uint32_t layer,
                       const uint32_t experts[2], uint8_t *states)
{
    for (uint32_t e = experts[0]; e <= experts[1]; e++) {
        if (states[e] != VKMOE_EXPERT_FREE && states[e] != (uint8_t)state) {
            cli_fail("%s: expert %u of MoE layer %u is also %s", flag, e, layer,
                     states[e] == VKMOE_EXPERT_OFF ? "off" : "forced");
            return false;
        }
        states[e] = (uint8_t)state;
    }
    return true;
}

bool cli_expert_list(const char *flag, const char *list, const vkmoe_model_info *info,
                     vkmoe_expert_state state, uint8_t *states)
{
    uint32_t layers[2], experts[2], n = info->n_routed_experts;
    for (const char *at = list; *at;) {
        const char *end = parse_range(at, info->n_moe_layers, &layers[0], &layers[1]);
        if (end && *end == ':')
            end = parse_range(end + 1, n, &experts[0], &experts[1]);
        else
            end = NULL;
        if (!end || (*end && *end != ',')) {
            cli_fail("%s: '%.*s' is not LAYER:EXPERT, where the model has MoE layers 0 to %u with "
                     "experts 0 to %u",
                     flag, (int)strcspn(at, ","), at, info->n_moe_layers - 1, n - 1);
            return false;
        }
        for (uint32_t l = layers[0]; l <= layers[1]; l++)
            if (!set_states(flag, state, l, experts, states + (size_t)l * n))
                return false;
        at = end + (*end == ',');
    }
    return true;
}

int cli_expert_states(const struct cli_common *common, const vkmoe_model_info *info,
                      uint8_t **states)
{
    size_t count = (size_t)info->n_moe_layers * info->n_routed_experts;
    const char *off = common->experts_off, *forced = common->experts_forced;
    *states = NULL;
    if (!off && !forced)
        return EXIT_DONE;
    if (count == 0)
        return cli_fail("%s: the model has no routed experts",
                        off ? "--experts-off" : "--experts-forced");
    *states = calloc(count, 1);
    if (!*states)
        return cli_fail("host memory ran out for the states of %zu experts", count);
    if ((!off || cli_expert_list("--experts-off", off, info, VKMOE_EXPERT_OFF, *states)) &&
        (!forced ||
         cli_expert_list("--experts-forced", forced, info, VKMOE_EXPERT_FORCED, *states)))
        return EXIT_DONE;
    free(*states);
    *states = NULL;
    return EXIT_FAILED;
}

char *cli_routing_text(const struct cli_common *common)
{
    const vkmoe_routing *r = &common->routing;
    const char *off = common->experts_off ? common->experts_off : "none";
    const char *forced = common->experts_forced ? common->experts_forced : "none";
    const size_t room = 200 + strlen(off) + strlen(forced);
    char *text = malloc(room);
    if (text)
        snprintf(text, room,
                 "%s k %u noise %g seed %llu skip %u shared %s off %s forced %s%s%.0llx",
                 cli_router_name(r->router), r->experts_per_token, (double)r->noise,
                 (unsigned long long)r->seed, r->skip, r->without_shared ? "no" : "yes", off,
                 forced, r->table ? " table " : "", (unsigned long long)common->table_hash);
    return text;
}
