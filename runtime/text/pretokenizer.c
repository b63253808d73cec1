#include <string.h>

#include "base/array.h"
#include "text/pretokenizer_steps.h"

/* Bounds the cutter's recursion. */
#define STEP_LIMIT 64

/* `tokenizers` runs patterns through Oniguruma, whose ^ and $ match at every line. */
#define REGEX (PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C)

/* The split of GPT-2, which a ByteLevel step makes unless told otherwise. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void *allocate(size_t size, void *user)
{
    return vkm_malloc(user, size, 1);
}

static void release(void *memory, void *user)
{
    vkm_free(user, memory);
}

static vkmoe_status compile(const struct vkm_source *s, const struct vkm_pretokenizer *p,
                            const char *pattern, uint32_t options, pcre2_code **code)
{
    int error;
    size_t offset;
    pcre2_compile_context *context = pcre2_compile_context_create(p->memory);
    if (!context)
        return vkm_fail_memory(s->err, strlen(pattern), "a Split pattern");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options | PCRE2_UTF, &error,
                          &offset, context);
    pcre2_compile_context_free(context);
    if (*code) {
        /* Where there is no JIT, or no memory for it, matching is slower but the same. */
        pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE);
        return VKMOE_OK;
    }
    if (error == PCRE2_ERROR_HEAP_FAILED)
        return vkm_fail_memory(s->err, strlen(pattern), "a Split pattern");
    char reason[160], printable[VKM_PRINTABLE_SIZE];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof(reason));
    return vkm_fail(s->err, VKMOE_UNSUPPORTED,
                    "%s: the Split pattern \"%s\" fails at offset %zu: %s", s->file,
                    vkm_printable(printable, pattern), offset, reason);
}

