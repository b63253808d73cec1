/* A case in a folder of its own: what went into the driver, what came out and what was expected,
 * for somebody who has never seen vkmoe. */
#ifndef VKM_BUNDLE_H
#define VKM_BUNDLE_H

#include "conform/case.h"

#define VKM_BUNDLE_FORMAT "vkmoe conformance bundle 1"
#define VKM_BUNDLE_MANIFEST "manifest.json"
/* Words of the manifest, in the order of enum vkm_field_kind and of enum vkm_metric. */
#define VKM_BUNDLE_KINDS                                                                           \
    {                                                                                              \
        "read", "write_f32", "write_u32", "update_f32", "write_kv", "table", "uint", "float"       \
    }
#define VKM_BUNDLE_METRICS                                                                         \
    {                                                                                              \
        "exact", "nmse", "product", "half", "half-sums"                                            \
    }
#define VKM_BUNDLE_JSON_LIMIT (1u << 20)
/* Cases of one variant that are exported: a driver that gets all wrong would fill the disk. */
#define VKM_BUNDLES 10u

/* Makes the folder for bundles, if need be; IO where nothing can be written there. */
vkmoe_status vkm_bundle_folder(const char *path, vkmoe_error *err);
/* Writes a case, whose inputs are in s->pristine and s->tables_before, to a new folder in
 * s->params->export_dir: one that just ran, whose outputs lie in the arenas unless s->error says
 * that it did not end; or where sentence is NULL, one that was not run. *folder is its path
 * (vkm_free). */
vkmoe_status vkm_bundle_export(struct vkm_suite *s, const struct vkm_stream *stream,
                               const char *sentence, char **folder, vkmoe_error *err);

/* Runs the case of a folder on a device that is opened as `device` says, and hands the outcome to
 * params->on_case. The status tells only that it could not be run. */
vkmoe_status vkm_bundle_replay(const struct vkm_gpu_params *device, const char *folder,
                               const struct vkm_conform_params *params, vkmoe_error *err);

/* What README.md says in every bundle, after what is wrong in this one. */
extern const char vkm_bundle_readme[];

#endif
