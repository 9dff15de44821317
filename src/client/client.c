/*
 * The end of a mount, and its counters.
 *
 * Everything written is on the servers before client_free returns, and durable if they answer within
 * CLIENT_CLOSE_NS: nobody would be left to hear of its loss.
 */
#include "client/client_int.h"

struct fid client_root(const struct client *c)
{
	return c->root;
}

static void sessions_free(struct client *c)
{
	uint64_t deadline = env_now(c->env) + CLIENT_CLOSE_NS;
	struct client_target *t;
	uint32_t pos = 0;

	while ((t = client_target_next(c, &pos)) != NULL) {
		rpc_session_free(TAKE_PTR(t->session), deadline);
	}
	rpc_session_free(TAKE_PTR(c->mgs), deadline);
}

void client_free(struct client *c)
{
	bool mounted;

	if (c == NULL) {
		return;
	}
	mounted = !fid_is_zero(c->root);
	if (c->patience_ns == 0 || c->patience_ns > CLIENT_CLOSE_NS) {
		c->patience_ns = CLIENT_CLOSE_NS;
	}
	while (!list_empty(&c->files)) {
		struct client_file *f = list_entry(c->files.next, struct client_file, all);

		(void)client_release(c, f);
	}
	if (mounted && !c->read_only && c->linger_count > 0) {
		int err = client_sync_all(c, env_now(c->env) + CLIENT_CLOSE_NS);

		if (err != 0) {
			log_warn(CLIENT_LOG, "unmounted with unsynced writes: %s", ne_text(err));
		}
	}
	client_map_fiber_stop(c);
	sessions_free(c);
	client_inodes_free(c);
	client_map_fini(c);
	rpc_client_free(c->rpc);
	mem_free(c->subdir);
	mem_free(c->hostname);
	mem_free(c);
}

void client_counters(const struct client *c, struct client_counters *ret)
{
	ASSERT(ret != NULL);
	*ret = c->counters;
}
