/* vkmoe study: what a model's experts are worth, and to which texts. */
#include "study.h"

#include <stdio.h>
#include <string.h>

#include "drawing.h"

static const char help[] =
    "usage: vkmoe study KIND -f FILE [OPTIONS]\n"
    "       vkmoe study affinity FILE FILE... [OPTIONS]\n"
    "Measures how well the model predicts a text when its routing is changed:\n"
    "  mask         each token's R best routed experts are passed over, for several R; or a named\n"
    "               set of experts is switched off\n"
    "  active       K routed experts are active, for several K; and tokens generated per second,\n"
    "               with the standard deviation of five rounds in which all K take turns\n"
    "  shared       the shared experts are left out, with K and with K + 1 routed ones\n"
    "  importance   each routed expert is switched off in turn\n"
    "and which experts serve which text:\n"
    "  affinity     the share of each text's tokens that each expert gets, and whether the texts\n"
    "               differ by more than chance: a permutation test deals their windows out anew\n"
    "mask, active and shared give a line for each trial: the mean negative log likelihood (NLL)\n"
    "of a token in nats, and what it is more than on the first line, where routing is as the\n"
    "model was trained or as other options want it, with a 95 % interval over windows.\n"
    "importance gives a line for each expert, the most harmful loss first: by how much the NLL\n"
    "rises without it, likewise; it computes the text once for each expert.\n\n" CLI_TEXT_HELP
    "                         affinity: 128, as the test needs several windows of each text\n"
    "      --tokens N         only the first N tokens of each text\n"
    "      --list N,N,...     mask, active: the values of R or K (default: a dozen that fit the\n"
    "                         model)\n"
    "      --set LIST         mask: also without all of these, as --experts-off has them; without\n"
    "                         --list nothing else\n"
    "      --chart FILE       mask, active: also draw the loss against R or K, as SVG or, with\n"
    "                         .png, as PNG\n"
    "      --only LIST        importance: these experts, as --experts-off has them\n"
    "      --permutations N   affinity: of the test (default: 999)\n"
    "      --seed N           affinity: of the permutations (default: 0)\n"
    "      --map FILE         importance, affinity: also draw them, likewise\n" CLI_COMMON_HELP;

enum {
    OPTION_TOKENS = CLI_OPTION_TEXT_OWN,
    OPTION_LIST,
    OPTION_SET,
    OPTION_ONLY,
    OPTION_PERMUTATIONS,
    OPTION_SEED,
    OPTION_MAP,
    OPTION_CHART
};

static const struct option long_options[] = {
    CLI_TEXT_LONG,
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"list", required_argument, NULL, OPTION_LIST},
    {"set", required_argument, NULL, OPTION_SET},
    {"only", required_argument, NULL, OPTION_ONLY},
    {"permutations", required_argument, NULL, OPTION_PERMUTATIONS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"map", required_argument, NULL, OPTION_MAP},
    {"chart", required_argument, NULL, OPTION_CHART},
    {NULL, 0, NULL, 0},
};

/* The options that only some kinds have. */
#define KIND(kind) (1u << (kind))
static const struct {
    int option;
    unsigned kinds;
    const char *name;
} owners[] = {
    {'f', ~KIND(STUDY_AFFINITY), "-f"},
    {OPTION_LIST, KIND(STUDY_MASK) | KIND(STUDY_ACTIVE), "--list"},
    {OPTION_SET, KIND(STUDY_MASK), "--set"},
    {OPTION_ONLY, KIND(STUDY_IMPORTANCE), "--only"},
    {OPTION_PERMUTATIONS, KIND(STUDY_AFFINITY), "--permutations"},
    {OPTION_SEED, KIND(STUDY_AFFINITY), "--seed"},
    {OPTION_MAP, KIND(STUDY_IMPORTANCE) | KIND(STUDY_AFFINITY), "--map"},
    {OPTION_CHART, KIND(STUDY_MASK) | KIND(STUDY_ACTIVE), "--chart"},
};

const char *study_name(enum study_kind kind)
{
    static const char *const names[STUDY_COUNT] = {"mask", "active", "shared", "importance",
                                                   "affinity"};
    return names[kind];
}

