/*
 * The simulated network: an echo service under every fault, connections that break as TCP's do.
 */
#include "sim_echo.h"

/* ---- echo ---- */

TEST(echo_without_faults)
{
	struct sim_options opts;
	static struct sim_echo e;

	sim_options_default(&opts, 1);
	sim_echo_init(&e, &opts, 100);
	e.echo.payload_max = ECHO_LARGE;
	sim_echo_start(&e);
	CHECK_EQ(sim_run(e.sim, echo_done, &e.echo, 10 * NS_PER_S), 0);
	for (unsigned i = 0; i < ECHO_CLIENTS; i++) {
		CHECK(e.echo.clients[i].connects <= 3); /* the server may not have listened yet */
		CHECK_EQ(sim_node_heap_blocks(e.nodes[i]), 0);
	}
	CHECK_EQ(e.echo.duplicates, 0);
	sim_free(e.sim);
}

/* Things that happen to the world while clients work; ends after a while. */
struct trouble {
	struct sim_echo *echo;
	unsigned left;
};

static void trouble_restart(void *ctx)
{
	sim_echo_start(ctx);
}

static void trouble_end(struct sim_echo *e)
{
	struct sim_options *opts = sim_options_live(e->sim);
	struct sim_options calm;

	sim_options_default(&calm, 0);
	opts->net = calm.net;
	sim_partition_heal(e->sim);
	sim_node_resume(e->server);
	for (unsigned i = 0; i < ECHO_CLIENTS; i++) {
		sim_node_resume(e->nodes[i]);
	}
	trouble_restart(e);
}

static void trouble_step(void *ctx)
{
	struct trouble *t = ctx;
	struct sim_echo *e = t->echo;
	struct sim_node *client = e->nodes[sim_random(e->sim) % ECHO_CLIENTS];
	struct sim_node *node = sim_random(e->sim) % 2 == 0 ? e->server : client;
	bool on = sim_random(e->sim) % 2 == 0;

	if (t->left-- == 0) {
		trouble_end(e);
		return;
	}
	switch (sim_random(e->sim) % 8) {
	case 0:
		sim_node_crash(node, on ? SIM_KILL : SIM_POWER_LOSS);
		break;
	case 1:
		sim_node_suspend(node, on ? SIM_PAUSE_STOP : SIM_PAUSE_SLEEP);
		break;
	case 2:
		sim_node_resume(e->server);
		sim_node_resume(client);
		break;
	case 3:
		sim_partition(e->sim, e->server, client, on);
		break;
	case 4:
		sim_partition(e->sim, client, e->server, on);
		break;
	case 5:
		sim_net_reset(e->sim, client, e->server);
		sim_node_clock_set(client, on ? 3600 * (int64_t)NS_PER_S : -(int64_t)NS_PER_S);
		break;
	default:
		trouble_restart(e);
		break;
	}
	sim_after(e->sim, sim_random(e->sim) % (400 * NS_PER_MS), trouble_step, t);
}

static uint64_t trouble_run(uint64_t seed, struct sim_stats *sum, unsigned *ret_duplicates)
{
	struct sim_options opts;
	static struct sim_echo e;
	struct trouble t = {&e, 60};
	uint64_t hash;

	sim_options_default(&opts, seed);
	sim_options_faults(&opts);
	opts.net.buffer_bytes = 8192;
	sim_echo_init(&e, &opts, 150);
	e.echo.payload_max = seed % 2 == 0 ? 200 : ECHO_LARGE;
	sim_echo_start(&e);
	sim_after(e.sim, 10 * NS_PER_MS, trouble_step, &t);
	CHECK_EQ(sim_run(e.sim, echo_done, &e.echo, 3600 * NS_PER_S), 0);
	hash = sim_log_hash(e.sim);
	sim_stats_add(sum, sim_stats(e.sim));
	*ret_duplicates += e.echo.duplicates;
	sim_free(e.sim);
	return hash;
}

