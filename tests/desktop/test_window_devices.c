/* The dialog that opens a model, and the window about the device, on a display of their own. */
#include <string.h>

#include "bar.h"
#include "desktop.h"
#include "device_popover.h"
#include "kernel_chart.h"
#include "load_bar.h"
#include "memory_view.h"
#include "model_drop.h"
#include "picture.h"
#include "window_devices.h"

/* --- helpers --- */

static MoeOpenParams model_params(const char *path)
{
    return (MoeOpenParams){.model = (char *)(uintptr_t)path};
}

/* The widget that triggers an action, or NULL. */
static GtkWidget *find_button(GtkWidget *widget, const char *action)
{
    if (GTK_IS_BUTTON(widget) &&
        g_strcmp0(gtk_actionable_get_action_name(GTK_ACTIONABLE(widget)), action) == 0)
        return widget;
    GtkWidget *found = NULL;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = find_button(child, action);
    return found;
}

static bool can_do(GtkWidget *window, const char *action)
{
    GtkWidget *button = find_button(window, action);
    assert_non_null(button);
    return gtk_widget_is_sensitive(button);
}

/* Presses the button of an action, as a user does. */
static void press(GtkWidget *window, const char *action)
{
    if (!can_do(window, action))
        fail_msg("%s cannot be done now", action);
    g_signal_emit_by_name(find_button(window, action), "clicked");
}

static GtkWidget *find(GtkWidget *widget, GType type)
{
    if (g_type_is_a(G_OBJECT_TYPE(widget), type))
        return widget;
    GtkWidget *found = NULL;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child && !found;
         child = gtk_widget_get_next_sibling(child))
        found = find(child, type);
    return found;
}

static guint count_widgets(GtkWidget *widget, GType type)
{
    guint count = g_type_is_a(G_OBJECT_TYPE(widget), type);
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child;
         child = gtk_widget_get_next_sibling(child))
        count += count_widgets(child, type);
    return count;
}

static bool has_verdict(void *data)
{
    MoeModelDialog *dialog = data;
    return moe_model_dialog_plan(dialog) || *moe_model_dialog_problem(dialog);
}

static bool has_plan(void *data)
{
    return moe_model_dialog_plan(data) != NULL;
}

/* The dialog, once it knows what this model takes, or why it does not. */
static GtkWidget *dialog_for(struct desktop *d, const MoeOpenParams *params)
{
    MoeModelDialog *dialog = moe_window_open_model_dialog(d->window, params);
    desktop_wait(has_verdict, dialog, "a model should be planned");
    return GTK_WIDGET(dialog);
}

static bool is_gone(void *data)
{
    return *(void **)data == NULL;
}

static void start_with_model(struct desktop *d)
{
    desktop_start(d, NULL);
    desktop_wait_idle(d);
    assert_null(desktop_notice(d));
}

struct wanted {
    MoeWorker *worker;
    const char *model;
};

static bool is_loaded(void *data)
{
    const struct wanted *wanted = data;
    const MoeLoaded *loaded = moe_worker_get_loaded(wanted->worker);
    return loaded && strcmp(loaded->params->model, wanted->model) == 0;
}

static void wait_for_model(struct desktop *d, const char *path)
{
    struct wanted wanted = {d->worker, path};
    desktop_wait(is_loaded, &wanted, "the model should be loaded");
}

/* --- the dialog --- */

static void the_dialog_tells_what_every_choice_takes(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    desktop_do(&d, "win.open-model");
    GtkWidget *dialog = dialog_for(&d, NULL);
    const MoePlan *plan = moe_model_dialog_plan(MOE_MODEL_DIALOG(dialog));
    assert_non_null(plan);
    assert_true(plan->plan.fits);
    assert_true(can_do(dialog, "dialog.open"));
    assert_string_equal(moe_model_dialog_problem(MOE_MODEL_DIALOG(dialog)), "");
    assert_true(count_widgets(dialog, MOE_TYPE_BAR) > plan->device.n_heaps); /* and its legend */
    picture_take(dialog, false, "open-light");
    picture_take(dialog, true, "open-dark");
    gtk_window_close(GTK_WINDOW(dialog));
    desktop_stop(&d);
}

