/* vkmoe conform: does this driver compute mixtures of experts correctly? */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conform.h"

#define FAILURES_SHOWN 10 /* of one test */

static const char help[] =
    "usage: vkmoe conform [OPTIONS]\n"
    "Runs every kernel in every variant against float64 references, and whole steps of a\n"
    "model, and says what is wrong: which kernel, which shape, which element.\n\n"
    "      --kernel GLOB      only kernels or checks whose name fits\n"
    "      --case GLOB        only cases whose name fits\n"
    "      --path GLOB        only this way of computing: base, subgroup, wide, int8, coopmat, or\n"
    "                         step for checks of whole steps\n"
    "      --weights GLOB     only this storage type of weights or KV cache: BF16, Q8, ..., or -\n"
    "                         for what has none\n"
    "      --seed S           of all random inputs (default 0)\n"
    "      --quick            every kernel and variant (default)\n"
    "      --full             the matrix shapes of real models and longer checks too\n"
    "      --jobs N           test kernels on the device opened N times, side by side, at most 4\n"
    "                         (default: on a CPU driver one for each processor, else 1)\n"
    "      --list             list the cases and run none\n"
    "      --json FILE        write a report as JSON\n"
    "      --summary FILE     write one without the cases that passed, to be kept\n"
    "      --html FILE        write a report as a page\n"
    "      --export DIR       write kernels' cases that fail, the first ten of each variant, to\n"
    "                         folders of their own; with --list those that are listed, unrun:\n"
    "                         one on which a driver crashes\n"
    "      --replay DIR       run the case of such a folder alone\n"
    "      --check-addresses  kernels check each address they touch (slow)\n"
    "      --device D         device index, UUID, UUID/DRIVERID where several drivers offer it,\n"
    "                         part of a name, or 'all' for each in turn\n"
    "                         (default: $VKMOE_DEVICE, else the fastest kind there is)\n"
    "  -m, --model MODEL      whole steps of this model too (default: the shipped one): a folder\n"
    "                         in Hugging Face layout, or a GGUF file\n"
    "      --validate         run under the Khronos validation layer\n"
    "      --no-subgroups     leave out the variants that use subgroups\n"
    "      --tiled-rows N     whole steps: tiled matrix products for more than N tokens\n"
    "  -v, --verbose          say what was chosen and why; twice: one job, and each case before\n"
    "                         it is run: the last one is where a driver crashed\n"
    "  -h, --help             this text\n";

enum {
    OPTION_KERNEL = CLI_OPTION_OWN,
    OPTION_CASE,
    OPTION_PATH,
    OPTION_WEIGHTS,
    OPTION_SEED,
    OPTION_QUICK,
    OPTION_FULL,
    OPTION_JOBS,
    OPTION_LIST,
    OPTION_JSON,
    OPTION_SUMMARY,
    OPTION_HTML,
    OPTION_EXPORT,
    OPTION_REPLAY,
    OPTION_CHECK_ADDRESSES
};

/* Of the common options those that change what is computed here. */
static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"model", required_argument, NULL, 'm'},
    {"verbose", no_argument, NULL, 'v'},
    {"device", required_argument, NULL, CLI_OPTION_DEVICE},
    {"validate", no_argument, NULL, CLI_OPTION_VALIDATE},
    {"no-subgroups", no_argument, NULL, CLI_OPTION_NO_SUBGROUPS},
    {"tiled-rows", required_argument, NULL, CLI_OPTION_TILED_ROWS},
    {"kernel", required_argument, NULL, OPTION_KERNEL},
    {"case", required_argument, NULL, OPTION_CASE},
    {"path", required_argument, NULL, OPTION_PATH},
    {"weights", required_argument, NULL, OPTION_WEIGHTS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"full", no_argument, NULL, OPTION_FULL},
    {"jobs", required_argument, NULL, OPTION_JOBS},
    {"list", no_argument, NULL, OPTION_LIST},
    {"json", required_argument, NULL, OPTION_JSON},
    {"summary", required_argument, NULL, OPTION_SUMMARY},
    {"html", required_argument, NULL, OPTION_HTML},
    {"export", required_argument, NULL, OPTION_EXPORT},
    {"replay", required_argument, NULL, OPTION_REPLAY},
    {"check-addresses", no_argument, NULL, OPTION_CHECK_ADDRESSES},
    {NULL, 0, NULL, 0},
};

struct options {
    struct cli_common common;
    vkmoe_conform_params params;
    const char *json, *summary, *html, *replay;
    bool seeded, levelled; /* with --seed; with --quick or --full */
    bool check_addresses;
};

/* A run on one device. */
struct run {
    const struct options *options;
    struct conform_report *report;
    struct conform_device *device;
    bool out_of_memory;
};

/* --- options --- */

