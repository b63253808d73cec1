/* vkmoe trace: which experts each token of a text chooses. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drawing.h"
#include "generation_options.h"
#include "heat_map.h"
#include "stream.h"
#include "text.h"
#include "trace_file.h"

static const char help[] =
    "usage: vkmoe trace (-p TEXT | -f FILE | --tokens 1,2,3) [-o FILE] [--map FILE] [OPTIONS]\n"
    "Writes for each token which experts of each MoE layer it chose, with what gates.\n\n"
    "  -p, --prompt TEXT      the text; -f, --file FILE: it is in a file, - is stdin\n"
    "      --tokens LIST      or token ids, taken as they are\n"
    "  -o, --output FILE      .jsonl: a line of JSON for each token, as it is computed; - is\n"
    "                         stdout. .safetensors: one file, held in memory until the end\n"
    "      --ranks R          the R experts that rank first, so runners-up too (default: those\n"
    "                         chosen)\n"
    "      --map FILE         draw the gate mass of each expert, as SVG or, with .png, as PNG\n"
    "  -n N                   generate N tokens more, and trace them (default: none)\n"
    "  -c, --context N        room for N tokens; a longer text is cut into sequences of so many\n"
    "                         (default: what the model was made for, at most 4096)\n\n"
    "A line of JSON is an object: sequence and position (both from 0), token (its id), text,\n"
    "generated, and layers, an array of one object for each MoE layer (in the order that\n"
    "--experts-off counts by) with layer, its number in the model, ids, gates and probs, as long\n"
    "as each other: chosen experts first, then runners-up by falling router logit, whose gate is\n"
    "0; probs are the router's softmax over all experts.\n"
    "A safetensors file holds tokens I32 [T] and for each MoE layer L layers.L.topk_idx I32,\n"
    "layers.L.topk_weight and layers.L.topk_prob F32, all [T, R], with id -1 where there are no\n"
    "more experts.\n\n" CLI_SAMPLING_HELP CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    struct cli_generation generation;
    const char *prompt, *file, *tokens, *output, *map;
    uint64_t ranks;
};

enum { OPTION_TOKENS = CLI_OPTION_OWN, OPTION_RANKS, OPTION_MAP };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"tokens", required_argument, NULL, OPTION_TOKENS},
    {"output", required_argument, NULL, 'o'},
    {"ranks", required_argument, NULL, OPTION_RANKS},
    {"map", required_argument, NULL, OPTION_MAP},
    {"context", required_argument, NULL, 'c'},
    CLI_SAMPLING_LONG,
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    switch (option) {
    case 'p':
        o->prompt = optarg;
        return -1;
    case 'f':
        o->file = optarg;
        return -1;
    case OPTION_TOKENS:
        o->tokens = optarg;
        return -1;
    case 'o':
        o->output = optarg;
        if (trace_kind_of(optarg) != TRACE_NONE)
            return -1;
        return cli_usage("-o: '%s' ends in neither .jsonl nor .safetensors", optarg);
    case OPTION_RANKS:
        return cli_parse_u64("--ranks", optarg, 1, CLI_MOST_EXPERTS, &o->ranks) ? -1 : EXIT_USAGE;
    case OPTION_MAP:
        o->map = optarg;
        return *optarg ? -1 : cli_usage("--map: an empty name is no file");
    default:
        return cli_generation_option(&o->generation, &o->common, option, help);
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(
                argc, argv, CLI_COMMON_SHORT CLI_GENERATION_SHORT "p:f:o:", long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("trace: '%s' is not an option; a text goes after -p", argv[optind]);
    if (!o->prompt + !o->file + !o->tokens != 2)
        return cli_usage("trace: give one of -p TEXT, -f FILE and --tokens LIST");
    if (!o->output && !o->map)
        return cli_usage("trace: -o FILE or --map FILE is needed");
    return drawing_check("--map", o->map);
}

/* --- the text --- */

/* `listed`: memory of ids that were given as such. */
static int read_text(const struct options *o, const struct cli_engine *e, struct cli_text *text,
                     int32_t **listed)
{
    if (o->tokens && !cli_parse_numbers("--tokens", "a token id", o->tokens, listed, &text->count))
        return EXIT_USAGE;
    text->ids = *listed;
    if (o->tokens)
        return EXIT_DONE;
    if (o->prompt)
        return cli_text_encode(e->tokenizer, NULL, o->prompt, strlen(o->prompt), text);
    return cli_text_open(e->tokenizer, o->file, text);
}

