/*
 * What the files of src/mds share: the service's struct, keys, the operation context, hooks.
 *
 * How a request runs (mds_serve.c). `prepare` once, may yield (ask OSTs...). Then, as often as
 * the state asks for it and without yielding: `execute` reads and changes inodes (cached in the operation)
 * and other records; the cached inodes that were dirtied are put; `reply` fills op->rep out of them, which is
 * encoded; a changing request's slot record is put; the transaction commits. Then `committed` updates tables in memory
 * (opens), still without a yield since the commit. A failed attempt leaves nothing behind: execute must change
 * nothing but the transaction and the operation (whose cache and `res` are cleared before each attempt).
 *
 * To fetch much at once: when execute meets -NE_MISSING_KEY, `want` (may be NULL) touches every key the
 * request is known to need, before the fetch.
 *
 * Files: mds.c (start, stop), mds_serve.c (requests), mds_rpc.c, mds_session.c, mds_key.c, mds_inode.c, mds_dirent.c
 * (hash chains), mds_perm.c, mds_acl.c, mds_fid.c, mds_create.c, mds_unlink.c (and link), mds_rename.c, mds_setattr.c,
 * mds_readdir.c, mds_xattr.c, mds_lookup.c, mds_path.c (fid2path), mds_ops.c (the table and what is small),
 * mds_confine.c (subdirectory sessions), mds_check.c; and with
 * hooks declared at the end: mds_layout, mds_open, mds_size, mds_inline, mds_truncate, mds_intent,
 * mds_orphan, mds_append, mds_ost, mds_placement.
 */
#ifndef NACRE_MDS_INT_H
#define NACRE_MDS_INT_H

#include <sys/stat.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "mds/mds.h"
#include "wire/gen/disk.h"
#include "wire/gen/wire.h"

/* ---- keys: mds_key.c and docs/format.md ---- */

/* First byte of a key. Everything of an inode lies together, so a create touches few pages. */
enum mds_key_kind {
	MDS_KEY_GLOBALS = 0x01,
	MDS_KEY_FID_RANGE = 0x02,
	MDS_KEY_SESSION = 0x08, /* session u64 */
	MDS_KEY_SLOT = 0x09, /* session u64, slot u16 */
	MDS_KEY_ENTRY = 0x10, /* parent FID, cookie u64 */
	MDS_KEY_INODE = 0x20, /* FID, part u8, ... */
	MDS_KEY_ORPHAN = 0x30, /* FID */
	MDS_KEY_SIZE_OPEN = 0x31, /* FID */
	MDS_KEY_INTENT = 0x40, /* number u64 */
};

/* Second part of an inode's keys, after the FID. */
enum mds_key_part {
	MDS_PART_INODE = 0x00,
	MDS_PART_LAYOUT = 0x10, /* piece u16 */
	MDS_PART_DATA = 0x20, /* piece u16: inline data */
	MDS_PART_SYMLINK = 0x30, /* piece u16: a long target */
	MDS_PART_XATTR = 0x40, /* name's hash u64, piece u16 */
	MDS_PART_LINK = 0x50, /* parent FID, cookie u64 */
	MDS_PART_END = 0xff,
};

#define MDS_KEY_MAX 48
/* Kind and FID, with which the keys of an inode and the entries of a directory begin. */
#define MDS_KEY_FID_END 17

struct mds_key {
	uint32_t len;
	uint8_t b[MDS_KEY_MAX];
};

struct mds_key mds_key_globals(void);
struct mds_key mds_key_fid_range(void);
struct mds_key mds_key_session(uint64_t session);
struct mds_key mds_key_slot(uint64_t session, uint16_t slot);
struct mds_key mds_key_entry(struct fid parent, uint64_t cookie);
/* The inode itself and, by part, what hangs on it. */
struct mds_key mds_key_inode(struct fid fid);
struct mds_key mds_key_part(struct fid fid, enum mds_key_part part);
struct mds_key mds_key_piece(struct fid fid, enum mds_key_part part, uint16_t piece);
struct mds_key mds_key_xattr(struct fid fid, uint64_t hash, uint16_t piece);
struct mds_key mds_key_link(struct fid child, struct fid parent, uint64_t cookie);
struct mds_key mds_key_orphan(struct fid fid);
struct mds_key mds_key_size_open(struct fid fid);
struct mds_key mds_key_intent(uint64_t number);
/* The kind alone: where a range over all of a kind begins; kind + 1 is its end. */
struct mds_key mds_key_kind(uint8_t kind);
/* A FID as it stands in a key: 16 bytes. */
struct fid mds_fid_load(const uint8_t *at);
/* Reads the FID behind the first byte. -NE_CORRUPT when the key is too short. */
_check_ int mds_key_fid(const void *key, uint32_t len, struct fid *ret_fid);

