#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "cli.h"

bool cli_parse_u64(const char *flag, const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || parsed < low || parsed > high) {
        cli_usage("%s: '%s' is not a whole number from %llu to %llu", flag, text,
                  (unsigned long long)low, (unsigned long long)high);
        return false;
    }
    *value = parsed;
    return true;
}

bool cli_parse_context(const char *text, struct cli_common *common)
{
    uint64_t context;
    if (!cli_parse_u64("-c", text, 1, CLI_MOST_TOKENS, &context))
        return false;
    common->context = (uint32_t)context;
    return true;
}

bool cli_parse_bytes(const char *flag, const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool good = text[0] >= '0' && text[0] <= '9' && !errno && isfinite(value);
    const char *unit = *end ? strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;
    if (unit) {
        value *= exp2(10.0 * (double)(unit - units + 1));
        end++;
        end += *end == 'i' && end[1] == 'B' ? 2 : *end == 'B';
    }
    if (!good || *end || value < 1 || value >= 0x1p63) {
        cli_usage("%s: '%s' is not a size in bytes such as 500M or 1.5G", flag, text);
        return false;
    }
    *bytes = (uint64_t)value;
    return true;
}

bool cli_parse_float(const char *flag, const char *text, float low, float high, float *value)
{
    char *end;
    float parsed = strtof(text, &end);
    if (end == text || *end || !isfinite(parsed) || parsed < low || parsed > high) {
        cli_usage("%s: '%s' is not a number from %g to %g", flag, text, (double)low, (double)high);
        return false;
    }
    *value = parsed;
    return true;
}

bool cli_parse_numbers(const char *flag, const char *what, const char *text, int32_t **numbers,
                       size_t *count)
{
    size_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',' || *p == ' ' || *p == '\n' || *p == '\t';
    int32_t *out = malloc(n * sizeof(*out));
    if (!out)
        return false;
    *count = 0;
    for (const char *p = text + strspn(text, ", \t\r\n"); *p; p += strspn(p, ", \t\r\n")) {
        char *end;
        errno = 0;
        long value = strtol(p, &end, 10);
        if (end == p || !strchr(", \t\r\n", *end) || errno || value < 0 || value > INT32_MAX) {
            cli_usage("%s: '%.*s' is not %s", flag, (int)strcspn(p, ", \t\r\n"), p, what);
            free(out);
            return false;
        }
        out[(*count)++] = (int32_t)value;
        p = end;
    }
    *numbers = out;
    return true;
}

json_t *cli_json_text(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    size_t size = strlen(text), kept = 0;
    char *good = malloc(size * (sizeof(replacement) - 1) + 1);
    if (!good)
        return NULL;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(size - at), &c);
        size_t used = n > 0 ? (size_t)n : sizeof(replacement) - 1;
        memcpy(good + kept, n > 0 ? text + at : replacement, used);
        kept += used;
        at += n > 0 ? (size_t)n : 1;
    }
    json_t *json = json_stringn(good, kept);
    free(good);
    return json;
}

int cli_print_json(json_t *root, const char *what)
{
    int failed = root ? json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : -1;
    fputc('\n', stdout);
    json_decref(root);
    if (!failed || ferror(stdout)) /* which is reported at the end */
        return EXIT_DONE;
    return cli_fail("%s cannot be put as JSON", what);
}

/* What getopt_long found wrong; it has no next option to take from the last argument it looked at.
 */
static int bad_option(int found, char **argv, const struct option *long_options)
{
    const char *command = argv[0], *last = argv[optind - 1];
    bool is_long = strncmp(last, "--", 2) == 0;
    if (found == ':')
        return cli_usage("%s: %s needs a value after it", command, last);
    for (const struct option *o = long_options; is_long && o->name; o++) {
        if (optopt && o->val == optopt && o->has_arg == no_argument)
            return cli_usage("%s: '%s' has a value, but --%s takes none", command, last, o->name);
    }
    if (optopt)
        return cli_usage("%s: '-%c' is not an option; `vkmoe %s --help` lists them", command,
                         optopt, command);
    return cli_usage("%s: '%s' is not an option, or short for several; `vkmoe %s --help` lists "
                     "them",
                     command, last, command);
}

