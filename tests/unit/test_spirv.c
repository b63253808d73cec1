/* Every SPIR-V module against its row of the kernel table: push constants, specialisation
 * constants, capabilities, and shared memory under the constants that the launch table chooses. */
#include "support.h"

#include <spirv_cross_c.h>
#include <stdio.h>
#include <string.h>

#include "launches.h"
#include "spirv_module.h"

/* A module under test. */
struct subject {
    const struct vkm_kernel *kernel;
    enum vkm_kernel_id id;
    const struct vkm_variant *variant;
    bool debug;
    char name[128];
    const uint32_t *code;
    size_t size; /* bytes */
    spvc_compiler compiler;
    spvc_resources resources;
};

typedef void check_fn(const struct subject *s);

#define expect(s, condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: not so: %s", (s)->name, #condition);                                     \
    } while (0)

static void reflect(struct subject *s, check_fn *check)
{
    spvc_context context;
    spvc_parsed_ir ir;
    assert_int_equal(spvc_context_create(&context), SPVC_SUCCESS);
    if (spvc_context_parse_spirv(context, s->code, s->size / 4, &ir) != SPVC_SUCCESS ||
        spvc_context_create_compiler(context, SPVC_BACKEND_NONE, ir,
                                     SPVC_CAPTURE_MODE_TAKE_OWNERSHIP,
                                     &s->compiler) != SPVC_SUCCESS ||
        spvc_compiler_create_shader_resources(s->compiler, &s->resources) != SPVC_SUCCESS)
        fail_msg("%s: %s", s->name, spvc_context_get_last_error_string(context));
    check(s);
    spvc_context_destroy(context);
}

static struct subject subject_of(uint32_t k, uint32_t v, bool debug)
{
    const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
    const struct vkm_variant *variant = &kernel->variants[v];
    struct subject s = {
        .kernel = kernel, .id = (enum vkm_kernel_id)k, .variant = variant, .debug = debug};
    s.code = debug ? variant->debug_code : variant->code;
    s.size = debug ? variant->debug_code_size : variant->code_size;
    snprintf(s.name, sizeof(s.name), "%s %s %s%s", kernel->name,
             variant->dtype < VKM_DTYPE_COUNT ? vkm_dtype_name(variant->dtype) : "-",
             vkm_path_name(variant->path), debug ? " (debug)" : "");
    return s;
}

/* But those with cooperative matrices, which SPIRV-Cross does not know. */
static void for_each_module(check_fn *check)
{
    unsigned modules = 0;
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        assert_true(kernel->n_variants > 0);
        for (uint32_t v = 0; v < 2 * kernel->n_variants; v++) {
            struct subject s = subject_of(k, v / 2, v % 2 == 1);
            if (s.variant->path == VKM_PATH_COOPMAT)
                continue;
            reflect(&s, check);
            modules++;
        }
    }
    print_message("%u modules\n", modules);
}

/* --- interface --- */

static void check_field(const struct subject *s, spvc_type block, spvc_type_id block_id,
                        uint32_t index, uint32_t offset)
{
    const struct vkm_field *field = &s->kernel->fields[index];
    spvc_type type =
        spvc_compiler_get_type_handle(s->compiler, spvc_type_get_member_type(block, index));
    bool view = vkm_field_is_view(field->kind);
    const char *name = spvc_compiler_get_member_name(s->compiler, block_id, index);
    unsigned found;
    if (strcmp(name, field->name) != 0)
        fail_msg("%s: member %u is %s, the row says %s", s->name, index, name, field->name);
    expect(s, spvc_compiler_type_struct_member_offset(s->compiler, block, index, &found) ==
                  SPVC_SUCCESS);
    if (found != offset)
        fail_msg("%s: %s is at %u, the row puts it at %u", s->name, name, found, offset);
    expect(s, spvc_type_get_basetype(type) ==
                  (field->kind == VKM_FIELD_FLOAT ? SPVC_BASETYPE_FP32 : SPVC_BASETYPE_UINT32));
    expect(s, spvc_type_get_vector_size(type) == (view ? 2u : 1u));
    expect(s, spvc_type_get_columns(type) == 1);
    expect(s, spvc_type_get_num_array_dimensions(type) == 0);
}

