/*
 * The real world behind env.h: a reactor is one scheduler of fibers with one epoll set and one io_uring.
 *
 * At any moment at most one thread, the driver, runs a reactor: the thread in reactor_run, or a thread in
 * reactor_call while nobody else drives. Fibers may therefore continue on another thread than they began
 * on; env.h's objects do not care, thread-locals do (see README.md).
 */
#ifndef NACRE_ENV_POSIX_REACTOR_H
#define NACRE_ENV_POSIX_REACTOR_H

#include "base/base.h"
#include "env/env.h"

struct reactor;

struct reactor_options {
	int cpu; /* reactor_run pins its thread to this CPU; -1: does not */
	bool shared; /* several threads will use reactor_call */
	bool sqe128; /* ring entries of 128 bytes (FUSE over io_uring) */
	bool stack_check; /* measure fibers' stack use (debug) */
	unsigned fibers_max; /* 0: LIM_FIBERS */
	unsigned ring_entries; /* 0: 256 */
	unsigned spin_us_max; /* longest polling before sleep; REACTOR_SPIN_NONE: never; 0: 50 */
};

#define REACTOR_SPIN_NONE UINT32_MAX

/* Counters since the start; read without a lock, so each value is true but not all of one instant. */
struct reactor_stats {
	uint64_t turns;
	uint64_t switches; /* fibers resumed */
	uint64_t sleeps; /* times the driver blocked */
	uint64_t sleeps_timeout; /* of these, ended by a deadline */
	uint64_t spins; /* polling phases */
	uint64_t spins_hit; /* of these, ended by an event */
	uint64_t spin_passes; /* sched_yield calls */
	uint64_t spins_crowded; /* passes that met a busy CPU: polling paused */
	uint64_t wakeups; /* eventfd writes by other threads */
	uint64_t calls_driven; /* reactor_call that drove the reactor itself */
	uint64_t calls_handed; /* reactor_call served by another driver */
	uint64_t sys_epoll; /* system calls by kind */
	uint64_t sys_recv;
	uint64_t sys_send;
	uint64_t sys_uring;
	uint64_t sys_file;
	uint64_t busy_ns; /* running fibers, up to the last wait */
	uint64_t polling_ns;
	uint64_t idle_ns;
	size_t fibers;
	size_t stack_used_max;
};

/* NULL options: defaults with cpu -1. -NE_NOURING (logged) when io_uring is forbidden, -NE_NOMEM, or
 * what the system call said. */
_check_ int reactor_new(const struct reactor_options *options, struct reactor **ret_reactor);
/* Nobody drives it; every fiber has ended, or is abandoned now with what it holds. Accepts NULL. */
void reactor_free(struct reactor *r);
struct env *reactor_env(struct reactor *r);
/* Drives until reactor_stop. -NE_BUSY if another reactor_run is active. */
_check_ int reactor_run(struct reactor *r);
/* Ends reactor_run; sets env_stopping. From any thread or signal handler. */
void reactor_stop(struct reactor *r);
/* After a failed assert, from the thread that drives r: no fiber of it runs again, and every reactor_call, those
 * that wait now included, returns -NE_NOTRECOVERABLE. What the reactor holds stays allocated; it is not to be freed.
 * From a fiber it does not return; otherwise the caller leaves the driver's stack for good. */
void reactor_break(struct reactor *r);
/* Sets env_stopping only: fibers are asked to finish. From any thread or signal handler. */
void reactor_stopping_set(struct reactor *r);
/* Runs fn(arg) as a fiber of r and returns when it has ended. From any thread that is not in a fiber of
 * r. -NE_LIMIT when no fiber is free: fn did not run. */
_check_ int reactor_call(struct reactor *r, env_fiber_fn *fn, void *arg);
/* For a background thread of a shared reactor: drives it whenever no caller does, so that messages and
 * deadlines are served between calls, and stays out of the way of callers. Until reactor_stop. */
_check_ int reactor_tend(struct reactor *r);
void reactor_stats(const struct reactor *r, struct reactor_stats *ret_stats);
struct metric_batch;
/* The same for the monitor; `name` is the label. */
void reactor_metrics(const struct reactor *r, const char *name, struct metric_batch *batch);

#endif
