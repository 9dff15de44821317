/*
 * Sessions on the simulator without faults but those each test makes: what callers and services are promised.
 */
#include "test.h"

#include "base/alloc.h"
#include "env/sim/sim.h"
#include "rpc_world.h"

#define ADDR "sim:server:1"

struct fixture {
	struct world w;
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	struct rpc_client *rpc;
	struct rpc_session *s;
	void (*body)(struct fixture *f);
	bool done;
	unsigned left; /* fibers of the test */
	int results[64];
	uint8_t *buf;
	/* for fibers */
	struct fiber *victim;
	unsigned step;
};

static struct fixture *fx;

static void server_main(void *arg)
{
	struct fixture *f = arg;

	world_serve(&f->w, sim_node_env(f->server), ADDR);
	while (!env_stopping(sim_node_env(f->server))) {
		env_sleep(sim_node_env(f->server), 20 * NS_PER_MS);
	}
	world_stop(&f->w);
}

static void client_main(void *arg)
{
	struct fixture *f = arg;
	struct env *env = sim_node_env(f->client);

	f->rpc = world_client(&f->w, env, 11, NULL);
	f->s = world_session(f->rpc, ADDR);
	f->body(f);
	rpc_session_free(f->s, env_now(env) + NS_PER_S);
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

static struct fixture *fixture_new(uint64_t seed)
{
	struct sim_options opts;
	struct fixture *f = calloc(1, sizeof(*f));

	CHECK(f != NULL);
	sim_options_default(&opts, seed);
	world_init(&f->w, seed);
	f->sim = sim_new(&opts);
	f->server = sim_node_new(f->sim, "server");
	f->client = sim_node_new(f->sim, "client");
	f->buf = malloc(4 * MIB);
	CHECK(f->buf != NULL);
	fx = f;
	return f;
}

/* Runs body as the client against the server, stops both, checks that nothing is left. */
static void fixture_run(struct fixture *f, void (*body)(struct fixture *f))
{
	f->body = body;
	sim_node_start(f->server, server_main, f);
	sim_node_start(f->client, client_main, f);
	CHECK_EQ(sim_run(f->sim, is_done, f, 3600 * NS_PER_S), 0);
	sim_node_stop_ask(f->server);
	CHECK_EQ(sim_run(f->sim, server_is_gone, f, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(f->server), 0);
	CHECK_EQ(sim_node_heap_blocks(f->client), 0);
}

static void fixture_free(struct fixture *f)
{
	sim_free(f->sim);
	free(f->buf);
	free(f);
}

static void run(void (*body)(struct fixture *f))
{
	struct fixture *f = fixture_new(1);

	fixture_run(f, body);
	fixture_free(f);
}

static struct env *env_of(struct fixture *f)
{
	return sim_node_env(f->client);
}

/* ---- the ordinary ---- */

static void body_calls(struct fixture *f)
{
	unsigned pos = 0;
	const struct rpc_op_stats *st;

	CHECK_EQ(rpc_session_connect(f->s, env_now(env_of(f)) + NS_PER_S), 0);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(call_param(f->s, i, "", 0, 0), 0);
		CHECK_EQ(f->w.executed[i], 1);
	}
	CHECK_EQ(call_map(f->s, "", 41, 0), 0);
	CHECK_EQ(call_close(f->s, 200), 0);
	CHECK_EQ(f->w.executed[200], 1);
	CHECK_EQ(call_param(f->s, 1, "fail", 0, 0), -NE_NOSPC);
	CHECK_EQ(f->w.executed[1], 1);
	CHECK_EQ(f->w.opened, 1);
	CHECK_EQ(f->w.last_identity.role, RPC_ROLE_HOST);
	CHECK(f->w.last_identity.allow_root);
	CHECK_STR(f->w.last_identity.hostname, "testhost");
	CHECK_EQ(rpc_session_last_committed(f->s), f->w.transno);
	CHECK_EQ(rpc_session_map_version(f->s), 5);
	st = rpc_stats_next(rpc_client_stats(f->rpc), &pos);
	CHECK(st != NULL);
	CHECK_EQ(st->op, W_OP_MGS_MAP);
	CHECK_EQ((int64_t)st->latency.count, 1);
	st = rpc_stats_next(rpc_client_stats(f->rpc), &pos);
	CHECK_EQ(st->op, W_OP_MGS_PARAM);
	CHECK_EQ((int64_t)st->latency.count, 101);
	CHECK_EQ(st->errors, 1);
}

TEST(calls)
{
	struct fixture *f = fixture_new(1);

	fixture_run(f, body_calls);
	CHECK_EQ(f->w.closed, 1);
	CHECK_EQ(f->w.close_reason, RPC_CLOSE_CLIENT);
	fixture_free(f);
}

static void body_bulk(struct fixture *f)
{
	static const uint32_t sizes[] = {1, 7, 100, 4096, 65535, 65536, 1 << 20, 4 << 20};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_EQ(call_write(f->s, i, i * 1000, f->buf, sizes[i], 0), 0);
		CHECK_EQ(f->w.executed[i], 1);
		CHECK_EQ(call_read(f->s, i * 77, f->buf, sizes[i]), 0);
	}
	CHECK_EQ(call_read(f->s, 0, f->buf, 0), 0);
}

