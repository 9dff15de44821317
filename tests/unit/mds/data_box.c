/* See data_box.h: servers and clients of the simulated cluster. */
#include "data_check.h"

#include "base/alloc.h"
#include "base/bufpool.h"

/* A crash of a node forgets what it had from libcrypto. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:libcrypto\n";
}

/* ---- servers ---- */

static void map_fill(struct dbox *b, struct w_mgs_map_rep *map, struct w_target *targets,
	struct w_pool *pool, char names[][16], char addrs[][32])
{
	static const uint32_t members[1] = {1};

	memset(map, 0, sizeof(*map));
	map->version = 1;
	map->fsname = wire_str_of("testfs");
	map->cluster = b->cluster;
	for (unsigned i = 0; i < b->ost_count; i++) {
		snprintf(names[i], 16, "OST%04x", i);
		snprintf(addrs[i], 32, "sim:ost%u:1", i);
		targets[i] = (struct w_target){.name = wire_str_of(names[i]),
			.kind = W_TARGET_KIND_OST,
			.index = (uint16_t)i,
			.state = b->states[i],
			.addr0 = wire_str_of(addrs[i])};
	}
	map->targets.items = targets;
	map->targets.count = b->ost_count;
	*pool = (struct w_pool){.name = wire_str_of("fast")};
	pool->osts.items = members;
	pool->osts.count = b->ost_count > 1 ? 1 : 0;
	map->pools.items = pool;
	map->pools.count = 1;
}

static void map_set(struct dbox *b)
{
	struct w_mgs_map_rep map;
	struct w_target targets[DBOX_OSTS_MAX];
	struct w_pool pool;
	char names[DBOX_OSTS_MAX][16];
	char addrs[DBOX_OSTS_MAX][32];

	map_fill(b, &map, targets, &pool, names, addrs);
	CHECK_EQ(mds_map_set(b->mdt.mds, &map), 0);
}

static struct rpc_client *client_make(
	struct dbox *b, struct env *env, enum rpc_role role, uint8_t id, uint32_t incarnation)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_client_opts opts = {
		.env = env, .incarnation = incarnation, .key = key, .hostname = "test"};
	struct rpc_client *client = NULL;

	key->role = role;
	key->allow_root = true;
	key->cluster = b->cluster;
	strcpy(key->fsname, "testfs");
	CHECK_EQ(rpc_key_derive(key, b->server_key), 0);
	opts.uuid.bytes[0] = id;
	CHECK_EQ(rpc_client_new(&opts, &client), 0);
	free(key);
	return client;
}

static void dir_make(struct env *env, const char *path)
{
	int r = env_mkdir(env, path);

	CHECK(r == 0 || r == -NE_EXIST);
	CHECK_EQ(env_fsync_dir(env, "/"), 0);
}

