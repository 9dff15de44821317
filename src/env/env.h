/*
 * The world a service core lives in: fibers, time, randomness, network, files, helper jobs.
 *
 * Cores get a `struct env *` and touch nothing else. Two implementations exist: src/env/posix (a reactor:
 * one thread with one io_uring) and src/env/sim (virtual time, a lossy network, disks that lose unsynced
 * writes, many nodes in one thread driven by one seed). One env = one reactor of one node; everything made
 * from an env belongs to its reactor and is used only by fibers of that reactor. Fibers are stackful
 * coroutines (64 KiB stacks, so no big locals); they switch only inside functions marked _yields_, so
 * between two such calls a fiber has the reactor's state for itself.
 *
 * Times are nanoseconds. Deadlines are absolute values of env_now; ENV_FOREVER means none.
 * Waiting functions return -NE_TIMEDOUT past the deadline and -NE_INTR when the fiber was interrupted
 * (env_interrupt) and the wait is interruptible.
 */
#ifndef NACRE_ENV_ENV_H
#define NACRE_ENV_ENV_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/error.h"
#include "base/list.h"

#define ENV_FOREVER UINT64_MAX

struct env;
struct fiber;
struct env_conn;
struct env_listener;
struct env_file;

typedef void env_fiber_fn(void *arg);

/* ---- fibers (the same scheduler in both worlds: src/env/fiber.c) ---- */

/* Starts fn(arg) as a fiber; it runs at the next turn. `name` must outlive the fiber (a literal).
 * -NE_LIMIT when LIM_FIBERS run already. */
_check_ int env_spawn(struct env *env, const char *name, env_fiber_fn *fn, void *arg);
/* The running fiber; NULL outside of one. */
struct fiber *env_self(struct env *env);
/* Lets every other runnable fiber run first. */
_yields_ void env_yield(struct env *env);
/* Sleeps until the deadline; returns 0 then, or -NE_INTR. */
_yields_ int env_sleep_until(struct env *env, uint64_t deadline_ns);
/* Sleeps for a time, not interruptible. */
_yields_ void env_sleep(struct env *env, uint64_t ns);
/* Makes the fiber's interruptible waits, now and later, return -NE_INTR. The pointer must be a live
 * fiber's: register it where the interrupter finds it, and take it out before the fiber ends. */
void env_interrupt(struct env *env, struct fiber *fiber);
bool env_interrupted(struct env *env);
/* Clears the mark on the running fiber (after the interruption was answered). */
void env_interrupt_clear(struct env *env);

/* A queue of waiting fibers. Zero-initialise with env_waitq_init. FIFO. */
struct env_waitq {
	struct list waiters;
};

enum env_wait_flags {
	ENV_WAIT_PLAIN = 0,
	ENV_WAIT_INTR = 1, /* env_interrupt ends the wait */
};

void env_waitq_init(struct env_waitq *q);
_yields_ int env_wait(struct env *env, struct env_waitq *q, uint64_t deadline_ns, unsigned flags);
/* Make the first / all waiters runnable. Do not switch. Callable from any fiber or completion. */
bool env_wake_one(struct env *env, struct env_waitq *q);
void env_wake_all(struct env *env, struct env_waitq *q);

/* A mutex held over yields; FIFO. For fibers of one reactor. */
struct env_mutex {
	bool held;
	struct env_waitq q;
};

void env_mutex_init(struct env_mutex *m);
_yields_ void env_mutex_lock(struct env *env, struct env_mutex *m);
void env_mutex_unlock(struct env *env, struct env_mutex *m);

/* ---- time and randomness ---- */

uint64_t env_now(struct env *env); /* monotonic; cached per turn, cheap */
uint64_t env_clock(struct env *env); /* the same, read anew: what this turn took so far counts */
uint64_t env_boottime(struct env *env); /* counts suspension; for lease terms */
int64_t env_realtime(struct env *env); /* ns since 1970 */
uint64_t env_random(struct env *env); /* seeded in the simulator */
/* Unpredictable bytes (keys, nonces); from the seed in the simulator. */
void env_random_bytes(struct env *env, void *buf, size_t len);

/* ---- network: reliable ordered byte streams that can break at any moment ---- */

/* Addresses are texts: "unix:/absolute/path", "tcp:192.0.2.1:7988", "tcp:[::1]:7988",
 * "tcp:host:7988" (resolved on a helper thread). In the simulator "sim:node:port". */

struct env_peer {
	bool local; /* Unix socket: the ids below are the kernel's */
	uint32_t uid; /* of the peer process */
	uint32_t gid;
	int32_t pid;
	char addr[256]; /* for logs */
};

/* Port 0 lets the system choose: the address actually bound is written to ret_addr (cap bytes). */
_check_ int env_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener);
_yields_ _check_ int env_accept(struct env_listener *l, struct env_conn **ret_conn);
/* Wakes accepters with -NE_SHUTDOWN and frees. Accepts NULL. */
void env_listener_close(struct env_listener *l);
_yields_ _check_ int env_connect(
	struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn);
/* Receives at least min and at most max bytes. -NE_CONNLOST at the end of the stream or a break; a
 * deadline that passes leaves what was received unreported only if nothing was: *ret_len is always
 * written, also on error. One receiver at a time. */
_yields_ _check_ int env_recv(struct env_conn *c, void *buf, size_t min, size_t max,
	uint64_t deadline_ns, size_t *ret_len);
