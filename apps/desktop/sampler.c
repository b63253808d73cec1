#include "sampler.h"

#include "application.h"

#define DEFAULT_TOKENS 400

struct _MoeSampler {
    GObject parent;
    vkmoe_sampling now, defaults;
    guint max_tokens;
    gboolean keep_seed;
    gboolean changed; /* by hand */
    gboolean setting; /* not by hand */
};

G_DEFINE_FINAL_TYPE(MoeSampler, moe_sampler, G_TYPE_OBJECT)

enum {
    PROP_TEMPERATURE = 1,
    PROP_TOP_K,
    PROP_TOP_P,
    PROP_MIN_P,
    PROP_REPEAT_PENALTY,
    PROP_REPEAT_LAST,
    PROP_MAX_TOKENS,
    PROP_SEED,
    PROP_KEEP_SEED,
    N_PROPS
};
static GParamSpec *properties[N_PROPS];

static void set_all(MoeSampler *self, const vkmoe_sampling *sampling)
{
    self->setting = TRUE;
    g_object_set(self, "temperature", (double)sampling->temperature, "top-k", sampling->top_k,
                 "top-p", sampling->top_p > 0 ? (double)sampling->top_p : 1.0, "min-p",
                 (double)sampling->min_p, "repeat-penalty",
                 sampling->repeat_penalty > 0 ? (double)sampling->repeat_penalty : 1.0,
                 "repeat-last",
                 sampling->repeat_last ? sampling->repeat_last : VKMOE_DEFAULT_REPEAT_LAST, NULL);
    self->setting = FALSE;
}

void moe_sampler_set_defaults(MoeSampler *self, const vkmoe_sampling *defaults)
{
    self->defaults = *defaults;
    if (!self->changed)
        set_all(self, defaults);
}

void moe_sampler_reset(MoeSampler *self)
{
    self->changed = FALSE;
    set_all(self, &self->defaults);
    g_object_set(self, "max-tokens", DEFAULT_TOKENS, "keep-seed", FALSE, NULL);
}

void moe_sampler_next_seed(MoeSampler *self)
{
    if (!self->keep_seed)
        g_object_set(self, "seed", (guint64)g_random_int(), NULL);
}

vkmoe_sampling moe_sampler_get_sampling(MoeSampler *self)
{
    return self->now;
}

guint moe_sampler_get_max_tokens(MoeSampler *self)
{
    return self->max_tokens;
}

/* --- the object --- */

