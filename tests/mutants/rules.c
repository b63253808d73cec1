#include "rules.h"
#include "support.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* One source on its way through the rules. */
struct scan {
    struct mutants *list;
    size_t first; /* the list's first mutant of this source */
    unsigned file;
    const char *name, *source;
    char *code; /* the source with spaces for all that no rule may touch */
};

static bool is_ident(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* --- what is code --- */

static void blank(char *from, const char *to)
{
    for (; from < to; from++)
        if (*from != '\n')
            *from = ' ';
}

static void blank_comments(char *code)
{
    for (char *at = strstr(code, "/*"); at; at = strstr(at, "/*")) {
        char *end = strstr(at, "*/");
        assert_non_null(end);
        blank(at, end + 2);
    }
}

/* Address checking, which the modules that count do not have. */
static void blank_debug(char *code)
{
    for (char *at = strstr(code, "#ifdef VKM_DEBUG"); at; at = strstr(at, "#ifdef VKM_DEBUG")) {
        char *end = strstr(at, "\n#else"), *last = strstr(at, "\n#endif");
        assert_non_null(last);
        blank(at, end && end < last ? end : last);
    }
}

/* Lines that only declare: the size of shared memory or a default that the host overrides decides
 * nothing by itself, nor do the bytes of an access, which only address checking looks at. Of the
 * preprocessor's, only what #define stands for is code. */
static bool declares(const char *line)
{
    static const char *const words[] = {"layout(", "shared ", "VKM_LOAD(", "VKM_STORE("};
    line += strspn(line, " \t");
    if (line[0] == '#')
        return strncmp(line, "#define", 7) != 0;
    for (size_t i = 0; i < VKM_COUNT(words); i++)
        if (strncmp(line, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

static void blank_declarations(char *code)
{
    for (char *line = code; *line;) {
        char *end = line + strcspn(line, "\n");
        if (declares(line))
            blank(line, end);
        line = *end ? end + 1 : end;
    }
}

/* --- names --- */

/* Appends text[0 .. n) with runs of white space, and of a macro's line ends, as one space. */
static void append_squeezed(char **out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool gap = isspace((unsigned char)text[i]) || text[i] == '\\';
        if (!gap)
            *(*out)++ = text[i];
        else if ((*out)[-1] != ' ')
            *(*out)++ = ' ';
    }
}

static void end_squeezed(char **out)
{
    while ((*out)[-1] == ' ')
        --*out;
}

static char *make_name(const struct scan *s, const struct mutant *m, const char *rule)
{
    size_t begin = m->at, end = m->at + m->length;
    while (begin > 0 && s->source[begin - 1] != '\n')
        begin--;
    end += strcspn(s->source + end, "\n");
    char *name = malloc(2 * (end - begin) + strlen(m->text) + strlen(s->name) + strlen(rule) + 32);
    assert_non_null(name);
    char *out = name + sprintf(name, "%s: %s: ", s->name, rule);
    append_squeezed(&out, s->source + begin, end - begin);
    end_squeezed(&out);
    out += sprintf(out, " => ");
    append_squeezed(&out, s->source + begin, m->at - begin);
    append_squeezed(&out, m->text, strlen(m->text));
    append_squeezed(&out, s->source + m->at + m->length, end - m->at - m->length);
    end_squeezed(&out);
    *out = '\0';
    unsigned same = 1;
    for (size_t i = s->first; i < s->list->count; i++) {
        const char *other = s->list->items[i].name;
        size_t n = strlen(name);
        same += strncmp(other, name, n) == 0 && (!other[n] || strncmp(other + n, " (", 2) == 0);
    }
    if (same > 1)
        sprintf(out, " (%u)", same);
    return name;
}

static void add(struct scan *s, const char *rule, size_t at, size_t length, const char *text)
{
    struct mutants *list = s->list;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 256;
        list->items = realloc(list->items, list->capacity * sizeof(*list->items));
        assert_non_null(list->items);
    }
    struct mutant m = {.file = s->file, .at = at, .length = length, .text = strdup(text)};
    assert_non_null(m.text);
    m.name = make_name(s, &m, rule);
    list->items[list->count++] = m;
}

/* --- the rules: each looks at one place, and returns how far to go on --- */

/* A loop or guard `a < b` or `a >= b` that leaves out the last; not for floats. */
static void drop_tail(struct scan *s, size_t at, size_t length)
{
    const char *right = s->code + at + length;
    right += strspn(right, " -");
    size_t digits = strspn(right, "0123456789");
    if (!(digits > 0 && right[digits] == '.') && at > 0 && s->code[at - 1] == ' ')
        add(s, "tail", at - 1, 0, " + 1u");
}

static size_t comparison(struct scan *s, size_t at)
{
    static const struct {
        const char *is, *flipped, *edge;
        bool tail;
    } all[] = {
        {"<=", ">=", "<", false},  {">=", "<=", ">", true}, {"==", "!=", NULL, false},
        {"!=", "==", NULL, false}, {"<", ">", "<=", true},  {">", "<", ">=", false},
    };
    const char *c = s->code + at;
    if (strncmp(c, "<<", 2) == 0 || strncmp(c, ">>", 2) == 0)
        return 2;
    for (size_t i = 0; i < VKM_COUNT(all); i++) {
        size_t n = strlen(all[i].is);
        if (strncmp(c, all[i].is, n) != 0)
            continue;
        add(s, "flip", at, n, all[i].flipped);
        if (all[i].edge)
            add(s, "edge", at, n, all[i].edge);
        if (all[i].tail)
            drop_tail(s, at, n);
        return n;
    }
    return 1;
}

static size_t number(struct scan *s, size_t at)
{
    const char *c = s->code + at;
    char *end, text[32];
    unsigned long value = strtoul(c, &end, 0);
    if (*end == '.' || *end == 'e') {
        (void)strtod(c, &end);
        return (size_t)(end - c);
    }
    if (value == 1)
        value = 0;
    else
        value = (value + 1) & 0xffffffffu;
    bool hex = c[0] == '0' && c[1] == 'x';
    snprintf(text, sizeof(text), hex ? "0x%lx" : "%lu", value);
    add(s, "one", at, (size_t)(end - c), text);
    return (size_t)(end - c) + strspn(end, "uU");
}

static size_t word(struct scan *s, size_t at)
{
    static const struct {
        const char *rule, *is, *becomes;
    } all[] = {
        {"barrier", "barrier()", ""},
        {"tie", "min", "max"},
        {"tie", "max", "min"},
        {"tie", "group_min", "group_max"},
        {"tie", "group_max", "group_min"},
        {"flip", "lessThan", "greaterThan"},
        {"edge", "lessThan", "lessThanEqual"},
        {"flip", "greaterThanEqual", "lessThanEqual"},
        {"edge", "greaterThanEqual", "greaterThan"},
        {"flip", "equal", "notEqual"},
    };
    const char *c = s->code + at;
    size_t n = 0;
    while (is_ident(c[n]))
        n++;
    for (size_t i = 0; i < VKM_COUNT(all) && c[n] == '('; i++) {
        size_t m = strcspn(all[i].is, "(");
        if (m == n && strncmp(c, all[i].is, n) == 0)
            add(s, all[i].rule, at, strlen(all[i].is), all[i].becomes);
    }
    return n;
}

/* .x and .y, .z and .w, where they stand alone. A workgroup's size is no index: lanes that stride
 * by its y do each other's work over again. */
static void component(struct scan *s, size_t at)
{
    static const char size[] = "gl_WorkGroupSize";
    const char *c = s->code + at, *letter = strchr("xyxzwz", c[1]);
    if (at >= strlen(size) && strncmp(c - strlen(size), size, strlen(size)) == 0)
        return;
    if (at == 0 || !c[1] || !letter || is_ident(c[2]) || isspace((unsigned char)c[-1]))
        return;
    add(s, "swap", at + 1, 1, (char[]){letter[1], '\0'});
}

static size_t operand(const char *c)
{
    size_t n = 0;
    while (is_ident(c[n]) || (n > 0 && c[n] == '.'))
        n++;
    return c[n] == '(' && c[n + 1] == ')' ? n + 2 : n;
}

/* a * b + c at an operand's beginning: three plain operands, and nothing that binds tighter. */
static void strides(struct scan *s, size_t at)
{
    const char *c = s->code + at;
    size_t a = operand(c), b, d;
    if (a == 0 || strncmp(c + a, " * ", 3) != 0 || (b = operand(c + a + 3)) == 0 ||
        strncmp(c + a + 3 + b, " + ", 3) != 0 || (d = operand(c + a + b + 6)) == 0)
        return;
    size_t n = a + b + d + 6;
    bool binds = c[n] == '[' || c[n] == '(' || (c[n] == ' ' && c[n + 1] && strchr("*/%", c[n + 1]));
    if (binds || (at >= 2 && strchr("*/%", c[-2])))
        return;
    char text[256];
    snprintf(text, sizeof(text), "%.*s * %.*s + %.*s", (int)d, c + a + b + 6, (int)b, c + a + 3,
             (int)a, c);
    add(s, "swap", at, n, text);
}

/* sum += x; for a floating-point sum: others do not compile, and do not count. */
static void accumulator(struct scan *s, size_t at)
{
    size_t begin = at, end = at + 2;
    int depth = 0;
    while (begin > 0 && s->code[begin - 1] != '\n')
        begin--;
    begin += strspn(s->code + begin, " ");
    for (; s->code[end] && (s->code[end] != ';' || depth > 0); end++) {
        depth += (s->code[end] == '(') - (s->code[end] == ')');
        if (depth < 0)
            return;
    }
    size_t left = at - begin, right = end - at - 2;
    if (left == 0)
        return;
    char *text = malloc(2 * left + right + 96);
    assert_non_null(text);
    sprintf(text, "%.*s= uintBitsToFloat(floatBitsToUint(%.*s+ (%.*s)) & 0xffffe000u)", (int)left,
            s->code + begin, (int)left, s->code + begin, (int)right, s->code + at + 2);
    add(s, "narrow", begin, end - begin, text);
    free(text);
}

/* (a + b - 1) / b without the rounding up. */
static void round_up(struct scan *s, size_t at)
{
    const char *c = s->code + at, rest[] = " - 1u) / ";
    size_t n = operand(c + 3);
    if (n > 0 && strncmp(c + 3 + n, rest, strlen(rest)) == 0 &&
        strncmp(c + 3 + n + strlen(rest), c + 3, n) == 0)
        add(s, "tail", at, 3 + n + strlen(" - 1u"), "");
}

static size_t punctuation(struct scan *s, size_t at)
{
    const char *c = s->code + at;
    if (strchr("<>=!", c[0]))
        return comparison(s, at);
    if (c[0] == '.')
        component(s, at);
    if (strncmp(c, " + ", 3) == 0)
        round_up(s, at);
    if (strncmp(c, " / ", 3) == 0)
        add(s, "swap", at + 1, 1, "%");
    if (strncmp(c, " % ", 3) == 0)
        add(s, "swap", at + 1, 1, "/");
    if (strncmp(c, "+=", 2) == 0)
        accumulator(s, at);
    return strchr("+-*/%&|^", c[0]) && c[1] == '=' ? 2 : 1;
}

void mutants_add(struct mutants *list, unsigned file, const char *name, const char *source)
{
    struct scan s = {list, list->count, file, name, source, strdup(source)};
    assert_non_null(s.code);
    blank_comments(s.code);
    blank_debug(s.code);
    blank_declarations(s.code);
    for (size_t at = 0; s.code[at];) {
        char c = s.code[at];
        bool starts = at == 0 || (!is_ident(s.code[at - 1]) && s.code[at - 1] != '.');
        if (starts && is_ident(c))
            strides(&s, at);
        if (starts && isdigit((unsigned char)c))
            at += number(&s, at);
        else if (is_ident(c))
            at += word(&s, at);
        else
            at += punctuation(&s, at);
    }
    free(s.code);
}

char *mutant_source(const struct mutant *m, const char *source)
{
    size_t n = strlen(source), added = strlen(m->text);
    char *changed = malloc(n + added - m->length + 1);
    assert_non_null(changed);
    memcpy(changed, source, m->at);
    memcpy(changed + m->at, m->text, added);
    memcpy(changed + m->at + added, source + m->at + m->length, n - m->at - m->length + 1);
    return changed;
}

void mutants_free(struct mutants *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].text);
    }
    free(list->items);
    *list = (struct mutants){0};
}
