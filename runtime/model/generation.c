#include <string.h>

#include "base/gguf.h"
#include "model/config.h"

static vkmoe_status read_sampling(const struct vkm_json_source *s, vkmoe_sampling *sampling)
{
    double temperature = (double)sampling->temperature, top_p = (double)sampling->top_p;
    double min_p = (double)sampling->min_p, penalty = (double)sampling->repeat_penalty;
    int64_t top_k = sampling->top_k;
    vkmoe_status status = vkm_json_get_real(s, "temperature", 0, 1e6, &temperature);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, "top_p", 0, 1, &top_p);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, "min_p", 0, 1, &min_p);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, "repetition_penalty", 1e-3, 1e3, &penalty);
    if (status == VKMOE_OK)
        status = vkm_json_get_integer(s, "top_k", 0, VKM_MAX_VOCAB, &top_k);
    if (status != VKMOE_OK)
        return status;
    /* The file's penalty means the whole sequence. */
    if (vkm_json_get(s, "repetition_penalty"))
        sampling->repeat_last = UINT32_MAX;
    sampling->temperature = (float)temperature;
    sampling->top_p = (float)top_p;
    sampling->min_p = (float)min_p;
    sampling->repeat_penalty = (float)penalty;
    sampling->top_k = (uint32_t)top_k;
    return VKMOE_OK;
}

static vkmoe_status read_defaults(const struct vkm_json_source *s,
                                  struct vkm_generation_defaults *d)
{
    int64_t ids[VKM_MAX_EOS];
    uint32_t n = 0;
    vkmoe_status status = vkm_json_get_bool(s, "do_sample", &d->do_sample);
    if (status == VKMOE_OK)
        status = read_sampling(s, &d->sampling);
    if (status == VKMOE_OK)
        status = vkm_json_get_integers(s, "eos_token_id", 0, (int64_t)VKM_MAX_VOCAB - 1,
                                       VKM_MAX_EOS, ids, &n);
    if (status != VKMOE_OK)
        return status;
    if (vkm_json_get(s, "eos_token_id"))
        d->n_eos = n;
    for (uint32_t i = 0; i < n; i++)
        d->eos_token_ids[i] = (int32_t)ids[i];
    return VKMOE_OK;
}

vkmoe_status vkm_generation_load(const vkmoe_allocator *a, const char *path,
                                 struct vkm_generation_defaults *d, vkmoe_error *err)
{
    struct vkm_generation_defaults read = *d;
    vkmoe_error failure = {VKMOE_OK, ""}; /* err stays untouched when there is no file */
    json_t *object;
    if (vkm_gguf_is(path))
        return VKMOE_OK;
    char *file = vkm_format(a, "%s/generation_config.json", path);
    if (!file)
        return vkm_fail_memory(err, strlen(path), path);
    vkmoe_status status = vkm_json_load(a, file, VKM_CONFIG_FILE_LIMIT, &object, &failure);
    if (status == VKMOE_OK) {
        status = read_defaults(&(struct vkm_json_source){object, file, &failure}, &read);
        json_decref(object);
    } else if (status == VKMOE_NOT_FOUND) {
        status = VKMOE_OK;
    }
    vkm_free(a, file);
    if (status == VKMOE_OK)
        *d = read;
    else if (err)
        *err = failure;
    return status;
}
