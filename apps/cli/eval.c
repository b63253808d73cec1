/* vkmoe eval: how many items of a multiple-choice task the model gets right. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval_results.h"
#include "eval_task.h"
#include "kept.h"

static const char help[] =
    "usage: vkmoe eval TASK.jsonl [OPTIONS]\n"
    "Tells how many items of a multiple-choice task the model gets right, with 95 % intervals.\n"
    "Each line of the task is an item; - is stdin:\n"
    "  {\"context\": \"12 + 7 =\", \"choices\": [\" 18\", \" 19\"], \"answer\": 1, \"id\": "
    "\"sum-1\"}\n"
    "context and choice are read together, as written: no blank is put between them. answer is "
    "the\n"
    "index of the right choice, from 0; id may be left out. The choice that the model takes is "
    "the\n"
    "one that is likeliest after the context: by the log-likelihood of its tokens in sum, by its\n"
    "mean over the tokens, and by its mean over the bytes of the choice.\n\n"
    "  -c, --context N        tokens of context and choice (default: what the model was made for,\n"
    "                         at most 4096)\n"
    "      --resume FILE      keep in FILE what is done, and go on from there if it exists\n"
    "      --json FILE        also write all results as JSON; - is stdout, without the table\n"
    "      --csv FILE         likewise a line for each choice as CSV\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    const char *file, *state_file, *json, *csv;
};

enum { OPTION_RESUME = CLI_OPTION_OWN, OPTION_JSON, OPTION_CSV };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"context", required_argument, NULL, 'c'},
    {"resume", required_argument, NULL, OPTION_RESUME},
    {"json", required_argument, NULL, OPTION_JSON},
    {"csv", required_argument, NULL, OPTION_CSV},
    {NULL, 0, NULL, 0},
};

static int take_file(const char *flag, const char **file)
{
    *file = optarg;
    return *optarg ? -1 : cli_usage("%s: an empty name is no file", flag);
}

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    switch (option) {
    case 'c':
        return cli_parse_context(optarg, &o->common) ? -1 : EXIT_USAGE;
    case OPTION_RESUME:
        return take_file("--resume", &o->state_file);
    case OPTION_JSON:
        return take_file("--json", &o->json);
    case OPTION_CSV:
        return take_file("--csv", &o->csv);
    default:
        return cli_common_option(&o->common, option, help);
    }
}

static bool is_stdout(const char *file)
{
    return file && strcmp(file, "-") == 0;
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_COMMON_SHORT "c:", long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    if (optind + 1 != argc)
        return cli_usage("eval: one task is needed, not %d words", argc - optind);
    if (is_stdout(o->json) && is_stdout(o->csv))
        return cli_usage("eval: --json - and --csv - exclude each other");
    o->file = argv[optind];
    return -1;
}

/* --- what is kept --- */

/* An item that was read and is not scored yet. */
struct waiting {
    struct eval_item item;
    vkmoe_choices choices;
    size_t end; /* bytes of the task up to its end */
};

/* Tokens of the cache, for the choices of several items. */
#define ROOMY_CACHE 4096u

enum { MOST_WAITING = 32 };

struct run {
    const struct options *options;
    struct cli_engine engine;
    vkmoe_session *session;
    struct eval_task task;
    struct waiting waiting[MOST_WAITING];
    size_t n_waiting;
    enum eval_found found; /* what was read last; nothing more is once it is no item */
    vkmoe_error broken;    /* why the line after those that wait is none */
    struct eval_results results;
    char *routing; /* of cli_routing_text */
    /* Of the task's text, what is done: bytes, lines, and their hash. */
    size_t done, lines;
    uint64_t hash;
    uint64_t resumed_at;  /* items that were done before */
    double start, shown;  /* when scoring began, when the terminal was told */
    double kept, keeping; /* when results were kept last, and the seconds that took */
};

/* The task is done up to this line's end. */
static void note_done(struct run *r, size_t end, size_t lines)
{
    r->hash = kept_hash(r->hash, r->task.text + r->done, end - r->done);
    r->done = end;
    r->lines = lines;
}

