#include "kept.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t kept_hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

bool kept_read(const char *path, json_t **root)
{
    char *text;
    size_t size;
    json_error_t error;
    *root = NULL;
    if (access(path, F_OK) != 0)
        return true;
    if (!cli_read_all(path, &text, &size))
        return false;
    *root = json_loadb(text, size, 0, &error);
    free(text);
    if (!*root)
        cli_fail("%s: not JSON (%s), expected a measurement kept by --resume", path, error.text);
    return *root != NULL;
}

bool kept_same(const char *path, const json_t *root, const char *key, const char *wanted)
{
    const char *value = json_string_value(json_object_get(root, key));
    if (value && strcmp(value, wanted) == 0)
        return true;
    cli_fail("%s: '%s' is %.200s, expected %.200s: it belongs to another measurement", path, key,
             value ? value : "not there", wanted);
    return false;
}

bool kept_same_number(const char *path, const json_t *root, const char *key, json_int_t wanted)
{
    const json_t *value = json_object_get(root, key);
    if (json_is_integer(value) && json_integer_value(value) == wanted)
        return true;
    cli_fail("%s: '%s' is not %" JSON_INTEGER_FORMAT ": it belongs to another measurement", path,
             key, wanted);
    return false;
}

int kept_write(const char *path, const json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    int code = text ? cli_write_file(path, text, strlen(text))
                    : cli_fail("--resume: the measurement cannot be put as JSON for %s", path);
    free(text);
    return code;
}
