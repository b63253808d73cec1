/* The experts in the window, with the shipped model: routes, tints, steering, two settings side by
 * side; and the map of a model that would fill it. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "desktop.h"
#include "experts.h"

/* --- helpers --- */

static MoeExperts *experts;
static MoeExpertMap *map;

static bool has_ended(void *data)
{
    struct desktop *d = data;
    return moe_window_get_current_run(d->window) == 0 &&
           moe_worker_get_state(d->worker) == MOE_WORKER_READY;
}

static void start(struct desktop *d)
{
    desktop_start(d, NULL);
    desktop_wait_idle(d);
    assert_null(desktop_notice(d));
    g_object_set(moe_window_get_sampler(d->window), "max-tokens", 60, "seed", (guint64)2,
                 "keep-seed", TRUE, NULL);
    experts = moe_experts_of(d->window);
    map = moe_experts_page_get_map(moe_experts_get_page(experts));
}

/* Some text, the same each time while nothing is steered. */
static void run_by(struct desktop *d, const char *action)
{
    desktop_do(d, action);
    desktop_wait(has_ended, d, "the run should end");
    desktop_settle(d);
    assert_int_equal(moe_route_log_get_routed(moe_experts_get_log(experts)),
                     moe_route_log_get_length(moe_experts_get_log(experts)));
    assert_true(moe_route_log_get_length(moe_experts_get_log(experts)) > 40);
}

static void run(struct desktop *d)
{
    run_by(d, "win.run");
}

static void press(const char *action)
{
    gtk_widget_activate_action(GTK_WIDGET(map), action, NULL);
}

/* What the map does for a key; FALSE where nothing. */
static gboolean press_key(guint key, GdkModifierType modifiers)
{
    g_autoptr(GListModel) controllers = gtk_widget_observe_controllers(GTK_WIDGET(map));
    for (guint i = 0; i < g_list_model_get_n_items(controllers); i++) {
        g_autoptr(GObject) controller = g_list_model_get_item(controllers, i);
        guint n = GTK_IS_SHORTCUT_CONTROLLER(controller)
                      ? g_list_model_get_n_items(G_LIST_MODEL(controller))
                      : 0;
        for (guint k = 0; k < n; k++) {
            g_autoptr(GtkShortcut) shortcut = g_list_model_get_item(G_LIST_MODEL(controller), k);
            GtkShortcutTrigger *trigger = gtk_shortcut_get_trigger(shortcut);
            if (!GTK_IS_KEYVAL_TRIGGER(trigger) ||
                gtk_keyval_trigger_get_keyval(GTK_KEYVAL_TRIGGER(trigger)) != key ||
                gtk_keyval_trigger_get_modifiers(GTK_KEYVAL_TRIGGER(trigger)) != modifiers)
                continue;
            return gtk_shortcut_action_activate(gtk_shortcut_get_action(shortcut), 0,
                                                GTK_WIDGET(map),
                                                gtk_shortcut_get_arguments(shortcut));
        }
    }
    return FALSE;
}

/* Whether something lies behind the characters of a token, which is not selected afterwards. */
static bool is_tinted(struct desktop *d, int position)
{
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(moe_transcript_get_view(d->transcript));
    GtkTextIter at;
    bool tinted = false;
    gtk_text_buffer_get_start_iter(buffer, &at);
    for (;;) {
        gtk_text_buffer_place_cursor(buffer, &at);
        if (moe_transcript_get_selected(d->transcript) == position)
            break;
        if (!gtk_text_iter_forward_char(&at))
            fail_msg("token %d has no characters", position);
    }
    moe_transcript_select(d->transcript, -1);
    GSList *tags = gtk_text_iter_get_tags(&at);
    for (GSList *l = tags; l; l = l->next) {
        gboolean set;
        g_object_get(l->data, "background-set", &set, NULL);
        tinted = tinted || set;
    }
    g_slist_free(tags);
    return tinted;
}

/* --- tests --- */

