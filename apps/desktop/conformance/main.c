/* vkmoe-conformance: the conformance suite on one device, for vkmoe-desktop, which runs it in a
 * process of its own, as the driver may crash it.
 *
 *   vkmoe-conformance SELECTOR quick|full KERNELS MODEL FOLDER
 *
 * KERNELS is a shell pattern; MODEL a folder or file, or "" for none; the report, a page, is put
 * into FOLDER. Lines on stdout, words separated by tabs:
 *
 *   total CASES
 *   case KERNEL passed|failed|untested
 *   result KERNEL VARIANT CASES FAILED NMSE SENTENCE
 *   report PATH, or unreported REASON
 *   end STATUS SENTENCE, the last one: a number of vkmoe_status
 *
 * It stops at SIGTERM, after the cases at work. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <conform_report.h>

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* What the callbacks work on. */
struct run {
    struct conform_report report; /* of one device */
    struct conform_device device; /* that one */
    bool out_of_memory;
};

/* A word of a line: it has neither tabs nor newlines. */
static void put(const char *word)
{
    putchar('\t');
    for (; *word; word++)
        putchar((unsigned char)*word < ' ' ? ' ' : *word);
}

static void end_line(void)
{
    putchar('\n');
    fflush(stdout);
}

/* --- callbacks --- */

static bool stops(void *user)
{
    const struct run *run = user;
    return stopped || run->out_of_memory;
}

static void on_device(void *user, const vkmoe_device_info *info)
{
    struct run *run = user;
    run->device.info = *info;
}

static void on_case(void *user, const vkmoe_conform_case *c)
{
    struct run *run = user;
    if (!conform_record_case(&run->device, c))
        run->out_of_memory = true;
    fputs("case", stdout);
    put(c->test.kernel);
    put(c->passed ? "passed" : c->untested ? "untested" : "failed");
    end_line();
}

static const char *first_sentence(const struct conform_test *t)
{
    for (size_t i = 0; i < t->n_cases; i++)
        if (t->cases[i].failed)
            return t->cases[i].sentence;
    return "";
}

static void on_result(void *user, const vkmoe_conform_result *r)
{
    struct run *run = user;
    char path[32];
    if (run->out_of_memory)
        return;
    conform_record_result(&run->device, r);
    const struct conform_test *t = &run->device.tests[run->device.n_tests - 1];
    conform_path(t, path);
    printf("result\t%s\t%s%s%s\t%zu\t%" PRIu32 "\t%.3e", t->kernel,
           t->weights[0] == '-' ? "" : t->weights, t->weights[0] == '-' ? "" : ", ", path,
           t->n_cases, t->failed, t->nmse);
    put(first_sentence(t));
    end_line();
}

/* --- the run --- */

/* Counts the cases, then runs them. */
static vkmoe_status run_suite(struct run *run, const vkmoe_device_params *device,
                              vkmoe_conform_params *params)
{
    struct conform_device *d = &run->device;
    params->list = true;
    vkmoe_status status = vkmoe_conform_run(device, params, &d->totals, &d->error);
    if (status != VKMOE_OK)
        return status;
    printf("total\t%" PRIu32, d->totals.cases);
    end_line();
    params->list = false;
    params->on_device = on_device;
    params->on_case = on_case;
    params->on_result = on_result;
    params->stops = stops;
    params->user = run;
    return vkmoe_conform_run(device, params, &d->totals, &d->error);
}

/* Writes the report, whole or not at all, and says where it is or why it is not. */
static void report(const struct run *run, const char *folder)
{
    char path[4096], part[4112];
    size_t size = 0;
    char *page = conform_html(&run->report, &size);
    const vkmoe_device_info *info = &run->device.info;
    int length = snprintf(path, sizeof(path), "%s/conformance-%s-%" PRIu32 ".html", folder,
                          info->uuid, info->driver_id);
    snprintf(part, sizeof(part), "%s.new", path);
    errno = !page ? ENOMEM : length >= (int)sizeof(path) ? ENAMETOOLONG : 0;
    FILE *file = errno ? NULL : fopen(part, "w");
    bool written = file && fwrite(page, 1, size, file) == size && fflush(file) == 0;
    if (file)
        written = fclose(file) == 0 && written && rename(part, path) == 0;
    fputs(written ? "report" : "unreported", stdout);
    put(written ? path : strerror(errno));
    end_line();
    if (!written && file)
        unlink(part);
    free(page);
}

static void end(struct run *run, vkmoe_status status, const char *folder)
{
    char *message = run->device.error.message;
    if (status == VKMOE_OK)
        message[0] = '\0';
    if (status == VKMOE_CANCELLED)
        strcpy(message, run->out_of_memory ? "host memory ran out" : "stopped by the user");
    if (run->device.n_tests > 0 && !run->out_of_memory)
        report(run, folder);
    printf("end\t%d", run->out_of_memory ? VKMOE_OUT_OF_HOST_MEMORY : (int)status);
    put(message);
    end_line();
    /* Without the driver's clean-up, which is not what is tested. */
    _Exit(status == VKMOE_OK && run->device.totals.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("usage: vkmoe-conformance SELECTOR quick|full KERNELS MODEL FOLDER\n", stderr);
        return 2;
    }
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    struct run run = {0};
    const vkmoe_device_params device = {.selector = argv[1]};
    vkmoe_conform_params params = {
        .level = strcmp(argv[2], "full") == 0 ? VKMOE_CONFORM_FULL : VKMOE_CONFORM_QUICK,
        .kernels = argv[3],
        .model = argv[4][0] ? argv[4] : NULL,
    };
    run.report = (struct conform_report){.full = params.level == VKMOE_CONFORM_FULL,
                                         .model = params.model,
                                         .devices = &run.device,
                                         .n_devices = 1};
    vkmoe_status status = vkmoe_conform_suite(&run.report.suite, &run.device.error);
    if (status == VKMOE_OK)
        status = run_suite(&run, &device, &params);
    end(&run, status, argv[5]);
}
