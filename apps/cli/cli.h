/* What the subcommands of `vkmoe` share. */
#ifndef VKMOE_CLI_H
#define VKMOE_CLI_H

#include <getopt.h>
#include <jansson.h>
#include <vkmoe/vkmoe.h>

#include "interrupt.h"
#include "messages.h"

/* Options that every command with a model or device takes. */
struct cli_common {
    const char *model;  /* folder; NULL: the shipped model */
    const char *device; /* selector; NULL: the default */
    int verbosity;      /* 0: errors, 1: choices, 2: detail */
    bool no_cache;
    bool validation;
    bool no_subgroups;
    const char *paths; /* as vkmoe_device_params has it */
    bool no_tuning;
    uint32_t tiled_rows;
    uint32_t context;   /* of the session; 0: the library's default. No common option sets it. */
    bool fixed_context; /* it follows from the prompt: the command has no -c */
    uint32_t chunk;
    vkmoe_routing routing;
    const char *router_table; /* a file, or NULL */
    uint64_t table_hash;      /* of what it holds, once cli_router_table has read it */
    const char *experts_off, *experts_forced; /* LAYER:EXPERT lists, or NULL */
    uint64_t memory_limit;
    vkmoe_weights weights;
    vkmoe_kv kv;
    bool force;
};

/* Short and long options of struct cli_common, to be put in a command's tables. */
#define CLI_COMMON_SHORT "hm:v"
enum {
    CLI_OPTION_DEVICE = 256,
    CLI_OPTION_NO_CACHE,
    CLI_OPTION_VALIDATE,
    CLI_OPTION_NO_SUBGROUPS,
    CLI_OPTION_PATHS,
    CLI_OPTION_NO_TUNING,
    CLI_OPTION_TILED_ROWS,
    CLI_OPTION_CHUNK,
    CLI_OPTION_EXPERTS,
    CLI_OPTION_ROUTER,
    CLI_OPTION_ROUTER_NOISE,
    CLI_OPTION_ROUTER_SEED,
    CLI_OPTION_ROUTER_TABLE,
    CLI_OPTION_SKIP_EXPERTS,
    CLI_OPTION_NO_SHARED,
    CLI_OPTION_EXPERTS_OFF,
    CLI_OPTION_EXPERTS_FORCED,
    CLI_OPTION_MEMORY_LIMIT,
    CLI_OPTION_FORCE,
    CLI_OPTION_WEIGHTS,
    CLI_OPTION_KV,
    CLI_OPTION_OWN /* a command's own long options count from here */
};
#define CLI_COMMON_LONG                                                                            \
    {"help", no_argument, NULL, 'h'}, {"model", required_argument, NULL, 'm'},                     \
        {"verbose", no_argument, NULL, 'v'},                                                       \
        {"device", required_argument, NULL, CLI_OPTION_DEVICE},                                    \
        {"no-cache", no_argument, NULL, CLI_OPTION_NO_CACHE},                                      \
        {"validate", no_argument, NULL, CLI_OPTION_VALIDATE},                                      \
        {"no-subgroups", no_argument, NULL, CLI_OPTION_NO_SUBGROUPS},                              \
        {"paths", required_argument, NULL, CLI_OPTION_PATHS},                                      \
        {"no-tuning", no_argument, NULL, CLI_OPTION_NO_TUNING},                                    \
        {"chunk", required_argument, NULL, CLI_OPTION_CHUNK},                                      \
        {"experts", required_argument, NULL, CLI_OPTION_EXPERTS},                                  \
        {"router", required_argument, NULL, CLI_OPTION_ROUTER},                                    \
        {"router-noise", required_argument, NULL, CLI_OPTION_ROUTER_NOISE},                        \
        {"router-seed", required_argument, NULL, CLI_OPTION_ROUTER_SEED},                          \
        {"router-table", required_argument, NULL, CLI_OPTION_ROUTER_TABLE},                        \
        {"skip-experts", required_argument, NULL, CLI_OPTION_SKIP_EXPERTS},                        \
        {"no-shared", no_argument, NULL, CLI_OPTION_NO_SHARED},                                    \
        {"experts-off", required_argument, NULL, CLI_OPTION_EXPERTS_OFF},                          \
        {"experts-forced", required_argument, NULL, CLI_OPTION_EXPERTS_FORCED},                    \
        {"memory-limit", required_argument, NULL, CLI_OPTION_MEMORY_LIMIT},                        \
        {"force", no_argument, NULL, CLI_OPTION_FORCE},                                            \
        {"weights", required_argument, NULL, CLI_OPTION_WEIGHTS},                                  \
        {"kv", required_argument, NULL, CLI_OPTION_KV},                                            \
    {                                                                                              \
        "tiled-rows", required_argument, NULL, CLI_OPTION_TILED_ROWS                               \
    }
