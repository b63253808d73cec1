/* vkmoe plan, refusals, --memory-limit and --force as scripts see them; and what devices says of
 * its choice. */
#include "support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

#define RUN "run", "-p", "ROMEO:\n", "--temp", "0", "-n", "24"

static json_t *parse(struct test_process *p)
{
    test_process_assert_code(p, 0);
    assert_string_equal(p->err, "");
    json_t *root = json_loads(p->out, 0, NULL);
    assert_non_null(root);
    test_process_free(p);
    return root;
}

static json_int_t integer(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_integer(value))
        fail_msg("%s is no integer", key);
    return json_integer_value(value);
}

static json_t *plan_json(const char *flag, const char *value)
{
    struct test_process p = {0};
    test_vkmoe(&p, "plan", "--json", flag, value);
    return parse(&p);
}

static void plan_needs_no_files_for_a_known_configuration(void **state)
{
    json_t *root = plan_json("--config", "deepseek-moe-16b");
    const json_t *heaps = json_object_get(root, "heaps");
    json_int_t weights = 0, kv_cache = 0;
    (void)state;
    assert_int_equal(integer(root, "experts"), 27 * 64);
    assert_int_equal(integer(root, "context"), 4096);
    assert_true(json_is_boolean(json_object_get(root, "fits")));
    for (size_t i = 0; i < json_array_size(heaps); i++) {
        const json_t *heap = json_array_get(heaps, i);
        weights += integer(heap, "weights");
        kv_cache += integer(heap, "kv_cache");
        assert_int_equal(integer(heap, "total"),
                         integer(heap, "weights") + integer(heap, "kv_cache") +
                             integer(heap, "scratch") + integer(heap, "unused"));
        assert_true(integer(heap, "left") >= 0 && integer(heap, "reserve") >= 0);
    }
    assert_in_range(weights, 32751456256, 32800000000);
    assert_int_equal(kv_cache, 458752ll * 4096);
    json_decref(root);
}

static void plan_knows_what_quantised_weights_take(void **state)
{
    /* Rows of 2048, 10944, 2816 and 1408 elements as Q4, the head's as Q8, embeddings as BF16. */
    const json_int_t q4 = 102400ll * (4096 + 2176) + 28 * 4 * 2048ll * 1280 +
                          (2 * 10944 * 1280ll + 2048 * 6848ll) +
                          27 * (2 * 2816 * 1280ll + 2048 * 1760ll) +
                          27 * 64 * (2 * 1408 * 1280ll + 2048 * 880ll) + 27 * 64 * 2048ll * 4;
    struct test_process p = {0};
    json_int_t weights = 0;
    (void)state;
    test_vkmoe(&p, "plan", "--json", "--config", "deepseek-moe-16b", "--weights", "q4");
    json_t *root = parse(&p);
    const json_t *heaps = json_object_get(root, "heaps");
    for (size_t i = 0; i < json_array_size(heaps); i++)
        weights += integer(json_array_get(heaps, i), "weights");
    assert_in_range(weights, q4, q4 + 2000000); /* norms and tables of addresses besides */
    json_decref(root);
}

static void plan_knows_what_a_smaller_cache_takes(void **state)
{
    static const struct {
        const char *name;
        json_int_t per_token; /* of 28 layers with 16 heads of 128 */
    } kinds[] = {{"f32", 458752}, {"f16", 229376}, {"bf16", 229376}, {"q8", 28 * 2 * 16 * 136}};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct test_process p = {0};
        json_int_t kv_cache = 0;
        test_vkmoe(&p, "plan", "--json", "--config", "deepseek-moe-16b", "--kv", kinds[k].name);
        json_t *root = parse(&p);
        const json_t *heaps = json_object_get(root, "heaps");
        for (size_t i = 0; i < json_array_size(heaps); i++)
            kv_cache += integer(json_array_get(heaps, i), "kv_cache");
        assert_int_equal(kv_cache, kinds[k].per_token * 4096);
        assert_int_equal(integer(root, "kv_bytes_per_token"), kinds[k].per_token);
        assert_string_equal(json_string_value(json_object_get(root, "kv")), kinds[k].name);
        json_decref(root);
    }
}

static void plan_heeds_context_and_limit(void **state)
{
    json_t *long_context = plan_json("-c", "8192"), *limited = plan_json("--memory-limit", "1K");
    (void)state;
    assert_int_equal(integer(long_context, "context"), 8192);
    assert_true(json_is_true(json_object_get(long_context, "fits")));
    assert_int_equal(integer(limited, "memory_limit"), 1024);
    assert_int_equal(integer(limited, "host_experts"), 96);
    assert_true(json_is_false(json_object_get(limited, "fits")));
    test_assert_part(json_string_value(json_object_get(limited, "reason")), "--memory-limit");
    json_decref(long_context);
    json_decref(limited);
}

