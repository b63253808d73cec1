/* The chart of `vkmoe bench --svg`, of results that are made up. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "../../apps/cli/bench.h"

#define LONG_NAME "a_kernel_whose_name_is_longer_than_any_column_of_names_can_be"

static vkmoe_bench_result result(uint32_t n, double ratio)
{
    static const char *const names[] = {"moe_gemv_down", LONG_NAME, "gemv", "topk", "embed"};
    vkmoe_bench_result r = {.tokens = 64,
                            .batch = 1,
                            .repetitions = 3,
                            .mean = 123.4,
                            .deviation = 5.6,
                            .memory = {4e11, 5e11, 4e11},
                            .arithmetic = {1e13, 0, 1e13},
                            .n_kernels = n};
    double seconds = 0.5;
    for (uint32_t i = 0; i < n; i++, seconds /= ratio)
        r.kernels[i] = (vkmoe_bench_kernel){.name = names[i],
                                            .dispatches = i,
                                            .seconds = i + 1 == n ? 0 : seconds,
                                            .bytes = 1e9 * seconds,
                                            .operations = 1e9,
                                            .share = 1.5 - 0.4 * i};
    return r;
}

/* Fails unless tags are closed in the order in which they were opened, attributes are quoted and
 * text has no stray marks; returns how many elements there are. */
static size_t check_well_formed(const char *xml)
{
    const char *open[64];
    size_t depth = 0, elements = 0;
    for (const char *at = strchr(xml, '<'); at; at = strchr(at, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        size_t quotes = 0;
        for (const char *c = at + 1; c < end; c++) {
            quotes += *c == '"';
            assert_true(*c != '<');
        }
        assert_int_equal(quotes % 2, 0);
        if (at[1] == '/') {
            assert_true(depth > 0);
            size_t n = (size_t)(end - at) - 2;
            assert_memory_equal(open[--depth], at + 2, n);
            assert_non_null(strchr(" >\n", open[depth][n]));
        } else if (at[1] != '?' && at[1] != '!') {
            elements++;
            if (end[-1] != '/') {
                assert_true(depth < sizeof(open) / sizeof(open[0]));
                open[depth++] = at + 1;
            }
        }
        at = end;
    }
    assert_int_equal(depth, 0);
    return elements;
}

static char *draw(const vkmoe_bench_result *prompt, const vkmoe_bench_result *generate,
                  const char *model)
{
    static const vkmoe_device_info device = {.name = "A <GPU> & \xff\xfe more", .driver = "driver"};
    const struct bench_options options = {.prompt = 64, .generate = 16, .batch = 8, .depth = 100};
    const struct bench_results r = {.options = &options,
                                    .model = model,
                                    .device = &device,
                                    .prompt = *prompt,
                                    .generate = *generate};
    const char *path = test_folder_path("chart.svg");
    assert_int_equal(bench_draw(&r, path), EXIT_DONE);
    size_t size;
    char *svg = test_file_read(path, &size);
    assert_int_equal(strlen(svg), size);
    return svg;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static void a_chart_is_well_formed_and_says_what_it_shows(void **state)
{
    (void)state;
    vkmoe_bench_result prompt = result(5, 3), generate = result(3, 2);
    char *svg = draw(&prompt, &generate, "folder/model & <\xc3\xa9\xff>");
    assert_true(check_well_formed(svg) > 100);
    assert_non_null(
        strstr(svg, "<title>Time per kernel: model &amp; &lt;\xc3\xa9\xef\xbf\xbd&gt;"));
    assert_non_null(strstr(svg, "pp64@d100: moe_gemv_down 500 ms, " LONG_NAME));
    assert_non_null(strstr(svg, "tg16b8@d100: moe_gemv_down 500 ms"));
    assert_int_equal(occurrences(svg, "embed"), 1);
    assert_int_equal(occurrences(svg, "gemv 0 ms"), 1);
    free(svg);
}

static void one_kernel_may_dominate_and_a_test_be_left_out(void **state)
{
    (void)state;
    vkmoe_bench_result none = {0}, generate = result(5, 1e6);
    char *svg = draw(&none, &generate, "m");
    assert_true(check_well_formed(svg) > 50);
    assert_null(strstr(svg, "pp64"));
    free(svg);
}

static void a_device_without_a_clock_makes_a_chart_too(void **state)
{
    (void)state;
    vkmoe_bench_result none = {0}, prompt = result(5, 2);
    for (int i = 0; i < 5; i++)
        prompt.kernels[i].seconds = 0;
    char *svg = draw(&prompt, &none, "m");
    assert_true(check_well_formed(svg) > 50);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    free(svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(a_chart_is_well_formed_and_says_what_it_shows),
        TEST_IN_FOLDER(one_kernel_may_dominate_and_a_test_be_left_out),
        TEST_IN_FOLDER(a_device_without_a_clock_makes_a_chart_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