static void check_push_constants(const struct subject *s)
{
    const spvc_reflected_resource *list;
    size_t count, size;
    expect(s, spvc_resources_get_resource_list_for_type(
                  s->resources, SPVC_RESOURCE_TYPE_PUSH_CONSTANT, &list, &count) == SPVC_SUCCESS);
    expect(s, count == 1);
    spvc_type_id id = list[0].base_type_id;
    spvc_type block = spvc_compiler_get_type_handle(s->compiler, id);
    uint32_t offset = 0;
    expect(s, spvc_type_get_num_member_types(block) == s->kernel->n_fields + s->debug);
    for (uint32_t i = 0; i < s->kernel->n_fields; i++) {
        check_field(s, block, id, i, offset);
        offset += vkm_field_is_view(s->kernel->fields[i].kind) ? 8 : 4;
    }
    expect(s, offset == s->kernel->push_size);
    if (s->debug) {
        unsigned at;
        offset = (uint32_t)vkm_align_up(offset, 8);
        expect(s, spvc_compiler_type_struct_member_offset(s->compiler, block, s->kernel->n_fields,
                                                          &at) == SPVC_SUCCESS);
        expect(s, at == offset);
        offset += 8;
    }
    expect(s, spvc_compiler_get_declared_struct_size(s->compiler, block, &size) == SPVC_SUCCESS);
    if (size != offset)
        fail_msg("%s: %zu bytes of push constants, the row makes %u", s->name, size, offset);
    expect(s, size <= 128);
}

static void push_constants_are_those_of_the_row(void **state)
{
    (void)state;
    for_each_module(check_push_constants);
}

static void check_no_bindings(const struct subject *s)
{
    static const spvc_resource_type none[] = {
        SPVC_RESOURCE_TYPE_UNIFORM_BUFFER,
        SPVC_RESOURCE_TYPE_STORAGE_BUFFER,
        SPVC_RESOURCE_TYPE_STAGE_INPUT,
        SPVC_RESOURCE_TYPE_STAGE_OUTPUT,
        SPVC_RESOURCE_TYPE_SUBPASS_INPUT,
        SPVC_RESOURCE_TYPE_STORAGE_IMAGE,
        SPVC_RESOURCE_TYPE_SAMPLED_IMAGE,
        SPVC_RESOURCE_TYPE_ATOMIC_COUNTER,
        SPVC_RESOURCE_TYPE_SEPARATE_IMAGE,
        SPVC_RESOURCE_TYPE_SEPARATE_SAMPLERS,
        SPVC_RESOURCE_TYPE_ACCELERATION_STRUCTURE,
    };
    for (size_t i = 0; i < VKM_COUNT(none); i++) {
        const spvc_reflected_resource *list;
        size_t count;
        expect(s, spvc_resources_get_resource_list_for_type(s->resources, none[i], &list, &count) ==
                      SPVC_SUCCESS);
        expect(s, count == 0);
    }
}

static void nothing_is_bound_but_push_constants(void **state)
{
    (void)state;
    for_each_module(check_no_bindings);
}

