/* The byte-level alphabet: every byte has a printable character of its own, so that a vocabulary of
 * byte strings can be written as text. */
#ifndef VKM_TEXT_BYTE_LEVEL_H
#define VKM_TEXT_BYTE_LEVEL_H

#include "base/base.h"

/* Printable Latin-1 stands for itself; the other bytes follow from U+0100 in ascending order. */
static inline uint32_t vkm_byte_char(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7f && byte <= 0xa0)
        return 0x121u + byte - 0x7fu;
    return byte == 0xad ? 0x143u : byte;
}

/* The byte of a character, or -1 for a character outside the alphabet. */
static inline int vkm_char_byte(uint32_t c)
{
    if (c >= 0x100 && c <= 0x120)
        return (int)(c - 0x100);
    if (c >= 0x121 && c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    if (c == 0x143)
        return 0xad;
    return c > 0xff || c <= 0x20 || c == 0xad || (c >= 0x7f && c <= 0xa0) ? -1 : (int)c;
}

/* Writes a byte's character as UTF-8 (one or two bytes) and returns where the next one goes. */
static inline char *vkm_byte_level_put(char *out, unsigned char byte)
{
    uint32_t c = vkm_byte_char(byte);
    if (c < 0x80) {
        *out++ = (char)c;
    } else {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Takes the byte whose character begins at text[*at] and moves *at past it; -1 for a character
 * outside the alphabet. text is valid UTF-8. */
static inline int vkm_byte_level_take(const char *text, size_t size, size_t *at)
{
    uint32_t c = (unsigned char)text[*at];
    if (c >= 0x80) {
        if (c >= 0xe0 || *at + 1 >= size)
            return -1;
        c = (c & 0x1f) << 6 | ((unsigned char)text[++*at] & 0x3f);
    }
    ++*at;
    return vkm_char_byte(c);
}

#endif
