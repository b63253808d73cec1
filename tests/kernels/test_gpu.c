/* Devices: listing, choosing, opening; their memory; uploads and reading back. */
#include "gpu_fixture.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

enum { MAX_DEVICES = 16, CHUNK = VKM_UPLOAD_CHUNK };

static size_t list(vkmoe_device_info *infos)
{
    vkmoe_error err;
    size_t count = 0;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    assert_ok(vkm_gpu_list(&params, infos, MAX_DEVICES, &count, &err), &err);
    assert_in_range(count, 1, MAX_DEVICES);
    assert_int_equal(log.errors, 0);
    return count;
}

/* The device that the environment selects, as the listing has it. */
static vkmoe_device_info own_info(void)
{
    vkmoe_device_info infos[MAX_DEVICES];
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    vkmoe_device_info own = *vkm_gpu_info(gpu);
    gpu_test_close(gpu, &log);
    assert_true(own.index < list(infos));
    assert_memory_equal(&infos[own.index].uuid, &own.uuid, sizeof(own.uuid));
    return own;
}

/* --- listing and choosing --- */

static void the_listing_has_one_default_and_a_reason_for_each(void **state)
{
    (void)state;
    vkmoe_device_info infos[MAX_DEVICES];
    size_t count = list(infos), defaults = 0, usable = 0;
    for (size_t i = 0; i < count; i++) {
        const vkmoe_device_info *d = &infos[i];
        print_message("%u: %s, %s: %s\n", d->index, d->name, d->driver, d->reason);
        assert_int_equal(d->index, i);
        assert_true(strlen(d->name) > 0 && strlen(d->driver) > 0);
        assert_true(strlen(d->reason) > 10);
        assert_int_equal(strlen(d->uuid), 36);
        defaults += d->is_default;
        usable += d->usable;
        if (!d->usable)
            continue;
        assert_true(d->is_default == (strstr(d->reason, "not the default") == NULL));
        assert_true(d->api_version >= VK_API_VERSION_1_3);
        assert_true(d->max_invocations >= 128 && d->shared_memory >= 16384);
        assert_true(d->n_heaps >= 1 && d->heaps[0].size > 0);
    }
    assert_int_equal(defaults, usable > 0);
}

static void the_listing_writes_no_more_than_it_may(void **state)
{
    (void)state;
    vkmoe_error err;
    vkmoe_device_info infos[MAX_DEVICES], guard;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    size_t all = list(infos), count = 0;
    memset(&guard, 0xa5, sizeof(guard));
    infos[0] = guard;
    assert_ok(vkm_gpu_list(&params, infos, 0, &count, &err), &err);
    assert_memory_equal(&infos[0], &guard, sizeof(guard));
    assert_int_equal(count, all);
    assert_ok(vkm_gpu_list(&params, NULL, 0, &count, &err), &err);
    assert_int_equal(count, all);
}

static void expect_opened(const char *selector, const vkmoe_device_info *expected)
{
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.selector = selector;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    const vkmoe_device_info *info = vkm_gpu_info(gpu);
    assert_string_equal(info->uuid, expected->uuid);
    assert_string_equal(info->name, expected->name);
    assert_false(vkm_gpu_is_reference(gpu));
    assert_ptr_equal(vkm_gpu_kernels(gpu), &vkm_kernels);
    gpu_test_close(gpu, &log);
}

static void a_device_is_chosen_by_index_uuid_or_part_of_its_name(void **state)
{
    (void)state;
    vkmoe_device_info own = own_info(), infos[MAX_DEVICES];
    char text[64];
    if (list(infos) > 1)
        skip(); /* part of a name might fit several */
    snprintf(text, sizeof(text), "%u", own.index);
    expect_opened(text, &own);
    expect_opened(own.uuid, &own);
    expect_opened(own.name, &own);
    snprintf(text, sizeof(text), "%.5s", own.name + 1);
    for (char *c = text; *c; c++)
        *c = (char)(isupper((unsigned char)*c) ? tolower((unsigned char)*c)
                                               : toupper((unsigned char)*c));
    expect_opened(text, &own);
    expect_opened(NULL, &own);
    expect_opened("", &own);
}

