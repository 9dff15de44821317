/*
 * The write-ahead log: records in preallocated segment files, appended in memory, written once per
 * reactor turn, synced when somebody waits or a little has gathered.
 *
 * Invariants.
 * - Order of appends = order of lsns = order on disk. lsn = (incarnation << 40) + n.
 * - Each record carries a CRC32C seeded with the store's salt and the segment's number, over its header
 *   and payload, and the CRC of its predecessor: what a recycled segment or a lost tail left behind never
 *   lines up (RULES A1). It also carries the lsn known durable when it was appended, which tells damage
 *   in the middle (an error) from a torn tail (cut).
 * - A segment gets its first record only when the one before it is wholly durable.
 * - A failed write or fdatasync stops the node (env_die). Opening writes the part of the tail that is not
 *   proven durable again, into a fresh segment, before anything is served (RULES A2).
 * - Segments are made ahead; trimmed ones are used again, so a full disk does not stop the log.
 *
 * All functions belong to the env's reactor.
 */
#ifndef NACRE_STORE_WAL_H
#define NACRE_STORE_WAL_H

#include "base/base.h"
#include "base/metric.h"
#include "env/env.h"

#define WAL_LSN_SHIFT 40

enum wal_type {
	WAL_INCARNATION = 1, /* payload: le64 lsn of the record before */
	WAL_COMMIT = 2,
	WAL_CLEAN = 3, /* an orderly stop; no payload */
	WAL_TYPES,
};

struct wal;

/* A record as read; pointers are valid during the call only. */
struct wal_rec {
	const char *file; /* name within the directory */
	uint64_t offset;
	uint64_t lsn;
	uint64_t durable;
	uint32_t crc;
	uint32_t prev_crc;
	enum wal_type type;
	uint32_t len; /* payload, bytes */
	const void *payload;
};

/* 0 or an error that ends the reading. May not yield. */
typedef int wal_replay_fn(void *ctx, const struct wal_rec *rec);

struct wal_opts {
	const char *dir; /* absolute; must exist */
	uint64_t segment_bytes; /* of new segments; a multiple of 4096, at least 16 KiB */
	uint64_t incarnation_min;
	uint64_t from_lsn; /* replay what is after this */
	bool create;
	wal_replay_fn *replay;
	void *ctx;
};

/* -NE_NOTFORMATTED: no log there and !create. -NE_CORRUPT: damage, file and offset are logged. */
_yields_ _check_ int wal_open(struct env *env, const struct wal_opts *opts, struct wal **ret_wal);
/* Writes and syncs everything, marks an orderly stop, ends the fibers, frees. Accepts NULL. */
_yields_ void wal_close(struct wal *wal);

/* Largest payload a record may have, bytes. */
uint32_t wal_payload_max(const struct wal *wal);
/* Segments ready beyond those the appended records take. */
uint32_t wal_segments_ahead(const struct wal *wal);
/* True if the largest record can be appended and written without new space. */
bool wal_has_room(const struct wal *wal);
/* Buffers one record; does not yield. -NE_NOMEM, -NE_TOOBIG (> wal_payload_max). */
_check_ int wal_append(struct wal *wal, enum wal_type type, const struct iovec *iov,
	unsigned iov_count, uint64_t *ret_lsn);
_yields_ void wal_wait_written(struct wal *wal, uint64_t lsn);
_yields_ void wal_wait_durable(struct wal *wal, uint64_t lsn);
uint64_t wal_last_lsn(const struct wal *wal);
uint64_t wal_written_lsn(const struct wal *wal);
uint64_t wal_durable_lsn(const struct wal *wal);
/* Writing the log failed in this boot of the host: acknowledged records that were not durable then may be gone.
 * A number that names the last such failure; 0: none. */
uint64_t wal_memory_loss(const struct wal *wal);
uint64_t wal_incarnation(const struct wal *wal);
/* Records up to lsn are not needed any more. Does not yield; files go in the background. */
void wal_trim(struct wal *wal, uint64_t lsn);

struct wal_stats {
	uint64_t appends;
	uint64_t bytes;
	uint64_t writes;
	uint64_t fsyncs;
	uint64_t replayed;
	uint64_t pending_bytes; /* appended, not yet written */
	uint64_t segments; /* holding records that are not trimmed */
	uint64_t segments_ready; /* made ahead */
	uint64_t disk_bytes; /* of all files */
	bool nospc; /* the last attempt to make a segment found no space */
	struct metric_hist sync; /* durations of fdatasync */
};

void wal_stats_get(const struct wal *wal, struct wal_stats *ret_stats);
/* Waits until a segment was made ready or its making failed, or for the deadline. */
_yields_ void wal_wait_segment(struct wal *wal, uint64_t deadline_ns);
/* Tries again to make segments after a failure for lack of space. Does not yield. */
void wal_space_retry(struct wal *wal);

/* Reads all records of all segments as they lie, without changing anything. Ends quietly at a tear. */
_yields_ _check_ int wal_inspect(struct env *env, const char *dir, wal_replay_fn *fn, void *ctx);

#endif
