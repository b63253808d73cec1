/* vkmoe study mask, active, shared: routing changed for all tokens (section 4.5 of the paper). */
#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "interval.h"
#include "study_chart.h"

/* --- what is tried --- */

struct trial {
    vkmoe_routing routing;
    vkmoe_perplexity result;
    /* Of the differences from the first trial, d in a window of n tokens: sums of d * d and d * n.
     */
    double squares, products;
    double more, more_error;  /* the mean difference and its standard error, 0 for one window */
    double prompt_rate, rate; /* tokens per second, read and generated */
};

struct study {
    const struct study_options *options;
    const struct cli_engine *engine;
    const struct cli_text *text;
    const vkmoe_model_info *info;
    const uint8_t *states;
    struct cli_text_progress progress;
    bool no_memory; /* which ended a trial */
    struct trial *trials;
    size_t count, at;
    double *first; /* losses of the first trial, summed in each window */
    uint32_t k;    /* of the first trial */
};

static bool add(struct study *s, vkmoe_routing routing)
{
    struct trial *more = realloc(s->trials, (s->count + 1) * sizeof(*more));
    if (!more)
        return false;
    s->trials = more;
    s->trials[s->count++] = (struct trial){.routing = routing};
    return true;
}

static bool add_value(struct study *s, uint32_t value)
{
    vkmoe_routing routing = s->options->common.routing;
    if (s->options->kind == STUDY_MASK)
        routing.skip = value;
    else
        routing.experts_per_token = value;
    return add(s, routing);
}

/* All values up to eight, then each half as much again; `last` is among them, `known` is not. */
static bool add_default(struct study *s, uint32_t last, uint32_t known)
{
    bool good = true;
    for (uint32_t i = 1; i < last && good; i = i < 8 ? i + 1 : i + i / 2)
        good = i == known || add_value(s, i);
    return good && (last == known || last == 0 || add_value(s, last));
}

static bool add_shared(struct study *s)
{
    vkmoe_routing routing = s->options->common.routing;
    routing.without_shared = true;
    bool good = add(s, routing);
    routing.experts_per_token = s->k + 1;
    return good && (s->k >= s->info->n_routed_experts || add(s, routing));
}

static int add_list(struct study *s)
{
    int32_t *values;
    size_t count;
    if (!cli_parse_tokens("--list", s->options->list, &values, &count))
        return EXIT_USAGE;
    bool active = s->options->kind == STUDY_ACTIVE;
    uint32_t least = active,
             most = active ? s->info->n_routed_experts : s->info->n_routed_experts - s->k;
    int code = EXIT_DONE;
    for (size_t i = 0; i < count && code == EXIT_DONE; i++) {
        uint32_t value = (uint32_t)values[i];
        if (value < least || value > most)
            code =
                cli_fail("--list: %u is not a number of experts from %u to %u", value, least, most);
        else if (!add_value(s, value))
            code = cli_fail("--list: host memory ran out");
    }
    free(values);
    return code;
}

static int add_trials(struct study *s)
{
    const vkmoe_routing *routing = &s->options->common.routing;
    uint32_t n = s->info->n_routed_experts;
    vkmoe_session *session;
    if (n == 0)
        return cli_fail("%s: the model has no routed experts", cli_model_path(&s->options->common));
    int code = cli_session_create(&s->options->common, s->engine->model, &session);
    if (code != EXIT_DONE)
        return code;
    s->k = vkmoe_session_experts_per_token(session); /* which a router may fix */
    vkmoe_session_destroy(session);
    if (s->options->kind == STUDY_SHARED && s->info->n_shared_experts == 0)
        return cli_fail("%s: the model has no shared experts", cli_model_path(&s->options->common));
    bool good = add(s, *routing); /* what the others are compared with */
    if (good && s->options->list)
        return add_list(s);
    good = good && (s->options->kind == STUDY_MASK     ? add_default(s, n - s->k, 0)
                    : s->options->kind == STUDY_ACTIVE ? add_default(s, n, s->k)
                                                       : add_shared(s));
    return good ? EXIT_DONE : cli_fail("host memory ran out for %zu trials", s->count);
}

/* --- measuring --- */

