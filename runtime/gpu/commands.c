/* A stream encoded for the device: command buffers of bounded time, barriers, timestamps. */
#include <string.h>

#include "base/array.h"
#include "gpu/address_check.h"
#include "gpu/vk.h"

#define SUBMIT_NS 50e6    /* device time that one submit is meant to take at most */
#define SEGMENTS_AHEAD 3u /* submits in flight */

/* A run of ops that is one submit. */
struct segment {
    size_t first, end;
};

struct vkm_commands {
    struct vkm_gpu *gpu;
    const struct vkm_stream *stream;
    struct {
        struct segment *items;
        size_t count, capacity;
    } segments;
    VkCommandPool pool;
    VkCommandBuffer *buffers; /* one for each segment */
    VkQueryPool queries;      /* a start and one end for each op, per segment; or none */
    uint64_t *times;          /* nanoseconds of each op in the last run; NULL without queries */
    bool timestamps;          /* asked for by the caller */
    uint64_t in_flight;       /* timeline value of a run that was started; 0: none */
    bool learned; /* to be encoded anew: a run has timed kernels that were hardly known */
    struct vkm_address_check check;
};

/* Cuts never change the arithmetic: they fall between ops. */
static vkmoe_status cut_segments(struct vkm_commands *c, vkmoe_error *err)
{
    double ns = 0;
    for (size_t i = 0; i < c->stream->ops.count; i++) {
        const struct vkm_op *op = &c->stream->ops.items[i];
        double cost = vkm_rates_estimate(&c->gpu->rates, op);
        if (i == 0 || ns + cost > SUBMIT_NS) {
            if (!VKM_ARRAY_RESERVE(c->gpu->params.allocator, &c->segments, 1))
                return vkm_fail_memory(err, sizeof(struct segment), "a command list");
            c->segments.items[c->segments.count++] = (struct segment){i, i};
            ns = 0;
        }
        ns += cost;
        c->segments.items[c->segments.count - 1].end = i + 1;
    }
    return VKMOE_OK;
}

static void barrier(const struct vkm_gpu *gpu, VkCommandBuffer commands, VkPipelineStageFlags2 from,
                    VkPipelineStageFlags2 to)
{
    VkMemoryBarrier2 memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = from,
        .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
        .dstStageMask = to,
        .dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT,
    };
    VkDependencyInfo dependency = {.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                   .memoryBarrierCount = 1,
                                   .pMemoryBarriers = &memory};
    gpu->vk.CmdPipelineBarrier2(commands, &dependency);
}

/* Views become addresses, scalars are copied; returns the bytes written. */
static uint32_t lower_params(const struct vkm_commands *c, size_t index, unsigned char *push)
{
    const struct vkm_op *op = &c->stream->ops.items[index];
    const struct vkm_kernel *kernel = vkm_op_kernel(c->stream, op);
    const unsigned char *params = vkm_op_params(c->stream, op);
    uint32_t at = 0;
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        const struct vkm_field *field = &kernel->fields[i];
        if (vkm_field_is_view(field->kind)) {
            const struct vkm_view *view = vkm_params_view(params, field);
            uint64_t address = view->buffer ? view->buffer->address + view->offset : 0;
            memcpy(push + at, &address, 8);
            at += 8;
        } else {
            memcpy(push + at, params + field->offset, 4);
            at += 4;
        }
    }
    if (c->check.records) {
        uint64_t record = vkm_address_check_record(&c->check, index);
        at = (uint32_t)vkm_align_up(at, 8);
        memcpy(push + at, &record, 8);
        at += 8;
    }
    return at;
}

static vkmoe_status encode_op(struct vkm_commands *c, VkCommandBuffer commands, size_t index,
                              vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    const VkPipelineStageFlags2 compute =
        VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_2_DRAW_INDIRECT_BIT;
    const struct vkm_op *op = &c->stream->ops.items[index];
    unsigned char push[128] = {0};
    VkPipeline pipeline;
    vkmoe_status status = vkm_pipeline_get(gpu, op, &pipeline, err);
    if (status != VKMOE_OK)
        return status;
    if (op->barrier)
        barrier(gpu, commands, compute, compute);
    uint32_t size = lower_params(c, index, push);
    gpu->vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    gpu->vk.CmdPushConstants(commands, gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, size, push);
    if (op->indirect.buffer) {
        VkDeviceSize offset;
        VkBuffer buffer = vkm_view_vk(&op->indirect, &offset);
        gpu->vk.CmdDispatchIndirect(commands, buffer, offset);
    } else {
        gpu->vk.CmdDispatch(commands, op->groups[0], op->groups[1], op->groups[2]);
    }
    return VKMOE_OK;
}

