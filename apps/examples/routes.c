/* Where tokens go while text is generated: routes MODEL_FOLDER PROMPT. Prints each token as soon as
 * it is computed, with the experts that it chose in every MoE layer and, in brackets, the one that
 * came next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vkmoe/vkmoe.h>

enum { TOKENS = 24 };

struct program {
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_tokenizer *tokenizer;
    vkmoe_session *session;
    int32_t *experts; /* of one token [n_moe_layers, K + 1] */
    int32_t newest;   /* handed out, not computed yet */
    vkmoe_error err;
};

/* A session that remembers one expert more than a token chooses. */
static vkmoe_status make_session(struct program *p)
{
    const vkmoe_model_info *info = vkmoe_model_get_info(p->model);
    uint32_t keep = info->n_experts_per_token + (info->n_experts_per_token > 0);
    const vkmoe_session_params params = {
        .context = 1024,
        .keep_ranks = keep < info->n_routed_experts ? keep : info->n_routed_experts};
    p->experts = calloc((size_t)info->n_moe_layers * keep + 1, sizeof(*p->experts));
    if (!p->experts) {
        snprintf(p->err.message, sizeof(p->err.message), "memory is exhausted");
        return VKMOE_OUT_OF_HOST_MEMORY;
    }
    return vkmoe_session_create(p->model, &params, &p->session, &p->err);
}

static vkmoe_status open_all(struct program *p, const char *folder)
{
    vkmoe_status status = vkmoe_tokenizer_load(folder, NULL, &p->tokenizer, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_device_open(NULL, &p->device, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(p->device, folder, NULL, &p->model, &p->err);
    return status == VKMOE_OK ? make_session(p) : status;
}

static void print_text(const struct program *p, int32_t token)
{
    char *bytes;
    size_t size;
    if (vkmoe_tokenizer_decode(p->tokenizer, &token, 1, true, &bytes, &size, NULL) != VKMOE_OK)
        return;
    int width = printf("'%s'", strcmp(bytes, "\n") == 0 ? "\\n" : bytes);
    printf("%*s", width < 12 ? 12 - width : 1, "");
    vkmoe_tokenizer_free(p->tokenizer, bytes);
}

static bool print_route(struct program *p, int32_t token, uint32_t position)
{
    const vkmoe_model_info *info = vkmoe_model_get_info(p->model);
    vkmoe_routes routes = {.first = position, .count = 1, .ids = p->experts};
    if (vkmoe_session_read_routes(p->session, &routes, &p->err) != VKMOE_OK)
        return false;
    print_text(p, token);
    for (uint32_t l = 0; l < info->n_moe_layers; l++) {
        printf(" |");
        for (uint32_t r = 0; r < routes.ranks; r++)
            printf(r < info->n_experts_per_token ? " %d" : " (%d)",
                   p->experts[l * routes.ranks + r]);
    }
    putchar('\n');
    fflush(stdout);
    return true;
}

/* The token before this one has just been computed. */
static bool on_token(void *user, int32_t token)
{
    struct program *p = user;
    int32_t before = p->newest;
    p->newest = token;
    return print_route(p, before, vkmoe_session_length(p->session) - 2);
}

static vkmoe_status generate(struct program *p, const char *prompt)
{
    const vkmoe_generate_params params = {.max_tokens = TOKENS, .on_token = on_token, .user = p};
    int32_t *ids = NULL;
    size_t count = 0;
    vkmoe_status status =
        vkmoe_tokenizer_encode(p->tokenizer, prompt, strlen(prompt), true, &ids, &count, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(p->session, ids, count, NULL, &p->err);
    if (status == VKMOE_OK) {
        p->newest = ids[count - 1];
        status = vkmoe_session_generate(p->session, &params, NULL, &p->err);
    }
    vkmoe_tokenizer_free(p->tokenizer, ids);
    return status == VKMOE_OK ? p->err.status : status; /* what on_token met with */
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
        status = generate(&p, argv[2]);
    if (status != VKMOE_OK)
        fprintf(stderr, "%s\n", p.err.message);
    free(p.experts);
    vkmoe_session_destroy(p.session);
    vkmoe_model_destroy(p.model);
    vkmoe_device_close(p.device);
    vkmoe_tokenizer_destroy(p.tokenizer);
    return status == VKMOE_OK ? 0 : 1;
}
