/*
 * What the data side of the MDT shares: files in use, opens, work between attempts, OSTs, intents.
 *
 * The state says what a file is; this says who uses it now. A `struct mds_file` exists while a file is open, being
 * worked on, or has size intents on the way. Its `owner` is the one operation that changes data in several
 * steps (truncate, move to objects); others wait for it between their attempts (mds_data_fetch).
 *
 * Invariants
 * - A regular file is INLINE (all data here) or INSTANTIATED (objects may exist), never both.
 * - SIZE_OPEN in the inode if and only if there is a size-open record. While it stands, OSTs know the size.
 * - A client learns of an INSTANTIATED layout it may write to only when that is durable (mds_layout_durable); else a
 *   power failure would leave objects that nobody knows.
 * - Whatever may exist on an OST and is not in an INSTANTIATED layout is named by an intent (RULES A7, B7).
 * - Memory that `committed` needs is reserved by execute (mds_files_reserve): nothing can fail after a commit.
 *
 * Recovery window. It is open from the start until every session known from before has come back and re-claimed
 * its opens, was closed, or the time is over. Within it a file counts as open by somebody, and no object is
 * destroyed (RULES C10). Truncates are sent all the same: with no replay of lost requests (RULES A4 is not in force)
 * nothing that comes back later can precede them, and their intents are durable.
 */
#ifndef NACRE_MDS_MDS_DATA_H
#define NACRE_MDS_MDS_DATA_H

#include "base/prng.h"
#include "layout/layout.h"
#include "mds/mds_int.h"
#include "rpc/rpc.h"

#define MDS_LOG "mds"

/* ---- bounds ---- */

/* Opens of one session: as fs.nr_open of a big host. */
#define MDS_OPENS_MAX (1u << 20)
/* Intents of one OST held in memory; what is behind them stays in the state. */
#define MDS_INTENTS_QUEUE_MAX 256
/* Intents sent to one OST at a time. */
#define MDS_INTENTS_BATCH 8
/* OSTs served by intents at a time, a fiber each. */
#define MDS_INTENT_FIBERS_MAX 32
/* Moves of inline data to objects at a time. */
#define MDS_HELD_MAX 256
/* Records read in one transaction by scans. */
#define MDS_SCAN_BATCH 64
/* Files whose sizes are asked for in the background at a time, a fiber each. */
#define MDS_SIZERS_MAX 4
/* Calls to OSTs that one fiber has on the way. */
#define MDS_OST_CALLS_MAX 16
/* Objects in one ost_getattr. */
#define MDS_GETATTR_MAX 64
/* OST list that stands in the layout's first record; longer ones are in pieces of this many. */
#define MDS_LAYOUT_OSTS_INLINE 350
#define MDS_LAYOUT_OSTS_PIECE 450
/* An OST with less than this takes no new objects, bytes. */
#define MDS_OST_AVAIL_MIN (1 * MIB)

/* ---- files in use ---- */

struct mds_open {
	struct list link; /* session->opens */
	struct list file_link; /* file->opens */
	struct hmap_node node; /* data->opens */
	struct mds_data *data;
	struct mds_session *session;
	struct mds_file *file;
	uint64_t handle;
	uint32_t flags; /* W_OPEN_FLAGS_* */
	bool writes; /* counted as a writer of an instantiated file */
};

struct mds_file {
	struct hmap_node node; /* data->files */
	struct fid fid;
	unsigned refs; /* opens, owner, users for a moment */
	struct list opens;
	unsigned open_count;
	unsigned writers; /* opens with `writes` */
	/* The epoch of an open size: from the first writer until the size is in the inode again. */
	bool shared; /* several writers, a truncate, or a writer that told nothing: only OSTs know */
	uint64_t epoch; /* counts everything that may change the size at OSTs */
	struct mds_work *owner;
	unsigned intents_left; /* SET_SIZE not yet answered */
	struct env_waitq wake; /* owner, intents_left or token changed */
	bool late; /* it took longer than a moment: requests are parked at once until it moves */
	struct rpc_parking parked; /* requests that wait for owner or intents_left */
	struct rpc_parking token_parked;
	/* background sizing */
	struct list size_link; /* data->sizes */
	bool sizing;
	/* append token (RULES C9) */
	uint64_t token; /* 0: free */
	struct mds_session *token_session; /* NULL: being fenced */
	uint64_t token_handle;
};

