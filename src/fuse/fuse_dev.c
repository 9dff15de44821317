/*
 * The /dev/fuse channel: one fiber reads, requests are served in theirs, answers are written at once.
 *
 * A read scatters: header and structure (80 bytes, a WRITE's are exactly so long) into the request's record, the rest into
 * a buffer of 1 MiB that begins at a page, so the data of a WRITE lies where the client sends it from. All other requests
 * are short: their rest is copied behind their head and the big buffer stays for the next read.
 *
 * Invariant: the reader never waits for memory or for requests to end, because INTERRUPTs come through the same
 * channel and must be heard when every server is down. What cannot be kept is refused with ENOMEM.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "fuse/fuse_int.h"

static void dev_write(struct fuse_session *s, const struct fuse_out_header *head, const void *data)
{
	struct iovec iov[2] = {
		{.iov_base = (void *)(uintptr_t)head, .iov_len = sizeof(*head)},
		{.iov_base = (void *)(uintptr_t)data, .iov_len = head->len - sizeof(*head)},
	};
	ssize_t n;

	ASSERT(head->len >= sizeof(*head));
	posix_count_file(s->env);
	n = fuse_sys_writev(s->fd, iov, iov[1].iov_len > 0 ? 2 : 1);
	/* ENOENT: the request is gone (killed, or never was); ENODEV: so is the mount. */
	if (n < 0 && n != -ENOENT && n != -ENODEV) {
		log_warn("fuse", "the kernel refused an answer of %u bytes: %s", head->len,
			ne_text(ne_from_errno((int)-n)));
	}
}

void fuse_dev_answer_raw(struct fuse_session *s, uint64_t unique, int sys_errno)
{
	struct fuse_out_header head = {.len = sizeof(head), .error = -sys_errno, .unique = unique};

	dev_write(s, &head, NULL);
}

void fuse_dev_answer(struct fuse_req *req, int sys_errno)
{
	struct fuse_out_header head = {.error = -sys_errno, .unique = req->unique};

	ASSERT(sys_errno >= 0 && req->ret_len <= LIM_FUSE_IO_MAX);
	head.len = (uint32_t)(sizeof(head) + req->ret_len);
	dev_write(req->s, &head, req->ret_data);
}

/* ---- messages that need no fiber ---- */

static void dev_init(struct fuse_session *s, const struct fuse_msg *msg)
{
	struct fuse_init_out out;
	struct fuse_out_header head = {.unique = msg->head.unique};
	int rc = fuse_init_agree(&msg->arg.init, &s->want, &out, &s->agreed);

	if (rc < 0) {
		log_error("fuse", "the kernel speaks FUSE %u.%u; at least %u.%u is needed",
			msg->arg.init.major, msg->arg.init.minor, FUSE_MAJOR, FUSE_MINOR_MIN);
		fuse_dev_answer_raw(s, msg->head.unique, EPROTO);
		s->init_rc = rc;
		env_wake_all(s->env, &s->changed);
		return;
	}
	head.len = sizeof(head) + sizeof(out);
	dev_write(s, &head, &out);
	if (s->agreed.minor == 0) {
		return;
	}
	log_info("fuse", "FUSE %u.%u flags=%llx max_write=%u", msg->arg.init.major,
		msg->arg.init.minor, (unsigned long long)s->agreed.flags, s->agreed.max_write);
	for (const struct fuse_feature *f = fuse_features; f->flag != 0; f++) {
		if ((s->agreed.flags & f->flag) == 0 &&
			(f->flag != FUSE_OVER_IO_URING || s->want.uring)) {
			log_info("fuse", "without %s (%s): %s", f->name, f->since, f->lost);
		}
	}
	s->ready = true;
	env_wake_all(s->env, &s->changed);
}

/* True if the message was dealt with here. */
static bool dev_inline(struct fuse_session *s, const struct fuse_raw *raw, uint32_t opcode)
{
	struct fuse_msg msg;
	int rc;

	switch (opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		/* Node ids are inode numbers: there is nothing to forget, but what is dead already. */
		fuse_grave_forget(s, raw);
		s->counters.forgets++;
		return true;
	case FUSE_INTERRUPT:
	case FUSE_INIT:
		break;
	default:
		return false;
	}
	rc = fuse_msg_parse(raw, false, &msg);
	if (rc < 0) {
		s->counters.malformed++;
		log_warn("fuse", "the kernel sent a malformed %s", fuse_op_name(opcode));
	} else if (opcode == FUSE_INIT) {
		dev_init(s, &msg);
	} else {
		fuse_intr_message(s, &msg);
	}
	return true;
}

/* ---- reading ---- */

/* The request's rest (len bytes) is in the big buffer: gives it memory of its own. */
static int dev_keep_rest(struct fuse_req *req, size_t len)
{
	struct fuse_session *s = req->s;
	uint8_t *big;

	if (len > FUSE_COPY_MAX) {
		big = bufpool_get(s->pool, LIM_FUSE_IO_MAX);
		if (big != NULL) {
			req->in_buf = s->spare;
			s->spare = big;
			return 0;
		}
	}
	req->in_buf = bufpool_get(s->pool, len);
	if (req->in_buf == NULL) {
		return -NE_NOMEM;
	}
	memcpy(req->in_buf, s->spare, len);
	return 0;
}

