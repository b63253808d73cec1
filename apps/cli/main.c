#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", cmd_run, "continue a prompt"},
    {"chat", cmd_chat, "talk with the model"},
    {"logits", cmd_logits, "write logits and routing to a file"},
    {"devices", cmd_devices, "list the Vulkan devices"},
    {"conform", cmd_conform, "test a device and its driver"},
    {"info", cmd_info, "shape, parameters, operations and bytes of a model"},
    {"plan", cmd_plan, "the memory that a model would take, before loading it"},
    {"quantize", cmd_quantize, "write a model with smaller weights"},
    {"bench", cmd_bench, "how fast a model runs"},
    {"perplexity", cmd_perplexity, "how well a model predicts a text"},
    {"balance", cmd_balance, "how evenly a text uses the experts"},
    {"trace", cmd_trace, "which experts each token of a text chooses"},
    {"study", cmd_study, "what its experts are worth, by taking some away"},
    {"tokenize", cmd_tokenize, "text on stdin to token ids"},
    {"detokenize", cmd_detokenize, "token ids on stdin to text"},
};

static void print_help(FILE *to)
{
    fputs("usage: vkmoe COMMAND [OPTIONS]\n"
          "Runs DeepSeekMoE language models on any Vulkan 1.3 device.\n\n",
          to);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`vkmoe COMMAND --help` or `vkmoe help COMMAND` tells a command's options, and\n"
          "`vkmoe --version` which vkmoe this is.\n",
          to);
}

/* The next file to be opened would take the place of a standard one that is closed, and what is
 * printed would go there. What stands in for it refuses to be read or written. */
static void hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(EXIT_FAILED);
    }
}

/* The exit code of a command that ended with `code`: what it printed must have arrived. */
static int finish(int code)
{
    errno = 0;
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (!lost || code != EXIT_DONE)
        return code;
    return cli_fail("cannot write to stdout%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
}

/* The command that argv[0] names. */
static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[0], commands[i].name) == 0)
            return finish(commands[i].run(argc, argv));
    }
    return cli_usage("there is no command '%s'; `vkmoe --help` lists them", argv[0]);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("vkmoe %s\n", vkmoe_version());
        return finish(EXIT_DONE);
    }
    if (argc > 2 && strcmp(argv[1], "help") == 0) {
        char flag[] = "--help", *help[] = {argv[2], flag, NULL};
        return run_command(2, help);
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "--help") == 0) {
        print_help(stdout);
        return finish(EXIT_DONE);
    }
    return run_command(argc - 1, argv + 1);
}
