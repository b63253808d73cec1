#include "opened.h"

void test_open(struct test_opened *o, const vkmoe_device_params *device, const char *model,
               uint32_t chunk)
{
    vkmoe_error err;
    vkmoe_device_params params = *device;
    const vkmoe_session_params session = {.chunk = chunk};
    test_log_init(&o->log);
    params.log = &o->log.log;
    assert_ok(vkmoe_device_open(&params, &o->device, &err), &err);
    assert_ok(vkmoe_model_load(o->device, model, NULL, &o->model, &err), &err);
    assert_ok(vkmoe_session_create(o->model, &session, &o->session, &err), &err);
}

void test_close(struct test_opened *o)
{
    vkmoe_session_destroy(o->session);
    vkmoe_model_destroy(o->model);
    vkmoe_device_close(o->device);
    assert_int_equal(o->log.errors, 0);
}
