/* All reading and writing of memory. A place is a base address (uvec2, low word first) and an index
 * in units of the type. Addresses stay in uvec2, so that no kernel needs the Int64 capability,
 * except on the path WIDE.
 *
 * Debug builds check each access against the views of the dispatch. p.debug is the address of the
 * dispatch's record (std430):
 *   offset  0  uint count            ranges that follow
 *           4  uint kernel, op       reported as they are
 *          12  uint pad
 *          16  uvec2 report          address of the report, 8 uints
 *          24  uvec2 pad2
 *          32  count times { uvec2 begin, end (exclusive); uint flags (1 readable, 2 writable);
 *              uint pad[3] }         32 bytes each
 * An access must lie inside one range that has the right flag. The first violation turns report[0]
 * from 0 to 1 and writes: [1] kernel, [2] op, [3] flattened global invocation, [4] [5] address,
 * [6] bytes, [7] 1 for a write. Refused loads yield 0, refused stores do nothing.
 */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require

#ifdef PATH_WIDE /* the path SUBGROUP, with loads of eight bytes */
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#define PATH_SUBGROUP
#endif

#include "params.glsl"

uvec2 umul64(uint a, uint b)
{
    uint high, low;
    umulExtended(a, b, high, low);
    return uvec2(low, high);
}

uvec2 addr_add(uvec2 address, uvec2 bytes)
{
    uint carry;
    uint low = uaddCarry(address.x, bytes.x, carry);
    return uvec2(low, address.y + bytes.y + carry);
}

uvec2 addr_add(uvec2 address, uint bytes)
{
    return addr_add(address, uvec2(bytes, 0u));
}

/* The address of row `row` in a matrix whose rows are `bytes` long. */
uvec2 addr_row(uvec2 matrix, uint row, uint bytes)
{
    return addr_add(matrix, umul64(row, bytes));
}

layout(buffer_reference, std430, buffer_reference_align = 4) buffer vkm_f32s { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer vkm_vec2s { vec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer vkm_vec4s { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer vkm_u32s { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer vkm_uvec2s { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer vkm_uvec4s { uvec4 v[]; };
#ifdef PATH_WIDE
layout(buffer_reference, std430, buffer_reference_align = 8) buffer vkm_u64s { uint64_t v[]; };
#endif

#ifdef VKM_DEBUG
struct vkm_range {
    uvec2 begin;
    uvec2 end;
    uint flags;
    uint pad[3];
};

layout(buffer_reference, std430, buffer_reference_align = 8) buffer vkm_record
{
    uint count;
    uint kernel;
    uint op;
    uint pad;
    uvec2 report;
    uvec2 pad2;
    vkm_range ranges[];
};

bool vkm_at_most(uvec2 a, uvec2 b)
{
    return a.y < b.y || (a.y == b.y && a.x <= b.x);
}

/* Whether element `index` of `bytes` bytes lies in a range with this flag. */
bool vkm_allowed(uvec2 base, uint index, uint bytes, uint flag)
{
    uvec2 begin = addr_row(base, index, bytes);
    uvec2 end = addr_add(begin, bytes);
    vkm_record record = vkm_record(p.debug);
    for (uint i = 0u; i < record.count; i++) {
        if ((record.ranges[i].flags & flag) != 0u && vkm_at_most(record.ranges[i].begin, begin) &&
            vkm_at_most(end, record.ranges[i].end))
            return true;
    }
    vkm_u32s report = vkm_u32s(record.report);
    if (atomicCompSwap(report.v[0], 0u, 1u) == 0u) {
        uvec3 size = gl_WorkGroupSize * gl_NumWorkGroups;
        uvec3 id = gl_GlobalInvocationID;
        report.v[1] = record.kernel;
        report.v[2] = record.op;
        report.v[3] = id.x + size.x * (id.y + size.y * id.z);
        report.v[4] = begin.x;
        report.v[5] = begin.y;
        report.v[6] = bytes;
        report.v[7] = flag >> 1;
    }
    return false;
}

#define VKM_CHECK_LOAD(type, bytes)                                                                \
    if (!vkm_allowed(base, index, bytes, 1u))                                                      \
        return type(0);
#define VKM_CHECK_STORE(bytes)                                                                     \
    if (!vkm_allowed(base, index, bytes, 2u))                                                      \
        return;
#else
#define VKM_CHECK_LOAD(type, bytes)
#define VKM_CHECK_STORE(bytes)
#endif

#define VKM_LOAD(name, type, array, bytes)                                                         \
    type name(uvec2 base, uint index)                                                              \
    {                                                                                              \
        VKM_CHECK_LOAD(type, bytes)                                                                \
        return array(base).v[index];                                                               \
    }
#define VKM_STORE(name, type, array, bytes)                                                        \
    void name(uvec2 base, uint index, type value)                                                  \
    {                                                                                              \
        VKM_CHECK_STORE(bytes)                                                                     \
        array(base).v[index] = value;                                                              \
    }

VKM_LOAD(ld_f32, float, vkm_f32s, 4u)
VKM_LOAD(ld_u32, uint, vkm_u32s, 4u)
#ifdef PATH_WIDE
uvec2 ld_uvec2(uvec2 base, uint index)
{
    VKM_CHECK_LOAD(uvec2, 8u)
    return unpackUint2x32(vkm_u64s(base).v[index]);
}

uvec4 ld_uvec4(uvec2 base, uint index)
{
    VKM_CHECK_LOAD(uvec4, 16u)
    vkm_u64s words = vkm_u64s(base);
    return uvec4(unpackUint2x32(words.v[2u * index]), unpackUint2x32(words.v[2u * index + 1u]));
}

vec2 ld_vec2(uvec2 base, uint index)
{
    return uintBitsToFloat(ld_uvec2(base, index));
}

vec4 ld_vec4(uvec2 base, uint index)
{
    return uintBitsToFloat(ld_uvec4(base, index));
}
#else
VKM_LOAD(ld_vec2, vec2, vkm_vec2s, 8u)
VKM_LOAD(ld_vec4, vec4, vkm_vec4s, 16u)
VKM_LOAD(ld_uvec2, uvec2, vkm_uvec2s, 8u)
VKM_LOAD(ld_uvec4, uvec4, vkm_uvec4s, 16u)
#endif
VKM_STORE(st_f32, float, vkm_f32s, 4u)
VKM_STORE(st_vec2, vec2, vkm_vec2s, 8u)
VKM_STORE(st_vec4, vec4, vkm_vec4s, 16u)
VKM_STORE(st_u32, uint, vkm_u32s, 4u)
VKM_STORE(st_uvec4, uvec4, vkm_uvec4s, 16u)

/* Adds, whoever else adds: sums of integers come out the same in any order. Counts as a store. */
void add_u32(uvec2 base, uint index, uint value)
{
    VKM_CHECK_STORE(4u)
    atomicAdd(vkm_u32s(base).v[index], value);
}

/* The same for the 64-bit number in two words, low first. */
void add_u64(uvec2 base, uint index, uvec2 value)
{
    VKM_CHECK_STORE(4u)
    uint before = atomicAdd(vkm_u32s(base).v[index], value.x);
    uint high = value.y + uint(before + value.x < before);
    if (high > 0u)
        add_u32(base, index + 1u, high);
}
