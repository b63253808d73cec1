/* A look into a SPIR-V module beyond reflection: which types it declares, and how much shared
 * memory it takes with given specialisation constants. */
#ifndef VKM_TEST_SPIRV_MODULE_H
#define VKM_TEST_SPIRV_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spirv_module {
    const uint32_t *words;
    size_t n_words;
    uint32_t n_ids;
    const uint32_t **definitions; /* [n_ids] the instruction that makes each id, or NULL */
    uint32_t *spec_ids;           /* [n_ids] 1 + SpecId, or 0 */
};

/* Fails the running test if the module is not well formed. */
void spirv_module_init(struct spirv_module *m, const uint32_t *words, size_t bytes);
void spirv_module_finish(struct spirv_module *m);

/* Calls visit for each instruction; instruction[0] holds the word count and opcode. */
void spirv_module_walk(const struct spirv_module *m,
                       void (*visit)(void *user, const uint32_t *instruction), void *user);

/* Bytes of Workgroup storage with specialisation constant i = spec[i]. */
uint64_t spirv_module_shared(const struct spirv_module *m, const uint32_t *spec, uint32_t n_spec);

#endif
