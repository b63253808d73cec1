#include "conversation.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1        /* of the files */
#define TITLE_LENGTH 48 /* characters of a title that is made of a message */

struct _MoeConversation {
    GObject parent;
    char *id, *title; /* title: NULL where it follows from the first message */
    char *shown;      /* the title to be shown */
    gboolean chat;
    gint64 created;
    GPtrArray *messages;
};

G_DEFINE_FINAL_TYPE(MoeConversation, moe_conversation, G_TYPE_OBJECT)

enum { PROP_TITLE = 1, PROP_DATE, N_PROPS };
static GParamSpec *properties[N_PROPS];

/* --- title --- */

/* The beginning of what was said, as one line: of the first message, or of a text. */
static char *title_of(const MoeConversation *self)
{
    g_autoptr(GString) title = g_string_new(NULL);
    for (guint i = 0; i < self->messages->len && (i == 0 || !self->chat); i++) {
        const MoeMessage *m = g_ptr_array_index(self->messages, i);
        for (const char *at = m->text; *at && title->len < 8 * TITLE_LENGTH;
             at = g_utf8_next_char(at)) {
            gunichar c = g_utf8_get_char(at);
            if (!g_unichar_isspace(c))
                g_string_append_unichar(title, c);
            else if (title->len > 0 && title->str[title->len - 1] != ' ')
                g_string_append_c(title, ' ');
        }
    }
    g_strchomp(title->str);
    if (!*title->str)
        return g_strdup("New text");
    if (g_utf8_strlen(title->str, -1) <= TITLE_LENGTH)
        return g_strdup(title->str);
    g_autofree char *cut = g_utf8_substring(title->str, 0, TITLE_LENGTH - 1);
    return g_strconcat(cut, "…", NULL);
}

/* When it was begun, as a person says it. */
static char *date_of(const MoeConversation *self)
{
    g_autoptr(GDateTime) created = g_date_time_new_from_unix_local(self->created / G_USEC_PER_SEC);
    return created ? g_date_time_format(created, "%e %B, %H:%M") : NULL;
}

static void update_title(MoeConversation *self)
{
    g_autofree char *title = self->title ? g_strdup(self->title) : title_of(self);
    if (g_strcmp0(title, self->shown) == 0)
        return;
    g_free(self->shown);
    self->shown = g_steal_pointer(&title);
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_TITLE]);
}

const char *moe_conversation_get_title(MoeConversation *self)
{
    return self->shown;
}

void moe_conversation_set_title(MoeConversation *self, const char *title)
{
    g_free(self->title);
    self->title = title && *title ? g_strdup(title) : NULL;
    update_title(self);
}

/* --- messages --- */

const char *moe_conversation_get_id(MoeConversation *self)
{
    return self->id;
}

gboolean moe_conversation_get_chat(MoeConversation *self)
{
    return self->chat;
}

gint64 moe_conversation_get_created(MoeConversation *self)
{
    return self->created;
}

const GPtrArray *moe_conversation_get_messages(MoeConversation *self)
{
    return self->messages;
}

void moe_conversation_add(MoeConversation *self, MoeMessage *message)
{
    g_ptr_array_add(self->messages, message);
    update_title(self);
}

MoeMessage *moe_conversation_last(MoeConversation *self)
{
    guint n = self->messages->len;
    return n > 0 ? g_ptr_array_index(self->messages, n - 1) : NULL;
}

void moe_conversation_append(MoeConversation *self, const char *text)
{
    MoeMessage *last = moe_conversation_last(self);
    char *longer = g_strconcat(last->text, text, NULL);
    g_free(last->text);
    last->text = longer;
    update_title(self);
}

void moe_conversation_truncate(MoeConversation *self, guint count)
{
    if (count >= self->messages->len)
        return;
    g_ptr_array_set_size(self->messages, (int)count);
    update_title(self);
}

/* --- files --- */

static const char *const role_names[] = {
    [VKMOE_CHAT_SYSTEM] = "system",
    [VKMOE_CHAT_USER] = "user",
    [VKMOE_CHAT_ASSISTANT] = "assistant",
};

static json_t *message_to_json(const MoeMessage *m)
{
    json_t *object = json_pack("{s:s, s:s}", "role", role_names[m->role], "text", m->text);
    if (!m->tokens)
        return object;
    json_t *tokens = json_array();
    for (guint i = 0; i < m->tokens->len; i++)
        json_array_append_new(tokens, json_integer(g_array_index(m->tokens, int32_t, i)));
    g_autofree char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, (guint64)m->seed);
    json_object_set_new(object, "model", json_string(m->model));
    json_object_set_new(object, "seed", json_string(seed)); /* JSON's numbers are too small */
    json_object_set_new(object, "tokens", tokens);
    return object;
}

