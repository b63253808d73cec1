/* Reductions over the workgroup, in an order that depends on its size alone (a power of two). */
shared uint vkm_scratch[gl_WorkGroupSize.x];

#define VKM_REDUCE(name, type, to_bits, from_bits, combine)                                        \
    type name(type value)                                                                          \
    {                                                                                              \
        uint lane = gl_LocalInvocationID.x;                                                        \
        vkm_scratch[lane] = to_bits(value);                                                        \
        barrier();                                                                                 \
        for (uint n = gl_WorkGroupSize.x / 2u; n > 0u; n /= 2u) {                                  \
            if (lane < n) {                                                                        \
                type a = from_bits(vkm_scratch[lane]);                                             \
                type b = from_bits(vkm_scratch[lane + n]);                                         \
                vkm_scratch[lane] = to_bits(combine);                                              \
            }                                                                                      \
            barrier();                                                                             \
        }                                                                                          \
        type result = from_bits(vkm_scratch[0]);                                                   \
        barrier(); /* before the next use of the scratch */                                        \
        return result;                                                                             \
    }

VKM_REDUCE(group_sum, float, floatBitsToUint, uintBitsToFloat, a + b)
VKM_REDUCE(group_max, uint, uint, uint, max(a, b))
VKM_REDUCE(group_min, uint, uint, uint, min(a, b))
