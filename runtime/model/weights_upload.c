/* Repacking: rows converted where the stored dtype differs, padded to ld with zeros, and uploaded
 * in chunks in the order in which they lie in the file. */
#include <stdlib.h>
#include <string.h>

#include "model/weights.h"

static uint64_t row_bytes(const struct vkm_piece *p)
{
    return (uint64_t)p->ld * vkm_dtype_size(p->dtype);
}

static void pack_row(const struct vkm_piece *p, uint64_t row, unsigned char *to)
{
    size_t size = vkm_dtype_size(p->dtype);
    size_t source_size = vkm_dtype_size(p->source->dtype);
    const unsigned char *from = p->source->data + row * p->cols * source_size;
    if (p->dtype == p->source->dtype) {
        memcpy(to, from, p->cols * size);
    } else {
        for (uint32_t i = 0; i < p->cols; i++)
            vkm_store_f32(to, p->dtype, i, vkm_load_f32(from, p->source->dtype, i));
    }
    memset(to + p->cols * size, 0, (p->ld - p->cols) * size);
}

/* A row wider than a chunk (an embedding of 2^20 float32 is half of one) cannot occur. */
_Static_assert((uint64_t)VKM_MAX_WIDTH * 4 <= VKM_UPLOAD_CHUNK, "a chunk holds a row");

struct job {
    struct vkm_uploader *uploader;
    vkm_progress_fn *progress;
    void *user;
    uint64_t done, total;
};

static vkmoe_status upload_piece(struct job *job, const struct vkm_piece *p, vkmoe_error *err)
{
    uint64_t source_row = (uint64_t)p->cols * vkm_dtype_size(p->source->dtype);
    uint64_t per_chunk = VKM_UPLOAD_CHUNK / row_bytes(p);
    uint64_t in_file = (uint64_t)(p->source->data - p->source->map->data);
    for (uint64_t row = 0; row < p->rows;) {
        uint64_t n = p->rows - row < per_chunk ? p->rows - row : per_chunk;
        void *to;
        vkmoe_status status = vkm_uploader_begin(job->uploader, p->target, row * row_bytes(p),
                                                 n * row_bytes(p), &to, err);
        if (status != VKMOE_OK)
            return status;
        for (uint64_t i = 0; i < n; i++)
            pack_row(p, row + i, (unsigned char *)to + i * row_bytes(p));
        if ((status = vkm_uploader_end(job->uploader, err)) != VKMOE_OK)
            return status;
        vkm_map_release_pages(p->source->map, in_file + row * source_row, n * source_row);
        row += n;
        job->done += n * source_row;
        if (job->progress && !job->progress(job->user, job->done, job->total))
            return vkm_fail(err, VKMOE_CANCELLED, "loading was cancelled");
    }
    return VKMOE_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct vkm_piece *x = a, *y = b;
    if (x->source->data != y->source->data)
        return x->source->data < y->source->data ? -1 : 1;
    return 0;
}

static void free_lists(struct vkm_weights *w)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(w->gpu);
    for (size_t i = 0; i < w->tables.count; i++)
        vkm_free(a, w->tables.items[i].addresses);
    vkm_free(a, w->tables.items);
    vkm_free(a, w->pieces.items);
    w->tables.items = NULL;
    w->pieces.items = NULL;
    w->tables.count = w->tables.capacity = 0;
    w->pieces.count = w->pieces.capacity = 0;
}

vkmoe_status vkm_weights_upload(struct vkm_weights *w, vkm_progress_fn *progress, void *user,
                                vkmoe_error *err)
{
    struct job job = {.progress = progress, .user = user};
    vkmoe_status status = vkm_uploader_create(w->gpu, &job.uploader, err);
    if (status != VKMOE_OK)
        return status;
    for (size_t i = 0; i < w->pieces.count; i++)
        job.total += w->pieces.items[i].source->size;
    qsort(w->pieces.items, w->pieces.count, sizeof(*w->pieces.items), by_place);
    for (size_t i = 0; i < w->pieces.count && status == VKMOE_OK; i++)
        status = upload_piece(&job, &w->pieces.items[i], err);
    for (size_t i = 0; i < w->tables.count && status == VKMOE_OK; i++) {
        const struct vkm_table *t = &w->tables.items[i];
        status = vkm_uploader_write(job.uploader, t->target, t->addresses,
                                    t->count * sizeof(*t->addresses), err);
    }
    if (status == VKMOE_OK)
        status = vkm_uploader_flush(job.uploader, err);
    vkm_uploader_destroy(job.uploader);
    free_lists(w);
    return status;
}

void vkm_weights_finish(struct vkm_weights *w)
{
    if (!w->gpu)
        return;
    const vkmoe_allocator *a = vkm_gpu_allocator(w->gpu);
    for (size_t i = 0; i < w->buffers.count; i++)
        vkm_buffer_destroy(w->gpu, w->buffers.items[i]);
    vkm_free(a, w->buffers.items);
    free_lists(w);
    vkm_free(a, w->layers);
    *w = (struct vkm_weights){0};
}
