/* config.json: every key, its default, and what is refused. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "model/config.h"
#include "unit.h"

static const char small[] = "{\"vocab_size\": 100, \"hidden_size\": 64, \"intermediate_size\": 96,"
                            " \"moe_intermediate_size\": 24, \"num_hidden_layers\": 5,"
                            " \"num_attention_heads\": 4, \"n_routed_experts\": 8,"
                            " \"n_shared_experts\": 2, \"num_experts_per_tok\": 3,"
                            " \"first_k_dense_replace\": 1}";

/* Loads the small configuration with some keys replaced by those of `changes` (a JSON object). */
static vkmoe_status load_with(const char *changes, struct vkm_config *c, vkmoe_error *err)
{
    json_t *base = json_loads(small, 0, NULL), *more = json_loads(changes, 0, NULL);
    assert_non_null(more);
    assert_int_equal(json_object_update(base, more), 0);
    char *text = json_dumps(base, JSON_INDENT(1));
    test_folder_write_text("config.json", text);
    free(text);
    json_decref(base);
    json_decref(more);
    return vkm_config_load(NULL, test_folder_path("."), c, err);
}

static struct vkm_config loaded(const char *changes)
{
    struct vkm_config c;
    vkmoe_error err = {VKMOE_OK, "untouched"};
    if (load_with(changes, &c, &err) != VKMOE_OK)
        fail_msg("%s: %s", changes, err.message);
    assert_string_equal(err.message, "untouched");
    return c;
}

static void the_shipped_model_has_the_shape_it_is_described_with(void **state)
{
    (void)state;
    struct vkm_config c;
    vkmoe_error err;
    assert_int_equal(vkm_config_load(NULL, VKMOE_TEST_MODEL, &c, &err), VKMOE_OK);
    assert_int_equal(c.vocab_size, 1536);
    assert_int_equal(c.hidden_size, 256);
    assert_int_equal(c.intermediate_size, 768);
    assert_int_equal(c.moe_intermediate_size, 64);
    assert_int_equal(c.num_hidden_layers, 4);
    assert_int_equal(c.num_attention_heads, 8);
    assert_int_equal(c.num_key_value_heads, 8);
    assert_int_equal(c.head_dim, 32);
    assert_int_equal(c.n_shared_experts, 2);
    assert_int_equal(c.n_routed_experts, 32);
    assert_int_equal(c.num_experts_per_tok, 6);
    assert_int_equal(c.moe_layer_freq, 1);
    assert_int_equal(c.first_k_dense_replace, 1);
    assert_false(c.norm_topk_prob);
    assert_true(c.routed_scaling_factor == 1.0f);
    assert_false(c.attention_bias);
    assert_false(c.tie_word_embeddings);
    assert_true(c.rms_norm_eps == 1e-6f);
    assert_int_equal(c.max_position_embeddings, 512);
    assert_true(c.rope_theta == 10000.0);
    assert_int_equal(c.rope_scaling, VKM_ROPE_DEFAULT);
    assert_true(c.aux_loss_alpha == 0.01);
    assert_true(c.seq_aux);
    assert_int_equal(c.bos_token_id, 1534);
    assert_int_equal(c.eos_token_id, 1535);
    assert_int_equal(c.pad_token_id, -1);
    assert_int_equal(vkm_config_moe_layers(&c), 3);
    assert_false(vkm_config_is_moe(&c, 0));
    assert_true(vkm_config_is_moe(&c, 3));
}