/* --- while it runs --- */

enum { PIECE = 64 }; /* tokens whose routes are read at once */

struct tracer {
    const struct options *options;
    const struct cli_engine *engine;
    const struct cli_text *text;
    vkmoe_session *session;
    struct trace_file file;
    uint32_t layers, experts;
    int32_t *tokens; /* of this sequence; those that are generated as they are chosen */
    size_t count;    /* of them known */
    uint32_t traced; /* of them */
    struct trace_run run;
    vkmoe_routes routes; /* of a piece */
    double *mass;        /* [layers, experts] of gates, so far */
    size_t done, total;  /* tokens */
    double shown;
    struct cli_stream stream; /* finds where the text stops */
    int code;                 /* why it ended, said by then */
};

static void show(struct tracer *t)
{
    double now = cli_now();
    if (!isatty(STDERR_FILENO) || now - t->shown < 0.1)
        return;
    t->shown = now;
    fprintf(stderr, "\r\033[K%zu of %zu tokens", t->done, t->total);
}

static void add_mass(struct tracer *t)
{
    const vkmoe_routes *r = &t->routes;
    size_t row = (size_t)r->count * r->ranks;
    for (size_t i = 0; i < t->layers * row; i++)
        if (r->ids[i] >= 0)
            t->mass[i / row * t->experts + (size_t)r->ids[i]] += (double)r->gates[i];
}

/* The next `count` tokens of the sequence; at most a piece. */
static int trace_piece(struct tracer *t, uint32_t count)
{
    vkmoe_error err;
    t->routes.first = t->traced;
    t->routes.count = count;
    t->run.tokens = t->tokens + t->traced;
    if (vkmoe_session_read_routes(t->session, &t->routes, &err) != VKMOE_OK)
        return cli_failed(&err);
    add_mass(t);
    t->traced += count;
    t->done += count;
    show(t);
    return trace_file_add(&t->file, &t->run, &t->routes);
}

/* After each step: what it computed is traced. */
static bool on_step(void *user, const vkmoe_step *step)
{
    struct tracer *t = user;
    for (uint32_t left = step->n_tokens; left > 0 && t->code == EXIT_DONE;) {
        uint32_t n = left < PIECE ? left : PIECE;
        t->code = trace_piece(t, n);
        left -= n;
    }
    return t->code == EXIT_DONE && !cli_interrupted();
}

static bool on_token(void *user, int32_t token)
{
    struct tracer *t = user;
    t->tokens[t->count++] = token;
    return cli_stream_token(&t->stream, token);
}

static bool ignore(void *user, const char *text, size_t size)
{
    (void)user, (void)text, (void)size;
    return true;
}

/* --- running --- */

static int ended(const struct tracer *t, vkmoe_status status, const vkmoe_error *err)
{
    if (t->code != EXIT_DONE)
        return t->code;
    if (cli_interrupted())
        return EXIT_INTERRUPTED;
    return status == VKMOE_OK ? EXIT_DONE : cli_failed(err);
}

/* The next `count` tokens of the text, as a sequence of their own. */
static int trace_sequence(struct tracer *t, const int32_t *ids, size_t count)
{
    vkmoe_error err;
    if (t->text->bos)
        t->tokens[0] = t->text->bos_token;
    memcpy(t->tokens + t->text->bos, ids, count * sizeof(*ids));
    t->count = t->run.given = count + t->text->bos;
    t->traced = 0;
    vkmoe_session_reset(t->session);
    vkmoe_status status = vkmoe_session_eval(t->session, t->tokens, t->count, NULL, &err);
    return ended(t, status, &err);
}

