/* Dot products, float32 functions that stay finite, and NaN told by its bits. */

/* Four products summed apart from the running sum: a quarter of its roundings. Spelt out, because
 * some CPU drivers make separate multiplications and additions of dot(). */
float dot4(vec4 a, vec4 b)
{
    return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, a.w * b.w)));
}

/* sum += x, where sum + rest is what is meant: what rounding takes from the sum goes to the rest
 * (Knuth's two-sum). Nothing may be contracted or put in another order. */
#define VKM_ADD_TO(type)                                                                           \
    void add_to(inout type sum, inout type rest, type x)                                           \
    {                                                                                              \
        precise type next = sum + x;                                                               \
        precise type added = next - sum;                                                           \
        precise type lost = (sum - (next - added)) + (x - added);                                  \
        rest += lost;                                                                              \
        sum = next;                                                                                \
    }
VKM_ADD_TO(float)
VKM_ADD_TO(vec2)

const float VKM_FLT_MAX = 3.402823466e+38;
const float VKM_FLT_MIN = 1.175494351e-38; /* of normal ones */

bool is_nan(float x)
{
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}

/* A uint that orders as floats do, with -0 equal to 0 and every NaN below -infinity. */
uint order_key(float x)
{
    uint bits = floatBitsToUint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return 0u;
    if (bits == 0x80000000u)
        bits = 0u;
    return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

/* The float of a key, at most FLT_MAX; 0 for NaN's. */
float from_order_key(uint key)
{
    if (key == 0u)
        return 0.0;
    return min(uintBitsToFloat((key & 0x80000000u) != 0u ? key ^ 0x80000000u : ~key), VKM_FLT_MAX);
}

/* exp((x - largest) * scale) for x <= largest, the argument clamped to [-100, 0]; 0 for NaN. */
float exp_below(float x, float largest, float scale)
{
    if (is_nan(x))
        return 0.0;
    float distance = x == largest ? 0.0 : max(x - largest, -VKM_FLT_MAX);
    return exp(clamp(distance * scale, -100.0, 0.0));
}

/* x / (1 + exp(-x)) */
float silu(float x)
{
    if (x < -100.0)
        return 0.0;
    float e = exp(-min(abs(x), 100.0));
    return x * ((x < 0.0 ? e : 1.0) / (1.0 + e));
}
