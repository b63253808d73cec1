#include "events.h"

MoeEvent *moe_event_new(MoeEventKind kind)
{
    MoeEvent *event = g_new0(MoeEvent, 1);
    event->kind = kind;
    return event;
}

void moe_event_free(MoeEvent *event)
{
    moe_loaded_free(event->loaded);
    g_clear_pointer(&event->tokens, g_array_unref);
    if (event->text)
        g_string_free(event->text, TRUE);
    g_free((gpointer)event->routes.ids);
    g_free((gpointer)event->routes.gates);
    g_free((gpointer)event->routes.probs);
    moe_run_result_clear(&event->finished);
    g_free(event);
}

MoeEvent *moe_event_new_tokens(const MoeTokenBatch *batch)
{
    MoeEvent *event = moe_event_new(MOE_EVENT_TOKENS);
    event->batch = *batch;
    event->tokens = g_array_new(FALSE, FALSE, sizeof(MoeToken));
    if (batch->count > 0)
        g_array_append_vals(event->tokens, batch->tokens, batch->count);
    event->text = g_string_new(batch->text);
    return event;
}

MoeEvent *moe_event_new_routes(const MoeRouteBatch *batch)
{
    MoeEvent *event = moe_event_new(MOE_EVENT_ROUTES);
    gsize n = (gsize)batch->layers * batch->count * batch->ranks;
    event->routes = *batch;
    event->routes.ids = g_memdup2(batch->ids, n * sizeof(*batch->ids));
    event->routes.gates = g_memdup2(batch->gates, n * sizeof(*batch->gates));
    event->routes.probs = g_memdup2(batch->probs, n * sizeof(*batch->probs));
    return event;
}

/* Whether `event`'s tokens go on where `last`'s end. */
static gboolean goes_on(const MoeEvent *last, const MoeEvent *event)
{
    return last->kind == MOE_EVENT_TOKENS && event->kind == MOE_EVENT_TOKENS &&
           last->batch.run == event->batch.run && !last->batch.prompt && !event->batch.prompt;
}

/* The newest event, routes aside, which tokens may overtake. */
static MoeEvent *newest(GQueue *events)
{
    GList *link = events->tail;
    while (link && ((MoeEvent *)link->data)->kind == MOE_EVENT_ROUTES)
        link = link->prev;
    return link ? link->data : NULL;
}

void moe_events_push(GQueue *events, MoeEvent *event)
{
    MoeEvent *last = newest(events);
    if (last && last->kind == MOE_EVENT_PROGRESS && event->kind == MOE_EVENT_PROGRESS) {
        last->share = event->share;
        moe_event_free(event);
    } else if (last && goes_on(last, event)) {
        if (event->tokens->len > 0)
            g_array_append_vals(last->tokens, event->tokens->data, event->tokens->len);
        g_string_append_len(last->text, event->text->str, (gssize)event->text->len);
        last->batch.generated = event->batch.generated;
        last->batch.seconds = event->batch.seconds;
        moe_event_free(event);
    } else {
        g_queue_push_tail(events, event);
    }
}
