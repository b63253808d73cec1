/* Loading a model: weights are uploaded while another thread compiles the pipelines. */
#include <pthread.h>
#include <time.h>

#include "engine/engine.h"
#include "model/named.h"
#include "vkmoe/bench.h"

struct compile_job {
    struct vkmoe_model *model;
    uint32_t prompt_tokens;
    vkmoe_kv kv;
    pthread_t thread;
    bool started;
    atomic_bool done, cancel;
    vkmoe_status status;
    vkmoe_error error;
};

static void *compile_thread(void *user)
{
    struct compile_job *job = user;
    job->status =
        vkm_model_compile(job->model, job->prompt_tokens, job->kv, &job->cancel, &job->error);
    atomic_store(&job->done, true);
    return NULL;
}

static void compile_start(struct compile_job *job)
{
    job->started = pthread_create(&job->thread, NULL, compile_thread, job) == 0;
}

/* Hands the caller's progress on, and keeps how much there is. */
struct progress {
    const vkmoe_model_params *params;
    uint64_t total;
};

static bool on_progress(void *user, uint64_t done, uint64_t total)
{
    struct progress *p = user;
    p->total = total;
    return !p->params->progress || p->params->progress(p->params->user, done, total);
}

/* Waits; meanwhile the caller is told that all is read, and may still cancel. */
static vkmoe_status compile_join(struct compile_job *job, struct progress *progress,
                                 vkmoe_error *err)
{
    const struct timespec interval = {.tv_nsec = 2000000};
    while (job->started && !atomic_load(&job->done)) {
        if (!on_progress(progress, progress->total, progress->total))
            atomic_store(&job->cancel, true);
        nanosleep(&interval, NULL);
    }
    if (job->started)
        pthread_join(job->thread, NULL);
    else
        compile_thread(job);
    if (job->status != VKMOE_OK && err)
        *err = job->error;
    return job->status;
}

static void fill_info(struct vkmoe_model *m)
{
    const struct vkm_config *c = &m->weights.config;
    m->info = (vkmoe_model_info){
        .vocab_size = c->vocab_size,
        .hidden_size = c->hidden_size,
        .n_layers = c->num_hidden_layers,
        .n_moe_layers = vkm_config_moe_layers(c),
        .n_routed_experts = c->n_routed_experts,
        .n_experts_per_token = c->n_routed_experts > 0 ? c->num_experts_per_tok : 0,
        .n_shared_experts = c->n_shared_experts,
        .max_context = c->max_position_embeddings,
        .bos_token = c->bos_token_id,
        .eos_token = c->eos_token_id,
        .weights = m->kept,
        .weight_bytes = m->weights.bytes,
        .host_expert_bytes = m->weights.host_bytes,
        .n_host_experts = m->n_host_experts,
    };
    m->sampling = m->generation.sampling;
    if (!m->generation.do_sample)
        m->sampling.temperature = 0;
}

/* Tells what the file has in fewer bits than the device. */
static void log_widened(const struct vkmoe_model *m)
{
    struct vkm_widened w = vkm_weights_widened(&m->weights);
    if (w.bytes > 0)
        vkm_log(
            vkm_gpu_log(m->gpu), VKMOE_LOG_INFO,
            "quantised weights that route, or lie together with plain ones, are kept as float32, "
            "exactly: %.1f MiB for %.1f MiB in the file",
            (double)w.bytes / 0x1p20, (double)w.file_bytes / 0x1p20);
}

