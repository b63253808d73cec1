/* probs[r] = softmax(logits[r]); ids[r] = the k experts with the largest logits, falling; gates[r] =
 * their probs, normalised if asked, times scale. One workgroup per row. Each lane ranks some
 * experts: an expert's rank is the number of experts that beat it, which is exact and needs no sort.
 * STEERED: the host has its say, as params.h has it; KEPT: besides, the first of the ranking are
 * kept. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"
#ifdef STEERED
#include "lib/philox.glsl"
#endif

shared uint keys[VKM_MAX_EXPERTS_SORTED];
shared float chosen[VKM_MAX_EXPERTS_SORTED]; /* probs by slot */

#ifdef KEPT
#define ROW_LD ((p.n + VKM_PAD - 1u) / VKM_PAD * VKM_PAD)
#else
#define ROW_LD p.ld
#endif

/* What turns a row's logits into probabilities. */
struct softmax {
    float largest;
    float factor;
};

/* What is too small for a normal float is 0 on every device, whether or not it flushes. */
float prob_of(softmax s, float logit)
{
    float prob = exp_below(logit, s.largest, 1.0) * s.factor;
    return prob < VKM_FLT_MIN ? 0.0 : prob;
}

/* highest: the highest key of this lane's logits. */
softmax softmax_of(uvec2 logits, uint n, uint highest)
{
    softmax s;
    s.largest = from_order_key(group_max(highest));
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x)
        sum += exp_below(ld_f32(logits, i), s.largest, 1.0);
    sum = group_sum(sum);
    s.factor = sum > 0.0 ? 1.0 / sum : 0.0; /* all NaN: all zero */
    return s;
}

#ifdef STEERED
const uint KEY_OFF = 0u;
const uint KEY_FORCED = 0xffffffffu;

uint halves(uvec4 words)
{
    uvec4 sums = (words & 0xffffu) + (words >> 16);
    return sums.x + sums.y + sums.z + sums.w;
}

/* As params.h defines it: integers, and one rounded product. */
float noise_of(uvec4 row, uint expert)
{
    uvec2 seed = uvec2(p.seed_low, p.seed_high);
    uvec4 counter = uvec4(row.y, 0u, p.layer, 1u + 2u * expert);
    uint sum = halves(philox(counter, seed));
    counter.w++;
    sum += halves(philox(counter, seed));
    return float(int(sum) - 524280) * p.noise;
}

/* Where an expert stands: off below NaN, forced above infinity. */
uint key_of(uvec4 row, uint expert, float logit)
{
    uint state = ld_u32(p.states, expert);
    if (state == VKM_EXPERT_OFF)
        return KEY_OFF;
    if (state == VKM_EXPERT_FORCED)
        return KEY_FORCED;
    precise float score = logit;
    if (p.noise != 0.0)
        score = logit + noise_of(row, expert);
    return max(order_key(score), 1u);
}

#ifdef KEPT
bool keeps(uvec4 row)
{
    return row.y < p.positions;
}

/* Where in the kept rows of all positions this one's begins. */
uint kept_row(uvec4 row)
{
    return row.z * p.positions + row.y;
}

void keep_gate(uvec4 row, uint slot, float gate)
{
    if (keeps(row))
        st_f32(addr_row(p.kept_weights, kept_row(row), p.ranks * 8u), p.ranks + slot, gate);
}

/* All of a slot but the gate of one that is chosen. */
void keep(uvec4 row, uint slot, uint expert, float prob)
{
    if (slot >= p.ranks || !keeps(row))
        return;
    st_u32(addr_row(p.kept_ids, kept_row(row), p.ranks * 4u), slot, expert);
    st_f32(addr_row(p.kept_weights, kept_row(row), p.ranks * 8u), slot, prob);
    if (slot >= p.k)
        keep_gate(row, slot, 0.0);
}

/* An expert's place among those that are kept: its slot if it is chosen, else behind all slots, in
 * the order of ranks. Where some ranks are passed over, they move behind the chosen ones after them.
 */
uint kept_slot(uint slot, uint rank, uint forced)
{
    bool passed_over = rank >= forced && rank < forced + p.skip;
    return slot < p.k ? slot : passed_over ? rank + p.k - min(forced, p.k) : rank;
}

