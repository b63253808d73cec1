/* Measurements that --resume keeps in a file, as JSON, and goes on from. */
#ifndef VKMOE_CLI_KEPT_H
#define VKMOE_CLI_KEPT_H

#include "cli.h"

/* FNV-1a over bytes, continuing from `hash`, which begins as KEPT_HASH_INIT. */
#define KEPT_HASH_INIT 0xcbf29ce484222325u
uint64_t kept_hash(uint64_t hash, const void *bytes, size_t size);

/* What the file holds, to be released; NULL where there is none. False after saying why not. */
bool kept_read(const char *path, json_t **root);
/* Whether a key has the value that this measurement has; false after saying that it has not. */
bool kept_same(const char *path, const json_t *root, const char *key, const char *wanted);
bool kept_same_number(const char *path, const json_t *root, const char *key, json_int_t wanted);
/* Writes it, whole or not at all; NULL: memory ran out. Returns an exit code. */
int kept_write(const char *path, const json_t *root);

#endif
