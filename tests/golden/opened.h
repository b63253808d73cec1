/* A device, a model on it and a session of it, opened to be compared with golden files. */
#ifndef VKM_TEST_OPENED_H
#define VKM_TEST_OPENED_H

#include "support.h"

struct test_opened {
    struct test_log log;
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_session *session;
};

/* Fails the test where something cannot be opened. device->log is not used. */
void test_open(struct test_opened *o, const vkmoe_device_params *device, const char *model,
               uint32_t chunk);
/* Closes it all; nothing may have been logged as an error, validation messages among it. */
void test_close(struct test_opened *o);

#endif