static void refuse(const char *selector, vkmoe_status status, const char *part)
{
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu *gpu = NULL;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.selector = selector;
    test_assert_fails(vkm_gpu_open(&params, &vkm_kernels, &gpu, &err), &err, status, part);
    assert_null(gpu);
    assert_int_equal(log.errors, 0);
}

static void an_unknown_device_is_said_by_name(void **state)
{
    (void)state;
    refuse("no such device", VKMOE_NOT_FOUND, "'no such device'");
    refuse("99", VKMOE_NOT_FOUND, "'99'");
    refuse("18446744073709551616", VKMOE_NOT_FOUND, "index, UUID or name");
    refuse("-1", VKMOE_NOT_FOUND, "'-1'");
}

/* The driver under test twice, through a second copy of its ICD file. */
static void a_name_that_fits_two_devices_is_refused(void **state)
{
    (void)state;
    const char *icd = getenv("VK_DRIVER_FILES");
    vkmoe_device_info infos[MAX_DEVICES];
    size_t before = list(infos);
    if (!icd || strchr(icd, ':') || before != 1)
        skip();
    char *folder = test_folder_make(), *old = strdup(icd);
    char copy[4096], both[8200], text[4096];
    snprintf(copy, sizeof(copy), "%s/copy.json", folder);
    snprintf(both, sizeof(both), "%s:%s", old, copy);
    FILE *from = fopen(old, "r"), *to = fopen(copy, "w");
    assert_non_null(from);
    assert_non_null(to);
    fwrite(text, 1, fread(text, 1, sizeof(text), from), to);
    fclose(from);
    fclose(to);
    setenv("VK_DRIVER_FILES", both, 1);
    size_t count = list(infos);
    if (count == 2) {
        assert_int_equal(infos[0].is_default + infos[1].is_default, 1);
        assert_true(infos[0].is_default); /* the first of two alike */
        refuse(infos[0].name, VKMOE_NOT_FOUND, "fits 2 devices");
        refuse(infos[0].uuid, VKMOE_NOT_FOUND, "give an index");
        expect_opened("1", &infos[1]);
    }
    setenv("VK_DRIVER_FILES", old, 1);
    free(old);
    test_folder_remove(folder);
    if (count != 2)
        skip(); /* the loader took them for one */
}

static void without_a_driver_there_is_no_device(void **state)
{
    (void)state;
    const char *icd = getenv("VK_DRIVER_FILES");
    if (!icd)
        skip();
    char *old = strdup(icd);
    setenv("VK_DRIVER_FILES", "/nonexistent.json", 1);
    refuse("0", VKMOE_NO_DEVICE, "install");
    setenv("VK_DRIVER_FILES", old, 1);
    free(old);
}

static void the_base_path_alone_can_be_asked_for(void **state)
{
    (void)state;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.no_subgroups = true;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    assert_true(vkm_gpu_caps(gpu)->paths[VKM_PATH_BASE]);
    assert_false(vkm_gpu_caps(gpu)->paths[VKM_PATH_SUBGROUP]);
    assert_int_equal(vkm_gpu_caps(gpu)->subgroup_size, 0);
    gpu_test_close(gpu, &log);
}

/* --- memory --- */

struct piece {
    struct vkm_buffer *buffer;
    uint32_t seed;
};

static void stamp(const struct piece *p)
{
    uint64_t random = p->seed;
    for (uint64_t i = 0; p->buffer->mapped && i < p->buffer->size; i += 61)
        p->buffer->mapped[i] = (unsigned char)test_random(&random);
}

static void check_stamp(const struct piece *p)
{
    uint64_t random = p->seed;
    for (uint64_t i = 0; p->buffer->mapped && i < p->buffer->size; i += 61)
        assert_int_equal(p->buffer->mapped[i], (unsigned char)test_random(&random));
}

