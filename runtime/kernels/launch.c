/* The launch table. Everything that was chosen by measurement stands here; SPEED.md tells of it. */
#include "kernels/launch.h"

#include "base/rows.h"

enum {
    LANES_ROW = 128,  /* kernels with one workgroup per row */
    LANES_SMALL = 64, /* those whose rows are short: a list of experts, a head */
    LANES_VECTOR = 8, /* on CPU drivers, where more take turns, at every barrier too */
    LANES_CUT = 1024, /* at most, for the kernel that finds the sampler's cut */
    LANES_MOST = 512, /* that are tried */
    LANES_GEMM = 128, /* of gemm_team; other paths have their own, see tiles.c */
};

/* clang-format off */
#define EVERYWHERE(n) {{.lanes = (n)}, {.lanes = (n)}, {.lanes = (n)}, {.lanes = (n)}, {.lanes = (n)}}
#define CPU_AND_GPU(cpu, gpu)                                                                      \
    {{.lanes = (cpu)}, {.lanes = (cpu)}, {.lanes = (gpu)}, {.lanes = (gpu)}, {.lanes = (cpu)}}
#define PRODUCT {{64, 4, 4, 4}, {32, 8, 8, 8}, {64, 4, 4, 4}, {128, 4, 4, 4}, {32, 1, 4, 4}}
#define SWIGLU {{64, 2, 2, 2}, {32, 4, 8, 4}, {64, 2, 2, 2}, {128, 2, 2, 2}, {32, 1, 2, 2}}
/* clang-format on */

/* Of each kernel: CPU_BASE, CPU_SUBGROUP, GPU_BASE, GPU_SUBGROUP, CPU_WIDE. */
static const struct vkm_geometry table[VKM_KERNEL_COUNT][VKM_LAUNCH_CLASSES] = {
    [VKM_K_embed] = EVERYWHERE(LANES_ROW),
    [VKM_K_rmsnorm] = CPU_AND_GPU(LANES_VECTOR, LANES_ROW),
    [VKM_K_gemv] = PRODUCT,
    [VKM_K_gemv_add] = PRODUCT,
    [VKM_K_gemm] = EVERYWHERE(LANES_GEMM),
    [VKM_K_gemm_add] = EVERYWHERE(LANES_GEMM),
    [VKM_K_random_words] = EVERYWHERE(LANES_ROW),
    [VKM_K_rope_kv] = CPU_AND_GPU(LANES_VECTOR, LANES_SMALL), /* more where Q8 needs them: ops.c */
    [VKM_K_kv_copy] = EVERYWHERE(LANES_ROW),
    [VKM_K_attention] = EVERYWHERE(LANES_SMALL), /* on CPU_SUBGROUP by its heads, in ops.c */
    [VKM_K_attention_combine] = EVERYWHERE(LANES_SMALL),
    [VKM_K_topk] = CPU_AND_GPU(LANES_VECTOR, LANES_SMALL), /* more for many experts: ops.c */
    [VKM_K_topk_steered] = CPU_AND_GPU(LANES_VECTOR, LANES_SMALL),
    [VKM_K_topk_kept] = CPU_AND_GPU(LANES_VECTOR, LANES_SMALL),
    [VKM_K_route_count] = EVERYWHERE(LANES_SMALL),
    [VKM_K_moe_histogram] = EVERYWHERE(VKM_SORT_TILE),
    [VKM_K_moe_scan] = EVERYWHERE(LANES_ROW),
    [VKM_K_moe_scatter] = EVERYWHERE(VKM_SORT_TILE),
    [VKM_K_ffn_gemv_up] = SWIGLU,
    [VKM_K_ffn_gemm_up] = EVERYWHERE(LANES_GEMM),
    [VKM_K_moe_gemv_up] = SWIGLU,
    [VKM_K_moe_gemv_down] = PRODUCT,
    [VKM_K_moe_gemm_up] = EVERYWHERE(LANES_GEMM),
    [VKM_K_moe_gemm_down] = EVERYWHERE(LANES_GEMM),
    [VKM_K_moe_combine] = EVERYWHERE(LANES_ROW),
    [VKM_K_penalise] = EVERYWHERE(LANES_ROW),
    [VKM_K_sample_cut] = CPU_AND_GPU(LANES_ROW, LANES_CUT),
    [VKM_K_sample_blocks] = CPU_AND_GPU(LANES_VECTOR, LANES_ROW),
    [VKM_K_token_loss] = EVERYWHERE(LANES_ROW),
    [VKM_K_sample] = EVERYWHERE(LANES_ROW),
    [VKM_K_probe_read] = EVERYWHERE(LANES_ROW),
    [VKM_K_probe_fma] = EVERYWHERE(LANES_ROW),
};

