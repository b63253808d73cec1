/* Files that are written piece by piece, and appear whole or not at all. */
#ifndef VKMOE_CLI_OUTPUT_H
#define VKMOE_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cli_file {
    const char *path;      /* the caller's; NULL: stdout, where every piece is seen at once */
    char *target, *beside; /* behind links, and what takes its place; NULL: it is no regular file */
    FILE *stream;
    int error; /* errno of the first write that failed */
};

/* Returns an exit code, after saying why; then there is nothing to be closed. */
int cli_file_open(struct cli_file *f, const char *path);
/* False where this or a write before it failed, which cli_file_commit says. */
bool cli_file_write(struct cli_file *f, const char *data, size_t size);
/* Puts the file in its place; the exit code. */
int cli_file_commit(struct cli_file *f);
/* Drops it; accepts one that is zeroed or was committed. */
void cli_file_abort(struct cli_file *f);

#endif
