/* What the files of `vkmoe conform` share. */
#ifndef VKMOE_CLI_CONFORM_H
#define VKMOE_CLI_CONFORM_H

#include "cli.h"
#include "conform_report.h"

/* A summary leaves out times, errors by size, and cases that passed and measured nothing. */
enum conform_detail { CONFORM_EVERY_CASE, CONFORM_SUMMARY };

/* Returns an exit code, after saying why. */
int conform_write_json(const struct conform_report *r, enum conform_detail detail,
                       const char *path);

#endif
