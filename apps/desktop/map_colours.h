/* The colours of the map, light and dark: scales whose lightness alone orders them, and a blue and
 * an orange that everybody can tell apart. No display. */
#ifndef MOE_MAP_COLOURS_H
#define MOE_MAP_COLOURS_H

#include <glib.h>

G_BEGIN_DECLS

/* sRGB, opaque, 0xffRRGGBB. */
typedef guint32 MoeColour;

#define MOE_SCALE_STOPS 5

typedef struct {
    MoeColour back;                  /* what the map lies on */
    MoeColour load[MOE_SCALE_STOPS]; /* from no use to four times an even share */
    MoeColour gate[MOE_SCALE_STOPS]; /* from nothing to the largest gate */
    MoeColour glow;                  /* what is chosen right now, */
    MoeColour ember;                 /* and what it fades to */
    MoeColour ink, soft;             /* marks and text, and what explains it */
    MoeColour off;                   /* below the hatching of experts that are off */
} MoePalette;

/* Loads beyond look like this one, in even shares. */
#define MOE_LOAD_MOST 4.0

/* Static. */
const MoePalette *moe_palette(gboolean dark);
/* A load in even shares, at least 0; square roots make small ones visible. */
MoeColour moe_palette_load(const MoePalette *self, double shares);
/* A gate over the largest, 0 to 1. */
MoeColour moe_palette_gate(const MoePalette *self, double gate);
/* What glows on top of a load: it passes through the colour of embers, as blue and orange mix to
 * mud. */
MoeColour moe_palette_glow(const MoePalette *self, MoeColour load, double glow);
/* From a to b, t from 0 to 1. */
MoeColour moe_colour_mix(MoeColour a, MoeColour b, double t);
/* Components from 0 to 1. */
void moe_colour_parts(MoeColour colour, double parts[3]);
/* Relative luminance as WCAG defines it, 0 to 1. */
double moe_colour_luminance(MoeColour colour);

G_END_DECLS

#endif
