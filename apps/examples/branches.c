/* What might come next: branches MODEL_FOLDER PROMPT. Forks a session for each of the likeliest
 * next tokens, continues every branch greedily, and shows which experts the prompt's last token
 * woke. The prompt is computed once and lies in the KV cache once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vkmoe/vkmoe.h>

enum { BRANCHES = 4, TOKENS = 12 };

struct program {
    vkmoe_device *device;
    vkmoe_model *model;
    vkmoe_tokenizer *tokenizer;
    vkmoe_session *session;
    int32_t *ids;
    size_t count;
    vkmoe_trace trace;
    vkmoe_error err;
};

static vkmoe_status open_all(struct program *p, const char *folder)
{
    const vkmoe_session_params session = {.context = 1024};
    vkmoe_status status = vkmoe_tokenizer_load(folder, NULL, &p->tokenizer, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_device_open(NULL, &p->device, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_model_load(p->device, folder, NULL, &p->model, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_create(p->model, &session, &p->session, &p->err);
    return status;
}

static void print_tokens(const struct program *p, const int32_t *ids, size_t count)
{
    char *bytes;
    size_t size;
    if (vkmoe_tokenizer_decode(p->tokenizer, ids, count, false, &bytes, &size, NULL) != VKMOE_OK)
        return;
    for (size_t i = 0; i < size; i++)
        fputs(bytes[i] == '\n' ? "\\n" : (char[]){bytes[i], '\0'}, stdout);
    vkmoe_tokenizer_free(p->tokenizer, bytes);
}

/* All but the last token first: only that one's logits and experts are asked for. */
static vkmoe_status evaluate(struct program *p, const char *prompt)
{
    const vkmoe_model_info *info = vkmoe_model_get_info(p->model);
    size_t pairs = (size_t)info->n_moe_layers * info->n_experts_per_token;
    p->trace.logits = calloc(info->vocab_size, sizeof(float));
    p->trace.topk_ids = calloc(pairs + 1, sizeof(int32_t));
    p->trace.topk_gates = calloc(pairs + 1, sizeof(float));
    if (!p->trace.logits || !p->trace.topk_ids || !p->trace.topk_gates) {
        snprintf(p->err.message, sizeof(p->err.message), "memory is exhausted");
        return p->err.status = VKMOE_OUT_OF_HOST_MEMORY;
    }
    vkmoe_status status = vkmoe_tokenizer_encode(p->tokenizer, prompt, strlen(prompt), true,
                                                 &p->ids, &p->count, &p->err);
    if (status == VKMOE_OK && p->count > 1)
        status = vkmoe_session_eval(p->session, p->ids, p->count - 1, NULL, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(p->session, p->ids + (p->count - 1), 1, &p->trace, &p->err);
    return status;
}

static void print_experts(const struct program *p)
{
    const vkmoe_model_info *info = vkmoe_model_get_info(p->model);
    for (uint32_t l = 0; l < info->n_moe_layers; l++) {
        printf("layer %u:", vkmoe_model_moe_layer(p->model, l));
        for (uint32_t k = 0; k < info->n_experts_per_token; k++) {
            uint32_t i = l * info->n_experts_per_token + k;
            printf("  expert %d (%.3f)", p->trace.topk_ids[i], (double)p->trace.topk_gates[i]);
        }
        putchar('\n');
    }
}

/* The likeliest token that is not taken yet. */
static int32_t next_best(struct program *p)
{
    uint32_t vocab = vkmoe_model_get_info(p->model)->vocab_size, best = 0;
    for (uint32_t i = 1; i < vocab; i++)
        if (p->trace.logits[i] > p->trace.logits[best])
            best = i;
    p->trace.logits[best] = -1e30f;
    return (int32_t)best;
}

static vkmoe_status branch(struct program *p, int32_t token)
{
    const vkmoe_generate_params params = {.max_tokens = TOKENS};
    vkmoe_session *fork = NULL;
    vkmoe_status status = vkmoe_session_fork(p->session, &fork, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_eval(fork, &token, 1, NULL, &p->err);
    if (status == VKMOE_OK)
        status = vkmoe_session_generate(fork, &params, NULL, &p->err);
    if (status == VKMOE_OK) {
        print_tokens(p, vkmoe_session_tokens(fork) + p->count,
                     vkmoe_session_length(fork) - p->count);
        putchar('\n');
    }
    vkmoe_session_destroy(fork);
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
        status = evaluate(&p, argv[2]);
    if (status == VKMOE_OK)
        print_experts(&p);
    for (int i = 0; i < BRANCHES && status == VKMOE_OK; i++)
        status = branch(&p, next_best(&p));
    if (status != VKMOE_OK)
        fprintf(stderr, "%s\n", p.err.message);
    free(p.trace.logits);
    free(p.trace.topk_ids);
    free(p.trace.topk_gates);
    vkmoe_tokenizer_free(p.tokenizer, p.ids);
    vkmoe_session_destroy(p.session);
    vkmoe_model_destroy(p.model);
    vkmoe_device_close(p.device);
    vkmoe_tokenizer_destroy(p.tokenizer);
    return status == VKMOE_OK ? 0 : 1;
}
