/* probs[r] = softmax(logits[r]) over n elements, as params.h has it for NaN and infinities.
 * One workgroup per row, lanes along the row. */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "lib/mem.glsl"
#include "lib/math.glsl"
#include "lib/reduce.glsl"

void main()
{
    uvec2 logits = addr_row(p.logits, gl_WorkGroupID.y, p.ld * 4u);
    uvec2 probs = addr_row(p.probs, gl_WorkGroupID.y, p.ld * 4u);
    uint key = 0u;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x)
        key = max(key, order_key(ld_f32(logits, i)));
    float largest = from_order_key(group_max(key));
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += gl_WorkGroupSize.x)
        sum += exp_below(ld_f32(logits, i), largest, 1.0);
    sum = group_sum(sum);
    float factor = sum > 0.0 ? 1.0 / sum : 0.0; /* all NaN: all zero */
    for (uint i = gl_LocalInvocationID.x; i < p.ld; i += gl_WorkGroupSize.x)
        st_f32(probs, i, i < p.n ? exp_below(ld_f32(logits, i), largest, 1.0) * factor : 0.0);
}