static void absent_keys_take_the_defaults_of_deepseek_config(void **state)
{
    (void)state;
    static const char dense[] =
        "{\"vocab_size\": 10, \"hidden_size\": 8, \"intermediate_size\": 12,"
        " \"num_hidden_layers\": 2, \"num_attention_heads\": 2}";
    struct vkm_config c;
    test_folder_write_text("config.json", dense);
    assert_int_equal(vkm_config_load(NULL, test_folder_path("."), &c, NULL), VKMOE_OK);
    assert_int_equal(c.num_key_value_heads, 2);
    assert_int_equal(c.head_dim, 4);
    assert_int_equal(c.moe_intermediate_size, 0);
    assert_int_equal(c.n_shared_experts, 0);
    assert_int_equal(c.n_routed_experts, 0);
    assert_int_equal(c.num_experts_per_tok, 0);
    assert_int_equal(c.moe_layer_freq, 1);
    assert_int_equal(c.first_k_dense_replace, 0);
    assert_false(c.norm_topk_prob);
    assert_true(c.routed_scaling_factor == 1.0f);
    assert_false(c.attention_bias);
    assert_false(c.tie_word_embeddings);
    assert_true(c.rms_norm_eps == 1e-6f);
    assert_int_equal(c.max_position_embeddings, 2048);
    assert_true(c.rope_theta == 10000.0);
    assert_int_equal(c.rope_scaling, VKM_ROPE_DEFAULT);
    assert_true(c.rope_factor == 1.0);
    assert_true(c.aux_loss_alpha == 0.001);
    assert_true(c.seq_aux);
    assert_int_equal(c.bos_token_id, -1);
    assert_int_equal(c.eos_token_id, -1);
    assert_int_equal(c.pad_token_id, -1);
    assert_int_equal(vkm_config_moe_layers(&c), 0);
}

static void given_values_are_taken(void **state)
{
    (void)state;
    struct vkm_config c = loaded(
        "{\"num_key_value_heads\": 2, \"norm_topk_prob\": true, \"routed_scaling_factor\": 2.5,"
        " \"attention_bias\": true, \"tie_word_embeddings\": true, \"rms_norm_eps\": 1e-5,"
        " \"max_position_embeddings\": 4096, \"rope_theta\": 500000, \"aux_loss_alpha\": 0,"
        " \"seq_aux\": false, \"bos_token_id\": 0, \"eos_token_id\": 99, \"pad_token_id\": -1,"
        " \"head_dim\": 16, \"hidden_act\": \"silu\", \"unknown_key\": [1]}");
    assert_int_equal(c.num_key_value_heads, 2);
    assert_true(c.norm_topk_prob);
    assert_true(c.routed_scaling_factor == 2.5f);
    assert_true(c.attention_bias);
    assert_true(c.tie_word_embeddings);
    assert_true(c.rms_norm_eps == 1e-5f);
    assert_int_equal(c.max_position_embeddings, 4096);
    assert_true(c.rope_theta == 500000.0);
    assert_true(c.aux_loss_alpha == 0.0);
    assert_false(c.seq_aux);
    assert_int_equal(c.bos_token_id, 0);
    assert_int_equal(c.eos_token_id, 99);
    assert_int_equal(c.pad_token_id, -1);
}

static void routing_beyond_top_k_has_keys_of_its_own(void **state)
{
    (void)state;
    struct vkm_config c = loaded("{}");
    assert_true(c.router == VKMOE_ROUTER_MODEL && c.router_noise == 0 && c.router_seed == 0);
    c = loaded("{\"vkmoe_router\": \"topk\", \"vkmoe_router_noise\": 0.5,"
               " \"vkmoe_router_seed\": 9000000000}");
    assert_true(c.router == VKMOE_ROUTER_MODEL && c.router_noise == 0.5f &&
                c.router_seed == 9000000000);
    c = loaded("{\"vkmoe_router\": \"hash\"}");
    assert_true(c.router == VKMOE_ROUTER_HASH && c.num_experts_per_tok == 3);
    c = loaded("{\"vkmoe_router\": \"dense\", \"num_experts_per_tok\": null}");
    assert_true(c.router == VKMOE_ROUTER_DENSE && c.num_experts_per_tok == 8);
}