/* ---- work between attempts ---- */

enum mds_work_kind {
	MDS_WORK_NONE = 0,
	MDS_WORK_WAIT, /* until the file is settled: nobody owns it, no size is on its way to OSTs */
	MDS_WORK_WAIT_OWNER, /* until nobody owns it */
	MDS_WORK_DURABLE, /* until `lsn` is durable */
	MDS_WORK_MOVE, /* inline bytes to objects */
};

/* Bytes on their way from the MDT to an object. */
struct mds_move {
	bool parkable; /* set before the plan: the request need not wait here */
	struct mds_ost *
		late; /* planned for an OST that does not answer, and there is no other: nothing was logged */
	bool done; /* written and durable at the OST; the layout is not switched */
	uint64_t intent; /* destroys the object if the switch does not happen; 0 none */
	uint64_t data_version; /* of the inode when the bytes were read */
	struct fid data_fid;
	uint32_t layout_gen;
	uint16_t ost_count;
	bool explicit_osts;
	uint32_t uid, gid, projid;
	uint32_t len;
	int64_t mtime; /* of the object */
	uint64_t blocks;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
	uint8_t bytes[LIM_INLINE_MAX];
};

struct mds_work {
	enum mds_work_kind wanted; /* by the last attempt */
	struct fid fid;
	struct mds_file *file; /* owned; holds a reference */
	uint64_t size; /* of an append: where it goes */
	uint64_t token; /* of an append */
	uint64_t lsn; /* for DURABLE */
	struct mds_move *move;
};

/* ---- OSTs ---- */

struct mds_ost {
	uint32_t index;
	char name[LIM_TARGET_NAME_MAX + 1];
	uint32_t map_state; /* W_TARGET_STATE_* of the map */
	struct mds *mds;
	struct rpc_session *session; /* NULL without an ost_client */
	struct fiber *event_fiber; /* makes a call while the session connects */
	struct env_waitq event_over;
	bool answers; /* the last poll was answered */
	bool late; /* it did not answer in time since */
	struct rpc_parking parked; /* requests that wait until it answers */
	uint32_t own_state; /* as the OST says */
	uint64_t bytes_avail;
	uint64_t avoid_until_ns; /* it was full or silent a moment ago */
	/* intents */
	uint32_t absent_done; /* of data->absent: those it refuses, or who are back */
	struct list queue;
	unsigned queued;
	bool behind; /* there are more in the state, from here on */
	uint64_t behind_from;
	bool serving; /* a fiber is at it */
	/* it did not answer: nothing is sent before */
	uint64_t backoff_ns;
	uint64_t not_before_ns;
	uint64_t ready_ns; /* all that is queued waits for refused intents until then */
};

struct mds_pool {
	char name[LIM_POOL_NAME_MAX + 1];
	uint32_t count;
	uint32_t *osts; /* ascending */
};

struct mds_intent {
	struct hmap_node node; /* data->intents.loaded */
	struct list link; /* ost->queue */
	uint64_t number;
	uint64_t lsn; /* of its record */
	struct d_mds_intent d;
	bool done;
	int error; /* of the last try */
	/* the OST refused it: this object's are not sent before */
	struct hmap_node failed_node; /* data->intents.failed while backoff_ns > 0 */
	uint64_t backoff_ns;
	uint64_t not_before_ns;
};

struct mds_intents {
	struct hmap loaded; /* by number */
	struct hmap failed; /* those of `loaded` that an OST refused, by object */
	uint64_t fresh_from; /* records from here on were not looked at; UINT64_MAX none */
	bool scanning; /* records are being read */
	uint64_t later_from; /* from here on some wait for the window's end or a newer map */
	uint64_t held
		[MDS_HELD_MAX]; /* numbers that must not be executed: an operation may still delete them */
	unsigned held_count;
	unsigned fibers;
	struct env_waitq wake;
};

/* A client that the recovery window waited for in vain. */
struct mds_absent {
	struct uuid client;
	uint32_t key_id;
	uint32_t incarnation;
	bool back; /* later than that */
};

