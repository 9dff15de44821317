/*
 * The inside of src/fuse, shared by its files. Everything belongs to the session's reactor.
 *
 * A request's life: a transport (fuse_dev.c, fuse_uring.c) fills a fuse_req and hands it to fuse_req_start. A fiber
 * parses and serves it (fuse_req.c, fuse_ops*.c) and answers through the transport it came by. Interrupts find it by its
 * number (fuse_intr.c).
 */
#ifndef NACRE_FUSE_FUSE_INT_H
#define NACRE_FUSE_FUSE_INT_H

#include <stdalign.h>

#include "base/bufpool.h"
#include "base/hmap.h"
#include "base/idr.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/metric.h"
#include "env/posix/posix.h"
#include "env/trace.h"
#include "fuse/fuse.h"
#include "fuse/fuse_init.h"
#include "fuse/fuse_parse.h"

/* Fibers that serve requests at a time; the reactor's other fibers are the client's own. */
#define FUSE_FIBERS_MAX 640
/* Requests waiting for a fiber. They are read and kept, because interrupts stand behind them in the channel. */
#define FUSE_QUEUE_MAX 16384
/* Requests up to this size (all but WRITE and rare SETXATTR, SYMLINK) lie in the fuse_req itself, bytes. */
#define FUSE_IN_INLINE 640
/* What is read in front of the payload, so that a WRITE's data begins at a page: header and structure, bytes. */
#define FUSE_IN_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_io_in))
/* WRITEs up to this are copied to a small buffer, which is cheaper than to give a big one away, bytes. */
#define FUSE_COPY_MAX (16 * KIB)
/* All buffers of a session and how much of it is kept when idle, bytes. */
#define FUSE_POOL_BYTES (192 * MIB)
#define FUSE_POOL_KEEP (32 * MIB)
/* fuse_req records kept for re-use. */
#define FUSE_REQS_KEEP 64
#define FUSE_HANDLES_MAX (UINT32_C(1) << 20)
/* Removed inodes whose last attributes are kept for who still holds them (about 200 bytes each). */
#define FUSE_GRAVES_MAX 65536
/* The longest argument of an ioctl that is answered: struct fsxattr, rounded up. */
#define FUSE_IOCTL_BYTES 32

struct fuse_ioctl_answer {
	struct fuse_ioctl_out head;
	uint8_t bytes[FUSE_IOCTL_BYTES];
};

enum fuse_req_state {
	FUSE_REQ_QUEUED, /* for a fiber */
	FUSE_REQ_SERVED,
};

struct fuse_ent; /* an entry of a ring: fuse_uring.c */

struct fuse_req {
	struct fuse_session *s;
	struct fuse_ent *ent; /* NULL: came by /dev/fuse */
	struct fiber *fiber; /* while served */
	enum fuse_req_state state;
	uint64_t unique;
	struct hmap_node node; /* s->by_unique */
	struct list link; /* s->queue, or s->idle */
	struct list intr_link; /* s->interrupted */
	uint64_t intr_since_ns; /* when its INTERRUPT came */
	uint64_t begin_ns; /* of a ring request: when its service began */
	uint64_t start_ns; /* when it was read */
	struct trace_span span; /* filled once a fiber serves it */
	bool traced;
	struct fuse_raw raw;
	struct fuse_msg msg;
	void *in_buf; /* of the pool: what does not fit `in` */
	void *out_buf; /* of the pool */
	const void *ret_data; /* the answer behind its header */
	size_t ret_len;
	int ret_errno; /* errno that has no code of ours, with an error */
	union {
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_statx_out statx;
		struct fuse_open_out open;
		struct fuse_create_out create;
		struct fuse_write_out write;
		struct fuse_lseek_out lseek;
		struct fuse_copy_file_range_out copied;
		struct fuse_statfs_out statfs;
		struct fuse_getxattr_out getxattr;
		struct fuse_ioctl_answer ioctl;
	} out;
	alignas(8) uint8_t in[FUSE_IN_INLINE];
};

/* An open file or directory. */
struct fuse_handle {
	struct client_file *file;
	struct client_file
		*other; /* the same file with O_APPEND turned the other way, if ever needed */
	struct env_mutex other_lock;
	int flags; /* O_* of `file` */
	uint64_t nodeid;
};