/* What a table chose, and nothing after that. */
void keep_looked_up(uvec4 row, softmax s, uvec2 logits)
{
    for (uint slot = gl_LocalInvocationID.x; slot < p.ranks; slot += gl_WorkGroupSize.x) {
        uint id = slot < p.k && row.x < p.vocab ? ld_u32(p.table, row.x * p.k + slot) : p.n;
        bool known = id < p.n;
        float prob = prob_of(s, ld_f32(logits, min(id, p.n - 1u)));
        keep(row, slot, known ? id : VKM_NO_EXPERT, known ? prob : 0.0);
    }
}
#endif

/* The table says which experts, each with the same gate. */
void look_up(uvec4 row, uint r)
{
    bool known = row.x < p.vocab;
    for (uint slot = gl_LocalInvocationID.x; slot < p.k; slot += gl_WorkGroupSize.x) {
        uint id = known ? ld_u32(p.table, row.x * p.k + slot) : p.n;
        bool on = id < p.n && ld_u32(p.states, min(id, p.n - 1u)) != VKM_EXPERT_OFF;
        st_u32(p.ids, r * p.k + slot, id);
        float gate = on ? p.scale / float(p.k) : 0.0;
        st_f32(p.gates, r * p.k + slot, gate);
#ifdef KEPT
        keep_gate(row, slot, gate);
#endif
    }
}
#endif

void main()
{
    uint r = gl_WorkGroupID.y;
    uvec2 logits = addr_row(p.logits, r, ROW_LD * 4u);
    uvec2 probs = addr_row(p.probs, r, ROW_LD * 4u);
    uint n = min(p.n, VKM_MAX_EXPERTS_SORTED);
#ifdef STEERED
    uvec4 row = ld_uvec4(p.rows, r); /* token, position, sequence */
#endif
    uint highest = 0u;
    for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
        float logit = ld_f32(logits, i);
        uint key = order_key(logit);
        highest = max(highest, key);
#ifdef STEERED
        key = key_of(row, i, logit);
#endif
        keys[i] = key;
    }
    softmax s = softmax_of(logits, n, highest); /* and all have stored their keys */
    for (uint i = gl_LocalInvocationID.x; i < ROW_LD; i += gl_WorkGroupSize.x)
        st_f32(probs, i, i < n ? prob_of(s, ld_f32(logits, i)) : 0.0);
#ifdef STEERED
    if (p.vocab > 0u) {
        look_up(row, r);
#ifdef KEPT
        keep_looked_up(row, s, logits);
#endif
        return;
    }
#endif
    for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
        uint key = keys[i];
        uint rank = 0u;
#ifdef STEERED
        uint first = 0u; /* slots that forced experts take, and ranks that are passed over */
#endif
        for (uint j = 0u; j < n; j++) {
            rank += uint(keys[j] > key || (keys[j] == key && j < i));
#ifdef STEERED
            first += uint(keys[j] == KEY_FORCED);
#endif
        }
#ifdef KEPT
        uint among_all = rank;
#endif
#ifdef STEERED
        if (key != KEY_FORCED)
            rank = rank >= first + p.skip ? rank - p.skip : p.k;
#endif
#ifdef KEPT
        bool off = key == KEY_OFF;
        keep(row, kept_slot(rank, among_all, first), off ? VKM_NO_EXPERT : i,
             off ? 0.0 : prob_of(s, ld_f32(logits, i)));
#endif
        if (rank < p.k) {
            chosen[rank] = prob_of(s, ld_f32(logits, i));
            st_u32(p.ids, r * p.k + rank, i);
        }
    }
    barrier();
    float sum = 0.0, rest = 0.0;
    for (uint slot = 0u; slot < p.k; slot++)
        add_to(sum, rest, chosen[slot]);
    float factor = p.normalise != 0u ? p.scale / (sum + rest + 1e-20) : p.scale;
    for (uint slot = gl_LocalInvocationID.x; slot < p.k; slot += gl_WorkGroupSize.x) {
        st_f32(p.gates, r * p.k + slot, chosen[slot] * factor);
#ifdef KEPT
        keep_gate(row, slot, chosen[slot] * factor);
#endif
    }
}
