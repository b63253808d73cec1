/* vkmoe run: continues a prompt. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static const char help[] =
    "usage: vkmoe run [-p PROMPT | -f FILE] [OPTIONS]\n"
    "Prints the model's continuation of a prompt; the prompt is not repeated.\n\n"
    "  -p, --prompt TEXT      the prompt\n"
    "  -f, --file FILE        the prompt is in a file; - is stdin\n"
    "  -n, --tokens N         at most N tokens (default: 256)\n"
    "  -c, --context N        room for N tokens of prompt and text\n"
    "                         (default: what the model was made for, at most 4096)\n"
    "      --temp T           temperature; 0 takes the likeliest token each time\n"
    "                         (default: the model's generation_config.json)\n"
    "      --seed S           of the sampler (default: another one each time, told with -v)\n"
    "      --ignore-eos       go on past the end of the document\n" CLI_COMMON_HELP;

#define PIECE 256u /* prompt tokens evaluated between two looks for Ctrl-C */

struct options {
    struct cli_common common;
    const char *prompt, *file;
    uint64_t tokens, seed;
    float temperature; /* negative: the model's default */
    bool seeded, ignore_eos;
};

enum { OPTION_TEMP = CLI_OPTION_OWN, OPTION_SEED, OPTION_IGNORE_EOS };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"tokens", required_argument, NULL, 'n'},
    {"context", required_argument, NULL, 'c'},
    {"temp", required_argument, NULL, OPTION_TEMP},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"ignore-eos", no_argument, NULL, OPTION_IGNORE_EOS},
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    bool good = true;
    switch (option) {
    case 'p':
        o->prompt = optarg;
        break;
    case 'f':
        o->file = optarg;
        break;
    case 'n':
        good = cli_parse_u64("-n", optarg, 1, 1u << 24, &o->tokens);
        break;
    case 'c':
        good = cli_parse_context(optarg, &o->common);
        break;
    case OPTION_TEMP:
        good = cli_parse_float("--temp", optarg, 0, 1000, &o->temperature);
        break;
    case OPTION_SEED:
        good = cli_parse_u64("--seed", optarg, 0, UINT64_MAX, &o->seed);
        o->seeded = true;
        break;
    case OPTION_IGNORE_EOS:
        o->ignore_eos = true;
        break;
    default:
        return cli_common_option(&o->common, option, help);
    }
    return good ? -1 : EXIT_USAGE;
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){.tokens = 256, .temperature = -1};
    while ((option = getopt_long(argc, argv, CLI_COMMON_SHORT "p:f:n:c:", long_options, NULL)) !=
           -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("run: '%s' is not an option; a prompt goes after -p", argv[optind]);
    if (!o->prompt == !o->file)
        return cli_usage(o->prompt ? "run: give -p or -f, not both"
                                   : "run: a prompt is needed, with -p TEXT or -f FILE");
    return -1;
}

struct output {
    const vkmoe_tokenizer *tokenizer;
    double first_token; /* when it came */
    int error;          /* errno of the write that stdout refused */
};

static void write_text(struct output *out, const char *bytes, size_t size)
{
    if (!out->error && (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0))
        out->error = errno ? errno : EIO;
}

static bool print_token(void *user, int32_t token)
{
    struct output *out = user;
    char *bytes;
    size_t size;
    if (out->first_token == 0)
        out->first_token = cli_now();
    if (vkmoe_tokenizer_decode(out->tokenizer, &token, 1, false, &bytes, &size, NULL) == VKMOE_OK) {
        write_text(out, bytes, size);
        vkmoe_tokenizer_free(out->tokenizer, bytes);
    }
    return !cli_interrupted() && !out->error;
}

static void print_stats(const struct cli_engine *e, const vkmoe_session *session,
                        const struct output *out)
{
    vkmoe_session_stats s;
    vkmoe_session_get_stats(session, &s);
    fprintf(stderr,
            "load %.2f s | prompt %llu tokens, %.1f t/s | text %llu tokens, %.1f t/s | "
            "first token after %.2f s | device memory %.1f MB\n",
            e->load_seconds, (unsigned long long)s.prompt_tokens,
            s.prompt_seconds > 0 ? (double)s.prompt_tokens / s.prompt_seconds : 0.0,
            (unsigned long long)s.generated_tokens,
            s.generation_seconds > 0 ? (double)s.generated_tokens / s.generation_seconds : 0.0,
            out->first_token > 0 ? out->first_token - e->start : 0.0, (double)s.device_bytes / 1e6);
}

