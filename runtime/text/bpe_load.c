#include <stdio.h>
#include <string.h>

#include "text/bpe.h"
#include "text/byte_level.h"

vkmoe_status vkm_bpe_check(const struct vkm_source *s, const json_t *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const struct vkm_json_source json = {model, s->file, s->err};
    const char *type = "BPE"; /* early files do not say */
    double dropout = 0;
    bool fallback;
    vkmoe_status status = vkm_json_get_string(&json, "type", &type);
    if (status == VKMOE_OK && strcmp(type, "BPE") != 0)
        return vkm_source_unsupported(s, "model", type);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(&json, "dropout", 0, 1, &dropout);
    if (status == VKMOE_OK && dropout > 0)
        return vkm_source_unsupported(s, "model option", "dropout");
    for (size_t i = 0; i < VKM_COUNT(affixes); i++) {
        const json_t *affix = json_object_get(model, affixes[i]);
        if (json_string_length(affix) > 0)
            return vkm_source_unsupported(s, "model option", affixes[i]);
    }
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, model, "byte_fallback", false, &fallback);
    if (status == VKMOE_OK && fallback)
        return vkm_source_unsupported(s, "model option", "byte_fallback");
    return status;
}

static vkmoe_status read_options(const struct vkm_source *s, const json_t *model,
                                 struct vkm_bpe *bpe)
{
    const json_t *unknown = json_object_get(model, "unk_token");
    vkmoe_status status = vkm_source_flag(s, model, "fuse_unk", false, &bpe->fuse_unknown);
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, model, "ignore_merges", false, &bpe->ignore_merges);
    if (status != VKMOE_OK)
        return status;
    bpe->unknown = -1;
    if (!unknown || json_is_null(unknown))
        return VKMOE_OK;
    if (json_is_string(unknown))
        bpe->unknown =
            vkm_vocab_find(bpe->vocab, json_string_value(unknown), json_string_length(unknown));
    if (bpe->unknown < 0)
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "model.unk_token", unknown,
                                 "a token of the vocabulary");
    return VKMOE_OK;
}

struct half {
    const char *text;
    size_t size;
};

/* A merge is written "a b" or ["a", "b"]. */
static bool read_halves(const json_t *merge, struct half halves[2])
{
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        const char *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        halves[0] = (struct half){text, (size_t)(space - text)};
        halves[1] = (struct half){space + 1, strlen(space + 1)};
    } else {
        if (json_array_size(merge) != 2)
            return false;
        for (size_t i = 0; i < 2; i++) {
            const json_t *half = json_array_get(merge, i);
            halves[i] = (struct half){json_string_value(half), json_string_length(half)};
        }
    }
    return halves[0].size > 0 && halves[1].size > 0;
}

static vkmoe_status find_token(const struct vkm_source *s, const struct vkm_bpe *bpe, size_t rank,
                               struct half a, struct half b, int32_t *id)
{
    char joined[VKM_PRINTABLE_SIZE], printable[VKM_PRINTABLE_SIZE];
    *id = vkm_vocab_find_joined(bpe->vocab, a.text, a.size, b.text, b.size);
    if (*id >= 0)
        return VKMOE_OK;
    snprintf(joined, sizeof(joined), "%.*s%.*s", (int)a.size, a.text, (int)b.size, b.text);
    return vkm_fail(s->err, VKMOE_BAD_FORMAT,
                    "%s: model.merges[%zu] needs the token \"%s\", which the vocabulary lacks",
                    s->file, rank, vkm_printable(printable, joined));
}

static vkmoe_status read_merge(const struct vkm_source *s, const json_t *entry, size_t rank,
                               struct vkm_bpe *bpe)
{
    const struct half none = {"", 0};
    struct half h[2];
    struct vkm_merge merge = {.rank = (uint32_t)rank};
    if (!read_halves(entry, h))
        return vkm_fail(s->err, VKMOE_BAD_FORMAT, "%s: model.merges[%zu] is not a pair of tokens",
                        s->file, rank);
    vkmoe_status status = find_token(s, bpe, rank, h[0], none, &merge.left);
    if (status == VKMOE_OK)
        status = find_token(s, bpe, rank, h[1], none, &merge.right);
    if (status == VKMOE_OK)
        status = find_token(s, bpe, rank, h[0], h[1], &merge.result);
    if (status == VKMOE_OK) /* of a pair listed twice, the last rank counts */
        *vkm_bpe_slot(bpe, merge.left, merge.right) = merge;
    return status;
}

static vkmoe_status read_merges(const struct vkm_source *s, const json_t *merges,
                                struct vkm_bpe *bpe)
{
    size_t slots = 16;
    if (!json_is_array(merges))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "model.merges", merges,
                                 "an array");
    while (slots < 2 * json_array_size(merges))
        slots *= 2;
    bpe->mask = slots - 1;
    bpe->slots = vkm_malloc(s->allocator, slots, sizeof(*bpe->slots));
    if (!bpe->slots)
        return vkm_fail_memory(s->err, slots * sizeof(*bpe->slots), "the merges");
    for (size_t i = 0; i < slots; i++)
        bpe->slots[i].result = -1;
    vkmoe_status status = VKMOE_OK;
    for (size_t i = 0; i < json_array_size(merges) && status == VKMOE_OK; i++)
        status = read_merge(s, json_array_get(merges, i), i, bpe);
    return status;
}

vkmoe_status vkm_bpe_load(const struct vkm_source *s, const json_t *model,
                          const struct vkm_vocab *vocab, struct vkm_bpe *out)
{
    struct vkm_bpe bpe = {.allocator = s->allocator, .vocab = vocab};
    vkmoe_status status = read_options(s, model, &bpe);
    if (status == VKMOE_OK)
        status = read_merges(s, json_object_get(model, "merges"), &bpe);
    if (status != VKMOE_OK) {
        vkm_bpe_finish(&bpe);
        return status;
    }
    for (unsigned i = 0; i < 256; i++) {
        char text[2];
        size_t size = (size_t)(vkm_byte_level_put(text, (unsigned char)i) - text);
        int32_t id = vkm_vocab_find(vocab, text, size);
        bpe.byte_ids[i] = id >= 0 && !vocab->tokens[id].literal ? id : -1;
    }
    *out = bpe;
    return VKMOE_OK;
}

void vkm_bpe_finish(struct vkm_bpe *bpe)
{
    vkm_free(bpe->allocator, bpe->slots);
    *bpe = (struct vkm_bpe){0};
}
