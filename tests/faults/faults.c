#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

static struct {
    vkm_vulkan_loader *under; /* NULL: the system's */
    struct vkm_vk next;       /* its calls */
    VkDevice device;
    bool lost; /* by plan: it stays lost until another is made */
    struct fault_plan plans[2];
    size_t n_plans;
    uint64_t calls[FAULT_CALLS + 1]; /* the last: of all */
    uint64_t count;
    char last[128];
} faults;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const names[] = {
#define FALLIBLE(name, ...) "vk" #name,
#define UNFAILING(...)
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING
};

#define MAX_RESULTS 10
static const VkResult results[][MAX_RESULTS] = {
#define FALLIBLE(name, parameters, arguments, failed, before, after, ...)                          \
    {__VA_ARGS__, VK_ERROR_UNKNOWN, VK_SUCCESS},
#define UNFAILING(...)
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING
};

const char *fault_call_name(enum fault_call call)
{
    return call < FAULT_CALLS ? names[call] : "any call";
}

VkResult fault_result(enum fault_call call, size_t index)
{
    for (size_t i = 0; i <= index; i++) {
        if (results[call][i] == VK_SUCCESS)
            return VK_SUCCESS;
    }
    return results[call][index];
}

void fault_start(vkm_vulkan_loader *next, const struct fault_plan *plans, size_t n)
{
    pthread_mutex_lock(&lock);
    memset(&faults, 0, sizeof(faults));
    faults.under = next;
    faults.n_plans = n;
    for (size_t i = 0; i < n; i++)
        faults.plans[i] = plans[i];
    pthread_mutex_unlock(&lock);
    watch_start();
}

void fault_next(enum fault_call call, VkResult result)
{
    pthread_mutex_lock(&lock);
    if (faults.n_plans == VKM_COUNT(faults.plans))
        abort(); /* a mistake of the test */
    faults.plans[faults.n_plans++] =
        (struct fault_plan){.call = call, .nth = faults.calls[call] + 1, .result = result};
    pthread_mutex_unlock(&lock);
}

uint64_t fault_calls(enum fault_call call)
{
    pthread_mutex_lock(&lock);
    uint64_t n = faults.calls[call];
    pthread_mutex_unlock(&lock);
    return n;
}

uint64_t fault_count(void)
{
    pthread_mutex_lock(&lock);
    uint64_t n = faults.count;
    pthread_mutex_unlock(&lock);
    return n;
}

const char *fault_last(void)
{
    return faults.last;
}

static VkResult planned(const struct fault_plan *plan, enum fault_call call)
{
    if (plan->call != call && plan->call != FAULT_ANY)
        return VK_SUCCESS;
    uint64_t now = faults.calls[plan->call];
    if (plan->for_good ? now < plan->nth : now != plan->nth)
        return VK_SUCCESS;
    if (plan->result != VK_SUCCESS)
        return plan->result;
    size_t n = 0;
    while (fault_result(call, n) != VK_SUCCESS)
        n++;
    return results[call][plan->draw % n];
}

/* A lost device goes on failing in every call that may say so. */
static bool tells_of_loss(enum fault_call call)
{
    return call == FAULT_QueueSubmit2 || call == FAULT_WaitSemaphores ||
           call == FAULT_DeviceWaitIdle || call == FAULT_GetQueryPoolResults;
}

/* Nothing is in flight on a lost device; on a real one that is only pretended to be lost, that must
 * be seen to. */
static void lose(void)
{
    faults.lost = true;
    if (faults.device)
        faults.next.DeviceWaitIdle(faults.device);
    watch_all_ended();
}

