/* Writing a model quantised: what the folder holds besides its weights, and what is refused. */
#include <string.h>

#include "base/file.h"
#include "base/gguf.h"
#include "base/json.h"
#include "engine/engine.h"
#include "model/quantise.h"
#include "vkmoe/quantize.h"

#define SHARD_BYTES (UINT64_C(4) << 30)
#define FILE_LIMIT (UINT64_C(256) << 20) /* bytes of a file that is copied */
#define CONFIG_KEY "quantization_config"

/* Copied as they are, where they are there. */
static const char *const companions[] = {
    "tokenizer.json",         "tokenizer_config.json",
    "generation_config.json", "special_tokens_map.json",
    "added_tokens.json",      "chat_template.jinja",
    "chat_template.json",     "LICENSE",
};

struct quantizer {
    const vkmoe_allocator *allocator;
    const char *model;
    const vkmoe_quantize_params *params;
    struct vkm_folder *folder;
    vkmoe_error *err;
};

static vkmoe_status write_file(const struct quantizer *q, const char *name,
                               const char *const parts[], const size_t sizes[], size_t n)
{
    struct vkm_writer *w;
    char *path = vkm_folder_file(q->folder, name);
    if (!path)
        return vkm_fail_memory(q->err, strlen(name), name);
    vkmoe_status status = vkm_writer_open(q->allocator, path, &w, q->err);
    if (status == VKMOE_OK) {
        for (size_t i = 0; i < n; i++)
            vkm_writer_write(w, parts[i], sizes[i]);
        status = vkm_writer_commit(w, q->err);
    }
    vkm_free(q->allocator, path);
    return status;
}

/* All of a file of the model. */
static vkmoe_status read_file(const struct quantizer *q, const char *name, char **data,
                              size_t *size, vkmoe_error *err)
{
    char *path = vkm_format(q->allocator, "%s/%s", q->model, name);
    if (!path)
        return vkm_fail_memory(err, strlen(name), name);
    vkmoe_status status = vkm_file_read(q->allocator, path, FILE_LIMIT, data, size, err);
    vkm_free(q->allocator, path);
    return status;
}

static vkmoe_status copy_companions(const struct quantizer *q)
{
    for (size_t i = 0; i < VKM_COUNT(companions); i++) {
        vkmoe_error failure;
        char *data;
        size_t size;
        vkmoe_status status = read_file(q, companions[i], &data, &size, &failure);
        if (status == VKMOE_NOT_FOUND)
            continue;
        if (status != VKMOE_OK) {
            if (q->err)
                *q->err = failure;
            return status;
        }
        status = write_file(q, companions[i], (const char *const[]){data}, &size, 1);
        vkm_free(q->allocator, data);
        if (status != VKMOE_OK)
            return status;
    }
    return VKMOE_OK;
}

/* config.json as it is, but for one more key at its end, which tells other programs that the
 * weights are not for them. What they are stands beside them. */
static vkmoe_status write_config(const struct quantizer *q)
{
    char *text;
    size_t size;
    json_t *root = NULL;
    vkmoe_status status = read_file(q, "config.json", &text, &size, q->err);
    if (status != VKMOE_OK)
        return status;
    status = vkm_json_parse("config.json", text, size, &root, q->err);
    if (status == VKMOE_OK && json_object_get(root, CONFIG_KEY))
        status = vkm_fail(q->err, VKMOE_UNSUPPORTED,
                          "%s/config.json has a " CONFIG_KEY
                          ", expected a model that is not quantised yet",
                          q->model);
    if (status == VKMOE_OK) {
        static const char start[] =
            ",\n  \"" CONFIG_KEY "\": {\"quant_method\": \"vkmoe\", \"weights\": "
            "\"",
                          end[] = "\"}\n}\n";
        const char *kind = q->params->weights == VKMOE_WEIGHTS_Q8 ? "q8" : "q4";
        size_t brace = size;
        while (brace > 0 && text[brace] != '}')
            brace--;
        while (brace > 0 && strchr(" \t\r\n", text[brace - 1]))
            brace--;
        status = write_file(q, "config.json", (const char *const[]){text, start, kind, end},
                            (const size_t[]){brace, sizeof(start) - 1, 2, sizeof(end) - 1}, 4);
    }
    json_decref(root);
    vkm_free(q->allocator, text);
    return status;
}