static void moe_sampler_set_property(GObject *object, guint id, const GValue *value,
                                     GParamSpec *spec)
{
    MoeSampler *self = MOE_SAMPLER(object);
    self->changed = self->changed || (!self->setting && id <= PROP_REPEAT_LAST);
    switch (id) {
    case PROP_TEMPERATURE:
        self->now.temperature = (float)g_value_get_double(value);
        break;
    case PROP_TOP_K:
        self->now.top_k = g_value_get_uint(value);
        break;
    case PROP_TOP_P:
        self->now.top_p = (float)g_value_get_double(value);
        break;
    case PROP_MIN_P:
        self->now.min_p = (float)g_value_get_double(value);
        break;
    case PROP_REPEAT_PENALTY:
        self->now.repeat_penalty = (float)g_value_get_double(value);
        break;
    case PROP_REPEAT_LAST:
        self->now.repeat_last = g_value_get_uint(value);
        break;
    case PROP_MAX_TOKENS:
        self->max_tokens = g_value_get_uint(value);
        break;
    case PROP_SEED:
        self->now.seed = g_value_get_uint64(value);
        break;
    case PROP_KEEP_SEED:
        self->keep_seed = g_value_get_boolean(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void moe_sampler_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    const MoeSampler *self = MOE_SAMPLER(object);
    switch (id) {
    case PROP_TEMPERATURE:
        g_value_set_double(value, (double)self->now.temperature);
        break;
    case PROP_TOP_K:
        g_value_set_uint(value, self->now.top_k);
        break;
    case PROP_TOP_P:
        g_value_set_double(value, (double)self->now.top_p);
        break;
    case PROP_MIN_P:
        g_value_set_double(value, (double)self->now.min_p);
        break;
    case PROP_REPEAT_PENALTY:
        g_value_set_double(value, (double)self->now.repeat_penalty);
        break;
    case PROP_REPEAT_LAST:
        g_value_set_uint(value, self->now.repeat_last);
        break;
    case PROP_MAX_TOKENS:
        g_value_set_uint(value, self->max_tokens);
        break;
    case PROP_SEED:
        g_value_set_uint64(value, self->now.seed);
        break;
    case PROP_KEEP_SEED:
        g_value_set_boolean(value, self->keep_seed);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
}

static void add_double(guint id, const char *name, double most, double initial)
{
    properties[id] = g_param_spec_double(name, NULL, NULL, 0, most, initial,
                                         G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
}

static void add_uint(guint id, const char *name, guint least, guint most, guint initial)
{
    properties[id] = g_param_spec_uint(name, NULL, NULL, least, most, initial,
                                       G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
}

static void moe_sampler_class_init(MoeSamplerClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->set_property = moe_sampler_set_property;
    object->get_property = moe_sampler_get_property;
    add_double(PROP_TEMPERATURE, "temperature", 1000, 0);
    add_uint(PROP_TOP_K, "top-k", 0, G_MAXUINT, 0);
    add_double(PROP_TOP_P, "top-p", 1, 1);
    add_double(PROP_MIN_P, "min-p", 1, 0);
    add_double(PROP_REPEAT_PENALTY, "repeat-penalty", 1000, 1);
    add_uint(PROP_REPEAT_LAST, "repeat-last", 1, G_MAXUINT, VKMOE_DEFAULT_REPEAT_LAST);
    add_uint(PROP_MAX_TOKENS, "max-tokens", 1, G_MAXUINT, DEFAULT_TOKENS);
    properties[PROP_SEED] = g_param_spec_uint64("seed", NULL, NULL, 0, G_MAXUINT64, 0,
                                                G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
    properties[PROP_KEEP_SEED] = g_param_spec_boolean("keep-seed", NULL, NULL, FALSE,
                                                      G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object, N_PROPS, properties);
}

static void moe_sampler_init(MoeSampler *self)
{
    self->max_tokens = DEFAULT_TOKENS;
    set_all(self, &self->defaults);
}

MoeSampler *moe_sampler_new(void)
{
    return g_object_new(MOE_TYPE_SAMPLER, NULL);
}

/* --- the popover --- */

static gboolean seed_to_text(GBinding *binding, const GValue *from, GValue *to, gpointer data)
{
    (void)binding;
    (void)data;
    g_value_take_string(to, g_strdup_printf("%" G_GUINT64_FORMAT, g_value_get_uint64(from)));
    return TRUE;
}

static gboolean text_to_seed(GBinding *binding, const GValue *from, GValue *to, gpointer data)
{
    guint64 seed;
    (void)binding;
    (void)data;
    if (!g_ascii_string_to_unsigned(g_value_get_string(from), 10, 0, G_MAXUINT64, &seed, NULL))
        return FALSE;
    g_value_set_uint64(to, seed);
    return TRUE;
}

GtkWidget *moe_sampler_popover_new(MoeSampler *self)
{
    static const char *const bound[] = {"temperature",    "top-k",       "top-p",     "min-p",
                                        "repeat-penalty", "repeat-last", "max-tokens"};
    const GBindingFlags both = G_BINDING_BIDIRECTIONAL | G_BINDING_SYNC_CREATE;
    g_autoptr(GtkBuilder) builder = gtk_builder_new_from_resource(MOE_RESOURCES "sampler.ui");
    GObject *popover = gtk_builder_get_object(builder, "popover");
    for (guint i = 0; i < G_N_ELEMENTS(bound); i++)
        g_object_bind_property(self, bound[i], gtk_builder_get_object(builder, bound[i]), "value",
                               both);
    g_object_bind_property(self, "keep-seed", gtk_builder_get_object(builder, "keep-seed"),
                           "active", both);
    g_object_bind_property_full(self, "seed", gtk_builder_get_object(builder, "seed"), "text", both,
                                seed_to_text, text_to_seed, NULL, NULL);
    g_signal_connect_object(gtk_builder_get_object(builder, "reset"), "clicked",
                            G_CALLBACK(moe_sampler_reset), self, G_CONNECT_SWAPPED);
    return GTK_WIDGET(g_object_ref(popover));
}
