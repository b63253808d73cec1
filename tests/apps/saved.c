#include "saved.h"

#include "support.h"

json_t *saved(const char *name)
{
    json_t *root = json_load_file(test_folder_path(name), 0, NULL);
    assert_non_null(root);
    json_t *list = json_incref(json_object_get(root, "messages"));
    json_decref(root);
    assert_non_null(list);
    return list;
}

static const char *text_of(const json_t *list, size_t index, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(list, index), key));
    assert_non_null(text);
    return text;
}

const char *saved_content(const json_t *list, size_t index)
{
    return text_of(list, index, "content");
}

const char *saved_role(const json_t *list, size_t index)
{
    return text_of(list, index, "role");
}
