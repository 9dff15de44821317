/*
 * A service that takes its time to close a session keeps nobody else from closing theirs.
 */
#include "test.h"

#include "env/sim/sim.h"
#include "rpc_world.h"

#define ADDR "sim:server:1"
#define CLIENTS 40

struct fixture {
	struct world w;
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	uint64_t session_next;
	bool release;
	unsigned opened;
	unsigned closing; /* in session_closed */
	unsigned closed;
	bool done;
};

static int session_open(
	void *ctx, struct rpc_export *exp, uint64_t wanted, struct rpc_open_reply *ret_reply)
{
	struct fixture *f = ctx;

	(void)exp;
	(void)wanted;
	ret_reply->session = ++f->session_next;
	ret_reply->incarnation = 1;
	f->opened++;
	return 0;
}

/* Every second client's close waits, as for a target that is down. */
static void session_closed(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason)
{
	struct fixture *f = ctx;

	(void)reason;
	f->closing++;
	while (!f->release && rpc_export_session(exp) <= 4) {
		env_sleep(sim_node_env(f->server), NS_PER_MS);
	}
	f->closed++;
}

static int request(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	(void)req;
	return -NE_NOSYS;
}

static void state(void *ctx, struct rpc_service_state *ret_state)
{
	(void)ctx;
	ret_state->epoch = 1;
}

static const struct rpc_service_ops ops = {
	.session_open = session_open,
	.session_closed = session_closed,
	.request = request,
	.state = state,
};

static void server_main(void *arg)
{
	struct fixture *f = arg;
	struct env *env = sim_node_env(f->server);
	struct rpc_server_opts so = {
		.env = env, .cluster = f->w.cluster, .server_key = f->w.server_key};
	struct rpc_service_opts service = {
		.target = "MDT0000", .fsname = "testfs", .ops = &ops, .ctx = f};
	struct rpc_server *server = NULL;
	struct rpc_service *svc = NULL;
	char bound[LIM_ADDR_LEN_MAX + 1];

	CHECK_EQ(rpc_server_new(&so, &server), 0);
	CHECK_EQ(rpc_service_start(server, &service, &svc), 0);
	CHECK_EQ(rpc_server_listen(server, ADDR, bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		env_sleep(env, 20 * NS_PER_MS);
	}
	rpc_service_stop(svc);
	rpc_server_stop(server);
	rpc_server_free(server);
}

static void client_main(void *arg)
{
	struct fixture *f = arg;
	struct env *env = sim_node_env(f->client);

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct rpc_client *c = world_client(&f->w, env, 100 + i, NULL);
		struct rpc_session *s = world_session(c, ADDR);

		CHECK_EQ(rpc_session_connect(s, env_now(env) + 10 * NS_PER_S), 0);
		rpc_session_free(s, env_now(env) + NS_PER_S);
		rpc_client_free(c);
	}
	env_sleep(env, 10 * NS_PER_S);
	CHECK_EQ(f->opened, CLIENTS);
	CHECK_EQ(f->closing, CLIENTS);
	CHECK_EQ(f->closed, CLIENTS - 4);
	f->release = true;
	env_sleep(env, NS_PER_S);
	CHECK_EQ(f->closed, CLIENTS);
	f->done = true;
}

static bool is_done(void *arg)
{
	return ((struct fixture *)arg)->done;
}

static bool server_is_gone(void *arg)
{
	return sim_node_fibers(((struct fixture *)arg)->server) == 0;
}

TEST(a_slow_close_holds_up_nobody)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sim_options opts;

	sim_options_default(&opts, 1);
	world_init(&f->w, 1);
	f->sim = sim_new(&opts);
	f->server = sim_node_new(f->sim, "server");
	f->client = sim_node_new(f->sim, "client");
	sim_node_start(f->server, server_main, f);
	sim_node_start(f->client, client_main, f);
	CHECK_EQ(sim_run(f->sim, is_done, f, 600 * NS_PER_S), 0);
	sim_node_stop_ask(f->server);
	CHECK_EQ(sim_run(f->sim, server_is_gone, f, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(f->server), 0);
	sim_free(f->sim);
	free(f);
}
