#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool test_is_brief(void)
{
    const char *text = getenv("VKMOE_TEST_BRIEF");
    return text && text[0] != '\0';
}