static void mdt_serve(struct dserver *s, struct env *env, struct rpc_server *server)
{
	struct dbox *b = s->box;
	struct rpc_client *client = client_make(b, env, RPC_ROLE_SERVER, 200, s->epoch);
	struct rpc_service *service = NULL;
	struct mds_options opts = {
		.fsname = "testfs",
		.epoch = s->epoch,
		.store = {.dir = "/mdt",
			.kv_kind = STATE_KV_MODEL,
			.create = true,
			.wal_segment_bytes = 4 * MIB},
		.fid_seq_start = FID_SEQ_NORMAL,
		.fid_seq_count = 1000,
		.fid_batch = 256,
		.root_mode = 0777,
		.ost_client = client,
		.recovery_ns = b->recovery_ns,
	};
	struct rpc_service_opts so = {
		.target = "MDT0000", .fsname = "testfs", .ops = mds_service_ops()};
	char bound[LIM_ADDR_LEN_MAX + 1];
	struct mds *mds = NULL;

	dir_make(env, "/mdt");
	CHECK_EQ(mds_start(env, &opts, &mds), 0);
	s->mds = mds;
	map_set(b);
	so.ctx = mds;
	CHECK_EQ(rpc_service_start(server, &so, &service), 0);
	CHECK_EQ(rpc_server_listen(server, "sim:mdt:1", bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		if (s->look) {
			dbox_mdt_look(s);
		}
		if (s->ask != NULL) {
			s->ask(s);
			s->ask = NULL;
		}
		if (s->map_again) {
			map_set(b);
			s->map_again = false;
		}
		env_sleep(env, 20 * NS_PER_MS);
	}
	rpc_service_stop(service);
	s->mds = NULL;
	mds_stop(mds);
	rpc_client_free(client);
}

static void ost_serve(
	struct dserver *s, struct env *env, struct rpc_server *server, struct bufpool *pool)
{
	char target[16];
	char addr[32];
	char bound[LIM_ADDR_LEN_MAX + 1];
	struct oss_options opts = {.path = "/ost",
		.target = target,
		.fsname = "testfs",
		.epoch = s->epoch,
		.capacity_bytes = s->box->ost_capacity,
		.kv_kind = STATE_KV_MODEL,
		.bufpool = pool};
	struct oss *oss = NULL;

	snprintf(target, sizeof(target), "OST%04x", s->index);
	snprintf(addr, sizeof(addr), "sim:ost%u:1", s->index);
	dir_make(env, "/ost");
	CHECK_EQ(oss_format(env, "/ost"), 0);
	CHECK_EQ(oss_start(env, server, &opts, &oss), 0);
	s->oss = oss;
	CHECK_EQ(rpc_server_listen(server, addr, bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		if (s->look) {
			dbox_ost_look(s);
		}
		env_sleep(env, 20 * NS_PER_MS);
	}
	s->oss = NULL;
	oss_stop(oss);
}

static void server_main(void *arg)
{
	struct dserver *s = arg;
	struct env *env = sim_node_env(s->node);
	struct rpc_server *server = NULL;
	struct bufpool *pool = NULL;
	struct rpc_server_opts so = {
		.env = env, .cluster = s->box->cluster, .server_key = s->box->server_key};

	s->epoch++;
	s->mds = NULL;
	s->oss = NULL;
	CHECK_EQ(bufpool_new(64 * MIB, 32 * MIB, &pool), 0);
	so.bufpool = pool;
	so.uuid.bytes[0] = (uint8_t)(s->is_mdt ? 100 : 101 + s->index);
	so.uuid.bytes[1] = (uint8_t)s->epoch;
	CHECK_EQ(rpc_server_new(&so, &server), 0);
	if (s->is_mdt) {
		mdt_serve(s, env, server);
	} else {
		ost_serve(s, env, server, pool);
	}
	rpc_server_stop(server);
	rpc_server_free(server);
	bufpool_free(pool);
}

static void server_restart(void *arg)
{
	struct dserver *s = arg;

	if (!sim_node_is_up(s->node) && !s->hold) {
		sim_node_start(s->node, server_main, s);
	}
}

static void server_crashed(void *arg)
{
	struct dserver *s = arg;

	s->mds = NULL;
	s->oss = NULL;
	sim_after(s->box->sim, 30 * NS_PER_MS, server_restart, s);
}

void dbox_crash(struct dserver *s, enum sim_crash kind)
{
	sim_node_crash(s->node, kind);
}

void dbox_up(struct dserver *s)
{
	s->hold = false;
	server_restart(s);
}

static void server_make(struct dbox *b, struct dserver *s, bool is_mdt, unsigned index)
{
	char name[16];

	snprintf(name, sizeof(name), is_mdt ? "mdt" : "ost%u", index);
	s->box = b;
	s->is_mdt = is_mdt;
	s->index = index;
	s->node = sim_node_new(b->sim, name);
	sim_node_on_crash(s->node, server_crashed, s);
	sim_node_start(s->node, server_main, s);
}

void dbox_init(struct dbox *b, uint64_t seed, unsigned osts)
{
	struct sim_options opts;

	memset(b, 0, sizeof(*b));
	sim_options_default(&opts, seed);
	opts.log_events = 2000;
	opts.trace = getenv("DBOX_TRACE") != NULL;
	b->sim = sim_new(&opts);
	b->cluster.bytes[3] = 7;
	b->ost_count = osts;
	b->recovery_ns = 5 * NS_PER_S;
	for (unsigned i = 0; i < osts; i++) {
		b->states[i] = W_TARGET_STATE_UP;
		server_make(b, &b->ost[i], false, i);
	}
	server_make(b, &b->mdt, true, 0);
}

void dbox_fini(struct dbox *b)
{
	sim_free(b->sim);
	for (unsigned i = 0; i < b->cli_count; i++) {
		free(b->cli[i]);
	}
}

/* ---- clients ---- */

int dbox_reclaim_one(struct dcli_box *c, struct rpc_session *session, struct dfile *f, bool last)
{
	struct w_mds_reclaim_open_req req = {.fid = f->fid,
		.handle = f->handle,
		.open = f->flags,
		.cred = c->cred,
		.last = last};
	struct w_mds_reclaim_open_rep rep;
	struct rpc_call call = {.op = W_OP_MDS_RECLAIM_OPEN,
		.flags = RPC_CALL_RECOVERY | RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int r = rpc_call(session, &call);

	rpc_call_fini(&call);
	c->reclaims += r == 0;
	return r;
}

static int mdt_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct dcli_box *c = ctx;
	unsigned left = 0;

	(void)info;
	if (event != RPC_EVENT_NEW && event != RPC_EVENT_RECOVERING && event != RPC_EVENT_RESUMED) {
		return 0;
	}
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		left += c->files[i].used;
	}
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		struct dfile *f = &c->files[i];
		int r;

		if (!f->used) {
			continue;
		}
		r = dbox_reclaim_one(c, session, f, --left == 0);
		if (r == -NE_CONNLOST) {
			return r;
		}
		/* Its create may have been executed and be answered from its slot. */
		if (r != 0 && r != -NE_STALE) {
			fprintf(stderr, "reclaim: %s\n", ne_name(r));
			return r == -NE_TIMEDOUT ? r : 0;
		}
	}
	return 0;
}

