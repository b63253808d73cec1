/* The routes of a text that was kept, which are computed again when it is opened. The application's
 * calls to vkmoe_session_eval come here (see CMakeLists.txt), where they wait while a test wants a
 * text to be on its way. */
#include <math.h>
#include <string.h>

#include "desktop.h"
#include "experts.h"

vkmoe_status __real_vkmoe_session_eval(vkmoe_session *s, const int32_t *tokens, size_t count,
                                       const vkmoe_trace *trace, vkmoe_error *err);
vkmoe_status __wrap_vkmoe_session_eval(vkmoe_session *s, const int32_t *tokens, size_t count,
                                       const vkmoe_trace *trace, vkmoe_error *err);

static struct {
    GMutex lock;
    GCond opened;
    bool closed;
} gate;

static void set_gate(bool closed)
{
    g_mutex_lock(&gate.lock);
    gate.closed = closed;
    g_cond_broadcast(&gate.opened);
    g_mutex_unlock(&gate.lock);
}

vkmoe_status __wrap_vkmoe_session_eval(vkmoe_session *s, const int32_t *tokens, size_t count,
                                       const vkmoe_trace *trace, vkmoe_error *err)
{
    g_mutex_lock(&gate.lock);
    while (gate.closed)
        g_cond_wait(&gate.opened, &gate.lock);
    g_mutex_unlock(&gate.lock);
    return __real_vkmoe_session_eval(s, tokens, count, trace, err);
}

/* --- helpers --- */

/* How texts were routed and generated. */
struct ends {
    guint routed, gave_way, generated, stopped;
    guint called; /* by the worker's thread, and back */
};

static void note_end(MoeWorker *worker, const MoeResult *result, struct ends *e)
{
    (void)worker;
    if (result->status == VKMOE_CANCELLED && result->gave_way)
        e->gave_way++;
    else if (result->status == VKMOE_CANCELLED)
        e->stopped++;
    else if (result->status == VKMOE_OK && result->n_answer == 0)
        e->routed++;
    else if (result->n_answer > 0)
        e->generated++;
}

static MoeRouteLog *log_of(struct desktop *d)
{
    return moe_experts_get_log(moe_experts_of(d->window));
}

static void start(struct desktop *d, struct ends *e)
{
    set_gate(false); /* a test that failed may have left it closed */
    desktop_start(d, NULL);
    desktop_wait_idle(d);
    assert_null(desktop_notice(d));
    g_object_set(moe_window_get_sampler(d->window), "max-tokens", 30, "seed", (guint64)5,
                 "keep-seed", TRUE, NULL);
    *e = (struct ends){0};
    g_signal_connect(d->worker, "finished", G_CALLBACK(note_end), e);
}

static void run(struct desktop *d, const char *prompt)
{
    desktop_type(d, prompt);
    desktop_do(d, "win.run");
    desktop_wait_end(d);
    desktop_wait_idle(d);
}

/* A kept text, as another day left it. */
static MoeConversation *add_kept(struct desktop *d, const char *line, size_t length)
{
    g_autoptr(GString) text = g_string_new(NULL);
    MoeConversation *c = moe_conversation_new(FALSE);
    while (text->len < length)
        g_string_append(text, line);
    moe_conversation_add(c, moe_message_new(VKMOE_CHAT_USER, text->str));
    moe_store_save(moe_application_get_store(d->application), c);
    return c;
}

static bool is_listed(void *data)
{
    struct desktop *d = data;
    return g_list_model_get_n_items(moe_store_get_list(moe_application_get_store(d->application))) >
           0;
}

static bool has_all_routes(void *data)
{
    struct desktop *d = data;
    guint n = moe_transcript_get_n_tokens(d->transcript);
    return n > 0 && moe_route_log_get_routed(log_of(d)) == n;
}

static void wait_for_routes(struct desktop *d)
{
    desktop_wait(has_all_routes, d, "every token of the text should have a route");
}

static bool is_routing(void *data)
{
    struct desktop *d = data;
    return moe_worker_get_state(d->worker) == MOE_WORKER_ROUTING &&
           moe_transcript_get_n_tokens(d->transcript) > 0;
}