size_t study_tokens(const struct study_options *o, const struct cli_text *text)
{
    return o->tokens > 0 && o->tokens < text->count ? (size_t)o->tokens : text->count;
}

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct study_options *o, int option)
{
    switch (option) {
    case OPTION_TOKENS:
        return cli_parse_u64("--tokens", optarg, 2, CLI_MOST_TOKENS, &o->tokens) ? -1 : EXIT_USAGE;
    case OPTION_LIST:
        o->list = optarg;
        return -1;
    case OPTION_SET:
        o->set = optarg;
        return *optarg ? -1 : cli_usage("--set: an empty list leaves no expert out");
    case OPTION_ONLY:
        o->only = optarg;
        return *optarg ? -1 : cli_usage("--only: an empty list leaves no expert");
    case OPTION_PERMUTATIONS:
        return cli_parse_u64("--permutations", optarg, 1, 1000000, &o->permutations) ? -1
                                                                                     : EXIT_USAGE;
    case OPTION_SEED:
        return cli_parse_u64("--seed", optarg, 0, UINT64_MAX, &o->seed) ? -1 : EXIT_USAGE;
    case OPTION_MAP:
        o->map = optarg;
        return *optarg ? -1 : cli_usage("--map: an empty name is no file");
    case OPTION_CHART:
        o->chart = optarg;
        return *optarg ? -1 : cli_usage("--chart: an empty name is no file");
    default:
        return cli_text_option(&o->text, &o->common, option, help);
    }
}

static int parse_kind(struct study_options *o, int argc, char **argv)
{
    int kind = 0;
    if (optind == argc)
        return cli_usage("study: one of mask, active, shared, importance and affinity is needed");
    while (kind < STUDY_COUNT && strcmp(argv[optind], study_name((enum study_kind)kind)) != 0)
        kind++;
    if (kind == STUDY_COUNT)
        return cli_usage("study: '%s' is not mask, active, shared, importance or affinity",
                         argv[optind]);
    o->kind = (enum study_kind)kind;
    o->files = argv + optind + 1;
    o->n_files = argc - optind - 1;
    return -1;
}

/* `given`: bits of `owners`. */
static int check(const struct study_options *o, unsigned given)
{
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
        if (given & 1u << i && !(owners[i].kinds & KIND(o->kind)))
            return cli_usage("study: %s says nothing to %s", owners[i].name, study_name(o->kind));
    if (o->kind == STUDY_AFFINITY && o->n_files < 2)
        return cli_usage("study: affinity needs two texts or more, not %d", o->n_files);
    if (o->kind != STUDY_AFFINITY && o->n_files > 0)
        return cli_usage("study: '%s' is not an option; a text goes after -f", o->files[0]);
    if (o->kind != STUDY_AFFINITY && !o->text.file)
        return cli_usage("study: a text is needed, with -f FILE");
    if (o->common.router_table && o->kind <= STUDY_SHARED)
        return cli_usage("study: --router-table fixes the experts of each token, which %s is to "
                         "change",
                         study_name(o->kind));
    if (o->chart && o->set && !o->list)
        return cli_usage("study: --chart is of the loss against R: give --list besides --set");
    int code = cli_text_check(&o->text, "study");
    if (code < 0)
        code = drawing_check("--map", o->map);
    return code < 0 ? drawing_check("--chart", o->chart) : code;
}

static int parse(int argc, char **argv, struct study_options *o)
{
    int option;
    unsigned given = 0;
    *o = (struct study_options){0};
    while ((option = cli_next_option(argc, argv, CLI_TEXT_SHORT, long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
        for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
            given |= owners[i].option == option ? 1u << i : 0;
    }
    int code = parse_kind(o, argc, argv);
    return code >= 0 ? code : check(o, given);
}

int cmd_study(int argc, char **argv)
{
    struct study_options o;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    if (o.kind == STUDY_IMPORTANCE)
        return study_importance(&o);
    return o.kind == STUDY_AFFINITY ? study_affinity(&o) : study_trials(&o);
}
