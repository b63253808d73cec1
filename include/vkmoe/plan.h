/* What a model is and what it needs, before anything is loaded. */
#ifndef VKMOE_PLAN_H
#define VKMOE_PLAN_H

#include "vkmoe/session.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The parts of a model: X(enumerator, what it is). */
#define VKMOE_PART_LIST(X)                                                                         \
    X(EMBEDDINGS, "embeddings")                                                                    \
    X(ATTENTION, "attention")                                                                      \
    X(NORMS, "norms")                                                                              \
    X(DENSE_FFN, "dense FFN")                                                                      \
    X(ROUTERS, "routers")                                                                          \
    X(SHARED_EXPERTS, "shared experts")                                                            \
    X(ROUTED_EXPERTS, "routed experts")                                                            \
    X(HEAD, "head")

/* A part of a model, as an index. */
typedef enum vkmoe_part {
/* One enumerator of the list. */
#define VKMOE_PART_ENUM(name, text) VKMOE_PART_##name,
    VKMOE_PART_LIST(VKMOE_PART_ENUM)
#undef VKMOE_PART_ENUM
        VKMOE_PART_COUNT /* how many there are */
} vkmoe_part;

/* Parameters of one part, or of all. */
typedef struct vkmoe_parameters {
    uint64_t total; /* in the model */
    /* That one token passes: of the routed experts the K chosen, of everything else all; the table
     * of embeddings counts as a whole. */
    uint64_t activated;
} vkmoe_parameters;

/* Floating point operations, a product and a sum counting as two: products with weights, the head
 * included, and with a full (not a causal) attention matrix; the look-up of embeddings is free.
 * Training is three times forward: once forward, twice backward. */
typedef struct vkmoe_flops {
    double forward_per_2k;  /* of 2048 tokens in one sequence */
    double forward_per_4k;  /* of 4096 */
    double training_per_2k; /* of 2048 */
    double training_per_4k; /* of 4096 */
} vkmoe_flops;

/* Kinds of tensors that a description tells apart. */
#define VKMOE_MAX_STORED 8

/* What the tensors of a checkpoint are stored as. */
typedef struct vkmoe_stored {
    char dtype[16];   /* "BF16" or "Q4_K", as the file has it */
    uint64_t tensors; /* of that kind */
    uint64_t bytes;   /* of them together */
} vkmoe_stored;

/* What a model is. */
typedef struct vkmoe_description {
    uint32_t n_layers;            /* num_hidden_layers */
    uint32_t n_moe_layers;        /* of them, those that route to experts */
    uint32_t hidden_size;         /* width of the residual stream */
    uint32_t vocab_size;          /* tokens */
    uint32_t n_heads;             /* of queries */
    uint32_t n_kv_heads;          /* of keys and values */
    uint32_t head_size;           /* width of one head */
    uint32_t dense_width;         /* FFN of a dense layer; 0: no layer is dense */
    uint32_t expert_width;        /* 0: no layer has experts, and the counts below are 0 too */
    uint32_t n_routed_experts;    /* per MoE layer */
    uint32_t n_experts_per_token; /* routed ones */
    uint32_t n_shared_experts;    /* always on */
    /* How routed experts are chosen, by its own name: SWITCH is TOPK with one, GSHARD is
     * TOPK_NORMED with two. MODEL: there are none to choose. */
    vkmoe_router router;
    float router_noise;   /* on scores, as in vkmoe_routing; 0: none */
    uint64_t router_seed; /* of the noise, or of the table of HASH */
    uint32_t max_context; /* max_position_embeddings */
    bool tied_embeddings; /* the head is the table of embeddings, and counts no parameters */
    /* By vkmoe_part. HASH has no routers: its table takes their place, and what a checkpoint has of
     * them serves other routers. */
    vkmoe_parameters parts[VKMOE_PART_COUNT];
    vkmoe_parameters parameters; /* the sum of the parts */
    vkmoe_flops flops;           /* operations */
    /* Ways to choose the routed experts of a token in one layer; exact below 2^43, 0 where there
     * are none. */
    double expert_combinations;
    uint64_t kv_bytes_per_token[VKMOE_KV_COUNT]; /* keys and values of all layers, by vkmoe_kv */
    vkmoe_weights weights; /* what vkmoe_model_quantize made them; STORED where it did not */
    uint32_t n_stored;     /* 0 where there are no weights, only a configuration */
    vkmoe_stored stored[VKMOE_MAX_STORED]; /* the first n_stored count */
} vkmoe_description;

