/* Which tensor of the checkpoint goes where: names of DeepseekForCausalLM, shapes from the config.
 */
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/json.h"
#include "model/weights.h"

#define NAME_SIZE VKM_TENSOR_NAME_SIZE

uint64_t vkm_ffn_bytes(const struct vkm_config *config, uint32_t width, enum vkm_dtype dtype)
{
    return 2 * vkm_matrix_bytes(dtype, width, vkm_ld(config->hidden_size)) +
           vkm_matrix_bytes(dtype, config->hidden_size, vkm_ld(width));
}

struct binder {
    struct vkm_weights *w;
    const struct vkm_checkpoint *checkpoint; /* or NULL */
    const struct vkm_placement *placement;   /* or NULL */
    vkmoe_weights weights;
    bool *used; /* of the checkpoint's tensors, by index: the model has a place for it */
    vkmoe_error *err;
};

uint64_t vkm_expert_bytes(const struct vkm_config *config, enum vkm_dtype dtype)
{
    return vkm_align_up(vkm_ffn_bytes(config, config->moe_intermediate_size, dtype), 256);
}

/* What a checkpoint that is not there is taken to hold. */
static const struct vkm_tensor assumed = {.dtype = VKM_DTYPE_BF16};

static const vkmoe_allocator *allocator(const struct binder *b)
{
    return vkm_gpu_allocator(b->w->gpu);
}

/* A buffer that lives as long as the weights. */
static vkmoe_status new_buffer(struct binder *b, enum vkm_memory memory, uint64_t size,
                               const char *what, struct vkm_buffer **out)
{
    if (!VKM_ARRAY_RESERVE(allocator(b), &b->w->buffers, 1))
        return vkm_fail_memory(b->err, sizeof(*out), what);
    vkmoe_status status = vkm_buffer_create(b->w->gpu, memory, size, what, out, b->err);
    if (status == VKMOE_OK) {
        b->w->buffers.items[b->w->buffers.count++] = *out;
        b->w->bytes += size;
        b->w->host_bytes += memory == VKM_MEMORY_HOST ? size : 0;
    }
    return status;
}

static vkmoe_status missing(const struct binder *b, const char *name)
{
    char own[VKM_TENSOR_NAME_SIZE];
    return vkm_fail(b->err, VKMOE_BAD_FORMAT, "%s has no tensor %s",
                    vkm_checkpoint_path(b->checkpoint),
                    vkm_checkpoint_own_name(b->checkpoint, name, own));
}

/* Finds a tensor of shape [rows, cols], or [cols] where rows is 0. */
static vkmoe_status find(struct binder *b, const char *name, uint32_t rows, uint32_t cols,
                         const struct vkm_tensor **out)
{
    const struct vkm_tensor *t = b->checkpoint ? vkm_checkpoint_find(b->checkpoint, name) : NULL;
    if (!b->checkpoint) {
        *out = &assumed;
        return VKMOE_OK;
    }
    if (!t)
        return missing(b, name);
    b->used[t - vkm_checkpoint_at(b->checkpoint, 0)] = true;
    if (!t->blocks && !t->packed && t->dtype != VKM_DTYPE_F32 && t->dtype != VKM_DTYPE_F16 &&
        t->dtype != VKM_DTYPE_BF16)
        return vkm_fail(b->err, VKMOE_UNSUPPORTED, "%s: tensor %s is %s, expected BF16, F16 or F32",
                        t->file, t->own_name, t->dtype_name);
    bool matrix = rows > 0 && t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
    bool vector = rows == 0 && t->n_dims == 1 && t->shape[0] == cols;
    if (!matrix && !vector) {
        char shape[96] = "";
        size_t at = 0;
        for (uint32_t i = 0; i < t->n_dims; i++)
            at += (size_t)snprintf(shape + at, sizeof(shape) - at, i ? ", %llu" : "%llu",
                                   (unsigned long long)t->shape[i]);
        char expected[32];
        if (rows)
            snprintf(expected, sizeof(expected), "%u, %u", rows, cols);
        else
            snprintf(expected, sizeof(expected), "%u", cols);
        return vkm_fail(b->err, VKMOE_BAD_FORMAT,
                        "%s: tensor %s has shape [%s], expected [%s] by %s", t->file, t->own_name,
                        shape, expected, vkm_checkpoint_authority(b->checkpoint));
    }
    *out = t;
    return VKMOE_OK;
}

