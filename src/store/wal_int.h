/*
 * Private to the log: on-disk form, segments, the reader.
 *
 * Segment file NNNNNNNNNNNNNNNN.seg (its number in hex): a header of 4096 bytes, then records, each at a
 * multiple of 8, to the first place that holds no valid one. Integers are little-endian.
 *
 *	header: magic8 version4 crc4 number8 bytes8 salt16        (crc over the header with crc = 0)
 *	record: crc4 prev-crc4 length4 type2 zero2 lsn8 durable8, payload, padding to 8
 *
 * A file appears under its .seg name only with a durable header; until then it is NNNN.tmp.
 */
#ifndef NACRE_STORE_WAL_INT_H
#define NACRE_STORE_WAL_INT_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/list.h"
#include "store/wal.h"

#define WAL_MAGIC UINT64_C(0x314c41574552434e) /* "NCREWAL1" */
#define WAL_VERSION 1
#define WAL_HEADER_BYTES 4096
#define WAL_HEADER_USED 48
#define WAL_REC_BYTES 32
#define WAL_ALIGN 8
#define WAL_NAME_MAX 24
#define WAL_PATH_MAX (LIM_PATH_MAX + WAL_NAME_MAX)
/* How far behind a bad record a good one is looked for, bytes: more than the largest record. */
#define WAL_SEARCH_BYTES (4 * MIB)
/* Segments kept ready ahead of the writer. */
#define WAL_READY_MIN 2
/* Sync when so much is unsynced (bytes), or the oldest unsynced byte is this old (ns). */
#define WAL_SYNC_BYTES MIB
#define WAL_SYNC_NS (5 * NS_PER_MS)
/* A chunk is written by one pwrite; bytes, unless one record is larger. */
#define WAL_CHUNK_BYTES (256 * KIB)
#define WAL_CHUNK_SPARES 4
/* Trimmed segments kept for recycling rather than removed. */
#define WAL_DEAD_KEEP 2
/* Starts of one store: the bits of an lsn above WAL_LSN_SHIFT. */
#define WAL_INCARNATION_MAX ((UINT64_C(1) << (64 - WAL_LSN_SHIFT)) - 1)

_Static_assert(WAL_SEARCH_BYTES > 2 * LIM_WAL_RECORD_MAX, "the search passes the largest record");

struct wal_header {
	uint64_t number;
	uint64_t bytes;
	uint8_t salt[16];
};

struct wal_seg {
	struct list link;
	uint64_t number;
	uint64_t bytes; /* file size */
	uint64_t first_lsn; /* 0: no record */
	uint64_t prev_lsn; /* of the record before the first */
	uint64_t last_lsn;
	struct env_file *file; /* open while ready or current */
	bool tmp; /* lies under its .tmp name */
	bool needed; /* recovery: it was replayed */
};

struct wal_chunk {
	struct list link;
	uint64_t number; /* segment */
	uint64_t off;
	uint64_t last_lsn;
	size_t len;
	size_t cap;
	uint8_t *buf;
};

struct wal {
	struct env *env;
	char *dir;
	uint64_t memory_loss; /* the last failed write-back of this boot, 0: none (lost.h) */
	uint64_t segment_bytes;
	uint8_t salt[16];
	uint64_t incarnation;

	/* where the next record goes */
	uint64_t app_number;
	uint64_t app_bytes; /* size of that segment */
	uint64_t app_off;
	uint32_t app_seed;
	uint32_t crc_last;
	uint64_t lsn_last;
	struct list chunks;
	struct list spares; /* empty chunks of WAL_CHUNK_BYTES */
	unsigned spare_count;

	uint64_t written;
	uint64_t durable;
	uint64_t want_durable;
	uint64_t unsynced_bytes;
	uint64_t unsynced_since;

	struct list segs; /* holding records, oldest first; the last is current */
	struct list ready; /* prepared, by number */
	unsigned ready_count;
	struct list dead; /* trimmed: to be recycled or removed */
	unsigned dead_count;
	struct wal_seg *cur;
	uint64_t next_number; /* of the next segment to prepare */

	struct env_waitq writer_q;
	struct env_waitq syncer_q;
	struct env_waitq maker_q;
	struct env_waitq written_q;
	struct env_waitq durable_q;
	struct env_waitq ready_q;
	struct env_waitq ended_q;
	unsigned fibers;
	bool closing;
	struct wal_stats stats;
};

/* ---- wal_format.c: pure ---- */

