#include "page.h"

#include "support.h"

#include <stdio.h>
#include <string.h>

void page_assert_well_formed(const char *html)
{
    char open[32][16];
    size_t depth = 0;
    for (const char *p = strchr(html, '\n'); p && (p = strpbrk(p, "<&")); p++) {
        if (*p == '&') {
            assert_true(strncmp(p, "&lt;", 4) == 0 || strncmp(p, "&gt;", 4) == 0 ||
                        strncmp(p, "&amp;", 5) == 0 || strncmp(p, "&quot;", 6) == 0);
            continue;
        }
        const char *end = strchr(p, '>'), *name = p + 1 + (p[1] == '/');
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        size_t quotes = 0;
        assert_non_null(end);
        assert_true(n > 0 && n < sizeof(open[0]));
        for (const char *q = p; q < end; q++)
            quotes += *q == '"';
        assert_int_equal(quotes % 2, 0);
        if (p[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_true(strlen(open[depth]) == n && strncmp(open[depth], name, n) == 0);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            snprintf(open[depth++], sizeof(open[0]), "%.*s", (int)n, name);
        }
    }
    assert_int_equal(depth, 0);
}

void page_assert_links_open_details(const char *page)
{
    size_t links = 0;
    for (const char *p = page; (p = strstr(p, "href=\"#")); links++) {
        char id[64];
        const char *end = strchr(p += strlen("href=\"#"), '"');
        snprintf(id, sizeof(id), " id=\"%.*s\"", (int)(end - p), p);
        const char *target = strstr(page, id), *details = NULL, *closed = NULL;
        assert_non_null(target);
        for (const char *q = page; (q = strstr(q, "<details")) && q < target; q++)
            details = q;
        assert_non_null(details);
        closed = strstr(details, "</summary>");
        assert_true(closed && closed < target && target < strstr(details, "</details>"));
    }
    assert_true(links > 0);
}

size_t text_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}
