#include "spoil.h"

#include <stdlib.h>
#include <string.h>

#include "support.h"

uint32_t *test_spoil(const uint32_t *code, size_t size)
{
    enum { HEADER_WORDS = 5, OP_EXT_INST = 12, OP_FADD = 129, OP_FSUB = 131 };
    enum { FMIX = 46, FMA = 50 }; /* of GLSL.std.450, at word 4 */
    uint32_t *out = malloc(size);
    size_t changed = 0;
    assert_non_null(out);
    memcpy(out, code, size);
    for (size_t i = HEADER_WORDS; i < size / 4; i += out[i] >> 16) {
        assert_true(out[i] >> 16 > 0);
        if ((out[i] & 0xffffu) == OP_FADD) {
            out[i] = (out[i] & 0xffff0000u) | OP_FSUB;
            changed++;
        }
        if ((out[i] & 0xffffu) == OP_EXT_INST && out[i + 4] == FMA) {
            out[i + 4] = FMIX;
            changed++;
        }
    }
    assert_true(changed > 0);
    return out;
}
