/* vkmoe chat: a conversation with a model. */
#include "chat.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: vkmoe chat [OPTIONS]\n"
    "Talks with the model: each line of stdin is a message, each answer goes to stdout. On a\n"
    "terminal lines are edited and remembered, and /help lists commands.\n\n"
    "  -s, --system TEXT      the system prompt (default: none)\n"
    "      --chat-template T  plain, deepseek, chatml or llama2\n"
    "                         (default: the one in the model's tokenizer_config.json)\n"
    "      --on-full WHAT     when the context is full: stop, or drop the oldest turns\n"
    "                         (default: ask on a terminal, else stop)\n" CLI_GENERATION_HELP
        CLI_COMMON_HELP;

enum { OPTION_CHAT_TEMPLATE = CLI_OPTION_OWN, OPTION_ON_FULL };

static const struct option long_options[] = {
    CLI_COMMON_LONG,
    CLI_GENERATION_LONG,
    {"system", required_argument, NULL, 's'},
    {"chat-template", required_argument, NULL, OPTION_CHAT_TEMPLATE},
    {"on-full", required_argument, NULL, OPTION_ON_FULL},
    {NULL, 0, NULL, 0},
};

static int set_template(struct chat *c, const char *name)
{
    vkmoe_error err;
    c->template_name = name;
    if (vkmoe_chat_template_by_name(name, &c->chat_template, &err) != VKMOE_OK)
        return cli_usage("--chat-template: %s", err.message);
    return -1;
}

/* Returns -1 to go on, or an exit code. */
static int apply_option(struct chat *c, int option)
{
    switch (option) {
    case 's':
        c->system = optarg;
        return -1;
    case OPTION_CHAT_TEMPLATE:
        return set_template(c, optarg);
    case OPTION_ON_FULL:
        c->on_full = strcmp(optarg, "drop") == 0 ? CHAT_DROP : CHAT_STOP;
        if (c->on_full == CHAT_STOP && strcmp(optarg, "stop") != 0)
            return cli_usage("--on-full: '%s' is neither stop nor drop", optarg);
        return -1;
    default:
        return cli_generation_option(&c->generation, &c->common, option, help);
    }
}

static int parse(int argc, char **argv, struct chat *c)
{
    int option;
    *c = (struct chat){.generation = CLI_GENERATION_DEFAULTS};
    while ((option = cli_next_option(
                argc, argv, CLI_COMMON_SHORT CLI_GENERATION_SHORT "s:", long_options)) != -1) {
        int code = apply_option(c, option);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("chat: '%s' is not an option; messages come on stdin", argv[optind]);
    if (c->system && !cli_check_utf8("--system", c->system, strlen(c->system)))
        return EXIT_FAILED;
    return -1;
}

/* Finds the template, and sees that the tokenizer has what it needs. */
static int choose_template(struct chat *c)
{
    static const vkmoe_chat_message sample[] = {
        {.role = VKMOE_CHAT_USER, .text = ""},
        {.role = VKMOE_CHAT_ASSISTANT, .text = ""},
    };
    vkmoe_error err;
    int32_t *ids = NULL;
    size_t count;
    vkmoe_status status = VKMOE_OK;
    if (!c->template_name)
        status = vkmoe_chat_template_find(cli_model_path(&c->common), &c->chat_template, &err);
    if (status == VKMOE_UNSUPPORTED)
        return cli_fail("%s; --chat-template NAME chooses one of them", err.message);
    if (status == VKMOE_OK)
        status = vkmoe_chat_render(c->chat_template, c->engine.tokenizer, sample, 2, true, &ids,
                                   &count, &err);
    vkmoe_tokenizer_free(c->engine.tokenizer, ids);
    if (status != VKMOE_OK)
        return cli_failed(&err);
    if (!c->template_name && c->chat_template == VKMOE_CHAT_PLAIN)
        cli_note("the model has no chat template: messages are text that it continues");
    else if (c->common.verbosity > 0)
        cli_note("chat template %s", vkmoe_chat_template_name(c->chat_template));
    return EXIT_DONE;
}

int chat_open_session(struct chat *c)
{
    vkmoe_session_destroy(c->session);
    c->session = NULL;
    cli_engine_close_device(&c->engine);
    int code = cli_engine_open(&c->common, 0, &c->engine);
    return code == EXIT_DONE ? cli_session_create(&c->common, c->engine.model, &c->session) : code;
}

/* Returns an exit code; the reason for a failure has been said. */
static int open_chat(struct chat *c)
{
    int code = cli_tokenizer_open(&c->common, &c->engine);
    if (code == EXIT_DONE)
        code = choose_template(c);
    if (code == EXIT_DONE)
        code = chat_open_session(c);
    if (code != EXIT_DONE)
        return code;
    c->sampling = cli_generation_sampling(&c->generation, &c->common, c->engine.model);
    if (c->system && !conversation_set_system(&c->conversation, c->system))
        return cli_fail("--system: host memory ran out for the system prompt");
    return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

static int take_line(struct chat *c, char *line, size_t size)
{
    bool escaped = size > 1 && line[0] == '/' && line[1] == '/';
    const vkmoe_chat_message m = {.role = VKMOE_CHAT_USER,
                                  .text = escaped ? line + 1 : line,
                                  .size = escaped ? size - 1 : size};
    if (size == 0)
        return -1;
    if (line[0] == '/' && !escaped)
        return chat_command(c, line);
    const vkmoe_chat_message *last = conversation_last(&c->conversation);
    if (last && last->role == VKMOE_CHAT_USER) /* loaded so: users and assistants alternate */
        conversation_pop(&c->conversation);
    if (!conversation_add(&c->conversation, &m))
        return cli_fail("host memory ran out for a message of %zu bytes", size);
    return chat_answer(c);
}

/* Ctrl-C while a line is awaited. */
static int interrupted(struct chat *c)
{
    if (!c->input.interactive || c->was_interrupted)
        return EXIT_INTERRUPTED;
    c->was_interrupted = true;
    fputs("Ctrl-C again leaves, as /quit does.\n", stderr);
    return -1;
}

static int talk(struct chat *c)
{
    int code = -1;
    if (c->input.interactive)
        fputs("/help lists commands.\n", stderr);
    while (code < 0) {
        char *line;
        size_t size;
        switch (cli_input_line(&c->input, "> ", &line, &size)) {
        case CLI_INPUT_LINE:
            c->was_interrupted = false;
            code = take_line(c, line, size);
            if (code < 0 && c->input.signal) /* it came at a question */
                code = EXIT_SIGNAL + c->input.signal;
            free(line);
            break;
        case CLI_INPUT_INTERRUPTED:
            code = interrupted(c);
            break;
        case CLI_INPUT_END:
            code = EXIT_DONE;
            break;
        case CLI_INPUT_TERMINATED:
            code = EXIT_SIGNAL + c->input.signal;
            break;
        case CLI_INPUT_FAILED:
            code = EXIT_FAILED;
            break;
        }
    }
    return code;
}

int cmd_chat(int argc, char **argv)
{
    struct chat c;
    int code = parse(argc, argv, &c);
    if (code >= 0)
        return code;
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    cli_input_init(&c.input);
    if (c.on_full == CHAT_ASK && !c.input.interactive)
        c.on_full = CHAT_STOP;
    code = open_chat(&c);
    if (code == EXIT_DONE)
        code = talk(&c);
    vkmoe_session_destroy(c.session);
    conversation_finish(&c.conversation);
    cli_engine_close(&c.engine);
    cli_input_finish(&c.input);
    return code;
}
