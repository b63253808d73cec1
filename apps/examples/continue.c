/* Continues a prompt: continue MODEL_FOLDER PROMPT. The shortest way through the library. */
#include <stdio.h>
#include <string.h>
#include <vkmoe/vkmoe.h>

struct program {
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_tokenizer *tokenizer;
    vkmoe_session *session;
    vkmoe_error err;
};

/* A token may end in the middle of a character: terminals wait for the rest of it. */
static bool print_token(void *user, int32_t token)
{
    struct program *p = user;
    char *bytes;
    size_t size;
    if (vkmoe_tokenizer_decode(p->tokenizer, &token, 1, false, &bytes, &size, &p->err) != VKMOE_OK)
        return false;
    fwrite(bytes, 1, size, stdout);
    fflush(stdout);
    vkmoe_tokenizer_free(p->tokenizer, bytes);
    return true;
}

static vkmoe_status open_all(struct program *p, const char *folder)
{
    vkmoe_status status = vkmoe_tokenizer_load(folder, NULL, &p->tokenizer, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_device_open(NULL, &p->device, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(p->device, folder, NULL, &p->model, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_create(p->model, NULL, &p->session, &p->err);
    return status;
}

static vkmoe_status continue_text(struct program *p, const char *prompt)
{
    int32_t *ids = NULL;
    size_t count = 0;
    vkmoe_generate_params params = {.max_tokens = 64, .on_token = print_token, .user = p};
    params.sampling = *vkmoe_model_get_sampling(p->model);
    vkmoe_status status =
        vkmoe_tokenizer_encode(p->tokenizer, prompt, strlen(prompt), true, &ids, &count, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(p->session, ids, count, NULL, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(p->session, &params, NULL, &p->err);
    vkmoe_tokenizer_free(p->tokenizer, ids);
    return status;
}

int main(int argc, char **argv)
{
    struct program p = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL_FOLDER PROMPT\n", argv[0]);
        return 2;
    }
    vkmoe_status status = open_all(&p, argv[1]);
    if (status == VKMOE_OK)
        status = continue_text(&p, argv[2]);
    if (status == VKMOE_OK)
        putchar('\n');
    else
        fprintf(stderr, "%s\n", p.err.message);
    vkmoe_session_destroy(p.session);
    vkmoe_model_destroy(p.model);
    vkmoe_device_close(p.device);
    vkmoe_tokenizer_destroy(p.tokenizer);
    return status == VKMOE_OK ? 0 : 1;
}
