#include "path_words.h"

const char *path_state(vkmoe_path_state state)
{
    static const char *const words[] = {
        [VKMOE_PATH_MISSING] = "missing",   [VKMOE_PATH_TRUSTED] = "trusted",
        [VKMOE_PATH_UNTESTED] = "untested", [VKMOE_PATH_PASSED] = "passed",
        [VKMOE_PATH_FAILED] = "failed",
    };
    return words[state];
}

const char *path_verdict(vkmoe_path_state state)
{
    static const char *const words[] = {
        [VKMOE_PATH_MISSING] = "not to be had",
        [VKMOE_PATH_TRUSTED] = "always trusted",
        [VKMOE_PATH_UNTESTED] = "not tested yet",
        [VKMOE_PATH_PASSED] = "passed its self-test",
        [VKMOE_PATH_FAILED] = "not used, failed its self-test",
    };
    return words[state];
}
