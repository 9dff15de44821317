/*
 * The MGS over real rpc on the simulated world: registration, refusals, pools, restarts.
 */
#include "base/fid.h"
#include "env/sim/sim.h"
#include "mgs/mgs.h"
#include "test.h"
#include "wire/gen/wire.h"

/* A simulated crash frees what a node had from its heap; OpenSSL's contexts are not of that heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

struct world {
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	uint32_t epoch;
	struct rpc_session *host;
	struct rpc_session *ost; /* as a server */
	struct rpc_session *admin;
	uint32_t announced; /* newest version a push or reply named */
	void (*script)(struct world *w);
	bool done;
};

static void server_main(void *arg)
{
	struct world *w = arg;
	struct env *env = sim_node_env(w->server);
	struct rpc_server *server = NULL;
	struct mgs *mgs = NULL;
	struct rpc_server_opts so = {
		.env = env, .cluster = w->cluster, .server_key = w->server_key};
	struct mgs_options mo = {.state_dir = "/mgt",
		.kv_kind = STATE_KV_MODEL,
		.fsname = "testfs",
		.cluster = w->cluster,
		.epoch = ++w->epoch};
	char bound[LIM_ADDR_LEN_MAX + 1];
	int err = env_mkdir(env, "/mgt");

	CHECK(err == 0 || err == -NE_EXIST);
	CHECK_EQ(env_fsync_dir(env, "/"), 0);
	CHECK_EQ(rpc_server_new(&so, &server), 0);
	CHECK_EQ(mgs_start(env, server, &mo, &mgs), 0);
	CHECK_EQ(rpc_server_listen(server, "sim:mgs:1", bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		env_sleep(env, 50 * NS_PER_MS);
	}
	mgs_stop(mgs);
	rpc_server_stop(server);
	rpc_server_free(server);
}

static void restart(void *arg)
{
	struct world *w = arg;

	sim_node_start(w->server, server_main, w);
}

static int on_event(
	void *ctx, struct rpc_session *s, enum rpc_event event, const struct rpc_session_info *info)
{
	struct world *w = ctx;

	(void)info;
	if (event == RPC_EVENT_MAP) {
		w->announced = rpc_session_map_version(s);
	}
	return 0;
}

static struct rpc_client *client_make(struct world *w, enum rpc_role role, struct rpc_session **ret)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_addrs *addrs = calloc(1, sizeof(*addrs));
	struct rpc_client_opts co = {
		.env = sim_node_env(w->client), .incarnation = 1, .key = key, .hostname = "test"};
	struct rpc_session_opts so = {.target = MGS_TARGET,
		.fsname = "testfs",
		.addrs = addrs,
		.on_event = on_event,
		.on_event_ctx = w};
	struct rpc_client *client = NULL;

	key->role = role;
	key->cluster = w->cluster;
	strcpy(key->fsname, "testfs");
	CHECK_EQ(rpc_key_derive(key, w->server_key), 0);
	co.uuid.bytes[0] = (uint8_t)(role + 1);
	CHECK_EQ(rpc_client_new(&co, &client), 0);
	addrs->count = 1;
	strcpy(addrs->addr[0], "sim:mgs:1");
	CHECK_EQ(rpc_session_new(client, &so, ret), 0);
	free(key);
	free(addrs);
	return client;
}

static void client_main(void *arg)
{
	struct world *w = arg;
	struct env *env = sim_node_env(w->client);
	struct rpc_client *host = client_make(w, RPC_ROLE_HOST, &w->host);
	struct rpc_client *ost = client_make(w, RPC_ROLE_SERVER, &w->ost);
	struct rpc_client *admin = client_make(w, RPC_ROLE_ADMIN, &w->admin);

	w->script(w);
	rpc_session_free(w->host, env_now(env) + NS_PER_S);
	rpc_session_free(w->ost, env_now(env) + NS_PER_S);
	rpc_session_free(w->admin, env_now(env) + NS_PER_S);
	rpc_client_free(host);
	rpc_client_free(ost);
	rpc_client_free(admin);
	w->done = true;
}