static vkmoe_status add_piece(struct binder *b, const struct vkm_piece *piece)
{
    if (!VKM_ARRAY_RESERVE(allocator(b), &b->w->pieces, 1))
        return vkm_fail_memory(b->err, sizeof(*piece), "the upload list");
    b->w->pieces.items[b->w->pieces.count++] = *piece;
    return VKMOE_OK;
}

/* One of several tensors stacked in one allocation. */
struct part {
    const char *name;
    uint32_t rows, cols;
    const struct vkm_tensor *tensor;
};

static vkmoe_status find_parts(struct binder *b, const char *prefix, struct part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[NAME_SIZE];
        snprintf(name, sizeof(name), "%.100s%.40s.weight", prefix, parts[i].name);
        vkmoe_status status = find(b, name, parts[i].rows, parts[i].cols, &parts[i].tensor);
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

/* Whether parts can be stored as a type. A panel must fit into a chunk of the upload; parts of one
 * matrix follow one another without a gap, so that but for the last they are whole panels; and rows
 * of embeddings become activations, which end in zeros, so they are whole groups. */
static bool can_store(enum vkm_dtype dtype, vkmoe_part role, const struct part *parts, size_t n,
                      bool one_matrix)
{
    for (size_t i = 0; i < n; i++) {
        bool panels = vkm_stored_rows(dtype, parts[i].rows) == parts[i].rows;
        bool groups = !vkm_dtype_is_quantised(dtype) || parts[i].cols % VKM_GROUP == 0;
        if (vkm_matrix_bytes(dtype, 1, vkm_ld(parts[i].cols)) > VKM_UPLOAD_CHUNK ||
            (one_matrix && i + 1 < n && !panels) || (role == VKMOE_PART_EMBEDDINGS && !groups))
            return false;
    }
    return true;
}

/* What tensors that lie together are stored as. */
static enum vkm_dtype stored_dtype(const struct binder *b, vkmoe_part role,
                                   const struct part *parts, size_t n, bool one_matrix)
{
    enum vkm_dtype common = parts[0].tensor->dtype;
    for (size_t i = 1; i < n; i++) {
        const struct vkm_tensor *t = parts[i].tensor;
        if (t->dtype != common) /* what lies packed in a file cannot become another type */
            common = t->packed ? VKM_DTYPE_F32 : vkm_dtype_join(common, t->dtype);
    }
    enum vkm_dtype wanted = vkm_weights_dtype(role, b->weights, common);
    if (!can_store(wanted, role, parts, n, one_matrix))
        wanted = vkm_weights_dtype(role, VKMOE_WEIGHTS_STORED, common);
    return can_store(wanted, role, parts, n, one_matrix) ? wanted : VKM_DTYPE_F32;
}

static uint64_t parts_bytes(const struct part *parts, size_t n, enum vkm_dtype dtype)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += vkm_matrix_bytes(dtype, parts[i].rows, vkm_ld(parts[i].cols));
    return bytes;
}

static vkmoe_status add_parts(struct binder *b, const struct part *parts, size_t n,
                              enum vkm_dtype dtype, struct vkm_view view)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        const struct vkm_tensor *t = parts[i].tensor;
        uint64_t size = parts_bytes(&parts[i], 1, dtype);
        if (t->packed && t->dtype != dtype)
            return vkm_fail(
                b->err, VKMOE_BAD_FORMAT,
                "%s: tensor %s is quantised as %s, but is to be %s by the place that it "
                "has in the model and the tensors that lie there with it",
                t->file, t->own_name, t->dtype_name, vkm_dtype_name(dtype));
        struct vkm_piece piece = {.source = parts[i].tensor,
                                  .target = vkm_view_slice(view, offset, size),
                                  .rows = parts[i].rows,
                                  .cols = parts[i].cols,
                                  .ld = vkm_ld(parts[i].cols),
                                  .dtype = dtype};
        vkmoe_status status = add_piece(b, &piece);
        if (status != VKMOE_OK)
            return status;
        offset += size;
    }
    return VKMOE_OK;
}

