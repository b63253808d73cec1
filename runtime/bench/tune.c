/* Finding launches that suit the device better than the table's: candidates and the table take
 * turns on whole steps of the model, kernel by kernel by the device's clock. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "base/rows.h"
#include "kernels/launch.h"
#include "kernels/ops.h"

#define DEFAULT_SECONDS 40.0
#define PAIRS 9u          /* of runs, in which a candidate and the table take turns */
#define PROOFS 31u        /* of those that prove the winners */
#define PAIRS_LEAST 5u    /* without which nothing is decided */
#define GAIN_LEAST 0.03   /* share of time that a candidate must save, whatever the noise */
#define SEARCH_SHARE 0.6  /* of the time, for finding candidates; the rest is for proving them */
#define PROOF_SHARE 0.8   /* of the time, for both; */
#define GROUPED_SHARE 0.9 /* then for rows that share experts, and at last for tiled products */
#define PROMPT 8u         /* tokens before the one that is generated again and again */
#define DEEPEST_ROWS 64u  /* of the prompts that are tried tiled and not */

/* Of each kernel with each type of weights, all dispatches of a step together. */
typedef double by_kernel[VKM_KERNEL_COUNT][VKM_TUNED_TYPES];

struct times {
    by_kernel seconds;
    double total;
};

/* Ratios of a candidate's times to the table's, of the pairs so far. */
struct ratios {
    double of_kernel[VKM_KERNEL_COUNT][VKM_TUNED_TYPES][PROOFS];
    double of_all[PROOFS];
    uint32_t n;
};

struct tuner {
    struct vkmoe_model *model;
    const vkmoe_tune_params *params;
    struct vkmoe_session *session;
    struct vkm_tuning found;
    vkmoe_tune_result *result;
    vkm_tuned_set present; /* what can be tuned of the model's step of one row */
    double start, seconds;
    double compiling; /* that the slowest step took to be made ready */
    const char *what; /* being tried */
};

static double elapsed(const struct tuner *t)
{
    return vkm_seconds() - t->start;
}

static vkmoe_status go_on(struct tuner *t, vkmoe_error *err)
{
    const vkmoe_tune_params *p = t->params;
    double share = fmin(elapsed(t) / t->seconds, 1);
    if (p->progress && !p->progress(p->user, t->what, share))
        return vkm_fail(err, VKMOE_CANCELLED, "cancelled");
    return VKMOE_OK;
}

/* --- steps --- */

/* A step of n rows from position `first` on, as recorded under `tuning`. */
static vkmoe_status make_step(struct tuner *t, const struct vkm_tuning *tuning, uint32_t n,
                              struct vkm_step *step, vkmoe_error *err)
{
    struct vkmoe_session *s = t->session;
    struct vkm_gpu *gpu = t->model->gpu;
    const struct vkm_batch batch = {.rows = s->state.rows,
                                    .n_rows = n,
                                    .consecutive = n > 1,
                                    .bound = vkm_attention_bound(PROMPT + n),
                                    .n_logits = 1};
    double start = vkm_seconds();
    *step = (struct vkm_step){0};
    vkm_gpu_tune(gpu, tuning, 0);
    vkmoe_status status = vkm_step_record(step, gpu, &t->model->weights, &s->memory->kv, &s->state,
                                          &batch, VKM_STEP_FORWARD | VKM_STEP_SAMPLE, err);
    vkm_gpu_tune(gpu, NULL, 0);
    if (status == VKMOE_OK)
        status = vkm_commands_create(gpu, &step->stream, true, &step->commands, err);
    t->compiling = fmax(t->compiling, vkm_seconds() - start);
    return status;
}

static enum vkm_dtype type_of(const struct vkm_stream *stream, size_t index)
{
    const struct vkm_op *op = &stream->ops.items[index];
    return vkm_tuned_type(op->kernel, vkm_op_kernel(stream, op)->variants[op->variant].dtype);
}

