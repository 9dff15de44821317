/*
 * Between fiber.c (scheduler), fiber_stack.c (stacks) and the assembly: the switch, and what sanitizers
 * and valgrind must be told about it.
 */
#ifndef NACRE_ENV_FIBER_INT_H
#define NACRE_ENV_FIBER_INT_H

#include "env/fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifndef FIBER_ASAN
#define FIBER_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#ifndef FIBER_TSAN
#define FIBER_TSAN 0
#endif

/* Sanitizers make frames several times larger. */
#if FIBER_ASAN || FIBER_TSAN
#define FIBER_STACK_BYTES (256 * KIB)
#else
#define FIBER_STACK_BYTES (64 * KIB)
#endif

/* fiber_<arch>.S */
void fiber_switch(void **ret_save_sp, void *load_sp);
void fiber_entry(void);
/* Called by fiber_entry on the fiber's own stack; never returns: a fiber that ended stops in here until its
 * record is used again, so that a spawn needs no set-up (under TSan that would be a new thread). */
void fiber_main(struct fiber *fiber);

/* Takes a free fiber record whose stack is guarded and set up to enter fiber_main. NULL when none is left. */
struct fiber *fiber_pool_get(struct fiber_pool *pool);
/* ended: it stopped in fiber_main; otherwise its frames are thrown away. */
void fiber_pool_put(struct fiber_pool *pool, struct fiber *fiber, bool ended);
/* Lowest usable address of the fiber's stack. */
char *fiber_stack_bottom(const struct fiber_pool *pool, const struct fiber *fiber);

#endif