static struct rpc_session *session_make(
	struct dcli_box *c, const char *target, const char *addr, rpc_event_fn *event)
{
	struct rpc_addrs *addrs = calloc(1, sizeof(*addrs));
	struct rpc_session_opts opts = {.target = target,
		.fsname = "testfs",
		.addrs = addrs,
		.on_event = event,
		.on_event_ctx = c};
	struct rpc_session *s = NULL;

	addrs->count = 1;
	strcpy(addrs->addr[0], addr);
	CHECK_EQ(rpc_session_new(c->client, &opts, &s), 0);
	free(addrs);
	return s;
}

static void client_main(void *arg)
{
	struct dcli_box *c = arg;
	struct dbox *b = c->box;

	c->client = client_make(b, c->env, RPC_ROLE_HOST, (uint8_t)(1 + c->index), 1);
	c->mdt = session_make(c, "MDT0000", "sim:mdt:1", mdt_event);
	for (unsigned i = 0; i < b->ost_count; i++) {
		char name[16];
		char addr[32];

		snprintf(name, sizeof(name), "OST%04x", i);
		snprintf(addr, sizeof(addr), "sim:ost%u:1", i);
		c->ost[i] = session_make(c, name, addr, NULL);
	}
	/* So that the MDT knows its OSTs. */
	CHECK_EQ(rpc_session_connect(c->mdt, ENV_FOREVER), 0);
	env_sleep(c->env, 200 * NS_PER_MS);
	c->fn(c);
	rpc_session_free(c->mdt, env_now(c->env) + NS_PER_S);
	for (unsigned i = 0; i < b->ost_count; i++) {
		rpc_session_free(c->ost[i], env_now(c->env) + NS_PER_S);
	}
	rpc_client_free(c->client);
	c->done = true;
}

static bool clients_done(void *arg)
{
	struct dbox *b = arg;

	for (unsigned i = 0; i < b->cli_count; i++) {
		if (!b->cli[i]->done && sim_node_is_up(b->cli[i]->node)) {
			return false;
		}
	}
	return true;
}

void dbox_clients_run(struct dbox *b, dcli_fn *const *fns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct dcli_box *c = calloc(1, sizeof(*c));
		char name[16];

		snprintf(name, sizeof(name), "cli%u", b->cli_count);
		c->box = b;
		c->index = b->cli_count;
		c->node = sim_node_new(b->sim, name);
		c->env = sim_node_env(c->node);
		c->fn = fns[i];
		c->cred = (struct w_cred){.groups_valid = true, .caps = UINT64_MAX};
		b->cli[b->cli_count++] = c;
		sim_node_start(c->node, client_main, c);
	}
	CHECK_EQ(sim_run(b->sim, clients_done, b, 3600 * NS_PER_S), 0);
}

static bool servers_gone(void *arg)
{
	struct dbox *b = arg;

	bool gone = true;

	for (unsigned i = 0; i < b->ost_count; i++) {
		gone &= sim_node_fibers(b->ost[i].node) == 0;
	}
	return gone && sim_node_fibers(b->mdt.node) == 0;
}

void dbox_run(struct dbox *b, dcli_fn *const *fns, unsigned count)
{
	dbox_clients_run(b, fns, count);
	b->mdt.hold = true;
	sim_crash_at(b->mdt.node, 0, SIM_KILL);
	sim_node_stop_ask(b->mdt.node);
	for (unsigned i = 0; i < b->ost_count; i++) {
		b->ost[i].hold = true;
		sim_crash_at(b->ost[i].node, 0, SIM_KILL);
		sim_node_stop_ask(b->ost[i].node);
	}
	CHECK_EQ(sim_run(b->sim, servers_gone, b, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(b->mdt.node), 0);
}

void dbox_states_set(struct dcli_box *c, uint32_t state)
{
	struct dbox *b = c->box;

	for (unsigned i = 0; i < b->ost_count; i++) {
		b->states[i] = state;
	}
	b->mdt.map_again = true;
	while (b->mdt.map_again) {
		env_sleep(c->env, 10 * NS_PER_MS);
	}
}
