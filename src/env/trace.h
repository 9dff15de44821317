/*
 * Where the time of a request went: spans, and the bounded rings that keep some of them.
 *
 * A span is one request in one process: a FUSE request, a call to a server, a request served. While a fiber works
 * for a span, each of its waits is added to what it waited for (enum trace_wait). Spans of one request in several
 * processes have the same 16-byte id, which travels in the header of every message.
 *
 * Kept are spans whose id says so (one of `sample_every` that start here; everywhere else the id decides, so that all
 * hops of a sampled request are kept) and spans that took longer than slow_ns, with or without an id. All of it
 * belongs to one reactor: no lock, no atomic. Without a store (libnacre, the simulator) nothing is kept or sampled.
 */
#ifndef NACRE_ENV_TRACE_H
#define NACRE_ENV_TRACE_H

#include "base/base.h"
#include "base/limits.h"
#include "env/env.h"

#define TRACE_ID_BYTES 16
/* Of byte 0 of an id: this request is kept wherever it comes. */
#define TRACE_KEEP 0x80
#define TRACE_TARGET_MAX LIM_TARGET_NAME_MAX
/* Spans kept: recent ones that were sampled, recent slow ones, the slowest of the last ten minutes. */
#define TRACE_SAMPLED_MAX 4096
#define TRACE_SLOW_MAX 1024
#define TRACE_WORST_MAX 64

enum trace_wait {
	TRACE_QUEUE, /* until it was its turn */
	TRACE_LOCK, /* for other requests, locks, memory: whatever has no other name */
	TRACE_FETCH, /* records from the checkpoint store */
	TRACE_LOG, /* the write-ahead log's write or sync */
	TRACE_DISK, /* files */
	TRACE_NET, /* servers called */
	TRACE_WAITS,
	TRACE_OFF = TRACE_WAITS, /* not accounted */
};

enum trace_kind {
	TRACE_FUSE, /* a request of the kernel */
	TRACE_CALL, /* a call to a server */
	TRACE_SERVE, /* a request served */
};

/* A request at work; lives in its owner. */
struct trace_span {
	uint8_t id[TRACE_ID_BYTES];
	uint64_t start_ns; /* env_now */
	uint64_t wait_ns[TRACE_WAITS];
};

/* One that is kept. */
struct trace_record {
	uint8_t id[TRACE_ID_BYTES]; /* zero: none */
	uint64_t start_ns; /* env_now */
	uint64_t duration_ns;
	uint64_t wait_ns[TRACE_WAITS];
	uint64_t bytes;
	uint64_t xid; /* of the message: joins a call with the request it became */
	uint32_t pid; /* FUSE: the program's */
	int32_t status; /* 0 or negative code */
	uint16_t op; /* FUSE: the opcode; else the protocol's operation */
	uint8_t kind; /* enum trace_kind */
	char target[TRACE_TARGET_MAX + 1];
};

struct trace_store;

/* slow_ns: spans longer than this are kept; sample_every: 0 samples none. -NE_NOMEM. */
_check_ int trace_store_new(
	struct env *env, uint64_t slow_ns, uint32_t sample_every, struct trace_store **ret_store);
void trace_store_free(struct trace_store *store); /* accepts NULL */
/* The env's store from now on, NULL: none. It stays the caller's. */
void trace_store_set(struct env *env, struct trace_store *store);
/* sample_every from now on; returns the one before. Without a store nothing happens (0). */
uint32_t trace_sample_set(struct env *env, uint32_t sample_every);
/* Copies what is kept to records (cap of them), newest first, without repeats; returns how many. */
size_t trace_store_read(const struct trace_store *store, struct trace_record *records, size_t cap);

/* An id for a request that starts in this process; zero without a store. */
void trace_id_new(struct env *env, uint8_t ret_id[TRACE_ID_BYTES]);
/* The running fiber works for the span from now on; zeroes it but for its id. start_ns: when it began to wait for
 * its turn, at most env_now. */
void trace_begin(struct env *env, struct trace_span *span, uint64_t start_ns);
/* The running fiber works for no span any more. */
void trace_end(struct env *env);
/* Keeps the span if it is to be kept. end_ns: env_clock's. `what` names it: kind, op, target... ; id, times and
 * waits are the span's. */
void trace_keep(struct env *env, const struct trace_span *span, uint64_t end_ns,
	const struct trace_record *what);
/* Is a span of this id and duration worth trace_keep? Cheap, for callers that would have to gather facts. */
bool trace_wanted(struct env *env, const uint8_t id[TRACE_ID_BYTES], uint64_t duration_ns);
/* The id of the span the running fiber works for, NULL if none. */
const uint8_t *trace_id_current(struct env *env);
/* What the running fiber's waits are for, from now on; returns what they were for. */
enum trace_wait trace_wait_set(struct env *env, enum trace_wait wait);
/* Adds time that was spent without waiting (a system call that did its work at once). */
void trace_wait_add(struct env *env, enum trace_wait wait, uint64_t ns);
const char *trace_wait_name(enum trace_wait wait);

#endif