/* ---- the service ---- */

struct mds_handler;
struct mds_op;
struct mds_data; /* private to the data side, as are: */
struct mds_open;
struct mds_work;

/* Operations this service knows: W_OP_MDS_* lie in this range. */
#define MDS_OP_BASE 0x0200
#define MDS_OPS_MAX 0x40

struct mds_fids {
	uint64_t seq;
	uint32_t oid_next;
	uint32_t oid_end; /* durably reserved below this */
	uint64_t seq_end;
	uint64_t new_freezes; /* state_freezes() when new_from was set */
	struct fid new_from; /* the first FID that was not given out then */
	bool refilling;
	int error; /* of the last refill */
	struct env_waitq refilled;
};

struct mds {
	struct env *env;
	struct mds_options opts; /* strings copied */
	char fsname[LIM_FSNAME_MAX + 1];
	struct state *st;
	struct hash_key hash_key; /* of entry cookies, from the globals */
	struct mds_fids fids;
	int64_t now_last_ns; /* the MDT's clock never goes back */
	struct hmap sessions; /* by id */
	struct list ops_free; /* operations' memory, recycled */
	unsigned ops_free_count;
	uint64_t
		dir_moves; /* counts renames of directories: subdirectory sessions' caches end with it */
	uint64_t started_ns;
	uint64_t requests;
	uint64_t op_counts[MDS_OPS_MAX]; /* of them, by op */
	uint32_t map_version;
	uint64_t inodes; /* as in the last committed globals */
	const struct mds_handler *handlers[MDS_OPS_MAX];
	struct mds_data *data;
	bool stopping;
	unsigned background; /* own fibers alive */
	struct env_waitq background_done;
	struct env_waitq stop_wake; /* background fibers wait here; woken when stopping */
};

/* ---- sessions ---- */

struct mds_session {
	struct hmap_node node;
	uint64_t id;
	struct uuid client;
	uint32_t incarnation;
	enum w_peer_role role;
	uint32_t uid;
	uint32_t gid;
	bool allow_root;
	bool read_only;
	bool confined; /* to root and below */
	bool closing;
	bool attached; /* false: recovered, and its client did not come back yet */
	bool recovering; /* known from before the start, and may have opens to re-claim */
	struct fid root;
	uint32_t key_id;
	uint32_t pid;
	char hostname[256];
	char addr[LIM_ADDR_LEN_MAX + 1];
	int64_t opened;
	uint64_t seen_ns; /* env_now of the last request */
	struct hmap
		inside; /* directories known to lie below root, while inside_moves == mds->dir_moves */
	uint64_t inside_moves;
	struct list opens; /* the data side's */
	uint64_t open_count;
	unsigned waits; /* of its requests, for OSTs and longer than a moment */
	uint64_t recover_seen_ns; /* of a recovering one: when it was last seen re-claiming */
	/* Of a user session: mds_groups.c. */
	uint32_t *groups;
	uint32_t group_count;
	bool groups_known; /* the database has given a list once */
	bool groups_asked;
	bool groups_failed; /* the last time */
	bool groups_asking;
	uint64_t groups_asked_ns; /* env_now of the last answer */
	struct env_waitq groups_wake; /* of the answer */
};

/* NULL if there is none. */
struct mds_session *mds_session_find(struct mds *mds, uint64_t id);
_yields_ _check_ int mds_sessions_load(struct mds *mds);
void mds_sessions_free(struct mds *mds);
/* Closes the sessions whose clients did not come back since the start. */
_yields_ void mds_sessions_expire(struct mds *mds);
/* A fiber that does so when the recovery window ends. */
_check_ int mds_sessions_expire_start(struct mds *mds);
/* Is the user of a user session in the group? 1, 0, -NE_ACCES (nobody knows), -NE_NEED_GROUPS (after
 * mds_groups_learn it is known). */
