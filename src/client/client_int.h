/*
 * What the files of this folder share. One reactor; fibers only. README.md has the map of the files.
 *
 * Ownership. The client owns targets (never removed: a layout may name them at any time), open files and
 * inodes. An inode lives while it has references (open files, running operations) or unsynced writes (it
 * then lingers, so that a later fsync still tells of their loss). Layouts are immutable and counted:
 * an operation keeps the one it began with while a newer one replaces it in the inode; only their bits of
 * present stripes change, and only to set.
 */
#ifndef NACRE_CLIENT_CLIENT_INT_H
#define NACRE_CLIENT_CLIENT_INT_H

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "client/client.h"
#include "layout/layout.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define CLIENT_LOG "client"
/* Data of one request (bytes): big enough that its cost does not matter, small enough that several are
 * on the way for one application's write. */
#define CLIENT_RPC_BYTES UINT32_C(1048576)
/* Pieces of memory of one request. */
#define CLIENT_RPC_IOVS RPC_BULK_IOV_MAX
/* On the way to and from one OST (bytes, requests): 8 full requests, or many small ones. */
#define CLIENT_OST_BYTES (8 * MIB)
#define CLIENT_OST_CALLS 48
/* Objects of one GETATTR or COMMIT: the protocol's bound. And such requests at a time of one operation. */
#define CLIENT_QUERY_OBJECTS 64
#define CLIENT_QUERY_CALLS 64
/* Closed files remembered because of unsynced writes. The oldest beyond this are forgotten: then the loss
 * of such writes of a file nobody has open is not reported. */
#define CLIENT_LINGER_MAX 4096
/* A changed layout is followed this often by one operation. */
#define CLIENT_LAYOUT_TRIES 16
/* A lookup finds a file that is gone a moment later at most this often in a row, else -NE_STALE. */
#define CLIENT_LOOKUP_TRIES 16
/* Incarnations of an OST's memory that are remembered. */
#define CLIENT_MEMORIES 8
/* While a target cannot be reached the map is asked for new addresses this often. */
#define CLIENT_MAP_PERIOD_NS (2 * NS_PER_S)
#define CLIENT_MOUNT_PATIENCE_NS (15 * NS_PER_S)
/* What statfs and the tools' questions wait for one target. */
#define CLIENT_STATUS_NS (3 * NS_PER_S)
/* What an unmount waits for servers that do not answer. */
#define CLIENT_CLOSE_NS (10 * NS_PER_S)

/* ---- targets ---- */

/* One incarnation of an OST: which memory a verifier belongs to (hash of the host's boot id and the last loss in it). */
struct client_memory {
	uint64_t verifier;
	uint64_t boot;
};

struct client_target {
	struct client *client;
	enum w_target_kind kind;
	uint16_t index;
	char name[LIM_TARGET_NAME_MAX + 1];
	struct uuid uuid;
	uint32_t epoch;
	uint32_t state; /* W_TARGET_STATE_* */
	uint32_t pid;
	struct rpc_addrs addrs;
	struct rpc_session *session; /* NULL until used */
	bool connected_once;
	bool down; /* DISCONNECTED came last */
	unsigned recoveries; /* NEW and RECOVERING events */
	struct client_memory memories[CLIENT_MEMORIES];
	unsigned memory_next;
	uint64_t bytes; /* on the way */
	unsigned calls;
	struct env_waitq room;
};

struct client_pool {
	char name[LIM_POOL_NAME_MAX + 1];
	uint32_t count;
	uint32_t *osts;
};

struct client_map {
	uint32_t version;
	struct uuid cluster;
	struct client_target *mgt; /* as the map shows it; NULL if it does not */
	struct client_target **mdts; /* by index, NULL for gaps */
	uint32_t mdt_count;
	struct client_target **osts;
	uint32_t ost_count;
	struct client_pool *pools;
	uint32_t pool_count;
};

/* ---- files ---- */

struct client_layout {
	unsigned refs;
	uint32_t gen;
	uint32_t flags; /* W_LAYOUT_FLAGS_* */
	struct layout_geom geom;
	struct fid data_fid;
	char pool[LIM_POOL_NAME_MAX + 1];
	uint8_t present[(LIM_STRIPE_COUNT_MAX + 7) / 8];
	uint32_t osts[]; /* geom.stripe_count */
};