TEST(bulk)
{
	run(body_bulk);
}

/* ---- many at a time ---- */

static void fiber_param(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	fx->results[id % 64] = call_param(fx->s, id, "slow", 0, 0);
	fx->left--;
}

static void wait_left(struct fixture *f)
{
	while (f->left > 0) {
		env_sleep(env_of(f), NS_PER_MS);
	}
}

static void body_parallel(struct fixture *f)
{
	f->left = 300;
	for (unsigned i = 0; i < 300; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)i), 0);
	}
	wait_left(f);
	for (unsigned i = 0; i < 300; i++) {
		CHECK_EQ(f->results[i % 64], 0);
		CHECK_EQ(f->w.executed[i], 1);
	}
	/* The session's slots less those kept for urgent ones. */
	CHECK_EQ(f->w.running_max, 55);
}

TEST(parallel_within_slots)
{
	run(body_parallel);
}

static void body_started(struct fixture *f)
{
	struct w_mgs_map_req req = {.fsname = wire_str_of("slow")};
	static struct w_mgs_map_rep rep[16];
	static struct rpc_call call[16];
	uint64_t start;

	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
	f->w.slow_ns = 100 * NS_PER_MS;
	start = env_now(env_of(f));
	for (unsigned i = 0; i < 16; i++) {
		memset(&call[i], 0, sizeof(call[i]));
		req.have_version = i;
		call[i].op = W_OP_MGS_MAP;
		call[i].request = &req;
		call[i].reply = &rep[i];
		rpc_call_start(f->s, &call[i]);
	}
	for (unsigned i = 16; i > 0; i--) {
		CHECK_EQ(rpc_call_wait(&call[i - 1]), 0);
		CHECK_EQ(rep[i - 1].version, i);
		rpc_call_fini(&call[i - 1]);
	}
	CHECK(env_now(env_of(f)) - start < 200 * NS_PER_MS);
	CHECK(f->w.running_max >= 16);
}

TEST(several_from_one_fiber)
{
	run(body_started);
}

/* ---- reserved room (D1) ---- */

static void fiber_block(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	fx->results[id % 64] =
		call_param(fx->s, id, "block", env_now(env_of(fx)) + 20 * NS_PER_S, 0);
	fx->left--;
}

static void body_urgent(struct fixture *f)
{
	f->left = 120;
	for (unsigned i = 0; i < 120; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_block, (void *)(uintptr_t)i), 0);
	}
	while (f->w.blocked < 55) {
		env_sleep(env_of(f), NS_PER_MS);
	}
	/* Slots are full of what waits; what drains goes through. */
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(call_close(f->s, 1000 + i), 0);
		CHECK_EQ(f->w.executed[1000 + i], 1);
	}
	CHECK_EQ(f->w.blocked, 55);
	wait_left(f);
	for (unsigned i = 0; i < 64; i++) {
		CHECK_EQ(f->results[i], -NE_TIMEDOUT);
	}
	CHECK_EQ(f->w.executed[0], 0);
}

TEST(urgent_has_room)
{
	run(body_urgent);
}

static void body_urgent_handlers(struct fixture *f)
{
	f->left = 40;
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_block, (void *)(uintptr_t)i), 0);
	}
	while (f->w.blocked < 4) {
		env_sleep(env_of(f), NS_PER_MS);
	}
	env_sleep(env_of(f), NS_PER_S);
	CHECK_EQ(f->w.blocked, 4);
	CHECK_EQ(call_close(f->s, 1000), 0);
	wait_left(f);
}

