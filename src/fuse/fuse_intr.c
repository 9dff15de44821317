/*
 * INTERRUPT: a signal reached a process whose request is here.
 *
 * The kernel tells of any signal, once per request, also of timers and of children that ended; POSIX does not let those
 * end operations on files, and programs do not expect it (git ticks with SIGALRM). So a request is ended at once if the
 * process is being killed; after a short while if it was sent another signal that means "stop" or that it has
 * a handler for; never because of signals that only inform. What is pending is read from /proc/PID/status, again and again
 * while the request lasts, because the kernel does not tell of later signals.
 *
 * A fatal signal with default action (^C of most programs) shows as a pending SIGKILL: the kernel marks all threads so.
 *
 * Over io_uring an INTERRUPT, which comes by /dev/fuse, can be here before its request: its number is kept. And
 * Linux (6.14 to 6.18 at least) sends none at all if the signal comes after the request was put on its way to us and before we
 * took it (fuse_uring_prepare_send sets FR_SENT and does not look at FR_INTERRUPTED); the killed process
 * would wait for the servers. So the processes behind ring requests that last are looked at without being told.
 * Otherwise an unknown number is answered EAGAIN, and the kernel sends it again if the request still lives.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fuse/fuse_int.h"

/* How long an operation may go on after a signal that has a handler (ns), and how often is looked (ns). */
#define INTR_GRACE_NS (200 * NS_PER_MS)
#define INTR_LOOK_NS (50 * NS_PER_MS)
/* How often the ring requests that last are looked at (ns), and how many at a time. */
#define WATCH_NS (500 * NS_PER_MS)
#define WATCH_MAX 64
/* The line of groups stands before the signals and may be long. */
#define STATUS_BYTES (1024 * KIB)

static uint64_t sig_bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

/* Signals that tell something and do not ask to stop. */
static uint64_t sig_informing(void)
{
	return sig_bit(SIGALRM) | sig_bit(SIGVTALRM) | sig_bit(SIGPROF) | sig_bit(SIGCHLD) |
		sig_bit(SIGWINCH) | sig_bit(SIGURG) | sig_bit(SIGIO) | sig_bit(SIGCONT);
}

static uint64_t status_mask(const char *text, const char *field)
{
	const char *at = strstr(text, field);

	return at != NULL ? strtoull(at + strlen(field), NULL, 16) : 0;
}

enum intr_verdict {
	INTR_NOT,
	INTR_SOON,
	INTR_NOW,
	INTR_UNKNOWN
};

static enum intr_verdict intr_judge(uint32_t pid)
{
	static char text[STATUS_BYTES]; /* the reactor's only; no yield while it is used */
	char path[48];
	uint64_t pending;
	ssize_t n;

	if (pid == 0) {
		return INTR_UNKNOWN; /* a process of another pid name space, or none */
	}
	(void)snprintf(path, sizeof(path), "/proc/%u/status", pid);
	n = fuse_sys_text(path, text, sizeof(text));
	if (n <= 0) {
		return INTR_UNKNOWN;
	}
	pending = status_mask(text, "\nSigPnd:") | status_mask(text, "\nShdPnd:");
	pending &= ~status_mask(text, "\nSigBlk:");
	if ((pending & sig_bit(SIGKILL)) != 0) {
		return INTR_NOW;
	}
	return (pending & ~sig_informing()) != 0 ? INTR_SOON : INTR_NOT;
}

/* True if the request was answered (it is gone). */
static bool intr_end(struct fuse_req *req)
{
	struct fuse_session *s = req->s;

	s->counters.interrupted++;
	if (req->state == FUSE_REQ_QUEUED) {
		if (!list_linked(&req->link)) {
			return false; /* its fiber has not run yet: next look */
		}
		fuse_req_unqueue(req);
		fuse_req_answer(req, -NE_INTR);
		return true;
	}
	ASSERT(req->fiber != NULL);
	fuse_intr_forget(req);
	env_interrupt(s->env, req->fiber);
	return true;
}

static void intr_look(struct fuse_req *req, uint64_t now_ns)
{
	enum intr_verdict verdict = intr_judge(req->msg.head.pid);

	if (verdict == INTR_UNKNOWN) {
		verdict = req->msg.head.pid == 0 ? INTR_SOON : INTR_NOW; /* the kernel has asked */
	}
	if (verdict == INTR_NOW ||
		(verdict == INTR_SOON && now_ns - req->intr_since_ns >= INTR_GRACE_NS)) {
		(void)intr_end(req);
	}
}

