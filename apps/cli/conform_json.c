/* The conformance report as JSON. */
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
    snprintf(text, sizeof(text), "%g", value);
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
    json_t *out = json_pack("{s:s, s:b, s:o, s:o}", "name", c->name, "passed", c->passed, "nmse",
                            number(c->nmse), "worst", element(c));
    char *command = NULL;
    size_t size;
    set_text(out, "note", c->note);
    set_text(out, "failure", c->sentence);
    set_text(out, "bundle", c->bundle);
    FILE *stream = c->passed ? NULL : open_memstream(&command, &size);
    if (stream) {
        conform_command(stream, r, d, t, c);
        fclose(stream);
        set_text(out, "reproduce", command);
        free(command);
    }
    return out;
}

static json_t *test_json(const struct conform_report *r, const struct conform_device *d,
                         const struct conform_test *t)
{
    json_t *cases = json_array(), *errors = json_array();
    for (size_t i = 0; i < t->n_cases; i++)
        json_array_append_new(cases, case_json(r, d, t, &t->cases[i]));
    for (int i = 0; i < VKMOE_CONFORM_BINS; i++)
        json_array_append_new(errors, json_integer((json_int_t)t->errors[i]));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:s, s:o, s:o}", "kernel", t->kernel,
                     "weights", t->weights, "path", t->path, "subgroup_size",
                     (json_int_t)t->subgroup_size, "cases_run", (json_int_t)t->n_cases, "failed",
                     (json_int_t)t->failed, "nmse", number(t->nmse), "worst_case",
                     t->cases[t->worst].name, "errors", errors, "cases", cases);
}

static json_t *device_json(const struct conform_report *r, const struct conform_device *d)
{
    const vkmoe_device_info *info = &d->info;
    json_t *tests = json_array();
    for (size_t i = 0; i < d->n_tests; i++)
        json_array_append_new(tests, test_json(r, d, &d->tests[i]));
    json_t *key =
        json_pack("{s:s, s:I, s:I}", "device_uuid", info->uuid, "driver_id",
                  (json_int_t)info->driver_id, "driver_version", (json_int_t)info->driver_version);
    json_t *out = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "key", key,
        "name", info->name, "driver", info->driver, "api_version", (json_int_t)info->api_version,
        "subgroup_size", (json_int_t)info->subgroup_size, "subgroup_min",
        (json_int_t)info->subgroup_min, "subgroup_max", (json_int_t)info->subgroup_max,
        "subgroup_sizes", (json_int_t)info->subgroup_sizes, "shared_memory",
        (json_int_t)info->shared_memory, "max_invocations", (json_int_t)info->max_invocations,
        "cases_run", (json_int_t)d->totals.cases, "failed", (json_int_t)d->totals.failed, "seconds",
        d->seconds, "tests", tests);
    set_text(out, "stopped", d->error.message);
    return out;
}

int conform_write_json(const struct conform_report *r, const char *path)
{
    json_t *devices = json_array();
    for (size_t i = 0; i < r->n_devices; i++)
        json_array_append_new(devices, device_json(r, &r->devices[i]));
    json_t *root = json_pack("{s:s, s:I, s:s, s:b, s:o}", "vkmoe", VKMOE_VERSION, "seed",
                             (json_int_t)r->seed, "level", r->full ? "full" : "quick", "passed",
                             conform_report_passed(r), "devices", devices);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return cli_fail("%s: the report cannot be put as JSON", path);
    int code = cli_write_file(path, text, strlen(text));
    free(text);
    return code;
}
