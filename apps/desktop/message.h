/* One message of a conversation: a prompt, or an answer as it was generated. */
#ifndef MOE_MESSAGE_H
#define MOE_MESSAGE_H

#include <glib.h>
#include <vkmoe/vkmoe.h>

/* What somebody said. Owned by whoever holds it; no thread but that one touches it. */
typedef struct MoeMessage {
    vkmoe_chat_role role; /* who said it */
    char *text;           /* UTF-8, zero-terminated, never NULL */
    /* int32_t ids of an answer as it was generated, which it becomes again; NULL: the text is
     * tokenized */
    GArray *tokens;
} MoeMessage;

/* Copies text; takes tokens (may be NULL). */
MoeMessage *moe_message_new(vkmoe_chat_role role, const char *text, GArray *tokens);
/* A deep copy. */
MoeMessage *moe_message_copy(const MoeMessage *message);
void moe_message_free(MoeMessage *message); /* accepts NULL */

/* An array that owns its messages. */
GPtrArray *moe_messages_new(void);
/* Copies of the first n messages. */
GPtrArray *moe_messages_copy(const GPtrArray *messages, guint n);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MoeMessage, moe_message_free)

#endif
