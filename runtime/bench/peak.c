/* What a device can do at most. */
#include "bench/bench.h"
#include "gpu/once.h"
#include "kernels/ops.h"

#define READ_BYTES (UINT64_C(512) << 20)    /* more than caches hold; */
#define READ_BYTES_CPU (UINT64_C(64) << 20) /* a CPU driver reads a hundredth as fast */
#define READ_BYTES_LEAST (UINT64_C(1) << 20)
#define INVOCATIONS (1u << 19) /* that keep a GPU busy, */
#define INVOCATIONS_CORE 4096u /* and each core of a CPU */
#define FMA_SECONDS 0.01       /* that one run should take */
#define FMA_ROUNDS 16u         /* of the run that tells how many that are, */
#define FMA_ROUNDS_MOST 16384u /* since Mesa 22's lavapipe leaves loops after 65535 turns */
#define SPEND_SECONDS 0.08     /* on runs of one probe, of which the fastest counts */
#define NOMINAL_SHARE 0.8      /* of a nominal figure, that can be had */

struct probe {
    struct vkm_gpu *gpu;
    struct vkm_buffer *x, *y;
    uint32_t count; /* invocations, and words of y */
};

static vkmoe_status time_op(struct vkm_gpu *gpu, enum vkm_kernel_id kernel, const void *params,
                            double *seconds, vkmoe_error *err)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkm_stream_init(&stream, vkm_gpu_kernels(gpu), vkm_gpu_allocator(gpu));
    vkm_recorder_init(&recorder, &stream, vkm_gpu_caps(gpu));
    vkm_op(&recorder, kernel, (struct vkm_launch){.n_rows = 1}, params);
    vkm_recorder_finish(&recorder);
    vkmoe_status status = vkm_recorder_status(&recorder, err);
    if (status == VKMOE_OK)
        status = vkm_time_stream(gpu, &stream, SPEND_SECONDS, seconds, err);
    vkm_stream_finish(&stream);
    return status;
}

/* As large as there is room for beside the model. */
static vkmoe_status allocate(struct probe *p, vkmoe_error *err)
{
    const struct vkm_caps *caps = vkm_gpu_caps(p->gpu);
    uint64_t bytes = caps->cpu ? READ_BYTES_CPU : READ_BYTES, most = vkm_gpu_max_buffer(p->gpu);
    p->count = caps->cpu ? INVOCATIONS_CORE * caps->cores : INVOCATIONS;
    vkmoe_status status = vkm_buffer_create(p->gpu, VKM_MEMORY_DEVICE, p->count * sizeof(uint32_t),
                                            "a measurement", &p->y, err);
    for (; status == VKMOE_OK && !p->x; bytes /= 2) {
        vkmoe_status got = bytes > most ? VKMOE_OUT_OF_DEVICE_MEMORY
                                        : vkm_buffer_create(p->gpu, VKM_MEMORY_DEVICE, bytes,
                                                            "a measurement", &p->x, err);
        if (got != VKMOE_OK && (got != VKMOE_OUT_OF_DEVICE_MEMORY || bytes <= READ_BYTES_LEAST))
            status = got;
    }
    return status;
}

/* Pages that were never written may all be one. */
static vkmoe_status measure_memory(const struct probe *p, double *rate, vkmoe_error *err)
{
    uint32_t words = (uint32_t)(p->x->size / sizeof(uint32_t));
    const struct vkm_params_random_words fill = {.w = vkm_buffer_view(p->x),
                                                 .words = words,
                                                 .mask = UINT32_MAX,
                                                 .block_words = words,
                                                 .block_head = words};
    const struct vkm_params_probe_read read = {.x = vkm_buffer_view(p->x),
                                               .y = vkm_buffer_view(p->y),
                                               .quads = words / 4,
                                               .count = p->count};
    double seconds;
    struct vkm_once once;
    vkm_once_begin(&once, p->gpu);
    vkm_op_random_words(&once.recorder, (struct vkm_launch){.n_rows = 1}, &fill);
    vkmoe_status status = vkm_once_run(&once, err);
    if (status == VKMOE_OK)
        status = time_op(p->gpu, VKM_K_probe_read, &read, &seconds, err);
    if (status == VKMOE_OK)
        *rate = (double)p->x->size / seconds;
    return status;
}

static vkmoe_status measure_arithmetic(const struct probe *p, double *rate, vkmoe_error *err)
{
    struct vkm_params_probe_fma fma = {.y = vkm_buffer_view(p->y),
                                       .rounds = FMA_ROUNDS,
                                       .count = p->count,
                                       .factor = 0.75f,
                                       .addend = 0.25f};
    double seconds = 0;
    vkmoe_status status = time_op(p->gpu, VKM_K_probe_fma, &fma, &seconds, err);
    double rounds = FMA_ROUNDS * FMA_SECONDS / seconds;
    if (status == VKMOE_OK && rounds > FMA_ROUNDS) {
        fma.rounds = rounds < FMA_ROUNDS_MOST ? (uint32_t)rounds : FMA_ROUNDS_MOST;
        status = time_op(p->gpu, VKM_K_probe_fma, &fma, &seconds, err);
    }
    if (status == VKMOE_OK)
        *rate = 2.0 * VKM_PROBE_CHAINS * VKM_PROBE_UNROLL * fma.rounds * fma.count / seconds;
    return status;
}

static void settle(vkmoe_bench_peak *peak, double nominal)
{
    peak->nominal = nominal;
    peak->rate =
        peak->measured > NOMINAL_SHARE * nominal ? peak->measured : NOMINAL_SHARE * nominal;
}

vkmoe_status vkm_measure_peaks(struct vkm_gpu *gpu, double reads, vkmoe_bench_peak *memory,
                               vkmoe_bench_peak *arithmetic, vkmoe_error *err)
{
    struct vkm_nominal nominal = vkm_nominal_peaks(vkm_gpu_info(gpu)->name);
    struct probe p = {.gpu = gpu};
    vkmoe_status status = allocate(&p, err);
    if (status == VKMOE_OK)
        status = measure_memory(&p, &memory->measured, err);
    if (status == VKMOE_OK)
        status = measure_arithmetic(&p, &arithmetic->measured, err);
    vkm_buffer_destroy(gpu, p.x);
    vkm_buffer_destroy(gpu, p.y);
    if (status != VKMOE_OK)
        return status;
    if (reads > memory->measured)
        memory->measured = reads;
    settle(memory, nominal.memory);
    settle(arithmetic, nominal.arithmetic);
    return VKMOE_OK;
}
