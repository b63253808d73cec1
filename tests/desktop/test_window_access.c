/* What assistive technologies are told: names of all controls, and the cell of the map under its
 * cursor. GTK's own context for tests keeps it. */
#include "desktop.h"
#include "experts.h"
#include "model_dialog.h"
#include "process.h"
#include "window_devices.h"

/* --- names --- */

static bool has_text(GtkWidget *widget)
{
    bool found = GTK_IS_LABEL(widget) && *gtk_label_get_label(GTK_LABEL(widget)) != '\0';
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = has_text(child);
    return found;
}

static bool is_named(GtkWidget *widget)
{
    GtkAccessible *a = GTK_ACCESSIBLE(widget);
    return gtk_test_accessible_has_property(a, GTK_ACCESSIBLE_PROPERTY_LABEL) ||
           gtk_test_accessible_has_relation(a, GTK_ACCESSIBLE_RELATION_LABELLED_BY) ||
           ((GTK_IS_BUTTON(widget) || GTK_IS_CHECK_BUTTON(widget)) && has_text(widget));
}

static bool is_control(GtkWidget *w)
{
    return GTK_IS_BUTTON(w) || GTK_IS_MENU_BUTTON(w) || GTK_IS_CHECK_BUTTON(w) ||
           GTK_IS_DROP_DOWN(w) || GTK_IS_EDITABLE(w) || GTK_IS_TEXT_VIEW(w) || GTK_IS_RANGE(w) ||
           GTK_IS_LIST_VIEW(w) || GTK_IS_COLUMN_VIEW(w) || GTK_IS_PROGRESS_BAR(w) ||
           MOE_IS_EXPERT_MAP(w);
}

/* What GTK made of its own inside it, and names itself. */
static bool is_whole(GtkWidget *w)
{
    return GTK_IS_DROP_DOWN(w) || GTK_IS_EDITABLE(w) || GTK_IS_LIST_VIEW(w) ||
           GTK_IS_COLUMN_VIEW(w) || GTK_IS_WINDOW_CONTROLS(w) || GTK_IS_POPOVER_MENU(w) ||
           GTK_IS_SCROLLBAR(w);
}

/* Names what has no name, and returns how many controls there are. */
static guint look_at(GtkWidget *widget)
{
    guint count = 0;
    if (is_control(widget) && !GTK_IS_SCROLLBAR(widget)) {
        count++;
        if (!is_named(widget))
            fail_msg("a %s within %s has no accessible name", G_OBJECT_TYPE_NAME(widget),
                     G_OBJECT_TYPE_NAME(gtk_widget_get_parent(widget)));
    }
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !is_whole(widget);
         child = gtk_widget_get_next_sibling(child))
        count += look_at(child);
    return count;
}

static void every_control_has_a_name(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    assert_true(look_at(GTK_WIDGET(d.window)) > 40);
    GtkWidget *dialog = GTK_WIDGET(moe_window_open_model_dialog(d.window, NULL));
    assert_true(look_at(dialog) >= 10);
    gtk_window_close(GTK_WINDOW(dialog));
    GtkWidget *device = GTK_WIDGET(moe_window_open_device_window(d.window, "device"));
    assert_true(look_at(device) >= 10);
    gtk_window_close(GTK_WINDOW(device));
    desktop_stop(&d);
}

/* --- the map --- */

/* The property as it is, in quotes. */
static char *told(GtkWidget *widget, GtkAccessibleProperty property)
{
    char *is = gtk_test_accessible_check_property(GTK_ACCESSIBLE(widget), property, "nothing");
    return is ? is : g_strdup("");
}

static void assert_told(GtkWidget *widget, const char *words)
{
    g_autofree char *is = told(widget, GTK_ACCESSIBLE_PROPERTY_DESCRIPTION);
    test_assert_part(is, words);
}

static void the_map_tells_the_cell_under_its_cursor(void **state)
{
    struct desktop d;
    (void)state;
    desktop_start(&d, NULL);
    desktop_wait_idle(&d);
    MoeExperts *experts = moe_experts_of(d.window);
    MoeExpertMap *map = moe_experts_page_get_map(moe_experts_get_page(experts));
    GtkWidget *widget = GTK_WIDGET(map);
    g_autofree char *name = told(widget, GTK_ACCESSIBLE_PROPERTY_LABEL);
    test_assert_part(name, "Map of experts");
    assert_told(widget, "Layer 0, expert 0");
    assert_true(gtk_widget_grab_focus(widget)); /* as Tab does */
    moe_expert_map_set_cursor(map, 2, 7);
    assert_told(widget, "Layer 2, expert 7");
    gtk_widget_activate_action(widget, "map.toggle", NULL);
    assert_told(widget, "switched off");
    gtk_widget_activate_action(widget, "map.toggle", NULL);
    gtk_widget_activate_action(widget, "map.force", NULL);
    assert_told(widget, "always used");
    gtk_widget_activate_action(widget, "map.force", NULL);
    gtk_widget_activate_action(widget, "map.select", NULL);
    assert_told(widget, "tinted");
    g_object_set(moe_window_get_sampler(d.window), "max-tokens", 12, NULL);
    desktop_do(&d, "win.run");
    desktop_wait_end(&d);
    moe_transcript_select(d.transcript, 4);
    assert_told(widget, "this token");
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_control_has_a_name),
        cmocka_unit_test(the_map_tells_the_cell_under_its_cursor),
    };
    g_setenv("GTK_A11Y", "test", TRUE); /* before GTK begins */
    return DESKTOP_RUN(tests);
}
