/* The conformance report as one page that needs nothing but itself. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conform_report.h"
#include "conform_page.h"
#include "path_words.h"

/* --- text --- */

static void text(FILE *f, const char *s)
{
    for (; *s; s++) {
        switch (*s) {
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '&':
            fputs("&amp;", f);
            break;
        case '"':
            fputs("&quot;", f);
            break;
        default:
            fputc(*s, f);
        }
    }
}

/* One row of a table of facts, its value formatted. */
static void fact(FILE *f, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fact(FILE *f, const char *name, const char *format, ...)
{
    char value[2400];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    fprintf(f, "<tr><th>%s</th><td>", name);
    text(f, value);
    fputs("</td></tr>\n", f);
}

/* What a link within the page names: device and test. */
static void anchor(FILE *f, size_t device, size_t test)
{
    fprintf(f, "d%zu-t%zu", device, test);
}

/* --- the device --- */

static void subgroup_sizes(const vkmoe_device_info *info, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t s = 1; s && s <= info->subgroup_sizes; s *= 2)
        if ((info->subgroup_sizes & s) && at < size)
            at += (size_t)snprintf(out + at, size - at, "%s%u", at ? ", " : "", s);
    if (!out[0])
        snprintf(out, size, "none");
}

static const char *const kinds[] = {
    [VKMOE_DEVICE_DISCRETE] = "discrete GPU", [VKMOE_DEVICE_INTEGRATED] = "integrated GPU",
    [VKMOE_DEVICE_VIRTUAL] = "virtual GPU",   [VKMOE_DEVICE_CPU] = "CPU",
    [VKMOE_DEVICE_OTHER] = "other",           [VKMOE_DEVICE_REFERENCE] = "reference",
};

/* What each path is worth here, and why. */
static void path_facts(FILE *f, const vkmoe_device_info *d)
{
    for (uint32_t i = 0; i < d->n_paths; i++) {
        const vkmoe_path_info *p = &d->paths[i];
        char name[32];
        snprintf(name, sizeof(name), "Path %s", p->name);
        fact(f, name, "%s%s%s", path_verdict(p->state), p->reason[0] ? ": " : "", p->reason);
    }
}

static void device_facts(FILE *f, const struct conform_device *d)
{
    const vkmoe_device_info *i = &d->info;
    char sizes[64];
    subgroup_sizes(i, sizes, sizeof(sizes));
    fputs("<div class=\"facts\"><table>\n", f);
    fact(f, "Driver", "%s", i->driver);
    fact(f, "Kind", "%s", kinds[i->kind]);
    fact(f, "Device UUID", "%s", i->uuid);
    fact(f, "Driver id", "%u", i->driver_id);
    fact(f, "Driver version", "%u (0x%x)", i->driver_version, i->driver_version);
    fact(f, "Vulkan", "%u.%u.%u", i->api_version >> 22 & 0x7f, i->api_version >> 12 & 0x3ff,
         i->api_version & 0xfff);
    fputs("</table><table>\n", f);
    fact(f, "Subgroups", "%u (%u to %u)", i->subgroup_size, i->subgroup_min, i->subgroup_max);
    fact(f, "Sizes to ask for", "%s", sizes);
    fact(f, "Subgroup arithmetic", "%s", i->subgroup_arithmetic ? "yes" : "no");
    fact(f, "Workgroup", "%u invocations, %u KiB shared", i->max_invocations,
         i->shared_memory / 1024);
    fact(f, "Allocation", "up to %.1f GB", (double)i->max_allocation / 1e9);
    for (uint32_t h = 0; h < i->n_heaps; h++)
        fact(f, i->heaps[h].device_local ? "Device memory" : "Host memory", "%.1f GB",
             (double)i->heaps[h].size / 1e9);
    fact(f, "Memory budget", "%s", i->memory_budget ? "reported" : "not reported");
    fact(f, "Transfer queue", "%s", i->transfer_queue ? "of its own" : "none");
    if (i->tuned)
        fact(f, "Launches", "tuned, %016llx", (unsigned long long)i->tuning);
    else
        fact(f, "Launches", "%s", "the library's own");
    fputs("</table><table>\n", f);
    path_facts(f, i);
    fputs("</table></div>\n", f);
}

/* --- the grid --- */

/* The place of the first test of this path and subgroup size, or of these weights. */
static size_t first_of_path(const struct conform_device *d, const struct conform_test *of)
{
    size_t i = 0;
    while (strcmp(d->tests[i].path, of->path) != 0 ||
           d->tests[i].subgroup_size != of->subgroup_size)
        i++;
    return i;
}

static size_t first_of_weights(const struct conform_device *d, const struct conform_test *of)
{
    size_t i = 0;
    if (of->weights[0] == '-')
        return 0;
    while (strcmp(d->tests[i].weights, of->weights) != 0)
        i++;
    return i + 1;
}