static vkmoe_status encode_segment(struct vkm_commands *c, size_t index, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    const struct segment *segment = &c->segments.items[index];
    VkCommandBuffer commands = c->buffers[index];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    uint32_t query = (uint32_t)(segment->first + index); /* one extra, the start, per segment */
    VK(BeginCommandBuffer(commands, &begin));
    if (c->queries) {
        uint32_t n = (uint32_t)(segment->end - segment->first + 1);
        gpu->vk.CmdResetQueryPool(commands, c->queries, query, n);
    }
    /* Earlier submits, copies and host writes are seen; each segment stands on its own. */
    barrier(gpu, commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_2_HOST_BIT,
            VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT);
    if (c->queries)
        gpu->vk.CmdWriteTimestamp2(commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, c->queries,
                                   query);
    for (size_t i = segment->first; i < segment->end && status == VKMOE_OK; i++) {
        status = encode_op(c, commands, i, err);
        if (c->queries)
            gpu->vk.CmdWriteTimestamp2(commands, VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT, c->queries,
                                       ++query);
    }
    if (status != VKMOE_OK)
        return status;
    barrier(gpu, commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
            VK_PIPELINE_STAGE_2_HOST_BIT | VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT);
    VK(EndCommandBuffer(commands));
fail:
    return status;
}

static vkmoe_status create_queries(struct vkm_commands *c, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    size_t ops = c->stream->ops.count;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = (uint32_t)(ops + c->segments.count)};
    c->times = vkm_calloc(gpu->params.allocator, ops, sizeof(*c->times));
    if (!c->times)
        return vkm_fail_memory(err, ops * sizeof(*c->times), "timestamps");
    VK_MAKE(&c->queries, CreateQueryPool(gpu->device, &info, NULL, &c->queries));
fail:
    return status;
}

static vkmoe_status create_buffers(struct vkm_commands *c, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = gpu->compute.family};
    c->buffers = vkm_calloc(gpu->params.allocator, c->segments.count, sizeof(*c->buffers));
    if (!c->buffers)
        return vkm_fail_memory(err, c->segments.count * sizeof(*c->buffers), "command buffers");
    VK_MAKE(&c->pool, CreateCommandPool(gpu->device, &pool, NULL, &c->pool));
    VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = c->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = (uint32_t)c->segments.count,
    };
    VK(AllocateCommandBuffers(gpu->device, &info, c->buffers));
fail:
    return status;
}

static vkmoe_status encode(struct vkm_commands *c, bool again, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = cut_segments(c, err);
    if (status != VKMOE_OK || c->segments.count == 0)
        return status;
    if (gpu->params.check_addresses &&
        (status = vkm_address_check_create(gpu, c->stream, &c->check, err)) != VKMOE_OK)
        return status;
    bool timed = vkm_rates_wants(&gpu->rates, c->stream, again) || c->timestamps;
    if (timed && gpu->timestamp_period > 0 && (status = create_queries(c, err)) != VKMOE_OK)
        return status;
    if ((status = create_buffers(c, err)) != VKMOE_OK)
        return status;
    for (size_t i = 0; i < c->segments.count && status == VKMOE_OK; i++)
        status = encode_segment(c, i, err);
    return status;
}

vkmoe_status vkm_commands_create(struct vkm_gpu *gpu, const struct vkm_stream *stream,
                                 bool timestamps, struct vkm_commands **out, vkmoe_error *err)
{
    struct vkm_commands *c = vkm_calloc(gpu->params.allocator, 1, sizeof(*c));
    if (!c)
        return vkm_fail_memory(err, sizeof(*c), "a command list");
    c->gpu = gpu;
    c->stream = stream;
    c->timestamps = timestamps;
    vkmoe_status status = gpu->reference ? VKMOE_OK : encode(c, false, err);
    if (status != VKMOE_OK) {
        vkm_commands_destroy(c);
        return status;
    }
    *out = c;
    return VKMOE_OK;
}

/* Drops what encode made. */
static void discard(struct vkm_commands *c)
{
    struct vkm_gpu *gpu = c->gpu;
    bool settled = vkm_gpu_settle(gpu);
    if (c->queries && settled)
        gpu->vk.DestroyQueryPool(gpu->device, c->queries, NULL);
    if (c->pool && settled)
        gpu->vk.DestroyCommandPool(gpu->device, c->pool, NULL);
    vkm_address_check_destroy(gpu, &c->check);
    vkm_free(gpu->params.allocator, c->segments.items);
    vkm_free(gpu->params.allocator, c->buffers);
    vkm_free(gpu->params.allocator, c->times);
    *c = (struct vkm_commands){.gpu = gpu, .stream = c->stream, .timestamps = c->timestamps};
}

void vkm_commands_destroy(struct vkm_commands *c)
{
    if (!c)
        return;
    discard(c);
    vkm_free(c->gpu->params.allocator, c);
}