static vkmoe_status add_step(const struct vkm_source *s, struct vkm_pretokenizer *p,
                             struct vkm_split step)
{
    uint32_t matches_empty = 0;
    if (p->count >= STEP_LIMIT) {
        pcre2_code_free(step.code);
        return vkm_fail(s->err, VKMOE_UNSUPPORTED, "%s: pre_tokenizer has more than %d steps",
                        s->file, STEP_LIMIT);
    }
    if (!VKM_ARRAY_RESERVE(s->allocator, p, 1)) {
        pcre2_code_free(step.code);
        return vkm_fail_memory(s->err, sizeof(step), "a step of the pre-tokenizer");
    }
    if (step.code)
        pcre2_pattern_info(step.code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    step.matches_empty = matches_empty != 0;
    p->items[p->count++] = step;
    return VKMOE_OK;
}

static vkmoe_status add_pattern(const struct vkm_source *s, struct vkm_pretokenizer *p,
                                const char *pattern, uint32_t options, struct vkm_split step)
{
    vkmoe_status status = compile(s, p, pattern, options, &step.code);
    return status == VKMOE_OK ? add_step(s, p, step) : status;
}

static vkmoe_status read_behaviour(const struct vkm_source *s, const json_t *json,
                                   enum vkm_split_behaviour *behaviour)
{
    static const char *const names[] = {
        [VKM_SPLIT_ISOLATED] = "Isolated",
        [VKM_SPLIT_REMOVED] = "Removed",
        [VKM_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [VKM_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [VKM_SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const char *name;
    vkmoe_status status = vkm_source_string(s, json, "behavior", &name);
    if (status != VKMOE_OK)
        return status;
    for (size_t i = 0; i < VKM_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *behaviour = (enum vkm_split_behaviour)i;
            return VKMOE_OK;
        }
    }
    return vkm_source_unsupported(s, "Split behavior", name);
}

static vkmoe_status read_split(const struct vkm_source *s, struct vkm_pretokenizer *p,
                               const json_t *json)
{
    struct vkm_split step = {0};
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *literal = json_object_get(pattern, "String");
    const json_t *regex = json_object_get(pattern, "Regex");
    vkmoe_status status = read_behaviour(s, json, &step.behaviour);
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, json, "invert", false, &step.invert);
    if (status != VKMOE_OK)
        return status;
    if (json_is_string(literal))
        return add_pattern(s, p, json_string_value(literal), PCRE2_LITERAL, step);
    if (!json_is_string(regex))
        return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "pattern", pattern,
                                 "an object with a String or a Regex");
    /* Inside a run of spaces this pattern finds only what it found from the run's beginning;
     * looking from there alone keeps a long run that does not end a line from taking quadratic
     * time. */
    if (strcmp(json_string_value(regex), "\\s+$") == 0)
        return add_pattern(s, p, "(?<!\\s)\\s+$", REGEX, step);
    return add_pattern(s, p, json_string_value(regex), REGEX, step);
}

static vkmoe_status read_digits(const struct vkm_source *s, struct vkm_pretokenizer *p,
                                const json_t *json)
{
    bool individual;
    vkmoe_status status = vkm_source_flag(s, json, "individual_digits", false, &individual);
    struct vkm_split step = {.behaviour = individual ? VKM_SPLIT_ISOLATED : VKM_SPLIT_CONTIGUOUS};
    return status == VKMOE_OK ? add_pattern(s, p, "\\p{N}", REGEX, step) : status;
}

static vkmoe_status read_byte_level(const struct vkm_source *s, struct vkm_pretokenizer *p,
                                    const json_t *json)
{
    const struct vkm_split isolated = {.behaviour = VKM_SPLIT_ISOLATED};
    bool prefix, regex;
    vkmoe_status status = vkm_source_flag(s, json, "add_prefix_space", true, &prefix);
    if (status == VKMOE_OK)
        status = vkm_source_flag(s, json, "use_regex", true, &regex);
    if (status == VKMOE_OK && prefix)
        status = add_step(s, p, isolated);
    if (status == VKMOE_OK && regex)
        status = add_pattern(s, p, gpt2_pattern, REGEX, isolated);
    p->byte_level = true;
    return status;
}

static vkmoe_status read_step(const struct vkm_source *s, struct vkm_pretokenizer *p,
                              const json_t *json)
{
    const char *type;
    vkmoe_status status = vkm_source_string(s, json, "type", &type);
    if (status != VKMOE_OK)
        return status;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_object_get(json, "pretokenizers");
        if (!json_is_array(list))
            return vkm_json_mismatch(s->err, VKMOE_BAD_FORMAT, s->file, "pretokenizers", list,
                                     "an array");
        for (size_t i = 0; i < json_array_size(list) && status == VKMOE_OK; i++)
            status = read_step(s, p, json_array_get(list, i));
        return status;
    }
    if (p->byte_level)
        return vkm_source_unsupported(s, "pre-tokenizer step after ByteLevel", type);
    if (strcmp(type, "Split") == 0)
        return read_split(s, p, json);
    if (strcmp(type, "Digits") == 0)
        return read_digits(s, p, json);
    if (strcmp(type, "ByteLevel") == 0)
        return read_byte_level(s, p, json);
    return vkm_source_unsupported(s, "pre-tokenizer step", type);
}

vkmoe_status vkm_pretokenizer_create(const struct vkm_source *s, const json_t *json,
                                     struct vkm_pretokenizer **out)
{
    vkmoe_status status = VKMOE_OK;
    struct vkm_pretokenizer *p = vkm_calloc(s->allocator, 1, sizeof(*p));
    if (!p)
        return vkm_fail_memory(s->err, sizeof(*p), "the pre-tokenizer");
    p->allocator = s->allocator;
    p->memory = pcre2_general_context_create(allocate, release, (void *)(uintptr_t)s->allocator);
    if (!p->memory)
        status = vkm_fail_memory(s->err, sizeof(*p), "the pre-tokenizer");
    if (status == VKMOE_OK && json && !json_is_null(json))
        status = read_step(s, p, json);
    if (status == VKMOE_OK && !p->byte_level)
        status =
            vkm_fail(s->err, VKMOE_UNSUPPORTED,
                     "%s: pre_tokenizer has no ByteLevel step, expected byte-level BPE", s->file);
    if (status != VKMOE_OK)
        vkm_pretokenizer_destroy(p);
    else
        *out = p;
    return status;
}

void vkm_pretokenizer_destroy(struct vkm_pretokenizer *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        pcre2_code_free(p->items[i].code);
    vkm_free(p->allocator, p->items);
    pcre2_general_context_free(p->memory);
    vkm_free(p->allocator, p);
}