int mds_groups_member(struct mds *mds, const struct mds_session *session, uint32_t gid);
/* Asks for the groups of a user session if what there is is old. */
_yields_ void mds_groups_learn(struct mds *mds, struct mds_session *session);
void mds_groups_clear(struct mds_session *session);
/* Forgets which directories are known to lie inside. */
void mds_inside_clear(struct mds_session *session);

/* ---- the operation ---- */

#define MDS_OP_INODES_MAX 8

/* An inode in an operation's cache. */
struct mds_inode {
	struct fid fid;
	bool present; /* loaded, or made by this operation */
	bool dirty; /* to be put */
	bool counted; /* the change is one that `change` counts */
	bool deleted; /* to be deleted */
	bool fresh; /* made by this operation */
	struct d_mds_inode d; /* d.target is a view into the record or the request */
};

/* Who asks, as decided by the session. */
struct mds_cred {
	uint32_t uid;
	uint32_t gid;
	bool groups_valid;
	bool squash_root_group;
	uint32_t group_count;
	const uint32_t *group_items; /* or NULL: in the view */
	struct wire_view groups;
	uint64_t caps;
};

#define MDS_CAP(bit) (UINT64_C(1) << (bit))
enum mds_cap_bit { /* as in linux/capability.h */
	MDS_CAP_CHOWN = 0,
	MDS_CAP_DAC_OVERRIDE = 1,
	MDS_CAP_DAC_READ_SEARCH = 2,
	MDS_CAP_FOWNER = 3,
	MDS_CAP_FSETID = 4,
	MDS_CAP_LINUX_IMMUTABLE = 9,
	MDS_CAP_SYS_ADMIN = 21,
	MDS_CAP_MKNOD = 27,
	MDS_CAP_SETFCAP = 31,
};

/* What is answered; which one is meant follows from the op. */
union mds_rep {
	struct w_mds_getattr_rep getattr;
	struct w_mds_lookup_rep lookup;
	struct w_mds_create_rep create;
	struct w_mds_open_rep open;
	struct w_mds_close_rep close;
	struct w_mds_size_rep size;
	struct w_mds_setattr_rep setattr;
	struct w_mds_unlink_rep unlink;
	struct w_mds_link_rep link;
	struct w_mds_rename_rep rename;
	struct w_mds_readdir_rep readdir;
	struct w_mds_readlink_rep readlink;
	struct w_mds_getxattr_rep getxattr;
	struct w_mds_setxattr_rep setxattr;
	struct w_mds_listxattr_rep listxattr;
	struct w_mds_statfs_rep statfs;
	struct w_mds_read_rep read;
	struct w_mds_write_rep write;
	struct w_mds_fallocate_rep fallocate;
	struct w_mds_instantiate_rep instantiate;
	struct w_mds_append_begin_rep append_begin;
	struct w_mds_sync_rep sync;
	struct w_mds_fid2path_rep fid2path;
	struct w_mds_layout_set_rep layout_set;
	struct w_mds_layout_get_rep layout_get;
	struct w_mds_reclaim_open_rep reclaim_open;
};

/* Set by execute, read by reply and by committed; cleared before each attempt. */
struct mds_outcome {
	struct mds_inode *inode; /* the reply's inode_info */
	struct mds_inode *parents[2]; /* the reply's change_info */
	struct mds_inode *replaced; /* by a rename */
	bool created;
	struct fid fid;
	uint64_t cookie;
	bool dir_moved; /* a directory changed its place */
	bool atime_due; /* of `fid`: for mds_atime_after */
	bool flag; /* the handler's own */
	uint64_t number; /* the handler's own */
	struct span bytes; /* the handler's own */
};