/* What experts in host memory were expected to cost, and what came of it. */
static void print_host_cost(const struct cli_engine *e, const vkmoe_session *session)
{
    const vkmoe_host_cost *c = vkmoe_model_get_host_cost(e->model);
    const vkmoe_model_info *info = vkmoe_model_get_info(e->model);
    vkmoe_session_stats s;
    if (info->n_host_experts == 0)
        return;
    vkmoe_session_get_stats(session, &s);
    fprintf(stderr,
            "experts in host memory %u of %u | of them %.2f MB a token at %.1f GB/s, %.2f ms | "
            "at most %.1f t/s by that, seen %.1f t/s\n",
            info->n_host_experts, info->n_moe_layers * info->n_routed_experts,
            c->host_bytes_per_token / 1e6, c->host_bandwidth / 1e9, 1e3 * c->host_seconds_per_token,
            c->tokens_per_second,
            s.generation_seconds > 0 ? (double)s.generated_tokens / s.generation_seconds : 0.0);
}

static vkmoe_generate_params sampling(const struct options *o, const struct cli_engine *e)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed = o->seeded ? o->seed : (uint64_t)t.tv_sec * 1000003u ^ (uint64_t)t.tv_nsec;
    vkmoe_sampling sampling = *vkmoe_model_get_sampling(e->model);
    sampling.seed = seed;
    if (o->temperature >= 0)
        sampling.temperature = o->temperature;
    if (o->common.verbosity > 0 && sampling.temperature > 0)
        fprintf(stderr, "vkmoe: temperature %g, seed %llu\n", (double)sampling.temperature,
                (unsigned long long)seed);
    return (vkmoe_generate_params){.max_tokens = o->tokens,
                                   .sampling = sampling,
                                   .ignore_eos = o->ignore_eos,
                                   .on_token = print_token};
}

/* A prompt goes in by pieces, so that Ctrl-C does not wait for a long one. */
static vkmoe_status evaluate(vkmoe_session *session, const int32_t *ids, size_t count,
                             vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    size_t room = vkmoe_session_context(session);
    if (count == 0 || count > room) /* all at once, for the sentence that says so */
        return vkmoe_session_eval(session, ids, count, NULL, err);
    for (size_t done = 0; done < count && status == VKMOE_OK && !cli_interrupted();) {
        size_t n = count - done < PIECE ? count - done : PIECE;
        status = vkmoe_session_eval(session, ids + done, n, NULL, err);
        done += n;
    }
    return status;
}

static int generate(const struct options *o, struct cli_engine *e, const int32_t *ids, size_t count)
{
    vkmoe_error err;
    vkmoe_session *session = NULL;
    struct output out = {.tokenizer = e->tokenizer};
    vkmoe_session_params params = {.context = o->common.context, .chunk = o->common.chunk};
    vkmoe_generate_params generation = sampling(o, e);
    generation.user = &out;
    vkmoe_status status = vkmoe_session_create(e->model, &params, &session, &err);
    if (status == VKMOE_OK)
        status = evaluate(session, ids, count, &err);
    if (status == VKMOE_OK && !cli_interrupted()) {
        status = vkmoe_session_generate(session, &generation, NULL, &err);
        write_text(&out, "\n", 1);
        if (!out.error) {
            print_stats(e, session, &out);
            print_host_cost(e, session);
        }
    }
    vkmoe_session_destroy(session);
    if (cli_interrupted())
        return EXIT_INTERRUPTED;
    if (out.error)
        return cli_fail("cannot write to stdout: %s", strerror(out.error));
    return status == VKMOE_OK ? EXIT_DONE : cli_failed(&err);
}

/* The prompt's ids come first: they tell which shaders will be needed. */
static int run(const struct options *o, const char *prompt, size_t size)
{
    struct cli_engine e;
    vkmoe_error err;
    int32_t *ids = NULL;
    size_t count = 0;
    int code = cli_tokenizer_open(&o->common, &e);
    if (code != EXIT_DONE)
        return code;
    if (vkmoe_tokenizer_encode(e.tokenizer, prompt, size, true, &ids, &count, &err) != VKMOE_OK) {
        cli_engine_close(&e);
        return cli_failed(&err);
    }
    code = cli_engine_open(&o->common, count < UINT32_MAX ? (uint32_t)count : 0, &e);
    if (code == EXIT_DONE)
        code = generate(o, &e, ids, count);
    vkmoe_tokenizer_free(e.tokenizer, ids);
    cli_engine_close(&e);
    return code;
}

int cmd_run(int argc, char **argv)
{
    struct options o;
    char *text = NULL;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    size_t size = o.prompt ? strlen(o.prompt) : 0;
    if (o.file && !cli_read_all(o.file, &text, &size))
        return EXIT_FAILED;
    if (size == 0)
        code = cli_fail("the prompt %s%sis empty, expected text to continue", o.file ? o.file : "",
                        o.file ? " " : "");
    else
        code = run(&o, o.prompt ? o.prompt : text, size);
    free(text);
    return code;
}