static const uint32_t settings[VKM_SETTING_COUNT][VKM_LAUNCH_CLASSES] = {
    [VKM_SETTING_tiled_rows] = {16, 16, 32, 32, 16},
    /* On GPUs by arithmetic, not measured: four rows that choose 6 of 64 read 21 experts of 24. */
    [VKM_SETTING_grouped_rows] = {16, 3, 3, 3, 3},
    /* By arithmetic, not measured; the paths of CPU drivers have one height, 32. */
    [VKM_SETTING_tile_rows] = {64, 64, 128, 128, 64},
    /* Two on CPU drivers, as LLVM 19 ends the process at four, for want of mask registers. */
    [VKM_SETTING_attention_rows] = {2, 2, 4, 4, 2},
    /* As many as there are registers for; a subgroup alone on a CPU has none to run out of. */
    [VKM_SETTING_attention_sums] = {8, 16, 8, 8, 16},
    /* Of a GPU Vulkan does not tell the size. */
    [VKM_SETTING_split_groups] = {4, 4, 1024, 1024, 4},
    /* Longer where a dispatch costs more. */
    [VKM_SETTING_split_span] = {1024, 1024, 256, 256, 1024},
};

const char *const vkm_setting_names[VKM_SETTING_COUNT] = {
#define S(name) [VKM_SETTING_##name] = #name,
    VKM_SETTINGS(S)
#undef S
};

enum vkm_path vkm_launch_team_path(const struct vkm_caps *caps)
{
    return caps->paths[VKM_PATH_WIDE]       ? VKM_PATH_WIDE
           : caps->paths[VKM_PATH_SUBGROUP] ? VKM_PATH_SUBGROUP
                                            : VKM_PATH_BASE;
}

enum vkm_launch_class vkm_launch_class(const struct vkm_caps *caps)
{
    bool subgroups = vkm_launch_team_path(caps) != VKM_PATH_BASE;
    if (caps->cpu && caps->paths[VKM_PATH_WIDE])
        return VKM_LAUNCH_CPU_WIDE;
    if (caps->cpu)
        return subgroups ? VKM_LAUNCH_CPU_SUBGROUP : VKM_LAUNCH_CPU_BASE;
    return subgroups ? VKM_LAUNCH_GPU_SUBGROUP : VKM_LAUNCH_GPU_BASE;
}

struct vkm_caps vkm_launch_class_caps(enum vkm_launch_class class)
{
    bool wide = class == VKM_LAUNCH_CPU_WIDE;
    bool subgroups = class == VKM_LAUNCH_CPU_SUBGROUP || class == VKM_LAUNCH_GPU_SUBGROUP || wide;
    return (struct vkm_caps){
        .cpu = class != VKM_LAUNCH_GPU_BASE && class != VKM_LAUNCH_GPU_SUBGROUP,
        .paths = {[VKM_PATH_BASE] = true, [VKM_PATH_SUBGROUP] = subgroups, [VKM_PATH_WIDE] = wide},
    };
}

/* Conformance tries paths that the device would not take, which were not measured. */
static const struct vkm_tuning *tuning_for(const struct vkm_caps *caps)
{
    const struct vkm_tuning *t = caps->tuning;
    return t && t->launch_class == vkm_launch_class(caps) ? t : NULL;
}

