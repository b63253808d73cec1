/* Tokenizers and text. An input is a tokenizer.json, a text to be encoded and, if there is more, a
 * tokenizer_config.json, with a zero byte between. */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "text/pretokenizer_steps.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#define TEXT_LIMIT 512u /* bytes: a pattern may take time that grows with its square */

static bool spells_itself(const vkmoe_tokenizer *t, const struct vkm_added *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct vkm_added_token *token = &set->items[i];
        if (token->lstrip || token->rstrip || !t->vocab.tokens[token->id].literal)
            return false;
    }
    return true;
}

/* Whether the ids of a text must give it back: nothing changes, drops or replaces a byte of it. */
static bool keeps_text(const vkmoe_tokenizer *t)
{
    for (size_t i = 0; i < t->pretokenizer->count; i++) {
        const struct vkm_split *step = &t->pretokenizer->items[i];
        if (!step->code || step->behaviour == VKM_SPLIT_REMOVED)
            return false;
    }
    return t->normalizer.options == 0 && t->bpe.unknown < 0 && spells_itself(t, &t->raw) &&
           spells_itself(t, &t->normalized);
}

static void check_encoding(const vkmoe_tokenizer *t, const char *text, size_t size)
{
    vkmoe_error err = {VKMOE_OK, ""};
    int32_t *ids = NULL;
    char *bytes = NULL;
    size_t count = 0, decoded = 0;
    vkmoe_status status = vkmoe_tokenizer_encode(t, text, size, true, &ids, &count, &err);
    fuzz_check_outcome(status, &err);
    if (vkm_utf8_check(text, size) < size)
        FUZZ_CHECK(status == VKMOE_BAD_FORMAT);
    if (status != VKMOE_OK)
        return;
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < vkmoe_tokenizer_size(t));
    size_t bos = count > 0 && t->add_bos && t->bos >= 0;
    const int32_t *first = bos ? ids + 1 : ids;
    FUZZ_CHECK(vkmoe_tokenizer_decode(t, first, count - bos, true, &bytes, &decoded, &err) ==
               VKMOE_OK);
    FUZZ_CHECK(bytes[decoded] == '\0');
    if (keeps_text(t) && !bos)
        FUZZ_CHECK(decoded == size && memcmp(bytes, text, size) == 0);
    vkmoe_tokenizer_free(t, bytes);
    vkmoe_tokenizer_free(t, ids);
}

/* Any numbers may be asked for, and any bytes may come back. */
static void check_decoding(const vkmoe_tokenizer *t, const char *text, size_t size)
{
    int32_t ids[TEXT_LIMIT];
    char *bytes = NULL;
    size_t decoded = 0;
    vkmoe_error err = {VKMOE_OK, ""};
    for (size_t i = 0; i < size; i++)
        ids[i] = (signed char)text[i];
    fuzz_check_outcome(vkmoe_tokenizer_decode(t, ids, size, false, &bytes, &decoded, &err), &err);
    vkmoe_tokenizer_free(t, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *input = (const char *)data;
    size_t json = size ? strnlen(input, size) : 0;
    const char *text = json < size ? input + json + 1 : input + size;
    size_t text_size = strnlen(text, size - (size_t)(text - input));
    const char *config = text + text_size;
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_tokenizer *t = NULL;
    fuzz_write("tokenizer.json", input, json);
    if (config < input + size)
        fuzz_write("tokenizer_config.json", config + 1, (size_t)(input + size - config) - 1);
    else
        remove(fuzz_path("tokenizer_config.json"));
    fuzz_check_outcome(vkmoe_tokenizer_load(fuzz_folder(), NULL, &t, &err), &err);
    if (!t)
        return 0;
    text_size = text_size < TEXT_LIMIT ? text_size : TEXT_LIMIT;
    check_encoding(t, text, text_size);
    check_decoding(t, text, text_size);
    vkmoe_tokenizer_destroy(t);
    return 0;
}