/* Unsynced writes of this client to one stripe. */
struct client_stripe {
	bool dirty;
	uint64_t number; /* of the newest */
	uint64_t verifier; /* of the memory that holds the oldest */
	uint64_t boot;
};

/* A mutex whose wait ends with an interruption. */
struct client_lock {
	bool held;
	struct env_waitq q;
};

struct client_inode {
	struct hmap_node node;
	struct list linger; /* linked while refs == 0 */
	unsigned refs;
	struct fid fid;
	struct list files;
	struct client_layout *layout; /* NULL: not known, or not chosen while inline_data */
	bool inline_data;
	bool capability; /* security.capability is set */
	bool append_only; /* chattr +a */
	bool immutable; /* chattr +i */
	bool layout_unsure; /* the MDT has lost its memory since: an older one may be true again */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t projid;
	/* Of layout->data_fid; made at the first write. */
	struct fid stripes_of;
	uint32_t stripe_count;
	struct client_stripe *stripes;
	uint32_t dirty; /* stripes */
	uint64_t writes; /* striped writes acknowledged */
	uint64_t writes_reported; /* `writes` when the MDT was last told the size */
	bool committed_all; /* by an fsync, since this struct exists: others' earlier writes too */
	uint64_t lost; /* counts losses of unsynced writes */
	uint64_t mdt_transno; /* of the newest write of inline data; 0 none */
	bool sync_seen; /* by the client_sync_all that runs */
	struct client_lock append;
};

struct client_file {
	struct list all; /* client->files */
	struct list of_inode;
	struct client_inode *inode;
	uint64_t handle;
	uint32_t open_flags; /* W_OPEN_FLAGS_* */
	struct client_cred cred; /* who opened it; its groups are the ones below */
	uint32_t *
		groups; /* of the opener, if he gave them or the MDT asked for them; NULL: not known */
	bool opened; /* the MDT has answered */
	bool stale; /* could not be re-claimed */
	bool closing; /* its close may have been executed */
	bool dir;
	bool wrote; /* striped data */
	bool did_read;
	bool noatime; /* reading does not move the access time */
	bool size_opened; /* the MDT has noted that this handle may write objects */
	uint64_t lost_seen;
};

struct client {
	struct env *env;
	struct rpc_client *rpc;
	struct rpc_session *mgs;
	struct uuid uuid;
	uint32_t incarnation; /* grows when servers have fenced this client */
	char fsname[LIM_FSNAME_MAX + 1];
	char *subdir;
	char *hostname;
	uint32_t pid;
	bool read_only;
	uint64_t patience_ns;
	client_groups_fn *groups;
	void *groups_ctx;
	client_gone_fn *gone;
	void *gone_ctx;
	unsigned mgs_addr_count;
	struct rpc_addrs mgs_addrs;
	struct fid root;
	uint64_t mdt_boot; /* which memory of the MDT's host, as client_memory.boot; 0 unknown */
	uint64_t mdt_committed; /* highest last_committed the MDT named */

	struct client_map map;
	bool map_busy; /* somebody asks for it */
	struct env_waitq map_done;
	bool map_wanted;
	struct env_waitq map_poke; /* wakes the fiber that refreshes it */
	unsigned fibers;
	struct env_waitq quiet;
	bool closing;

	struct hmap inodes;
	struct list files;
	struct list linger; /* inodes, oldest first */
	unsigned linger_count;
	/* Appends whose bytes are on their way to OSTs: a new MDT gives their tokens to others. */
	unsigned appends;
	struct env_waitq appends_done;
	unsigned copies; /* windows of client_copy.c */
	struct env_waitq copies_wait;
	uint64_t handle_next;
	uint64_t write_seq;
	struct client_counters counters;
};

/* ---- client_map.c, client_target.c ---- */

