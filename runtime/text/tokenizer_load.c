#include <string.h>

#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"

#define FILE_LIMIT ((uint64_t)256 << 20)

/* A decoder other than ByteLevel would want other bytes for the same ids. */
static vkmoe_status check_decoder(const struct vkm_source *s, const json_t *decoder)
{
    const char *type;
    if (!decoder || json_is_null(decoder))
        return VKMOE_OK;
    vkmoe_status status = vkm_source_string(s, decoder, "type", &type);
    if (status == VKMOE_OK && strcmp(type, "ByteLevel") != 0)
        return vkm_source_unsupported(s, "decoder", type);
    return status;
}

static vkmoe_status read_tokenizer(const struct vkm_source *s, vkmoe_tokenizer *t, json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    vkmoe_status status = vkm_bpe_check(s, model);
    if (status == VKMOE_OK)
        status = vkm_normalizer_load(s, json_object_get(root, "normalizer"), &t->normalizer);
    if (status == VKMOE_OK)
        status =
            vkm_pretokenizer_create(s, json_object_get(root, "pre_tokenizer"), &t->pretokenizer);
    if (status == VKMOE_OK)
        status = check_decoder(s, json_object_get(root, "decoder"));
    if (status == VKMOE_OK)
        status = vkm_vocab_load(s, root, &t->vocab);
    if (status == VKMOE_OK)
        status = vkm_bpe_load(s, model, &t->vocab, &t->bpe);
    if (status == VKMOE_OK)
        status = vkm_added_load(s, added, false, &t->normalizer, &t->raw);
    if (status == VKMOE_OK)
        status = vkm_added_load(s, added, true, &t->normalizer, &t->normalized);
    return status;
}

/* The token that a TemplateProcessing post-processor puts first, or NULL. */
static const char *template_bos(const json_t *processor)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    const char *first = NULL;
    if (type && strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(processor, "processors");
        for (size_t i = 0; i < json_array_size(list) && !first; i++)
            first = template_bos(json_array_get(list, i));
    }
    if (!type || strcmp(type, "TemplateProcessing") != 0)
        return first;
    const json_t *head = json_array_get(json_object_get(processor, "single"), 0);
    return json_string_value(json_object_get(json_object_get(head, "SpecialToken"), "id"));
}

/* tokenizer_config.json names a token as a string or as an object with its content; *name stays as
 * it is where there is none. */
static vkmoe_status read_name(const struct vkm_source *s, const json_t *config, const char *key,
                              const char **name)
{
    const json_t *value = json_object_get(config, key);
    if (!value || json_is_null(value))
        return VKMOE_OK;
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(content))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, key, value,
                                 "a string or an object with content");
    *name = json_string_value(content);
    return VKMOE_OK;
}

static vkmoe_status find_name(const struct vkm_source *s, const vkmoe_tokenizer *t, const char *key,
                              const char *name, int32_t *id)
{
    char printable[VKM_PRINTABLE_SIZE];
    *id = name ? vkm_vocab_find(&t->vocab, name, strlen(name)) : -1;
    if (name && *id < 0)
        return vkm_fail(s->err, VKMOE_BAD_FORMAT,
                        "%s: %s is \"%s\", which is not in the vocabulary", s->file, key,
                        vkm_printable(printable, name));
    return VKMOE_OK;
}

/* Without add_bos_token, the Llama classes of `transformers` add BOS (they ignore the
 * post-processor); others do as the post-processor says. */
static vkmoe_status read_config(const struct vkm_source *s, vkmoe_tokenizer *t, const json_t *root,
                                const json_t *config)
{
    const struct vkm_json_source json = {config, s->file, s->err};
    const char *first = template_bos(json_object_get(root, "post_processor"));
    const char *class = "", *bos = first, *eos = NULL;
    vkmoe_status status = vkm_json_get_string(&json, "tokenizer_class", &class);
    t->add_bos =
        first || strcmp(class, "LlamaTokenizerFast") == 0 || strcmp(class, "LlamaTokenizer") == 0;
    if (status == VKMOE_OK)
        status = vkm_json_get_bool(&json, "add_bos_token", &t->add_bos);
    if (status == VKMOE_OK)
        status = read_name(s, config, "bos_token", &bos);
    if (status == VKMOE_OK)
        status = read_name(s, config, "eos_token", &eos);
    if (status == VKMOE_OK)
        status = find_name(s, t, "bos_token", bos, &t->bos);
    if (status == VKMOE_OK)
        status = find_name(s, t, "eos_token", eos, &t->eos);
    return status;
}

static vkmoe_status read_files(vkmoe_tokenizer *t, const char *main_file, const char *config_file,
                               vkmoe_error *err)
{
    json_t *root = NULL, *config = NULL;
    const struct vkm_source main_source = {t->allocator, main_file, err};
    const struct vkm_source config_source = {t->allocator, config_file, err};
    vkmoe_status status = vkm_json_load(t->allocator, main_file, FILE_LIMIT, &root, err);
    if (status == VKMOE_OK)
        status = read_tokenizer(&main_source, t, root);
    if (status == VKMOE_OK) {
        vkmoe_error error;
        status = vkm_json_load(t->allocator, config_file, FILE_LIMIT, &config, &error);
        if (status == VKMOE_NOT_FOUND)
            status = VKMOE_OK;
        else if (status != VKMOE_OK)
            vkm_fail(err, status, "%s", error.message);
    }
    if (status == VKMOE_OK)
        status = read_config(&config_source, t, root, config);
    json_decref(config);
    json_decref(root);
    return status;
}

static vkmoe_status read_folder(vkmoe_tokenizer *t, const char *folder, vkmoe_error *err)
{
    char *main_file = vkm_format(t->allocator, "%s/tokenizer.json", folder);
    char *config_file = vkm_format(t->allocator, "%s/tokenizer_config.json", folder);
    vkmoe_status status = VKMOE_OK;
    if (main_file && config_file)
        status = read_files(t, main_file, config_file, err);
    else
        status = vkm_fail_memory(err, strlen(folder), "the path of the tokenizer");
    vkm_free(t->allocator, main_file);
    vkm_free(t->allocator, config_file);
    return status;
}

static vkmoe_status read_gguf(vkmoe_tokenizer *t, const char *path, vkmoe_error *err)
{
    const struct vkm_source source = {t->allocator, path, err};
    struct vkm_gguf *g = NULL;
    json_t *root = NULL, *config = NULL;
    vkmoe_status status = vkm_gguf_open(t->allocator, path, SIZE_MAX, &g, err);
    if (status == VKMOE_OK)
        status = vkm_gguf_tokenizer(g, &root, &config, err);
    vkm_gguf_close(g);
    if (status == VKMOE_OK)
        status = read_tokenizer(&source, t, root);
    if (status == VKMOE_OK)
        status = read_config(&source, t, root, config);
    json_decref(config);
    json_decref(root);
    return status;
}

vkmoe_status vkm_tokenizer_read(vkmoe_tokenizer *t, const char *path, vkmoe_error *err)
{
    return vkm_gguf_is(path) ? read_gguf(t, path, err) : read_folder(t, path, err);
}