static void check_constants(const struct subject *s)
{
    const spvc_specialization_constant *list;
    spvc_specialization_constant size[3];
    size_t count;
    uint32_t seen = 0;
    expect(s,
           spvc_compiler_get_specialization_constants(s->compiler, &list, &count) == SPVC_SUCCESS);
    for (size_t i = 0; i < count; i++) {
        /* The compiler declares the workgroup size twice: to set it, and to read it. */
        expect(s, list[i].constant_id < 32);
        expect(s, list[i].constant_id == 0 || !(seen >> list[i].constant_id & 1));
        seen |= 1u << list[i].constant_id;
    }
    if (seen != (1u << s->kernel->n_spec) - 1)
        fail_msg("%s: specialisation constants %#x, the row has %u", s->name, seen,
                 s->kernel->n_spec);
    spvc_compiler_get_work_group_size_specialization_constants(s->compiler, &size[0], &size[1],
                                                               &size[2]);
    expect(s, size[0].id != 0 && size[0].constant_id == 0);
    expect(s, size[1].id == 0 && size[2].id == 0);
    for (unsigned axis = 1; axis < 3; axis++)
        expect(s, spvc_compiler_get_execution_mode_argument_by_index(
                      s->compiler, SpvExecutionModeLocalSize, axis) == 1);
}

static void specialisation_constants_are_those_of_the_row(void **state)
{
    (void)state;
    for_each_module(check_constants);
}

static void check_entry(const struct subject *s)
{
    const spvc_entry_point *list;
    size_t count;
    expect(s, spvc_compiler_get_entry_points(s->compiler, &list, &count) == SPVC_SUCCESS);
    expect(s, count == 1);
    expect(s, list[0].execution_model == SpvExecutionModelGLCompute);
    expect(s, strcmp(list[0].name, "main") == 0);
}

static void the_entry_point_is_main(void **state)
{
    (void)state;
    for_each_module(check_entry);
}

/* --- what a device must have --- */

static void check_capabilities(const struct subject *s)
{
    static const SpvCapability base[] = {SpvCapabilityShader,
                                         SpvCapabilityPhysicalStorageBufferAddresses};
    static const SpvCapability subgroup[] = {SpvCapabilityGroupNonUniform,
                                             SpvCapabilityGroupNonUniformArithmetic};
    static const SpvCapability wide[] = {SpvCapabilityInt64, SpvCapabilityGroupNonUniform,
                                         SpvCapabilityGroupNonUniformBallot};
    static const SpvCapability int8[] = {SpvCapabilityDotProductKHR,
                                         SpvCapabilityDotProductInput4x8BitPackedKHR};
    static const SpvCapability fp16[] = {SpvCapabilityFloat16};
    const SpvCapability *list;
    size_t count;
    expect(s, spvc_compiler_get_declared_capabilities(s->compiler, &list, &count) == SPVC_SUCCESS);
    for (size_t i = 0; i < count; i++) {
        bool allowed = false;
        for (size_t j = 0; j < VKM_COUNT(base); j++)
            allowed |= list[i] == base[j];
        for (size_t j = 0; j < VKM_COUNT(subgroup) && s->variant->path == VKM_PATH_SUBGROUP; j++)
            allowed |= list[i] == subgroup[j];
        for (size_t j = 0; j < VKM_COUNT(wide) && s->variant->path == VKM_PATH_WIDE; j++)
            allowed |= list[i] == wide[j];
        for (size_t j = 0; j < VKM_COUNT(int8) && s->variant->path == VKM_PATH_INT8; j++)
            allowed |= list[i] == int8[j];
        for (size_t j = 0; j < VKM_COUNT(fp16) && s->variant->path == VKM_PATH_FP16; j++)
            allowed |= list[i] == fp16[j];
        if (!allowed)
            fail_msg("%s declares capability %d", s->name, (int)list[i]);
    }
    expect(s, s->code[1] <= 0x00010600); /* SPIR-V 1.6, which Vulkan 1.3 takes */
}

static void capabilities_are_those_of_the_path(void **state)
{
    (void)state;
    for_each_module(check_capabilities);
}

