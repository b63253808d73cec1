/* The parameters of every kernel, declared once and read by both GLSL and C.
 *
 * VKM_PARAMS_name(K, R, W, I, X, T, C, U, F) lists the fields in push-constant order, views first:
 *   R(K, f)  a view that is read              W(K, f)  written, float32
 *   I(K, f)  written or added to, integers    X(K, f)  read and written, float32
 *   T(K, f)  read through addresses that lie in another view (experts)
 *   C(K, f)  written, the KV cache in the variant's storage type
 *   U(K, f)  a uint                           F(K, f)  a float
 * GLSL sees a view as a uvec2 address; C sees a struct vkm_view. K is passed through.
 *
 * Shapes are row-major, outermost first. `ld` of a width n is n rounded up to VKM_PAD elements; the
 * elements between n and ld are zero in activations, and in weights, but for Q4, where they may be
 * anything finite: a kernel that writes rows of ld elements writes those zeros too, one that adds
 * to rows leaves them alone. Activations are float32, weights of the variant's storage type (see
 * runtime/base/rows.h).
 * An expert id that is not below n_experts stands for no expert: the sort leaves its pair out, its
 * h is zero, and it adds nothing.
 * rows: struct of 4 uints for each batch row: token, position, sequence, 0.
 * blocks [sequences, block_stride]: which KV block holds positions 64 b .. 64 b + 63 of a sequence.
 * k_cache, v_cache [blocks, n_kv_heads, words, 64] uints: what runtime/kernels/kv_layout.h says, in
 * float32 [head_dim, 64] keys and [64, head_dim] values.
 * An FFN (dense, shared or one expert) is one address, at which three matrices follow one another:
 * gate [width, ld(hidden)], up of the same shape, down [hidden, ld(width)].
 */
#ifndef VKM_PARAMS_H
#define VKM_PARAMS_H

#define VKM_PAD 32u          /* elements to which rows of weights and activations are padded */
#define VKM_KV_BLOCK 64u     /* positions in one block of the KV cache */
#define VKM_ROPE_SPLIT 256u  /* RoPE angles are composed from position mod and div this */
#define VKM_SORT_TILE 128u   /* (row, slot) pairs that one workgroup of the expert sort handles */
#define VKM_TILE_HEIGHTS 4u  /* that tiles of grouped products may have at once */
#define VKM_VOCAB_BLOCK 512u /* logits that one workgroup of the sampler summarises */
#define VKM_MAX_EXPERTS_SORTED 1024u
#define VKM_PROBE_CHAINS 16u /* products that do not wait for one another, of one invocation */
#define VKM_PROBE_UNROLL 4u  /* of each, in one turn of the loop */

#define VKM_COUNT_ROWS 16u /* rows that a lane of route_count takes */
#define VKM_COUNT_WORDS 5u /* tokens; masses of gates and of probabilities, low word first */
/* Masses are counted in units of 2^-26, each at most 63. */
#define VKM_MASS_UNIT 67108864.0f
#define VKM_MASS_MOST 63.0f

/* Standard deviation of the whole numbers that topk_steered takes for noise. */
#define VKM_NOISE_DEVIATION 75674.5f

/* What the host says of an expert. */
#define VKM_EXPERT_FREE 0u   /* its score decides */
#define VKM_EXPERT_OFF 1u    /* not chosen */
#define VKM_EXPERT_FORCED 2u /* chosen, whatever its score */

#define VKM_NO_EXPERT 0xffffffffu /* in place of an id where there is none */

/* clang-format finds no layout of the lists below that it leaves alone a second time. */
/* clang-format off */

/* y[r] = table[rows[r].token], zeros for a token outside the vocabulary; the token goes into
 * history[rows[r].sequence, rows[r].position], unless that lies beyond history_ld.
 * table [vocab, ld], y [rows, ld], history [sequences, history_ld]; one workgroup per row (y). */