/* The token that was chosen last is not computed by itself. */
static int generate(struct tracer *t)
{
    const struct cli_generation *g = &t->options->generation;
    const vkmoe_generate_params params = {
        .max_tokens = g->tokens,
        .sampling = cli_generation_sampling(g, &t->options->common, t->engine->model),
        .ignore_eos = g->ignore_eos,
        .on_token = on_token,
        .user = t};
    vkmoe_error err;
    t->stream = (struct cli_stream){.tokenizer = t->engine->tokenizer,
                                    .stops = g->stops,
                                    .n_stops = g->n_stops,
                                    .write = ignore};
    vkmoe_status status = vkmoe_session_generate(t->session, &params, NULL, &err);
    bool out_of_memory = t->stream.out_of_memory;
    cli_stream_finish(&t->stream);
    if (out_of_memory)
        return cli_fail("host memory ran out for text that may be the beginning of a --stop");
    if (status == VKMOE_OK && t->traced < t->count)
        status = vkmoe_session_rollback(t->session, t->traced, &err);
    if (status == VKMOE_OK && t->traced < t->count)
        status =
            vkmoe_session_eval(t->session, t->tokens + t->traced, t->count - t->traced, NULL, &err);
    return ended(t, status, &err);
}

static int trace_all(struct tracer *t)
{
    size_t room = vkmoe_session_context(t->session) - t->text->bos;
    int code = room > 0 ? EXIT_DONE
                        : cli_fail("-c: a context of one token has room for the BOS token only");
    for (size_t done = 0; done < t->text->count && code == EXIT_DONE; done += room) {
        size_t n = t->text->count - done < room ? t->text->count - done : room;
        t->run.sequence = done / room;
        code = trace_sequence(t, t->text->ids + done, n);
    }
    return code == EXIT_DONE && t->options->generation.tokens > 0 ? generate(t) : code;
}

/* --- the picture --- */

/* In shares of what an expert of its layer has on average. */
static void share(const struct tracer *t, double *shares)
{
    for (size_t l = 0; l < t->layers; l++) {
        const double *mass = t->mass + l * t->experts;
        double sum = 0;
        for (size_t e = 0; e < t->experts; e++)
            sum += mass[e];
        for (size_t e = 0; e < t->experts; e++)
            shares[l * t->experts + e] = sum > 0 ? mass[e] * t->experts / sum : 0;
    }
}

static int draw(const struct tracer *t)
{
    const struct options *o = t->options;
    double *shares = malloc((size_t)t->layers * t->experts * sizeof(*shares));
    char line[1024];
    snprintf(line, sizeof(line), "%s%s%zu tokens, %u of %u experts each", o->file ? o->file : "",
             o->file ? ", " : "", t->done, vkmoe_session_experts_per_token(t->session), t->experts);
    json_t *subtitle = cli_json_text(line);
    if (shares)
        share(t, shares);
    const struct heat_map map = {
        .title = "How much a text gives to which expert",
        .subtitle = json_string_value(subtitle),
        .layers = t->layers,
        .experts = t->experts,
        .panels = 1,
        .values = shares,
        .legend = "gate mass, in shares of an even one; crossed out: never chosen",
    };
    int code = shares && subtitle ? heat_map_draw(&map, o->map)
                                  : cli_fail("--map: host memory ran out for the picture");
    json_decref(subtitle);
    free(shares);
    return code;
}

/* --- setting up --- */

/* How many experts a token activates: what the routing options make of the model's number is the
 * library's affair, and a session's answer. */
static int ask_for_k(const struct tracer *t, uint32_t *k)
{
    vkmoe_session_params params = cli_session_params(&t->options->common);
    vkmoe_session *session;
    vkmoe_error err;
    params.context = 1;
    if (vkmoe_session_create(t->engine->model, &params, &session, &err) != VKMOE_OK)
        return cli_failed(&err);
    *k = vkmoe_session_experts_per_token(session);
    vkmoe_session_destroy(session);
    return EXIT_DONE;
}

static int open_session(struct tracer *t)
{
    const struct options *o = t->options;
    vkmoe_session_params params = cli_session_params(&o->common);
    const vkmoe_model_info *info = vkmoe_model_get_info(t->engine->model);
    uint32_t usual = info->max_context < 4096 ? info->max_context : 4096;
    size_t needed = t->text->count + t->text->bos + (size_t)o->generation.tokens;
    if (info->n_routed_experts == 0)
        return cli_fail("the model has no routed experts, so there is nothing to trace");
    if (params.context == 0)
        params.context = needed < usual ? (uint32_t)needed : usual;
    if (o->generation.tokens > 0 && needed > params.context)
        return cli_fail("the text has %zu tokens, which with -n %llu do not fit the context of %u "
                        "tokens; -c %zu makes a larger one",
                        needed - (size_t)o->generation.tokens,
                        (unsigned long long)o->generation.tokens, params.context, needed);
    params.on_step = on_step;
    params.user = t;
    uint32_t k = 0;
    int code = ask_for_k(t, &k);
    if (code != EXIT_DONE)
        return code;
    params.keep_ranks = o->ranks > 0 ? (uint32_t)o->ranks : k;
    if (params.keep_ranks < k || params.keep_ranks > info->n_routed_experts)
        return cli_fail("--ranks is %u, expected %u, which a token activates, to %u, which there "
                        "are",
                        params.keep_ranks, k, info->n_routed_experts);
    return cli_session_open(&o->common, &params, t->engine->model, &t->session);
}

