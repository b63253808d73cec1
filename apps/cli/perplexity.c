/* vkmoe perplexity: how well a model predicts a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "interval.h"
#include "perplexity_state.h"
#include "text.h"
#include "text_options.h"

static const char help[] =
    "usage: vkmoe perplexity -f FILE [OPTIONS]\n"
    "Tells how well the model predicts a text: the mean negative log likelihood (NLL) of its\n"
    "tokens, window by window, with a 95 % interval over windows.\n\n" CLI_TEXT_HELP
    "      --stride N         windows overlap and move on by N tokens (default: no overlap)\n"
    "      --resume FILE      keep in FILE how far it is, and go on from there if it "
    "exists\n" CLI_COMMON_HELP;

struct options {
    struct cli_common common;
    struct cli_text_options text;
    const char *state_file;
    uint64_t stride;
};

enum { OPTION_STRIDE = CLI_OPTION_TEXT_OWN, OPTION_RESUME };

static const struct option long_options[] = {
    CLI_TEXT_LONG,
    {"stride", required_argument, NULL, OPTION_STRIDE},
    {"resume", required_argument, NULL, OPTION_RESUME},
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct options *o, int option)
{
    switch (option) {
    case OPTION_STRIDE:
        return cli_parse_u64("--stride", optarg, 1, CLI_MOST_TOKENS, &o->stride) ? -1 : EXIT_USAGE;
    case OPTION_RESUME:
        o->state_file = optarg;
        return *optarg ? -1 : cli_usage("--resume: an empty name is no file");
    default:
        return cli_text_option(&o->text, &o->common, option, help);
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    int option;
    *o = (struct options){0};
    while ((option = cli_next_option(argc, argv, CLI_TEXT_SHORT, long_options)) != -1) {
        int code = apply_option(o, option);
        if (code >= 0)
            return code;
    }
    return cli_text_check_file(&o->text, "perplexity", argc, argv);
}

/* --- while it runs --- */

struct measurement {
    const struct options *options;
    struct perplexity_state state;
    double start, shown, kept;
    uint64_t resumed_at; /* tokens that were done before */
    uint8_t *experts;    /* of cli_expert_states */
    int code;            /* why it ended early, said by then; 0: it did not */
};

static void show(struct measurement *m, const vkmoe_perplexity *p)
{
    double now = cli_now();
    if (!isatty(STDERR_FILENO) || now - m->shown < 0.1)
        return;
    m->shown = now;
    double rate = (double)(p->next - m->resumed_at) / (now - m->start);
    fprintf(stderr, "\r\033[K%llu of %llu tokens, nll %.4f, perplexity %.3f, %.0f s left",
            (unsigned long long)p->next, (unsigned long long)p->tokens, p->nll, p->perplexity,
            (double)(p->tokens - p->next) / rate);
}

static bool on_window(void *user, const vkmoe_perplexity *so_far)
{
    struct measurement *m = user;
    bool last = so_far->next == so_far->tokens, stop = cli_interrupted();
    show(m, so_far);
    m->state.result = *so_far;
    if (m->options->state_file && (last || stop || cli_now() - m->kept > 1)) {
        m->code = perplexity_state_write(&m->state, m->options->state_file);
        m->kept = cli_now();
    }
    return !stop && m->code == EXIT_DONE;
}

/* --- results --- */

static int print_json(const struct measurement *m, const vkmoe_perplexity *p)
{
    double half = cli_half_interval(p->standard_error, p->windows);
    json_t *interval =
        isnan(half) ? json_null() : json_pack("[f, f]", exp(p->nll - half), exp(p->nll + half));
    json_t *root = json_pack(
        "{s:o, s:f, s:o, s:f, s:o, s:f, s:I, s:I, s:I, s:i, s:i}", "model",
        cli_json_text(cli_model_path(&m->options->common)), "nll", p->nll, "standard_error",
        isnan(half) ? json_null() : json_real(p->standard_error), "perplexity", p->perplexity,
        "perplexity_95", interval, "bits_per_byte", p->bits_per_byte, "tokens",
        (json_int_t)p->scored, "bytes", (json_int_t)p->bytes, "windows", (json_int_t)p->windows,
        "context", (int)m->state.context, "stride", (int)m->state.stride);
    return cli_print_json(root, "the result");
}

static void print_csv(const struct measurement *m, const vkmoe_perplexity *p)
{
    printf("nll,standard_error,perplexity,bits_per_byte,tokens,bytes,windows,context,stride\n"
           "%.9g,%s,%.9g,%.9g,%llu,%llu,%llu,%u,%u\n",
           p->nll, cli_csv_error(p->standard_error, p->windows).text, p->perplexity,
           p->bits_per_byte, (unsigned long long)p->scored, (unsigned long long)p->bytes,
           (unsigned long long)p->windows, m->state.context, m->state.stride);
}

