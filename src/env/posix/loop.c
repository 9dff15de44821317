/*
 * One turn of the reactor, and the wait between turns.
 *
 * A turn: clock, timers, inbox, ring completions, every ready fiber once, submission. When no fiber is
 * ready the driver asks epoll; it polls first for as long as spin.c says, then blocks in epoll until the
 * earliest deadline. The ring's descriptor is in the epoll set, so a completion ends the wait too.
 *
 * No wake-up is lost: a poster pushes to the inbox and then looks at `sleeping`; the driver sets
 * `sleeping` and then looks at the inbox; both sequentially consistent. The eventfd is edge-triggered
 * and never read.
 */
#include <sched.h>

#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

#define EVENTS_MAX 64
/* With fibers always ready, epoll is asked this often (ns). */
#define LOOK_EVERY_NS (20 * NS_PER_US)
/* A polling pass longer than this (ns) met another runnable thread with much to do. */
#define PASS_CROWDED_NS (100 * NS_PER_US)

/* The hot watch: polled directly while its score is at least ON; all else every so many passes. */
#define HOT_MAX 8
#define HOT_ON 4
#define HOT_PASSES 8

/* ---- inbox ---- */

void reactor_wake(struct reactor *r)
{
	if (atomic_load(&r->sleeping) != 0 && atomic_exchange(&r->sleeping, 0) != 0) {
		atomic_fetch_add_explicit(&r->wakeups, 1, memory_order_relaxed);
		sys_eventfd_write(r->event_fd);
	}
}

void posix_post(struct env *env, struct posix_post *post)
{
	struct reactor *r = reactor_of(env);
	struct posix_post *head = atomic_load_explicit(&r->inbox, memory_order_relaxed);

	ASSERT(post->fn != NULL);
	do {
		post->next = head;
	} while (!atomic_compare_exchange_weak(&r->inbox, &head, post));
	reactor_wake(r);
}

void reactor_inbox_drain(struct reactor *r)
{
	struct posix_post *list;
	struct posix_post *ordered = NULL;

	if (atomic_load_explicit(&r->inbox, memory_order_relaxed) == NULL) {
		return;
	}
	list = atomic_exchange(&r->inbox, NULL);
	while (list != NULL) {
		struct posix_post *next = list->next;

		list->next = ordered;
		ordered = list;
		list = next;
	}
	while (ordered != NULL) {
		struct posix_post *next = ordered->next;

		ordered->fn(ordered);
		ordered = next;
	}
}

/* ---- ring ---- */

static void reactor_submit(struct reactor *r)
{
	int rc;

	if (io_uring_sq_ready(&r->ring) == 0) {
		return;
	}
	stat_add(&r->stats.sys_uring, 1);
	rc = io_uring_submit(&r->ring);
	/* Busy (completions must be reaped first) and interrupted calls are repeated by the next turn. */
	ASSERT(rc >= 0 || rc == -EBUSY || rc == -EAGAIN || rc == -EINTR);
}

struct io_uring_sqe *posix_ring_sqe(struct env *env, struct posix_ring_op *op)
{
	struct reactor *r = reactor_of(env);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

	ASSERT(op->done != NULL);
	while (unlikely(sqe == NULL)) {
		reactor_submit(r);
		sqe = io_uring_get_sqe(&r->ring);
		if (sqe == NULL) {
			(void)reactor_ring_reap(
				r); /* the kernel wants room for completions first */
		}
	}
	io_uring_sqe_set_data(sqe, op);
	return sqe;
}

bool reactor_ring_reap(struct reactor *r)
{
	struct io_uring_cqe *cqe;
	bool any = false;

	while (io_uring_cq_ready(&r->ring) > 0 || io_uring_cq_has_overflow(&r->ring)) {
		struct posix_ring_op *op;
		int res;
		unsigned flags;

		if (io_uring_peek_cqe(&r->ring, &cqe) != 0) {
			break;
		}
		op = io_uring_cqe_get_data(cqe);
		res = cqe->res;
		flags = cqe->flags;
		io_uring_cqe_seen(&r->ring, cqe);
		any = true;
		if (op != NULL) {
			op->done(op, res, flags);
		}
	}
	return any;
}