/* What all objects of a file say. */
struct mds_sizes {
	uint64_t size;
	uint64_t blocks;
	int64_t mtime;
	uint8_t present[LIM_STRIPE_COUNT_MAX / 8];
	struct mds_ost *late; /* one that did not answer in time */
};

struct mds_data {
	struct mds *mds;
	bool stopping;
	struct prng prng; /* of placement */
	/* own fibers */
	struct list fibers; /* struct mds_fiber */
	unsigned fiber_count;
	struct env_waitq fibers_gone;
	struct env_waitq stop_wake;
	/* files */
	struct hmap files;
	struct hmap opens;
	struct list files_spare;
	struct list opens_spare; /* by `link` */
	/* recovery */
	bool window; /* open */
	uint64_t window_end_ns;
	struct env_waitq window_wake;
	struct rpc_parking window_parked; /* requests that wait until it is closed */
	struct mds_absent *absent; /* absent_count of them */
	uint32_t absent_count;
	unsigned waits; /* requests that wait for OSTs longer than a moment */
	/* cluster */
	struct mds_ost *osts[LIM_OST_MAX]; /* by index */
	uint32_t ost_count; /* known */
	struct mds_pool *pools;
	uint32_t pool_count;
	struct layout_ost places[LIM_OST_MAX]; /* made for each placement */
	uint64_t poll_due_ns;
	uint64_t poll_last_ns;
	bool poll_stale; /* objects went since the last look began */
	struct env_waitq poll_wake;
	/* sizes */
	struct list sizes; /* mds_file.size_link */
	unsigned sizers;
	struct env_waitq sizes_wake;
	struct mds_intents intents;
	uint64_t token_last;
};

/* ---- mds_data.c ---- */

struct mds_fiber {
	struct list link;
	struct fiber *fiber;
	struct mds_data *data;
	void (*fn)(struct mds_data *data, void *arg);
	void *arg;
};

/* A fiber of the data side's own; interrupted and waited for at the stop. */
_check_ int mds_data_spawn(struct mds_data *data, const char *name,
	void (*fn)(struct mds_data *data, void *arg), void *arg);
/* Waits in q until the deadline or the stop. */
_yields_ void mds_data_pause(struct mds_data *data, struct env_waitq *q, uint64_t deadline_ns);
/* A SET_SIZE of the file was answered. */
void mds_file_sized(struct mds_data *data, struct fid fid);
/* Memory for one open (and the file) that committed takes. */
_check_ int mds_files_reserve(struct mds_data *data);
struct mds_file *mds_file_find(struct mds_data *data, struct fid fid);
/* Found or made from the reserve, with a reference. */
struct mds_file *mds_file_ref(struct mds_data *data, struct fid fid);
void mds_file_unref(struct mds_data *data, struct mds_file *file);
/* Asks for work between attempts: sets op->need_data, answers -NE_MISSING_KEY (or -NE_NOMEM). */
_check_ int mds_work_want(struct mds_op *op, enum mds_work_kind kind, struct fid fid);
/* Gives the file back. */
void mds_work_release(struct mds_data *data, struct mds_work *work);
/* Runs a transaction with something to do at its commit, before anybody else runs. */
_yields_ _check_ int mds_data_run(struct mds *mds, enum state_kind kind, mds_own_fn *execute,
	void (*committed)(struct mds_op *op, int status), void *ctx, uint64_t *ret_lsn);
/* The ctx of the running mds_data_run, for committed. */
void *mds_data_run_ctx(const struct mds_op *op);

/* ---- mds_wait.c ---- */

/* Can the request be parked, so that it must not wait here? */
bool mds_parkable(const struct mds_op *op);
/* Of a parkable one that has changed nothing: what it then answers. */
_check_ int mds_park(struct mds_op *op, struct rpc_parking *lot);
typedef bool mds_file_over_fn(const struct mds_file *file);
bool mds_file_free(const struct mds_file *file); /* settled */
bool mds_file_unowned(const struct mds_file *file);
/* Waits (the caller holds a reference) until `over` is true, or parks the request. Interruptible. */
_yields_ _check_ int mds_file_wait(
	struct mds_op *op, struct mds_file *file, mds_file_over_fn *over);