/* Looks after interrupted requests until there are none. */
static void intr_fiber(void *arg)
{
	struct fuse_session *s = arg;

	while (!list_empty(&s->interrupted)) {
		env_sleep(s->env, INTR_LOOK_NS);
		LIST_FOREACH_SAFE (it, &s->interrupted) {
			intr_look(list_entry(it, struct fuse_req, intr_link), env_now(s->env));
		}
	}
	s->intr_fiber = false;
	env_wake_all(s->env, &s->changed);
}

static void intr_add(struct fuse_req *req)
{
	struct fuse_session *s = req->s;

	if (list_linked(&req->intr_link)) {
		return;
	}
	req->intr_since_ns = env_now(s->env);
	list_push_back(&s->interrupted, &req->intr_link);
	intr_look(req, req->intr_since_ns);
	if (list_empty(&s->interrupted) || s->intr_fiber) {
		return;
	}
	if (env_spawn(s->env, "fuse-intr", intr_fiber, s) == 0) {
		s->intr_fiber = true;
	} else {
		/* No fiber to wait with: at once. */
		LIST_FOREACH_SAFE (it, &s->interrupted) {
			(void)intr_end(list_entry(it, struct fuse_req, intr_link));
		}
	}
}

void fuse_intr_message(struct fuse_session *s, const struct fuse_msg *msg)
{
	struct fuse_req *req = fuse_req_find(s, msg->arg.interrupt.unique);

	s->counters.interrupts++;
	if (req != NULL) {
		intr_add(req);
		return;
	}
	if (s->uring != NULL) {
		s->intr_early[s->intr_early_next++ % FUSE_INTR_EARLY] = msg->arg.interrupt.unique;
	}
	fuse_dev_answer_raw(s, msg->head.unique, EAGAIN);
}

/* The kernel would interrupt it, if it told: not what works in the background. */
static bool watch_wants(const struct fuse_req *req)
{
	const struct fuse_msg *msg = &req->msg;

	if (req->ent == NULL || req->state != FUSE_REQ_SERVED || list_linked(&req->intr_link)) {
		return false;
	}
	switch (msg->head.opcode) {
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return false;
	case FUSE_WRITE:
		return (msg->arg.io.io_flags & FUSE_WRITE_CACHE) == 0;
	default:
		return true;
	}
}

/* Looks at the processes of ring requests older than WATCH_NS; false when there is no ring request. */
static bool watch_look(struct fuse_session *s)
{
	struct fuse_req *old[WATCH_MAX];
	unsigned count = 0;
	bool any = false;

	for (struct hmap_node *it = hmap_first(&s->by_unique); it != NULL && count < WATCH_MAX;
		it = hmap_next(&s->by_unique, it)) {
		struct fuse_req *req = container_of(it, struct fuse_req, node);

		any |= req->ent != NULL;
		if (watch_wants(req) && env_now(s->env) - req->begin_ns >= WATCH_NS) {
			old[count++] = req;
		}
	}
	for (unsigned i = 0; i < count; i++) {
		enum intr_verdict verdict = intr_judge(old[i]->msg.head.pid);

		if (verdict == INTR_NOW || verdict == INTR_SOON) {
			intr_add(old[i]);
		}
	}
	return any;
}

static void watch_fiber(void *arg)
{
	struct fuse_session *s = arg;

	do {
		env_sleep(s->env, WATCH_NS);
	} while (!s->stopping && watch_look(s));
	s->watch_fiber = false;
	env_wake_all(s->env, &s->changed);
}

void fuse_intr_ring_begin(struct fuse_req *req)
{
	struct fuse_session *s = req->s;

	ASSERT(req->ent != NULL && req->fiber != NULL);
	req->begin_ns = env_now(s->env);
	if (!s->watch_fiber && env_spawn(s->env, "fuse-watch", watch_fiber, s) == 0) {
		s->watch_fiber = true;
	}
	for (unsigned i = 0; s->intr_early_next != 0 && i < FUSE_INTR_EARLY; i++) {
		if (s->intr_early[i] == req->unique) {
			s->intr_early[i] = 0;
			intr_add(req);
			return;
		}
	}
}

void fuse_intr_forget(struct fuse_req *req)
{
	if (list_linked(&req->intr_link)) {
		list_del(&req->intr_link);
	}
}

void fuse_intr_all(struct fuse_session *s)
{
	for (struct hmap_node *it = hmap_first(&s->by_unique); it != NULL;
		it = hmap_next(&s->by_unique, it)) {
		struct fuse_req *req = container_of(it, struct fuse_req, node);

		if (req->fiber != NULL) {
			env_interrupt(s->env, req->fiber);
		}
	}
}
