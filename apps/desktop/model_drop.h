/* Models that are dropped on a widget: folders and GGUF files, from this computer. */
#ifndef MOE_MODEL_DROP_H
#define MOE_MODEL_DROP_H

#include <gtk/gtk.h>

/* What becomes of a dropped file; the widget is the one it was dropped on. */
typedef struct MoeModelDrop {
    void (*choose)(GtkWidget *widget, const char *path);
    void (*refuse)(GtkWidget *widget, const char *sentence); /* it cannot be a model, and why */
} MoeModelDrop;

/* Takes files that are dropped anywhere on `widget`, also on what is inside it. `drop` outlives the
 * widget. */
void moe_model_drop_add(GtkWidget *widget, const MoeModelDrop *drop);

/* Whether a dropped or given file can be a model by its name and kind: a folder, or *.gguf. */
gboolean moe_model_drop_accepts(GFile *file);

#endif
