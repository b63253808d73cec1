/* vkmoe study mask, active, shared: routing changed for all tokens (section 4.5 of the paper). */
#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interval.h"
#include "study_chart.h"

/* --- what is tried --- */

struct trial {
    vkmoe_routing routing;
    const uint8_t *states; /* of experts; NULL: all free */
    bool set;              /* those of --set are off */
    vkmoe_perplexity result;
    /* Of the differences from the first trial, d in a window of n tokens: sums of d * d and d * n.
     */
    double squares, products;
    double more, more_error;     /* the mean difference and its standard error, 0 for one window */
    double prompt_rate;          /* tokens read per second */
    double rate, rate_deviation; /* generated per second: mean and standard deviation */
};

struct study {
    const struct study_options *options;
    const struct cli_engine *engine;
    const struct cli_text *text;
    const vkmoe_model_info *info;
    const uint8_t *states; /* as the options want experts; NULL: all free */
    uint8_t *set_states;   /* and without those of --set */
    struct cli_text_progress progress;
    bool no_memory; /* which ended a trial */
    struct trial *trials;
    size_t count, at;
    double *first;   /* losses of the first trial, summed in each window */
    uint32_t k;      /* of the first trial */
    uint32_t left;   /* experts that are not off in the layer with the fewest */
    uint32_t forced; /* in the layer with the most */
};

static bool add(struct study *s, vkmoe_routing routing)
{
    struct trial *more = realloc(s->trials, (s->count + 1) * sizeof(*more));
    if (!more)
        return false;
    s->trials = more;
    s->trials[s->count++] = (struct trial){.routing = routing, .states = s->states};
    return true;
}

static uint32_t active(const struct study *s, const struct trial *t)
{
    return t->routing.experts_per_token > 0 ? t->routing.experts_per_token : s->k;
}

/* R or K of a trial. */
static uint32_t value_of(const struct study *s, const struct trial *t)
{
    return s->options->kind == STUDY_MASK ? t->routing.skip : active(s, t);
}

/* What was tried already, as by the first trial, is not tried again. */
static bool add_value(struct study *s, uint32_t value)
{
    vkmoe_routing routing = s->options->common.routing;
    for (size_t i = 0; i < s->count; i++)
        if (value_of(s, &s->trials[i]) == value)
            return true;
    if (s->options->kind == STUDY_MASK)
        routing.skip = value;
    else
        routing.experts_per_token = value;
    return add(s, routing);
}

/* The values of R or K that experts which are off or forced leave. A table asks for none to be
 * left.
 */
static void find_range(const struct study *s, uint32_t *least, uint32_t *most)
{
    bool mask = s->options->kind == STUDY_MASK;
    uint32_t others = mask ? s->k : s->options->common.routing.skip;
    *least = mask ? 0 : s->forced > 0 ? s->forced : 1;
    *most = s->left > others ? s->left - others : 0;
}

/* All values up to eight, then each half as much again, and the last that can be. */
static bool add_default(struct study *s)
{
    bool good = true;
    uint32_t least, most;
    find_range(s, &least, &most);
    for (uint32_t i = 1; i < most && good; i = i < 8 ? i + 1 : i + i / 2)
        good = i < least || add_value(s, i);
    return good && (most < least || add_value(s, most));
}

static bool add_shared(struct study *s)
{
    vkmoe_routing routing = s->options->common.routing;
    routing.without_shared = true;
    bool good = add(s, routing);
    routing.experts_per_token = s->k + 1;
    return good && (s->k + routing.skip >= s->left || add(s, routing));
}