static vkmoe_status time_step(struct tuner *t, struct vkm_step *step, uint32_t n,
                              struct times *times, vkmoe_error *err)
{
    struct vkm_row *rows = vkm_host_rows(t->session->state.rows);
    const int32_t *tokens = t->session->tokens.items;
    *times = (struct times){0};
    for (uint32_t i = 0; i < n; i++)
        rows[i] = (struct vkm_row){.token = (uint32_t)tokens[i % PROMPT], .position = PROMPT + i};
    vkmoe_status status = vkm_commands_run(step->commands, NULL, err);
    for (size_t i = 0; i < step->stream.ops.count && status == VKMOE_OK; i++) {
        double seconds = 1e-9 * (double)vkm_commands_time(step->commands, i);
        times->seconds[step->stream.ops.items[i].kernel][type_of(&step->stream, i)] += seconds;
        times->total += seconds;
    }
    return status;
}

static void add_pair(struct ratios *r, const struct times *table, const struct times *candidate)
{
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++) {
            double was = table->seconds[k][type];
            r->of_kernel[k][type][r->n] = was > 0 ? candidate->seconds[k][type] / was : 1;
        }
    r->of_all[r->n++] = table->total > 0 ? candidate->total / table->total : 1;
}

/* What is compared with what, and for how long. */
struct contest {
    const struct vkm_tuning *table, *candidate;
    uint32_t n_rows, pairs;
    double until; /* pairs that begin later are left out */
};

/* Which of the two goes first changes from pair to pair; the first pair only warms up. */
static vkmoe_status compare(struct tuner *t, const struct contest *c, struct ratios *r,
                            vkmoe_error *err)
{
    uint32_t n = c->n_rows;
    struct vkm_step steps[2];
    struct times times[2];
    *r = (struct ratios){.n = 0};
    vkmoe_status status = go_on(t, err);
    if (status != VKMOE_OK || elapsed(t) + t->compiling > c->until)
        return status; /* undecided */
    status = make_step(t, c->table, n, &steps[0], err);
    steps[1] = (struct vkm_step){0};
    if (status == VKMOE_OK)
        status = make_step(t, c->candidate, n, &steps[1], err);
    for (uint32_t i = 0; i <= c->pairs && status == VKMOE_OK && elapsed(t) < c->until; i++) {
        for (uint32_t j = 0; j < 2 && status == VKMOE_OK; j++)
            status = time_step(t, &steps[(i + j) % 2], n, &times[(i + j) % 2], err);
        if (status == VKMOE_OK && i > 0)
            add_pair(r, &times[0], &times[1]);
        if (status == VKMOE_OK)
            status = go_on(t, err);
    }
    vkm_step_finish(&steps[0]);
    vkm_step_finish(&steps[1]);
    return status;
}

