/*
 * What the two worlds implement behind env.h: the operation table and the common heads of the objects.
 *
 * A world embeds `struct env` in its own (posix: struct reactor; sim: its node), fills ops, and drives
 * env->sched. env.c checks arguments and dispatches; fibers, mutexes, wait queues and env_now need no
 * operation (env->sched has them). Objects begin with the head named here.
 */
#ifndef NACRE_ENV_ENV_INT_H
#define NACRE_ENV_ENV_INT_H

#include "env/env.h"
#include "env/fiber.h"

struct env_conn {
	struct env *env;
};

struct env_listener {
	struct env *env;
};

struct env_file {
	struct env *env;
};

/* Same contracts as the functions of env.h; every entry is set; objects given are never NULL. */
struct env_ops {
	uint64_t (*clock)(struct env *env);
	uint64_t (*boottime)(struct env *env);
	int64_t (*realtime)(struct env *env);
	uint64_t (*random)(struct env *env);
	void (*random_bytes)(struct env *env, void *buf, size_t len);

	int (*listen)(struct env *env, const char *addr, char *ret_addr, size_t cap,
		struct env_listener **ret_listener);
	int (*accept)(struct env_listener *l, struct env_conn **ret_conn);
	void (*listener_close)(struct env_listener *l);
	int (*connect)(struct env *env, const char *addr, uint64_t deadline_ns,
		struct env_conn **ret_conn);
	/* *ret_len is 0 on entry. */
	int (*recv)(struct env_conn *c, void *buf, size_t min, size_t max, uint64_t deadline_ns,
		size_t *ret_len);
	int (*send)(struct env_conn *c, const struct iovec *iov, unsigned iov_count);
	const struct env_peer *(*conn_peer)(const struct env_conn *c);
	void (*conn_shutdown)(struct env_conn *c);
	void (*conn_close)(struct env_conn *c);

	int (*file_open)(
		struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
	void (*file_close)(struct env_file *f);
	int (*pread)(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
	int (*pread_cached)(
		struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
	int (*pread_direct)(
		struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
	int (*pwrite)(
		struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off);
	int (*fdatasync)(struct env_file *f);
	int (*ftruncate)(struct env_file *f, uint64_t size);
	int (*fallocate)(
		struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len);
	int (*seek)(struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off);
	int (*fstat)(struct env_file *f, struct env_stat *ret_stat);
	int (*file_utime)(struct env_file *f, int64_t mtime_ns);
	void (*file_forget)(struct env_file *f);
	int (*file_lock)(struct env_file *f);
	int (*syncfs)(struct env_file *f);

	int (*mkdir)(struct env *env, const char *path);
	int (*unlink)(struct env *env, const char *path);
	int (*rmdir)(struct env *env, const char *path);
	int (*rename)(struct env *env, const char *from, const char *to);
	int (*fsync_dir)(struct env *env, const char *path);
	int (*stat)(struct env *env, const char *path, struct env_stat *ret_stat);
	int (*statfs)(struct env *env, const char *path, struct env_statfs *ret_statfs);
	int (*readdir)(struct env *env, const char *path, env_dirent_fn *fn, void *ctx);

	void (*job)(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg);
	int (*user_groups)(
		struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count);
	_noreturn_ void (*die)(struct env *env, const char *why);
};

struct env {
	const struct env_ops *ops;
	struct fiber_sched sched;
	struct trace_store *traces; /* trace.h; NULL: none are kept */
	bool stopping;
	char boot_id[64];
};

#endif
