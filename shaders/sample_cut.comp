/* Finds the least logit that top-k, top-p and min-p leave, as a key that orders like the logit.
 * top-k and top-p descend the key's four bytes: a histogram of those that agree so far, then the
 * byte at which the count, or the mass, from above is reached. One workgroup per row. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"
#include "lib/sampling.glsl"

const float MASS_ONE = 2147483648.0; /* the likeliest token's */

shared uint amounts[256]; /* tokens, or the low words of masses */
shared uint carries[256]; /* their high words */

/* 64-bit integers, low word first. */
uvec2 add64(uvec2 a, uvec2 b)
{
    return addr_add(a, b);
}

bool less64(uvec2 a, uvec2 b)
{
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

/* floor(a * share / 2^32) */
uvec2 share_of(uvec2 a, uint share)
{
    return add64(umul64(a.y, share), uvec2(umul64(a.x, share).y, 0u));
}

uint fixed_mass(float logit, float largest, float scale)
{
    return uint(exp_below(logit, largest, scale) * MASS_ONE);
}

/* Adds up, for each value of the byte at `shift`, the tokens or masses of keys that begin as
 * `prefix` and are not below `least`. */
void histogram(uvec2 logits, uint prefix, uint shift, uint least, bool masses, float largest,
               float scale)
{
    for (uint b = gl_LocalInvocationID.x; b < 256u; b += gl_WorkGroupSize.x) {
        amounts[b] = 0u;
        carries[b] = 0u;
    }
    barrier();
    for (uint t = gl_LocalInvocationID.x; t < p.vocab; t += gl_WorkGroupSize.x) {
        float logit = ld_f32(logits, t);
        uint key = order_key(logit);
        if (key < least || (shift < 24u && (key ^ prefix) >> (shift + 8u) != 0u))
            continue;
        uint amount = masses ? fixed_mass(logit, largest, scale) : 1u;
        uint bin = key >> shift & 255u;
        if (atomicAdd(amounts[bin], amount) > ~amount)
            atomicAdd(carries[bin], 1u);
    }
    barrier();
}

/* The largest key for which the tokens from it upwards, of those not below `least`, amount to
 * `target`; masses: to its share of all. */
uint descend(uvec2 logits, uint target, uint least, bool masses, float largest, float scale)
{
    uvec2 wanted = uvec2(target, 0u);
    uvec2 above = uvec2(0u);
    uint prefix = 0u;
    for (int shift = 24; shift >= 0; shift -= 8) {
        histogram(logits, prefix, uint(shift), least, masses, largest, scale);
        if (masses && shift == 24) {
            uvec2 total = uvec2(0u);
            for (uint b = 0u; b < 256u; b++)
                total = add64(total, uvec2(amounts[b], carries[b]));
            wanted = share_of(total, target);
            wanted.x = max(wanted.x, wanted.y == 0u ? 1u : 0u);
        }
        uint b = 255u;
        for (; b > 0u; b--) {
            uvec2 with = add64(above, uvec2(amounts[b], carries[b]));
            if (!less64(with, wanted))
                break;
            above = with;
        }
        prefix |= b << uint(shift);
        barrier(); /* the bins have been read */
    }
    return prefix;
}

void main()
{
    uint i = gl_WorkGroupID.y;
    uvec2 logits = addr_row(p.logits, i, p.ld * 4u);
    sampler_settings settings = load_sampler(batch_row(i).z);
    uint key = 0u;
    for (uint t = gl_LocalInvocationID.x; t < p.vocab; t += gl_WorkGroupSize.x)
        key = max(key, order_key(ld_f32(logits, t)));
    key = group_max(key);
    float largest = from_order_key(key);

    uint cut = 0u;
    if (settings.top_k > 0u && settings.top_k < p.vocab)
        cut = descend(logits, settings.top_k, 0u, false, 0.0, 0.0);
    if (settings.top_p > 0u)
        cut = max(cut, descend(logits, settings.top_p, cut, true, largest,
                               settings.inverse_temperature));
    if (key != 0u && settings.min_p_distance < VKM_FLT_MAX)
        cut = max(cut, order_key(max(largest - settings.min_p_distance, -VKM_FLT_MAX)));
    if (gl_LocalInvocationID.x == 0u)
        st_u32(p.cut, i, cut);
}
