/* The tensors of a GGUF file under the names that Hugging Face has for them. Two things differ
 * beside names: the experts of a layer lie stacked in one tensor, and rows of queries and keys are
 * ordered for a RoPE that rotates neighbours. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "model/checkpoint_parts.h"
#include "model/gguf.h"

enum kind { VECTOR = 1, MATRIX = 2, EXPERTS = 3, HEADS }; /* the first three: how many dimensions */

static const struct row {
    const char *own;  /* in GGUF, behind "blk.LAYER." */
    const char *name; /* behind "model.layers.LAYER."; in EXPERTS behind "mlp.experts.EXPERT." */
    enum kind kind;
} in_layers[] = {
    {"attn_norm.weight", "input_layernorm.weight", VECTOR},
    {"ffn_norm.weight", "post_attention_layernorm.weight", VECTOR},
    {"attn_q.weight", "self_attn.q_proj.weight", HEADS},
    {"attn_k.weight", "self_attn.k_proj.weight", HEADS},
    {"attn_v.weight", "self_attn.v_proj.weight", MATRIX},
    {"attn_output.weight", "self_attn.o_proj.weight", MATRIX},
    {"ffn_gate_inp.weight", "mlp.gate.weight", MATRIX},
    {"ffn_gate.weight", "mlp.gate_proj.weight", MATRIX},
    {"ffn_up.weight", "mlp.up_proj.weight", MATRIX},
    {"ffn_down.weight", "mlp.down_proj.weight", MATRIX},
    {"ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", MATRIX},
    {"ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", MATRIX},
    {"ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", MATRIX},
    {"ffn_gate_exps.weight", "gate_proj.weight", EXPERTS},
    {"ffn_up_exps.weight", "up_proj.weight", EXPERTS},
    {"ffn_down_exps.weight", "down_proj.weight", EXPERTS},
};

static const struct row outside[] = {
    {"token_embd.weight", "model.embed_tokens.weight", MATRIX},
    {"output_norm.weight", "model.norm.weight", VECTOR},
    {"output.weight", "lm_head.weight", MATRIX},
};

#define EXPERT_PREFIX "mlp.experts."

/* Takes a number without leading zeros and the dot behind it; NULL where there is none. */
static const char *take_number(const char *text, uint32_t *number)
{
    char *end;
    if (*text < '0' || *text > '9' || (text[0] == '0' && text[1] != '.'))
        return NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '.' || end - text > 6)
        return NULL;
    *number = (uint32_t)value;
    return end + 1;
}

static const struct row *find_row(const char *own, uint32_t *layer, bool *inside)
{
    static const char prefix[] = "blk.";
    const struct row *rows = outside;
    size_t n = VKM_COUNT(outside);
    *inside = strncmp(own, prefix, sizeof(prefix) - 1) == 0;
    if (*inside) {
        own = take_number(own + sizeof(prefix) - 1, layer);
        rows = in_layers;
        n = own ? VKM_COUNT(in_layers) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].own, own) == 0)
            return &rows[i];
    }
    return NULL;
}

const char *vkm_gguf_tensor_name(const char *name, char out[VKM_TENSOR_NAME_SIZE])
{
    static const char prefix[] = "model.layers.", experts[] = EXPERT_PREFIX;
    const struct row *rows = outside;
    size_t n = VKM_COUNT(outside);
    uint32_t layer = 0, expert;
    bool stacked = false, inside = strncmp(name, prefix, sizeof(prefix) - 1) == 0;
    const char *rest = inside ? take_number(name + sizeof(prefix) - 1, &layer) : name;
    if (inside && rest) {
        rows = in_layers;
        n = VKM_COUNT(in_layers);
        stacked = strncmp(rest, experts, sizeof(experts) - 1) == 0;
    }
    if (stacked)
        rest = take_number(rest + sizeof(experts) - 1, &expert);
    for (size_t i = 0; i < n && rest; i++) {
        if (strcmp(rows[i].name, rest) != 0 || (rows[i].kind == EXPERTS) != stacked)
            continue;
        if (inside)
            snprintf(out, VKM_TENSOR_NAME_SIZE, "blk.%" PRIu32 ".%s", layer, rows[i].own);
        else
            snprintf(out, VKM_TENSOR_NAME_SIZE, "%s", rows[i].own);
        return out;
    }
    snprintf(out, VKM_TENSOR_NAME_SIZE, "for %s", name);
    return out;
}

static char *new_name(const vkmoe_allocator *a, const struct row *row, bool inside, uint32_t layer,
                      uint32_t expert)
{
    if (!inside)
        return vkm_strdup(a, row->name);
    if (row->kind == EXPERTS)
        return vkm_format(a, "model.layers.%" PRIu32 "." EXPERT_PREFIX "%" PRIu32 ".%s", layer,
                          expert, row->name);
    return vkm_format(a, "model.layers.%" PRIu32 ".%s", layer, row->name);
}

