/* The text of a conversation, and which token each of its characters came from. */
#ifndef MOE_TRANSCRIPT_H
#define MOE_TRANSCRIPT_H

#include <gtk/gtk.h>

#include "worker.h"

#define MOE_TYPE_TRANSCRIPT (moe_transcript_get_type())
/* Signal "token-selected" (int: position in the sequence, -1 for none): clicked, or reached with
 * the text cursor. */
G_DECLARE_FINAL_TYPE(MoeTranscript, moe_transcript, MOE, TRANSCRIPT, GtkWidget)

void moe_transcript_clear(MoeTranscript *self);
/* Whether who said what is written above each message; takes effect with the next clear. */
void moe_transcript_set_labelled(MoeTranscript *self, gboolean labelled);

/* Begins another message. */
void moe_transcript_add_message(MoeTranscript *self, vkmoe_chat_role role, const char *text);
/* Adds to the last message. */
void moe_transcript_append(MoeTranscript *self, const char *text);
/* Removes message `count` and those after it. */
void moe_transcript_truncate(MoeTranscript *self, guint count);
/* How many messages there are. */
guint moe_transcript_get_n_messages(MoeTranscript *self);

/* Says which characters tokens made. With `anew` those known before are forgotten. */
void moe_transcript_add_tokens(MoeTranscript *self, const MoeToken *tokens, guint count,
                               gboolean anew);
/* How many of them are known: one more than the last position. */
guint moe_transcript_get_n_tokens(MoeTranscript *self);
/* The characters a token made, to be freed; "" where it made none. */
char *moe_transcript_dup_token_text(MoeTranscript *self, int position);
/* Tints tokens: weights[i], 0 (none) to 1, is that of position first + i; others have none. */
void moe_transcript_tint(MoeTranscript *self, guint first, const float *weights, guint count);
/* The position of the selected token, or -1. */
int moe_transcript_get_selected(MoeTranscript *self);
/* Selects a token; -1: none. Emits "token-selected" if that is another one. */
void moe_transcript_select(MoeTranscript *self, int position);

/* All of the text, to be freed. */
char *moe_transcript_get_text(MoeTranscript *self);
/* The text view, for its menus and for tests. */
GtkTextView *moe_transcript_get_view(MoeTranscript *self);

#endif