static bool is_done(void *arg)
{
	return ((struct world *)arg)->done;
}

static bool server_is_gone(void *arg)
{
	return sim_node_fibers(((struct world *)arg)->server) == 0;
}

static void run(void (*script)(struct world *w), uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sim_options opts;

	sim_options_default(&opts, seed);
	w->sim = sim_new(&opts);
	w->server = sim_node_new(w->sim, "mgs");
	w->client = sim_node_new(w->sim, "cli");
	w->script = script;
	w->cluster.bytes[3] = 7;
	sim_node_start(w->server, server_main, w);
	sim_node_start(w->client, client_main, w);
	CHECK_EQ(sim_run(w->sim, is_done, w, 3600 * NS_PER_S), 0);
	sim_node_stop_ask(w->server);
	CHECK_EQ(sim_run(w->sim, server_is_gone, w, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(w->server), 0);
	sim_free(w->sim);
	free(w);
}

static struct w_target target(const char *name, enum w_target_kind kind, uint16_t index)
{
	return (struct w_target){.name = wire_str_of(name),
		.kind = kind,
		.index = index,
		.uuid = {.bytes = {(uint8_t)(index + 1)}},
		.epoch = 1,
		.addr0 = wire_str_of("sim:x:1")};
}

static int do_register(
	struct world *w, struct rpc_session *s, struct w_target t, struct w_mgs_register_rep *ret)
{
	struct w_mgs_register_req req = {
		.target = t, .fsname = wire_str_of("testfs"), .cluster = w->cluster};
	struct w_mgs_register_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MGS_REGISTER, .request = &req, .reply = &rep};
	int err = rpc_call(s, &call);

	rpc_call_fini(&call);
	if (ret != NULL) {
		*ret = rep;
	}
	return err;
}

static int do_pool(struct rpc_session *s, enum w_pool_op op, const char *name, const uint32_t *osts,
	uint32_t count)
{
	struct w_mgs_pool_req req = {.pool_op = op, .name = wire_str_of(name)};
	struct w_mgs_pool_rep rep;
	struct rpc_call call = {
		.op = W_OP_MGS_POOL, .flags = RPC_CALL_REPEATABLE, .request = &req, .reply = &rep};
	int err;

	req.osts.items = osts;
	req.osts.count = count;
	err = rpc_call(s, &call);
	rpc_call_fini(&call);
	return err;
}

/* The map as text: "v TARGET... pool:osts". */
static void map_text(struct rpc_session *s, char *out, size_t cap)
{
	struct w_mgs_map_req req = {0};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	struct w_target t;
	struct w_pool p;
	size_t n = 0;

	CHECK_EQ(rpc_call(s, &call), 0);
	for (struct wire_iter it = w_target_iter(&rep.targets.view); w_target_next(&it, &t);) {
		n += (size_t)snprintf(
			out + n, cap - n, "%.*s/%u ", (int)t.name.len, t.name.ptr, t.epoch);
	}
	for (struct wire_iter it = w_pool_iter(&rep.pools.view); w_pool_next(&it, &p);) {
		n += (size_t)snprintf(out + n, cap - n, "%.*s:", (int)p.name.len, p.name.ptr);
		for (uint32_t i = 0; i < p.osts.count; i++) {
			n += (size_t)snprintf(
				out + n, cap - n, "%u,", wire_u32_at(&p.osts.view, i));
		}
		n += (size_t)snprintf(out + n, cap - n, " ");
	}
	rpc_call_fini(&call);
}

