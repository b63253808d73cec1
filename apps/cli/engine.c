#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

#define SHIPPED_MODEL "/../share/vkmoe/trio" /* from the program's folder */

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool cli_read_all(const char *path, char **text, size_t *size)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t capacity = 1 << 16, n = 0;
    char *data = file ? malloc(capacity) : NULL;
    while (data) {
        n += fread(data + n, 1, capacity - n - 1, file);
        if (n < capacity - 1)
            break;
        char *grown = realloc(data, capacity *= 2);
        if (!grown)
            free(data);
        data = grown;
    }
    if (!data || ferror(file)) {
        if (!cli_interrupted())
            cli_fail("cannot read %s: %s", path, strerror(errno));
        free(data);
        data = NULL;
    }
    if (file && file != stdin)
        fclose(file);
    if (!data)
        return false;
    data[n] = '\0';
    *text = data;
    *size = n;
    return true;
}

const char *cli_model_path(const struct cli_common *common)
{
    static char shipped[4096];
    if (common->model)
        return common->model;
    ssize_t n = readlink("/proc/self/exe", shipped, sizeof(shipped) - sizeof(SHIPPED_MODEL));
    if (n <= 0)
        return "share/vkmoe/trio";
    shipped[n] = '\0';
    *strrchr(shipped, '/') = '\0';
    strcat(shipped, SHIPPED_MODEL);
    return shipped;
}

bool cli_model_is_there(const struct cli_common *common)
{
    struct stat st;
    const char *path = cli_model_path(common);
    if (stat(path, &st) == 0 || errno != ENOENT)
        return true; /* what else is wrong is found by whoever reads it */
    cli_fail("%s: there is no such folder or file, expected a model in Hugging Face layout or a "
             "GGUF file",
             path);
    return false;
}

static void log_line(void *user, vkmoe_log_level level, const char *line)
{
    const struct cli_common *common = user;
    if ((int)level <= common->verbosity + (int)VKMOE_LOG_NOTICE)
        cli_note("%s", line);
}

vkmoe_log cli_log(const struct cli_common *common)
{
    return (vkmoe_log){.write = log_line, .user = (void *)(uintptr_t)common};
}

#define BAR "########################################"
#define BAR_WIDTH ((int)sizeof(BAR) - 1)

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;
}

static void show_progress(struct cli_progress *p, uint64_t done, uint64_t total)
{
    double seconds = cli_now();
    if (seconds - p->shown < 0.1)
        return;
    p->shown = seconds;
    char text[96];
    int size =
        snprintf(text, sizeof(text), "%.1f of %.1f MB%s%s", (double)done / 1e6, (double)total / 1e6,
                 done < total ? "" : ", ", done < total ? "" : p->after);
    int room = terminal_width() - 1; /* the last column is the cursor's */
    int width = room - size - (int)strlen(p->doing) - (int)sizeof(" [] ") + 1;
    if (width < 1) {
        fprintf(stderr, "\r\033[K%.*s", room, text);
        return;
    }
    width = width < BAR_WIDTH ? width : BAR_WIDTH;
    int filled = total ? (int)((uint64_t)width * done / total) : width;
    fprintf(stderr, "\r\033[K%s [%.*s%*s] %s", p->doing, filled, BAR, width - filled, "", text);
}

bool cli_on_progress(void *user, uint64_t done, uint64_t total)
{
    if (isatty(STDERR_FILENO))
        show_progress(user, done, total);
    return !cli_interrupted();
}

void cli_end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

int cli_tokenizer_open(struct cli_common *common, struct cli_engine *e)
{
    vkmoe_error err;
    *e = (struct cli_engine){.log = cli_log(common), .start = cli_now()};
    if (!cli_model_is_there(common))
        return EXIT_FAILED;
    int code = cli_router_table(common, cli_model_path(common), &e->table);
    if (code != EXIT_DONE)
        return code;
    if (vkmoe_tokenizer_load(cli_model_path(common), NULL, &e->tokenizer, &err) == VKMOE_OK)
        return EXIT_DONE;
    cli_engine_close(e);
    return cli_failed(&err);
}

static bool go_on(void *user)
{
    (void)user;
    return !cli_interrupted();
}

vkmoe_status cli_device_open(const struct cli_common *common, const vkmoe_log *log,
                             vkmoe_device **device, vkmoe_error *err)
{
    vkmoe_device_params params = {
        .log = log,
        .selector = common->device,
        .validation = common->validation,
        .no_subgroups = common->no_subgroups,
        .paths = common->paths,
        .tiled_rows = common->tiled_rows,
        .no_tuning = common->no_tuning,
        .cache_dir = common->no_cache ? "" : NULL,
        .go_on = go_on,
    };
    return vkmoe_device_open(&params, device, err);
}

