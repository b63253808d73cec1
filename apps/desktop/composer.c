#include "composer.h"

#include "application.h"

struct _MoeComposer {
    GtkWidget parent;
    GtkWidget *box;
    GtkTextView *view;
    GtkDropDown *mode;
    GtkMenuButton *sampler;
    GtkLabel *hint;
    GtkWidget *stop, *run;
};

G_DEFINE_FINAL_TYPE(MoeComposer, moe_composer, GTK_TYPE_WIDGET)

enum { PROP_CHAT = 1, N_PROPS };
static GParamSpec *properties[N_PROPS];

enum { MODE_TEXT, MODE_CHAT };

char *moe_composer_get_text(MoeComposer *self)
{
    GtkTextIter start, end;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(self->view);
    gtk_text_buffer_get_bounds(buffer, &start, &end);
    return gtk_text_buffer_get_text(buffer, &start, &end, TRUE);
}

void moe_composer_set_text(MoeComposer *self, const char *text)
{
    GtkTextIter start, end;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(self->view);
    gtk_text_buffer_begin_user_action(buffer);
    gtk_text_buffer_get_bounds(buffer, &start, &end);
    gtk_text_buffer_delete(buffer, &start, &end);
    gtk_text_buffer_insert(buffer, &start, text, -1);
    gtk_text_buffer_end_user_action(buffer);
}

gboolean moe_composer_get_chat(MoeComposer *self)
{
    return gtk_drop_down_get_selected(self->mode) == MODE_CHAT;
}

void moe_composer_set_chat(MoeComposer *self, gboolean chat)
{
    gtk_drop_down_set_selected(self->mode, chat ? MODE_CHAT : MODE_TEXT);
}

void moe_composer_set_busy(MoeComposer *self, gboolean busy)
{
    gtk_widget_set_visible(self->stop, busy);
    gtk_widget_set_visible(self->run, !busy);
}

void moe_composer_set_hint(MoeComposer *self, const char *hint)
{
    gtk_label_set_label(self->hint, hint);
}

const char *moe_composer_get_hint(MoeComposer *self)
{
    return gtk_label_get_label(self->hint);
}

void moe_composer_set_popover(MoeComposer *self, GtkWidget *popover)
{
    gtk_menu_button_set_popover(self->sampler, popover);
}

GtkWidget *moe_composer_get_view(MoeComposer *self)
{
    return GTK_WIDGET(self->view);
}

/* Before the text view sees it; what an input method wants goes there first. */
static gboolean on_key(GtkEventControllerKey *controller, guint key, guint code,
                       GdkModifierType modifiers, gpointer data)
{
    MoeComposer *self = data;
    const GdkModifierType held = modifiers & (GDK_SHIFT_MASK | GDK_CONTROL_MASK | GDK_ALT_MASK);
    (void)code;
    if (key != GDK_KEY_Return && key != GDK_KEY_KP_Enter && key != GDK_KEY_ISO_Enter)
        return FALSE;
    if (held != GDK_CONTROL_MASK && (held != 0 || !moe_composer_get_chat(self)))
        return FALSE;
    GdkEvent *event = gtk_event_controller_get_current_event(GTK_EVENT_CONTROLLER(controller));
    if (gtk_text_view_im_context_filter_keypress(self->view, event))
        return TRUE;
    gtk_widget_activate_action(GTK_WIDGET(self), "win.run", NULL);
    return TRUE;
}

static void on_mode(MoeComposer *self)
{
    gboolean chat = moe_composer_get_chat(self);
    gtk_widget_set_tooltip_text(self->run, chat ? "Run (Enter)" : "Run (Ctrl+Enter)");
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_CHAT]);
}

static gboolean moe_composer_grab_focus(GtkWidget *widget)
{
    return gtk_widget_grab_focus(GTK_WIDGET(MOE_COMPOSER(widget)->view));
}

static void moe_composer_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    if (id == PROP_CHAT)
        g_value_set_boolean(value, moe_composer_get_chat(MOE_COMPOSER(object)));
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_composer_dispose(GObject *object)
{
    gtk_widget_dispose_template(GTK_WIDGET(object), MOE_TYPE_COMPOSER);
    G_OBJECT_CLASS(moe_composer_parent_class)->dispose(object);
}

static void moe_composer_class_init(MoeComposerClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->dispose = moe_composer_dispose;
    object->get_property = moe_composer_get_property;
    widget->grab_focus = moe_composer_grab_focus;
    properties[PROP_CHAT] =
        g_param_spec_boolean("chat", NULL, NULL, FALSE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object, N_PROPS, properties);
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "composer.ui");
    gtk_widget_class_bind_template_child(widget, MoeComposer, box);
    gtk_widget_class_bind_template_child(widget, MoeComposer, view);
    gtk_widget_class_bind_template_child(widget, MoeComposer, mode);
    gtk_widget_class_bind_template_child(widget, MoeComposer, sampler);
    gtk_widget_class_bind_template_child(widget, MoeComposer, hint);
    gtk_widget_class_bind_template_child(widget, MoeComposer, stop);
    gtk_widget_class_bind_template_child(widget, MoeComposer, run);
}

static void moe_composer_init(MoeComposer *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    GtkEventController *keys = gtk_event_controller_key_new();
    gtk_event_controller_set_propagation_phase(keys, GTK_PHASE_CAPTURE);
    g_signal_connect(keys, "key-pressed", G_CALLBACK(on_key), self);
    gtk_widget_add_controller(GTK_WIDGET(self->view), keys);
    g_signal_connect_object(self->mode, "notify::selected", G_CALLBACK(on_mode), self,
                            G_CONNECT_SWAPPED);
}
