/* Repacking: rows checked, converted where the stored dtype differs, padded to ld with zeros. */
#include "model/weights_pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK (128u << 10) /* bytes read at a time: they are still in the cache when repacked */

static size_t source_row_bytes(const struct vkm_piece *p)
{
    const struct vkm_block_format *f = p->source->blocks;
    return f ? p->cols / f->elements * f->bytes : p->cols * vkm_dtype_size(p->source->dtype);
}

uint64_t vkm_piece_source_bytes(const struct vkm_piece *p, uint64_t rows)
{
    return p->source->packed ? vkm_matrix_bytes(p->dtype, rows, p->ld) : rows * source_row_bytes(p);
}

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
static vkmoe_status decode_row(struct vkm_packer *packer, const struct run *run, uint64_t i,
                               const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    const struct vkm_block_format *f = p->source->blocks;
    for (uint32_t b = 0; b < p->cols / f->elements; b++)
        vkm_block_decode(f, from + b * f->bytes, packer->values + b * f->elements);
    return check_finite(p, run->first + i, 1, packer->values, VKM_DTYPE_F32, err);
}

/* Blocks whose values the stored type has as they are. */
static vkmoe_status regroup_row(struct vkm_packer *packer, const struct run *run, uint64_t i,
                                const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    const struct vkm_block_format *f = p->source->blocks;
    for (uint32_t b = 0; b < p->cols / f->elements; b++) {
        if (vkm_block_put(f, from + b * f->bytes, run->to, p->dtype, p->ld, i, b))
            continue;
        vkmoe_status status = decode_row(packer, run, i, from, err);
        if (status != VKMOE_OK)
            return status;
        return vkm_fail(err, VKMOE_UNSUPPORTED,
                        "%s: block %" PRIu32 " in row %" PRIu64
                        " of tensor %s has a negative scale, expected one of 0 or more for %s",
                        p->source->file, b, run->first + i, p->source->own_name, f->name);
    }
    return VKMOE_OK;
}

static vkmoe_status convert_row(struct vkm_packer *packer, const struct run *run, uint64_t i,
                                const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    vkmoe_status status = VKMOE_OK;
    if (p->source->blocks)
        status = decode_row(packer, run, i, from, err);
    for (uint32_t j = 0; j < p->cols && !p->source->blocks; j++)
        packer->values[j] = vkm_load_f32(from, p->source->dtype, j);
    if (status != VKMOE_OK || vkm_row_store(run->to, p->dtype, p->ld, i, packer->values, p->cols))
        return status;
    return vkm_fail(err, VKMOE_BAD_FORMAT,
                    "%s: row %" PRIu64 " of tensor %s has values too large for the scales of %s",
                    p->source->file, run->first + i, p->source->own_name, vkm_dtype_name(p->dtype));
}

static vkmoe_status pack_row(struct vkm_packer *packer, const struct run *run, uint64_t row,
                             const unsigned char *from, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    size_t size = vkm_dtype_size(p->dtype);
    const struct vkm_block_format *f = p->source->blocks;
    if (f && vkm_dtype_is_quantised(p->dtype))
        return regroup_row(packer, run, row, from, err);
    if (f || p->dtype != p->source->dtype)
        return convert_row(packer, run, row, from, err);
    unsigned char *to = run->to + vkm_matrix_bytes(p->dtype, row, p->ld);
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

/* Panels that lie in the file as they will on the device. */
static vkmoe_status copy_panels(struct vkm_packer *packer, const struct run *run, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    size_t block = vkm_panel_block_bytes(p->dtype), per_read = packer->block_size / block;
    uint64_t first = vkm_matrix_bytes(p->dtype, run->first, p->ld) / block;
    uint64_t count = vkm_matrix_bytes(p->dtype, run->rows, p->ld) / block, row, group;
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < per_read ? (size_t)(count - done) : per_read;
        unsigned char *to = run->to + done * block, *read = packer->straight ? to : packer->block;
        vkmoe_status status =
            vkm_tensor_read(p->source, (first + done) * block, read, n * block, err);
        if (status != VKMOE_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            if (!vkm_panel_block_valid(read + i * block, p->dtype, p->rows, p->ld, first + done + i,
                                       &row, &group))
                return vkm_fail(err, VKMOE_BAD_FORMAT,
                                "%s: group %" PRIu64 " in row %" PRIu64
                                " of tensor %s has a scale that is negative, not finite or beyond "
                                "the end of the matrix",
                                p->source->file, group, row, p->source->own_name);
        }
        if (read != to)
            memcpy(to, read, n * block);
        done += n;
    }
    return VKMOE_OK;
}