TEST(echo_under_every_fault)
{
	struct sim_stats sum = {.runs = 0};
	unsigned duplicates = 0;

	for (uint64_t seed = 0; seed < 60; seed++) {
		(void)trouble_run(seed, &sum, &duplicates);
	}
	sum.faults[SIM_FAULT_DIE] = 1; /* nobody dies of his own will or has jobs here */
	sum.faults[SIM_FAULT_JOB_LOST] = 1;
	CHECK_EQ(sim_stats_check_all_fired(&sum, SIM_GROUP_NODE | SIM_GROUP_NET, stderr), 0);
	/* RULES B5's danger is there: an older request arrived after a newer one. */
	CHECK(duplicates > 0);
}

TEST(the_same_seed_is_the_same_run)
{
	struct sim_stats sum = {.runs = 0};
	unsigned duplicates = 0;

	for (uint64_t seed = 100; seed < 110; seed++) {
		uint64_t first = trouble_run(seed, &sum, &duplicates);

		CHECK(trouble_run(seed, &sum, &duplicates) == first);
		CHECK(trouble_run(seed + 1000, &sum, &duplicates) != first);
	}
}

TEST(a_hostile_wire_costs_connections_only)
{
	struct sim_stats sum = {.runs = 0};
	unsigned corrupt = 0;

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim_options opts;
		static struct sim_echo e;

		sim_options_default(&opts, seed);
		opts.net.hostile_flip_ppm = 20000;
		opts.net.hostile_duplicate_ppm = 20000;
		opts.net.hostile_reorder_ppm = 50000;
		opts.net.segment_bytes_max = 1000;
		sim_echo_init(&e, &opts, 40);
		e.echo.hostile = true;
		sim_echo_start(&e);
		CHECK_EQ(sim_run(e.sim, echo_done, &e.echo, 3600 * NS_PER_S), 0);
		corrupt += e.echo.corrupt;
		sim_stats_add(&sum, sim_stats(e.sim));
		sim_free(e.sim);
	}
	CHECK(corrupt > 20);
	CHECK_EQ(sim_stats_check_all_fired(&sum, SIM_GROUP_HOSTILE, stderr), 0);
}

/* ---- every crash point ---- */

TEST(kill_client_or_server_at_every_crash_point)
{
	struct sim_stats sum = {.runs = 0};

	for (unsigned who = 0; who < 4; who++) {
		enum sim_crash kind = who % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS;
		bool unharmed = false;

		for (uint64_t k = 1; !unharmed; k += 1) {
			struct sim_options opts;
			static struct sim_echo e;
			struct sim_node *victim;

			sim_options_default(&opts, 5);
			opts.fibers_max = 64;
			opts.log_events = 512;
			sim_echo_init(&e, &opts, 2);
			victim = who < 2 ? e.server : e.nodes[0];
			sim_node_on_crash(victim, trouble_restart, &e);
			sim_crash_at(victim, k, kind);
			sim_echo_start(&e);
			CHECK_EQ(sim_run(e.sim, echo_done, &e.echo, 600 * NS_PER_S), 0);
			unharmed = sim_crashes(victim) == 0;
			CHECK(unharmed || sim_crashes(victim) == 1);
			sim_stats_add(&sum, sim_stats(e.sim));
			sim_free(e.sim);
		}
	}
	CHECK(sum.crashed[SIM_POINT_TURN] > 20);
	CHECK(sum.crashed[SIM_POINT_SEND] > 5 && sum.crashed[SIM_POINT_RECV] > 5);
	CHECK(sum.crashed[SIM_POINT_ACCEPT] > 1 && sum.crashed[SIM_POINT_CONNECT] > 0);
	CHECK(sum.crashed[SIM_POINT_LISTEN] > 0 && sum.crashed[SIM_POINT_CONN_CLOSE] > 0);
}

/* ---- one connection, looked at closely ---- */

struct pair {
	struct sim *sim;
	struct sim_node *a;
	struct sim_node *b;
	struct env_conn *client;
	struct env_conn *served;
	struct env_listener *listener;
	char addr[64];
	int rc;
	int rc2;
	size_t len;
	uint64_t took_ns;
	unsigned done;
	unsigned goal;
	struct fiber *fiber;
	char buf[32];
};

