#include "text/gguf_tokenizer.h"

#include <inttypes.h>
#include <string.h>

#define PREFIX "tokenizer.ggml."

/* What becomes of a token, by its number in token_type. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,      /* marks structure */
    TOKEN_USER_DEFINED, /* text that is one token wherever it stands */
    TOKEN_UNUSED,       /* fills the vocabulary up to its size */
    TOKEN_BYTE,
};

/* What words are made of for deepseek-llm, as JSON: letters of scripts that have case, though not
 * all that Unicode has. */
#define WORD_LETTERS                                                                               \
    "A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf"                    \
    "\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376\\u0377\\u037b-\\u037d\\u037f"            \
    "\\u0386\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481"                   \
    "\\u048a-\\u052f\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd"                  \
    "\\u1c90-\\u1cba\\u1cbd-\\u1cbf\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a"                  \
    "\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59"           \
    "\\u1f5b\\u1f5d\\u1f5f-\\u1f7d\\u1f80-\\u1fb4\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4"            \
    "\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4"                  \
    "\\u1ff6-\\u1ffc\\u2102\\u2107\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126"             \
    "\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139\\u213c-\\u213f\\u2145-\\u2149\\u214e"            \
    "\\u2183\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee\\u2cf2\\u2cf3"                    \
    "\\ua640-\\ua66d\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e"                  \
    "\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a"                  \
    "\\ud801\\udc00-\\ud801\\udc4f\\ud801\\udcb0-\\ud801\\udcd3"                                   \
    "\\ud801\\udcd8-\\ud801\\udcfb\\ud803\\udc80-\\ud803\\udcb2"                                   \
    "\\ud803\\udcc0-\\ud803\\udcf2\\ud806\\udca0-\\ud806\\udcdf"                                   \
    "\\ud83a\\udd00-\\ud83a\\udd43"

/* Pre-tokenizers by the names that files give them, as tokenizer.json would spell them.
 * deepseek-llm splits at line ends, then words (WORD_LETTERS) and runs of punctuation, each with
 * one white space before it, then white space at line ends, then runs of CJK and some other
 * scripts, and makes every digit a piece. */
