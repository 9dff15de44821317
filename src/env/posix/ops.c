/*
 * The operation table, and the small operations: clocks, randomness, death, counters, posts with memory
 * of their own.
 */
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

static uint64_t posix_clock(_unused_ struct env *env)
{
	return sys_clock(CLOCK_MONOTONIC);
}

static uint64_t posix_boottime(_unused_ struct env *env)
{
	return sys_clock(CLOCK_BOOTTIME);
}

static int64_t posix_realtime(_unused_ struct env *env)
{
	return (int64_t)sys_clock(CLOCK_REALTIME);
}

static uint64_t posix_random(struct env *env)
{
	return prng_next(&reactor_of(env)->prng);
}

static void posix_random_bytes(_unused_ struct env *env, void *buf, size_t len)
{
	sys_random(buf, len);
}

static _noreturn_ void posix_die(_unused_ struct env *env, const char *why)
{
	log_error("env", "cannot go on: %s", why);
	abort();
}

void posix_spin_hint(struct env *env, uint64_t ns)
{
	struct reactor *r = reactor_of(env);

	ASSERT(ns < ENV_FOREVER / 2);
	r->spin.hint_until = env->sched.now_ns + u64_min(ns, r->spin.max_ns);
}

void posix_count_file(struct env *env)
{
	stat_add(&reactor_of(env)->stats.sys_file, 1);
}

struct io_uring *posix_ring(struct env *env)
{
	return &reactor_of(env)->ring;
}

struct call_soon {
	struct posix_post post;
	void (*fn)(void *arg);
	void *arg;
};

static void call_soon_fn(struct posix_post *post)
{
	struct call_soon *c = container_of(post, struct call_soon, post);
	struct call_soon copy = *c;

	mem_free(c);
	copy.fn(copy.arg);
}

int posix_call_soon(struct env *env, void (*fn)(void *arg), void *arg)
{
	struct call_soon *c = mem_alloc(sizeof(*c));

	if (c == NULL) {
		return -NE_NOMEM;
	}
	*c = (struct call_soon){.post = {.fn = call_soon_fn}, .fn = fn, .arg = arg};
	posix_post(env, &c->post);
	return 0;
}

const struct env_ops posix_env_ops = {
	.clock = posix_clock,
	.boottime = posix_boottime,
	.realtime = posix_realtime,
	.random = posix_random,
	.random_bytes = posix_random_bytes,
	.listen = posix_listen,
	.accept = posix_accept,
	.listener_close = posix_listener_close,
	.connect = posix_connect,
	.recv = posix_recv,
	.send = posix_send,
	.conn_peer = posix_conn_peer,
	.conn_shutdown = posix_conn_shutdown,
	.conn_close = posix_conn_close,
	.file_open = posix_file_open,
	.file_close = posix_file_close,
	.pread = posix_pread,
	.pread_cached = posix_pread_cached,
	.pread_direct = posix_pread_direct,
	.pwrite = posix_pwrite,
	.fdatasync = posix_fdatasync,
	.ftruncate = posix_ftruncate,
	.fallocate = posix_file_fallocate,
	.seek = posix_seek,
	.fstat = posix_fstat,
	.file_utime = posix_file_utime,
	.file_forget = posix_file_forget,
	.file_lock = posix_file_lock,
	.syncfs = posix_syncfs,
	.mkdir = posix_mkdir,
	.unlink = posix_unlink,
	.rmdir = posix_rmdir,
	.rename = posix_rename,
	.fsync_dir = posix_fsync_dir,
	.stat = posix_stat,
	.statfs = posix_statfs,
	.readdir = posix_readdir,
	.job = posix_job,
	.user_groups = posix_user_groups,
	.die = posix_die,
};
