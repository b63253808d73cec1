/* GGUF files: the container, a model's configuration and tensors, tokenizer and chat template. An
 * input is a whole file. */
#include <string.h>

#include "fuzz.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "text/tokenizer.h"
#include "vkmoe/chat.h"

static void check_block(const struct vkm_tensor *t)
{
    uint8_t block[VKM_BLOCK_MAX];
    float values[VKM_BLOCK_MAX];
    const struct vkm_block_format *f = t->blocks;
    struct vkm_group group;
    FUZZ_CHECK(t->blocks->bytes <= sizeof(block) && t->blocks->elements <= VKM_BLOCK_MAX);
    FUZZ_CHECK(vkm_tensor_read(t, 0, block, t->blocks->bytes, NULL) == VKMOE_OK);
    vkm_block_decode(f, block, values);
    for (size_t i = 0; i < f->elements; i++) {
        if (i % VKM_GROUP == 0 && !vkm_block_group(f, block, i / VKM_GROUP, f->stored, &group))
            return;
        FUZZ_CHECK(vkm_group_value(&group, i % VKM_GROUP) == values[i]);
    }
}

static void check_tensors(const struct vkm_checkpoint *c)
{
    for (size_t i = 0; i < vkm_checkpoint_count(c); i++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(c, i);
        uint8_t last;
        uint64_t elements = 1;
        FUZZ_CHECK(vkm_checkpoint_find(c, t->name) == t);
        FUZZ_CHECK(i == 0 || strcmp(vkm_checkpoint_at(c, i - 1)->name, t->name) < 0);
        FUZZ_CHECK(t->n_dims == 1 || t->n_dims == 2);
        for (uint32_t k = 0; k < t->n_dims; k++)
            elements *= t->shape[k];
        FUZZ_CHECK(t->size == (t->blocks ? elements / t->blocks->elements * t->blocks->bytes
                                         : elements * vkm_dtype_size(t->dtype)));
        if (t->size == 0)
            continue;
        FUZZ_CHECK(vkm_tensor_read(t, t->size - 1, &last, 1, NULL) == VKMOE_OK);
        if (t->blocks)
            check_block(t);
    }
}

static void check_model(const char *path)
{
    struct vkm_config config;
    struct vkm_checkpoint *c = NULL;
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_status status = vkm_config_load(NULL, path, &config, &err);
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK)
        FUZZ_CHECK(vkm_config_check(&config, path, NULL) == VKMOE_OK);
    err = (vkmoe_error){VKMOE_OK, ""};
    vkmoe_status opened = vkm_checkpoint_open(NULL, path, &c, &err);
    fuzz_check_outcome(opened, &err);
    FUZZ_CHECK(opened != VKMOE_OK || status == VKMOE_OK);
    if (opened == VKMOE_OK)
        check_tensors(c);
    vkm_checkpoint_close(c);
}

static void check_text(const char *path)
{
    static const char text[] = "ab 12\n\xc3\xb8<s>";
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_tokenizer *t = NULL;
    vkmoe_chat_template found;
    int32_t *ids = NULL;
    size_t count = 0;
    fuzz_check_outcome(vkmoe_chat_template_find(path, &found, &err), &err);
    err = (vkmoe_error){VKMOE_OK, ""};
    fuzz_check_outcome(vkmoe_tokenizer_load(path, NULL, &t, &err), &err);
    if (!t)
        return;
    err = (vkmoe_error){VKMOE_OK, ""};
    fuzz_check_outcome(vkmoe_tokenizer_encode(t, text, sizeof(text) - 1, true, &ids, &count, &err),
                       &err);
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(ids[i] >= 0 && ids[i] < vkmoe_tokenizer_size(t));
    vkmoe_tokenizer_free(t, ids);
    vkmoe_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_write("m.gguf", data, size);
    check_model(fuzz_path("m.gguf"));
    check_text(fuzz_path("m.gguf"));
    return 0;
}
