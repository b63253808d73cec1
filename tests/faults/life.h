/* One life of a device, a model and a session, in which something fails, and what must hold of
 * every such life: each failure is a status and a sentence; the same call made again succeeds, or
 * the device is lost and another one goes on from the tokens kept; the text is the same in the end;
 * and nothing is left behind. */
#ifndef LIFE_H
#define LIFE_H

#include "faults.h"
#include "support.h"
#include "vkmoe/session.h"

enum { LIFE_PROMPT = 20, LIFE_CHUNK = 8, LIFE_TEXT = 6 };

struct life_setup {
    const char *selector; /* as in vkmoe_device_params; NULL: VKMOE_DEVICE */
    const char *cache_dir;
    bool check_addresses;
    vkm_vulkan_loader *under; /* whose calls fail; NULL: the system's */
    const char *model;        /* folder */
    int32_t text[LIFE_TEXT];  /* that an undisturbed life gives; set by life_setup_measure */
};

/* What fails. */
struct life_faults {
    struct fault_plan plans[2];
    size_t n_plans;
    uint64_t allocation; /* of host memory, from 1; 0: none */
    bool no_recovery;    /* failures are for good: nothing is tried again */
};

struct life {
    vkmoe_status status; /* of the first failure; OK: there was none */
    char sentence[1024]; /* of it */
    unsigned failures;   /* calls of the public API that failed */
    unsigned lost;       /* devices */
    bool fired;          /* whether anything failed by plan */
    char warning[1024];  /* the last that was logged; empty if none */
};

/* Writes the smallest model that has a dense and an MoE layer, shared experts and all. */
char *life_model_make(void);
/* Lives undisturbed, and keeps the text. */
void life_setup_measure(struct life_setup *setup);
/* Fails the test where one of the promises is broken. */
struct life life_lead(const struct life_setup *setup, const struct life_faults *faults);

#endif