/* As the authors of the model promise, whatever the device here has. */
static void the_16b_model_fits_40_gb_by_the_limit_alone(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "plan", "--json", "--config", "deepseek-moe-16b", "--memory-limit", "40000M");
    json_t *root = parse(&p);
    assert_true(json_is_true(json_object_get(root, "fits")));
    assert_int_equal(integer(root, "host_experts"), 0);
    assert_in_range(integer(root, "device_bytes"), 32751456256 + 458752ll * 4096, 40000000000);
    bool alone = json_is_true(json_object_get(root, "limit_alone"));
    json_decref(root);
    test_vkmoe(&p, "plan", "--config", "deepseek-moe-16b", "--memory-limit", "40G");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "memory limit               42949.7 MB, of which it takes 3");
    test_assert_part(p.out, "it fits\n");
    assert_true(!strstr(p.out, "judged by the limit alone, as ") == !alone);
    test_process_free(&p);
}

/* Whether the device's own memory would be too small as well or not; and a plan is told, which is
 * done, however it turns out. */
static void a_limit_that_is_too_small_is_what_is_blamed(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "plan", "--config", "deepseek-moe-16b", "--memory-limit", "3G");
    test_process_assert_code(&p, 0);
    test_assert_part(p.out, "it does not fit: deepseek-moe-16b needs ");
    test_assert_part(p.out, "MiB of device memory, the memory limit grants 3072.0 MiB");
    test_process_free(&p);
}

static void plan_on_the_reference_does_not_contradict_itself(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "plan", "--config", "deepseek-moe-145b", "--device", "reference", "--chunk",
               "1");
    test_process_assert_code(&p, 0);
    if (strstr(p.out, "it fits\n"))
        assert_true(strtod(strstr(p.out, "  all ") + 6, NULL) <=
                    strtod(strstr(p.out, "  there is ") + 11, NULL));
    else
        test_assert_part(p.out, "takes more than the host's memory\n");
    test_process_free(&p);
}

static void plan_is_a_table_for_people(void **state)
{
    struct test_process p = {0}, tight = {0};
    (void)state;
    test_vkmoe(&p, "plan");
    test_process_assert_code(&p, 0);
    assert_string_equal(p.err, "");
    test_assert_part(p.out, "context 512, chunks of 256");
    test_assert_part(p.out, "KV cache                          4.2 MB");
    test_assert_part(p.out, "0 of 96");
    test_assert_part(p.out, "it fits\n");
    test_vkmoe(&tight, "plan", "--memory-limit", "1M");
    test_process_assert_code(&tight, 0);
    test_assert_part(tight.out, "96 of 96");
    test_assert_part(tight.out, "it does not fit: ");
    test_process_free(&p);
    test_process_free(&tight);
}