static void what_cannot_fit_cannot_be_opened_and_the_dialog_says_why(void **state)
{
    struct desktop d;
    const MoeOpenParams params = model_params("deepseek-moe-145b");
    (void)state;
    start_with_model(&d);
    GtkWidget *dialog = dialog_for(&d, &params);
    const char *problem = moe_model_dialog_problem(MOE_MODEL_DIALOG(dialog));
    assert_non_null(strstr(problem, "deepseek-moe-145b needs"));
    assert_null(strchr(problem, '\n'));
    assert_false(can_do(dialog, "dialog.open"));
    picture_take(dialog, false, "open-too-large-light");
    picture_take(dialog, true, "open-too-large-dark");
    gtk_window_close(GTK_WINDOW(dialog));
    desktop_stop(&d);
}

static void what_is_no_model_is_one_sentence_and_leaves_the_open_one_alone(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    test_folder_write_text("config.json", "{\"model_type\": \"something else\"}");
    test_folder_write_text("broken.gguf", "not a GGUF file");
    g_autofree char *file = g_strdup(test_folder_path("broken.gguf"));
    const char *const paths[] = {"/nonexistent/model", test_folder(), file};
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        const MoeOpenParams params = model_params(paths[i]);
        GtkWidget *dialog = dialog_for(&d, &params);
        const char *problem = moe_model_dialog_problem(MOE_MODEL_DIALOG(dialog));
        assert_non_null(strstr(problem, paths[i]));
        assert_null(strchr(problem, '\n'));
        assert_false(can_do(dialog, "dialog.open"));
        void *weak = NULL;
        g_set_weak_pointer(&weak, dialog);
        gtk_window_close(GTK_WINDOW(dialog));
        desktop_wait(is_gone, &weak, "the dialog should close");
    }
    assert_int_equal(moe_worker_get_state(d.worker), MOE_WORKER_READY);
    desktop_stop(&d);
}

/* As the same model at another place, which is not the shipped one. */
static char *linked_model(const char *name)
{
    char *path = g_strdup(test_folder_path(name));
    assert_int_equal(symlink(VKMOE_TEST_MODEL, path), 0);
    return path;
}

static void a_model_is_opened_as_chosen_and_is_recent_afterwards(void **state)
{
    struct desktop d;
    (void)state;
    g_autofree char *path = linked_model("other");
    MoeOpenParams params = model_params(path);
    params.context = 256;
    params.weights = VKMOE_WEIGHTS_Q8;
    params.kv = VKMOE_KV_F16;
    start_with_model(&d);
    GtkWidget *dialog = dialog_for(&d, &params);
    press(dialog, "dialog.open");
    wait_for_model(&d, path);
    const MoeLoaded *loaded = moe_worker_get_loaded(d.worker);
    assert_non_null(loaded);
    assert_int_equal(loaded->context, 256);
    assert_int_equal(loaded->model.weights, VKMOE_WEIGHTS_Q8);
    assert_int_equal(loaded->params->kv, VKMOE_KV_F16);
    g_autoptr(MoeRecentModels) recent = moe_recent_models_new(NULL);
    assert_true(moe_recent_models_has_newest(recent, &params));
    desktop_stop(&d);
}

/* As soon as it is there. */
static void press_cancel(struct desktop *d)
{
    GtkWidget *bar = desktop_find(d, MOE_TYPE_LOAD_BAR);
    if (moe_worker_get_state(d->worker) != MOE_WORKER_LOADING)
        return;
    assert_true(gtk_widget_get_visible(bar));
    g_signal_emit_by_name(gtk_widget_get_last_child(bar), "clicked");
}

static bool has_failed(void *data)
{
    MoeWorker *worker = data;
    return moe_worker_get_state(worker) == MOE_WORKER_EMPTY && moe_worker_get_error(worker);
}

