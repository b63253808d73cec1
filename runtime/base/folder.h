/* Folders that appear whole or not at all. */
#ifndef VKM_FOLDER_H
#define VKM_FOLDER_H

#include "base/base.h"

/* A folder being filled beside its final name, which it takes on commit. */
struct vkm_folder;

/* Makes it. Fails with INVALID_ARGUMENT where there is something of that name already, and with
 * IO. */
vkmoe_status vkm_folder_create(const vkmoe_allocator *a, const char *path, struct vkm_folder **out,
                               vkmoe_error *err);
/* The path that a file of the folder has until then, to be freed; NULL when memory runs out. */
char *vkm_folder_file(const struct vkm_folder *f, const char *name);
/* Renames it, with all of its files on the disk. On failure nothing is left. Destroys f either way.
 */
vkmoe_status vkm_folder_commit(struct vkm_folder *f, vkmoe_error *err);
/* Removes it and what is in it, which are files alone. Accepts NULL. */
void vkm_folder_abort(struct vkm_folder *f);

#endif