static void routes_of_a_run_fill_the_log_and_light_the_map(void **state)
{
    struct desktop d;
    (void)state;
    start(&d);
    MoeRouteLog *log = moe_experts_get_log(experts);
    const vkmoe_model_info model = moe_worker_get_loaded(d.worker)->model;
    assert_int_equal(moe_route_log_get_shape(log)->n_layers, model.n_moe_layers);
    assert_int_equal(moe_route_log_get_length(log), 0);
    run(&d);
    guint length = moe_route_log_get_length(log);
    assert_int_equal(moe_route_log_get_routed(log), length);
    for (guint layer = 0; layer < model.n_moe_layers; layer++) {
        guint64 chosen = 0;
        for (guint e = 0; e < model.n_routed_experts; e++)
            chosen += moe_route_log_get_chosen(log, layer, e);
        assert_int_equal(chosen, (guint64)length * model.n_experts_per_token);
    }
    assert_true(moe_expert_map_is_lit(map));
    desktop_stop(&d);
}

static bool is_dark(void *data)
{
    (void)data;
    return !moe_expert_map_is_lit(map);
}

static void the_map_rests_when_its_light_is_out(void **state)
{
    struct desktop d;
    (void)state;
    start(&d);
    run(&d);
    desktop_wait(is_dark, NULL, "the light should go out");
    desktop_stop(&d);
}

static void a_word_shows_its_route(void **state)
{
    struct desktop d;
    MoeRank rank;
    (void)state;
    start(&d);
    run(&d);
    moe_transcript_select(d.transcript, 10);
    assert_int_equal(moe_expert_map_get_token(map), 10);
    g_autofree char *text =
        moe_route_panel_get_text(moe_experts_page_get_route_panel(moe_experts_get_page(experts)));
    assert_true(moe_route_log_get_rank(moe_experts_get_log(experts), 10, 2, 0, &rank));
    g_autofree char *expected =
        g_strdup_printf("Layer 2: %u\u00a0(%.3f)", rank.expert, (double)rank.gate);
    assert_non_null(strstr(text, expected));
    g_autofree char *word = moe_transcript_dup_token_text(d.transcript, 10);
    assert_true(*word != '\0');
    assert_non_null(strchr(word, '\n') ? strstr(text, "↵") : strstr(text, word));
    assert_non_null(strstr(text, "(token 10)"));
    GtkWidget *page = GTK_WIDGET(moe_experts_get_page(experts));
    gtk_widget_activate_action(page, "experts.close-route", NULL); /* the button beside it */
    assert_int_equal(moe_transcript_get_selected(d.transcript), -1);
    assert_int_equal(moe_expert_map_get_token(map), -1);
    desktop_stop(&d);
}

static void an_expert_tints_the_tokens_it_served(void **state)
{
    struct desktop d;
    MoeRank rank, other;
    (void)state;
    start(&d);
    run(&d);
    MoeRouteLog *log = moe_experts_get_log(experts);
    assert_true(moe_route_log_get_rank(log, 20, 1, 0, &rank));
    assert_false(is_tinted(&d, 20));
    moe_expert_map_set_cursor(map, 1, rank.expert);
    press("map.select");
    assert_true(is_tinted(&d, 20));
    int stranger = 21;
    while (moe_route_log_find(log, (guint)stranger, 1, rank.expert, &other) && other.chosen)
        stranger++;
    assert_false(is_tinted(&d, stranger));
    press("map.select");
    assert_false(is_tinted(&d, 20));
    desktop_stop(&d);
}

static void experts_that_are_off_serve_nobody_and_change_the_text(void **state)
{
    struct desktop d;
    MoeLoad load;
    (void)state;
    start(&d);
    MoeRouteLog *log = moe_experts_get_log(experts);
    run(&d);
    g_autofree char *before = desktop_text(&d);
    moe_route_log_get_load(log, 0, &load);
    guint busiest = load.busiest;
    gtk_widget_activate_action(
        GTK_WIDGET(moe_experts_page_get_steering_panel(moe_experts_get_page(experts))),
        "steering.busiest-off", NULL);
    assert_int_equal(moe_steering_get_state(moe_experts_get_steering(experts), 0, busiest),
                     VKMOE_EXPERT_OFF);
    run_by(&d, "win.regenerate");
    assert_null(desktop_notice(&d));
    assert_int_equal(moe_route_log_get_chosen(log, 0, busiest), 0);
    g_autofree char *after = desktop_text(&d);
    assert_string_not_equal(before, after);
    desktop_stop(&d);
}