TEST(urgent_handlers_are_apart)
{
	struct fixture *f = fixture_new(3);

	f->w.limits.handlers_max = 4;
	f->w.limits.queue_max = 8; /* beyond: RETRY, which the client repeats */
	fixture_run(f, body_urgent_handlers);
	CHECK_EQ(f->w.running_max, 5);
	fixture_free(f);
}

static void body_overload(struct fixture *f)
{
	f->left = 200;
	for (unsigned i = 0; i < 200; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)i), 0);
	}
	wait_left(f);
	for (unsigned i = 0; i < 200; i++) {
		CHECK_EQ(f->w.executed[i], 1);
	}
	CHECK_EQ(f->w.running_max, 2);
}

TEST(overload_is_retried)
{
	struct fixture *f = fixture_new(4);

	f->w.limits.handlers_max = 2;
	f->w.limits.queue_max = 3;
	fixture_run(f, body_overload);
	fixture_free(f);
}

/* ---- deadlines, interrupts ---- */

static void body_retry_deadline(struct fixture *f)
{
	uint64_t start = env_now(env_of(f));

	CHECK_EQ(call_map(f->s, "retry", 0, start + 2 * NS_PER_S), -NE_TIMEDOUT);
	CHECK(env_now(env_of(f)) - start >= 2 * NS_PER_S);
	CHECK(env_now(env_of(f)) - start < 3 * NS_PER_S);
}

TEST(retry_until_deadline)
{
	run(body_retry_deadline);
}

static void fiber_victim(void *arg)
{
	struct fixture *f = arg;

	f->victim = env_self(env_of(f));
	if (f->step == 0) {
		f->results[0] = call_param(f->s, 1, "block", 0, 0);
	} else if (f->step == 1) {
		f->results[0] = call_param(f->s, 2, "stubborn", 0, 0);
	} else {
		f->results[0] = call_map(f->s, "block", 0, 0);
	}
	f->victim = NULL;
	f->left--;
}

static void interrupt_after(struct fixture *f, unsigned step, uint64_t ns)
{
	f->step = step;
	f->left = 1;
	CHECK_EQ(env_spawn(env_of(f), "victim", fiber_victim, f), 0);
	env_sleep(env_of(f), ns);
	CHECK(f->victim != NULL);
	env_interrupt(env_of(f), f->victim);
	wait_left(f);
}

static void body_interrupt(struct fixture *f)
{
	uint64_t start;

	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
	/* Cancelled at the server, whose verdict it is. */
	interrupt_after(f, 0, 100 * NS_PER_MS);
	CHECK_EQ(f->results[0], -NE_INTR);
	CHECK_EQ(f->w.interrupted, 1);
	CHECK_EQ(f->w.executed[1], 0);
	interrupt_after(f, 2, 100 * NS_PER_MS);
	CHECK_EQ(f->results[0], -NE_INTR);
	CHECK_EQ(f->w.interrupted, 2);
	/* A handler that does not listen: the caller leaves after the grace, the slot stays busy, the request
	 * is executed once, and the slot serves again. */
	start = env_now(env_of(f));
	interrupt_after(f, 1, 100 * NS_PER_MS);
	CHECK_EQ(f->results[0], -NE_INTR);
	CHECK(env_now(env_of(f)) - start < 4 * NS_PER_S);
	CHECK_EQ(f->w.executed[2], 0);
	f->left = 200;
	for (unsigned i = 0; i < 200; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)(i + 10)), 0);
	}
	wait_left(f);
	env_sleep(env_of(f), 6 * NS_PER_S);
	CHECK_EQ(f->w.executed[2], 1);
	for (unsigned i = 0; i < 200; i++) {
		CHECK_EQ(f->w.executed[i + 10], 1);
	}
}

TEST(interrupt)
{
	run(body_interrupt);
}

static void body_interrupt_disconnected(struct fixture *f)
{
	uint64_t start;

	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
	sim_partition(f->sim, f->client, f->server, true);
	sim_partition(f->sim, f->server, f->client, true);
	rpc_session_disconnect(f->s);
	env_sleep(env_of(f), 100 * NS_PER_MS);
	start = env_now(env_of(f));
	interrupt_after(f, 0, 100 * NS_PER_MS);
	CHECK_EQ(f->results[0], -NE_INTR);
	CHECK(env_now(env_of(f)) - start < 200 * NS_PER_MS);
	sim_partition_heal(f->sim);
	CHECK_EQ(call_param(f->s, 9, "", 0, 0), 0);
}