static void script_register(struct world *w)
{
	struct w_target mdt = target("MDT0001", W_TARGET_KIND_MDT, 1);
	struct w_target ost = target("OST0002", W_TARGET_KIND_OST, 2);
	struct w_mgs_register_rep rep;
	uint32_t version;
	char text[512];

	CHECK_EQ(do_register(w, w->host, ost, NULL), -NE_PERM);
	CHECK_EQ(do_register(w, w->ost, ost, &rep), 0);
	version = rep.version;
	CHECK_EQ(do_register(w, w->ost, mdt, &rep), 0);
	CHECK_EQ(rep.version, version + 1);
	CHECK_EQ(rep.fid_seq_start, FID_SEQ_NORMAL + FID_SEQ_PER_MDT);
	CHECK_EQ(rep.fid_seq_count, FID_SEQ_PER_MDT);
	/* The same again changes nothing. */
	CHECK_EQ(do_register(w, w->ost, mdt, &rep), 0);
	CHECK_EQ(rep.version, version + 1);
	mdt.epoch = 2;
	CHECK_EQ(do_register(w, w->ost, mdt, &rep), 0);
	CHECK_EQ(rep.version, version + 2);
	mdt.epoch = 1;
	CHECK_EQ(do_register(w, w->ost, mdt, NULL), -NE_OLD_EPOCH);
	mdt.epoch = 3;
	mdt.uuid.bytes[5] = 1;
	CHECK_EQ(do_register(w, w->ost, mdt, NULL), -NE_FOREIGN);
	CHECK_EQ(do_register(w, w->ost, target("OST0003", W_TARGET_KIND_OST, 2), NULL), -NE_INVAL);
	CHECK_EQ(do_register(w, w->ost, target("OST1000", W_TARGET_KIND_OST, 4096), NULL),
		-NE_INVAL);
	map_text(w->host, text, sizeof(text));
	CHECK_STR(text, "MDT0001/2 OST0002/1 ");
	CHECK(w->announced >= version + 2);
}

TEST(targets_register)
{
	run(script_register, 1);
}

static void script_pools(struct world *w)
{
	static uint32_t many[1000];
	const uint32_t some[] = {2, 0};
	const uint32_t one[] = {2};
	static char text[16384];
	static char before[16384];
	char name[16];

	for (uint32_t i = 0; i < 1000; i++) {
		many[i] = i;
		snprintf(name, sizeof(name), "OST%04x", i);
		CHECK_EQ(do_register(w, w->ost, target(name, W_TARGET_KIND_OST, (uint16_t)i), NULL),
			0);
	}
	CHECK_EQ(do_pool(w->host, W_POOL_OP_NEW, "flash", NULL, 0), -NE_PERM);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_NEW, "fl/sh", NULL, 0), -NE_INVAL);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_NEW, "flash", some, 2), 0);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_NEW, "flash", NULL, 0), -NE_EXIST);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_NEW, "empty", NULL, 0), 0);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_ADD, "flash", one, 1), -NE_EXIST);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_ADD, "none", one, 1), -NE_NOPOOL);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_REMOVE, "flash", one, 1), 0);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_REMOVE, "flash", one, 1), -NE_NOENT);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_DESTROY, "flash", NULL, 0), -NE_NOTEMPTY);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_NEW, "big", many, 1000), 0);
	map_text(w->host, before, sizeof(before));
	CHECK(strstr(before, "empty: ") != NULL && strstr(before, "flash:0, ") != NULL);
	CHECK(strstr(before, "big:0,1,") != NULL && strstr(before, ",999, ") != NULL);
	/* All of it is durable when it was answered. */
	sim_node_crash(w->server, SIM_POWER_LOSS);
	sim_after(w->sim, 10 * NS_PER_MS, restart, w);
	map_text(w->host, text, sizeof(text));
	CHECK_STR(text, before);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_REMOVE, "big", many, 1000), 0);
	CHECK_EQ(do_pool(w->admin, W_POOL_OP_DESTROY, "big", NULL, 0), 0);
	sim_node_crash(w->server, SIM_KILL);
	sim_after(w->sim, 10 * NS_PER_MS, restart, w);
	map_text(w->host, text, sizeof(text));
	CHECK(strstr(text, "big") == NULL && strstr(text, "flash:0, ") != NULL);
}

TEST(pools)
{
	run(script_pools, 2);
}