struct ring_wait {
	struct posix_ring_op op;
	struct env_waitq q;
	int res;
	bool done;
};

static void ring_wait_done(struct posix_ring_op *op, int res, _unused_ unsigned flags)
{
	struct ring_wait *w = container_of(op, struct ring_wait, op);

	ASSERT(!w->done);
	w->res = res;
	w->done = true;
	fiber_wake_all(&w->q);
}

int posix_ring_call(struct env *env, void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg)
{
	struct ring_wait w = {.op = {.done = ring_wait_done}};

	env_waitq_init(&w.q);
	prep(posix_ring_sqe(env, &w.op), arg);
	while (!w.done) {
		int rc = env_wait(env, &w.q, ENV_FOREVER, ENV_WAIT_PLAIN);

		ASSERT(rc == 0);
	}
	return w.res;
}

/* ---- waiting ---- */

/* Wakes who waits for what a watch reports; false if it was nothing after all. */
static bool reactor_dispatch(struct reactor *r, struct posix_watch *w, uint32_t bits)
{
	unsigned seen = 0;

	seen |= (bits & (EPOLLIN | EPOLLRDHUP)) != 0 ? (unsigned)POSIX_IN : 0;
	seen |= (bits & EPOLLOUT) != 0 ? (unsigned)POSIX_OUT : 0;
	w->ended |= (bits & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0;
	if ((bits & (EPOLLERR | EPOLLHUP)) != 0) {
		seen |= POSIX_IN | POSIX_OUT | POSIX_HUP;
		w->hup = POSIX_HUP;
	}
	if (w->on_event != NULL && !w->on_event(w, seen)) {
		return false;
	}
	r->hot_seen |= w == r->hot;
	if ((seen & POSIX_IN) != 0) {
		fiber_wake_all(&w->in);
	}
	if ((seen & POSIX_OUT) != 0) {
		fiber_wake_all(&w->out);
	}
	return true;
}

/* Asks epoll, at most timeout_ns. Returns how many events there were. */
static int reactor_epoll(struct reactor *r, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS_MAX];
	int seen = 0;
	int n;

	stat_add(&r->stats.sys_epoll, 1);
	n = sys_epoll_wait(r->epoll_fd, events, EVENTS_MAX, timeout_ns);
	for (int i = 0; i < n; i++) {
		struct posix_watch *w = events[i].data.ptr;

		/* NULL: the ring or the eventfd; the turn looks at what they announce. */
		seen += w == NULL || reactor_dispatch(r, w, events[i].events);
	}
	return seen;
}

/* Something for the next turn that epoll did not tell. */
static bool reactor_pending(struct reactor *r)
{
	return atomic_load(&r->inbox) != NULL || io_uring_cq_ready(&r->ring) > 0 ||
		(r->until_stop && atomic_load(&r->stop) != 0);
}

/* One look while polling: at the hot watch alone if that has been right, now and then at everything. */
static bool reactor_look(struct reactor *r, unsigned pass)
{
	struct posix_watch *hot = r->hot;

	if (hot != NULL && hot->poll != NULL && r->hot_score >= HOT_ON && pass % HOT_PASSES != 0) {
		if (hot->poll(hot)) {
			r->hot_seen = true;
			return true;
		}
	} else if (reactor_epoll(r, 0) > 0) {
		return true;
	}
	return reactor_pending(r);
}

static void reactor_hot_learn(struct reactor *r)
{
	if (r->hot_seen) {
		r->hot_score += r->hot_score < HOT_MAX;
	} else {
		r->hot_score -= r->hot_score < 2 ? r->hot_score : 2;
	}
}

/* *ret_end_ns: when the budget was used up; untouched if an event came first. */
static bool reactor_poll(
	struct reactor *r, uint64_t begin_ns, uint64_t budget_ns, uint64_t *ret_end_ns)
{
	uint64_t last = begin_ns;