TEST(interrupt_while_disconnected)
{
	run(body_interrupt_disconnected);
}

/* A stopped server reads nothing: a caller whose bulk fills the socket can still leave. */
static void fiber_big_write(void *arg)
{
	struct fixture *f = arg;

	f->victim = env_self(env_of(f));
	f->results[0] = call_write(f->s, 5, 0, f->buf, 4 << 20, 0);
	f->victim = NULL;
	f->left--;
}

static void body_interrupt_stuck(struct fixture *f)
{
	uint64_t start;

	CHECK_EQ(call_write(f->s, 4, 0, f->buf, 100, 0), 0);
	sim_node_suspend(f->server, SIM_PAUSE_STOP);
	f->left = 1;
	CHECK_EQ(env_spawn(env_of(f), "w", fiber_big_write, f), 0);
	env_sleep(env_of(f), NS_PER_S);
	start = env_now(env_of(f));
	env_interrupt(env_of(f), f->victim);
	wait_left(f);
	CHECK_EQ(f->results[0], -NE_INTR);
	CHECK(env_now(env_of(f)) - start < 6 * NS_PER_S);
	sim_node_resume(f->server);
	CHECK_EQ(call_write(f->s, 6, 0, f->buf, 100, 0), 0);
	CHECK(f->w.executed[5] <= 1);
	CHECK_EQ(f->w.executed[6], 1);
}

TEST(interrupt_while_stuck)
{
	run(body_interrupt_stuck);
}

/* ---- keys ---- */

static void body_wrong_key(struct fixture *f)
{
	static struct rpc_key key;
	struct rpc_client *client;
	struct rpc_session *s;

	key = f->w.key;
	key.secret[5] ^= 1;
	client = world_client(&f->w, env_of(f), 12, &key);
	s = world_session(client, ADDR);
	CHECK_EQ(rpc_session_connect(s, ENV_FOREVER), -NE_AUTH);
	CHECK_EQ(call_map(s, "", 0, 0), -NE_AUTH);
	rpc_session_free(s, 0);
	rpc_client_free(client);
	/* A claim that was changed is a wrong key. */
	key = f->w.key;
	key.role = RPC_ROLE_ADMIN;
	client = world_client(&f->w, env_of(f), 12, &key);
	s = world_session(client, ADDR);
	CHECK_EQ(rpc_session_connect(s, ENV_FOREVER), -NE_AUTH);
	rpc_session_free(s, 0);
	rpc_client_free(client);
	CHECK_EQ(f->w.opened, 0);
	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
}

TEST(wrong_key)
{
	run(body_wrong_key);
}

static int connect_with(struct fixture *f, struct rpc_key *key)
{
	struct rpc_client *client;
	struct rpc_session *s;
	int rc;

	CHECK_EQ(rpc_key_derive(key, f->w.server_key), 0);
	client = world_client(&f->w, env_of(f), 13, key);
	s = world_session(client, ADDR);
	rc = rpc_session_connect(s, ENV_FOREVER);
	rpc_session_free(s, env_now(env_of(f)) + NS_PER_S);
	rpc_client_free(client);
	return rc;
}

static void body_claims(struct fixture *f)
{
	static struct rpc_key key;

	key = f->w.key;
	key.expires_s = (uint64_t)(env_realtime(env_of(f)) / (int64_t)NS_PER_S) - 3600;
	CHECK_EQ(connect_with(f, &key), -NE_EXPIRED);
	key.expires_s += 7200;
	CHECK_EQ(connect_with(f, &key), 0);
	strcpy(key.fsname, "otherfs");
	CHECK_EQ(connect_with(f, &key), -NE_WRONGFS);
	strcpy(key.fsname, "");
	strcpy(key.subdir, "/home");
	key.read_only = true;
	CHECK_EQ(connect_with(f, &key), 0);
	CHECK_STR(f->w.last_identity.subdir, "/home");
	CHECK(f->w.last_identity.read_only);
	key.role = RPC_ROLE_USER;
	CHECK_EQ(connect_with(f, &key), 0);
	CHECK_EQ(f->w.last_identity.role, RPC_ROLE_USER);
	CHECK_EQ(f->w.last_identity.uid, 1234);
	key.role = RPC_ROLE_SERVER;
	CHECK_EQ(connect_with(f, &key), 0);
	CHECK_EQ(f->w.last_identity.role, RPC_ROLE_SERVER);
	CHECK(!f->w.last_identity.read_only);
	key.cluster.bytes[0] ^= 1;
	key.role = RPC_ROLE_HOST;
	CHECK_EQ(connect_with(f, &key), -NE_AUTH);
}

