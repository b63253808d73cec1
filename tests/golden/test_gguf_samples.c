/* The shipped model in GGUF files that llama.cpp's tools made, against what an independent float64
 * implementation computes from the values in those very files: logits and experts, on the ways by
 * which a device may run them. The files are not in the tree; without them nothing is tested, and
 * ctest is told so. */
#include "opened.h"
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SKIPPED 77 /* for ctest */
#define EXACT "-fp16,-int8,-coopmat"

static const char *samples; /* the folder */

static const char *const cases[] = {"romeo", "long"};

struct way {
    const char *name;
    vkmoe_device_params device;
    uint32_t chunk;
    bool brief; /* the short case alone */
};

struct sample {
    const char *file;
    struct way way;
};

static void open_sample(struct test_opened *e, const struct sample *s)
{
    char path[4096];
    vkmoe_device_params device = s->way.device;
    snprintf(path, sizeof(path), "%s/%s.gguf", samples, s->file);
    device.paths = EXACT;
    test_open(e, &device, path, s->way.chunk);
}

static void logits_and_experts_match(void **state)
{
    const struct sample *s = *state;
    struct test_opened e;
    open_sample(&e, s);
    for (size_t i = 0; i < (s->way.brief ? 1 : sizeof(cases) / sizeof(cases[0])); i++) {
        char path[4096], what[128];
        struct test_difference worst = {0};
        snprintf(path, sizeof(path), "%s/%s.%s.safetensors", samples, s->file, cases[i]);
        snprintf(what, sizeof(what), "%s, %s, %s", s->file, s->way.name, cases[i]);
        struct test_trace expected = test_trace_read(path);
        struct test_trace got =
            test_trace_eval(e.model, e.session, expected.tokens, expected.count);
        assert_true(expected.n_layers > 0);
        test_trace_compare(&expected, 0, &got, what, &worst);
        print_message("%s, %u tokens: logits within %.2g of the largest, weights within %.2g, "
                      "%u swapped\n",
                      what, expected.count, worst.logit, worst.weight, worst.swapped);
        test_trace_free(&got);
        test_trace_free(&expected);
    }
    test_close(&e);
}

static bool found(void)
{
    struct stat s;
    const char *folder = getenv("VKMOE_TEST_GGUF");
    samples = folder && folder[0] ? folder : VKMOE_GGUF_SAMPLES;
    return stat(samples, &s) == 0 && S_ISDIR(s.st_mode);
}

#define SAMPLE(name_of_file, words, ...)                                                           \
    {                                                                                              \
        .name = "logits and experts match: " name_of_file ", " words,                              \
        .test_func = logits_and_experts_match,                                                     \
        .initial_state = &(struct sample){name_of_file, {.name = words, __VA_ARGS__}},             \
    }
#define SAMPLES(file)                                                                              \
    SAMPLE(file, "default", .chunk = 0),                                                           \
        SAMPLE(file, "tiled from two rows on", .device.tiled_rows = 1),                            \
        SAMPLE(file, "never tiled", .device.tiled_rows = 1000),                                    \
        SAMPLE(file, "only what every device has", .device.no_subgroups = true),                   \
        SAMPLE(file, "tiled, only what every device has",                                          \
               .device = {.tiled_rows = 1, .no_subgroups = true}),                                 \
        SAMPLE(file, "token by token", .chunk = 1),                                                \
        SAMPLE(file, "reference", .device.selector = "reference", .brief = true)

int main(void)
{
    const struct CMUnitTest tests[] = {SAMPLES("trio-q8_0"), SAMPLES("trio-q4_k_m")};
    if (!found()) {
        print_message("%s is not there: nothing is tested\n", samples);
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("gguf_samples", tests, NULL, NULL);
}