#define FUSE_INTR_EARLY 64

struct fuse_uring;

struct fuse_session {
	struct env *env;
	struct client *client;
	int fd;
	struct posix_watch watch;
	bool reading; /* the reader's fiber runs */
	bool uring_wanted;
	bool ready;
	bool ended; /* the channel is gone */
	bool poked; /* fuse_session_poke */
	bool stopping;
	int init_rc;
	struct fuse_init_want want;
	struct fuse_init_agreed agreed;
	struct env_waitq changed; /* ready, ended, fibers, reading */
	struct bufpool *pool;
	struct env_waitq pool_wait; /* for memory */
	uint8_t *spare; /* the buffer the next read goes to, LIM_FUSE_IO_MAX bytes of the pool */
	struct fuse_req *next; /* the request the next read goes to */
	struct hmap by_unique;
	struct list queue;
	size_t queue_len;
	struct list idle; /* fuse_req records */
	size_t idle_len;
	size_t fibers;
	struct list interrupted;
	bool intr_fiber;
	bool watch_fiber; /* looks after ring requests */
	uint64_t intr_early
		[FUSE_INTR_EARLY]; /* numbers of INTERRUPTs whose request was not seen yet */
	unsigned intr_early_next;
	struct idr handles; /* struct fuse_handle */
	struct hmap graves; /* fuse_grave.c */
	struct fuse_uring *uring;
	struct fuse_counters counters;
	struct metric_hist latency[FUSE_OPCODES]; /* of answered requests */
};

/* Serves one request: 0 with ret_data and ret_len set, FUSE_NO_ANSWER, or a negative NE_* code. */
typedef int fuse_op_fn(struct fuse_req *req);
#define FUSE_NO_ANSWER 1

/* ---- fuse_req.c ---- */

/* A record to fill; NULL when out of memory. */
struct fuse_req *fuse_req_new(struct fuse_session *s);
void fuse_req_free(struct fuse_req *req);
/* Serves it in a fiber, soon; takes it. raw is set. */
void fuse_req_start(struct fuse_req *req);
/* Answers and frees. error: 0 or negative NE_* code. */
void fuse_req_answer(struct fuse_req *req, int error);
struct fuse_req *fuse_req_find(struct fuse_session *s, uint64_t unique);
/* Takes a queued request out of the queue. */
void fuse_req_unqueue(struct fuse_req *req);
/* Memory for `size` bytes of answer; waits for it. NULL and -NE_INTR otherwise. */
_yields_ _check_ int fuse_req_out(struct fuse_req *req, size_t size, void **ret_buf);

/* ---- fuse_intr.c ---- */

void fuse_intr_message(struct fuse_session *s, const struct fuse_msg *msg);
/* A request that came over a ring begins to be served: its INTERRUPT may have been faster, or never come. */
void fuse_intr_ring_begin(struct fuse_req *req);
void fuse_intr_forget(struct fuse_req *req);
/* Interrupts everything. */
void fuse_intr_all(struct fuse_session *s);

/* ---- fuse_dev.c ---- */

_check_ int fuse_dev_start(struct fuse_session *s);
void fuse_dev_answer(struct fuse_req *req, int sys_errno);
/* An answer to a message that has no fuse_req. */
void fuse_dev_answer_raw(struct fuse_session *s, uint64_t unique, int sys_errno);

/* ---- fuse_uring.c ---- */

/* The switch of the kernel's module is on. */
bool fuse_uring_enabled(void);
/* Registers the queues. -NE_NOTSUP and others: the kernel goes on with /dev/fuse. */
_yields_ _check_ int fuse_uring_start(struct fuse_session *s);
void fuse_uring_answer(struct fuse_req *req, int sys_errno);
void *fuse_uring_payload(struct fuse_req *req, size_t size);
/* No command may be under way in the kernel (the descriptor is closed or the mount gone), or the reactor
 * is freed before this memory: waits for it. */
_yields_ void fuse_uring_free(struct fuse_uring *u);

/* ---- fuse_ops.c: the table ---- */