#define VKM_PARAMS_embed(K, R, W, I, X, T, C, U, F)                                                \
    R(K, table) R(K, rows) W(K, y) I(K, history) U(K, ld) U(K, vocab) U(K, history_ld)

/* y[i] = weight * x[j] / sqrt(mean(x[j]^2) + eps), j = index[i] if use_index else i.
 * x, y [., ld], weight [ld] float32, index [rows] uint; one workgroup per row (y). */
#define VKM_PARAMS_rmsnorm(K, R, W, I, X, T, C, U, F)                                              \
    R(K, x) R(K, weight) R(K, index) W(K, y) U(K, width) U(K, ld) U(K, use_index) F(K, eps)

/* y[r, o] = w[o] . x[r] + bias[o]; w [n_out, k_ld], x [rows, k_ld], y [rows, y_ld], bias [n_out]
 * float32, read if use_bias. Elements n_out .. y_ld of y become zero. */
#define VKM_PARAMS_gemv(K, R, W, I, X, T, C, U, F)                                                 \
    R(K, w) R(K, x) R(K, bias) W(K, y) U(K, k_ld) U(K, n_out) U(K, n_rows) U(K, y_ld) U(K, use_bias)
#define VKM_PARAMS_gemm VKM_PARAMS_gemv

/* The same, added to what y holds; elements beyond n_out are left alone. */
#define VKM_PARAMS_gemv_add(K, R, W, I, X, T, C, U, F)                                             \
    R(K, w) R(K, x) R(K, bias) X(K, y) U(K, k_ld) U(K, n_out) U(K, n_rows) U(K, y_ld) U(K, use_bias)
#define VKM_PARAMS_gemm_add VKM_PARAMS_gemv_add

/* Rotates the query heads of qkv in place, rotates the key heads into k_cache and copies the value
 * heads into v_cache (RoPE over halves: element i pairs with i + head_dim / 2).
 * qkv [rows, qkv_ld]: n_heads queries, n_kv_heads keys, n_kv_heads values of head_dim each.
 * rope_low [256, head_dim / 2, 2]: cos and sin of (position mod 256) * frequency; rope_high
 * likewise of (256 * (position div 256)) * frequency. Workgroups: (heads, rows). */
#define VKM_PARAMS_rope_kv(K, R, W, I, X, T, C, U, F)                                              \
    R(K, rows)                                                                                     \
    R(K, blocks)                                                                                   \
    R(K, rope_low)                                                                                 \
    R(K, rope_high)                                                                                \
    X(K, qkv) C(K, k_cache) C(K, v_cache) U(K, n_heads) U(K, n_kv_heads) U(K, head_dim)            \
        U(K, qkv_ld) U(K, block_stride)

/* y[r, h] = sum over positions p <= rows[r].position of softmax_p(scale q[r, h] . k[p]) v[p]; query
 * head h reads key-value head h / (n_heads / n_kv_heads). y [n_rows, y_ld], zeros beyond the heads.
 * consecutive: the rows are of one sequence, each one position after the one before, so that a
 * workgroup may take several. With n_splits > 1, y is absent and split s takes the positions from
 * s * span on, span of them (a multiple of 64), the last split all that are left:
 * parts [n_rows, n_heads, n_splits, head_dim + 2], for each split with a position that the row
 * sees: the sum of exp(score - largest) v, then the largest score, then the sum of
 * exp(score - largest). Workgroups: (n_heads, blocks of rows, n_splits). */
#define VKM_PARAMS_attention(K, R, W, I, X, T, C, U, F)                                            \
    R(K, rows)                                                                                     \
    R(K, blocks)                                                                                   \
    R(K, qkv)                                                                                      \
    R(K, k_cache) R(K, v_cache) W(K, y) W(K, parts) U(K, n_rows) U(K, consecutive) U(K, n_heads)   \
        U(K, n_kv_heads) U(K, head_dim) U(K, qkv_ld) U(K, y_ld) U(K, block_stride) U(K, n_splits)  \
            U(K, span) F(K, scale)