enum vkm_dtype vkm_tuned_type(uint32_t kernel, enum vkm_dtype dtype)
{
    return vkm_kernels.kernels[kernel].has_dtype ? dtype : VKM_DTYPE_COUNT;
}

uint32_t vkm_tuning_choices(const struct vkm_tuning *t)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++)
            n += t->kernels[k][type].lanes > 0;
    for (int s = 0; s < VKM_SETTING_COUNT; s++)
        n += t->settings[s] > 0;
    return n;
}

struct vkm_geometry vkm_launch_geometry(const struct vkm_caps *caps, uint32_t kernel,
                                        enum vkm_dtype dtype, bool tuned)
{
    const struct vkm_tuning *t = tuned ? tuning_for(caps) : NULL;
    const struct vkm_geometry *g = t ? &t->kernels[kernel][vkm_tuned_type(kernel, dtype)] : NULL;
    if (g && g->lanes > 0 && vkm_launch_fits(caps, kernel, *g))
        return *g;
    return table[kernel][vkm_launch_class(caps)];
}

uint32_t vkm_launch_setting(const struct vkm_caps *caps, enum vkm_setting setting)
{
    const struct vkm_tuning *t = tuning_for(caps);
    return t && t->settings[setting] > 0 ? t->settings[setting]
                                         : settings[setting][vkm_launch_class(caps)];
}

/* --- what can be tuned --- */

bool vkm_launch_is_product(uint32_t kernel)
{
    return table[kernel][0].outputs > 0;
}

bool vkm_launch_is_tunable(uint32_t kernel)
{
    return vkm_launch_is_product(kernel) || kernel == VKM_K_embed || kernel == VKM_K_rmsnorm ||
           kernel == VKM_K_topk;
}

static bool is_power_of_two(uint32_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

static bool outputs_fit(uint32_t outputs)
{
    return is_power_of_two(outputs) && outputs <= VKM_PANEL_ROWS;
}

/* The BASE path of a product keeps one sum of each output for each lane in shared memory, two for
 * SwiGLU; other kernels a float for each lane, besides what they take in any case. */
static bool shared_fits(const struct vkm_caps *caps, uint32_t kernel, struct vkm_geometry g)
{
    uint32_t outputs = vkm_max_u32(g.outputs, g.panels);
    if (!vkm_launch_is_product(kernel) || vkm_launch_team_path(caps) != VKM_PATH_BASE)
        return true;
    return (uint64_t)g.lanes * outputs * 2 * sizeof(float) <= caps->shared_bytes;
}

bool vkm_launch_fits(const struct vkm_caps *caps, uint32_t kernel, struct vkm_geometry g)
{
    if (!vkm_launch_is_tunable(kernel) || !is_power_of_two(g.lanes) || g.lanes < 4 ||
        g.lanes > LANES_MOST || g.lanes > caps->max_invocations || !shared_fits(caps, kernel, g))
        return false;
    if (!vkm_launch_is_product(kernel))
        return g.outputs == 0 && g.panels == 0;
    if (caps->paths[VKM_PATH_WIDE] && g.lanes != table[kernel][VKM_LAUNCH_CPU_WIDE].lanes)
        return false; /* which does not matter */
    return outputs_fit(g.outputs) && outputs_fit(g.panels);
}

bool vkm_launch_setting_fits(enum vkm_setting setting, uint32_t value)
{
    switch (setting) {
    case VKM_SETTING_tiled_rows:
    case VKM_SETTING_grouped_rows:
        return value > 0 && value <= 1024;
    case VKM_SETTING_tile_rows:
        return value >= 16 && value <= 128 && is_power_of_two(value);
    case VKM_SETTING_attention_rows:
        return value <= 4 && is_power_of_two(value);
    case VKM_SETTING_attention_sums:
        return value <= 16 && is_power_of_two(value);
    case VKM_SETTING_split_groups:
        return value > 0 && value <= 65536;
    default:
        return value >= VKM_KV_BLOCK && value <= 32768 && value % VKM_KV_BLOCK == 0;
    }
}
