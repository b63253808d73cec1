/* What the library says of a model that does not fit, in terms of the program's options. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

struct sentence {
    char *text; /* [CLI_REASON_SIZE] */
    bool any;   /* options so far */
};

static void add(struct sentence *s, const char *format, ...)
{
    va_list args;
    strcat(s->text, s->any ? " or " : "; it would fit with ");
    size_t at = strlen(s->text);
    va_start(args, format);
    vsnprintf(s->text + at, CLI_REASON_SIZE - at, format, args);
    va_end(args);
    s->any = true;
}

void cli_plan_reason(const vkmoe_plan *p, char reason[CLI_REASON_SIZE])
{
    const vkmoe_remedies *r = &p->remedies;
    struct sentence s = {.text = reason};
    snprintf(reason, CLI_REASON_SIZE, "%s", p->reason);
    if (r->together) {
        add(&s, "--chunk %u -c %u instead of %u", r->chunk, r->context, p->context);
    } else {
        if (r->context > 0)
            add(&s, "-c %u instead of %u", r->context, p->context);
        if (r->chunk > 0)
            add(&s, "--chunk %u instead of %u", r->chunk, p->chunk);
    }
    if (r->weights != VKMOE_WEIGHTS_STORED)
        add(&s, "--weights %s", cli_weights_name(r->weights));
    if (r->kv != VKMOE_KV_F32)
        add(&s, "--kv %s", cli_kv_name(r->kv));
    if (r->memory_limit > 0 && r->memory_limit % (1u << 20) == 0)
        add(&s, "--memory-limit %" PRIu64 "M", r->memory_limit >> 20);
    else if (r->memory_limit > 0)
        add(&s, "--memory-limit %" PRIu64, r->memory_limit);
    if (r->other_device)
        add(&s, "--device %u (%s)", r->device, r->device_name);
}

int cli_load_failed(vkmoe_device *device, const struct cli_common *common, const vkmoe_error *err)
{
    const vkmoe_model_params params = cli_model_params(common);
    vkmoe_plan plan;
    char reason[CLI_REASON_SIZE];
    if (err->status != VKMOE_OUT_OF_DEVICE_MEMORY || params.force ||
        vkmoe_model_plan(device, cli_model_path(common), &params, &plan, NULL) != VKMOE_OK ||
        plan.fits)
        return cli_failed(err);
    if (common->fixed_context) {
        plan.remedies.chunk = plan.remedies.together ? 0 : plan.remedies.chunk;
        plan.remedies.context = 0;
        plan.remedies.together = false;
    }
    cli_plan_reason(&plan, reason);
    return cli_fail("%s (--force tries anyway)", reason);
}
