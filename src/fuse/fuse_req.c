/*
 * Requests: their memory, the fibers that serve them, their answers.
 *
 * Invariants: a request is in by_unique from fuse_req_start until its answer; it is answered exactly once; it is served by
 * at most one fiber. A fiber that has answered takes the next waiting request, so the queue never stands still
 * while fibers run.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"
#include "fuse/fuse_int.h"

struct fuse_req *fuse_req_new(struct fuse_session *s)
{
	struct list *entry = list_pop_front(&s->idle);
	struct fuse_req *req;

	if (entry != NULL) {
		s->idle_len--;
		req = list_entry(entry, struct fuse_req, link);
	} else {
		req = mem_alloc(sizeof(*req));
	}
	if (req == NULL) {
		return NULL;
	}
	memset(req, 0, offsetof(struct fuse_req, out));
	req->s = s;
	return req;
}

static void buf_put(struct fuse_session *s, void *buf)
{
	if (buf != NULL) {
		bufpool_put(s->pool, buf);
		(void)env_wake_one(s->env, &s->pool_wait);
	}
}

void fuse_req_free(struct fuse_req *req)
{
	struct fuse_session *s = req->s;

	ASSERT(!list_linked(&req->link) && !list_linked(&req->intr_link));
	buf_put(s, req->in_buf);
	buf_put(s, req->out_buf);
	if (s->idle_len < FUSE_REQS_KEEP) {
		list_push_front(&s->idle, &req->link);
		s->idle_len++;
		return;
	}
	mem_free(req);
}

struct fuse_req *fuse_req_find(struct fuse_session *s, uint64_t unique)
{
	for (struct hmap_node *it = hmap_find(&s->by_unique, hash_mix2(unique, 0)); it != NULL;
		it = hmap_find_next(it)) {
		struct fuse_req *req = container_of(it, struct fuse_req, node);

		if (req->unique == unique) {
			return req;
		}
	}
	return NULL;
}

static bool error_is_common(int error)
{
	return error == 0 || error == -NE_NOENT || error == -NE_NODATA || error == -NE_NOSYS;
}

/* Counts it, and keeps its span if that is wanted. */
static void req_count(struct fuse_req *req, int error)
{
	struct fuse_session *s = req->s;
	uint64_t now;

	if (!req->traced) {
		return; /* never served: refused, or interrupted in the queue */
	}
	trace_end(s->env);
	if (req->msg.head.opcode >= FUSE_OPCODES) {
		return;
	}
	now = env_clock(s->env);
	metric_hist_add(&s->latency[req->msg.head.opcode], now - req->start_ns);
	if (unlikely(trace_wanted(s->env, req->span.id, now - req->start_ns))) {
		struct trace_record what = {.kind = TRACE_FUSE,
			.op = (uint16_t)req->msg.head.opcode,
			.status = error,
			.bytes = u64_max(req->ret_len, req->msg.head.len),
			.pid = req->msg.head.pid};

		trace_keep(s->env, &req->span, now, &what);
	}
}

void fuse_req_answer(struct fuse_req *req, int error)
{
	struct fuse_session *s = req->s;
	int sys_errno;

	ASSERT(error <= 0);
	if (!error_is_common(error)) {
		s->counters.errors++;
		log_debug("fuse", "%s node=%llx: %s", fuse_op_name(req->msg.head.opcode),
			(unsigned long long)req->msg.head.nodeid, ne_text(error));
	}
	if (error < 0) {
		req->ret_len = 0;
	}
	sys_errno = req->ret_errno != 0 ? req->ret_errno : ne_errno(error);
	req_count(req, error);
	fuse_intr_forget(req);
	hmap_remove(&s->by_unique, &req->node);
	req->fiber = NULL;
	if (req->ent != NULL) {
		fuse_uring_answer(req, sys_errno);
	} else {
		fuse_dev_answer(req, sys_errno);
	}
	fuse_req_free(req);
}

