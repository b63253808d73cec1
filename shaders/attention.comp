/* y[r, h] = sum over p <= rows[r].position of softmax_p(scale q[r, h] . k[p]) v[p], or the part of
 * it that a split makes (params.h): online softmax over runs of positions. Workgroups: (query
 * heads, blocks of ROWS rows, splits); the rows of a block are consecutive positions of one
 * sequence, so that keys and values are read once for all of them. For the scores, a lane takes
 * four neighbouring positions at a time; for the values, runs of elements (lib/kv.glsl) lane,
 * lane + LANES, ... of the head and every position. Positions past the block's last count for nothing, whatever the
 * cache holds there.
 *
 * Each run is summed by itself and then added with what rounding lost, so that the error does not
 * grow with the context. With PATH_SUBGROUP a workgroup is one subgroup, if its lanes suffice: on
 * CPU drivers a barrier costs more than the lanes that it brings. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/kv.glsl"
#include "lib/math.glsl"
#ifdef PATH_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#endif

layout(constant_id = 1) const uint PAIRS = KV_RUN; /* of elements, for each lane: whole runs */
layout(constant_id = 2) const uint ROWS = 1;

const uint LANES = gl_WorkGroupSize.x;
const uint BLOCK_QUADS = VKM_KV_BLOCK / 4u; /* of positions */
const uint RUN = LANES > 2u * BLOCK_QUADS ? 4u * LANES : 2u * VKM_KV_BLOCK; /* positions */
const uint QUADS = RUN / 4u / LANES;  /* of positions, for each lane in a run */
const uint RUNS = PAIRS / KV_RUN;     /* of values, for each lane */
const uint HEAD = PAIRS * 2u * LANES; /* elements from one query to the next */

shared float query[ROWS * HEAD];
shared vec4 tops[ROWS * LANES / 4u];
shared vec4 weights[ROWS * RUN / 4u];

/* Waits until all lanes have come here, and sees what they wrote. */
void meet()
{
#ifdef PATH_SUBGROUP
    if (LANES <= gl_SubgroupSize) {
        subgroupBarrier();
        return;
    }
#endif
    barrier();
}

/* The block of the cache that holds position `at` of the sequence, from base on. */
uvec2 block_address(uint sequence, uint at, uint kv_head)
{
    uint block = ld_u32(p.blocks, sequence * p.block_stride + at / VKM_KV_BLOCK);
    return umul64(block * p.n_kv_heads + kv_head, kv_part_bytes(p.head_dim));
}

float largest_of(vec4 v)
{
    return max(max(v.x, v.y), max(v.z, v.w));
}

/* Number j of a lane's pairs of elements. */
uint own_pair(uint lane, uint j)
{
    return (lane + j / KV_RUN * LANES) * KV_RUN + j % KV_RUN;
}

/* What lanes left in tops for row k, in vectors: a few at a time, as many compile long, and no loop
 * where a few are all, as it would count against the turns that Mesa 22's lavapipe grants. */
const uint TOPS = LANES / 4u;
const uint FEW = TOPS < 4u ? TOPS : 4u;

vec4 few_largest(uint k, uint first)
{
    vec4 top = tops[k * TOPS + first];
    [[unroll]] for (uint i = 1u; i < FEW; i++)
        top = max(top, tops[k * TOPS + first + i]);
    return top;
}

vec4 few_summed(uint k, uint first)
{
    vec4 total = tops[k * TOPS + first];
    [[unroll]] for (uint i = 1u; i < FEW; i++)
        total += tops[k * TOPS + first + i];
    return total;
}

/* The largest that any lane left for row k. */
float top_of(uint k)
{
    vec4 top = few_largest(k, 0u);
    if (TOPS > FEW) {
        [[dont_unroll]] for (uint first = FEW; first < TOPS; first += FEW)
            top = max(top, few_largest(k, first));
    }
    return largest_of(top);
}

float sum_of(uint k)
{
    vec4 total = few_summed(k, 0u);
    if (TOPS > FEW) {
        [[dont_unroll]] for (uint first = FEW; first < TOPS; first += FEW)
            total += few_summed(k, first);
    }
    return dot(total, vec4(1.0));
}

