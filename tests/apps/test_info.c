/* vkmoe info: what it prints, for people and for scripts. */
#include "support.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "process.h"

static json_t *info_json(const char *flag, const char *model)
{
    struct test_process p = {0};
    test_vkmoe(&p, "info", "--json", flag, model);
    test_process_assert_code(&p, 0);
    assert_string_equal(p.err, "");
    json_t *root = json_loads(p.out, 0, NULL);
    assert_non_null(root);
    test_process_free(&p);
    return root;
}

static double number(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_number(value))
        fail_msg("%s is no number", key);
    return json_number_value(value);
}

/* The shipped model's, with these keys in the place of its own. */
static void write_config(const char *name, const char *keys)
{
    json_t *root = json_load_file(VKMOE_TEST_MODEL "/config.json", 0, NULL),
           *other = json_loads(keys, 0, NULL);
    assert_true(root && other);
    assert_int_equal(json_object_update(root, other), 0);
    assert_int_equal(json_dump_file(root, test_folder_path(name), 0), 0);
    json_decref(root);
    json_decref(other);
}

static void json_has_the_keys_that_scripts_rely_on(void **state)
{
    (void)state;
    json_t *root = info_json("--config", "deepseek-moe-16b");
    vkmoe_description d;
    assert_int_equal(vkmoe_model_describe("deepseek-moe-16b", &d, NULL), VKMOE_OK);
    assert_true(number(root, "total_parameters") == (double)d.parameters.total);
    assert_true(number(root, "activated_parameters") == (double)d.parameters.activated);
    assert_true(number(root, "forward_flops_per_2k") == d.flops.forward_per_2k);
    assert_true(number(root, "forward_flops_per_4k") == d.flops.forward_per_4k);
    assert_true(number(root, "training_flops_per_2k") == d.flops.training_per_2k);
    assert_true(number(root, "training_flops_per_4k") == d.flops.training_per_4k);
    assert_true(number(root, "expert_combinations") == 74974368);
    assert_true(number(root, "kv_bytes_per_token") == (double)d.kv_bytes_per_token[VKMOE_KV_F32]);
    const json_t *parts = json_object_get(root, "parameters");
    assert_int_equal(json_object_size(parts), VKMOE_PART_COUNT);
    assert_true(number(json_object_get(parts, "routed experts"), "activated") ==
                (double)d.parts[VKMOE_PART_ROUTED_EXPERTS].activated);
    const json_t *bytes = json_object_get(root, "weight_bytes");
    assert_true(number(bytes, "BF16") == 2 * (double)d.parameters.total);
    assert_true(number(bytes, "F32") == 4 * (double)d.parameters.total);
    json_decref(root);
}

static void a_checkpoint_tells_what_it_stores(void **state)
{
    (void)state;
    json_t *root = info_json("-m", VKMOE_TEST_MODEL);
    const json_t *stored = json_object_get(root, "checkpoint_bytes");
    assert_int_equal(json_object_size(stored), 1);
    assert_true(number(stored, "BF16") == 2 * number(root, "total_parameters"));
    json_decref(root);
}

static void the_table_is_the_result(void **state)
{
    static const char *const parts[] = {
        "16.38 B parameters, 2.83 B of them activated",
        "28: 1 dense, 27 with experts",
        "64 in a layer, each 1408 wide; 6 of them",
        "74974368 ways",
        "14.95 B       1.40 B",
        "75.90 T",
        "32.75 GB as BF16",
        "458.75 KB as f32, 229.38 KB as f16, 229.38 KB as bf16, 121.86 KB as q8"};
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "info", "--config", "deepseek-moe-16b");
    test_process_assert_code(&p, 0);
    assert_string_equal(p.err, "");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (!strstr(p.out, parts[i]))
            fail_msg("'%s' is not in: %s", parts[i], p.out);
    test_process_free(&p);
}

/* Of named configurations, and of a file that says more. */
static void the_router_is_told(void **state)
{
    static const struct {
        const char *config, *name, *text;
        double noise, seed;
    } cases[] = {
        {"deepseek-moe-16b", "topk", "topk: the best by score, gates are probabilities\n", 0, 0},
        {"gshard-2b", "gshard", "gshard: the two best by score, gates add up to 1\n", 0, 0},
        {"switch-2b", "switch", "switch: the best one by score", 0, 0},
        {"hash-2b", "hash", "hash: a table over token ids, all gates are the same, seed 0\n", 0, 0},
        {"noisy.json", "topk-normed", "add up to 1; normal noise of 0.25 on scores, seed 9\n", 0.25,
         9},
        {"dense.json", "dense", "dense: all experts, gates are probabilities\n", 0, 0},
    };
    (void)state;
    write_config("noisy.json", "{\"norm_topk_prob\": true, \"vkmoe_router_noise\": 0.25, "
                               "\"vkmoe_router_seed\": 9}");
    write_config("dense.json", "{\"vkmoe_router\": \"dense\", \"num_experts_per_tok\": null}");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *config =
            strstr(cases[i].config, ".json") ? test_folder_path(cases[i].config) : cases[i].config;
        struct test_process p = {0};
        json_t *root = info_json("--config", config);
        assert_string_equal(json_string_value(json_object_get(root, "router")), cases[i].name);
        assert_true(number(root, "router_noise") == cases[i].noise);
        assert_true(number(root, "router_seed") == cases[i].seed);
        json_decref(root);
        test_vkmoe(&p, "info", "--config", config);
        test_process_assert_code(&p, 0);
        test_assert_part(p.out, cases[i].text);
        test_process_free(&p);
    }
}

static void a_dense_model_has_no_router(void **state)
{
    struct test_process p = {0};
    json_t *root = info_json("--config", "dense-2b");
    (void)state;
    assert_true(json_is_null(json_object_get(root, "router")));
    json_decref(root);
    test_vkmoe(&p, "info", "--config", "dense-2b");
    test_process_assert_code(&p, 0);
    assert_null(strstr(p.out, "\nrouter "));
    test_process_free(&p);
}

static void help_names_every_known_configuration(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "info", "--help");
    test_process_assert_code(&p, 0);
    for (size_t i = 0; vkmoe_config_name(i); i++)
        assert_non_null(strstr(p.out, vkmoe_config_name(i)));
    test_process_free(&p);
}

static void an_unknown_model_is_named(void **state)
{
    struct test_process p = {0};
    (void)state;
    test_vkmoe(&p, "info", "--config", "deepseek-moe-3b");
    test_process_assert_code(&p, 1);
    assert_string_equal(p.out ? p.out : "", "");
    assert_non_null(strstr(p.err, "deepseek-moe-3b"));
    test_process_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_the_keys_that_scripts_rely_on),
        cmocka_unit_test(a_checkpoint_tells_what_it_stores),
        cmocka_unit_test(the_table_is_the_result),
        TEST_IN_FOLDER(the_router_is_told),
        cmocka_unit_test(a_dense_model_has_no_router),
        cmocka_unit_test(help_names_every_known_configuration),
        cmocka_unit_test(an_unknown_model_is_named),
    };
    return cmocka_run_group_tests_name("info", tests, NULL, NULL);
}