static void buffers_never_overlap(void **state)
{
    (void)state;
    enum { PIECES = 60, STEPS = 1200 };
    struct piece pieces[PIECES] = {{0}};
    vkmoe_error err;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.host_visible = true;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    uint64_t random = 11, held = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        struct piece *p = &pieces[test_random(&random) % PIECES];
        if (p->buffer) {
            check_stamp(p);
            held -= p->buffer->size;
            vkm_buffer_destroy(gpu, p->buffer);
            p->buffer = NULL;
            continue;
        }
        uint32_t r = test_random(&random);
        uint64_t size = r % 20 == 0 ? r % (20u << 20) : r % 4 == 0 ? r % (1u << 20) : r % 5000;
        p->seed = step;
        assert_ok(vkm_buffer_create(gpu, r % 3 ? VKM_MEMORY_DEVICE : VKM_MEMORY_HOST, size,
                                    "a test", &p->buffer, &err),
                  &err);
        held += size;
        assert_int_equal(p->buffer->size, size);
        assert_int_equal(p->buffer->address % 256, 0);
        assert_non_null(p->buffer->mapped);
        assert_true(vkm_gpu_memory_used(gpu) >= held);
        assert_ptr_equal(vkm_gpu_resolve(gpu, p->buffer->address), p->buffer->mapped);
        for (int i = 0; i < PIECES; i++) {
            const struct vkm_buffer *a = p->buffer, *b = pieces[i].buffer;
            if (b && b != a)
                assert_true(a->address + a->size <= b->address ||
                            b->address + b->size <= a->address);
        }
        stamp(p);
    }
    for (int i = 0; i < PIECES; i++) {
        if (pieces[i].buffer)
            check_stamp(&pieces[i]);
        vkm_buffer_destroy(gpu, pieces[i].buffer);
    }
    vkm_buffer_destroy(gpu, NULL);
    gpu_test_close(gpu, &log);
}

static void absurd_sizes_are_refused_with_numbers(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_buffer *buffer = NULL;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    const uint64_t sizes[] = {vkm_gpu_max_buffer(gpu) + 1, UINT64_C(1) << 40, UINT64_MAX - 100,
                              UINT64_MAX};
    for (size_t i = 0; i < VKM_COUNT(sizes); i++) {
        char number[64];
        snprintf(number, sizeof(number), "%.1f MiB", (double)sizes[i] / 0x1p20);
        test_assert_fails(
            vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, sizes[i], "the thing", &buffer, &err), &err,
            VKMOE_UNSUPPORTED, number);
        assert_non_null(strstr(err.message, "the thing needs"));
        assert_null(buffer);
    }
    assert_true(vkm_gpu_max_buffer(gpu) >= 128u << 20);
    gpu_test_close(gpu, &log);
}

static void a_full_heap_is_said_with_numbers_and_frees_again(void **state)
{
    (void)state;
    enum { MAX = 64 };
    vkmoe_error err;
    struct vkm_buffer *buffers[MAX] = {NULL}, *last = NULL;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    /* a small device: 100 MiB in each heap, and no budget but that */
    gpu->memory_budget = false;
    for (uint32_t i = 0; i < gpu->memory_properties.memoryHeapCount; i++)
        gpu->memory_properties.memoryHeaps[i].size = 100 << 20;
    int n = 0;
    vkmoe_status status = VKMOE_OK;
    while (n < MAX && status == VKMOE_OK) {
        status =
            vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 20 << 20, "the thing", &buffers[n], &err);
        n += status == VKMOE_OK;
    }
    test_assert_fails(status, &err, VKMOE_OUT_OF_DEVICE_MEMORY, "no room for the thing");
    assert_non_null(strstr(err.message, "20.0 MiB needed"));
    assert_non_null(strstr(err.message, "MiB left"));
    assert_true(n >= 5);
    /* what is left is used to the end: blocks smaller than usual */
    uint64_t used = vkm_gpu_memory_used(gpu);
    while (vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 1 << 20, "more", &last, &err) == VKMOE_OK)
        buffers[n++] = last;
    assert_true(vkm_gpu_memory_used(gpu) <= (uint64_t)VK_MAX_MEMORY_HEAPS * (100 << 20));
    assert_true(vkm_gpu_memory_used(gpu) >= used);
    vkm_buffer_destroy(gpu, buffers[0]);
    assert_ok(vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 20 << 20, "again", &buffers[0], &err),
              &err);
    for (int i = 0; i < n; i++)
        vkm_buffer_destroy(gpu, buffers[i]);
    gpu_test_close(gpu, &log);
}

