/* vkmoe study: what a model's experts are worth, by taking some away (section 4.5 of the paper). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "text_options.h"

static const char help[] =
    "usage: vkmoe study KIND -f FILE [OPTIONS]\n"
    "Measures how well the model predicts a text when its routing is changed:\n"
    "  mask         each token's R best routed experts are passed over, for several R\n"
    "  active       K routed experts are active, for several K; and tokens generated per second\n"
    "  shared       the shared experts are left out, with K and with K + 1 routed ones\n"
    "Each line gives the mean negative log likelihood (NLL) of a token in nats, and what it is\n"
    "more than on the first line, where routing is as the model was trained or as other options\n"
    "want it.\n\n" CLI_TEXT_HELP "      --tokens N         only the text's first N tokens\n"
    "      --list N,N,...     the values of R or K (default: a dozen that fit the "
    "model)\n" CLI_COMMON_HELP;

enum kind { KIND_MASK, KIND_ACTIVE, KIND_SHARED, KIND_COUNT };
static const char *const kind_names[] = {"mask", "active", "shared"};

struct options {
    struct cli_common common;
    enum kind kind;
    struct cli_text_options text;
    const char *list;
    uint64_t tokens;
};

enum { OPTION_TOKENS = CLI_OPTION_TEXT_OWN, OPTION_LIST };

static const struct option long_options[] = {
    CLI_TEXT_LONG,
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"list", required_argument, NULL, OPTION_LIST},
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    switch (option) {
    case OPTION_TOKENS:
        return cli_parse_u64("--tokens", optarg, 2, CLI_MOST_TOKENS, &o->tokens) ? -1 : EXIT_USAGE;
    case OPTION_LIST:
        o->list = optarg;
        return -1;
    default:
        return cli_text_option(&o->text, &o->common, option, help);
    }
}

static int check(const struct options *o)
{
    if (!o->text.file)
        return cli_usage("study: a text is needed, with -f FILE");
    if (o->list && o->kind == KIND_SHARED)
        return cli_usage("study: --list says nothing to shared");
    return cli_text_check(&o->text, "study");
}

static int parse(int argc, char **argv, struct options *o)
{
    int option, kind = 0;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_TEXT_SHORT, long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    if (optind + 1 != argc)
        return cli_usage("study: one of mask, active and shared is needed, not %d words",
                         argc - optind);
    while (kind < KIND_COUNT && strcmp(argv[optind], kind_names[kind]) != 0)
        kind++;
    if (kind == KIND_COUNT)
        return cli_usage("study: '%s' is not mask, active or shared", argv[optind]);
    o->kind = (enum kind)kind;
    return check(o);
}

/* --- what is tried --- */

struct trial {
    vkmoe_routing routing;
    vkmoe_perplexity result;
    double prompt_rate, rate; /* tokens per second, read and generated */
};

struct study {
    const struct options *options;
    const struct cli_engine *engine;
    const struct cli_text *text;
    const vkmoe_model_info *info;
    const uint8_t *states;
    struct trial *trials;
    size_t count, at;
    uint32_t k; /* of the first trial */
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
    if (s->options->kind == KIND_MASK)
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
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = add_value(s, (uint32_t)values[i]);
    free(values);
    return good ? EXIT_DONE : cli_fail("--list: host memory ran out");
}

static int add_trials(struct study *s)
{
    const vkmoe_routing *routing = &s->options->common.routing;
    uint32_t n = s->info->n_routed_experts;
    s->k =
        routing->experts_per_token > 0 ? routing->experts_per_token : s->info->n_experts_per_token;
    if (n == 0)
        return cli_fail("%s: the model has no routed experts", cli_model_path(&s->options->common));
    if (s->k > n)
        return cli_fail("--experts: %u of %u routed experts", s->k, n);
    if (s->options->kind == KIND_SHARED && s->info->n_shared_experts == 0)
        return cli_fail("%s: the model has no shared experts", cli_model_path(&s->options->common));
    bool good = add(s, *routing); /* what the others are compared with */
    if (good && s->options->list)
        return add_list(s);
    good = good && (s->options->kind == KIND_MASK     ? add_default(s, n - s->k, 0)
                    : s->options->kind == KIND_ACTIVE ? add_default(s, n, s->k)
                                                      : add_shared(s));
    return good ? EXIT_DONE : cli_fail("host memory ran out for %zu trials", s->count);
}

