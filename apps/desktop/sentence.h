/* What the library says, as a sentence by itself. */
#ifndef MOE_SENTENCE_H
#define MOE_SENTENCE_H

#include <glib.h>

/* The library's sentences begin as a part of a longer one, with a word or with a name: the word
 * gets a capital, the end a full stop. UTF-8; to be freed. */
char *moe_sentence(const char *text);

#endif
