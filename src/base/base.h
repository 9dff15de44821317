/*
 * The vocabulary every file uses: attributes, clean-up helpers, asserts and small arithmetic.
 *
 * ASSERT is always compiled in. It is for what the program itself guarantees; whatever came from a
 * network, a disk, a configuration or a user gets an error instead. What a failed assert does is
 * decided once per process (base_assert_handler): daemons abort; inside libnacre the reactor is
 * parked.
 */
#ifndef NACRE_BASE_BASE_H
#define NACRE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _noreturn_ __attribute__((noreturn))
#define _unused_ __attribute__((unused))
#define _packed_ __attribute__((packed))
/* Every function that can fail is declared with this; a result is dropped only by naming why. */
#define _check_ __attribute__((warn_unused_result))
/* Marks a function that may switch to another fiber: no lock and no thread-local is held over
 * it. */
#define _yields_
/* Runs FN(&variable) when the variable goes out of scope. FN accepts NULL and half-built
 * objects. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _export_ __attribute__((visibility("default")))

/* Gives a pointer away: evaluates to it and leaves NULL behind, so a clean-up does nothing. */
#define TAKE_PTR(p) \
	({ \
		__typeof__(p) take_ptr_tmp = (p); \
		(p) = NULL; \
		take_ptr_tmp; \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Called with the failed condition; must not return. NULL restores the default, which aborts. */
typedef void base_assert_fn(const char *cond, const char *file, int line, const char *func);
void base_assert_handler_set(base_assert_fn *fn);
_noreturn_ void base_assert_failed(const char *cond, const char *file, int line, const char *func);

#define ASSERT(cond) \
	do { \
		if (unlikely(!(cond))) { \
			base_assert_failed(#cond, __FILE__, __LINE__, __func__); \
		} \
	} while (0)

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline int64_t i64_min(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t i64_max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Rounds up/down to a power of two (or any) unit; unit > 0. */
static inline uint64_t u64_round_down(uint64_t v, uint64_t unit)
{
	return v - v % unit;
}

static inline uint64_t u64_round_up(uint64_t v, uint64_t unit)
{
	return u64_round_down(v + unit - 1, unit);
}

static inline bool u64_is_pow2(uint64_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)
#define GIB (UINT64_C(1024) * MIB)

/* Frees what a `char *`/`void *` variable points to; for _cleanup_(free_ptr). */
void free_ptr(void *pp);

#endif