vkmoe_model_params cli_model_params(const struct cli_common *common)
{
    return (vkmoe_model_params){
        .context = common->context,
        .chunk = common->chunk,
        .routing = common->routing,
        .memory_limit = common->memory_limit,
        .weights = common->weights,
        .kv = common->kv,
        .force = common->force,
    };
}

vkmoe_session_params cli_session_params(const struct cli_common *common)
{
    return (vkmoe_session_params){
        .context = common->context,
        .chunk = common->chunk,
        .routing = common->routing,
        .kv = common->kv,
    };
}

int cli_session_create(const struct cli_common *common, vkmoe_model *model, vkmoe_session **session)
{
    const vkmoe_session_params params = cli_session_params(common);
    return cli_session_open(common, &params, model, session);
}

int cli_session_open(const struct cli_common *common, const vkmoe_session_params *params,
                     vkmoe_model *model, vkmoe_session **session)
{
    vkmoe_error err;
    uint8_t *states;
    *session = NULL;
    int code = cli_expert_states(common, vkmoe_model_get_info(model), &states);
    if (code != EXIT_DONE)
        return code;
    vkmoe_session_params wanted = *params;
    vkmoe_status status = vkmoe_session_create(model, &wanted, session, &err);
    if (status == VKMOE_OUT_OF_DEVICE_MEMORY && wanted.cache_tokens > 0) {
        wanted.cache_tokens = 0;
        status = vkmoe_session_create(model, &wanted, session, &err);
    }
    if (status == VKMOE_OK && states)
        status = vkmoe_session_set_experts(*session, states, &err);
    free(states);
    if (status == VKMOE_OK)
        return EXIT_DONE;
    vkmoe_session_destroy(*session);
    *session = NULL;
    return cli_failed(&err);
}

static vkmoe_status open_device_and_model(const struct cli_common *common, uint32_t prompt_tokens,
                                          struct cli_engine *e, vkmoe_error *err)
{
    struct cli_progress progress = {.doing = "loading", .after = "waiting for the shaders"};
    vkmoe_model_params model = cli_model_params(common);
    model.progress = cli_on_progress;
    model.user = &progress;
    model.prompt_tokens = prompt_tokens;
    vkmoe_status status = cli_device_open(common, &e->log, &e->device, err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(e->device, cli_model_path(common), &model, &e->model, err);
    return status;
}

/* Ids beyond the embeddings would be an error only once a text has one of them. */
static bool vocabulary_fits(const struct cli_common *common, const struct cli_engine *e)
{
    int32_t tokens = vkmoe_tokenizer_size(e->tokenizer);
    uint32_t vocabulary = vkmoe_model_get_info(e->model)->vocab_size;
    if (tokens < 0 || (uint32_t)tokens <= vocabulary)
        return true;
    cli_fail(
        "%s: the tokenizer has token ids up to %d, expected ids below the model's vocab_size of "
        "%u",
        cli_model_path(common), tokens - 1, vocabulary);
    return false;
}

int cli_engine_open(const struct cli_common *common, uint32_t prompt_tokens, struct cli_engine *e)
{
    vkmoe_error err;
    vkmoe_status status = open_device_and_model(common, prompt_tokens, e, &err);
    cli_end_progress();
    if (status != VKMOE_OK)
        return cli_interrupted() ? EXIT_INTERRUPTED : cli_load_failed(e->device, common, &err);
    e->load_seconds = cli_now() - e->start;
    uint32_t made_for = vkmoe_model_get_info(e->model)->max_context;
    if (common->context > made_for)
        cli_note("a context of %u tokens is more than the %u that the model was made for, beyond "
                 "which it may do poorly",
                 common->context, made_for);
    return vocabulary_fits(common, e) ? EXIT_DONE : EXIT_FAILED;
}

void cli_engine_close_device(struct cli_engine *e)
{
    vkmoe_model_destroy(e->model);
    vkmoe_device_close(e->device);
    e->model = NULL;
    e->device = NULL;
}

void cli_engine_close(struct cli_engine *e)
{
    cli_engine_close_device(e);
    vkmoe_tokenizer_destroy(e->tokenizer);
    free(e->table);
    e->tokenizer = NULL;
    e->table = NULL;
}
