/* Loading a model: weights are uploaded while another thread compiles the pipelines. */
#include <pthread.h>

#include "engine/engine.h"

struct compile_job {
    struct vkmoe_model *model;
    uint32_t prompt_tokens;
    pthread_t thread;
    bool started;
    vkmoe_status status;
    vkmoe_error error;
};

static void *compile_thread(void *user)
{
    struct compile_job *job = user;
    job->status = vkm_model_compile(job->model, job->prompt_tokens, &job->error);
    return NULL;
}

static void compile_start(struct compile_job *job)
{
    job->started = pthread_create(&job->thread, NULL, compile_thread, job) == 0;
}

static vkmoe_status compile_join(struct compile_job *job, vkmoe_error *err)
{
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
        .weight_bytes = m->weights.bytes,
    };
    m->sampling = m->generation.sampling;
    if (!m->generation.do_sample)
        m->sampling.temperature = 0;
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
        status = vkm_weights_bind(m->gpu, &config, checkpoint, &m->weights, err);
    if (status == VKMOE_OK) {
        struct compile_job job = {.model = m, .prompt_tokens = params ? params->prompt_tokens : 0};
        compile_start(&job);
        status = vkm_weights_upload(&m->weights, params ? params->progress : NULL,
                                    params ? params->user : NULL, err);
        vkmoe_status compiled = compile_join(&job, status == VKMOE_OK ? err : NULL);
        if (status == VKMOE_OK)
            status = compiled;
    }
    vkm_checkpoint_close(checkpoint);
    return status;
}

vkmoe_status vkmoe_model_load(vkmoe_device *device, const char *path,
                              const vkmoe_model_params *params, vkmoe_model **out, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(device->gpu);
    struct vkmoe_model *m = vkm_calloc(a, 1, sizeof(*m));
    if (!m)
        return vkm_fail_memory(err, sizeof(*m), "a model");
    m->gpu = device->gpu;
    vkmoe_status status = load(m, path, params, err);
    if (status != VKMOE_OK) {
        vkmoe_model_destroy(m);
        return status;
    }
    fill_info(m);
    vkm_gpu_save_cache(m->gpu);
    *out = m;
    return VKMOE_OK;
}

void vkmoe_model_destroy(vkmoe_model *model)
{
    if (!model)
        return;
    const vkmoe_allocator *a = vkm_gpu_allocator(model->gpu);
    vkm_weights_finish(&model->weights);
    vkm_free(a, model);
}

const vkmoe_model_info *vkmoe_model_get_info(const vkmoe_model *model)
{
    return &model->info;
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