static void loading_can_be_cancelled_and_taken_up_again(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    g_autofree char *path = linked_model("slow");
    const MoeOpenParams params = model_params(path);
    gulong handler =
        g_signal_connect_swapped(d.worker, "notify::state", G_CALLBACK(press_cancel), &d);
    moe_worker_open(d.worker, &params);
    desktop_wait(has_failed, d.worker, "loading should be cancelled");
    g_signal_handler_disconnect(d.worker, handler);
    assert_int_equal(moe_worker_get_error_status(d.worker), VKMOE_CANCELLED);
    assert_false(gtk_widget_get_visible(desktop_find(&d, MOE_TYPE_LOAD_BAR)));
    desktop_do(&d, "win.retry");
    wait_for_model(&d, path);
    desktop_stop(&d);
}

static void only_folders_and_gguf_files_can_be_dropped(void **state)
{
    (void)state;
    test_folder_write_text("model.GGUF", "");
    test_folder_write_text("picture.png", "");
    g_autoptr(GFile) folder = g_file_new_for_path(test_folder());
    g_autoptr(GFile) gguf = g_file_new_for_path(test_folder_path("model.GGUF"));
    g_autoptr(GFile) picture = g_file_new_for_path(test_folder_path("picture.png"));
    g_autoptr(GFile) remote = g_file_new_for_uri("https://example.org/model.gguf");
    assert_true(moe_model_drop_accepts(folder));
    assert_true(moe_model_drop_accepts(gguf));
    assert_false(moe_model_drop_accepts(picture));
    assert_false(moe_model_drop_accepts(remote));
}

/* What GTK does for a file that is let go over a widget; whether it was taken. */
static gboolean let_go_over(GtkWidget *widget, const char *path)
{
    g_autoptr(GListModel) controllers = gtk_widget_observe_controllers(widget);
    g_autoptr(GFile) file = g_file_new_for_path(path);
    GSList files = {.data = file};
    GValue value = G_VALUE_INIT;
    gboolean taken = FALSE, found = FALSE;
    g_value_init(&value, GDK_TYPE_FILE_LIST);
    g_value_set_boxed(&value, &files);
    for (guint i = 0; i < g_list_model_get_n_items(controllers); i++) {
        g_autoptr(GtkEventController) target = g_list_model_get_item(controllers, i);
        if (!GTK_IS_DROP_TARGET(target))
            continue;
        found = TRUE;
        /* A text inside would take it for something to be typed. */
        assert_int_equal(gtk_event_controller_get_propagation_phase(target), GTK_PHASE_CAPTURE);
        g_signal_emit_by_name(target, "drop", &value, 10.0, 10.0, &taken);
    }
    g_value_unset(&value);
    assert_true(found);
    return taken;
}

static GtkWidget *open_dialog(void)
{
    GtkWidget *found = NULL;
    GList *windows = gtk_window_list_toplevels();
    for (GList *l = windows; l && !found; l = l->next)
        found = MOE_IS_MODEL_DIALOG(l->data) ? l->data : NULL;
    g_list_free(windows);
    assert_non_null(found);
    return found;
}

static void a_dropped_model_is_shown_and_a_broken_one_is_one_sentence(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    test_folder_write_text("broken.gguf", "not a GGUF file");
    test_folder_write_text("picture.png", "");
    g_autofree char *broken = g_strdup(test_folder_path("broken.gguf"));
    g_autofree char *picture = g_strdup(test_folder_path("picture.png"));
    g_autofree char *whole = linked_model("whole");
    assert_false(let_go_over(GTK_WIDGET(d.window), picture));
    assert_non_null(strstr(desktop_notice(&d), picture));
    assert_null(strchr(desktop_notice(&d), '\n'));
    moe_window_hide_error(d.window);
    assert_true(let_go_over(GTK_WIDGET(d.window), broken));
    GtkWidget *dialog = open_dialog();
    desktop_wait(has_verdict, dialog, "the model should be planned");
    const char *problem = moe_model_dialog_problem(MOE_MODEL_DIALOG(dialog));
    assert_non_null(strstr(problem, broken));
    assert_null(strchr(problem, '\n'));
    assert_false(can_do(dialog, "dialog.open"));
    assert_true(let_go_over(dialog, whole)); /* on the dialog itself */
    desktop_wait(has_plan, dialog, "the model should be planned");
    assert_true(can_do(dialog, "dialog.open"));
    assert_false(let_go_over(dialog, picture));
    assert_non_null(strstr(moe_model_dialog_problem(MOE_MODEL_DIALOG(dialog)), picture));
    gtk_window_close(GTK_WINDOW(dialog));
    assert_int_equal(moe_worker_get_state(d.worker), MOE_WORKER_READY);
    assert_null(desktop_notice(&d));
    desktop_stop(&d);
}

