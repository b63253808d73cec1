#include "text.h"

#include <signal.h>
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

int cli_with_text(const struct cli_common *common, const char *file, cli_text_fn *measure,
                  void *user)
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
