/* Conversations in JSON files. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conversation.h"

static const char *const role_names[] = {
    [VKMOE_CHAT_SYSTEM] = "system",
    [VKMOE_CHAT_USER] = "user",
    [VKMOE_CHAT_ASSISTANT] = "assistant",
};

/* --- saving --- */

static json_t *to_json(const struct conversation *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const vkmoe_chat_message *m = &c->items[i];
        json_t *entry = json_pack("{s:s, s:o}", "role", role_names[m->role], "content",
                                  json_stringn(m->text, m->size));
        if (json_array_append_new(list, entry) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list ? json_pack("{s:o}", "messages", list) : NULL;
}

/* Fills the new file behind fd, and closes it. */
static bool write_json(int fd, const json_t *root)
{
    FILE *file = fdopen(fd, "wb");
    if (!file) {
        close(fd);
        return false;
    }
    bool good = json_dumpf(root, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF &&
                fflush(file) == 0 && fsync(fd) == 0;
    int error = errno;
    good = fclose(file) == 0 && good;
    errno = good ? errno : error ? error : EIO;
    return good;
}

bool conversation_save(const struct conversation *c, const char *path)
{
    size_t size = strlen(path) + sizeof(".XXXXXX");
    char *temporary = malloc(size);
    json_t *root = to_json(c);
    if (!temporary || !root) {
        fprintf(stderr, "vkmoe: %s: host memory ran out for a conversation of %zu messages\n", path,
                c->count);
        free(temporary);
        json_decref(root);
        return false;
    }
    snprintf(temporary, size, "%s.XXXXXX", path);
    int fd = mkstemp(temporary);
    bool written = fd >= 0 && write_json(fd, root);
    bool good = written && rename(temporary, path) == 0;
    if (!good) {
        fprintf(stderr, "vkmoe: %s: the conversation cannot be written: %s\n", path,
                strerror(errno));
        if (fd >= 0)
            unlink(temporary);
    }
    free(temporary);
    json_decref(root);
    return good;
}

/* --- loading --- */

static bool complain(const char *path, size_t index, const char *what)
{
    fprintf(stderr, "vkmoe: %s: message %zu %s\n", path, index + 1, what);
    return false;
}

static bool take_message(struct conversation *c, const json_t *entry, const char *path)
{
    size_t index = c->count;
    const json_t *content = json_object_get(entry, "content");
    const char *role = json_string_value(json_object_get(entry, "role"));
    if (!role || !json_is_string(content))
        return complain(path, index, "has no role and content that are strings");
    vkmoe_chat_message m = {.text = json_string_value(content),
                            .size = json_string_length(content)};
    bool system = index == 0 && strcmp(role, role_names[VKMOE_CHAT_SYSTEM]) == 0;
    size_t turn = index - (c->has_system ? 1 : 0);
    m.role = system ? VKMOE_CHAT_SYSTEM : turn % 2 == 0 ? VKMOE_CHAT_USER : VKMOE_CHAT_ASSISTANT;
    if (strcmp(role, role_names[m.role]) != 0)
        return complain(path, index,
                        m.role == VKMOE_CHAT_USER ? "is not of the user, whose turn it is"
                                                  : "is not of the assistant, whose turn it is");
    if (!conversation_add(c, &m))
        return complain(path, index, "finds no host memory");
    c->has_system = c->has_system || system;
    return true;
}

bool conversation_load(struct conversation *c, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    const json_t *list = json_object_get(root, "messages");
    struct conversation loaded = {0};
    bool good = json_is_array(list);
    if (!root && error.line < 0)
        fprintf(stderr, "vkmoe: %s: cannot be read: %s\n", path, strerror(errno));
    else if (!root)
        fprintf(stderr, "vkmoe: %s: line %d: %s\n", path, error.line, error.text);
    else if (!good)
        fprintf(stderr, "vkmoe: %s: there is no list of messages in it\n", path);
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = take_message(&loaded, json_array_get(list, i), path);
    json_decref(root);
    if (!good) {
        conversation_finish(&loaded);
        return false;
    }
    conversation_finish(c);
    *c = loaded;
    return true;
}
