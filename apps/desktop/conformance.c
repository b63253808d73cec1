#include "conformance.h"

#include "conformance_run.h"

#define POLL_MS 50 /* what has happened is shown so often */

/* --- a result --- */

struct _MoeConformanceResult {
    GObject parent_instance;
    char *kernel, *variant, *sentence;
    guint cases, failed;
    double nmse;
};

G_DEFINE_TYPE(MoeConformanceResult, moe_conformance_result, G_TYPE_OBJECT)

MoeConformanceResult *moe_conformance_result_new(const char *kernel, const char *variant,
                                                 guint cases, guint failed, double nmse,
                                                 const char *sentence)
{
    MoeConformanceResult *self = g_object_new(MOE_TYPE_CONFORMANCE_RESULT, NULL);
    self->kernel = g_utf8_make_valid(kernel, -1);
    self->variant = g_utf8_make_valid(variant, -1);
    self->sentence = g_utf8_make_valid(sentence, -1);
    self->cases = cases;
    self->failed = failed;
    self->nmse = nmse;
    return self;
}

const char *moe_conformance_result_kernel(MoeConformanceResult *self)
{
    return self->kernel;
}

const char *moe_conformance_result_variant(MoeConformanceResult *self)
{
    return self->variant;
}

guint moe_conformance_result_cases(MoeConformanceResult *self)
{
    return self->cases;
}

guint moe_conformance_result_failed(MoeConformanceResult *self)
{
    return self->failed;
}

double moe_conformance_result_nmse(MoeConformanceResult *self)
{
    return self->nmse;
}

const char *moe_conformance_result_sentence(MoeConformanceResult *self)
{
    return self->sentence;
}

static void finalize_result(GObject *object)
{
    MoeConformanceResult *self = MOE_CONFORMANCE_RESULT(object);
    g_free(self->kernel);
    g_free(self->variant);
    g_free(self->sentence);
    G_OBJECT_CLASS(moe_conformance_result_parent_class)->finalize(object);
}

static void moe_conformance_result_class_init(MoeConformanceResultClass *class)
{
    G_OBJECT_CLASS(class)->finalize = finalize_result;
}

static void moe_conformance_result_init(MoeConformanceResult *self)
{
    (void)self;
}

/* --- the suite --- */

struct _MoeConformance {
    GObject parent_instance;
    char *folder;
    GListStore *results;
    guint n_bad;            /* results with failures, which stand before the others */
    MoeConformanceRun *run; /* the newest; NULL before the first */
    MoeConformanceStatus status;
    guint poll; /* source; 0: it is not running */
};

enum {
    PROP_0,
    PROP_RUNNING,
    PROP_FRACTION,
    PROP_CASES,
    PROP_FAILED,
    PROP_CURRENT,
    PROP_OUTCOME,
    PROP_PASSED,
    PROP_STOPPED,
    PROP_REPORT,
    N_PROPS
};

G_DEFINE_TYPE(MoeConformance, moe_conformance, G_TYPE_OBJECT)

static void notify_all(MoeConformance *self)
{
    static const char *const names[] = {"running", "fraction", "cases",   "failed", "current",
                                        "outcome", "passed",   "stopped", "report"};
    g_object_freeze_notify(G_OBJECT(self));
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        g_object_notify(G_OBJECT(self), names[i]);
    g_object_thaw_notify(G_OBJECT(self));
}

static void take(MoeConformance *self, GPtrArray *fresh)
{
    for (guint i = 0; fresh && i < fresh->len; i++) {
        MoeConformanceResult *result = g_ptr_array_index(fresh, i);
        if (result->failed > 0)
            g_list_store_insert(self->results, self->n_bad++, result);
        else
            g_list_store_append(self->results, result);
    }
    g_clear_pointer(&fresh, g_ptr_array_unref);
}

