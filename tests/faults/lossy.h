/* Programs that lose their device in the middle of an answer: what stands in for two of their
 * calls. */
#ifndef TEST_LOSSY_H
#define TEST_LOSSY_H

#include <vkmoe/vkmoe.h>

/* In the place of vkmoe_device_open: over the loader that makes calls fail. */
vkmoe_status lossy_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                               vkmoe_error *err);

struct lossy_listener {
    const vkmoe_generate_params *params; /* the program's own */
    unsigned tokens;
};

/* In the place of the program's own params, which must outlive the call: the device is lost after
 * some tokens, once in the life of the process. */
vkmoe_generate_params lossy_params(struct lossy_listener *l, const vkmoe_generate_params *params);

/* One more device is lost: that which is opened next. Call it while none is open. */
void lossy_again(void);

#endif
