/* Which chat template a model asks for. */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/gguf.h"
#include "vkmoe/chat.h"

#define FILE_LIMIT ((uint64_t)16 << 20)

static const char *const names[] = {
    [VKMOE_CHAT_PLAIN] = "plain",
    [VKMOE_CHAT_DEEPSEEK] = "deepseek",
    [VKMOE_CHAT_CHATML] = "chatml",
    [VKMOE_CHAT_LLAMA2] = "llama2",
};

#define KNOWN_NAMES "plain, deepseek, chatml, llama2"

/* What the Jinja text of a template has in it, all of `has` and nothing of `lacks`. */
static const struct {
    vkmoe_chat_template is;
    const char *has[6], *lacks[5];
} features[] = {
    /* Relatives with these words write other white space, or roles of their own beside them. */
    {VKMOE_CHAT_DEEPSEEK,
     {"'User: '", "'Assistant: '", "'Assistant:'", "bos_token", "eos_token"},
     {"trim", "strip", "<|", "[INST]"}},
    {VKMOE_CHAT_CHATML, {"<|im_start|>", "<|im_end|>"}, {"[INST]", "<|im_sep|>"}},
    {VKMOE_CHAT_LLAMA2, {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"}, {"<|"}},
};

static bool match_features(const char *jinja, vkmoe_chat_template *out)
{
    for (size_t i = 0; i < VKM_COUNT(features); i++) {
        bool fits = true;
        for (size_t j = 0; fits && j < VKM_COUNT(features[i].has) && features[i].has[j]; j++)
            fits = strstr(jinja, features[i].has[j]) != NULL;
        for (size_t j = 0; fits && j < VKM_COUNT(features[i].lacks) && features[i].lacks[j]; j++)
            fits = strstr(jinja, features[i].lacks[j]) == NULL;
        if (fits) {
            *out = features[i].is;
            return true;
        }
    }
    return false;
}

/* Quotation marks of either kind mean the same in Jinja. */
static vkmoe_status recognise(const char *file, const char *jinja, vkmoe_chat_template *out,
                              vkmoe_error *err)
{
    char *text = vkm_strdup(NULL, jinja);
    if (!text)
        return vkm_fail_memory(err, strlen(jinja), "a chat template");
    for (char *p = text; (p = strchr(p, '"'));)
        *p = '\'';
    bool known = match_features(text, out);
    vkm_free(NULL, text);
    return known ? VKMOE_OK
                 : vkm_fail(err, VKMOE_UNSUPPORTED,
                            "%s: the chat template is none of the known ones (" KNOWN_NAMES ")",
                            file);
}

/* tokenizer_config.json holds the template itself, or a list of named ones. */
static vkmoe_status recognise_value(const char *file, const json_t *value, vkmoe_chat_template *out,
                                    vkmoe_error *err)
{
    const json_t *text = value;
    if (json_is_array(value)) {
        text = NULL;
        for (size_t i = 0; i < json_array_size(value) && !text; i++) {
            const json_t *entry = json_array_get(value, i);
            const char *name = json_string_value(json_object_get(entry, "name"));
            if (name && strcmp(name, "default") == 0)
                text = json_object_get(entry, "template");
        }
    }
    if (!json_is_string(text))
        return vkm_json_mismatch(err, VKMOE_BAD_FORMAT, file, "chat_template", value,
                                 "a string, or a list of {name, template} with one \"default\"");
    return recognise(file, json_string_value(text), out, err);
}

static vkmoe_status find_in_config(const char *file, vkmoe_chat_template *out, vkmoe_error *err)
{
    json_t *root = NULL;
    vkmoe_error error;
    vkmoe_status status = vkm_json_load(NULL, file, FILE_LIMIT, &root, &error);
    if (status == VKMOE_NOT_FOUND)
        return VKMOE_OK;
    if (status != VKMOE_OK)
        return vkm_fail(err, status, "%s", error.message);
    const json_t *value = json_object_get(root, "chat_template");
    if (value && !json_is_null(value))
        status = recognise_value(file, value, out, err);
    json_decref(root);
    return status;
}

static vkmoe_status find(const char *jinja_file, const char *config_file, vkmoe_chat_template *out,
                         vkmoe_error *err)
{
    char *text;
    size_t size;
    vkmoe_error error;
    vkmoe_status status = vkm_file_read(NULL, jinja_file, FILE_LIMIT, &text, &size, &error);
    if (status == VKMOE_NOT_FOUND)
        return find_in_config(config_file, out, err);
    if (status != VKMOE_OK)
        return vkm_fail(err, status, "%s", error.message);
    status = recognise(jinja_file, text, out, err);
    vkm_free(NULL, text);
    return status;
}

static vkmoe_status find_in_gguf(const char *path, vkmoe_chat_template *out, vkmoe_error *err)
{
    static const char key[] = "tokenizer.chat_template";
    struct vkm_gguf *g = NULL;
    vkmoe_status status = vkm_gguf_open(NULL, path, 0, &g, err);
    if (status != VKMOE_OK)
        return status;
    const json_t *value = json_object_get(g->metadata, key);
    if (json_is_string(value))
        status = recognise(path, json_string_value(value), out, err);
    else if (value)
        status = vkm_json_mismatch(err, VKMOE_BAD_FORMAT, path, key, value, "a string");
    vkm_gguf_close(g);
    return status;
}

vkmoe_status vkmoe_chat_template_find(const char *path, vkmoe_chat_template *out, vkmoe_error *err)
{
    struct stat st;
    if (!path || !out)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "vkmoe_chat_template_find: %s is NULL",
                        path ? "out" : "path");
    bool is_gguf = vkm_gguf_is(path);
    if (!is_gguf && (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        return vkm_fail(err, VKMOE_NOT_FOUND, "%s: there is no such folder, and no GGUF file",
                        path);
    *out = VKMOE_CHAT_PLAIN;
    if (is_gguf)
        return find_in_gguf(path, out, err);
    char *jinja_file = vkm_format(NULL, "%s/chat_template.jinja", path);
    char *config_file = vkm_format(NULL, "%s/tokenizer_config.json", path);
    vkmoe_status status = jinja_file && config_file
                              ? find(jinja_file, config_file, out, err)
                              : vkm_fail_memory(err, strlen(path), "the path of a chat template");
    vkm_free(NULL, jinja_file);
    vkm_free(NULL, config_file);
    return status;
}

vkmoe_status vkmoe_chat_template_by_name(const char *name, vkmoe_chat_template *out,
                                         vkmoe_error *err)
{
    char printable[VKM_PRINTABLE_SIZE];
    if (!name || !out)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "vkmoe_chat_template_by_name: %s is NULL",
                        name ? "out" : "name");
    for (size_t i = 0; i < VKM_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (vkmoe_chat_template)i;
            return VKMOE_OK;
        }
    }
    return vkm_fail(err, VKMOE_NOT_FOUND, "there is no chat template '%s', only " KNOWN_NAMES,
                    vkm_printable(printable, name));
}

const char *vkmoe_chat_template_name(vkmoe_chat_template chat_template)
{
    return (size_t)chat_template < VKM_COUNT(names) ? names[chat_template] : "unknown";
}
