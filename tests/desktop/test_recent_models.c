/* The list of recent models and the file it is kept in; no display. */
#include <string.h>

#include "recent_models.h"
#include "support.h"

static MoeRecentModels *open_list(void)
{
    return moe_recent_models_new(test_folder_path("recent"));
}

static void add(MoeRecentModels *list, const char *path, guint32 context)
{
    g_autoptr(GError) error = NULL;
    const MoeOpenParams params = {.model = (char *)(uintptr_t)path, .context = context};
    assert_true(moe_recent_models_add(list, &params, &error));
    assert_null(error);
}

static guint count(MoeRecentModels *list)
{
    return g_list_model_get_n_items(G_LIST_MODEL(list));
}

/* Path of the model at a position; to be freed. */
static char *path_at(MoeRecentModels *list, guint position)
{
    g_autoptr(MoeRecentModel) model = g_list_model_get_item(G_LIST_MODEL(list), position);
    assert_non_null(model);
    return g_strdup(moe_recent_model_params(model)->model);
}

static void assert_path(MoeRecentModels *list, guint position, const char *path)
{
    g_autofree char *found = path_at(list, position);
    assert_string_equal(found, path);
}

static void the_newest_comes_first_and_each_once(void **state)
{
    g_autoptr(MoeRecentModels) list = open_list();
    (void)state;
    add(list, "/models/a", 0);
    add(list, "/models/b", 0);
    add(list, "/models/./a", 512);
    assert_int_equal(count(list), 2);
    assert_path(list, 0, "/models/a");
    assert_path(list, 1, "/models/b");
    const MoeOpenParams same = {.model = (char[]){"/models/a"}, .context = 512};
    const MoeOpenParams other = {.model = (char[]){"/models/a"}, .context = 1024};
    assert_true(moe_recent_models_has_newest(list, &same));
    assert_false(moe_recent_models_has_newest(list, &other));
}

static void the_oldest_make_room(void **state)
{
    g_autoptr(MoeRecentModels) list = open_list();
    (void)state;
    for (guint i = 0; i < MOE_RECENT_MODELS_MOST + 3; i++) {
        g_autofree char *path = g_strdup_printf("/models/%u", i);
        add(list, path, 0);
    }
    assert_int_equal(count(list), MOE_RECENT_MODELS_MOST);
    assert_path(list, MOE_RECENT_MODELS_MOST - 1, "/models/3");
}

static void what_was_chosen_is_there_again_after_a_restart(void **state)
{
    MoeRecentModels *list = open_list();
    MoeOpenParams params = {.model = (char[]){"/models/odd \xff name"},
                            .device = (char[]){"1"},
                            .context = 2048,
                            .weights = VKMOE_WEIGHTS_Q4,
                            .kv = VKMOE_KV_Q8};
    (void)state;
    assert_true(moe_recent_models_add(list, &params, NULL));
    g_object_unref(list);
    list = open_list();
    assert_int_equal(count(list), 1);
    g_autoptr(MoeRecentModel) model = g_list_model_get_item(G_LIST_MODEL(list), 0);
    const MoeOpenParams *found = moe_recent_model_params(model);
    assert_string_equal(found->model, params.model);
    assert_null(found->device); /* devices come and go */
    assert_int_equal(found->context, 2048);
    assert_int_equal(found->weights, VKMOE_WEIGHTS_Q4);
    assert_int_equal(found->kv, VKMOE_KV_Q8);
    assert_true(g_utf8_validate(moe_recent_model_name(model), -1, NULL));
    assert_string_equal(moe_recent_model_place(model), "/models");
    g_object_unref(list);
}

static void a_model_can_be_forgotten(void **state)
{
    MoeRecentModels *list = open_list();
    (void)state;
    add(list, "/models/a", 0);
    add(list, "/models/b", 0);
    assert_true(moe_recent_models_remove(list, "/models/b", NULL));
    g_object_unref(list);
    list = open_list();
    assert_int_equal(count(list), 1);
    assert_path(list, 0, "/models/a");
    g_object_unref(list);
}

static void a_damaged_file_is_read_as_far_as_it_makes_sense(void **state)
{
    static const char *const texts[] = {
        "",
        "[",
        "no key file\n",
        "[1]\nuri=relative\n",
        "[1]\nweights=2\n",
        "[1]\nuri=https://example.org/model\n",
    };
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        test_folder_write_text("recent", texts[i]);
        g_autoptr(MoeRecentModels) list = open_list();
        assert_int_equal(count(list), 0);
    }
    test_folder_write_text("recent",
                           "[1]\nuri=file:///models/a\nweights=77\nkv=-1\ncontext=99999999999\n");
    g_autoptr(MoeRecentModels) list = open_list();
    g_autoptr(MoeRecentModel) model = g_list_model_get_item(G_LIST_MODEL(list), 0);
    assert_non_null(model);
    assert_int_equal(moe_recent_model_params(model)->weights, VKMOE_WEIGHTS_STORED);
    assert_int_equal(moe_recent_model_params(model)->kv, VKMOE_KV_F32);
    assert_int_equal(moe_recent_model_params(model)->context, 0);
}

static void a_folder_that_cannot_be_written_is_one_sentence(void **state)
{
    g_autoptr(GError) error = NULL;
    (void)state;
    test_folder_write_text("file", "in the way of a folder");
    g_autofree char *path = g_strdup(test_folder_path("file/recent"));
    g_autoptr(MoeRecentModels) list = moe_recent_models_new(path);
    const MoeOpenParams params = {.model = (char[]){"/models/a"}};
    assert_false(moe_recent_models_add(list, &params, &error));
    assert_non_null(error);
    assert_null(strchr(error->message, '\n'));
    assert_int_equal(count(list), 1); /* for as long as the program runs */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FOLDER(the_newest_comes_first_and_each_once),
        TEST_IN_FOLDER(the_oldest_make_room),
        TEST_IN_FOLDER(what_was_chosen_is_there_again_after_a_restart),
        TEST_IN_FOLDER(a_model_can_be_forgotten),
        TEST_IN_FOLDER(a_damaged_file_is_read_as_far_as_it_makes_sense),
        TEST_IN_FOLDER(a_folder_that_cannot_be_written_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
