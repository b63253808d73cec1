/* The tables of tests/conformance/README.md, made from the reports beside it:
 *
 *   conformance_table            exits with 1 if the file does not hold what the reports say
 *   conformance_table --write    puts it there
 *
 * A report is what `vkmoe conform --summary` writes; its file's name stands at the column's head.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vkmoe/conform.h>

static const char folder[] = VKMOE_SOURCE "/tests/conformance";
static const char page_path[] = VKMOE_SOURCE "/tests/conformance/README.md";
static const char begin_mark[] = "<!-- written by conformance_table -->\n";
static const char end_mark[] = "<!-- end -->\n";

#define SUITE_LINE "The suite, as of when this was written: `"
#define SUITE_SIZE 17 /* 16 digits */

#define COLUMNS_MAX 64
#define KERNELS_MAX 256

/* One device of one report. */
struct column {
    char name[80];
    const json_t *report, *device;
};

struct tables {
    json_t *reports[COLUMNS_MAX];
    struct column columns[COLUMNS_MAX];
    const char *kernels[KERNELS_MAX]; /* and checks, in the order in which reports have them */
    size_t n_reports, n_columns, n_kernels;
};

_Noreturn static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("conformance_table: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(EXIT_FAILURE);
}

/* --- what reports hold --- */

static const json_t *member(const struct column *c, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!value)
        fail("%s/%s.json has no '%s' where a report has one", folder, c->name, key);
    return value;
}

static const char *text(const struct column *c, const json_t *object, const char *key)
{
    const json_t *value = member(c, object, key);
    if (!json_is_string(value))
        fail("%s/%s.json: '%s' is no string", folder, c->name, key);
    return json_string_value(value);
}

static json_int_t integer(const struct column *c, const json_t *object, const char *key)
{
    const json_t *value = member(c, object, key);
    if (!json_is_integer(value))
        fail("%s/%s.json: '%s' is no whole number", folder, c->name, key);
    return json_integer_value(value);
}

/* Cases of a device or of a test that neither passed nor failed; older reports have no such. */
static json_int_t untested(const struct column *c, const json_t *object)
{
    return json_object_get(object, "untested") ? integer(c, object, "untested") : 0;
}

/* Those that JSON cannot tell are words: "inf". */
static double number(const struct column *c, const json_t *object, const char *key)
{
    const json_t *value = member(c, object, key);
    return json_is_string(value) ? strtod(json_string_value(value), NULL)
                                 : json_number_value(value);
}

static void add_kernel(struct tables *t, const char *name)
{
    for (size_t i = 0; i < t->n_kernels; i++)
        if (strcmp(t->kernels[i], name) == 0)
            return;
    if (t->n_kernels == KERNELS_MAX)
        fail("the reports name more than %d kernels", KERNELS_MAX);
    t->kernels[t->n_kernels++] = name;
}

static void add_device(struct tables *t, const char *file, const json_t *report,
                       const json_t *device)
{
    size_t i;
    const json_t *test;
    if (t->n_columns == COLUMNS_MAX)
        fail("the reports have more than %d devices", COLUMNS_MAX);
    struct column *c = &t->columns[t->n_columns++];
    *c = (struct column){.report = report, .device = device};
    const char *ending = strrchr(file, '.');
    snprintf(c->name, sizeof(c->name), "%.*s", (int)(ending - file), file);
    json_array_foreach(member(c, device, "tests"), i, test) add_kernel(t, text(c, test, "kernel"));
}

static void load(struct tables *t, const char *file)
{
    char path[4096];
    json_error_t error;
    size_t i;
    const json_t *device;
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    json_t *report = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!report)
        fail("%s, line %d: %s", path, error.line, error.text);
    if (t->n_reports == COLUMNS_MAX)
        fail("%s has more than %d reports", folder, COLUMNS_MAX);
    t->reports[t->n_reports++] = report;
    json_array_foreach(json_object_get(report, "devices"), i, device)
        add_device(t, file, report, device);
    if (i == 0)
        fail("%s tells of no device, so it is no report of vkmoe conform --summary", path);
}

static int is_report(const struct dirent *entry)
{
    const char *ending = strrchr(entry->d_name, '.');
    return ending && strcmp(ending, ".json") == 0;
}

