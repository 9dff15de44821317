/*
 * A map that grows: it always fits the message that carries it, and changes that would make it too long are refused.
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

static int do_param(struct rpc_session *s, const char *key, const char *value)
{
	struct w_mgs_param_req req = {
		.param = {.key = wire_str_of(key), .value = wire_str_of(value)}};
	struct w_mgs_param_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_PARAM, .request = &req, .reply = &rep};
	int err = rpc_call(s, &call);

	rpc_call_fini(&call);
	return err;
}

static int do_map(struct rpc_session *s, uint32_t *ret_params)
{
	struct w_mgs_map_req req = {.fsname = wire_str_of("testfs")};
	struct w_mgs_map_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	int err = rpc_call(s, &call);

	*ret_params = rep.params.count;
	rpc_call_fini(&call);
	return err;
}

static void script_params(struct world *w)
{
	static char value[1001];
	char key[32];
	uint32_t set = 0;
	uint32_t seen;
	int err = 0;

	memset(value, 'v', sizeof(value) - 1);
	while (err == 0 && set < 1000) {
		snprintf(key, sizeof(key), "key-%u", set);
		err = do_param(w->admin, key, value);
		set += err == 0;
	}
	CHECK_EQ(err, -NE_LIMIT);
	CHECK(set > 100);
	/* Everybody can still have it, and it can become shorter. */
	CHECK_EQ(do_map(w->host, &seen), 0);
	CHECK_EQ(seen, set);
	CHECK_EQ(do_param(w->admin, "key-0", ""), 0);
	CHECK_EQ(do_param(w->admin, "key-0", value), 0);
}

TEST(the_map_fits_a_message)
{
	run(script_params, 1);
}
