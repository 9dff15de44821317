/*
 * FUSE over io_uring: per CPU a queue of entries the kernel puts requests into and takes answers from.
 *
 * An entry is a header and a payload buffer, registered once; an answer and the wish for the next request are one
 * command (COMMIT_AND_FETCH), submitted with everything else at the end of the reactor's turn. A request is delivered to
 * the queue of the CPU it was made on; the kernel uses the rings when every queue has an entry. INTERRUPT, FORGET
 * and notifications still go through /dev/fuse.
 *
 * Invariants: an entry belongs to the kernel (a command is under way) or to one fuse_req. Depth times CPUs times 1 MiB is
 * bounded by URING_BYTES_MAX. Where registration fails the kernel stays with /dev/fuse, and so do we.
 *
 * Requests inside of rings are not sent again to a successor of this process: a mount either uses rings or survives its
 * daemon (docs/mount.md).
 *
 * Needs Linux 6.14 and the switch /sys/module/fuse/parameters/enable_uring. Source: fs/fuse/dev_uring.c.
 */
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fuse/fuse_int.h"

/* Entries of a queue: more do not help (measured at 8 and 32), fewer hold up readahead. */
#define URING_DEPTH 8
#define URING_BYTES_MAX (256 * MIB)
#define URING_QUEUES_MAX 1024
#define URING_END_WAIT_NS NS_PER_S

struct fuse_ent {
	struct posix_ring_op op;
	struct fuse_uring *u;
	struct fuse_uring_header *header;
	uint8_t *payload;
	struct iovec iov[2];
	uint16_t qid;
	bool in_kernel;
};

struct fuse_uring {
	struct fuse_session *s;
	unsigned queues;
	unsigned depth;
	size_t payload_bytes;
	struct fuse_ent *ents; /* queues * depth */
	unsigned in_kernel;
	int error; /* of the last command that failed */
	unsigned *live; /* per queue: entries the kernel has accepted */
};

bool fuse_uring_enabled(void)
{
	char text[8];

	return fuse_sys_text("/sys/module/fuse/parameters/enable_uring", text, sizeof(text)) > 0 &&
		(text[0] == 'Y' || text[0] == '1');
}

/* "0-3" or "0,2-5": one more than the highest number. */
static unsigned cpus_possible(void)
{
	char text[256];
	unsigned count = 0;

	if (fuse_sys_text("/sys/devices/system/cpu/possible", text, sizeof(text)) <= 0) {
		return 0;
	}
	for (const char *at = text; *at != '\0';) {
		char *end;
		unsigned long n;

		if (*at < '0' || *at > '9') {
			at++; /* "-" is no sign here */
			continue;
		}
		n = strtoul(at, &end, 10);
		if (n >= URING_QUEUES_MAX) {
			return 0; /* with a queue missing the kernel would wait for ever */
		}
		count = n + 1 > count ? (unsigned)n + 1 : count;
		at = end;
	}
	return count;
}

/* ---- commands ---- */

static void ent_command(struct fuse_ent *e, enum fuse_uring_cmd cmd, uint64_t commit_id)
{
	struct fuse_session *s = e->u->s;
	struct fuse_uring_cmd_req req = {.commit_id = commit_id, .qid = e->qid};
	struct io_uring_sqe *sqe = posix_ring_sqe(s->env, &e->op);
	uint64_t data = sqe->user_data;

	ASSERT(!e->in_kernel);
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->user_data = data;
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = s->fd;
	sqe->cmd_op = cmd;
	if (cmd == FUSE_URING_REGISTER) {
		sqe->addr = (uint64_t)(uintptr_t)e->iov;
		sqe->len = 2;
	}
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &req, sizeof(req));
	e->in_kernel = true;
	e->u->in_kernel++;
}

static void ent_deliver(struct fuse_ent *e)
{
	struct fuse_session *s = e->u->s;
	struct fuse_req *req = fuse_req_new(s);
	struct fuse_in_header head;
	bool ext = (s->agreed.flags & FUSE_SETXATTR_EXT) != 0;

	memcpy(&head, e->header->in_out, sizeof(head));
	if (req == NULL) {
		struct fuse_out_header out = {.len = sizeof(out), .unique = head.unique};

		s->counters.refused++;
		out.error = -ne_errno(NE_NOMEM);
		memcpy(e->header->in_out, &out, sizeof(out));
		e->header->ent.payload_size = 0;
		ent_command(e, FUSE_URING_COMMIT_AND_FETCH, head.unique);
		return;
	}
	req->ent = e;
	req->raw = (struct fuse_raw){.head = e->header->in_out,
		.arg = e->header->op_in,
		.arg_len = fuse_arg_size(head.opcode, ext),
		.rest = e->payload,
		.rest_len = e->header->ent.payload_size};
	if (req->raw.rest_len > e->u->payload_bytes) {
		req->raw.rest_len = 0; /* what follows will be found malformed */
	}
	ASSERT(req->raw.arg_len <= sizeof(e->header->op_in));
	fuse_req_start(req);
}

static void ent_done(struct posix_ring_op *op, int res, _unused_ unsigned flags)
{
	struct fuse_ent *e = container_of(op, struct fuse_ent, op);
	struct fuse_session *s = e->u->s;

	ASSERT(e->in_kernel && e->u->in_kernel > 0);
	e->in_kernel = false;
	e->u->in_kernel--;
	if (res < 0) {
		/* The mount is gone, or the entry was refused: it is not used any more. */
		e->u->error = res;
		ASSERT(e->u->live[e->qid] > 0);
		e->u->live[e->qid]--;
		env_wake_all(s->env, &s->changed);
	} else if (!s->stopping) {
		ent_deliver(e);
	}
}

