#include "route_panel.h"

#include <string.h>

#include "application.h"
#include "expert_map.h"
#include "expert_text.h"

struct _MoeRoutePanel {
    GtkWidget parent_instance;
    GtkWidget *box; /* all of it */
    GtkLabel *title;
    GtkWidget *scroller, *close;
    GtkListView *list;
    GtkStringList *layers; /* their numbers; rows look the rest up when they are bound */
    MoeRouteLog *log;
    int token;
    char *word;     /* the token's text; "" where it is not seen */
    gboolean known; /* its route is, and shown */
};

G_DEFINE_FINAL_TYPE(MoeRoutePanel, moe_route_panel, GTK_TYPE_WIDGET)

enum { LAYER_ACTIVATED, N_SIGNALS };
static guint signals[N_SIGNALS];

static GtkWidget *row_label(GtkWidget *row, const char *class, gboolean wide)
{
    GtkWidget *label = gtk_label_new(NULL);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_wrap(GTK_LABEL(label), wide);
    gtk_label_set_yalign(GTK_LABEL(label), 0);
    gtk_widget_set_hexpand(label, wide);
    gtk_widget_add_css_class(label, class);
    gtk_widget_add_css_class(label, "numeric");
    gtk_box_append(GTK_BOX(row), label);
    return label;
}

static void set_up_row(MoeRoutePanel *self, GtkListItem *item)
{
    GtkWidget *row = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    GtkWidget *text = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    (void)self;
    row_label(row, "route-layer", FALSE);
    gtk_box_append(GTK_BOX(row), text);
    row_label(text, "route-chosen", TRUE);
    row_label(text, "dim-label", TRUE);
    gtk_list_item_set_child(item, row);
}

static void bind_row(MoeRoutePanel *self, GtkListItem *item)
{
    GtkWidget *layer = gtk_widget_get_first_child(gtk_list_item_get_child(item));
    GtkWidget *chosen = gtk_widget_get_first_child(gtk_widget_get_next_sibling(layer));
    GtkWidget *runners = gtk_widget_get_next_sibling(chosen);
    guint number = gtk_list_item_get_position(item);
    g_autofree char *name = g_strdup_printf("Layer %u", number);
    gtk_label_set_label(GTK_LABEL(layer), name);
    if (self->token < 0)
        return;
    g_autofree char *route = moe_route_text(self->log, (guint)self->token, number);
    g_autofree char *next =
        moe_runners_text(self->log, (guint)self->token, number, MOE_EXPERT_MAP_RUNNERS);
    g_autofree char *also = g_strdup_printf("runners-up: %s", next);
    gtk_label_set_label(GTK_LABEL(chosen), route);
    gtk_label_set_label(GTK_LABEL(runners), also);
    gtk_widget_set_visible(runners, *next != '\0');
}

static char *title_of(MoeRoutePanel *self, gboolean known)
{
    g_autoptr(GString) word = g_string_new(self->word);
    g_string_replace(word, "\n", "↵", 0);
    g_autofree char *token = word->len > 0
                                 ? g_strdup_printf("“%s” (token %d)", word->str, self->token)
                                 : g_strdup_printf("Token %d", self->token);
    if (self->token < 0)
        return g_strdup("Click a word of the text to see which experts it woke.");
    return known ? g_strdup_printf("%s: experts with their gates, largest first", token)
                 : g_strdup_printf("%s: its route is not known. Running the text computes it.",
                                   token);
}

static gboolean is_known(MoeRoutePanel *self)
{
    return self->token >= 0 && moe_route_log_get_kept(self->log, (guint)self->token) > 0;
}

static void show(MoeRoutePanel *self)
{
    guint before = g_list_model_get_n_items(G_LIST_MODEL(self->layers));
    gboolean known = is_known(self);
    guint now = known ? moe_route_log_get_shape(self->log)->n_layers : 0;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *title = title_of(self, known);
    for (guint i = 0; i < now; i++)
        g_ptr_array_add(names, (gpointer) "");
    g_ptr_array_add(names, NULL);
    gtk_string_list_splice(self->layers, 0, before, (const char *const *)names->pdata);
    gtk_label_set_label(self->title, title);
    gtk_widget_set_visible(self->scroller, known);
    self->known = known;
    gtk_widget_set_visible(self->close, self->token >= 0);
}

