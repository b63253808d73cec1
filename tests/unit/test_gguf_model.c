/* What a GGUF file says of a model: its configuration, its tensors by their Hugging Face names, its
 * tokenizer and chat template; and the sentences about files that say something else. */
#include "folder.h"
#include "unit.h"

#include "gguf_file.h"
#include "model/checkpoint.h"
#include "model/gguf.h"
#include "vkmoe/chat.h"
#include "vkmoe/tokenizer.h"

#define ARCH "deepseek."
#define TOKENIZER "tokenizer.ggml."

static const char *file_path(void)
{
    return test_folder_path("m.gguf");
}

/* --- a small file --- */

/* What is different about one; NULL and 0: nothing. */
struct variant {
    const char *without;   /* a key, or a tensor, that is not there */
    const char *instead;   /* a key that is written by the test */
    const char *misshapen; /* a tensor with a row too many */
};

static bool is_wanted(const struct variant *v, const char *name)
{
    return !(v->without && strcmp(v->without, name) == 0) &&
           !(v->instead && strcmp(v->instead, name) == 0);
}

static void put(struct gguf_file *f, const struct variant *v, const char *key, uint32_t value)
{
    if (is_wanted(v, key))
        gguf_put_u32(f, key, value);
}

static void add(struct gguf_file *f, const struct variant *v, const char *name, uint64_t cols,
                uint64_t rows, uint64_t slices)
{
    static const float values[4096];
    if (!is_wanted(v, name))
        return;
    rows += v->misshapen && strcmp(v->misshapen, name) == 0;
    const uint64_t shape[] = {cols, rows, slices};
    gguf_tensor(f, name, 0,
                slices ? 3
                : rows ? 2
                       : 1,
                shape, values, (size_t)(cols * (rows ? rows : 1) * (slices ? slices : 1)) * 4);
}

/* Two layers, the second of 3 experts, 2 heads of 4. */
static struct gguf_file small_file(const struct variant *v)
{
    struct gguf_file f = gguf_new();
    if (is_wanted(v, "general.architecture"))
        gguf_put_string(&f, "general.architecture", "deepseek");
    put(&f, v, ARCH "vocab_size", 10);
    put(&f, v, ARCH "context_length", 64);
    put(&f, v, ARCH "embedding_length", 8);
    put(&f, v, ARCH "block_count", 2);
    put(&f, v, ARCH "feed_forward_length", 6);
    put(&f, v, ARCH "attention.head_count", 2);
    put(&f, v, ARCH "leading_dense_block_count", 1);
    put(&f, v, ARCH "expert_count", 3);
    put(&f, v, ARCH "expert_used_count", 2);
    put(&f, v, ARCH "expert_feed_forward_length", 5);
    put(&f, v, ARCH "expert_shared_count", 1);
    if (is_wanted(v, ARCH "attention.layer_norm_rms_epsilon"))
        gguf_put_f32(&f, ARCH "attention.layer_norm_rms_epsilon", 1e-5f);
    add(&f, v, "token_embd.weight", 8, 10, 0);
    add(&f, v, "blk.0.attn_q.weight", 8, 8, 0);
    add(&f, v, "blk.0.attn_k.weight", 8, 8, 0);
    add(&f, v, "blk.0.attn_v.weight", 8, 8, 0);
    add(&f, v, "blk.1.ffn_gate_exps.weight", 8, 5, 3);
    add(&f, v, "blk.1.ffn_gate_inp.weight", 8, 3, 0);
    add(&f, v, "blk.1.ffn_norm.weight", 8, 0, 0);
    add(&f, v, "output.weight", 8, 10, 0);
    return f;
}

/* --- configuration --- */

static vkmoe_status load_config(struct gguf_file *f, struct vkm_config *c, vkmoe_error *err)
{
    gguf_write(f, file_path());
    *err = (vkmoe_error){VKMOE_OK, ""};
    return vkm_config_load(NULL, file_path(), c, err);
}