char *moe_conversation_to_json(MoeConversation *self)
{
    json_t *messages = json_array();
    for (guint i = 0; i < self->messages->len; i++) {
        json_t *message = message_to_json(g_ptr_array_index(self->messages, i));
        if (json_array_append_new(messages, message) != 0) {
            json_decref(messages);
            return NULL; /* rather than a conversation with a gap */
        }
    }
    json_t *root = json_pack("{s:i, s:s, s:b, s:I, s:o}", "vkmoe_conversation", FORMAT, "title",
                             self->title ? self->title : "", "chat", self->chat, "created",
                             (json_int_t)self->created, "messages", messages);
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    char *copy = g_strdup(text);
    free(text); /* jansson's own */
    return copy;
}

static gboolean find_role(const char *name, vkmoe_chat_role *role)
{
    for (guint i = 0; i < G_N_ELEMENTS(role_names); i++) {
        if (g_strcmp0(name, role_names[i]) == 0) {
            *role = (vkmoe_chat_role)i;
            return TRUE;
        }
    }
    return FALSE;
}

static MoeMessage *message_from_json(const json_t *object)
{
    const json_t *tokens = json_object_get(object, "tokens");
    const char *text = json_string_value(json_object_get(object, "text"));
    const char *model = json_string_value(json_object_get(object, "model"));
    const char *seed = json_string_value(json_object_get(object, "seed"));
    vkmoe_chat_role role;
    if (!text || !find_role(json_string_value(json_object_get(object, "role")), &role))
        return NULL;
    MoeMessage *m = moe_message_new(role, text);
    m->seed = seed ? g_ascii_strtoull(seed, NULL, 10) : 0;
    if (!json_is_array(tokens) || !model)
        return m;
    moe_message_set_tokens(m, NULL, 0, model);
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(tokens, i));
        g_array_append_val(m->tokens, id);
    }
    return m;
}

MoeConversation *moe_conversation_from_json(const char *id, const char *json, gsize size,
                                            GError **error)
{
    json_error_t wrong;
    json_t *root = json_loadb(json, size, 0, &wrong);
    const json_t *messages = json_object_get(root, "messages");
    const json_t *title = json_object_get(root, "title");
    gboolean good = json_integer_value(json_object_get(root, "vkmoe_conversation")) == FORMAT &&
                    json_is_array(messages);
    g_autoptr(MoeConversation) self =
        moe_conversation_new(json_is_true(json_object_get(root, "chat")));
    g_free(self->id);
    self->id = g_strdup(id);
    self->created = json_integer_value(json_object_get(root, "created"));
    for (size_t i = 0; good && i < json_array_size(messages); i++) {
        MoeMessage *m = message_from_json(json_array_get(messages, i));
        good = m != NULL;
        if (m)
            moe_conversation_add(self, m);
    }
    moe_conversation_set_title(self, json_string_value(title));
    if (!root)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s.json: line %d is no JSON: %s", id,
                    wrong.line, wrong.text);
    else if (!good)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s.json: it is no conversation of vkmoe, format %d", id, FORMAT);
    gboolean failed = !root || !good;
    json_decref(root);
    return failed ? NULL : g_steal_pointer(&self);
}

char *moe_conversation_to_text(MoeConversation *self)
{
    static const char *const who[] = {"System", "You", "Model"};
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < self->messages->len; i++) {
        const MoeMessage *m = g_ptr_array_index(self->messages, i);
        if (self->chat)
            g_string_append_printf(text, "%s%s: ", i > 0 ? "\n\n" : "", who[m->role]);
        g_string_append(text, m->text);
    }
    if (text->len > 0 && text->str[text->len - 1] != '\n')
        g_string_append_c(text, '\n');
    return g_string_free(text, FALSE);
}

/* --- the object --- */

static void moe_conversation_get_property(GObject *object, guint id, GValue *value,
                                          GParamSpec *spec)
{
    if (id == PROP_TITLE)
        g_value_set_string(value, MOE_CONVERSATION(object)->shown);
    else if (id == PROP_DATE)
        g_value_take_string(value, date_of(MOE_CONVERSATION(object)));
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

static void moe_conversation_finalize(GObject *object)
{
    MoeConversation *self = MOE_CONVERSATION(object);
    g_free(self->id);
    g_free(self->title);
    g_free(self->shown);
    g_ptr_array_unref(self->messages);
    G_OBJECT_CLASS(moe_conversation_parent_class)->finalize(object);
}

static void moe_conversation_class_init(MoeConversationClass *class)
{
    GObjectClass *object = G_OBJECT_CLASS(class);
    object->get_property = moe_conversation_get_property;
    object->finalize = moe_conversation_finalize;
    properties[PROP_TITLE] =
        g_param_spec_string("title", NULL, NULL, NULL, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    properties[PROP_DATE] =
        g_param_spec_string("date", NULL, NULL, NULL, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object, N_PROPS, properties);
}

static void moe_conversation_init(MoeConversation *self)
{
    self->messages = moe_messages_new();
    self->id = g_uuid_string_random();
    self->created = g_get_real_time();
    update_title(self);
}

MoeConversation *moe_conversation_new(gboolean chat)
{
    MoeConversation *self = g_object_new(MOE_TYPE_CONVERSATION, NULL);
    self->chat = chat;
    return self;
}
