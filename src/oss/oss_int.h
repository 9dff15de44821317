/*
 * What the files of this module share. One reactor; fibers only. See README.md for the picture.
 */
#ifndef NACRE_OSS_OSS_INT_H
#define NACRE_OSS_OSS_INT_H

#include "base/alloc.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/log.h"
#include "oss/oss.h"
#include "wire/gen/disk.h"
#include "wire/gen/wire.h"

#define OSS_LOG "oss"
/* Directories objects are spread over, by hash of the data FID. */
#define OSS_DIRS 256
/* Bytes of header before the data in an object's first file: keeps data aligned for O_DIRECT. */
#define OSS_HEADER_BYTES 4096
/* One of the two places in it that are ever written. */
#define OSS_HEADER_SECTOR 512
/* Data bytes of one segment file: local file systems end at 16 TiB, files of ours at 2^63-1. */
#define OSS_SEGMENT_BYTES (UINT64_C(1) << 43)
/* Objects kept open. */
#define OSS_OBJECTS_OPEN_MAX 512
/* Tombstones and raised generations live in memory; the oldest tombstones beyond this go. */
#define OSS_FACTS_MAX 200000
/* How long a tombstone is kept: no request made under the old layout lives that long. */
#define OSS_TOMBSTONE_NS (INT64_C(3600) * (int64_t)NS_PER_S)
/* Verdict for a full disk: this much is kept for the log and the directories. */
#define OSS_RESERVE_BYTES (64 * MIB)

/* The MDT's clock: a difference beyond this is a clock that was set, less is a request that was late... */
#define OSS_CLOCK_STEP_NS (INT64_C(10) * (int64_t)NS_PER_S)
/* ...of which this part is believed each time, as clocks drift. */
#define OSS_CLOCK_DRIFT 256

/* Something remembered about a data FID or object beyond its file: durable in the state store. */
struct oss_fact {
	struct hmap_node node;
	struct list age; /* tombstones, oldest first */
	struct fid data_fid;
	uint32_t stripe; /* UINT32_MAX: all, for generations */
	bool tombstone;
	bool stored; /* its record got into the log */
	uint32_t layout_gen_min;
	uint32_t layout_gen_stored;
	int64_t when_ns;
};

struct oss_fence {
	struct hmap_node node;
	struct uuid client;
	uint32_t key_id; /* of the key that proves it */
	uint32_t incarnation;
};

struct oss_header {
	uint64_t seq; /* of this version of it */
	struct d_ost_object d;
};

/* Readers of one object that are followed; more take turns. */
#define OSS_STREAMS 4

/* Somebody who reads in order. */
struct oss_stream {
	uint64_t next; /* where he will go on */
	uint32_t window; /* chunks ahead; 0: not known to go on */
};

/* An object in use or cached; exists == false is worth knowing too. */
struct oss_object {
	struct hmap_node node;
	struct oss *oss;
	struct list lru; /* linked while refs == 0 */
	unsigned refs;
	struct fid data_fid;
	uint32_t stripe;

	bool loaded;
	bool exists;
	struct env_mutex setup; /* load and create */
	struct env_file *file; /* first segment */
	struct oss_header header;
	uint64_t size; /* bytes of the object */
	uint64_t blocks_bytes; /* allocated for data, all segments */
	uint64_t high_bytes; /* the part of it in segments beyond the first */
	uint64_t promised_off; /* the last range that was promised to writers in this start */
	uint64_t promised_end;
	uint64_t number; /* of the last change in this start; 0 none */
	int64_t mtime_ns; /* of the first segment as last asked for; nobody else changes it */
	bool mtime_known;

	/* I/O shares, SET_SIZE and DESTROY exclude. */
	unsigned ios;
	bool exclusive;
	struct env_waitq lock_q;

	/* Reading ahead: oss_ahead.c. */
	struct list ahead; /* struct oss_ahead */
	struct env_waitq ahead_q;
	struct oss_stream streams[OSS_STREAMS];
	unsigned stream_turn;
	unsigned changing; /* changes that run */
	uint64_t heat_bytes; /* read past the page cache since heat_ns */
	uint64_t heat_ns;

	bool clean; /* nothing written since the last sync of this start */
	bool entry_durable; /* the directory entry was synced */
	bool syncing;
	struct env_waitq sync_q;
	uint64_t sync_round; /* of the last SYNC that need not look at it any more */
};

struct oss {
	struct env *env;
	char *path;
	char target[LIM_TARGET_NAME_MAX + 1];
	struct state *state;
	struct rpc_service *service;
	struct bufpool *bufpool;
	uint32_t epoch;
	uint32_t map_version;
	uint64_t verifier;
	uint64_t memory_loss; /* the last failed write-back of this boot, 0: none (store/lost.h) */
	uint64_t number; /* last issued */
	uint64_t sync_rounds; /* SYNC requests begun */
	uint64_t session_next;