static void check_instruction(void *user, const uint32_t *in)
{
    const struct subject *s = user;
    uint32_t opcode = in[0] & SpvOpCodeMask;
    bool wide = opcode == SpvOpTypeInt && in[2] == 64 && s->variant->path == VKM_PATH_WIDE;
    bool half = opcode == SpvOpTypeFloat && in[2] == 16 && s->variant->path == VKM_PATH_FP16;
    if ((opcode == SpvOpTypeInt || opcode == SpvOpTypeFloat) && in[2] != 32 && !wide && !half)
        fail_msg("%s has a type of %u bits", s->name, in[2]);
    if (opcode == SpvOpExtension &&
        strcmp((const char *)&in[1], "SPV_KHR_physical_storage_buffer") != 0)
        fail_msg("%s needs extension %s", s->name, (const char *)&in[1]);
}

static void check_types(const struct subject *s)
{
    struct spirv_module m;
    spirv_module_init(&m, s->code, s->size);
    spirv_module_walk(&m, check_instruction, (void *)(uintptr_t)s);
    spirv_module_finish(&m);
}

static void all_numbers_have_32_bits_but_where_wide_loads_and_fp16_multiplies(void **state)
{
    (void)state;
    for_each_module(check_types);
}

/* --- shared memory, under the constants that are really used --- */

static const struct {
    bool cpu;
    uint32_t subgroup;  /* 0: none */
    enum vkm_path more; /* than those with subgroups; BASE: none */
    uint32_t matrix;
} devices[] = {{true, 0, 0, 0},
               {true, 4, 0, 0},
               {true, 8, 0, 0},
               {true, 16, 0, 0},
               {false, 0, 0, 0},
               {false, 4, 0, 0},
               {false, 8, 0, 0},
               {false, 16, 0, 0},
               {false, 32, 0, 0},
               {false, 64, 0, 0},
               {false, 128, 0, 0},
               {false, 32, VKM_PATH_INT8, 0},
               {false, 32, VKM_PATH_FP16, 0},
               {false, 8, VKM_PATH_COOPMAT, 0x080808},
               {false, 16, VKM_PATH_COOPMAT, 0x101008},
               {false, 32, VKM_PATH_COOPMAT, 0x100810},
               {false, 32, VKM_PATH_COOPMAT, 0x101010},
               {false, 64, VKM_PATH_COOPMAT, 0x201010},
               {true, 0, VKM_PATH_FP16, 0},
               {true, 4, VKM_PATH_WIDE, 0},
               {true, 8, VKM_PATH_WIDE, 0},
               {true, 16, VKM_PATH_WIDE, 0}};

/* Bytes that devices have; the first is what every Vulkan device has. */
static const uint32_t shared_sizes[] = {16384, 32768, 49152};

static uint64_t worst_shared;
static char worst_module[128];

static void check_launch(const struct subject *s, const struct spirv_module *m,
                         const struct vkm_caps *caps, struct test_launch launch)
{
    struct vkm_stream stream;
    struct vkm_recorder recorder;
    vkmoe_error err;
    vkm_stream_init(&stream, &vkm_kernels, NULL);
    vkm_recorder_init(&recorder, &stream, caps);
    test_record_launch(&recorder, launch);
    if (vkm_recorder_status(&recorder, &err) != VKMOE_OK)
        fail_msg("%s: %s", s->name, err.message);
    const struct vkm_op *op = stream.ops.items;
    expect(s, stream.ops.count == 1);
    if (&s->kernel->variants[op->variant] == s->variant) {
        uint64_t shared = spirv_module_shared(m, op->spec, s->kernel->n_spec);
        if (shared > caps->shared_bytes)
            fail_msg("%s takes %u bytes of shared memory of %u with constants %u %u %u %u", s->name,
                     (unsigned)shared, caps->shared_bytes, op->spec[0], op->spec[1], op->spec[2],
                     op->spec[3]);
        if (shared > worst_shared) {
            worst_shared = shared;
            snprintf(worst_module, sizeof(worst_module), "%s", s->name);
        }
        /* subgroups are full: the size is a multiple of theirs */
        if (vkm_path_is_sized(s->variant->path))
            expect(s, op->spec[0] % caps->subgroup_size == 0);
        expect(s, op->spec[0] >= 1 && op->spec[0] <= caps->max_invocations);
    }
    vkm_recorder_finish(&recorder);
    vkm_stream_finish(&stream);
}

