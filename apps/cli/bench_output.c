/* The measurements as a table and as JSON. */
#include <stdio.h>

#include "bench.h"

void bench_name(char name[BENCH_NAME_SIZE], const struct bench_options *o, bool prompt)
{
    int n = snprintf(name, BENCH_NAME_SIZE, "%s%llu", prompt ? "pp" : "tg",
                     (unsigned long long)(prompt ? o->prompt : o->generate));
    if (!prompt && o->batch > 1)
        n += snprintf(name + n, BENCH_NAME_SIZE - (size_t)n, "b%llu", (unsigned long long)o->batch);
    if (o->depth > 0)
        snprintf(name + n, BENCH_NAME_SIZE - (size_t)n, "@d%llu", (unsigned long long)o->depth);
}

/* --- the table --- */

static double total_seconds(const vkmoe_bench_result *r)
{
    double total = 0;
    for (uint32_t i = 0; i < r->n_kernels; i++)
        total += r->kernels[i].seconds;
    return total;
}

static void print_kernels(const vkmoe_bench_result *r, bool prompt)
{
    double total = total_seconds(r);
    if (r->n_kernels == 0)
        return;
    printf("\n  %s, %.3f ms on the device\n", prompt ? "one prompt" : "one step", 1e3 * total);
    printf("    %-18s %10s %11s %7s %9s %9s %8s\n", "kernel", "dispatches", "ms", "time", "GB/s",
           "GFLOP/s", "of peak");
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const vkmoe_bench_kernel *k = &r->kernels[i];
        double seconds = k->seconds > 0 ? k->seconds : 1; /* a device without a clock */
        printf("    %-18s %10u %11.3f %5.1f %% %9.2f %9.2f %s%5.1f %%\n", k->name, k->dispatches,
               1e3 * k->seconds, total > 0 ? 100 * k->seconds / total : 0, k->bytes / seconds / 1e9,
               k->operations / seconds / 1e9, k->unit_unknown ? ">" : " ", 100 * k->share);
    }
    if (r->step_over_weights > 0)
        printf("  by the clock such a step takes %.3f ms, %.2f times what its weights do at the\n"
               "  rates of the kernels that read them\n",
               1e3 * r->step_seconds, r->step_over_weights);
}

static void print_counting(const vkmoe_bench_counting *c)
{
    if (c->pairs == 0)
        return;
    printf("%-14s counting routes takes %.3f times as long", "", c->ratio);
    if (c->low > 0)
        printf(" (95 %%: %.3f to %.3f)", c->low, c->high);
    printf(", the median of %u pairs\n", c->pairs);
}

static void print_result(const struct bench_results *all, const vkmoe_bench_result *r, bool prompt)
{
    char name[BENCH_NAME_SIZE];
    if (r->tokens == 0)
        return;
    bench_name(name, all->options, prompt);
    printf("%-14s %9.2f +- %.2f t/s", name, r->mean, r->deviation);
    if (!prompt)
        printf(", %.2f GB/s, %.0f %% of the peak", r->bytes_per_second / 1e9,
               100 * r->bytes_per_second / r->memory.rate);
    printf("\n%-14s %u dispatches and %u barriers in a step, %.2f and %.2f for each token\n", "",
           r->dispatches, r->barriers, r->dispatches_per_token, r->barriers_per_token);
    printf("%-14s host: %.3f ms recording, %.3f ms submitting, %.3f ms waiting for each token\n",
           "", 1e3 * r->record_seconds, 1e3 * r->submit_seconds, 1e3 * r->wait_seconds);
    print_counting(&r->counting);
    print_kernels(r, prompt);
}

static void print_peak(const char *what, const vkmoe_bench_peak *peak, const char *unit)
{
    printf("peak %s: %.2f %s", what, peak->rate / 1e9, unit);
    if (peak->nominal > 0)
        printf(" (measured %.2f; nominal %.2f, of which 80 %% can be had)", peak->measured / 1e9,
               peak->nominal / 1e9);
    else
        printf(", measured");
    putchar('\n');
}