static int parse_own(struct options *o, int option)
{
    uint64_t jobs;
    vkmoe_conform_level level;
    switch (option) {
    case OPTION_KERNEL:
        o->params.kernels = optarg;
        return -1;
    case OPTION_CASE:
        o->params.cases = optarg;
        return -1;
    case OPTION_PATH:
        o->params.path = optarg;
        return -1;
    case OPTION_WEIGHTS:
        o->params.weights = optarg;
        return -1;
    case OPTION_SEED:
        o->seeded = true;
        return cli_parse_u64("--seed", optarg, 0, INT64_MAX, &o->params.seed) ? -1 : EXIT_USAGE;
    case OPTION_QUICK:
    case OPTION_FULL:
        level = option == OPTION_FULL ? VKMOE_CONFORM_FULL : VKMOE_CONFORM_QUICK;
        if (o->levelled && level != o->params.level)
            return cli_usage("conform: --quick and --full exclude each other");
        o->levelled = true;
        o->params.level = level;
        return -1;
    case OPTION_JOBS:
        if (!cli_parse_u64("--jobs", optarg, 1, 4, &jobs))
            return EXIT_USAGE;
        o->params.jobs = (uint32_t)jobs;
        return -1;
    case OPTION_LIST:
        o->params.list = true;
        return -1;
    case OPTION_JSON:
        o->json = optarg;
        return -1;
    case OPTION_SUMMARY:
        o->summary = optarg;
        return -1;
    case OPTION_HTML:
        o->html = optarg;
        return -1;
    case OPTION_EXPORT:
        o->params.export_dir = optarg;
        return -1;
    case OPTION_REPLAY:
        o->replay = optarg;
        return -1;
    case OPTION_CHECK_ADDRESSES:
        o->check_addresses = true;
        return -1;
    default:
        return cli_common_option(&o->common, option, help);
    }
}

static bool is_same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Options that do not go with each other. */
static int check_combination(const struct options *o)
{
    const vkmoe_conform_params *p = &o->params;
    if (o->replay && (p->list || p->export_dir || p->kernels || p->cases || p->path || p->weights ||
                      o->seeded || o->levelled || o->common.model || o->check_addresses ||
                      o->common.no_subgroups || o->common.tiled_rows || p->jobs))
        return cli_usage("conform: --replay runs what is in the folder, as it is; only --device, "
                         "--json, --summary, --html, --validate and -v go with it");
    if (p->list && (o->json || o->summary || o->html))
        return cli_usage("conform: --list runs nothing; it does not go with --json, --summary or "
                         "--html");
    if (is_same(o->json, o->summary) || is_same(o->json, o->html) || is_same(o->summary, o->html))
        return cli_usage("conform: two reports would go to the file %s; give each one of its own",
                         is_same(o->json, o->summary) ? o->json : o->html);
    return -1;
}

/* What would be found out only at the end: reports that cannot be written, a model that is not
 * there. */
static int check_files(struct options *o)
{
    const char *const reports[] = {o->json, o->summary, o->html};
    struct stat st;
    for (size_t i = 0; i < sizeof(reports) / sizeof(reports[0]); i++)
        if (reports[i] && cli_try_file(reports[i]) != EXIT_DONE)
            return EXIT_FAILED;
    if (o->common.model && !cli_model_is_there(&o->common))
        return EXIT_FAILED;
    o->params.model = cli_model_path(&o->common);
    if (!o->replay && stat(o->params.model, &st) != 0) {
        cli_note("the shipped model is not at %s: whole steps are those of random models alone",
                 o->params.model);
        o->params.model = NULL;
    }
    return -1;
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT, long_options)) != -1) {
        int code = parse_own(o, option);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("conform: '%s' is not an option", argv[optind]);
    o->params.kv = o->common.kv;
    int code = check_combination(o);
    return code >= 0 ? code : check_files(o);
}

/* --- what is printed --- */

static bool stops(void *user)
{
    (void)user;
    return cli_interrupted();
}

static void on_device(void *user, const vkmoe_device_info *d)
{
    struct run *run = user;
    const char *mark = run->options->params.list ? "# " : "";
    run->device->info = *d;
    printf("%sdevice %u: %s (%s)\n", mark, d->index, d->name, d->driver);
    printf("%suuid %s, driver id %u, driver version %u, Vulkan %u.%u.%u\n", mark, d->uuid,
           d->driver_id, d->driver_version, d->api_version >> 22 & 0x7f,
           d->api_version >> 12 & 0x3ff, d->api_version & 0xfff);
    if (!run->options->params.list)
        printf("%-15s %-7s %-12s %6s %6s %10s  %s\n", "kernel", "weights", "path", "cases",
               "failed", "worst NMSE", "worst element");
}

