/* The commands of `vkmoe chat`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"

static int cmd_help(struct chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    chat_print_commands();
    return -1;
}

static int cmd_reset(struct chat *c, const char *argument)
{
    (void)argument;
    conversation_reset(&c->conversation);
    fputs("The conversation begins anew.\n", stderr);
    return -1;
}

static int cmd_undo(struct chat *c, const char *argument)
{
    (void)argument;
    if (!conversation_undo(&c->conversation)) {
        cli_note("/undo: there is nothing to take back");
        return chat_failed(c);
    }
    fprintf(stderr, "The last turn was taken back; %zu left.\n",
            conversation_turns(&c->conversation));
    return -1;
}

static int cmd_retry(struct chat *c, const char *argument)
{
    (void)argument;
    const vkmoe_chat_message *last = conversation_last(&c->conversation);
    if (!last) {
        cli_note("/retry: there is nothing to answer");
        return chat_failed(c);
    }
    if (last->role == VKMOE_CHAT_ASSISTANT)
        conversation_pop(&c->conversation);
    c->sampling.seed++; /* the same seed would give the same answer */
    if (c->sampling.temperature <= 0)
        cli_note("/retry: at temperature 0 the same answer comes again; --temp makes others");
    return chat_answer(c);
}

static int cmd_system(struct chat *c, const char *argument)
{
    if (!cli_check_utf8("/system", argument, strlen(argument)))
        return chat_failed(c);
    if (!conversation_set_system(&c->conversation, argument))
        return cli_fail("/system: host memory ran out for the system prompt");
    fputs(*argument ? "The system prompt is set.\n" : "There is no system prompt now.\n", stderr);
    return -1;
}

/* The path with $HOME for a ~ that begins it; malloc'ed, NULL after saying that memory ran out. */
static char *expand(const char *path)
{
    const char *home = getenv("HOME");
    bool tilde = path[0] == '~' && path[1] == '/' && home && *home;
    size_t size = strlen(path) + (tilde ? strlen(home) : 0) + 1;
    char *expanded = malloc(size);
    if (expanded)
        snprintf(expanded, size, "%s%s", tilde ? home : "", tilde ? path + 1 : path);
    else
        cli_note("host memory ran out for a path");
    return expanded;
}

static int cmd_save(struct chat *c, const char *argument)
{
    char *path = expand(argument);
    bool good = path && conversation_save(&c->conversation, path);
    if (good)
        fprintf(stderr, "Saved to %s.\n", path);
    free(path);
    return good ? -1 : chat_failed(c);
}

/* A message that was saved without an answer gets it now. */
static int cmd_load(struct chat *c, const char *argument)
{
    char *path = expand(argument);
    bool had_system = c->conversation.has_system;
    bool good = path && conversation_load(&c->conversation, path);
    if (good)
        fprintf(stderr, "Loaded %zu turns from %s%s.\n", conversation_turns(&c->conversation), path,
                !had_system                  ? ""
                : c->conversation.has_system ? "; its system prompt replaces the one before"
                                             : "; there is no system prompt now");
    free(path);
    if (!good)
        return chat_failed(c);
    const vkmoe_chat_message *last = conversation_last(&c->conversation);
    return last && last->role == VKMOE_CHAT_USER ? chat_answer(c) : -1;
}

static int cmd_stats(struct chat *c, const char *argument)
{
    vkmoe_session_stats s;
    (void)argument;
    if (c->device_lost) {
        cli_note("/stats: the device was lost, and what it did is not known");
        return -1;
    }
    vkmoe_session_get_stats(c->session, &s);
    fprintf(stderr,
            "context %u of %u tokens | last prompt %zu tokens, %zu of them from the cache | "
            "prompts %llu tokens, %.1f t/s | answers %llu tokens, %.1f t/s | load %.2f s | "
            "device memory %.1f MB, of which KV cache in %s %.1f MB\n",
            vkmoe_session_length(c->session), vkmoe_session_context(c->session), c->prompt_tokens,
            c->reused_tokens, (unsigned long long)s.prompt_tokens,
            s.prompt_seconds > 0 ? (double)s.prompt_tokens / s.prompt_seconds : 0.0,
            (unsigned long long)s.generated_tokens,
            s.generation_seconds > 0 ? (double)s.generated_tokens / s.generation_seconds : 0.0,
            c->engine.load_seconds, (double)s.device_bytes / 1e6, cli_kv_name(s.kv),
            (double)s.kv_bytes / 1e6);
    return -1;
}

static int cmd_quit(struct chat *c, const char *argument)
{
    (void)c;
    (void)argument;
    return EXIT_DONE;
}

enum argument { NO_ARGUMENT, AN_ARGUMENT, MAYBE_AN_ARGUMENT };

static const struct {
    const char *name, *argument_name;
    enum argument argument;
    int (*run)(struct chat *c, const char *argument);
    const char *summary;
} commands[] = {
    {"/help", "", NO_ARGUMENT, cmd_help, "this list"},
    {"/reset", "", NO_ARGUMENT, cmd_reset, "begin anew; the system prompt stays"},
    {"/undo", "", NO_ARGUMENT, cmd_undo, "take back the last turn"},
    {"/retry", "", NO_ARGUMENT, cmd_retry, "answer the last message again"},
    {"/system", "[TEXT]", MAYBE_AN_ARGUMENT, cmd_system, "set the system prompt, or have none"},
    {"/save", "FILE", AN_ARGUMENT, cmd_save, "write the conversation to a file, as JSON"},
    {"/load", "FILE", AN_ARGUMENT, cmd_load, "go on with a saved conversation"},
    {"/stats", "", NO_ARGUMENT, cmd_stats, "tokens, speed and memory"},
    {"/quit", "", NO_ARGUMENT, cmd_quit, "leave, as Ctrl-D does"},
};

void chat_print_commands(void)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(stderr, "  %-8s%-7s %s\n", commands[i].name, commands[i].argument_name,
                commands[i].summary);
    fputs("A line that ends in \\ goes on in the next. // begins a message with a slash.\n"
          "Ctrl-C stops an answer; twice, it leaves.\n",
          stderr);
}

int chat_command(struct chat *c, char *line)
{
    size_t n = strcspn(line, " \t\r\n");
    char *argument = line + n + strspn(line + n, " \t\r\n");
    for (size_t end = strlen(argument); end > 0 && strchr(" \t\r\n", argument[end - 1]); end--)
        argument[end - 1] = '\0';
    line[n] = '\0';
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(line, commands[i].name) != 0)
            continue;
        if (commands[i].argument == NO_ARGUMENT && *argument) {
            cli_note("%s: '%s' is too much; it takes nothing", line, argument);
            return chat_failed(c);
        }
        if (commands[i].argument == AN_ARGUMENT && !*argument) {
            cli_note("%s: a %s is needed after it", line, commands[i].argument_name);
            return chat_failed(c);
        }
        return commands[i].run(c, argument);
    }
    cli_note("there is no command '%s'; /help lists them", line);
    return chat_failed(c);
}
