/*
 * For adapters (fuse, daemon, cli): file descriptors, ring commands and posts on a reactor's env.
 * Only with an env made by reactor_new.
 */
#ifndef NACRE_ENV_POSIX_POSIX_H
#define NACRE_ENV_POSIX_POSIX_H

#include "base/base.h"
#include "env/env.h"

struct io_uring;
struct io_uring_sqe;

/* ---- readiness of descriptors ---- */

enum posix_events {
	POSIX_IN = 1,
	POSIX_OUT = 2,
	POSIX_HUP = 4, /* error or hang-up; always reported */
};

/* A descriptor in the reactor's set, edge-triggered: call the descriptor's own system call first and wait
 * only after it said EAGAIN. The descriptor stays the caller's, who removes the watch before closing. */
struct posix_watch {
	int fd;
	unsigned interest; /* enum posix_events, without HUP */
	unsigned hup; /* POSIX_HUP once seen */
	bool ended; /* the peer sends no more, once seen: there will be no other edge for it */
	struct env_waitq in;
	struct env_waitq out;
	/* Optional; called before fibers wake. False: nothing has happened, wake nobody. */
	bool (*on_event)(struct posix_watch *w, unsigned events);
	/* Optional: asks the descriptor itself, cheaper than the set, while the reactor polls. True: something
	 * happened, and fibers were woken. Set posix_watch_hot when its event is the likeliest next. */
	bool (*poll)(struct posix_watch *w);
};

_check_ int posix_watch_add(struct env *env, struct posix_watch *w, int fd, unsigned interest);
/* Changes the interest; what is ready at this moment is reported again. */
_check_ int posix_watch_modify(struct env *env, struct posix_watch *w, unsigned interest);
/* The reactor may poll this watch directly, if the guess proves right. */
void posix_watch_hot(struct env *env, struct posix_watch *w);
/* Waiters get -NE_SHUTDOWN. Harmless on a watch that is not added. */
void posix_watch_del(struct env *env, struct posix_watch *w);
/* Waits for one kind of event (POSIX_IN or POSIX_OUT), HUP included. flags: enum env_wait_flags. */
_yields_ _check_ int posix_watch_wait(struct env *env, struct posix_watch *w, unsigned event,
	uint64_t deadline_ns, unsigned flags);
/* Waits until fd is ready for one of the events (a watch for this one time: one waiter per fd). */
_yields_ _check_ int posix_fd_wait(
	struct env *env, int fd, unsigned events, uint64_t deadline_ns, unsigned flags);

/* ---- the ring ---- */

/* Embedded in the command's owner; done is called by the driver, once per completion entry. It may wake
 * fibers and queue entries, not yield. */
struct posix_ring_op {
	void (*done)(struct posix_ring_op *op, int res, unsigned flags);
};

struct io_uring *posix_ring(struct env *env);
/* A ring entry that belongs to op; the caller fills it at once (io_uring_prep_*, which leave user_data
 * alone) and it is submitted at the end of the turn. Never NULL: a full ring is submitted first. */
struct io_uring_sqe *posix_ring_sqe(struct env *env, struct posix_ring_op *op);
/* Fills by fn, submits, waits for the completion and returns its result: >= 0, or negative errno. */
_yields_ int posix_ring_call(
	struct env *env, void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg);

/* ---- posts from other threads ---- */

struct posix_post {
	struct posix_post *next;
	void (*fn)(struct posix_post *post);
};

/* Thread-safe, never fails: the driver calls post->fn(post) in its next turn; the post is the owner's
 * again when fn is called. */
void posix_post(struct env *env, struct posix_post *post);
/* The same with memory of its own. -NE_NOMEM. */
_check_ int posix_call_soon(struct env *env, void (*fn)(void *arg), void *arg);

/* An event is expected within ns: poll so long before sleeping, whatever history says (bounded by the
 * reactor's spin_us_max). */
void posix_spin_hint(struct env *env, uint64_t ns);

/* For counters of system calls the adapter makes itself. */
void posix_count_file(struct env *env);

#endif
