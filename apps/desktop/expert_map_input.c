/* What keys and pointers do on the map of experts. */
#include "expert_map_private.h"

#define STEP 1.5 /* of zoom */

/* --- actions, on the cell under the cursor --- */

static void select_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    (void)name, (void)parameter;
    if (self->selected && self->selected_layer == self->layer &&
        self->selected_expert == self->expert)
        moe_expert_map_unselect(self);
    else
        moe_expert_map_select(self, self->layer, self->expert);
}

static void toggle_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    GError *error = NULL;
    (void)name, (void)parameter;
    if (moe_expert_map_is_empty(self))
        return;
    moe_steering_toggle(self->steering, self->layer, self->expert, &error);
    moe_expert_map_refuse(self, &error);
}

static void force_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    GError *error = NULL;
    (void)name, (void)parameter;
    if (moe_expert_map_is_empty(self))
        return;
    gboolean forced =
        moe_steering_get_state(self->steering, self->layer, self->expert) == VKMOE_EXPERT_FORCED;
    moe_steering_set_state(self->steering, self->layer, self->expert,
                           forced ? VKMOE_EXPERT_FREE : VKMOE_EXPERT_FORCED, &error);
    moe_expert_map_refuse(self, &error);
}

static void layer_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    GError *error = NULL;
    (void)parameter;
    if (moe_expert_map_is_empty(self))
        return;
    if (g_str_equal(name, "map.busiest-off"))
        moe_steering_switch_busiest_off(self->steering, self->layer, self->log, &error);
    else if (g_str_equal(name, "map.keep-busiest"))
        moe_steering_keep_busiest(self->steering, self->layer, self->log, &error);
    else
        moe_steering_free_layer(self->steering, self->layer);
    moe_expert_map_refuse(self, &error);
}

static void zoom_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    double zoom = self->layout.zoom;
    (void)parameter;
    moe_expert_map_set_zoom(self, g_str_equal(name, "map.zoom-in")    ? zoom * STEP
                                  : g_str_equal(name, "map.zoom-out") ? zoom / STEP
                                                                      : 1);
}

/* --- the menu --- */

static GMenuModel *menu_model(void)
{
    GMenu *menu = g_menu_new(), *expert = g_menu_new(), *layer = g_menu_new();
    g_menu_append(expert, "Tint the Tokens It Served", "map.select");
    g_menu_append(expert, "Switch Off or On", "map.toggle");
    g_menu_append(expert, "Always Use or Not", "map.force");
    g_menu_append(layer, "Switch the Layer’s Busiest Off", "map.busiest-off");
    g_menu_append(layer, "Keep Only the Layer’s Busiest", "map.keep-busiest");
    g_menu_append(layer, "Free the Whole Layer", "map.free-layer");
    g_menu_append_section(menu, NULL, G_MENU_MODEL(expert));
    g_menu_append_section(menu, NULL, G_MENU_MODEL(layer));
    g_object_unref(expert);
    g_object_unref(layer);
    return G_MENU_MODEL(menu);
}

static void show_menu(MoeExpertMap *self)
{
    GdkRectangle at = moe_expert_map_get_area(self, self->layer, self->expert);
    if (moe_expert_map_is_empty(self))
        return;
    if (!self->menu) {
        g_autoptr(GMenuModel) model = menu_model();
        self->menu = gtk_popover_menu_new_from_model(model);
        gtk_widget_set_parent(self->menu, GTK_WIDGET(self));
    }
    gtk_popover_set_pointing_to(GTK_POPOVER(self->menu), &at);
    gtk_popover_popup(GTK_POPOVER(self->menu));
}

static void menu_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    (void)name, (void)parameter;
    show_menu(MOE_EXPERT_MAP(widget));
}

/* --- keys --- */

