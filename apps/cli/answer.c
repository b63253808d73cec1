/* One answer of `vkmoe chat`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "array.h"
#include "chat.h"
#include "stream.h"

struct answer {
    struct chat *chat;
    struct cli_stream stream;
    struct {
        char *items;
        size_t count, capacity;
    } text; /* what was printed */
    struct {
        int32_t *items;
        size_t count, capacity;
    } ids;
    int error; /* errno of the write that stdout refused */
    bool out_of_memory;
};

static bool take_text(void *user, const char *text, size_t size)
{
    struct answer *a = user;
    if (fwrite(text, 1, size, stdout) != size || fflush(stdout) != 0)
        a->error = errno ? errno : EIO;
    char *items = cli_reserve(a->text.items, a->text.count, &a->text.capacity, size, 1);
    if (!items) {
        a->out_of_memory = true;
        return false;
    }
    a->text.items = items;
    memcpy(a->text.items + a->text.count, text, size);
    a->text.count += size;
    return !a->error;
}

static bool take_token(void *user, int32_t token)
{
    struct answer *a = user;
    const struct chat *c = a->chat;
    if (token == vkmoe_chat_end_token(c->chat_template, c->engine.tokenizer) &&
        !c->generation.ignore_eos)
        return false;
    int32_t *items = cli_reserve(a->ids.items, a->ids.count, &a->ids.capacity, 1, sizeof(token));
    if (!items) {
        a->out_of_memory = true;
        return false;
    }
    a->ids.items = items;
    a->ids.items[a->ids.count++] = token;
    return cli_stream_token(&a->stream, token);
}

/* --- computing --- */

/* Brings the session from what it holds to these tokens: what both begin with stays computed. */
static vkmoe_status bring_to(struct chat *c, const int32_t *ids, size_t count, vkmoe_error *err)
{
    const int32_t *held = vkmoe_session_tokens(c->session);
    size_t n_held = vkmoe_session_length(c->session), same = 0;
    while (same < count && same < n_held && ids[same] == held[same])
        same++;
    c->prompt_tokens = count;
    c->reused_tokens = same;
    vkmoe_status status = vkmoe_session_rollback(c->session, (uint32_t)same, err);
    if (status == VKMOE_OK && same < count)
        status = vkmoe_session_eval(c->session, ids + same, count - same, NULL, err);
    return status;
}

/* The conversation as far as it goes, then what there is of the answer. The caller owns *ids. */
static vkmoe_status render(const struct answer *a, int32_t **ids, size_t *count, vkmoe_error *err)
{
    const struct chat *c = a->chat;
    int32_t *rendered = NULL;
    size_t n = 0;
    vkmoe_status status =
        vkmoe_chat_render(c->chat_template, c->engine.tokenizer, c->conversation.items,
                          c->conversation.count, true, &rendered, &n, err);
    if (status != VKMOE_OK)
        return status;
    *count = n + a->ids.count;
    *ids = malloc((*count + 1) * sizeof(**ids));
    if (*ids) {
        if (n > 0)
            memcpy(*ids, rendered, n * sizeof(**ids));
        if (a->ids.count > 0)
            memcpy(*ids + n, a->ids.items, a->ids.count * sizeof(**ids));
    } else {
        *err = (vkmoe_error){.status = VKMOE_OUT_OF_HOST_MEMORY};
        snprintf(err->message, sizeof(err->message), "host memory ran out for %zu tokens", *count);
        status = VKMOE_OUT_OF_HOST_MEMORY;
    }
    vkmoe_tokenizer_free(c->engine.tokenizer, rendered);
    return status;
}

static vkmoe_status compute(struct answer *a, vkmoe_error *err)
{
    struct chat *c = a->chat;
    int32_t *ids = NULL;
    size_t count;
    vkmoe_generate_params params = {.max_tokens = c->generation.tokens - a->ids.count,
                                    .sampling = c->sampling,
                                    .ignore_eos = c->generation.ignore_eos,
                                    .on_token = take_token,
                                    .user = a};
    vkmoe_status status = render(a, &ids, &count, err);
    if (status == VKMOE_OK)
        status = bring_to(c, ids, count, err);
    free(ids);
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(c->session, &params, NULL, err);
    return status;
}

/* --- a full context --- */

static enum chat_on_full ask(struct chat *c)
{
    enum chat_on_full choice = CHAT_ASK;
    while (choice == CHAT_ASK) {
        char *line;
        size_t size;
        if (cli_input_answer(&c->input, "[s]top, or [d]rop the oldest turns? ", &line, &size) !=
            CLI_INPUT_LINE)
            return CHAT_STOP;
        choice = line[0] == 's' || line[0] == 'S'   ? CHAT_STOP
                 : line[0] == 'd' || line[0] == 'D' ? CHAT_DROP
                                                    : CHAT_ASK;
        free(line);
    }
    return choice;
}

/* Drops the oldest turns, of two or more, until a quarter of the context is free. */
static void drop_turns(struct answer *a)
{
    struct chat *c = a->chat;
    size_t dropped = 0, count = 0;
    vkmoe_error err;
    do {
        int32_t *ids = NULL;
        conversation_drop_oldest(&c->conversation);
        dropped++;
        if (render(a, &ids, &count, &err) != VKMOE_OK)
            break; /* which will be found again, and said, by whoever goes on */
        free(ids);
    } while (count > vkmoe_session_context(c->session) / 4 * 3 &&
             conversation_turns(&c->conversation) > 1);
    cli_note("dropped the oldest %s", dropped > 1 ? "turns" : "turn");
}

