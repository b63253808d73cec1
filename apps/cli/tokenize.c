/* vkmoe tokenize and detokenize: text to ids and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char tokenize_help[] =
    "usage: vkmoe tokenize [-m MODEL] [--bos] < TEXT\n"
    "Reads text from stdin and prints its token ids on one line.\n\n"
    "  -m, --model MODEL      folder or GGUF file (default: the shipped model)\n"
    "      --bos              put the BOS token first, if the model wants one\n"
    "  -h, --help             this text\n";

static const char detokenize_help[] =
    "usage: vkmoe detokenize [-m MODEL] < IDS\n"
    "Reads token ids, separated by spaces or commas, from stdin and prints their bytes.\n\n"
    "  -m, --model MODEL      folder or GGUF file (default: the shipped model)\n"
    "  -h, --help             this text\n";

static int parse(int argc, char **argv, const char *help, struct cli_common *common, bool *bos)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'},
        {"model", required_argument, NULL, 'm'},
        {"bos", no_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    int option;
    *common = (struct cli_common){0};
    *bos = false;
    while ((option = cli_next_option(argc, argv, "hm:", long_options)) != -1) {
        if (option == 'b') {
            *bos = true;
            continue;
        }
        int code = cli_common_option(common, option, help);
        if (code >= 0)
            return code;
    }
    if (optind < argc)
        return cli_usage("%s: '%s' is not an option; text comes from stdin", argv[0], argv[optind]);
    return -1;
}

static int tokenize(const vkmoe_tokenizer *tokenizer, const char *text, size_t size, bool bos)
{
    vkmoe_error err;
    int32_t *ids;
    size_t count;
    if (!cli_check_utf8("stdin", text, size))
        return EXIT_FAILED;
    if (vkmoe_tokenizer_encode(tokenizer, text, size, bos, &ids, &count, &err) != VKMOE_OK)
        return cli_failed(&err);
    for (size_t i = 0; i < count; i++)
        printf(i ? " %d" : "%d", ids[i]);
    fputc('\n', stdout);
    vkmoe_tokenizer_free(tokenizer, ids);
    return EXIT_DONE;
}

static int detokenize(const vkmoe_tokenizer *tokenizer, const char *text, size_t n)
{
    vkmoe_error err;
    int32_t *ids;
    size_t count, size;
    char *bytes;
    if (strlen(text) < n)
        return cli_fail("stdin: byte offset %zu is zero, expected token ids", strlen(text));
    if (!cli_parse_numbers("stdin", "a token id", text, &ids, &count))
        return EXIT_FAILED;
    vkmoe_status status = vkmoe_tokenizer_decode(tokenizer, ids, count, true, &bytes, &size, &err);
    free(ids);
    if (status != VKMOE_OK)
        return cli_failed(&err);
    fwrite(bytes, 1, size, stdout);
    vkmoe_tokenizer_free(tokenizer, bytes);
    return EXIT_DONE;
}

static int convert(const struct cli_common *common, bool back, bool bos)
{
    vkmoe_error err;
    vkmoe_tokenizer *tokenizer;
    char *text;
    size_t size;
    if (!cli_model_is_there(common))
        return EXIT_FAILED;
    if (vkmoe_tokenizer_load(cli_model_path(common), NULL, &tokenizer, &err) != VKMOE_OK)
        return cli_failed(&err);
    int code = EXIT_FAILED;
    if (cli_read_all("-", &text, &size)) {
        code = back ? detokenize(tokenizer, text, size) : tokenize(tokenizer, text, size, bos);
        free(text);
    }
    vkmoe_tokenizer_destroy(tokenizer);
    return code;
}

int cmd_tokenize(int argc, char **argv)
{
    struct cli_common common;
    bool bos;
    int code = parse(argc, argv, tokenize_help, &common, &bos);
    return code >= 0 ? code : convert(&common, false, bos);
}

int cmd_detokenize(int argc, char **argv)
{
    struct cli_common common;
    bool bos;
    int code = parse(argc, argv, detokenize_help, &common, &bos);
    if (code < 0 && bos)
        return cli_usage("detokenize: --bos is for tokenize");
    return code >= 0 ? code : convert(&common, true, false);
}
