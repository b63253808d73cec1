#include "plan.h"

#include "device.h"

/* --- words --- */

const char *moe_plan_kv_text(vkmoe_kv kv)
{
    switch (kv) {
    case VKMOE_KV_F32:
        return "float32, exact";
    case VKMOE_KV_F16:
        return "float16";
    case VKMOE_KV_BF16:
        return "bfloat16";
    case VKMOE_KV_Q8:
        return "8 bits";
    case VKMOE_KV_COUNT:
        break;
    }
    return "";
}

/* "BF16", "Q4_K and F32": the kinds that take most of the file. */
static char *stored_text(const vkmoe_description *model)
{
    guint most = 0, second = 0;
    for (guint i = 1; i < model->n_stored; i++)
        most = model->stored[i].bytes > model->stored[most].bytes ? i : most;
    second = most ? 0 : 1;
    for (guint i = 0; i < model->n_stored; i++)
        if (i != most && model->stored[i].bytes > model->stored[second].bytes)
            second = i;
    if (model->n_stored == 0)
        return g_strdup("BF16");
    if (model->n_stored == 1 || model->stored[second].bytes * 20 < model->stored[most].bytes)
        return g_strdup(model->stored[most].dtype);
    return g_strdup_printf("%s and %s", model->stored[most].dtype, model->stored[second].dtype);
}

char *moe_plan_format_text(const MoePlan *plan, vkmoe_weights weights)
{
    char *stored, *text;
    if (weights == VKMOE_WEIGHTS_Q8)
        return g_strdup("8 bits");
    if (weights == VKMOE_WEIGHTS_Q4)
        return g_strdup("4 bits");
    if (!plan)
        return g_strdup("As stored");
    stored = stored_text(&plan->model);
    text = g_strdup_printf("As stored (%s)", stored);
    g_free(stored);
    return text;
}

/* 16.4 billion, 3.2 million. */
static char *count_text(guint64 count)
{
    if (count >= 1000000000)
        return g_strdup_printf("%.1f billion", (double)count / 1e9);
    if (count >= 1000000)
        return g_strdup_printf("%.1f million", (double)count / 1e6);
    return g_strdup_printf("%" G_GUINT64_FORMAT, count);
}

char *moe_plan_model_text(const vkmoe_description *model)
{
    char *count = count_text(model->parameters.total);
    char *experts = g_strdup("no experts");
    if (model->n_moe_layers > 0) {
        g_free(experts);
        experts = g_strdup_printf("%u experts in each of %u MoE layers, %u active for a token",
                                  model->n_routed_experts, model->n_moe_layers,
                                  model->n_experts_per_token);
    }
    char *text = g_strdup_printf("%s parameters, %u layers, %s", count, model->n_layers, experts);
    g_free(count);
    g_free(experts);
    return text;
}

/* What this program offers of the library's remedies. */
static GPtrArray *remedies_of(const vkmoe_plan *plan)
{
    const vkmoe_remedies *r = &plan->remedies;
    GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);
    if (r->context > 0 && !r->together)
        g_ptr_array_add(texts, g_strdup_printf("a context of %u tokens", r->context));
    if (r->weights != VKMOE_WEIGHTS_STORED) {
        char *format = moe_plan_format_text(NULL, r->weights);
        g_ptr_array_add(texts, g_strdup_printf("weights in %s", format));
        g_free(format);
    }
    if (r->kv != VKMOE_KV_F32)
        g_ptr_array_add(texts, g_strdup_printf("a KV cache in %s", moe_plan_kv_text(r->kv)));
    if (r->other_device)
        g_ptr_array_add(texts, g_strdup_printf("the device %s", r->device_name));
    return texts;
}

char *moe_plan_reason(const vkmoe_plan *plan)
{
    GPtrArray *remedies = remedies_of(plan);
    GString *text = g_string_new(plan->reason);
    for (guint i = 0; i < remedies->len; i++) {
        g_string_append(text, i == 0 ? "; it would fit with " : " or ");
        g_string_append(text, g_ptr_array_index(remedies, i));
    }
    g_ptr_array_unref(remedies);
    return g_string_free(text, FALSE);
}

/* --- planning --- */

/* What moe_plan_new works with. */
struct planning {
    vkmoe_device *device;
    const MoeOpenParams *params;
    GCancellable *stop;
    MoePlan *plan;
};

static gboolean plan_one(const struct planning *p, vkmoe_weights weights, vkmoe_kv kv,
                         guint32 context, vkmoe_plan *out, GError **error)
{
    const vkmoe_model_params load = {.context = context, .kv = kv, .weights = weights};
    vkmoe_error err = {.message = ""};
    if (g_cancellable_set_error_if_cancelled(p->stop, error))
        return FALSE;
    vkmoe_status status = vkmoe_model_plan(p->device, p->params->model, &load, out, &err);
    if (status != VKMOE_OK)
        g_propagate_error(error, moe_error_new(status, &err));
    return status == VKMOE_OK;
}

