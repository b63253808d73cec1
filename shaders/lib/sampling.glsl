/* What the kernels of the sampler share. */
uint vocab_blocks()
{
    return (p.vocab + VKM_VOCAB_BLOCK - 1u) / VKM_VOCAB_BLOCK;
}

/* The batch row whose logits are row i. */
uvec4 batch_row(uint i)
{
    return ld_uvec4(p.rows, p.use_index != 0u ? ld_u32(p.index, i) : i);
}

/* struct vkm_sampler */
struct sampler_settings {
    float inverse_temperature;
    uvec2 seed;
    uint top_k;
    uint top_p;
    float min_p_distance;
    float repeat_penalty;
    uint repeat_last;
};

sampler_settings load_sampler(uint sequence)
{
    uvec4 a = ld_uvec4(p.samplers, 2u * sequence);
    uvec4 b = ld_uvec4(p.samplers, 2u * sequence + 1u);
    return sampler_settings(uintBitsToFloat(a.x), a.yz, a.w, b.x, uintBitsToFloat(b.y),
                            uintBitsToFloat(b.z), b.w);
}

/* exp((logit - largest) * scale), or 0 for a logit below the cut. */
float kept_mass(float logit, uint cut, float largest, float scale)
{
    return order_key(logit) < cut ? 0.0 : exp_below(logit, largest, scale);
}