static void routing_that_contradicts_itself_is_refused(void **state)
{
    static const char *const cases[][2] = {
        {"{\"vkmoe_router\": \"switch\"}",
         "vkmoe_router is \"switch\", expected topk, hash or dense"},
        {"{\"vkmoe_router\": 1}", "vkmoe_router is 1"},
        {"{\"vkmoe_router_noise\": -1}", "vkmoe_router_noise is -1"},
        {"{\"vkmoe_router_seed\": -1}", "vkmoe_router_seed is -1"},
        {"{\"vkmoe_router\": \"hash\", \"vkmoe_router_noise\": 1}",
         "vkmoe_router_noise is 1, expected 0"},
        {"{\"vkmoe_router\": \"dense\", \"vkmoe_router_noise\": 1}",
         "vkmoe_router_noise is 1, expected 0"},
        {"{\"vkmoe_router\": \"dense\"}",
         "num_experts_per_tok is 3, expected the n_routed_experts of 8"},
        {"{\"vkmoe_router\": \"hash\", \"norm_topk_prob\": true}",
         "norm_topk_prob is true, expected false"},
        {"{\"vkmoe_router\": \"hash\", \"n_routed_experts\": null}", "n_routed_experts has none"},
        {"{\"vkmoe_router_noise\": 1, \"n_routed_experts\": 0}", "n_routed_experts has none"},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        struct vkm_config c;
        vkmoe_error err;
        assert_int_not_equal(load_with(cases[i][0], &c, &err), VKMOE_OK);
        if (!strstr(err.message, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err.message);
    }
}

static void null_counts_as_absent(void **state)
{
    (void)state;
    struct vkm_config c =
        loaded("{\"num_key_value_heads\": null, \"n_shared_experts\": null,"
               " \"bos_token_id\": null, \"eos_token_id\": null, \"rope_scaling\": null,"
               " \"architectures\": null, \"head_dim\": null, \"seq_aux\": null}");
    assert_int_equal(c.num_key_value_heads, 4);
    assert_int_equal(c.n_shared_experts, 0);
    assert_int_equal(c.n_routed_experts, 8);
    assert_int_equal(c.eos_token_id, -1);
    assert_true(c.seq_aux);
}

static void without_routed_experts_every_layer_is_dense(void **state)
{
    (void)state;
    static const char *const changes[] = {
        "{\"n_routed_experts\": null}",
        "{\"n_routed_experts\": 0, \"moe_intermediate_size\": null}",
    };
    for (size_t i = 0; i < VKM_COUNT(changes); i++) {
        struct vkm_config c = loaded(changes[i]);
        assert_int_equal(vkm_config_moe_layers(&c), 0);
        assert_false(vkm_config_is_moe(&c, 4));
        assert_int_equal(c.num_experts_per_tok, 0);
        assert_int_equal(c.n_shared_experts, 0);
    }
}

static void the_layer_pattern_follows_first_k_and_frequency(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        bool moe[5];
    } rows[] = {
        {"{\"first_k_dense_replace\": 0}", {true, true, true, true, true}},
        {"{\"first_k_dense_replace\": 2}", {false, false, true, true, true}},
        {"{\"first_k_dense_replace\": 9}", {false, false, false, false, false}},
        {"{\"moe_layer_freq\": 2}", {false, false, true, false, true}},
        {"{\"moe_layer_freq\": 2, \"first_k_dense_replace\": 0}", {true, false, true, false, true}},
        {"{\"moe_layer_freq\": 3, \"first_k_dense_replace\": 4}",
         {false, false, false, false, false}},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        struct vkm_config c = loaded(rows[i].changes);
        uint32_t n = 0;
        for (uint32_t layer = 0; layer < 5; layer++) {
            assert_int_equal(vkm_config_is_moe(&c, layer), rows[i].moe[layer]);
            n += rows[i].moe[layer];
        }
        assert_int_equal(vkm_config_moe_layers(&c), n);
    }
}

static void ffn_widths_are_needed_only_for_the_layers_that_have_them(void **state)
{
    (void)state;
    loaded("{\"intermediate_size\": null, \"first_k_dense_replace\": 0}");
    loaded("{\"moe_intermediate_size\": null, \"first_k_dense_replace\": 5}");
}

static void rope_scaling_reads_its_type_and_factor(void **state)
{
    (void)state;
    struct vkm_config c = loaded("{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}");
    assert_int_equal(c.rope_scaling, VKM_ROPE_LINEAR);
    assert_true(c.rope_factor == 4.0);
    c = loaded("{\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2.5}}");
    assert_int_equal(c.rope_scaling, VKM_ROPE_DYNAMIC);
    assert_true(c.rope_factor == 2.5);
    c = loaded("{\"rope_scaling\": {\"rope_type\": \"default\"}}");
    assert_int_equal(c.rope_scaling, VKM_ROPE_DEFAULT);
    assert_true(c.rope_factor == 1.0);
}

