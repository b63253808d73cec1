/* The conformance report as one page that needs nothing but itself. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conform_report.h"
#include "conform_page.h"

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
    char value[1200];
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
    fputs("</table></div>\n", f);
}

/* --- the grid --- */

/* Adds the distinct combinations of weights and path, in the order in which they first occur: of
 * tests with weights or of those without. */
static size_t add_columns(const struct conform_device *d, bool weights,
                          const struct conform_test **out, size_t n, size_t max)
{
    for (size_t i = 0; i < d->n_tests; i++) {
        const struct conform_test *t = &d->tests[i];
        size_t j = 0;
        if ((t->weights[0] != '-') != weights)
            continue;
        while (j < n &&
               (strcmp(out[j]->weights, t->weights) != 0 || strcmp(out[j]->path, t->path) != 0 ||
                out[j]->subgroup_size != t->subgroup_size))
            j++;
        if (j == n && n < max)
            out[n++] = t;
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

static void cell(FILE *f, const struct conform_test *t, size_t device, size_t index)
{
    fprintf(f, "<a class=\"cell %s\" href=\"#", t->failed ? "bad" : "good");
    anchor(f, device, index);
    fputs("\"><span class=\"label\">", f);
    column_name(f, t);
    fprintf(f, "</span> <b>%s</b> ", t->failed ? "failed" : "ok");
    if (t->failed)
        fprintf(f, "%u/%zu", t->failed, t->n_cases);
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
    fputs("<div class=\"row\"><span class=\"name\">", f);
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

static void grid(FILE *f, const struct conform_device *d, size_t device)
{
    enum { MAX_COLUMNS = 64 };
    const struct conform_test *column[MAX_COLUMNS];
    size_t n = add_columns(d, false, column, 0, MAX_COLUMNS);
    n = add_columns(d, true, column, n, MAX_COLUMNS);
    fprintf(f,
            "<div class=\"grid\" style=\"--columns:%zu\">\n<div class=\"row head\"><span>"
            "</span>\n",
            n);
    for (size_t i = 0; i < n; i++) {
        fputs("<span>", f);
        column_name(f, column[i]);
        fputs("</span>\n", f);
    }
    fputs("</div>\n", f);
    for (size_t i = 0; i < d->n_tests; i++)
        if (i == 0 || strcmp(d->tests[i].kernel, d->tests[i - 1].kernel) != 0)
            grid_row(f, d, device, d->tests[i].kernel, column, n);
    fputs("</div>\n", f);
}

/* --- a test in detail --- */

enum { PLOT_HEIGHT = 72, BAR = 18, AXIS = 16 };

static void histogram_axis(FILE *f)
{
    static const struct {
        int bin;
        const char *label;
    } marks[] = {{0, "0"}, {3, "2⁻⁴⁰"}, {8, "2⁻³⁰"}, {11, "2⁻²⁴"}, {18, "2⁻¹⁰"}, {23, "1"}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", marks[i].bin * BAR + BAR / 2,
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
            VKMOE_CONFORM_BINS * BAR, PLOT_HEIGHT + AXIS);
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++) {
        double n = (double)t->errors[i];
        double height = n > 0 ? 4 + (PLOT_HEIGHT - 6) * log1p(n) / log1p((double)most) : 0;
        if (n > 0)
            fprintf(f,
                    "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"><title>%.0f elements"
                    "</title></rect>\n",
                    i * BAR + 1, PLOT_HEIGHT - height, BAR - 2, height, n);
    }
    histogram_axis(f);
    fputs("</svg><figcaption>Elements by error relative to the root mean square of what is "
          "expected; heights are logarithmic. 2⁻²⁴ is what rounding to float32 costs."
          "</figcaption></figure>\n",
          f);
}

static void case_facts(FILE *f, const struct conform_report *r, const struct conform_test *t,
                       const struct conform_case *c)
{
    fputs("<table class=\"case\">\n", f);
    fact(f, "Case", "%s", c->name);
    if (c->note[0])
        fact(f, "Measured", "%s", c->note);
    if (c->view[0]) {
        fact(f, c->passed ? "Worst element" : "Element", "%s[%llu]", c->view,
             (unsigned long long)c->worst.index);
        fact(f, "Got", "%.9g", c->worst.got);
        fact(f, "Expected", "%.9g", c->worst.expected);
        fact(f, "Worst NMSE", "%.3g", c->nmse);
    }
    if (!c->passed && !r->replay) {
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
        if (t->cases[i].passed)
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
    fputs("<details id=\"", f);
    anchor(f, device, index);
    fprintf(f, "\"%s><summary><b>", t->failed ? " open=\"open\"" : "");
    text(f, t->kernel);
    fputs("</b> ", f);
    column_name(f, t);
    if (t->failed)
        fprintf(f, "<span class=\"bad\">%u of %zu failed</span>", t->failed, t->n_cases);
    else
        fprintf(f, "<span class=\"good\">%zu ok</span>", t->n_cases);
    fputs("</summary>\n", f);
    failures(f, r, d, t);
    for (size_t i = 0; i < t->n_cases; i++)
        if (t->cases[i].passed && t->cases[i].note[0])
            case_facts(f, r, t, &t->cases[i]);
    const struct conform_case *worst = &t->cases[t->worst];
    if (!t->failed && !worst->note[0]) {
        fputs("<p>The case with the largest error:</p>\n", f);
        case_facts(f, r, t, worst);
    }
    histogram(f, t);
    fputs("</details>\n", f);
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
            fprintf(f, "<h3>%s</h3>\n", failed ? "What failed" : "What passed");
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
        fprintf(f, "%s%u cases passed.", passed ? "All " : "", d->totals.cases);
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
        fprintf(f, "%s cases, seed %llu", r->full ? "full" : "quick", (unsigned long long)r->seed);
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