/* Stacks matrices of one width into one. */
static vkmoe_status bind_matrix(struct binder *b, const char *prefix, struct part *parts, size_t n,
                                vkmoe_part role, struct vkm_matrix *m)
{
    struct vkm_buffer *buffer;
    vkmoe_status status = find_parts(b, prefix, parts, n);
    if (status != VKMOE_OK)
        return status;
    *m = (struct vkm_matrix){.n_in = parts[0].cols, .dtype = stored_dtype(b, role, parts, n, true)};
    for (size_t i = 0; i < n; i++)
        m->n_out += parts[i].rows;
    status =
        new_buffer(b, VKM_MEMORY_DEVICE, parts_bytes(parts, n, m->dtype), parts[0].name, &buffer);
    if (status != VKMOE_OK)
        return status;
    m->view = vkm_buffer_view(buffer);
    return add_parts(b, parts, n, m->dtype, m->view);
}

/* A vector as float32, padded with zeros. */
static vkmoe_status bind_vector(struct binder *b, const char *name, uint32_t width,
                                struct vkm_view *view)
{
    const struct vkm_tensor *t;
    struct vkm_buffer *buffer;
    vkmoe_status status = find(b, name, 0, width, &t);
    if (status != VKMOE_OK)
        return status;
    status = new_buffer(b, VKM_MEMORY_DEVICE, vkm_ld(width) * sizeof(float), name, &buffer);
    if (status != VKMOE_OK)
        return status;
    *view = vkm_buffer_view(buffer);
    return add_piece(b, &(struct vkm_piece){.source = t,
                                            .target = *view,
                                            .rows = 1,
                                            .cols = width,
                                            .ld = vkm_ld(width),
                                            .dtype = VKM_DTYPE_F32});
}

/* The biases of stacked matrices, one after the other. */
static vkmoe_status bind_biases(struct binder *b, const char *prefix, const struct part *parts,
                                size_t n, struct vkm_matrix *m)
{
    struct vkm_buffer *buffer;
    uint64_t offset = 0;
    vkmoe_status status =
        new_buffer(b, VKM_MEMORY_DEVICE, m->n_out * sizeof(float), "biases", &buffer);
    if (status != VKMOE_OK)
        return status;
    m->bias = vkm_buffer_view(buffer);
    for (size_t i = 0; i < n && status == VKMOE_OK; i++) {
        char name[NAME_SIZE];
        uint64_t size = parts[i].rows * sizeof(float);
        struct vkm_piece piece = {.target = vkm_view_slice(m->bias, offset, size),
                                  .rows = 1,
                                  .cols = parts[i].rows,
                                  .ld = parts[i].rows,
                                  .dtype = VKM_DTYPE_F32};
        snprintf(name, sizeof(name), "%.100s%.40s.bias", prefix, parts[i].name);
        status = find(b, name, 0, parts[i].rows, &piece.source);
        if (status == VKMOE_OK)
            status = add_piece(b, &piece);
        offset += size;
    }
    return status;
}

static vkmoe_status bind_attention(struct binder *b, const char *prefix, struct vkm_layer *layer)
{
    const struct vkm_config *c = &b->w->config;
    uint32_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    struct part qkv[] = {
        {"q_proj", q, c->hidden_size, NULL},
        {"k_proj", kv, c->hidden_size, NULL},
        {"v_proj", kv, c->hidden_size, NULL},
    };
    struct part o[] = {{"o_proj", c->hidden_size, q, NULL}};
    vkmoe_status status =
        bind_matrix(b, prefix, qkv, VKM_COUNT(qkv), VKMOE_PART_ATTENTION, &layer->qkv);
    if (status == VKMOE_OK)
        status = bind_matrix(b, prefix, o, VKM_COUNT(o), VKMOE_PART_ATTENTION, &layer->o);
    if (status == VKMOE_OK && c->attention_bias)
        status = bind_biases(b, prefix, qkv, VKM_COUNT(qkv), &layer->qkv);
    if (status == VKMOE_OK && c->attention_bias)
        status = bind_biases(b, prefix, o, VKM_COUNT(o), &layer->o);
    return status;
}

static void ffn_parts(const struct vkm_config *c, uint32_t width, struct part parts[3])
{
    parts[0] = (struct part){"gate_proj", width, c->hidden_size, NULL};
    parts[1] = (struct part){"up_proj", width, c->hidden_size, NULL};
    parts[2] = (struct part){"down_proj", c->hidden_size, width, NULL};
}

