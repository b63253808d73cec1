#include "gpu/spirv.h"

#include <string.h>

/* From the SPIR-V specification. */
enum {
    HEADER_WORDS = 5,
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_CAPABILITY = 17,
    CAPABILITY_SIGNED_ZERO_INF_NAN_PRESERVE = 4466,
    MODE_SIGNED_ZERO_INF_NAN_PRESERVE = 4461,
};

static uint32_t first_word(uint32_t words, uint32_t opcode)
{
    return words << 16 | opcode;
}

/* Capabilities are what a module begins with. */
static bool declares(const uint32_t *code, size_t words)
{
    for (size_t i = HEADER_WORDS; i + 1 < words && code[i] == first_word(2, OP_CAPABILITY);
         i += 2) {
        if (code[i + 1] == CAPABILITY_SIGNED_ZERO_INF_NAN_PRESERVE)
            return true;
    }
    return false;
}

uint32_t *vkm_spirv_preserve_inf_nan(const vkmoe_allocator *a, const uint32_t *code, size_t size,
                                     size_t *new_size)
{
    const uint32_t capability[] = {first_word(2, OP_CAPABILITY),
                                   CAPABILITY_SIGNED_ZERO_INF_NAN_PRESERVE};
    size_t words = size / sizeof(uint32_t), from = HEADER_WORDS, to = HEADER_WORDS;
    uint32_t *out = vkm_malloc(a, words + VKM_COUNT(capability) + 4, sizeof(uint32_t));
    if (!out)
        return NULL;
    if (declares(code, words)) {
        memcpy(out, code, size);
        *new_size = size;
        return out;
    }
    memcpy(out, code, HEADER_WORDS * sizeof(uint32_t));
    memcpy(out + to, capability, sizeof(capability));
    to += VKM_COUNT(capability);
    /* A module begins with capabilities and has its entry point before any execution mode. */
    while (from < words) {
        uint32_t length = code[from] >> 16, opcode = code[from] & 0xffffu;
        if (length == 0 || length > words - from)
            break;
        memcpy(out + to, code + from, length * sizeof(uint32_t));
        to += length;
        if (opcode == OP_ENTRY_POINT) {
            const uint32_t mode[] = {first_word(4, OP_EXECUTION_MODE), code[from + 2],
                                     MODE_SIGNED_ZERO_INF_NAN_PRESERVE, 32};
            memcpy(out + to, mode, sizeof(mode));
            to += VKM_COUNT(mode);
        }
        from += length;
    }
    *new_size = to * sizeof(uint32_t);
    return out;
}