/* One member of every heap, added up. */
static guint64 sum(const vkmoe_plan *plan, gsize member)
{
    guint64 bytes = 0;
    for (guint i = 0; i < plan->n_heaps; i++)
        bytes += *(const uint64_t *)(const void *)((const char *)&plan->heaps[i] + member);
    return bytes;
}

#define SUM(plan, member) sum(plan, offsetof(vkmoe_heap_plan, member))

static guint64 working_bytes(const vkmoe_plan *plan)
{
    return SUM(plan, kv_cache) + SUM(plan, scratch) + SUM(plan, unused);
}

static gboolean plan_formats(const struct planning *p, GError **error)
{
    MoePlan *plan = p->plan;
    vkmoe_weights stored = VKMOE_WEIGHTS_STORED;
    plan->formats_fixed = TRUE;
    for (guint i = 0; i < VKMOE_WEIGHTS_COUNT; i++) {
        vkmoe_plan one;
        if (!plan_one(p, (vkmoe_weights)i, p->params->kv, p->params->context, &one, error))
            return FALSE;
        stored = i == 0 ? one.weights : stored;
        if (one.weights != stored)
            plan->formats_fixed = FALSE;
        plan->formats[i] = (MoePlanCost){i, SUM(&one, weights), one.fits};
    }
    return TRUE;
}

static gboolean plan_kvs(const struct planning *p, GError **error)
{
    for (guint i = 0; i < VKMOE_KV_COUNT; i++) {
        vkmoe_plan one;
        if (!plan_one(p, p->params->weights, (vkmoe_kv)i, p->params->context, &one, error))
            return FALSE;
        p->plan->kvs[i] = (MoePlanCost){i, SUM(&one, kv_cache), one.fits};
    }
    return TRUE;
}

/* Powers of two below what the model was made for, that itself, and what was asked for: by size,
 * MOE_PLAN_MAX_CONTEXTS at most. Their number. */
static guint context_sizes(guint32 most, guint32 asked, guint32 *sizes)
{
    guint32 end = MAX(most, asked), size = 256;
    guint count = 0;
    while (size < end && count < MOE_PLAN_MAX_CONTEXTS - 2) {
        if (asked < size && (count == 0 || asked > sizes[count - 1]))
            sizes[count++] = asked;
        sizes[count++] = size;
        size *= 2;
    }
    if (asked < end && (count == 0 || asked > sizes[count - 1]))
        sizes[count++] = asked;
    sizes[count++] = end;
    return count;
}

static gboolean plan_contexts(const struct planning *p, GError **error)
{
    MoePlan *plan = p->plan;
    guint32 sizes[MOE_PLAN_MAX_CONTEXTS];
    plan->n_contexts = context_sizes(plan->model.max_context, plan->plan.context, sizes);
    for (guint i = 0; i < plan->n_contexts; i++) {
        vkmoe_plan one;
        if (!plan_one(p, p->params->weights, p->params->kv, sizes[i], &one, error))
            return FALSE;
        plan->contexts[i] = (MoePlanCost){sizes[i], working_bytes(&one), one.fits};
    }
    return TRUE;
}

MoePlan *moe_plan_new(vkmoe_device *device, const MoeOpenParams *params, GCancellable *stop,
                      GError **error)
{
    MoePlan *plan = g_new0(MoePlan, 1);
    const struct planning p = {device, params, stop, plan};
    vkmoe_error err = {.message = ""};
    vkmoe_status status = vkmoe_model_describe(params->model, &plan->model, &err);
    plan->device = *vkmoe_device_get_info(device);
    plan->reason = g_strdup("");
    if (status != VKMOE_OK)
        g_propagate_error(error, moe_error_new(status, &err));
    if (status != VKMOE_OK ||
        !plan_one(&p, params->weights, params->kv, params->context, &plan->plan, error) ||
        !plan_formats(&p, error) || !plan_kvs(&p, error) || !plan_contexts(&p, error)) {
        moe_plan_free(plan);
        return NULL;
    }
    plan->weights = SUM(&plan->plan, weights);
    plan->kv_cache = SUM(&plan->plan, kv_cache);
    if (!plan->plan.fits) {
        g_free(plan->reason);
        plan->reason = moe_plan_reason(&plan->plan);
    }
    return plan;
}

void moe_plan_free(MoePlan *plan)
{
    if (plan)
        g_free(plan->reason);
    g_free(plan);
}