static gboolean on_poll(gpointer data)
{
    MoeConformance *self = data;
    take(self, moe_conformance_run_poll(self->run, &self->status));
    if (self->status.ended)
        self->poll = 0;
    notify_all(self);
    return self->status.ended ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

MoeConformance *moe_conformance_new(const char *folder)
{
    MoeConformance *self = g_object_new(MOE_TYPE_CONFORMANCE, NULL);
    self->folder =
        folder ? g_strdup(folder) : g_build_filename(g_get_user_data_dir(), "vkmoe", NULL);
    return self;
}

void moe_conformance_start(MoeConformance *self, MoeDevice *device,
                           const MoeConformanceParams *params)
{
    if (self->poll)
        return;
    g_clear_pointer(&self->run, moe_conformance_run_unref);
    g_list_store_remove_all(self->results);
    self->n_bad = 0;
    self->status = (MoeConformanceStatus){.current = ""};
    self->run = moe_conformance_run_new(device, params, self->folder);
    self->poll = g_timeout_add(POLL_MS, on_poll, self);
    notify_all(self);
}

void moe_conformance_cancel(MoeConformance *self)
{
    if (self->poll)
        moe_conformance_run_cancel(self->run);
}

GListModel *moe_conformance_results(MoeConformance *self)
{
    return G_LIST_MODEL(self->results);
}

gboolean moe_conformance_is_running(MoeConformance *self)
{
    return self->poll != 0;
}

const char *moe_conformance_outcome(MoeConformance *self)
{
    return self->status.ended ? moe_conformance_run_outcome(self->run) : NULL;
}

const char *moe_conformance_report(MoeConformance *self)
{
    return self->status.ended ? moe_conformance_run_report(self->run) : NULL;
}

/* Nobody is left who would wait for the cases at work. */
static void finalize(GObject *object)
{
    MoeConformance *self = MOE_CONFORMANCE(object);
    if (self->poll) {
        g_source_remove(self->poll);
        moe_conformance_run_cancel(self->run);
        moe_conformance_run_cancel(self->run);
    }
    g_clear_pointer(&self->run, moe_conformance_run_unref);
    g_object_unref(self->results);
    g_free(self->folder);
    G_OBJECT_CLASS(moe_conformance_parent_class)->finalize(object);
}

static double fraction_of(const MoeConformanceStatus *s)
{
    if (s->ended)
        return 1;
    return s->total > 0 ? MIN(1.0, (double)s->cases / (double)s->total) : 0;
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeConformance *self = MOE_CONFORMANCE(object);
    switch (id) {
    case PROP_RUNNING:
        g_value_set_boolean(value, moe_conformance_is_running(self));
        break;
    case PROP_FRACTION:
        g_value_set_double(value, fraction_of(&self->status));
        break;
    case PROP_CASES:
        g_value_set_uint(value, self->status.cases);
        break;
    case PROP_FAILED:
        g_value_set_uint(value, self->status.failed);
        break;
    case PROP_CURRENT:
        g_value_set_string(value, self->status.current);
        break;
    case PROP_OUTCOME:
        g_value_set_string(value, moe_conformance_outcome(self));
        break;
    case PROP_PASSED:
        g_value_set_boolean(value, self->status.passed);
        break;
    case PROP_STOPPED:
        g_value_set_boolean(value, self->status.stopped);
        break;
    case PROP_REPORT:
        g_value_set_string(value, moe_conformance_report(self));
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void moe_conformance_class_init(MoeConformanceClass *class)
{
    GParamFlags f = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->finalize = finalize;
    object->get_property = get_property;
    GParamSpec *const specs[N_PROPS] = {
        [PROP_RUNNING] = g_param_spec_boolean("running", NULL, NULL, FALSE, f),
        [PROP_FRACTION] = g_param_spec_double("fraction", NULL, NULL, 0, 1, 0, f),
        [PROP_CASES] = g_param_spec_uint("cases", NULL, NULL, 0, G_MAXUINT, 0, f),
        [PROP_FAILED] = g_param_spec_uint("failed", NULL, NULL, 0, G_MAXUINT, 0, f),
        [PROP_CURRENT] = g_param_spec_string("current", NULL, NULL, NULL, f),
        [PROP_OUTCOME] = g_param_spec_string("outcome", NULL, NULL, NULL, f),
        [PROP_PASSED] = g_param_spec_boolean("passed", NULL, NULL, FALSE, f),
        [PROP_STOPPED] = g_param_spec_boolean("stopped", NULL, NULL, FALSE, f),
        [PROP_REPORT] = g_param_spec_string("report", NULL, NULL, NULL, f),
    };
    g_object_class_install_properties(object, N_PROPS, (GParamSpec **)specs);
}

static void moe_conformance_init(MoeConformance *self)
{
    self->results = g_list_store_new(MOE_TYPE_CONFORMANCE_RESULT);
}