/* --- measuring --- */

static bool on_window(void *user, const vkmoe_perplexity *so_far)
{
    const struct study *s = user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%zu of %zu: %llu of %llu tokens", s->at + 1, s->count,
                (unsigned long long)so_far->next, (unsigned long long)so_far->tokens);
    return !cli_interrupted();
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
    const struct options *o = s->options;
    size_t count = s->text->count;
    if (o->tokens > 0 && o->tokens < count)
        count = (size_t)o->tokens;
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
    t->prompt_rate = (double)t->result.scored / (cli_now() - start);
    if (status == VKMOE_OK && o->kind == KIND_ACTIVE)
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
    return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
}

/* --- results --- */

static uint32_t active(const struct study *s, const struct trial *t)
{
    return t->routing.experts_per_token > 0 ? t->routing.experts_per_token
                                            : s->info->n_experts_per_token;
}

static void print_text(const struct study *s)
{
    bool rates = s->options->kind == KIND_ACTIVE;
    printf("passed over  active  shared     NLL      +-    more  perplexity%s\n",
           rates ? "  read t/s  generated t/s" : "");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        const vkmoe_perplexity *p = &t->result;
        printf("%11u %7u %7s %7.4f %7.4f %7.4f %11.3f", t->routing.skip, active(s, t),
               t->routing.without_shared ? "no" : "yes", p->nll, 1.96 * p->standard_error,
               p->nll - s->trials[0].result.nll, p->perplexity);
        if (rates)
            printf(" %9.1f %14.2f", t->prompt_rate, t->rate);
        putchar('\n');
    }
}

static void print_csv(const struct study *s)
{
    printf("skip,active,shared,nll,standard_error,perplexity,read_per_second,"
           "generated_per_second\n");
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        printf("%u,%u,%d,%.9g,%.9g,%.9g,%.6g,%.6g\n", t->routing.skip, active(s, t),
               !t->routing.without_shared, t->result.nll, t->result.standard_error,
               t->result.perplexity, t->prompt_rate, t->rate);
    }
}

static int print_json(const struct study *s)
{
    json_t *trials = json_array();
    for (size_t i = 0; i < s->count; i++) {
        const struct trial *t = &s->trials[i];
        json_t *one =
            json_pack("{s:i, s:i, s:b, s:f, s:f, s:f, s:f}", "skip", (int)t->routing.skip, "active",
                      (int)active(s, t), "shared", !t->routing.without_shared, "nll", t->result.nll,
                      "standard_error", t->result.standard_error, "perplexity",
                      t->result.perplexity, "read_per_second", t->prompt_rate);
        if (s->options->kind == KIND_ACTIVE)
            json_object_set_new(one, "generated_per_second", json_real(t->rate));
        json_array_append_new(trials, one);
    }
    return cli_print_json(json_pack("{s:s, s:o, s:o}", "study", kind_names[s->options->kind],
                                    "model", cli_json_text(cli_model_path(&s->options->common)),
                                    "trials", trials),
                          "the result");
}

static int run(void *user, const struct cli_engine *e, const struct cli_text *text)
{
    const struct options *o = user;
    struct study s = {
        .options = o, .engine = e, .text = text, .info = vkmoe_model_get_info(e->model)};
    uint8_t *states;
    int code = cli_expert_states(&o->common, s.info, &states);
    s.states = states;
    if (code == EXIT_DONE)
        code = add_trials(&s);
    if (code == EXIT_DONE)
        code = measure(&s);
    if (code == EXIT_DONE && o->text.as_json)
        code = print_json(&s);
    else if (code == EXIT_DONE && o->text.as_csv)
        print_csv(&s);
    else if (code == EXIT_DONE)
        print_text(&s);
    free(states);
    free(s.trials);
    return code;
}

int cmd_study(int argc, char **argv)
{
    struct options o;
    int code = parse(argc, argv, &o);
    return code >= 0 ? code : cli_with_text(&o.common, o.text.file, run, &o);
}
