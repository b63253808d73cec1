#include "choice.h"

struct _MoeChoice {
    GObject parent;
    guint32 value;
    char *text, *cost;
    gboolean fits;
};

enum { PROP_0, PROP_TEXT, PROP_COST, PROP_FITS };

G_DEFINE_FINAL_TYPE(MoeChoice, moe_choice, G_TYPE_OBJECT)

MoeChoice *moe_choice_new(guint32 value, const char *text, const char *cost, gboolean fits)
{
    MoeChoice *self = g_object_new(MOE_TYPE_CHOICE, NULL);
    self->value = value;
    self->text = g_strdup(text);
    self->cost = g_strdup(cost);
    self->fits = fits;
    return self;
}

guint32 moe_choice_value(MoeChoice *self)
{
    return self->value;
}

guint moe_choice_find(GListModel *choices, guint32 value)
{
    for (guint i = 0; i < g_list_model_get_n_items(choices); i++) {
        g_autoptr(MoeChoice) choice = g_list_model_get_item(choices, i);
        if (choice->value == value)
            return i;
    }
    return G_MAXUINT;
}

static void moe_choice_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    MoeChoice *self = MOE_CHOICE(object);
    if (id == PROP_TEXT)
        g_value_set_string(value, self->text);
    else if (id == PROP_COST)
        g_value_set_string(value, self->cost);
    else if (id == PROP_FITS)
        g_value_set_boolean(value, self->fits);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_choice_finalize(GObject *object)
{
    MoeChoice *self = MOE_CHOICE(object);
    g_free(self->text);
    g_free(self->cost);
    G_OBJECT_CLASS(moe_choice_parent_class)->finalize(object);
}

static void moe_choice_class_init(MoeChoiceClass *class)
{
    GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->get_property = moe_choice_get_property;
    object->finalize = moe_choice_finalize;
    g_object_class_install_property(object, PROP_TEXT,
                                    g_param_spec_string("text", NULL, NULL, NULL, flags));
    g_object_class_install_property(object, PROP_COST,
                                    g_param_spec_string("cost", NULL, NULL, NULL, flags));
    g_object_class_install_property(object, PROP_FITS,
                                    g_param_spec_boolean("fits", NULL, NULL, FALSE, flags));
}

static void moe_choice_init(MoeChoice *self)
{
    (void)self;
}