struct mds_op {
	struct list link; /* free list */
	struct mds *mds;
	struct mds_session *session; /* NULL for the service's own changes */
	const struct mds_handler *handler;
	const struct mds_request *request; /* NULL likewise */
	const void *req; /* the decoded body: struct w_..._req */
	struct mds_cred cred;
	int64_t now_ns; /* the MDT's time of this request */
	struct state_txn *txn; /* while executing */
	unsigned attempt; /* 0 at the first execute */
	bool need_fids; /* mds_fid_next found the reserve empty */
	bool need_data; /* the data side has something to wait for: mds_data_fetch, then another attempt */
	struct d_mds_globals globals;
	bool globals_loaded;
	bool globals_dirty;
	unsigned inode_count;
	struct mds_outcome res;
	uint64_t lsn; /* of the commit; 0: nothing was changed */
	uint8_t *large; /* handler->large_bytes, for long replies; mem_alloc */
	struct mds_work *work; /* what the data side does between attempts; outlives them */
	/* The data side's, per operation: what `committed` shall do to its tables; zeroed before each attempt. */
	struct {
		struct mds_inode *inode; /* whose data or opens change */
		uint64_t handle;
		uint32_t flags; /* of the open */
		bool open; /* it is to be entered */
		bool writes; /* as a writer of an instantiated file */
		bool shared; /* the file's size is known to OSTs only */
		bool moved; /* inline bytes went to objects */
		bool instantiated; /* whoever may write the file is a writer from now on */
		uint64_t intent_first; /* number of the first logged; 0 none */
		unsigned sizes_sent; /* SET_SIZE intents logged */
		struct mds_open *closing;
	} data;
	/* From here on not zeroed for a new request. */
	struct mds_inode inodes[MDS_OP_INODES_MAX];
	union mds_rep rep;
	struct w_attr attrs[3]; /* of change_info; of what a rename replaced */
	struct wire_view rep_view; /* of what execute has encoded already, in `large` */
	struct w_layout layout; /* of inode_info */
	uint32_t layout_osts[LIM_STRIPE_COUNT_MAX];
	uint8_t layout_present[LIM_STRIPE_COUNT_MAX / 8]; /* what op->layout points to */
	char layout_pool[LIM_POOL_NAME_MAX];
	uint8_t inline_data[LIM_INLINE_MAX];
	uint8_t scratch[LIM_KV_VALUE_MAX]; /* encoding of one record */
	uint8_t acl[LIM_ACL_BYTES_MAX]; /* of whom it was loaded last: mds_acl.c */
};

enum mds_handler_flags {
	/* Refused for read-only sessions... */
	MDS_H_CHANGE = 1,
	/* ...but not this one: it looks itself. */
	MDS_H_READ_ONLY_OK = 2,
};

#define MDS_NO_CRED (-1)

struct mds_handler {
	uint16_t op;
	uint16_t flags;
	enum state_kind kind;
	int cred_offset; /* of struct w_cred in the request; MDS_NO_CRED if it has none */
	uint32_t large_bytes; /* of op->large */
	_yields_ int (*prepare)(struct mds_op *op); /* may be NULL */
	int (*execute)(struct mds_op *op);
	void (*want)(struct mds_op *op); /* may be NULL; results of its reads are ignored */
	int (*reply)(struct mds_op *op); /* fills op->rep (zeroed); may be NULL */
	/* After the commit, before anybody else runs. Also for status < 0 (op->lsn 0): release what prepare took. */
	void (*committed)(struct mds_op *op, int status); /* may be NULL */
	_yields_ int (*after)(struct mds_op *op); /* may be NULL: waits, before the reply leaves */
};

/* NULL: there is none (any op number may be asked for). */
const struct mds_handler *mds_handler_find(struct mds *mds, uint16_t op);
/* Tables that mds_start enters; the op numbers do not overlap. */
extern const struct mds_handler mds_handlers_ns[];
extern const unsigned mds_handlers_ns_count;

/* The inode_info of a changing operation's reply (union mds_rep), NULL where it has none. */
struct w_inode_info *mds_rep_info(uint16_t op, void *rep);
/* Longest reply a slot record holds, and the bit in its `op` that says layout and data were left out. */
#define MDS_SLOT_BODY_MAX 1700
#define MDS_SLOT_STRIPPED 0x8000

/* An operation of the service itself (no session, no reply): zeroed. -NE_NOMEM. */
_check_ int mds_op_new(struct mds *mds, struct mds_op **ret_op);
void mds_op_free(struct mds_op *op); /* accepts NULL */
/* Runs execute as a transaction of its own: fetches, puts dirty inodes, commits, waits until written. */
typedef int mds_own_fn(struct mds_op *op, void *ctx);
_yields_ _check_ int mds_op_run_own(
	struct mds_op *op, enum state_kind kind, mds_own_fn *execute, void *ctx);

/* ---- state access, from execute (all: -NE_MISSING_KEY, -NE_CORRUPT besides what is said) ---- */

