/* Adds up what the router chose; params.h has the numbers. A lane takes one expert and
 * VKM_COUNT_ROWS rows. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"

/* In whole units, so that sums do not depend on their order; NaN counts as 0. */
uint mass(float x)
{
    return x > 0.0 ? uint(min(x, VKM_MASS_MOST) * VKM_MASS_UNIT) : 0u;
}

uvec2 plus(uvec2 sum, uint x)
{
    return addr_add(sum, x);
}

/* Counts the other experts of a row that chose this one. */
void count_pairs(uint expert, uint first)
{
    for (uint s = 0u; s < p.k; s++) {
        uint other = ld_u32(p.ids, first + s);
        if (other < p.n && other != expert)
            add_u32(addr_row(p.pairs, expert, p.n * 4u), other, 1u);
    }
}

void main()
{
    uint expert = gl_GlobalInvocationID.x;
    uint begin = gl_WorkGroupID.y * VKM_COUNT_ROWS;
    uint end = min(begin + VKM_COUNT_ROWS, p.n_rows);
    if (expert >= p.n)
        return;
    uint tokens = 0u;
    uvec2 gates = uvec2(0u);
    uvec2 probs = uvec2(0u);
    for (uint r = begin; r < end; r++) {
        probs = plus(probs, mass(ld_f32(addr_row(p.probs, r, p.ld * 4u), expert)));
        for (uint s = 0u; s < p.k; s++) {
            if (ld_u32(p.ids, r * p.k + s) != expert)
                continue;
            tokens++;
            gates = plus(gates, mass(ld_f32(p.gates, r * p.k + s)));
            if (p.use_pairs != 0u)
                count_pairs(expert, r * p.k);
        }
    }
    uint at = expert * VKM_COUNT_WORDS;
    if (tokens > 0u) {
        add_u32(p.counts, at, tokens);
        add_u64(p.counts, at + 1u, gates);
    }
    add_u64(p.counts, at + 3u, probs);
}