int cli_next_option(int argc, char **argv, const char *short_options,
                    const struct option *long_options)
{
    char quiet[64]; /* a colon first: getopt_long tells what is missing apart, and prints nothing */
    snprintf(quiet, sizeof(quiet), ":%s", short_options);
    int option = getopt_long(argc, argv, quiet, long_options, NULL);
    if (option != ':' && option != '?')
        return option;
    bad_option(option, argv, long_options);
    return '?';
}

const char *cli_weights_name(vkmoe_weights weights)
{
    static const char *const names[VKMOE_WEIGHTS_COUNT] = {"bf16", "q8", "q4"};
    return names[weights];
}

static bool parse_weights(const char *text, vkmoe_weights *weights)
{
    for (int i = 0; i < VKMOE_WEIGHTS_COUNT; i++) {
        if (strcmp(text, cli_weights_name((vkmoe_weights)i)) == 0) {
            *weights = (vkmoe_weights)i;
            return true;
        }
    }
    cli_usage("--weights: '%s' is not bf16, q8 or q4", text);
    return false;
}

const char *cli_kv_name(vkmoe_kv kv)
{
    static const char *const names[VKMOE_KV_COUNT] = {"f32", "f16", "bf16", "q8"};
    return names[kv];
}

static bool parse_kv(const char *text, vkmoe_kv *kv)
{
    for (int i = 0; i < VKMOE_KV_COUNT; i++) {
        if (strcmp(text, cli_kv_name((vkmoe_kv)i)) == 0) {
            *kv = (vkmoe_kv)i;
            return true;
        }
    }
    cli_usage("--kv: '%s' is not f32, f16, bf16 or q8", text);
    return false;
}

int cli_common_option(struct cli_common *common, int option, const char *help)
{
    uint64_t number;
    vkmoe_error err;
    switch (option) {
    case 'h':
        fputs(help, stdout);
        return EXIT_DONE;
    case 'm':
        common->model = optarg;
        return *optarg ? -1 : cli_usage("-m: an empty name is no model folder or file");
    case 'v':
        common->verbosity++;
        return -1;
    case CLI_OPTION_DEVICE:
        common->device = optarg;
        return *optarg ? -1
                       : cli_usage("--device: an empty text names no device; `vkmoe devices` lists "
                                   "them");
    case CLI_OPTION_NO_CACHE:
        common->no_cache = true;
        return -1;
    case CLI_OPTION_VALIDATE:
        common->validation = true;
        return -1;
    case CLI_OPTION_NO_SUBGROUPS:
        common->no_subgroups = true;
        return -1;
    case CLI_OPTION_PATHS:
        if (vkmoe_paths_check(optarg, &err) != VKMOE_OK)
            return cli_usage("--%s", err.message);
        common->paths = optarg;
        return -1;
    case CLI_OPTION_NO_TUNING:
        common->no_tuning = true;
        return -1;
    case CLI_OPTION_TILED_ROWS:
        if (!cli_parse_u64("--tiled-rows", optarg, 1, UINT32_MAX, &number))
            return EXIT_USAGE;
        common->tiled_rows = (uint32_t)number;
        return -1;
    case CLI_OPTION_CHUNK:
        if (!cli_parse_u64("--chunk", optarg, 1, UINT32_MAX, &number))
            return EXIT_USAGE;
        common->chunk = (uint32_t)number;
        return -1;
    case CLI_OPTION_MEMORY_LIMIT:
        return cli_parse_bytes("--memory-limit", optarg, &common->memory_limit) ? -1 : EXIT_USAGE;
    case CLI_OPTION_WEIGHTS:
        return parse_weights(optarg, &common->weights) ? -1 : EXIT_USAGE;
    case CLI_OPTION_KV:
        return parse_kv(optarg, &common->kv) ? -1 : EXIT_USAGE;
    case CLI_OPTION_FORCE:
        common->force = true;
        return -1;
    default:
        return cli_routing_option(common, option);
    }
}
