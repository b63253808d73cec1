/* For each block of VKM_VOCAB_BLOCK logits: the largest, where it is (lower index on ties, NaN
 * last), and the sum of exp((logit - largest) * inverse temperature) over the tokens that the cut
 * leaves. Workgroups: (blocks, rows); lanes stride over the block. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"
#include "lib/sampling.glsl"

void main()
{
    uint i = gl_WorkGroupID.y;
    uint block = gl_WorkGroupID.x;
    float scale = load_sampler(batch_row(i).z).inverse_temperature;
    uint cut = p.use_cut != 0u ? ld_u32(p.cut, i) : 0u;
    uvec2 logits = addr_row(p.logits, i, p.ld * 4u);
    uint begin = block * VKM_VOCAB_BLOCK;
    uint end = min(begin + VKM_VOCAB_BLOCK, p.vocab);

    uint key = 0u;
    uint at = p.vocab;
    for (uint t = begin + gl_LocalInvocationID.x; t < end; t += gl_WorkGroupSize.x) {
        uint other = order_key(ld_f32(logits, t));
        if (at == p.vocab || other > key) {
            key = other;
            at = t;
        }
    }
    uint best = group_max(key);
    at = group_min(key == best ? at : p.vocab);

    float largest = from_order_key(best);
    float sum = 0.0;
    for (uint t = begin + gl_LocalInvocationID.x; t < end; t += gl_WorkGroupSize.x)
        sum += kept_mass(ld_f32(logits, t), cut, largest, scale);
    sum = group_sum(sum);

    if (gl_LocalInvocationID.x == 0u) {
        uint out_index = i * vocab_blocks() + block;
        st_f32(p.best, out_index * 2u, ld_f32(logits, at));
        st_f32(p.best, out_index * 2u + 1u, sum);
        st_u32(p.at, out_index, at);
    }
}
