/*
 * Links to the OSTs: the map, one session per OST, free space, calls, and what objects say of a file's size.
 *
 * statfs is asked for at connect, two seconds after something was placed, and every 30 s; with it each OST learns the
 * MDT's clock. An OST that does not answer takes no new objects and is asked every two seconds; requests that need it
 * are parked (mds_wait.c), the service's own calls wait until it is back. OSTs never leave the table: a FID's objects
 * may be there.
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define POLL_IDLE_NS (30 * NS_PER_S)
#define POLL_ACTIVE_NS (2 * NS_PER_S)
/* Before "no space" is said, what is known must be this fresh: space may have come back. */
#define POLL_FRESH_NS NS_PER_S
#define POLL_ANSWER_NS (5 * NS_PER_S)
#define SESSION_CLOSE_NS (1 * NS_PER_S)
/* An OST has one of these states: no new objects there. */
#define STATES_NO_CREATE \
	(W_TARGET_STATE_READ_ONLY | W_TARGET_STATE_NO_CREATE | W_TARGET_STATE_DRAINING)

struct mds_ost *mds_ost_find(const struct mds_data *data, uint32_t index)
{
	return index < LIM_OST_MAX ? data->osts[index] : NULL;
}

bool mds_ost_usable(const struct mds_data *data, const struct mds_ost *ost)
{
	if (ost == NULL || ost->session == NULL || !ost->answers) {
		return false;
	}
	if (((ost->map_state | ost->own_state) & STATES_NO_CREATE) != 0) {
		return false;
	}
	return ost->bytes_avail >= MDS_OST_AVAIL_MIN &&
		env_now(data->mds->env) >= ost->avoid_until_ns;
}

int mds_ost_call(struct mds_ost *ost, struct rpc_call *call)
{
	if (ost == NULL || ost->session == NULL) {
		/* Of a layout, so there is one: the map that says where has not come yet. */
		return -NE_RETRY;
	}
	return rpc_call(ost->session, call);
}

/* ---- space and clock ---- */

static void statfs_taken(struct mds_ost *ost, const struct w_ost_statfs_rep *rep)
{
	ost->own_state = rep->state;
	ost->bytes_avail = rep->bytes_avail;
	mds_ost_in_time(ost->mds->data, ost);
}

static int ost_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct mds_ost *ost = ctx;
	struct mds *mds = ost->mds;
	struct w_ost_statfs_req req = {.mdt_realtime = mds_now(mds)};
	struct w_ost_statfs_rep rep = {0};
	struct rpc_call call = {
		.op = W_OP_OST_STATFS,
		.flags = RPC_CALL_RECOVERY | RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.deadline_ns = env_now(mds->env) + POLL_ANSWER_NS,
	};
	int r;

	(void)info;
	if (event == RPC_EVENT_DISCONNECTED || event == RPC_EVENT_EVICTED) {
		ost->answers = false;
		return 0;
	}
	if (event == RPC_EVENT_MAP) {
		return 0;
	}
	if (mds->data->stopping) {
		return -NE_SHUTDOWN;
	}
	ost->event_fiber = env_self(mds->env);
	r = rpc_call(session, &call);
	if (r == 0) {
		statfs_taken(ost, &rep);
	}
	rpc_call_fini(&call);
	ost->event_fiber = NULL;
	env_interrupt_clear(mds->env);
	env_wake_all(mds->env, &ost->event_over);
	return r;
}

struct poll_call {
	struct mds_ost *ost;
	struct w_ost_statfs_rep rep;
	struct rpc_call call;
};

static void poll_batch(struct mds_data *data, struct poll_call *calls, unsigned count)
{
	struct w_ost_statfs_req req = {.mdt_realtime = mds_now(data->mds)};

	for (unsigned i = 0; i < count; i++) {
		struct poll_call *p = &calls[i];

		p->call = (struct rpc_call){
			.op = W_OP_OST_STATFS,
			.flags = RPC_CALL_REPEATABLE,
			.request = &req,
			.reply = &p->rep,
			.deadline_ns = env_now(data->mds->env) + POLL_ANSWER_NS,
		};
		rpc_call_start(p->ost->session, &p->call);
	}
	for (unsigned i = 0; i < count; i++) {
		struct poll_call *p = &calls[i];
		int r = rpc_call_wait(&p->call);

		if (r == 0) {
			statfs_taken(p->ost, &p->rep);
		} else {
			p->ost->answers = false;
		}
		rpc_call_fini(&p->call);
	}
}

static void poll_all(struct mds_data *data, struct poll_call *calls)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < LIM_OST_MAX && !data->stopping; i++) {
		struct mds_ost *ost = data->osts[i];

		if (ost == NULL || ost->session == NULL) {
			continue;
		}
		calls[count++].ost = ost;
		if (count == MDS_OST_CALLS_MAX) {
			poll_batch(data, calls, count);
			count = 0;
		}
	}
	poll_batch(data, calls, count);
}