static int dev_take_write(struct fuse_req *req, size_t rest)
{
	int rc = rest > 0 ? dev_keep_rest(req, rest) : 0;

	req->raw = (struct fuse_raw){.head = req->in,
		.arg = req->in + sizeof(struct fuse_in_header),
		.arg_len = sizeof(struct fuse_io_in),
		.rest = req->in_buf,
		.rest_len = rest};
	return rc;
}

/* Any other request: in one piece. */
static int dev_take_short(struct fuse_req *req, size_t len)
{
	struct fuse_session *s = req->s;
	bool ext = (s->agreed.flags & FUSE_SETXATTR_EXT) != 0;
	size_t head = len < FUSE_IN_HEAD ? len : FUSE_IN_HEAD;
	uint8_t *to = req->in;

	if (len > sizeof(req->in)) {
		req->in_buf = len <= LIM_FUSE_IO_MAX ? bufpool_get(s->pool, len) : NULL;
		if (req->in_buf == NULL) {
			return -NE_NOMEM;
		}
		to = req->in_buf;
		memcpy(to, req->in, head);
	}
	memcpy(to + head, s->spare, len - head);
	return fuse_raw_split(to, len, ext, &req->raw);
}

static void dev_refuse(struct fuse_req *req, const struct fuse_in_header *head, int rc)
{
	struct fuse_session *s = req->s;

	if (rc == -NE_BADMSG) {
		s->counters.malformed++;
		log_warn("fuse", "the kernel sent a message of wrong length");
	} else {
		s->counters.refused++;
	}
	fuse_dev_answer_raw(s, head->unique, ne_errno(rc));
}

/* A message of len bytes is in s->next and s->spare. True if a fiber was started. */
static bool dev_received(struct fuse_session *s, size_t len)
{
	struct fuse_req *req = s->next;
	struct fuse_in_header head;
	int rc;

	if (len < sizeof(head)) {
		s->counters.malformed++;
		return false;
	}
	memcpy(&head, req->in, sizeof(head));
	if (head.opcode == FUSE_WRITE && len >= FUSE_IN_HEAD && head.len == len) {
		rc = dev_take_write(req, len - FUSE_IN_HEAD);
	} else {
		rc = dev_take_short(req, len);
	}
	if (rc == 0 && dev_inline(s, &req->raw, head.opcode)) {
		return false;
	}
	s->next = NULL;
	if (rc < 0) {
		dev_refuse(req, &head, rc);
		fuse_req_free(req);
		return false;
	}
	fuse_req_start(req);
	return true;
}

/* Bytes read, or -errno. */
static ssize_t dev_read(struct fuse_session *s)
{
	struct iovec iov[2];

	if (s->next == NULL) {
		s->next = fuse_req_new(s);
		if (s->next == NULL) {
			return -ENOMEM;
		}
	}
	iov[0] = (struct iovec){.iov_base = s->next->in, .iov_len = FUSE_IN_HEAD};
	iov[1] = (struct iovec){.iov_base = s->spare, .iov_len = LIM_FUSE_IO_MAX};
	posix_count_file(s->env);
	return fuse_sys_readv(s->fd, iov, 2);
}

static void dev_reader(void *arg)
{
	struct fuse_session *s = arg;

	while (!s->stopping) {
		ssize_t n = dev_read(s);

		if (n >= 0) {
			if (dev_received(s, (size_t)n)) {
				env_yield(s->env); /* it runs before the next is asked for */
			}
		} else if (n == -EAGAIN) {
			if (posix_watch_wait(
				    s->env, &s->watch, POSIX_IN, ENV_FOREVER, ENV_WAIT_PLAIN) < 0) {
				break; /* fuse_session_stop took the watch away */
			}
		} else if (n == -ENOMEM) {
			env_sleep(s->env, 10 * NS_PER_MS);
		} else if (n != -EINTR && n != -ENOENT) {
			if (n != -ENODEV) {
				log_warn("fuse", "reading the channel: %s",
					ne_text(ne_from_errno((int)-n)));
			}
			break;
		}
	}
	if (s->next != NULL) {
		fuse_req_free(s->next);
		s->next = NULL;
	}
	s->ended = true;
	s->reading = false;
	env_wake_all(s->env, &s->changed);
}

int fuse_dev_start(struct fuse_session *s)
{
	int rc;

	ASSERT(!s->reading && s->spare == NULL);
	s->spare = bufpool_get(s->pool, LIM_FUSE_IO_MAX);
	if (s->spare == NULL) {
		return -NE_NOMEM;
	}
	rc = fuse_sys_nonblock(s->fd);
	if (rc < 0) {
		return ne_from_errno(-rc);
	}
	rc = posix_watch_add(s->env, &s->watch, s->fd, POSIX_IN);
	if (rc == 0) {
		s->reading = true;
		rc = env_spawn(s->env, "fuse-reader", dev_reader, s);
	}
	if (rc < 0) {
		s->reading = false;
		posix_watch_del(s->env, &s->watch);
	}
	return rc;
}