/* --- what pairs say --- */

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(const double *values, uint32_t n)
{
    double sorted[PROOFS];
    memcpy(sorted, values, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

struct verdict {
    double ratio, noise;
    bool better; /* by more than the noise */
};

/* The median, and three times its standard error by the median deviation. Three pairs of four must
 * agree besides, as a busy machine's times have long tails. */
static struct verdict judge(const double *ratios, uint32_t n)
{
    double deviations[PROOFS];
    uint32_t faster = 0;
    if (n < PAIRS_LEAST)
        return (struct verdict){.ratio = 1};
    double ratio = median(ratios, n);
    for (uint32_t i = 0; i < n; i++) {
        deviations[i] = fabs(ratios[i] - ratio);
        faster += ratios[i] < 1;
    }
    double noise = 3 * 1.4826 * median(deviations, n) / sqrt(n);
    return (struct verdict){ratio, noise,
                            4 * faster >= 3 * n && 1 - ratio > fmax(noise, GAIN_LEAST)};
}

/* --- geometry --- */

static bool reads_panels(int type)
{
    return type < VKM_DTYPE_COUNT && vkm_dtype_is_quantised((enum vkm_dtype)type);
}

/* A geometry with other lanes, or other outputs for weights of that type; zeroed where that changes
 * nothing or cannot be. */
static struct vkm_geometry vary(const struct vkm_caps *caps, uint32_t kernel, int type,
                                struct vkm_geometry from, uint32_t lanes, uint32_t outputs)
{
    struct vkm_geometry g = from;
    if (lanes)
        g.lanes = lanes;
    if (outputs && vkm_launch_is_product(kernel) && reads_panels(type))
        g.panels = outputs;
    else if (outputs && vkm_launch_is_product(kernel))
        g.outputs = outputs;
    bool same = g.lanes == from.lanes && g.outputs == from.outputs && g.panels == from.panels;
    if (same || !vkm_launch_fits(caps, kernel, g))
        return (struct vkm_geometry){0};
    return g;
}

static struct vkm_geometry table_geometry(const struct vkm_caps *caps, uint32_t kernel, int type)
{
    return vkm_launch_geometry(caps, kernel, (enum vkm_dtype)type, false);
}

/* Where a candidate beats what was found so far for a kernel, it takes its place. */
static void keep_better(struct tuner *t, const struct vkm_tuning *candidate, const struct ratios *r,
                        by_kernel best)
{
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        for (int type = 0; type < VKM_TUNED_TYPES; type++) {
            struct verdict v = judge(r->of_kernel[k][type], r->n);
            if (candidate->kernels[k][type].lanes == 0 || !v.better || v.ratio >= best[k][type])
                continue;
            best[k][type] = v.ratio;
            t->found.kernels[k][type] = candidate->kernels[k][type];
        }
    }
}

/* One candidate for all kernels at once: each is timed by itself. */
static vkmoe_status try_geometry(struct tuner *t, uint32_t lanes, uint32_t outputs, by_kernel best,
                                 vkmoe_error *err)
{
    struct vkm_caps caps = *vkm_gpu_caps(t->model->gpu);
    struct vkm_tuning candidate = {.launch_class = vkm_launch_class(&caps)};
    struct ratios r;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++) {
        for (int type = 0; type < VKM_TUNED_TYPES; type++) {
            struct vkm_geometry found = t->found.kernels[k][type];
            struct vkm_geometry from =
                found.lanes && outputs ? found : table_geometry(&caps, k, type);
            if (t->present[k][type])
                candidate.kernels[k][type] = vary(&caps, k, type, from, lanes, outputs);
        }
    }
    const struct contest contest = {NULL, &candidate, 1, PAIRS, SEARCH_SHARE * t->seconds};
    vkmoe_status status = compare(t, &contest, &r, err);
    if (status == VKMOE_OK)
        keep_better(t, &candidate, &r, best);
    t->result->candidates += r.n >= PAIRS_LEAST;
    return status;
}

static vkmoe_status search_geometry(struct tuner *t, vkmoe_error *err)
{
    static const uint32_t lanes[] = {32, 64, 128, 256, 512}, outputs[] = {1, 2, 4, 8};
    by_kernel best;
    vkmoe_status status = VKMOE_OK;
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++)
            best[k][type] = 1;
    t->what = "workgroup sizes";
    for (size_t i = 0; i < VKM_COUNT(lanes) && status == VKMOE_OK; i++)
        status = try_geometry(t, lanes[i], 0, best, err);
    t->what = "outputs of a team";
    for (size_t i = 0; i < VKM_COUNT(outputs) && status == VKMOE_OK; i++)
        status = try_geometry(t, 0, outputs[i], best, err);
    return status;
}

static void add_choice(struct tuner *t, const vkmoe_tune_choice *choice, struct verdict v)
{
    vkmoe_tune_result *r = t->result;
    if (r->n_choices == VKMOE_TUNE_MAX_CHOICES)
        return;
    vkmoe_tune_choice *c = &r->choices[r->n_choices++];
    *c = *choice;
    c->ratio = v.ratio;
    c->noise = v.noise;
    c->kept = v.better;
}