static int keep(struct run *r)
{
    const struct cli_common *common = &r->options->common;
    char hash[17];
    double begin = cli_now();
    snprintf(hash, sizeof(hash), "%016" PRIx64, r->hash);
    json_t *root = json_pack("{s:o, s:s, s:I, s:i, s:s, s:s, s:s, s:O}", "model",
                             cli_json_text(cli_model_path(common)), "done", hash, "lines",
                             (json_int_t)r->lines, "context", (int)common->context, "routing",
                             r->routing, "weights", cli_weights_name(common->weights), "kv",
                             cli_kv_name(common->kv), "results", r->results.items);
    int code = kept_write(r->options->state_file, root);
    json_decref(root);
    r->kept = cli_now();
    r->keeping = r->kept - begin;
    return code;
}

/* What is done by the file, which must be of what the task begins with. */
static bool take_kept(struct run *r, const char *path, const json_t *root)
{
    const json_t *results = json_object_get(root, "results");
    json_int_t lines = json_integer_value(json_object_get(root, "lines"));
    char hash[17];
    if (lines < 0 || !eval_task_skip(&r->task, (size_t)lines)) {
        cli_fail("%s: %" JSON_INTEGER_FORMAT " lines are done, but %s has fewer: it belongs to "
                 "another task",
                 path, lines, r->task.file);
        return false;
    }
    note_done(r, r->task.at, r->task.line);
    snprintf(hash, sizeof(hash), "%016" PRIx64, r->hash);
    bool good = kept_same(path, root, "done", hash);
    for (size_t i = 0; good && i < json_array_size(results); i++) {
        good = eval_results_add(&r->results, json_incref(json_array_get(results, i)));
        if (!good)
            cli_fail("%s: result %zu is not one of vkmoe eval, expected results kept by --resume",
                     path, i);
    }
    return good;
}

static int go_on(struct run *r)
{
    const struct cli_common *common = &r->options->common;
    const char *path = r->options->state_file;
    json_t *root = NULL;
    if (path && !kept_read(path, &root))
        return EXIT_FAILED;
    if (!root)
        return EXIT_DONE;
    bool good = kept_same(path, root, "model", cli_model_path(common)) &&
                kept_same_number(path, root, "context", common->context) &&
                kept_same(path, root, "routing", r->routing) &&
                kept_same(path, root, "weights", cli_weights_name(common->weights)) &&
                kept_same(path, root, "kv", cli_kv_name(common->kv)) && take_kept(r, path, root);
    json_decref(root);
    r->resumed_at = r->results.count;
    if (good)
        cli_note("going on from %s, where %llu of %zu items are done", path,
                 (unsigned long long)r->resumed_at, r->task.n_items);
    return good ? EXIT_DONE : EXIT_FAILED;
}

/* --- while it runs --- */

static void show(struct run *r)
{
    const struct eval_results *of = &r->results;
    double now = cli_now(), n = (double)of->count;
    if (!isatty(STDERR_FILENO) || now - r->shown < 0.1)
        return;
    r->shown = now;
    double rate = (double)(of->count - r->resumed_at) / (now - r->start);
    fprintf(stderr,
            "\r\033[K%llu of %zu items, right %.1f %%, per token %.1f %%, per byte %.1f %%, "
            "%.0f s left",
            (unsigned long long)of->count, r->task.n_items,
            100 * (double)of->correct[VKMOE_CHOICE_SUM] / n,
            100 * (double)of->correct[VKMOE_CHOICE_PER_TOKEN] / n,
            100 * (double)of->correct[VKMOE_CHOICE_PER_BYTE] / n,
            (double)(r->task.n_items - of->count) / rate);
}

