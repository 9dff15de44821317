/*
 * env.h: fibers, wait queues and the mutex over the scheduler, everything else to the world's operations.
 */
#include "env/env_int.h"
#include "env/trace.h"

/* ---- fibers ---- */

int env_spawn(struct env *env, const char *name, env_fiber_fn *fn, void *arg)
{
	return fiber_spawn(&env->sched, name, fn, arg, NULL);
}

struct fiber *env_self(struct env *env)
{
	return env->sched.current;
}

void env_yield(struct env *env)
{
	fiber_yield(&env->sched);
}

int env_sleep_until(struct env *env, uint64_t deadline_ns)
{
	int rc = fiber_wait(&env->sched, NULL, deadline_ns, ENV_WAIT_INTR);

	return rc == -NE_TIMEDOUT ? 0 : rc;
}

void env_sleep(struct env *env, uint64_t ns)
{
	uint64_t now = env->sched.now_ns;
	int rc;

	ASSERT(ns < ENV_FOREVER - now);
	rc = fiber_wait(&env->sched, NULL, now + ns, ENV_WAIT_PLAIN);
	ASSERT(rc == -NE_TIMEDOUT);
}

void env_interrupt(struct env *env, struct fiber *fiber)
{
	ASSERT(fiber->sched == &env->sched);
	fiber_interrupt(fiber);
}

bool env_interrupted(struct env *env)
{
	ASSERT(env->sched.current != NULL);
	return env->sched.current->interrupted;
}

void env_interrupt_clear(struct env *env)
{
	ASSERT(env->sched.current != NULL);
	env->sched.current->interrupted = false;
}

void env_waitq_init(struct env_waitq *q)
{
	list_init(&q->waiters);
}

int env_wait(struct env *env, struct env_waitq *q, uint64_t deadline_ns, unsigned flags)
{
	ASSERT(q != NULL);
	ASSERT((flags & ~(unsigned)ENV_WAIT_INTR) == 0);
	return fiber_wait(&env->sched, q, deadline_ns, flags);
}

bool env_wake_one(_unused_ struct env *env, struct env_waitq *q)
{
	return fiber_wake_one(q);
}

void env_wake_all(_unused_ struct env *env, struct env_waitq *q)
{
	fiber_wake_all(q);
}

void env_mutex_init(struct env_mutex *m)
{
	m->held = false;
	env_waitq_init(&m->q);
}

void env_mutex_lock(struct env *env, struct env_mutex *m)
{
	int rc;

	if (!m->held) {
		m->held = true;
		return;
	}
	rc = fiber_wait(&env->sched, &m->q, ENV_FOREVER, ENV_WAIT_PLAIN);
	/* The holder handed it over: nobody could take it in between. */
	ASSERT(rc == 0 && m->held);
}

void env_mutex_unlock(_unused_ struct env *env, struct env_mutex *m)
{
	ASSERT(m->held);
	if (!fiber_wake_one(&m->q)) {
		m->held = false;
	}
}

/* ---- time and randomness ---- */

uint64_t env_now(struct env *env)
{
	return env->sched.now_ns;
}

uint64_t env_clock(struct env *env)
{
	return env->ops->clock(env);
}

uint64_t env_boottime(struct env *env)
{
	return env->ops->boottime(env);
}

int64_t env_realtime(struct env *env)
{
	return env->ops->realtime(env);
}

uint64_t env_random(struct env *env)
{
	return env->ops->random(env);
}

void env_random_bytes(struct env *env, void *buf, size_t len)
{
	env->ops->random_bytes(env, buf, len);
}

/* ---- network ---- */

int env_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener)
{
	ASSERT(ret_addr != NULL && cap > 0);
	return env->ops->listen(env, addr, ret_addr, cap, ret_listener);
}

int env_accept(struct env_listener *l, struct env_conn **ret_conn)
{
	ASSERT(l->env->sched.current != NULL);
	return l->env->ops->accept(l, ret_conn);
}

void env_listener_close(struct env_listener *l)
{
	if (l != NULL) {
		l->env->ops->listener_close(l);
	}
}

int env_connect(struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	ASSERT(env->sched.current != NULL);
	return env->ops->connect(env, addr, deadline_ns, ret_conn);
}

int env_recv(struct env_conn *c, void *buf, size_t min, size_t max, uint64_t deadline_ns,
	size_t *ret_len)
{
	ASSERT(c->env->sched.current != NULL);
	ASSERT(min > 0 && min <= max);
	*ret_len = 0;
	return c->env->ops->recv(c, buf, min, max, deadline_ns, ret_len);
}

int env_send(struct env_conn *c, const struct iovec *iov, unsigned iov_count)
{
	ASSERT(c->env->sched.current != NULL);
	ASSERT(iov != NULL || iov_count == 0);
	return c->env->ops->send(c, iov, iov_count);
}

const struct env_peer *env_conn_peer(const struct env_conn *c)
{
	return c->env->ops->conn_peer(c);
}

void env_conn_shutdown(struct env_conn *c)
{
	c->env->ops->conn_shutdown(c);
}

void env_conn_close(struct env_conn *c)
{
	if (c != NULL) {
		c->env->ops->conn_close(c);
	}
}

/* ---- files ---- */

