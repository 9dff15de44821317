/*
 * A reactor's life, and who drives it.
 *
 * The role of driver is given under drive.lock. A thread in reactor_call takes it if it is free; otherwise
 * it puts its call in the inbox and sleeps on its own futex word until the call has ended or the role was
 * handed to it. A driver whose own call has ended hands the role to the first waiting caller, so calls
 * never stand still. reactor_run holds the role until reactor_stop; reactor_tend takes it only while no
 * caller is about.
 *
 * Order of locks: drive.lock and a job pool's lock are never held together, nor over a switch of fibers.
 */
#include "env/posix/reactor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

#define RING_ENTRIES 256
#define TEND_BACKOFF_MIN_NS (2 * NS_PER_MS)
#define TEND_BACKOFF_MAX_NS (32 * NS_PER_MS)

/* ---- making and freeing ---- */

static int reactor_ring_open(struct reactor *r, const struct reactor_options *o)
{
	struct io_uring_params p = {.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE};
	unsigned entries = o->ring_entries != 0 ? o->ring_entries : RING_ENTRIES;
	unsigned coop = o->shared ? 0 : IORING_SETUP_COOP_TASKRUN;
	int rc;

	/* With several threads a completion may have to interrupt the thread that submitted. */
	p.cq_entries = entries * 4;
	p.flags |= coop | (o->sqe128 ? IORING_SETUP_SQE128 : 0);
	rc = io_uring_queue_init_params(entries, &r->ring, &p);
	if (rc == -EINVAL && coop != 0) {
		p = (struct io_uring_params){.flags = p.flags & ~coop, .cq_entries = entries * 4};
		rc = io_uring_queue_init_params(entries, &r->ring, &p);
	}
	if (rc == -EPERM || rc == -ENOSYS || rc == -EACCES) {
		log_error("env",
			"io_uring is not permitted on this host (%s): allow it "
			"(sysctl kernel.io_uring_disabled=0, or the container's seccomp profile)",
			ne_text(ne_from_errno(-rc)));
		return -NE_NOURING;
	}
	if (rc < 0) {
		log_error("env", "io_uring cannot be set up: %s", ne_text(ne_from_errno(-rc)));
		return ne_from_errno(-rc);
	}
	r->ring_open = true;
	return 0;
}

static int reactor_epoll_open(struct reactor *r)
{
	int rc;

	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->epoll_fd < 0 || r->event_fd < 0) {
		return -NE_MFILE;
	}
	rc = sys_epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->event_fd, EPOLLIN | EPOLLET, NULL);
	if (rc == 0) {
		rc = sys_epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->ring.ring_fd, EPOLLIN, NULL);
	}
	return rc < 0 ? ne_from_errno(-rc) : 0;
}

static void reactor_identity(struct reactor *r)
{
	int fd = sys_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
	uint64_t seed;
	ssize_t n = 0;

	if (fd >= 0) {
		n = sys_preadv2(fd, r->env.boot_id, sizeof(r->env.boot_id) - 1, 0, 0);
		sys_close(fd);
	}
	if (n <= 0) {
		/* Unknown is never equal to another host's, nor to itself. */
		sys_random(&seed, sizeof(seed));
		(void)snprintf(r->env.boot_id, sizeof(r->env.boot_id), "unknown-%llx",
			(unsigned long long)seed);
	}
	r->env.boot_id[strcspn(r->env.boot_id, "\n")] = '\0';
	sys_random(&seed, sizeof(seed));
	prng_init(&r->prng, seed);
}

static int reactor_init(struct reactor *r, const struct reactor_options *o)
{
	unsigned fibers = o->fibers_max != 0 ? o->fibers_max : LIM_FIBERS;
	int rc;

	rc = fiber_pool_new(fibers, &r->pool);
	if (rc < 0) {
		return rc;
	}
	fiber_sched_init(&r->env.sched, r->pool, fibers);
	r->env.sched.stack_check = o->stack_check;
	r->env.sched.now_ns = sys_clock(CLOCK_MONOTONIC);
	rc = reactor_ring_open(r, o);
	if (rc < 0) {
		return rc;
	}
	rc = reactor_epoll_open(r);
	if (rc < 0) {
		return rc;
	}
	reactor_identity(r);
	return 0;
}

