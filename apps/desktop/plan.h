/* What opening a model would take of a device's memory, before anything is loaded: as it was asked
 * for, and for every other choice of weight format, KV cache and context size beside it. */
#ifndef MOE_PLAN_H
#define MOE_PLAN_H

#include <gio/gio.h>

#include "worker.h"

G_BEGIN_DECLS

/* One choice and what it costs, all other choices being as they were asked for. */
typedef struct MoePlanCost {
    guint32 value; /* a vkmoe_weights, a vkmoe_kv, or tokens of context */
    guint64 bytes; /* of the weights; of the KV cache; of KV cache and scratch */
    gboolean fits; /* the whole model would, with this choice */
} MoePlanCost;

#define MOE_PLAN_MAX_CONTEXTS 24

/* A plan with its alternatives. Immutable; for one owner. */
typedef struct MoePlan {
    vkmoe_description model;                  /* what the model is */
    vkmoe_device_info device;                 /* that it was made on */
    vkmoe_plan plan;                          /* as asked for */
    guint64 weights, kv_cache;                /* bytes of all heaps together */
    MoePlanCost formats[VKMOE_WEIGHTS_COUNT]; /* by vkmoe_weights */
    gboolean formats_fixed; /* the file's weights stay as they are, whatever is asked for */
    MoePlanCost kvs[VKMOE_KV_COUNT];             /* by vkmoe_kv */
    MoePlanCost contexts[MOE_PLAN_MAX_CONTEXTS]; /* by size */
    guint n_contexts;                            /* entries of it that count */
    char *reason; /* why it cannot be opened, and what would help; "" where it can */
} MoePlan;

/* Plans on an open device. Reads headers, allocates nothing on the device; not for the main thread.
 * Returns NULL and one sentence for what is wrong with the model. `stop` ends it early with
 * G_IO_ERROR_CANCELLED; NULL: none. */
MoePlan *moe_plan_new(vkmoe_device *device, const MoeOpenParams *params, GCancellable *stop,
                      GError **error);
void moe_plan_free(MoePlan *plan); /* accepts NULL */

/* "As stored (BF16)", "8 bits": what a weight format is called, of this model (NULL: of any).
 * To be freed. */
char *moe_plan_format_text(const MoePlan *plan, vkmoe_weights weights);
/* "float32", "8 bits": what a kind of KV cache is called. Static storage. */
const char *moe_plan_kv_text(vkmoe_kv kv);
/* "28 layers, 64 experts of which 6 are active, 16.4 billion parameters". To be freed. */
char *moe_plan_model_text(const vkmoe_description *model);

/* What `plan->reason` says, in words of this program; to be freed. */
char *moe_plan_reason(const vkmoe_plan *plan);

G_END_DECLS

#endif
