/* Where a prompt is typed: a text with undo, the mode, sampling, run and stop. Its buttons trigger
 * the window's actions win.run and win.stop. */
#ifndef MOE_COMPOSER_H
#define MOE_COMPOSER_H

#include <gtk/gtk.h>

#define MOE_TYPE_COMPOSER (moe_composer_get_type())
/* Property "chat" (boolean): messages of a conversation are typed, not a text to be continued;
 * then Enter runs, and Shift+Enter begins a line. */
G_DECLARE_FINAL_TYPE(MoeComposer, moe_composer, MOE, COMPOSER, GtkWidget)

/* What is typed, to be freed. */
char *moe_composer_get_text(MoeComposer *self);
/* Replaces it, which can be undone. */
void moe_composer_set_text(MoeComposer *self, const char *text);
gboolean moe_composer_get_chat(MoeComposer *self);
void moe_composer_set_chat(MoeComposer *self, gboolean chat);
/* Whether text is being generated: shows the stop button. */
void moe_composer_set_busy(MoeComposer *self, gboolean busy);
/* A line below the buttons. */
void moe_composer_set_hint(MoeComposer *self, const char *hint);
const char *moe_composer_get_hint(MoeComposer *self);
/* What the sampling button opens; may be NULL. */
void moe_composer_set_popover(MoeComposer *self, GtkWidget *popover);
/* The text view, to be focused. */
GtkWidget *moe_composer_get_view(MoeComposer *self);

#endif
