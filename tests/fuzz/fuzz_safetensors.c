/* Checkpoints. The first byte of an input says what follows it: 'r' a file as it is; 'h' two bytes
 * that count the bytes of data, then the header, whose length is put before it; 'i' an index beside
 * one shard. */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "model/packed.h"

static void write_with_length(const uint8_t *header, size_t size, size_t data_size)
{
    static unsigned char file[8 + (1 << 16) + (1 << 16)];
    if (size > 1 << 16)
        size = 1 << 16;
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)size >> (8 * i));
    memcpy(file + 8, header, size);
    memset(file + 8 + size, 0x3c, data_size);
    fuzz_write("model.safetensors", file, 8 + size + data_size);
}

/* The one shard that an index may name. */
static void write_shard(void)
{
    static const char header[] = "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                                 "\"b\":{\"dtype\":\"I8\",\"shape\":[],\"data_offsets\":[4,5]}}";
    unsigned char file[8 + sizeof(header) - 1 + 5] = {sizeof(header) - 1};
    memcpy(file + 8, header, sizeof(header) - 1);
    fuzz_write("s", file, sizeof(file));
}

/* What is said to be quantised has room for it, and every block can be looked at. */
static void check_packed(const struct vkm_tensor *t)
{
    uint64_t bytes = 0, row, group, ld = vkm_align_up(t->shape[1], VKM_GROUP);
    uint8_t block[VKM_PANEL_ROWS * VKM_PANEL_COLS * 2];
    FUZZ_CHECK(t->n_dims == 2 && !t->blocks && vkm_dtype_is_quantised(t->dtype));
    FUZZ_CHECK(vkm_packed_bytes(t->dtype, t->shape[0], t->shape[1], &bytes) && bytes == t->size);
    size_t each = vkm_panel_block_bytes(t->dtype);
    FUZZ_CHECK(each <= sizeof(block) && bytes % each == 0);
    for (uint64_t i = 0; i < bytes / each; i++) {
        FUZZ_CHECK(vkm_tensor_read(t, i * each, block, each, NULL) == VKMOE_OK);
        if (!vkm_panel_block_valid(block, t->dtype, t->shape[0], ld, i, &row, &group))
            FUZZ_CHECK(row < vkm_align_up(t->shape[0], VKM_PANEL_ROWS) &&
                       group < vkm_align_up(ld, VKM_PANEL_COLS) / VKM_GROUP);
    }
}

static void check_tensors(const struct vkm_checkpoint *c)
{
    for (size_t i = 0; i < vkm_checkpoint_count(c); i++) {
        const struct vkm_tensor *t = vkm_checkpoint_at(c, i);
        unsigned char ends[2] = {0};
        FUZZ_CHECK(vkm_checkpoint_find(c, t->name) == t);
        FUZZ_CHECK(i == 0 || strcmp(vkm_checkpoint_at(c, i - 1)->name, t->name) < 0);
        FUZZ_CHECK(t->n_dims <= VKM_MAX_DIMS);
        uint64_t elements = 1;
        for (uint32_t k = 0; k < t->n_dims; k++)
            elements *= t->shape[k];
        if (t->packed)
            check_packed(t);
        else if (t->dtype != VKM_DTYPE_COUNT)
            FUZZ_CHECK(t->size == elements * vkm_dtype_size(t->dtype) &&
                       t->offset % vkm_dtype_size(t->dtype) == 0);
        if (t->size == 0)
            continue;
        FUZZ_CHECK(vkm_tensor_read(t, 0, ends, 1, NULL) == VKMOE_OK);
        FUZZ_CHECK(vkm_tensor_read(t, t->size - 1, ends + 1, 1, NULL) == VKMOE_OK);
    }
    FUZZ_CHECK(!vkm_checkpoint_find(c, "a tensor of no seed"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vkm_checkpoint *c = NULL;
    vkmoe_error err = {VKMOE_OK, ""};
    vkmoe_status status;
    if (size < 3)
        return 0;
    if (data[0] == 'i') {
        write_shard();
        fuzz_write("model.safetensors.index.json", data + 1, size - 1);
        remove(fuzz_path("model.safetensors"));
        status = vkm_checkpoint_open(NULL, fuzz_folder(), &c, &err);
    } else {
        if (data[0] == 'h')
            write_with_length(data + 3, size - 3, data[1] | (size_t)data[2] << 8);
        else
            fuzz_write("model.safetensors", data + 1, size - 1);
        status = vkm_checkpoint_open(NULL, fuzz_folder(), &c, &err);
    }
    fuzz_check_outcome(status, &err);
    if (status == VKMOE_OK)
        check_tensors(c);
    vkm_checkpoint_close(c);
    return 0;
}
