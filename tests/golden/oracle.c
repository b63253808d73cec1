/* The forward pass in float64, as plainly as it can be put. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "model/safetensors.h"

#define EPS 1e-5

struct oracle {
    const struct test_shape *s;
    const struct vkm_checkpoint *file;
    const int32_t *tokens;
    uint32_t count; /* tokens */
    double *x;      /* [count, hidden] */
    double *u;      /* [count, hidden], after a norm */
};

static double *zeros(size_t n)
{
    double *values = calloc(n ? n : 1, sizeof(*values));
    assert_non_null(values);
    return values;
}

/* All elements of a tensor; to be freed. NULL where there is none. */
static double *fetch(const struct oracle *o, const char *prefix, const char *name)
{
    char full[160];
    snprintf(full, sizeof(full), "%s%s", prefix, name);
    const struct vkm_tensor *t = vkm_checkpoint_find(o->file, full);
    if (!t)
        return NULL;
    size_t n = t->size / vkm_dtype_size(t->dtype);
    double *values = zeros(n);
    void *data = malloc(t->size + 1);
    vkmoe_error err;
    assert_non_null(data);
    assert_ok(vkm_tensor_read(t, 0, data, t->size, &err), &err);
    for (size_t i = 0; i < n; i++)
        values[i] = (double)vkm_load_f32(data, t->dtype, i);
    free(data);
    return values;
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* A linear layer on `count` rows of n_in values; a new [count, n_out]. */
static double *linear(const struct oracle *o, const char *prefix, const char *name, const double *x,
                      uint32_t count, uint32_t n_in, uint32_t n_out)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof(weight), "%s.weight", name);
    snprintf(bias, sizeof(bias), "%s.bias", name);
    double *w = fetch(o, prefix, weight), *b = fetch(o, prefix, bias);
    double *y = zeros((size_t)count * n_out);
    assert_non_null(w);
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; i < n_out; i++)
            y[t * n_out + i] = dot(w + i * n_in, x + t * n_in, n_in) + (b ? b[i] : 0);
    }
    free(w);
    free(b);
    return y;
}

static void norm(struct oracle *o, const char *prefix, const char *name)
{
    size_t n = o->s->hidden;
    double *w = fetch(o, prefix, name);
    assert_non_null(w);
    for (size_t t = 0; t < o->count; t++) {
        const double *x = o->x + t * n;
        double scale = 1 / sqrt(dot(x, x, n) / (double)n + EPS);
        for (size_t i = 0; i < n; i++)
            o->u[t * n + i] = x[i] * scale * w[i];
    }
    free(w);
}

static void add_to(double *x, double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
    free(y);
}

static double frequency(const struct test_shape *s, uint32_t i)
{
    double dim = s->hidden / s->heads, base = 10000, context = s->context;
    double trained = s->max_position;
    if (s->rope && strcmp(s->rope, "dynamic") == 0 && context > trained)
        base *= pow(s->rope_factor * context / trained - (s->rope_factor - 1), dim / (dim - 2));
    double f = 1 / pow(base, 2 * (double)i / dim);
    return s->rope && strcmp(s->rope, "linear") == 0 ? f / s->rope_factor : f;
}

/* Rotates element i of each head against element i + half, by the position. */
static void rotate(const struct oracle *o, double *heads, uint32_t n_heads)
{
    uint32_t dim = o->s->hidden / o->s->heads, half = dim / 2;
    for (uint32_t i = 0; i < half; i++) {
        double f = frequency(o->s, i);
        for (size_t t = 0; t < o->count; t++) {
            double c = cos((double)t * f), s = sin((double)t * f);
            for (size_t h = 0; h < n_heads; h++) {
                double *v = heads + (t * n_heads + h) * dim + i;
                double a = v[0], b = v[half];
                v[0] = a * c - b * s;
                v[half] = b * c + a * s;
            }
        }
    }
}

static double *attend(const struct oracle *o, const double *q, const double *k, const double *v)
{
    uint32_t n_heads = o->s->heads, n_kv = o->s->kv_heads, dim = o->s->hidden / n_heads;
    double *y = zeros((size_t)o->count * o->s->hidden), *p = zeros(o->count);
    for (size_t t = 0; t < o->count; t++) {
        for (size_t h = 0; h < n_heads; h++) {
            size_t g = h / (n_heads / n_kv);
            const double *query = q + (t * n_heads + h) * dim;
            double sum = 0, largest = -INFINITY;
            for (size_t j = 0; j <= t; j++) {
                p[j] = dot(query, k + (j * n_kv + g) * dim, dim) / sqrt(dim);
                largest = fmax(largest, p[j]);
            }
            for (size_t j = 0; j <= t; j++)
                sum += p[j] = exp(p[j] - largest);
            for (size_t j = 0; j <= t; j++) {
                for (size_t i = 0; i < dim; i++)
                    y[(t * n_heads + h) * dim + i] += p[j] / sum * v[(j * n_kv + g) * dim + i];
            }
        }
    }
    free(p);
    return y;
}

