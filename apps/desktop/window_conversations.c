/* Conversations: the list, switching, renaming, deleting, copying, exporting. */
#include <string.h>

#include "sentence.h"
#include "window_private.h"

#define AS_JSON "vkmoe-as-json" /* of a dialog that exports */

/* Writes the conversation, or forgets an empty one, whatever is selected; whether it is in the
 * list, and where. */
static gboolean keep(MoeWindow *self, guint *at)
{
    GListStore *list = G_LIST_STORE(moe_store_get_list(self->store));
    self->saved = g_get_monotonic_time();
    if (moe_conversation_get_messages(self->conversation)->len > 0) {
        moe_store_save(self->store, self->conversation);
        return g_list_store_find(list, self->conversation, at);
    }
    if (g_list_store_find(list, self->conversation, at))
        moe_store_remove(self->store, self->conversation);
    return FALSE;
}

void moe_window_save(MoeWindow *self)
{
    guint at;
    if (!keep(self, &at) ||
        gtk_single_selection_get_selected_item(self->selection) == self->conversation)
        return;
    self->busy_switching = TRUE;
    gtk_single_selection_set_selected(self->selection, at);
    self->busy_switching = FALSE;
}

static void show_messages(MoeWindow *self)
{
    const GPtrArray *messages = moe_conversation_get_messages(self->conversation);
    moe_transcript_set_labelled(self->transcript, moe_conversation_get_chat(self->conversation));
    moe_transcript_clear(self->transcript);
    for (guint i = 0; i < messages->len; i++) {
        const MoeMessage *m = g_ptr_array_index(messages, i);
        moe_transcript_add_message(self->transcript, m->role, m->text);
    }
}

void moe_window_show_conversation(MoeWindow *self, MoeConversation *conversation)
{
    guint at;
    moe_window_end_run(self);
    if (self->conversation) {
        keep(self, &at); /* another row may be selected by now, and stays so */
        g_object_unref(self->conversation);
    }
    self->conversation = conversation;
    self->busy_switching = TRUE;
    moe_composer_set_chat(self->composer, moe_conversation_get_chat(conversation));
    if (moe_conversation_get_messages(conversation)->len == 0)
        gtk_single_selection_set_selected(self->selection, GTK_INVALID_LIST_POSITION);
    else
        moe_window_withdraw_prompt(self);
    self->busy_switching = FALSE;
    moe_composer_set_hint(self->composer, "");
    show_messages(self);
    g_signal_emit_by_name(self, "cleared");
    moe_window_update_actions(self);
}

static void on_chosen(MoeWindow *self)
{
    MoeConversation *chosen = gtk_single_selection_get_selected_item(self->selection);
    if (!self->busy_switching && chosen && chosen != self->conversation)
        moe_window_show_conversation(self, g_object_ref(chosen));
}

/* An empty one becomes one of the other kind; another kind needs another conversation. */
static void on_mode(MoeWindow *self)
{
    gboolean chat = moe_composer_get_chat(self->composer);
    if (self->busy_switching || chat == moe_conversation_get_chat(self->conversation))
        return;
    moe_window_show_conversation(self, moe_conversation_new(chat));
}

static void new_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    (void)name;
    (void)parameter;
    moe_window_show_conversation(self, moe_conversation_new(moe_composer_get_chat(self->composer)));
    gtk_widget_grab_focus(GTK_WIDGET(self->composer));
}

/* --- asking in a popover --- */

void moe_window_drop_popover(MoeWindow *self)
{
    if (self->popover)
        gtk_widget_unparent(self->popover);
    g_clear_weak_pointer(&self->popover);
}

/* Unparented only once it is out of sight: it may be told so from its own signals. */
static gboolean drop_popover(gpointer popover)
{
    if (gtk_widget_get_parent(popover))
        gtk_widget_unparent(popover);
    return G_SOURCE_REMOVE;
}

static void on_popover_closed(GtkWidget *popover)
{
    g_idle_add_full(G_PRIORITY_DEFAULT_IDLE, drop_popover, g_object_ref(popover), g_object_unref);
}