static int add_list(struct study *s)
{
    int32_t *values;
    size_t count;
    if (!cli_parse_numbers("--list", "a number of experts", s->options->list, &values, &count))
        return EXIT_USAGE;
    uint32_t least, most;
    find_range(s, &least, &most);
    int code = count > 0 ? EXIT_DONE : cli_usage("--list: '%s' has no number", s->options->list);
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

static int read_set(struct study *s)
{
    size_t n = (size_t)s->info->n_moe_layers * s->info->n_routed_experts;
    s->set_states = calloc(n, 1);
    if (!s->set_states)
        return cli_fail("host memory ran out for the states of %zu experts", n);
    if (s->states)
        memcpy(s->set_states, s->states, n);
    return cli_expert_list("--set", s->options->set, s->info, VKMOE_EXPERT_OFF, s->set_states)
               ? EXIT_DONE
               : EXIT_FAILED;
}

/* The last trial: experts that go together. */
static bool add_set(struct study *s)
{
    if (!add(s, s->options->common.routing))
        return false;
    s->trials[s->count - 1].states = s->set_states;
    s->trials[s->count - 1].set = true;
    return true;
}

/* How many experts routing can do with. */
static void count_experts(struct study *s)
{
    uint32_t n = s->info->n_routed_experts;
    s->left = n;
    for (uint32_t l = 0; s->states && l < s->info->n_moe_layers; l++) {
        uint32_t left = n, forced = 0;
        for (uint32_t e = 0; e < n; e++) {
            left -= s->states[(size_t)l * n + e] == VKMOE_EXPERT_OFF;
            forced += s->states[(size_t)l * n + e] == VKMOE_EXPERT_FORCED;
        }
        s->left = left < s->left ? left : s->left;
        s->forced = forced > s->forced ? forced : s->forced;
    }
}

static int add_all(struct study *s)
{
    const struct study_options *o = s->options;
    int code = EXIT_DONE;
    bool good = add(s, o->common.routing); /* what the others are compared with */
    if (good && o->list)
        code = add_list(s);
    else if (good && !o->set)
        good = o->kind == STUDY_SHARED ? add_shared(s) : add_default(s);
    if (good && code == EXIT_DONE && o->set)
        good = add_set(s);
    return good ? code : cli_fail("host memory ran out for %zu trials", s->count);
}

/* A session for a few tokens of any trial. */
static int open_for_all(const struct study *s, uint32_t context, vkmoe_session **session)
{
    vkmoe_session_params params = cli_session_params(&s->options->common);
    params.context = context;
    for (size_t i = 0; i < s->count; i++)
        if (active(s, &s->trials[i]) > params.routing.experts_per_token)
            params.routing.experts_per_token = active(s, &s->trials[i]);
    return cli_session_open(&s->options->common, &params, s->engine->model, session);
}

/* Whether the router can do all of it, before the first trial is measured. */
static int rehearse(const struct study *s)
{
    vkmoe_session *session;
    vkmoe_status status = VKMOE_OK;
    vkmoe_error err;
    int code = open_for_all(s, 1, &session);
    if (code != EXIT_DONE)
        return code;
    for (size_t i = 0; i < s->count && status == VKMOE_OK; i++) {
        const struct trial *t = &s->trials[i];
        status = vkmoe_session_set_routing(session, &t->routing, &err);
        if (status == VKMOE_OK && t->set) /* the last trial: nothing comes after it */
            status = vkmoe_session_set_experts(session, t->states, &err);
    }
    vkmoe_session_destroy(session);
    return status == VKMOE_OK ? EXIT_DONE : cli_failed(&err);
}

static int add_trials(struct study *s)
{
    const struct study_options *o = s->options;
    if (s->info->n_routed_experts == 0)
        return cli_fail("%s: the model has no routed experts", cli_model_path(&o->common));
    if (o->kind == STUDY_SHARED && s->info->n_shared_experts == 0)
        return cli_fail("%s: the model has no shared experts", cli_model_path(&o->common));
    vkmoe_session *session;
    int code = cli_session_create(&o->common, s->engine->model, &session);
    if (code != EXIT_DONE)
        return code;
    s->k = vkmoe_session_experts_per_token(session); /* which a router may fix */
    vkmoe_session_destroy(session);
    count_experts(s);
    code = o->set ? read_set(s) : EXIT_DONE;
    if (code == EXIT_DONE)
        code = add_all(s);
    return code == EXIT_DONE ? rehearse(s) : code;
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

static vkmoe_status measure_trial(struct study *s, struct trial *t, vkmoe_error *err)
{
    const struct study_options *o = s->options;
    size_t count = study_tokens(o, s->text);
    const vkmoe_perplexity_params params = {.context = o->common.context,
                                            .chunk = o->common.chunk,
                                            .routing = t->routing,
                                            .kv = s->options->common.kv,
                                            .experts = t->states,
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

/* --- speed --- */

enum { ROUNDS = 5, WARM = 4, TIMED = 32 }; /* tokens that do not count, and those that do */

static vkmoe_status generate(vkmoe_session *session, size_t tokens, double *seconds,
                             vkmoe_error *err)
{
    const vkmoe_generate_params params = {.max_tokens = tokens, .ignore_eos = true};
    vkmoe_status status = vkmoe_session_rollback(session, 1, err);
    double start = cli_now();
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(session, &params, NULL, err);
    *seconds = cli_now() - start;
    return status;
}

/* The first tokens record the step for this routing. */
static vkmoe_status time_trial(vkmoe_session *session, const struct trial *t, double *rate,
                               vkmoe_error *err)
{
    double seconds = 0;
    vkmoe_status status = vkmoe_session_set_routing(session, &t->routing, err);
    if (status == VKMOE_OK)
        status = generate(session, WARM, &seconds, err);
    if (status == VKMOE_OK)
        status = generate(session, TIMED, &seconds, err);
    *rate = status == VKMOE_OK ? TIMED / seconds : 0;
    return status;
}

/* Trials take turns, so that what else the machine does in the meantime meets all of them alike. */
static vkmoe_status time_rounds(struct study *s, vkmoe_session *session, vkmoe_error *err)
{
    vkmoe_status status = vkmoe_session_eval(session, s->text->ids, 1, NULL, err);
    s->progress = (struct cli_text_progress){0};
    for (size_t i = 0; i < ROUNDS * s->count && status == VKMOE_OK; i++) {
        struct trial *t = &s->trials[i % s->count];
        double rate, before = t->rate, round = (double)(i / s->count + 1);
        cli_text_show(&s->progress, "active, speed", i, ROUNDS * s->count, "runs");
        status = time_trial(session, t, &rate, err);
        t->rate += (rate - before) / round;
        t->rate_deviation += (rate - before) * (rate - t->rate); /* squares, as yet */
    }
    for (size_t i = 0; i < s->count; i++)
        s->trials[i].rate_deviation = sqrt(s->trials[i].rate_deviation / (ROUNDS - 1));
    return status;
}

static int measure_speed(struct study *s)
{
    vkmoe_session *session;
    vkmoe_error err;
    int code = open_for_all(s, 1 + TIMED, &session);
    if (code != EXIT_DONE)
        return code;
    cli_cancel_on_interrupt(session);
    vkmoe_status status = time_rounds(s, session, &err);
    cli_cancel_on_interrupt(NULL);
    cli_end_progress();
    vkmoe_session_destroy(session);
    if (status == VKMOE_OK)
        return EXIT_DONE;
    return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
}

/* --- results --- */

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
           rates ? "  read t/s  generated t/s       sd" : "");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        const vkmoe_perplexity *p = &t->result;
        if (t->set)
            printf("%11s", "set");
        else
            printf("%11u", t->routing.skip);
        printf(" %7u %7s %7.4f %8.4f %s %11.3f", active(s, t),
               t->routing.without_shared ? "no" : "yes", p->nll, t->more,
               cli_figure(half_interval(s, t), 7, 4).text, p->perplexity);
        if (rates)
            printf(" %9.1f %14.2f %8.2f", t->prompt_rate, t->rate, t->rate_deviation);
        putchar('\n');
    }
}

static void print_csv(const struct study *s)
{
    printf("skip,active,shared,nll,standard_error,more,more_standard_error,perplexity,"
           "read_per_second,generated_per_second,generated_deviation,set\n");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        printf("%u,%u,%d,%.9g,%s,%.9g,%s,%.9g,%.6g,", t->routing.skip, active(s, t),
               !t->routing.without_shared, t->result.nll,
               cli_csv_error(t->result.standard_error, t->result.windows).text, t->more,
               cli_csv_error(t->more_error, t->result.windows).text, t->result.perplexity,
               t->prompt_rate);
        if (s->options->kind == STUDY_ACTIVE)
            printf("%.6g,%.6g", t->rate, t->rate_deviation);
        else
            putchar(',');
        printf(",%d\n", t->set);
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
        if (s->options->kind == STUDY_ACTIVE) {
            json_object_set_new(one, "generated_per_second", json_real(t->rate));
            json_object_set_new(one, "generated_deviation", json_real(t->rate_deviation));
        }
        if (s->options->kind == STUDY_MASK)
            json_object_set_new(one, "set", json_boolean(t->set));
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
    size_t count = s->count - s->trials[s->count - 1].set; /* which has no R, and is the last */
    double *values = malloc(5 * count * sizeof(*values) + 1);
    char line[1024];
    bool mask = o->kind == STUDY_MASK;
    if (!values)
        return cli_fail("--chart: host memory ran out for %zu points", count);
    double *x = values, *nll = x + count, *error = nll + count, *rate = error + count,
           *deviation = rate + count;
    for (size_t i = 0; i < count; i++) {
        const struct trial *t = &s->trials[i];
        x[i] = value_of(s, t);
        nll[i] = t->result.nll;
        error[i] = half_interval(s, t);
        rate[i] = t->rate;
        deviation[i] = t->rate_deviation;
    }
    snprintf(line, sizeof(line), "%s, %llu tokens", s->text->file,
             (unsigned long long)s->trials[0].result.scored);
    json_t *subtitle = cli_json_text(line);
    const struct study_chart chart = {
        .title = mask ? "Loss without the best experts" : "Loss and speed by active experts",
        .subtitle = json_string_value(subtitle),
        .across = mask ? "best routed experts passed over" : "active routed experts",
        .count = count,
        .x = x,
        .nll = nll,
        .error = error,
        .rate = mask ? NULL : rate,
        .rate_deviation = deviation};
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
    if (code == EXIT_DONE && o->kind == STUDY_ACTIVE)
        code = measure_speed(s);
    if (code == EXIT_DONE && o->chart)
        code = draw(s);
    if (code == EXIT_DONE)
        code = CLI_TEXT_PRINT(&o->text, print_json(s), print_csv(s), print_text(s));
    free(states);
    free(s->set_states);
    free(s->trials);
    free(s->first);
    return code;
}

int study_trials(struct study_options *o)
{
    struct study s = {.options = o};
    return cli_with_text(&o->common, o->text.file, run, &s);
}
