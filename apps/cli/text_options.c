#include "text_options.h"

#include <stdio.h>
#include <unistd.h>

int cli_text_option(struct cli_text_options *t, struct cli_common *common, int option,
                    const char *help)
{
    switch (option) {
    case 'f':
        t->file = optarg;
        return *optarg ? -1 : cli_usage("-f: an empty name is no file");
    case 'c':
        return cli_parse_context(optarg, common) ? -1 : EXIT_USAGE;
    case CLI_OPTION_JSON:
        t->as_json = true;
        return -1;
    case CLI_OPTION_CSV:
        t->as_csv = true;
        return -1;
    default:
        return cli_common_option(common, option, help);
    }
}

int cli_text_check(const struct cli_text_options *t, const char *command)
{
    if (t->as_json && t->as_csv)
        return cli_usage("%s: --json and --csv exclude each other", command);
    return -1;
}

int cli_text_check_file(const struct cli_text_options *t, const char *command, int argc,
                        char **argv)
{
    if (optind < argc)
        return cli_usage("%s: '%s' is not an option; a text goes after -f", command, argv[optind]);
    if (!t->file)
        return cli_usage("%s: a text is needed, with -f FILE", command);
    return cli_text_check(t, command);
}

void cli_text_show(struct cli_text_progress *p, const char *what, uint64_t done, uint64_t total,
                   const char *unit)
{
    double now = cli_now();
    if (p->start == 0) {
        p->start = now;
        p->from = done;
    }
    if (!isatty(STDERR_FILENO) || (done < total && now - p->shown < 0.1))
        return;
    p->shown = now;
    fprintf(stderr, "\r\033[K%s: %llu of %llu %s", what, (unsigned long long)done,
            (unsigned long long)total, unit);
    if (done > p->from && now > p->start)
        fprintf(stderr, ", %.0f s left",
                (now - p->start) * (double)(total - done) / (double)(done - p->from));
}