static void on_case(void *user, const vkmoe_conform_case *c)
{
    struct run *run = user;
    if (run->options->params.list)
        printf("%s %s %s%.0u %s\n", c->test.kernel, c->test.weights, c->test.path,
               c->test.subgroup_size, c->name);
    if (run->options->params.list && c->bundle[0])
        printf("# exported to %s\n", c->bundle);
    if (!run->options->params.list && !conform_record_case(run->device, c))
        run->out_of_memory = true;
}

static void print_failures(const struct run *run, const struct conform_test *t)
{
    uint32_t shown = 0;
    for (size_t i = 0; i < t->n_cases; i++) {
        const struct conform_case *c = &t->cases[i];
        if (!c->failed || shown++ >= FAILURES_SHOWN)
            continue;
        printf("  FAILED %s\n    again: ", c->sentence);
        conform_command(stdout, run->report, run->device, t, c);
        printf("\n");
        if (c->bundle[0])
            printf("    exported to %s\n", c->bundle);
    }
    if (shown > FAILURES_SHOWN)
        printf("  and %u more\n", shown - FAILURES_SHOWN);
}

static void on_result(void *user, const vkmoe_conform_result *r)
{
    struct run *run = user;
    if (run->options->params.list || run->out_of_memory)
        return;
    conform_record_result(run->device, r);
    const struct conform_test *t = &run->device->tests[run->device->n_tests - 1];
    const struct conform_case *worst = &t->cases[t->worst];
    char path[32];
    printf("%-15s %-7s %-12s %6zu %6u %10.2e  ", t->kernel, t->weights, conform_path(t, path),
           t->n_cases, t->failed, t->nmse);
    if (t->untested == t->n_cases)
        printf("not tested");
    else if (t->failed == 0 && t->nmse <= 0)
        printf("all exact");
    else
        conform_element(stdout, worst);
    if (t->failed > 0 || t->nmse > 0)
        printf("%s(%s)", worst->view[0] ? " " : "", worst->name);
    printf("\n");
    for (size_t i = 0; i < t->n_cases; i++)
        if (t->cases[i].note[0])
            printf("  %s: %s%s\n", t->cases[i].name, t->cases[i].untested ? "not tested: " : "",
                   t->cases[i].note);
    print_failures(run, t);
    fflush(stdout);
}

static void print_summary(const struct run *run)
{
    const struct conform_device *d = run->device;
    const vkmoe_conform_totals *t = &d->totals;
    if (run->options->params.list) {
        fprintf(stderr, "vkmoe: %u cases\n", t->cases);
        return;
    }
    if (d->error.message[0])
        printf("not finished: %u cases were run, %u of them failed", t->cases, t->failed);
    else if (t->failed > 0)
        printf("%u of %u cases in %zu tests failed", t->failed, t->cases, d->n_tests);
    else if (t->untested > 0)
        printf("%u of %u cases in %zu tests passed", t->cases - t->untested, t->cases, d->n_tests);
    else
        printf("all %u cases in %zu tests passed", t->cases, d->n_tests);
    if (t->untested > 0)
        printf(", %u could not be tested", t->untested);
    printf("\n");
}

/* --- running --- */

/* Says which patterns no case fits, and whether there are such cases at the other level. */
static int fail_nothing_fits(const struct options *o, const vkmoe_device_params *device)
{
    const struct {
        const char *name, *pattern;
    } given[] = {{"--kernel", o->params.kernels},
                 {"--case", o->params.cases},
                 {"--path", o->params.path},
                 {"--weights", o->params.weights}};
    vkmoe_conform_params list = o->params;
    vkmoe_conform_totals totals = {0};
    vkmoe_error err;
    char patterns[512] = "";
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        size_t at = strlen(patterns);
        if (given[i].pattern)
            snprintf(patterns + at, sizeof(patterns) - at, "%s%s '%.100s'", at ? " and " : "",
                     given[i].name, given[i].pattern);
    }
    list.list = true;
    list.export_dir = NULL;
    list.level = VKMOE_CONFORM_FULL;
    if (o->params.level != VKMOE_CONFORM_FULL &&
        vkmoe_conform_run(device, &list, &totals, &err) == VKMOE_OK && totals.cases > 0)
        return cli_fail("no quick case fits %s; %u of --full do", patterns, totals.cases);
    return cli_fail("no case fits %s", patterns);
}

