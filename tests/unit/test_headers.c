/* The public headers, each compiled alone as C and as C++, and what the shared library exports. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define HEADERS VKMOE_SOURCE "/include/vkmoe"
#define MAX_NAMES 256

struct names {
    char items[MAX_NAMES][96];
    size_t count;
};

static bool has(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

static void add(struct names *names, const char *name, size_t length)
{
    char copy[sizeof(names->items[0])];
    assert_true(length < sizeof(copy));
    snprintf(copy, sizeof(copy), "%.*s", (int)length, name);
    if (has(names, copy))
        return;
    assert_true(names->count < MAX_NAMES);
    memcpy(names->items[names->count++], copy, sizeof(copy));
}

static void list_headers(struct names *headers)
{
    DIR *dir = opendir(HEADERS);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t n = strlen(entry->d_name);
        if (n > 2 && strcmp(entry->d_name + n - 2, ".h") == 0)
            add(headers, entry->d_name, n);
    }
    closedir(dir);
    assert_in_range(headers->count, 5, MAX_NAMES);
}

/* Compiles a unit that includes the header twice, and nothing else. */
static bool compiles(const char *compiler, const char *language, const char *standard,
                     const char *header)
{
    char command[4096];
    snprintf(command, sizeof(command),
             "'%s' -x %s -std=%s -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror "
             "-fsyntax-only -I'%s/include' -",
             compiler, language, standard, VKMOE_SOURCE);
    FILE *unit = popen(command, "w");
    assert_non_null(unit);
    fprintf(unit, "#include \"vkmoe/%s\"\n#include \"vkmoe/%s\"\nextern int unused_%s;\n", header,
            header, language[1] ? "cxx" : "c");
    return pclose(unit) == 0;
}

static void check_headers(const char *compiler, const char *language, const char *standard)
{
    static struct names headers;
    headers.count = 0;
    list_headers(&headers);
    for (size_t i = 0; i < headers.count; i++)
        if (!compiles(compiler, language, standard, headers.items[i]))
            fail_msg("vkmoe/%s does not compile alone as %s", headers.items[i], standard);
}

static void each_header_compiles_alone_as_c11(void **state)
{
    (void)state;
    check_headers(VKMOE_CC, "c", "c11");
}

static void each_header_compiles_alone_as_cxx17(void **state)
{
    (void)state;
    if (VKMOE_CXX[0] == '\0')
        skip();
    check_headers(VKMOE_CXX, "c++", "c++17");
}

static void what_does_not_compile_is_noticed(void **state)
{
    (void)state;
    assert_false(compiles(VKMOE_CC, "c", "c11", "no_such_header.h"));
    if (VKMOE_CXX[0])
        assert_false(compiles(VKMOE_CXX, "c++", "c++17", "no_such_header.h"));
}

static void the_umbrella_header_includes_every_other(void **state)
{
    (void)state;
    static struct names headers;
    char text[4096];
    FILE *file = fopen(HEADERS "/vkmoe.h", "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    list_headers(&headers);
    for (size_t i = 0; i < headers.count; i++) {
        char line[128];
        snprintf(line, sizeof(line), "#include \"vkmoe/%s\"", headers.items[i]);
        if (strcmp(headers.items[i], "vkmoe.h") != 0 && !strstr(text, line))
            fail_msg("vkmoe.h lacks %s", line);
    }
}

/* --- exports --- */

/* Reads a whole header with comments blanked out. */
static char *read_code(const char *header)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", HEADERS, header);
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    assert_non_null(file);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    for (char *c = strstr(text, "/*"); c; c = strstr(c, "/*")) {
        char *end = strstr(c, "*/");
        assert_non_null(end);
        memset(c, ' ', (size_t)(end + 2 - c));
    }
    return text;
}

/* The functions that a header declares: vkmoe_NAME(. */
static void add_declared(struct names *declared, const char *header)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    char *text = read_code(header);
    for (char *c = strstr(text, "vkmoe_"); c; c = strstr(c, "vkmoe_")) {
        size_t n = strspn(c, letters);
        if (c[n] == '(' && (c == text || !strchr(letters, c[-1])))
            add(declared, c, n);
        c += n;
    }
    free(text);
}

static void the_library_exports_the_declared_functions_alone(void **state)
{
    (void)state;
    static struct names headers, declared, exported;
    list_headers(&headers);
    for (size_t i = 0; i < headers.count; i++)
        add_declared(&declared, headers.items[i]);
    assert_true(declared.count > 20);

    FILE *symbols = popen("'" VKMOE_NM "' -D --defined-only -P '" VKMOE_LIBRARY "'", "r");
    char line[512];
    assert_non_null(symbols);
    while (fgets(line, sizeof(line), symbols)) {
        size_t n = strcspn(line, " @\n");
        add(&exported, line, n);
        if (strncmp(line, "vkmoe_", 6) != 0)
            fail_msg("the library exports %.*s", (int)n, line);
    }
    assert_int_equal(pclose(symbols), 0);

    for (size_t i = 0; i < exported.count; i++)
        if (!has(&declared, exported.items[i]))
            fail_msg("no header declares %s", exported.items[i]);
    for (size_t i = 0; i < declared.count; i++)
        if (!has(&exported, declared.items[i]))
            fail_msg("the library lacks %s", declared.items[i]);
    print_message("%zu functions\n", exported.count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_header_compiles_alone_as_c11),
        cmocka_unit_test(each_header_compiles_alone_as_cxx17),
        cmocka_unit_test(what_does_not_compile_is_noticed),
        cmocka_unit_test(the_umbrella_header_includes_every_other),
        cmocka_unit_test(the_library_exports_the_declared_functions_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