static void req_serve(struct fuse_req *req)
{
	struct fuse_session *s = req->s;
	bool ext = (s->agreed.flags & FUSE_SETXATTR_EXT) != 0;
	fuse_op_fn *fn;
	int rc;

	env_interrupt_clear(s->env);
	req->state = FUSE_REQ_SERVED;
	req->fiber = env_self(s->env);
	req->traced = true;
	trace_id_new(s->env, req->span.id);
	trace_begin(s->env, &req->span, req->start_ns);
	rc = fuse_msg_parse(&req->raw, ext, &req->msg);
	if (rc == -NE_BADMSG) {
		s->counters.malformed++;
		log_warn("fuse", "the kernel sent a malformed %s of %u bytes",
			fuse_op_name(req->msg.head.opcode), req->msg.head.len);
	}
	if (req->msg.head.opcode < FUSE_OPCODES) {
		s->counters.by_op[req->msg.head.opcode]++;
	}
	if (rc == 0) {
		if (req->ent != NULL) {
			fuse_intr_ring_begin(req);
		}
		fn = fuse_op_find(req->msg.head.opcode);
		rc = fn != NULL ? fn(req) : -NE_NOSYS;
	}
	/* FORGETs over a ring must give their entry back. */
	fuse_req_answer(req, rc == FUSE_NO_ANSWER ? 0 : rc);
}

void fuse_req_unqueue(struct fuse_req *req)
{
	ASSERT(req->state == FUSE_REQ_QUEUED && list_linked(&req->link));
	list_del(&req->link);
	req->s->queue_len--;
}

static void req_fiber(void *arg)
{
	struct fuse_req *req = arg;
	struct fuse_session *s = req->s;

	for (;;) {
		req_serve(req);
		if (list_empty(&s->queue)) {
			break;
		}
		req = list_entry(s->queue.next, struct fuse_req, link);
		fuse_req_unqueue(req);
	}
	s->fibers--;
	env_wake_all(s->env, &s->changed);
}

void fuse_req_start(struct fuse_req *req)
{
	struct fuse_session *s = req->s;
	struct fuse_in_header head;
	int rc = -NE_LIMIT;

	memcpy(&head, req->raw.head, sizeof(head));
	req->unique = head.unique;
	req->start_ns = env_now(s->env);
	req->state = FUSE_REQ_QUEUED;
	hmap_insert(&s->by_unique, &req->node, hash_mix2(req->unique, 0));
	s->counters.requests++;
	s->counters.uring += req->ent != NULL;
	if (s->fibers < FUSE_FIBERS_MAX) {
		rc = env_spawn(s->env, "fuse", req_fiber, req);
	}
	if (rc == 0) {
		s->fibers++;
		return;
	}
	req->msg.head = head; /* for interrupts that find it in the queue */
	if (s->fibers == 0 || s->queue_len >= FUSE_QUEUE_MAX) {
		s->counters.refused++;
		fuse_req_answer(req, -NE_NOMEM);
		return;
	}
	s->counters.queued++;
	s->queue_len++;
	list_push_back(&s->queue, &req->link);
}

int fuse_req_out(struct fuse_req *req, size_t size, void **ret_buf)
{
	struct fuse_session *s = req->s;
	int rc = 0;

	ASSERT(req->out_buf == NULL);
	if (size == 0 || size > LIM_FUSE_IO_MAX) {
		return -NE_INVAL;
	}
	if (req->ent != NULL) {
		*ret_buf = fuse_uring_payload(req, size);
		return 0;
	}
	while (rc == 0) {
		req->out_buf = bufpool_get(s->pool, size);
		if (req->out_buf != NULL) {
			*ret_buf = req->out_buf;
			return 0;
		}
		rc = env_wait(s->env, &s->pool_wait, ENV_FOREVER, ENV_WAIT_INTR);
	}
	return rc;
}