fuse_op_fn *fuse_op_find(uint32_t opcode);

/* ---- fuse_attr.c ---- */

struct fid fuse_node_fid(const struct fuse_session *s, uint64_t nodeid);
uint64_t fuse_fid_node(const struct fuse_session *s, struct fid fid);
struct client_cred fuse_req_cred(const struct fuse_req *req);
/* The same, where the kernel says whether set-id bits are to be killed (KILLPRIV_V2). */
struct client_cred fuse_req_cred_kill(const struct fuse_req *req, bool kill);
void fuse_attr_fill(const struct client_attr *attr, struct fuse_attr *ret_attr);
void fuse_statx_fill(const struct client_attr *attr, struct fuse_statx *ret_statx);
/* An entry nobody may cache. */
void fuse_entry_fill(const struct fuse_session *s, const struct client_attr *attr,
	struct fuse_entry_out *ret_entry);
int64_t fuse_time_ns(uint64_t sec, uint32_t ns);
uint32_t fuse_blksize(uint32_t mode, uint64_t size);

/* ---- fuse_handle.c ---- */

/* Takes the file, also on failure. */
_yields_ _check_ int fuse_handle_new(struct fuse_session *s, struct client_file *file,
	uint64_t nodeid, int flags, uint64_t *ret_fh);
/* NULL for a number that is none. */
struct fuse_handle *fuse_handle_find(const struct fuse_session *s, uint64_t fh);
/* The handle's file with the O_APPEND wanted, opened when first needed: fcntl(F_SETFL) changes the flag of an open
 * file without telling, and pages written back from a mapping go where they belong although it is set. */
_yields_ _check_ int fuse_handle_file(
	struct fuse_session *s, struct fuse_handle *h, bool append, struct client_file **ret_file);
/* Closes; the result is close(2)'s. */
_yields_ int fuse_handle_close(struct fuse_session *s, uint64_t fh);
_yields_ void fuse_handles_close_all(struct fuse_session *s);

/* ---- fuse_grave.c ---- */

/* A client_gone_fn; ctx is the session. */
void fuse_grave_dig(void *ctx, const struct client_attr *attr);
/* -NE_STALE when nothing is known. */
_check_ int fuse_grave_attr(
	const struct fuse_session *s, uint64_t nodeid, struct client_attr *ret_attr);
/* The kernel has forgotten what a FORGET or BATCH_FORGET names. */
void fuse_grave_forget(struct fuse_session *s, const struct fuse_raw *raw);
void fuse_graves_free(struct fuse_session *s);

/* ---- fuse_ops_*.c ---- */

fuse_op_fn fuse_op_lookup, fuse_op_symlink, fuse_op_mknod, fuse_op_mkdir, fuse_op_unlink;
fuse_op_fn fuse_op_rmdir, fuse_op_rename, fuse_op_rename2, fuse_op_link, fuse_op_readlink;
fuse_op_fn fuse_op_create, fuse_op_tmpfile, fuse_op_ioctl, fuse_op_open, fuse_op_read;
fuse_op_fn fuse_op_write, fuse_op_release;
fuse_op_fn fuse_op_fallocate, fuse_op_lseek, fuse_op_copy_file_range;
fuse_op_fn fuse_op_fsync, fuse_op_getattr, fuse_op_statx, fuse_op_setattr, fuse_op_access;
fuse_op_fn fuse_op_statfs, fuse_op_opendir, fuse_op_readdir, fuse_op_fsyncdir;
fuse_op_fn fuse_op_setxattr, fuse_op_getxattr, fuse_op_listxattr, fuse_op_removexattr;

/* ---- fuse_sys.c: system calls that name errno, never inlined; -errno on failure ---- */

ssize_t fuse_sys_readv(int fd, const struct iovec *iov, int count);
ssize_t fuse_sys_writev(int fd, const struct iovec *iov, int count);
int fuse_sys_nonblock(int fd);
/* The whole of a small file as text with a NUL; bytes read. */
ssize_t fuse_sys_text(const char *path, char *buf, size_t cap);
/* The host's fs.protected_hardlinks as it is now. */
bool fuse_sys_links_guarded(void);

#endif
