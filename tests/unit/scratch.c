#include "scratch.h"

#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

static char folder[256];

const char *scratch_open(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/vkmoe-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char child[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (unlink(child) != 0)
            remove_all(child);
    }
    closedir(dir);
    rmdir(path);
}

void scratch_close(void)
{
    remove_all(folder);
}

int scratch_setup(void **state)
{
    (void)state;
    scratch_open();
    return 0;
}

int scratch_teardown(void **state)
{
    (void)state;
    scratch_close();
    return 0;
}

const char *scratch_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void scratch_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(scratch_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void scratch_write_text(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

void scratch_write_padded(const char *name, const char *header, size_t length, size_t size)
{
    size_t total = 8 + length + size;
    unsigned char *bytes = malloc(total);
    assert_non_null(bytes);
    memset(bytes, ' ', total);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, strlen(header));
    for (size_t i = 0; i < size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    scratch_write(name, bytes, total);
    free(bytes);
}

void scratch_write_tensors(const char *name, const char *header, size_t size)
{
    scratch_write_padded(name, header, (strlen(header) + 7) / 8 * 8, size);
}

char *scratch_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

void expect_sane(vkmoe_status status, const vkmoe_error *err)
{
    if (status == VKMOE_OK)
        return;
    assert_int_equal(err->status, status);
    assert_true(strlen(err->message) > 10);
    assert_null(strchr(err->message, '\n'));
}

void expect_failure(vkmoe_status status, const vkmoe_error *err, vkmoe_status wanted,
                    const char *text, const char *text2)
{
    if (status != wanted || (text && !strstr(err->message, text)) ||
        (text2 && !strstr(err->message, text2)))
        fail_msg("status %d, expected %d with \"%s\" and \"%s\": %s", status, wanted,
                 text ? text : "", text2 ? text2 : "", status == VKMOE_OK ? "" : err->message);
    expect_sane(status, err);
}

static bool scarce_now(struct scarce *s)
{
    return s->calls++ == s->fail_at;
}

static void *scarce_allocate(void *user, size_t size)
{
    struct scarce *s = user;
    void *memory = scarce_now(s) ? NULL : malloc(size);
    s->live += memory != NULL;
    return memory;
}

static void *scarce_reallocate(void *user, void *memory, size_t size)
{
    struct scarce *s = user;
    void *moved = scarce_now(s) ? NULL : realloc(memory, size);
    s->live += moved != NULL && memory == NULL;
    return moved;
}

static void scarce_release(void *user, void *memory)
{
    struct scarce *s = user;
    s->live -= memory != NULL;
    free(memory);
}

vkmoe_allocator scarce_allocator(struct scarce *s)
{
    return (vkmoe_allocator){scarce_allocate, scarce_reallocate, scarce_release, s};
}

static long json_left;

static void *scarce_json_allocate(size_t size)
{
    return json_left > 0 && json_left-- ? malloc(size) : NULL;
}

void scarce_json(long n)
{
    json_left = n;
    json_set_alloc_funcs(n < 0 ? malloc : scarce_json_allocate, free);
}

uint32_t scratch_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}
