#include "generation_options.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static unsigned bit_of(int option)
{
    return 1u << (option - CLI_OPTION_TEMP);
}

static int add_stop(struct cli_generation *g, const char *text)
{
    if (!*text)
        return cli_usage("--stop: an empty string ends nothing; at least one character is needed");
    if (g->n_stops == CLI_MAX_STOPS)
        return cli_usage("--stop: '%s' is one too many; at most %d can be given", text,
                         CLI_MAX_STOPS);
    g->stops[g->n_stops++] = text;
    return -1;
}

/* Parses the value of a numeric option. */
static bool parse_number(struct cli_generation *g, int option, uint64_t *number)
{
    vkmoe_sampling *s = &g->sampling;
    switch (option) {
    case 'n':
        return cli_parse_u64("-n", optarg, 1, CLI_MOST_TOKENS, &g->tokens);
    case CLI_OPTION_TEMP:
        return cli_parse_float("--temp", optarg, 0, 1000, &s->temperature);
    case CLI_OPTION_TOP_K:
        return cli_parse_u64("--top-k", optarg, 0, UINT32_MAX, number);
    case CLI_OPTION_TOP_P:
        return cli_parse_float("--top-p", optarg, 0, 1, &s->top_p);
    case CLI_OPTION_MIN_P:
        return cli_parse_float("--min-p", optarg, 0, 1, &s->min_p);
    case CLI_OPTION_REPEAT_PENALTY:
        return cli_parse_float("--repeat-penalty", optarg, 0, 1000, &s->repeat_penalty);
    case CLI_OPTION_REPEAT_LAST:
        return cli_parse_u64("--repeat-last", optarg, 1, UINT32_MAX, number);
    default:
        return cli_parse_u64("--seed", optarg, 0, UINT64_MAX, &s->seed);
    }
}

int cli_generation_option(struct cli_generation *g, struct cli_common *common, int option,
                          const char *help)
{
    uint64_t number = 0;
    if (option == CLI_OPTION_STOP)
        return add_stop(g, optarg);
    if (option == 'c')
        return cli_parse_context(optarg, common) ? -1 : EXIT_USAGE;
    if (option == CLI_OPTION_IGNORE_EOS) {
        g->ignore_eos = true;
        return -1;
    }
    bool sampling = option >= CLI_OPTION_TEMP && option <= CLI_OPTION_SEED;
    if (option != 'n' && !sampling)
        return cli_common_option(common, option, help);
    if (!parse_number(g, option, &number))
        return EXIT_USAGE;
    if (sampling)
        g->given |= bit_of(option);
    if (option == CLI_OPTION_TOP_K)
        g->sampling.top_k = (uint32_t)number;
    else if (option == CLI_OPTION_REPEAT_LAST)
        g->sampling.repeat_last = (uint32_t)number;
    return -1;
}

static uint64_t seed_of_the_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000003u ^ (uint64_t)t.tv_nsec;
}

static void say_sampling(const vkmoe_sampling *s)
{
    char last[32];
    uint32_t n = s->repeat_last ? s->repeat_last : VKMOE_DEFAULT_REPEAT_LAST;
    if (n == UINT32_MAX)
        snprintf(last, sizeof(last), "all tokens");
    else
        snprintf(last, sizeof(last), "the last %u", n);
    cli_note("repeat penalty %g of %s, temperature %g, top-k %u, top-p %g, min-p %g, seed %llu",
             (double)s->repeat_penalty, last, (double)s->temperature, s->top_k, (double)s->top_p,
             (double)s->min_p, (unsigned long long)s->seed);
}

/* Choices that are never made when the likeliest token is always taken. */
static void warn_of_no_effect(const struct cli_generation *g, const vkmoe_sampling *s)
{
    static const struct {
        int option;
        const char *flag;
    } choices[] = {
        {CLI_OPTION_TOP_K, "--top-k"},
        {CLI_OPTION_TOP_P, "--top-p"},
        {CLI_OPTION_MIN_P, "--min-p"},
        {CLI_OPTION_SEED, "--seed"},
    };
    char flags[64] = "";
    if (s->temperature > 0 || g->given & bit_of(CLI_OPTION_TEMP))
        return;
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        size_t n = strlen(flags);
        if (g->given & bit_of(choices[i].option))
            snprintf(flags + n, sizeof(flags) - n, "%s%s", n ? ", " : "", choices[i].flag);
    }
    if (*flags)
        cli_note("%s: no effect at temperature 0, which is the model's default; give --temp too",
                 flags);
}

vkmoe_sampling cli_generation_sampling(const struct cli_generation *g,
                                       const struct cli_common *common, const vkmoe_model *model)
{
    const vkmoe_sampling *given = &g->sampling;
    vkmoe_sampling s = *vkmoe_model_get_sampling(model);
    s.seed = g->given & bit_of(CLI_OPTION_SEED) ? given->seed : seed_of_the_time();
    if (g->given & bit_of(CLI_OPTION_TEMP))
        s.temperature = given->temperature;
    if (g->given & bit_of(CLI_OPTION_TOP_K))
        s.top_k = given->top_k;
    if (g->given & bit_of(CLI_OPTION_TOP_P))
        s.top_p = given->top_p;
    if (g->given & bit_of(CLI_OPTION_MIN_P))
        s.min_p = given->min_p;
    if (g->given & bit_of(CLI_OPTION_REPEAT_PENALTY))
        s.repeat_penalty = given->repeat_penalty;
    if (g->given & bit_of(CLI_OPTION_REPEAT_LAST))
        s.repeat_last = given->repeat_last;
    warn_of_no_effect(g, &s);
    if (common->verbosity > 0)
        say_sampling(&s);
    return s;
}