static void what_cannot_be_is_refused_in_a_sentence(void **state)
{
    struct desktop d;
    (void)state;
    start(&d);
    MoeSteering *steering = moe_experts_get_steering(experts);
    MoeSteeringPanel *panel = moe_experts_page_get_steering_panel(moe_experts_get_page(experts));
    assert_true(moe_steering_set_n_active(steering, 32, NULL));
    moe_expert_map_set_cursor(map, 1, 3);
    press("map.toggle");
    assert_non_null(strstr(moe_steering_panel_get_refusal(panel), "Layer 1"));
    assert_int_equal(moe_steering_count(steering, VKMOE_EXPERT_OFF), 0);
    moe_steering_reset(steering);
    assert_string_equal(moe_steering_panel_get_refusal(panel), "");
    press("map.toggle");
    assert_int_equal(moe_steering_get_state(steering, 1, 3), VKMOE_EXPERT_OFF);
    desktop_stop(&d);
}

static void the_cursor_stays_on_the_map_and_in_sight(void **state)
{
    struct desktop d;
    guint layer, expert;
    (void)state;
    start(&d);
    desktop_settle(&d);
    moe_expert_map_set_cursor(map, 99, 99);
    moe_expert_map_get_cursor(map, &layer, &expert);
    assert_int_equal(layer, 2);
    assert_int_equal(expert, 31);
    moe_expert_map_set_zoom(map, 3);
    assert_true(moe_expert_map_get_zoom(map) > 1);
    GdkRectangle area = moe_expert_map_get_area(map, layer, expert);
    assert_true(area.x >= 0 && area.x + area.width <= gtk_widget_get_width(GTK_WIDGET(map)));
    moe_expert_map_set_zoom(map, 1);
    assert_true(moe_expert_map_get_zoom(map) == 1);
    desktop_stop(&d);
}

static void keys_move_select_switch_and_zoom(void **state)
{
    struct desktop d;
    guint layer, expert;
    (void)state;
    start(&d);
    MoeSteering *steering = moe_experts_get_steering(experts);
    desktop_settle(&d);
    assert_true(press_key(GDK_KEY_Down, 0) && press_key(GDK_KEY_Right, 0));
    assert_true(press_key(GDK_KEY_Right, 0) && press_key(GDK_KEY_Left, 0));
    moe_expert_map_get_cursor(map, &layer, &expert);
    assert_true(layer == 1 && expert == 1);
    assert_false(press_key(GDK_KEY_Escape, 0)); /* nothing to leave: it is the window's */
    assert_true(press_key(GDK_KEY_Return, 0));
    assert_true(moe_expert_map_get_selected(map, &layer, &expert));
    assert_true(layer == 1 && expert == 1);
    assert_true(press_key(GDK_KEY_Escape, 0));
    assert_false(moe_expert_map_get_selected(map, &layer, &expert));
    assert_true(press_key(GDK_KEY_space, 0));
    assert_int_equal(moe_steering_get_state(steering, 1, 1), VKMOE_EXPERT_OFF);
    assert_true(press_key(GDK_KEY_space, GDK_SHIFT_MASK));
    assert_int_equal(moe_steering_get_state(steering, 1, 1), VKMOE_EXPERT_FORCED);
    assert_true(press_key(GDK_KEY_plus, 0));
    assert_true(moe_expert_map_get_zoom(map) > 1);
    assert_true(press_key(GDK_KEY_minus, 0));
    assert_true(moe_expert_map_get_zoom(map) == 1);
    assert_true(press_key(GDK_KEY_End, 0) && press_key(GDK_KEY_Page_Up, 0));
    moe_expert_map_get_cursor(map, &layer, &expert);
    assert_true(layer == 0 && expert == 31);
    assert_true(press_key(GDK_KEY_Home, 0) && press_key(GDK_KEY_Up, 0));
    moe_expert_map_get_cursor(map, &layer, &expert);
    assert_true(layer == 0 && expert == 0);
    desktop_stop(&d);
}

