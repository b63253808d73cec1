/* A team: the lanes that share a dot product, striding along K. With subgroup arithmetic it is one
 * subgroup, and nothing is shared; else it is the workgroup.
 *
 * The kernel defines VKM_SUM (float or vec2), VKM_SUMS (how many sums a team forms, a constant) and
 * team_result, which is called once for each of them. */
void team_result(uint index, VKM_SUM sum);

#ifdef PATH_SUBGROUP
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

uint team_lane()
{
    return gl_SubgroupInvocationID;
}

uint team_lanes()
{
    return gl_SubgroupSize;
}

/* The team's number among all that share the workgroup's y. */
uint team_index()
{
    uint group = gl_WorkGroupID.x + gl_WorkGroupID.z * gl_NumWorkGroups.x;
    return group * gl_NumSubgroups + gl_SubgroupID;
}

void team_finish(VKM_SUM sums[VKM_SUMS])
{
    [[unroll]] for (uint i = 0u; i < VKM_SUMS; i++)
        sums[i] = subgroupAdd(sums[i]);
    /* Four lanes hand over four sums at a time; a subgroup has no fewer. */
    uint lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint i = 0u; i < VKM_SUMS; i += 4u) {
        VKM_SUM sum = sums[i];
        [[unroll]] for (uint j = 1u; j < 4u && i + j < VKM_SUMS; j++)
            sum = lane == j ? sums[i + j] : sum;
        if (lane < min(4u, VKM_SUMS - i))
            team_result(i + lane, sum);
    }
}

#else
shared VKM_SUM vkm_partial[VKM_SUMS * gl_WorkGroupSize.x];

uint team_lane()
{
    return gl_LocalInvocationID.x;
}

uint team_lanes()
{
    return gl_WorkGroupSize.x;
}

uint team_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.z * gl_NumWorkGroups.x;
}

/* One barrier for all the sums: each lane adds up whole sums, in lane order. */
void team_finish(VKM_SUM sums[VKM_SUMS])
{
    [[unroll]] for (uint i = 0u; i < VKM_SUMS; i++)
        vkm_partial[i * gl_WorkGroupSize.x + gl_LocalInvocationID.x] = sums[i];
    barrier();
    for (uint i = gl_LocalInvocationID.x; i < VKM_SUMS; i += gl_WorkGroupSize.x) {
        VKM_SUM sum = VKM_SUM(0);
        for (uint lane = 0u; lane < gl_WorkGroupSize.x; lane++)
            sum += vkm_partial[i * gl_WorkGroupSize.x + lane];
        team_result(i, sum);
    }
}
#endif
