/* Conversations that /save wrote into the folder of the running test. */
#ifndef VKM_TEST_SAVED_H
#define VKM_TEST_SAVED_H

#include <jansson.h>
#include <stddef.h>

/* The messages of the file; released by the caller. */
json_t *saved(const char *name);

/* What a message says, and who says it; both belong to the list. */
const char *saved_content(const json_t *list, size_t index);
const char *saved_role(const json_t *list, size_t index);

#endif