static bool are_compared(void *data)
{
    MoeComparison *c = data;
    return moe_comparison_is_finished(c, MOE_SIDE_LEFT) &&
           moe_comparison_is_finished(c, MOE_SIDE_RIGHT);
}

static void two_settings_run_side_by_side(void **state)
{
    struct desktop d;
    (void)state;
    start(&d);
    MoeComparePage *page = moe_experts_get_compare_page(experts);
    MoeComparison *c = moe_compare_page_get_comparison(page);
    gtk_widget_activate_action(GTK_WIDGET(page), "compare.run", NULL);
    assert_true(moe_compare_page_is_running(page));
    desktop_wait(are_compared, c, "both sides should end");
    assert_true(moe_comparison_get_length(c, MOE_SIDE_LEFT) > 0);
    assert_int_equal(moe_comparison_get_parting(c), -1); /* the same settings */
    assert_true(moe_comparison_get_difference(c) == 0);
    desktop_wait(has_ended, &d, "the worker should be ready");
    assert_true(moe_steering_set_n_active(moe_experts_get_steering(experts), 1, NULL));
    gtk_widget_activate_action(GTK_WIDGET(page), "compare.run", NULL);
    desktop_wait(are_compared, c, "both sides should end");
    assert_true(moe_comparison_get_parting(c) >= 0);
    double difference = moe_comparison_get_difference(c);
    assert_true(isfinite(difference) && difference != 0);
    assert_true(moe_comparison_get_mean_logprob(c, MOE_SIDE_LEFT) < 0);
    assert_null(desktop_notice(&d));
    g_autofree char *text = desktop_text(&d);
    assert_string_equal(text, ""); /* the conversation is not touched */
    assert_int_equal(moe_route_log_get_length(moe_experts_get_log(experts)), 0);
    desktop_stop(&d);
}

/* --- pictures --- */

/* A text of another model: every token chooses K experts that a few waves make likely. */
static void feed(MoeRouteLog *log, const MoeShape *shape, guint count)
{
    guint ranks = shape->n_active + 4;
    gsize n = (gsize)shape->n_layers * count * ranks;
    g_autofree gint32 *ids = g_new(gint32, n);
    g_autofree float *gates = g_new(float, n), *probs = g_new(float, n);
    for (gsize i = 0; i < n; i++) {
        gsize rank = i % ranks, token = i / ranks % count, layer = i / ranks / count;
        double at = sin(0.7 * (double)token + (double)layer) + 0.4 * sin(3.1 * (double)token);
        gsize base = (gsize)((at + 1.4) / 2.8 * shape->n_experts);
        ids[i] = (gint32)((base + rank * (rank + layer % 3 + 1) * 7) % shape->n_experts);
        probs[i] = (float)(0.3 * exp2(-(double)rank / 2));
        gates[i] = rank < shape->n_active ? probs[i] : 0;
    }
    moe_route_log_append(log, moe_route_log_get_length(log), count, ranks, ids, gates, probs,
                         g_get_monotonic_time());
}

/* Seconds of this thread alone, as a busy machine would not tell. */
static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw_map(void)
{
    GtkWidget *widget = GTK_WIDGET(map);
    GtkSnapshot *snapshot = gtk_snapshot_new();
    GTK_WIDGET_GET_CLASS(widget)->snapshot(widget, snapshot);
    GskRenderNode *node = gtk_snapshot_free_to_node(snapshot);
    assert_non_null(node);
    g_object_unref(gsk_renderer_render_texture(
        gtk_native_get_renderer(gtk_widget_get_native(widget)), node, NULL));
    gsk_render_node_unref(node);
}

