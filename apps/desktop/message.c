#include "message.h"

MoeMessage *moe_message_new(vkmoe_chat_role role, const char *text)
{
    MoeMessage *message = g_new(MoeMessage, 1);
    *message = (MoeMessage){.role = role, .text = g_strdup(text)};
    return message;
}

static void forget_tokens(MoeMessage *message)
{
    g_clear_pointer(&message->tokens, g_array_unref);
    g_clear_pointer(&message->model, g_free);
}

void moe_message_set_tokens(MoeMessage *message, const int32_t *ids, guint count, const char *model)
{
    forget_tokens(message);
    message->tokens = g_array_sized_new(FALSE, FALSE, sizeof(*ids), count);
    if (count > 0)
        g_array_append_vals(message->tokens, ids, count);
    message->model = g_strdup(model);
}

MoeMessage *moe_message_copy(const MoeMessage *message)
{
    MoeMessage *copy = moe_message_new(message->role, message->text);
    copy->tokens = message->tokens ? g_array_copy(message->tokens) : NULL;
    copy->model = g_strdup(message->model);
    copy->seed = message->seed;
    return copy;
}

void moe_message_free(MoeMessage *message)
{
    if (!message)
        return;
    forget_tokens(message);
    g_free(message->text);
    g_free(message);
}

GPtrArray *moe_messages_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)moe_message_free);
}

GPtrArray *moe_messages_copy(const GPtrArray *messages, const char *model)
{
    GPtrArray *copies = moe_messages_new();
    for (guint i = 0; i < messages->len; i++) {
        MoeMessage *copy = moe_message_copy(g_ptr_array_index(messages, i));
        if (model && g_strcmp0(copy->model, model) != 0)
            forget_tokens(copy);
        g_ptr_array_add(copies, copy);
    }
    return copies;
}