static vkmoe_status bind_ffn(struct binder *b, const char *prefix, uint32_t width, vkmoe_part role,
                             struct vkm_ffn *ffn)
{
    struct part parts[3];
    struct vkm_buffer *buffer;
    ffn_parts(&b->w->config, width, parts);
    vkmoe_status status = find_parts(b, prefix, parts, VKM_COUNT(parts));
    if (status != VKMOE_OK)
        return status;
    ffn->width = width;
    ffn->dtype = stored_dtype(b, role, parts, VKM_COUNT(parts), false);
    status = new_buffer(b, VKM_MEMORY_DEVICE, vkm_ffn_bytes(&b->w->config, width, ffn->dtype),
                        prefix, &buffer);
    if (status != VKMOE_OK)
        return status;
    ffn->view = vkm_buffer_view(buffer);
    return add_parts(b, parts, VKM_COUNT(parts), ffn->dtype, ffn->view);
}

/* The experts of a layer on their way to their buffers. */
struct expert_chain {
    const char *prefix;
    struct part *parts;  /* [3 n_routed] */
    uint64_t *table;     /* [n_routed] */
    const bool *on_host; /* [n_routed], or NULL */
    uint64_t size;       /* bytes from one expert to the next */
    struct vkm_buffer *first, *last;
};

static uint32_t count_experts(const struct binder *b, const struct expert_chain *chain, bool host)
{
    uint32_t n = 0, routed = b->w->config.n_routed_experts;
    for (uint32_t e = 0; e < routed; e++)
        n += (chain->on_host && chain->on_host[e]) == host;
    return n;
}

/* A buffer's bytes as rows of a matrix, whatever they are. */
static struct vkm_matrix as_rows(const struct vkm_config *c, struct vkm_buffer *buffer,
                                 enum vkm_dtype dtype)
{
    uint64_t rows = vkm_stored_rows(dtype, 1);
    uint64_t panels = buffer->size / vkm_matrix_bytes(dtype, rows, vkm_ld(c->hidden_size));
    return (struct vkm_matrix){.view = vkm_buffer_view(buffer),
                               .n_out = (uint32_t)(panels * rows),
                               .n_in = c->hidden_size,
                               .dtype = dtype};
}

/* Opens another buffer at the end of the chain. */
static vkmoe_status extend_chain(struct binder *b, struct expert_chain *chain, bool host,
                                 uint64_t experts)
{
    struct vkm_buffer *next;
    vkmoe_status status = new_buffer(b, host ? VKM_MEMORY_HOST : VKM_MEMORY_DEVICE,
                                     experts * chain->size, chain->prefix, &next);
    if (status != VKMOE_OK)
        return status;
    if (chain->last)
        chain->last->next = next;
    else
        chain->first = next;
    chain->last = next;
    return VKMOE_OK;
}

/* Puts the experts of one kind of memory into buffers of the chain, and their addresses into the
 * table. */
static vkmoe_status place_experts(struct binder *b, struct vkm_layer *layer,
                                  struct expert_chain *chain, bool host)
{
    uint64_t per_buffer = vkm_gpu_max_buffer(b->w->gpu) / chain->size;
    uint64_t left = count_experts(b, chain, host), in_buffer = 0;
    if (per_buffer == 0)
        per_buffer = 1; /* the allocation says what is wrong */
    for (uint32_t e = 0; e < b->w->config.n_routed_experts; e++) {
        vkmoe_status status = VKMOE_OK;
        if ((chain->on_host && chain->on_host[e]) != host)
            continue;
        if (in_buffer % per_buffer == 0)
            status = extend_chain(b, chain, host, left < per_buffer ? left : per_buffer);
        if (status != VKMOE_OK)
            return status;
        if (host && !b->w->host_sample.view.buffer)
            b->w->host_sample = as_rows(&b->w->config, chain->last, layer->expert_dtype);
        uint64_t offset = in_buffer++ % per_buffer * chain->size;
        status = add_parts(b, &chain->parts[3 * e], 3, layer->expert_dtype,
                           vkm_view_slice(vkm_buffer_view(chain->last), offset, chain->size));
        if (status != VKMOE_OK)
            return status;
        chain->table[e] = chain->last->address + offset;
        left--;
    }
    return VKMOE_OK;
}

