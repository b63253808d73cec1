/* Repacking: rows checked, converted where the stored dtype differs, padded to ld with zeros, and
 * uploaded in chunks in the order in which they lie in the file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/weights.h"

#define BLOCK (128u << 10) /* bytes read at a time: they are still in the cache when repacked */

static uint64_t stored_bytes(const struct vkm_piece *p, uint64_t rows)
{
    return vkm_matrix_bytes(p->dtype, rows, p->ld);
}

static size_t source_row_bytes(const struct vkm_piece *p)
{
    const struct vkm_block_format *f = p->source->blocks;
    return f ? p->cols / f->elements * f->bytes : p->cols * vkm_dtype_size(p->source->dtype);
}

/* A row wider than a chunk (an embedding of 2^20 float32 is half of one) cannot occur. */
_Static_assert((uint64_t)VKM_MAX_WIDTH * 4 <= VKM_UPLOAD_CHUNK, "a chunk holds a row");

struct job {
    struct vkm_uploader *uploader;
    vkm_progress_fn *progress;
    void *user;
    uint64_t done, total;
    unsigned char *block; /* what was read last */
    size_t block_size;    /* at least a row of every piece */
    float *values;        /* a row on its way to another type */
};

/* A model with such a weight would answer nonsense: nothing after it is finite. */
static vkmoe_status check_finite(const struct vkm_piece *p, uint64_t row, uint64_t rows,
                                 const void *data, enum vkm_dtype dtype, vkmoe_error *err)
{
    const struct vkm_tensor *t = p->source;
    size_t n = (size_t)rows * p->cols, bad = vkm_first_nonfinite(data, dtype, n);
    char place[64];
    if (bad == n)
        return VKMOE_OK;
    float value = vkm_load_f32(data, dtype, bad);
    if (t->n_dims == 1)
        snprintf(place, sizeof(place), "%zu", bad);
    else
        snprintf(place, sizeof(place), "%" PRIu64 ", %zu", row + bad / p->cols, bad % p->cols);
    return vkm_fail(err, VKMOE_BAD_FORMAT,
                    "%s: element [%s] of tensor %s is %s, expected a finite number", t->file, place,
                    t->own_name,
                    isnan(value) ? "NaN"
                    : value > 0  ? "infinity"
                                 : "-infinity");
}

/* Rows `first` and on of a piece, on their way to `to`. */
struct run {
    const struct vkm_piece *piece;
    uint64_t first, rows;
    unsigned char *to;
};

/* Takes the values of row i of the run, which is made of blocks. */
static vkmoe_status decode_row(struct job *job, const struct run *run, uint64_t i,
                               const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    const struct vkm_block_format *f = p->source->blocks;
    for (uint32_t b = 0; b < p->cols / f->elements; b++)
        f->decode(from + b * f->bytes, job->values + b * f->elements);
    return check_finite(p, run->first + i, 1, job->values, VKM_DTYPE_F32, err);
}

/* Blocks whose values the stored type has as they are. */
static vkmoe_status regroup_row(struct job *job, const struct run *run, uint64_t i,
                                const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    const struct vkm_block_format *f = p->source->blocks;
    for (uint32_t b = 0; b < p->cols / f->elements; b++) {
        if (vkm_block_put(f, from + b * f->bytes, run->to, p->ld, i, b))
            continue;
        vkmoe_status status = decode_row(job, run, i, from, err);
        if (status != VKMOE_OK)
            return status;
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "%s: block %" PRIu32 " in row %" PRIu64
                        " of tensor %s has a negative scale, expected one of 0 or more for %s",
                        p->source->file, b, run->first + i, p->source->own_name, f->name);
    }
    return VKMOE_OK;
}

static vkmoe_status convert_row(struct job *job, const struct run *run, uint64_t i,
                                const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    vkmoe_status status = VKMOE_OK;
    if (p->source->blocks)
        status = decode_row(job, run, i, from, err);
    for (uint32_t j = 0; j < p->cols && !p->source->blocks; j++)
        job->values[j] = vkm_load_f32(from, p->source->dtype, j);
    if (status != VKMOE_OK || vkm_row_store(run->to, p->dtype, p->ld, i, job->values, p->cols))
        return status;
    return vkm_fail(err, VKMOE_BAD_FORMAT,
                    "%s: row %" PRIu64 " of tensor %s has values too large for the scales of %s",
                    p->source->file, run->first + i, p->source->own_name, vkm_dtype_name(p->dtype));
}