static void the_metadata_become_a_configuration(void **state)
{
    struct gguf_file f = small_file(&(struct variant){0});
    struct vkm_config c;
    vkmoe_error err;
    (void)state;
    gguf_put_u32(&f, TOKENIZER "bos_token_id", 3);
    gguf_put_f32(&f, ARCH "expert_weights_scale", 2.5f);
    gguf_put_bool(&f, ARCH "expert_weights_norm", true);
    gguf_put_f32(&f, ARCH "rope.freq_base", 5000);
    gguf_put_u32(&f, ARCH "rope.dimension_count", 4);
    gguf_put_u32(&f, ARCH "expert_gating_func", 1);
    assert_int_equal(load_config(&f, &c, &err), VKMOE_OK);
    assert_int_equal(c.vocab_size, 10);
    assert_int_equal(c.hidden_size, 8);
    assert_int_equal(c.intermediate_size, 6);
    assert_int_equal(c.moe_intermediate_size, 5);
    assert_int_equal(c.num_hidden_layers, 2);
    assert_int_equal(c.num_attention_heads, 2);
    assert_int_equal(c.num_key_value_heads, 2);
    assert_int_equal(c.head_dim, 4);
    assert_int_equal(c.n_shared_experts, 1);
    assert_int_equal(c.n_routed_experts, 3);
    assert_int_equal(c.num_experts_per_tok, 2);
    assert_int_equal(c.first_k_dense_replace, 1);
    assert_int_equal(c.moe_layer_freq, 1);
    assert_int_equal(c.max_position_embeddings, 64);
    assert_int_equal(c.bos_token_id, 3);
    assert_int_equal(c.eos_token_id, -1);
    assert_true(c.norm_topk_prob);
    assert_false(c.tie_word_embeddings);
    assert_true(c.routed_scaling_factor == 2.5f);
    assert_true(c.rms_norm_eps == 1e-5f);
    assert_true(c.rope_theta == 5000);
    assert_int_equal(c.rope_scaling, VKM_ROPE_DEFAULT);
}

static void what_is_not_said_follows_from_the_tensors(void **state)
{
    struct gguf_file f = small_file(&(struct variant){.without = ARCH "vocab_size"});
    struct vkm_config c;
    vkmoe_error err;
    (void)state;
    assert_int_equal(load_config(&f, &c, &err), VKMOE_OK);
    assert_int_equal(c.vocab_size, 10);
    f = small_file(&(struct variant){.without = "output.weight"});
    assert_int_equal(load_config(&f, &c, &err), VKMOE_OK);
    assert_true(c.tie_word_embeddings);
}

static void positions_are_stretched_where_the_file_says_so(void **state)
{
    struct gguf_file f = small_file(&(struct variant){0});
    struct vkm_config c;
    vkmoe_error err;
    (void)state;
    gguf_put_string(&f, ARCH "rope.scaling.type", "linear");
    gguf_put_f32(&f, ARCH "rope.scaling.factor", 4);
    assert_int_equal(load_config(&f, &c, &err), VKMOE_OK);
    assert_int_equal(c.rope_scaling, VKM_ROPE_LINEAR);
    assert_true(c.rope_factor == 4);
    f = small_file(&(struct variant){0});
    gguf_put_string(&f, ARCH "rope.scaling.type", "linear");
    expect_failure(load_config(&f, &c, &err), &err, VKMOE_BAD_FORMAT,
                   "m.gguf: deepseek.rope.scaling.factor is absent", NULL);
    f = small_file(&(struct variant){0});
    gguf_put_string(&f, ARCH "rope.scaling.type", "yarn");
    expect_failure(load_config(&f, &c, &err), &err, VKMOE_UNSUPPORTED,
                   "m.gguf: deepseek.rope.scaling.type is \"yarn\"", "expected none or linear");
}

