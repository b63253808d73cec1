/* vkmoe devices: what there is and what would be used. */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "path_words.h"

static const char help[] = "usage: vkmoe devices [--json] [-v]\n"
                           "Lists the Vulkan devices; * marks the default.\n\n"
                           "      --json             as JSON\n"
                           "  -v, --verbose          also capabilities and reasons\n"
                           "  -h, --help             this text\n";

static const char *const kinds[] = {
    [VKMOE_DEVICE_DISCRETE] = "discrete", [VKMOE_DEVICE_INTEGRATED] = "integrated",
    [VKMOE_DEVICE_VIRTUAL] = "virtual",   [VKMOE_DEVICE_CPU] = "cpu",
    [VKMOE_DEVICE_OTHER] = "other",       [VKMOE_DEVICE_REFERENCE] = "reference",
};

static const char *path_name(const vkmoe_device_info *d)
{
    return !d->usable ? "none" : d->subgroup_arithmetic ? "subgroup" : "base";
}

static uint64_t local_memory(const vkmoe_device_info *d)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < d->n_heaps; i++)
        total += d->heaps[i].device_local ? d->heaps[i].size : 0;
    return total;
}

json_t *cli_paths_json(const vkmoe_device_info *d)
{
    json_t *paths = json_array();
    for (uint32_t i = 0; i < d->n_paths; i++)
        json_array_append_new(paths, json_pack("{s:s, s:s, s:b, s:s}", "name", d->paths[i].name,
                                               "state", path_state(d->paths[i].state), "suits",
                                               d->paths[i].suits, "reason", d->paths[i].reason));
    return paths;
}

json_t *cli_heaps_json(const vkmoe_device_info *d)
{
    json_t *heaps = json_array();
    for (uint32_t i = 0; i < d->n_heaps; i++)
        json_array_append_new(heaps,
                              json_pack("{s:I, s:I, s:b}", "size", (json_int_t)d->heaps[i].size,
                                        "budget", (json_int_t)d->heaps[i].budget, "device_local",
                                        d->heaps[i].device_local));
    return heaps;
}

static json_t *device_json(const vkmoe_device_info *d)
{
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:b, s:s, s:s, s:i, s:i, s:i, s:b, s:b, s:i, "
        "s:i, s:I, s:b, s:i, s:{s:s, s:s, s:s, s:s}, s:o, s:o}",
        "index", (int)d->index, "name", d->name, "kind", kinds[d->kind], "driver", d->driver,
        "uuid", d->uuid, "driver_id", (int)d->driver_id, "api_version",
        d->api_version >= (1u << 22 | 3u << 12) ? "1.3 or later" : "below 1.3", "usable", d->usable,
        "default", d->is_default, "reason", d->reason, "path", path_name(d), "subgroup_size",
        (int)d->subgroup_size, "subgroup_min", (int)d->subgroup_min, "subgroup_max",
        (int)d->subgroup_max, "memory_budget", d->memory_budget, "transfer_queue",
        d->transfer_queue, "shared_memory", (int)d->shared_memory, "max_invocations",
        (int)d->max_invocations, "max_allocation",
        (json_int_t)(d->max_allocation > INT64_MAX ? INT64_MAX : d->max_allocation), "tuned",
        d->tuned, "tuned_choices", (int)d->n_tuned, "chosen_paths", "decode", d->decode_path, "f32",
        d->f32_path, "half", d->half_path, "quantised", d->quantised_path, "heaps",
        cli_heaps_json(d), "paths", cli_paths_json(d));
}

static int print_json(const vkmoe_device_info *devices, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, device_json(&devices[i]));
    return cli_print_json(json_pack("{s:o}", "devices", list), "the list of devices");
}

/* Whether it is used where nothing is asked for, and why not. */
static void print_path(const vkmoe_path_info *path)
{
    bool unasked = path->state != VKMOE_PATH_MISSING && path->state != VKMOE_PATH_FAILED;
    printf("       path %s: %s%s%s%s\n", path->name, path_verdict(path->state),
           unasked && !path->suits ? ", used only if asked for" : "", path->reason[0] ? ": " : "",
           path->reason);
}

static void print_device(const vkmoe_device_info *d, bool verbose)
{
    printf("%c %u  %-10s %s (%s), %.1f GB\n", d->is_default ? '*' : ' ', d->index, kinds[d->kind],
           d->name, d->driver, (double)local_memory(d) / 1e9);
    if (!d->usable || verbose)
        printf("       %s%s\n", d->usable ? "" : "not usable: ", d->reason);
    if (!verbose)
        return;
    printf("       uuid %s, Vulkan %u.%u.%u\n", d->uuid, d->api_version >> 22 & 0x7f,
           d->api_version >> 12 & 0x3ff, d->api_version & 0xfff);
    printf("       path %s, subgroups of %u (%u to %u), %u invocations, %u KiB shared memory\n",
           path_name(d), d->subgroup_size, d->subgroup_min, d->subgroup_max, d->max_invocations,
           d->shared_memory / 1024);
    printf(
        "       decoding: %s; products of many rows with weights in float32: %s, in 16 bits: %s, "
        "quantised: %s\n",
        d->decode_path, d->f32_path, d->half_path, d->quantised_path);
    printf("       launches %s\n", d->n_tuned > 0 ? "as `vkmoe bench --tune` found them best"
                                   : d->tuned
                                       ? "as vkmoe has them; `vkmoe bench --tune` found none better"
                                       : "as vkmoe has them");
    printf("       %s transfer queue, memory budget %s, allocations up to %.1f GB\n",
           d->transfer_queue ? "own" : "no", d->memory_budget ? "reported" : "not reported",
           (double)d->max_allocation / 1e9);
    for (uint32_t i = 0; i < d->n_paths; i++)
        print_path(&d->paths[i]);
    for (uint32_t i = 0; i < d->n_heaps; i++)
        printf("       heap %u: %.2f GB%s, budget %.2f GB\n", i, (double)d->heaps[i].size / 1e9,
               d->heaps[i].device_local ? " on the device" : "", (double)d->heaps[i].budget / 1e9);
}

static int list(const struct cli_common *common, bool as_json)
{
    vkmoe_error err;
    vkmoe_log log = cli_log(common);
    vkmoe_device_params params = {.log = &log};
    size_t count = 0;
    if (vkmoe_device_list(&params, NULL, 0, &count, &err) != VKMOE_OK)
        return cli_failed(&err);
    size_t capacity = count;
    vkmoe_device_info *devices = calloc(count, sizeof(*devices));
    if (!devices)
        return cli_fail("host memory ran out for the list of %zu devices", count);
    if (vkmoe_device_list(&params, devices, capacity, &count, &err) != VKMOE_OK) {
        free(devices);
        return cli_failed(&err);
    }
    int code = EXIT_DONE;
    if (as_json)
        code = print_json(devices, count < capacity ? count : capacity);
    else
        for (size_t i = 0; i < count && i < capacity; i++)
            print_device(&devices[i], common->verbosity > 0);
    free(devices);
    return code;
}

int cmd_devices(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct cli_common common = {0};
    bool as_json = false;
    int option;
    while ((option = cli_next_option(argc, argv, "hv", long_options)) != -1) {
        if (option == 'j') {
            as_json = true;
            continue;
        }
        int code = cli_common_option(&common, option, help);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("devices: '%s' is not an option", argv[optind]);
    return list(&common, as_json);
}