static bool any_late(const struct mds_data *data)
{
	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		if (mds_ost_is_late(data->osts[i])) {
			return true;
		}
	}
	return false;
}

static void poll_fiber(struct mds_data *data, void *arg)
{
	struct env *env = data->mds->env;
	struct poll_call *calls = arg;

	while (!data->stopping) {
		if (data->ost_count == 0 || env_now(env) < data->poll_due_ns) {
			mds_data_pause(data, &data->poll_wake,
				data->ost_count == 0 ? ENV_FOREVER : data->poll_due_ns);
			continue;
		}
		data->poll_due_ns = env_now(env) + POLL_IDLE_NS;
		data->poll_stale = false;
		poll_all(data, calls);
		data->poll_last_ns = env_now(env);
		if (any_late(data)) {
			mds_osts_active(data);
		}
	}
	mem_free(calls);
}

void mds_osts_active(struct mds_data *data)
{
	uint64_t due = env_now(data->mds->env) + POLL_ACTIVE_NS;

	if (data->poll_due_ns > due) {
		data->poll_due_ns = due;
		env_wake_all(data->mds->env, &data->poll_wake);
	}
}

/* Objects that wait to be destroyed by an OST that answers. */
static bool objects_go(const struct mds_data *data)
{
	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		const struct mds_ost *ost = data->osts[i];

		/* Not those it refuses to let go. */
		if (ost != NULL && ost->answers && ost->queued > 0 && ost->ready_ns == 0) {
			return true;
		}
	}
	return false;
}

bool mds_osts_fresh(struct mds_data *data)
{
	uint64_t now = env_now(data->mds->env);

	if (!data->poll_stale && data->poll_last_ns + POLL_FRESH_NS > now && !objects_go(data)) {
		return true;
	}
	data->poll_due_ns = u64_min(data->poll_due_ns, now);
	env_wake_all(data->mds->env, &data->poll_wake);
	return false;
}

int mds_osts_start(struct mds_data *data)
{
	struct poll_call *calls;
	int r;

	if (data->mds->opts.ost_client == NULL) {
		return 0;
	}
	calls = mem_zalloc_array(MDS_OST_CALLS_MAX, sizeof(*calls));
	if (calls == NULL) {
		return -NE_NOMEM;
	}
	r = mds_data_spawn(data, "mds-poll", poll_fiber, calls);
	if (r < 0) {
		mem_free(calls);
	}
	return r;
}

static void pools_free(struct mds_pool *pools, uint32_t count)
{
	for (uint32_t i = 0; pools != NULL && i < count; i++) {
		mem_free(pools[i].osts);
	}
	mem_free(pools);
}

void mds_osts_stop(struct mds_data *data)
{
	uint64_t deadline = env_now(data->mds->env) + SESSION_CLOSE_NS;

	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		struct mds_ost *ost = data->osts[i];

		if (ost == NULL) {
			continue;
		}
		/* The session may be connecting just now. */
		while (ost->event_fiber != NULL) {
			env_interrupt(data->mds->env, ost->event_fiber);
			if (env_wait(data->mds->env, &ost->event_over, ENV_FOREVER,
				    ENV_WAIT_PLAIN) < 0) {
				break;
			}
		}
		rpc_session_free(ost->session, deadline);
		ASSERT(!ost->serving);
		mem_free(ost);
		data->osts[i] = NULL;
	}
	pools_free(data->pools, data->pool_count);
}

/* ---- the map ---- */

static int addr_take(struct rpc_addrs *addrs, struct wire_str text)
{
	if (text.len == 0) {
		return 0;
	}
	return wire_str_copy(text, addrs->addr[addrs->count++], sizeof(addrs->addr[0]));
}

static int addrs_fill(const struct w_target *t, struct rpc_addrs *addrs)
{
	int r = addr_take(addrs, t->addr0);

	if (r == 0) {
		r = addr_take(addrs, t->addr1);
	}
	if (r == 0) {
		r = addr_take(addrs, t->addr2);
	}
	if (r == 0) {
		r = addr_take(addrs, t->addr3);
	}
	if (r == 0) {
		r = wire_str_copy(t->boot_id, addrs->boot_id, sizeof(addrs->boot_id));
	}
	return r < 0 ? -NE_BADMSG : 0;
}