static void keys_that_must_be_there_are_missed_by_name(void **state)
{
    static const char *const keys[] = {
        ARCH "embedding_length", ARCH "block_count",     ARCH "attention.head_count",
        ARCH "context_length",   "general.architecture", ARCH "attention.layer_norm_rms_epsilon",
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(keys); i++) {
        struct gguf_file f = small_file(&(struct variant){.without = keys[i]});
        struct vkm_config c;
        vkmoe_error err;
        vkmoe_status status = load_config(&f, &c, &err);
        expect_failure(status, &err, status, keys[i], "is absent");
    }
}

static void values_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *key;
        uint32_t value;
        vkmoe_status status;
        const char *words;
    } bad[] = {
        {ARCH "embedding_length", 0, VKMOE_BAD_FORMAT, "hidden_size is 0"},
        {ARCH "embedding_length", 9, VKMOE_BAD_FORMAT, "hidden_size is 9, expected a multiple"},
        {ARCH "block_count", UINT32_MAX, VKMOE_BAD_FORMAT, "num_hidden_layers is 4294967295"},
        {ARCH "attention.head_count", 0, VKMOE_BAD_FORMAT, "num_attention_heads is 0"},
        {ARCH "expert_used_count", 4, VKMOE_BAD_FORMAT, "num_experts_per_tok is 4"},
        {ARCH "expert_count", 5000, VKMOE_BAD_FORMAT, "n_routed_experts is 5000"},
        {ARCH "vocab_size", 0, VKMOE_BAD_FORMAT, "vocab_size is 0"},
        {ARCH "attention.head_count_kv", 3, VKMOE_BAD_FORMAT, "num_key_value_heads is 3"},
        {ARCH "rope.dimension_count", 2, VKMOE_UNSUPPORTED,
         "rope.dimension_count is 2, expected 4"},
        {ARCH "expert_gating_func", 2, VKMOE_UNSUPPORTED, "expert_gating_func is 2, expected 1"},
        {TOKENIZER "bos_token_id", 10, VKMOE_BAD_FORMAT, "bos_token_id is 10"},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(bad); i++) {
        struct gguf_file f = small_file(&(struct variant){.instead = bad[i].key});
        struct vkm_config c;
        vkmoe_error err;
        gguf_put_u32(&f, bad[i].key, bad[i].value);
        expect_failure(load_config(&f, &c, &err), &err, bad[i].status, "m.gguf: ", bad[i].words);
    }
}

static void values_of_another_kind_are_refused(void **state)
{
    static const char *const keys[] = {ARCH "embedding_length", ARCH "rope.freq_base",
                                       ARCH "expert_weights_norm", TOKENIZER "bos_token_id"};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(keys); i++) {
        struct gguf_file f = small_file(&(struct variant){.instead = keys[i]});
        struct vkm_config c;
        vkmoe_error err;
        gguf_put_string(&f, keys[i], "many");
        expect_failure(load_config(&f, &c, &err), &err, VKMOE_BAD_FORMAT, keys[i],
                       "is \"many\", expected");
    }
}

static void another_architecture_is_refused(void **state)
{
    struct gguf_file f = small_file(&(struct variant){.instead = "general.architecture"});
    struct vkm_config c;
    vkmoe_error err;
    (void)state;
    gguf_put_string(&f, "general.architecture", "deepseek2");
    expect_failure(load_config(&f, &c, &err), &err, VKMOE_UNSUPPORTED,
                   "m.gguf: general.architecture is \"deepseek2\", expected deepseek", NULL);
}

/* --- tensors --- */

static vkmoe_status open_checkpoint(struct gguf_file *f, struct vkm_checkpoint **c,
                                    vkmoe_error *err)
{
    gguf_write(f, file_path());
    *c = NULL;
    *err = (vkmoe_error){VKMOE_OK, ""};
    return vkm_checkpoint_open(NULL, file_path(), c, err);
}

