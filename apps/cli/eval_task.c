#include "eval_task.h"

#include <stdlib.h>
#include <string.h>

static bool is_blank(const char *line, size_t size)
{
    return strspn(line, " \t\r\n") >= size;
}

/* Bytes of the line at `at`, its newline included. */
static size_t line_size(const struct eval_task *t, size_t at)
{
    const char *end = memchr(t->text + at, '\n', t->size - at);
    return end ? (size_t)(end - (t->text + at)) + 1 : t->size - at;
}

int eval_task_open(const char *file, struct eval_task *task)
{
    *task = (struct eval_task){.file = file};
    if (!cli_read_all(file, &task->text, &task->size))
        return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    for (size_t at = 0, n; at < task->size; at += n) {
        n = line_size(task, at);
        task->n_items += !is_blank(task->text + at, n);
    }
    return task->n_items > 0
               ? EXIT_DONE
               : cli_fail("the task %s is empty, expected a line for each item", file);
}

void eval_task_close(struct eval_task *task)
{
    free(task->text);
    *task = (struct eval_task){0};
}

void eval_item_free(struct eval_item *item)
{
    free(item->choices);
    json_decref(item->root);
    *item = (struct eval_item){0};
}

static vkmoe_text text_of(const json_t *string)
{
    return (vkmoe_text){json_string_value(string), json_string_length(string)};
}

static int bad(const struct eval_task *t, const char *what)
{
    return cli_fail("%s: line %zu: %s", t->file, t->line, what);
}

static int take_choices(const struct eval_task *t, struct eval_item *item)
{
    const json_t *list = json_object_get(item->root, "choices");
    size_t n = json_array_size(list);
    if (!json_is_array(list))
        return bad(t, "'choices' is missing or no list, expected a list of texts");
    if (n < 2 || n > UINT32_MAX)
        return cli_fail("%s: line %zu: 'choices' has %zu texts, expected at least 2", t->file,
                        t->line, n);
    item->n_choices = (uint32_t)n;
    item->choices = calloc(n, sizeof(*item->choices));
    if (!item->choices)
        return bad(t, "host memory ran out for the choices");
    for (size_t i = 0; i < n; i++) {
        const json_t *choice = json_array_get(list, i);
        if (!json_is_string(choice))
            return cli_fail("%s: line %zu: choice %zu is no text", t->file, t->line, i);
        item->choices[i] = text_of(choice);
    }
    return EXIT_DONE;
}

static int take_item(const struct eval_task *t, struct eval_item *item)
{
    const json_t *context = json_object_get(item->root, "context");
    const json_t *answer = json_object_get(item->root, "answer");
    item->id = json_object_get(item->root, "id");
    if (!json_is_string(context))
        return bad(t, "'context' is missing or no text");
    item->context = text_of(context);
    int code = take_choices(t, item);
    if (code != EXIT_DONE)
        return code;
    if (!json_is_integer(answer))
        return bad(t, "'answer' is missing or no whole number, expected the index of a choice");
    if (json_integer_value(answer) < 0 || json_integer_value(answer) >= item->n_choices)
        return cli_fail("%s: line %zu: 'answer' is %" JSON_INTEGER_FORMAT ", expected 0 to %u",
                        t->file, t->line, json_integer_value(answer), item->n_choices - 1);
    item->answer = (uint32_t)json_integer_value(answer);
    return EXIT_DONE;
}

int eval_task_next(struct eval_task *task, struct eval_item *item, bool *found)
{
    json_error_t error;
    *found = false;
    *item = (struct eval_item){0};
    for (size_t n; task->at < task->size && !*found;) {
        const char *line = task->text + task->at;
        n = line_size(task, task->at);
        task->at += n;
        task->line++;
        if (is_blank(line, n))
            continue;
        item->root = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
        if (!item->root)
            return cli_fail("%s: line %zu: not JSON (%s), expected an object with context, "
                            "choices and answer",
                            task->file, task->line, error.text);
        item->line = task->line;
        int code = json_is_object(item->root) ? take_item(task, item)
                                              : bad(task, "not an object with context, choices "
                                                          "and answer");
        if (code != EXIT_DONE) {
            eval_item_free(item);
            return code;
        }
        *found = true;
    }
    return EXIT_DONE;
}

bool eval_task_skip(struct eval_task *task, size_t lines)
{
    for (; task->line < lines && task->at < task->size; task->line++)
        task->at += line_size(task, task->at);
    return task->line == lines;
}
