/* Every kernel, in every variant that the device can run, against its reference. VKMOE_CONFORM_FULL
 * runs the large shapes too; an argument is a pattern of kernel names. */
#include "kernel_suite.h"

int main(int argc, char **argv)
{
    return kernel_suite_run(false, argc, argv) != 0;
}
