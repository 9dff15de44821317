/*
 * The MDT behind the real transport, in a world with network faults, killed again and again: every change is
 * made exactly once, and a client that waits goes on.
 */
#include "mds_box.h"
#include "rpc/rpc.h"
#include "test.h"

/* What a crashed node had from libcrypto is lost: the simulator gives back only what came from mem_alloc. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

#define ROOT fid_root()
#define CALLS 80

struct net {
	struct mbox box;
	struct sim_node *client_node;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	unsigned kills_left;
	unsigned kills;
	unsigned starts;
	bool client_done;
	struct rpc_server *server;
};

static void server_main(void *arg)
{
	struct net *n = arg;
	struct rpc_server_opts opts = {
		.env = n->box.env, .cluster = n->cluster, .server_key = n->server_key};
	struct rpc_service_opts service = {
		.target = "MDT0000", .fsname = "test", .ops = mds_service_ops()};
	struct rpc_service *started = NULL;
	char addr[128];
	uint8_t random[16];

	n->starts++;
	n->box.opts.epoch = n->starts;
	mbox_start(&n->box);
	mbox_check(&n->box);
	env_random_bytes(n->box.env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	CHECK_EQ(rpc_server_new(&opts, &n->server), 0);
	service.ctx = n->box.mds;
	CHECK_EQ(rpc_service_start(n->server, &service, &started), 0);
	CHECK_EQ(rpc_server_listen(n->server, "sim:mds:1", addr, sizeof(addr)), 0);
	while (!n->client_done) {
		env_sleep(n->box.env, 10 * NS_PER_MS);
	}
	rpc_server_stop(n->server);
	rpc_server_free(n->server);
	mbox_check(&n->box);
	mbox_stop(&n->box);
}

static void crash_plan(struct net *n);

static void server_kill(void *ctx)
{
	struct net *n = ctx;

	if (!n->client_done && sim_node_is_up(n->box.node)) {
		n->kills++;
		sim_node_crash(n->box.node, SIM_KILL);
	}
}

static void server_restart(void *ctx)
{
	struct net *n = ctx;

	sim_node_start(n->box.node, server_main, n);
	crash_plan(n);
}

static void server_crashed(void *ctx)
{
	struct net *n = ctx;

	if (!n->client_done) {
		sim_after(n->box.sim, sim_random(n->box.sim) % (30 * NS_PER_MS), server_restart, n);
	}
}

static void crash_plan(struct net *n)
{
	if (n->kills_left > 0) {
		n->kills_left--;
		sim_after(n->box.sim, sim_random(n->box.sim) % (40 * NS_PER_MS), server_kill, n);
	}
}

/* ---- the client ---- */

static int call(struct rpc_session *s, uint16_t op, const void *req, void *rep)
{
	struct rpc_call c = {.op = op, .request = req, .reply = rep};
	int r = rpc_call(s, &c);

	rpc_call_fini(&c);
	return r;
}

static void name_of(char *name, size_t cap, const char *prefix, unsigned worker, unsigned i)
{
	snprintf(name, cap, "%s-%u-%u", prefix, worker, i);
}

struct worker {
	struct net *net;
	struct rpc_session *session;
	unsigned number;
	unsigned *left;
};

/* Nothing here may be done twice: a second create finds the name, a second rename does not. */
static void worker_main(void *arg)
{
	struct worker *w = arg;
	struct w_mds_create_rep made;
	struct w_mds_rename_rep moved;
	struct w_mds_unlink_rep gone;
	char from[64];
	char to[64];

	for (unsigned i = 0; i < CALLS; i++) {
		struct w_mds_create_req create = {.parent = ROOT, .mode = 0100644};
		struct w_mds_rename_req rename = {.src_parent = ROOT, .dst_parent = ROOT};
		struct w_mds_unlink_req unlink = {.parent = ROOT};

		name_of(from, sizeof(from), "from", w->number, i);
		name_of(to, sizeof(to), "to", w->number, i);
		create.name = wire_str_of(from);
		rename.src_name = wire_str_of(from);
		rename.dst_name = wire_str_of(to);
		unlink.name = wire_str_of(to);
		CHECK_EQ(call(w->session, W_OP_MDS_CREATE, &create, &made), 0);
		CHECK_EQ(call(w->session, W_OP_MDS_CREATE, &create, &made), -NE_EXIST);
		CHECK_EQ(call(w->session, W_OP_MDS_RENAME, &rename, &moved), 0);
		if (i % 2 == 0) {
			CHECK_EQ(call(w->session, W_OP_MDS_UNLINK, &unlink, &gone), 0);
		}
	}
	(*w->left)--;
}

