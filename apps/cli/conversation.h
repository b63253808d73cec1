/* A conversation: an optional system prompt, and messages of user and assistant in turn. */
#ifndef VKMOE_CLI_CONVERSATION_H
#define VKMOE_CLI_CONVERSATION_H

#include <vkmoe/vkmoe.h>

/* Zero-initialised: empty. items[0] is the system message where `has_system`; then users and
 * assistants alternate, a user first. */
struct conversation {
    vkmoe_chat_message *items; /* text and tokens are owned */
    size_t count, capacity;
    bool has_system;
};

void conversation_finish(struct conversation *c); /* forgets everything; c can be used again */

/* Appends a copy of a message of a user or an assistant. False when memory runs out. */
bool conversation_add(struct conversation *c, const vkmoe_chat_message *message);
/* Sets the system prompt; an empty one is none. False when memory runs out. */
bool conversation_set_system(struct conversation *c, const char *text);
/* Forgets all but the system prompt. */
void conversation_reset(struct conversation *c);
/* Messages of users. */
size_t conversation_turns(const struct conversation *c);
/* The newest message, NULL if there is none but the system's. */
const vkmoe_chat_message *conversation_last(const struct conversation *c);
/* Removes the newest message. */
void conversation_pop(struct conversation *c);
/* Removes the newest, or the oldest, message of a user and what was answered; false if there is
 * none. */
bool conversation_undo(struct conversation *c);
bool conversation_drop_oldest(struct conversation *c);

/* Writes {"messages": [{"role": "user", "content": "..."}, ...]}: a regular file is replaced whole
 * or not at all and keeps its access, a link leads to its target, and a pipe or device is written
 * to. False after saying on stderr what is wrong. */
bool conversation_save(const struct conversation *c, const char *path);
/* Replaces the conversation by one that was saved; on failure, which is said, it stays. */
bool conversation_load(struct conversation *c, const char *path);

#endif
