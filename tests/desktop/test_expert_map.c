/* The map of experts without a display: where things lie, what colours mean to every eye, what is
 * drawn, and what is said in words. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "expert_text.h"
#include "map_raster.h"

static const MoeShape small = {3, 32, 6, 2}, large = {62, 256, 8, 1};

static MoeMapLayout layout_of(const MoeShape *shape, double width, double height, double zoom)
{
    MoeMapLayout l = {.shape = *shape, .width = width, .height = height, .labels = 24, .axis = 16};
    l.zoom = zoom;
    moe_map_layout_update(&l);
    return l;
}

/* --- layout --- */

static void a_point_in_an_experts_area_finds_it(void **state)
{
    const MoeShape *shapes[] = {&small, &large};
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (double zoom = 1; zoom < 20; zoom *= 3) {
            MoeMapLayout l = layout_of(shapes[i], 640, 400, zoom);
            for (guint layer = 0; layer < l.shape.n_layers; layer += 7)
                for (guint e = 0; e < l.shape.n_experts; e += 11) {
                    guint row, column;
                    moe_map_layout_reveal(&l, layer, e);
                    MoeMapArea a = moe_map_layout_expert(&l, layer, e);
                    assert_int_equal(moe_map_layout_find(&l, a.x + a.width / 2, a.y + a.height / 2,
                                                         &row, &column),
                                     MOE_MAP_EXPERT);
                    assert_int_equal(row, layer);
                    assert_int_equal(column, e);
                    assert_true(a.x >= l.grid_x - 0.01);
                    assert_true(a.x + a.width <= l.grid_x + l.grid_width + 0.01);
                    assert_true(a.y >= l.grid_y - 0.01);
                    assert_true(a.y + a.height <= l.grid_y + l.grid_height + 0.01);
                }
        }
}

static void all_of_a_map_is_seen_at_first(void **state)
{
    guint layers[2], experts[2];
    (void)state;
    MoeMapLayout l = layout_of(&large, 640, 400, 1);
    assert_true(l.full_width <= l.grid_width + 0.01 && l.full_height <= l.grid_height + 0.01);
    moe_map_layout_seen(&l, layers, experts);
    assert_int_equal(layers[0], 0);
    assert_int_equal(layers[1], large.n_layers);
    assert_int_equal(experts[1], large.n_experts);
}

static void zooming_keeps_what_is_under_the_pointer(void **state)
{
    guint before[2], after[2];
    (void)state;
    MoeMapLayout l = layout_of(&large, 640, 400, 1);
    moe_map_layout_find(&l, 333, 222, &before[0], &before[1]);
    for (double zoom = 2; zoom <= 16; zoom *= 2) {
        moe_map_layout_zoom_at(&l, zoom, 333, 222);
        assert_int_equal(moe_map_layout_find(&l, 333, 222, &after[0], &after[1]), MOE_MAP_EXPERT);
        assert_int_equal(after[0], before[0]);
        assert_int_equal(after[1], before[1]);
    }
    moe_map_layout_zoom_at(&l, 1, 333, 222);
    assert_true(l.x == 0 && l.y == 0);
}

static void labels_and_shared_experts_lie_beside_the_rest(void **state)
{
    guint layer, number;
    (void)state;
    MoeMapLayout l = layout_of(&small, 640, 400, 1);
    MoeMapArea shared = moe_map_layout_shared(&l, 1, 1);
    MoeMapArea first = moe_map_layout_expert(&l, 1, 0);
    assert_true(shared.x + shared.width < first.x);
    assert_int_equal(moe_map_layout_find(&l, shared.x + 1, shared.y + 1, &layer, &number),
                     MOE_MAP_SHARED);
    assert_int_equal(layer, 1);
    assert_int_equal(number, 1);
    assert_int_equal(moe_map_layout_find(&l, 3, shared.y + 1, &layer, &number), MOE_MAP_LAYER);
    assert_int_equal(moe_map_layout_find(&l, 300, 3, &layer, &number), MOE_MAP_NOTHING);
    assert_int_equal(moe_map_layout_find(&l, 300, 399, &layer, &number), MOE_MAP_NOTHING);
    assert_int_equal(moe_map_layout_find(&l, -1, 50, &layer, &number), MOE_MAP_NOTHING);
}

