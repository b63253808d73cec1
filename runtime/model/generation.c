#include <string.h>

#include "base/json.h"
#include "model/config.h"

static vkmoe_status read_defaults(const struct vkm_json_source *s,
                                  struct vkm_generation_defaults *d)
{
    double temperature = (double)d->temperature, top_p = (double)d->top_p;
    int64_t top_k = d->top_k, ids[VKM_MAX_EOS];
    uint32_t n = 0;
    vkmoe_status status = vkm_json_get_bool(s, "do_sample", &d->do_sample);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, "temperature", 0, 1e6, &temperature);
    if (status == VKMOE_OK)
        status = vkm_json_get_real(s, "top_p", 0, 1, &top_p);
    if (status == VKMOE_OK)
        status = vkm_json_get_integer(s, "top_k", 0, VKM_MAX_VOCAB, &top_k);
    if (status == VKMOE_OK)
        status = vkm_json_get_integers(s, "eos_token_id", 0, (int64_t)VKM_MAX_VOCAB - 1,
                                       VKM_MAX_EOS, ids, &n);
    if (status != VKMOE_OK)
        return status;
    d->temperature = (float)temperature;
    d->top_p = (float)top_p;
    d->top_k = (uint32_t)top_k;
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
