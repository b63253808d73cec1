/* The application: options, windows, what all of them share. */
#ifndef MOE_APPLICATION_H
#define MOE_APPLICATION_H

#include <gtk/gtk.h>

#include "settings.h"
#include "store.h"
#include "worker.h"

#define MOE_APPLICATION_ID "org.vkmoe.Desktop"
#define MOE_RESOURCES "/org/vkmoe/Desktop/"

#define MOE_TYPE_APPLICATION (moe_application_get_type())
G_DECLARE_FINAL_TYPE(MoeApplication, moe_application, MOE, APPLICATION, GtkApplication)

MoeApplication *moe_application_new(void);

/* The one worker; owned by the application, there once it has started up. */
MoeWorker *moe_application_get_worker(MoeApplication *self);
/* All conversations, likewise. */
MoeStore *moe_application_get_store(MoeApplication *self);
/* What is remembered, likewise. */
MoeSettings *moe_application_get_settings(MoeApplication *self);

#endif