static void without_a_driver_the_dialog_says_what_to_install_and_has_the_reference(void **state)
{
    struct desktop d;
    g_autofree char *drivers = g_strdup(g_getenv("VK_DRIVER_FILES"));
    (void)state;
    start_with_model(&d);
    const MoeOpenParams params = model_params(VKMOE_TEST_MODEL);
    g_setenv("VK_DRIVER_FILES", "/nonexistent.json", TRUE);
    GtkWidget *dialog = dialog_for(&d, &params);
    const MoePlan *plan = moe_model_dialog_plan(MOE_MODEL_DIALOG(dialog));
    assert_non_null(plan);
    assert_int_equal(plan->device.kind, VKMOE_DEVICE_REFERENCE);
    assert_true(can_do(dialog, "dialog.open"));
    picture_take(dialog, false, "open-without-driver");
    gtk_window_close(GTK_WINDOW(dialog));
    if (drivers)
        g_setenv("VK_DRIVER_FILES", drivers, TRUE);
    else
        g_unsetenv("VK_DRIVER_FILES");
    desktop_stop(&d);
}

/* Does what the first shortcut of a widget does. */
static void press_first_shortcut(GtkWidget *widget)
{
    g_autoptr(GListModel) controllers = gtk_widget_observe_controllers(widget);
    for (guint i = 0; i < g_list_model_get_n_items(controllers); i++) {
        g_autoptr(GtkEventController) keys = g_list_model_get_item(controllers, i);
        const char *name = gtk_event_controller_get_name(keys);
        if (!GTK_IS_SHORTCUT_CONTROLLER(keys) || g_strcmp0(name, "recent") != 0)
            continue;
        g_autoptr(GtkShortcut) shortcut = g_list_model_get_item(G_LIST_MODEL(keys), 0);
        assert_true(
            gtk_shortcut_action_activate(gtk_shortcut_get_action(shortcut), 0, widget, NULL));
        return;
    }
    fail_msg("there is no shortcut");
}

static void a_recent_model_is_chosen_or_forgotten(void **state)
{
    struct desktop d;
    (void)state;
    MoeRecentModels *recent = moe_recent_models_new(NULL);
    g_autofree char *path = linked_model("recent");
    MoeOpenParams params = model_params(path), gone = model_params("/nonexistent/model");
    params.weights = VKMOE_WEIGHTS_Q4;
    assert_true(moe_recent_models_add(recent, &params, NULL));
    assert_true(moe_recent_models_add(recent, &gone, NULL));
    g_object_unref(recent);
    start_with_model(&d);
    GtkWidget *dialog = dialog_for(&d, NULL);
    GtkWidget *list = find(dialog, GTK_TYPE_LIST_VIEW);
    GtkSelectionModel *rows = gtk_list_view_get_model(GTK_LIST_VIEW(list));
    guint count = g_list_model_get_n_items(G_LIST_MODEL(rows));
    gtk_selection_model_select_item(rows, 0, TRUE);
    press_first_shortcut(list);
    assert_int_equal(g_list_model_get_n_items(G_LIST_MODEL(rows)), count - 1);
    g_signal_emit_by_name(list, "activate", 0);
    desktop_wait(has_verdict, dialog, "the model should be planned");
    assert_int_equal(moe_model_dialog_plan(MOE_MODEL_DIALOG(dialog))->plan.weights,
                     VKMOE_WEIGHTS_Q4);
    picture_take(dialog, false, "open-recent");
    gtk_window_close(GTK_WINDOW(dialog));
    desktop_stop(&d);
}