/* Outermost dimensions of one may be missing: some writers drop them. */
static vkmoe_status check_dims(const struct vkm_gguf *g, const struct vkm_gguf_tensor *t,
                               uint32_t dims, vkmoe_error *err)
{
    for (uint32_t i = dims; i < VKM_GGUF_DIMS; i++) {
        if (t->shape[i] != 1)
            return vkm_fail(err, VKMOE_BAD_FORMAT,
                            "%s: tensor %s has %" PRIu32 " dimensions, expected %" PRIu32, g->path,
                            t->name, t->n_dims, dims);
    }
    return VKMOE_OK;
}

static struct vkm_tensor tensor_of(const struct vkm_gguf *g, const struct vkm_gguf_tensor *t,
                                   uint32_t dims)
{
    struct vkm_tensor out = {
        .own_name = t->name,
        .file = g->path,
        .from = &g->file,
        .offset = t->offset,
        .size = t->size,
        .n_dims = dims,
        .dtype = t->format->stored,
        .dtype_name = t->format->name,
        .blocks = t->format->take ? t->format : NULL,
    };
    for (uint32_t i = 0; i < dims; i++)
        out.shape[i] = t->shape[dims - 1 - i];
    return out;
}

/* Appends the slices of a stack, or the tensor alone. */
static vkmoe_status add_slices(struct vkm_checkpoint *c, const struct row *row, bool inside,
                               uint32_t layer, struct vkm_tensor t, uint32_t slices,
                               vkmoe_error *err)
{
    if (!VKM_ARRAY_RESERVE(c->allocator, &c->tensors, slices))
        return vkm_fail_memory(err, slices * sizeof(t), c->path);
    t.size /= slices;
    for (uint32_t i = 0; i < slices; i++) {
        t.slice = i;
        t.name = new_name(c->allocator, row, inside, layer, i);
        if (!t.name)
            return vkm_fail_memory(err, VKM_TENSOR_NAME_SIZE, c->path);
        c->tensors.items[c->tensors.count++] = t;
        t.offset += t.size;
    }
    return VKMOE_OK;
}

static vkmoe_status add_tensor(struct vkm_checkpoint *c, const struct vkm_gguf_tensor *own,
                               const struct vkm_config *config, vkmoe_error *err)
{
    uint32_t layer = 0, slices = 1;
    bool inside;
    const struct row *row = find_row(own->name, &layer, &inside);
    if (!row)
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "%s: tensor %s has no place in a model of the architecture " VKM_GGUF_ARCH,
                        c->path, own->name);
    uint32_t dims = row->kind == HEADS ? (uint32_t)MATRIX : (uint32_t)row->kind;
    vkmoe_status status = check_dims(c->gguf, own, dims, err);
    if (status != VKMOE_OK)
        return status;
    if (row->kind == EXPERTS) {
        slices = config->n_routed_experts;
        if (own->shape[2] != slices || slices == 0)
            return vkm_fail(err, VKMOE_BAD_FORMAT,
                            "%s: tensor %s stacks %" PRIu64 " experts, expected the %" PRIu32
                            " of " VKM_GGUF_ARCH ".expert_count",
                            c->path, own->name, own->shape[2], slices);
        dims = MATRIX;
    }
    struct vkm_tensor t = tensor_of(c->gguf, own, dims);
    t.interleaved = row->kind == HEADS ? config->head_dim : 0;
    return add_slices(c, row, inside, layer, t, slices, err);
}

vkmoe_status vkm_gguf_checkpoint_open(const vkmoe_allocator *a, const char *path,
                                      struct vkm_checkpoint **out, vkmoe_error *err)
{
    struct vkm_checkpoint *c = NULL;
    struct vkm_config config;
    vkmoe_status status = vkm_checkpoint_create(a, path, 0, &c, err);
    if (status != VKMOE_OK)
        return status;
    status = vkm_gguf_open(a, path, VKM_GGUF_SHORT_ARRAY, &c->gguf, err);
    if (status == VKMOE_OK)
        status = vkm_gguf_config(c->gguf, &config, err);
    for (size_t i = 0; status == VKMOE_OK && i < c->gguf->tensors.count; i++)
        status = add_tensor(c, &c->gguf->tensors.items[i], &config, err);
    if (status != VKMOE_OK) {
        vkm_checkpoint_close(c);
        return status;
    }
    vkm_checkpoint_sort(c);
    *out = c;
    return VKMOE_OK;
}