static void tensors_have_their_hugging_face_names(void **state)
{
    struct gguf_file f = small_file(&(struct variant){0});
    struct vkm_checkpoint *c;
    vkmoe_error err;
    (void)state;
    assert_int_equal(open_checkpoint(&f, &c, &err), VKMOE_OK);
    assert_true(vkm_checkpoint_is_gguf(c));
    assert_int_equal(vkm_checkpoint_count(c), 10);
    const struct vkm_tensor *q = vkm_checkpoint_find(c, "model.layers.0.self_attn.q_proj.weight");
    const struct vkm_tensor *v = vkm_checkpoint_find(c, "model.layers.0.self_attn.v_proj.weight");
    assert_int_equal(q->interleaved, 4);
    assert_int_equal(v->interleaved, 0);
    assert_string_equal(q->own_name, "blk.0.attn_q.weight");
    const struct vkm_tensor *first =
        vkm_checkpoint_find(c, "model.layers.1.mlp.experts.0.gate_proj.weight");
    const struct vkm_tensor *last =
        vkm_checkpoint_find(c, "model.layers.1.mlp.experts.2.gate_proj.weight");
    assert_int_equal(last->offset, first->offset + 2 * first->size);
    assert_int_equal(last->size, 8 * 5 * 4);
    assert_int_equal(last->slice, 2);
    assert_int_equal(last->n_dims, 2);
    assert_int_equal(last->shape[0], 5);
    assert_int_equal(last->shape[1], 8);
    const struct vkm_tensor *norm =
        vkm_checkpoint_find(c, "model.layers.1.post_attention_layernorm.weight");
    assert_int_equal(norm->n_dims, 1);
    assert_non_null(vkm_checkpoint_find(c, "model.layers.1.mlp.gate.weight"));
    assert_non_null(vkm_checkpoint_find(c, "lm_head.weight"));
    vkm_checkpoint_close(c);
}

static void names_for_messages_are_the_files_own(void **state)
{
    static const char *const names[][2] = {
        {"model.embed_tokens.weight", "token_embd.weight"},
        {"model.layers.12.self_attn.o_proj.weight", "blk.12.attn_output.weight"},
        {"model.layers.1.mlp.experts.2.down_proj.weight", "blk.1.ffn_down_exps.weight"},
        {"model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"},
        {"model.layers.0.self_attn.q_proj.bias", "for model.layers.0.self_attn.q_proj.bias"},
    };
    struct gguf_file f = small_file(&(struct variant){0});
    struct vkm_checkpoint *c;
    vkmoe_error err;
    (void)state;
    assert_int_equal(open_checkpoint(&f, &c, &err), VKMOE_OK);
    for (size_t i = 0; i < VKM_COUNT(names); i++) {
        char out[VKM_TENSOR_NAME_SIZE];
        assert_string_equal(vkm_checkpoint_own_name(c, names[i][0], out), names[i][1]);
    }
    vkm_checkpoint_close(c);
}

static void tensors_without_a_place_are_refused(void **state)
{
    static const char *const names[] = {"blk.0.attn_q.bias",
                                        "rope_freqs.weight",
                                        "blk.x.attn_q.weight",
                                        "blk.00.attn_v.weight",
                                        "blk.0",
                                        "model.norm.weight"};
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(names); i++) {
        struct gguf_file f = small_file(&(struct variant){0});
        struct vkm_checkpoint *c;
        vkmoe_error err;
        add(&f, &(struct variant){0}, names[i], 8, 8, 0);
        expect_failure(open_checkpoint(&f, &c, &err), &err, VKMOE_UNSUPPORTED, names[i],
                       "has no place");
    }
}

static void stacks_of_another_height_are_refused(void **state)
{
    struct gguf_file f = small_file(&(struct variant){.instead = ARCH "expert_count"});
    struct vkm_checkpoint *c;
    vkmoe_error err;
    (void)state;
    gguf_put_u32(&f, ARCH "expert_count", 4);
    expect_failure(open_checkpoint(&f, &c, &err), &err, VKMOE_BAD_FORMAT,
                   "tensor blk.1.ffn_gate_exps.weight stacks 3 experts",
                   "the 4 of deepseek.expert_count");
    f = small_file(&(struct variant){.instead = "blk.0.attn_v.weight"});
    add(&f, &(struct variant){0}, "blk.0.attn_v.weight", 8, 8, 2);
    expect_failure(open_checkpoint(&f, &c, &err), &err, VKMOE_BAD_FORMAT,
                   "tensor blk.0.attn_v.weight has 3 dimensions, expected 2", NULL);
}

