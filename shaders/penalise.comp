/* Repeat penalty: logits are copied, those of tokens that the sequence's last repeat_last entries
 * hold made less likely. Workgroups: (vocabulary blocks, rows); lanes stride over the history, then
 * over the block. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/sampling.glsl"

shared uint seen[VKM_VOCAB_BLOCK / 32u]; /* one bit for each token of the block */

void main()
{
    uint i = gl_WorkGroupID.y;
    uint lane = gl_LocalInvocationID.x;
    uint lanes = gl_WorkGroupSize.x;
    uint begin = gl_WorkGroupID.x * VKM_VOCAB_BLOCK;
    uvec4 row = batch_row(i); /* token, position, sequence */
    sampler_settings settings = load_sampler(row.z);
    uvec2 history = addr_row(p.history, row.z, p.history_ld * 4u);
    uvec2 logits = addr_row(p.logits, i, p.ld * 4u);
    uvec2 y = addr_row(p.y, i, p.ld * 4u);

    for (uint w = lane; w < VKM_VOCAB_BLOCK / 32u; w += lanes)
        seen[w] = 0u;
    barrier();
    uint end = min(row.y + 1u, p.history_ld);
    for (uint at = end - min(end, settings.repeat_last) + lane; at < end; at += lanes) {
        uint token = ld_u32(history, at) - begin; /* large for one of an earlier block */
        if (token < VKM_VOCAB_BLOCK)
            atomicOr(seen[token / 32u], 1u << (token % 32u));
    }
    barrier();
    for (uint t = lane; t < VKM_VOCAB_BLOCK && begin + t < p.ld; t += lanes) {
        float x = begin + t < p.vocab ? ld_f32(logits, begin + t) : 0.0;
        if ((seen[t / 32u] >> (t % 32u) & 1u) != 0u)
            x = x > 0.0 ? x / settings.repeat_penalty : x * settings.repeat_penalty;
        st_f32(y, begin + t, x);
    }
}