static void print_text(const struct measurement *m, const vkmoe_perplexity *p)
{
    double half = cli_half_interval(p->standard_error, p->windows);
    printf("tokens         %llu in %llu windows of %u", (unsigned long long)p->scored,
           (unsigned long long)p->windows, m->state.context);
    if (m->state.stride > 0)
        printf(", moved on by %u", m->state.stride);
    printf("\nnll            %.4f nats per token", p->nll);
    if (p->windows > 1)
        printf(" +- %.4f", half);
    printf("\nperplexity     %.3f", p->perplexity);
    if (p->windows > 1)
        printf(" (95 %%: %.3f to %.3f)", exp(p->nll - half), exp(p->nll + half));
    printf("\nbits per byte  %.4f\n", p->bits_per_byte);
}

/* --- running --- */

/* Bytes of text that each token stands for; NULL after saying why not. */
static uint32_t *bytes_of(const vkmoe_tokenizer *t, const int32_t *ids, size_t count)
{
    vkmoe_error err;
    uint32_t *bytes = malloc(count * sizeof(*bytes) + 1);
    for (size_t i = 0; bytes && i < count; i++) {
        char *text;
        size_t size;
        if (vkmoe_tokenizer_decode(t, &ids[i], 1, true, &text, &size, &err) != VKMOE_OK) {
            cli_failed(&err);
            free(bytes);
            return NULL;
        }
        bytes[i] = (uint32_t)size;
        vkmoe_tokenizer_free(t, text);
    }
    if (!bytes)
        cli_fail("host memory ran out for a text of %zu tokens", count);
    return bytes;
}

static int measure(struct measurement *m, const struct cli_engine *e, const struct cli_text *text,
                   const uint32_t *bytes)
{
    const struct cli_common *common = &m->options->common;
    uint32_t made_for = vkmoe_model_get_info(e->model)->max_context;
    vkmoe_perplexity before, result;
    vkmoe_error err;
    bool found = false;
    m->state.context = common->context ? common->context : made_for < 4096 ? made_for : 4096;
    m->state.stride = (uint32_t)m->options->stride;
    m->state.weights = cli_weights_name(common->weights);
    m->state.kv = cli_kv_name(common->kv);
    m->state.bos = text->bos ? text->bos_token : -1;
    perplexity_state_identify(&m->state, cli_model_path(common), text->ids, text->count);
    if (m->options->state_file && !perplexity_state_read(&m->state, m->options->state_file, &found))
        return EXIT_FAILED;
    before = m->state.result;
    const vkmoe_perplexity_params params = {.context = m->state.context,
                                            .stride = m->state.stride,
                                            .chunk = common->chunk,
                                            .routing = common->routing,
                                            .experts = m->experts,
                                            .kv = common->kv,
                                            .bos = text->bos,
                                            .bos_token = text->bos_token,
                                            .token_bytes = bytes,
                                            .resume = found ? &before : NULL,
                                            .on_session = cli_text_cancel,
                                            .progress = on_window,
                                            .user = m};
    m->resumed_at = found ? before.next : 0;
    if (found)
        cli_note("going on from %s, where %llu of %zu tokens are done", m->options->state_file,
                 (unsigned long long)before.next, text->count);
    m->start = m->kept = cli_now();
    vkmoe_status status =
        vkmoe_perplexity_run(e->model, text->ids, text->count, &params, &result, &err);
    cli_end_progress();
    if (status == VKMOE_CANCELLED && m->code == EXIT_DONE && m->options->state_file) {
        m->state.result = result; /* in the midst of a window */
        m->code = perplexity_state_write(&m->state, m->options->state_file);
    }
    if (m->code != EXIT_DONE)
        return m->code;
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_failed(&err);
    return CLI_TEXT_PRINT(&m->options->text, print_json(m, &result), print_csv(m, &result),
                          print_text(m, &result));
}

static int measure_text(void *user, const struct cli_engine *e, const struct cli_text *text)
{
    struct measurement *m = user;
    const struct cli_common *common = &m->options->common;
    uint32_t *bytes = bytes_of(e->tokenizer, text->ids, text->count);
    int code = bytes ? EXIT_DONE : EXIT_FAILED;
    m->state.routing = cli_routing_text(common);
    if (code == EXIT_DONE && !m->state.routing)
        code = cli_fail("host memory ran out for the routing options");
    if (code == EXIT_DONE)
        code = cli_expert_states(common, vkmoe_model_get_info(e->model), &m->experts);
    if (code == EXIT_DONE)
        code = measure(m, e, text, bytes);
    free(m->experts);
    free(m->state.routing);
    free(bytes);
    return code;
}

int cmd_perplexity(int argc, char **argv)
{
    struct options o;
    struct measurement m = {.options = &o};
    int code = parse(argc, argv, &o);
    return code >= 0 ? code : cli_with_text(&o.common, o.text.file, measure_text, &m);
}