static void any_size_has_a_layout(void **state)
{
    const MoeShape none = {0}, one = {1, 1, 1, 0}, wide = {1, 1024, 8, 0};
    const MoeShape *shapes[] = {&none, &one, &wide, &small, &large};
    guint layer, number;
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++)
        for (double size = 0; size < 3000; size = size * 3 + 1) {
            MoeMapLayout l = layout_of(shapes[i], size, size / 2, 1e9);
            assert_true(l.zoom >= 1 && l.zoom <= l.most_zoom);
            assert_true(l.cell_width >= 1 && l.cell_height >= 1);
            assert_true(l.x == 0 && l.y == 0);
            moe_map_layout_find(&l, size / 2, size / 4, &layer, &number);
            assert_true(layer < MAX(shapes[i]->n_layers, 1));
        }
}

static void numbers_have_room(void **state)
{
    (void)state;
    assert_int_equal(moe_map_layout_step(30, 26), 1);
    assert_int_equal(moe_map_layout_step(14, 26), 2);
    assert_int_equal(moe_map_layout_step(6, 26), 5);
    assert_int_equal(moe_map_layout_step(2.3, 26), 20);
    assert_int_equal(moe_map_layout_step(0.3, 26), 100);
}

/* --- colours --- */

/* Linear light, and how it looks to somebody without one kind of cone: the planes of Viénot,
 * Brettel and Mollon (1999) for protanopia and deuteranopia, of Brettel (1997) reduced to one for
 * tritanopia.
 */
