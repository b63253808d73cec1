/* What --paths may say, and how it is refused. */
#include "support.h"

#include "gpu/paths.h"

static void wishes_are_read(void **state)
{
    enum vkm_wish w[VKM_PATH_COUNT];
    vkmoe_error err;
    (void)state;
    assert_ok(vkm_paths_parse("-subgroup,+int8", w, &err), &err);
    assert_int_equal(w[VKM_PATH_BASE], VKM_WISH_NONE);
    assert_int_equal(w[VKM_PATH_SUBGROUP], VKM_WISH_OFF);
    assert_int_equal(w[VKM_PATH_INT8], VKM_WISH_ON);
    assert_ok(vkm_paths_parse("++int8", w, &err), &err);
    assert_int_equal(w[VKM_PATH_SUBGROUP], VKM_WISH_NONE);
    assert_int_equal(w[VKM_PATH_INT8], VKM_WISH_FORCE);
}

static void the_last_word_on_a_path_counts(void **state)
{
    enum vkm_wish w[VKM_PATH_COUNT];
    vkmoe_error err;
    (void)state;
    assert_ok(vkm_paths_parse("+int8,-int8", w, &err), &err);
    assert_int_equal(w[VKM_PATH_INT8], VKM_WISH_OFF);
}

static void nothing_wishes_nothing(void **state)
{
    static const char *const texts[] = {NULL, ""};
    (void)state;
    for (size_t t = 0; t < VKM_COUNT(texts); t++) {
        enum vkm_wish w[VKM_PATH_COUNT];
        vkmoe_error err;
        assert_ok(vkm_paths_parse(texts[t], w, &err), &err);
        for (uint32_t i = 0; i < VKM_PATH_COUNT; i++)
            assert_int_equal(w[i], VKM_WISH_NONE);
    }
}

static void what_cannot_be_read_is_said(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"int8", "found 'int8', expected -NAME, +NAME or ++NAME"},
        {"+int8,", "found '', expected"},
        {",+int8", "found '', expected"},
        {"+int", "there is no 'int', expected one of base, subgroup, wide, fp16, int8"},
        {"+int88", "there is no 'int88'"},
        {"+INT8", "there is no 'INT8'"},
        {"+ int8", "there is no ' int8'"},
        {"--int8", "there is no '-int8'"},
        {"+++int8", "there is no '+int8'"},
        {"+", "there is no ''"},
        {"-base", "found -base, which is what runs where no other path does"},
    };
    (void)state;
    for (size_t i = 0; i < VKM_COUNT(cases); i++) {
        enum vkm_wish w[VKM_PATH_COUNT];
        vkmoe_error err;
        test_assert_fails(vkm_paths_parse(cases[i].text, w, &err), &err, VKMOE_INVALID_ARGUMENT,
                          cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wishes_are_read),
        cmocka_unit_test(the_last_word_on_a_path_counts),
        cmocka_unit_test(nothing_wishes_nothing),
        cmocka_unit_test(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