static VKAPI_ATTR VkResult VKAPI_CALL refuse_memory(VkDevice device,
                                                    const VkMemoryAllocateInfo *info,
                                                    const VkAllocationCallbacks *allocator,
                                                    VkDeviceMemory *memory)
{
    (void)device, (void)info, (void)allocator, (void)memory;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static void a_driver_that_refuses_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_buffer *buffer = NULL;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    PFN_vkAllocateMemory real = gpu->vk.AllocateMemory;
    gpu->vk.AllocateMemory = refuse_memory;
    test_assert_fails(vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 1000, "the thing", &buffer, &err),
                      &err, VKMOE_OUT_OF_DEVICE_MEMORY, "no room for the thing");
    assert_null(buffer);
    assert_true(vkm_gpu_memory_used(gpu) == 0);
    gpu->vk.AllocateMemory = real;
    assert_ok(vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 1000, "the thing", &buffer, &err), &err);
    vkm_buffer_destroy(gpu, buffer);
    gpu_test_close(gpu, &log);
}

static bool is_mapped(void *page)
{
    unsigned char resident;
    return mincore(page, 1, &resident) == 0 || errno != ENOMEM;
}

/* Of the drivers for the host's processor Mesa's import it; SwiftShader takes no buffers there. */
static void memory_that_a_driver_imports_goes_with_its_buffers(void **state)
{
    (void)state;
    vkmoe_error err;
    struct vkm_buffer *buffer = NULL;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    const vkmoe_device_info *info = vkm_gpu_info(gpu);
    assert_true(gpu->imports ? info->kind == VKMOE_DEVICE_CPU : !strstr(info->name, "llvmpipe"));
    if (gpu->imports) {
        assert_ok(vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, 70 << 20, "the thing", &buffer, &err),
                  &err);
        unsigned char *mapped = buffer->mapped;
        assert_non_null(mapped);
        assert_true(is_mapped(mapped));
        assert_true(vkm_gpu_memory_used(gpu) == UINT64_C(70) << 20);
        vkm_buffer_destroy(gpu, buffer);
        assert_false(is_mapped(mapped));
    }
    gpu_test_close(gpu, &log);
}

static atomic_int next_churn;

static void *churn(void *user)
{
    struct vkm_gpu *gpu = user;
    int mark = 16 * (1 + next_churn++); /* of this thread */
    uint64_t random = (uint64_t)mark;
    bool well = true;
    for (int i = 0; i < 10000 && well; i++) {
        struct vkm_buffer *buffers[4] = {NULL};
        vkmoe_error err;
        for (int j = 0; j < 4; j++) {
            uint64_t size = test_random(&random) % 5000;
            well &= vkm_buffer_create(gpu, VKM_MEMORY_HOST, size, "a thread", &buffers[j], &err) ==
                    VKMOE_OK;
            if (buffers[j])
                memset(buffers[j]->mapped, mark + j, size);
        }
        for (int j = 0; j < 4; j++) {
            for (uint64_t k = 0; buffers[j] && k < buffers[j]->size; k += 97)
                well &= buffers[j]->mapped[k] == mark + j;
            vkm_buffer_destroy(gpu, buffers[j]);
        }
        (void)vkm_gpu_memory_used(gpu);
    }
    return well ? gpu : NULL;
}

static void threads_may_take_and_give_memory_at_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    struct vkm_gpu *gpu = gpu_test_open(&params);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, gpu), 0);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    gpu_test_close(gpu, &log);
}

/* --- uploads --- */

static unsigned char *noise(size_t size, uint64_t seed)
{
    unsigned char *bytes = malloc(size + 8);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += 4) {
        uint32_t r = test_random(&seed);
        memcpy(bytes + i, &r, 4);
    }
    return bytes;
}

/* Writes `size` bytes at `offset` of a buffer and reads them and their surroundings back. */
static void round_trip(struct vkm_gpu *gpu, struct vkm_uploader *u, uint64_t offset, size_t size)
{
    enum { MARGIN = 1024 };
    vkmoe_error err;
    struct vkm_buffer *buffer;
    size_t whole = (size_t)offset + size + MARGIN;
    assert_ok(vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, whole, "a test", &buffer, &err), &err);
    struct vkm_view all = vkm_buffer_view(buffer), part = vkm_view_slice(all, offset, size);
    unsigned char *around = noise(whole, 1), *data = noise(size, 2), *back = noise(whole, 3);
    assert_ok(vkm_uploader_write(u, all, around, whole, &err), &err);
    assert_ok(vkm_uploader_write(u, part, data, size, &err), &err);
    assert_ok(vkm_uploader_flush(u, &err), &err);
    memcpy(around + offset, data, size);
    assert_ok(vkm_buffer_read(gpu, all, back, &err), &err);
    assert_int_equal(memcmp(back, around, whole), 0);
    memset(back, 0, size);
    assert_ok(vkm_buffer_read(gpu, part, back, &err), &err);
    assert_int_equal(memcmp(back, data, size), 0);
    free(around);
    free(data);
    free(back);
    vkm_buffer_destroy(gpu, buffer);
}