/* Opens a text and returns while it is routed, which set_gate(false) lets go on. */
static MoeConversation *open_halfway(struct desktop *d)
{
    MoeConversation *c =
        add_kept(d, "Now is the winter of our discontent made glorious summer. ", 200);
    set_gate(true);
    desktop_choose(d, c);
    desktop_wait(is_routing, d, "the text should be routed");
    return c;
}

/* --- tests --- */

/* What a fresh text shows of one token: who was chosen, and with what gates. */
struct seen {
    guint length, experts[16];
    float gates[16];
};

static void look(struct desktop *d, guint position, struct seen *out)
{
    const MoeShape *shape = moe_route_log_get_shape(log_of(d));
    MoeRank rank;
    *out = (struct seen){.length = moe_route_log_get_length(log_of(d))};
    for (guint l = 0; l < MIN(shape->n_layers, G_N_ELEMENTS(out->experts)); l++) {
        assert_true(moe_route_log_get_rank(log_of(d), position, l, 0, &rank));
        out->experts[l] = rank.expert;
        out->gates[l] = rank.gate;
    }
}

static void a_kept_text_is_routed_as_it_was_when_it_is_opened_again(void **state)
{
    struct desktop d;
    struct ends e;
    struct seen before, after;
    (void)state;
    start(&d, &e);
    run(&d, "GLOUCESTER:\nO ");
    g_autofree char *text = desktop_text(&d);
    look(&d, 20, &before);
    desktop_stop(&d);
    start(&d, &e);
    desktop_wait(is_listed, &d, "conversations should be read");
    g_autoptr(MoeConversation) kept =
        g_list_model_get_item(moe_store_get_list(moe_application_get_store(d.application)), 0);
    desktop_choose(&d, kept);
    wait_for_routes(&d);
    g_autofree char *opened = desktop_text(&d);
    assert_string_equal(opened, text);
    look(&d, 20, &after);
    assert_int_equal(after.length, before.length);
    for (guint l = 0; l < G_N_ELEMENTS(after.experts); l++) {
        assert_int_equal(after.experts[l], before.experts[l]);
        assert_true(fabsf(after.gates[l] - before.gates[l]) < 1e-3f);
    }
    desktop_wait_idle(&d);
    assert_int_equal(e.routed, 1);
    desktop_stop(&d);
}

static void a_word_of_it_shows_its_route_and_an_expert_its_words(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    MoeExpertsPage *page = moe_experts_get_page(moe_experts_of(d.window));
    g_autoptr(MoeConversation) kept = add_kept(&d, "Speak, speak.\n", 60);
    desktop_choose(&d, kept);
    wait_for_routes(&d);
    moe_transcript_select(d.transcript, 5);
    g_autofree char *text = moe_route_panel_get_text(moe_experts_page_get_route_panel(page));
    assert_non_null(strstr(text, "(token 5)"));
    assert_non_null(strstr(text, "Layer 1: "));
    assert_int_equal(moe_expert_map_get_token(moe_experts_page_get_map(page)), 5);
    MoeRank rank;
    guint count;
    assert_true(moe_route_log_get_rank(log_of(&d), 5, 1, 0, &rank));
    moe_expert_map_select(moe_experts_page_get_map(page), 1, rank.expert);
    g_autofree float *weights = moe_experts_page_dup_served(page, &count);
    assert_true(count > 5 && weights[5] > 0);
    desktop_stop(&d);
}

static void a_token_that_is_looked_at_shows_its_route_once_it_is_known(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    g_autoptr(MoeConversation) kept = open_halfway(&d);
    MoeRoutePanel *panel =
        moe_experts_page_get_route_panel(moe_experts_get_page(moe_experts_of(d.window)));
    int last = (int)moe_transcript_get_n_tokens(d.transcript) - 1;
    assert_true(last > 0);
    assert_int_equal(moe_route_log_get_kept(log_of(&d), (guint)last), 0);
    moe_transcript_select(d.transcript, last);
    g_autofree char *unknown = moe_route_panel_get_text(panel);
    assert_null(strstr(unknown, "Layer 1: "));
    set_gate(false);
    desktop_wait_idle(&d);
    desktop_settle(&d);
    g_autofree char *known = moe_route_panel_get_text(panel);
    assert_non_null(strstr(known, "Layer 1: "));
    desktop_stop(&d);
}

