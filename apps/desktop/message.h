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
    char *model;   /* whose ids they are: folder or file; NULL where there are none */
    uint64_t seed; /* of an answer */
} MoeMessage;

/* Copies the text. */
MoeMessage *moe_message_new(vkmoe_chat_role role, const char *text);
/* Says what an answer was generated as, replacing what was said before. */
void moe_message_set_tokens(MoeMessage *message, const int32_t *ids, guint count,
                            const char *model);
/* A deep copy. */
MoeMessage *moe_message_copy(const MoeMessage *message);
void moe_message_free(MoeMessage *message); /* accepts NULL */

/* An array that owns its messages. */
GPtrArray *moe_messages_new(void);
/* Copies of all of them; ids of other models than `model` are left out (NULL: none are). */
GPtrArray *moe_messages_copy(const GPtrArray *messages, const char *model);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MoeMessage, moe_message_free)

#endif