/* y[r, h] from attention's parts, in order of the splits: each sum weighted by exp(its largest -
 * the largest of all), over the sums of exp weighted alike. Workgroups: (n_heads, rows). */
#define VKM_PARAMS_attention_combine(K, R, W, I, X, T, C, U, F)                                    \
    R(K, rows)                                                                                     \
    R(K, parts) W(K, y) U(K, n_heads) U(K, head_dim) U(K, y_ld) U(K, n_splits) U(K, span)

/* probs[r] = softmax(logits[r]) over n elements, zeros beyond n. A NaN logit gets 0; others are
 * clamped to +-FLT_MAX, the exponent's argument, after the largest is taken off, to [-100, 0]; what
 * comes out below FLT_MIN is 0, so that devices which flush denormals agree with those that do not.
 * ids[r] = the k experts with the largest logits, falling; ties to the lower id; -0 equals 0; NaN
 * last. gates[r] = their probs, divided by (their sum + 1e-20) if normalise, times scale.
 * logits, probs [rows, ld]; ids, gates [rows, k]; k <= n <= 1024. One workgroup per row (y). */
#define VKM_PARAMS_topk(K, R, W, I, X, T, C, U, F)                                                 \
    R(K, logits)                                                                                   \
    W(K, probs) I(K, ids) W(K, gates) U(K, n) U(K, ld) U(K, k) U(K, normalise) F(K, scale)

/* topk, and what the host wants of it. states [n] of VKM_EXPERT_*: forced experts come first, lower
 * ids ahead, experts that are off last; the other experts' ranks 0 .. skip - 1 are passed over. The
 * host sees to it that k are left. noise > 0 is added to each logit before the ranking, times a
 * whole number: the sum of sixteen random numbers of 16 bits less its mean, 524280, which is close
 * to normal (standard deviation VKM_NOISE_DEVIATION) and exact in float32. They are the halves of
 * Philox4x32-10 at (position, 0, layer, 1 + 2 expert) and (.., 2 + 2 expert), keyed by the seed:
 * the same whatever else is in the batch. vocab > 0: no ranking; ids[r] = table[rows[r].token],
 * table [vocab, k], each with gate scale / k, or 0 where the expert is off or there is none. */
#define VKM_PARAMS_topk_steered(K, R, W, I, X, T, C, U, F)                                            \
    R(K, logits)                                                                                   \
    W(K, probs)                                                                                    \
    R(K, rows)                                                                                     \
    R(K, states)                                                                                   \
    R(K, table)                                                                                    \
    I(K, ids)                                                                                      \
    W(K, gates)                                                                                    \
    U(K, n) U(K, ld) U(K, k) U(K, normalise) U(K, skip) U(K, vocab) U(K, layer) U(K, seed_low)     \
        U(K, seed_high) F(K, scale) F(K, noise)

/* topk_steered with ld of n, which besides keeps of each row, by its sequence and position, what
 * ranked first, unless the position lies beyond `positions`. kept_ids [sequences, positions, ranks]:
 * the k chosen in the order of ids, then the experts that are neither chosen nor off, by their rank;
 * VKM_NO_EXPERT where there are no more, and after what a table chose. kept_weights [sequences,
 * positions, 2, ranks]: their probs, 0 for no expert, then their gates, 0 for those that are not
 * chosen. k <= ranks <= n. */
#define VKM_PARAMS_topk_kept(K, R, W, I, X, T, C, U, F)                                            \
    R(K, logits)                                                                                   \
    W(K, probs)                                                                                    \
    R(K, rows)                                                                                     \
    R(K, states)                                                                                   \
    R(K, table)                                                                                    \
    I(K, ids)                                                                                      \
    W(K, gates)                                                                                    \
    I(K, kept_ids)                                                                                 \
    W(K, kept_weights)                                                                             \
    U(K, n) U(K, k) U(K, normalise) U(K, skip) U(K, vocab) U(K, layer) U(K, seed_low)              \
        U(K, seed_high) U(K, ranks) U(K, positions) F(K, scale) F(K, noise)

