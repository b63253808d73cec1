/* Uploading weights in chunks, in the order in which they lie in the file. */
#include <stdlib.h>

#include "model/weights_pack.h"

static uint64_t stored_bytes(const struct vkm_piece *p, uint64_t rows)
{
    return vkm_matrix_bytes(p->dtype, rows, p->ld);
}

/* A row wider than a chunk (an embedding of 2^20 float32 is half of one) cannot occur. */
_Static_assert((uint64_t)VKM_MAX_WIDTH * 4 <= VKM_UPLOAD_CHUNK, "a chunk holds a row");

struct job {
    struct vkm_uploader *uploader;
    struct vkm_team team;
    vkm_progress_fn *progress;
    void *user;
    uint64_t done, total;
    const struct vkm_file *file; /* that was read last, */
    uint64_t expected;           /* and asked for up to here */
};

#define AHEAD (32u << 20) /* bytes asked for before they are read: the disk works on meanwhile */

/* Asks for what follows the bytes about to be read, which are in the file's order. (Several threads
 * read one file: that there is an order is nothing the system would see.) */
static void expect_more(struct job *job, const struct vkm_tensor *t, uint64_t offset)
{
    uint64_t at = t->offset + offset, end = at + AHEAD;
    if (job->file != t->from || job->expected < at) {
        job->file = t->from;
        job->expected = at;
    }
    end = end < t->from->size ? end : t->from->size;
    if (end < job->expected + AHEAD / 4 && end < t->from->size)
        return; /* a few large wishes, not one for each tensor */
    if (end > job->expected)
        vkm_file_expect(t->from, job->expected, end - job->expected);
    job->expected = end > job->expected ? end : job->expected;
}

static vkmoe_status upload_piece(struct job *job, const struct vkm_piece *p, vkmoe_error *err)
{
    uint64_t panel = vkm_stored_rows(p->dtype, 1);
    uint64_t per_chunk = VKM_UPLOAD_CHUNK / stored_bytes(p, panel) * panel;
    for (uint64_t row = 0; row < p->rows;) {
        uint64_t n = p->rows - row < per_chunk ? p->rows - row : per_chunk;
        void *to;
        expect_more(job, p->source, vkm_piece_source_bytes(p, row));
        vkmoe_status status = vkm_uploader_begin(job->uploader, p->target, stored_bytes(p, row),
                                                 stored_bytes(p, n), &to, err);
        if (status == VKMOE_OK)
            status = vkm_team_pack(&job->team, p, row, n, to, err);
        if (status == VKMOE_OK)
            status = vkm_uploader_end(job->uploader, err);
        if (status != VKMOE_OK)
            return status;
        row += n;
        job->done += vkm_piece_source_bytes(p, n);
        if (job->progress && !job->progress(job->user, job->done, job->total))
            return vkm_fail(err, VKMOE_CANCELLED, "loading was cancelled");
    }
    return VKMOE_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct vkm_piece *x = a, *y = b;
    uintptr_t f = (uintptr_t)x->source->from, g = (uintptr_t)y->source->from;
    if (f != g)
        return f < g ? -1 : 1;
    if (x->source->offset != y->source->offset)
        return x->source->offset < y->source->offset ? -1 : 1;
    return 0;
}

void vkm_weights_sort(struct vkm_weights *w)
{
    if (w->pieces.count > 0)
        qsort(w->pieces.items, w->pieces.count, sizeof(*w->pieces.items), by_place);
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
    vkm_weights_sort(w);
    for (size_t i = 0; i < w->pieces.count; i++)
        job.total += w->pieces.items[i].source->size;
    status = vkm_team_init(&job.team, vkm_gpu_allocator(w->gpu), 0, vkm_gpu_caps(w->gpu)->cpu,
                           w->pieces.items, w->pieces.count, err);
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
    vkm_team_finish(&job.team);
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