void bench_print_table(const struct bench_results *r)
{
    const vkmoe_bench_result *any = r->prompt.tokens ? &r->prompt : &r->generate;
    printf("%s on %s, %s, ", r->model, r->device->name, r->device->driver);
    if (r->weights != VKMOE_WEIGHTS_STORED)
        printf("weights as %s, ", cli_weights_name(r->weights));
    printf("KV cache in %s\n", cli_kv_name(r->options->common.kv));
    print_peak("memory", &any->memory, "GB/s");
    print_peak("arithmetic", &any->arithmetic, "GFLOP/s");
    print_result(r, &r->prompt, true);
    print_result(r, &r->generate, false);
    if (any->n_kernels > 0)
        puts("\nBytes count once for each dispatch: an expert's weights if any row chose it, keys "
             "and values\nonce for all rows of a sequence. A share is of the peak that a kernel is "
             "nearer to; with > of\nmemory's alone, as no peak of the units that it computes in is "
             "known. Caches can make it more\nthan all, on CPU drivers they raise the peak.");
}

/* --- JSON --- */

static json_t *peak_json(const vkmoe_bench_peak *peak)
{
    return json_pack("{s:f, s:f, s:f}", "measured", peak->measured, "nominal", peak->nominal,
                     "rate", peak->rate);
}

static json_t *kernels_json(const vkmoe_bench_result *r)
{
    json_t *kernels = json_array();
    for (uint32_t i = 0; i < r->n_kernels; i++) {
        const vkmoe_bench_kernel *k = &r->kernels[i];
        double seconds = k->seconds > 0 ? k->seconds : 1;
        json_array_append_new(
            kernels,
            json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f}", "name", k->name,
                      "dispatches", (json_int_t)k->dispatches, "seconds", k->seconds, "bytes",
                      k->bytes, "weight_bytes", k->weight_bytes, "operations", k->operations,
                      "bytes_per_second", k->bytes / seconds, "operations_per_second",
                      k->operations / seconds, "unit_unknown", k->unit_unknown, "share", k->share));
    }
    return kernels;
}

/* null: not measured, or an interval of too few pairs. */
static json_t *counting_json(const vkmoe_bench_counting *c)
{
    bool known = c->low > 0;
    if (c->pairs == 0)
        return json_null();
    return json_pack("{s:I, s:f, s:o}", "pairs", (json_int_t)c->pairs, "ratio", c->ratio,
                     "interval_95", known ? json_pack("[f, f]", c->low, c->high) : json_null());
}

static json_t *result_json(const struct bench_results *all, const vkmoe_bench_result *r,
                           bool prompt)
{
    char name[BENCH_NAME_SIZE];
    bench_name(name, all->options, prompt);
    return json_pack(
        "{s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:f, "
        "s:f, s:f, s:f, s:o, s:o, s:o, s:o}",
        "test", name, "mean", r->mean, "sd", r->deviation, "tokens", (json_int_t)r->tokens, "batch",
        (json_int_t)r->batch, "depth", (json_int_t)all->options->depth, "repetitions",
        (json_int_t)r->repetitions, "weight_bytes", r->weight_bytes, "kv_bytes", r->kv_bytes,
        "bytes_per_second", r->bytes_per_second, "read_bandwidth", r->read_bandwidth, "dispatches",
        (json_int_t)r->dispatches, "barriers", (json_int_t)r->barriers, "dispatches_per_token",
        r->dispatches_per_token, "barriers_per_token", r->barriers_per_token,
        "record_seconds_per_token", r->record_seconds, "submit_seconds_per_token",
        r->submit_seconds, "wait_seconds_per_token", r->wait_seconds, "step_seconds",
        r->step_seconds, "step_over_weights", r->step_over_weights, "peak_memory",
        peak_json(&r->memory), "peak_arithmetic", peak_json(&r->arithmetic), "counting",
        counting_json(&r->counting), "kernels", kernels_json(r));
}

int bench_print_json(const struct bench_results *r)
{
    json_t *results = json_array();
    if (r->prompt.tokens)
        json_array_append_new(results, result_json(r, &r->prompt, true));
    if (r->generate.tokens)
        json_array_append_new(results, result_json(r, &r->generate, false));
    return cli_print_json(
        json_pack("{s:o, s:o, s:o, s:s, s:I, s:s, s:o}", "model", cli_json_text(r->model), "device",
                  cli_json_text(r->device->name), "driver", cli_json_text(r->device->driver),
                  "weights", cli_weights_name(r->weights), "layers", (json_int_t)r->options->layers,
                  "kv", cli_kv_name(r->options->common.kv), "results", results),
        "the measurements");
}
