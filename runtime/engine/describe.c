/* What can be said of a model without a device. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "model/accounting.h"
#include "model/named.h"

static void add_stored(vkmoe_description *d, const struct vkm_tensor *t)
{
    uint32_t i = 0;
    while (i < d->n_stored && strcmp(d->stored[i].dtype, t->dtype_name) != 0)
        i++;
    if (i == VKMOE_MAX_STORED)
        i--; /* more kinds than there is room for: the last one stands for the rest */
    else if (i == d->n_stored)
        snprintf(d->stored[d->n_stored++].dtype, sizeof(d->stored[i].dtype), "%.15s",
                 t->dtype_name);
    d->stored[i].tensors += t->slice == 0;
    d->stored[i].bytes += t->size;
}

/* An index without its shards is damage, not absence. */
static bool has_index(const vkmoe_allocator *a, const char *folder)
{
    char *path = vkm_format(a, "%s/model.safetensors.index.json", folder);
    bool found = path && access(path, F_OK) == 0;
    vkm_free(a, path);
    return found;
}

vkmoe_status vkm_checkpoint_open_any(const vkmoe_allocator *a, const char *folder,
                                     struct vkm_checkpoint **out, vkmoe_error *err)
{
    vkmoe_error failure;
    vkmoe_status status = vkm_checkpoint_open(a, folder, out, &failure);
    if (status == VKMOE_NOT_FOUND && !has_index(a, folder)) {
        *out = NULL;
        return VKMOE_OK;
    }
    if (status != VKMOE_OK && err)
        *err = failure;
    return status;
}

static vkmoe_status describe_stored(const char *folder, vkmoe_description *d, vkmoe_error *err)
{
    struct vkm_checkpoint *checkpoint = NULL;
    vkmoe_status status = vkm_checkpoint_open_any(NULL, folder, &checkpoint, err);
    if (status != VKMOE_OK || !checkpoint)
        return status;
    d->weights = vkm_weights_found(checkpoint, VKMOE_WEIGHTS_STORED);
    for (size_t i = 0; i < vkm_checkpoint_count(checkpoint); i++)
        add_stored(d, vkm_checkpoint_at(checkpoint, i));
    vkm_checkpoint_close(checkpoint);
    return VKMOE_OK;
}

vkmoe_status vkmoe_model_describe(const char *model, vkmoe_description *out, vkmoe_error *err)
{
    struct vkm_config config;
    vkmoe_description d;
    bool has_weights;
    VKM_REQUIRE(model && out, err);
    vkmoe_status status = vkm_config_resolve(NULL, model, &config, &has_weights, err);
    if (status != VKMOE_OK)
        return status;
    vkm_describe(&config, &d);
    if (has_weights)
        status = describe_stored(model, &d, err);
    if (status == VKMOE_OK)
        *out = d;
    return status;
}

const char *vkmoe_config_name(size_t index)
{
    return vkm_named_config(index);
}

const char *vkmoe_part_text(vkmoe_part part)
{
    static const char *const texts[] = {
#define PART_TEXT(name, text) text,
        VKMOE_PART_LIST(PART_TEXT)
#undef PART_TEXT
    };
    return (unsigned)part < VKM_COUNT(texts) ? texts[part] : "";
}
