/* All conversations, kept as files of a folder: read when it is made, written whole or not at all,
 * by a thread of its own. */
#ifndef MOE_STORE_H
#define MOE_STORE_H

#include <gio/gio.h>

#include "conversation.h"

#define MOE_TYPE_STORE (moe_store_get_type())
/* Signal "failed" (string): one sentence about a file that could not be read, written or removed.
 */
G_DECLARE_FINAL_TYPE(MoeStore, moe_store, MOE, STORE, GObject)

/* folder: NULL for the user's; it need not be there. */
MoeStore *moe_store_new(const char *folder);

/* Of MoeConversation, the newest first; owned by the store. It fills after the store was made. */
GListModel *moe_store_get_list(MoeStore *self);
/* Writes it as it is now; one that is not listed yet becomes the first. */
void moe_store_save(MoeStore *self, MoeConversation *conversation);
/* Removes it from list and folder. */
void moe_store_remove(MoeStore *self, MoeConversation *conversation);
/* Waits until all is written. */
void moe_store_flush(MoeStore *self);

#endif