static void seen_by(int cone, MoeColour colour, double seen[3])
{
    static const double without[3][3][3] = {
        {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
        {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
        {{1.01277, 0.13548, -0.14826}, {-0.01243, 0.86812, 0.14431}, {0.07589, 0.80500, 0.11911}}};
    double parts[3];
    moe_colour_parts(colour, parts);
    for (int i = 0; i < 3; i++)
        parts[i] = parts[i] <= 0.04045 ? parts[i] / 12.92 : pow((parts[i] + 0.055) / 1.055, 2.4);
    for (int i = 0; i < 3; i++) {
        seen[i] = cone < 3 ? 0 : parts[i];
        for (int j = 0; j < 3 && cone < 3; j++)
            seen[i] += without[cone][i][j] * parts[j];
        seen[i] = CLAMP(seen[i], 0, 1);
    }
}

/* Distance in CIELAB. */
static double difference(int cone, MoeColour a, MoeColour b)
{
    static const double xyz[3][3] = {{0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505},
                                     {0.2126, 0.7152, 0.0722},
                                     {0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089}};
    double f[2][3];
    for (int k = 0; k < 2; k++) {
        double seen[3];
        seen_by(cone, k == 0 ? a : b, seen);
        for (int i = 0; i < 3; i++) {
            double t = xyz[i][0] * seen[0] + xyz[i][1] * seen[1] + xyz[i][2] * seen[2];
            f[k][i] = t > 0.008856 ? cbrt(t) : 7.787 * t + 16.0 / 116;
        }
    }
    double l = 116 * (f[0][1] - f[1][1]);
    double red = 500 * ((f[0][0] - f[0][1]) - (f[1][0] - f[1][1]));
    double blue = 200 * ((f[0][1] - f[0][2]) - (f[1][1] - f[1][2]));
    return sqrt(l * l + red * red + blue * blue);
}

static void scales_are_ordered_by_lightness_alone(void **state)
{
    (void)state;
    for (int dark = 0; dark < 2; dark++) {
        const MoePalette *p = moe_palette(dark);
        double sign = dark ? 1 : -1;
        for (int i = 1; i <= 40; i++) {
            double load[2], gate[2];
            for (int k = 0; k < 2; k++) {
                double t = (i - 1 + k) / 40.0;
                load[k] = moe_colour_luminance(moe_palette_load(p, t * t * MOE_LOAD_MOST));
                gate[k] = moe_colour_luminance(moe_palette_gate(p, t));
            }
            assert_true(sign * (load[1] - load[0]) > 0);
            assert_true(sign * (gate[1] - gate[0]) > 0);
        }
    }
}

static void what_glows_is_told_from_every_load_by_every_eye(void **state)
{
    (void)state;
    for (int dark = 0; dark < 2; dark++)
        for (int cone = 0; cone < 4; cone++)
            for (int i = 0; i <= 20; i++) {
                const MoePalette *p = moe_palette(dark);
                MoeColour load = moe_palette_load(p, i * i / 400.0 * MOE_LOAD_MOST);
                double apart = difference(cone, load, moe_palette_glow(p, load, 1));
                if (apart < 20)
                    fail_msg("%s, eye %d: glow and load %d differ by %.0f", dark ? "dark" : "light",
                             cone, i, apart);
            }
}

static void marks_and_text_stand_out(void **state)
{
    (void)state;
    for (int dark = 0; dark < 2; dark++) {
        const MoePalette *p = moe_palette(dark);
        double back = moe_colour_luminance(p->back), ink = moe_colour_luminance(p->ink);
        double soft = moe_colour_luminance(p->soft), off = moe_colour_luminance(p->off);
        assert_true((MAX(back, ink) + 0.05) / (MIN(back, ink) + 0.05) >= 7);
        assert_true((MAX(back, soft) + 0.05) / (MIN(back, soft) + 0.05) >= 4.5);
        assert_true((MAX(off, soft) + 0.05) / (MIN(off, soft) + 0.05) >= 4.5); /* the hatching */
    }
}

static void glow_begins_at_the_load_and_ends_at_its_own_colour(void **state)
{
    const MoePalette *p = moe_palette(FALSE);
    (void)state;
    assert_int_equal(moe_palette_glow(p, p->load[2], 0), p->load[2]);
    assert_int_equal(moe_palette_glow(p, p->load[2], 1), p->glow);
    assert_int_equal(moe_palette_load(p, 0), p->load[0]);
    assert_int_equal(moe_palette_load(p, 1000), p->load[MOE_SCALE_STOPS - 1]);
    assert_int_equal(moe_palette_gate(p, -1), p->gate[0]);
}

/* --- pixels --- */

struct raster {
    MoeMapLayout layout;
    MoeColour *fill, *pixels;
    guint8 *marks;
    int width, height;
    MoeMapCells cells;
};

/* Expert e of layer l has the colour 0xff000000 + 256 l + e. */
static void raster_init(struct raster *r, const MoeShape *shape, double zoom, int scale)
{
    size_t n = (size_t)shape->n_layers * shape->n_experts;
    *r = (struct raster){.layout = layout_of(shape, 640, 400, zoom)};
    r->fill = g_new(MoeColour, n);
    r->marks = g_new0(guint8, n);
    for (size_t i = 0; i < n; i++)
        r->fill[i] =
            0xff000000u + (guint)(i / shape->n_experts) * 256 + (guint)(i % shape->n_experts);
    r->cells = (MoeMapCells){&r->layout, moe_palette(FALSE), r->fill, r->marks, scale};
}

static void raster_draw(struct raster *r)
{
    moe_map_raster_size(&r->cells, &r->width, &r->height);
    g_free(r->pixels);
    r->pixels = g_new0(MoeColour, (size_t)r->width * (size_t)r->height);
    moe_map_raster(&r->cells, r->pixels);
}

static void raster_clear(struct raster *r)
{
    g_free(r->fill);
    g_free(r->marks);
    g_free(r->pixels);
}

static MoeColour pixel_at(struct raster *r, guint layer, guint expert, double x, double y)
{
    MoeMapArea a = moe_map_layout_expert(&r->layout, layer, expert);
    int column = (int)((a.x - r->layout.grid_x + x * a.width) * r->cells.scale);
    int row = (int)((a.y - r->layout.grid_y + y * a.height) * r->cells.scale);
    assert_true(column >= 0 && column < r->width && row >= 0 && row < r->height);
    return r->pixels[(size_t)row * (size_t)r->width + (size_t)column];
}

static void every_cell_has_its_colour_in_its_middle(void **state)
{
    (void)state;
    for (int scale = 1; scale <= 2; scale++)
        for (int i = 0; i < 2; i++) {
            struct raster r;
            raster_init(&r, i == 0 ? &small : &large, 1, scale);
            raster_draw(&r);
            for (guint layer = 0; layer < r.layout.shape.n_layers; layer++)
                for (guint e = 0; e < r.layout.shape.n_experts; e++)
                    assert_int_equal(pixel_at(&r, layer, e, 0.5, 0.5),
                                     0xff000000u + layer * 256 + e);
            raster_clear(&r);
        }
}

static void a_scrolled_picture_shows_what_is_scrolled_to(void **state)
{
    struct raster r;
    (void)state;
    raster_init(&r, &large, 10, 1);
    moe_map_layout_reveal(&r.layout, 50, 200);
    raster_draw(&r);
    assert_int_equal(pixel_at(&r, 50, 200, 0.4, 0.4), 0xff000000u + 50 * 256 + 200);
    raster_clear(&r);
}

static void marks_are_shapes_and_not_colours_alone(void **state)
{
    struct raster r;
    const MoePalette *p = moe_palette(FALSE);
    (void)state;
    raster_init(&r, &small, 1, 1);
    r.marks[3] = MOE_MARK_OFF;
    r.marks[7] = MOE_MARK_FORCED;
    r.marks[9] = MOE_MARK_RUNNER_UP;
    raster_draw(&r);
    int strokes = 0, ground = 0;
    MoeMapArea a = moe_map_layout_expert(&r.layout, 0, 3);
    for (int x = 0; x < (int)a.width - 1; x++) {
        MoeColour at = pixel_at(&r, 0, 3, (x + 0.5) / a.width, 0.5);
        strokes += at == p->soft;
        ground += at == p->off;
    }
    assert_true(strokes >= 2 && ground > strokes);
    assert_int_equal(pixel_at(&r, 0, 7, 0.5, 0.01), p->ink);
    assert_int_equal(pixel_at(&r, 0, 7, 0.5, 0.5), 0xff000007);
    assert_int_equal(pixel_at(&r, 0, 9, 0.5, 0.01), moe_palette_gate(p, 0.6));
    assert_int_equal(pixel_at(&r, 0, 9, 0.5, 0.5), 0xff000009);
    raster_clear(&r);
}

static void what_was_chosen_before_it_was_switched_off_shows_both(void **state)
{
    struct raster r;
    int strokes = 0, fill = 0;
    (void)state;
    raster_init(&r, &small, 1, 1);
    r.marks[3] = MOE_MARK_OFF | MOE_MARK_STRONG;
    raster_draw(&r);
    MoeMapArea a = moe_map_layout_expert(&r.layout, 0, 3);
    for (int x = 0; x < (int)a.width - 1; x++) {
        MoeColour at = pixel_at(&r, 0, 3, (x + 0.5) / a.width, 0.5);
        strokes += at == moe_palette(FALSE)->soft;
        fill += at == 0xff000003;
    }
    assert_true(strokes >= 2 && fill > strokes);
    raster_clear(&r);
}

static void what_is_strong_is_seen_however_small_cells_are(void **state)
{
    struct raster r;
    guint seen = 0;
    (void)state;
    raster_init(&r, &large, 1, 1);
    r.fill[5 * large.n_experts + 100] = 0xffabcdef;
    r.marks[5 * large.n_experts + 100] = MOE_MARK_STRONG;
    raster_draw(&r);
    for (size_t i = 0; i < (size_t)r.width * (size_t)r.height; i++)
        seen += r.pixels[i] == 0xffabcdef;
    assert_true(seen >= 9);
    raster_clear(&r);
}

/* --- words --- */

static MoeRouteLog *a_log(void)
{
    static const gint32 ids[] = {3, 1, 2, 3, 0, 1};
    static const float gates[] = {0.5f, 0.25f, 0, 0.6f, 0.2f, 0};
    static const float probs[] = {0.5f, 0.25f, 0.2f, 0.6f, 0.2f, 0.1f};
    const MoeShape shape = {1, 4, 2, 2};
    MoeRouteLog *log = moe_route_log_new();
    moe_route_log_set_shape(log, &shape);
    moe_route_log_append(log, 0, 2, 3, ids, gates, probs, 0);
    return log;
}

static void says(char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("“%s” does not say “%s”", text, words);
    g_free(text);
}

static void an_expert_is_described_with_gate_and_share(void **state)
{
    MoeRouteLog *log = a_log();
    MoeSteering *steering = moe_steering_new();
    (void)state;
    moe_steering_set_shape(steering, moe_route_log_get_shape(log));
    says(moe_expert_text(log, steering, 0, 0, 1),
         "Layer 0, expert 1 · gate 0.250 for this token · 50.0\u00a0% of the text (1 of 2 tokens; "
         "even: 50.0\u00a0%)");
    says(moe_expert_text(log, steering, -1, 0, 3), "gate 0.600 for the last token");
    says(moe_expert_text(log, steering, -1, 0, 1), "runner-up for the last token (probability "
                                                   "0.100)");
    says(moe_expert_text(log, steering, -1, 0, 2), "did not serve the last token");
    moe_steering_toggle(steering, 0, 2, NULL);
    says(moe_expert_text(log, steering, -1, 0, 2), "switched off");
    moe_steering_set_state(steering, 0, 3, VKMOE_EXPERT_FORCED, NULL);
    says(moe_expert_text(log, steering, -1, 0, 3), "always used");
    says(moe_shared_text(log, steering, 0, 1), "shared expert 2 of 2 · serves every token");
    moe_steering_set_use_shared(steering, FALSE);
    says(moe_shared_text(log, steering, 0, 0), "switched off");
    moe_route_log_truncate(log, 0);
    says(moe_expert_text(log, steering, -1, 0, 0), "Layer 0, expert 0");
    g_object_unref(steering);
    g_object_unref(log);
}

static void a_layer_is_described_by_its_load(void **state)
{
    MoeRouteLog *log = a_log();
    MoeSteering *steering = moe_steering_new();
    (void)state;
    moe_steering_set_shape(steering, moe_route_log_get_shape(log));
    says(moe_layer_text(log, steering, 0), "busiest is expert 3, 2.0\u00a0× the mean");
    says(moe_layer_text(log, steering, 0), "balance loss ≈ ");
    says(moe_layer_text(log, steering, 0), "1 not used yet");
    for (guint e = 0; e < moe_route_log_get_shape(log)->n_experts; e++)
        if (moe_route_log_get_chosen(log, 0, e) == 0)
            assert_true(moe_steering_set_state(steering, 0, e, VKMOE_EXPERT_OFF, NULL));
    char *without = moe_layer_text(log, steering, 0); /* nobody could use it */
    assert_null(strstr(without, "not used yet"));
    g_free(without);
    says(moe_model_text(log, steering), "2 tokens · entropy 0.");
    moe_route_log_truncate(log, 0);
    says(moe_layer_text(log, steering, 0), "no tokens yet");
    says(moe_model_text(log, steering), "no tokens yet");
    g_object_unref(steering);
    g_object_unref(log);
}

static void a_route_is_described_by_its_ranks(void **state)
{
    MoeRouteLog *log = a_log();
    (void)state;
    says(moe_route_text(log, 0, 0), "3\u00a0(0.500)  1\u00a0(0.250)");
    says(moe_runners_text(log, 0, 0, 5), "2\u00a0(0.200)");
    g_autofree char *none = moe_runners_text(log, 0, 0, 0);
    g_autofree char *unknown = moe_route_text(log, 9, 0);
    assert_string_equal(none, "");
    assert_string_equal(unknown, "");
    g_object_unref(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_point_in_an_experts_area_finds_it),
        cmocka_unit_test(all_of_a_map_is_seen_at_first),
        cmocka_unit_test(zooming_keeps_what_is_under_the_pointer),
        cmocka_unit_test(labels_and_shared_experts_lie_beside_the_rest),
        cmocka_unit_test(any_size_has_a_layout),
        cmocka_unit_test(numbers_have_room),
        cmocka_unit_test(scales_are_ordered_by_lightness_alone),
        cmocka_unit_test(what_glows_is_told_from_every_load_by_every_eye),
        cmocka_unit_test(marks_and_text_stand_out),
        cmocka_unit_test(glow_begins_at_the_load_and_ends_at_its_own_colour),
        cmocka_unit_test(every_cell_has_its_colour_in_its_middle),
        cmocka_unit_test(a_scrolled_picture_shows_what_is_scrolled_to),
        cmocka_unit_test(marks_are_shapes_and_not_colours_alone),
        cmocka_unit_test(what_was_chosen_before_it_was_switched_off_shows_both),
        cmocka_unit_test(what_is_strong_is_seen_however_small_cells_are),
        cmocka_unit_test(an_expert_is_described_with_gate_and_share),
        cmocka_unit_test(a_layer_is_described_by_its_load),
        cmocka_unit_test(a_route_is_described_by_its_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