/* By path, then by weights, both in the order in which they first occur; none come first. */
static int order(const struct conform_device *d, const struct conform_test *a,
                 const struct conform_test *b)
{
    size_t x = first_of_path(d, a), y = first_of_path(d, b);
    if (x == y) {
        x = first_of_weights(d, a);
        y = first_of_weights(d, b);
    }
    return (x > y) - (x < y);
}

/* The distinct combinations of path and weights, in order, at most `max`. */
static size_t columns(const struct conform_device *d, const struct conform_test **out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < d->n_tests; i++) {
        const struct conform_test *t = &d->tests[i];
        size_t at = n;
        while (at > 0 && order(d, out[at - 1], t) > 0)
            at--;
        if ((at > 0 && order(d, out[at - 1], t) == 0) || n == max)
            continue;
        memmove(out + at + 1, out + at, (n - at) * sizeof(*out));
        out[at] = t;
        n++;
    }
    return n;
}

static void column_name(FILE *f, const struct conform_test *t)
{
    char path[32];
    conform_path(t, path);
    if (t->weights[0] != '-')
        fprintf(f, "%s ", t->weights);
    text(f, path);
}

/* What came of a test, in a word, and how its colour is called. */
static const char *state_word(const struct conform_test *t)
{
    return t->failed ? "failed" : t->untested == t->n_cases ? "not tested" : "ok";
}

static const char *state_class(const struct conform_test *t)
{
    return t->failed ? "bad" : t->untested == t->n_cases ? "open" : "good";
}

static void cell(FILE *f, const struct conform_test *t, size_t device, size_t index)
{
    fprintf(f, "<a class=\"cell %s\" href=\"#", state_class(t));
    anchor(f, device, index);
    fputs("\"><span class=\"label\">", f);
    column_name(f, t);
    fprintf(f, "</span> <b>%s</b> ", state_word(t));
    if (t->failed)
        fprintf(f, "%u/%zu", t->failed, t->n_cases);
    else if (t->untested > 0 && t->untested < t->n_cases)
        fprintf(f, "%zu/%zu", t->n_cases - t->untested, t->n_cases);
    else
        fprintf(f, "%zu", t->n_cases);
    fputs("</a>\n", f);
}

static const struct conform_test *find(const struct conform_device *d, const char *kernel,
                                       const struct conform_test *column)
{
    for (size_t i = 0; i < d->n_tests; i++) {
        const struct conform_test *t = &d->tests[i];
        if (strcmp(t->kernel, kernel) == 0 && strcmp(t->weights, column->weights) == 0 &&
            strcmp(t->path, column->path) == 0 && t->subgroup_size == column->subgroup_size)
            return t;
    }
    return NULL;
}

static void grid_row(FILE *f, const struct conform_device *d, size_t device, const char *kernel,
                     const struct conform_test *const *column, size_t n)
{
    bool failed = false;
    for (size_t i = 0; i < d->n_tests; i++)
        failed = failed || (strcmp(d->tests[i].kernel, kernel) == 0 && d->tests[i].failed > 0);
    fprintf(f, "<div class=\"row\"><span class=\"name%s\">", failed ? " wrong" : "");
    text(f, kernel);
    fputs("</span>\n", f);
    for (size_t i = 0; i < n; i++) {
        const struct conform_test *t = find(d, kernel, column[i]);
        if (t)
            cell(f, t, device, (size_t)(t - d->tests));
        else
            fputs("<span class=\"cell none\"></span>\n", f);
    }
    fputs("</div>\n", f);
}

/* Two lines: paths, each over its columns, and the weights. */
static void grid_head(FILE *f, const struct conform_device *d,
                      const struct conform_test *const *column, size_t n)
{
    char path[32];
    fputs("<div class=\"row head\"><span class=\"name\"></span>\n", f);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && first_of_path(d, column[end]) == first_of_path(d, column[i]);)
            end++;
        fprintf(f, "<span class=\"path\" style=\"grid-column: span %zu\">", end - i);
        text(f, conform_path(column[i], path));
        fputs("</span>\n", f);
    }
    fputs("</div>\n<div class=\"row head\"><span class=\"name\"></span>\n", f);
    for (size_t i = 0; i < n; i++) {
        fputs("<span>", f);
        text(f, column[i]->weights[0] == '-' ? "–" : column[i]->weights);
        fputs("</span>\n", f);
    }
    fputs("</div>\n", f);
}

/* So many columns are seen at once in a window of 1280 pixels, and in the narrowest with a grid. */
enum { COLUMNS_AT_1280 = 19, COLUMNS_AT_LEAST = 12 };

