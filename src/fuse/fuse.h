/*
 * The FUSE side of a mount: serves one /dev/fuse channel with one client, on one reactor.
 *
 * The kernel's requests become calls of client.h, each in a fiber of its own. Only with an env of src/env/posix.
 * See README.md.
 */
#ifndef NACRE_FUSE_FUSE_H
#define NACRE_FUSE_FUSE_H

#include "base/base.h"
#include "base/error.h"
#include "client/client.h"
#include "env/env.h"
#include "fuse/fuse_abi.h"

struct fuse_session;

struct fuse_options {
	struct env *env;
	struct client *client;
	int fd; /* /dev/fuse, mounted; made non-blocking; stays the caller's */
	bool uring; /* use FUSE over io_uring if the kernel has it (the reactor needs sqe128) */
	uint64_t init_mask; /* INIT features allowed; 0: all */
};

struct fuse_counters {
	uint64_t requests; /* that want an answer */
	uint64_t uring; /* of these, those that came over io_uring */
	uint64_t errors; /* answered with an error other than ENOENT, ENODATA, ENOSYS */
	uint64_t malformed;
	uint64_t forgets; /* messages */
	uint64_t interrupts;
	uint64_t interrupted; /* requests ended by one */
	uint64_t queued; /* requests that found no free fiber */
	uint64_t refused; /* for want of memory */
	uint64_t by_op[FUSE_OPCODES];
};

/* -NE_NOMEM. */
_check_ int fuse_session_new(const struct fuse_options *options, struct fuse_session **ret_session);
/* Begins to read the channel; call from a fiber of env, then wait for it to be ready. */
_yields_ _check_ int fuse_session_start(struct fuse_session *s);
/* INIT is answered and, if used, the rings are registered. -NE_TIMEDOUT; -NE_VERSION: the kernel is too old;
 * -NE_NODEV: unmounted meanwhile. */
_yields_ _check_ int fuse_session_ready_wait(struct fuse_session *s, uint64_t deadline_ns);
/* Until the mount is gone (0), or -NE_TIMEDOUT, or -NE_AGAIN after fuse_session_poke. */
_yields_ _check_ int fuse_session_end_wait(struct fuse_session *s, uint64_t deadline_ns);
/* Ends a wait, or the next one, early: whoever waits has something to look at. */
void fuse_session_poke(struct fuse_session *s);
/* Interrupts what is served, waits for it and stops reading. The descriptor may be closed afterwards. */
_yields_ void fuse_session_stop(struct fuse_session *s);
/* Stopped or never started. Gives back what programs left open. Accepts NULL. */
_yields_ void fuse_session_free(struct fuse_session *s);
bool fuse_session_uring(const struct fuse_session *s);
/* The INIT flags agreed on. */
uint64_t fuse_session_flags(const struct fuse_session *s);
void fuse_session_counters(const struct fuse_session *s, struct fuse_counters *ret_counters);
struct metric_batch;
void fuse_session_metrics(const struct fuse_session *s, struct metric_batch *batch);

/* The supplementary groups of a process as /proc tells; client_options.groups. */
int fuse_groups_read(void *ctx, int32_t pid, uint32_t *gids, uint32_t cap);

#endif
