/*
 * Requests that wait for somebody else: they hold nothing at the server, and are executed once whatever gets lost.
 */
#include "test.h"

#include <limits.h>

#include "env/sim/sim.h"
#include "rpc_world.h"

#define ADDR "sim:server:1"
#define CALLERS 300

struct fixture {
	struct world w;
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	struct rpc_client *rpc;
	struct rpc_session *s;
	void (*body)(struct fixture *f);
	bool done;
	/* asked of the server's node, which does it in a fiber of its own */
	bool wake;
	bool wake_one_by_one;
	bool evict;
	struct rpc_server_stats st;
	/* callers */
	const char *how;
	unsigned left;
	unsigned next;
	int results[CALLERS];
	struct fiber *fibers[CALLERS];
	uint64_t ended_ns[CALLERS];
};

static struct fixture *fx;

static struct env *env_of(struct fixture *f)
{
	return sim_node_env(f->client);
}

static void server_main(void *arg)
{
	struct fixture *f = arg;
	struct env *env = sim_node_env(f->server);

	world_serve(&f->w, env, ADDR);
	while (!env_stopping(env)) {
		env_sleep(env, NS_PER_MS);
		if (f->wake) {
			rpc_parking_wake(&f->w.lot, UINT_MAX);
			f->wake = false;
		}
		if (f->wake_one_by_one) {
			rpc_parking_wake(&f->w.lot, 1);
			env_sleep(env, 10 * NS_PER_MS);
		}
		if (f->evict) {
			rpc_export_evict(rpc_service_export_next(f->w.service, NULL), "test");
			f->evict = false;
		}
		rpc_server_stats(f->w.server, &f->st);
	}
	world_stop(&f->w);
}

static void client_main(void *arg)
{
	struct fixture *f = arg;

	f->rpc = world_client(&f->w, env_of(f), 11, NULL);
	f->s = world_session(f->rpc, ADDR);
	CHECK_EQ(rpc_session_connect(f->s, ENV_FOREVER), 0);
	f->body(f);
	rpc_session_free(f->s, env_now(env_of(f)) + NS_PER_S);
	rpc_client_free(f->rpc);
	f->done = true;
}

static bool is_done(void *ctx)
{
	return ((struct fixture *)ctx)->done;
}

static bool server_is_gone(void *ctx)
{
	return sim_node_fibers(((struct fixture *)ctx)->server) == 0;
}