static void prove(struct tuner *t, uint32_t kernel, int type, struct verdict v)
{
    struct vkm_geometry *to = &t->found.kernels[kernel][type];
    struct vkm_geometry from = table_geometry(vkm_gpu_caps(t->model->gpu), kernel, type);
    bool panels = reads_panels(type);
    if (to->lanes == 0)
        return;
    add_choice(t,
               &(vkmoe_tune_choice){
                   .name = vkm_kernels.kernels[kernel].name,
                   .weights = type < VKM_DTYPE_COUNT ? vkm_dtype_name((enum vkm_dtype)type) : NULL,
                   .from = {from.lanes, panels ? from.panels : from.outputs},
                   .to = {to->lanes, panels ? to->panels : to->outputs}},
               v);
    if (!v.better)
        *to = (struct vkm_geometry){0};
}

/* What won among many may have been lucky: all winners are run once more, and only those that win
 * again stay. */
static vkmoe_status prove_geometry(struct tuner *t, vkmoe_error *err)
{
    struct ratios r;
    t->what = "the winners once more";
    const struct contest contest = {NULL, &t->found, 1, PROOFS, PROOF_SHARE * t->seconds};
    vkmoe_status status = compare(t, &contest, &r, err);
    for (uint32_t k = 0; k < VKM_KERNEL_COUNT && status == VKMOE_OK; k++)
        for (int type = 0; type < VKM_TUNED_TYPES; type++)
            prove(t, k, type, judge(r.of_kernel[k][type], r.n));
    return status;
}

/* --- from how many rows on --- */

/* A setting that is a number of rows, above which steps are launched otherwise. */
struct threshold {
    enum vkm_setting setting;
    const char *what;
    double until; /* share of the time */
};

/* Whether a step of n rows is better above the threshold (or if not `above`, below it). */
static vkmoe_status compare_sides(struct tuner *t, const struct threshold *s, uint32_t n,
                                  bool above, struct verdict *v, vkmoe_error *err)
{
    struct vkm_tuning yes = t->found, no = t->found;
    struct ratios r;
    yes.settings[s->setting] = n - 1;
    no.settings[s->setting] = n;
    const struct contest contest = {above ? &no : &yes, above ? &yes : &no, n, PAIRS,
                                    s->until * t->seconds};
    vkmoe_status status = compare(t, &contest, &r, err);
    *v = judge(r.of_all, r.n);
    t->result->candidates += r.n >= PAIRS_LEAST;
    return status;
}

/* From the table's threshold up while rows above it are better off below, else down while the
 * opposite is so. */
static vkmoe_status tune_threshold(struct tuner *t, const struct threshold *s, vkmoe_error *err)
{
    static const uint32_t rows[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, DEEPEST_ROWS};
    uint32_t was = vkm_launch_setting(vkm_gpu_caps(t->model->gpu), s->setting), now = was;
    struct verdict v = {.better = true}, last = {.ratio = 1};
    vkmoe_status status = VKMOE_OK;
    t->what = s->what;
    for (size_t i = 0; i < VKM_COUNT(rows) && v.better && status == VKMOE_OK; i++) {
        if (rows[i] <= was)
            continue;
        status = compare_sides(t, s, rows[i], false, &v, err);
        if (v.better) {
            now = rows[i];
            last = v;
        }
    }
    v.better = now == was;
    for (size_t i = VKM_COUNT(rows); i-- > 1 && v.better && status == VKMOE_OK;) {
        if (rows[i] > was)
            continue;
        status = compare_sides(t, s, rows[i], true, &v, err);
        if (v.better) {
            now = rows[i - 1];
            last = v;
        }
    }
    if (now != was && status == VKMOE_OK) {
        t->found.settings[s->setting] = now;
        add_choice(t,
                   &(vkmoe_tune_choice){
                       .name = vkm_setting_names[s->setting], .from = {was, 0}, .to = {now, 0}},
                   last);
    }
    return status;
}

static vkmoe_status tune_thresholds(struct tuner *t, vkmoe_error *err)
{
    static const struct threshold grouped = {VKM_SETTING_grouped_rows,
                                             "rows above which experts are sorted", GROUPED_SHARE};
    static const struct threshold tiled = {VKM_SETTING_tiled_rows,
                                           "rows above which products are tiled", 1};
    vkmoe_status status = VKMOE_OK;
    if (t->model->weights.config.n_routed_experts > 0)
        status = tune_threshold(t, &grouped, err);
    return status == VKMOE_OK ? tune_threshold(t, &tiled, err) : status;
}