/* -NE_NOENT when absent. The view lives until the transaction ends. */
_check_ int mds_kv_get(struct mds_op *op, const struct mds_key *key, struct span *ret_value);
_check_ int mds_kv_put(struct mds_op *op, const struct mds_key *key, const void *val, size_t len);
_check_ int mds_kv_del(struct mds_op *op, const struct mds_key *key);
/* Encodes a record with its codec (&d_mds_xxx_codec) into the scratch and puts it. */
_check_ int mds_kv_put_record(struct mds_op *op, const struct mds_key *key,
	const struct wire_codec *codec, const void *rec);
/* Gets and decodes; -NE_NOENT when absent. Views in the record live until the transaction ends. */
_check_ int mds_kv_get_record(struct mds_op *op, const struct mds_key *key,
	const struct wire_codec *codec, void *ret_rec);
/* Keys >= from and < to, at most max records. fn: see state_range_fn. */
_check_ int mds_kv_range(struct mds_op *op, const struct mds_key *from, const struct mds_key *to,
	uint32_t max, state_range_fn *fn, void *ctx);
/* Notes that the key will be needed. */
void mds_kv_want(struct mds_op *op, const struct mds_key *key);

/* Pieces 0.. of a value; each piece but the last is full (MDS_PIECE_BYTES). */
#define MDS_PIECE_BYTES 1800
/* Symbolic links up to this stand in the inode (bytes); with the rest it fits one value. */
#define MDS_SYMLINK_INODE_MAX 1024
_check_ int mds_pieces_put(
	struct mds_op *op, struct fid fid, enum mds_key_part part, struct span value);
/* Reads exactly len bytes into buf. -NE_CORRUPT when the pieces hold anything else. */
_check_ int mds_pieces_get(
	struct mds_op *op, struct fid fid, enum mds_key_part part, void *buf, size_t len);
/* Deletes the pieces of a value of len bytes. */
_check_ int mds_pieces_del(struct mds_op *op, struct fid fid, enum mds_key_part part, size_t len);

/* ---- inodes: mds_inode.c ---- */

/* The operation's copy, loaded once: the same FID gives the same pointer. -NE_STALE when there is none. */
_check_ int mds_inode_get(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode);
/* As above, and it must be a directory: -NE_NOTDIR. */
_check_ int mds_dir_get(struct mds_op *op, struct fid fid, struct mds_inode **ret_dir);
/* A new one in the cache, to be filled; it is put at the end. Counts it in the globals. */
_check_ int mds_inode_new(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode);
/* Reads without caching; for walks over many. Not what this operation has changed. */
_check_ int mds_inode_peek(struct mds_op *op, struct fid fid, struct d_mds_inode *ret_inode);
void mds_inode_want(struct mds_op *op, struct fid fid);
/* Will be put at the end; `change` is counted, ctime is set to now. */
void mds_inode_changed(struct mds_op *op, struct mds_inode *inode);
/* Will be put at the end, nothing else (atime, internal states). */
void mds_inode_touched(struct mds_inode *inode);
/* The inode, its symlink pieces, xattrs and layout records go (inodes with layout records, directories with a
 * default too, have layout_gen != 0); inline data and size-open records are the data side's. */
_check_ int mds_inode_destroy(struct mds_op *op, struct mds_inode *inode);
/* Puts what is dirty: inodes, globals. Called by the machinery before reply. */
_check_ int mds_op_flush(struct mds_op *op);
_check_ int mds_globals_get(struct mds_op *op, struct d_mds_globals **ret_globals);
void mds_globals_dirty(struct mds_op *op);

void mds_attr_fill(const struct mds_inode *inode, struct w_attr *ret_attr);
/* attr, and by `want` (W_WANT_*) layout and data. Views into the operation. */
_check_ int mds_info_fill(
	struct mds_op *op, struct mds_inode *inode, uint32_t want, struct w_inode_info *ret_info);
/* From op->res.parents, in op->attrs. */
void mds_change_fill(struct mds_op *op, struct w_change_info *ret_change);

static inline bool mds_is_dir(const struct mds_inode *inode)
{
	return S_ISDIR(inode->d.mode);
}

/* ---- entries: mds_dirent.c ---- */

struct mds_dirent {
	uint64_t cookie;
	struct fid fid;
	uint32_t mode; /* type bits of st_mode */
};

/* -NE_INVAL for "", "." and "..", and names with '/' or NUL; -NE_NAMETOOLONG. */
_check_ int mds_name_check(struct wire_str name);
/* -NE_NOENT when there is no such entry. */
_check_ int mds_dirent_find(
	struct mds_op *op, struct fid parent, struct wire_str name, struct mds_dirent *ret_dirent);
