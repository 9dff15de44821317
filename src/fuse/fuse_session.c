/*
 * A session's life: made, started (reader, INIT, rings), ended by unmount or stopped by us, freed.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fuse/fuse_int.h"

int fuse_session_new(const struct fuse_options *options, struct fuse_session **ret_session)
{
	struct fuse_session *s = mem_zalloc(sizeof(*s));
	int rc;

	ASSERT(options->env != NULL && options->fd >= 0);
	if (s == NULL) {
		return -NE_NOMEM;
	}
	rc = bufpool_new(FUSE_POOL_BYTES, FUSE_POOL_KEEP, &s->pool);
	if (rc < 0) {
		mem_free(s);
		return rc;
	}
	s->env = options->env;
	s->client = options->client;
	s->fd = options->fd;
	s->watch.fd = -1;
	s->uring_wanted = options->uring && fuse_uring_enabled();
	s->want.flags_mask = options->init_mask != 0 ? options->init_mask : UINT64_MAX;
	s->want.uring = s->uring_wanted;
	env_waitq_init(&s->changed);
	env_waitq_init(&s->pool_wait);
	hmap_init(&s->by_unique);
	list_init(&s->queue);
	list_init(&s->idle);
	list_init(&s->interrupted);
	idr_init(&s->handles, FUSE_HANDLES_MAX);
	hmap_init(&s->graves);
	client_gone_set(s->client, fuse_grave_dig, s);
	*ret_session = s;
	return 0;
}

int fuse_session_start(struct fuse_session *s)
{
	return fuse_dev_start(s);
}

int fuse_session_ready_wait(struct fuse_session *s, uint64_t deadline_ns)
{
	int rc = 0;

	while (rc == 0 && !s->ready && !s->ended && s->init_rc == 0) {
		rc = env_wait(s->env, &s->changed, deadline_ns, ENV_WAIT_PLAIN);
	}
	if (rc < 0) {
		return rc;
	}
	if (!s->ready) {
		return s->init_rc != 0 ? s->init_rc : -NE_NODEV;
	}
	if ((s->agreed.flags & FUSE_OVER_IO_URING) != 0 && s->uring == NULL) {
		rc = fuse_uring_start(s);
		if (rc < 0) {
			log_warn("fuse", "no FUSE over io_uring (%s): requests come by /dev/fuse",
				ne_text(rc));
		}
	}
	return 0;
}

int fuse_session_end_wait(struct fuse_session *s, uint64_t deadline_ns)
{
	int rc = 0;

	while (rc == 0 && !s->ended && !s->poked) {
		rc = env_wait(s->env, &s->changed, deadline_ns, ENV_WAIT_PLAIN);
	}
	s->poked = false;
	return s->ended ? 0 : rc == 0 ? -NE_AGAIN : rc;
}

void fuse_session_poke(struct fuse_session *s)
{
	s->poked = true;
	env_wake_all(s->env, &s->changed);
}

void fuse_session_stop(struct fuse_session *s)
{
	s->stopping = true;
	posix_watch_del(s->env, &s->watch);
	fuse_intr_all(s);
	while (s->reading || s->fibers > 0 || s->intr_fiber || s->watch_fiber) {
		(void)env_wait(s->env, &s->changed, env_now(s->env) + NS_PER_S, ENV_WAIT_PLAIN);
		fuse_intr_all(s);
	}
	ASSERT(list_empty(&s->queue));
}

void fuse_session_free(struct fuse_session *s)
{
	struct list *entry;

	if (s == NULL) {
		return;
	}
	ASSERT(!s->reading && s->fibers == 0);
	fuse_handles_close_all(s);
	client_gone_set(s->client, NULL, NULL);
	fuse_graves_free(s);
	fuse_uring_free(s->uring);
	while ((entry = list_pop_front(&s->idle)) != NULL) {
		mem_free(list_entry(entry, struct fuse_req, link));
	}
	idr_fini(&s->handles);
	hmap_fini(&s->by_unique);
	bufpool_put(s->pool, s->spare);
	bufpool_free(s->pool);
	mem_free(s);
}

bool fuse_session_uring(const struct fuse_session *s)
{
	return s->uring != NULL;
}

uint64_t fuse_session_flags(const struct fuse_session *s)
{
	return s->agreed.flags;
}

void fuse_session_counters(const struct fuse_session *s, struct fuse_counters *ret_counters)
{
	*ret_counters = s->counters;
}
