/* How fast a device reads weights where they lie: a matrix-vector product, timed. */
#include <float.h>

#include "engine/engine.h"
#include "kernels/ops.h"

/* Of the matrix, at most: on GPUs more than caches hold, if there is as much; a CPU driver reads a
 * hundredth as fast. */
#define SAMPLE_BYTES_GPU (UINT64_C(512) << 20)
#define SAMPLE_BYTES_CPU (UINT64_C(16) << 20)
#define RUNS 3 /* the fastest counts; one more before warms up */

/* Seconds of the fastest run: by the device's clock, or, where it has none, by the host's. */
static vkmoe_status fastest(struct vkm_commands *commands, double spend, double *seconds,
                            vkmoe_error *err)
{
    double begin = vkm_seconds();
    *seconds = DBL_MAX;
    for (int i = 0; i <= RUNS || vkm_seconds() - begin < spend; i++) {
        double start = vkm_seconds();
        vkmoe_status status = vkm_commands_run(commands, NULL, err);
        double taken = vkm_seconds() - start;
        uint64_t ns = status == VKMOE_OK ? vkm_commands_time(commands, 0) : 0;
        if (status != VKMOE_OK)
            return status;
        if (ns > 0)
            taken = 1e-9 * (double)ns;
        if (i > 0 && taken < *seconds)
            *seconds = taken;
    }
    return VKMOE_OK;
}

vkmoe_status vkm_time_stream(struct vkm_gpu *gpu, const struct vkm_stream *stream, double spend,
                             double *seconds, vkmoe_error *err)
{
    struct vkm_commands *commands = NULL;
    vkmoe_status status = vkm_commands_create(gpu, stream, true, &commands, err);
    if (status == VKMOE_OK)
        status = fastest(commands, spend, seconds, err);
    vkm_commands_destroy(commands);
    return status;
}

static vkmoe_status time_product(struct vkm_gpu *gpu, const struct vkm_params_gemv *p,
                                 enum vkm_dtype dtype, double *seconds, vkmoe_error *err)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkm_stream_init(&stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&recorder, &stream, vkm_gpu_caps(gpu));
    vkm_op_gemv(&recorder, (struct vkm_launch){.n_rows = 1, .dtype = dtype}, p);
    vkm_recorder_finish(&recorder);
    vkmoe_status status = vkm_recorder_status(&recorder, err);
    if (status == VKMOE_OK)
        status = vkm_time_stream(gpu, &stream, 0, seconds, err);
    vkm_stream_finish(&stream);
    return status;
}

vkmoe_status vkm_measure_reads(struct vkm_gpu *gpu, const struct vkm_matrix *m,
                               double *bytes_per_second, vkmoe_error *err)
{
    uint64_t panel = vkm_stored_rows(m->dtype, 1);
    uint64_t sample = vkm_gpu_caps(gpu)->cpu ? SAMPLE_BYTES_CPU : SAMPLE_BYTES_GPU;
    uint64_t panels = sample / vkm_matrix_bytes(m->dtype, panel, vkm_ld(m->n_in));
    uint64_t most = panels > 0 ? panels * panel : panel;
    uint32_t rows = m->n_out < most ? m->n_out : (uint32_t)most;
    uint64_t x_bytes = vkm_ld(m->n_in) * sizeof(float);
    struct vkm_buffer *io = NULL; /* x, then y; the product's values do not matter */
    double seconds;
    vkmoe_status status = vkm_buffer_create(
        gpu, VKM_MEMORY_DEVICE, x_bytes + vkm_ld(rows) * sizeof(float), "a measurement", &io, err);
    if (status != VKMOE_OK)
        return status;
    struct vkm_view all = vkm_buffer_view(io);
    struct vkm_params_gemv p = {
        .w = vkm_view_slice(m->view, 0, vkm_matrix_bytes(m->dtype, rows, vkm_ld(m->n_in))),
        .x = vkm_view_slice(all, 0, x_bytes),
        .y = vkm_view_slice(all, x_bytes, vkm_ld(rows) * sizeof(float)),
        .k_ld = vkm_ld(m->n_in),
        .n_out = rows,
        .n_rows = 1,
        .y_ld = vkm_ld(rows),
    };
    status = time_product(gpu, &p, m->dtype, &seconds, err);
    if (status == VKMOE_OK)
        *bytes_per_second = (double)p.w.size / seconds;
    vkm_buffer_destroy(gpu, io);
    return status;
}