/* As --json prints it, but for what was picked. NULL: memory ran out, or a number is none. */
static json_t *result_of(const struct eval_item *item, const vkmoe_choices *choices,
                         const vkmoe_choice_score *scores)
{
    json_t *sums = json_array(), *tokens = json_array(), *bytes = json_array();
    int failed = 0;
    for (uint32_t i = 0; i < choices->count; i++) {
        failed |= json_array_append_new(sums, json_real(scores[i].log_likelihood));
        failed |= json_array_append_new(tokens, json_integer((json_int_t)scores[i].tokens));
        failed |= json_array_append_new(bytes, json_integer((json_int_t)scores[i].bytes));
    }
    json_t *result =
        json_pack("{s:I, s:i, s:I, s:o, s:o, s:o}", "line", (json_int_t)item->line, "answer",
                  (int)item->answer, "context_tokens", (json_int_t)choices->shared,
                  "log_likelihood", sums, "tokens", tokens, "bytes", bytes);
    if (item->id)
        failed |= json_object_set(result, "id", (json_t *)(uintptr_t)item->id);
    if (!failed)
        return result;
    json_decref(result);
    return NULL;
}

/* --- what waits --- */

static void drop(struct run *r, struct waiting *w)
{
    vkmoe_choices_free(r->engine.tokenizer, &w->choices);
    eval_item_free(&w->item);
}

/* Item number i of those that wait is none, so nothing from there on is scored. */
static void break_at(struct run *r, size_t i, size_t line, const char *why)
{
    r->found = EVAL_BROKEN;
    eval_broken(r->task.file, line, why, &r->broken);
    for (; r->n_waiting > i; r->n_waiting--)
        drop(r, &r->waiting[r->n_waiting - 1]);
}

/* Reads until enough wait or there are no more. */
static void read_ahead(struct run *r)
{
    vkmoe_error err;
    while (r->found == EVAL_ITEM && r->n_waiting < MOST_WAITING) {
        struct waiting *w = &r->waiting[r->n_waiting];
        *w = (struct waiting){0};
        r->found = eval_task_next(&r->task, &w->item, &r->broken);
        if (r->found != EVAL_ITEM)
            return;
        w->end = r->task.at;
        r->n_waiting++;
        if (vkmoe_choices_encode(r->engine.tokenizer, w->item.context, w->item.choices,
                                 w->item.n_choices, &w->choices, &err) != VKMOE_OK ||
            (r->session && vkmoe_choices_check(r->session, &w->choices, &err) != VKMOE_OK))
            break_at(r, r->n_waiting - 1, w->item.line, err.message);
    }
}

/* Those that were read before there was a session. */
static void check_waiting(struct run *r)
{
    vkmoe_error err;
    for (size_t i = 0; i < r->n_waiting; i++)
        if (vkmoe_choices_check(r->session, &r->waiting[i].choices, &err) != VKMOE_OK)
            break_at(r, i, r->waiting[i].item.line, err.message);
}

/* The first of those that wait is done. */
static int take_scores(struct run *r, const vkmoe_choice_score *scores)
{
    struct waiting *w = &r->waiting[0];
    int code = EXIT_DONE;
    if (eval_results_add(&r->results, result_of(&w->item, &w->choices, scores)))
        note_done(r, w->end, w->item.line);
    else
        code = cli_fail("%s: line %zu: the likelihoods of the choices are no finite numbers",
                        r->task.file, w->item.line);
    drop(r, w);
    memmove(w, w + 1, --r->n_waiting * sizeof(*w));
    return code;
}

/* Scores the first of those that wait. */
static int score_some(struct run *r)
{
    vkmoe_error err;
    vkmoe_choices items[MOST_WAITING];
    vkmoe_choice_score *scores[MOST_WAITING] = {NULL};
    bool room = true;
    uint32_t n = (uint32_t)r->n_waiting, done = 0;
    for (uint32_t i = 0; i < n; i++) {
        items[i] = r->waiting[i].choices;
        scores[i] = calloc(items[i].count, sizeof(*scores[i]));
        room = room && scores[i];
    }
    int code = EXIT_DONE;
    if (!room)
        code = cli_fail("host memory ran out for the scores of %u items", n);
    else if (vkmoe_choices_score(r->session, items, n, scores, &done, &err) != VKMOE_OK)
        code = cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    for (uint32_t i = 0; i < done && code == EXIT_DONE; i++)
        code = take_scores(r, scores[i]);
    for (uint32_t i = 0; i < n; i++)
        free(scores[i]);
    return code;
}

