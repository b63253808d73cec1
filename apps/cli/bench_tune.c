/* vkmoe bench --tune: launches that suit this device, kept for later sessions. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* A line that grows on a terminal; else one line for each thing that is tried. */
static bool on_progress(void *user, const char *what, double share)
{
    const char **shown = user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Ktuning, %3.0f %% of the time: %s", 100 * share, what);
    else if (*shown != what)
        fprintf(stderr, "tuning: %s\n", what);
    *shown = what;
    return !cli_interrupted();
}

static void name_launch(char text[32], const uint32_t value[2])
{
    if (value[1] > 0)
        snprintf(text, 32, "%u x %u", value[0], value[1]);
    else
        snprintf(text, 32, "%u", value[0]);
}

static void print_table(const vkmoe_tune_result *r)
{
    printf("%u candidates compared in %.1f s\n", r->candidates, r->seconds);
    if (r->n_choices > 0)
        printf("%-22s %10s %10s %8s %8s\n", "launch", "was", "is", "time", "noise");
    for (uint32_t i = 0; i < r->n_choices; i++) {
        const vkmoe_tune_choice *c = &r->choices[i];
        char from[32], to[32], name[64];
        name_launch(from, c->from);
        name_launch(to, c->to);
        snprintf(name, sizeof(name), "%s%s%s", c->name, c->weights ? " " : "",
                 c->weights ? c->weights : "");
        printf("%-22s %10s %10s %6.1f %% %6.1f %%%s\n", name, from, to, 100 * c->ratio,
               100 * c->noise, c->kept ? "" : ", not kept");
    }
    if (r->candidates == 0)
        puts("none could be compared in the time there is: the device takes too long to compile");
    else if (r->n_choices == 0)
        puts("nothing was faster than the library's own launches by more than the noise");
    printf("kept in %s\n", r->file);
}

static int print_json(const struct bench_results *about, const vkmoe_tune_result *r)
{
    json_t *choices = json_array();
    for (uint32_t i = 0; i < r->n_choices; i++) {
        const vkmoe_tune_choice *c = &r->choices[i];
        json_array_append_new(choices,
                              json_pack("{s:s, s:s?, s:[I, I], s:[I, I], s:f, s:f, s:b}", "name",
                                        c->name, "weights", c->weights, "from",
                                        (json_int_t)c->from[0], (json_int_t)c->from[1], "to",
                                        (json_int_t)c->to[0], (json_int_t)c->to[1], "ratio",
                                        c->ratio, "noise", c->noise, "kept", c->kept));
    }
    return cli_print_json(
        json_pack("{s:o, s:o, s:o, s:I, s:f, s:o, s:o}", "model", cli_json_text(about->model),
                  "device", cli_json_text(about->device->name), "driver",
                  cli_json_text(about->device->driver), "candidates", (json_int_t)r->candidates,
                  "seconds", r->seconds, "file", cli_json_text(r->file), "choices", choices),
        "what was tuned");
}

int bench_tune(const struct bench_results *about, vkmoe_model *model)
{
    vkmoe_tune_result result;
    const char *shown = NULL;
    vkmoe_error err;
    const vkmoe_tune_params params = {.progress = on_progress, .user = &shown};
    vkmoe_status status = vkmoe_bench_tune(model, &params, &result, &err);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    if (about->options->as_json)
        return print_json(about, &result);
    printf("%s on %s, %s\n", about->model, about->device->name, about->device->driver);
    print_table(&result);
    return EXIT_DONE;
}