/* By the list where that is shown, else by the title. */
static void pop_up(MoeWindow *self, GtkWidget *child)
{
    GtkWidget *popover = gtk_popover_new();
    GtkWidget *over = gtk_revealer_get_child_revealed(self->sidebar)
                          ? self->rename_button
                          : GTK_WIDGET(self->title_button);
    moe_window_drop_popover(self);
    g_set_weak_pointer(&self->popover, popover);
    gtk_popover_set_child(GTK_POPOVER(popover), child);
    gtk_widget_set_parent(popover, over);
    g_signal_connect(popover, "closed", G_CALLBACK(on_popover_closed), NULL);
    gtk_popover_popup(GTK_POPOVER(popover));
}

static void pop_down(GtkWidget *child)
{
    GtkWidget *popover = gtk_widget_get_ancestor(child, GTK_TYPE_POPOVER);
    gtk_popover_popdown(GTK_POPOVER(popover));
}

/* --- deleting --- */

static void delete_now_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    g_autoptr(MoeConversation) gone = g_object_ref(self->conversation);
    (void)name;
    (void)parameter;
    moe_window_end_run(self);
    moe_window_show_conversation(self, moe_conversation_new(moe_conversation_get_chat(gone)));
    moe_store_remove(self->store, gone);
}

static GtkWidget *add_button(GtkWidget *box, const char *label, const char *action)
{
    GtkWidget *button = gtk_button_new_with_mnemonic(label);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    g_signal_connect(button, "clicked", G_CALLBACK(pop_down), NULL);
    gtk_box_append(GTK_BOX(box), button);
    return button;
}

static void delete_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    g_autofree char *question = g_strdup_printf("Delete “%s”? It cannot be brought back.",
                                                moe_conversation_get_title(self->conversation));
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 9);
    GtkWidget *buttons = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label = gtk_label_new(question);
    (void)name;
    (void)parameter;
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_max_width_chars(GTK_LABEL(label), 32);
    gtk_widget_set_halign(buttons, GTK_ALIGN_END);
    GtkWidget *keep_it = add_button(buttons, "_Keep", NULL);
    gtk_widget_add_css_class(add_button(buttons, "_Delete", "win.delete-now"),
                             "destructive-action");
    gtk_box_append(GTK_BOX(box), label);
    gtk_box_append(GTK_BOX(box), buttons);
    pop_up(self, box);
    gtk_widget_grab_focus(keep_it);
}

/* --- renaming --- */

static void rename_now(MoeWindow *self, GtkEntry *entry)
{
    moe_conversation_set_title(self->conversation, gtk_editable_get_text(GTK_EDITABLE(entry)));
    moe_window_save(self);
    pop_down(GTK_WIDGET(entry));
}

static void rename_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    GtkWidget *entry = gtk_entry_new();
    (void)name;
    (void)parameter;
    gtk_editable_set_text(GTK_EDITABLE(entry), moe_conversation_get_title(self->conversation));
    gtk_editable_set_width_chars(GTK_EDITABLE(entry), 32);
    gtk_accessible_update_property(GTK_ACCESSIBLE(entry), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Title of the conversation", -1);
    g_signal_connect_object(entry, "activate", G_CALLBACK(rename_now), self, G_CONNECT_SWAPPED);
    pop_up(self, entry);
    gtk_widget_grab_focus(entry);
}

/* --- copying and exporting --- */

static void copy_all_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    g_autofree char *text = moe_conversation_to_text(MOE_WINDOW(widget)->conversation);
    (void)name;
    (void)parameter;
    gdk_clipboard_set_text(gtk_widget_get_clipboard(widget), text);
}

static void copy_answer_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    const MoeMessage *last = moe_conversation_last(MOE_WINDOW(widget)->conversation);
    (void)name;
    (void)parameter;
    gdk_clipboard_set_text(gtk_widget_get_clipboard(widget), last ? last->text : "");
}

static void show_export_error(MoeWindow *self, const char *message)
{
    g_autofree char *sentence = moe_sentence(message);
    moe_window_show_error(self, sentence, FALSE);
}