/* Asks the MGS for the map and takes it over. deadline_ns 0: for ever. */
_yields_ _check_ int client_map_fetch(struct client *c, uint64_t deadline_ns);
void client_map_fini(struct client *c);
/* The fiber that keeps the map new. */
_check_ int client_map_fiber_start(struct client *c);
_yields_ void client_map_fiber_stop(struct client *c);
/* The target with its session made. Asks for a newer map if it is unknown; -NE_NOTARGET. */
_yields_ _check_ int client_ost_get(
	struct client *c, uint32_t index, struct client_target **ret_target);
_check_ int client_session_make(struct client *c, struct client_target *t);
/* MDT0000's session. */
struct rpc_session *client_mdt(struct client *c);
/* The boot (hash) a verifier of this OST belongs to; 0 when it is not known. */
uint64_t client_target_boot(const struct client_target *t, uint64_t verifier);
/* Calls fn for MGT, MDTs and OSTs from position *pos on, in this order. */
struct client_target *client_target_next(struct client *c, uint32_t *pos);
/* For strings of the map. */
void client_addrs_add(struct rpc_addrs *addrs, const char *text, size_t len);

/* ---- client_call.c ---- */

/* Now plus the mount's patience, 0 for ever. */
uint64_t client_deadline(const struct client *c);
/* Runs the call (op, request, reply are set) on a session. */
_yields_ _check_ int client_call(
	struct client *c, struct rpc_session *session, struct rpc_call *call);
_yields_ _check_ int client_mdt_call(struct client *c, struct rpc_call *call);
/* The same for requests on behalf of somebody: `into` is the request's cred, filled here. */
_yields_ _check_ int client_mdt_ask(struct client *c, const struct client_cred *cred,
	struct w_cred *into, struct rpc_call *call);
/* For an open: groups that it needed are kept with the file, for re-claims. */
_yields_ _check_ int client_mdt_ask_open(struct client *c, const struct client_cred *cred,
	struct w_cred *into, struct rpc_call *call, struct client_file *f);
/* Keeps a copy of a list of groups with the file. -NE_NOMEM. */
_check_ int client_file_groups_set(struct client_file *f, const uint32_t *gids, uint32_t count);
/* The groups of the caller's process: gids has LIM_GROUPS_MAX entries. */
_check_ int client_groups_get(
	struct client *c, const struct client_cred *cred, uint32_t *gids, uint32_t *ret_count);
void client_cred_encode(const struct client_cred *cred, struct w_cred *ret_cred);
/* Somebody who may everything: for the mount itself. */
struct client_cred client_cred_self(const struct client *c);

/* -NE_ROFS for a read-only mount. */
_check_ int client_change_check(const struct client *c);

_yields_ _check_ int client_lock_take(struct client *c, struct client_lock *lock);
void client_lock_give(struct client *c, struct client_lock *lock);

/* ---- client_inode.c, client_layout.c ---- */

/* Found or made, with a reference. */
_check_ int client_inode_get(struct client *c, struct fid fid, struct client_inode **ret_inode);
struct client_inode *client_inode_find(struct client *c, struct fid fid);
void client_inode_put(struct client *c, struct client_inode *inode);
/* What the MDT said of it: mode, owner, where the data is; takes a layout newer than the known one over. */
_check_ int client_inode_update(
	struct client *c, struct client_inode *inode, const struct w_inode_info *info);
/* The MDT may have forgotten the layout: the next answer counts, whatever it says. */
void client_inode_unsure(struct client_inode *inode);
void client_inode_attr(struct client_inode *inode, const struct w_attr *attr);
_yields_ void client_inodes_free(struct client *c);

/* With a reference. -NE_BADMSG when it makes no sense. */
_check_ int client_layout_decode(const struct w_layout *from, struct client_layout **ret_layout);
struct client_layout *client_layout_ref(struct client_layout *layout);
void client_layout_unref(struct client_layout *layout);
void client_layout_put(struct client_layout **layout); /* for _cleanup_ */
static inline bool client_layout_present(const struct client_layout *layout, uint32_t stripe)
{
	return (layout->present[stripe / 8] >> (stripe % 8) & 1) != 0;
}
static inline void client_layout_present_set(struct client_layout *layout, uint32_t stripe)
{
	layout->present[stripe / 8] |= (uint8_t)(1u << (stripe % 8));
}
/* Asks the MDT where the file's data is. */
_yields_ _check_ int client_layout_refresh(struct client *c, struct client_file *f);
/* The same for a writer: data in the MDT moves to objects, the size is noted as open for this handle. */
_yields_ _check_ int client_layout_instantiate(struct client *c, struct client_file *f);