/* --- the window about the device --- */

static void the_title_leads_to_model_and_device(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GtkWidget *popover = desktop_find(&d, MOE_TYPE_DEVICE_POPOVER);
    gtk_popover_popup(GTK_POPOVER(popover));
    picture_take(popover, false, "popover-light");
    picture_take(popover, true, "popover-dark");
    assert_true(count_widgets(popover, MOE_TYPE_BAR) > 1);
    assert_true(can_do(popover, "win.open-model"));
    press(popover, "win.device");
    desktop_settle(&d);
    gtk_popover_popdown(GTK_POPOVER(popover));
    gtk_window_close(GTK_WINDOW(moe_window_open_device_window(d.window, "device")));
    desktop_stop(&d);
}

static GtkWidget *device_window(struct desktop *d, const char *page)
{
    MoeDeviceWindow *window = moe_window_open_device_window(d->window, page);
    assert_ptr_equal(window, moe_window_open_device_window(d->window, page));
    return GTK_WIDGET(window);
}

static bool has_device(void *data)
{
    GtkListView *list = data;
    GtkSelectionModel *rows = gtk_list_view_get_model(list);
    return rows && g_list_model_get_n_items(G_LIST_MODEL(rows)) > 0;
}

static void the_device_page_shows_memory_and_leads_to_the_dialog(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GtkWidget *window = device_window(&d, "device");
    GtkWidget *page = find(window, MOE_TYPE_DEVICE_PAGE);
    GtkWidget *list = find(page, GTK_TYPE_LIST_VIEW);
    desktop_wait(has_device, list, "devices should be listed");
    const MoeLoaded *loaded = moe_worker_get_loaded(d.worker);
    assert_true(count_widgets(find(page, MOE_TYPE_MEMORY_VIEW), MOE_TYPE_BAR) >
                loaded->device.n_heaps);
    assert_true(loaded->plan.heaps[0].weights > 0);
    picture_take(window, false, "device-light");
    picture_take(window, true, "device-dark");
    g_signal_emit_by_name(list, "activate", 0);
    GtkWidget *dialog = dialog_for(&d, NULL);
    assert_true(can_do(dialog, "dialog.open"));
    gtk_window_close(GTK_WINDOW(dialog));
    gtk_window_close(GTK_WINDOW(window));
    desktop_stop(&d);
}

static bool is_measured(void *data)
{
    return !moe_speed_page_is_running(data);
}

static void measuring_shows_the_time_of_every_kernel(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GtkWidget *window = device_window(&d, "speed");
    MoeSpeedPage *page = moe_device_window_speed(MOE_DEVICE_WINDOW(window));
    GtkWidget *chart = find(GTK_WIDGET(page), MOE_TYPE_KERNEL_CHART);
    assert_int_equal(count_widgets(chart, MOE_TYPE_BAR), 0);
    press(GTK_WIDGET(page), "speed.measure");
    assert_true(moe_speed_page_is_running(page));
    desktop_wait(is_measured, page, "the model should be measured");
    assert_true(count_widgets(chart, MOE_TYPE_BAR) > 5);
    picture_take(window, false, "speed-light");
    picture_take(window, true, "speed-dark");
    /* Once more, and stopped: what was measured before stays. */
    press(GTK_WIDGET(page), "speed.measure");
    press(GTK_WIDGET(page), "speed.stop");
    desktop_wait(is_measured, page, "measuring should stop");
    desktop_wait_idle(&d);
    assert_true(count_widgets(chart, MOE_TYPE_BAR) > 5);
    /* And ended by the main window's Stop, which may come before it has begun. */
    press(GTK_WIDGET(page), "speed.measure");
    moe_worker_cancel(d.worker);
    desktop_wait(is_measured, page, "measuring should stop");
    assert_true(count_widgets(chart, MOE_TYPE_BAR) > 5);
    gtk_window_close(GTK_WINDOW(window));
    desktop_stop(&d);
}

static bool has_devices(void *data)
{
    return can_do(data, "conformance.run");
}