/* Its owner has gone, or the last size was answered: those who wait look again. */
void mds_file_moved(struct mds_data *data, struct mds_file *file);
/* Its token is free. */
void mds_file_token_wake(struct mds_data *data, struct mds_file *file);
/* Is it known not to answer? NULL is not: the map may bring it. */
bool mds_ost_is_late(const struct mds_ost *ost);
/* It did not answer in time; accepts NULL. It answered a poll. It served a request. */
void mds_ost_late(struct mds_data *data, struct mds_ost *ost);
void mds_ost_in_time(struct mds_data *data, struct mds_ost *ost);
void mds_ost_served(struct mds_ost *ost);
/* Deadline of a call to an OST that a request makes (0: none), and whether it is one of those that may take long. */
uint64_t mds_wait_begin(struct mds_op *op, bool *ret_long);
void mds_wait_end(struct mds_op *op, bool was_long);

/* ---- mds_recovery.c ---- */

_check_ int mds_window_start(struct mds_data *data);
/* A session has nothing more to re-claim. */
void mds_window_session_done(struct mds_data *data, struct mds_session *session);
/* It is closed: nobody waits for it any more. */
void mds_window_session_closed(struct mds_data *data, struct mds_session *session);

/* ---- mds_layout.c ---- */

/* The inode's layout in op->layout and op->layout_osts. -NE_NODATA: it has none. */
_check_ int mds_layout_load(struct mds_op *op, const struct mds_inode *inode);
/* Puts op->layout (osts.items may be op->layout_osts) as the inode's; `had` OSTs were in the record before. */
_check_ int mds_layout_store(struct mds_op *op, struct mds_inode *inode, uint32_t had);
/* What is wanted, checked and completed with the file system's defaults, into op->layout: -NE_INVAL, -NE_NOPOOL. */
_check_ int mds_layout_wanted(struct mds_op *op, const struct w_layout *wanted);
/* The file system's default, into op->layout. */
void mds_layout_default(struct mds_op *op);
/* op->layout says what is wanted: OSTs and data FID for a new file. */
_check_ int mds_layout_file_init(struct mds_op *op, struct mds_inode *inode, bool strict);
/* Waits (between attempts) until the layout's last change is durable. */
_check_ int mds_layout_durable(struct mds_op *op, const struct mds_inode *inode);
struct layout_geom mds_layout_geom(const struct w_layout *layout);

/* ---- mds_placement.c ---- */

/* Chooses OSTs for a layout that says what is wanted, into op->layout_osts. strict: fail rather than ignore a
 * pool, first OST or list that cannot be had. -NE_NOSPC: no OST can take objects. */
_check_ int mds_placement_choose(struct mds_op *op, struct w_layout *layout, bool strict);
/* Of a layout with OSTs: can all of them take new objects? */
bool mds_placement_usable(const struct mds_data *data, const struct w_layout *layout);
_check_ int mds_placement_pool(
	const struct mds_data *data, struct wire_str name, const struct mds_pool **ret_pool);

/* ---- mds_ost.c ---- */

_check_ int mds_osts_start(struct mds_data *data);
_yields_ void mds_osts_stop(struct mds_data *data);
/* NULL: unknown. */
struct mds_ost *mds_ost_find(const struct mds_data *data, uint32_t index);
bool mds_ost_usable(const struct mds_data *data, const struct mds_ost *ost);
/* Is free space known of late? If not it is asked for now, and the caller has its caller try again. */
bool mds_osts_fresh(struct mds_data *data);
/* Placement happens: free space is soon asked for again. */
void mds_osts_active(struct mds_data *data);
/* -NE_RETRY: the OST is not known yet. Interruptible. */
_yields_ _check_ int mds_ost_call(struct mds_ost *ost, struct rpc_call *call);

/* What is needed to find all objects of a file, without a transaction. */
struct mds_objects {
	struct fid file_fid;
	struct fid data_fid;
	uint32_t layout_gen;
	struct layout_geom geom;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
};

/* Asks every object. Interruptible; waits for OSTs that are down. -NE_TIMEDOUT: ret_sizes->late. */
_yields_ _check_ int mds_ost_sizes(struct mds_data *data, const struct mds_objects *objects,
	uint64_t deadline_ns, struct mds_sizes *ret_sizes);
void mds_objects_fill(
	const struct mds_op *op, const struct mds_inode *inode, struct mds_objects *ret_objects);

/* ---- mds_absent.c ---- */

