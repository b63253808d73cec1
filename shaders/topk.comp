/* ids[r] = the k experts with the largest logits, falling; gates[r] = their probs, normalised if
 * asked, times scale. One workgroup per row. Each lane ranks some experts: an expert's rank is the
 * number of experts that beat it, which is exact and needs no sort. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"

shared uint keys[VKM_MAX_EXPERTS_SORTED];
shared float chosen[VKM_MAX_EXPERTS_SORTED]; /* probs by slot */

void main()
{
    uint r = gl_WorkGroupID.y;
    uvec2 logits = addr_row(p.logits, r, p.ld * 4u);
    uvec2 probs = addr_row(p.probs, r, p.ld * 4u);
    uint n = min(p.n, VKM_MAX_EXPERTS_SORTED);
    for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x)
        keys[i] = order_key(ld_f32(logits, i));
    barrier();
    for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
        uint key = keys[i];
        uint rank = 0u;
        for (uint j = 0u; j < n; j++)
            rank += uint(keys[j] > key || (keys[j] == key && j < i));
        if (rank < p.k) {
            chosen[rank] = ld_f32(probs, i);
            st_u32(p.ids, r * p.k + rank, i);
        }
    }
    barrier();
    float sum = 0.0;
    for (uint slot = 0u; slot < p.k; slot++)
        sum += chosen[slot];
    float factor = p.normalise != 0u ? p.scale / (sum + 1e-20) : p.scale;
    for (uint slot = gl_LocalInvocationID.x; slot < p.k; slot += gl_WorkGroupSize.x)
        st_f32(p.gates, r * p.k + slot, chosen[slot] * factor);
}
