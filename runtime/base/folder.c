#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct vkm_folder {
    const vkmoe_allocator *allocator;
    char *path, *temporary;
};

static void destroy(struct vkm_folder *f)
{
    const vkmoe_allocator *a = f->allocator;
    vkm_free(a, f->path);
    vkm_free(a, f->temporary);
    vkm_free(a, f);
}

#define SUFFIX_SIZE 32 /* bytes that the temporary name is longer, at most */

static bool make_temporary(struct vkm_folder *f)
{
    int made = -1;
    for (unsigned i = 0; i < 1000 && made != 0; i++) {
        sprintf(f->temporary, "%s.%d-%u.tmp", f->path, (int)getpid(), i);
        made = mkdir(f->temporary, 0777);
        if (made != 0 && errno != EEXIST)
            break;
    }
    return made == 0;
}

vkmoe_status vkm_folder_create(const vkmoe_allocator *a, const char *path, struct vkm_folder **out,
                               vkmoe_error *err)
{
    struct stat there;
    if (lstat(path, &there) == 0)
        return vkm_fail(err, VKMOE_INVALID_ARGUMENT, "%s exists already, expected a new name",
                        path);
    struct vkm_folder *f = vkm_calloc(a, 1, sizeof(*f));
    if (!f)
        return vkm_fail_memory(err, sizeof(*f), path);
    size_t size = strlen(path);
    f->allocator = a;
    f->path = vkm_strdup(a, path);
    f->temporary = vkm_malloc(a, size + SUFFIX_SIZE, 1);
    while (f->path && size > 1 && path[size - 1] == '/')
        f->path[--size] = '\0';
    if (!f->path || !f->temporary) {
        destroy(f);
        return vkm_fail_memory(err, size, path);
    }
    if (!make_temporary(f)) {
        vkmoe_status status =
            vkm_fail(err, VKMOE_IO, "cannot make a folder beside %s: %s", path, strerror(errno));
        destroy(f);
        return status;
    }
    *out = f;
    return VKMOE_OK;
}

char *vkm_folder_file(const struct vkm_folder *f, const char *name)
{
    return vkm_format(f->allocator, "%s/%s", f->temporary, name);
}

static void remove_temporary(const struct vkm_folder *f)
{
    DIR *dir = opendir(f->temporary);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0); /* the folder itself is none that can be unlinked */
    if (dir)
        closedir(dir);
    rmdir(f->temporary);
}

/* Names reach the disk; a file system that cannot do so for folders says EINVAL. */
static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return good;
}

/* The folder that the path lies in; f->temporary is used up for it. */
static const char *parent(struct vkm_folder *f)
{
    char *slash = strrchr(f->temporary, '/');
    if (!slash)
        return ".";
    slash[slash == f->temporary] = '\0';
    return f->temporary;
}

vkmoe_status vkm_folder_commit(struct vkm_folder *f, vkmoe_error *err)
{
    struct stat there;
    errno = 0;
    bool taken = lstat(f->path, &there) == 0; /* since it was begun; rename would replace an empty
                                                 folder */
    if (!taken && sync_folder(f->temporary) && rename(f->temporary, f->path) == 0) {
        (void)sync_folder(parent(f)); /* the folder is there, whole, whatever comes of it */
        destroy(f);
        return VKMOE_OK;
    }
    vkmoe_status status = vkm_fail(err, VKMOE_IO, "cannot write the folder %s: %s", f->path,
                                   strerror(taken ? EEXIST : errno));
    vkm_folder_abort(f);
    return status;
}

void vkm_folder_abort(struct vkm_folder *f)
{
    if (!f)
        return;
    remove_temporary(f);
    destroy(f);
}