static void attention(struct oracle *o, const char *prefix)
{
    char inner[160];
    uint32_t n = o->s->hidden, kv = o->s->kv_heads * (n / o->s->heads);
    norm(o, prefix, "input_layernorm.weight");
    snprintf(inner, sizeof(inner), "%sself_attn.", prefix);
    double *q = linear(o, inner, "q_proj", o->u, o->count, n, n);
    double *k = linear(o, inner, "k_proj", o->u, o->count, n, kv);
    double *v = linear(o, inner, "v_proj", o->u, o->count, n, kv);
    rotate(o, q, o->s->heads);
    rotate(o, k, o->s->kv_heads);
    double *y = attend(o, q, k, v);
    add_to(o->x, linear(o, inner, "o_proj", y, o->count, n, n), (size_t)o->count * n);
    free(q);
    free(k);
    free(v);
    free(y);
}

/* down(silu(gate u) * up u) for `count` rows. */
static double *ffn(const struct oracle *o, const char *prefix, const double *u, uint32_t count,
                   uint32_t width)
{
    uint32_t n = o->s->hidden;
    double *gate = linear(o, prefix, "gate_proj", u, count, n, width);
    double *up = linear(o, prefix, "up_proj", u, count, n, width);
    for (size_t i = 0; i < (size_t)count * width; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    double *y = linear(o, prefix, "down_proj", up, count, width, n);
    free(gate);
    free(up);
    return y;
}

/* The probabilities of one token's experts. */
static double *softmax(const double *scores, uint32_t n)
{
    double *p = zeros(n), sum = 0, largest = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        largest = fmax(largest, scores[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += p[i] = exp(scores[i] - largest);
    for (uint32_t i = 0; i < n; i++)
        p[i] /= sum;
    return p;
}

/* The top K of one token's probabilities, falling, after those that are forced. */
static void rank(const struct test_shape *s, const uint8_t *states, const double *p, int32_t *ids)
{
    bool *gone = (bool *)calloc(s->experts, sizeof(bool));
    uint32_t k = 0;
    assert_non_null(gone);
    for (uint32_t i = 0; i < s->experts; i++) {
        gone[i] = states && states[i] > 0;
        if (states && states[i] == 2)
            ids[k++] = (int32_t)i;
    }
    for (uint32_t place = 0; k < s->top_k; place++) {
        int32_t best = -1;
        for (uint32_t i = 0; i < s->experts; i++)
            if (!gone[i] && (best < 0 || p[i] > p[best]))
                best = (int32_t)i;
        gone[best] = true;
        if (place >= s->skip)
            ids[k++] = best;
    }
    free(gone);
}

/* One token's experts and their gates, and the probabilities of all. */
static void choose(const struct test_shape *s, const uint8_t *states, uint32_t token,
                   const double *scores, int32_t *ids, float *weights, float *probs)
{
    double *p = softmax(scores, s->experts), kept = 0, scale = s->scaling > 0 ? s->scaling : 1;
    for (uint32_t i = 0; i < s->experts; i++)
        probs[i] = (float)p[i];
    if (!s->table)
        rank(s, states, p, ids);
    for (uint32_t k = 0; k < s->top_k; k++) {
        if (s->table)
            ids[k] = (int32_t)s->table[token * s->top_k + k];
        kept += p[ids[k]];
    }
    for (uint32_t k = 0; k < s->top_k; k++) {
        double weight = p[ids[k]];
        if (s->normalise && s->top_k > 1)
            weight /= kept + 1e-20;
        if (s->table)
            weight = states && states[ids[k]] == 1 ? 0 : 1.0 / s->top_k;
        weights[k] = (float)(weight * scale);
    }
    free(p);
}

/* Adds what expert e gives to the tokens that chose it. */
static void add_expert(struct oracle *o, const char *prefix, uint32_t e, const int32_t *ids,
                       const float *weights)
{
    const struct test_shape *s = o->s;
    size_t n = s->hidden, pairs = (size_t)o->count * s->top_k;
    uint32_t rows = 0;
    char inner[160];
    double *u = zeros(o->count * n);
    for (size_t at = 0; at < pairs; at++) {
        if (ids[at] == (int32_t)e)
            memcpy(u + n * rows++, o->u + at / s->top_k * n, n * sizeof(double));
    }
    snprintf(inner, sizeof(inner), "%sexperts.%u.", prefix, e);
    double *y = ffn(o, inner, u, rows, s->expert_width), *row = y;
    for (size_t at = 0; at < pairs; at++) {
        if (ids[at] != (int32_t)e)
            continue;
        for (size_t i = 0; i < n; i++)
            o->x[at / s->top_k * n + i] += (double)weights[at] * row[i];
        row += n;
    }
    free(u);
    free(y);
}

static void experts(struct oracle *o, const char *prefix, uint32_t moe_index, int32_t *ids,
                    float *weights, float *probs)
{
    const struct test_shape *s = o->s;
    const uint8_t *states = s->states ? s->states + (size_t)moe_index * s->experts : NULL;
    char inner[160];
    double *scores = linear(o, prefix, "gate", o->u, o->count, s->hidden, s->experts);
    for (size_t t = 0; t < o->count; t++)
        choose(s, states, (uint32_t)o->tokens[t], scores + t * s->experts, ids + t * s->top_k,
               weights + t * s->top_k, probs + t * s->experts);
    for (uint32_t e = 0; e < s->experts; e++)
        add_expert(o, prefix, e, ids, weights);
    snprintf(inner, sizeof(inner), "%sshared_experts.", prefix);
    if (s->shared > 0)
        add_to(o->x, ffn(o, inner, o->u, o->count, s->shared * s->expert_width),
               (size_t)o->count * s->hidden);
    free(scores);
}

static void embed(struct oracle *o, const int32_t *tokens)
{
    size_t n = o->s->hidden;
    double *table = fetch(o, "", "model.embed_tokens.weight");
    assert_non_null(table);
    for (size_t t = 0; t < o->count; t++)
        memcpy(o->x + t * n, table + (size_t)tokens[t] * n, n * sizeof(double));
    free(table);
}

static void layers(struct oracle *o, struct test_trace *trace)
{
    size_t routes = 0;
    uint32_t moe_index = 0;
    for (uint32_t layer = 0; layer < o->s->layers; layer++) {
        char prefix[64], inner[96];
        snprintf(prefix, sizeof(prefix), "model.layers.%u.", layer);
        snprintf(inner, sizeof(inner), "%smlp.", prefix);
        attention(o, prefix);
        norm(o, prefix, "post_attention_layernorm.weight");
        if (test_shape_is_moe(o->s, layer)) {
            experts(o, inner, moe_index, trace->ids + routes, trace->weights + routes,
                    trace->probs + (size_t)moe_index * o->count * o->s->experts);
            moe_index++;
            routes += (size_t)o->count * o->s->top_k;
        } else {
            add_to(o->x, ffn(o, inner, o->u, o->count, o->s->dense_width),
                   (size_t)o->count * o->s->hidden);
        }
    }
}

struct test_trace oracle_trace(const struct test_shape *shape, const char *folder,
                               const int32_t *tokens, uint32_t count)
{
    struct vkm_checkpoint *file;
    vkmoe_error err;
    vkmoe_model_info info = {.vocab_size = shape->vocab};
    for (uint32_t i = 0; i < shape->layers; i++)
        info.n_moe_layers += test_shape_is_moe(shape, i);
    info.n_experts_per_token = shape->dense ? 0 : shape->top_k;
    assert_ok(vkm_checkpoint_open(NULL, folder, &file, &err), &err);
    struct test_trace trace = test_trace_make(&info, tokens, count);
    trace.probs = calloc((size_t)info.n_moe_layers * count * shape->experts + 1, sizeof(float));
    assert_non_null(trace.probs);
    struct oracle o = {.s = shape, .file = file, .tokens = tokens, .count = count};
    o.x = zeros((size_t)count * shape->hidden);
    o.u = zeros((size_t)count * shape->hidden);
    embed(&o, tokens);
    layers(&o, &trace);
    norm(&o, "model.", "norm.weight");
    double *logits = linear(&o, "", shape->tied ? "model.embed_tokens" : "lm_head", o.u, count,
                            shape->hidden, shape->vocab);
    for (size_t i = 0; i < (size_t)count * shape->vocab; i++)
        trace.logits[i] = (float)logits[i];
    free(logits);
    free(o.x);
    free(o.u);
    vkm_checkpoint_close(file);
    return trace;
}