	struct hmap objects;
	struct list objects_lru;
	unsigned objects_count;
	struct hmap facts;
	struct list tombstones;
	unsigned facts_count;
	struct hmap fences;

	struct list ahead_lru; /* chunks read ahead */
	unsigned ahead_count;
	unsigned ahead_fibers;
	bool sweeping;
	bool stopping;
	struct env_waitq ahead_q; /* a fiber ended */
	struct env_waitq sweep_q;

	uint64_t capacity_bytes;
	uint64_t used_bytes; /* by objects, when capacity_bytes is set */
	uint64_t objects_total; /* files, counted at start and kept */
	bool clock_known;
	int64_t clock_offset_ns; /* MDT's clock less ours */
	uint64_t started_ns;
	struct oss_status counters;
};

/* oss_object.c */
_yields_ _check_ int oss_object_get(
	struct oss *oss, struct fid data_fid, uint32_t stripe, struct oss_object **ret_obj);
void oss_object_put(struct oss *oss, struct oss_object *obj);
/* Makes the file if there is none. */
_yields_ _check_ int oss_object_create(struct oss *oss, struct oss_object *obj,
	const struct w_object_ref *ref, const struct d_ost_object *owner);
_yields_ void oss_object_lock(struct oss *oss, struct oss_object *obj, bool exclusive);
void oss_object_unlock(struct oss *oss, struct oss_object *obj, bool exclusive);
_yields_ _check_ int oss_object_attr(
	struct oss *oss, struct oss_object *obj, struct w_object_attr *ret_attr);
/* Around every change of an object's data, under the shared lock; an exclusive one does it by itself. */
void oss_object_change_begin(struct oss *oss, struct oss_object *obj);
void oss_object_change_end(struct oss *oss, struct oss_object *obj);
_yields_ void oss_objects_close(struct oss *oss);
/* Removes the first file of an object that has no (sound) header. */
_yields_ _check_ int oss_object_file_remove(struct oss *oss, struct fid data_fid, uint32_t stripe);
/* Path of a segment file into buf (LIM_PATH_MAX + 1 bytes). */
void oss_object_path(
	const struct oss *oss, struct fid data_fid, uint32_t stripe, uint32_t segment, char *buf);

/* oss_header.c */
_yields_ _check_ int oss_header_read(struct env_file *file, struct oss_header *ret_header);
_yields_ _check_ int oss_header_write(struct env_file *file, const struct oss_header *header);
/* Of a new file: both places; the sequence is set. */
_yields_ _check_ int oss_header_create(struct env_file *file, struct oss_header *header);

/* oss_segment.c: data of one object over its segment files; the caller holds the object's lock. */
enum oss_read_how {
	OSS_READ_CACHED, /* through the page cache, which keeps it */
	OSS_READ_DIRECT, /* past it; off and buf are aligned, buf has room for whole blocks */
};

_yields_ _check_ int oss_segments_read(struct oss *oss, struct oss_object *obj, void *buf,
	size_t len, uint64_t off, enum oss_read_how how);
_yields_ _check_ int oss_segments_write(
	struct oss *oss, struct oss_object *obj, const void *buf, size_t len, uint64_t off);
_yields_ _check_ int oss_segments_set_size(struct oss *oss, struct oss_object *obj, uint64_t size);
_yields_ _check_ int oss_segments_sync(struct oss *oss, struct oss_object *obj);
_yields_ _check_ int oss_segments_unlink(struct oss *oss, struct oss_object *obj);
/* Logical size of an object whose first file and header are open; fills high_bytes. */
_yields_ _check_ int oss_segments_load(struct oss *oss, struct oss_object *obj);

/* oss_ahead.c; all under the object's shared lock, but for forget and stop */
struct oss_ahead;
/* Notes a read; NULL, or the stream that it continues. */
struct oss_stream *oss_ahead_follow(struct oss_object *obj, uint64_t off, uint64_t len);
/* Is this byte in a chunk, or on its way into one? */
bool oss_ahead_has(const struct oss_object *obj, uint64_t off);
/* Begins to read the chunk at `from` and those ahead of it. */
void oss_ahead_run(
	struct oss *oss, struct oss_object *obj, const struct oss_stream *s, uint64_t from);
/* The chunk that has these bytes, to be released; NULL: read them. */
_yields_ struct oss_ahead *oss_ahead_take(
	struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t len);
void *oss_ahead_at(const struct oss_ahead *a, uint64_t off);
void oss_ahead_release(void *arg);
/* Drops what was read ahead of an object. */
void oss_ahead_forget(struct oss *oss, struct oss_object *obj);
_yields_ void oss_ahead_stop(struct oss *oss);

/* A file beyond the first segment. -NE_NOENT. */
_yields_ _check_ int oss_segment_open(struct oss *oss, const struct oss_object *obj,
	uint32_t segment, unsigned flags, struct env_file **ret_file);