TEST(claims)
{
	run(body_claims);
}

/* ---- restart, eviction, generations ---- */

static void restart(void *arg)
{
	struct fixture *f = arg;

	f->w.epoch++;
	sim_node_start(f->server, server_main, f);
}

static void body_restart(struct fixture *f)
{
	CHECK_EQ(call_param(f->s, 1, "", 0, 0), 0);
	f->w.slow_ns = 500 * NS_PER_MS;
	f->left = 40;
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)(i + 2)), 0);
	}
	env_sleep(env_of(f), 250 * NS_PER_MS);
	sim_node_crash(f->server, SIM_KILL);
	sim_after(f->sim, 300 * NS_PER_MS, restart, f);
	wait_left(f);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(f->results[(i + 2) % 64], 0);
		CHECK_EQ(f->w.executed[i + 2], 1);
	}
	CHECK_EQ(f->w.opened, 1);
	CHECK_EQ(f->w.resumed, 1);
	CHECK_EQ(rpc_session_info(f->s)->epoch, 2);
}

TEST(restart_with_slots)
{
	run(body_restart);
}

static void body_restart_forgets(struct fixture *f)
{
	unsigned lost = 0;

	CHECK_EQ(call_param(f->s, 1, "", 0, 0), 0);
	f->w.forget = true;
	f->w.slow_ns = 500 * NS_PER_MS;
	f->left = 40;
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)(i + 2)), 0);
	}
	env_sleep(env_of(f), 250 * NS_PER_MS);
	sim_node_crash(f->server, SIM_KILL);
	sim_after(f->sim, 300 * NS_PER_MS, restart, f);
	wait_left(f);
	for (unsigned i = 0; i < 40; i++) {
		int rc = f->results[(i + 2) % 64];

		CHECK(rc == 0 || rc == -NE_NOSESSION);
		CHECK(f->w.executed[i + 2] <= 1);
		CHECK(rc != 0 || f->w.executed[i + 2] == 1);
		lost += rc != 0;
	}
	CHECK(lost > 0);
	CHECK_EQ(f->w.opened, 2);
	/* What may be repeated is, and new requests flow. */
	CHECK_EQ(call_param(f->s, 100, "", 0, 0), 0);
}

TEST(restart_without_slots)
{
	run(body_restart_forgets);
}

static void body_evict(struct fixture *f)
{
	struct rpc_export *exp;

	CHECK_EQ(call_param(f->s, 1, "", 0, 0), 0);
	f->left = 3;
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_block, (void *)(uintptr_t)(i + 2)), 0);
	}
	while (f->w.blocked < 3) {
		env_sleep(env_of(f), NS_PER_MS);
	}
	exp = rpc_service_export_next(f->w.service, NULL);
	CHECK(exp != NULL);
	CHECK(rpc_service_export_next(f->w.service, exp) == NULL);
	f->w.fence_below = 2;
	rpc_export_evict(exp, "test");
	wait_left(f);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(f->results[i + 2], -NE_FENCED);
	}
	CHECK_EQ(call_map(f->s, "", 0, env_now(env_of(f)) + NS_PER_S), -NE_TIMEDOUT);
	CHECK_EQ(f->w.close_reason, RPC_CLOSE_EVICTED);
	rpc_client_incarnation_set(f->rpc, 2);
	CHECK_EQ(call_param(f->s, 5, "", 0, 0), 0);
	CHECK_EQ(f->w.opened, 2);
}

TEST(evict)
{
	run(body_evict);
}