#define CLI_ROUTING_HELP                                                                           \
    "      --router KIND      how experts are chosen: topk, topk-normed, gshard, switch, dense,\n" \
    "                         hash (default: as the model was trained)\n"                          \
    "      --experts K        routed experts that each token activates (default: likewise)\n"      \
    "      --router-noise S   normal noise on the router's logits, standard deviation S\n"         \
    "      --router-seed N    of the noise and of hash's table (default: 0)\n"                     \
    "      --router-table FILE\n"                                                                  \
    "                         hash's table, instead: a JSON array of the experts of each token,\n" \
    "                         [[0, 7], [3, 1], ...], as long as the vocabulary\n"                  \
    "      --skip-experts R   pass over each token's R best experts\n"                             \
    "      --no-shared        leave the shared experts out\n"                                      \
    "      --experts-off LIST, --experts-forced LIST\n"                                            \
    "                         never or always choose these: L:E for expert E of MoE layer L,\n"    \
    "                         L:E-F for several, *:E in all layers; separated by commas\n"
#define CLI_COMMON_HELP                                                                            \
    "  -m, --model MODEL      folder in Hugging Face layout, or GGUF file (default: the shipped\n" \
    "                         model)\n"                                                            \
    "      --device D         device index, UUID, part of a name, or 'reference'\n"                \
    "                         (default: $VKMOE_DEVICE, else the fastest kind there is)\n"          \
    "      --memory-limit N   use at most N bytes of device memory (500M, 1.5G): experts beyond\n" \
    "                         are read from host memory (default: what the device has)\n"          \
    "      --weights KIND     bf16: as the file has them; q8, q4: quantised while loading\n"       \
    "                         (default: bf16); those of a GGUF file, or quantised\n"               \
    "                         already, stay as they are\n"                                         \
    "      --kv KIND          keys and values of the context as f32, f16, bf16 or q8 (default: "   \
    "f32)\n"                                                                                       \
    "      --chunk N          prompt tokens computed in one step (default: 256, on GPUs up to\n"   \
    "                         2048 where memory has room)\n" CLI_ROUTING_HELP                      \
    "      --force            try to load what does not fit by the plan\n"                         \
    "      --no-cache         do not read or write the pipeline cache\n"                           \
    "      --validate         run under the Khronos validation layer\n"                            \
    "      --no-subgroups     use only what every Vulkan 1.3 device has\n"                         \
    "      --paths LIST       ways of computing products: -NAME never, +NAME wherever it runs,\n"  \
    "                         ++NAME without a self-test: --paths=-int8 (`vkmoe devices -v`)\n"    \
    "      --no-tuning        launch kernels as vkmoe would, whatever `vkmoe bench --tune` "       \
    "found\n"                                                                                      \
    "      --tiled-rows N     tiled matrix products for steps of more than N tokens\n"             \
    "  -v, --verbose          say what was chosen and why; twice: more\n"                          \
    "  -h, --help             this text\n"

/* Applies an option of CLI_ROUTING_HELP; as cli_common_option. */
int cli_routing_option(struct cli_common *common, int option);
/* What --router calls a kind. */
const char *cli_router_name(vkmoe_router router);
/* Has the options route by the table of --router-table, which must be made for this model: *table
 * is its memory (malloc'ed; NULL where the option was not given). Returns an exit code, after
 * saying why. */
int cli_router_table(struct cli_common *common, const char *model, uint32_t **table);
/* --experts-off and --experts-forced for a model of this shape: [n_moe_layers, n_routed_experts],
 * malloc'ed, NULL where neither was given. Returns an exit code, after saying why. */
int cli_expert_states(const struct cli_common *common, const vkmoe_model_info *info,
                      uint8_t **states);
/* Gives the experts of such a list a state, in [n_moe_layers, n_routed_experts]; false after saying
 * what is wrong with it. */
bool cli_expert_list(const char *flag, const char *list, const vkmoe_model_info *info,
                     vkmoe_expert_state state, uint8_t *states);
/* What the options say of routing, one line (malloc'ed); NULL: memory ran out. */
char *cli_routing_text(const struct cli_common *common);
/* A session of the model as the options want it. Returns an exit code, after saying why. */
int cli_session_create(const struct cli_common *common, vkmoe_model *model,
                       vkmoe_session **session);
/* The same with params that began as cli_session_params; `cache_tokens` that do not fit beside the
 * model are as many as the context has. */
int cli_session_open(const struct cli_common *common, const vkmoe_session_params *params,
                     vkmoe_model *model, vkmoe_session **session);

/* Applies a common option. Returns -1 if it was one, EXIT_USAGE if it was not (which has
 * been said) or its value is wrong, EXIT_DONE after printing `help` for -h. */
int cli_common_option(struct cli_common *common, int option, const char *help);

/* What -n and -c may be at most: far more than any model was made for. */
#define CLI_MOST_TOKENS (1u << 24)

