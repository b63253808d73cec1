/* Which vkmoe this is. The build reads its version from here. */
#ifndef VKMOE_VERSION_H
#define VKMOE_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the headers that a program is compiled with. */
#define VKMOE_VERSION "0.1.0"

/* The binary interface: programs built for one number run with every library of that number, whose
 * soname ends in it. It grows when a public struct or function changes. */
#define VKMOE_ABI 0

/* The VKMOE_VERSION of the library that runs. Static storage; thread-safe. */
const char *vkmoe_version(void);
/* Its VKMOE_ABI. Thread-safe. */
int vkmoe_abi(void);

#ifdef __cplusplus
}
#endif

#endif