/* Describes a model: the name of a known configuration (vkmoe_config_name), a folder in Hugging
 * Face layout, with weights or with config.json alone, a GGUF file, or a configuration file. Of
 * weights only the headers are read. *out is written on success only. Fails with NOT_FOUND, IO,
 * BAD_FORMAT or UNSUPPORTED. Thread-safe. */
vkmoe_status vkmoe_model_describe(const char *model, vkmoe_description *out, vkmoe_error *err);

/* Names of the known configurations: those of the DeepSeekMoE paper, and the models that it
 * compares with. NULL from the last one on. Static storage; thread-safe. */
const char *vkmoe_config_name(size_t index);

/* "routed experts" for VKMOE_PART_ROUTED_EXPERTS; "" for what is no part. Static storage. */
const char *vkmoe_part_text(vkmoe_part part);

/* Bytes that a model and one session of it would take of one heap of the device. */
typedef struct vkmoe_heap_plan {
    bool device_local; /* it is the device's memory, not the host's */
    uint64_t weights;  /* experts among them */
    uint64_t kv_cache; /* keys and values */
    uint64_t scratch;  /* activations, and what the host tells each step */
    uint64_t unused;   /* parts of allocations that nothing lies in */
    uint64_t total;    /* the four above: what is held once the session is there */
    uint64_t staging;  /* besides, while loading */
    uint64_t reserve;  /* besides, left to the driver for what it needs itself */
    uint64_t left;     /* what can be had now */
} vkmoe_heap_plan;

/* What would make a model fit that does not: each of these by itself. */
typedef struct vkmoe_remedies {
    uint32_t context;      /* the longest that fits, in tokens; 0: none does */
    uint32_t chunk;        /* the next smaller one that fits, in tokens; 0: none does */
    bool together;         /* neither of the two above does by itself, but both do */
    vkmoe_weights weights; /* the closest to the stored ones that fit; STORED: none of them does */
    vkmoe_kv kv;           /* the closest to what was asked for that fits; F32: none does */
    uint64_t memory_limit; /* the lowest that fits, in bytes; 0: none does, or none was set */
    bool other_device;     /* there is one with room for it; the two below are of that one */
    uint32_t device;       /* index in vkmoe_device_list */
    char device_name[256]; /* as the driver words it */
} vkmoe_remedies;

/* What loading a model and making one session would take, found without loading: by placing every
 * buffer as loading would. */
typedef struct vkmoe_plan {
    uint32_t n_heaps;                       /* of the device */
    vkmoe_heap_plan heaps[VKMOE_MAX_HEAPS]; /* of vkmoe_device_info, in the same order */
    uint32_t context;                       /* of the session */
    uint32_t chunk;                         /* of the session */
    vkmoe_kv kv;                            /* of the session */
    uint64_t kv_bytes_per_token;            /* that its cache takes, in all layers */
    vkmoe_weights weights;                  /* what they are on the device */
    uint64_t memory_limit;                  /* as asked for; 0: none */
    bool limit_alone;              /* `fits` is judged by the limit, whatever the heaps have left */
    uint64_t device_bytes;         /* of it taken: all but experts in host memory */
    uint32_t n_experts;            /* routed, of all layers */
    uint32_t n_host_experts;       /* of them in host memory */
    uint64_t host_expert_bytes;    /* of all experts in host memory */
    double host_bytes_per_token;   /* of them read for one token, as likely as in the past */
    double device_bytes_per_token; /* of all other weights */
    bool fits;                     /* every heap, but of the reference device, which refuses
                                      nothing, and the limit */
    char reason[1024];             /* why it does not fit, in numbers; "" where it does */
    vkmoe_remedies remedies;       /* all 0 where it fits */
} vkmoe_plan;

/* Plans for what vkmoe_model_load would load with the same params (NULL: defaults) and for a
 * session of its context and chunk. `model` is what vkmoe_model_describe takes; weights that are
 * not there are taken to be BF16. A model that does not fit is no failure. Fails like
 * vkmoe_model_load, before anything is read. */
vkmoe_status vkmoe_model_plan(vkmoe_device *device, const char *model,
                              const vkmoe_model_params *params, vkmoe_plan *out, vkmoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