int reactor_new(const struct reactor_options *options, struct reactor **ret_reactor)
{
	static const struct reactor_options defaults = {.cpu = -1};
	const struct reactor_options *o = options != NULL ? options : &defaults;
	struct reactor *r = mem_zalloc(sizeof(*r));
	int rc;

	ASSERT(ret_reactor != NULL);
	if (r == NULL) {
		return -NE_NOMEM;
	}
	r->env.ops = &posix_env_ops;
	r->epoll_fd = -1;
	r->event_fd = -1;
	r->cpu = o->cpu;
	spin_init(&r->spin, o->spin_us_max);
	list_init(&r->drive.waiting);
	r->drive.tend_deadline = ENV_FOREVER;
	rc = pthread_mutex_init(&r->drive.lock, NULL);
	ASSERT(rc == 0);
	jobs_init(r);
	rc = reactor_init(r, o);
	if (rc < 0) {
		reactor_free(r);
		return rc;
	}
	*ret_reactor = r;
	return 0;
}

void reactor_free(struct reactor *r)
{
	int rc;

	if (r == NULL) {
		return;
	}
	ASSERT(!r->drive.taken && !r->drive.running);
	jobs_fini(r);
	if (r->pool != NULL && r->env.sched.count > 0) {
		fiber_sched_abandon(&r->env.sched);
	}
	if (r->ring_open) {
		io_uring_queue_exit(&r->ring);
	}
	if (r->epoll_fd >= 0) {
		sys_close(r->epoll_fd);
	}
	if (r->event_fd >= 0) {
		sys_close(r->event_fd);
	}
	fiber_pool_free(r->pool);
	rc = pthread_mutex_destroy(&r->drive.lock);
	ASSERT(rc == 0);
	mem_free(r);
}

struct env *reactor_env(struct reactor *r)
{
	return &r->env;
}

/* ---- the role of driver ---- */

static void drive_lock(struct reactor *r)
{
	int rc = pthread_mutex_lock(&r->drive.lock);

	ASSERT(rc == 0);
}

static void drive_unlock(struct reactor *r)
{
	int rc = pthread_mutex_unlock(&r->drive.lock);

	ASSERT(rc == 0);
}

/* Gives the role to the first who waits for it, or leaves it free. */
static void drive_release(struct reactor *r)
{
	struct reactor_callrec *next = NULL;
	struct list *entry;
	bool tell;

	drive_lock(r);
	ASSERT(r->drive.taken);
	entry = list_pop_front(&r->drive.waiting);
	if (entry != NULL) {
		next = list_entry(entry, struct reactor_callrec, link);
		next->handed = false;
	} else {
		r->drive.taken = false;
	}
	/* Who tends must not oversleep what this driver leaves behind. */
	tell = next == NULL &&
		(r->env.sched.ready_count > 0 ||
			fiber_deadline_next(&r->env.sched) < r->drive.tend_deadline);
	drive_unlock(r);
	if (next != NULL) {
		atomic_store(&next->state, DRIVE_ROLE);
		sys_futex_wake(&next->state);
	} else if (tell) {
		reactor_wake(r);
	}
}

/* Drives until *done, or until reactor_stop if done is NULL. */
static void drive_until(struct reactor *r, const bool *done)
{
	atomic_store(&r->sleeping, 0);
	r->until_stop = done == NULL;
	for (;;) {
		reactor_turn(r);
		if (done != NULL ? *done : atomic_load(&r->stop) != 0) {
			return;
		}
		if (unlikely(atomic_load_explicit(&r->broken, memory_order_relaxed) != 0)) {
			return;
		}
		if (r->env.sched.ready_count == 0) {
			reactor_events(r, true);
		}
	}
}

/* ---- calls ---- */

