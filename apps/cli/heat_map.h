/* Maps of the experts: a row for each MoE layer, a column for each expert. */
#ifndef VKMOE_CLI_HEAT_MAP_H
#define VKMOE_CLI_HEAT_MAP_H

#include <stdint.h>

struct heat_map {
    const char *title, *subtitle; /* UTF-8 */
    uint32_t layers, experts;     /* of each panel */
    uint32_t panels;              /* below one another, with a name each (NULL: none) */
    const char *const *names;
    const double *values; /* [panels, layers, experts], at least 0; 0 is marked apart */
    const char *legend;   /* what a value of 1 stands for, as "an even share" */
};

/* Draws it, as drawing_write does; 1 when everything is even is the middle of the colours. Returns
 * an exit code, after saying why. */
int heat_map_draw(const struct heat_map *map, const char *path);

#endif
