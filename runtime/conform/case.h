/* What the cases of a kernel are written with. A case is
 *
 *     if (vkm_case(s, "k=%u rows=%u", k, rows)) {
 *         struct vkm_params_NAME p = {.x = vkm_case_rows(s, rows, k, 1), ...};
 *         vkm_case_run(s, (struct vkm_launch){...}, &p);
 *     }
 *
 * Memory comes from mapped arenas, every view with guard bytes before and after, poisoned until
 * filled. Failures stick to the suite, so cases carry no error plumbing. */
#ifndef VKM_CASE_H
#define VKM_CASE_H

#include "base/rows.h"
#include "conform/conform.h"
#include "conform/random.h"
#include "gpu/recorder.h"
#include "kernels/ops.h"

/* A mapped buffer from which a case takes its memory. */
struct vkm_arena {
    struct vkm_buffer *buffer;
    uint64_t used;
};

struct vkm_suite {
    struct vkm_gpu *gpu;
    const struct vkm_conform_params *params;
    struct vkm_caps caps; /* only the path under test */
    enum vkm_kernel_id kernel;
    enum vkm_dtype dtype; /* storage type of weights under test */
    enum vkm_path path;
    struct vkm_random random; /* keyed by seed, kernel and case name */
    struct vkm_arena views;
    struct vkm_arena tables;      /* what is reached through addresses lies apart from all else */
    unsigned char *before;        /* the views' arena as it was before the kernel ran */
    unsigned char *tables_before; /* likewise, of the tables */
    unsigned char *pristine;      /* likewise, for the export; NULL where there is none */
    char name[128];
    struct vkm_conform_variant variant; /* statistics so far */
    vkmoe_error error;                  /* sticks: the suite cannot go on */
};

/* The cases of each kernel. */
typedef void vkm_cases_fn(struct vkm_suite *s);
#define KERNEL(name, ...) vkm_cases_fn vkm_cases_##name;
#include "kernels/table.def"
#undef KERNEL

/* Begins a case; false if it is not to be run. */
bool vkm_case(struct vkm_suite *s, const char *format, ...) VKM_PRINTF(2, 3);
/* Records the kernel, runs it and its reference, compares, and reports. */
void vkm_case_run(struct vkm_suite *s, struct vkm_launch launch, const void *params);

/* What is known of a case's outputs beforehand. */
struct vkm_case_known {
    const struct vkm_outputs *want, *magnitude;
};
/* Runs the one op of the stream; leaves an empty sentence if all is right. Outputs are held against
 * `known`, or where that is NULL against the reference's. */
void vkm_case_run_stream(struct vkm_suite *s, const struct vkm_stream *stream,
                         const struct vkm_case_known *known, struct vkm_lockstep *outcome,
                         char *sentence, size_t size);

/* Counts the case and hands it to the listener; an empty sentence: it passed. */
void vkm_case_report(struct vkm_suite *s, const char *sentence, const struct vkm_lockstep *outcome,
                     const char *bundle);

/* The arenas of a suite; finish accepts one that failed to begin. */
vkmoe_status vkm_suite_begin(struct vkm_suite *s, uint64_t arena_size, bool keeps_inputs,
                             vkmoe_error *err);
void vkm_suite_finish(struct vkm_suite *s);
/* All that s->params ask for needs, the folder for bundles too; to be ended with finish even where
 * it fails. */
vkmoe_status vkm_suite_prepare(struct vkm_suite *s, vkmoe_error *err);
/* Goes through the kernel table with a suite that is prepared. */
vkmoe_status vkm_suite_run(struct vkm_suite *s, struct vkm_conform_totals *totals,
                           vkmoe_error *err);

/* A view of `bytes` bytes, poisoned: an output as it is, an input to be filled by the case. */
struct vkm_view vkm_case_alloc(struct vkm_suite *s, uint64_t bytes);
struct vkm_view vkm_case_alloc_in(struct vkm_suite *s, struct vkm_arena *arena, uint64_t bytes);
/* Its host memory. */
void *vkm_case_host(struct vkm_view view);

/* Room for n floats or uints: an output. */
static inline struct vkm_view vkm_case_output(struct vkm_suite *s, uint64_t n)
{
    return vkm_case_alloc(s, 4 * n);
}
/* n floats in [low, high). */
struct vkm_view vkm_case_floats(struct vkm_suite *s, uint64_t n, float low, float high);
/* n uints below `limit`. */
struct vkm_view vkm_case_uints(struct vkm_suite *s, uint64_t n, uint32_t limit);
/* rows of `width` floats in [-size, size), padded with zeros. */
struct vkm_view vkm_case_rows(struct vkm_suite *s, uint64_t rows, uint32_t width, float size);
/* The same in the storage type of weights. */
struct vkm_view vkm_case_weights(struct vkm_suite *s, uint64_t rows, uint32_t width, float size);
/* A permutation of 0 .. n - 1. */
struct vkm_view vkm_case_permutation(struct vkm_suite *s, uint32_t n);
/* n batch rows with random tokens, positions and `sequences` sequences. */
struct vkm_view vkm_case_batch(struct vkm_suite *s, uint32_t n, uint32_t vocab, uint32_t positions,
                               uint32_t sequences);

/* The height of tiles where one does. */
#define VKM_CASE_TILE_ROWS 32u

/* Whether few shapes do: types with factors differ from the others in how lib/weights.glsl reads
 * them, the same in all kernels, so unless all is wanted each kernel is compiled once for them. */
static inline bool vkm_case_is_short(const struct vkm_suite *s)
{
    return s->params->level != VKM_CONFORM_FULL && s->dtype < VKM_DTYPE_COUNT &&
           vkm_dtype_is_quantised(s->dtype) && !vkm_dtype_has_one_scale(s->dtype);
}

/* Whether shapes of n_rows rows are wanted. Products of 2 to 4 rows are pipelines of their own; to
 * save compilation they are left to one storage type, or out, unless all is wanted. */
static inline bool vkm_case_wants_rows(const struct vkm_suite *s, uint32_t n_rows)
{
    if (vkm_case_is_short(s))
        return n_rows == 1;
    return n_rows == 1 || n_rows > 4 || s->params->level == VKM_CONFORM_FULL ||
           (s->params->level == VKM_CONFORM_QUICK && s->dtype == VKM_DTYPE_BF16);
}

/* One FFN with random weights. */
struct vkm_view vkm_case_ffn(struct vkm_suite *s, uint32_t hidden, uint32_t width);
/* n of them, in a shuffled order, and the table of their addresses. */
struct vkm_case_ffns {
    struct vkm_view weights, table;
};
struct vkm_case_ffns vkm_case_ffns(struct vkm_suite *s, uint32_t n, uint32_t hidden,
                                   uint32_t width);

/* How a batch chooses its experts. */
enum vkm_routing {
    VKM_ROUTING_EVEN,
    VKM_ROUTING_SKEWED, /* most to few, many experts empty */
    VKM_ROUTING_ONE,    /* all to the last */
    VKM_ROUTING_BOUNDS, /* some ids beyond the table */
    VKM_ROUTING_COUNT
};
const char *vkm_routing_name(enum vkm_routing routing);
struct vkm_view vkm_case_ids(struct vkm_suite *s, uint32_t n_pairs, uint32_t n_experts,
                             enum vkm_routing routing);

/* The reference's way of running a kernel on the arena, to make a later kernel's inputs. */
void vkm_case_reference(struct vkm_suite *s, enum vkm_kernel_id kernel, uint32_t rows,
                        const void *params);

#endif