/* Whether stdout and stderr are one file: a terminal, mostly. */
static bool outputs_are_one(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
           out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

/* Says that the context is full; true if there is room again. */
static bool make_room(struct answer *a)
{
    struct chat *c = a->chat;
    uint32_t context = vkmoe_session_context(c->session);
    if (a->text.count > 0 && a->text.items[a->text.count - 1] != '\n' && outputs_are_one())
        fputc('\n', stderr); /* away from the answer */
    if (conversation_turns(&c->conversation) < 2) {
        cli_note("this turn alone fills the context of %u tokens; -c makes a larger one", context);
        return false;
    }
    cli_note("the context of %u tokens is full%s", context,
             c->on_full == CHAT_STOP ? "; --on-full drop would drop the oldest turns" : "");
    enum chat_on_full choice = c->on_full == CHAT_ASK ? ask(c) : c->on_full;
    if (choice != CHAT_DROP)
        return false;
    drop_turns(a);
    return true;
}

/* --- the outcome --- */

/* Ctrl-C stops an answer that a person waits for, and ends a script. */
static int interrupted(struct chat *c)
{
    c->was_interrupted = true;
    return c->input.interactive ? -1 : EXIT_INTERRUPTED;
}

static int failed(struct chat *c, vkmoe_status status, const vkmoe_error *err)
{
    cli_failed(err);
    if (status == VKMOE_DEVICE_LOST && c->input.interactive) {
        cli_note("the conversation is still here; the next message opens the device again");
        c->device_lost = true;
        return -1;
    }
    /* Another message may do better, unless it was the device or memory that failed. */
    return status == VKMOE_BAD_FORMAT || status == VKMOE_UNSUPPORTED ? chat_failed(c) : EXIT_FAILED;
}

static bool keep(struct answer *a)
{
    static const int32_t none; /* an empty answer, too, is kept as it was generated */
    const int32_t *ids = a->ids.items ? a->ids.items : &none;
    const vkmoe_chat_message m = {.role = VKMOE_CHAT_ASSISTANT,
                                  .text = a->text.items,
                                  .size = a->text.count,
                                  /* tokens of a --stop are none of the answer's */
                                  .tokens = a->stream.stopped ? NULL : ids,
                                  .n_tokens = a->stream.stopped ? 0 : a->ids.count};
    return conversation_add(&a->chat->conversation, &m);
}

static int conclude(struct answer *a, vkmoe_status status, const vkmoe_error *err)
{
    struct chat *c = a->chat;
    bool answered = status == VKMOE_OK || a->ids.count > 0;
    if (!answered)
        conversation_pop(&c->conversation);
    else if (!keep(a))
        a->out_of_memory = true;
    if (a->error || a->out_of_memory || a->stream.out_of_memory) {
        return a->error ? cli_fail("cannot write to stdout: %s", strerror(a->error))
                        : cli_fail("host memory ran out for an answer");
    }
    if (status == VKMOE_CANCELLED || cli_interrupted()) {
        if (!answered)
            cli_note("interrupted; the message was taken back");
        return interrupted(c);
    }
    if (status == VKMOE_CONTEXT_FULL) /* which was said */
        return answered ? -1 : chat_failed(c);
    if (status != VKMOE_OK)
        return failed(c, status, err);
    if (c->input.interactive && a->ids.count >= c->generation.tokens)
        cli_note("the answer was cut after %zu tokens; -n allows more", a->ids.count);
    return -1;
}

/* A message that finds no device is taken back. */
static bool find_device_again(struct chat *c)
{
    c->engine.start = cli_now();
    c->device_lost = chat_open_session(c) != EXIT_DONE;
    if (!c->device_lost)
        return true;
    conversation_pop(&c->conversation);
    cli_note("there is no device to answer with; the message was taken back");
    return false;
}

int chat_answer(struct chat *c)
{
    struct answer a = {.chat = c};
    vkmoe_error err;
    vkmoe_status status;
    bool again;
    a.stream = (struct cli_stream){.tokenizer = c->engine.tokenizer,
                                   .stops = c->generation.stops,
                                   .n_stops = c->generation.n_stops,
                                   .trim_start = c->chat_template != VKMOE_CHAT_PLAIN,
                                   .write = take_text,
                                   .user = &a};
    if (c->input.interactive)
        cli_forget_interrupt();
    if (c->device_lost && !find_device_again(c))
        return -1;
    do {
        cli_cancel_on_interrupt(c->session);
        status = compute(&a, &err);
        cli_cancel_on_interrupt(NULL);
        vkmoe_session_clear_cancel(c->session); /* a Ctrl-C that came too late ends no other call */
        again = status == VKMOE_CONTEXT_FULL && !cli_interrupted() && make_room(&a);
    } while (again);
    cli_stream_finish(&a.stream);
    if (status == VKMOE_OK || a.ids.count > 0) {
        size_t printed = a.text.count;
        take_text(&a, "\n", 1);
        a.text.count = printed;
    }
    int code = conclude(&a, status, &err);
    free(a.text.items);
    free(a.ids.items);
    return code;
}