static int score_all(struct run *r)
{
    int code = EXIT_DONE;
    r->start = r->kept = cli_now();
    check_waiting(r);
    while (r->n_waiting > 0 && code == EXIT_DONE) {
        code = cli_interrupted() ? EXIT_INTERRUPTED : score_some(r);
        if (code == EXIT_DONE) {
            show(r);
            read_ahead(r);
        }
        if (code == EXIT_DONE && r->options->state_file &&
            cli_now() - r->kept > 1 + 20 * r->keeping)
            code = keep(r);
    }
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    return code;
}

/* --- results --- */

/* What is done, also where the run ended early with `code`. */
static int tell(struct run *r, int code)
{
    const struct options *o = r->options;
    const struct eval_title title = {cli_model_path(&o->common), o->file, r->task.n_items};
    int told = o->state_file ? keep(r) : EXIT_DONE;
    if (told == EXIT_DONE && o->json)
        told = eval_results_write_json(&r->results, &title, o->json);
    if (told == EXIT_DONE && o->csv)
        told = eval_results_write_csv(&r->results, o->csv);
    if (!is_stdout(o->json) && !is_stdout(o->csv))
        eval_results_print(&r->results, &title);
    return code != EXIT_DONE ? code : told;
}

static void say_speed(const struct run *r)
{
    double seconds = cli_now() - r->start;
    uint64_t n = r->results.count - r->resumed_at;
    if (r->options->common.verbosity > 0)
        cli_note("%llu items in %.2f s, %.1f in a second", (unsigned long long)n, seconds,
                 (double)n / seconds);
}

/* --- running --- */

/* Fails before anything is computed where results could not be written. */
static int try_files(const struct options *o)
{
    const char *const files[] = {o->state_file, o->json, o->csv};
    int code = EXIT_DONE;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && code == EXIT_DONE; i++)
        if (files[i] && (i == 0 || !is_stdout(files[i])))
            code = cli_try_file(files[i]);
    return code;
}

static int run_engine(struct run *r)
{
    const struct cli_common *common = &r->options->common;
    vkmoe_session_params params = cli_session_params(common);
    params.cache_tokens = params.context > ROOMY_CACHE ? params.context : ROOMY_CACHE;
    int code = cli_engine_open(common, 0, &r->engine);
    if (code == EXIT_DONE)
        code = cli_session_open(common, &params, r->engine.model, &r->session);
    if (code != EXIT_DONE)
        return code;
    cli_cancel_on_interrupt(r->session);
    code = score_all(r);
    cli_cancel_on_interrupt(NULL);
    if (r->results.count > r->resumed_at)
        say_speed(r);
    return code;
}

static int run_task(struct run *r)
{
    int code = try_files(r->options);
    if (code == EXIT_DONE)
        code = eval_task_open(r->options->file, &r->task);
    if (code == EXIT_DONE)
        code = go_on(r);
    if (code != EXIT_DONE)
        return code;
    read_ahead(r);
    if (r->n_waiting > 0)
        code = run_engine(r);
    if (code == EXIT_DONE && r->found == EVAL_BROKEN)
        code = cli_failed(&r->broken);
    return r->results.count > 0 ? tell(r, code) : code;
}

int cmd_eval(int argc, char **argv)
{
    struct options o;
    struct run r = {.options = &o, .hash = KEPT_HASH_INIT};
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    code = cli_tokenizer_open(&o.common, &r.engine);
    if (code == EXIT_DONE &&
        (!eval_results_init(&r.results) || !(r.routing = cli_routing_text(&o.common))))
        code = cli_fail("host memory ran out for the results");
    if (code == EXIT_DONE)
        code = run_task(&r);
    for (size_t i = 0; i < r.n_waiting; i++)
        drop(&r, &r.waiting[i]);
    vkmoe_session_destroy(r.session);
    eval_results_finish(&r.results);
    eval_task_close(&r.task);
    free(r.routing);
    cli_engine_close(&r.engine);
    return code;
}