static void a_run_comes_before_the_routes_of_what_was_opened(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    g_autoptr(MoeConversation) kept = open_halfway(&d);
    desktop_do(&d, "win.new");
    set_gate(false);
    run(&d, "ROMEO:");
    assert_int_equal(e.generated, 1);
    assert_int_equal(e.routed, 0); /* of the kept text, which is not shown any more */
    assert_int_equal(e.gave_way, 1);
    wait_for_routes(&d);
    /* In the text itself, too, whose routes the run computes. */
    g_autoptr(MoeConversation) other = open_halfway(&d);
    g_object_set(moe_window_get_sampler(d.window), "max-tokens", 2, NULL);
    desktop_do(&d, "win.run");
    set_gate(false);
    desktop_wait_end(&d);
    assert_int_equal(e.gave_way, 2);
    assert_int_equal(e.generated, 2);
    wait_for_routes(&d);
    assert_int_equal(e.routed, 0);
    desktop_stop(&d);
}

static void count_call(MoeWorker *worker, const MoeEngine *engine, gpointer data)
{
    (void)worker, (void)engine;
    ((struct ends *)data)->called++;
}

static bool was_called(void *data)
{
    return ((struct ends *)data)->called == 2;
}

/* As a measurement does. */
static void call(struct desktop *d, struct ends *e)
{
    moe_worker_call(d->worker, count_call, count_call, e);
    set_gate(false);
    desktop_wait(was_called, e, "the worker should do something else");
}

static bool was_routed(void *data)
{
    return ((struct ends *)data)->routed > 0;
}

static bool was_routed_twice(void *data)
{
    return ((struct ends *)data)->routed == 2;
}

static void what_gave_way_goes_on_afterwards(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    g_autoptr(MoeConversation) kept = open_halfway(&d);
    call(&d, &e);
    desktop_wait(was_routed, &e, "the text should be routed afterwards");
    assert_int_equal(e.gave_way, 1);
    assert_int_equal(e.routed, 1);
    desktop_stop(&d);
}

static void stopping_ends_it_for_good_and_typing_goes_on(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    g_autoptr(MoeConversation) kept = open_halfway(&d);
    assert_true(desktop_can_do(&d, "win.run"));
    desktop_type(&d, "ROMEO:");
    desktop_do(&d, "win.stop");
    set_gate(false);
    desktop_wait_idle(&d);
    assert_int_equal(e.stopped, 1);
    call(&d, &e);
    desktop_settle(&d);
    desktop_wait_idle(&d);
    assert_int_equal(e.routed, 0);
    desktop_stop(&d);
}

static void a_model_that_is_opened_routes_the_text_that_is_shown(void **state)
{
    struct desktop d;
    struct ends e;
    (void)state;
    start(&d, &e);
    g_autoptr(MoeConversation) kept = add_kept(&d, "Speak, speak.\n", 60);
    desktop_choose(&d, kept);
    desktop_wait(was_routed, &e, "the text should be routed to its end");
    guint n = moe_transcript_get_n_tokens(d.transcript);
    const MoeOpenParams params = {.context = 12}; /* which has no room for all of it */
    moe_worker_open(d.worker, &params);
    desktop_wait(was_routed_twice, &e, "the text should be routed by the model as it is now");
    assert_null(desktop_notice(&d));
    assert_true(n > 12);
    assert_int_equal(moe_transcript_get_n_tokens(d.transcript), n);
    assert_int_equal(moe_route_log_get_routed(log_of(&d)), 12);
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_text_is_routed_as_it_was_when_it_is_opened_again),
        cmocka_unit_test(a_word_of_it_shows_its_route_and_an_expert_its_words),
        cmocka_unit_test(a_token_that_is_looked_at_shows_its_route_once_it_is_known),
        cmocka_unit_test(a_run_comes_before_the_routes_of_what_was_opened),
        cmocka_unit_test(what_gave_way_goes_on_afterwards),
        cmocka_unit_test(stopping_ends_it_for_good_and_typing_goes_on),
        cmocka_unit_test(a_model_that_is_opened_routes_the_text_that_is_shown),
    };
    return DESKTOP_RUN(tests);
}