static void body_generation(struct fixture *f)
{
	/* Requests wait at the server when their connection goes: those without slot are cut before
	 * the session is resumed, those with one are answered once, on the new connection. */
	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
	f->left = 10;
	f->w.slow_ns = 3 * NS_PER_S;
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_param, (void *)(uintptr_t)(i + 2)), 0);
	}
	f->step = 2;
	f->left++;
	CHECK_EQ(env_spawn(env_of(f), "victim", fiber_victim, f), 0);
	while (f->w.running < 11) {
		env_sleep(env_of(f), NS_PER_MS);
	}
	for (unsigned i = 0; i < 5; i++) {
		rpc_session_disconnect(f->s);
		env_sleep(env_of(f), 300 * NS_PER_MS);
	}
	CHECK(f->w.interrupted >= 3);
	CHECK_EQ(f->w.blocked, 1);
	env_interrupt(env_of(f), f->victim);
	wait_left(f);
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(f->results[i + 2], 0);
		CHECK_EQ(f->w.executed[i + 2], 1);
	}
	CHECK_EQ(f->w.opened, 1);
}

TEST(generations)
{
	run(body_generation);
}

/* ---- credits ---- */

static void fiber_write(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;
	uint8_t *buf = mem_alloc(MIB);

	CHECK(buf != NULL);
	fx->results[id % 64] = call_write(fx->s, id, id * 5, buf, MIB, 0);
	mem_free(buf);
	fx->left--;
}

static void body_credit(struct fixture *f)
{
	f->w.slow_ns = 200 * NS_PER_MS;
	f->left = 60;
	for (unsigned i = 0; i < 60; i++) {
		CHECK_EQ(env_spawn(env_of(f), "t", fiber_write, (void *)(uintptr_t)i), 0);
	}
	wait_left(f);
	for (unsigned i = 0; i < 60; i++) {
		CHECK_EQ(f->results[i], 0);
		CHECK_EQ(f->w.executed[i], 1);
	}
	CHECK(f->w.bulk_max <= 8 * MIB);
	CHECK(f->w.bulk_max >= 6 * MIB);
}

TEST(credit)
{
	run(body_credit);
}

static void body_bulk_memory(struct fixture *f)
{
	body_credit(f);
}

TEST(bulk_memory_is_bounded)
{
	struct fixture *f = fixture_new(6);

	f->w.limits.bulk_credit_bytes = 32 * MIB;
	f->w.limits.bulk_total_bytes = 8 * MIB;
	fixture_run(f, body_bulk_memory);
	fixture_free(f);
}

/* ---- pushes and silence ---- */

static unsigned pushes_seen;

static void on_push(
	void *ctx, struct rpc_session *session, const struct wire_op *op, const void *body)
{
	const struct w_push_write_through *push = body;

	CHECK(ctx == fx && session == fx->s);
	CHECK_EQ(op->op, W_OP_WRITE_THROUGH);
	CHECK_EQ(push->fid.oid, pushes_seen);
	pushes_seen++;
}

static void push_main(void *arg)
{
	struct fixture *f = arg;
	struct env *env = env_of(f);
	struct rpc_client_opts opts = {.env = env,
		.incarnation = 1,
		.key = &f->w.key,
		.on_push = on_push,
		.on_push_ctx = f};

	memset(opts.uuid.bytes, 3, sizeof(opts.uuid.bytes));
	CHECK_EQ(rpc_client_new(&opts, &f->rpc), 0);
	f->s = world_session(f->rpc, ADDR);
	CHECK_EQ(call_map(f->s, "", 0, 0), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct w_push_write_through push = {.fid = {.seq = 1, .oid = i}};
		struct rpc_export *exp = rpc_service_export_next(f->w.service, NULL);
		int rc = rpc_export_push(exp, W_OP_WRITE_THROUGH, &push);

		if (rc == -NE_LIMIT) {
			env_sleep(env, NS_PER_MS);
			i--;
			f->step++;
		}
	}
	env_sleep(env, NS_PER_S);
	CHECK_EQ(pushes_seen, 1000);
	CHECK(f->step > 0); /* the queue was bounded */
	/* The connection is kept by pings for longer than the server bears silence. */
	env_sleep(env, 400 * NS_PER_S);
	CHECK_EQ(rpc_session_state(f->s), RPC_SESSION_READY);
	CHECK_EQ(f->w.opened, 1);
	CHECK_EQ(f->w.closed, 0);
	f->done = true;
	sim_node_crash(f->client, SIM_POWER_LOSS);
}

static bool session_is_closed(void *ctx)
{
	return ((struct fixture *)ctx)->w.closed == 1;
}