/* Adds an entry and its link key; the name must not exist (-NE_EXIST). Does not touch inodes. */
_check_ int mds_dirent_add(struct mds_op *op, struct fid parent, struct wire_str name,
	struct fid child, uint32_t mode);
/* Removes an entry that mds_dirent_find found, and its link key. Does not touch inodes. */
_check_ int mds_dirent_remove(
	struct mds_op *op, struct fid parent, const struct mds_dirent *dirent);
/* Lets an existing entry name another inode; moves the link key. */
_check_ int mds_dirent_replace(struct mds_op *op, struct fid parent, struct wire_str name,
	const struct mds_dirent *dirent, struct fid child, uint32_t mode);
void mds_dirent_want(struct mds_op *op, struct fid parent, struct wire_str name);
/* Where a name's chain begins. */
uint64_t mds_cookie_home(struct hash_key key, unsigned hash_bits, struct wire_str name);
/* Cookies below are free for "." and ".." of adapters. */
#define MDS_COOKIE_MIN UINT64_C(0x1000)
#define MDS_COOKIE_MAX (UINT64_C(0x7fffffffffffffff) - UINT64_C(0x1000000))
/* Longest chain of colliding names with a full hash; -NE_NOSPC beyond. */
#define MDS_CHAIN_MAX 64
/* Bits in a dirent record's mode above the type: the chain goes on behind it; it is reached from before. */
#define MDS_DIRENT_CHAINED UINT32_C(0x80000000)
#define MDS_DIRENT_PRECEDED UINT32_C(0x40000000)

/* ---- permissions: mds_perm.c ---- */

enum mds_may {
	MDS_MAY_EXEC = 1,
	MDS_MAY_WRITE = 2,
	MDS_MAY_READ = 4,
};

/* Fixes op->cred by the session's rules (squash, user sessions). */
void mds_cred_set(struct mds_op *op, const struct w_cred *cred);
static inline bool mds_capable(const struct mds_op *op, enum mds_cap_bit cap)
{
	return (op->cred.caps & MDS_CAP(cap)) != 0;
}
static inline bool mds_is_owner(const struct mds_op *op, const struct mds_inode *inode)
{
	return op->cred.uid == inode->d.uid || mds_capable(op, MDS_CAP_FOWNER);
}
/* Mode bits and capabilities. may: enum mds_may or-ed. -NE_ACCES, -NE_NEED_GROUPS. */
_check_ int mds_perm_check(struct mds_op *op, const struct mds_inode *inode, unsigned may);
/* Is the caller in the group? 1, 0 or -NE_NEED_GROUPS. */
_check_ int mds_perm_in_group(struct mds_op *op, uint32_t gid);
/* May an entry be added to / removed from the directory (search, write, sticky)? -NE_ACCES, -NE_PERM. */
_check_ int mds_perm_add(struct mds_op *op, const struct mds_inode *dir);
_check_ int mds_perm_remove(
	struct mds_op *op, const struct mds_inode *dir, const struct mds_inode *victim);
/* -NE_ROFS for read-only sessions. */
_check_ int mds_perm_change(struct mds_op *op);
/* The mode without what a write or chown takes away: set-uid; set-gid where the group may execute. */
uint32_t mds_mode_kill_setid(uint32_t mode);
/* A change of data or owner takes away security.capability, whoever makes it. */
_check_ int mds_capability_kill(struct mds_op *op, struct mds_inode *inode);
/* The same, and set-gid also where the caller is not in the group. -NE_NEED_GROUPS. */
_check_ int mds_mode_kill(struct mds_op *op, const struct mds_inode *inode, uint32_t *ret_mode);

static inline bool mds_has(const struct mds_inode *inode, uint32_t state)
{
	return (inode->d.state & state) != 0;
}

/* ---- POSIX ACLs: mds_acl.c ---- */

enum mds_acl_kind {
	MDS_ACL_ACCESS,
	MDS_ACL_DEFAULT,
};

/* The answer of the ACL of an inode that has one, for somebody who is not its owner: 0, -NE_ACCES. */
_check_ int mds_acl_permits(struct mds_op *op, const struct mds_inode *inode, unsigned may);
/* A set ACL (value as the kernel's xattr; empty: none): checked, put, and the mode's bits follow. */
_check_ int mds_acl_set(struct mds_op *op, struct mds_inode *inode, enum mds_acl_kind kind,
	struct wire_bytes value);