/* Sends all of it or fails with -NE_CONNLOST; waits while the peer does not read. One sender at a time. */
_yields_ _check_ int env_send(struct env_conn *c, const struct iovec *iov, unsigned iov_count);
const struct env_peer *env_conn_peer(const struct env_conn *c);
/* Breaks the stream: pending and later sends and receives return -NE_CONNLOST. Idempotent. */
void env_conn_shutdown(struct env_conn *c);
/* Frees; no send or receive may be pending (shut down and join the users first). Accepts NULL. */
void env_conn_close(struct env_conn *c);

/* ---- files: what targets store things in; paths are absolute ---- */

enum env_open_flags {
	ENV_OPEN_READ = 1,
	ENV_OPEN_WRITE = 2,
	ENV_OPEN_CREATE = 4,
	ENV_OPEN_EXCL = 8,
	ENV_OPEN_DIRECT =
		16, /* a second, O_DIRECT descriptor for aligned I/O; ignored where unsupported */
	ENV_OPEN_TRUNC = 32,
};

enum env_fallocate_mode {
	ENV_FALLOC_RESERVE = 0, /* allocate, extend the size */
	ENV_FALLOC_KEEP_SIZE = 1, /* allocate, keep the size */
	ENV_FALLOC_PUNCH = 2, /* deallocate, keep the size */
	ENV_FALLOC_ZERO = 3, /* zero the range, keep the size */
};

struct env_stat {
	bool is_dir;
	uint64_t size; /* bytes */
	uint64_t blocks; /* bytes allocated */
	int64_t mtime_ns;
	uint64_t ino;
	uint64_t dev; /* identity of the file system it lies on */
};

struct env_statfs {
	uint64_t bytes_total;
	uint64_t bytes_free;
	uint64_t bytes_avail; /* to a non-root writer */
	uint64_t files_total;
	uint64_t files_free;
	uint64_t fsid; /* identity of the backing file system: several targets may share one */
};

_yields_ _check_ int env_file_open(
	struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
void env_file_close(struct env_file *f); /* accepts NULL */
/* Reads up to len; *ret_len < len only at the end of the file. Cached data does not switch fibers. */
_yields_ _check_ int env_pread(
	struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
/* What the kernel has in memory of it, from the start on: perhaps nothing. All of it is within the file. */
_check_ int env_pread_cached(
	struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
/* As env_pread, past the page cache where possible: buf, len and off are multiples of 4096. */
_yields_ _check_ int env_pread_direct(
	struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
/* Writes everything or fails (what was written until then is undefined). Small writes complete at once
 * in the kernel; >= 128 KiB, 4096-aligned in offset, length and memory, go O_DIRECT where possible. */
_yields_ _check_ int env_pwrite(
	struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off);
_yields_ _check_ int env_fdatasync(struct env_file *f);
_yields_ _check_ int env_ftruncate(struct env_file *f, uint64_t size);
_yields_ _check_ int env_fallocate(
	struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len);
/* whence_data: the first offset >= off that holds data (true) or a hole (false). -NE_NXIO past the end. */
_yields_ _check_ int env_seek(
	struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off);
_check_ int env_fstat(struct env_file *f, struct env_stat *ret_stat);
/* Sets the file's mtime (ns since 1970). */
_check_ int env_file_utime(struct env_file *f, int64_t mtime_ns);
/* What the kernel holds of the file and believes to be on the disk is read from there again. After a sync has failed
 * it believes so wrongly. */
void env_file_forget(struct env_file *f);
/* Exclusive whole-file lock against other processes, held until close. -NE_LOCKED. */
_check_ int env_file_lock(struct env_file *f);
/* Flushes the file's system and asks the kernel for write-back errors since open. */
_yields_ _check_ int env_syncfs(struct env_file *f);

_yields_ _check_ int env_mkdir(struct env *env, const char *path);
_yields_ _check_ int env_unlink(struct env *env, const char *path);
_yields_ _check_ int env_rmdir(struct env *env, const char *path);
_yields_ _check_ int env_rename(struct env *env, const char *from, const char *to);
/* Makes entries created, removed or renamed in the directory durable. */
_yields_ _check_ int env_fsync_dir(struct env *env, const char *path);
_yields_ _check_ int env_stat(struct env *env, const char *path, struct env_stat *ret_stat);
_yields_ _check_ int env_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs);
/* Calls fn for each entry but "." and ".."; stops when it returns non-zero and returns that. */
typedef int env_dirent_fn(void *ctx, const char *name);
_yields_ _check_ int env_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx);

/* ---- helper jobs ---- */

enum env_job_kind {
	ENV_JOB_LOOKUP, /* short reads somebody waits for */
	ENV_JOB_BULK, /* long work: checkpoints, scrubs */
	ENV_JOB_NAMES, /* questions to name services: as long as a network takes */
	ENV_JOB_KINDS,
};

/* Runs fn(arg) on a helper thread and waits for it. The job touches only its argument. In the
 * simulator it runs in the same thread, at a time the seed decides. */
_yields_ void env_job(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg);

/* ---- users ---- */

/* The groups that this host's user database gives to a user, his first one included, at most max of them (a longer list
 * is cut). A user it does not know has none. Asked on a helper thread. An error is the database's: ask again later. */
_yields_ _check_ int env_user_groups(
	struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count);

/* ---- node ---- */

/* Identity of this boot of this host (random text in the simulator), for "same host" checks. */
const char *env_boot_id(struct env *env);
/* Stops the node as a crash would, after logging why: a target whose disk failed must not go on
 * (RULES A2, B4). The posix world aborts the process; the simulator crashes the node. */
_noreturn_ void env_die(struct env *env, const char *why);
/* Resources are released when the env goes; for cores: ask whether the node is stopping. */
bool env_stopping(struct env *env);

#endif