void moe_route_panel_set_token(MoeRoutePanel *self, int token, const char *word)
{
    g_return_if_fail(MOE_IS_ROUTE_PANEL(self));
    if (token == self->token && strcmp(word, self->word) == 0)
        return;
    self->token = token;
    g_free(self->word);
    self->word = g_strdup(word);
    show(self);
}

int moe_route_panel_get_token(MoeRoutePanel *self)
{
    return self->token;
}

/* A token that is gone is looked at no more. */
static void on_log_changed(MoeRoutePanel *self)
{
    if (self->token >= (int)moe_route_log_get_length(self->log))
        moe_route_panel_set_token(self, -1, "");
    else if (is_known(self) != self->known)
        show(self);
}

void moe_route_panel_set_log(MoeRoutePanel *self, MoeRouteLog *log)
{
    g_return_if_fail(MOE_IS_ROUTE_PANEL(self) && !self->log);
    self->log = g_object_ref(log);
    g_signal_connect_object(log, "changed", G_CALLBACK(on_log_changed), self, G_CONNECT_SWAPPED);
    show(self);
}

char *moe_route_panel_get_text(MoeRoutePanel *self)
{
    GString *text = g_string_new(gtk_label_get_label(self->title));
    guint rows = g_list_model_get_n_items(G_LIST_MODEL(self->layers));
    for (guint i = 0; i < rows; i++) {
        g_autofree char *route = moe_route_text(self->log, (guint)self->token, i);
        g_autofree char *next =
            moe_runners_text(self->log, (guint)self->token, i, MOE_EXPERT_MAP_RUNNERS);
        g_string_append_printf(text, "\nLayer %u: %s; runners-up: %s", i, route, next);
    }
    return g_string_free(text, FALSE);
}

static void on_activate(MoeRoutePanel *self, guint position)
{
    g_signal_emit(self, signals[LAYER_ACTIVATED], 0, position);
}

static void moe_route_panel_dispose(GObject *object)
{
    g_clear_pointer(&MOE_ROUTE_PANEL(object)->box, gtk_widget_unparent);
    G_OBJECT_CLASS(moe_route_panel_parent_class)->dispose(object);
}

static void moe_route_panel_finalize(GObject *object)
{
    MoeRoutePanel *self = MOE_ROUTE_PANEL(object);
    g_clear_object(&self->log);
    g_object_unref(self->layers);
    g_free(self->word);
    G_OBJECT_CLASS(moe_route_panel_parent_class)->finalize(object);
}

static void moe_route_panel_class_init(MoeRoutePanelClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    G_OBJECT_CLASS(class)->dispose = moe_route_panel_dispose;
    G_OBJECT_CLASS(class)->finalize = moe_route_panel_finalize;
    signals[LAYER_ACTIVATED] =
        g_signal_new("layer-activated", MOE_TYPE_ROUTE_PANEL, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                     NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
    gtk_widget_class_set_layout_manager_type(widget, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget, MOE_RESOURCES "route_panel.ui");
    gtk_widget_class_bind_template_child(widget, MoeRoutePanel, box);
    gtk_widget_class_bind_template_child(widget, MoeRoutePanel, title);
    gtk_widget_class_bind_template_child(widget, MoeRoutePanel, close);
    gtk_widget_class_bind_template_child(widget, MoeRoutePanel, scroller);
    gtk_widget_class_bind_template_child(widget, MoeRoutePanel, list);
}

static void moe_route_panel_init(MoeRoutePanel *self)
{
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
    self->token = -1;
    self->word = g_strdup("");
    self->layers = gtk_string_list_new(NULL);
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_swapped(factory, "setup", G_CALLBACK(set_up_row), self);
    g_signal_connect_swapped(factory, "bind", G_CALLBACK(bind_row), self);
    gtk_list_view_set_factory(self->list, factory);
    g_object_unref(factory);
    GtkNoSelection *model = gtk_no_selection_new(g_object_ref(G_LIST_MODEL(self->layers)));
    gtk_list_view_set_model(self->list, GTK_SELECTION_MODEL(model));
    g_object_unref(model);
    g_signal_connect_object(self->list, "activate", G_CALLBACK(on_activate), self,
                            G_CONNECT_SWAPPED);
}
