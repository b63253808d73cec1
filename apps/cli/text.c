#include "text.h"

#include <stdlib.h>

#include "input.h"

int cli_text_open(const vkmoe_tokenizer *tokenizer, const char *file, struct cli_text *text)
{
    vkmoe_error err;
    char *bytes;
    size_t size, count = 0;
    *text = (struct cli_text){.file = file};
    if (!cli_read_all(file, &bytes, &size))
        return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    int code = EXIT_DONE;
    if (size == 0)
        code = cli_fail("the text %s is empty, expected something to measure", file);
    else if (!cli_check_utf8(file, bytes, size))
        code = EXIT_FAILED;
    else if (vkmoe_tokenizer_encode(tokenizer, bytes, size, true, &text->encoded, &count, &err) !=
             VKMOE_OK)
        code = cli_failed(&err);
    free(bytes);
    if (code != EXIT_DONE)
        return code;
    text->bos_token = vkmoe_tokenizer_bos(tokenizer);
    text->bos = count > 0 && text->encoded[0] == text->bos_token;
    text->ids = text->encoded + text->bos;
    text->count = count - text->bos;
    return EXIT_DONE;
}

void cli_text_close(const vkmoe_tokenizer *tokenizer, struct cli_text *text)
{
    vkmoe_tokenizer_free(tokenizer, text->encoded);
    *text = (struct cli_text){0};
}
