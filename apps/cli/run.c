/* vkmoe run: continues a prompt. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generation_options.h"
#include "stream.h"

static const char help[] =
    "usage: vkmoe run [-p PROMPT | -f FILE] [OPTIONS]\n"
    "Prints the model's continuation of a prompt; the prompt is not repeated.\n\n"
    "  -p, --prompt TEXT      the prompt\n"
    "  -f, --file FILE        the prompt is in a file; - is stdin\n" CLI_GENERATION_HELP
        CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    struct cli_generation generation;
    const char *prompt, *file;
};

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    CLI_GENERATION_LONG,
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
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
    default:
        return cli_generation_option(&o->generation, &o->common, option, help);
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){.generation = CLI_GENERATION_DEFAULTS};
    while ((option = cli_next_option(
                argc, argv, CLI_COMMON_SHORT CLI_GENERATION_SHORT "p:f:", long_options)) != -1) {
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
    struct cli_stream stream;
    double first_token; /* when it came */
    int error;          /* errno of the write that stdout refused */
};

static bool write_text(void *user, const char *bytes, size_t size)
{
    struct output *out = user;
    if (!out->error && (fwrite(bytes, 1, size, stdout) != size || fflush(stdout) != 0))
        out->error = errno ? errno : EIO;
    return !out->error;
}

static bool print_token(void *user, int32_t token)
{
    struct output *out = user;
    if (out->first_token == 0)
        out->first_token = cli_now();
    return cli_stream_token(&out->stream, token);
}

static void print_stats(const struct cli_engine *e, const vkmoe_session *session,
                        const struct output *out)
{
    vkmoe_session_stats s;
    vkmoe_session_get_stats(session, &s);
    fprintf(stderr,
            "load %.2f s | prompt %llu tokens, %.1f t/s | text %llu tokens, %.1f t/s | "
            "first token after %.2f s | device memory %.1f MB, of which KV cache in %s %.1f MB\n",
            e->load_seconds, (unsigned long long)s.prompt_tokens,
            s.prompt_seconds > 0 ? (double)s.prompt_tokens / s.prompt_seconds : 0.0,
            (unsigned long long)s.generated_tokens,
            s.generation_seconds > 0 ? (double)s.generated_tokens / s.generation_seconds : 0.0,
            out->first_token > 0 ? out->first_token - e->start : 0.0, (double)s.device_bytes / 1e6,
            cli_kv_name(s.kv), (double)s.kv_bytes / 1e6);
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

/* Prints what follows the prompt in the session, and a newline after it. */
static vkmoe_status print_continuation(const struct options *o, const struct cli_engine *e,
                                       const vkmoe_sampling *sampling, vkmoe_session *session,
                                       struct output *out, vkmoe_error *err)
{
    vkmoe_generate_params params = {.max_tokens = o->generation.tokens,
                                    .sampling = *sampling,
                                    .ignore_eos = o->generation.ignore_eos,
                                    .on_token = print_token,
                                    .user = out};
    out->stream = (struct cli_stream){.tokenizer = e->tokenizer,
                                      .stops = o->generation.stops,
                                      .n_stops = o->generation.n_stops,
                                      .write = write_text,
                                      .user = out};
    vkmoe_status status = vkmoe_session_generate(session, &params, NULL, err);
    cli_stream_finish(&out->stream);
    write_text(out, "\n", 1);
    if (!out->error) {
        print_stats(e, session, out);
        print_host_cost(e, session);
    }
    return status;
}

static int exit_code(const struct output *out, vkmoe_status status, const vkmoe_error *err)
{
    if (cli_interrupted())
        return EXIT_INTERRUPTED;
    if (out->error)
        return cli_fail("cannot write to stdout: %s", strerror(out->error));
    if (out->stream.out_of_memory)
        return cli_fail("host memory ran out for text that may be the beginning of a --stop");
    return status == VKMOE_OK ? EXIT_DONE : cli_failed(err);
}

/* Whether the prompt leaves room for text; false after saying what would. */
static bool prompt_fits(const struct options *o, const vkmoe_session *session, size_t count)
{
    uint32_t context = vkmoe_session_context(session);
    if (count < context)
        return true;
    size_t enough = count + (size_t)o->generation.tokens;
    cli_fail("the prompt has %zu tokens, which leave no room in the context of %u tokens; -c %zu "
             "makes a larger one",
             count, context, enough < CLI_MOST_TOKENS ? enough : CLI_MOST_TOKENS);
    return false;
}

static int generate(const struct options *o, struct cli_engine *e, const int32_t *ids, size_t count)
{
    vkmoe_error err;
    vkmoe_session *session = NULL;
    struct output out = {0};
    vkmoe_sampling sampling = cli_generation_sampling(&o->generation, &o->common, e->model);
    int code = cli_session_create(&o->common, e->model, &session);
    if (code != EXIT_DONE)
        return code;
    if (!prompt_fits(o, session, count)) {
        vkmoe_session_destroy(session);
        return EXIT_FAILED;
    }
    cli_cancel_on_interrupt(session);
    vkmoe_status status = vkmoe_session_eval(session, ids, count, NULL, &err);
    if (status == VKMOE_OK)
        status = print_continuation(o, e, &sampling, session, &out, &err);
    if (status == VKMOE_CONTEXT_FULL) { /* the text is as long as it can be */
        cli_note("the context of %u tokens is full; -c makes a larger one",
                 vkmoe_session_context(session));
        status = VKMOE_OK;
    }
    cli_cancel_on_interrupt(NULL);
    vkmoe_session_destroy(session);
    return exit_code(&out, status, &err);
}

/* The prompt's ids come first: they tell which shaders will be needed. */
static int run(struct options *o, const char *prompt, size_t size)
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
        return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    if (size == 0)
        code = cli_fail("the prompt %s%sis empty, expected text to continue", o.file ? o.file : "",
                        o.file ? " " : "");
    else if (!cli_check_utf8(o.file ? o.file : "-p", o.prompt ? o.prompt : text, size))
        code = EXIT_FAILED;
    else
        code = run(&o, o.prompt ? o.prompt : text, size);
    free(text);
    return code;
}
