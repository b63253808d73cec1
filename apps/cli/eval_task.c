#include "eval_task.h"

#include <stdarg.h>
#include <stdio.h>
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

/* Why a line is no item. */
static bool bad(const struct eval_task *t, vkmoe_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool bad(const struct eval_task *t, vkmoe_error *err, const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    eval_broken(t->file, t->line, why, err);
    return false;
}

static bool take_choices(const struct eval_task *t, struct eval_item *item, vkmoe_error *err)
{
    const json_t *list = json_object_get(item->root, "choices");
    size_t n = json_array_size(list);
    if (!json_is_array(list))
        return bad(t, err, "'choices' is missing or no list, expected a list of texts");
    if (n < 2 || n > UINT32_MAX)
        return bad(t, err, "'choices' has %zu texts, expected at least 2", n);
    item->n_choices = (uint32_t)n;
    item->choices = calloc(n, sizeof(*item->choices));
    if (!item->choices)
        return bad(t, err, "host memory ran out for %zu choices", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *choice = json_array_get(list, i);
        if (!json_is_string(choice))
            return bad(t, err, "choice %zu is no text", i);
        item->choices[i] = text_of(choice);
    }
    return true;
}

static bool take_item(const struct eval_task *t, struct eval_item *item, vkmoe_error *err)
{
    const json_t *context = json_object_get(item->root, "context");
    const json_t *answer = json_object_get(item->root, "answer");
    item->id = json_object_get(item->root, "id");
    if (!json_is_object(item->root))
        return bad(t, err, "not an object with context, choices and answer");
    if (!json_is_string(context))
        return bad(t, err, "'context' is missing or no text");
    item->context = text_of(context);
    if (!take_choices(t, item, err))
        return false;
    if (!json_is_integer(answer))
        return bad(t, err,
                   "'answer' is missing or no whole number, expected the index of a choice");
    if (json_integer_value(answer) < 0 || json_integer_value(answer) >= item->n_choices)
        return bad(t, err, "'answer' is %" JSON_INTEGER_FORMAT ", expected 0 to %u",
                   json_integer_value(answer), item->n_choices - 1);
    item->answer = (uint32_t)json_integer_value(answer);
    return true;
}

void eval_broken(const char *file, size_t line, const char *why, vkmoe_error *err)
{
    err->status = VKMOE_BAD_FORMAT;
    snprintf(err->message, sizeof(err->message), "%.256s: line %zu: %.700s", file, line, why);
}

enum eval_found eval_task_next(struct eval_task *task, struct eval_item *item, vkmoe_error *err)
{
    json_error_t error;
    size_t n = 0;
    const char *line = task->text;
    *item = (struct eval_item){0};
    do {
        if (task->at == task->size)
            return EVAL_END;
        line = task->text + task->at;
        n = line_size(task, task->at);
        task->at += n;
        task->line++;
    } while (is_blank(line, n));
    item->line = task->line;
    item->root = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
    if (!item->root)
        bad(task, err, "not JSON (%s), expected an object with context, choices and answer",
            error.text);
    if (item->root && take_item(task, item, err))
        return EVAL_ITEM;
    eval_item_free(item);
    return EVAL_BROKEN;
}

bool eval_task_skip(struct eval_task *task, size_t lines)
{
    for (; task->line < lines && task->at < task->size; task->line++)
        task->at += line_size(task, task->at);
    return task->line == lines;
}
