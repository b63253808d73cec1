#include "message.h"

MoeMessage *moe_message_new(vkmoe_chat_role role, const char *text, GArray *tokens)
{
    MoeMessage *message = g_new(MoeMessage, 1);
    *message = (MoeMessage){.role = role, .text = g_strdup(text), .tokens = tokens};
    return message;
}

MoeMessage *moe_message_copy(const MoeMessage *message)
{
    return moe_message_new(message->role, message->text,
                           message->tokens ? g_array_copy(message->tokens) : NULL);
}

void moe_message_free(MoeMessage *message)
{
    if (!message)
        return;
    g_clear_pointer(&message->tokens, g_array_unref);
    g_free(message->text);
    g_free(message);
}

GPtrArray *moe_messages_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)moe_message_free);
}

GPtrArray *moe_messages_copy(const GPtrArray *messages, guint n)
{
    GPtrArray *copy = moe_messages_new();
    for (guint i = 0; i < n && i < messages->len; i++)
        g_ptr_array_add(copy, moe_message_copy(g_ptr_array_index(messages, i)));
    return copy;
}
