#include "gpu_fixture.h"

#include <math.h>
#include <time.h>

uint32_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

double test_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct vkm_gpu_params gpu_test_params(struct test_log *log)
{
    test_log_init(log);
    return (struct vkm_gpu_params){
        .log = &log->log, .selector = getenv("VKMOE_DEVICE"), .validation = true, .cache_dir = ""};
}

struct vkm_gpu *gpu_test_open(const struct vkm_gpu_params *params)
{
    vkmoe_error err;
    struct vkm_gpu *gpu = NULL;
    assert_ok(vkm_gpu_open(params, &vkm_kernels, &gpu, &err), &err);
    return gpu;
}

void gpu_test_close(struct vkm_gpu *gpu, const struct test_log *log)
{
    assert_true(vkm_gpu_memory_used(gpu) == 0);
    vkm_gpu_close(gpu);
    assert_int_equal(log->errors, 0);
}

static struct vkm_buffer *make_buffer(struct workload *w, uint64_t words)
{
    vkmoe_error err;
    struct vkm_buffer *buffer = NULL;
    assert_ok(vkm_buffer_create(w->gpu, VKM_MEMORY_DEVICE, 4 * words, "a test", &buffer, &err),
              &err);
    return buffer;
}

static void record(struct workload *w)
{
    struct vkm_launch launch = {.n_rows = 1, .dtype = VKM_DTYPE_F32};
    vkm_stream_init(&w->stream, &vkm_kernels, NULL);
    vkm_recorder_init(&w->recorder, &w->stream, vkm_gpu_caps(w->gpu));
    for (uint32_t i = 0; i < w->steps; i++) {
        struct vkm_params_gemv p = {.w = vkm_buffer_view(w->matrix),
                                    .x = vkm_buffer_view(i % 2 ? w->y : w->x),
                                    .y = vkm_buffer_view(i % 2 ? w->x : w->y),
                                    .k_ld = w->size,
                                    .n_out = w->size,
                                    .n_rows = 1,
                                    .y_ld = w->size};
        vkm_op_gemv(&w->recorder, launch, &p);
    }
    struct vkm_params_topk topk = {.logits = vkm_buffer_view(w->y),
                                   .probs = vkm_buffer_view(w->probs),
                                   .ids = vkm_buffer_view(w->ids),
                                   .gates = vkm_buffer_view(w->gates),
                                   .n = 64,
                                   .ld = w->size,
                                   .k = 8,
                                   .scale = 1};
    vkm_op_topk(&w->recorder, launch, &topk);
    vkmoe_error err;
    assert_ok(vkm_recorder_status(&w->recorder, &err), &err);
    assert_int_equal(w->stream.ops.count, w->steps + 1);
}

void workload_init(struct workload *w, struct vkm_gpu *gpu, uint32_t size, uint32_t steps)
{
    *w = (struct workload){.gpu = gpu, .size = size, .steps = steps};
    w->matrix = make_buffer(w, (uint64_t)size * size);
    w->x = make_buffer(w, size);
    w->y = make_buffer(w, size);
    w->probs = make_buffer(w, size);
    w->ids = make_buffer(w, 8);
    w->gates = make_buffer(w, 8);
    record(w);
}

void workload_finish(struct workload *w)
{
    struct vkm_buffer *buffers[] = {w->matrix, w->x, w->y, w->probs, w->ids, w->gates};
    for (size_t i = 0; i < VKM_COUNT(buffers); i++)
        vkm_buffer_destroy(w->gpu, buffers[i]);
    vkm_recorder_finish(&w->recorder);
    vkm_stream_finish(&w->stream);
}

void workload_fill(struct workload *w)
{
    vkmoe_error err;
    struct vkm_uploader *uploader;
    uint64_t random = 7;
    size_t words = (size_t)w->size * w->size;
    float *data = malloc(words * sizeof(float));
    assert_non_null(data);
    /* with this spread the vector keeps its length */
    for (size_t i = 0; i < words; i++)
        data[i] = ((float)test_random(&random) * 0x1p-30f - 1) * sqrtf(3 / (float)w->size);
    assert_ok(vkm_uploader_create(w->gpu, &uploader, &err), &err);
    assert_ok(vkm_uploader_write(uploader, vkm_buffer_view(w->matrix), data, 4 * words, &err),
              &err);
    assert_ok(vkm_uploader_write(uploader, vkm_buffer_view(w->x), data, 4 * w->size, &err), &err);
    assert_ok(vkm_uploader_flush(uploader, &err), &err);
    vkm_uploader_destroy(uploader);
    free(data);
}

uint64_t workload_result(struct workload *w)
{
    struct vkm_buffer *outputs[] = {w->x, w->y, w->ids, w->gates};
    uint64_t hash = VKM_HASH_INIT;
    unsigned char *data = malloc(4 * (size_t)w->size);
    assert_non_null(data);
    for (size_t i = 0; i < VKM_COUNT(outputs); i++) {
        vkmoe_error err;
        assert_ok(vkm_buffer_read(w->gpu, vkm_buffer_view(outputs[i]), data, &err), &err);
        hash = vkm_hash(hash, data, (size_t)outputs[i]->size);
    }
    free(data);
    return hash;
}

uint64_t workload_run(struct workload *w)
{
    vkmoe_error err;
    workload_fill(w);
    assert_ok(vkm_stream_run(w->gpu, &w->stream, &err), &err);
    return workload_result(w);
}
