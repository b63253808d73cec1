#include "base/utf8.h"

#include <string.h>
#include <utf8proc.h>

/* The bytes of the character that text begins with, or 0 where it is malformed. */
static size_t read_character(const char *text, size_t size, utf8proc_int32_t *c)
{
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, c);
    return n > 0 ? (size_t)n : 0;
}

size_t vkm_utf8_check(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        size_t n = (unsigned char)text[at] < 0x80 ? 1 : read_character(text + at, size - at, &c);
        if (n == 0)
            return at;
        at += n;
    }
    return size;
}

static bool moves_the_cursor(utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return false;
    }
}

void vkm_utf8_make_printable(char *text)
{
    size_t size = strlen(text);
    char *to = text;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t c;
        size_t n = read_character(text + at, size - at, &c);
        if (n == 0 || moves_the_cursor(c)) {
            *to++ = '?';
        } else {
            memmove(to, text + at, n);
            to += n;
        }
        at += n ? n : 1;
    }
    *to = '\0';
}

void vkm_utf8_finish(char *text, size_t size, int length)
{
    static const char cut[] = "...";
    if (length < 0)
        text[0] = '\0';
    if (length >= 0 && (size_t)length >= size) {
        size_t at = size - sizeof(cut), lowest = at > 3 ? at - 3 : 0; /* no character is longer */
        while (at > lowest && ((unsigned char)text[at] & 0xc0u) == 0x80u)
            at--;
        memcpy(text + at, cut, sizeof(cut));
    }
    vkm_utf8_make_printable(text);
}