static void pair_accept(void *arg)
{
	struct pair *p = arg;

	CHECK_EQ(env_listen(sim_node_env(p->b), "sim:b:0", p->addr, sizeof(p->addr), &p->listener),
		0);
	CHECK_EQ(env_accept(p->listener, &p->served), 0);
	p->done++;
}

static void pair_connect(void *arg)
{
	struct pair *p = arg;

	while (p->addr[0] == '\0') {
		env_sleep(sim_node_env(p->a), NS_PER_MS);
	}
	CHECK_EQ(env_connect(sim_node_env(p->a), p->addr, ENV_FOREVER, &p->client), 0);
	p->done++;
}

static bool pair_done(void *ctx)
{
	return ((struct pair *)ctx)->done >= ((struct pair *)ctx)->goal;
}

static void pair_wait(struct pair *p, unsigned goal)
{
	p->goal = goal;
	CHECK_EQ(sim_run(p->sim, pair_done, p, 3600 * NS_PER_S), 0);
	p->done = 0;
}

static void pair_init(struct pair *p, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	opts.quiet = true;
	*p = (struct pair){.rc = 1};
	p->sim = sim_new(&opts);
	p->a = sim_node_new(p->sim, "a");
	p->b = sim_node_new(p->sim, "b");
	sim_node_ids_set(p->a, 1000, 100);
	sim_node_start(p->b, pair_accept, p);
	sim_node_start(p->a, pair_connect, p);
	pair_wait(p, 2);
}

static void pair_spawn(struct sim_node *node, env_fiber_fn *fn, struct pair *p)
{
	CHECK_EQ(env_spawn(sim_node_env(node), "pair", fn, p), 0);
}

static void pair_recv(void *arg)
{
	struct pair *p = arg;
	struct env *env = sim_node_env(p->b);
	uint64_t before = env_now(env);

	p->fiber = env_self(env);
	p->rc = env_recv(p->served, p->buf, 8, sizeof(p->buf), ENV_FOREVER, &p->len);
	p->took_ns = env_now(env) - before;
	p->done++;
}

static void pair_send(void *arg)
{
	struct pair *p = arg;
	struct iovec iov = {(void *)(uintptr_t) "12345678", 8};

	p->rc2 = env_send(p->client, &iov, 1);
	p->done++;
}

TEST(peers_know_each_other)
{
	struct pair p;

	pair_init(&p, 1);
	CHECK_EQ(env_conn_peer(p.served)->uid, 1000);
	CHECK_EQ(env_conn_peer(p.served)->gid, 100);
	CHECK(!env_conn_peer(p.served)->local);
	CHECK(strncmp(env_conn_peer(p.served)->addr, "sim:a", 5) == 0);
	CHECK(strncmp(p.addr, "sim:b:", 6) == 0 && strcmp(p.addr, "sim:b:0") != 0);
	sim_free(p.sim);
}

TEST(a_killed_peer_is_noticed_at_once_a_powerless_one_late)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct pair p;

		pair_init(&p, seed);
		pair_spawn(p.b, pair_recv, &p);
		CHECK_EQ(sim_run(p.sim, NULL, NULL, NS_PER_S), 0);
		sim_node_crash(p.a, seed % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS);
		pair_wait(&p, 1);
		CHECK_EQ(p.rc, -NE_CONNLOST);
		CHECK_EQ(p.len, 0);
		if (seed % 2 == 0) {
			CHECK(p.took_ns < 10 * NS_PER_MS);
		} else {
			CHECK(p.took_ns > 90 * NS_PER_MS);
		}
		sim_free(p.sim);
	}
}

TEST(a_short_partition_only_delays)
{
	struct pair p;

	pair_init(&p, 3);
	sim_options_live(p.sim)->net.detect_ns_min = 10 * NS_PER_S;
	sim_partition(p.sim, p.a, p.b, true);
	pair_spawn(p.b, pair_recv, &p);
	pair_spawn(p.a, pair_send, &p);
	p.goal = 2;
	CHECK_EQ(sim_run(p.sim, pair_done, &p, 5 * NS_PER_S), -NE_TIMEDOUT);
	CHECK_EQ(p.done, 1); /* the sender does not know */
	CHECK_EQ(p.rc2, 0);
	sim_partition(p.sim, p.a, p.b, false);
	pair_wait(&p, 2);
	CHECK_EQ(p.rc, 0);
	CHECK_EQ(p.len, 8);
	CHECK(memcmp(p.buf, "12345678", 8) == 0);
	CHECK(p.took_ns > 4 * NS_PER_S);
	sim_free(p.sim);
}

