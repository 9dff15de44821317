/*
 * Descriptors in the epoll set. Edge-triggered, and by default for input only: a Unix socket reports
 * room to write each time the peer reads, and that must not wake a sleeping reactor. Who meets a full
 * buffer asks for output then (posix_watch_modify re-arms, so no edge is missed).
 */
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

static uint32_t watch_bits(unsigned interest)
{
	uint32_t bits = EPOLLET;

	bits |= (interest & POSIX_IN) != 0 ? (uint32_t)(EPOLLIN | EPOLLRDHUP) : 0;
	bits |= (interest & POSIX_OUT) != 0 ? (uint32_t)EPOLLOUT : 0;
	return bits;
}

int posix_watch_add(struct env *env, struct posix_watch *w, int fd, unsigned interest)
{
	struct reactor *r = reactor_of(env);
	int rc;

	ASSERT(fd >= 0);
	ASSERT((interest & ~(unsigned)(POSIX_IN | POSIX_OUT)) == 0);
	w->fd = fd;
	w->interest = interest;
	w->hup = 0;
	w->ended = false;
	env_waitq_init(&w->in);
	env_waitq_init(&w->out);
	stat_add(&r->stats.sys_epoll, 1);
	rc = sys_epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, watch_bits(interest), w);
	if (rc < 0) {
		w->fd = -1;
		return ne_from_errno(-rc);
	}
	return 0;
}

int posix_watch_modify(struct env *env, struct posix_watch *w, unsigned interest)
{
	struct reactor *r = reactor_of(env);
	int rc;

	ASSERT(w->fd >= 0);
	stat_add(&r->stats.sys_epoll, 1);
	rc = sys_epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, w->fd, watch_bits(interest), w);
	if (rc < 0) {
		return ne_from_errno(-rc);
	}
	w->interest = interest;
	return 0;
}

void posix_watch_hot(struct env *env, struct posix_watch *w)
{
	ASSERT(w->fd >= 0);
	reactor_of(env)->hot = w;
}

static void watch_end(struct env_waitq *q)
{
	while (!list_empty(&q->waiters)) {
		fiber_wake(list_entry(q->waiters.next, struct fiber, link), -NE_SHUTDOWN);
	}
}

void posix_watch_del(struct env *env, struct posix_watch *w)
{
	struct reactor *r = reactor_of(env);
	int rc;

	if (w->fd < 0 || w->in.waiters.next == NULL) {
		return;
	}
	stat_add(&r->stats.sys_epoll, 1);
	rc = sys_epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, w->fd, 0, NULL);
	ASSERT(rc == 0);
	w->fd = -1;
	if (r->hot == w) {
		r->hot = NULL;
	}
	watch_end(&w->in);
	watch_end(&w->out);
}

int posix_watch_wait(struct env *env, struct posix_watch *w, unsigned event, uint64_t deadline_ns,
	unsigned flags)
{
	ASSERT(event == POSIX_IN || event == POSIX_OUT);
	return env_wait(env, event == POSIX_IN ? &w->in : &w->out, deadline_ns, flags);
}

struct fd_wait {
	struct posix_watch watch;
	struct env_waitq q;
	bool seen;
};

static bool fd_wait_event(struct posix_watch *w, _unused_ unsigned events)
{
	struct fd_wait *fw = container_of(w, struct fd_wait, watch);

	fw->seen = true;
	fiber_wake_all(&fw->q);
	return true;
}

int posix_fd_wait(struct env *env, int fd, unsigned events, uint64_t deadline_ns, unsigned flags)
{
	struct fd_wait fw = {.watch = {.on_event = fd_wait_event}};
	int rc;

	env_waitq_init(&fw.q);
	rc = posix_watch_add(env, &fw.watch, fd, events & (POSIX_IN | POSIX_OUT));
	while (rc == 0 && !fw.seen) {
		rc = env_wait(env, &fw.q, deadline_ns, flags);
	}
	posix_watch_del(env, &fw.watch);
	return rc;
}