static void check_shared(const struct subject *s)
{
    static const uint32_t rows[] = {1, 2, 3, 4, 5, 8, 9, 40, 300};
    static const uint32_t heads[] = {2, 64, 128, 256, 1024};
    struct spirv_module m;
    spirv_module_init(&m, s->code, s->size);
    for (size_t i = 0; i < VKM_COUNT(devices) * VKM_COUNT(shared_sizes); i++) {
        size_t d = i / VKM_COUNT(shared_sizes);
        struct vkm_caps caps = {
            .max_groups = {65535, 65535, 65535},
            .max_invocations = i % 2 && !devices[d].matrix ? 128 : 256,
            .shared_bytes = shared_sizes[i % VKM_COUNT(shared_sizes)],
            .subgroup_size = devices[d].subgroup,
            .paths = {[VKM_PATH_BASE] = true, [VKM_PATH_SUBGROUP] = devices[d].subgroup > 0},
            .cpu = devices[d].cpu,
            .matrix = devices[d].matrix,
        };
        caps.paths[devices[d].more] = true;
        if (caps.matrix && caps.shared_bytes == shared_sizes[0])
            continue; /* paths.c asks for more */
        for (size_t r = 0; r < VKM_COUNT(rows); r++)
            check_launch(s, &m, &caps,
                         (struct test_launch){s->id, s->variant->dtype, rows[r], 128});
        for (size_t h = 0; h < VKM_COUNT(heads); h++)
            check_launch(s, &m, &caps, (struct test_launch){s->id, s->variant->dtype, 1, heads[h]});
    }
    spirv_module_finish(&m);
}

static void shared_memory_fits_every_device(void **state)
{
    (void)state;
    for_each_module(check_shared);
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        for (uint32_t v = 0; v < 2 * vkm_kernels.kernels[k].n_variants; v++) {
            struct subject s = subject_of(k, v / 2, v % 2 == 1);
            if (s.variant->path == VKM_PATH_COOPMAT)
                check_shared(&s);
        }
    }
    print_message("most: %u bytes, %s\n", (unsigned)worst_shared, worst_module);
    assert_true(worst_shared > 0);
}

static void every_variant_is_launched_somewhere(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < vkm_kernels.count; k++) {
        const struct vkm_kernel *kernel = &vkm_kernels.kernels[k];
        for (uint32_t v = 0; v < kernel->n_variants; v++) {
            bool launched = false;
            for (size_t d = 0; d < VKM_COUNT(devices) && !launched; d++) {
                struct vkm_caps caps = {
                    .max_groups = {65535, 65535, 65535},
                    .max_invocations = 128,
                    .subgroup_size = devices[d].subgroup,
                    .paths =
                        {[VKM_PATH_BASE] = true, [VKM_PATH_SUBGROUP] = devices[d].subgroup > 0},
                    .cpu = devices[d].cpu,
                    .matrix = devices[d].matrix,
                };
                caps.paths[devices[d].more] = true;
                launched = test_is_launched(&caps, (enum vkm_kernel_id)k, &kernel->variants[v]);
            }
            if (!launched)
                fail_msg("%s: the launch table never uses variant %u", kernel->name, v);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_constants_are_those_of_the_row),
        cmocka_unit_test(nothing_is_bound_but_push_constants),
        cmocka_unit_test(specialisation_constants_are_those_of_the_row),
        cmocka_unit_test(the_entry_point_is_main),
        cmocka_unit_test(capabilities_are_those_of_the_path),
        cmocka_unit_test(all_numbers_have_32_bits_but_where_wide_loads_and_fp16_multiplies),
        cmocka_unit_test(shared_memory_fits_every_device),
        cmocka_unit_test(every_variant_is_launched_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
