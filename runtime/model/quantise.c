#include "model/quantise.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/safetensors.h"
#include "model/weights_pack.h"

#define CHUNK (8u << 20) /* bytes made at a time, or a panel of more */

struct job {
    const vkmoe_allocator *allocator;
    const struct vkm_quantise_params *params;
    struct vkm_team team;
    unsigned char *buffer;
    size_t buffer_bytes;
    uint64_t done, total;
};

/* How a piece lies in the file: what is not quantised, as the checkpoint has it. */
static struct vkm_piece as_written(const struct vkm_piece *p)
{
    struct vkm_piece out = *p;
    if (!vkm_dtype_is_quantised(p->dtype)) {
        out.dtype = p->source->dtype;
        out.ld = p->cols;
    }
    return out;
}

static vkmoe_status write_piece(void *user, const struct vkm_tensor_out *tensor,
                                struct vkm_writer *w, vkmoe_error *err)
{
    struct job *job = user;
    const struct vkm_piece piece = as_written(tensor->data);
    uint64_t panel = vkm_stored_rows(piece.dtype, 1);
    uint64_t most = job->buffer_bytes / vkm_matrix_bytes(piece.dtype, panel, piece.ld) * panel;
    for (uint64_t row = 0; row < piece.rows && !vkm_writer_failed(w); row += most) {
        uint64_t n = piece.rows - row < most ? piece.rows - row : most;
        vkmoe_status status = vkm_team_pack(&job->team, &piece, row, n, job->buffer, err);
        if (status != VKMOE_OK)
            return status;
        vkm_writer_write(w, job->buffer, (size_t)vkm_matrix_bytes(piece.dtype, n, piece.ld));
        job->done += vkm_piece_source_bytes(&piece, n);
        if (job->params->progress &&
            !job->params->progress(job->params->user, job->done, job->total))
            return vkm_fail(err, VKMOE_CANCELLED, "quantising was cancelled");
    }
    return VKMOE_OK;
}

static struct vkm_tensor_out describe(const struct vkm_piece *p)
{
    const struct vkm_tensor *t = p->source;
    struct vkm_tensor_out out = {.name = t->name, .n_dims = t->n_dims, .data = p};
    out.dtype = as_written(p).dtype;
    memcpy(out.shape, t->shape, sizeof(out.shape));
    return out;
}

/* --- files --- */

/* How many of the tensors go into the first file. */
static size_t count_of_shard(const struct vkm_tensor_out *tensors, size_t count, uint64_t limit)
{
    uint64_t sum = 0, bytes = 0;
    size_t n = 0;
    for (; n < count && vkm_safetensors_bytes(&tensors[n], &bytes); n++) {
        if (n > 0 && (sum > limit || bytes > limit - sum))
            break;
        sum += bytes;
    }
    return n > 0 ? n : 1; /* what cannot be written is refused by the writer */
}

static size_t count_shards(const struct vkm_tensor_out *tensors, size_t count, uint64_t limit)
{
    size_t shards = 0;
    for (size_t at = 0; at < count; shards++)
        at += count_of_shard(tensors + at, count - at, limit);
    return shards;
}

static char *shard_name(const vkmoe_allocator *a, size_t index, size_t shards)
{
    return shards > 1 ? vkm_format(a, "model-%05zu-of-%05zu.safetensors", index + 1, shards)
                      : vkm_strdup(a, "model.safetensors");
}

/* Writes one file and enters its tensors into the map. */
static vkmoe_status write_shard(struct job *job, const struct vkm_folder *folder, const char *name,
                                const struct vkm_tensor_out *tensors, size_t count, json_t *map,
                                vkmoe_error *err)
{
    char *path = name ? vkm_folder_file(folder, name) : NULL;
    bool room = path != NULL;
    for (size_t i = 0; i < count && room; i++)
        room = json_object_set_new(map, tensors[i].name, json_string(name)) == 0;
    vkmoe_status status =
        room ? vkm_safetensors_stream(job->allocator, path, tensors, count, write_piece, job, err)
             : vkm_fail_memory(err, count, "the names of files");
    vkm_free(job->allocator, path);
    return status;
}

