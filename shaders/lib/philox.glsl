/* Philox4x32-10: random words that are a function of a counter and a key, the same on every
 * device. */
uvec4 philox(uvec4 counter, uvec2 key)
{
    for (uint i = 0u; i < 10u; i++) {
        uvec2 a = umul64(counter.x, 0xD2511F53u);
        uvec2 b = umul64(counter.z, 0xCD9E8D57u);
        counter = uvec4(b.y ^ counter.y ^ key.x, b.x, a.y ^ counter.w ^ key.y, a.x);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}