/* Whether rows lie in the file as they are stored. */
static bool are_alike(const struct vkm_piece *p)
{
    const struct vkm_tensor *t = p->source;
    return !t->blocks && !t->interleaved && p->dtype == t->dtype && p->ld == p->cols;
}

/* Reads the rows of the run and writes them as they are stored, and where they end in part of a
 * panel, its other rows. */
static vkmoe_status pack_rows(struct vkm_packer *packer, const struct run *run, vkmoe_error *err)
{
    const struct vkm_piece *p = run->piece;
    size_t size = source_row_bytes(p);
    size_t per_block = p->source->interleaved ? 1 : packer->block_size / size;
    bool straight = packer->straight && are_alike(p);
    for (uint64_t row = 0; row < run->rows;) {
        uint64_t left = run->rows - row;
        size_t n = left < per_block ? (size_t)left : per_block;
        uint64_t at = run->first + row;
        unsigned char *read = straight ? run->to + row * size : packer->block;
        vkmoe_status status =
            vkm_tensor_read(p->source, row_in_file(p->source, at) * size, read, n * size, err);
        if (status == VKMOE_OK && !p->source->blocks)
            status = check_finite(p, at, n, read, p->source->dtype, err);
        for (size_t i = 0; i < n && status == VKMOE_OK && !straight; i++)
            status = pack_row(packer, run, row + i, read + i * size, err);
        if (status != VKMOE_OK)
            return status;
        row += n;
    }
    for (uint64_t row = run->rows; row < vkm_stored_rows(p->dtype, run->rows); row++)
        vkm_row_store(run->to, p->dtype, p->ld, row, NULL, 0);
    return VKMOE_OK;
}

vkmoe_status vkm_pack(struct vkm_packer *packer, const struct vkm_piece *piece, uint64_t first,
                      uint64_t rows, void *to, vkmoe_error *err)
{
    const struct run run = {piece, first, rows, to};
    return piece->source->packed ? copy_panels(packer, &run, err) : pack_rows(packer, &run, err);
}

vkmoe_status vkm_packer_init(struct vkm_packer *packer, const vkmoe_allocator *a, bool straight,
                             const struct vkm_piece *pieces, size_t count, vkmoe_error *err)
{
    size_t widest = 0;
    *packer = (struct vkm_packer){.allocator = a, .block_size = BLOCK, .straight = straight};
    for (size_t i = 0; i < count; i++) {
        const struct vkm_piece *p = &pieces[i];
        if (!p->source->packed && source_row_bytes(p) > packer->block_size)
            packer->block_size = source_row_bytes(p);
        if ((p->source->blocks || p->dtype != p->source->dtype) && p->cols > widest)
            widest = p->cols;
    }
    packer->block = vkm_malloc(a, packer->block_size, 1);
    packer->values = vkm_malloc(a, widest, sizeof(*packer->values));
    return packer->block && packer->values
               ? VKMOE_OK
               : vkm_fail_memory(err, packer->block_size, "reading weights");
}

void vkm_packer_finish(struct vkm_packer *packer)
{
    vkm_free(packer->allocator, packer->values);
    vkm_free(packer->allocator, packer->block);
}
