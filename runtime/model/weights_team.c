/* Rows packed by several threads side by side: reading, rounding and the first touch of memory each
 * keep a core busy. */
#include <pthread.h>
#include <unistd.h>

#include "model/weights_pack.h"

#define MOST 8u            /* threads: beyond, memory is what they wait for */
#define ALONE (256u << 10) /* bytes that are not worth a second one */

struct vkm_worker {
    struct vkm_packer packer;
    pthread_t thread;
    bool started;
    const struct vkm_piece *piece;
    uint64_t first, rows; /* what it is to pack, */
    unsigned char *to;    /* and to where */
    vkmoe_status status;
    vkmoe_error error;
};

static void *work(void *user)
{
    struct vkm_worker *w = user;
    w->status = vkm_pack(&w->packer, w->piece, w->first, w->rows, w->to, &w->error);
    return NULL;
}

/* Lets the first n workers work, one of them in this thread. */
static vkmoe_status run(struct vkm_worker *workers, uint32_t n, vkmoe_error *err)
{
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 1; i < n; i++)
        workers[i].started = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    work(&workers[0]);
    for (uint32_t i = 1; i < n; i++) {
        if (workers[i].started)
            pthread_join(workers[i].thread, NULL);
        else
            work(&workers[i]);
    }
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++) {
        status = workers[i].status;
        if (status != VKMOE_OK && err)
            *err = workers[i].error;
    }
    return status;
}

vkmoe_status vkm_team_pack(struct vkm_team *team, const struct vkm_piece *p, uint64_t first,
                           uint64_t rows, void *to, vkmoe_error *err)
{
    uint64_t panel = vkm_stored_rows(p->dtype, 1), panels = (rows + panel - 1) / panel;
    uint64_t bytes = vkm_matrix_bytes(p->dtype, rows, p->ld);
    uint64_t n = bytes / ALONE + 1 < team->n ? bytes / ALONE + 1 : team->n;
    uint64_t each = (panels + n - 1) / n * panel;
    uint32_t used = 0;
    for (uint64_t row = 0; row < rows; row += each, used++) {
        struct vkm_worker *w = &team->workers[used];
        w->piece = p;
        w->first = first + row;
        w->rows = rows - row < each ? rows - row : each;
        w->to = (unsigned char *)to + vkm_matrix_bytes(p->dtype, row, p->ld);
    }
    return run(team->workers, used, err);
}

vkmoe_status vkm_team_init(struct vkm_team *team, const vkmoe_allocator *a, uint32_t threads,
                           bool straight, const struct vkm_piece *pieces, size_t count,
                           vkmoe_error *err)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t n = threads > 0 ? threads : processors > 0 ? (uint32_t)processors : 1;
    n = n < MOST ? n : MOST;
    *team = (struct vkm_team){.allocator = a, .workers = vkm_calloc(a, n, sizeof(*team->workers))};
    if (!team->workers)
        return vkm_fail_memory(err, n * sizeof(*team->workers), "reading weights");
    team->n = n;
    vkmoe_status status = VKMOE_OK;
    for (uint32_t i = 0; i < n && status == VKMOE_OK; i++)
        status = vkm_packer_init(&team->workers[i].packer, a, straight, pieces, count, err);
    return status;
}

void vkm_team_finish(struct vkm_team *team)
{
    for (uint32_t i = 0; i < team->n; i++)
        vkm_packer_finish(&team->workers[i].packer);
    vkm_free(team->allocator, team->workers);
    *team = (struct vkm_team){0};
}