#define CLI_MOST_EXPERTS 1024 /* that the runtime can route to */

/* Numbers from the command line; false after saying what is wrong with `flag`. */
bool cli_parse_u64(const char *flag, const char *text, uint64_t low, uint64_t high,
                   uint64_t *value);
bool cli_parse_float(const char *flag, const char *text, float low, float high, float *value);
/* -c of the commands that have it. */
bool cli_parse_context(const char *text, struct cli_common *common);
/* Bytes, as a number or with a suffix: K, M, G, T (also KiB, KB: all count by 1024). */
bool cli_parse_bytes(const char *flag, const char *text, uint64_t *bytes);
/* What --weights calls a kind. */
const char *cli_weights_name(vkmoe_weights weights);
/* What --kv calls a kind. */
const char *cli_kv_name(vkmoe_kv kv);
/* "1,2,3" into numbers (malloc'ed); what is none is said to be no `what`, "a token id". */
bool cli_parse_numbers(const char *flag, const char *what, const char *text, int32_t **numbers,
                       size_t *count);

/* getopt_long, which says in a sentence of ours what is wrong with an option, then returns '?'. */
int cli_next_option(int argc, char **argv, const char *short_options,
                    const struct option *long_options);

/* A JSON string: the text, with U+FFFD for each byte that is not UTF-8. NULL: memory ran out. */
json_t *cli_json_text(const char *text);
/* What a device offers, as members of JSON: its paths, and its memories. */
json_t *cli_paths_json(const vkmoe_device_info *d);
json_t *cli_heaps_json(const vkmoe_device_info *d);
/* Prints a JSON object, which is released, on stdout; the exit code. `what` names it if that fails.
 */
int cli_print_json(json_t *root, const char *what);

/* All of a file, or of stdin for "-"; malloc'ed, zero-terminated. False after saying why not, and
 * without a word after a Ctrl-C. */
bool cli_read_all(const char *path, char **text, size_t *size);

/* Writes a file, whole or not at all. Returns an exit code, after saying why. */
int cli_write_file(const char *path, const char *data, size_t size);
/* Whether that could succeed, to be asked before much is computed; likewise. */
int cli_try_file(const char *path);

/* Where the model is: the -m folder, or the shipped one beside the program. */
const char *cli_model_path(const struct cli_common *common);
/* Whether there is anything; false after saying that there is not. */
bool cli_model_is_there(const struct cli_common *common);

/* A bar on stderr, if that is a terminal. */
struct cli_progress {
    const char *doing; /* "loading" */
    const char *after; /* what goes on when all is read */
    double shown;      /* when it was drawn last */
};
/* Draws it (user: a struct cli_progress) from time to time; false after a Ctrl-C. */
bool cli_on_progress(void *user, uint64_t done, uint64_t total);
void cli_end_progress(void);

/* A log that prints to stderr what `verbosity` asks for. */
vkmoe_log cli_log(const struct cli_common *common);

/* A device, a model on it and its tokenizer. */
struct cli_engine {
    vkmoe_log log;
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_tokenizer *tokenizer;
    uint32_t *table; /* of --router-table, or NULL */
    double start, load_seconds;
};

/* Reads the tokenizer of the model, and the table of --router-table, into *e, before a device is
 * opened. Returns an exit code. */
int cli_tokenizer_open(struct cli_common *common, struct cli_engine *e);
/* Opens the rest, with a progress bar if stderr is a terminal, for a prompt of so many tokens.
 * Returns an exit code; the reason for a failure has been said. */
int cli_engine_open(const struct cli_common *common, uint32_t prompt_tokens, struct cli_engine *e);
/* Closes the model and the device, which may be opened again; tokenizer and table stay. */
void cli_engine_close_device(struct cli_engine *e);
void cli_engine_close(struct cli_engine *e); /* after either; accepts what was not opened */
/* The device alone. */
vkmoe_status cli_device_open(const struct cli_common *common, const vkmoe_log *log,
                             vkmoe_device **device, vkmoe_error *err);
/* What the options say of loading. */
vkmoe_model_params cli_model_params(const struct cli_common *common);
/* And of sessions. */
vkmoe_session_params cli_session_params(const struct cli_common *common);

#define CLI_REASON_SIZE 2048
/* Why the plan does not fit, and the options that would make it fit; "" where it does. */
void cli_plan_reason(const vkmoe_plan *plan, char reason[CLI_REASON_SIZE]);
/* Says why loading failed: where it was refused by the plan, with the options that would do.
 * Returns an exit code. */
int cli_load_failed(vkmoe_device *device, const struct cli_common *common, const vkmoe_error *err);
double cli_now(void); /* seconds, monotonic */

int cmd_run(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_detokenize(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_balance(int argc, char **argv);
int cmd_study(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_conform(int argc, char **argv);

#endif
