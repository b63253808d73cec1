/* Every kernel in brief, with the shaders that check each address against the view that it belongs
 * to. Addresses are computed alike on every driver. */
#include "kernel_suite.h"

int main(int argc, char **argv)
{
    return kernel_suite_run(true, argc, argv) != 0;
}