static vkmoe_status read_times(struct vkm_commands *c, size_t index, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    const struct segment *segment = &c->segments.items[index];
    uint32_t n = (uint32_t)(segment->end - segment->first + 1);
    uint64_t *ticks = vkm_malloc(gpu->params.allocator, n, sizeof(*ticks));
    if (!ticks)
        return vkm_fail_memory(err, n * sizeof(*ticks), "timestamps");
    VK(GetQueryPoolResults(gpu->device, c->queries, (uint32_t)(segment->first + index), n,
                           n * sizeof(*ticks), ticks, sizeof(*ticks),
                           VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    for (uint32_t i = 0; i + 1 < n; i++) {
        uint64_t delta = (ticks[i + 1] - ticks[i]) & gpu->timestamp_mask;
        size_t op = segment->first + i;
        c->times[op] = (uint64_t)((double)delta * gpu->timestamp_period);
        vkm_rates_learn(&gpu->rates, &c->stream->ops.items[op], c->times[op]);
    }
fail:
    vkm_free(gpu->params.allocator, ticks);
    return status;
}

/* Submits the segments in order, a few ahead of the one that is waited for: the device is never
 * idle, a time-out is about one submit, and a cancelled run ends soon. */
static vkmoe_status run_segments(struct vkm_commands *c, const atomic_bool *cancel,
                                 vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    uint64_t values[SEGMENTS_AHEAD];
    size_t submitted = 0, finished = 0;
    while (status == VKMOE_OK ? finished < c->segments.count : finished < submitted) {
        if (status == VKMOE_OK && submitted < c->segments.count &&
            submitted - finished < SEGMENTS_AHEAD) {
            if (cancel && atomic_load(cancel))
                status = vkm_fail(err, VKMOE_CANCELLED, "cancelled");
            else
                status = vkm_queue_submit(gpu, &gpu->compute, c->buffers[submitted],
                                          &values[submitted % SEGMENTS_AHEAD], err);
            submitted += status == VKMOE_OK;
            continue;
        }
        vkmoe_status waited = vkm_queue_wait(gpu, &gpu->compute, values[finished % SEGMENTS_AHEAD],
                                             status == VKMOE_OK ? err : NULL);
        if (waited != VKMOE_OK) {
            if (!gpu->lost)
                (void)vkm_gpu_settle(gpu); /* so that the commands may be submitted again */
            return status == VKMOE_OK ? waited : status;
        }
        finished++;
    }
    return status;
}

bool vkm_commands_is_short(const struct vkm_commands *c)
{
    return !c->gpu->reference && !c->learned && c->segments.count == 1;
}

static vkmoe_status encode_anew(struct vkm_commands *c, vkmoe_error *err)
{
    discard(c);
    vkmoe_status status = encode(c, true, err);
    if (status != VKMOE_OK) {
        discard(c);
        c->learned = true; /* the next run tries again */
    }
    return status;
}

vkmoe_status vkm_commands_start(struct vkm_commands *c, const atomic_bool *cancel, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    c->in_flight = 0;
    if (gpu->reference) {
        vkm_reference_run(gpu, c->stream, 0);
        return VKMOE_OK;
    }
    if (vkm_commands_is_short(c) && !(cancel && atomic_load(cancel)))
        return vkm_queue_submit(gpu, &gpu->compute, c->buffers[0], &c->in_flight, err);
    if (c->learned)
        status = encode_anew(c, err);
    return status == VKMOE_OK ? run_segments(c, cancel, err) : status;
}

vkmoe_status vkm_commands_end(struct vkm_commands *c, vkmoe_error *err)
{
    struct vkm_gpu *gpu = c->gpu;
    vkmoe_status status = VKMOE_OK;
    if (c->in_flight)
        status = vkm_queue_wait(gpu, &gpu->compute, c->in_flight, err);
    c->in_flight = 0;
    if (status != VKMOE_OK && !gpu->lost)
        (void)vkm_gpu_settle(gpu); /* so that the commands may be submitted again */
    for (size_t i = 0; i < c->segments.count && c->queries && status == VKMOE_OK; i++)
        status = read_times(c, i, err);
    c->learned = status == VKMOE_OK && c->queries && !c->timestamps;
    if (status == VKMOE_OK && c->check.records)
        status = vkm_address_check_result(&c->check, c->stream, err);
    return status;
}

vkmoe_status vkm_commands_run(struct vkm_commands *c, const atomic_bool *cancel, vkmoe_error *err)
{
    vkmoe_status status = vkm_commands_start(c, cancel, err);
    return status == VKMOE_OK ? vkm_commands_end(c, err) : status;
}

uint64_t vkm_commands_time(const struct vkm_commands *c, size_t index)
{
    return c->times ? c->times[index] : 0;
}

vkmoe_status vkm_stream_run(struct vkm_gpu *gpu, const struct vkm_stream *stream, vkmoe_error *err)
{
    struct vkm_commands *commands = NULL;
    vkmoe_status status = vkm_commands_create(gpu, stream, false, &commands, err);
    if (status == VKMOE_OK)
        status = vkm_commands_run(commands, NULL, err);
    vkm_commands_destroy(commands);
    return status;
}