/* The table of a layer's experts, to be filled by the caller. */
static vkmoe_status add_table(struct binder *b, size_t n, struct vkm_view *view, uint64_t **out)
{
    struct vkm_buffer *buffer;
    if (!VKM_ARRAY_RESERVE(allocator(b), &b->w->tables, 1))
        return vkm_fail_memory(b->err, sizeof(struct vkm_table), "the upload list");
    vkmoe_status status =
        new_buffer(b, VKM_MEMORY_DEVICE, n * sizeof(uint64_t), "the expert table", &buffer);
    if (status != VKMOE_OK)
        return status;
    *view = vkm_buffer_view(buffer);
    *out = vkm_calloc(allocator(b), n, sizeof(**out));
    if (!*out)
        return vkm_fail_memory(b->err, n * sizeof(**out), "the expert table");
    b->w->tables.items[b->w->tables.count++] = (struct vkm_table){*view, *out, n};
    return VKMOE_OK;
}

static vkmoe_status place_layer(struct binder *b, const char *prefix, uint32_t moe_index,
                                struct part *parts, struct vkm_layer *layer, uint64_t *table)
{
    const struct vkm_config *c = &b->w->config;
    struct expert_chain chain = {
        .prefix = prefix,
        .parts = parts,
        .table = table,
        .on_host =
            b->placement ? b->placement->on_host + (size_t)moe_index * c->n_routed_experts : NULL,
        .size = vkm_expert_bytes(c, layer->expert_dtype),
    };
    vkmoe_status status = place_experts(b, layer, &chain, false);
    if (status == VKMOE_OK)
        status = place_experts(b, layer, &chain, true);
    if (status == VKMOE_OK)
        layer->expert_ffn = vkm_buffer_view(chain.first);
    return status;
}

static vkmoe_status bind_experts(struct binder *b, const char *prefix, uint32_t moe_index,
                                 struct vkm_layer *layer)
{
    const struct vkm_config *c = &b->w->config;
    size_t n = c->n_routed_experts;
    uint64_t *table = NULL;
    struct part *parts = vkm_calloc(allocator(b), 3 * n, sizeof(*parts));
    if (!parts)
        return vkm_fail_memory(b->err, 3 * n * sizeof(*parts), "the expert list");
    vkmoe_status status = VKMOE_OK;
    for (uint32_t e = 0; e < n && status == VKMOE_OK; e++) {
        char name[NAME_SIZE];
        snprintf(name, sizeof(name), "%.100sexperts.%u.", prefix, e);
        ffn_parts(c, c->moe_intermediate_size, &parts[3 * e]);
        status = find_parts(b, name, &parts[3 * e], 3);
    }
    if (status == VKMOE_OK) {
        layer->expert_dtype = stored_dtype(b, VKMOE_PART_ROUTED_EXPERTS, parts, 3 * n, false);
        status = add_table(b, n, &layer->experts, &table);
    }
    if (status == VKMOE_OK)
        status = place_layer(b, prefix, moe_index, parts, layer, table);
    vkm_free(allocator(b), parts);
    return status;
}

static vkmoe_status bind_moe(struct binder *b, const char *prefix, uint32_t moe_index,
                             struct vkm_layer *layer)
{
    const struct vkm_config *c = &b->w->config;
    struct part router[] = {{"gate", c->n_routed_experts, c->hidden_size, NULL}};
    char name[NAME_SIZE];
    layer->is_moe = true;
    vkmoe_status status = bind_matrix(b, prefix, router, 1, VKMOE_PART_ROUTERS, &layer->router);
    if (status == VKMOE_OK)
        status = bind_experts(b, prefix, moe_index, layer);
    if (status == VKMOE_OK && c->n_shared_experts > 0) {
        snprintf(name, sizeof(name), "%.100sshared_experts.", prefix);
        status = bind_ffn(b, name, c->n_shared_experts * c->moe_intermediate_size,
                          VKMOE_PART_SHARED_EXPERTS, &layer->ffn);
    }
    return status;
}