/* --- tokenizers --- */

/* The 256 bytes, "ab" by a merge, and what the test adds. */
struct words {
    const char *tokens[300];
    char bytes[256][4];
    int32_t types[300];
    size_t n;
    const char *merges[2];
    size_t n_merges;
    const char *pre;
};

static void add_word(struct words *w, const char *text, int32_t type)
{
    w->tokens[w->n] = text;
    w->types[w->n++] = type;
}

/* The byte-level alphabet: printable bytes stand for themselves, others for U+0100 and on. */
static struct words *words_new(void)
{
    struct words *w = calloc(1, sizeof(*w));
    unsigned next = 256;
    assert_non_null(w);
    for (unsigned i = 0; i < 256; i++) {
        bool printable = (i > 32 && i < 127) || (i > 160 && i != 173);
        unsigned point = printable ? i : next++;
        if (point < 128)
            snprintf(w->bytes[i], 4, "%c", (char)point);
        else
            snprintf(w->bytes[i], 4, "%c%c", (char)(0xc0 | point >> 6),
                     (char)(0x80 | (point & 63)));
        add_word(w, w->bytes[i], 1);
    }
    add_word(w, "ab", 1);
    w->merges[0] = "a b";
    w->n_merges = 1;
    w->pre = "deepseek-llm";
    return w;
}

/* Writes and drops the words. */
static void write_words(struct gguf_file *f, struct words *w)
{
    gguf_put_string(f, TOKENIZER "model", "gpt2");
    if (w->pre)
        gguf_put_string(f, TOKENIZER "pre", w->pre);
    gguf_put_strings(f, TOKENIZER "tokens", w->tokens, w->n);
    gguf_put_integers(f, TOKENIZER "token_type", w->types, w->n);
    gguf_put_strings(f, TOKENIZER "merges", w->merges, w->n_merges);
    gguf_write(f, file_path());
    free(w);
}

static void expect_no_tokenizer(struct gguf_file f, struct words *w, vkmoe_status wanted,
                                const char *text, const char *text2)
{
    vkmoe_tokenizer *t = NULL;
    vkmoe_error err = {VKMOE_OK, ""};
    write_words(&f, w);
    vkmoe_status status = vkmoe_tokenizer_load(file_path(), NULL, &t, &err);
    expect_failure(status, &err, wanted, text, text2);
    assert_non_null(strstr(err.message, "m.gguf"));
    assert_null(t);
}

static void types_of_tokens_say_what_they_stand_for(void **state)
{
    enum { CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };
    struct gguf_file f = gguf_new();
    struct words *w = words_new();
    vkmoe_tokenizer *t;
    vkmoe_error err;
    int32_t *ids;
    size_t n;
    char *text;
    (void)state;
    add_word(w, "<s>", CONTROL);           /* 257 */
    add_word(w, "\xc3\xb8", USER_DEFINED); /* 258: the letter, not the byte that it spells */
    add_word(w, "[PAD]", UNUSED);
    gguf_put_u32(&f, TOKENIZER "bos_token_id", 257);
    gguf_put_bool(&f, TOKENIZER "add_bos_token", true);
    w->tokens[0xf8] = "(none)"; /* which is that byte */
    w->types[0xf8] = UNUSED;
    write_words(&f, w);
    assert_int_equal(vkmoe_tokenizer_load(file_path(), NULL, &t, &err), VKMOE_OK);
    assert_int_equal(vkmoe_tokenizer_bos(t), 257);
    assert_int_equal(vkmoe_tokenizer_eos(t), -1);
    assert_int_equal(vkmoe_tokenizer_encode(t, "ab\xc3\xb8<s>a", 8, true, &ids, &n, &err),
                     VKMOE_OK);
    static const int32_t expected[] = {257, 256, 258, 257, 'a'};
    assert_int_equal(n, VKM_COUNT(expected));
    assert_memory_equal(ids, expected, sizeof(expected));
    assert_int_equal(vkmoe_tokenizer_decode(t, ids, n, false, &text, &n, &err), VKMOE_OK);
    assert_string_equal(text, "ab\xc3\xb8"
                              "a");
    vkmoe_tokenizer_free(t, text);
    vkmoe_tokenizer_free(t, ids);
    expect_failure(vkmoe_tokenizer_decode(t, (int32_t[]){259}, 1, false, &text, &n, &err), &err,
                   VKMOE_INVALID_ARGUMENT, "259", NULL);
    vkmoe_tokenizer_destroy(t);
}