static void of_a_list_of_eos_ids_the_first_is_kept(void **state)
{
    (void)state;
    assert_int_equal(loaded("{\"eos_token_id\": [7, 8]}").eos_token_id, 7);
    assert_int_equal(loaded("{\"eos_token_id\": []}").eos_token_id, -1);
}

static void the_published_shapes_are_accepted(void **state)
{
    (void)state;
    static const char *const shapes[] = {
        "{\"num_hidden_layers\": 9, \"hidden_size\": 1280, \"num_attention_heads\": 10,"
        " \"vocab_size\": 8192, \"n_shared_experts\": 1, \"n_routed_experts\": 63,"
        " \"moe_intermediate_size\": 853, \"num_experts_per_tok\": 7,"
        " \"first_k_dense_replace\": 0, \"intermediate_size\": null}",
        "{\"num_hidden_layers\": 28, \"hidden_size\": 2048, \"num_attention_heads\": 16,"
        " \"vocab_size\": 102400, \"n_shared_experts\": 2, \"n_routed_experts\": 64,"
        " \"moe_intermediate_size\": 1408, \"num_experts_per_tok\": 6,"
        " \"intermediate_size\": 10944, \"bos_token_id\": 100000, \"eos_token_id\": 100001,"
        " \"architectures\": [\"DeepseekForCausalLM\"], \"model_type\": \"deepseek\"}",
        "{\"num_hidden_layers\": 62, \"hidden_size\": 4096, \"num_attention_heads\": 32,"
        " \"vocab_size\": 102400, \"n_shared_experts\": 4, \"n_routed_experts\": 128,"
        " \"moe_intermediate_size\": 1408, \"num_experts_per_tok\": 12,"
        " \"intermediate_size\": 11264}",
    };
    for (size_t i = 0; i < VKM_COUNT(shapes); i++)
        loaded(shapes[i]);
}

static void every_required_key_is_missed_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "vocab_size",        "hidden_size",           "num_hidden_layers",  "num_attention_heads",
        "intermediate_size", "moe_intermediate_size", "num_experts_per_tok"};
    for (size_t i = 0; i < VKM_COUNT(keys); i++) {
        struct vkm_config c = {.vocab_size = 77};
        vkmoe_error err;
        char changes[64];
        snprintf(changes, sizeof(changes), "{\"%s\": null}", keys[i]);
        expect_failure(load_with(changes, &c, &err), &err, VKMOE_BAD_FORMAT, keys[i],
                       "config.json: ");
        assert_int_equal(c.vocab_size, 77);
    }
}

static void every_key_of_a_wrong_type_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const integers[] = {"vocab_size",
                                           "hidden_size",
                                           "intermediate_size",
                                           "num_hidden_layers",
                                           "num_attention_heads",
                                           "moe_intermediate_size",
                                           "num_key_value_heads",
                                           "n_shared_experts",
                                           "n_routed_experts",
                                           "num_experts_per_tok",
                                           "moe_layer_freq",
                                           "first_k_dense_replace",
                                           "bos_token_id",
                                           "eos_token_id",
                                           "max_position_embeddings",
                                           "pad_token_id",
                                           "head_dim"};
    static const char *const reals[] = {"rms_norm_eps", "rope_theta", "aux_loss_alpha",
                                        "routed_scaling_factor"};
    static const char *const flags[] = {"norm_topk_prob", "attention_bias", "tie_word_embeddings",
                                        "seq_aux"};
    static const char *const texts[] = {"model_type", "hidden_act", "scoring_func", "topk_method",
                                        "rope_scaling"};
    static const struct {
        const char *const *keys;
        size_t n;
        const char *values[6];
    } kinds[] = {
        {integers, VKM_COUNT(integers), {"\"2\"", "2.0", "true", "{}", "-9", "4294967297"}},
        {reals, VKM_COUNT(reals), {"\"2\"", "[2]", "true", "{}", "-9", "1e300"}},
        {flags, VKM_COUNT(flags), {"\"true\"", "0", "1", "{}", "[]", "1.0"}},
        {texts, VKM_COUNT(texts), {"0", "[\"silu\"]", "true", "{}", "[]", "1.0"}},
    };
    for (size_t kind = 0; kind < VKM_COUNT(kinds); kind++) {
        for (size_t i = 0; i < kinds[kind].n * 6; i++) {
            struct vkm_config c;
            vkmoe_error err;
            char changes[96], found[64];
            const char *key = kinds[kind].keys[i / 6];
            snprintf(changes, sizeof(changes), "{\"%s\": %s}", key, kinds[kind].values[i % 6]);
            snprintf(found, sizeof(found), "config.json: %s", key);
            expect_failure(load_with(changes, &c, &err), &err, VKMOE_BAD_FORMAT, found,
                           ", expected ");
        }
    }
}