/* Adds to counts [n, VKM_COUNT_WORDS] what n_rows rows chose: for each expert how many tokens chose
 * it, the sum of their gates, and the sum of all rows' probabilities, both rounded down to units
 * for each row. use_pairs: adds 1 to pairs[i, j], i != j, for each row that chose both; pairs
 * [n, n]. ids, gates [n_rows, k], probs [n_rows, ld]; ids not below n count nowhere. */
#define VKM_PARAMS_route_count(K, R, W, I, X, T, C, U, F)                                             \
    R(K, ids)                                                                                      \
    R(K, gates)                                                                                    \
    R(K, probs)                                                                                    \
    I(K, counts) I(K, pairs) U(K, n) U(K, ld) U(K, k) U(K, n_rows) U(K, use_pairs)

/* Stable counting sort of the pairs i = row * k + slot by ids[i], in three kernels.
 * histogram [sort tiles, n_experts]: pairs of tile t (128 of them) that go to each expert. */
#define VKM_PARAMS_moe_histogram(K, R, W, I, X, T, C, U, F)                                        \
    R(K, ids) I(K, histogram) U(K, n_pairs) U(K, n_experts)

/* offsets [sort tiles, n_experts]: where in the sorted order the first pair of tile t that goes to
 * expert e lands. tiles [n_heights, list_tiles, 4]: (expert, first sorted index, rows, 0), experts
 * rising, in list i tiles that have room for least_rows << i rows; an expert has as many of the
 * highest as it fills, then the lowest that holds the rest. args [n_heights, 6]: two sets of
 * indirect workgroup counts for each list, (up_groups, its tiles, 1) and (down_groups, its tiles, 1).
 * n_heights <= VKM_TILE_HEIGHTS. One workgroup. */
#define VKM_PARAMS_moe_scan(K, R, W, I, X, T, C, U, F)                                             \
    R(K, histogram)                                                                                \
    I(K, offsets)                                                                                  \
    I(K, tiles) I(K, args) U(K, n_sort_tiles) U(K, n_experts) U(K, up_groups) U(K, down_groups)    \
        U(K, least_rows) U(K, n_heights) U(K, list_tiles)

/* order[sorted index] = pair. */
#define VKM_PARAMS_moe_scatter(K, R, W, I, X, T, C, U, F)                                          \
    R(K, ids) R(K, offsets) I(K, order) U(K, n_pairs) U(K, n_experts)

/* h[r, o] = silu(gate[o] . x[r]) * (up[o] . x[r]) for one FFN that serves every row: w is its
 * address. x [rows, k_ld], h [rows, h_ld]; elements width .. h_ld of h become zero. */
#define VKM_PARAMS_ffn_gemv_up(K, R, W, I, X, T, C, U, F)                                          \
    R(K, w) R(K, x) W(K, h) U(K, k_ld) U(K, width) U(K, n_rows) U(K, h_ld)
#define VKM_PARAMS_ffn_gemm_up VKM_PARAMS_ffn_gemv_up

/* The same for routed experts in the decode form: h [rows * k, h_ld], h[r * k + s] by expert
 * ids[r * k + s]; experts [n_experts] addresses into weights. */
#define VKM_PARAMS_moe_gemv_up(K, R, W, I, X, T, C, U, F)                                          \
    R(K, x)                                                                                        \
    R(K, ids)                                                                                      \
    R(K, experts)                                                                                  \
    T(K, weights) W(K, h) U(K, k) U(K, k_ld) U(K, width) U(K, n_pairs) U(K, h_ld) U(K, n_experts)

/* x[r, o] += sum over slots s of gates[r, s] (down_s[o] . h[r * k + s]), plus, if shared_width > 0,
 * down_shared[o] . shared_h[r]; down rows of expert ids[r * k + s]. x [rows, x_ld],
 * h [rows * k, h_ld], shared_h [rows, shared_ld]; the shared FFN's address is shared_w. Workgroups:
 * (columns, rows). */