static vkmoe_status write_weights(const struct quantizer *q, struct vkm_weights *w)
{
    const struct vkm_quantise_params params = {
        .shard_bytes = q->params->shard_bytes > 0 ? q->params->shard_bytes : SHARD_BYTES,
        .threads = q->params->threads,
        .progress = q->params->progress,
        .user = q->params->user,
    };
    vkmoe_status status = write_config(q);
    if (status == VKMOE_OK)
        status = copy_companions(q);
    if (status == VKMOE_OK)
        status = vkm_quantise(w, &params, q->folder, q->err);
    return status;
}

/* Binds the weights in a rehearsal, which says what each is stored as and takes no memory. */
static vkmoe_status quantize_checkpoint(struct quantizer *q, const char *folder,
                                        const struct vkm_config *config,
                                        const struct vkm_checkpoint *checkpoint)
{
    const struct vkm_gpu_params host = {
        .allocator = q->allocator, .log = q->params->log, .selector = "reference"};
    const struct vkm_weights_params params = {
        .config = config, .checkpoint = checkpoint, .weights = q->params->weights};
    struct vkm_gpu *gpu = NULL, *rehearsal = NULL;
    struct vkm_weights w = {0};
    if (vkm_checkpoint_quantised(checkpoint) != VKM_DTYPE_COUNT)
        return vkm_fail(q->err, VKMOE_UNSUPPORTED,
                        "%s is quantised already, expected the model that it was made of",
                        q->model);
    vkmoe_status status = vkm_gpu_open(&host, &vkm_kernels, &gpu, q->err);
    if (status == VKMOE_OK)
        status = vkm_gpu_rehearse(gpu, &rehearsal, q->err);
    if (status == VKMOE_OK)
        status = vkm_weights_bind(rehearsal, &params, &w, q->err);
    if (status == VKMOE_OK)
        status = vkm_folder_create(q->allocator, folder, &q->folder, q->err);
    if (status == VKMOE_OK) {
        status = write_weights(q, &w);
        if (status == VKMOE_OK)
            status = vkm_folder_commit(q->folder, q->err);
        else
            vkm_folder_abort(q->folder);
    }
    vkm_weights_finish(&w);
    vkm_gpu_rehearsal_end(rehearsal);
    vkm_gpu_close(gpu);
    return status;
}

vkmoe_status vkmoe_model_quantize(const char *model, const char *folder,
                                  const vkmoe_quantize_params *params, vkmoe_error *err)
{
    VKM_REQUIRE(model, err);
    VKM_REQUIRE(folder, err);
    VKM_REQUIRE(params, err);
    struct quantizer q = {
        .allocator = params->allocator, .model = model, .params = params, .err = err};
    struct vkm_config config;
    struct vkm_checkpoint *checkpoint = NULL;
    if (params->weights != VKMOE_WEIGHTS_Q8 && params->weights != VKMOE_WEIGHTS_Q4)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT,
                        "weights are to be quantised as kind %d, expected Q8 or Q4",
                        (int)params->weights);
    if (vkm_gguf_is(model))
        return vkm_fail(
            err, VKMOE_UNSUPPORTED,
            "%s is a GGUF file, whose weights are used as they are, expected a folder in "
            "Hugging Face layout",
            model);
    vkmoe_status status = vkm_config_load(q.allocator, model, &config, err);
    if (status == VKMOE_OK)
        status = vkm_checkpoint_open(q.allocator, model, &checkpoint, err);
    if (status == VKMOE_OK)
        status = quantize_checkpoint(&q, folder, &config, checkpoint);
    vkm_checkpoint_close(checkpoint);
    return status;
}