static int run_device(const struct options *o, struct conform_report *report, size_t index,
                      const char *selector)
{
    struct conform_device *d = &report->devices[index];
    struct run run = {.options = o, .report = report, .device = d};
    vkmoe_log log = cli_log(&o->common);
    vkmoe_device_params device = {
        .log = &log,
        .selector = selector,
        .validation = o->common.validation,
        .no_subgroups = o->common.no_subgroups,
        .paths = o->common.paths,
        .tiled_rows = o->common.tiled_rows,
        .no_tuning = o->common.no_tuning,
        .check_addresses = o->check_addresses,
    };
    vkmoe_conform_params params = o->params;
    if (o->common.verbosity > 1 && params.jobs == 0)
        params.jobs = 1; /* so that the last case said is the one at hand */
    params.stops = stops;
    params.on_device = on_device;
    params.on_case = on_case;
    params.on_result = on_result;
    params.user = &run;
    double start = cli_now();
    vkmoe_status status =
        o->replay ? vkmoe_conform_replay(&device, o->replay, &params, &d->totals, &d->error)
                  : vkmoe_conform_run(&device, &params, &d->totals, &d->error);
    d->seconds = cli_now() - start;
    if (status == VKMOE_OK)
        d->error.message[0] = '\0';
    if (run.out_of_memory)
        return cli_fail("host memory ran out for the report");
    bool interrupted = status == VKMOE_CANCELLED && cli_interrupted();
    if (status != VKMOE_OK && !interrupted)
        cli_failed(&d->error);
    if (status == VKMOE_OK && d->totals.cases == 0)
        return fail_nothing_fits(o, &device);
    if (d->info.name[0])
        print_summary(&run);
    if (interrupted)
        return EXIT_INTERRUPTED;
    return status == VKMOE_OK && d->totals.failed == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* Every usable device in turn; the others are named. */
static int run_all(const struct options *o, struct conform_report *report)
{
    vkmoe_error err;
    vkmoe_device_info *devices = NULL;
    vkmoe_log log = cli_log(&o->common);
    vkmoe_device_params params = {.log = &log};
    size_t count = 0, capacity;
    int code = EXIT_DONE;
    if (vkmoe_device_list(&params, NULL, 0, &count, &err) != VKMOE_OK)
        return cli_failed(&err);
    capacity = count;
    devices = calloc(capacity, sizeof(*devices));
    report->devices = calloc(capacity, sizeof(*report->devices));
    if (!devices || !report->devices)
        code = cli_fail("host memory ran out for the list of %zu devices", count);
    else if (vkmoe_device_list(&params, devices, capacity, &count, &err) != VKMOE_OK)
        code = cli_failed(&err);
    bool listed = code == EXIT_DONE;
    for (size_t i = 0; listed && i < count && i < capacity; i++) {
        char index[32];
        snprintf(index, sizeof(index), "%zu", i);
        if (!devices[i].usable) {
            cli_note("device %zu, %s, cannot be tested: %s", i, devices[i].name, devices[i].reason);
            continue;
        }
        int one = run_device(o, report, report->n_devices++, index);
        code = one != EXIT_DONE ? one : code;
        if (code == EXIT_INTERRUPTED)
            break;
    }
    free(devices);
    if (listed && report->n_devices == 0)
        code = cli_fail("none of the %zu devices can be tested", count);
    return code;
}

static int write_html(const struct conform_report *r, const char *path)
{
    size_t size = 0;
    char *page = conform_html(r, &size);
    int code =
        page ? cli_write_file(path, page, size) : cli_fail("host memory ran out for %s", path);
    free(page);
    return code;
}

/* A report that could not be written is a failure, but not the first thing to know of a run that
 * was interrupted. */
static int worse(int code)
{
    return code == EXIT_INTERRUPTED ? code : EXIT_FAILED;
}

int cmd_conform(int argc, char **argv)
{
    struct options o;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    struct conform_report report = {.seed = o.params.seed,
                                    .model = o.common.model,
                                    .replay = o.replay,
                                    .full = o.params.level == VKMOE_CONFORM_FULL,
                                    .check_addresses = o.check_addresses,
                                    .no_subgroups = o.common.no_subgroups,
                                    .validation = o.common.validation,
                                    .tiled_rows = o.common.tiled_rows};
    vkmoe_error err;
    if (vkmoe_conform_suite(&report.suite, &err) != VKMOE_OK)
        return cli_failed(&err);
    cli_catch_interrupt();
    if (o.common.device && strcmp(o.common.device, "all") == 0) {
        code = run_all(&o, &report);
    } else if (!(report.devices = calloc(1, sizeof(*report.devices)))) {
        code = cli_fail("host memory ran out for the report");
    } else {
        report.n_devices = 1;
        code = run_device(&o, &report, 0, o.common.device);
    }
    if (o.json && conform_write_json(&report, CONFORM_EVERY_CASE, o.json) != EXIT_DONE)
        code = worse(code);
    if (o.summary && conform_write_json(&report, CONFORM_SUMMARY, o.summary) != EXIT_DONE)
        code = worse(code);
    if (o.html && write_html(&report, o.html) != EXIT_DONE)
        code = worse(code);
    conform_report_free(&report);
    return code;
}