static void on_exported(GObject *file, GAsyncResult *result, gpointer data)
{
    g_autoptr(MoeWindow) self = data;
    g_autoptr(GError) error = NULL;
    if (!g_file_replace_contents_finish(G_FILE(file), result, NULL, &error))
        show_export_error(self, error->message);
}

void moe_window_export(MoeWindow *self, GFile *file, gboolean json)
{
    g_autofree char *name = g_file_get_basename(file);
    g_autofree char *text = json || (name && g_str_has_suffix(name, ".json"))
                                ? moe_conversation_to_json(self->conversation)
                                : moe_conversation_to_text(self->conversation);
    if (!text) {
        g_autofree char *message = g_strdup_printf("“%s” was not exported: its text is not UTF-8.",
                                                   moe_conversation_get_title(self->conversation));
        show_export_error(self, message);
        return;
    }
    size_t size = strlen(text);
    g_autoptr(GBytes) bytes = g_bytes_new_take(g_steal_pointer(&text), size);
    g_file_replace_contents_bytes_async(file, bytes, NULL, FALSE, G_FILE_CREATE_NONE, NULL,
                                        on_exported, g_object_ref(self));
}

static void on_export_chosen(GtkNativeDialog *dialog, int response, MoeWindow *self)
{
    gboolean json = g_object_get_data(G_OBJECT(dialog), AS_JSON) != NULL;
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr(GFile) file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog));
        moe_window_export(self, file, json);
    }
    g_object_unref(dialog);
}

/* One action for each form: which one it becomes is not left to the ending that somebody types. */
static void export_action(GtkWidget *widget, const char *name, GVariant *parameter)
{
    MoeWindow *self = MOE_WINDOW(widget);
    const gboolean json = g_str_equal(name, "win.export-json");
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(json ? "Export as JSON" : "Export as Text", GTK_WINDOW(self),
                                    GTK_FILE_CHOOSER_ACTION_SAVE, "_Export", "_Cancel");
    (void)parameter;
    gtk_file_chooser_set_current_name(GTK_FILE_CHOOSER(dialog),
                                      json ? "conversation.json" : "conversation.txt");
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_object_set_data(G_OBJECT(dialog), AS_JSON, json ? self : NULL);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_export_chosen), self,
                            G_CONNECT_DEFAULT);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

/* --- setting up --- */

static void on_store_failed(MoeWindow *self, const char *sentence)
{
    moe_window_show_error(self, sentence, FALSE);
}

void moe_window_install_conversation_actions(GtkWidgetClass *widget)
{
    gtk_widget_class_install_action(widget, "win.new", NULL, new_action);
    gtk_widget_class_install_action(widget, "win.delete", NULL, delete_action);
    gtk_widget_class_install_action(widget, "win.delete-now", NULL, delete_now_action);
    gtk_widget_class_install_action(widget, "win.rename", NULL, rename_action);
    gtk_widget_class_install_action(widget, "win.copy-all", NULL, copy_all_action);
    gtk_widget_class_install_action(widget, "win.copy-answer", NULL, copy_answer_action);
    gtk_widget_class_install_action(widget, "win.export", NULL, export_action);
    gtk_widget_class_install_action(widget, "win.export-json", NULL, export_action);
}

void moe_window_init_conversations(MoeWindow *self)
{
    self->selection = gtk_single_selection_new(NULL);
    gtk_single_selection_set_autoselect(self->selection, FALSE);
    gtk_single_selection_set_can_unselect(self->selection, TRUE);
    gtk_single_selection_set_model(self->selection, moe_store_get_list(self->store));
    gtk_list_view_set_model(self->list, GTK_SELECTION_MODEL(self->selection));
    self->conversation = moe_conversation_new(moe_composer_get_chat(self->composer));
    show_messages(self);
    g_signal_connect_object(self->selection, "notify::selected-item", G_CALLBACK(on_chosen), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->composer, "notify::chat", G_CALLBACK(on_mode), self,
                            G_CONNECT_SWAPPED);
    g_signal_connect_object(self->store, "failed", G_CALLBACK(on_store_failed), self,
                            G_CONNECT_SWAPPED);
}
