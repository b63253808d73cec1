#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void count_line(void *user, vkmoe_log_level level, const char *line)
{
    struct test_log *t = user;
    if (level == VKMOE_LOG_ERROR) {
        t->errors++;
        fprintf(stderr, "%s\n", line);
    }
    if (level == VKMOE_LOG_WARNING) {
        t->warnings++;
        snprintf(t->warning, sizeof(t->warning), "%s", line);
    }
}

void test_log_init(struct test_log *t)
{
    memset(t, 0, sizeof(*t));
    t->log = (vkmoe_log){.write = count_line, .user = t};
}

void test_assert_ok(vkmoe_status status, const vkmoe_error *err, const char *expression,
                    const char *file, int line)
{
    if (status == VKMOE_OK)
        return;
    print_error("%s: %s\n", expression, err->message);
    _fail(file, line);
}

void test_assert_fails(vkmoe_status status, const vkmoe_error *err, vkmoe_status expected,
                       const char *part)
{
    if (status != expected)
        print_error("status %d (%s), expected %d: %s\n", (int)status, vkmoe_status_text(status),
                    (int)expected, status == VKMOE_OK ? "" : err->message);
    assert_int_equal(status, expected);
    if (!strstr(err->message, part))
        print_error("'%s' is not in: %s\n", part, err->message);
    assert_non_null(strstr(err->message, part));
    assert_null(strchr(err->message, '\n'));
}

char *test_folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/vkmoe-test-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return strdup(path);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

void test_folder_remove(char *folder)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}