static struct rpc_client *client_new(struct net *n, struct env *env)
{
	static struct rpc_key key; /* too large for a fiber's stack */
	struct rpc_client_opts opts = {.env = env,
		.uuid = {.bytes = {9}},
		.incarnation = 1,
		.key = &key,
		.hostname = "client",
		.pid = 1};
	struct rpc_client *client = NULL;

	key.role = RPC_ROLE_HOST;
	key.allow_root = true;
	key.cluster = n->cluster;
	CHECK_EQ(rpc_key_derive(&key, n->server_key), 0);
	CHECK_EQ(rpc_client_new(&opts, &client), 0);
	return client;
}

static void status_look(struct rpc_session *session)
{
	struct w_target_status_req req = {
		.target = wire_str_of("MDT0000"), .clients = true, .counters = true};
	struct w_target_status_rep rep;
	struct rpc_call c = {.op = W_OP_TARGET_STATUS, .request = &req, .reply = &rep};

	CHECK_EQ(rpc_call(session, &c), 0);
	CHECK(wire_str_eq(rep.target.name, wire_str_of("MDT0000")));
	CHECK_EQ(rep.clients.count, 1);
	CHECK(rep.counters.count > 12 && rep.files_used > 1);
	rpc_call_fini(&c);
}

static void client_main(void *arg)
{
	struct net *n = arg;
	struct env *env = sim_node_env(n->client_node);
	struct rpc_client *client = client_new(n, env);
	static struct rpc_addrs addrs = {.count = 1, .addr = {"sim:mds:1"}};
	struct rpc_session_opts opts = {.target = "MDT0000", .fsname = "test", .addrs = &addrs};
	struct rpc_session *session = NULL;
	static struct worker workers[8];
	unsigned left = ARRAY_SIZE(workers);
	struct w_mds_getattr_req root = {.fid = ROOT};
	struct w_mds_getattr_rep rep;

	CHECK_EQ(rpc_session_new(client, &opts, &session), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i] =
			(struct worker){.net = n, .session = session, .number = i, .left = &left};
		CHECK_EQ(env_spawn(env, "worker", worker_main, &workers[i]), 0);
	}
	while (left > 0) {
		env_sleep(env, NS_PER_MS);
	}
	status_look(session);
	CHECK_EQ(call(session, W_OP_MDS_GETATTR, &root, &rep), 0);
	CHECK_EQ(rep.info.attr.entries, ARRAY_SIZE(workers) * CALLS / 2);
	rpc_session_free(session, env_now(env) + NS_PER_S);
	rpc_client_free(client);
	n->client_done = true;
}

static bool net_over(void *ctx)
{
	struct net *n = ctx;

	return n->client_done &&
		(!sim_node_is_up(n->box.node) || sim_node_fibers(n->box.node) == 0);
}

static unsigned net_run(uint64_t seed, bool faults, unsigned kills)
{
	struct net n = {.kills_left = kills, .cluster = {.bytes = {5}}};
	struct sim_options opts;

	sim_options_default(&opts, seed);
	if (faults) {
		sim_options_faults(&opts);
	}
	mbox_init_opts(&n.box, &opts);
	n.box.opts.hash_bits = 4;
	n.client_node = sim_node_new(n.box.sim, "client");
	if (kills > 0) {
		sim_node_on_crash(n.box.node, server_crashed, &n);
	}
	sim_node_start(n.box.node, server_main, &n);
	sim_node_start(n.client_node, client_main, &n);
	crash_plan(&n);
	CHECK_EQ(sim_run(n.box.sim, net_over, &n, ENV_FOREVER), 0);
	mbox_fini(&n.box);
	return n.kills;
}

TEST(plain)
{
	CHECK_EQ(net_run(1, false, 0), 0);
}

TEST(faults)
{
	CHECK_EQ(net_run(2, true, 0), 0);
}

TEST(kills)
{
	unsigned kills = 0;

	for (uint64_t seed = 10; seed < 14; seed++) {
		kills += net_run(seed, false, 15);
	}
	CHECK(kills > 12);
}

TEST(kills_and_faults)
{
	unsigned kills = 0;

	for (uint64_t seed = 20; seed < 24; seed++) {
		kills += net_run(seed, true, 10);
	}
	CHECK(kills > 10);
}
