#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "cli.h"

/* What the user typed may hold anything, but the terminal gets one line: each byte that is
 * malformed or part of a control character becomes '?'. */
static void print_sentence(const char *text)
{
    size_t size = strlen(text);
    fputs("vkmoe: ", stderr);
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(size - at), &c);
        bool good = n > 0 && utf8proc_category(c) != UTF8PROC_CATEGORY_CC;
        n = n > 0 ? n : 1;
        if (good)
            fwrite(text + at, 1, (size_t)n, stderr);
        else
            fputc('?', stderr);
        at += (size_t)n;
    }
    fputc('\n', stderr);
}

static void print_sentence_v(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    print_sentence(text ? text : format);
    free(text);
    va_end(again);
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_sentence_v(format, args);
    va_end(args);
    return EXIT_USAGE;
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_sentence_v(format, args);
    va_end(args);
    return EXIT_FAILED;
}

int cli_failed(const vkmoe_error *err)
{
    return cli_fail("%s", err->message);
}

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
    if (!cli_parse_u64("-c", text, 1, 1u << 24, &context))
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

bool cli_parse_tokens(const char *flag, const char *text, int32_t **ids, size_t *count)
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
            cli_usage("%s: '%.*s' is not a token id", flag, (int)strcspn(p, ", \t\r\n"), p);
            free(out);
            return false;
        }
        out[(*count)++] = (int32_t)value;
        p = end;
    }
    *ids = out;
    return true;
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

static bool parse_weights(const char *text, vkmoe_weights *weights)
{
    static const char *const kinds[VKMOE_WEIGHTS_COUNT] = {"bf16", "q8", "q4"};
    for (int i = 0; i < VKMOE_WEIGHTS_COUNT; i++) {
        if (strcmp(text, kinds[i]) == 0) {
            *weights = (vkmoe_weights)i;
            return true;
        }
    }
    cli_usage("--weights: '%s' is not bf16, q8 or q4", text);
    return false;
}

int cli_common_option(struct cli_common *common, int option, const char *help)
{
    uint64_t number;
    switch (option) {
    case 'h':
        fputs(help, stdout);
        return EXIT_DONE;
    case 'm':
        common->model = optarg;
        return -1;
    case 'v':
        common->verbosity++;
        return -1;
    case CLI_OPTION_DEVICE:
        common->device = optarg;
        return -1;
    case CLI_OPTION_NO_CACHE:
        common->no_cache = true;
        return -1;
    case CLI_OPTION_VALIDATE:
        common->validation = true;
        return -1;
    case CLI_OPTION_NO_SUBGROUPS:
        common->no_subgroups = true;
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
    case CLI_OPTION_FORCE:
        common->force = true;
        return -1;
    default:
        return EXIT_USAGE;
    }
}
