/* Maps of the experts: a row for each MoE layer, or for what has a name, a column for each expert.
 */
#ifndef VKMOE_CLI_HEAT_MAP_H
#define VKMOE_CLI_HEAT_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct heat_map {
    const char *title, *subtitle; /* UTF-8 */
    uint32_t layers, experts;     /* of each panel: rows and columns */
    const char *const *rows;      /* [layers] their names; NULL: MoE layers by number */
    uint32_t panels;              /* below one another, with a name each (NULL: none) */
    const char *const *names;
    /* [panels, layers, experts]. Where `most` is 0: at least 0, 1 being the middle of the colours;
     * 0 is marked apart. Else: from -most to most; 0 is marked apart, NaN is empty. */
    const double *values;
    double most;
    bool linear; /* colours go by the value, else by its root, which shows small ones better */
    const char *legend; /* what the colours stand for, as "shares of an even load" */
};

/* Draws it, as drawing_write does. Returns an exit code, after saying why. */
int heat_map_draw(const struct heat_map *map, const char *path);

#endif