/* Plans, refuses what does not fit, and allocates. */
static vkmoe_status bind(struct vkmoe_model *m, const char *path, const vkmoe_model_params *params,
                         const struct vkm_config *config, const struct vkm_checkpoint *checkpoint,
                         vkmoe_error *err)
{
    struct vkm_placement placement = {0};
    vkmoe_weights kept = vkm_weights_kept(m->gpu, checkpoint, params->weights);
    vkmoe_plan plan;
    struct vkm_plan_request request = {
        .gpu = m->gpu,
        .name = path,
        .config = config,
        .checkpoint = checkpoint,
        .weights = kept,
        .session = {.context = params->context,
                    .chunk = params->chunk,
                    .routing = params->routing,
                    .kv = params->kv},
        .memory_limit = params->memory_limit,
    };
    if (checkpoint)
        vkm_usage_load(&m->usage, m->gpu, path, config, checkpoint);
    request.usage = m->usage.counts;
    m->kept = vkm_weights_found(checkpoint, kept);
    m->memory_limit = params->memory_limit;
    m->force = params->force;
    vkmoe_status status = vkm_plan_request(&request, &plan, &placement, err);
    if (status == VKMOE_OK)
        status = vkm_plan_refuse(&plan, params->force, err);
    if (status == VKMOE_OK) {
        uint64_t before = vkm_plan_device_bytes(m->gpu);
        struct vkm_weights_params weights = {
            .config = config, .checkpoint = checkpoint, .placement = &placement, .weights = kept};
        status = vkm_weights_bind(m->gpu, &weights, &m->weights, err);
        m->device_bytes = vkm_plan_device_bytes(m->gpu) - before;
        m->n_host_experts = placement.n_host;
        m->chunk = plan.chunk;
        m->cost.host_bytes_per_token = plan.host_bytes_per_token;
        m->cost.device_bytes_per_token = plan.device_bytes_per_token;
    }
    if (status == VKMOE_OK)
        log_widened(m);
    if (status == VKMOE_OK && m->kept != kept)
        vkm_log(vkm_gpu_log(m->gpu), VKMOE_LOG_INFO, "the weights were quantised before, as %s",
                vkm_dtype_name(vkm_checkpoint_quantised(checkpoint)));
    if (status == VKMOE_OK && placement.n_host > 0)
        vkm_log(vkm_gpu_log(m->gpu), VKMOE_LOG_INFO,
                "%u of %u experts are kept in host memory (%.1f MiB), read over the bus",
                placement.n_host, plan.n_experts, (double)m->weights.host_bytes / 0x1p20);
    vkm_placement_finish(vkm_gpu_allocator(m->gpu), &placement);
    return status;
}

/* Tells what experts in host memory should cost. */
static vkmoe_status expect_cost(struct vkmoe_model *m, vkmoe_error *err)
{
    vkmoe_host_cost *c = &m->cost;
    if (m->n_host_experts == 0) {
        *c = (vkmoe_host_cost){0};
        return VKMOE_OK;
    }
    vkmoe_status status =
        vkm_measure_reads(m->gpu, &m->weights.host_sample, &c->host_bandwidth, err);
    if (status == VKMOE_OK)
        status = vkm_measure_reads(m->gpu, &m->weights.lm_head, &c->device_bandwidth, err);
    if (status != VKMOE_OK)
        return status;
    c->host_seconds_per_token = c->host_bytes_per_token / c->host_bandwidth;
    c->tokens_per_second =
        1 / (c->host_seconds_per_token + c->device_bytes_per_token / c->device_bandwidth);
    return VKMOE_OK;
}

static vkmoe_status load(struct vkmoe_model *m, const char *path, const vkmoe_model_params *params,
                         vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(m->gpu);
    struct vkm_config config;
    struct vkm_checkpoint *checkpoint = NULL;
    m->generation = (struct vkm_generation_defaults){.sampling = {.temperature = 1}};
    vkmoe_status status = vkm_config_load(a, path, &config, err);
    if (status == VKMOE_OK)
        status = vkm_generation_load(a, path, &m->generation, err);
    if (status == VKMOE_OK)
        status = vkm_checkpoint_open(a, path, &checkpoint, err);
    if (status == VKMOE_OK)
        status = bind(m, path, params, &config, checkpoint, err);
    if (status == VKMOE_OK) {
        struct compile_job job = {
            .model = m, .prompt_tokens = params->prompt_tokens, .kv = params->kv};
        struct progress progress = {.params = params};
        compile_start(&job);
        status = vkm_weights_upload(&m->weights, on_progress, &progress, err);
        if (status != VKMOE_OK)
            atomic_store(&job.cancel, true);
        vkmoe_status compiled = compile_join(&job, &progress, status == VKMOE_OK ? err : NULL);
        if (status == VKMOE_OK)
            status = compiled;
    }
    if (status == VKMOE_OK)
        status = expect_cost(m, err);
    vkm_checkpoint_close(checkpoint);
    return status;
}