static vkmoe_status bind_layer(struct binder *b, uint32_t index, uint32_t moe_index,
                               struct vkm_layer *layer)
{
    const struct vkm_config *c = &b->w->config;
    char prefix[64], name[NAME_SIZE];
    snprintf(prefix, sizeof(prefix), "model.layers.%u.", index);
    snprintf(name, sizeof(name), "%sinput_layernorm.weight", prefix);
    vkmoe_status status = bind_vector(b, name, c->hidden_size, &layer->input_norm);
    snprintf(name, sizeof(name), "%spost_attention_layernorm.weight", prefix);
    if (status == VKMOE_OK)
        status = bind_vector(b, name, c->hidden_size, &layer->post_norm);
    snprintf(name, sizeof(name), "%sself_attn.", prefix);
    if (status == VKMOE_OK)
        status = bind_attention(b, name, layer);
    if (status != VKMOE_OK)
        return status;
    snprintf(name, sizeof(name), "%smlp.", prefix);
    return vkm_config_is_moe(c, index)
               ? bind_moe(b, name, moe_index, layer)
               : bind_ffn(b, name, c->intermediate_size, VKMOE_PART_DENSE_FFN, &layer->ffn);
}

/* What a checkpoint may hold though the model computes without it. */
static bool is_harmless(const struct vkm_config *c, const char *name)
{
    static const char rope[] = ".rotary_emb.inv_freq"; /* older files keep this table */
    size_t size = strlen(name), rope_size = sizeof(rope) - 1;
    return (size > rope_size && strcmp(name + size - rope_size, rope) == 0) ||
           (c->tie_word_embeddings && strcmp(name, "lm_head.weight") == 0);
}

/* A tensor without a place means that config.json describes another model: fewer layers, no biases.
 */
static vkmoe_status check_unused(const struct binder *b)
{
    char name[VKM_PRINTABLE_SIZE];
    for (size_t i = 0; i < vkm_checkpoint_count(b->checkpoint); i++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(b->checkpoint, i);
        if (!b->used[i] && !is_harmless(&b->w->config, t->name))
            return vkm_fail(b->err, VKMOE_BAD_FORMAT,
                            "%s: tensor %s has no place in the model that %s describes", t->file,
                            vkm_printable(name, t->own_name),
                            vkm_checkpoint_authority(b->checkpoint));
    }
    return VKMOE_OK;
}

static vkmoe_status bind_all(struct binder *b)
{
    struct vkm_weights *w = b->w;
    const struct vkm_config *c = &w->config;
    struct part embed[] = {{"model.embed_tokens", c->vocab_size, c->hidden_size, NULL}};
    struct part head[] = {{"lm_head", c->vocab_size, c->hidden_size, NULL}};
    vkmoe_status status = bind_matrix(b, "", embed, 1, VKMOE_PART_EMBEDDINGS, &w->embed);
    uint32_t moe_index = 0;
    for (uint32_t i = 0; i < c->num_hidden_layers && status == VKMOE_OK; i++) {
        status = bind_layer(b, i, moe_index, &w->layers[i]);
        moe_index += vkm_config_is_moe(c, i);
    }
    if (status == VKMOE_OK)
        status = bind_vector(b, "model.norm.weight", c->hidden_size, &w->final_norm);
    if (status == VKMOE_OK && c->tie_word_embeddings)
        w->lm_head = w->embed;
    else if (status == VKMOE_OK)
        status = bind_matrix(b, "", head, 1, VKMOE_PART_HEAD, &w->lm_head);
    return status == VKMOE_OK && b->checkpoint ? check_unused(b) : status;
}

vkmoe_status vkm_weights_bind(struct vkm_gpu *gpu, const struct vkm_weights_params *params,
                              struct vkm_weights *w, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(gpu);
    uint32_t layers = params->config->num_hidden_layers;
    size_t n = params->checkpoint ? vkm_checkpoint_count(params->checkpoint) : 0;
    struct binder b = {.w = w,
                       .checkpoint = params->checkpoint,
                       .placement = params->placement,
                       .weights = params->weights,
                       .used = vkm_calloc(a, n, sizeof(bool)),
                       .err = err};
    *w = (struct vkm_weights){.gpu = gpu, .config = *params->config};
    w->layers = vkm_calloc(a, layers, sizeof(*w->layers));
    vkmoe_status status = w->layers && b.used
                              ? bind_all(&b)
                              : vkm_fail_memory(err, n + layers * sizeof(*w->layers), "layers");
    vkm_free(a, b.used);
    if (status != VKMOE_OK)
        vkm_weights_finish(w);
    return status;
}