	stat_add(&r->stats.spins, 1);
	r->hot_seen = false;
	for (unsigned pass = 1;; pass++) {
		uint64_t now;

		if (reactor_look(r, pass)) {
			stat_add(&r->stats.spins_hit, 1);
			reactor_hot_learn(r);
			return true;
		}
		(void)sched_yield();
		stat_add(&r->stats.spin_passes, 1);
		now = sys_clock(CLOCK_MONOTONIC);
		if (now - last > PASS_CROWDED_NS) {
			spin_crowded(&r->spin);
			stat_add(&r->stats.spins_crowded, 1);
		}
		if (now - begin_ns >= budget_ns) {
			*ret_end_ns = now;
			return false;
		}
		last = now;
	}
}

/* Accounts for what lies between the last wait's end and this one's, out of times that were read anyway. */
static void reactor_time(struct reactor *r, uint64_t begin_ns, uint64_t asleep_ns)
{
	uint64_t end = r->polled_at;

	if (asleep_ns == 0) {
		asleep_ns = end;
	}
	stat_add(&r->stats.busy_ns, r->waited_at == 0 ? 0 : begin_ns - r->waited_at);
	stat_add(&r->stats.polling_ns, asleep_ns - begin_ns);
	stat_add(&r->stats.idle_ns, end - asleep_ns);
	r->waited_at = end;
}

/* Returns true if an event ended the sleep, false if the deadline did. */
static bool reactor_sleep(struct reactor *r, uint64_t deadline_ns)
{
	uint64_t timeout = UINT64_MAX;
	bool event;

	if (deadline_ns != ENV_FOREVER) {
		uint64_t now = sys_clock(CLOCK_MONOTONIC);

		if (deadline_ns <= now) {
			return false;
		}
		timeout = deadline_ns - now;
	}
	atomic_store(&r->sleeping, 1);
	if (reactor_pending(r)) {
		atomic_store(&r->sleeping, 0);
		return true;
	}
	stat_add(&r->stats.sleeps, 1);
	/* A completion made by this thread's own task work ends the wait as a signal does: no event tells. */
	event = reactor_epoll(r, timeout) > 0 || reactor_pending(r);
	atomic_store(&r->sleeping, 0);
	if (!event) {
		stat_add(&r->stats.sleeps_timeout, 1);
	}
	return event;
}

void reactor_events(struct reactor *r, bool wait)
{
	uint64_t deadline = fiber_deadline_next(&r->env.sched);
	uint64_t begin;
	uint64_t asleep; /* when polling gave way to sleep; 0: an event came before */
	uint64_t budget;
	bool polled;
	bool event;

	ASSERT(r->env.sched.current == NULL);
	if (!wait) {
		(void)reactor_epoll(r, 0);
		return;
	}
	begin = sys_clock(CLOCK_MONOTONIC);
	if (deadline <= begin) {
		(void)reactor_epoll(r, 0);
		return;
	}
	budget = u64_min(spin_budget(&r->spin, begin), deadline - begin);
	polled = budget > 0;
	asleep = polled ? 0 : begin;
	event = polled && reactor_poll(r, begin, budget, &asleep);
	if (!event) {
		event = reactor_sleep(r, deadline);
	}
	/* Everything was just asked: the turn that follows need not ask again. */
	r->polled_at = sys_clock(CLOCK_MONOTONIC);
	reactor_time(r, begin, asleep);
	spin_learn(&r->spin, polled, event, r->polled_at - begin);
}

void reactor_turn(struct reactor *r)
{
	struct fiber_sched *sched = &r->env.sched;

	stat_add(&r->stats.turns, 1);
	sched->now_ns = sys_clock(CLOCK_MONOTONIC);
	(void)fiber_timers_expire(sched);
	reactor_inbox_drain(r);
	(void)reactor_ring_reap(r);
	if (sched->ready_count > 0 && sched->now_ns - r->polled_at > LOOK_EVERY_NS) {
		r->polled_at = sched->now_ns;
		reactor_events(r, false);
	}
	(void)fiber_turn(sched);
	reactor_submit(r);
	__atomic_store_n(&r->stats.switches, sched->switches, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.fibers, sched->count, __ATOMIC_RELAXED);
	__atomic_store_n(&r->stats.stack_used_max, sched->stack_used_max, __ATOMIC_RELAXED);
}
