#include "conform/bundle.h"

#include <fnmatch.h>

#define ARENA_QUICK (64u << 20)
#define ARENA_FULL (256u << 20)

bool vkm_glob(const char *pattern, const char *text)
{
    return fnmatch(pattern, text, 0) == 0;
}

static vkm_cases_fn *const cases[] = {
#define KERNEL(name, ...) vkm_cases_##name,
#include "kernels/table.def"
#undef KERNEL
};

vkmoe_status vkm_suite_begin(struct vkm_suite *s, uint64_t arena_size, bool keeps_inputs,
                             vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->gpu);
    const char *what = "conformance cases";
    vkmoe_status status =
        vkm_buffer_create(s->gpu, VKM_MEMORY_HOST, arena_size, what, &s->views.buffer, err);
    if (status == VKMOE_OK)
        status =
            vkm_buffer_create(s->gpu, VKM_MEMORY_HOST, arena_size, what, &s->tables.buffer, err);
    if (status == VKMOE_OK && !(s->before = vkm_malloc(a, arena_size, 1)))
        status = vkm_fail_memory(err, arena_size, what);
    if (status == VKMOE_OK && !(s->tables_before = vkm_malloc(a, arena_size, 1)))
        status = vkm_fail_memory(err, arena_size, what);
    if (status == VKMOE_OK && keeps_inputs && !(s->pristine = vkm_malloc(a, arena_size, 1)))
        status = vkm_fail_memory(err, arena_size, what);
    return status;
}

void vkm_suite_finish(struct vkm_suite *s)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(s->gpu);
    vkm_free(a, s->pristine);
    vkm_free(a, s->tables_before);
    vkm_free(a, s->before);
    vkm_buffer_destroy(s->gpu, s->tables.buffer);
    vkm_buffer_destroy(s->gpu, s->views.buffer);
}

/* Tiles of every height are pipelines of their own; to save compilation they are left to one
 * storage type unless all is wanted, and where shared memory holds more for types with factors to
 * one of those. */
static bool wants_all_heights(const struct vkm_suite *s, const struct vkm_variant *variant)
{
    bool tested = vkm_path_row(variant->path)->tested;
    enum vkm_dtype one = variant->path == VKM_PATH_INT8 ? VKM_DTYPE_Q8 : VKM_DTYPE_BF16;
    return s->params->level == VKM_CONFORM_FULL ||
           (s->params->level == VKM_CONFORM_QUICK &&
            (variant->dtype == one || (tested && variant->dtype == VKM_DTYPE_Q8K)));
}

/* The caps with the path under test and no other but the base path. */
static struct vkm_caps caps_for(const struct vkm_suite *s, const struct vkm_variant *variant,
                                uint32_t subgroup_size)
{
    struct vkm_caps caps = *vkm_gpu_caps(s->gpu);
    caps.subgroup_size = subgroup_size;
    for (uint32_t i = VKM_PATH_BASE + 1; i < VKM_PATH_COUNT; i++)
        caps.paths[i] = i == (uint32_t)variant->path;
    caps.tile_rows = wants_all_heights(s, variant) ? 0 : VKM_CASE_TILE_ROWS;
    return caps;
}

static void run_variant(struct vkm_suite *s, const struct vkm_variant *variant,
                        uint32_t subgroup_size, struct vkm_conform_totals *totals)
{
    if (s->params->takes && !s->params->takes(s->params->user))
        return;
    s->dtype = variant->dtype;
    s->path = variant->path;
    s->caps = caps_for(s, variant, subgroup_size);
    s->variant = (struct vkm_conform_variant){
        .kernel = s->kernel, .variant = variant, .subgroup_size = subgroup_size};
    cases[s->kernel](s);
    totals->cases += s->variant.cases;
    totals->failed += s->variant.failed;
    if (s->variant.cases > 0 && s->params->on_variant)
        s->params->on_variant(s->params->user, &s->variant);
}

/* Once, or where the host chooses the size of subgroups once for each. */
static void run_sizes(struct vkm_suite *s, const struct vkm_variant *variant,
                      struct vkm_conform_totals *totals)
{
    uint32_t own = vkm_gpu_caps(s->gpu)->subgroup_size;
    uint32_t sizes = vkm_gpu_info(s->gpu)->subgroup_sizes;
    if (variant->path != VKM_PATH_SUBGROUP && variant->path != VKM_PATH_WIDE) {
        run_variant(s, variant, vkm_path_is_sized(variant->path) ? own : 0, totals);
        return;
    }
    for (uint32_t size = 1; size <= sizes && s->error.status == VKMOE_OK; size *= 2) {
        if ((sizes & size) && (size == own || s->params->level != VKM_CONFORM_BRIEF))
            run_variant(s, variant, size, totals);
    }
}

static bool wants_variant(const struct vkm_suite *s, const struct vkm_variant *variant)
{
    /* The addresses of F16 are those of BF16, and Q4K is read as Q4 and Q8K are. */
    if (s->params->level == VKM_CONFORM_BRIEF &&
        (variant->dtype == VKM_DTYPE_F16 || variant->dtype == VKM_DTYPE_Q4K))
        return false;
    if (s->params->path && !vkm_glob(s->params->path, vkm_path_name(variant->path)))
        return false;
    if (s->params->weights && !vkm_glob(s->params->weights, vkm_variant_dtype_name(variant)))
        return false;
    return vkm_gpu_caps(s->gpu)->paths[variant->path];
}

static void run_kernel(struct vkm_suite *s, struct vkm_conform_totals *totals)
{
    const struct vkm_kernel *kernel = &vkm_gpu_kernels(s->gpu)->kernels[s->kernel];
    if (s->params->kernels && !vkm_glob(s->params->kernels, kernel->name))
        return;
    for (uint32_t i = 0; i < kernel->n_variants && s->error.status == VKMOE_OK; i++)
        if (wants_variant(s, &kernel->variants[i]))
            run_sizes(s, &kernel->variants[i], totals);
}

vkmoe_status vkm_suite_prepare(struct vkm_suite *s, vkmoe_error *err)
{
    const struct vkm_conform_params *p = s->params;
    uint64_t size = p->level == VKM_CONFORM_FULL ? ARENA_FULL : ARENA_QUICK;
    vkmoe_status status = VKMOE_OK;
    if (p->export_dir)
        status = vkm_bundle_folder(p->export_dir, err); /* now, not after minutes */
    if (status == VKMOE_OK && (!p->list || p->export_dir))
        status = vkm_suite_begin(s, size, p->export_dir != NULL, err);
    return status;
}

vkmoe_status vkm_suite_run(struct vkm_suite *s, struct vkm_conform_totals *totals, vkmoe_error *err)
{
    *totals = (struct vkm_conform_totals){0};
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT && s->error.status == VKMOE_OK; k++) {
        s->kernel = (enum vkm_kernel_id)k;
        run_kernel(s, totals);
    }
    if (s->error.status != VKMOE_OK && err)
        *err = s->error;
    return s->error.status;
}

vkmoe_status vkm_conform_run(struct vkm_gpu *gpu, const struct vkm_conform_params *params,
                             struct vkm_conform_totals *totals, vkmoe_error *err)
{
    struct vkm_suite s = {.gpu = gpu, .params = params};
    *totals = (struct vkm_conform_totals){0};
    if (params->on_device)
        params->on_device(params->user, vkm_gpu_info(gpu));
    vkmoe_status status = vkm_suite_prepare(&s, err);
    if (status == VKMOE_OK)
        status = vkm_suite_run(&s, totals, err);
    vkm_suite_finish(&s);
    return status;
}