#define VKM_PARAMS_moe_gemv_down(K, R, W, I, X, T, C, U, F)                                        \
    R(K, h)                                                                                        \
    R(K, ids)                                                                                      \
    R(K, gates)                                                                                    \
    R(K, experts)                                                                                  \
    R(K, shared_w) R(K, shared_h) T(K, weights) X(K, x) U(K, k) U(K, n_out) U(K, x_ld) U(K, width) \
        U(K, h_ld) U(K, shared_width) U(K, shared_ld) U(K, n_experts)

/* Grouped products over the sorted pairs in the tiles of one list; workgroup (column tile, tile),
 * counts from args.
 * h[i] = silu(gate . x[order[i] / k]) * (up . x[order[i] / k]) for sorted index i, [pairs, h_ld].
 */
#define VKM_PARAMS_moe_gemm_up(K, R, W, I, X, T, C, U, F)                                          \
    R(K, x)                                                                                        \
    R(K, tiles)                                                                                    \
    R(K, order)                                                                                    \
    R(K, experts) T(K, weights) W(K, h) U(K, k) U(K, k_ld) U(K, width) U(K, h_ld) U(K, n_experts)

/* y[order[i]] = down . h[i], [pairs, y_ld]; elements n_out .. y_ld of y become zero. */
#define VKM_PARAMS_moe_gemm_down(K, R, W, I, X, T, C, U, F)                                        \
    R(K, h)                                                                                        \
    R(K, tiles)                                                                                    \
    R(K, order)                                                                                    \
    R(K, experts)                                                                                  \
    T(K, weights) W(K, y) U(K, k_ld) U(K, width) U(K, h_ld) U(K, n_out) U(K, y_ld) U(K, n_experts)

/* x[r] += sum over slots s, in order, of gates[r, s] * y[r * k + s]; x [rows, ld], y [pairs, ld].
 */
#define VKM_PARAMS_moe_combine(K, R, W, I, X, T, C, U, F)                                          \
    R(K, y) R(K, gates) X(K, x) U(K, k) U(K, ld) U(K, n_rows)

/* Copies block `from` of the KV cache to block `to`, keys and values; words: uints in a block, a
 * multiple of 4. */
#define VKM_PARAMS_kv_copy(K, R, W, I, X, T, C, U, F)                                              \
    X(K, k_cache) X(K, v_cache) U(K, words) U(K, from) U(K, to)

/* Weights of any storage type that nobody trained, to measure with: w[i] = (hash of seed and i,
 * restricted to mask) | base for the first block_head uints of every block_words, and `scales` for
 * the rest of them. */
#define VKM_PARAMS_random_words(K, R, W, I, X, T, C, U, F)                                         \
    I(K, w)                                                                                        \
    U(K, words) U(K, seed) U(K, mask) U(K, base) U(K, block_words) U(K, block_head) U(K, scales)

/* What a device can do at most, to hold other kernels against.
 * y[i] = exclusive or of all words of the 16-byte quads i, i + count, i + 2 count ... of x [quads].
 */
#define VKM_PARAMS_probe_read(K, R, W, I, X, T, C, U, F) R(K, x) I(K, y) U(K, quads) U(K, count)

/* y[i] = sum of VKM_PROBE_CHAINS numbers, of which number c starts as (i mod 64 + c) / 64 and has
 * become v * factor + addend, `rounds` times VKM_PROBE_UNROLL times over. */
#define VKM_PARAMS_probe_fma(K, R, W, I, X, T, C, U, F)                                            \
    W(K, y) U(K, rounds) U(K, count) F(K, factor) F(K, addend)

/* Sampling. Output row i samples for batch row j = index[i] if use_index else i, with
 * samplers[rows[j].sequence], two uvec4 each, in the order of struct vkm_sampler.
 * Logits [rows, ld]. Keys order logits as top-K does: see order_key in lib/math.glsl. */

