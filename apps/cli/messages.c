#include "messages.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* What the user typed may hold anything, but the terminal gets one line: each byte that is
 * malformed or part of a control character becomes '?'. */
static void make_printable(char *text)
{
    size_t size = strlen(text), kept = 0;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(size - at), &c);
        bool good = n > 0 && utf8proc_category(c) != UTF8PROC_CATEGORY_CC;
        size_t used = n > 0 ? (size_t)n : 1;
        if (good)
            memmove(text + kept, text + at, used);
        else
            text[kept] = '?';
        kept += good ? used : 1;
        at += used;
    }
    text[kept] = '\0';
}

/* In one piece, as threads may have something to say at the same time. */
static void print_sentence(const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) {
        vsnprintf(text, (size_t)length + 1, format, again);
        make_printable(text);
    }
    fprintf(stderr, "vkmoe: %s\n", text ? text : format);
    free(text);
    va_end(again);
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_sentence(format, args);
    va_end(args);
    return EXIT_USAGE;
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_sentence(format, args);
    va_end(args);
    return EXIT_FAILED;
}

int cli_failed(const vkmoe_error *err)
{
    return cli_fail("%s", err->message);
}

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_sentence(format, args);
    va_end(args);
}

bool cli_check_utf8(const char *where, const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                              (utf8proc_ssize_t)(size - at), &c);
        if (n <= 0) {
            cli_fail("%s: the text is not UTF-8 at byte offset %zu", where, at);
            return false;
        }
        at += (size_t)n;
    }
    return true;
}