/* The window is over: whoever is still waited for is absent. -NE_NOMEM. */
_check_ int mds_absent_note(struct mds_data *data);
/* The client is here again, and what it had on its way to OSTs has arrived or never will. */
void mds_absent_back(struct mds_data *data, const struct mds_session *session);
/* The objects' OSTs refuse absent clients when this has succeeded. deadline_ns 0: a while. *ret_late is set on failure:
 * the OST that did not answer in time, or NULL. */
_yields_ _check_ int mds_absent_fence(struct mds_data *data, const struct mds_objects *objects,
	uint64_t deadline_ns, struct mds_ost **ret_late);
/* One client at one OST (NULL: -NE_NOTARGET). */
_yields_ _check_ int mds_absent_fence_one(
	struct mds_ost *ost, const struct mds_absent *who, uint64_t deadline_ns);

/* ---- mds_open.c ---- */

struct mds_open *mds_open_find(
	struct mds_data *data, const struct mds_session *session, struct fid fid, uint64_t handle);
/* Does this operation's session have it open so? -NE_BADF. */
_check_ int mds_open_need(struct mds_op *op, struct fid fid, uint64_t handle, uint32_t flag,
	struct mds_open **ret_open);
/* May anybody but `except` (may be NULL) have it open? True for all within the recovery window. */
bool mds_file_others(struct mds_data *data, struct fid fid, const struct mds_open *except);
int mds_open_request_execute(struct mds_op *op);
int mds_open_request_reply(struct mds_op *op);
int mds_reclaim_execute(struct mds_op *op);
int mds_reclaim_reply(struct mds_op *op);
void mds_reclaim_committed(struct mds_op *op, int status);
/* Enters the open that execute prepared. */
void mds_open_committed(struct mds_op *op);
/* Takes it out of all tables and frees it. */
void mds_open_drop(struct mds_data *data, struct mds_open *open);
/* All handles that may write a file which is being instantiated become writers: the record, then the tables. */
_check_ int mds_open_writers_log(struct mds_op *op, struct mds_inode *inode);
void mds_open_writers_committed(struct mds_data *data, struct fid fid);

/* ---- mds_close.c ---- */

int mds_close_execute(struct mds_op *op);
int mds_close_reply(struct mds_op *op);
void mds_close_committed(struct mds_op *op, int status);

/* ---- mds_size.c ---- */

/* Notes that the session writes the (instantiated) file: state, record. */
_check_ int mds_size_open(struct mds_op *op, struct mds_inode *inode, uint64_t session);
/* Ends it: SIZE_OPEN and the record go. */
_check_ int mds_size_closed(struct mds_op *op, struct mds_inode *inode);
/* The session wrote and has it no more. */
_check_ int mds_size_session_gone(struct mds_op *op, struct fid fid, uint64_t session);
_check_ int mds_size_report_apply(
	struct mds_op *op, struct mds_inode *inode, const struct w_size_report *report);
int mds_size_execute(struct mds_op *op);
int mds_size_reply(struct mds_op *op);
_yields_ int mds_size_after(struct mds_op *op);
/* Has the OSTs asked and the size closed, if no writer comes. */
void mds_size_queue(struct mds_data *data, struct mds_file *file);
/* Bits of stripes that have objects, added to op->layout (loaded, the inode's) and stored if they are new. */
_check_ int mds_size_present_add(struct mds_op *op, struct mds_inode *inode, struct span bits);
/* What objects say of size and time, into the inode. */
void mds_size_set(
	struct mds_op *op, struct mds_inode *inode, uint64_t size, uint64_t blocks, int64_t mtime);

/* ---- mds_inline.c ---- */

int mds_read_execute(struct mds_op *op);
int mds_read_reply(struct mds_op *op);
int mds_write_execute(struct mds_op *op);
int mds_write_reply(struct mds_op *op);
_yields_ int mds_write_after(struct mds_op *op);
/* Sets the size of inline data; size <= LIM_INLINE_MAX. */
_check_ int mds_inline_size_set(struct mds_op *op, struct mds_inode *inode, uint64_t size);
/* Inline bytes from..to (to <= the size) become zeros. */
_check_ int mds_inline_zero(
	struct mds_op *op, const struct mds_inode *inode, uint64_t from, uint64_t to);
