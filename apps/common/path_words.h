/* How the programs word whether a path may be trusted. */
#ifndef VKMOE_PATH_WORDS_H
#define VKMOE_PATH_WORDS_H

#include <vkmoe/device.h>

/* One word, as JSON has it: "missing", "trusted", "untested", "passed" or "failed". */
const char *path_state(vkmoe_path_state state);
/* For people: "passed its self-test". */
const char *path_verdict(vkmoe_path_state state);

#endif
