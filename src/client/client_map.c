/*
 * The cluster map: asked of the MGS, taken over, kept new.
 *
 * Targets are only ever added or changed, as layouts name them by index. One request at a time: who comes while
 * one is on its way waits for its result. The fiber "client-map" asks again when a reply shows a newer version,
 * and every CLIENT_MAP_PERIOD_NS while a target in use cannot be reached, as it may have moved.
 */
#include "client/client_int.h"

void client_addrs_add(struct rpc_addrs *addrs, const char *text, size_t len)
{
	if (len == 0 || len > LIM_ADDR_LEN_MAX || addrs->count == LIM_ADDRS_MAX) {
		return;
	}
	memcpy(addrs->addr[addrs->count], text, len);
	addrs->addr[addrs->count][len] = '\0';
	addrs->count++;
}

/* The slot for an index, in a table that grows. */
static int table_slot(
	struct client_target ***table, uint32_t *count, uint32_t index, struct client_target ***ret)
{
	if (index >= *count) {
		struct client_target **grown =
			mem_realloc(*table, (index + 1) * sizeof(struct client_target *));

		if (grown == NULL) {
			return -NE_NOMEM;
		}
		for (uint32_t i = *count; i <= index; i++) {
			grown[i] = NULL;
		}
		*table = grown;
		*count = index + 1;
	}
	*ret = &(*table)[index];
	return 0;
}

static int target_slot(struct client *c, const struct w_target *from, struct client_target ***ret)
{
	switch (from->kind) {
	case W_TARGET_KIND_MGT:
		*ret = &c->map.mgt;
		return 0;
	case W_TARGET_KIND_MDT:
		return from->index >= LIM_MDT_MAX
			? -NE_BADMSG
			: table_slot(&c->map.mdts, &c->map.mdt_count, from->index, ret);
	case W_TARGET_KIND_OST:
		return from->index >= LIM_OST_MAX
			? -NE_BADMSG
			: table_slot(&c->map.osts, &c->map.ost_count, from->index, ret);
	}
	return -NE_BADMSG;
}

static bool addrs_equal(const struct rpc_addrs *a, const struct rpc_addrs *b)
{
	if (a->count != b->count || strcmp(a->boot_id, b->boot_id) != 0) {
		return false;
	}
	for (unsigned i = 0; i < a->count; i++) {
		if (strcmp(a->addr[i], b->addr[i]) != 0) {
			return false;
		}
	}
	return true;
}

static void addrs_take(struct client_target *t, const struct w_target *from)
{
	_cleanup_(free_ptr) struct rpc_addrs *addrs = mem_zalloc(sizeof(*addrs));

	if (addrs == NULL) {
		/* The next map brings them. */
		t->client->map.version = 0;
		return;
	}
	client_addrs_add(addrs, from->addr0.ptr, from->addr0.len);
	client_addrs_add(addrs, from->addr1.ptr, from->addr1.len);
	client_addrs_add(addrs, from->addr2.ptr, from->addr2.len);
	client_addrs_add(addrs, from->addr3.ptr, from->addr3.len);
	if (wire_str_copy(from->boot_id, addrs->boot_id, sizeof(addrs->boot_id)) != 0) {
		addrs->boot_id[0] = '\0';
	}
	if (addrs_equal(addrs, &t->addrs)) {
		return;
	}
	t->addrs = *addrs;
	if (t->session != NULL) {
		rpc_session_addrs_set(t->session, &t->addrs);
	}
}

static int target_take(struct client *c, const struct w_target *from)
{
	struct client_target **slot;
	struct client_target *t;
	int err = target_slot(c, from, &slot);

	if (err != 0) {
		return err;
	}
	t = *slot;
	if (t == NULL) {
		t = mem_zalloc(sizeof(*t));
		if (t == NULL) {
			return -NE_NOMEM;
		}
		t->client = c;
		t->kind = from->kind;
		t->index = from->index;
		env_waitq_init(&t->room);
		err = wire_str_copy(from->name, t->name, sizeof(t->name));
		if (err != 0) {
			mem_free(t);
			return -NE_BADMSG;
		}
		*slot = t;
	}
	t->uuid = from->uuid;
	t->epoch = from->epoch;
	t->state = from->state;
	t->pid = from->pid;
	addrs_take(t, from);
	return 0;
}

static void pools_free(struct client_pool *pools, uint32_t count)
{
	for (uint32_t i = 0; pools != NULL && i < count; i++) {
		mem_free(pools[i].osts);
	}
	mem_free(pools);
}

static int pool_take(const struct w_pool *from, struct client_pool *ret_pool)
{
	int err = wire_str_copy(from->name, ret_pool->name, sizeof(ret_pool->name));

	if (err != 0) {
		return -NE_BADMSG;
	}
	ret_pool->osts = mem_zalloc_array((size_t)from->osts.count + 1, sizeof(uint32_t));
	if (ret_pool->osts == NULL) {
		return -NE_NOMEM;
	}
	ret_pool->count = from->osts.count;
	for (uint32_t i = 0; i < from->osts.count; i++) {
		ret_pool->osts[i] = wire_u32_at(&from->osts.view, i);
	}
	return 0;
}

