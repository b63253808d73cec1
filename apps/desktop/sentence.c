#include "sentence.h"

#include <string.h>

char *moe_sentence(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    size_t word = strspn(valid, "abcdefghijklmnopqrstuvwxyz");
    char *sentence = g_strconcat(valid, g_str_has_suffix(valid, ".") ? "" : ".", NULL);
    if (word > 0 && valid[word] == ' ')
        sentence[0] = g_ascii_toupper(sentence[0]);
    return sentence;
}