TEST(a_long_partition_breaks_and_is_one_way)
{
	struct pair p;

	pair_init(&p, 4);
	/* What b sends to a is lost: a's data still arrives, but a never hears of it and gives up. */
	sim_partition(p.sim, p.b, p.a, true);
	pair_spawn(p.b, pair_recv, &p);
	pair_spawn(p.a, pair_send, &p);
	pair_wait(&p, 2);
	CHECK_EQ(p.rc, 0);
	CHECK_EQ(p.len, 8);
	CHECK_EQ(sim_run(p.sim, NULL, NULL, 60 * NS_PER_S), 0);
	pair_spawn(p.a, pair_send, &p);
	pair_wait(&p, 1);
	CHECK_EQ(p.rc2, -NE_CONNLOST);
	pair_spawn(p.b, pair_recv, &p);
	pair_wait(&p, 1);
	CHECK_EQ(p.rc, -NE_CONNLOST);
	sim_free(p.sim);
}

TEST(a_partition_heals_over_a_connection_that_lost_everything)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct pair p;

		pair_init(&p, seed);
		sim_partition(p.sim, p.a, p.b, true);
		pair_spawn(p.a, pair_send, &p);
		CHECK_EQ(sim_run(p.sim, NULL, NULL, 50 * NS_PER_MS), -NE_TIMEDOUT); /* held */
		p.done = 0;
		sim_options_live(p.sim)->net.lose_ppm = 1000000;
		pair_spawn(p.a, pair_send, &p);
		pair_wait(&p, 1);
		CHECK_EQ(sim_run(p.sim, NULL, NULL, 3600 * NS_PER_S), 0); /* both ends gave up */
		sim_partition_heal(p.sim);
		pair_spawn(p.b, pair_recv, &p);
		pair_spawn(p.a, pair_send, &p);
		pair_wait(&p, 2);
		CHECK_EQ(p.rc2, -NE_CONNLOST);
		CHECK(p.rc == 0 || p.rc == -NE_CONNLOST);
		sim_free(p.sim);
	}
}

static void pair_interrupt(void *ctx)
{
	struct pair *p = ctx;

	env_interrupt(sim_node_env(p->b), p->fiber);
}

static void pair_recv_until(void *arg)
{
	struct pair *p = arg;
	struct env *env = sim_node_env(p->b);
	uint64_t before = env_now(env);

	p->fiber = env_self(env);
	p->rc = env_recv(p->served, p->buf, 20, sizeof(p->buf), before + 2 * NS_PER_S, &p->len);
	p->took_ns = env_now(env) - before;
	CHECK(env_interrupted(env));
	p->done++;
}

TEST(a_deadline_ends_a_recv_an_interrupt_does_not)
{
	struct pair p;

	pair_init(&p, 5);
	pair_spawn(p.b, pair_recv_until, &p);
	pair_spawn(p.a, pair_send, &p);
	sim_after(p.sim, NS_PER_S, pair_interrupt, &p);
	pair_wait(&p, 2);
	CHECK_EQ(p.rc, -NE_TIMEDOUT);
	CHECK_EQ(p.len, 8); /* what came is reported */
	CHECK(p.took_ns >= 2 * NS_PER_S);
	sim_free(p.sim);
}

/* ---- back-pressure ---- */

static void flood(void *arg)
{
	struct pair *p = arg;
	static uint8_t block[MIB];
	struct iovec iov = {block, sizeof(block)};

	p->rc2 = env_send(p->client, &iov, 1);
	p->done++;
}

static void drain(void *arg)
{
	struct pair *p = arg;
	size_t total = 0;
	static uint8_t block[4096];

	while (total < MIB) {
		p->rc = env_recv(p->served, block, 1, sizeof(block), ENV_FOREVER, &p->len);
		CHECK_EQ(p->rc, 0);
		total += p->len;
	}
	CHECK_EQ(total, MIB);
	p->done++;
}