static bool has_ended(void *data)
{
    return !moe_conformance_is_running(data);
}

static bool has_result(void *data)
{
    return g_list_model_get_n_items(moe_conformance_results(data)) > 0;
}

/* The page, ready to run what the pattern says. */
static MoeConformancePage *conformance_page(GtkWidget *window, const char *kernels)
{
    MoeConformancePage *page = moe_device_window_conformance(MOE_DEVICE_WINDOW(window));
    moe_conformance_page_set_kernels(page, kernels);
    desktop_wait(has_devices, page, "devices should be listed");
    return page;
}

static void conformance_runs_on_a_device_and_leaves_a_report(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GtkWidget *window = device_window(&d, "conformance");
    MoeConformancePage *page = conformance_page(window, "topk*");
    MoeConformance *conformance = moe_conformance_page_conformance(page);
    assert_false(can_do(GTK_WIDGET(page), "conformance.report"));
    press(GTK_WIDGET(page), "conformance.run");
    desktop_wait(has_ended, conformance, "the suite should end");
    assert_non_null(strstr(moe_conformance_outcome(conformance), "cases passed"));
    assert_true(g_list_model_get_n_items(moe_conformance_results(conformance)) >= 2);
    assert_true(can_do(GTK_WIDGET(page), "conformance.report"));
    size_t size;
    g_autofree char *report = test_file_read(moe_conformance_report(conformance), &size);
    assert_non_null(strstr(report, "<!DOCTYPE html>"));
    assert_non_null(strstr(report, "topk_steered"));
    picture_take(window, false, "conformance-light");
    picture_take(window, true, "conformance-dark");
    gtk_window_close(GTK_WINDOW(window));
    desktop_stop(&d);
}

static void conformance_can_be_stopped_and_keeps_what_it_found(void **state)
{
    struct desktop d;
    (void)state;
    start_with_model(&d);
    GtkWidget *window = device_window(&d, "conformance");
    MoeConformancePage *page = conformance_page(window, NULL);
    MoeConformance *conformance = moe_conformance_page_conformance(page);
    press(GTK_WIDGET(page), "conformance.run");
    desktop_wait(has_result, conformance, "something should be found");
    press(GTK_WIDGET(page), "conformance.stop");
    desktop_wait(has_ended, conformance, "the suite should stop");
    assert_true(g_str_has_prefix(moe_conformance_outcome(conformance), "Stopped after "));
    gboolean passed = TRUE;
    g_object_get(conformance, "passed", &passed, NULL);
    assert_false(passed);
    size_t size;
    g_autofree char *report = test_file_read(moe_conformance_report(conformance), &size);
    assert_non_null(strstr(report, "Not finished: "));
    gtk_window_close(GTK_WINDOW(window));
    desktop_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dialog_tells_what_every_choice_takes),
        cmocka_unit_test(what_cannot_fit_cannot_be_opened_and_the_dialog_says_why),
        TEST_IN_FOLDER(what_is_no_model_is_one_sentence_and_leaves_the_open_one_alone),
        TEST_IN_FOLDER(a_model_is_opened_as_chosen_and_is_recent_afterwards),
        TEST_IN_FOLDER(loading_can_be_cancelled_and_taken_up_again),
        TEST_IN_FOLDER(only_folders_and_gguf_files_can_be_dropped),
        TEST_IN_FOLDER(a_dropped_model_is_shown_and_a_broken_one_is_one_sentence),
        cmocka_unit_test(without_a_driver_the_dialog_says_what_to_install_and_has_the_reference),
        TEST_IN_FOLDER(a_recent_model_is_chosen_or_forgotten),
        cmocka_unit_test(the_title_leads_to_model_and_device),
        cmocka_unit_test(the_device_page_shows_memory_and_leads_to_the_dialog),
        cmocka_unit_test(measuring_shows_the_time_of_every_kernel),
        cmocka_unit_test(conformance_runs_on_a_device_and_leaves_a_report),
        cmocka_unit_test(conformance_can_be_stopped_and_keeps_what_it_found),
    };
    return DESKTOP_RUN(tests);
}
