#include "conform/bundle.h"

#include <stdio.h>
#include <string.h>

#define GUARD 256u
/* Views begin at addresses that are multiples of 16 and of nothing more: all that is promised. */
#define ALIGN 256u
#define ALIGN_OFFSET 16u

bool vkm_case(struct vkm_suite *s, const char *format, ...)
{
    va_list args;
    if (s->error.status != VKMOE_OK)
        return false;
    va_start(args, format);
    vsnprintf(s->name, sizeof(s->name), format, args);
    va_end(args);
    if (s->params->cases && !vkm_glob(s->params->cases, s->name))
        return false;
    if (s->params->stops && s->params->stops(s->params->user)) {
        vkm_fail(&s->error, VKMOE_CANCELLED, "stopped before case %s", s->name);
        return false;
    }
    if (s->params->list && (!s->pristine || s->variant.cases >= VKM_BUNDLES)) {
        vkm_case_report(s, "", &(struct vkm_lockstep){0}, NULL);
        return false;
    }
    const char *kernel = vkm_gpu_kernels(s->gpu)->kernels[s->kernel].name;
    uint64_t key = vkm_hash(VKM_HASH_INIT, &s->params->seed, sizeof(s->params->seed));
    key = vkm_hash(key, kernel, strlen(kernel));
    s->random = (struct vkm_random){.key = vkm_hash(key, s->name, strlen(s->name))};
    s->views.used = s->tables.used = 0;
    if (s->params->list)
        return true;
    vkm_log(vkm_gpu_log(s->gpu), VKMOE_LOG_DEBUG, "next: %s (%s, %s%s%.0u), case %s", kernel,
            vkm_variant_dtype_name(s->variant.variant), vkm_path_name(s->path),
            s->variant.subgroup_size ? " " : "", s->variant.subgroup_size, s->name);
    return true;
}

static void poison(unsigned char *bytes, uint64_t n)
{
    const uint32_t word = VKM_POISON;
    for (uint64_t i = 0; i < n; i += sizeof(word))
        memcpy(bytes + i, &word, sizeof(word));
}

struct vkm_view vkm_case_alloc_in(struct vkm_suite *s, struct vkm_arena *arena, uint64_t bytes)
{
    uint64_t begin = vkm_align_up(arena->used + GUARD, ALIGN) + ALIGN_OFFSET;
    uint64_t end = vkm_align_up(begin + bytes + GUARD, 4);
    if (end > arena->buffer->size) {
        /* The view stays usable, so that the case can run to its end. */
        vkm_fail(&s->error, VKMOE_INTERNAL, "case %s needs more than the suite's %llu bytes",
                 s->name, (unsigned long long)arena->buffer->size);
        return (struct vkm_view){arena->buffer, 0, 0};
    }
    poison(arena->buffer->mapped + arena->used, end - arena->used);
    arena->used = end;
    return (struct vkm_view){arena->buffer, begin, bytes};
}

struct vkm_view vkm_case_alloc(struct vkm_suite *s, uint64_t bytes)
{
    return vkm_case_alloc_in(s, &s->views, bytes);
}

void *vkm_case_host(struct vkm_view view)
{
    return view.buffer->mapped + view.offset;
}

/* Where an arena is no longer what it was; false if nowhere. */
static bool find_change(const struct vkm_arena *arena, const unsigned char *before, uint64_t *at)
{
    const unsigned char *after = arena->buffer->mapped;
    if (memcmp(before, after, arena->used) == 0)
        return false;
    for (*at = 0; before[*at] == after[*at];)
        ++*at;
    return true;
}

/* Describes a place in an arena by the view that it is in or behind. */
static void describe_place(const struct vkm_arena *arena, const struct vkm_kernel *kernel,
                           const void *params, uint64_t at, char *text, size_t size)
{
    const char *nearest = "any view";
    uint64_t begin = 0, end = 0;
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        if (!vkm_field_is_view(kernel->fields[i].kind))
            continue;
        const struct vkm_view *view = vkm_params_view(params, &kernel->fields[i]);
        if (view->buffer == arena->buffer && view->offset <= at && view->offset >= begin) {
            nearest = kernel->fields[i].name;
            begin = view->offset;
            end = view->offset + view->size;
        }
    }
    if (at < end)
        snprintf(text, size, "changed its input %s at byte %llu", nearest,
                 (unsigned long long)(at - begin));
    else
        snprintf(text, size, "wrote outside its views, %llu bytes behind the end of %s",
                 (unsigned long long)(at - end), nearest);
}

/* Says where the kernel changed memory outside the views it may write; false if nowhere. */
static bool find_stray_write(struct vkm_suite *s, const struct vkm_kernel *kernel,
                             const void *params, char *text, size_t size)
{
    const struct vkm_arena *arena = &s->views;
    uint64_t at;
    for (uint32_t i = 0; i < kernel->n_fields; i++) {
        if (!vkm_field_writes(kernel->fields[i].kind))
            continue;
        const struct vkm_view *view = vkm_params_view(params, &kernel->fields[i]);
        if (view->buffer)
            memcpy(s->before + view->offset, arena->buffer->mapped + view->offset, view->size);
    }
    if (!find_change(arena, s->before, &at)) {
        arena = &s->tables;
        if (!find_change(arena, s->tables_before, &at))
            return false;
    }
    describe_place(arena, kernel, params, at, text, size);
    return true;
}

