/* Conversations in JSON files. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conversation.h"
#include "messages.h"

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

/* A pipe or device has no disk to be brought to. */
static bool synced(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
}

/* Fills the file behind fd, and closes it. */
static bool write_json(int fd, const json_t *root)
{
    FILE *file = fdopen(fd, "wb");
    if (!file) {
        close(fd);
        return false;
    }
    bool good = json_dumpf(root, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF &&
                fflush(file) == 0 && synced(fd);
    int error = errno;
    good = fclose(file) == 0 && good;
    errno = good ? errno : error ? error : EIO;
    return good;
}

/* Puts a new file in the place of the one at `path`, with its access, whole or not at all. */
static bool replace(const char *path, const struct stat *existing, const json_t *root)
{
    size_t size = strlen(path) + sizeof(".XXXXXX");
    char *temporary = malloc(size);
    if (!temporary)
        return false;
    snprintf(temporary, size, "%s.XXXXXX", path);
    int fd = mkstemp(temporary);
    bool good = fd >= 0 && (!existing || fchmod(fd, existing->st_mode & 07777) == 0);
    if (good)
        good = write_json(fd, root);
    else if (fd >= 0)
        close(fd);
    good = good && rename(temporary, path) == 0;
    int error = errno;
    if (!good && fd >= 0)
        unlink(temporary);
    free(temporary);
    errno = error;
    return good;
}

static bool replace_target(const char *path, const struct stat *existing, const json_t *root)
{
    char *target = realpath(path, NULL);
    bool good = target && replace(target, existing, root);
    int error = errno;
    free(target);
    errno = error;
    return good;
}

/* stdout or stderr where this is the file that it goes to, under whatever name; else -1. */
static int standard_file(const struct stat *existing)
{
    struct stat st;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fstat(fd, &st) == 0 && st.st_dev == existing->st_dev && st.st_ino == existing->st_ino)
            return fd;
    }
    return -1;
}

/* A regular file is replaced, where a link leads too. What cannot be is written to: pipes, devices,
 * a file that is being printed to, and one that a link names but that is not there yet. */
static bool write_to(const char *path, const json_t *root)
{
    struct stat existing, link;
    int fd;
    if (stat(path, &existing) == 0) {
        int standard = standard_file(&existing);
        if (standard < 0 && S_ISREG(existing.st_mode))
            return replace_target(path, &existing, root);
        fd = standard >= 0 ? dup(standard) : open(path, O_WRONLY | O_CLOEXEC);
    } else if (lstat(path, &link) != 0) {
        return replace(path, NULL, root);
    } else {
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    }
    return fd >= 0 && write_json(fd, root);
}

bool conversation_save(const struct conversation *c, const char *path)
{
    json_t *root = to_json(c);
    if (!root) {
        cli_note("%s: host memory ran out for a conversation of %zu messages", path, c->count);
        return false;
    }
    bool good = write_to(path, root);
    if (!good)
        cli_note("%s: the conversation cannot be written: %s", path, strerror(errno));
    json_decref(root);
    return good;
}

/* --- loading --- */

static bool complain(const char *path, size_t index, const char *what)
{
    cli_note("%s: message %zu %s", path, index + 1, what);
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

/* The JSON in a file; NULL after saying why there is none. */
static json_t *read_json(const char *path)
{
    json_error_t error;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        cli_note("%s: this is a folder, expected a file that /save wrote", path);
        return NULL;
    }
    json_t *root = json_load_file(path, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!root && error.line < 0)
        cli_note("%s: cannot be read: %s", path, strerror(errno));
    else if (!root)
        cli_note("%s: line %d: %s", path, error.line, error.text);
    return root;
}

bool conversation_load(struct conversation *c, const char *path)
{
    json_t *root = read_json(path);
    const json_t *list = json_object_get(root, "messages");
    struct conversation loaded = {0};
    bool good = json_is_array(list);
    if (root && !good)
        cli_note("%s: there is no list of messages in it", path);
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