/* Compares a window with the same one of the first trial; false when memory ran out. */
static bool compare(struct study *s, const vkmoe_perplexity *so_far)
{
    struct trial *t = &s->trials[s->at];
    size_t window = (size_t)so_far->windows - 1;
    double sum = so_far->sum - t->result.sum, n = (double)(so_far->scored - t->result.scored);
    if (so_far->windows == t->result.windows)
        return true;
    if (s->at == 0) {
        double *more = realloc(s->first, (window + 1) * sizeof(*more));
        if (!more)
            return false;
        s->first = more;
        s->first[window] = sum;
    }
    double d = sum - s->first[window];
    t->squares += d * d;
    t->products += d * n;
    t->result = *so_far;
    return true;
}

static void finish(const struct study *s, struct trial *t)
{
    double n = (double)t->result.scored, windows = (double)t->result.windows;
    t->more = t->result.nll - s->trials[0].result.nll;
    double spread =
        t->squares - 2 * t->more * t->products + t->more * t->more * t->result.count_squares;
    t->more_error = windows > 1 ? sqrt(fmax(0, spread) * windows / (windows - 1)) / n : 0;
}

static bool on_window(void *user, const vkmoe_perplexity *so_far)
{
    struct study *s = user;
    cli_text_show(&s->progress, study_name(s->options->kind), s->at * so_far->tokens + so_far->next,
                  s->count * so_far->tokens, "tokens");
    s->no_memory = !compare(s, so_far);
    return !s->no_memory && !cli_interrupted();
}

static bool on_repetition(void *user, uint32_t done, uint32_t total)
{
    (void)user, (void)done, (void)total;
    return !cli_interrupted();
}

/* Tokens generated per second. */
static vkmoe_status measure_rate(const struct study *s, struct trial *t, vkmoe_error *err)
{
    vkmoe_bench_result prompt, generated;
    const vkmoe_bench_params params = {.generate = 32,
                                       .repetitions = 3,
                                       .routing = t->routing,
                                       .kv = s->options->common.kv,
                                       .progress = on_repetition};
    vkmoe_status status = vkmoe_bench_run(s->engine->model, &params, &prompt, &generated, err);
    if (status == VKMOE_OK)
        t->rate = generated.mean;
    return status;
}

static vkmoe_status measure_trial(struct study *s, struct trial *t, vkmoe_error *err)
{
    const struct study_options *o = s->options;
    size_t count = study_tokens(o, s->text);
    const vkmoe_perplexity_params params = {.context = o->common.context,
                                            .chunk = o->common.chunk,
                                            .routing = t->routing,
                                            .kv = s->options->common.kv,
                                            .experts = s->states,
                                            .bos = s->text->bos,
                                            .bos_token = s->text->bos_token,
                                            .on_session = cli_text_cancel,
                                            .progress = on_window,
                                            .user = s};
    double start = cli_now();
    vkmoe_status status =
        vkmoe_perplexity_run(s->engine->model, s->text->ids, count, &params, &t->result, err);
    finish(s, t);
    t->prompt_rate = (double)t->result.scored / (cli_now() - start);
    if (status == VKMOE_OK && o->kind == STUDY_ACTIVE)
        status = measure_rate(s, t, err);
    return status;
}

static int measure(struct study *s)
{
    vkmoe_error err;
    vkmoe_status status = VKMOE_OK;
    for (s->at = 0; s->at < s->count && status == VKMOE_OK; s->at++)
        status = measure_trial(s, &s->trials[s->at], &err);
    cli_end_progress();
    if (status == VKMOE_OK)
        return EXIT_DONE;
    if (s->no_memory)
        return cli_fail("host memory ran out for the windows of %zu trials", s->count);
    return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
}

/* --- results --- */

static uint32_t active(const struct study *s, const struct trial *t)
{
    return t->routing.experts_per_token > 0 ? t->routing.experts_per_token : s->k;
}

/* Half the interval of the change, which of the first trial is nothing, and of one window unknown.
 */
static double half_interval(const struct study *s, const struct trial *t)
{
    return t == s->trials ? 0 : cli_half_interval(t->more_error, t->result.windows);
}

static void print_text(const struct study *s)
{
    bool rates = s->options->kind == STUDY_ACTIVE;
    printf("passed over  active  shared     NLL     more      +-  perplexity%s\n",
           rates ? "  read t/s  generated t/s" : "");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        const vkmoe_perplexity *p = &t->result;
        printf("%11u %7u %7s %7.4f %8.4f %s %11.3f", t->routing.skip, active(s, t),
               t->routing.without_shared ? "no" : "yes", p->nll, t->more,
               cli_figure(half_interval(s, t), 7, 4).text, p->perplexity);
        if (rates)
            printf(" %9.1f %14.2f", t->prompt_rate, t->rate);
        putchar('\n');
    }
}