/* Notes an acknowledged write. */
_check_ int client_stripes_prepare(struct client_inode *inode, const struct client_layout *layout);
void client_stripe_wrote(struct client_inode *inode, const struct client_target *ost,
	uint32_t stripe, const struct w_ost_write_rep *rep);

/* ---- client_query.c, client_size.c ---- */

/* One object's answer. */
struct client_object {
	uint32_t stripe;
	struct client_target *ost;
	struct w_object_attr attr;
	uint64_t verifier; /* COMMIT only */
};

typedef void client_object_fn(void *ctx, const struct client_object *object);

struct client_query {
	struct client *c;
	struct client_layout *layout;
	struct fid file;
	bool commit; /* else GETATTR */
	const uint8_t *want; /* bit per stripe; NULL: all */
	uint64_t deadline_ns; /* 0: the mount's patience */
	client_object_fn *fn; /* must not yield */
	void *ctx;
};

/* Asks about objects at all OSTs in parallel. */
_yields_ _check_ int client_query_run(const struct client_query *q);

struct client_sizes {
	uint64_t size;
	uint64_t blocks;
	int64_t mtime_ns;
	uint8_t present[(LIM_STRIPE_COUNT_MAX + 7) / 8];
};

void client_sizes_add(struct client_sizes *sizes, const struct client_layout *layout,
	const struct client_object *o);
_yields_ _check_ int client_sizes_ask(struct client *c, struct client_layout *layout,
	struct fid file, struct client_sizes *ret_sizes);
void client_report_fill(const struct client_sizes *sizes, const struct client_layout *layout,
	struct w_size_report *ret_report);

/* ---- client_attr.c ---- */

/* Waits until a change of the file's size, which the MDT answered with these attributes, has reached the OSTs. */
_yields_ _check_ int client_settle(struct client *c, const struct w_attr *attr);
/* Makes attributes of the MDT's answer; OSTs are asked when it says so. layout: of this file, or NULL. */
_yields_ _check_ int client_attr_finish(struct client *c, const struct w_attr *attr,
	struct client_layout *layout, struct client_attr *ret_attr);
/* The same for an answer that may hold a layout. */
_yields_ _check_ int client_info_finish(
	struct client *c, const struct w_inode_info *info, struct client_attr *ret_attr);
/* As the MDT has them, without asking an OST. */
void client_attr_convert(const struct w_attr *from, struct client_attr *ret_attr);
/* Does the size have to be asked of the OSTs? */
bool client_size_is_open(const struct w_attr *attr);

/* ---- client_open.c ---- */

/* Re-claims every open at a new or recovering session of the MDT. */
_yields_ _check_ int client_reclaim(struct client *c, struct rpc_session *session);
/* Re-claims one handle whose open crossed a recovery. */
_yields_ _check_ int client_reclaim_one(struct client *c, struct client_file *f);
/* Counts what made the MDT forget this client: new sessions, restarts. */
unsigned client_recoveries(const struct client *c);
uint32_t client_open_flags(int open_flags);

/* ---- data ---- */

/* A place in somebody's memory. */
struct client_place {
	const struct iovec *iov;
	unsigned count;
	size_t used; /* of iov[0] */
};

struct client_unit {
	struct list link;
	struct rpc_call call;
	struct client_target *ost;
	uint32_t stripe;
	uint32_t len;
	uint64_t object_off;
	uint64_t file_off; /* of its first byte */
	unsigned iov_count;
	struct iovec iov[CLIENT_RPC_IOVS];
	union {
		struct w_ost_read_rep read;
		struct w_ost_write_rep write;
	} rep;
};

/* One transfer of a file range from or to its objects. */
struct client_io {
	struct client *c;
	struct client_inode *inode;
	struct client_layout *layout;
	bool write;
	bool sync;
	uint64_t deadline_ns;
	/* running */
	struct list open; /* units being filled, one per stripe at most */
	unsigned open_count;
	struct list started; /* in the order of starting */
	/* results */
	struct list shorts; /* reads that got less than they asked for */
	int error;
	uint64_t error_off; /* lowest file offset that failed */
	uint64_t end; /* reads: the file is at least this long */
	uint32_t units; /* all started */
};

