/* A bar made of segments: memory and what takes it, time and how much of it was needed. */
#ifndef MOE_BAR_H
#define MOE_BAR_H

#include <gtk/gtk.h>

#define MOE_TYPE_BAR (moe_bar_get_type())
G_DECLARE_FINAL_TYPE(MoeBar, moe_bar, MOE, BAR, GtkWidget)

/* Colours, which people who see few of them tell apart by lightness, and hatching besides. */
typedef enum MoeInk {
    MOE_INK_WEIGHTS, /* dark blue */
    MOE_INK_KV,      /* orange */
    MOE_INK_SCRATCH, /* green */
    MOE_INK_OTHERS,  /* grey, hatched */
    MOE_INK_FREE,    /* hardly there */
    MOE_INK_TIME,    /* light blue */
    MOE_INK_NEEDED,  /* dark blue */
    MOE_INK_COUNT    /* how many there are */
} MoeInk;

typedef struct MoeBarSegment {
    double value; /* in the unit of the bar's length */
    MoeInk ink;
} MoeBarSegment;

GtkWidget *moe_bar_new(void);
/* Segments from the start on, along a bar that is `length` long. What lies beyond `limit` is marked
 * as too much; 0: there is no limit. At most MOE_INK_COUNT segments. */
void moe_bar_set(MoeBar *self, const MoeBarSegment *segments, guint count, double length,
                 double limit);

/* A patch of a colour, for a legend. */
GtkWidget *moe_bar_patch_new(MoeInk ink);

#endif
