/* Every kernel's conformance cases as tests of their own. */
#ifndef VKM_TEST_KERNEL_SUITE_H
#define VKM_TEST_KERNEL_SUITE_H

#include <stdbool.h>

/* Runs the quick cases, or those of VKMOE_CONFORM_FULL in the environment; where addresses are
 * checked, a brief choice of them with shaders that do so. argv[1], if there, is a pattern of
 * kernel names. Returns what main returns. */
int kernel_suite_run(bool check_addresses, int argc, char **argv);

#endif