static void sizes_are_numbers_with_or_without_a_suffix(void **state)
{
    static const struct {
        const char *text;
        json_int_t bytes; /* -1: refused */
    } cases[] = {
        {"1000000", 1000000}, {"512K", 512 << 10}, {"1.5M", 3 << 19},    {"2g", 2ll << 30},
        {"3GiB", 3ll << 30},  {"1T", 1ll << 40},   {"16MB", 16 << 20},   {"0", -1},
        {"-1", -1},           {"M", -1},           {"10X", -1},          {"10Mi", -1},
        {"10 M", -1},         {"nan", -1},         {"99999999999T", -1}, {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_process p = {0};
        test_vkmoe(&p, "plan", "--json", "--memory-limit", cases[i].text);
        if (cases[i].bytes < 0) {
            test_process_assert_code(&p, 2);
            test_assert_part(p.err, "--memory-limit: '");
            test_process_free(&p);
            continue;
        }
        json_t *root = parse(&p);
        assert_int_equal(integer(root, "memory_limit"), cases[i].bytes);
        json_decref(root);
    }
}

static void what_does_not_fit_is_refused_unless_forced(void **state)
{
    struct test_process plain = {0}, refused = {0}, forced = {0};
    (void)state;
    test_vkmoe(&plain, RUN);
    test_process_assert_code(&plain, 0);
    if (strstr(plain.err, "experts in host memory"))
        fail_msg("experts were moved without need: %s", plain.err);
    test_vkmoe(&refused, RUN, "--memory-limit", "1M");
    test_process_assert_code(&refused, 1);
    assert_string_equal(refused.out ? refused.out : "", "");
    test_assert_part(refused.err, "the memory limit grants 1.0 MiB");
    test_assert_part(refused.err, "it would fit with --memory-limit ");
    test_assert_part(refused.err, "--force tries anyway");
    assert_ptr_equal(strchr(refused.err, '\n'), refused.err + strlen(refused.err) - 1);
    test_vkmoe(&forced, RUN, "--memory-limit", "1M", "--force");
    test_process_assert_code(&forced, 0);
    assert_string_equal(forced.out, plain.out);
    test_assert_part(forced.err, "experts in host memory 96 of 96 | of them ");
    test_assert_part(forced.err, "t/s by that, seen ");
    test_process_free(&plain);
    test_process_free(&refused);
    test_process_free(&forced);
}

static void devices_tells_why_the_default_was_chosen(void **state)
{
    struct test_process listed = {0}, brief = {0}, verbose = {0}, run = {0};
    (void)state;
    test_vkmoe(&listed, "devices", "--json");
    json_t *root = parse(&listed);
    const json_t *devices = json_object_get(root, "devices");
    test_vkmoe(&brief, "devices");
    test_vkmoe(&verbose, "devices", "-v");
    test_vkmoe(&run, RUN, "-v");
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        const char *reason = json_string_value(json_object_get(device, "reason"));
        bool is_default = json_is_true(json_object_get(device, "default"));
        test_assert_part(reason, is_default ? "the default: " : "not the default: ");
        test_assert_part(verbose.out, reason);
        assert_null(strstr(brief.out, reason));
    }
    /* A run says which device it took, and why. */
    test_assert_part(run.err, getenv("VKMOE_DEVICE") ? "as asked for" : "the default: ");
    json_decref(root);
    test_process_free(&brief);
    test_process_free(&verbose);
    test_process_free(&run);
}

/* Of the driver's paths, and what became of their self-tests. */
static void devices_tells_of_its_paths(void **state)
{
    struct test_process listed = {0}, verbose = {0};
    (void)state;
    test_vkmoe(&listed, "devices", "--json");
    test_vkmoe(&verbose, "devices", "-v");
    json_t *root = parse(&listed), *device;
    size_t i, j;
    json_array_foreach(json_object_get(root, "devices"), i, device)
    {
        static const char *const names[] = {"base", "subgroup", "wide", "fp16", "int8"};
        const json_t *paths = json_object_get(device, "paths");
        assert_true(json_array_size(paths) >= sizeof(names) / sizeof(names[0]));
        for (j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
            const json_t *path = json_array_get(paths, j);
            assert_string_equal(json_string_value(json_object_get(path, "name")), names[j]);
            assert_true(json_is_boolean(json_object_get(path, "suits")));
            assert_non_null(json_string_value(json_object_get(path, "state")));
            test_assert_part(verbose.out, json_string_value(json_object_get(path, "reason")));
        }
        assert_string_equal(json_string_value(json_object_get(json_array_get(paths, 0), "state")),
                            "trusted");
        /* What it would take by itself: a path that suits it. */
        const char *key;
        json_t *chosen;
        json_object_foreach(json_object_get(device, "chosen_paths"), key, chosen)
        {
            bool suits = false;
            for (j = 0; j < json_array_size(paths); j++) {
                const json_t *path = json_array_get(paths, j);
                if (json_equal(json_object_get(path, "name"), chosen))
                    suits = json_is_true(json_object_get(path, "suits"));
            }
            assert_true(suits);
        }
        assert_int_equal(json_object_size(json_object_get(device, "chosen_paths")), 4);
    }
    test_assert_part(verbose.out, "path base: always trusted\n");
    test_assert_part(verbose.out, "decoding: ");
    test_assert_part(verbose.out, "path int8: ");
    json_decref(root);
    test_process_free(&verbose);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_needs_no_files_for_a_known_configuration),
        cmocka_unit_test(plan_knows_what_quantised_weights_take),
        cmocka_unit_test(plan_knows_what_a_smaller_cache_takes),
        cmocka_unit_test(plan_heeds_context_and_limit),
        cmocka_unit_test(the_16b_model_fits_40_gb_by_the_limit_alone),
        cmocka_unit_test(a_limit_that_is_too_small_is_what_is_blamed),
        cmocka_unit_test(plan_on_the_reference_does_not_contradict_itself),
        cmocka_unit_test(plan_is_a_table_for_people),
        cmocka_unit_test(sizes_are_numbers_with_or_without_a_suffix),
        cmocka_unit_test(what_does_not_fit_is_refused_unless_forced),
        cmocka_unit_test(devices_tells_why_the_default_was_chosen),
        cmocka_unit_test(devices_tells_of_its_paths),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