static void shut(void *ctx)
{
	env_conn_shutdown(((struct pair *)ctx)->client);
}

TEST(a_sender_waits_until_its_reader_reads)
{
	struct pair p;

	pair_init(&p, 7);
	p.goal = 1;
	pair_spawn(p.a, flood, &p);
	CHECK_EQ(sim_run(p.sim, pair_done, &p, 3600 * NS_PER_S), -NE_DEADLK);
	CHECK(sim_stats(p.sim)->faults[SIM_FAULT_BACKPRESSURE] > 0);
	pair_spawn(p.b, drain, &p);
	pair_wait(&p, 2);
	CHECK_EQ(p.rc2, 0);
	/* A shut connection wakes its sender. */
	pair_spawn(p.a, flood, &p);
	sim_after(p.sim, NS_PER_S, shut, &p);
	pair_wait(&p, 1);
	CHECK_EQ(p.rc2, -NE_CONNLOST);
	sim_free(p.sim);
}

/* ---- connecting ---- */

static void dial(void *arg)
{
	struct pair *p = arg;
	struct env *env = sim_node_env(p->a);
	struct env_conn *conn;
	uint64_t before = env_now(env);

	p->rc = env_connect(env, p->buf, before + 2 * NS_PER_S, &conn);
	p->took_ns = env_now(env) - before;
	p->done++;
}

static void dial_to(struct pair *p, const char *addr, int rc, uint64_t ns_min, uint64_t ns_max)
{
	(void)snprintf(p->buf, sizeof(p->buf), "%s", addr);
	pair_spawn(p->a, dial, p);
	pair_wait(p, 1);
	CHECK_EQ(p->rc, rc);
	CHECK(p->took_ns >= ns_min && p->took_ns <= ns_max);
}

TEST(connects_fail_as_they_should)
{
	struct pair p;

	pair_init(&p, 8);
	dial_to(&p, "sim:b:9", -NE_CONNREFUSED, NS_PER_US, NS_PER_MS);
	dial_to(&p, "sim:nobody:9", -NE_HOSTUNREACH, 0, NS_PER_MS);
	dial_to(&p, "sim:b", -NE_INVAL, 0, NS_PER_MS);
	dial_to(&p, "sim:b:70000", -NE_INVAL, 0, NS_PER_MS);
	dial_to(&p, "tcp:[::1]:9", -NE_INVAL, 0, NS_PER_MS);
	sim_partition(p.sim, p.b, p.a, true);
	dial_to(&p, p.addr, -NE_TIMEDOUT, 2 * NS_PER_S, 2 * NS_PER_S + NS_PER_MS);
	sim_partition_heal(p.sim);
	sim_node_crash(p.b, SIM_KILL);
	dial_to(&p, p.addr, -NE_CONNREFUSED, NS_PER_US, NS_PER_MS);
	sim_node_start(p.b, pair_accept, &p);
	CHECK_EQ(sim_run(p.sim, NULL, NULL, NS_PER_S), 0);
	sim_node_crash(p.b, SIM_POWER_LOSS);
	dial_to(&p, p.addr, -NE_TIMEDOUT, 2 * NS_PER_S, 2 * NS_PER_S + NS_PER_MS);
	sim_free(p.sim);
}

static void closing(void *arg)
{
	struct pair *p = arg;
	struct env_conn *conn;

	p->rc = env_accept(p->listener, &conn);
	p->done++;
}

static void listener_close(void *arg)
{
	struct pair *p = arg;

	env_listener_close(p->listener);
	p->done++;
}

TEST(closing_a_listener_wakes_accepters)
{
	struct pair p;

	pair_init(&p, 9);
	pair_spawn(p.b, closing, &p);
	CHECK_EQ(sim_run(p.sim, NULL, NULL, NS_PER_S), 0);
	pair_spawn(p.b, listener_close, &p);
	pair_wait(&p, 2);
	CHECK_EQ(p.rc, -NE_SHUTDOWN);
	dial_to(&p, p.addr, -NE_CONNREFUSED, NS_PER_US, NS_PER_MS);
	sim_free(p.sim);
}
