/* Messages as token ids, and which characters each token stands for. No display needed. */
#ifndef MOE_PROMPT_H
#define MOE_PROMPT_H

#include "worker.h"

/* A prompt as it is evaluated. */
typedef struct MoePrompt {
    GArray *ids;    /* int32_t */
    GArray *tokens; /* MoeToken, one for each id */
} MoePrompt;

/* The ids of messages, up to where the answer begins. With `chat` they are laid out by the
 * template, else their texts follow each other. Fails as vkmoe_chat_render does; then *out is
 * untouched. */
vkmoe_status moe_prompt_init(MoePrompt *out, const vkmoe_tokenizer *tokenizer, bool chat,
                             vkmoe_chat_template chat_template, const GPtrArray *messages,
                             vkmoe_error *err);
void moe_prompt_clear(MoePrompt *prompt);
/* Leaves out what follows the last character of all: markup, where an answer would begin. */
void moe_prompt_trim(MoePrompt *prompt);

/* Makes whole characters of what tokens stand for, one after the other. */
typedef struct MoePieces {
    const vkmoe_tokenizer *tokenizer;
    bool trim;         /* drop white space before the first other character */
    uint32_t length;   /* characters handed out so far */
    GByteArray *bytes; /* of a character that is not complete */
} MoePieces;

/* Appends to `text` what the token adds, and says where that is in the text of the message. The
 * caller has set up `pieces`, bytes being NULL, and ends with moe_pieces_finish, which appends what
 * is left of a character as U+FFFD. */
void moe_pieces_add(MoePieces *pieces, int32_t id, GString *text, MoeToken *token);
void moe_pieces_finish(MoePieces *pieces, GString *text);

#endif