/* The inode of a file with inline data that this session has open for writing. -NE_LAYOUT_CHANGED: not inline. */
_check_ int mds_inline_writable(
	struct mds_op *op, struct fid fid, uint64_t handle, struct mds_inode **ret_inode);
/* Data changed now: times, version, blocks of inline data. */
void mds_inode_data_changed(struct mds_op *op, struct mds_inode *inode);

/* ---- mds_fallocate.c ---- */

int mds_fallocate_execute(struct mds_op *op);
int mds_fallocate_reply(struct mds_op *op);
_yields_ int mds_fallocate_after(struct mds_op *op);

/* ---- mds_inline_move.c ---- */

int mds_instantiate_execute(struct mds_op *op);
int mds_instantiate_reply(struct mds_op *op);
_yields_ int mds_instantiate_after(struct mds_op *op);
/* An empty inline file gets objects. Loads its layout into op->layout. */
_check_ int mds_instantiate_empty(struct mds_op *op, struct mds_inode *inode);
/* The layout names the objects that hold the bytes, inline data and the intent go. */
_check_ int mds_move_switch(struct mds_op *op, struct mds_inode *inode, struct mds_move *move);
/* Writes the inline bytes of the file (owned by op->work) to an object. 0 with work->move NULL: nothing to move. */
_yields_ _check_ int mds_move_run(struct mds_op *op);
/* Gives up what was not switched. */
void mds_move_drop(struct mds_data *data, struct mds_work *work);
/* After the switch's commit. */
void mds_move_switched(struct mds_data *data, struct mds_work *work);

/* ---- mds_truncate.c ---- */

/* O_TRUNC, with `open` the only open that may exist. */
_check_ int mds_truncate_open(struct mds_op *op, struct mds_inode *inode);

/* ---- mds_intent.c ---- */

_yields_ _check_ int mds_intents_start(struct mds_data *data);
void mds_intents_stop(struct mds_data *data);
/* Logs one; its number goes to *ret_number (may be NULL). */
_check_ int mds_intent_log(
	struct mds_op *op, const struct d_mds_intent *intent, uint64_t *ret_number);
/* Logs the destruction of all objects of op->layout, which is the inode's. */
_check_ int mds_intents_destroy(struct mds_op *op, const struct mds_inode *inode);
/* After a commit with intents: they are looked at. */
void mds_intents_fresh(struct mds_data *data, uint64_t first);
/* Holds back / lets go a number. Holdable: there is room for one more. */
void mds_intent_hold(struct mds_data *data, uint64_t number);
void mds_intent_unhold(struct mds_data *data, uint64_t number, bool execute);
bool mds_intent_holdable(const struct mds_data *data);
/* The window closed or the map changed: what waited for that is looked at. */
void mds_intents_retry(struct mds_data *data);

/* ---- mds_orphan.c ---- */

/* Records and data of a file without names go. */
_check_ int mds_orphan_destroy(struct mds_op *op, struct mds_inode *inode);
/* Had the request's session it open when its last name went? */
_check_ int mds_orphan_allows(struct mds_op *op, const struct mds_inode *inode, bool *ret_allows);
/* After the window: what nobody has open is destroyed. */
_yields_ void mds_orphans_sweep(struct mds_data *data);

/* ---- mds_append.c ---- */

_yields_ int mds_append_begin_prepare(struct mds_op *op);
int mds_append_begin_execute(struct mds_op *op);
int mds_append_begin_reply(struct mds_op *op);
int mds_append_end_execute(struct mds_op *op);
/* The open goes: its token does too; fence: its client may still be writing. */
void mds_append_open_gone(struct mds_data *data, struct mds_open *open, bool fence);

/* ---- layouts' requests: mds_layout_set.c ---- */

int mds_layout_set_execute(struct mds_op *op);
int mds_layout_set_reply(struct mds_op *op);
int mds_layout_get_execute(struct mds_op *op);
int mds_layout_get_reply(struct mds_op *op);

static inline bool mds_instantiated(const struct mds_inode *inode)
{
	return (inode->d.state & W_ATTR_STATE_INSTANTIATED) != 0;
}

static inline bool mds_size_is_open(const struct mds_inode *inode)
{
	return (inode->d.state & W_ATTR_STATE_SIZE_OPEN) != 0;
}

#endif
