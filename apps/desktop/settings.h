/* What is remembered from one start to the next: integers and texts in a file of the user's. */
#ifndef MOE_SETTINGS_H
#define MOE_SETTINGS_H

#include <glib.h>

typedef struct MoeSettings MoeSettings;

/* path: NULL for the user's file. What is not there, or cannot be read, is as if it were empty. */
MoeSettings *moe_settings_new(const char *path);
void moe_settings_free(MoeSettings *self); /* accepts NULL; saves nothing */

int moe_settings_get_int(MoeSettings *self, const char *key, int otherwise);
void moe_settings_set_int(MoeSettings *self, const char *key, int value);
/* NULL where there is none; to be freed. */
char *moe_settings_get_text(MoeSettings *self, const char *key);
void moe_settings_set_text(MoeSettings *self, const char *key, const char *value);
/* Writes all, whole or not at all. Nobody is told if that is not possible: nothing is lost. */
void moe_settings_save(MoeSettings *self);

#endif