void client_io_init(struct client_io *io);
_yields_ void client_io_run(
	struct client_io *io, struct client_place place, uint64_t off, uint64_t len);
/* Starts a unit that was made by somebody else; takes it. */
_yields_ void client_unit_start(struct client_io *io, struct client_unit *unit);
_yields_ void client_io_finish(struct client_io *io);
void client_io_fini(struct client_io *io);

static inline uint64_t client_iov_len(const struct iovec *iov, unsigned count)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < count; i++) {
		len += iov[i].iov_len;
	}
	return len;
}

/* client_inline.c. -NE_LAYOUT_CHANGED: not in the MDT any more; -NE_FBIG: it does not fit there. */
_yields_ _check_ int client_inline_read(struct client *c, struct client_file *f,
	struct client_place place, uint64_t off, size_t *ret_len);

struct client_inline_write {
	struct client_file *f;
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t off;
	bool append;
	bool kill_suid;
};

_yields_ _check_ int client_inline_write(
	struct client *c, const struct client_inline_write *w, size_t *ret_len);

/* client_write.c */
/* May this handle change data? -NE_BADF, -NE_STALE, -NE_ROFS. */
_check_ int client_write_check(const struct client *c, const struct client_file *f);
/* Does a change of data by this caller clear set-id bits, and are there any as far as this client knows? */
bool client_suid_kills(const struct client_file *f, const struct client_cred *cred);
/* Clears them, and security.capability, where a change of objects is about to. */
_yields_ _check_ int client_suid_kill(
	struct client *c, struct client_file *f, const struct client_cred *cred);

/* client_sync.c: durable, with the size told to the MDT, whoever has it open. */
_yields_ _check_ int client_inode_sync(struct client *c, struct client_inode *inode);
_yields_ _check_ int client_sync_all(struct client *c, uint64_t deadline_ns);
/* Once per handle and loss. */
_check_ int client_lost_check(struct client_file *f);

/* ---- tools ---- */

/* client_lov.c */
_yields_ _check_ int client_lov_get(struct client *c, const struct client_cred *cred,
	struct fid fid, void *buf, size_t cap, size_t *ret_len);
_yields_ _check_ int client_lov_set(struct client *c, const struct client_cred *cred,
	struct fid fid, const void *value, size_t len);
_yields_ _check_ int client_lov_remove(
	struct client *c, const struct client_cred *cred, struct fid fid);
struct lov_md;
/* A layout for a request; its views point into md. */
void client_lov_wanted(const struct lov_md *md, struct w_layout *ret_layout);

/* client_tool.c. -NE_NODATA when there is no such question. */
_yields_ _check_ int client_tool_get(struct client *c, const struct client_cred *cred,
	struct fid fid, const char *name, struct strbuf *out);

/* client_json.c: a writer of JSON; commas are put where they are due. */
struct client_json {
	struct strbuf *out;
	bool first;
};

void client_json_open(struct client_json *j, const char *key, char bracket);
void client_json_close(struct client_json *j, char bracket);
void client_json_text(struct client_json *j, const char *key, const char *text);
void client_json_number(struct client_json *j, const char *key, int64_t value);
void client_json_unsigned(struct client_json *j, const char *key, uint64_t value);
void client_json_bool(struct client_json *j, const char *key, bool value);

/* client_statfs.c */
struct client_space {
	uint64_t bytes_total, bytes_free, bytes_avail;
	uint64_t files_total, files_free, files_used;
	uint64_t backing_fsid;
	uint32_t state;
};

/* One target asked whether it is there, and for its space (not the MGT's). */
struct client_probe {
	struct client_target *target; /* in */
	int err;
	struct client_space space;
	uint64_t latency_ns;
};

/* Asks all at the same time. -NE_INTR, -NE_NOMEM; a target's own failure is in its probe. */
_yields_ _check_ int client_probe(
	struct client *c, struct client_probe *probes, uint32_t count, uint64_t deadline_ns);

#endif