static void call_finish(struct reactor_callrec *call)
{
	struct reactor *r = call->reactor;

	if (!call->handed) {
		call->done = true;
		return;
	}
	drive_lock(r);
	list_del(&call->link);
	drive_unlock(r);
	/* From here on the caller may return and its stack go. */
	atomic_store(&call->state, DRIVE_DONE);
	sys_futex_wake(&call->state);
}

static void call_fiber(void *arg)
{
	struct reactor_callrec *call = arg;

	call->fn(call->arg);
	call_finish(call);
}

static void call_start(struct posix_post *post)
{
	struct reactor_callrec *call = container_of(post, struct reactor_callrec, post);

	call->rc = env_spawn(&call->reactor->env, "call", call_fiber, call);
	if (call->rc < 0) {
		call_finish(call);
	}
}

/* Waits for the end of the call (false) or the role (true). */
static bool call_wait(struct reactor_callrec *call)
{
	uint32_t state;

	while ((state = atomic_load(&call->state)) == DRIVE_WAIT) {
		sys_futex_wait(&call->state, DRIVE_WAIT, UINT64_MAX);
	}
	return state == DRIVE_ROLE;
}

/* Takes the role (true), or queues for it with `call` (false). */
static bool drive_take(struct reactor *r, struct reactor_callrec *call)
{
	bool took;

	drive_lock(r);
	took = !r->drive.taken;
	r->drive.taken = true;
	if (unlikely(atomic_load(&r->broken) != 0)) {
		took = false;
		atomic_store(&call->state, DRIVE_BROKEN);
	} else if (!took) {
		call->handed = true;
		list_push_back(&r->drive.waiting, &call->link);
	}
	drive_unlock(r);
	return took;
}

int reactor_call(struct reactor *r, env_fiber_fn *fn, void *arg)
{
	struct reactor_callrec call = {
		.post = {.fn = call_start}, .reactor = r, .fn = fn, .arg = arg};

	ASSERT(fn != NULL);
	atomic_fetch_add_explicit(&r->drive.calls, 1, memory_order_relaxed);
	if (drive_take(r, &call)) {
		stat_add(&r->stats.calls_driven, 1);
		call_start(&call.post);
	} else {
		posix_post(&r->env, &call.post);
		if (!call_wait(&call)) {
			return atomic_load(&call.state) == DRIVE_BROKEN ? -NE_NOTRECOVERABLE
									: call.rc;
		}
	}
	if (!call.done) {
		drive_until(r, &call.done);
	}
	if (!call.done) {
		return -NE_NOTRECOVERABLE;
	}
	drive_release(r);
	return call.rc;
}

/* ---- running and tending ---- */

static int drive_begin(struct reactor *r)
{
	int rc = 0;

	drive_lock(r);
	if (r->drive.running) {
		rc = -NE_BUSY;
	} else {
		r->drive.running = true;
	}
	drive_unlock(r);
	return rc;
}

static void drive_end(struct reactor *r)
{
	drive_lock(r);
	r->drive.running = false;
	r->drive.tend_deadline = ENV_FOREVER;
	drive_unlock(r);
	atomic_store(&r->stop, 0);
}

int reactor_run(struct reactor *r)
{
	struct reactor_callrec call = {.reactor = r};
	int rc = drive_begin(r);

	if (rc < 0) {
		return rc;
	}
	if (r->cpu >= 0) {
		rc = sys_pin(r->cpu);
		if (rc < 0) {
			log_warn("env", "cannot pin to cpu=%d: %s", r->cpu,
				ne_text(ne_from_errno(-rc)));
		}
	}
	if (!drive_take(r, &call)) {
		bool role = call_wait(&call);

		ASSERT(role);
	}
	drive_until(r, NULL);
	drive_release(r);
	drive_end(r);
	return 0;
}

/* Serves what there is without blocking. */
static void tend_serve(struct reactor *r)
{
	atomic_store(&r->sleeping, 0);
	do {
		reactor_events(r, false);
		reactor_turn(r);
	} while (r->env.sched.ready_count > 0);
	if (atomic_load(&r->broken) == 0) {
		drive_release(r);
	}
}

