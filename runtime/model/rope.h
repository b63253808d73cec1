/* Rotary position embedding: cos and sin tabulated in float64 on the host, since a shader's own are
 * good to 2^-11 only. */
#ifndef VKM_ROPE_H
#define VKM_ROPE_H

#include "model/config.h"

/* Entries in the tables for a context, each head_dim / 2 pairs of (cos, sin). */
uint32_t vkm_rope_high_count(uint32_t context);
/* low [256, head_dim / 2, 2]: angles of position mod 256; high [high count, head_dim / 2, 2]: of
 * 256 * (position div 256). Linear scaling divides positions by the factor; dynamic scaling raises
 * the base once, from `context`, where that exceeds max_position_embeddings. */
void vkm_rope_tables(const struct vkm_config *config, uint32_t context, float *low, float *high);

#endif