static void check_round_trips(bool force_staging)
{
    static const size_t sizes[] = {1,         3,     4,         255,           4097,         100001,
                                   CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5, 5 * CHUNK + 3};
    vkmoe_error err;
    struct vkm_uploader *u;
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.force_staging = force_staging;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    assert_ok(vkm_uploader_create(gpu, &u, &err), &err);
    for (size_t i = 0; i < VKM_COUNT(sizes); i++)
        round_trip(gpu, u, i % 2 ? 0 : 48, sizes[i]);
    vkm_uploader_destroy(u);
    vkm_uploader_destroy(NULL);
    gpu_test_close(gpu, &log);
}

static void uploads_of_any_size_arrive_whole(void **state)
{
    (void)state;
    check_round_trips(false);
}

static void uploads_through_staging_arrive_whole(void **state)
{
    (void)state;
    check_round_trips(true);
}

static void *upload_much(void *user)
{
    struct vkm_gpu *gpu = user;
    enum { SIZE = 300000 };
    vkmoe_error err;
    struct vkm_uploader *u = NULL;
    struct vkm_buffer *buffer = NULL;
    unsigned char *data = malloc(SIZE), *back = malloc(SIZE);
    bool well =
        data && back && vkm_uploader_create(gpu, &u, &err) == VKMOE_OK &&
        vkm_buffer_create(gpu, VKM_MEMORY_DEVICE, SIZE, "a thread", &buffer, &err) == VKMOE_OK;
    for (int i = 0; i < 40 && well; i++) {
        memset(data, (int)(i ^ (int)(buffer->address >> 8)), SIZE);
        well = vkm_uploader_write(u, vkm_buffer_view(buffer), data, SIZE, &err) == VKMOE_OK &&
               vkm_uploader_flush(u, &err) == VKMOE_OK &&
               vkm_buffer_read(gpu, vkm_buffer_view(buffer), back, &err) == VKMOE_OK &&
               memcmp(data, back, SIZE) == 0;
    }
    vkm_uploader_destroy(u);
    vkm_buffer_destroy(gpu, buffer);
    free(data);
    free(back);
    return well ? gpu : NULL;
}

static void threads_may_upload_at_once(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct test_log log;
    struct vkm_gpu_params params = gpu_test_params(&log);
    params.force_staging = true;
    struct vkm_gpu *gpu = gpu_test_open(&params);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, upload_much, gpu), 0);
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    gpu_test_close(gpu, &log);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_listing_has_one_default_and_a_reason_for_each),
        cmocka_unit_test(the_listing_writes_no_more_than_it_may),
        cmocka_unit_test(a_device_is_chosen_by_index_uuid_or_part_of_its_name),
        cmocka_unit_test(an_unknown_device_is_said_by_name),
        cmocka_unit_test(a_name_that_fits_two_devices_is_refused),
        cmocka_unit_test(without_a_driver_there_is_no_device),
        cmocka_unit_test(the_base_path_alone_can_be_asked_for),
        cmocka_unit_test(buffers_never_overlap),
        cmocka_unit_test(absurd_sizes_are_refused_with_numbers),
        cmocka_unit_test(a_full_heap_is_said_with_numbers_and_frees_again),
        cmocka_unit_test(a_driver_that_refuses_memory_leaves_nothing_behind),
        cmocka_unit_test(memory_that_a_driver_imports_goes_with_its_buffers),
        cmocka_unit_test(threads_may_take_and_give_memory_at_once),
        cmocka_unit_test(uploads_of_any_size_arrive_whole),
        cmocka_unit_test(uploads_through_staging_arrive_whole),
        cmocka_unit_test(threads_may_upload_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
