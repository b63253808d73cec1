/* Cuts in the long lines of a text view. GTK lays a paragraph out as a whole whenever it grows,
 * which takes tens of milliseconds where a text has thousands of characters without a line end. So
 * a long one is cut where it was wrapped anyway, by a line end that is hidden: it is not seen, and
 * whoever copies or reads the visible text does not get it. Offsets in the text do not count cuts;
 * those in the buffer do. Main thread. */
#ifndef MOE_CUTS_H
#define MOE_CUTS_H

#include <gtk/gtk.h>

/* The cuts of one view. */
typedef struct MoeCuts {
    GtkTextView *view; /* not owned */
    GtkTextBuffer *buffer;
    GtkTextTag *hidden;
    GArray *at;        /* int: offsets in the text, ascending, of the characters that follow cuts */
    guint next;        /* cut to be moved */
    guint idle;        /* that does so; 0: none */
    gboolean changing; /* the buffer: the cursor moves by itself */
} MoeCuts;

/* For a view that is empty, wraps, cannot be edited, and has its paragraphs as far apart as lines.
 * moe_cuts_clear before the view goes. */
void moe_cuts_init(MoeCuts *cuts, GtkTextView *view);
void moe_cuts_clear(MoeCuts *cuts);

/* Where a character of the text is in the buffer, and back. */
int moe_cuts_to_buffer(const MoeCuts *cuts, int offset);
int moe_cuts_to_text(const MoeCuts *cuts, int offset);
/* Characters of the text. */
int moe_cuts_get_length(const MoeCuts *cuts);

/* Sees to lines that became too long when text was added after the first `from` characters. */
void moe_cuts_add(MoeCuts *cuts, int from);
/* Forgets the cuts after the first `length` characters, whose line ends go with the text. */
void moe_cuts_truncate(MoeCuts *cuts, int length);
/* The width changed, and with it where lines are wrapped: moves the cuts there, bit by bit. */
void moe_cuts_wrap(MoeCuts *cuts);

#endif