static vkmoe_status pack_row(struct job *job, const struct run *run, uint64_t row,
                             const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    size_t size = vkm_dtype_size(p->dtype);
    const struct vkm_block_format *f = p->source->blocks;
    if (f && f->regroup && p->dtype == f->stored)
        return regroup_row(job, run, row, from, err);
    if (f || p->dtype != p->source->dtype)
        return convert_row(job, run, row, from, err);
    unsigned char *to = run->to + stored_bytes(p, row);
    memcpy(to, from, p->cols * size);
    memset(to + p->cols * size, 0, (p->ld - p->cols) * size);
    return VKMOE_OK;
}

/* Where the file has a row. */
static uint64_t row_in_file(const struct vkm_tensor *t, uint64_t row)
{
    uint64_t head = t->interleaved, in_head = head ? row % head : 0;
    return head ? row - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2) : row;
}

/* Reads the rows of the run and writes them as they are stored, and where they end in part of a
 * panel, its other rows. */
static vkmoe_status pack_rows(struct job *job, const struct run *run, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    size_t size = source_row_bytes(p);
    size_t per_block = p->source->interleaved ? 1 : job->block_size / size;
    for (uint64_t row = 0; row < run->rows;) {
        uint64_t left = run->rows - row;
        size_t n = left < per_block ? (size_t)left : per_block;
        uint64_t at = run->first + row;
        vkmoe_status status = vkm_tensor_read(p->source, row_in_file(p->source, at) * size,
                                              job->block, n * size, err);
        if (status == VKMOE_OK && !p->source->blocks)
            status = check_finite(p, at, n, job->block, p->source->dtype, err);
        for (size_t i = 0; i < n && status == VKMOE_OK; i++)
            status = pack_row(job, run, row + i, job->block + i * size, err);
        if (status != VKMOE_OK)
            return status;
        row += n;
    }
    for (uint64_t row = run->rows; row < vkm_stored_rows(p->dtype, run->rows); row++)
        vkm_row_store(run->to, p->dtype, p->ld, row, NULL, 0);
    return VKMOE_OK;
}

static vkmoe_status upload_piece(struct job *job, const struct vkm_piece *p, vkmoe_error *err)
{
    uint64_t panel = vkm_stored_rows(p->dtype, 1);
    uint64_t per_chunk = VKM_UPLOAD_CHUNK / stored_bytes(p, panel) * panel;
    for (uint64_t row = 0; row < p->rows;) {
        uint64_t n = p->rows - row < per_chunk ? p->rows - row : per_chunk;
        void *to;
        vkmoe_status status = vkm_uploader_begin(job->uploader, p->target, stored_bytes(p, row),
                                                 stored_bytes(p, n), &to, err);
        if (status == VKMOE_OK)
            status = pack_rows(job, &(struct run){p, row, n, to}, err);
        if (status == VKMOE_OK)
            status = vkm_uploader_end(job->uploader, err);
        if (status != VKMOE_OK)
            return status;
        row += n;
        job->done += n * source_row_bytes(p);
        if (job->progress && !job->progress(job->user, job->done, job->total))
            return vkm_fail(err, VKMOE_CANCELLED, "loading was cancelled");
    }
    return VKMOE_OK;
}

/* Sums up what is to be read and makes the block for it. */
static vkmoe_status prepare(struct job *job, const struct vkm_weights *w, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(w->gpu);
    size_t widest = 0;
    job->block_size = BLOCK;
    for (size_t i = 0; i < w->pieces.count; i++) {
        const struct vkm_piece *p = &w->pieces.items[i];
        job->total += p->source->size;
        if (source_row_bytes(p) > job->block_size)
            job->block_size = source_row_bytes(p);
        if ((p->source->blocks || p->dtype != p->source->dtype) && p->cols > widest)
            widest = p->cols;
    }
    job->block = vkm_malloc(a, job->block_size, 1);
    job->values = vkm_malloc(a, widest, sizeof(*job->values));
    return job->block && job->values ? VKMOE_OK
                                     : vkm_fail_memory(err, job->block_size, "reading weights");
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
    status = prepare(&job, w, err);
    if (w->pieces.count > 0)
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
    vkm_free(vkm_gpu_allocator(w->gpu), job.values);
    vkm_free(vkm_gpu_allocator(w->gpu), job.block);
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
