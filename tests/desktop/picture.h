/* Pictures of windows, to be looked at. */
#ifndef TEST_PICTURE_H
#define TEST_PICTURE_H

#include <stdbool.h>

#include <gtk/gtk.h>

/* Draws a window, once it is on the display, into NAME.png of the folder in
 * VKMOE_TEST_SCREENSHOTS, if that is set; fails the test if next to nothing is drawn. */
void picture_take(GtkWidget *window, bool dark, const char *name);

#endif