/* A configuration cut to its first layers, with weights made up on the device. */
static vkmoe_status invent(struct vkmoe_model *m, const char *name, uint32_t layers,
                           const vkmoe_model_params *params, vkmoe_error *err)
{
    struct vkm_config config;
    vkmoe_status status = vkm_config_resolve(vkm_gpu_allocator(m->gpu), name, &config, NULL, err);
    if (status == VKMOE_OK && layers > 0)
        config.num_hidden_layers = vkm_min_u32(layers, config.num_hidden_layers);
    if (status == VKMOE_OK)
        status = bind(m, name, params, &config, NULL, err);
    if (status == VKMOE_OK)
        status = vkm_weights_randomise(&m->weights, 1, err);
    if (status == VKMOE_OK)
        status = vkm_model_compile(m, params->prompt_tokens, params->kv, NULL, err);
    return status == VKMOE_OK ? expect_cost(m, err) : status;
}

/* How a model comes to be: load, or invent. */
struct origin {
    const char *name;
    bool invented;
    uint32_t layers;
};

static vkmoe_status create(vkmoe_device *device, const struct origin *from,
                           const vkmoe_model_params *params, vkmoe_model **out, vkmoe_error *err)
{
    VKM_REQUIRE(device, err);
    VKM_REQUIRE(from->name, err);
    VKM_REQUIRE(out, err);
    static const vkmoe_model_params defaults;
    const vkmoe_allocator *a = vkm_gpu_allocator(device->gpu);
    struct vkmoe_model *m = vkm_calloc(a, 1, sizeof(*m));
    if (!m)
        return vkm_fail_memory(err, sizeof(*m), "a model");
    m->gpu = device->gpu;
    params = params ? params : &defaults;
    vkmoe_status status = from->invented ? invent(m, from->name, from->layers, params, err)
                                         : load(m, from->name, params, err);
    if (status != VKMOE_OK) {
        vkmoe_model_destroy(m);
        return status;
    }
    fill_info(m);
    vkm_gpu_save_cache(m->gpu);
    *out = m;
    return VKMOE_OK;
}

vkmoe_status vkmoe_model_load(vkmoe_device *device, const char *path,
                              const vkmoe_model_params *params, vkmoe_model **out, vkmoe_error *err)
{
    return create(device, &(struct origin){.name = path}, params, out, err);
}

vkmoe_status vkmoe_model_invent(vkmoe_device *device, const char *config, uint32_t layers,
                                const vkmoe_model_params *params, vkmoe_model **out,
                                vkmoe_error *err)
{
    const struct origin from = {.name = config, .invented = true, .layers = layers};
    return create(device, &from, params, out, err);
}

void vkmoe_model_destroy(vkmoe_model *model)
{
    if (!model)
        return;
    const vkmoe_allocator *a = vkm_gpu_allocator(model->gpu);
    vkm_weights_finish(&model->weights);
    vkm_usage_finish(&model->usage, model->gpu);
    vkm_free(a, model);
}

const vkmoe_model_info *vkmoe_model_get_info(const vkmoe_model *model)
{
    return &model->info;
}

const vkmoe_host_cost *vkmoe_model_get_host_cost(const vkmoe_model *model)
{
    return &model->cost;
}

const vkmoe_sampling *vkmoe_model_get_sampling(const vkmoe_model *model)
{
    return &model->sampling;
}

uint32_t vkmoe_model_moe_layer(const vkmoe_model *model, uint32_t index)
{
    const struct vkm_config *c = &model->weights.config;
    uint32_t layer = 0;
    for (uint32_t seen = 0; layer < c->num_hidden_layers; layer++) {
        if (vkm_config_is_moe(c, layer) && seen++ == index)
            break;
    }
    return layer;
}