/* Memory for the longest sequence, and for what is read at once. */
static bool allocate(struct tracer *t)
{
    size_t piece = (size_t)t->layers * PIECE * t->file.ranks;
    t->tokens = malloc(vkmoe_session_context(t->session) * sizeof(*t->tokens));
    t->routes.ids = malloc(piece * sizeof(*t->routes.ids));
    t->routes.gates = malloc(piece * sizeof(*t->routes.gates));
    t->routes.probs = malloc(piece * sizeof(*t->routes.probs));
    t->mass = calloc((size_t)t->layers * t->experts, sizeof(*t->mass));
    return t->tokens && t->routes.ids && t->routes.gates && t->routes.probs && t->mass;
}

static void release(struct tracer *t)
{
    cli_cancel_on_interrupt(NULL);
    vkmoe_session_destroy(t->session);
    trace_file_close(&t->file);
    free(t->tokens);
    free(t->routes.ids);
    free(t->routes.gates);
    free(t->routes.probs);
    free(t->mass);
}

/* Tokens that will be traced at most, BOS of every sequence included. */
static size_t total_of(const struct tracer *t)
{
    size_t room = vkmoe_session_context(t->session) - t->text->bos;
    size_t sequences = room > 0 ? (t->text->count + room - 1) / room : 0;
    return t->text->count + sequences * t->text->bos + (size_t)t->options->generation.tokens;
}

static int prepare(struct tracer *t)
{
    const struct options *o = t->options;
    const vkmoe_model_info *info = vkmoe_model_get_info(t->engine->model);
    vkmoe_routes none = {0};
    vkmoe_error err;
    int code = open_session(t);
    if (code != EXIT_DONE)
        return code;
    if (vkmoe_session_read_routes(t->session, &none, &err) != VKMOE_OK)
        return cli_failed(&err);
    t->layers = info->n_moe_layers;
    t->experts = info->n_routed_experts;
    t->total = total_of(t);
    t->file = (struct trace_file){.kind = o->output ? trace_kind_of(o->output) : TRACE_NONE,
                                  .path = o->output,
                                  .model = t->engine->model,
                                  .tokenizer = t->engine->tokenizer,
                                  .layers = t->layers,
                                  .ranks = none.ranks};
    if (!allocate(t))
        return cli_fail("host memory ran out for the routes of %zu tokens", t->total);
    cli_cancel_on_interrupt(t->session);
    return trace_file_open(&t->file, t->total);
}

static int trace(const struct options *o, const struct cli_engine *e, const struct cli_text *text)
{
    struct tracer t = {.options = o, .engine = e, .text = text};
    int code = prepare(&t);
    if (code == EXIT_DONE)
        code = trace_all(&t);
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    if (code == EXIT_DONE && o->map)
        code = draw(&t);
    if (code == EXIT_DONE)
        code = trace_file_commit(&t.file);
    release(&t);
    return code;
}

int cmd_trace(int argc, char **argv)
{
    struct options o;
    struct cli_engine e;
    struct cli_text text = {0};
    int32_t *listed = NULL;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    if (o.output && strcmp(o.output, "-") != 0)
        code = cli_try_file(o.output); /* before anything is loaded */
    else
        code = EXIT_DONE;
    if (code == EXIT_DONE)
        code = cli_tokenizer_open(&o.common, &e);
    if (code != EXIT_DONE)
        return code;
    code = read_text(&o, &e, &text, &listed);
    if (code == EXIT_DONE)
        code = cli_engine_open(&o.common, text.count < UINT32_MAX ? (uint32_t)text.count : 0, &e);
    if (code == EXIT_DONE)
        code = trace(&o, &e, &text);
    cli_text_close(e.tokenizer, &text);
    cli_engine_close(&e);
    free(listed);
    return code;
}
