/* vkmoe-selftest: whether one path computes correctly on one device. The library runs it in a
 * process of its own before it uses the path for the first time, as the driver may crash it.
 *
 *   vkmoe-selftest INDEX UUID PATH
 *
 * INDEX and UUID are the device's, by which a driver list that changed meanwhile is noticed. Stdout
 * has a line with a dot for each case, then one that says "passed", "failed: WHY", or "error: WHY"
 * where nothing was learnt. It ends when its stdin does, as whoever wants to know is gone then. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vkmoe/vkmoe.h>

struct outcome {
    const char *uuid;
    bool same_device;
    char sentence[512]; /* of the first case that failed */
};

static void on_device(void *user, const vkmoe_device_info *device)
{
    struct outcome *outcome = user;
    outcome->same_device = strcmp(device->uuid, outcome->uuid) == 0;
}

static void on_case(void *user, const vkmoe_conform_case *c)
{
    struct outcome *outcome = user;
    puts(".");
    fflush(stdout);
    if (!c->passed && !outcome->sentence[0])
        snprintf(outcome->sentence, sizeof(outcome->sentence), "%s", c->sentence);
}

static int say(const char *verdict, const char *why)
{
    printf("%s%s%s\n", verdict, why[0] ? ": " : "", why);
    /* Without the driver's clean-up, which is not what is tested. */
    _Exit(fflush(stdout) == 0 && strcmp(verdict, "passed") == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void *watch_stdin(void *unused)
{
    char byte;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0 || (n < 0 && errno != EINTR))
            _Exit(EXIT_FAILURE);
    }
    return unused;
}

int main(int argc, char **argv)
{
    char paths[64];
    vkmoe_error err;
    vkmoe_conform_totals totals;
    if (argc != 4) {
        fputs("usage: vkmoe-selftest INDEX UUID PATH\n", stderr);
        return 2;
    }
    pthread_t watch;
    if (pthread_create(&watch, NULL, watch_stdin, NULL) != 0)
        return say("error", "it cannot start a thread");
    snprintf(paths, sizeof(paths), "++%s", argv[3]);
    struct outcome outcome = {.uuid = argv[2]};
    vkmoe_device_params device = {.selector = argv[1], .paths = paths};
    vkmoe_conform_params params = {
        .path = argv[3], .on_device = on_device, .on_case = on_case, .user = &outcome};
    vkmoe_status status = vkmoe_conform_run(&device, &params, &totals, &err);
    if (status == VKMOE_DEVICE_LOST || status == VKMOE_DRIVER)
        return say("failed", err.message);
    if (status != VKMOE_OK)
        return say("error", err.message);
    if (!outcome.same_device)
        return say("error", "the list of devices changed");
    if (totals.cases == 0)
        return say("error", "no kernel has that path");
    return totals.failed ? say("failed", outcome.sentence) : say("passed", "");
}