void vkm_case_report(struct vkm_suite *s, const char *sentence, const struct vkm_lockstep *outcome,
                     const char *bundle)
{
    const struct vkm_kernel *kernel = &vkm_gpu_kernels(s->gpu)->kernels[s->kernel];
    struct vkm_conform_variant *v = &s->variant;
    char line[1024] = "";
    bool passed = !sentence[0];
    if (!passed)
        snprintf(line, sizeof(line), "%s (%s, %s%s%.0u), case %s: %s", kernel->name,
                 vkm_variant_dtype_name(v->variant), vkm_path_name(v->variant->path),
                 v->subgroup_size ? " " : "", v->subgroup_size, s->name, sentence);
    v->cases++;
    v->failed += !passed;
    if (outcome->nmse > v->nmse) {
        v->nmse = outcome->nmse;
        memcpy(v->worst, s->name, sizeof(v->worst));
    }
    if (s->params->on_case)
        s->params->on_case(s->params->user, &(struct vkm_conform_case){
                                                .kernel = s->kernel,
                                                .variant = v->variant,
                                                .subgroup_size = v->subgroup_size,
                                                .name = s->name,
                                                .passed = passed,
                                                .sentence = line,
                                                .bundle = bundle,
                                                .outcome = *outcome,
                                            });
}

/* A lost device or exhausted memory ends the suite; anything else is the case's own failure. */
static bool ends_suite(vkmoe_status status)
{
    return status == VKMOE_DEVICE_LOST || status == VKMOE_OUT_OF_DEVICE_MEMORY ||
           status == VKMOE_OUT_OF_HOST_MEMORY;
}

/* Keeps the arenas as they are before the kernel runs. */
static void keep_inputs(struct vkm_suite *s)
{
    memcpy(s->before, s->views.buffer->mapped, s->views.used);
    memcpy(s->tables_before, s->tables.buffer->mapped, s->tables.used);
    if (s->pristine)
        memcpy(s->pristine, s->views.buffer->mapped, s->views.used);
}

void vkm_case_run_stream(struct vkm_suite *s, const struct vkm_stream *stream,
                         const struct vkm_case_known *known, struct vkm_lockstep *outcome,
                         char *sentence, size_t size)
{
    vkmoe_error error = {0};
    const struct vkm_op *op = stream->ops.items;
    const struct vkm_kernel *kernel = vkm_op_kernel(stream, op);
    const void *params = vkm_op_params(stream, op);
    if (&kernel->variants[op->variant] != s->variant.variant) {
        snprintf(sentence, size, "the launch table chose another variant");
        return;
    }
    keep_inputs(s);
    vkmoe_status status = known ? vkm_lockstep_known(s->gpu, stream, 0, known->want,
                                                     known->magnitude, outcome, &error)
                                : vkm_lockstep_op(s->gpu, stream, 0, outcome, &error);
    if (status != VKMOE_OK) {
        snprintf(sentence, size, "%.*s", (int)size - 1, error.message);
        if (ends_suite(status))
            s->error = error;
    } else if (find_stray_write(s, kernel, params, sentence, size)) {
        if (!outcome->compare.broken)
            outcome->view = NULL; /* the worst of what is right has no part in it */
    } else if (outcome->compare.broken) {
        vkm_lockstep_element(outcome, sentence, size);
    }
}

/* Whether a case is written: one that failed, also where it took the device with it, or where none
 * is run any. */
static bool is_exported(const struct vkm_suite *s, const char *sentence,
                        const struct vkm_lockstep *outcome)
{
    if (s->params->list)
        return !sentence[0];
    return sentence[0] && s->pristine && outcome->kernel && s->variant.failed < VKM_BUNDLES &&
           (s->error.status == VKMOE_OK || s->error.status == VKMOE_DEVICE_LOST);
}

/* Reports a case that ran, or was to be listed, and exports it if that is called for. */
static void settle(struct vkm_suite *s, const struct vkm_stream *stream, const char *sentence,
                   const struct vkm_lockstep *outcome)
{
    char *bundle = NULL;
    vkmoe_error error = {0};
    if (is_exported(s, sentence, outcome) &&
        vkm_bundle_export(s, stream, s->params->list ? NULL : sentence, &bundle, &error) !=
            VKMOE_OK &&
        s->error.status == VKMOE_OK)
        s->error = error;
    vkm_case_report(s, sentence, outcome, bundle);
    vkm_free(vkm_gpu_allocator(s->gpu), bundle);
}

void vkm_case_run(struct vkm_suite *s, struct vkm_launch launch, const void *params)
{
    struct vkm_lockstep outcome = {0};
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    const struct vkm_conform_params *c = s->params;
    char sentence[512] = "";
    if (s->error.status != VKMOE_OK)
        return;
    vkm_stream_init(&stream, vkm_gpu_kernels(s->gpu), vkm_gpu_allocator(s->gpu));
    vkm_recorder_init(&recorder, &stream, &s->caps);
    vkm_op(&recorder, s->kernel, launch, params);
    if (recorder.error.status != VKMOE_OK)
        snprintf(sentence, sizeof(sentence), "could not be recorded: %.*s",
                 (int)sizeof(sentence) - 32, recorder.error.message);
    else if (stream.ops.count != 1)
        snprintf(sentence, sizeof(sentence), "%zu dispatches were recorded", stream.ops.count);
    else if (c->list)
        keep_inputs(s);
    else if (!c->intercept || !c->intercept(c->user, s->gpu, &stream))
        vkm_case_run_stream(s, &stream, NULL, &outcome, sentence, sizeof(sentence));
    if (outcome.kernel || sentence[0] || c->list)
        settle(s, &stream, sentence, &outcome);
    vkm_recorder_finish(&recorder);
    vkm_stream_finish(&stream);
}