static int pools_take(struct client *c, const struct w_mgs_map_rep *rep)
{
	struct wire_iter it = w_pool_iter(&rep->pools.view);
	struct client_pool *pools = mem_zalloc_array((size_t)rep->pools.count + 1, sizeof(*pools));
	struct w_pool from;
	uint32_t n = 0;
	int err = pools == NULL ? -NE_NOMEM : 0;

	while (err == 0 && w_pool_next(&it, &from)) {
		err = pool_take(&from, &pools[n++]);
	}
	if (err != 0) {
		pools_free(pools, n);
		return err;
	}
	pools_free(c->map.pools, c->map.pool_count);
	c->map.pools = pools;
	c->map.pool_count = n;
	return 0;
}

static int map_take(struct client *c, const struct w_mgs_map_rep *rep)
{
	struct wire_iter it = w_target_iter(&rep->targets.view);
	struct w_target from;
	int err = 0;

	if (rep->targets.count == 0 && rep->version == c->map.version) {
		return 0;
	}
	/* An MGS that was restored counts from somewhere else: what it says is the truth all the same. */
	c->map.version = rep->version;
	c->map.cluster = rep->cluster;
	while (err == 0 && w_target_next(&it, &from)) {
		err = target_take(c, &from);
	}
	if (err == 0) {
		err = pools_take(c, rep);
	}
	if (err != 0) {
		c->map.version = 0;
		log_warn(CLIENT_LOG, "map version=%u: %s", rep->version, ne_text(err));
	}
	return err;
}

static int map_ask(struct client *c, uint64_t deadline_ns)
{
	struct w_mgs_map_req req = {
		.fsname = wire_str_of(c->fsname), .have_version = c->map.version};
	struct w_mgs_map_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MGS_MAP, .request = &req, .reply = &rep, .deadline_ns = deadline_ns};
	int err;

	c->counters.rpcs++;
	err = rpc_call(c->mgs, &call);
	return err != 0 ? err : map_take(c, &rep);
}

int client_map_fetch(struct client *c, uint64_t deadline_ns)
{
	int err;

	while (c->map_busy) {
		err = env_wait(c->env, &c->map_done, deadline_ns == 0 ? ENV_FOREVER : deadline_ns,
			ENV_WAIT_INTR);
		if (err != 0) {
			return err;
		}
	}
	c->map_busy = true;
	err = map_ask(c, deadline_ns);
	c->map_busy = false;
	env_wake_all(c->env, &c->map_done);
	return err;
}

static void map_free_table(struct client_target **table, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		ASSERT(table[i] == NULL || table[i]->session == NULL);
		mem_free(table[i]);
	}
	mem_free(table);
}

void client_map_fini(struct client *c)
{
	ASSERT(c->fibers == 0);
	mem_free(c->map.mgt);
	map_free_table(c->map.mdts, c->map.mdt_count);
	map_free_table(c->map.osts, c->map.ost_count);
	pools_free(c->map.pools, c->map.pool_count);
	c->map = (struct client_map){0};
}

/* ---- the fiber ---- */

static bool somebody_down(struct client *c)
{
	struct client_target *t;
	uint32_t pos = 0;

	while ((t = client_target_next(c, &pos)) != NULL) {
		if (t->session != NULL && t->down) {
			return true;
		}
	}
	return false;
}

static void map_fiber(void *arg)
{
	struct client *c = arg;

	while (!c->closing) {
		uint64_t deadline = ENV_FOREVER;
		bool fetch = c->map_wanted;

		if (!fetch) {
			if (somebody_down(c)) {
				deadline = env_now(c->env) + CLIENT_MAP_PERIOD_NS;
			}
			fetch = env_wait(c->env, &c->map_poke, deadline, ENV_WAIT_PLAIN) ==
				-NE_TIMEDOUT;
		}
		if (fetch && !c->closing) {
			c->map_wanted = false;
			/* A failure repeats itself while somebody is down, or is asked for again. */
			(void)!client_map_fetch(c, env_now(c->env) + CLIENT_MAP_PERIOD_NS);
			/* Events come in swarms. */
			env_sleep(c->env, 50 * NS_PER_MS);
		}
	}
	c->fibers--;
	env_wake_all(c->env, &c->quiet);
}

int client_map_fiber_start(struct client *c)
{
	int err = env_spawn(c->env, "client-map", map_fiber, c);

	if (err == 0) {
		c->fibers++;
	}
	return err;
}

void client_map_fiber_stop(struct client *c)
{
	c->closing = true;
	env_wake_all(c->env, &c->map_poke);
	while (c->fibers > 0) {
		(void)env_wait(c->env, &c->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}
