/* The outcome of a conformance run, kept for the reports. */
#include <stdlib.h>
#include <string.h>

#include "conform_report.h"

/* Room for one more of `size` bytes in a list; its new place, zeroed, or NULL. */
static void *append(void **items, size_t *count, size_t *capacity, size_t size)
{
    if (*count == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 16;
        void *grown = realloc(*items, more * size);
        if (!grown)
            return NULL;
        *items = grown;
        *capacity = more;
    }
    char *place = (char *)*items + (*count)++ * size;
    memset(place, 0, size);
    return place;
}

static bool is_of(const struct conform_test *t, const vkmoe_conform_test *test)
{
    return strcmp(t->kernel, test->kernel) == 0 && strcmp(t->weights, test->weights) == 0 &&
           strcmp(t->path, test->path) == 0 && t->subgroup_size == test->subgroup_size;
}

static struct conform_test *test_of(struct conform_device *d, const vkmoe_conform_test *test)
{
    if (d->n_tests > 0 && is_of(&d->tests[d->n_tests - 1], test))
        return &d->tests[d->n_tests - 1];
    struct conform_test *t =
        append((void **)&d->tests, &d->n_tests, &d->capacity, sizeof(*d->tests));
    if (!t)
        return NULL;
    snprintf(t->kernel, sizeof(t->kernel), "%s", test->kernel);
    snprintf(t->weights, sizeof(t->weights), "%s", test->weights);
    snprintf(t->path, sizeof(t->path), "%s", test->path);
    t->subgroup_size = test->subgroup_size;
    return t;
}

bool conform_record_case(struct conform_device *d, const vkmoe_conform_case *c)
{
    struct conform_test *t = test_of(d, &c->test);
    struct conform_case *own =
        t ? append((void **)&t->cases, &t->n_cases, &t->capacity, sizeof(*t->cases)) : NULL;
    if (!own)
        return false;
    own->name = strdup(c->name);
    own->sentence = strdup(c->sentence);
    own->note = strdup(c->note);
    own->bundle = strdup(c->bundle);
    own->failed = !c->passed && !c->untested;
    own->untested = c->untested;
    own->nmse = c->nmse;
    own->worst = c->worst;
    snprintf(own->view, sizeof(own->view), "%s", c->worst.view);
    return own->name && own->sentence && own->note && own->bundle;
}

void conform_record_result(struct conform_device *d, const vkmoe_conform_result *r)
{
    struct conform_test *t = &d->tests[d->n_tests - 1];
    t->failed = r->failed;
    t->untested = r->untested;
    t->nmse = r->nmse;
    memcpy(t->errors, r->errors, sizeof(t->errors));
    for (t->worst = 0; t->worst + 1 < t->n_cases; t->worst++)
        if (strcmp(t->cases[t->worst].name, r->worst_case) == 0)
            break;
}

static void free_test(struct conform_test *t)
{
    for (size_t i = 0; i < t->n_cases; i++) {
        free(t->cases[i].name);
        free(t->cases[i].sentence);
        free(t->cases[i].note);
        free(t->cases[i].bundle);
    }
    free(t->cases);
}

void conform_report_free(struct conform_report *r)
{
    for (size_t i = 0; i < r->n_devices; i++) {
        for (size_t j = 0; j < r->devices[i].n_tests; j++)
            free_test(&r->devices[i].tests[j]);
        free(r->devices[i].tests);
    }
    free(r->devices);
}

bool conform_report_passed(const struct conform_report *r)
{
    bool passed = r->n_devices > 0;
    for (size_t i = 0; i < r->n_devices; i++)
        passed = passed && r->devices[i].totals.failed == 0 && !r->devices[i].error.message[0];
    return passed;
}

const char *conform_state(const struct conform_case *c)
{
    return c->failed ? "failed" : c->untested ? "not tested" : "passed";
}

const char *conform_path(const struct conform_test *t, char text[32])
{
    if (t->subgroup_size > 0)
        snprintf(text, 32, "%s %u", t->path, t->subgroup_size);
    else
        snprintf(text, 32, "%s", t->path);
    return text;
}

/* In quotes that a shell takes off again. */
static void quoted(FILE *to, const char *text)
{
    fputc('\'', to);
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\'", to);
        fputc(*text, to);
    }
    fputc('\'', to);
}

void conform_flags(FILE *to, const struct conform_report *r)
{
    fprintf(to, "%s%s%s", r->check_addresses ? " --check-addresses" : "",
            r->no_subgroups ? " --no-subgroups" : "", r->validation ? " --validate" : "");
    if (r->tiled_rows > 0)
        fprintf(to, " --tiled-rows %u", r->tiled_rows);
}

void conform_command(FILE *to, const struct conform_report *r, const struct conform_device *d,
                     const struct conform_test *t, const struct conform_case *c)
{
    fprintf(to, "vkmoe conform --device %s/%u", d->info.uuid, d->info.driver_id);
    if (r->replay) {
        fputs(" --replay ", to);
        quoted(to, r->replay);
    } else {
        fprintf(to, " --kernel %s --path %s", t->kernel, t->path);
        if (t->weights[0] != '-')
            fprintf(to, " --weights %s", t->weights);
        fputs(" --case ", to);
        quoted(to, c->name);
        fprintf(to, " --seed %llu%s", (unsigned long long)r->seed, r->full ? " --full" : "");
    }
    if (r->model && strcmp(t->path, "step") == 0) {
        fputs(" -m ", to);
        quoted(to, r->model);
    }
    conform_flags(to, r);
}

void conform_element(FILE *to, const struct conform_case *c)
{
    if (c->view[0])
        fprintf(to, "%s[%llu]: got %.9g, expected %.9g", c->view,
                (unsigned long long)c->worst.index, c->worst.got, c->worst.expected);
}
