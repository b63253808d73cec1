/* The time of every kernel as bars, the longest first. */
#ifndef MOE_KERNEL_CHART_H
#define MOE_KERNEL_CHART_H

#include <gtk/gtk.h>
#include <vkmoe/vkmoe.h>

#define MOE_TYPE_KERNEL_CHART (moe_kernel_chart_get_type())
G_DECLARE_FINAL_TYPE(MoeKernelChart, moe_kernel_chart, MOE, KERNEL_CHART, GtkBox)

/* Shows what was measured; nothing is kept of it. `step` says what the times are of: "token" or
 * "prompt". */
void moe_kernel_chart_set(MoeKernelChart *self, const vkmoe_bench_result *result, const char *step);

#endif