static void grid(FILE *f, const struct conform_device *d, size_t device)
{
    enum { MAX_COLUMNS = 128 };
    const struct conform_test *column[MAX_COLUMNS];
    size_t n = columns(d, column, MAX_COLUMNS);
    if (n > COLUMNS_AT_LEAST)
        fprintf(f,
                "<p class=\"hint%s\">Where the table is wider than the page, it scrolls "
                "sideways.</p>\n",
                n > COLUMNS_AT_1280 ? " wide" : "");
    fprintf(f, "<div class=\"grid\" style=\"--columns:%zu\">\n", n);
    grid_head(f, d, column, n);
    for (size_t i = 0; i < d->n_tests; i++)
        if (i == 0 || strcmp(d->tests[i].kernel, d->tests[i - 1].kernel) != 0)
            grid_row(f, d, device, d->tests[i].kernel, column, n);
    fputs("</div>\n", f);
}

/* --- a test in detail --- */

enum { PLOT_HEIGHT = 72, BAR = 18, AXIS = 16, GAP = 26 };

/* Where a bin's bar begins; the last, of what no distance tells, stands apart. */
static int bar_at(int bin)
{
    return bin * BAR + (bin == VKMOE_CONFORM_BINS - 1 ? GAP : 0);
}

static void histogram_axis(FILE *f)
{
    static const struct {
        int bin;
        const char *label;
    } marks[] = {{0, "0"},
                 {3, "2⁻⁴⁰"},
                 {8, "2⁻³⁰"},
                 {11, "2⁻²⁴"},
                 {18, "2⁻¹⁰"},
                 {23, "1"},
                 {VKMOE_CONFORM_BINS - 1, "∞"}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", bar_at(marks[i].bin) + BAR / 2,
                PLOT_HEIGHT + AXIS - 3, marks[i].label);
}

/* Bars of elements by error; the height is logarithmic, so that single elements are seen. */
static void histogram(FILE *f, const struct conform_test *t)
{
    uint64_t most = 0;
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++)
        most = t->errors[i] > most ? t->errors[i] : most;
    if (most == 0)
        return;
    fprintf(f,
            "<figure><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Elements by error\">\n",
            bar_at(VKMOE_CONFORM_BINS - 1) + BAR, PLOT_HEIGHT + AXIS);
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++) {
        double n = (double)t->errors[i];
        double height = n > 0 ? 4 + (PLOT_HEIGHT - 6) * log1p(n) / log1p((double)most) : 0;
        if (n > 0)
            fprintf(f,
                    "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"><title>%.0f elements"
                    "</title></rect>\n",
                    bar_at(i) + 1, PLOT_HEIGHT - height, BAR - 2, height, n);
    }
    histogram_axis(f);
    fputs("</svg><figcaption>Elements by error relative to the root mean square of what is "
          "expected; heights are logarithmic. 2⁻²⁴ is what rounding to float32 costs; at ∞ stand "
          "those not written, NaN or infinite that should not be."
          "</figcaption></figure>\n",
          f);
}

static void case_facts(FILE *f, const struct conform_report *r, const struct conform_test *t,
                       const struct conform_case *c)
{
    fputs("<table class=\"case\">\n", f);
    fact(f, "Case", "%s", c->name);
    if (c->note[0])
        fact(f, c->untested ? "Not tested" : "Measured", "%s", c->note);
    if (c->view[0]) {
        fact(f, c->failed ? "Element" : "Worst element", "%s[%llu]", c->view,
             (unsigned long long)c->worst.index);
        fact(f, "Got", "%.9g", c->worst.got);
        fact(f, "Expected", "%.9g", c->worst.expected);
        fact(f, "Worst NMSE", "%.3g", c->nmse);
    }
    if (c->failed && !r->replay) {
        fact(f, "Seed", "%llu", (unsigned long long)r->seed);
        if (t->subgroup_size > 0)
            fact(f, "Subgroup size", "%u", t->subgroup_size);
    }
    if (c->bundle[0])
        fact(f, "Exported to", "%s", c->bundle);
    fputs("</table>\n", f);
}

static void failure(FILE *f, const struct conform_report *r, const struct conform_device *d,
                    const struct conform_test *t, const struct conform_case *c)
{
    char *command = NULL;
    size_t size = 0;
    fputs("<div class=\"failure\"><p>", f);
    text(f, c->sentence);
    fputs("</p>\n", f);
    case_facts(f, r, t, c);
    FILE *stream = open_memstream(&command, &size);
    if (stream) {
        conform_command(stream, r, d, t, c);
        fclose(stream);
        fputs("<p>To run it again:</p><pre>", f);
        text(f, command);
        fputs("</pre>", f);
        free(command);
    }
    fputs("</div>\n", f);
}

