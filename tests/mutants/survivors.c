#include "survivors.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char separator[] = " -- ", equivalent[] = "equivalent: ";
static const char undetectable[] = "undetectable: ";

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void add(struct survivors *s, char *line)
{
    char *reason = strstr(line, separator);
    if (!reason || !reason[strlen(separator)])
        fail_msg("survivors.txt: a line without a reason: %s", line);
    *reason = '\0';
    reason += strlen(separator);
    if (!starts_with(reason, equivalent) && !starts_with(reason, undetectable))
        fail_msg("survivors.txt: neither equivalent nor undetectable: %s", line);
    s->names = realloc(s->names, (s->count + 1) * sizeof(*s->names));
    s->reasons = realloc(s->reasons, (s->count + 1) * sizeof(*s->reasons));
    assert_true(s->names && s->reasons);
    s->names[s->count] = strdup(line);
    s->reasons[s->count] = strdup(reason);
    assert_true(s->names[s->count] && s->reasons[s->count]);
    s->count++;
}

void survivors_load(struct survivors *s)
{
    char line[2048];
    FILE *file = fopen(VKMOE_SOURCE "/tests/mutants/survivors.txt", "r");
    *s = (struct survivors){.count = 0};
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] && line[0] != '#')
            add(s, line);
    }
    fclose(file);
}

void survivors_free(struct survivors *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        free(s->names[i]);
        free(s->reasons[i]);
    }
    free(s->names);
    free(s->reasons);
}

static unsigned find(const struct survivors *s, const char *name)
{
    unsigned i = 0;
    while (i < s->count && strcmp(s->names[i], name) != 0)
        i++;
    return i;
}

bool survivors_have(const struct survivors *s, const char *name)
{
    return find(s, name) < s->count;
}

bool survivors_equivalent(const struct survivors *s, const char *name)
{
    unsigned i = find(s, name);
    return i < s->count && starts_with(s->reasons[i], equivalent);
}