static void run_limited(void (*body)(struct fixture *f), unsigned handlers, unsigned parked)
{
	struct sim_options opts;
	struct fixture *f = calloc(1, sizeof(*f));

	CHECK(f != NULL);
	sim_options_default(&opts, 1);
	world_init(&f->w, 1);
	f->w.limits.handlers_max = handlers;
	f->w.limits.session_parked_max = parked;
	f->sim = sim_new(&opts);
	f->server = sim_node_new(f->sim, "server");
	f->client = sim_node_new(f->sim, "client");
	f->body = body;
	fx = f;
	sim_node_start(f->server, server_main, f);
	sim_node_start(f->client, client_main, f);
	CHECK_EQ(sim_run(f->sim, is_done, f, 3600 * NS_PER_S), 0);
	sim_node_stop_ask(f->server);
	CHECK_EQ(sim_run(f->sim, server_is_gone, f, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(f->server), 0);
	CHECK_EQ(sim_node_heap_blocks(f->client), 0);
	sim_free(f->sim);
	free(f);
}

static void caller(void *arg)
{
	struct fixture *f = arg;
	unsigned i = f->next++;

	f->fibers[i] = env_self(env_of(f));
	f->results[i] = call_param(f->s, i + 1, f->how, 0, 0);
	f->fibers[i] = NULL;
	f->ended_ns[i] = env_now(env_of(f));
	f->left--;
}

static void callers_start(struct fixture *f, unsigned count, const char *how)
{
	CHECK(f->next + count <= CALLERS);
	f->how = how;
	f->left += count;
	for (unsigned i = 0; i < count; i++) {
		CHECK_EQ(env_spawn(env_of(f), "caller", caller, f), 0);
	}
}

static void parked_wait(struct fixture *f, unsigned count)
{
	uint64_t end = env_now(env_of(f)) + 5 * NS_PER_S;

	while (f->st.parked != count) {
		CHECK(env_now(env_of(f)) < end);
		env_sleep(env_of(f), NS_PER_MS);
	}
	/* What was counted has also been answered. */
	env_sleep(env_of(f), 20 * NS_PER_MS);
}

static void callers_wait(struct fixture *f, uint64_t ns)
{
	uint64_t end = env_now(env_of(f)) + ns;

	while (f->left > 0) {
		CHECK(env_now(env_of(f)) < end);
		env_sleep(env_of(f), NS_PER_MS);
	}
}

static void once_check(struct fixture *f)
{
	for (unsigned i = 0; i < f->next; i++) {
		CHECK_EQ(f->results[i], 0);
		CHECK_EQ(f->w.executed[i + 1], 1);
	}
}

/* ---- what it holds ---- */

static void body_holds_nothing(struct fixture *f)
{
	uint64_t start;

	/* Many times the handlers and the slots there are. */
	callers_start(f, CALLERS, "park");
	parked_wait(f, CALLERS);
	CHECK_EQ(f->w.running, 0);
	CHECK_EQ(f->st.running, 0);
	CHECK_EQ(f->st.queued, 0);
	start = env_now(env_of(f));
	for (unsigned i = 0; i < 50; i++) {
		CHECK_EQ(call_param(f->s, 1000 + i, "", 0, 0), 0);
	}
	CHECK(env_now(env_of(f)) - start < NS_PER_S);
	CHECK_EQ(f->st.parked, CALLERS);
	f->w.gate_open = true;
	f->wake = true;
	callers_wait(f, NS_PER_S);
	once_check(f);
	CHECK_EQ(f->st.parkings, CALLERS);
}

TEST(holds_nothing)
{
	run_limited(body_holds_nothing, 2, 0);
}

static void body_order(struct fixture *f)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < 20; i++) {
		callers_start(f, 1, "park");
		parked_wait(f, i + 1);
	}
	/* All come again by themselves: nobody loses his place. */
	env_sleep(env_of(f), 15 * NS_PER_S);
	CHECK(f->st.parkings >= 40);
	CHECK_EQ(f->st.parked, 20);
	f->w.gate_open = true;
	f->wake_one_by_one = true;
	callers_wait(f, NS_PER_S);
	once_check(f);
	for (unsigned i = 0; i < 20; i++) {
		CHECK(f->ended_ns[i] >= last);
		last = f->ended_ns[i];
	}
}

TEST(keeps_the_order)
{
	run_limited(body_order, 1, 0);
}

/* ---- what gets lost ---- */

static void body_push_lost(struct fixture *f)
{
	callers_start(f, 100, "park");
	parked_wait(f, 100);
	f->w.gate_open = true; /* and nobody is told */
	callers_wait(f, 14 * NS_PER_S);
	once_check(f);
	parked_wait(f, 0);
}

TEST(push_is_lost)
{
	run_limited(body_push_lost, 0, 0);
}

/* The push overtakes the answer "queued", being urgent. */
static void body_push_early(struct fixture *f)
{
	callers_start(f, 100, "parkwake");
	callers_wait(f, NS_PER_S);
	once_check(f);
}

TEST(push_is_early)
{
	run_limited(body_push_early, 0, 0);
}