static vkmoe_status write_index(const vkmoe_allocator *a, const struct vkm_folder *folder,
                                json_t *map, uint64_t bytes, vkmoe_error *err)
{
    json_t *root =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)bytes, "weight_map", map);
    char *path = vkm_folder_file(folder, "model.safetensors.index.json");
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    struct vkm_writer *w;
    vkmoe_status status = VKMOE_OK;
    if (!path || !text)
        status = vkm_fail_memory(err, json_object_size(map), "the index of shards");
    if (status == VKMOE_OK)
        status = vkm_writer_open(a, path, &w, err);
    if (status == VKMOE_OK) {
        vkm_writer_write(w, text, strlen(text));
        status = vkm_writer_commit(w, err);
    }
    free(text);
    vkm_free(a, path);
    json_decref(root);
    return status;
}

static vkmoe_status write_files(struct job *job, const struct vkm_folder *folder,
                                const struct vkm_tensor_out *tensors, size_t count,
                                vkmoe_error *err)
{
    uint64_t limit = job->params->shard_bytes, bytes = 0, all = 0;
    size_t shards = count_shards(tensors, count, limit), at = 0;
    json_t *map = json_object();
    vkmoe_status status = map ? VKMOE_OK : vkm_fail_memory(err, count, "the names of files");
    for (size_t i = 0; i < shards && status == VKMOE_OK; i++) {
        size_t n = count_of_shard(tensors + at, count - at, limit);
        char *name = shard_name(job->allocator, i, shards);
        status = write_shard(job, folder, name, tensors + at, n, map, err);
        vkm_free(job->allocator, name);
        at += n;
    }
    for (size_t i = 0; i < count; i++)
        all += vkm_safetensors_bytes(&tensors[i], &bytes) ? bytes : 0;
    if (status == VKMOE_OK && shards > 1)
        status = write_index(job->allocator, folder, map, all, err);
    json_decref(map);
    return status;
}

/* --- what is needed for it --- */

static vkmoe_status prepare(struct job *job, const struct vkm_weights *w, vkmoe_error *err)
{
    job->buffer_bytes = CHUNK;
    for (size_t i = 0; i < w->pieces.count; i++) {
        const struct vkm_piece p = as_written(&w->pieces.items[i]);
        uint64_t panel = vkm_matrix_bytes(p.dtype, vkm_stored_rows(p.dtype, 1), p.ld);
        job->total += p.source->size;
        if (panel > job->buffer_bytes)
            job->buffer_bytes = (size_t)panel;
    }
    job->buffer = vkm_malloc(job->allocator, job->buffer_bytes, 1);
    if (!job->buffer)
        return vkm_fail_memory(err, job->buffer_bytes, "quantising");
    return vkm_team_init(&job->team, job->allocator, job->params->threads, true, w->pieces.items,
                         w->pieces.count, err);
}

vkmoe_status vkm_quantise(struct vkm_weights *w, const struct vkm_quantise_params *params,
                          const struct vkm_folder *folder, vkmoe_error *err)
{
    const vkmoe_allocator *a = vkm_gpu_allocator(w->gpu);
    struct job job = {.allocator = a, .params = params};
    vkm_weights_sort(w);
    vkmoe_status status = prepare(&job, w, err);
    struct vkm_tensor_out *tensors = vkm_calloc(a, w->pieces.count, sizeof(*tensors));
    if (status == VKMOE_OK && !tensors)
        status = vkm_fail_memory(err, w->pieces.count * sizeof(*tensors), "quantising");
    for (size_t i = 0; i < w->pieces.count && status == VKMOE_OK; i++)
        tensors[i] = describe(&w->pieces.items[i]);
    if (status == VKMOE_OK)
        status = write_files(&job, folder, tensors, w->pieces.count, err);
    vkm_free(a, tensors);
    vkm_team_finish(&job.team);
    vkm_free(a, job.buffer);
    return status;
}
