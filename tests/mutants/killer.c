#include "killer.h"

#include <stdio.h>
#include <string.h>

#define CASE_MARK "), case "

/* text[0 .. n) up to the first of `ends`; false if that is not there or does not fit. */
static bool take(char *to, size_t size, const char *text, size_t n, const char *ends)
{
    size_t length = 0;
    while (length < n && !strchr(ends, text[length]))
        length++;
    if (length == n || length >= size)
        return false;
    memcpy(to, text, length);
    to[length] = '\0';
    return true;
}

static const char *find(const char *text, size_t n, const char *what)
{
    size_t length = strlen(what);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(text + i, what, length) == 0)
            return text + i;
    return NULL;
}

bool killer_read(struct killer *killer, const char *text, size_t n)
{
    const char *end = text + n, *mark = find(text, n, CASE_MARK), *open = mark;
    if (!mark)
        return false;
    while (open > text && *open != '(')
        open--;
    if (open - text < 2)
        return false;
    const char *kernel = open - 1; /* the space behind it */
    while (kernel > text && kernel[-1] != ' ')
        kernel--;
    const char *path = find(open, (size_t)(mark - open), ", ");
    const char *name = mark + strlen(CASE_MARK);
    return path && take(killer->kernel, sizeof(killer->kernel), kernel, n, " ") &&
           take(killer->dtype, sizeof(killer->dtype), open + 1, (size_t)(end - open - 1), ",") &&
           take(killer->path, sizeof(killer->path), path + 2, (size_t)(end - path - 2), " )") &&
           take(killer->name, sizeof(killer->name), name, (size_t)(end - name), ":");
}

const char *log_find(const char *log, const char *name)
{
    char field[2048];
    snprintf(field, sizeof(field), "\t%s\t", name);
    const char *line = log ? strstr(log, field) : NULL;
    while (line && line > log && line[-1] != '\n')
        line--;
    return line;
}

bool log_says(const char *line, const char *how)
{
    return strncmp(line, how, strlen(how)) == 0;
}

bool log_killer(const char *line, struct killer *killer)
{
    const char *words = strchr(line, '\t'); /* how, seconds, name, words */
    for (int i = 0; words && i < 2; i++)
        words = strchr(words + 1, '\t');
    return words && log_says(line, "killed") &&
           killer_read(killer, words + 1, strcspn(words + 1, "\n"));
}
