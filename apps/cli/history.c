#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <editline/readline.h>

#include "messages.h"

#define HISTORY_LINES 1000

/* Makes the folders that lead to the file; false with errno set. */
static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

/* $XDG_STATE_HOME/vkmoe/history; NULL where no folder for it is known. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool absolute = state && state[0] == '/'; /* others are to be ignored */
    if (!absolute && (!home || !*home))
        return NULL;
    const char *base = absolute ? state : home;
    const char *rest = absolute ? "/vkmoe/history" : "/.local/state/vkmoe/history";
    size_t size = strlen(base) + strlen(rest) + 1;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s%s", base, rest);
    return path;
}

/* The file, opened and locked: other chats read and write it too. -1 with errno set. What was typed
 * is nobody else's business. */
static int lock(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int error;
    if (fd < 0)
        return -1;
    do {
        error = flock(fd, LOCK_EX) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}

/* Reads all of the file, and shortens it when it has grown to twice what is kept. An errno. */
static int read_and_shorten(const char *path)
{
    int fd = lock(path, O_RDWR);
    if (fd < 0)
        return errno;
    struct stat st;
    int error = fstat(fd, &st) == 0 && st.st_size > 0 ? read_history(path) : 0;
    bool long_file = history_length > 2 * HISTORY_LINES;
    stifle_history(HISTORY_LINES);
    if (error == 0 && long_file)
        error = write_history(path);
    close(fd);
    return error;
}

char *history_open(void)
{
    char *path = history_path();
    using_history();
    int error = path ? read_and_shorten(path) : 0;
    stifle_history(HISTORY_LINES);
    if (error == 0 || error == ENOENT)
        return path;
    cli_note("%s: the history cannot be read: %s", path, strerror(error));
    free(path);
    return NULL;
}

/* One line as the line editor's library keeps it: heading, and what is not graphic in octal. (Its
 * append_history writes the line before, too.) */
static int write_line(int fd, const char *line)
{
    FILE *file = fdopen(fd, "a");
    if (!file) {
        int error = errno;
        close(fd);
        return error;
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size == 0)
        fputs("_HiStOrY_V2_\n", file);
    for (const char *p = line; *p; p++) {
        if (*p > ' ' && *p < 0x7f && *p != '\\')
            fputc(*p, file);
        else
            fprintf(file, "\\%03o", (unsigned)(unsigned char)*p);
    }
    fputc('\n', file);
    bool good = !ferror(file);
    return fclose(file) == 0 && good ? 0 : errno ? errno : EIO;
}

static int append(char *path, const char *line)
{
    if (!make_folders(path))
        return errno;
    int fd = lock(path, O_RDWR | O_CREAT | O_APPEND);
    return fd < 0 ? errno : write_line(fd, line);
}

char *history_add(char *file, const char *line)
{
    const HIST_ENTRY *last = history_get(history_base + history_length - 1);
    if (!*line || (last && strcmp(last->line, line) == 0))
        return file;
    add_history(line);
    int error = file ? append(file, line) : 0;
    if (error == 0)
        return file;
    cli_note("%s: the history cannot be written: %s", file, strerror(error));
    free(file);
    return NULL;
}

void history_close(char *file)
{
    clear_history();
    free(file);
}
