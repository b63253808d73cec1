#include "text.h"

#include <signal.h>
#include <stdlib.h>

#include "input.h"

int cli_text_encode(const vkmoe_tokenizer *tokenizer, const char *file, const char *bytes,
                    size_t size, struct cli_text *text)
{
    vkmoe_error err;
    size_t count = 0;
    *text = (struct cli_text){.file = file};
    if (size == 0)
        return cli_fail("the text %s%sis empty, expected something to measure", file ? file : "",
                        file ? " " : "");
    if (!cli_check_utf8(file ? file : "-p", bytes, size))
        return EXIT_FAILED;
    if (vkmoe_tokenizer_encode(tokenizer, bytes, size, true, &text->encoded, &count, &err) !=
        VKMOE_OK)
        return cli_failed(&err);
    text->bos_token = vkmoe_tokenizer_bos(tokenizer);
    text->bos = count > 0 && text->encoded[0] == text->bos_token;
    text->ids = text->encoded + text->bos;
    text->count = count - text->bos;
    return EXIT_DONE;
}

int cli_text_open(const vkmoe_tokenizer *tokenizer, const char *file, struct cli_text *text)
{
    char *bytes;
    size_t size;
    if (!cli_read_all(file, &bytes, &size))
        return cli_interrupted() ? EXIT_INTERRUPTED : EXIT_FAILED;
    int code = cli_text_encode(tokenizer, file, bytes, size, text);
    free(bytes);
    return code;
}

void cli_text_close(const vkmoe_tokenizer *tokenizer, struct cli_text *text)
{
    vkmoe_tokenizer_free(tokenizer, text->encoded);
    *text = (struct cli_text){0};
}

int cli_with_text(struct cli_common *common, const char *file, cli_text_fn *measure, void *user)
{
    struct cli_engine e;
    struct cli_text text = {0};
    cli_catch_interrupt();
    signal(SIGPIPE, SIG_IGN);
    int code = cli_tokenizer_open(common, &e);
    if (code != EXIT_DONE)
        return code;
    code = cli_text_open(e.tokenizer, file, &text);
    if (code == EXIT_DONE)
        code = cli_engine_open(common, 0, &e);
    if (code == EXIT_DONE)
        code = measure(user, &e, &text);
    cli_text_close(e.tokenizer, &text);
    cli_engine_close(&e);
    return code;
}

void cli_text_cancel(void *user, vkmoe_session *session)
{
    (void)user;
    cli_cancel_on_interrupt(session);
}