/* y[i] = logits[i], but logits of tokens among the last repeat_last entries of
 * history[sequence] up to position are divided by repeat_penalty where positive, else multiplied;
 * zeros beyond vocab. history [sequences, history_ld]. Workgroups: (vocabulary blocks, rows). */
#define VKM_PARAMS_penalise(K, R, W, I, X, T, C, U, F)                                             \
    R(K, logits)                                                                                   \
    R(K, rows)                                                                                     \
    R(K, index)                                                                                    \
    R(K, samplers) R(K, history) W(K, y) U(K, vocab) U(K, ld) U(K, use_index) U(K, history_ld)

/* cut[i]: the least key that stays after top-k, top-p and min-p, in this order; a token whose key
 * is as large stays too. top-k: the key of the top_k-th largest logit. top-p: the largest key for
 * which the tokens from it upwards hold top_p / 2^32 of the mass that top-k left, where a token's
 * mass is exp((logit - largest) * inverse_temperature) in units of 2^-31, rounded down: integers,
 * so that sums depend on no order. min-p: the key of largest - min_p_distance. 0 where all logits
 * are NaN. One workgroup per row (y). */
#define VKM_PARAMS_sample_cut(K, R, W, I, X, T, C, U, F)                                           \
    R(K, logits)                                                                                   \
    R(K, rows) R(K, index) R(K, samplers) I(K, cut) U(K, vocab) U(K, ld) U(K, use_index)

/* Summarises each block of VKM_VOCAB_BLOCK logits of row i: best [rows, blocks, 2]: the largest
 * logit and the sum of exp((logit - largest) * inverse_temperature) over tokens whose key is not
 * below cut[i] (if use_cut); at [rows, blocks]: the index of the largest, lower index on ties, NaN
 * last. Logits and the exponent's argument are clamped for the sum as in topk, a NaN logit adds
 * nothing; where all are NaN, the largest is NaN. Workgroups: (vocabulary blocks, rows). */
#define VKM_PARAMS_sample_blocks(K, R, W, I, X, T, C, U, F)                                        \
    R(K, logits)                                                                                   \
    R(K, rows)                                                                                     \
    R(K, index)                                                                                    \
    R(K, samplers) R(K, cut) W(K, best) I(K, at) U(K, vocab) U(K, ld) U(K, use_index) U(K, use_cut)

/* sampled[i]: greedy, the index of the largest logit; else the token at which the running sum of
 * exp((logit - largest) * inverse_temperature), in id order over tokens that the cut leaves, passes
 * u times the total; u is ((word 0 >> 8) + 0.5) / 2^24 of Philox4x32-10 with key (seed low, seed
 * high) and counter (position, sequence, 0, 0). Token 0 if all are NaN. next_rows[i]: batch row j
 * with the sampled token and position + 1. One workgroup per row (y). */
#define VKM_PARAMS_sample(K, R, W, I, X, T, C, U, F)                                               \
    R(K, logits)                                                                                   \
    R(K, rows)                                                                                     \
    R(K, index)                                                                                    \
    R(K, samplers)                                                                                 \
    R(K, cut) R(K, best) R(K, at) I(K, sampled) I(K, next_rows) U(K, vocab) U(K, ld)               \
        U(K, use_index) U(K, use_cut)

/* loss[i] = -ln softmax(logits[i])[targets[i]], the cross entropy of a token that is known; 0 for a
 * target outside the vocabulary. A NaN logit has no probability; where the target's is NaN, so is
 * the loss. Others are clamped to +-FLT_MAX, and the loss to FLT_MAX; exponents as in topk.
 * logits [rows, ld], targets and loss [rows]; one workgroup per row (y). */
#define VKM_PARAMS_token_loss(K, R, W, I, X, T, C, U, F)                                           \
    R(K, logits) R(K, targets) W(K, loss) U(K, vocab) U(K, ld)

/* clang-format on */

#endif