static void print_csv(const struct study *s)
{
    printf("skip,active,shared,nll,standard_error,more,more_standard_error,perplexity,"
           "read_per_second,generated_per_second\n");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        printf("%u,%u,%d,%.9g,%s,%.9g,%s,%.9g,%.6g,%.6g\n", t->routing.skip, active(s, t),
               !t->routing.without_shared, t->result.nll,
               cli_csv_error(t->result.standard_error, t->result.windows).text, t->more,
               cli_csv_error(t->more_error, t->result.windows).text, t->result.perplexity,
               t->prompt_rate, t->rate);
    }
}

static int print_json(const struct study *s)
{
    json_t *trials = json_array();
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        bool known = t->result.windows > 1;
        json_t *one = json_pack(
            "{s:i, s:i, s:b, s:f, s:o, s:f, s:o, s:f, s:f}", "skip", (int)t->routing.skip, "active",
            (int)active(s, t), "shared", !t->routing.without_shared, "nll", t->result.nll,
            "standard_error", known ? json_real(t->result.standard_error) : json_null(), "more",
            t->more, "more_standard_error", known ? json_real(t->more_error) : json_null(),
            "perplexity", t->result.perplexity, "read_per_second", t->prompt_rate);
        if (s->options->kind == STUDY_ACTIVE)
            json_object_set_new(one, "generated_per_second", json_real(t->rate));
        json_array_append_new(trials, one);
    }
    return cli_print_json(json_pack("{s:s, s:o, s:o}", "study", study_name(s->options->kind),
                                    "model", cli_json_text(cli_model_path(&s->options->common)),
                                    "trials", trials),
                          "the result");
}

static int draw(const struct study *s)
{
    const struct study_options *o = s->options;
    double *values = malloc(4 * s->count * sizeof(*values) + 1);
    char line[1024];
    bool mask = o->kind == STUDY_MASK;
    if (!values)
        return cli_fail("--chart: host memory ran out for %zu points", s->count);
    double *x = values, *nll = x + s->count, *error = nll + s->count, *rate = error + s->count;
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        x[i] = mask ? t->routing.skip : active(s, t);
        nll[i] = t->result.nll;
        error[i] = half_interval(s, t);
        rate[i] = t->rate;
    }
    snprintf(line, sizeof(line), "%s, %llu tokens", s->text->file,
             (unsigned long long)s->trials[0].result.scored);
    json_t *subtitle = cli_json_text(line);
    const struct study_chart chart = {
        .title = mask ? "Loss without the best experts" : "Loss and speed by active experts",
        .subtitle = json_string_value(subtitle),
        .across = mask ? "best routed experts passed over" : "active routed experts",
        .count = s->count,
        .x = x,
        .nll = nll,
        .error = error,
        .rate = mask ? NULL : rate};
    int code = subtitle ? study_chart_draw(&chart, o->chart)
                        : cli_fail("--chart: host memory ran out for the picture");
    json_decref(subtitle);
    free(values);
    return code;
}

static int run(void *user, const struct cli_engine *e, const struct cli_text *text)
{
    struct study *s = user;
    const struct study_options *o = s->options;
    uint8_t *states;
    s->engine = e;
    s->text = text;
    s->info = vkmoe_model_get_info(e->model);
    int code = cli_expert_states(&o->common, s->info, &states);
    s->states = states;
    if (code == EXIT_DONE)
        code = add_trials(s);
    if (code == EXIT_DONE)
        code = measure(s);
    if (code == EXIT_DONE && o->chart)
        code = draw(s);
    if (code == EXIT_DONE && o->text.as_json)
        code = print_json(s);
    else if (code == EXIT_DONE && o->text.as_csv)
        print_csv(s);
    else if (code == EXIT_DONE)
        print_text(s);
    free(states);
    free(s->trials);
    free(s->first);
    return code;
}

int study_trials(const struct study_options *o)
{
    struct study s = {.options = o};
    return cli_with_text(&o->common, o->text.file, run, &s);
}
