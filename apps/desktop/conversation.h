/* A conversation, or a text that grows: messages, a title, and the file that keeps them. */
#ifndef MOE_CONVERSATION_H
#define MOE_CONVERSATION_H

#include <glib-object.h>

#include "message.h"

#define MOE_TYPE_CONVERSATION (moe_conversation_get_type())
/* Properties "title", "date" (string): to be shown. Main thread only. */
G_DECLARE_FINAL_TYPE(MoeConversation, moe_conversation, MOE, CONVERSATION, GObject)

/* An empty one, created now. */
MoeConversation *moe_conversation_new(gboolean chat);

/* Its file's name without folder and ending: unique. */
const char *moe_conversation_get_id(MoeConversation *self);
/* As set, else the beginning of the first message, or of the text; never NULL. */
const char *moe_conversation_get_title(MoeConversation *self);
/* NULL or "": by the first message again. */
void moe_conversation_set_title(MoeConversation *self, const char *title);
/* Whether messages are laid out by a chat template; else they are one text. */
gboolean moe_conversation_get_chat(MoeConversation *self);
gint64 moe_conversation_get_created(MoeConversation *self); /* microseconds since 1970 */

/* The messages, owned by the conversation. */
const GPtrArray *moe_conversation_get_messages(MoeConversation *self);
/* Takes it. */
void moe_conversation_add(MoeConversation *self, MoeMessage *message);
/* Adds to the last message's text. */
void moe_conversation_append(MoeConversation *self, const char *text);
/* The last message, NULL if there is none; owned by the conversation. */
MoeMessage *moe_conversation_last(MoeConversation *self);
/* Removes message `count` and those after it. */
void moe_conversation_truncate(MoeConversation *self, guint count);

/* As a file has it, zero-terminated, to be freed; NULL where a text is not UTF-8. */
char *moe_conversation_to_json(MoeConversation *self);
/* From a file's content; `id` names the file. NULL with one sentence in *error. Any thread, as long
 * as no other has the result. */
MoeConversation *moe_conversation_from_json(const char *id, const char *json, gsize size,
                                            GError **error);
/* To be read by people, to be freed: a text as it stands, or each message after who said it. */
char *moe_conversation_to_text(MoeConversation *self);

#endif