static int ost_new(struct mds_data *data, const struct w_target *t, const struct rpc_addrs *addrs)
{
	struct mds *mds = data->mds;
	struct mds_ost *ost = mem_zalloc(sizeof(*ost));
	struct rpc_session_opts opts = {
		.target = ost == NULL ? NULL : ost->name,
		.fsname = mds->fsname,
		.addrs = addrs,
		.on_event = ost_event,
		.on_event_ctx = ost,
	};
	int r;

	if (ost == NULL) {
		return -NE_NOMEM;
	}
	ost->index = t->index;
	ost->mds = mds;
	ost->map_state = t->state;
	list_init(&ost->queue);
	rpc_parking_init(&ost->parked);
	env_waitq_init(&ost->event_over);
	r = wire_str_copy(t->name, ost->name, sizeof(ost->name));
	if (r == 0 && mds->opts.ost_client != NULL) {
		r = rpc_session_new(mds->opts.ost_client, &opts, &ost->session);
	}
	if (r < 0) {
		mem_free(ost);
		return r;
	}
	data->osts[t->index] = ost;
	data->ost_count++;
	data->poll_due_ns = 0;
	return 0;
}

static int target_take(struct mds_data *data, const struct w_target *t)
{
	struct rpc_addrs *addrs;
	struct mds_ost *ost;
	int r;

	if (t->kind != W_TARGET_KIND_OST) {
		return 0;
	}
	if (t->index >= LIM_OST_MAX) {
		return -NE_BADMSG;
	}
	addrs = mem_zalloc(sizeof(*addrs));
	r = addrs == NULL ? -NE_NOMEM : addrs_fill(t, addrs);
	ost = data->osts[t->index];
	if (r == 0 && ost == NULL) {
		r = ost_new(data, t, addrs);
	} else if (r == 0) {
		ost->map_state = t->state;
		if (ost->session != NULL) {
			rpc_session_addrs_set(ost->session, addrs);
		}
	}
	mem_free(addrs);
	return r;
}

static int pool_copy(const struct w_pool *p, struct mds_pool *ret_pool)
{
	int r = wire_str_copy(p->name, ret_pool->name, sizeof(ret_pool->name));

	if (r < 0) {
		return -NE_BADMSG;
	}
	ret_pool->osts = mem_zalloc_array(p->osts.count + 1, sizeof(*ret_pool->osts));
	if (ret_pool->osts == NULL) {
		return -NE_NOMEM;
	}
	ret_pool->count = p->osts.count;
	for (uint32_t i = 0; i < p->osts.count; i++) {
		ret_pool->osts[i] =
			p->osts.items != NULL ? p->osts.items[i] : wire_u32_at(&p->osts.view, i);
	}
	return 0;
}

static int pools_take(struct mds_data *data, const struct w_mgs_map_rep *map)
{
	uint32_t count = map->pools.count;
	struct mds_pool *pools = mem_zalloc_array(count + 1, sizeof(*pools));
	struct wire_iter it = w_pool_iter(&map->pools.view);
	struct w_pool p;
	int r = pools == NULL ? -NE_NOMEM : 0;

	for (uint32_t i = 0; i < count && r == 0; i++) {
		if (map->pools.items != NULL) {
			p = map->pools.items[i];
		} else if (!w_pool_next(&it, &p)) {
			r = -NE_BADMSG;
			break;
		}
		r = pool_copy(&p, &pools[i]);
	}
	if (r < 0) {
		pools_free(pools, count);
		return r;
	}
	pools_free(data->pools, data->pool_count);
	data->pools = pools;
	data->pool_count = count;
	return 0;
}

int mds_map_set(struct mds *mds, const struct w_mgs_map_rep *map)
{
	struct mds_data *data = mds->data;
	struct wire_iter it = w_target_iter(&map->targets.view);
	struct w_target t;
	int r = pools_take(data, map);

	ASSERT(data != NULL);
	for (uint32_t i = 0; i < map->targets.count && r == 0; i++) {
		if (map->targets.items != NULL) {
			t = map->targets.items[i];
		} else if (!w_target_next(&it, &t)) {
			return -NE_BADMSG;
		}
		r = target_take(data, &t);
	}
	if (r == 0) {
		mds->map_version = map->version;
	}
	env_wake_all(mds->env, &data->poll_wake);
	mds_intents_retry(data);
	return r;
}

/* ---- sizes ---- */

void mds_objects_fill(
	const struct mds_op *op, const struct mds_inode *inode, struct mds_objects *ret_objects)
{
	const struct w_layout *l = &op->layout;

	ASSERT(l->osts.count <= LIM_STRIPE_COUNT_MAX && l->osts.items != NULL);
	ret_objects->file_fid = inode->fid;
	ret_objects->data_fid = l->data_fid;
	ret_objects->layout_gen = l->gen;
	ret_objects->geom = mds_layout_geom(l);
	memcpy(ret_objects->osts, l->osts.items, l->osts.count * sizeof(uint32_t));
}

