/* Nominal figures of devices by name, for where a driver's probe falls short of them. */
#include <string.h>

#include "bench/bench.h"

/* The first row whose words are part of the name counts, so longer names come first. GB/s of memory
 * and float32 GFLOP/s off the matrix units. Only devices for which both follow from what is widely
 * published: width of the bus times its rate (RTX 4090: 384 bits of 21 Gbit/s), twice the lanes
 * times the boost clock (16384 of 2.52 GHz; RDNA 3 issues two). Where a name covers two memories,
 * the slower. */
static const struct {
    const char *name;
    double memory, arithmetic;
} rows[] = {
    {"NVIDIA H200", 4800, 67000},
    {"H100 80GB HBM3", 3350, 67000},
    {"H100 PCIe", 2000, 51000},
    {"A100-SXM4-80GB", 2039, 19500},
    {"A100-SXM4-40GB", 1555, 19500},
    {"NVIDIA L40S", 864, 91600},
    {"NVIDIA L4", 300, 30300},
    {"Tesla T4", 320, 8100},
    {"GeForce RTX 5090", 1792, 104800},
    {"GeForce RTX 4090", 1008, 82600},
    {"GeForce RTX 3090 Ti", 1008, 40000},
    {"GeForce RTX 3090", 936, 35600},
    {"Radeon RX 7900 XTX", 960, 61400},
    {"Radeon RX 6900 XT", 512, 23000},
    {"Radeon RX 6800 XT", 512, 20700},
    {"Arc(tm) A770 Graphics", 512, 19700},
};

struct vkm_nominal vkm_nominal_peaks(const char *device_name)
{
    for (size_t i = 0; i < VKM_COUNT(rows); i++)
        if (strstr(device_name, rows[i].name))
            return (struct vkm_nominal){1e9 * rows[i].memory, 1e9 * rows[i].arithmetic};
    return (struct vkm_nominal){0, 0};
}
