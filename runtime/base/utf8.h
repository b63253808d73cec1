/* UTF-8: checking it, and making text from anywhere fit to be shown. */
#ifndef VKM_UTF8_H
#define VKM_UTF8_H

#include "base/base.h"

/* The byte offset of the first malformed sequence, or `size` where there is none. */
size_t vkm_utf8_check(const char *text, size_t size);

/* Makes zero-terminated text valid UTF-8 on one line, in place: each control character, line
 * separator and malformed byte becomes '?'. Never longer than before. */
void vkm_utf8_make_printable(char *text);

/* Completes what vsnprintf put into `size` bytes of text, returning `length`: text that did not fit
 * ends in "..." between two characters, and all of it is made printable. */
void vkm_utf8_finish(char *text, size_t size, int length);

#endif