static void body_reconnect(struct fixture *f)
{
	callers_start(f, 100, "park");
	parked_wait(f, 100);
	rpc_session_disconnect(f->s);
	env_sleep(env_of(f), NS_PER_S);
	/* They came again and found their tickets. */
	CHECK_EQ(f->st.parked, 100);
	CHECK_EQ(f->st.parkings, 200);
	sim_partition(f->sim, f->client, f->server, true);
	sim_partition(f->sim, f->server, f->client, true);
	rpc_session_disconnect(f->s);
	f->w.gate_open = true;
	f->wake = true; /* into nothing */
	env_sleep(env_of(f), NS_PER_S);
	CHECK_EQ(f->left, 100);
	sim_partition_heal(f->sim);
	callers_wait(f, 8 * NS_PER_S);
	once_check(f);
}

TEST(reconnect)
{
	run_limited(body_reconnect, 0, 0);
}

static void body_crash(struct fixture *f)
{
	callers_start(f, 100, "park");
	parked_wait(f, 100);
	sim_node_crash(f->server, SIM_KILL);
	env_sleep(env_of(f), 100 * NS_PER_MS);
	f->w.epoch++;
	sim_node_start(f->server, server_main, f);
	parked_wait(f, 100);
	sim_node_crash(f->server, SIM_KILL);
	f->w.gate_open = true;
	f->w.epoch++;
	sim_node_start(f->server, server_main, f);
	callers_wait(f, 5 * NS_PER_S);
	once_check(f);
}

TEST(server_crashes)
{
	run_limited(body_crash, 0, 0);
}

static void body_evict(struct fixture *f)
{
	callers_start(f, 100, "park");
	parked_wait(f, 100);
	f->evict = true;
	/* A new session: what had changed nothing is asked there. */
	env_sleep(env_of(f), 12 * NS_PER_S);
	CHECK_EQ(f->st.parked, 100);
	f->w.gate_open = true;
	f->wake = true;
	callers_wait(f, 5 * NS_PER_S);
	once_check(f);
}

TEST(session_is_replaced)
{
	run_limited(body_evict, 0, 0);
}

/* ---- leaving ---- */

static void body_cancel(struct fixture *f)
{
	uint64_t start;

	callers_start(f, 100, "park");
	parked_wait(f, 100);
	start = env_now(env_of(f));
	for (unsigned i = 0; i < 50; i++) {
		CHECK(f->fibers[i] != NULL);
		env_interrupt(env_of(f), f->fibers[i]);
	}
	while (f->left > 50) {
		env_sleep(env_of(f), NS_PER_MS);
	}
	CHECK(env_now(env_of(f)) - start < 100 * NS_PER_MS);
	parked_wait(f, 50);
	f->w.gate_open = true;
	f->wake = true;
	callers_wait(f, NS_PER_S);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(f->results[i], i < 50 ? -NE_INTR : 0);
		CHECK_EQ(f->w.executed[i + 1], i < 50 ? 0 : 1);
	}
	parked_wait(f, 0);
}

TEST(cancel)
{
	run_limited(body_cancel, 0, 0);
}

static void body_deadline(struct fixture *f)
{
	uint64_t start = env_now(env_of(f));

	CHECK_EQ(call_param(f->s, 1, "park", start + 2 * NS_PER_S, 0), -NE_TIMEDOUT);
	CHECK(env_now(env_of(f)) - start < 3 * NS_PER_S);
	parked_wait(f, 0);
	CHECK_EQ(call_param(f->s, 2, "park", 0, RPC_CALL_NO_RETRY), -NE_RETRY);
}

TEST(deadline)
{
	run_limited(body_deadline, 0, 0);
}

/* ---- bounds ---- */

static void body_bounds(struct fixture *f)
{
	callers_start(f, 100, "park");
	env_sleep(env_of(f), 3 * NS_PER_S);
	CHECK_EQ(f->st.parked, 10);
	/* Those beyond come again, but not in a hurry. */
	CHECK(f->st.retries == 0);
	CHECK(f->st.parkings < 40);
	CHECK_EQ(call_param(f->s, 1000, "", 0, 0), 0);
	f->w.gate_open = true;
	f->wake = true;
	callers_wait(f, 3 * NS_PER_S);
	once_check(f);
}

TEST(bounds)
{
	run_limited(body_bounds, 0, 10);
}
