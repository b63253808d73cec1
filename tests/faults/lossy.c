#include "lossy.h"

#include "engine/engine.h"
#include "faults.h"

enum { TOKENS_BEFORE = 5 }; /* of the answer in which the device is lost */

static bool lost_once;

vkmoe_status lossy_device_open(const vkmoe_device_params *params, vkmoe_device **out,
                               vkmoe_error *err)
{
    if (!lost_once)
        fault_start(NULL, NULL, 0);
    return vkm_device_open(params, fault_loader, out, err);
}

static bool lose_after_some(void *user, int32_t token)
{
    struct lossy_listener *l = user;
    if (++l->tokens == TOKENS_BEFORE && !lost_once) {
        lost_once = true;
        fault_next(FAULT_QueueSubmit2, VK_ERROR_DEVICE_LOST);
    }
    return l->params->on_token(l->params->user, token);
}

vkmoe_generate_params lossy_params(struct lossy_listener *l, const vkmoe_generate_params *params)
{
    *l = (struct lossy_listener){.params = params};
    vkmoe_generate_params own = *params;
    own.on_token = lose_after_some;
    own.user = l;
    return own;
}

void lossy_again(void)
{
    lost_once = false;
}
