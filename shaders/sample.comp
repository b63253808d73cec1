/* Chooses a token for each row from the block summaries that sample_blocks left: the largest
 * logit, or the token at which the running sum of exp((logit - largest) * inverse temperature), in
 * id order over what the cut leaves, passes u times the total. Writes it, and the batch row that
 * comes next. One workgroup per row. A lane owns a run of neighbouring blocks; the sum runs over
 * lanes, then over the blocks of the lane where it passed, then over the tokens of the block where
 * it passed. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"
#include "lib/philox.glsl"
#include "lib/sampling.glsl"

shared float masses[VKM_VOCAB_BLOCK]; /* of lanes, then of a block's tokens */

/* Walks a running sum up to `target`: `chosen` is the item at which it passes, or the last that has
 * any mass, should rounding keep the sum below; `before` is the sum ahead of that item. */
struct sum_walk {
    float target;
    float running;
    float before;
    uint chosen;
};

void walk(inout sum_walk w, uint item, float mass)
{
    if (mass > 0.0 && w.running <= w.target) {
        w.chosen = item;
        w.before = w.running;
        w.running += mass;
    }
}

/* A block's mass relative to the largest logit of all. */
float block_mass(uvec2 best, uint block, float largest, float scale)
{
    vec2 summary = ld_vec2(best, block);
    return summary.y * exp_below(summary.x, largest, scale);
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint lanes = gl_WorkGroupSize.x;
    uint i = gl_WorkGroupID.y;
    uvec4 row = batch_row(i); /* token, position, sequence */
    sampler_settings settings = load_sampler(row.z);
    float scale = settings.inverse_temperature;
    uint cut = p.use_cut != 0u ? ld_u32(p.cut, i) : 0u;
    uint n_blocks = vocab_blocks();
    uvec2 logits = addr_row(p.logits, i, p.ld * 4u);
    uvec2 best = addr_row(p.best, i, n_blocks * 8u);

    uint blocks_per_lane = (n_blocks + lanes - 1u) / lanes;
    uint first = min(lane * blocks_per_lane, n_blocks);
    uint end = min(first + blocks_per_lane, n_blocks);
    uint key = 0u;
    uint token = p.vocab;
    for (uint b = first; b < end; b++) {
        uint other = order_key(ld_vec2(best, b).x);
        if (b == first || other > key) {
            key = other;
            token = ld_u32(p.at, i * n_blocks + b);
        }
    }
    uint best_key = group_max(key);
    token = group_min(key == best_key ? token : p.vocab);

    if (scale > 0.0 && best_key != 0u) {
        float largest = from_order_key(best_key);
        float mass = 0.0;
        for (uint b = first; b < end; b++)
            mass += block_mass(best, b, largest, scale);
        masses[lane] = mass;
        barrier();
        float total = 0.0;
        for (uint l = 0u; l < lanes; l++)
            total += masses[l];
        float word = float(philox(uvec4(row.y, row.z, 0u, 0u), settings.seed).x >> 8);
        float u = (word + 0.5) * 5.9604644775390625e-8; /* 2^-24 */

        sum_walk by_lane = sum_walk(u * total, 0.0, 0.0, 0u);
        for (uint l = 0u; l < lanes; l++)
            walk(by_lane, l, masses[l]);

        first = by_lane.chosen * blocks_per_lane;
        end = min(first + blocks_per_lane, n_blocks);
        sum_walk by_block = sum_walk(by_lane.target - by_lane.before, 0.0, 0.0, first);
        for (uint b = first; b < end; b++)
            walk(by_block, b, block_mass(best, b, largest, scale));

        first = by_block.chosen * VKM_VOCAB_BLOCK;
        end = min(first + VKM_VOCAB_BLOCK, p.vocab);
        barrier(); /* the lanes' masses have been read */
        for (uint t = first + lane; t < end; t += lanes)
            masses[t - first] = kept_mass(ld_f32(logits, t), cut, largest, scale);
        barrier();
        sum_walk by_token = sum_walk(by_block.target - by_block.before, 0.0, 0.0, token);
        for (uint t = first; t < end; t++)
            walk(by_token, t, masses[t - first]);
        token = by_token.chosen;
    }

    if (lane == 0u) {
        token = min(token, p.vocab - 1u);
        st_u32(p.sampled, i, token);
        st_uvec4(p.next_rows, i, uvec4(token, row.y + 1u, row.z, 0u));
    }
}