static void pre_tokenizers_are_known_by_name(void **state)
{
    static const struct {
        const char *pre, *text;
        size_t n; /* tokens: the merge does not cross a piece's end */
    } samples[] = {
        {"deepseek-llm", "ab", 1},
        {"gpt-2", "ab", 1},
        {"gpt-2", "a b", 3},
        {"deepseek-llm", "1ab", 2},
        {"deepseek-llm", "\U0001f63f\U0001f63f",
         7},                                     /* nothing splits: bytes bf and f0 are merged */
        {"deepseek-llm", "\ua73f\U0001f63f", 7}, /* a letter, and what is none: they are not */
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(samples); i++) {
        struct gguf_file f = gguf_new();
        struct words *w = words_new();
        vkmoe_tokenizer *t;
        vkmoe_error err;
        int32_t *ids;
        size_t n;
        w->pre = samples[i].pre;
        add_word(w, "\u00bf\u00f0", 1);
        w->merges[w->n_merges++] = "\u00bf \u00f0";
        write_words(&f, w);
        assert_int_equal(vkmoe_tokenizer_load(file_path(), NULL, &t, &err), VKMOE_OK);
        assert_int_equal(vkmoe_tokenizer_encode(t, samples[i].text, strlen(samples[i].text), false,
                                                &ids, &n, &err),
                         VKMOE_OK);
        assert_int_equal(n, samples[i].n);
        vkmoe_tokenizer_free(t, ids);
        vkmoe_tokenizer_destroy(t);
    }
    struct words *w = words_new();
    w->pre = "llama-bpe";
    expect_no_tokenizer(gguf_new(), w, VKMOE_UNSUPPORTED,
                        "tokenizer.ggml.pre is \"llama-bpe\", expected deepseek-llm or gpt-2",
                        NULL);
    w = words_new();
    w->pre = NULL;
    expect_no_tokenizer(gguf_new(), w, VKMOE_UNSUPPORTED, "tokenizer.ggml.pre is absent", NULL);
}

static void bad_tokenizers_are_refused_by_name(void **state)
{
    struct words *w = words_new();
    struct gguf_file f = gguf_new();
    (void)state;
    w->types[3] = 7;
    expect_no_tokenizer(f, w, VKMOE_BAD_FORMAT, "token_type[3] is not an integer from 1 to 6",
                        NULL);
    w = words_new();
    w->tokens[4] = "a";
    expect_no_tokenizer(f, w, VKMOE_BAD_FORMAT, "tokens[97] is \"a\", which 4 is already", NULL);
    w = words_new();
    w->merges[0] = "a \xe2\x82\xac";
    expect_no_tokenizer(f, w, VKMOE_BAD_FORMAT, "merges[0] needs the token", NULL);
    gguf_put_u32(&f, TOKENIZER "bos_token_id", 257);
    expect_no_tokenizer(f, words_new(), VKMOE_BAD_FORMAT, "bos_token_id is 257, expected", NULL);
    f = gguf_new();
    gguf_write(&f, file_path());
    vkmoe_tokenizer *t = NULL;
    vkmoe_error err;
    expect_failure(vkmoe_tokenizer_load(file_path(), NULL, &t, &err), &err, VKMOE_UNSUPPORTED,
                   "tokenizer.ggml.model is absent", "gpt2");
    gguf_put_string(&f, TOKENIZER "model", "llama");
    gguf_write(&f, file_path());
    expect_failure(vkmoe_tokenizer_load(file_path(), NULL, &t, &err), &err, VKMOE_UNSUPPORTED,
                   "tokenizer.ggml.model is \"llama\"", "gpt2");
    gguf_put_string(&f, TOKENIZER "model", "gpt2");
    gguf_write(&f, file_path());
    expect_failure(vkmoe_tokenizer_load(file_path(), NULL, &t, &err), &err, VKMOE_BAD_FORMAT,
                   "tokenizer.ggml.tokens is absent", NULL);
}