/* One ost_getattr on the way: objects of one OST. */
struct sizes_call {
	struct mds_ost *ost;
	uint32_t count;
	uint32_t stripes[MDS_GETATTR_MAX];
	struct w_object_ref refs[MDS_GETATTR_MAX];
	struct w_ost_getattr_req req;
	struct w_ost_getattr_rep rep;
	struct rpc_call call;
};

struct sizes_ask {
	struct mds_data *data;
	const struct mds_objects *objects;
	uint64_t deadline_ns;
	struct mds_sizes *sizes;
	int error;
	unsigned used;
	uint8_t taken[LIM_STRIPE_COUNT_MAX / 8];
	struct sizes_call calls[MDS_OST_CALLS_MAX];
};

static bool bit_get(const uint8_t *bits, uint32_t i)
{
	return (bits[i / 8] >> (i % 8) & 1) != 0;
}

static void bit_set(uint8_t *bits, uint32_t i)
{
	bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

static void sizes_one(struct sizes_ask *ask, uint32_t stripe, const struct w_object_attr *attr)
{
	struct mds_sizes *s = ask->sizes;

	if (!attr->exists) {
		return;
	}
	bit_set(s->present, stripe);
	s->size = u64_max(s->size, layout_file_size(&ask->objects->geom, stripe, attr->size));
	s->blocks += attr->blocks;
	s->mtime = i64_max(s->mtime, attr->mtime);
}

static void sizes_finish(struct sizes_ask *ask, struct sizes_call *c)
{
	int r = rpc_call_wait(&c->call);

	if (r == 0 && c->rep.attrs.count != c->count) {
		r = -NE_BADMSG;
	}
	if (r == 0) {
		struct wire_iter it = w_object_attr_iter(&c->rep.attrs.view);
		struct w_object_attr attr;

		for (uint32_t i = 0; w_object_attr_next(&it, &attr); i++) {
			sizes_one(ask, c->stripes[i], &attr);
		}
	} else if (ask->error == 0) {
		ask->error = r;
		ask->sizes->late = r == -NE_TIMEDOUT ? c->ost : NULL;
	}
	rpc_call_fini(&c->call);
}

static void sizes_flush(struct sizes_ask *ask)
{
	for (unsigned i = 0; i < ask->used; i++) {
		sizes_finish(ask, &ask->calls[i]);
	}
	ask->used = 0;
}

/* Starts a call for this stripe and all later ones on the same OST that fit. */
static void sizes_start(struct sizes_ask *ask, uint32_t first)
{
	const struct mds_objects *o = ask->objects;
	struct mds_ost *ost = mds_ost_find(ask->data, o->osts[first]);
	struct sizes_call *c = &ask->calls[ask->used];

	memset(c, 0, sizeof(*c));
	for (uint32_t i = first; i < o->geom.stripe_count && c->count < MDS_GETATTR_MAX; i++) {
		if (o->osts[i] != o->osts[first] || bit_get(ask->taken, i)) {
			continue;
		}
		bit_set(ask->taken, i);
		c->stripes[c->count] = i;
		c->refs[c->count++] = (struct w_object_ref){.data_fid = o->data_fid,
			.stripe = i,
			.layout_gen = o->layout_gen,
			.file_fid = o->file_fid};
	}
	if (ost == NULL || ost->session == NULL) {
		ask->error = -NE_RETRY;
		return;
	}
	c->ost = ost;
	c->req.objects.items = c->refs;
	c->req.objects.count = c->count;
	c->call = (struct rpc_call){.op = W_OP_OST_GETATTR,
		.flags = RPC_CALL_REPEATABLE,
		.request = &c->req,
		.reply = &c->rep,
		.deadline_ns = ask->deadline_ns};
	rpc_call_start(ost->session, &c->call);
	ask->used++;
}

int mds_ost_sizes(struct mds_data *data, const struct mds_objects *objects, uint64_t deadline_ns,
	struct mds_sizes *ret_sizes)
{
	struct sizes_ask *ask = mem_zalloc(sizeof(*ask));
	int r;

	if (ask == NULL) {
		return -NE_NOMEM;
	}
	memset(ret_sizes, 0, sizeof(*ret_sizes));
	ask->data = data;
	ask->objects = objects;
	ask->deadline_ns = deadline_ns;
	ask->sizes = ret_sizes;
	for (uint32_t i = 0; i < objects->geom.stripe_count && ask->error == 0; i++) {
		if (bit_get(ask->taken, i)) {
			continue;
		}
		sizes_start(ask, i);
		if (ask->used == MDS_OST_CALLS_MAX) {
			sizes_flush(ask);
		}
	}
	sizes_flush(ask);
	r = ask->error;
	mem_free(ask);
	return r;
}
