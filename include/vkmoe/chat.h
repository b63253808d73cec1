/* Conversations as the token ids that a chat model was trained on. */
#ifndef VKMOE_CHAT_H
#define VKMOE_CHAT_H

#include <stdbool.h>

#include "vkmoe/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The chat templates that are known. */
typedef enum vkmoe_chat_template {
    /* For models without a template: no roles, every message is text as it stands. A newline
     * follows the system prompt and each answer. */
    VKMOE_CHAT_PLAIN,
    VKMOE_CHAT_DEEPSEEK, /* deepseek-moe-16b-chat, DeepSeek-LLM, DeepSeek-V2 */
    VKMOE_CHAT_CHATML,
    VKMOE_CHAT_LLAMA2, /* white space around messages is dropped, as its template does */
} vkmoe_chat_template;

/* Who says a message. */
typedef enum vkmoe_chat_role {
    VKMOE_CHAT_SYSTEM, /* only as the first message */
    VKMOE_CHAT_USER,
    VKMOE_CHAT_ASSISTANT,
} vkmoe_chat_role;

/* One message of a conversation; what it points to is the caller's. */
typedef struct vkmoe_chat_message {
    vkmoe_chat_role role; /* who says it */
    const char *text;     /* UTF-8 */
    size_t size;          /* bytes of text */
    /* An answer as it was generated, without what ended it: it becomes exactly these ids again,
     * whatever its text is. NULL: the text is tokenized. */
    const int32_t *tokens;
    size_t n_tokens; /* in tokens */
} vkmoe_chat_message;

/* Which template the model folder or GGUF file `path` asks for: chat_template.jinja, else
 * chat_template in tokenizer_config.json (of a list, the one named "default"), or the file's own;
 * PLAIN where there is none. Templates are recognised, not interpreted. Fails with UNSUPPORTED for
 * one that is not known, NOT_FOUND where there is neither, BAD_FORMAT or IO. Thread-safe. */
vkmoe_status vkmoe_chat_template_find(const char *path, vkmoe_chat_template *out, vkmoe_error *err);

/* The template called `name`. Fails with NOT_FOUND, listing the names. Thread-safe. */
vkmoe_status vkmoe_chat_template_by_name(const char *name, vkmoe_chat_template *out,
                                         vkmoe_error *err);

/* Its name: static storage. */
const char *vkmoe_chat_template_name(vkmoe_chat_template chat_template);

/* The ids of a conversation of n messages; with `answer`, what comes before the assistant's next
 * message follows them. Markup that a message spells is text: only the template makes special
 * tokens. *ids belongs to the caller (vkmoe_tokenizer_free). Fails with BAD_FORMAT for a message
 * that is not UTF-8, INVALID_ARGUMENT for a system message that is not the first, and UNSUPPORTED
 * where the tokenizer lacks a token of the template. Thread-safe. */
vkmoe_status vkmoe_chat_render(vkmoe_chat_template chat_template, const vkmoe_tokenizer *tokenizer,
                               const vkmoe_chat_message *messages, size_t n, bool answer,
                               int32_t **ids, size_t *count, vkmoe_error *err);

/* The token with which the model ends an answer; -1 where the tokenizer has none. */
int32_t vkmoe_chat_end_token(vkmoe_chat_template chat_template, const vkmoe_tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif

#endif
