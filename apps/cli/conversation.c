#include "conversation.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"

static size_t first_turn(const struct conversation *c)
{
    return c->has_system ? 1 : 0;
}

static void release(const vkmoe_chat_message *m)
{
    free((void *)(uintptr_t)m->text);
    free((void *)(uintptr_t)m->tokens);
}

/* Removes items[at .. at + n). */
static void cut(struct conversation *c, size_t at, size_t n)
{
    if (n == 0)
        return;
    for (size_t i = at; i < at + n; i++)
        release(&c->items[i]);
    memmove(c->items + at, c->items + at + n, (c->count - at - n) * sizeof(*c->items));
    c->count -= n;
}

void conversation_finish(struct conversation *c)
{
    cut(c, 0, c->count);
    free(c->items);
    *c = (struct conversation){0};
}

/* malloc'ed; a copy of nothing is not NULL. */
static void *copy(const void *memory, size_t size)
{
    void *out = malloc(size + 1);
    if (out && size > 0)
        memcpy(out, memory, size);
    return out;
}

static bool insert(struct conversation *c, size_t at, const vkmoe_chat_message *message)
{
    vkmoe_chat_message *grown = cli_reserve(c->items, c->count, &c->capacity, 1, sizeof(*grown));
    if (!grown)
        return false;
    c->items = grown;
    vkmoe_chat_message m = *message;
    m.text = copy(message->text, message->size);
    m.tokens = message->tokens ? copy(message->tokens, message->n_tokens * sizeof(int32_t)) : NULL;
    if (!m.text || (message->tokens && !m.tokens)) {
        release(&m);
        return false;
    }
    memmove(c->items + at + 1, c->items + at, (c->count - at) * sizeof(*c->items));
    c->items[at] = m;
    c->count++;
    return true;
}

bool conversation_add(struct conversation *c, const vkmoe_chat_message *message)
{
    return insert(c, c->count, message);
}

bool conversation_set_system(struct conversation *c, const char *text)
{
    const vkmoe_chat_message m = {.role = VKMOE_CHAT_SYSTEM, .text = text, .size = strlen(text)};
    if (m.size > 0 && !insert(c, 0, &m))
        return false;
    if (c->has_system)
        cut(c, m.size > 0 ? 1 : 0, 1);
    c->has_system = m.size > 0;
    return true;
}

void conversation_reset(struct conversation *c)
{
    cut(c, first_turn(c), c->count - first_turn(c));
}

size_t conversation_turns(const struct conversation *c)
{
    return (c->count - first_turn(c) + 1) / 2;
}

const vkmoe_chat_message *conversation_last(const struct conversation *c)
{
    return c->count > first_turn(c) ? &c->items[c->count - 1] : NULL;
}

void conversation_pop(struct conversation *c)
{
    if (conversation_last(c))
        cut(c, c->count - 1, 1);
}

bool conversation_undo(struct conversation *c)
{
    const vkmoe_chat_message *last = conversation_last(c);
    if (!last)
        return false;
    if (last->role == VKMOE_CHAT_ASSISTANT)
        conversation_pop(c);
    conversation_pop(c);
    return true;
}

bool conversation_drop_oldest(struct conversation *c)
{
    size_t first = first_turn(c), n = c->count - first;
    cut(c, first, n < 2 ? n : 2);
    return n > 0;
}
