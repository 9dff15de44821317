/*
 * The reactor's inside, shared by the files of this folder.
 *
 * Who may touch what: `inbox`, `sleeping`, `stop`, and `drive` (under its lock) are for any thread; all
 * the rest belongs to the driver.
 */
#ifndef NACRE_ENV_POSIX_POSIX_INT_H
#define NACRE_ENV_POSIX_POSIX_INT_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/prng.h"
#include "env/env_int.h"
#include "env/posix/posix.h"
#include "env/posix/reactor.h"

/* Adaptive polling: see spin.c. */
struct posix_spin {
	uint64_t max_ns; /* longest polling phase; 0: never */
	uint64_t hint_until; /* posix_spin_hint */
	uint32_t near; /* 0..SPIN_NEAR_MAX: recent waits that ended soon */
	uint32_t waits; /* counts waits, for exploring */
	uint64_t cost_spin; /* smoothed length of near waits that were polled, ns */
	uint64_t cost_sleep; /* the same of those slept through, ns */
	uint32_t crowded; /* waits left in which polling is off because the CPU is not ours */
	uint32_t pause; /* how many waits the next such time takes */
	uint32_t calm; /* polled waits since the last such time */
};

enum drive_state {
	DRIVE_WAIT = 0, /* the call waits */
	DRIVE_DONE, /* it ended */
	DRIVE_ROLE, /* the caller is the driver now */
	DRIVE_BROKEN, /* reactor_break: nothing runs any more */
};

/* One reactor_call, on its caller's stack. `state` is the futex word. */
struct reactor_callrec {
	struct posix_post post;
	struct reactor *reactor;
	env_fiber_fn *fn;
	void *arg;
	int rc;
	bool done; /* for the driver's own call */
	bool handed; /* waits on the futex */
	struct list link; /* drive.waiting while handed and not done */
	_Atomic uint32_t state;
};

struct reactor_drive {
	pthread_mutex_t lock;
	bool taken; /* somebody drives */
	bool running; /* reactor_run or reactor_tend is active */
	struct list waiting; /* struct reactor_callrec.link */
	uint64_t tend_deadline; /* what reactor_tend sleeps until; ENV_FOREVER if it does not */
	_Atomic uint32_t calls; /* changes with every reactor_call; reactor_tend looks */
};

struct job_pool {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct list queue;
	unsigned idle;
	unsigned started;
	bool stop;
	pthread_t threads[2];
};

struct reactor {
	struct env env;
	struct io_uring ring;
	struct fiber_pool *pool;
	struct prng prng;
	int epoll_fd;
	int event_fd;
	bool ring_open;
	int cpu;
	struct posix_watch *hot; /* whose event is the likeliest next */
	unsigned hot_score; /* 0..HOT_MAX: how often that was right */
	bool hot_seen;
	bool until_stop; /* the driver ends at reactor_stop */
	uint64_t polled_at; /* when epoll was asked last */
	uint64_t waited_at; /* when the last wait ended; 0: none yet */
	struct posix_spin spin;
	struct reactor_drive drive;
	struct job_pool jobs[ENV_JOB_KINDS];
	struct reactor_stats stats;
	_Atomic(struct posix_post *) inbox;
	_Atomic uint32_t sleeping;
	_Atomic uint32_t stop;
	_Atomic uint32_t broken;
	_Atomic uint64_t wakeups;
};

static inline struct reactor *reactor_of(struct env *env)
{
	return container_of(env, struct reactor, env);
}

/* Counters are read by other threads; one writer, so no locked instruction. */
static inline void stat_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

extern const struct env_ops posix_env_ops;

/* loop.c */
void reactor_turn(struct reactor *r);
/* Sleeps or polls until something may have happened; wait = false: only looks. */
void reactor_events(struct reactor *r, bool wait);
void reactor_wake(struct reactor *r);
void reactor_inbox_drain(struct reactor *r);
bool reactor_ring_reap(struct reactor *r);

/* spin.c */
void spin_init(struct posix_spin *s, unsigned us_max);
/* How long to poll in the wait that begins now; 0: sleep at once. */
uint64_t spin_budget(struct posix_spin *s, uint64_t now_ns);
/* A wait ended: `polled` if an event ended it while polling (or the whole wait was polled). */
void spin_learn(struct posix_spin *s, bool polled, bool event, uint64_t waited_ns);
/* A pass took so long that somebody else has the CPU. */
void spin_crowded(struct posix_spin *s);

/* jobs.c */
void jobs_init(struct reactor *r);
void jobs_fini(struct reactor *r);
void posix_job(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg);
int posix_user_groups(
	struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count);

/* conn.c, connect.c */
int posix_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener);
int posix_accept(struct env_listener *l, struct env_conn **ret_conn);
void posix_listener_close(struct env_listener *l);
int posix_connect(
	struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn);
int posix_recv(struct env_conn *c, void *buf, size_t min, size_t max, uint64_t deadline_ns,
	size_t *ret_len);
int posix_send(struct env_conn *c, const struct iovec *iov, unsigned iov_count);
const struct env_peer *posix_conn_peer(const struct env_conn *c);
void posix_conn_shutdown(struct env_conn *c);
void posix_conn_close(struct env_conn *c);
/* Takes the descriptor, also on failure. */
int posix_conn_new(struct env *env, int fd, bool local, struct env_conn **ret_conn);

/* file.c, dir.c */
int posix_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
void posix_file_close(struct env_file *f);
int posix_pread_cached(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
int posix_pread_direct(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
int posix_pread(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
int posix_pwrite(struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off);
int posix_fdatasync(struct env_file *f);
int posix_ftruncate(struct env_file *f, uint64_t size);
int posix_file_fallocate(
	struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len);
int posix_seek(struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off);
int posix_fstat(struct env_file *f, struct env_stat *ret_stat);
int posix_file_utime(struct env_file *f, int64_t mtime_ns);
void posix_file_forget(struct env_file *f);
int posix_file_lock(struct env_file *f);
int posix_syncfs(struct env_file *f);
int posix_mkdir(struct env *env, const char *path);
int posix_unlink(struct env *env, const char *path);
int posix_rmdir(struct env *env, const char *path);
int posix_rename(struct env *env, const char *from, const char *to);
int posix_fsync_dir(struct env *env, const char *path);
int posix_stat(struct env *env, const char *path, struct env_stat *ret_stat);
int posix_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs);
int posix_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx);

#endif
