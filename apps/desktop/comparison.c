#include "comparison.h"

#include <math.h>

struct token {
    gint32 id;
    gsize begin, end; /* in the side's bytes */
};

struct side {
    char *settings;
    GArray *tokens; /* of struct token */
    GString *bytes;
    double sum; /* of ln p, of those tokens of which it is */
    guint known;
    gboolean finished;
};

struct _MoeComparison {
    GObject parent_instance;
    struct side sides[MOE_N_SIDES];
    guint common; /* tokens that are the same on both sides */
};

G_DEFINE_FINAL_TYPE(MoeComparison, moe_comparison, G_TYPE_OBJECT)

enum { CHANGED, N_SIGNALS };
static guint signals[N_SIGNALS];

static void moe_comparison_finalize(GObject *object)
{
    MoeComparison *self = MOE_COMPARISON(object);
    for (int i = 0; i < MOE_N_SIDES; i++) {
        g_free(self->sides[i].settings);
        g_array_unref(self->sides[i].tokens);
        g_string_free(self->sides[i].bytes, TRUE);
    }
    G_OBJECT_CLASS(moe_comparison_parent_class)->finalize(object);
}

static void moe_comparison_class_init(MoeComparisonClass *class)
{
    G_OBJECT_CLASS(class)->finalize = moe_comparison_finalize;
    signals[CHANGED] = g_signal_new("changed", MOE_TYPE_COMPARISON, G_SIGNAL_RUN_LAST, 0, NULL,
                                    NULL, NULL, G_TYPE_NONE, 0);
}

static void moe_comparison_init(MoeComparison *self)
{
    for (int i = 0; i < MOE_N_SIDES; i++) {
        self->sides[i].settings = g_strdup("");
        self->sides[i].tokens = g_array_new(FALSE, FALSE, sizeof(struct token));
        self->sides[i].bytes = g_string_new(NULL);
    }
}

MoeComparison *moe_comparison_new(void)
{
    return g_object_new(MOE_TYPE_COMPARISON, NULL);
}

void moe_comparison_begin(MoeComparison *self, const char *left, const char *right)
{
    const char *settings[MOE_N_SIDES] = {left, right};
    g_return_if_fail(MOE_IS_COMPARISON(self));
    for (int i = 0; i < MOE_N_SIDES; i++) {
        struct side *s = &self->sides[i];
        g_free(s->settings);
        s->settings = g_strdup(settings[i]);
        g_array_set_size(s->tokens, 0);
        g_string_truncate(s->bytes, 0);
        s->sum = 0;
        s->known = 0;
        s->finished = FALSE;
    }
    self->common = 0;
    g_signal_emit(self, signals[CHANGED], 0);
}

const char *moe_comparison_get_settings(MoeComparison *self, MoeSide side)
{
    return self->sides[side].settings;
}

static const struct token *token_at(const MoeComparison *self, MoeSide side, guint i)
{
    return &g_array_index(self->sides[side].tokens, struct token, i);
}

static void compare_on(MoeComparison *self)
{
    guint shorter = MIN(self->sides[0].tokens->len, self->sides[1].tokens->len);
    while (self->common < shorter && token_at(self, MOE_SIDE_LEFT, self->common)->id ==
                                         token_at(self, MOE_SIDE_RIGHT, self->common)->id)
        self->common++;
}

void moe_comparison_append(MoeComparison *self, MoeSide side, gint32 token, const char *bytes,
                           gsize size)
{
    g_return_if_fail(MOE_IS_COMPARISON(self) && side < MOE_N_SIDES);
    struct side *s = &self->sides[side];
    struct token t = {token, s->bytes->len, s->bytes->len + size};
    g_string_append_len(s->bytes, bytes, (gssize)size);
    g_array_append_val(s->tokens, t);
    compare_on(self);
    g_signal_emit(self, signals[CHANGED], 0);
}

void moe_comparison_set_losses(MoeComparison *self, MoeSide side, const float *losses, guint count)
{
    g_return_if_fail(MOE_IS_COMPARISON(self) && side < MOE_N_SIDES);
    struct side *s = &self->sides[side];
    s->sum = 0;
    s->known = 0;
    for (guint i = 0; i < MIN(count, s->tokens->len); i++)
        if (isfinite(losses[i])) {
            s->sum -= (double)losses[i];
            s->known++;
        }
    g_signal_emit(self, signals[CHANGED], 0);
}

void moe_comparison_finish(MoeComparison *self, MoeSide side)
{
    g_return_if_fail(MOE_IS_COMPARISON(self) && side < MOE_N_SIDES);
    self->sides[side].finished = TRUE;
    g_signal_emit(self, signals[CHANGED], 0);
}

gboolean moe_comparison_is_finished(MoeComparison *self, MoeSide side)
{
    return self->sides[side].finished;
}

guint moe_comparison_get_length(MoeComparison *self, MoeSide side)
{
    return self->sides[side].tokens->len;
}

int moe_comparison_get_parting(MoeComparison *self)
{
    const struct side *l = &self->sides[MOE_SIDE_LEFT], *r = &self->sides[MOE_SIDE_RIGHT];
    gboolean both = self->common < l->tokens->len && self->common < r->tokens->len;
    gboolean ended =
        (l->finished && self->common == l->tokens->len && self->common < r->tokens->len) ||
        (r->finished && self->common == r->tokens->len && self->common < l->tokens->len);
    return both || ended ? (int)self->common : -1;
}

char *moe_comparison_dup_text(MoeComparison *self, MoeSide side, guint first, guint last)
{
    const struct side *s = &self->sides[side];
    last = MIN(last, s->tokens->len);
    if (first >= last)
        return g_strdup("");
    gsize begin = token_at(self, side, first)->begin, end = token_at(self, side, last - 1)->end;
    return g_utf8_make_valid(s->bytes->str + begin, (gssize)(end - begin));
}

double moe_comparison_get_mean_logprob(MoeComparison *self, MoeSide side)
{
    const struct side *s = &self->sides[side];
    return s->known > 0 ? s->sum / s->known : (double)NAN;
}

double moe_comparison_get_difference(MoeComparison *self)
{
    return moe_comparison_get_mean_logprob(self, MOE_SIDE_RIGHT) -
           moe_comparison_get_mean_logprob(self, MOE_SIDE_LEFT);
}

char *moe_comparison_summarise(MoeComparison *self)
{
    GString *text = g_string_new(NULL);
    int parting = moe_comparison_get_parting(self);
    gboolean finished = self->sides[0].finished && self->sides[1].finished;
    double difference = moe_comparison_get_difference(self);
    if (parting == 0)
        g_string_append(text, "The texts part at their first token.");
    else if (parting > 0)
        g_string_append_printf(text, "The texts part after %d %s.", parting,
                               parting == 1 ? "token" : "tokens");
    else if (finished)
        g_string_append_printf(text, "The texts are the same, %u tokens.", self->common);
    else if (self->sides[MOE_SIDE_RIGHT].tokens->len == 0)
        g_string_append(text, "The left text comes first, then the right one.");
    else
        g_string_append(text, "The texts are the same so far.");
    if (isfinite(difference))
        g_string_append_printf(
            text, " Mean log-likelihood: left %.3f, right %.3f nats per token; difference %+.3f.",
            moe_comparison_get_mean_logprob(self, MOE_SIDE_LEFT),
            moe_comparison_get_mean_logprob(self, MOE_SIDE_RIGHT), difference);
    return g_string_free(text, FALSE);
}
