/* The paths as data, what a caller may wish of them, and which of them a device takes. */
#ifndef VKM_PATHS_H
#define VKM_PATHS_H

#include "gpu/kernel.h"
#include "vkmoe/device.h"

struct vkm_path_row {
    const char *name;
    enum vkm_rounding rounding;
    bool tested; /* used only after a self-test */
};

const struct vkm_path_row *vkm_path_row(enum vkm_path path);
const char *vkm_path_name(enum vkm_path path);
/* Whether its kernels run with full subgroups of a size that the host knows. */
bool vkm_path_is_sized(enum vkm_path path);

/* What --paths says of a path. */
enum vkm_wish {
    VKM_WISH_NONE,  /* as suits the device */
    VKM_WISH_OFF,   /* -: never */
    VKM_WISH_ON,    /* +: wherever it can run, even where another is likely to be faster */
    VKM_WISH_FORCE, /* ++: likewise, and without a self-test */
};

/* Reads "-coopmat,+int8"; NULL and "" wish nothing. Fails with INVALID_ARGUMENT. */
vkmoe_status vkm_paths_parse(const char *text, enum vkm_wish wishes[VKM_PATH_COUNT],
                             vkmoe_error *err);

#endif