static VkResult draw(enum fault_call call)
{
    VkResult result = VK_SUCCESS;
    pthread_mutex_lock(&lock);
    faults.calls[call]++;
    faults.calls[FAULT_ANY]++;
    for (size_t i = 0; i < faults.n_plans && result == VK_SUCCESS; i++)
        result = planned(&faults.plans[i], call);
    if (result != VK_SUCCESS) {
        faults.count++;
        snprintf(faults.last, sizeof(faults.last), "%s, call %llu, %s", names[call],
                 (unsigned long long)faults.calls[call], vkm_vk_result_name(result));
    }
    if (result == VK_ERROR_DEVICE_LOST && call != FAULT_CreateDevice)
        lose();
    if (result == VK_SUCCESS && faults.lost && tells_of_loss(call))
        result = VK_ERROR_DEVICE_LOST;
    pthread_mutex_unlock(&lock);
    return result;
}

static void device_made(VkDevice device)
{
    pthread_mutex_lock(&lock);
    faults.device = device;
    faults.lost = false;
    pthread_mutex_unlock(&lock);
    watch_born(WATCH_DEVICE, (uint64_t)(uintptr_t)device);
}

/* --- the calls --- */

#define OBJECT(handle) ((uint64_t)(uintptr_t)(handle))
#define BORN(kind, handle) watch_born(WATCH_##kind, OBJECT(handle))
#define DEAD(kind, handle) watch_dead(WATCH_##kind, OBJECT(handle))
#define SPOILED(pointer) memset((pointer), 0x5a, sizeof(*(pointer)))
#define EMPTY(pointer) memset((pointer), 0, sizeof(*(pointer)))

#define FALLIBLE(name, parameters, arguments, failed, before, after, ...)                          \
    static VKAPI_ATTR VkResult VKAPI_CALL faulty_##name parameters                                 \
    {                                                                                              \
        VkResult result = draw(FAULT_##name);                                                      \
        if (result != VK_SUCCESS) {                                                                \
            failed;                                                                                \
            return result;                                                                         \
        }                                                                                          \
        before;                                                                                    \
        result = faults.next.name arguments;                                                       \
        if (result == VK_SUCCESS)                                                                  \
            after;                                                                                 \
        return result;                                                                             \
    }
#define UNFAILING(name, parameters, arguments, before)                                             \
    static VKAPI_ATTR void VKAPI_CALL faulty_##name parameters                                     \
    {                                                                                              \
        before;                                                                                    \
        faults.next.name arguments;                                                                \
    }
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING

/* --- the loader --- */

static const struct entry {
    const char *name;
    PFN_vkVoidFunction call;
    size_t next; /* where in struct vkm_vk the real one goes */
} entries[] = {
#define FALLIBLE(name, ...)                                                                        \
    {"vk" #name, (PFN_vkVoidFunction)faulty_##name, offsetof(struct vkm_vk, name)},
#define UNFAILING(name, ...)                                                                       \
    {"vk" #name, (PFN_vkVoidFunction)faulty_##name, offsetof(struct vkm_vk, name)},
#include "calls.def"
#undef FALLIBLE
#undef UNFAILING
};

/* Ours in place of the real one, which is kept. */
static PFN_vkVoidFunction divert(const char *name, PFN_vkVoidFunction real)
{
    for (size_t i = 0; real && i < VKM_COUNT(entries); i++) {
        if (strcmp(name, entries[i].name) == 0) {
            memcpy((char *)&faults.next + entries[i].next, &real, sizeof(real));
            return entries[i].call;
        }
    }
    return real;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_call(VkDevice device, const char *name)
{
    return divert(name, faults.next.GetDeviceProcAddr(device, name));
}

vkm_vulkan_call *fault_loader(struct VkInstance_T *instance, const char *name)
{
    vkm_vulkan_loader *under = faults.under;
    if (!under) {
        (void)volkInitialize();
        under = vkGetInstanceProcAddr;
    }
    PFN_vkVoidFunction real = under(instance, name);
    if (strcmp(name, "vkGetDeviceProcAddr") != 0)
        return divert(name, real);
    faults.next.GetDeviceProcAddr = (PFN_vkGetDeviceProcAddr)real;
    return (PFN_vkVoidFunction)device_call;
}
