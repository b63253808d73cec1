#include "spirv_module.h"

#include <stdlib.h>

#define SPV_ENABLE_UTILITY_CODE
#include <spirv.h>

#include "support.h"

/* Inline in the header: this makes the one definition that a call may need. */
void SpvHasResultAndType(SpvOp opcode, bool *hasResult, bool *hasResultType);

static uint32_t opcode(const uint32_t *instruction)
{
    return instruction[0] & SpvOpCodeMask;
}

void spirv_module_walk(const struct spirv_module *m,
                       void (*visit)(void *user, const uint32_t *instruction), void *user)
{
    for (size_t at = 5; at < m->n_words;) {
        uint32_t words = m->words[at] >> SpvWordCountShift;
        assert_true(words > 0 && words <= m->n_words - at);
        visit(user, m->words + at);
        at += words;
    }
}

static void note(void *user, const uint32_t *in)
{
    struct spirv_module *m = user;
    bool has_result, has_type;
    SpvHasResultAndType((SpvOp)opcode(in), &has_result, &has_type);
    if (has_result) {
        uint32_t id = in[has_type ? 2 : 1];
        assert_true(id < m->n_ids);
        m->definitions[id] = in;
    }
    if (opcode(in) == SpvOpDecorate && in[2] == SpvDecorationSpecId)
        m->spec_ids[in[1]] = in[3] + 1;
}

void spirv_module_init(struct spirv_module *m, const uint32_t *words, size_t bytes)
{
    *m = (struct spirv_module){.words = words, .n_words = bytes / 4};
    assert_int_equal(bytes % 4, 0);
    assert_true(m->n_words > 5);
    assert_int_equal(words[0], SpvMagicNumber);
    m->n_ids = words[3];
    m->definitions = calloc(m->n_ids, sizeof(*m->definitions));
    m->spec_ids = calloc(m->n_ids, sizeof(*m->spec_ids));
    assert_non_null(m->definitions);
    assert_non_null(m->spec_ids);
    spirv_module_walk(m, note, m);
}

void spirv_module_finish(struct spirv_module *m)
{
    free(m->definitions);
    free(m->spec_ids);
}

struct values {
    const struct spirv_module *m;
    const uint32_t *spec;
    uint32_t n_spec;
};

static uint32_t evaluate(const struct values *v, uint32_t id);

/* The id of one member of a constant vector. */
static uint32_t member(const struct values *v, uint32_t composite, uint32_t index)
{
    const uint32_t *in = v->m->definitions[composite];
    assert_true(opcode(in) == SpvOpConstantComposite || opcode(in) == SpvOpSpecConstantComposite);
    return in[3 + index];
}

static uint32_t operate(const struct values *v, const uint32_t *in)
{
    if (in[3] == SpvOpCompositeExtract)
        return evaluate(v, member(v, in[4], in[5]));
    uint32_t a = evaluate(v, in[4]), b = evaluate(v, in[5]);
    switch (in[3]) {
    case SpvOpIAdd:
        return a + b;
    case SpvOpISub:
        return a - b;
    case SpvOpIMul:
        return a * b;
    case SpvOpUDiv:
        return a / b;
    case SpvOpUMod:
        return a % b;
    case SpvOpBitwiseAnd:
        return a & b;
    case SpvOpShiftLeftLogical:
        return a << b;
    case SpvOpShiftRightLogical:
        return a >> b;
    case SpvOpUGreaterThan:
        return a > b;
    case SpvOpUGreaterThanEqual:
        return a >= b;
    case SpvOpULessThan:
        return a < b;
    case SpvOpULessThanEqual:
        return a <= b;
    case SpvOpSelect:
        return a ? b : evaluate(v, in[6]);
    default:
        fail_msg("this test does not know how to evaluate opcode %u", in[3]);
        return 0;
    }
}

static uint32_t evaluate(const struct values *v, uint32_t id)
{
    const uint32_t *in = v->m->definitions[id];
    uint32_t spec = v->m->spec_ids[id];
    assert_non_null(in);
    switch (opcode(in)) {
    case SpvOpConstant:
        return in[3];
    case SpvOpSpecConstant:
        assert_true(spec > 0);
        return spec <= v->n_spec ? v->spec[spec - 1] : in[3];
    case SpvOpSpecConstantOp:
        return operate(v, in);
    default:
        fail_msg("id %u is no scalar constant (opcode %u)", id, opcode(in));
        return 0;
    }
}

static uint64_t type_size(const struct values *v, uint32_t type)
{
    const uint32_t *in = v->m->definitions[type];
    uint64_t size = 0;
    assert_non_null(in);
    switch (opcode(in)) {
    case SpvOpTypeInt:
    case SpvOpTypeFloat:
        return in[2] / 8;
    case SpvOpTypeBool:
        return 4;
    case SpvOpTypeVector: /* three take the room of four */
        return type_size(v, in[2]) * (in[3] == 3 ? 4 : in[3]);
    case SpvOpTypeMatrix:
        return type_size(v, in[2]) * in[3];
    case SpvOpTypeArray:
        return type_size(v, in[2]) * evaluate(v, in[3]);
    case SpvOpTypeStruct:
        for (uint32_t i = 2; i < in[0] >> SpvWordCountShift; i++)
            size += (type_size(v, in[i]) + 15) / 16 * 16;
        return size;
    default:
        fail_msg("this test does not know the size of opcode %u", opcode(in));
        return 0;
    }
}

uint64_t spirv_module_shared(const struct spirv_module *m, const uint32_t *spec, uint32_t n_spec)
{
    struct values v = {m, spec, n_spec};
    uint64_t size = 0;
    for (uint32_t id = 0; id < m->n_ids; id++) {
        const uint32_t *in = m->definitions[id];
        if (in && opcode(in) == SpvOpVariable && in[3] == SpvStorageClassWorkgroup)
            size += (type_size(&v, m->definitions[in[1]][3]) + 15) / 16 * 16;
    }
    return size;
}