static void a_large_map_keeps_up_with_thirty_batches_a_second(void **state)
{
    static const MoeShape large = {62, 256, 8, 1};
    enum { BATCHES = 40 };
    double took[2] = {0};
    struct desktop d;
    (void)state;
    start(&d);
    MoeRouteLog *log = moe_experts_get_log(experts);
    moe_steering_set_shape(moe_experts_get_steering(experts), &large);
    moe_route_log_set_shape(log, &large);
    feed(log, &large, 1000);
    desktop_settle(&d);
    for (int i = 0; i < BATCHES; i++) {
        double begin = processor_seconds();
        feed(log, &large, 2);
        double drawing = processor_seconds();
        draw_map();
        took[0] += (drawing - begin) * 1e3 / BATCHES;
        took[1] += (processor_seconds() - drawing) * 1e3 / BATCHES;
    }
    print_message(
        "62 x 256 experts, 1000 tokens before: a batch of 2 takes %.2f ms, drawing the map "
        "%.2f ms\n",
        took[0], took[1]);
    assert_true(took[0] + took[1] < 33); /* or it could not */
    desktop_stop(&d);
}

static void pictures(struct desktop *d, const char *what)
{
    static const struct {
        int width, height;
        bool dark;
        const char *name;
    } sizes[] = {{1280, 800, false, "light-1280"},
                 {1280, 800, true, "dark-1280"},
                 {1920, 1080, false, "light-1920"},
                 {1920, 1080, true, "dark-1920"}};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("%s-%s", what, sizes[i].name);
        desktop_screenshot(d, sizes[i].width, sizes[i].height, sizes[i].dark, name);
    }
}

static void the_pages_are_drawn_in_light_and_dark(void **state)
{
    static const MoeShape large = {62, 256, 8, 1};
    struct desktop d;
    MoeRank rank;
    (void)state;
    start(&d);
    MoeRouteLog *log = moe_experts_get_log(experts);
    MoeSteering *steering = moe_experts_get_steering(experts);
    run(&d);
    moe_steering_toggle(steering, 0, 5, NULL);
    moe_steering_set_state(steering, 2, 9, VKMOE_EXPERT_FORCED, NULL);
    gtk_widget_grab_focus(GTK_WIDGET(map));
    pictures(&d, "experts");
    assert_true(moe_route_log_get_rank(log, 20, 1, 0, &rank));
    moe_expert_map_select(map, 1, rank.expert);
    moe_transcript_select(d.transcript, 20);
    pictures(&d, "route");
    moe_transcript_select(d.transcript, -1);
    moe_expert_map_unselect(map);
    moe_route_log_set_shape(log, &large);
    moe_steering_set_shape(steering, &large);
    feed(log, &large, 300);
    pictures(&d, "large");
    moe_experts_page_set_token(moe_experts_get_page(experts), 40, "O");
    moe_expert_map_set_zoom(map, 8);
    pictures(&d, "large-route");
    desktop_stop(&d);
}

static void a_comparison_is_drawn_in_light_and_dark(void **state)
{
    struct desktop d;
    (void)state;
    start(&d);
    MoeComparePage *page = moe_experts_get_compare_page(experts);
    gtk_stack_set_visible_child(GTK_STACK(gtk_widget_get_parent(GTK_WIDGET(page))),
                                GTK_WIDGET(page));
    assert_true(moe_steering_set_n_active(moe_experts_get_steering(experts), 2, NULL));
    gtk_widget_activate_action(GTK_WIDGET(page), "compare.run", NULL);
    desktop_wait(are_compared, moe_compare_page_get_comparison(page), "both sides should end");
    pictures(&d, "compare");
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_of_a_run_fill_the_log_and_light_the_map),
        cmocka_unit_test(the_map_rests_when_its_light_is_out),
        cmocka_unit_test(a_word_shows_its_route),
        cmocka_unit_test(an_expert_tints_the_tokens_it_served),
        cmocka_unit_test(experts_that_are_off_serve_nobody_and_change_the_text),
        cmocka_unit_test(what_cannot_be_is_refused_in_a_sentence),
        cmocka_unit_test(the_cursor_stays_on_the_map_and_in_sight),
        cmocka_unit_test(keys_move_select_switch_and_zoom),
        cmocka_unit_test(two_settings_run_side_by_side),
        cmocka_unit_test(a_large_map_keeps_up_with_thirty_batches_a_second),
        cmocka_unit_test(the_pages_are_drawn_in_light_and_dark),
        cmocka_unit_test(a_comparison_is_drawn_in_light_and_dark),
    };
    return DESKTOP_RUN(tests);
}