/* All are in the page; the first few are seen at once. */
static void failures(FILE *f, const struct conform_report *r, const struct conform_device *d,
                     const struct conform_test *t)
{
    enum { SEEN = 3 };
    uint32_t n = 0;
    for (size_t i = 0; i < t->n_cases; i++) {
        if (!t->cases[i].failed)
            continue;
        if (n++ == SEEN)
            fprintf(f, "<details class=\"more\"><summary>%u more</summary>\n", t->failed - SEEN);
        failure(f, r, d, t, &t->cases[i]);
    }
    if (n > SEEN)
        fputs("</details>\n", f);
}

static void detail(FILE *f, const struct conform_report *r, const struct conform_device *d,
                   size_t device, size_t index)
{
    const struct conform_test *t = &d->tests[index];
    fprintf(f, "<details%s><summary><b>", t->failed ? " open=\"open\"" : "");
    text(f, t->kernel);
    fputs("</b> ", f);
    column_name(f, t);
    if (t->failed)
        fprintf(f, "<span class=\"bad\">%u of %zu failed</span>", t->failed, t->n_cases);
    else
        fprintf(f, "<span class=\"%s\">%zu %s</span>", state_class(t), t->n_cases, state_word(t));
    /* A link to what a closed <details> holds opens it; one to itself does not. */
    fputs("</summary>\n<div class=\"inside\" id=\"", f);
    anchor(f, device, index);
    fputs("\">\n", f);
    failures(f, r, d, t);
    for (size_t i = 0; i < t->n_cases; i++)
        if (!t->cases[i].failed && t->cases[i].note[0])
            case_facts(f, r, t, &t->cases[i]);
    const struct conform_case *worst = &t->cases[t->worst];
    if (!t->failed && !worst->note[0]) {
        fputs("<p>The case with the largest error:</p>\n", f);
        case_facts(f, r, t, worst);
    }
    histogram(f, t);
    fputs("</div></details>\n", f);
}

/* Those that failed, or those that did not. */
static void details(FILE *f, const struct conform_report *r, size_t device, bool failed)
{
    const struct conform_device *d = &r->devices[device];
    bool any = false;
    for (size_t i = 0; i < d->n_tests; i++) {
        if ((d->tests[i].failed > 0) != failed)
            continue;
        if (!any)
            fprintf(f, "<h3>%s</h3>\n", failed ? "What failed" : "What did not fail");
        any = true;
        detail(f, r, d, device, i);
    }
}

static void device_section(FILE *f, const struct conform_report *r, size_t index)
{
    const struct conform_device *d = &r->devices[index];
    fputs("<section><h2>", f);
    text(f, d->info.name[0] ? d->info.name : "no device");
    fputs("</h2>\n", f);
    if (d->info.name[0])
        device_facts(f, d);
    bool passed = d->totals.failed == 0 && !d->error.message[0];
    fprintf(f, "<p class=\"verdict %s\">", passed ? "good" : "bad");
    if (d->error.message[0]) {
        fputs("Not finished: ", f);
        text(f, d->error.message);
        fputs(". ", f);
    }
    if (d->totals.failed > 0)
        fprintf(f, "%u of %u cases failed.", d->totals.failed, d->totals.cases);
    else
        fprintf(f, "%s%u cases passed.", passed && d->totals.untested == 0 ? "All " : "",
                d->totals.cases - d->totals.untested);
    if (d->totals.untested > 0)
        fprintf(f, " %u could not be tested.", d->totals.untested);
    fputs("</p>\n<h3>Kernels and variants</h3>\n", f);
    grid(f, d, index);
    details(f, r, index, true);
    details(f, r, index, false);
    fputs("</section>\n", f);
}

/* What was run: the cases of a level, or that of a folder. */
static void head(FILE *f, const struct conform_report *r)
{
    fprintf(f, "<p class=\"sub\">vkmoe %s, ", VKMOE_VERSION);
    if (r->replay) {
        fputs("the case in ", f);
        text(f, r->replay);
    } else {
        fprintf(f, "suite %016llx, %s cases, seed %llu", (unsigned long long)r->suite,
                r->full ? "full" : "quick", (unsigned long long)r->seed);
    }
    conform_flags(f, r);
    fputs("</p>\n</header>\n", f);
}

char *conform_html(const struct conform_report *r, size_t *size)
{
    char *page = NULL;
    FILE *f = open_memstream(&page, size);
    if (!f)
        return NULL;
    fputs(conform_page_head, f);
    head(f, r);
    for (size_t i = 0; i < r->n_devices; i++)
        device_section(f, r, i);
    fputs(conform_page_foot, f);
    if (fclose(f) == 0)
        return page;
    free(page);
    return NULL;
}