static gboolean move(GtkWidget *widget, GVariant *by, gpointer data)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    int layer, expert;
    (void)data;
    g_variant_get(by, "(ii)", &layer, &expert);
    if (moe_expert_map_is_empty(self))
        return FALSE;
    gint64 row = (gint64)self->layer + layer, column = (gint64)self->expert + expert;
    moe_expert_map_set_cursor(self, (guint)CLAMP(row, 0, G_MAXINT),
                              (guint)CLAMP(column, 0, G_MAXINT));
    return TRUE;
}

/* Escape is the window's where there is nothing to leave. */
static gboolean leave(GtkWidget *widget, GVariant *arguments, gpointer data)
{
    MoeExpertMap *self = MOE_EXPERT_MAP(widget);
    gboolean selected = self->selected;
    (void)arguments, (void)data;
    moe_expert_map_unselect(self);
    return selected;
}

void moe_expert_map_install_input(GtkWidgetClass *class)
{
    static const struct {
        guint key, pad;
        int layer, expert;
    } moves[] = {
        {GDK_KEY_Left, GDK_KEY_KP_Left, 0, -1},
        {GDK_KEY_Right, GDK_KEY_KP_Right, 0, 1},
        {GDK_KEY_Up, GDK_KEY_KP_Up, -1, 0},
        {GDK_KEY_Down, GDK_KEY_KP_Down, 1, 0},
        {GDK_KEY_Page_Up, GDK_KEY_KP_Page_Up, -8, 0},
        {GDK_KEY_Page_Down, GDK_KEY_KP_Page_Down, 8, 0},
        {GDK_KEY_Home, GDK_KEY_KP_Home, 0, -G_MAXINT},
        {GDK_KEY_End, GDK_KEY_KP_End, 0, G_MAXINT},
    };
    static const struct {
        guint key;
        GdkModifierType modifiers;
        const char *action;
    } keys[] = {
        {GDK_KEY_Return, 0, "map.select"},
        {GDK_KEY_KP_Enter, 0, "map.select"},
        {GDK_KEY_space, 0, "map.toggle"},
        {GDK_KEY_space, GDK_SHIFT_MASK, "map.force"},
        {GDK_KEY_plus, 0, "map.zoom-in"},
        {GDK_KEY_plus, GDK_SHIFT_MASK, "map.zoom-in"},
        {GDK_KEY_equal, 0, "map.zoom-in"},
        {GDK_KEY_KP_Add, 0, "map.zoom-in"},
        {GDK_KEY_minus, 0, "map.zoom-out"},
        {GDK_KEY_KP_Subtract, 0, "map.zoom-out"},
        {GDK_KEY_0, 0, "map.fit"},
        {GDK_KEY_KP_0, 0, "map.fit"},
        {GDK_KEY_F10, GDK_SHIFT_MASK, "map.menu"},
        {GDK_KEY_Menu, 0, "map.menu"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(moves); i++) {
        gtk_widget_class_add_binding(class, moves[i].key, 0, move, "(ii)", moves[i].layer,
                                     moves[i].expert);
        gtk_widget_class_add_binding(class, moves[i].pad, 0, move, "(ii)", moves[i].layer,
                                     moves[i].expert);
    }
    gtk_widget_class_add_binding(class, GDK_KEY_Escape, 0, leave, NULL);
    gtk_widget_class_install_action(class, "map.select", NULL, select_action);
    gtk_widget_class_install_action(class, "map.toggle", NULL, toggle_action);
    gtk_widget_class_install_action(class, "map.force", NULL, force_action);
    gtk_widget_class_install_action(class, "map.busiest-off", NULL, layer_action);
    gtk_widget_class_install_action(class, "map.keep-busiest", NULL, layer_action);
    gtk_widget_class_install_action(class, "map.free-layer", NULL, layer_action);
    gtk_widget_class_install_action(class, "map.zoom-in", NULL, zoom_action);
    gtk_widget_class_install_action(class, "map.zoom-out", NULL, zoom_action);
    gtk_widget_class_install_action(class, "map.fit", NULL, zoom_action);
    gtk_widget_class_install_action(class, "map.menu", NULL, menu_action);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        gtk_widget_class_add_binding_action(class, keys[i].key, keys[i].modifiers, keys[i].action,
                                            NULL);
}

/* --- pointers --- */

static void on_pressed(MoeExpertMap *self, int n_press, double x, double y,
                       GtkGestureClick *gesture)
{
    guint layer, number,
        button = gtk_gesture_single_get_current_button(GTK_GESTURE_SINGLE(gesture));
    GdkModifierType state =
        gtk_event_controller_get_current_event_state(GTK_EVENT_CONTROLLER(gesture));
    MoeMapPlace place = moe_map_layout_find(&self->layout, x, y, &layer, &number);
    gtk_widget_grab_focus(GTK_WIDGET(self));
    if (place == MOE_MAP_NOTHING || n_press > 1)
        return;
    moe_expert_map_set_cursor(self, layer, place == MOE_MAP_EXPERT ? number : self->expert);
    if (button == GDK_BUTTON_SECONDARY)
        show_menu(self);
    else if (place == MOE_MAP_EXPERT && state & GDK_CONTROL_MASK)
        gtk_widget_activate_action(GTK_WIDGET(self), "map.toggle", NULL);
    else if (place == MOE_MAP_EXPERT)
        gtk_widget_activate_action(GTK_WIDGET(self), "map.select", NULL);
}

static void on_motion(MoeExpertMap *self, double x, double y)
{
    guint layer, number;
    gboolean hovers = moe_map_layout_find(&self->layout, x, y, &layer, &number) == MOE_MAP_EXPERT;
    if (hovers == self->hovers && layer == self->hover_layer && number == self->hover_expert)
        return;
    self->hovers = hovers;
    self->hover_layer = layer;
    self->hover_expert = number;
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

/* Tokens that came meanwhile changed what there is to say. */
static void on_focused(MoeExpertMap *self)
{
    moe_expert_map_describe(self);
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void on_leave(MoeExpertMap *self)
{
    self->hovers = FALSE;
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

/* The wheel scrolls; with Control it zooms about the pointer. */
static gboolean on_scroll(MoeExpertMap *self, double dx, double dy, GtkEventController *controller)
{
    (void)dx;
    if (!(gtk_event_controller_get_current_event_state(controller) & GDK_CONTROL_MASK))
        return FALSE;
    MoeMapArea a = self->hovers
                       ? moe_map_layout_expert(&self->layout, self->hover_layer, self->hover_expert)
                       : moe_map_layout_expert(&self->layout, self->layer, self->expert);
    moe_expert_map_zoom_at(self, self->layout.zoom * (dy < 0 ? STEP : 1 / STEP), a.x + a.width / 2,
                           a.y + a.height / 2);
    return TRUE;
}

void moe_expert_map_add_controllers(MoeExpertMap *self)
{
    GtkWidget *widget = GTK_WIDGET(self);
    GtkGesture *click = gtk_gesture_click_new();
    GtkEventController *motion = gtk_event_controller_motion_new();
    GtkEventController *scroll =
        gtk_event_controller_scroll_new(GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
    GtkEventController *focus = gtk_event_controller_focus_new();
    gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(click), 0);
    g_signal_connect_swapped(click, "pressed", G_CALLBACK(on_pressed), self);
    g_signal_connect_swapped(motion, "motion", G_CALLBACK(on_motion), self);
    g_signal_connect_swapped(motion, "leave", G_CALLBACK(on_leave), self);
    g_signal_connect_swapped(scroll, "scroll", G_CALLBACK(on_scroll), self);
    g_signal_connect_swapped(focus, "enter", G_CALLBACK(on_focused), self);
    g_signal_connect_swapped(focus, "leave", G_CALLBACK(gtk_widget_queue_draw), self);
    gtk_widget_add_controller(widget, GTK_EVENT_CONTROLLER(click));
    gtk_widget_add_controller(widget, motion);
    gtk_widget_add_controller(widget, scroll);
    gtk_widget_add_controller(widget, focus);
}