/* --- the whole --- */

static vkmoe_status open_session(struct tuner *t, vkmoe_error *err)
{
    int32_t tokens[PROMPT];
    const vkmoe_session_params params = {.context = PROMPT + DEEPEST_ROWS, .chunk = DEEPEST_ROWS};
    for (uint32_t i = 0; i < PROMPT; i++)
        tokens[i] = (int32_t)((i * 7919u + 1) % t->model->info.vocab_size);
    vkmoe_status status = vkmoe_session_create(t->model, &params, &t->session, err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(t->session, tokens, PROMPT, NULL, err);
    if (status == VKMOE_OK) /* room for what is computed again and again */
        status = vkm_session_extend(t->session, DEEPEST_ROWS, err);
    return status;
}

static void find_tunable(struct tuner *t, const struct vkm_stream *stream)
{
    for (size_t i = 0; i < stream->ops.count; i++) {
        uint32_t kernel = stream->ops.items[i].kernel;
        if (vkm_launch_is_tunable(kernel))
            t->present[kernel][type_of(stream, i)] = true;
    }
}

/* What the model's steps are like. Fails where the device tells no time. */
static vkmoe_status look_at_step(struct tuner *t, vkmoe_error *err)
{
    struct vkm_step step;
    struct times times = {0};
    vkmoe_status status = make_step(t, NULL, 1, &step, err);
    if (status == VKMOE_OK)
        status = time_step(t, &step, 1, &times, err);
    find_tunable(t, &step.stream);
    vkm_step_finish(&step);
    if (status == VKMOE_OK && times.total <= 0)
        status = vkm_fail(err, VKMOE_UNSUPPORTED,
                          "%s does not tell how long kernels take: nothing can be tuned",
                          vkm_gpu_info(t->model->gpu)->name);
    return status;
}

static vkmoe_status store(struct tuner *t, vkmoe_error *err)
{
    struct vkm_gpu *gpu = t->model->gpu;
    char *path = NULL;
    vkmoe_status status = vkm_tuning_store(vkm_gpu_get_params(gpu), vkm_gpu_info(gpu), &t->found,
                                           t->present, &path, err);
    if (status == VKMOE_OK)
        snprintf(t->result->file, sizeof(t->result->file), "%s", path);
    vkm_free(vkm_gpu_allocator(gpu), path);
    return status;
}

vkmoe_status vkmoe_bench_tune(vkmoe_model *model, const vkmoe_tune_params *params,
                              vkmoe_tune_result *result, vkmoe_error *err)
{
    VKM_REQUIRE(model && params && result, err);
    struct vkm_gpu *gpu = model->gpu;
    const struct vkm_tuning *before = vkm_gpu_caps(gpu)->tuning;
    const uint64_t hash = vkm_gpu_info(gpu)->tuning;
    struct tuner t = {.model = model,
                      .params = params,
                      .result = result,
                      .found = {.launch_class = vkm_launch_class(vkm_gpu_caps(gpu))},
                      .start = vkm_seconds(),
                      .seconds = params->seconds > 0 ? params->seconds : DEFAULT_SECONDS,
                      .what = "a step"};
    *result = (vkmoe_tune_result){0};
    vkm_gpu_tune(gpu, NULL, 0);
    vkmoe_status status = open_session(&t, err);
    if (status == VKMOE_OK)
        status = look_at_step(&t, err);
    t.start = vkm_seconds(); /* what the table needs is compiled in any case */
    if (status == VKMOE_OK)
        status = search_geometry(&t, err);
    if (status == VKMOE_OK)
        status = prove_geometry(&t, err);
    if (status == VKMOE_OK)
        status = tune_thresholds(&t, err);
    if (status == VKMOE_OK)
        status = store(&t, err);
    vkmoe_session_destroy(t.session);
    vkm_gpu_tune(gpu, before, hash);
    result->seconds = elapsed(&t);
    return status;
}
