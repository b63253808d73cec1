/* What the two kernels of the sampler share. */
uint vocab_blocks()
{
    return (p.vocab + VKM_VOCAB_BLOCK - 1u) / VKM_VOCAB_BLOCK;
}

/* The batch row whose logits are row i. */
uvec4 batch_row(uint i)
{
    return ld_uvec4(p.rows, p.use_index != 0u ? ld_u32(p.index, i) : i);
}
