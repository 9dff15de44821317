/*
 * Recycled big buffers: 4 KiB to 4 MiB, powers of two, each aligned to its page and usable for
 * O_DIRECT.
 *
 * Memory touched for the first time is dear on virtual machines (seconds per GiB), so what was
 * touched once is used again: memory is taken in 4 MiB arenas, a buddy system cuts and rejoins
 * them, the most recently freed buffer goes first, and arenas are given back only above keep_bytes.
 * One pool per reactor: not thread-safe. Under ASan free buffers are poisoned. Contents of a buffer
 * are what the last owner left.
 */
#ifndef NACRE_BASE_BUFPOOL_H
#define NACRE_BASE_BUFPOOL_H

#include "base/base.h"

#define BUFPOOL_BUF_MIN (UINT64_C(4) << 10)
#define BUFPOOL_BUF_MAX (UINT64_C(4) << 20)

struct bufpool;

struct bufpool_stats {
	uint64_t bytes_max; /* bound on arena_bytes */
	uint64_t arena_bytes; /* taken from the system now */
	uint64_t used_bytes; /* in buffers given out now */
	uint64_t used_bytes_peak;
	uint64_t gets; /* buffers given out so far */
	uint64_t denials; /* gets that found the bound (or no memory) */
	uint64_t arenas_new; /* taken from the system so far */
	uint64_t arenas_freed; /* given back so far */
};

/* bytes_max: bound on all memory of the pool, a multiple of 4 MiB is used of it; keep_bytes:
 * arenas up to this much stay when unused. -NE_INVAL if bytes_max is under 4 MiB; -NE_NOMEM.
 * Takes no arena yet. */
_check_ int bufpool_new(uint64_t bytes_max, uint64_t keep_bytes, struct bufpool **ret_pool);
/* All buffers are back. Accepts NULL. */
void bufpool_free(struct bufpool *pool);
/* A buffer of at least size bytes (1..BUFPOOL_BUF_MAX), rounded up to a power of two of at least
 * 4 KiB; NULL at the bound or when out of memory. The caller gives it back with bufpool_put. */
_check_ void *bufpool_get(struct bufpool *pool, size_t size);
/* Takes back what bufpool_get of this pool returned; NULL is allowed. */
void bufpool_put(struct bufpool *pool, void *buf);
/* The capacity of a buffer given out, bytes. */
size_t bufpool_buf_size(const struct bufpool *pool, const void *buf);
void bufpool_stats_get(const struct bufpool *pool, struct bufpool_stats *ret_stats);
struct metric_batch;
void bufpool_metrics(const struct bufpool *pool, struct metric_batch *batch);

#endif