static void every_value_out_of_range_or_in_contradiction_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *changes, *text, *text2;
    } rows[] = {
        {"{\"vocab_size\": 0}", "vocab_size is 0", "1 to 16777216"},
        {"{\"vocab_size\": 16777217}", "vocab_size is 16777217", "1 to 16777216"},
        {"{\"hidden_size\": 1048577}", "hidden_size is 1048577", "to 1048576"},
        {"{\"num_hidden_layers\": 0}", "num_hidden_layers is 0", "1 to 1024"},
        {"{\"num_hidden_layers\": 1025}", "num_hidden_layers is 1025", "1 to 1024"},
        {"{\"num_attention_heads\": 0}", "num_attention_heads is 0", NULL},
        {"{\"num_attention_heads\": 7}", "hidden_size is 64", "num_attention_heads of 7"},
        {"{\"num_attention_heads\": 128}", "hidden_size is 64", "num_attention_heads of 128"},
        {"{\"num_attention_heads\": 64}", "head size is 1", "even"},
        {"{\"num_attention_heads\": 1, \"hidden_size\": 2048}", "head size is 2048", "1024"},
        {"{\"num_key_value_heads\": 0}", "num_key_value_heads is 0", NULL},
        {"{\"num_key_value_heads\": 3}", "num_key_value_heads is 3", "divisor"},
        {"{\"num_key_value_heads\": 8}", "num_key_value_heads is 8", "divisor"},
        {"{\"n_routed_experts\": 1025}", "n_routed_experts is 1025", "0 to 1024"},
        {"{\"num_experts_per_tok\": 0}", "num_experts_per_tok is 0", "n_routed_experts of 8"},
        {"{\"num_experts_per_tok\": 9}", "num_experts_per_tok is 9", "n_routed_experts of 8"},
        {"{\"moe_layer_freq\": 0}", "moe_layer_freq is 0", NULL},
        {"{\"first_k_dense_replace\": 1025}", "first_k_dense_replace is 1025", NULL},
        {"{\"intermediate_size\": 0}", "intermediate_size is 0", "1 dense layer"},
        {"{\"moe_intermediate_size\": 0}", "moe_intermediate_size is 0", "4 MoE layers"},
        {"{\"n_shared_experts\": 1024, \"moe_intermediate_size\": 1025}",
         "n_shared_experts is 1024", "1048576"},
        {"{\"max_position_embeddings\": 0}", "max_position_embeddings is 0", NULL},
        {"{\"max_position_embeddings\": 16777217}", "max_position_embeddings", "16777216"},
        {"{\"rms_norm_eps\": 0}", "rms_norm_eps is 0", NULL},
        {"{\"rms_norm_eps\": 1e-60}", "rms_norm_eps is the real number 1e-60", NULL},
        {"{\"rope_theta\": 0.5}", "rope_theta is the real number 0.5", NULL},
        {"{\"routed_scaling_factor\": 0}", "routed_scaling_factor is 0", NULL},
        {"{\"bos_token_id\": 100}", "bos_token_id is 100", "vocab_size of 100"},
        {"{\"eos_token_id\": -2}", "eos_token_id is -2", NULL},
        {"{\"eos_token_id\": [100]}", "eos_token_id is 100", "vocab_size of 100"},
        {"{\"eos_token_id\": [\"1\"]}", "eos_token_id[0] is \"1\"", NULL},
        {"{\"bos_token_id\": [1]}", "bos_token_id is an array", NULL},
        {"{\"rope_scaling\": {}}", "rope_scaling.type is absent", NULL},
        {"{\"rope_scaling\": {\"type\": 1}}", "rope_scaling.type is 1", NULL},
        {"{\"rope_scaling\": {\"type\": \"linear\"}}", "rope_scaling.factor is absent", NULL},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}", "factor is 0", NULL},
        {"{\"architectures\": \"DeepseekForCausalLM\"}", "architectures", "array"},
        {"{\"architectures\": [1]}", "architectures", "a string"},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        struct vkm_config c;
        vkmoe_error err;
        expect_failure(load_with(rows[i].changes, &c, &err), &err, VKMOE_BAD_FORMAT, rows[i].text,
                       rows[i].text2);
    }
}

