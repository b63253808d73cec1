/* A program that uses the installed library. */
#include <stdio.h>
#include <vkmoe/vkmoe.h>

int main(void)
{
    vkmoe_error err;
    size_t count = 0;
    vkmoe_status status = vkmoe_device_list(NULL, NULL, 0, &count, &err);
    if (status != VKMOE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%zu devices\n", count);
    return 0;
}