/* The header counts a segment before its file is made; others who make it wait for that. */
_yields_ _check_ int oss_segment_announce(
	struct oss *oss, struct oss_object *obj, uint32_t segment);
/* The first segment from `from` (1..) on that may have a file. -NE_NOENT: none. */
_yields_ _check_ int oss_segment_next(
	struct oss *oss, const struct oss_object *obj, uint32_t from, uint32_t *ret_segment);

/* oss_hole.c: ranges and holes over segment files; the caller shares the object's lock. */
struct oss_range {
	uint64_t off;
	uint64_t len; /* > 0; the end is at most LIM_FILE_SIZE_MAX */
};

/* Promises (KEEP_SIZE), punches or zeroes a range; the size stays. */
_yields_ _check_ int oss_segments_allocate(struct oss *oss, struct oss_object *obj,
	enum env_fallocate_mode mode, struct oss_range range);
/* Makes the object at least `size` bytes long. */
_yields_ _check_ int oss_segments_extend(struct oss *oss, struct oss_object *obj, uint64_t size);
/* The first data (-NE_NXIO: none) or hole at or behind off. */
_yields_ _check_ int oss_segments_seek(
	struct oss *oss, struct oss_object *obj, uint64_t off, bool data, uint64_t *ret_off);

/* oss_commit.c */
_yields_ _check_ int oss_object_commit(struct oss *oss, struct oss_object *obj);
/* Makes the names of its files durable. */
_yields_ _check_ int oss_entry_sync(struct oss *oss, const struct oss_object *obj);
_yields_ _noreturn_ void oss_write_back_failed(struct oss *oss, int err);

/* oss_facts.c */
_yields_ _check_ int oss_facts_load(struct oss *oss);
void oss_facts_fini(struct oss *oss);
_check_ int oss_facts_check(const struct oss *oss, const struct w_object_ref *ref);
bool oss_facts_destroyed(const struct oss *oss, struct fid data_fid, uint32_t stripe);
_yields_ _check_ int oss_tombstone_add(
	struct oss *oss, const struct w_ost_change_req *req, uint64_t *ret_lsn);
_yields_ _check_ int oss_generation_raise(
	struct oss *oss, const struct w_object_ref *ref, uint64_t *ret_lsn);
_yields_ _check_ int oss_fence_add(
	struct oss *oss, const struct w_ost_fence_req *fence, uint64_t *ret_lsn);
_check_ int oss_fence_check(const struct oss *oss, const struct rpc_identity *id);

/* oss_change.c: removes the object's files, if there are any. */
_yields_ _check_ int oss_object_destroy(
	struct oss *oss, struct fid data_fid, uint32_t stripe, bool durable);

/* oss_space.c */
_yields_ _check_ int oss_space_load(struct oss *oss);
_yields_ _check_ int oss_space_statfs(struct oss *oss, struct w_ost_statfs_rep *ret_rep);
/* -NE_NOSPC when a write of len bytes at off must not begin. */
_check_ int oss_space_check(
	const struct oss *oss, const struct oss_object *obj, uint64_t off, uint64_t len);
/* The same for promising a range; looks at what is there already. */
_yields_ _check_ int oss_space_promise(
	struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t len);
/* The range's space is the object's now (punched: is not any more). */
void oss_space_promised(struct oss_object *obj, uint64_t off, uint64_t len, bool punched);
/* After a change of the object's files. */
void oss_space_update(struct oss *oss, struct oss_object *obj);

/* requests: oss_read.c oss_write.c oss_allocate.c oss_commit.c oss_change.c oss_space.c oss_status.c */
_yields_ int oss_read(struct oss *oss, struct rpc_request *req);
_yields_ int oss_write(struct oss *oss, struct rpc_request *req);
_yields_ int oss_allocate(struct oss *oss, struct rpc_request *req);
_yields_ int oss_seek(struct oss *oss, struct rpc_request *req);
_yields_ int oss_commit(struct oss *oss, struct rpc_request *req);
_yields_ int oss_getattr(struct oss *oss, struct rpc_request *req);
_yields_ int oss_change(struct oss *oss, struct rpc_request *req);
_yields_ int oss_fence(struct oss *oss, struct rpc_request *req);
_yields_ int oss_statfs(struct oss *oss, struct rpc_request *req);
_yields_ int oss_sync(struct oss *oss, struct rpc_request *req);
_yields_ int oss_target_status(struct oss *oss, struct rpc_request *req);

/* Time on the MDT's clock. */
static inline int64_t oss_mdt_time(const struct oss *oss)
{
	return env_realtime(oss->env) + oss->clock_offset_ns;
}

static inline uint64_t oss_object_hash(struct fid data_fid, uint32_t stripe)
{
	return hash_mix2(fid_hash(data_fid), stripe);
}

#endif
