/* What is alive and what is in flight, as the calls that were made tell it. Thread-safe. */
#ifndef WATCH_H
#define WATCH_H

#include <volk.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_kind {
    WATCH_INSTANCE,
    WATCH_DEVICE,
    WATCH_SEMAPHORE,
    WATCH_BUFFER,
    WATCH_MEMORY,
    WATCH_SHADER,
    WATCH_LAYOUT,
    WATCH_CACHE,
    WATCH_PIPELINE,
    WATCH_POOL,
    WATCH_QUERIES,
    WATCH_COMMANDS, /* belong to a pool and end with it */
};

void watch_start(void);
void watch_born(enum watch_kind kind, uint64_t object);
/* Records a misuse if it was not alive, or if work in flight may still use it. */
void watch_dead(enum watch_kind kind, uint64_t object);
/* To commands: one that never was is used by none. */
void watch_bound(uint64_t pipeline);
void watch_commands(uint64_t pool, const VkCommandBuffer *commands, uint32_t n);
/* Whether they may be submitted. */
void watch_recorded(VkCommandBuffer commands, bool whole);
/* A pool's commands are about to be recorded anew. */
void watch_resetting(uint64_t pool);
void watch_submitting(const VkSubmitInfo2 *submit);
void watch_submitted(const VkSubmitInfo2 *submit);
void watch_waited(const VkSemaphoreWaitInfo *info);
void watch_all_ended(void);
/* What is alive belongs to a device that was given up: it is watched no more. */
void watch_forget(void);
size_t watch_alive(void);
uint64_t watch_submits(void); /* that were accepted */
const char *watch_misuse(void);

#endif
