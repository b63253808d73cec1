#include "vkmoe/version.h"

const char *vkmoe_version(void)
{
    return VKMOE_VERSION;
}

int vkmoe_abi(void)
{
    return VKMOE_ABI;
}