TEST(pushes_then_silence)
{
	struct fixture *f = fixture_new(7);

	pushes_seen = 0;
	sim_node_start(f->server, server_main, f);
	sim_node_start(f->client, push_main, f);
	CHECK_EQ(sim_run(f->sim, is_done, f, 3600 * NS_PER_S), 0);
	/* The client is gone without a word: its session goes too. */
	CHECK_EQ(sim_run(f->sim, session_is_closed, f, 300 * NS_PER_S), 0);
	CHECK_EQ(f->w.close_reason, RPC_CLOSE_SILENT);
	sim_node_stop_ask(f->server);
	CHECK_EQ(sim_run(f->sim, server_is_gone, f, 600 * NS_PER_S), 0);
	fixture_free(f);
}

/* ---- events ---- */

static unsigned events[8];
static unsigned recovery_failures;

static int on_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct fixture *f = ctx;

	CHECK(session == f->s && info == rpc_session_info(session));
	events[event]++;
	if (event != RPC_EVENT_NEW && event != RPC_EVENT_RESUMED && event != RPC_EVENT_RECOVERING) {
		return 0;
	}
	/* Re-claims go first: what waits is executed after them. */
	CHECK_EQ(rpc_session_state(session), RPC_SESSION_RECOVERING);
	if (recovery_failures > 0) {
		recovery_failures--;
		return -NE_IO;
	}
	f->step++;
	CHECK_EQ(call_param(session, 1000 + f->step, "slow", 0, RPC_CALL_RECOVERY), 0);
	CHECK_EQ(f->w.executed[1000 + f->step], 1);
	CHECK_EQ(f->w.executed[500 + f->step], 0);
	return 0;
}

static void fiber_later(void *arg)
{
	unsigned id = (unsigned)(uintptr_t)arg;

	CHECK_EQ(call_param(fx->s, id, "", 0, 0), 0);
	fx->left--;
}

static void later(struct fixture *f, unsigned id)
{
	f->left++;
	CHECK_EQ(env_spawn(env_of(f), "later", fiber_later, (void *)(uintptr_t)id), 0);
}

static void events_main(void *arg)
{
	struct fixture *f = arg;
	static struct rpc_addrs addrs;
	struct rpc_session_opts opts = {.target = "MDT0000",
		.fsname = "testfs",
		.addrs = &addrs,
		.on_event = on_event,
		.on_event_ctx = f};

	memset(events, 0, sizeof(events));
	recovery_failures = 2;
	addrs.count = 1;
	strcpy(addrs.addr[0], ADDR);
	f->rpc = world_client(&f->w, env_of(f), 11, NULL);
	CHECK_EQ(rpc_session_new(f->rpc, &opts, &f->s), 0);
	later(f, 501);
	wait_left(f);
	CHECK_EQ(events[RPC_EVENT_NEW], 3); /* until it was taken */
	CHECK_EQ(events[RPC_EVENT_RESUMED], 0);
	CHECK_EQ(f->w.executed[501], 1);
	CHECK_EQ(events[RPC_EVENT_MAP], 1);
	rpc_session_disconnect(f->s);
	env_sleep(env_of(f), NS_PER_MS);
	later(f, 502);
	wait_left(f);
	CHECK_EQ(events[RPC_EVENT_RESUMED], 1);
	CHECK_EQ(events[RPC_EVENT_DISCONNECTED], 1);
	sim_node_crash(f->server, SIM_KILL);
	sim_after(f->sim, 300 * NS_PER_MS, restart, f);
	env_sleep(env_of(f), 10 * NS_PER_MS);
	later(f, 503);
	wait_left(f);
	CHECK_EQ(events[RPC_EVENT_RECOVERING], 1);
	f->w.forget = true;
	sim_node_crash(f->server, SIM_KILL);
	sim_after(f->sim, 300 * NS_PER_MS, restart, f);
	env_sleep(env_of(f), 10 * NS_PER_MS);
	later(f, 504);
	wait_left(f);
	CHECK_EQ(events[RPC_EVENT_NEW], 4);
	CHECK_EQ(f->step, 4);
	rpc_session_free(f->s, env_now(env_of(f)) + NS_PER_S);
	rpc_client_free(f->rpc);
	f->done = true;
}

TEST(events)
{
	struct fixture *f = fixture_new(8);

	sim_node_start(f->server, server_main, f);
	sim_node_start(f->client, events_main, f);
	CHECK_EQ(sim_run(f->sim, is_done, f, 3600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(f->client), 0);
	sim_node_stop_ask(f->server);
	CHECK_EQ(sim_run(f->sim, server_is_gone, f, 600 * NS_PER_S), 0);
	fixture_free(f);
}
