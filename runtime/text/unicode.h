/* What the matching of added tokens needs to know of characters. All text is valid UTF-8. */
#ifndef VKM_TEXT_UNICODE_H
#define VKM_TEXT_UNICODE_H

#include <utf8proc.h>

#include "base/utf8.h"

/* Bytes of the character that begins with `lead`. */
static inline size_t vkm_utf8_length(char lead)
{
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Where the character before text[at] begins; at > 0. */
static inline size_t vkm_utf8_previous(const char *text, size_t at)
{
    do
        at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

bool vkm_is_space(const char *character); /* White_Space */
bool vkm_is_word(const char *character);  /* letters, marks, digits, connectors, joiners */

#endif