uint32_t wal_seed(const uint8_t salt[16], uint64_t number);
void wal_header_encode(const struct wal_header *h, uint8_t buf[WAL_HEADER_BYTES]);
/* -NE_CORRUPT, -NE_TOONEW */
_check_ int wal_header_decode(const uint8_t buf[WAL_HEADER_BYTES], struct wal_header *ret_header);
/* Bytes a record takes, padding included. */
uint64_t wal_rec_bytes(uint32_t len);
/* Fills in the record's header at p; the payload and padding follow it already. Returns its CRC. */
uint32_t wal_rec_seal(uint8_t *p, const struct wal_rec *rec, uint32_t seed);
/* Reads a record header; false if it cannot be one. The last incarnation is never written, so that there is
 * always a next lsn. */
bool wal_rec_parse(const uint8_t *p, struct wal_rec *ret_rec);
/* True if the CRC at p is that of the parsed record, whose payload follows. */
bool wal_rec_check(const uint8_t *p, const struct wal_rec *rec, uint32_t seed);
/* The lsn of the record before: in the payload for WAL_INCARNATION. The reader gives out no record that is
 * not behind it, nor one that calls something later durable. */
uint64_t wal_rec_prev_lsn(const struct wal_rec *rec);
/* "0000000000000001.seg" or ".tmp"; cap >= WAL_NAME_MAX */
void wal_seg_name(uint64_t number, bool tmp, char *buf, size_t cap);
/* False if the name is not one of ours. */
bool wal_seg_name_parse(const char *name, uint64_t *ret_number, bool *ret_tmp);

/* ---- wal_read.c ---- */

struct wal_reader {
	struct env_file *file;
	char name[WAL_NAME_MAX];
	uint64_t size; /* of the file */
	uint32_t seed;
	uint64_t off; /* next record */
	uint8_t *buf;
	uint64_t buf_off;
	size_t buf_len;
};

/* Opens a segment, checks its header against its name. */
_yields_ _check_ int wal_reader_open(struct env *env, const char *dir, uint64_t number,
	struct wal_reader *r, struct wal_header *ret_header);
void wal_reader_close(struct wal_reader *r);
/* The valid record at r->off; moves past it. -NE_NOENT: there is none. */
_yields_ _check_ int wal_reader_next(struct wal_reader *r, struct wal_rec *ret_rec);
/* Moves r->off forward to the next valid record within WAL_SEARCH_BYTES. -NE_NOENT: none. */
_yields_ _check_ int wal_reader_search(struct wal_reader *r);

struct wal_dir {
	struct list segs; /* struct wal_seg, by number */
	struct list junk; /* .tmp files */
	int error;
};

/* Lists the segment files of a directory. */
_yields_ _check_ int wal_dir_list(struct env *env, const char *dir, struct wal_dir *ret_list);
void wal_segs_free(struct list *segs);

/* ---- wal_recover.c ---- */

/* Reads what is there, replays, writes the fresh segment; fills in lsn_last, crc_last, cur, segs, dead. */
_yields_ _check_ int wal_recover(struct wal *wal, const struct wal_opts *opts);

/* ---- wal_segment.c ---- */

void wal_path(const struct wal *wal, uint64_t number, bool tmp, char *buf, size_t cap);
/* Makes a segment file under its .tmp name with a header, not synced; takes a dead one of the right size
 * if there is one. `zero`: writes zeros all over a new one. */
_yields_ _check_ int wal_segment_make(
	struct wal *wal, uint64_t number, uint64_t bytes, bool zero, struct wal_seg **ret_seg);
/* Syncs it and gives it its .seg name durably. */
_yields_ _check_ int wal_segment_publish(struct wal *wal, struct wal_seg *seg);
void wal_segment_free(struct wal_seg *seg);
/* Fiber: keeps segments ready, removes dead ones. */
void wal_maker(void *arg);

/* ---- wal_write.c ---- */

/* Puts a record (type, lsn, durable, len) into the chunks, chained to the last; payload from iov. */
_check_ int wal_put(
	struct wal *wal, struct wal_rec *rec, const struct iovec *iov, unsigned iov_count);
/* Sets where the next record goes. */
void wal_put_start(struct wal *wal, uint64_t number, uint64_t bytes);
void wal_chunk_free(struct wal *wal, struct wal_chunk *chunk);
void wal_writer(void *arg);
void wal_syncer(void *arg);

#endif
