/* What the parts of a window share. */
#ifndef MOE_WINDOW_PRIVATE_H
#define MOE_WINDOW_PRIVATE_H

#include "composer.h"
#include "conversation.h"
#include "load_bar.h"
#include "sampler.h"
#include "store.h"
#include "window.h"

struct _MoeWindow {
    GtkApplicationWindow parent;
    GtkMenuButton *title_button;
    GtkLabel *model_label, *device_label, *rate, *notice_label, *welcome;
    GtkInfoBar *notice;
    GtkWidget *retry, *reference, *side, *rename_button;
    GtkRevealer *sidebar;
    GtkListView *list;
    GtkPaned *paned;
    MoeLoadBar *load_bar;
    GtkStack *pages;
    MoeTranscript *transcript;
    MoeComposer *composer;

    MoeApplication *application; /* not owned: it outlives its windows */
    MoeWorker *worker;
    MoeStore *store;
    MoeSampler *sampler;
    GtkSingleSelection *selection; /* of the store's list */
    MoeConversation *conversation; /* never NULL; listed once it has a message */
    guint run;                     /* that adds to the last message; 0: none */
    gboolean stopping;             /* it was asked to end */
    gint64 saved;                  /* when the conversation was written last, during a run */
    GtkWidget *popover;            /* that asks something; NULL: none */
    gboolean suggested;            /* a first prompt, once */
    gboolean busy_switching;       /* between conversations: nobody chose one */
    MoeRoutingFunc *routing;       /* NULL: as trained */
    gpointer routing_data;
};

/* --- window_run.c: generating --- */

void moe_window_install_run_actions(GtkWidgetClass *widget);
void moe_window_connect_worker(MoeWindow *self);
/* Ends the run, keeping what came. */
void moe_window_end_run(MoeWindow *self);
/* The first prompt that was suggested goes, where it still stands. */
void moe_window_withdraw_prompt(MoeWindow *self);
/* Enables what can be done now. */
void moe_window_update_actions(MoeWindow *self);

/* --- window_conversations.c: switching between them --- */

void moe_window_install_conversation_actions(GtkWidgetClass *widget);
void moe_window_init_conversations(MoeWindow *self);
/* Shows another conversation; takes the reference. */
void moe_window_show_conversation(MoeWindow *self, MoeConversation *conversation);
/* Ends what is being asked. */
void moe_window_drop_popover(MoeWindow *self);
/* Writes the conversation, if there is anything in it, and selects it in the list. */
void moe_window_save(MoeWindow *self);

/* --- window.c --- */

/* Shows the invitation where there is no text. */
void moe_window_update_welcome(MoeWindow *self);

#endif