void main()
{
    uint lane = gl_LocalInvocationID.x;
    uint head = gl_WorkGroupID.x;
    uint r = gl_WorkGroupID.y * ROWS;
    uint n = min(ROWS, p.n_rows - r);
    uvec4 row = ld_uvec4(p.rows, r);
    uint kv_head = head / (p.n_heads / p.n_kv_heads);
    uint pairs = p.head_dim / 2u, runs = kv_runs(p.head_dim);
    uint own = row.y + 1u;   /* positions of the first row; each one after it has one more */
    uint length = row.y + n; /* of the last */
    uint split = gl_WorkGroupID.z;
    uint begin = split * p.span;
    uint end = split + 1u < p.n_splits ? min(begin + p.span, length) : length;
    if (begin >= end)
        return; /* all lanes */

    for (uint k = 0u; k < n; k++) {
        uvec2 q = addr_add(addr_row(p.qkv, r + k, p.qkv_ld * 4u), head * p.head_dim * 4u);
        for (uint i = lane; i < p.head_dim; i += LANES)
            query[k * HEAD + i] = ld_f32(q, i) * p.scale;
    }
    meet();

    float largest[ROWS], sum[ROWS], sum_rest[ROWS];
    vec2 y[ROWS * PAIRS], y_rest[ROWS * PAIRS];
    [[unroll]] for (uint k = 0u; k < ROWS; k++) {
        largest[k] = -VKM_FLT_MAX;
        sum[k] = sum_rest[k] = 0.0;
        [[unroll]] for (uint j = 0u; j < PAIRS; j++)
            y[k * PAIRS + j] = y_rest[k * PAIRS + j] = vec2(0.0);
    }

    for (uint first = begin; first < end; first += RUN) {
        vec4 scores[ROWS * QUADS];
        kv_keys keys[QUADS];
        [[unroll]] for (uint t = 0u; t < QUADS; t++) {
            /* A quad behind the end repeats the last one there is. */
            uint at = min(first + (t * LANES + lane) * 4u, (end - 1u) & ~3u);
            keys[t] = kv_keys_at(addr_add(p.k_cache, block_address(row.z, at, kv_head)),
                                 at % VKM_KV_BLOCK, p.head_dim);
            [[unroll]] for (uint k = 0u; k < ROWS; k++)
                scores[k * QUADS + t] = vec4(0.0);
        }
        for (uint d = 0u; d < runs; d++) {
            [[unroll]] for (uint c = 0u; c < 2u * KV_RUN; c++) {
                uint e = kv_key_element(d, c, pairs);
                vec4 key[QUADS];
                [[unroll]] for (uint t = 0u; t < QUADS; t++)
                    key[t] = kv_key(keys[t], d, c, pairs);
                [[unroll]] for (uint k = 0u; k < ROWS; k++) {
                    vec4 q = vec4(query[k * HEAD + e]);
                    [[unroll]] for (uint t = 0u; t < QUADS; t++)
                        scores[k * QUADS + t] = fma(q, key[t], scores[k * QUADS + t]);
                }
            }
        }

        bool all_seen = first + RUN <= min(own, end); /* by every row */
        [[unroll]] for (uint k = 0u; k < ROWS; k++) {
            vec4 top = vec4(-VKM_FLT_MAX);
            [[unroll]] for (uint t = 0u; t < QUADS; t++) {
                if (!all_seen) {
                    uvec4 at = first + (t * LANES + lane) * 4u + uvec4(0u, 1u, 2u, 3u);
                    bvec4 seen = lessThan(at, uvec4(min(own + k, end)));
                    scores[k * QUADS + t] = mix(vec4(-VKM_FLT_MAX), scores[k * QUADS + t], seen);
                }
                top = max(top, scores[k * QUADS + t]);
            }
            tops[k * TOPS + lane / 4u][lane % 4u] = largest_of(top);
        }
        meet();
        [[unroll]] for (uint k = 0u; k < ROWS; k++) {
            float top = max(largest[k], top_of(k));
            float shrink = exp(clamp(largest[k] - top, -100.0, 0.0));
            float run_sum = 0.0;
            largest[k] = top;
            [[unroll]] for (uint t = 0u; t < QUADS; t++) {
                vec4 w = exp(clamp(scores[k * QUADS + t] - top, -100.0, 0.0));
                if (!all_seen) {
                    uvec4 at = first + (t * LANES + lane) * 4u + uvec4(0u, 1u, 2u, 3u);
                    w = mix(vec4(0.0), w, lessThan(at, uvec4(min(own + k, end))));
                }
                weights[k * (RUN / 4u) + t * LANES + lane] = w;
                run_sum += dot(w, vec4(1.0));
            }
            sum[k] *= shrink;
            sum_rest[k] *= shrink;
            add_to(sum[k], sum_rest[k], run_sum);
            [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
                y[k * PAIRS + j] *= shrink;
                y_rest[k * PAIRS + j] *= shrink;
            }
        }
        meet();

        vec2 run_y[ROWS * PAIRS];
        [[unroll]] for (uint i = 0u; i < ROWS * PAIRS; i++)
            run_y[i] = vec2(0.0);
        uint count = lane < runs ? min(end - first, RUN) : 0u;
        for (uint from = 0u; from < count; from += VKM_KV_BLOCK) {
            uvec2 part = addr_add(p.v_cache, block_address(row.z, first + from, kv_head));
            kv_values values[RUNS];
            [[unroll]] for (uint j = 0u; j < RUNS; j++)
                values[j] = kv_values_at(part, min(lane + j * LANES, runs - 1u), p.head_dim);
            uint in_block = min(count - from, VKM_KV_BLOCK);
            for (uint at = 0u; at < in_block; at += 4u) {
                vec4 w4[ROWS], scales[RUNS];
                [[unroll]] for (uint k = 0u; k < ROWS; k++)
                    w4[k] = weights[k * (RUN / 4u) + (from + at) / 4u];
                [[unroll]] for (uint j = 0u; j < RUNS; j++)
                    scales[j] = kv_value_scales(values[j], at, in_block);
                [[unroll]] for (uint t = 0u; t < 4u; t++) {
                    /* A quad's end past the last has weight 0 and repeats the last value. */
                    uint place = min(at + t, in_block - 1u);
                    [[unroll]] for (uint j = 0u; j < RUNS; j++) {
                        vec2 v[KV_RUN] = kv_value(values[j], place, runs);
                        [[unroll]] for (uint i = 0u; i < ROWS * KV_RUN; i++) {
                            uint k = i / KV_RUN, sum_at = k * PAIRS + j * KV_RUN + i % KV_RUN;
                            float w = kv_weight(w4[k][t], scales[j][t]);
                            run_y[sum_at] = fma(vec2(w), v[i % KV_RUN], run_y[sum_at]);
                        }
                    }
                }
            }
        }
        [[unroll]] for (uint i = 0u; i < ROWS * PAIRS; i++)
            add_to(y[i], y_rest[i], run_y[i]);
    }

    [[unroll]] for (uint k = 0u; k < ROWS; k++)
        tops[k * TOPS + lane / 4u][lane % 4u] = sum[k] + sum_rest[k];
    meet();
    [[unroll]] for (uint k = 0u; k < ROWS; k++) {
        if (k >= n || begin >= own + k)
            continue;
        float total = sum_of(k);
        if (p.n_splits > 1u) {
            uint part = ((r + k) * p.n_heads + head) * p.n_splits + split;
            uvec2 place = addr_row(p.parts, part, (p.head_dim + 2u) * 4u);
            [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
                uint i = own_pair(lane, j);
                if (i < pairs)
                    st_vec2(place, i, y[k * PAIRS + j] + y_rest[k * PAIRS + j]);
            }
            if (lane == 0u)
                st_vec2(place, pairs, vec2(largest[k], total));
            continue;
        }
        uvec2 y_row = addr_row(p.y, r + k, p.y_ld * 4u);
        [[unroll]] for (uint j = 0u; j < PAIRS; j++) {
            uint i = own_pair(lane, j);
            if (i < pairs)
                st_vec2(y_row, head * pairs + i,
                        (y[k * PAIRS + j] + y_rest[k * PAIRS + j]) / total);
        }
        if (head == p.n_heads - 1u) {
            for (uint i = p.n_heads * p.head_dim + lane; i < p.y_ld; i += LANES)
                st_f32(y_row, i, 0.0);
        }
    }
}
