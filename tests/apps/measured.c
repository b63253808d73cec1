#include "measured.h"

static struct golden golden;

const struct golden_document *measured_document(void)
{
    return &golden.held[1].documents[0];
}

const struct golden *measured_golden(void)
{
    return &golden;
}

int measured_setup(void **state)
{
    (void)state;
    golden_load(&golden);
    return 0;
}

int measured_teardown(void **state)
{
    (void)state;
    golden_free(&golden);
    return 0;
}

json_t *measured_json(struct test_process *p)
{
    test_process_assert_code(p, 0);
    json_t *root = json_loads(p->out, 0, NULL);
    assert_non_null(root);
    test_process_free(p);
    return root;
}

double measured_number(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}