static void load_all(struct tables *t)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_report, alphasort);
    if (n <= 0)
        fail("%s: %s", folder, n < 0 ? strerror(errno) : "there is no report here");
    for (int i = 0; i < n; i++) {
        load(t, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static void unload(struct tables *t)
{
    for (size_t i = 0; i < t->n_reports; i++)
        json_decref(t->reports[i]);
}

/* --- drivers --- */

static void write_sizes(FILE *f, json_int_t mask)
{
    const char *before = "";
    for (int size = 1; size <= 128; size *= 2)
        if (mask & size) {
            fprintf(f, "%s%d", before, size);
            before = ", ";
        }
    fputs(before[0] ? "" : "none", f);
}

/* Of another suite than the page tells: what the report says was asked of other kernels or by other
 * cases. */
static void write_suite(FILE *f, const struct column *c, const char *suite)
{
    const char *own = json_string_value(json_object_get(c->report, "suite"));
    if (!own)
        fputs("**another**, not told | ", f);
    else if (strcmp(own, suite) != 0)
        fprintf(f, "**another**, %s | ", own);
    else
        fprintf(f, "%s | ", own);
}

static void write_driver(FILE *f, const struct column *c, const char *suite)
{
    const json_t *d = c->device, *stopped = json_object_get(d, "stopped");
    json_int_t api = integer(c, d, "api_version"), failed = integer(c, d, "failed");
    fprintf(f, "| [%s](%s.json) | %s | %s | %d.%d.%d | ", c->name, c->name, text(c, d, "name"),
            text(c, d, "driver"), (int)(api >> 22 & 0x7f), (int)(api >> 12 & 0x3ff),
            (int)(api & 0xfff));
    write_sizes(f, integer(c, d, "subgroup_sizes"));
    fprintf(f, " | %s %s | ", text(c, c->report, "vkmoe"), text(c, c->report, "level"));
    write_suite(f, c, suite);
    if (stopped)
        fprintf(f, "**not finished:** %s", json_string_value(stopped));
    else if (failed > 0)
        fprintf(f, "**%d of %d failed**", (int)failed, (int)integer(c, d, "cases_run"));
    else if (untested(c, d) > 0)
        fprintf(f, "%d passed, %d not tested", (int)(integer(c, d, "cases_run") - untested(c, d)),
                (int)untested(c, d));
    else
        fprintf(f, "all %d passed", (int)integer(c, d, "cases_run"));
    fputs(" |\n", f);
}

static void write_drivers(FILE *f, const struct tables *t, const char *suite)
{
    fprintf(f, "\n" SUITE_LINE "%s`.\n", suite);
    fputs("\n| report | device | driver | Vulkan | subgroups | vkmoe | suite | cases |\n"
          "|---|---|---|---|---|---|---|---|\n",
          f);
    for (size_t i = 0; i < t->n_columns; i++)
        write_driver(f, &t->columns[i], suite);
}

/* --- drivers and kernels --- */

/* All variants of a kernel together: cases, and the largest error of any. Most checks of whole
 * steps have none. */
static void write_cell(FILE *f, const struct column *c, const char *kernel)
{
    json_int_t cases = 0, failed = 0, open = 0;
    double nmse = 0;
    bool step = false;
    size_t i;
    const json_t *test;
    json_array_foreach(member(c, c->device, "tests"), i, test)
    {
        if (strcmp(text(c, test, "kernel"), kernel) != 0)
            continue;
        double own = number(c, test, "nmse");
        cases += integer(c, test, "cases_run");
        failed += integer(c, test, "failed");
        open += untested(c, test);
        nmse = own > nmse ? own : nmse;
        step |= strcmp(text(c, test, "path"), "step") == 0;
    }
    if (cases == 0)
        fputs(" not run |", f);
    else if (failed > 0)
        fprintf(f, " **%d of %d failed** |", (int)failed, (int)cases);
    else if (open == cases)
        fputs(" not tested |", f);
    else if (nmse > 0)
        fprintf(f, " %d, %.1e |", (int)cases, nmse);
    else
        fprintf(f, " %d%s |", (int)cases, step ? "" : ", exact");
}

static void write_kernels(FILE *f, const struct tables *t)
{
    fputs("\n| kernel |", f);
    for (size_t i = 0; i < t->n_columns; i++)
        fprintf(f, " %s |", t->columns[i].name);
    fputs("\n|---|", f);
    for (size_t i = 0; i < t->n_columns; i++)
        fputs("--:|", f);
    fputs("\n", f);
    for (size_t k = 0; k < t->n_kernels; k++) {
        fprintf(f, "| %s |", t->kernels[k]);
        for (size_t i = 0; i < t->n_columns; i++)
            write_cell(f, &t->columns[i], t->kernels[k]);
        fputs("\n", f);
    }
}

/* --- what checks of whole steps measured --- */

static void write_notes(FILE *f, const struct column *c)
{
    size_t i, j;
    const json_t *test, *one;
    json_array_foreach(member(c, c->device, "tests"), i, test)
    {
        json_array_foreach(json_object_get(test, "cases"), j, one)
        {
            if (json_object_get(one, "note"))
                fprintf(f, "| %s | %s | %s | %s |\n", text(c, test, "kernel"), c->name,
                        text(c, one, "name"), text(c, one, "note"));
        }
    }
}

/* --- the page --- */

static char *make_tables(const char *suite)
{
    struct tables t = {.n_reports = 0};
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (!f)
        fail("host memory ran out");
    load_all(&t);
    write_drivers(f, &t, suite);
    write_kernels(f, &t);
    fputs("\n| check | report | case | measured |\n|---|---|---|---|\n", f);
    for (size_t i = 0; i < t.n_columns; i++)
        write_notes(f, &t.columns[i]);
    fputs("\n", f);
    if (fclose(f) != 0)
        fail("host memory ran out");
    unload(&t);
    return out;
}

static char *read_page(void)
{
    char *page = NULL, block[4096];
    size_t size, n;
    FILE *file = fopen(page_path, "rb"), *f = open_memstream(&page, &size);
    if (!file || !f)
        fail("%s: %s", page_path, strerror(errno));
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        fwrite(block, 1, n, f);
    if (ferror(file) || fclose(f) != 0)
        fail("%s cannot be read", page_path);
    fclose(file);
    return page;
}

/* `to` is where the page goes on behind the tables. */
static void write_page(const char *page, const char *begin, const char *tables, const char *to)
{
    FILE *file = fopen(page_path, "wb");
    if (!file)
        fail("%s: %s", page_path, strerror(errno));
    fprintf(file, "%.*s%s%s", (int)(begin - page), page, tables, to);
    if (fclose(file) != 0)
        fail("%s: %s", page_path, strerror(errno));
}

/* That of this build. */
static void own_suite(char suite[SUITE_SIZE])
{
    uint64_t hash;
    vkmoe_error err;
    if (vkmoe_conform_suite(&hash, &err) != VKMOE_OK)
        fail("%s", err.message);
    snprintf(suite, SUITE_SIZE, "%016" PRIx64, hash);
}

/* The one that the page's tables were written against; false if they tell none. */
static bool written_suite(const char *tables, char suite[SUITE_SIZE])
{
    const char *line = strstr(tables, SUITE_LINE);
    if (line)
        snprintf(suite, SUITE_SIZE, "%s", line + strlen(SUITE_LINE));
    return line != NULL;
}

int main(int argc, char **argv)
{
    bool writes = argc == 2 && strcmp(argv[1], "--write") == 0;
    if (argc > 1 && !writes) {
        fputs("usage: conformance_table [--write]\n", stderr);
        return 2;
    }
    char *page = read_page(), suite[SUITE_SIZE], written[SUITE_SIZE];
    char *begin = strstr(page, begin_mark), *end = begin ? strstr(begin, end_mark) : NULL;
    if (!end)
        fail("%s lacks the lines '%.*s' and '%.*s', between which the tables stand", page_path,
             (int)strlen(begin_mark) - 1, begin_mark, (int)strlen(end_mark) - 1, end_mark);
    begin += strlen(begin_mark);
    own_suite(suite);
    bool known = written_suite(begin, written);
    if (!writes && known && strcmp(suite, written) != 0)
        printf("conformance_table: this build's suite is %s, the page tells of %s: --write marks "
               "the reports that are of another one\n",
               suite, written);
    /* What passed with one build passes with the next: only --write takes this build's suite. */
    char *tables = make_tables(writes || !known ? suite : written);
    size_t n = (size_t)(end - begin);
    bool same = n == strlen(tables) && strncmp(begin, tables, n) == 0;
    if (writes)
        write_page(page, begin, tables, end);
    else if (!same)
        fail("the tables of %s are not those of the reports; conformance_table --write makes them",
             page_path);
    free(tables);
    free(page);
    return EXIT_SUCCESS;
}