/* Time in a file's operation, waits and system calls, is the disk's. */
struct disk_time {
	struct env *env;
	enum trace_wait before;
	uint64_t begin_ns; /* 0: nobody asks */
};

static struct disk_time disk_begin(struct env *env)
{
	struct disk_time d = {.env = env};

	if (trace_id_current(env) != NULL) {
		d.begin_ns = env_clock(env);
		d.before = trace_wait_set(env, TRACE_OFF);
	}
	return d;
}

static int disk_end(const struct disk_time *d, int rc)
{
	if (d->begin_ns != 0) {
		(void)trace_wait_set(d->env, d->before);
		trace_wait_add(d->env, d->before == TRACE_OFF ? TRACE_OFF : TRACE_DISK,
			env_clock(d->env) - d->begin_ns);
	}
	return rc;
}

int env_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
	struct disk_time d = disk_begin(env);

	ASSERT((flags & (ENV_OPEN_READ | ENV_OPEN_WRITE)) != 0);
	return disk_end(&d, env->ops->file_open(env, path, flags, ret_file));
}

void env_file_close(struct env_file *f)
{
	if (f != NULL) {
		f->env->ops->file_close(f);
	}
}

int env_pread(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(f->env->sched.current != NULL);
	return disk_end(&d, f->env->ops->pread(f, buf, len, off, ret_len));
}

int env_pread_cached(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	ASSERT(ret_len != NULL);
	return f->env->ops->pread_cached(f, buf, len, off, ret_len);
}

int env_pread_direct(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(ret_len != NULL);
	ASSERT(((uintptr_t)buf | len | off) % 4096 == 0);
	return disk_end(&d, f->env->ops->pread_direct(f, buf, len, off, ret_len));
}

int env_pwrite(struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(f->env->sched.current != NULL);
	return disk_end(&d, f->env->ops->pwrite(f, iov, iov_count, off));
}

int env_fdatasync(struct env_file *f)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(f->env->sched.current != NULL);
	return disk_end(&d, f->env->ops->fdatasync(f));
}

int env_ftruncate(struct env_file *f, uint64_t size)
{
	struct disk_time d = disk_begin(f->env);

	return disk_end(&d, f->env->ops->ftruncate(f, size));
}

int env_fallocate(struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(mode >= ENV_FALLOC_RESERVE && mode <= ENV_FALLOC_ZERO);
	return disk_end(&d, f->env->ops->fallocate(f, mode, off, len));
}

int env_seek(struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off)
{
	return f->env->ops->seek(f, off, whence_data, ret_off);
}

int env_fstat(struct env_file *f, struct env_stat *ret_stat)
{
	return f->env->ops->fstat(f, ret_stat);
}

int env_file_utime(struct env_file *f, int64_t mtime_ns)
{
	return f->env->ops->file_utime(f, mtime_ns);
}

void env_file_forget(struct env_file *f)
{
	f->env->ops->file_forget(f);
}

int env_file_lock(struct env_file *f)
{
	return f->env->ops->file_lock(f);
}

int env_syncfs(struct env_file *f)
{
	struct disk_time d = disk_begin(f->env);

	ASSERT(f->env->sched.current != NULL);
	return disk_end(&d, f->env->ops->syncfs(f));
}

int env_mkdir(struct env *env, const char *path)
{
	struct disk_time d = disk_begin(env);

	return disk_end(&d, env->ops->mkdir(env, path));
}

int env_unlink(struct env *env, const char *path)
{
	struct disk_time d = disk_begin(env);

	return disk_end(&d, env->ops->unlink(env, path));
}

int env_rmdir(struct env *env, const char *path)
{
	return env->ops->rmdir(env, path);
}

int env_rename(struct env *env, const char *from, const char *to)
{
	struct disk_time d = disk_begin(env);

	return disk_end(&d, env->ops->rename(env, from, to));
}

int env_fsync_dir(struct env *env, const char *path)
{
	struct disk_time d = disk_begin(env);

	return disk_end(&d, env->ops->fsync_dir(env, path));
}

int env_stat(struct env *env, const char *path, struct env_stat *ret_stat)
{
	return env->ops->stat(env, path, ret_stat);
}

int env_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs)
{
	return env->ops->statfs(env, path, ret_statfs);
}

int env_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx)
{
	struct disk_time d = disk_begin(env);

	ASSERT(fn != NULL);
	return disk_end(&d, env->ops->readdir(env, path, fn, ctx));
}

/* ---- jobs and the node ---- */

void env_job(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg)
{
	ASSERT(kind >= 0 && kind < ENV_JOB_KINDS);
	ASSERT(env->sched.current != NULL);
	env->ops->job(env, kind, fn, arg);
}

int env_user_groups(struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count)
{
	ASSERT(ids != NULL && max > 0 && max <= INT32_MAX);
	ASSERT(ret_count != NULL && env->sched.current != NULL);
	return env->ops->user_groups(env, uid, ids, max, ret_count);
}

const char *env_boot_id(struct env *env)
{
	return env->boot_id;
}

void env_die(struct env *env, const char *why)
{
	env->ops->die(env, why);
}

bool env_stopping(struct env *env)
{
	return __atomic_load_n(&env->stopping, __ATOMIC_RELAXED);
}
