/* Texts cut into windows, each computed as a sequence of its own. */
#ifndef VKM_STUDY_WINDOWS_H
#define VKM_STUDY_WINDOWS_H

#include "engine/engine.h"
#include "vkmoe/study.h"

struct vkm_windows {
    struct vkmoe_session *session;
    const vkmoe_study_params *params;
    uint32_t n_layers, n_experts;
    uint32_t room;   /* tokens of text in a window */
    int32_t *tokens; /* of a window, BOS first where wanted */
    uint64_t done, total;
};

/* Opens a session that counts what is chosen; params is not NULL. To be closed also on failure. */
vkmoe_status vkm_windows_open(struct vkm_windows *w, struct vkmoe_model *m,
                              const vkmoe_study_params *params, vkmoe_error *err);
void vkm_windows_close(struct vkm_windows *w);

/* How many windows a text makes. */
static inline uint64_t vkm_windows_of(const struct vkm_windows *w, size_t count)
{
    return (count + w->room - 1) / w->room;
}
/* Computes the tokens of one, at most `room`, and tells how far it is. losses (or NULL) get those
 * of the tokens, of all with BOS and else of all but the first; chosen (or NULL) [n_layers,
 * n_experts] what they chose. */
vkmoe_status vkm_windows_eval(struct vkm_windows *w, const int32_t *text, size_t n, float *losses,
                              uint64_t *chosen, vkmoe_error *err);

#endif
