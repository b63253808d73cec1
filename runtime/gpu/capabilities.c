/* What SPIR-V modules declare, and whether a device was opened with it. */
#include "gpu/spirv.h"
#include "gpu/vk.h"

#include <stdio.h>
#include <string.h>

/* From the SPIR-V specification. */
enum {
    HEADER_WORDS = 5,
    OP_CAPABILITY = 17,
    OP_EXECUTION_MODE_ID = 331,
    MODE_LOCAL_SIZE_ID = 38,
};

/* Whether a device was opened with a capability. */
enum need { ALWAYS, INT64, FLOAT16, INT8_DOT, MATRICES, PRESERVE, VOTE, ARITHMETIC, BALLOT, NEVER };

/* feature: of Vulkan, that a device has to be created with; NULL: none. Those that vkmoe opens no
 * device with are here for their names. */
static const struct capability {
    uint32_t id;
    const char *name, *feature;
    enum need need;
} capabilities[] = {
    {1, "Shader", NULL, ALWAYS},
    {9, "Float16", "shaderFloat16", FLOAT16},
    {10, "Float64", "shaderFloat64", NEVER},
    {11, "Int64", "shaderInt64", INT64},
    {12, "Int64Atomics", "shaderBufferInt64Atomics", NEVER},
    {22, "Int16", "shaderInt16", NEVER},
    {39, "Int8", "shaderInt8", NEVER},
    {61, "GroupNonUniform", NULL, ALWAYS},
    {62, "GroupNonUniformVote", NULL, VOTE},
    {63, "GroupNonUniformArithmetic", NULL, ARITHMETIC},
    {64, "GroupNonUniformBallot", NULL, BALLOT},
    {4433, "StorageBuffer16BitAccess", "storageBuffer16BitAccess", NEVER},
    {4448, "StorageBuffer8BitAccess", "storageBuffer8BitAccess", NEVER},
    {4466, "SignedZeroInfNanPreserve", NULL, PRESERVE},
    {5345, "VulkanMemoryModel", "vulkanMemoryModel", MATRICES},
    {5347, "PhysicalStorageBufferAddresses", "bufferDeviceAddress", ALWAYS},
    {6018, "DotProductInput4x8BitPacked", "shaderIntegerDotProduct", INT8_DOT},
    {6019, "DotProduct", "shaderIntegerDotProduct", INT8_DOT},
    {6022, "CooperativeMatrixKHR", "cooperativeMatrix", MATRICES},
};

static const struct capability *find(uint32_t id)
{
    for (size_t i = 0; i < VKM_COUNT(capabilities); i++)
        if (capabilities[i].id == id)
            return &capabilities[i];
    return NULL;
}

static bool grants(const struct vkm_gpu *gpu, enum need need)
{
    const struct vkm_features *f = &gpu->features;
    switch (need) {
    case ALWAYS:
        return true;
    case INT64:
        return f->int64;
    case FLOAT16:
        return f->float16;
    case INT8_DOT:
        return f->int8_dot;
    case MATRICES:
        return f->matrices;
    case PRESERVE:
        return gpu->preserve_inf_nan;
    case VOTE:
        return f->subgroup & VK_SUBGROUP_FEATURE_VOTE_BIT;
    case ARITHMETIC:
        return f->subgroup & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    case BALLOT:
        return f->subgroup & VK_SUBGROUP_FEATURE_BALLOT_BIT;
    case NEVER:
        return false;
    }
    return false;
}

/* The next capability behind *at, which begins at 0; false at the end of them. */
static bool next_capability(const uint32_t *code, size_t words, size_t *at, uint32_t *id)
{
    *at = *at ? *at + 2 : HEADER_WORDS;
    if (*at + 1 >= words || code[*at] != (2u << 16 | OP_CAPABILITY))
        return false;
    *id = code[*at + 1];
    return true;
}

bool vkm_gpu_lacks(const struct vkm_gpu *gpu, const uint32_t *code, size_t size, char name[64])
{
    size_t at = 0;
    uint32_t id;
    while (next_capability(code, size / sizeof(*code), &at, &id)) {
        const struct capability *c = find(id);
        if (c && grants(gpu, c->need))
            continue;
        if (c)
            snprintf(name, 64, "%s", c->name);
        else
            snprintf(name, 64, "number %u", id);
        return true;
    }
    return false;
}

static void add(const char *names[VKM_SPIRV_FEATURES], uint32_t *n, const char *name)
{
    for (uint32_t i = 0; i < *n; i++)
        if (strcmp(names[i], name) == 0)
            return;
    if (*n < VKM_SPIRV_FEATURES)
        names[(*n)++] = name;
}

uint32_t vkm_spirv_features(const uint32_t *code, size_t size,
                            const char *names[VKM_SPIRV_FEATURES])
{
    size_t words = size / sizeof(*code), at = 0;
    uint32_t id, n = 0;
    while (next_capability(code, words, &at, &id)) {
        const struct capability *c = find(id);
        if (c && c->feature)
            add(names, &n, c->feature);
    }
    for (at = HEADER_WORDS; at + 2 < words && code[at] >> 16 > 0; at += code[at] >> 16)
        if ((code[at] & 0xffffu) == OP_EXECUTION_MODE_ID && code[at + 2] == MODE_LOCAL_SIZE_ID)
            add(names, &n, "maintenance4");
    return n;
}