static const struct pre {
    const char *name, *json;
} pres[] = {
    {"deepseek-llm",
     "{\"type\":\"Sequence\",\"pretokenizers\":["
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[\\r\\n]\"},\"behavior\":\"Isolated\"},"
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s?[" WORD_LETTERS "]+\"},"
     "\"behavior\":\"Isolated\"},"
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s?[!-/:-~！-／：-～‘-‟\\u3000-。]+\"},"
     "\"behavior\":\"Isolated\"},"
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+$\"},\"behavior\":\"Isolated\"},"
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[一-龥ࠀ-一가-\\uD7FF]+\"},"
     "\"behavior\":\"Isolated\"},"
     "{\"type\":\"Digits\",\"individual_digits\":true},"
     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"},
    {"gpt-2", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"},
};
#define PRE_NAMES "deepseek-llm or gpt-2"

struct converter {
    struct vkm_json_source metadata;
    json_t *vocab, *added; /* of the tokenizer.json being made */
};

static vkmoe_status out_of_memory(const struct converter *c)
{
    return vkm_fail_memory(c->metadata.err, 0, c->metadata.file);
}

static vkmoe_status mismatch(const struct converter *c, vkmoe_status status, const char *key,
                             const char *expected)
{
    return vkm_json_mismatch(c->metadata.err, status, c->metadata.file, key,
                             vkm_json_get(&c->metadata, key), expected);
}

/* An array of the metadata. */
static vkmoe_status get_array(const struct converter *c, const char *key, const json_t **array)
{
    *array = vkm_json_get(&c->metadata, key);
    return json_is_array(*array) ? VKMOE_OK
                                 : mismatch(c, VKMOE_BAD_FORMAT, key, "an array of strings");
}

static vkmoe_status type_of(const struct converter *c, const json_t *types, size_t i,
                            json_int_t *type)
{
    const json_t *entry = json_array_get(types, i);
    *type = types ? json_integer_value(entry) : TOKEN_NORMAL;
    if (*type >= TOKEN_NORMAL && *type <= TOKEN_BYTE)
        return VKMOE_OK;
    return vkm_fail(c->metadata.err, VKMOE_BAD_FORMAT,
                    "%s: " PREFIX "token_type[%zu] is not an integer from %d to %d",
                    c->metadata.file, i, TOKEN_NORMAL, TOKEN_BYTE);
}

/* Added tokens stand for their own text, others for bytes spelt in the byte-level alphabet. */
static vkmoe_status add_token(struct converter *c, const json_t *token, size_t id, json_int_t type)
{
    const char *text = json_string_value(token);
    char printable[VKM_PRINTABLE_SIZE];
    bool added = type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED;
    if (!text)
        return vkm_fail(c->metadata.err, VKMOE_BAD_FORMAT,
                        "%s: " PREFIX "tokens[%zu] is not a string", c->metadata.file, id);
    if (type == TOKEN_UNUSED)
        return VKMOE_OK;
    if (added) {
        json_t *entry = json_pack("{s:I, s:O, s:b, s:b}", "id", (json_int_t)id, "content", token,
                                  "special", type == TOKEN_CONTROL, "normalized", 0);
        return entry && json_array_append_new(c->added, entry) == 0 ? VKMOE_OK : out_of_memory(c);
    }
    if (json_object_get(c->vocab, text))
        return vkm_fail(c->metadata.err, VKMOE_BAD_FORMAT,
                        "%s: " PREFIX "tokens[%zu] is \"%s\", which %" JSON_INTEGER_FORMAT
                        " is already",
                        c->metadata.file, id, vkm_printable(printable, text),
                        json_integer_value(json_object_get(c->vocab, text)));
    return json_object_set_new_nocheck(c->vocab, text, json_integer((json_int_t)id)) == 0
               ? VKMOE_OK
               : out_of_memory(c);
}

static vkmoe_status add_tokens(struct converter *c, const json_t *tokens)
{
    const json_t *types = vkm_json_get(&c->metadata, PREFIX "token_type");
    vkmoe_status status = VKMOE_OK;
    if (types && json_array_size(types) != json_array_size(tokens))
        return vkm_fail(c->metadata.err, VKMOE_BAD_FORMAT,
                        "%s: " PREFIX "token_type is no array of %zu integers, one for each of "
                        "the " PREFIX "tokens",
                        c->metadata.file, json_array_size(tokens));
    for (size_t i = 0; i < json_array_size(tokens) && status == VKMOE_OK; i++) {
        json_int_t type;
        status = type_of(c, types, i, &type);
        if (status == VKMOE_OK)
            status = add_token(c, json_array_get(tokens, i), i, type);
    }
    return status;
}

/* The steps of the pre-tokenizer; owned by the caller. */
static vkmoe_status find_pre(const struct converter *c, json_t **steps)
{
    static const char key[] = PREFIX "pre";
    const char *name = NULL;
    vkmoe_status status = vkm_json_get_string(&c->metadata, key, &name);
    if (status != VKMOE_OK)
        return status;
    for (size_t i = 0; i < VKM_COUNT(pres) && name; i++) {
        if (strcmp(name, pres[i].name) != 0)
            continue;
        *steps = json_loads(pres[i].json, 0, NULL);
        return *steps ? VKMOE_OK : out_of_memory(c);
    }
    return mismatch(c, VKMOE_UNSUPPORTED, key, PRE_NAMES);
}

static vkmoe_status make_root(struct converter *c, const json_t *tokens, json_t **root)
{
    const json_t *merges;
    json_t *steps = NULL;
    vkmoe_status status = get_array(c, PREFIX "merges", &merges);
    if (status == VKMOE_OK)
        status = find_pre(c, &steps);
    if (status != VKMOE_OK)
        return status;
    *root = json_pack("{s:{s:{}, s:O}, s:[], s:o}", "model", "vocab", "merges", merges,
                      "added_tokens", "pre_tokenizer", steps);
    if (!*root)
        return out_of_memory(c);
    c->vocab = json_object_get(json_object_get(*root, "model"), "vocab");
    c->added = json_object_get(*root, "added_tokens");
    return add_tokens(c, tokens);
}

/* Sets config[name] to the text of the token whose id is metadata[key]. */
static vkmoe_status name_token(const struct converter *c, const json_t *tokens, const char *key,
                               json_t *config, const char *name)
{
    int64_t id = -1;
    vkmoe_status status =
        vkm_json_get_integer(&c->metadata, key, 0, (int64_t)json_array_size(tokens) - 1, &id);
    if (status != VKMOE_OK || id < 0)
        return status;
    return json_object_set(config, name, json_array_get(tokens, (size_t)id)) == 0
               ? VKMOE_OK
               : out_of_memory(c);
}

static vkmoe_status make_config(const struct converter *c, const json_t *tokens, json_t **config)
{
    bool add_bos = false;
    vkmoe_status status = vkm_json_get_bool(&c->metadata, PREFIX "add_bos_token", &add_bos);
    if (status != VKMOE_OK)
        return status;
    *config = json_pack("{s:b}", "add_bos_token", add_bos);
    if (!*config)
        return out_of_memory(c);
    status = name_token(c, tokens, PREFIX "bos_token_id", *config, "bos_token");
    if (status == VKMOE_OK)
        status = name_token(c, tokens, PREFIX "eos_token_id", *config, "eos_token");
    return status;
}

vkmoe_status vkm_gguf_tokenizer(const struct vkm_gguf *g, json_t **root, json_t **config,
                                vkmoe_error *err)
{
    static const char key[] = PREFIX "model";
    struct converter c = {.metadata = {g->metadata, g->path, err}};
    const char *model = NULL;
    const json_t *tokens;
    *root = *config = NULL;
    vkmoe_status status = vkm_json_get_string(&c.metadata, key, &model);
    if (status == VKMOE_OK && (!model || strcmp(model, "gpt2") != 0))
        return mismatch(&c, VKMOE_UNSUPPORTED, key, "gpt2, which is byte-level BPE");
    if (status == VKMOE_OK)
        status = get_array(&c, PREFIX "tokens", &tokens);
    if (status == VKMOE_OK)
        status = make_root(&c, tokens, root);
    if (status == VKMOE_OK)
        status = make_config(&c, tokens, config);
    if (status == VKMOE_OK)
        return status;
    json_decref(*root);
    json_decref(*config);
    *root = *config = NULL;
    return status;
}