static void what_another_runtime_could_serve_is_unsupported_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *changes, *text, *text2;
    } rows[] = {
        {"{\"architectures\": [\"LlamaForCausalLM\"]}", "LlamaForCausalLM", "DeepseekForCausalLM"},
        {"{\"architectures\": [\"Deepseek\\nV2\"]}", "Deepseek?V2", NULL},
        {"{\"model_type\": \"deepseek_v2\"}", "model_type is \"deepseek_v2\"", "deepseek"},
        {"{\"hidden_act\": \"gelu\"}", "hidden_act is \"gelu\"", "silu"},
        {"{\"scoring_func\": \"sigmoid\"}", "scoring_func is \"sigmoid\"", "softmax"},
        {"{\"topk_method\": \"noaux_tc\"}", "topk_method is \"noaux_tc\"", "greedy"},
        {"{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40}}", "\"yarn\"", "linear"},
        {"{\"head_dim\": 32}", "head_dim is 32", "16"},
        {"{\"eos_token_id\": [1,2,3,4,5,6,7,8,9]}", "9 entries", "8"},
    };
    for (size_t i = 0; i < VKM_COUNT(rows); i++) {
        struct vkm_config c;
        vkmoe_error err;
        expect_failure(load_with(rows[i].changes, &c, &err), &err, VKMOE_UNSUPPORTED, rows[i].text,
                       rows[i].text2);
    }
}

static void a_file_that_is_no_json_object_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "1",
                                        "{\"vocab_size\": 1,\n\"vocab_size\": 2}",
                                        "{\"rope_theta\": 1e999}",
                                        "{\"a\": NaN}",
                                        "\xff"};
    struct vkm_config c;
    vkmoe_error err;
    for (size_t i = 0; i < VKM_COUNT(texts); i++) {
        test_folder_write_text("config.json", texts[i]);
        expect_failure(vkm_config_load(NULL, test_folder_path("."), &c, &err), &err,
                       VKMOE_BAD_FORMAT, "config.json", NULL);
    }
    expect_failure(vkm_config_load(NULL, test_folder_path("none"), &c, &err), &err, VKMOE_NOT_FOUND,
                   "none/config.json", NULL);
}

static void a_file_with_one_byte_changed_never_crashes_the_reader(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_config c;
    size_t size;
    uint64_t random = 1;
    char *text = test_file_read(VKMOE_TEST_MODEL "/config.json", &size);
    for (int i = 0; i < 3000; i++) {
        static const char likely[] = "0123456789-[]{},:\"\\.eE ";
        size_t at = random_u32(&random) % size;
        char old = text[at];
        text[at] =
            i % 2 ? (char)random_u32(&random) : likely[random_u32(&random) % (sizeof(likely) - 1)];
        test_folder_write("config.json", text, size);
        vkmoe_status status = vkm_config_load(NULL, test_folder_path("."), &c, &err);
        expect_sane(status, &err);
        if (status == VKMOE_OK)
            assert_int_equal(vkm_config_check(&c, "mutant", &err), VKMOE_OK);
        text[at] = old;
    }
    free(text);
}

