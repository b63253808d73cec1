/* The conformance report as JSON: one line for each device, test and case. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

/* JSON has no infinities and no NaN: those are strings. */
static json_t *number(double value)
{
    char text[32];
    if (isfinite(value))
        return json_real(value);
    snprintf(text, sizeof(text), "%g", isnan(value) ? (double)NAN : value);
    return json_string(text);
}

static json_t *element(const struct conform_case *c)
{
    if (!c->view[0])
        return json_null();
    return json_pack("{s:s, s:I, s:o, s:o}", "view", c->view, "index", (json_int_t)c->worst.index,
                     "got", number(c->worst.got), "expected", number(c->worst.expected));
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text[0])
        json_object_set_new(object, key, json_string(text));
}

static json_t *case_json(const struct conform_report *r, const struct conform_device *d,
                         const struct conform_test *t, const struct conform_case *c)
{
    json_t *out = json_pack("{s:s, s:b, s:b, s:o, s:o}", "name", c->name, "passed",
                            !c->failed && !c->untested, "tested", !c->untested, "nmse",
                            number(c->nmse), "worst", element(c));
    char *command = NULL;
    size_t size;
    set_text(out, "note", c->note);
    set_text(out, "failure", c->sentence);
    set_text(out, "bundle", c->bundle);
    FILE *stream = !c->failed ? NULL : open_memstream(&command, &size);
    if (stream) {
        conform_command(stream, r, d, t, c);
        fclose(stream);
        set_text(out, "reproduce", command);
        free(command);
    }
    return out;
}

static json_t *errors_json(const struct conform_test *t)
{
    json_t *errors = json_array();
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++)
        json_array_append_new(errors, json_integer((json_int_t)t->errors[i]));
    return errors;
}

static json_t *test_json(const struct conform_report *r, const struct conform_device *d,
                         const struct conform_test *t, enum conform_detail detail)
{
    json_t *cases = json_array();
    for (size_t i = 0; i < t->n_cases; i++)
        if (detail == CONFORM_EVERY_CASE || t->cases[i].failed || t->cases[i].note[0])
            json_array_append_new(cases, case_json(r, d, t, &t->cases[i]));
    json_t *out = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:s}", "kernel", t->kernel,
                            "weights", t->weights, "path", t->path, "subgroup_size",
                            (json_int_t)t->subgroup_size, "cases_run", (json_int_t)t->n_cases,
                            "failed", (json_int_t)t->failed, "untested", (json_int_t)t->untested,
                            "nmse", number(t->nmse), "worst_case", t->cases[t->worst].name);
    if (detail == CONFORM_EVERY_CASE)
        json_object_set_new(out, "errors", errors_json(t));
    if (json_array_size(cases) > 0)
        json_object_set(out, "cases", cases);
    json_decref(cases);
    return out;
}

static json_t *device_json(const struct conform_report *r, const struct conform_device *d,
                           enum conform_detail detail)
{
    const vkmoe_device_info *info = &d->info;
    char tuning[17];
    json_t *tests = json_array();
    for (size_t i = 0; i < d->n_tests; i++)
        json_array_append_new(tests, test_json(r, d, &d->tests[i], detail));
    json_t *key =
        json_pack("{s:s, s:I, s:I}", "device_uuid", info->uuid, "driver_id",
                  (json_int_t)info->driver_id, "driver_version", (json_int_t)info->driver_version);
    json_t *out = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "key", key,
        "name", info->name, "driver", info->driver, "api_version", (json_int_t)info->api_version,
        "subgroup_size", (json_int_t)info->subgroup_size, "subgroup_min",
        (json_int_t)info->subgroup_min, "subgroup_max", (json_int_t)info->subgroup_max,
        "subgroup_sizes", (json_int_t)info->subgroup_sizes, "shared_memory",
        (json_int_t)info->shared_memory, "max_invocations", (json_int_t)info->max_invocations,
        "cases_run", (json_int_t)d->totals.cases, "failed", (json_int_t)d->totals.failed,
        "untested", (json_int_t)d->totals.untested, "seconds", d->seconds);
    json_object_set_new(
        out, "max_allocation",
        json_integer(
            (json_int_t)(info->max_allocation > INT64_MAX ? INT64_MAX : info->max_allocation)));
    json_object_set_new(out, "heaps", cli_heaps_json(info));
    json_object_set_new(out, "paths", cli_paths_json(info));
    snprintf(tuning, sizeof(tuning), "%016" PRIx64, info->tuning);
    json_object_set_new(out, "tuning", info->tuned ? json_string(tuning) : json_null());
    json_object_set_new(out, "tests", tests);
    if (detail == CONFORM_SUMMARY) { /* of a machine, which may have been busy */
        json_object_del(out, "seconds");
        json_object_del(out, "heaps");
    }
    set_text(out, "stopped", d->error.message);
    return out;
}

/* --- as text --- */

static void write_value(FILE *f, const json_t *value, int depth);

static void write_members(FILE *f, const json_t *object, int depth)
{
    const char *key, *before = "{";
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        fprintf(f, "%s\"%s\": ", before, key); /* keys are our own: plain words */
        write_value(f, value, depth);
        before = ", ";
    }
    fputs("}", f);
}

/* Objects in an array stand on lines of their own, all else beside each other: lines that can be
 * read, and compared between reports. */
static void write_value(FILE *f, const json_t *value, int depth)
{
    size_t n = json_array_size(value);
    if (json_is_object(value)) {
        write_members(f, value, depth);
    } else if (n > 0 && json_is_object(json_array_get(value, 0))) {
        for (size_t i = 0; i < n; i++) {
            fprintf(f, "%s\n%*s", i ? "," : "[", depth + 1, "");
            write_value(f, json_array_get(value, i), depth + 1);
        }
        fputs("]", f);
    } else {
        /* Ten digits tell any float32 and any 32-bit integer from all others. */
        json_dumpf(value, f, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
    }
}

/* What was run: the cases of a level, or that of a folder. */
static json_t *head_json(const struct conform_report *r)
{
    json_t *root = json_pack("{s:s}", "vkmoe", VKMOE_VERSION);
    char suite[17], *flags = NULL;
    size_t size;
    if (r->replay) {
        json_object_set_new(root, "replay", cli_json_text(r->replay));
    } else {
        snprintf(suite, sizeof(suite), "%016" PRIx64, r->suite);
        json_object_set_new(root, "suite", json_string(suite));
        json_object_set_new(root, "seed", json_integer((json_int_t)r->seed));
        json_object_set_new(root, "level", json_string(r->full ? "full" : "quick"));
    }
    FILE *stream = open_memstream(&flags, &size);
    if (stream) {
        conform_flags(stream, r);
        fclose(stream);
        set_text(root, "options", flags[0] ? flags + 1 : flags);
        free(flags);
    }
    return root;
}

int conform_write_json(const struct conform_report *r, enum conform_detail detail, const char *path)
{
    json_t *devices = json_array();
    char *text = NULL;
    size_t size = 0;
    for (size_t i = 0; i < r->n_devices; i++)
        json_array_append_new(devices, device_json(r, &r->devices[i], detail));
    json_t *root = head_json(r);
    json_object_set_new(root, "passed", json_boolean(conform_report_passed(r)));
    json_object_set_new(root, "devices", devices);
    FILE *f = root ? open_memstream(&text, &size) : NULL;
    if (f) {
        write_value(f, root, 0);
        fputs("\n", f);
    }
    json_decref(root);
    bool complete = f && fclose(f) == 0;
    int code =
        complete ? cli_write_file(path, text, size) : cli_fail("host memory ran out for %s", path);
    free(text);
    return code;
}
