#include "store.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define ENDING ".json"

struct _MoeStore {
    GObject parent;
    char *folder;
    GListStore *list;
    GThreadPool *pool; /* of one thread: what is asked for later happens later */
};

G_DEFINE_FINAL_TYPE(MoeStore, moe_store, G_TYPE_OBJECT)

enum { FAILED, N_SIGNALS };
static guint signals[N_SIGNALS];

/* What the thread does. It holds no reference to the store, which waits for it when it ends. */
struct task {
    GWeakRef store;
    char *path;        /* NULL: the folder is to be read */
    char *json;        /* NULL: the file is to be removed */
    GPtrArray *found;  /* of MoeConversation */
    GString *failures; /* sentences */
};

static void task_free(struct task *task)
{
    g_weak_ref_clear(&task->store);
    g_free(task->path);
    g_free(task->json);
    g_ptr_array_unref(task->found);
    g_string_free(task->failures, TRUE);
    g_free(task);
}

static void fail(struct task *task, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void fail(struct task *task, const char *format, ...)
{
    va_list arguments;
    if (task->failures->len > 0)
        g_string_append_c(task->failures, '\n');
    va_start(arguments, format);
    g_string_append_vprintf(task->failures, format, arguments);
    va_end(arguments);
}

/* --- on the pool's thread --- */

static void read_file(struct task *task, const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *id = g_strndup(name, strlen(name) - strlen(ENDING));
    g_autofree char *json = NULL;
    g_autoptr(GError) error = NULL;
    gsize size;
    MoeConversation *conversation = NULL;
    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR))
        return; /* a folder is no conversation, and a pipe would be waited for */
    if (g_file_get_contents(path, &json, &size, &error))
        conversation = moe_conversation_from_json(id, json, size, &error);
    if (conversation)
        g_ptr_array_add(task->found, conversation);
    else
        fail(task, "%s", error->message);
}

static int newest_first(gconstpointer a, gconstpointer b)
{
    gint64 x = moe_conversation_get_created(*(MoeConversation *const *)a);
    gint64 y = moe_conversation_get_created(*(MoeConversation *const *)b);
    return (x < y) - (x > y);
}

static void read_folder(struct task *task, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ENDING))
            read_file(task, folder, name);
    g_ptr_array_sort(task->found, newest_first);
}

static void write_file(struct task *task, const char *folder)
{
    g_autoptr(GError) error = NULL;
    if (g_mkdir_with_parents(folder, 0700) != 0)
        fail(task, "The conversation could not be saved: %s: %s", folder, g_strerror(errno));
    else if (!g_file_set_contents_full(task->path, task->json, -1, G_FILE_SET_CONTENTS_CONSISTENT,
                                       0600, &error))
        fail(task, "The conversation could not be saved: %s", error->message);
}

/* Back on the main thread. */
static gboolean conclude(gpointer data)
{
    struct task *task = data;
    g_autoptr(MoeStore) self = g_weak_ref_get(&task->store);
    if (self && task->found->len > 0)
        g_list_store_splice(self->list, g_list_model_get_n_items(G_LIST_MODEL(self->list)), 0,
                            task->found->pdata, task->found->len);
    if (self && task->failures->len > 0)
        g_signal_emit(self, signals[FAILED], 0, task->failures->str);
    task_free(task);
    return G_SOURCE_REMOVE;
}

static void work(gpointer data, gpointer folder)
{
    struct task *task = data;
    if (!task->path)
        read_folder(task, folder);
    else if (task->json)
        write_file(task, folder);
    else if (g_remove(task->path) != 0 && errno != ENOENT)
        fail(task, "The conversation could not be deleted: %s: %s", task->path, g_strerror(errno));
    g_idle_add(conclude, task);
}

/* --- on the main thread --- */

static void push(MoeStore *self, char *path, char *json)
{
    struct task *task = g_new0(struct task, 1);
    g_weak_ref_init(&task->store, self);
    task->path = path;
    task->json = json;
    task->found = g_ptr_array_new_with_free_func(g_object_unref);
    task->failures = g_string_new(NULL);
    g_thread_pool_push(self->pool, task, NULL);
}

static char *path_of(MoeStore *self, MoeConversation *conversation)
{
    g_autofree char *name = g_strconcat(moe_conversation_get_id(conversation), ENDING, NULL);
    return g_build_filename(self->folder, name, NULL);
}

GListModel *moe_store_get_list(MoeStore *self)
{
    return G_LIST_MODEL(self->list);
}

void moe_store_save(MoeStore *self, MoeConversation *conversation)
{
    if (!g_list_store_find(self->list, conversation, NULL))
        g_list_store_insert(self->list, 0, conversation);
    char *json = moe_conversation_to_json(conversation);
    if (json) {
        push(self, path_of(self, conversation), json);
        return;
    }
    g_autofree char *sentence =
        g_strdup_printf("The conversation “%s” could not be saved: its text is not UTF-8.",
                        moe_conversation_get_title(conversation));
    g_signal_emit(self, signals[FAILED], 0, sentence);
}

void moe_store_remove(MoeStore *self, MoeConversation *conversation)
{
    guint at;
    if (g_list_store_find(self->list, conversation, &at))
        g_list_store_remove(self->list, at);
    push(self, path_of(self, conversation), NULL);
}

static void start_pool(MoeStore *self)
{
    self->pool = g_thread_pool_new(work, self->folder, 1, FALSE, NULL);
}

void moe_store_flush(MoeStore *self)
{
    g_thread_pool_free(self->pool, FALSE, TRUE);
    start_pool(self);
}

static void moe_store_finalize(GObject *object)
{
    MoeStore *self = MOE_STORE(object);
    g_thread_pool_free(self->pool, FALSE, TRUE);
    g_object_unref(self->list);
    g_free(self->folder);
    G_OBJECT_CLASS(moe_store_parent_class)->finalize(object);
}

static void moe_store_class_init(MoeStoreClass *class)
{
    G_OBJECT_CLASS(class)->finalize = moe_store_finalize;
    signals[FAILED] = g_signal_new("failed", MOE_TYPE_STORE, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                   G_TYPE_NONE, 1, G_TYPE_STRING);
}

static void moe_store_init(MoeStore *self)
{
    self->list = g_list_store_new(MOE_TYPE_CONVERSATION);
}

MoeStore *moe_store_new(const char *folder)
{
    MoeStore *self = g_object_new(MOE_TYPE_STORE, NULL);
    self->folder = folder ? g_strdup(folder)
                          : g_build_filename(g_get_user_data_dir(), "vkmoe", "conversations", NULL);
    start_pool(self);
    push(self, NULL, NULL);
    return self;
}