/* The mode changed by chmod: the ACL follows. */
_check_ int mds_acl_chmod(struct mds_op *op, struct mds_inode *inode);
/* A new inode in a directory: *mode without what the umask or the default ACL forbids, ACLs inherited. */
_check_ int mds_acl_inherit(
	struct mds_op *op, const struct mds_inode *dir, uint32_t umask, struct mds_inode *inode);

/* ---- what other files need of xattrs: mds_xattr.c ---- */

/* The value's bytes, at most cap, into buf. -NE_NODATA, -NE_CORRUPT when it is longer. */
_check_ int mds_xattr_load(struct mds_op *op, const struct mds_inode *inode, struct wire_str name,
	void *buf, size_t cap, size_t *ret_len);
/* Puts or replaces. No permission is asked, the inode is not marked as changed but dirty. */
_check_ int mds_xattr_store(
	struct mds_op *op, struct mds_inode *inode, struct wire_str name, struct wire_bytes value);
/* Removes what may be there. */
_check_ int mds_xattr_drop(struct mds_op *op, struct mds_inode *inode, struct wire_str name);

/* ---- subdirectory sessions: mds_confine.c ---- */

/* Translates the well-known root to the session's root, checks that the FID lies within it, and loads the
 * inode. -NE_STALE when it is not there or outside. */
_check_ int mds_reach(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode);
_check_ int mds_reach_dir(struct mds_op *op, struct fid fid, struct mds_inode **ret_dir);
struct fid mds_fid_translate(const struct mds_op *op, struct fid fid);

/* ---- status: mds_status.c ---- */

struct rpc_request;
_check_ int mds_target_status(struct mds *mds, struct rpc_request *req);

/* ---- FIDs: mds_fid.c ---- */

_yields_ _check_ int mds_fids_start(struct mds *mds);
_yields_ void mds_fids_stop(struct mds *mds);
/* Next unused FID. -NE_MISSING_KEY with op->need_fids when the reserve is empty. */
_check_ int mds_fid_next(struct mds_op *op, struct fid *ret_fid);
/* True for an inode made since the last table was closed for a checkpoint: no record under its FID is in an older
 * table or in the checkpoint, so nothing of it has to be fetched. May say false for one that is. */
bool mds_fid_is_new(struct mds *mds, struct fid fid);
/* Waits until there is a reserve again. */
_yields_ _check_ int mds_fids_refill(struct mds *mds);

/* ---- time ---- */

/* The MDT's clock: never goes back while it runs. */
int64_t mds_now(struct mds *mds);

/* ---- pieces that several operations share ---- */

/* An inode lost its name in `dir` (the entry is removed already): link count, times; after the last one a
 * directory is destroyed and anything else left to the data side. */
_check_ int mds_inode_unlinked(
	struct mds_op *op, struct mds_inode *inode, const struct mds_inode *dir);
/* A directory's entries changed by `entries`, its subdirectories by `subdirs`; times. */
void mds_dir_changed(struct mds_op *op, struct mds_inode *dir, int entries, int subdirs);
/* Checks the name and search permission, then looks the entry up. */
_check_ int mds_dir_lookup(struct mds_op *op, struct mds_inode *dir, struct wire_str name,
	struct mds_dirent *ret_dirent);
/* Is reading going to move the access time (relatime)? */
bool mds_atime_due(const struct mds_op *op, const struct mds_inode *inode);
/* For handler->after: moves op->res.fid's access time if op->res.atime_due. */
_yields_ _check_ int mds_atime_after(struct mds_op *op);
/* The inode and the reply's inode_info alone: what several replies are made of. */
_check_ int mds_rep_inode_info(struct mds_op *op, uint32_t want, struct w_inode_info *ret_info);
/* Handlers, one table entry each, in mds_ops.c. */
int mds_getattr_execute(struct mds_op *op);
int mds_getattr_reply(struct mds_op *op);
int mds_lookup_execute(struct mds_op *op);
int mds_lookup_reply(struct mds_op *op);
int mds_create_execute(struct mds_op *op);
int mds_create_reply(struct mds_op *op);
int mds_setattr_execute(struct mds_op *op);
int mds_setattr_reply(struct mds_op *op);
int mds_unlink_execute(struct mds_op *op);
int mds_unlink_reply(struct mds_op *op);
int mds_link_execute(struct mds_op *op);
int mds_link_reply(struct mds_op *op);
int mds_rename_execute(struct mds_op *op);
int mds_rename_reply(struct mds_op *op);
int mds_readdir_execute(struct mds_op *op);
int mds_readdir_reply(struct mds_op *op);
int mds_readlink_execute(struct mds_op *op);
int mds_readlink_reply(struct mds_op *op);
int mds_getxattr_execute(struct mds_op *op);
int mds_getxattr_reply(struct mds_op *op);
int mds_setxattr_execute(struct mds_op *op);
int mds_setxattr_reply(struct mds_op *op);
int mds_listxattr_execute(struct mds_op *op);
int mds_listxattr_reply(struct mds_op *op);
int mds_fid2path_execute(struct mds_op *op);
int mds_fid2path_reply(struct mds_op *op);

