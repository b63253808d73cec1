/* A window: transcript and composer, and beside them pages that show what the model does. */
#ifndef MOE_WINDOW_H
#define MOE_WINDOW_H

#include "application.h"
#include "transcript.h"

#define MOE_TYPE_WINDOW (moe_window_get_type())
G_DECLARE_FINAL_TYPE(MoeWindow, moe_window, MOE, WINDOW, GtkApplicationWindow)

MoeWindow *moe_window_new(MoeApplication *application);

MoeWorker *moe_window_get_worker(MoeWindow *self);
MoeTranscript *moe_window_get_transcript(MoeWindow *self);
/* Adds a page to the right-hand side; the first one shows it. Title as on its tab. */
void moe_window_add_page(MoeWindow *self, GtkWidget *page, const char *name, const char *title);
/* What the button with the names of model and device opens. */
void moe_window_set_device_popover(MoeWindow *self, GtkWidget *popover);
/* Shows one sentence; with `again`, a button that opens the model once more beside it. */
void moe_window_show_error(MoeWindow *self, const char *sentence, gboolean again);

#endif