static void a_chat_template_that_is_no_text_is_refused(void **state)
{
    struct gguf_file f = gguf_new();
    vkmoe_chat_template found;
    vkmoe_error err;
    (void)state;
    gguf_put_u32(&f, "tokenizer.chat_template", 3);
    gguf_write(&f, file_path());
    expect_failure(vkmoe_chat_template_find(file_path(), &found, &err), &err, VKMOE_BAD_FORMAT,
                   "tokenizer.chat_template is 3, expected a string", NULL);
}

/* --- memory --- */

static void any_allocation_of_a_tokenizer_or_checkpoint_may_fail(void **state)
{
    struct gguf_file f = small_file(&(struct variant){0});
    struct words *w = words_new();
    bool done = false;
    vkmoe_error err;
    (void)state;
    add_word(w, "<s>", 3);
    write_words(&f, w);
    for (long n = 0; !done; n++) {
        struct vkm_checkpoint *c = NULL;
        struct scarce s = {.fail_at = n};
        vkmoe_allocator a = scarce_allocator(&s);
        vkmoe_status status = vkm_checkpoint_open(&a, file_path(), &c, &err);
        vkm_checkpoint_close(c);
        done = status == VKMOE_OK;
        assert_true(done || status == VKMOE_OUT_OF_HOST_MEMORY);
        assert_int_equal(s.live, 0);
    }
    done = false;
    for (long n = 0; !done; n += n < 50 ? 1 : 37) {
        vkmoe_tokenizer *t = NULL;
        scarce_json(n);
        vkmoe_status status = vkmoe_tokenizer_load(file_path(), NULL, &t, &err);
        scarce_json(-1);
        vkmoe_tokenizer_destroy(t);
        done = status == VKMOE_OK;
        if (!done)
            expect_failure(status, &err, VKMOE_OUT_OF_HOST_MEMORY, NULL, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(the_metadata_become_a_configuration),
        TEST_IN_FOLDER(what_is_not_said_follows_from_the_tensors),
        TEST_IN_FOLDER(positions_are_stretched_where_the_file_says_so),
        TEST_IN_FOLDER(keys_that_must_be_there_are_missed_by_name),
        TEST_IN_FOLDER(values_that_cannot_be_are_refused),
        TEST_IN_FOLDER(values_of_another_kind_are_refused),
        TEST_IN_FOLDER(another_architecture_is_refused),
        TEST_IN_FOLDER(tensors_have_their_hugging_face_names),
        TEST_IN_FOLDER(names_for_messages_are_the_files_own),
        TEST_IN_FOLDER(tensors_without_a_place_are_refused),
        TEST_IN_FOLDER(stacks_of_another_height_are_refused),
        TEST_IN_FOLDER(types_of_tokens_say_what_they_stand_for),
        TEST_IN_FOLDER(pre_tokenizers_are_known_by_name),
        TEST_IN_FOLDER(bad_tokenizers_are_refused_by_name),
        TEST_IN_FOLDER(a_chat_template_that_is_no_text_is_refused),
        TEST_IN_FOLDER(any_allocation_of_a_tokenizer_or_checkpoint_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