void *fuse_uring_payload(struct fuse_req *req, size_t size)
{
	ASSERT(size <= req->ent->u->payload_bytes);
	return req->ent->payload;
}

void fuse_uring_answer(struct fuse_req *req, int sys_errno)
{
	struct fuse_ent *e = req->ent;
	struct fuse_out_header head = {.error = -sys_errno, .unique = req->unique};

	ASSERT(!e->in_kernel && req->ret_len <= e->u->payload_bytes);
	head.len = (uint32_t)(sizeof(head) + req->ret_len);
	memcpy(e->header->in_out, &head, sizeof(head));
	if (req->ret_len > 0 && req->ret_data != e->payload) {
		memcpy(e->payload, req->ret_data, req->ret_len);
	}
	e->header->ent.payload_size = (uint32_t)req->ret_len;
	ent_command(e, FUSE_URING_COMMIT_AND_FETCH, req->unique);
}

/* ---- setting up ---- */

static int ent_init(struct fuse_uring *u, struct fuse_ent *e, unsigned qid)
{
	e->op.done = ent_done;
	e->u = u;
	e->qid = (uint16_t)qid;
	e->header = mem_alloc_aligned(4096, 4096);
	e->payload = mem_alloc_aligned(4096, u->payload_bytes);
	if (e->header == NULL || e->payload == NULL) {
		return -NE_NOMEM;
	}
	e->iov[0] = (struct iovec){.iov_base = e->header, .iov_len = sizeof(*e->header)};
	e->iov[1] = (struct iovec){.iov_base = e->payload, .iov_len = u->payload_bytes};
	return 0;
}

static int uring_new(struct fuse_session *s, struct fuse_uring **ret_uring)
{
	struct fuse_uring *u = mem_zalloc(sizeof(*u));
	int rc = 0;

	if (u == NULL) {
		return -NE_NOMEM;
	}
	u->s = s;
	u->queues = cpus_possible();
	/* Written by the kernel up to max_write, and never less than what it must be able to say. */
	u->payload_bytes =
		s->agreed.max_write < FUSE_READ_MIN ? FUSE_READ_MIN : s->agreed.max_write;
	u->depth = URING_DEPTH;
	while (u->depth > 1 && u->depth * u->queues * u->payload_bytes > URING_BYTES_MAX) {
		u->depth /= 2;
	}
	if (u->queues == 0) {
		mem_free(u);
		return -NE_NOTSUP;
	}
	u->ents = mem_zalloc_array((size_t)u->queues * u->depth, sizeof(*u->ents));
	u->live = mem_zalloc_array(u->queues, sizeof(*u->live));
	if (u->ents == NULL || u->live == NULL) {
		rc = -NE_NOMEM;
	}
	for (unsigned i = 0; rc == 0 && i < u->queues * u->depth; i++) {
		rc = ent_init(u, &u->ents[i], i / u->depth);
	}
	if (rc < 0) {
		fuse_uring_free(u);
		return rc;
	}
	*ret_uring = u;
	return 0;
}

int fuse_uring_start(struct fuse_session *s)
{
	struct fuse_uring *u = NULL;
	int rc;

	ASSERT(s->uring == NULL && s->agreed.max_write > 0);
	rc = uring_new(s, &u);
	if (rc < 0) {
		/* The kernel waits for rings after it was promised some: an invalid entry ends that. */
		static struct fuse_uring none;
		static struct fuse_ent bad = {.op = {.done = ent_done}, .u = &none};
		static unsigned live[1] = {1};

		none.s = s;
		none.live = live;
		ent_command(&bad, FUSE_URING_REGISTER, 0);
		env_yield(s->env);
		return rc;
	}
	s->uring = u;
	for (unsigned i = 0; i < u->queues * u->depth; i++) {
		/* One entry of every queue first: then the kernel can begin. */
		unsigned at = i % u->queues * u->depth + i / u->queues;

		u->live[u->ents[at].qid]++;
		ent_command(&u->ents[at], FUSE_URING_REGISTER, 0);
	}
	/* Submitted at the end of this turn; refusals are known in the next. */
	env_yield(s->env);
	env_yield(s->env);
	for (unsigned q = 0; q < u->queues; q++) {
		if (u->live[q] == 0) {
			return ne_from_errno(-u->error);
		}
	}
	log_info("fuse", "FUSE over io_uring: queues=%u depth=%u", u->queues, u->depth);
	return 0;
}

void fuse_uring_free(struct fuse_uring *u)
{
	uint64_t deadline;

	if (u == NULL) {
		return;
	}
	deadline = env_now(u->s->env) + URING_END_WAIT_NS;
	while (u->in_kernel > 0) {
		if (env_wait(u->s->env, &u->s->changed, deadline, ENV_WAIT_PLAIN) < 0) {
			/* The mount lives on without us until this process ends: the kernel may still write here. */
			log_debug("fuse", "%u ring entries are still the kernel's", u->in_kernel);
			return;
		}
	}
	for (unsigned i = 0; u->ents != NULL && i < u->queues * u->depth; i++) {
		mem_free(u->ents[i].header);
		mem_free(u->ents[i].payload);
	}
	mem_free(u->ents);
	mem_free(u->live);
	mem_free(u);
}
