/* A window: transcript and composer, and beside them pages that show what the model does. */
#ifndef MOE_WINDOW_H
#define MOE_WINDOW_H

#include "application.h"
#include "sampler.h"
#include "transcript.h"

#define MOE_TYPE_WINDOW (moe_window_get_type())
/* Signal "cleared": another conversation is shown, whose tokens are not known yet. */
G_DECLARE_FINAL_TYPE(MoeWindow, moe_window, MOE, WINDOW, GtkApplicationWindow)

MoeWindow *moe_window_new(MoeApplication *application);

MoeWorker *moe_window_get_worker(MoeWindow *self);
MoeTranscript *moe_window_get_transcript(MoeWindow *self);
MoeSampler *moe_window_get_sampler(MoeWindow *self);
/* Adds a page to the right-hand side; the first one shows it. Title as on its tab. */
void moe_window_add_page(MoeWindow *self, GtkWidget *page, const char *name, const char *title);
/* What the button with the names of model and device opens. */
void moe_window_set_device_popover(MoeWindow *self, GtkWidget *popover);
/* Shows one sentence; with `again`, a button that opens the model once more beside it. */
void moe_window_show_error(MoeWindow *self, const char *sentence, gboolean again);
void moe_window_hide_error(MoeWindow *self);

/* Asked before every run of the window's own how to route; *out is zero before. What it points to
 * stays valid until the call that asked returns. */
typedef void MoeRoutingFunc(MoeRouting *out, gpointer data);
void moe_window_set_routing(MoeWindow *self, MoeRoutingFunc *func, gpointer data);

/* What pressing Run would generate now, without touching the conversation: its messages and the
 * text that is typed, or the last prompt where none is. The caller unrefs the messages; routing is
 * as trained. FALSE if there is nothing to run. */
gboolean moe_window_get_run(MoeWindow *self, MoeGenerateParams *out);
/* The conversation as it is shown, to be routed; likewise. FALSE if it is empty. */
gboolean moe_window_get_text(MoeWindow *self, MoeGenerateParams *out);
/* Writes the conversation to a file, as JSON where that is asked for or its name ends in .json, else
 * as text. What was there before stays until that is whole. Returns before it is written; what fails
 * is shown in the window. */
void moe_window_export(MoeWindow *self, GFile *file, gboolean json);
/* The run that adds to the transcript; 0: none. */
guint moe_window_get_current_run(MoeWindow *self);

#endif
