/* Texts that are measured. */
#ifndef VKMOE_CLI_TEXT_H
#define VKMOE_CLI_TEXT_H

#include "cli.h"

struct cli_text {
    const char *file;
    const int32_t *ids; /* [count], without BOS */
    size_t count;
    bool bos; /* the tokenizer puts bos_token before a text */
    int32_t bos_token;
    int32_t *encoded; /* as the tokenizer has it */
};

/* Encodes a text of this file; NULL: of the command line. Returns an exit code, after saying why.
 */
int cli_text_encode(const vkmoe_tokenizer *tokenizer, const char *file, const char *bytes,
                    size_t size, struct cli_text *text);
/* The same of what is in the file ("-" is stdin). */
int cli_text_open(const vkmoe_tokenizer *tokenizer, const char *file, struct cli_text *text);
void cli_text_close(const vkmoe_tokenizer *tokenizer, struct cli_text *text);

/* Opens the text, and the model for it, has them measured, and closes them. Returns an exit code,
 * that of `measure` where it comes to that. */
typedef int cli_text_fn(void *user, const struct cli_engine *e, const struct cli_text *text);
int cli_with_text(struct cli_common *common, const char *file, cli_text_fn *measure, void *user);

/* For on_session of what measures texts: Ctrl-C cancels. */
void cli_text_cancel(void *user, vkmoe_session *session);

#endif
