/* Folders and files of tests. */
#ifndef VKM_TEST_FOLDER_H
#define VKM_TEST_FOLDER_H

#include <stddef.h>

/* A new empty folder below $TMPDIR; removed, with what is in it, by test_folder_remove (which frees
 * the string). */
char *test_folder_make(void);
void test_folder_remove(char *folder);

/* How many entries it has, but for those whose names begin with a dot. */
size_t test_folder_count(const char *folder);

/* The whole of a file, zero-terminated, to be freed. */
void *test_file_read(const char *path, size_t *size);
void test_file_write(const char *path, const void *bytes, size_t size);

/* --- the folder of the running test --- */

/* A test that has an empty folder of its own. */
#define TEST_IN_FOLDER(function)                                                                   \
    cmocka_unit_test_setup_teardown((function), test_folder_setup, test_folder_teardown)
int test_folder_setup(void **state);
int test_folder_teardown(void **state);

const char *test_folder(void);
/* FOLDER/name, in one of a few static buffers. */
const char *test_folder_path(const char *name);
void test_folder_write(const char *name, const void *bytes, size_t size);
void test_folder_write_text(const char *name, const char *text);

#endif