static void a_configuration_made_elsewhere_is_checked_the_same_way(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_config good = loaded("{}"), c = good;
    assert_int_equal(vkm_config_check(&good, "memory", &err), VKMOE_OK);
    c.num_key_value_heads = 0;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT,
                   "memory: num_key_value_heads is 0", NULL);
    c = good;
    c.rms_norm_eps = NAN;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT, "rms_norm_eps",
                   NULL);
    c = good;
    c.rope_theta = INFINITY;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT, "rope_theta",
                   NULL);
    c = good;
    c.rope_factor = 0.0;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT, "factor", NULL);
    c = good;
    c.head_dim = 8;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT, "head size is 8",
                   "which is 16");
    c = good;
    c.pad_token_id = -2;
    expect_failure(vkm_config_check(&c, "memory", &err), &err, VKMOE_BAD_FORMAT, "pad_token_id",
                   NULL);
}

static void memory_running_out_at_any_allocation_is_a_status_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct scarce scarce = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&scarce);
        struct vkm_config c;
        vkmoe_error err;
        status = vkm_config_load(&a, VKMOE_TEST_MODEL, &c, &err);
        if (status != VKMOE_OK)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
        assert_int_equal(scarce.live, 0);
    }
}

static void memory_running_out_in_the_json_library_is_a_sentence_and_no_leak(void **state)
{
    (void)state;
    vkmoe_status status = VKMOE_OUT_OF_HOST_MEMORY;
    for (long n = 0; status != VKMOE_OK; n++) {
        assert_true(n < 1000);
        struct vkm_config c;
        vkmoe_error err;
        scarce_json(n);
        status = vkm_config_load(NULL, VKMOE_TEST_MODEL, &c, &err);
        scarce_json(-1);
        expect_sane(status, &err);
    }
}

static void the_error_may_be_null(void **state)
{
    (void)state;
    struct vkm_config c;
    assert_int_equal(load_with("{\"vocab_size\": 0}", &c, NULL), VKMOE_BAD_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(the_shipped_model_has_the_shape_it_is_described_with),
        TEST_IN_FOLDER(absent_keys_take_the_defaults_of_deepseek_config),
        TEST_IN_FOLDER(given_values_are_taken),
        TEST_IN_FOLDER(routing_beyond_top_k_has_keys_of_its_own),
        TEST_IN_FOLDER(routing_that_contradicts_itself_is_refused),
        TEST_IN_FOLDER(null_counts_as_absent),
        TEST_IN_FOLDER(without_routed_experts_every_layer_is_dense),
        TEST_IN_FOLDER(the_layer_pattern_follows_first_k_and_frequency),
        TEST_IN_FOLDER(ffn_widths_are_needed_only_for_the_layers_that_have_them),
        TEST_IN_FOLDER(rope_scaling_reads_its_type_and_factor),
        TEST_IN_FOLDER(of_a_list_of_eos_ids_the_first_is_kept),
        TEST_IN_FOLDER(the_published_shapes_are_accepted),
        TEST_IN_FOLDER(every_required_key_is_missed_by_name),
        TEST_IN_FOLDER(every_key_of_a_wrong_type_is_refused_by_name),
        TEST_IN_FOLDER(every_value_out_of_range_or_in_contradiction_is_refused),
        TEST_IN_FOLDER(what_another_runtime_could_serve_is_unsupported_by_name),
        TEST_IN_FOLDER(a_file_that_is_no_json_object_is_refused),
        TEST_IN_FOLDER(a_file_with_one_byte_changed_never_crashes_the_reader),
        TEST_IN_FOLDER(a_configuration_made_elsewhere_is_checked_the_same_way),
        TEST_IN_FOLDER(memory_running_out_at_any_allocation_is_a_status_and_no_leak),
        TEST_IN_FOLDER(memory_running_out_in_the_json_library_is_a_sentence_and_no_leak),
        TEST_IN_FOLDER(the_error_may_be_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