/* Waits for an event or a deadline without being the driver. False if somebody else drives. */
static bool tend_wait(struct reactor *r)
{
	uint64_t deadline = ENV_FOREVER;
	uint64_t timeout = UINT64_MAX;
	bool idle;

	drive_lock(r);
	idle = !r->drive.taken;
	if (idle) {
		deadline = fiber_deadline_next(&r->env.sched);
		r->drive.tend_deadline = deadline;
		atomic_store(&r->sleeping, 1);
	}
	drive_unlock(r);
	if (!idle) {
		return false;
	}
	if (deadline != ENV_FOREVER) {
		uint64_t now = sys_clock(CLOCK_MONOTONIC);

		timeout = deadline > now ? deadline - now : 1;
	}
	if (atomic_load(&r->inbox) == NULL && atomic_load(&r->stop) == 0) {
		(void)sys_poll_in(r->epoll_fd, timeout);
	}
	return true;
}

int reactor_tend(struct reactor *r)
{
	uint64_t backoff = TEND_BACKOFF_MIN_NS;
	uint32_t calls = 0;
	int rc = drive_begin(r);

	if (rc < 0) {
		return rc;
	}
	while (atomic_load(&r->stop) == 0) {
		uint32_t calls_now = atomic_load_explicit(&r->drive.calls, memory_order_relaxed);
		bool free_role;

		/* While callers come and go they serve the reactor: look again later. */
		if (calls_now != calls) {
			calls = calls_now;
			sys_futex_wait(&r->stop, 0, backoff);
			backoff = u64_min(backoff * 2, TEND_BACKOFF_MAX_NS);
			continue;
		}
		drive_lock(r);
		free_role = !r->drive.taken;
		r->drive.taken = true;
		drive_unlock(r);
		if (free_role) {
			tend_serve(r);
		}
		if (atomic_load(&r->broken) != 0) {
			break;
		}
		if (free_role && tend_wait(r)) {
			backoff = TEND_BACKOFF_MIN_NS;
		} else {
			sys_futex_wait(&r->stop, 0, backoff);
		}
	}
	drive_end(r);
	return 0;
}

void reactor_stop(struct reactor *r)
{
	reactor_stopping_set(r);
	atomic_store(&r->stop, 1);
	sys_eventfd_write(r->event_fd);
	sys_futex_wake(&r->stop);
}

void reactor_break(struct reactor *r)
{
	struct fiber_sched *sched = &r->env.sched;
	struct list *entry;

	drive_lock(r);
	atomic_store(&r->broken, 1);
	r->drive.taken = true;
	while ((entry = list_pop_front(&r->drive.waiting)) != NULL) {
		struct reactor_callrec *call = list_entry(entry, struct reactor_callrec, link);

		/* From here on the caller may return and its stack go. */
		atomic_store(&call->state, DRIVE_BROKEN);
		sys_futex_wake(&call->state);
	}
	drive_unlock(r);
	list_init(&sched->ready);
	sched->ready_count = 0;
	if (sched->current != NULL) {
		fiber_park(sched);
	}
}

void reactor_stopping_set(struct reactor *r)
{
	__atomic_store_n(&r->env.stopping, true, __ATOMIC_RELAXED);
}

void reactor_stats(const struct reactor *r, struct reactor_stats *ret_stats)
{
	const uint64_t *from = (const uint64_t *)(const void *)&r->stats;
	uint64_t *to = (uint64_t *)(void *)ret_stats;

	_Static_assert(sizeof(r->stats) % sizeof(uint64_t) == 0, "an array of counters");
	for (size_t i = 0; i < sizeof(r->stats) / sizeof(uint64_t); i++) {
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	}
	ret_stats->wakeups = atomic_load_explicit(&r->wakeups, memory_order_relaxed);
	ret_stats->calls_handed = atomic_load_explicit(&r->drive.calls, memory_order_relaxed) -
		ret_stats->calls_driven;
}