/* ---- hooks of the data side (mds_layout.c, mds_open.c ...), all from execute unless marked ---- */

extern const struct mds_handler mds_handlers_data[];
extern const unsigned mds_handlers_data_count;
/* Makes mds->data, reads opens of orphans, sizes, intents; starts its fibers. After recovery of the state. */
_yields_ _check_ int mds_data_start(struct mds *mds);
_yields_ void mds_data_stop(struct mds *mds); /* also half-started */
/* The session goes: its opens are closed (orphans, sizes). */
_yields_ void mds_data_session_close(struct mds *mds, struct mds_session *session);
/* A regular file or directory was made (op->req, a struct w_mds_create_req, has the wanted layout): inherit or choose layouts. */
_check_ int mds_data_created(struct mds_op *op, struct mds_inode *parent, struct mds_inode *inode);
/* Opens: checks permission for `flags` (skipped for a file this request made), O_TRUNC, notes size-open. */
_check_ int mds_open_execute(
	struct mds_op *op, struct mds_inode *inode, uint32_t flags, uint64_t handle);
/* The last name is gone (nlink 0): destroys it (mds_inode_destroy and its own) or, if somebody has it open, makes an
 * orphan of it. */
_check_ int mds_data_unlinked(struct mds_op *op, struct mds_inode *inode);
/* An inode without a name that nobody had before (O_TMPFILE) becomes the session's orphan. */
_check_ int mds_data_nameless(struct mds_op *op, struct mds_inode *inode);
/* An orphan is given a name. */
_check_ int mds_data_named(struct mds_op *op, struct mds_inode *inode);
/* Truncate or grow; permission was checked. */
_check_ int mds_data_size_set(struct mds_op *op, struct mds_inode *inode, uint64_t size);
/* Does this session's open permit a truncate without asking the mode bits? */
bool mds_data_open_writes(const struct mds_session *session, struct fid fid, uint64_t handle);
/* Is it open by this session (so it may be reached without a name)? */
bool mds_data_is_open(const struct mds_session *session, struct fid fid);
/* uid, gid or projid changed: accounting at the OSTs. */
_check_ int mds_data_owner_changed(struct mds_op *op, struct mds_inode *inode);
/* Fills layouts and data of an info for `want`; memory: op->layout, op->layout_osts, op->inline_data. */
_check_ int mds_data_info(
	struct mds_op *op, struct mds_inode *inode, uint32_t want, struct w_inode_info *info);
/* After the commit of any namespace request (create with open, unlink, rename, setattr). */
void mds_data_committed(struct mds_op *op, int status);
/* Execute answered -NE_MISSING_KEY with op->need_data: does what it asked for (OSTs, another operation's end). */
_yields_ _check_ int mds_data_fetch(struct mds_op *op);
/* Execute has sent sizes to OSTs: the reply, as it is logged, says SETTLING. After the commit: the OSTs have answered and
 * the reply says so, or they are late and it stays as it is. */
void mds_settling_mark(struct mds_op *op);
_yields_ _check_ int mds_settling_after(struct mds_op *op);
/* -NE_MISSING_KEY with a request to wait while the file's data is being changed in several steps; 0 when it is not. */
_check_ int mds_file_settled(struct mds_op *op, struct fid fid);
/* The operation ends: what its work holds is let go. */
void mds_data_op_end(struct mds_op *op);
/* A request of the session begins (not a re-claim): it has nothing left to recover. */
void mds_data_session_active(struct mds *mds, struct mds_session *session);

#endif
