/*
 * An OST under requests that meet each other, under failures half-way, and under power failures at bad moments.
 *
 * The same small world as test_oss.c: one OST, one client host and one server over real rpc on the simulator.
 */
#include "base/alloc.h"
#include "env/sim/sim.h"
#include "oss/oss_int.h"
#include "test.h"

/* A simulated crash frees what a node had from its heap; OpenSSL's contexts are not of that heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

#define BUF (256 * 1024)
#define HOUR_NS (3600 * NS_PER_S)

struct world {
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	uint32_t epoch;
	uint64_t capacity;
	uint64_t down_ns; /* how long the server stays down after a crash */
	struct oss *oss;
	struct rpc_session *host; /* as a client host */
	struct rpc_session *other; /* another one */
	struct rpc_session *mdt; /* as a server */
	void (*script)(struct world *w);
	bool done;
	bool stop;
	bool stopped;
	uint64_t writes;
	uint8_t *buf;
};

/* ---- server ---- */

static void server_main(void *arg)
{
	struct world *w = arg;
	struct env *env = sim_node_env(w->server);
	struct bufpool *pool = NULL;
	struct rpc_server *server = NULL;
	struct rpc_server_opts so = {
		.env = env, .cluster = w->cluster, .server_key = w->server_key};
	struct oss_options oo = {.path = "/ost",
		.target = "OST0000",
		.fsname = "testfs",
		.kv_kind = STATE_KV_MODEL,
		.capacity_bytes = w->capacity};
	char bound[LIM_ADDR_LEN_MAX + 1];
	int err = env_mkdir(env, "/ost");

	CHECK(err == 0 || err == -NE_EXIST);
	if (err == 0) {
		CHECK_EQ(env_fsync_dir(env, "/"), 0);
		CHECK_EQ(oss_format(env, "/ost"), 0);
	}
	CHECK_EQ(bufpool_new(64 * MIB, 32 * MIB, &pool), 0);
	so.bufpool = pool;
	oo.bufpool = pool;
	oo.epoch = ++w->epoch;
	CHECK_EQ(rpc_server_new(&so, &server), 0);
	CHECK_EQ(oss_start(env, server, &oo, &w->oss), 0);
	CHECK_EQ(rpc_server_listen(server, "sim:ost:1", bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		env_sleep(env, 50 * NS_PER_MS);
	}
	oss_stop(w->oss);
	rpc_server_stop(server);
	rpc_server_free(server);
	bufpool_free(pool);
}

static void restart(void *arg)
{
	struct world *w = arg;

	if (!sim_node_is_up(w->server)) {
		sim_node_start(w->server, server_main, w);
	}
}

static void crash(struct world *w, enum sim_crash kind)
{
	sim_node_crash(w->server, kind);
	sim_after(w->sim, w->down_ns, restart, w);
}

static void power_loss(void *arg)
{
	crash(arg, SIM_POWER_LOSS);
}

/* ---- client ---- */

static struct rpc_client *client_make(struct world *w, enum rpc_role role, uint8_t id)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_client_opts opts = {
		.env = sim_node_env(w->client), .incarnation = 1, .key = key, .hostname = "test"};
	struct rpc_client *client = NULL;

	key->role = role;
	key->allow_root = true;
	key->cluster = w->cluster;
	strcpy(key->fsname, "testfs");
	CHECK_EQ(rpc_key_derive(key, w->server_key), 0);
	opts.uuid.bytes[0] = id;
	CHECK_EQ(rpc_client_new(&opts, &client), 0);
	free(key);
	return client;
}

static struct rpc_session *session_make(struct rpc_client *client)
{
	struct rpc_addrs *addrs = calloc(1, sizeof(*addrs));
	struct rpc_session_opts opts = {.target = "OST0000", .fsname = "testfs", .addrs = addrs};
	struct rpc_session *s = NULL;

	addrs->count = 1;
	strcpy(addrs->addr[0], "sim:ost:1");
	CHECK_EQ(rpc_session_new(client, &opts, &s), 0);
	free(addrs);
	return s;
}

static void client_main(void *arg)
{
	struct world *w = arg;
	struct env *env = sim_node_env(w->client);
	struct rpc_client *host = client_make(w, RPC_ROLE_HOST, 1);
	struct rpc_client *server = client_make(w, RPC_ROLE_SERVER, 2);
	struct rpc_client *other = client_make(w, RPC_ROLE_HOST, 3);

	w->host = session_make(host);
	w->mdt = session_make(server);
	w->other = session_make(other);
	w->script(w);
	rpc_session_free(w->host, env_now(env) + NS_PER_S);
	rpc_session_free(w->mdt, env_now(env) + NS_PER_S);
	rpc_session_free(w->other, env_now(env) + NS_PER_S);
	rpc_client_free(host);
	rpc_client_free(server);
	rpc_client_free(other);
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

struct setup {
	void (*script)(struct world *w);
	uint64_t capacity;
	uint64_t down_ns;
	uint64_t sync_ns_max;
	bool slow; /* every operation of the disk lets others run, some take long */
};

static void run(const struct setup *s, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sim_options opts;

	sim_options_default(&opts, seed);
	opts.time_ns_max = 10 * HOUR_NS;
	if (s->sync_ns_max != 0) {
		opts.disk.sync_ns_max = s->sync_ns_max;
	}
	if (s->slow) {
		opts.disk.switch_ppm = 1000000;
		opts.disk.slow_ppm = 200000;
		opts.disk.slow_ns_max = 20 * NS_PER_MS;
	}
	w->sim = sim_new(&opts);
	w->server = sim_node_new(w->sim, "ost");
	w->client = sim_node_new(w->sim, "cli");
	w->script = s->script;
	w->capacity = s->capacity;
	w->down_ns = s->down_ns != 0 ? s->down_ns : 10 * NS_PER_MS;
	w->buf = malloc(BUF);
	w->cluster.bytes[3] = 7;
	sim_node_start(w->server, server_main, w);
	sim_node_start(w->client, client_main, w);
	CHECK_EQ(sim_run(w->sim, is_done, w, 8 * HOUR_NS), 0);
	sim_node_stop_ask(w->server);
	CHECK_EQ(sim_run(w->sim, server_is_gone, w, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(w->server), 0);
	sim_free(w->sim);
	free(w->buf);
	free(w);
}

/* ---- calls ---- */

static struct w_object_ref object(uint32_t oid)
{
	return (struct w_object_ref){.data_fid = {.seq = 0x200000401, .oid = oid},
		.layout_gen = 1,
		.file_fid = {.seq = 0x200000401, .oid = oid + 1000}};
}

static int do_write(struct rpc_session *s, struct w_object_ref ref, const uint8_t *buf,
	uint32_t len, unsigned flags)
{
	struct w_ost_write_req req = {.object = ref, .length = len, .flags = flags};
	struct w_ost_write_rep rep = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct rpc_call call = {.op = W_OP_OST_WRITE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.bulk_out = &iov,
		.bulk_out_count = 1};
	int err = rpc_call(s, &call);

	rpc_call_fini(&call);
	return err;
}

struct reading {
	struct w_ost_read_req req;
	struct w_ost_read_rep rep;
	struct iovec iov;
	struct rpc_call call;
};

static void read_start(struct world *w, struct reading *r, struct w_object_ref ref, bool must)
{
	memset(r, 0, sizeof(*r));
	r->req = (struct w_ost_read_req){.object = ref, .length = 4096, .must_exist = must};
	r->iov = (struct iovec){.iov_base = w->buf, .iov_len = 4096};
	r->call = (struct rpc_call){.op = W_OP_OST_READ,
		.request = &r->req,
		.reply = &r->rep,
		.bulk_in = &r->iov,
		.bulk_in_count = 1};
	rpc_call_start(w->host, &r->call);
}

static int attr_of(struct world *w, struct w_object_ref ref, struct w_object_attr *ret_attr)
{
	struct reading r;
	int err;

	read_start(w, &r, ref, false);
	err = rpc_call_wait(&r.call);
	*ret_attr = r.rep.attr;
	rpc_call_fini(&r.call);
	return err;
}

struct change {
	struct w_ost_change_req req;
	struct w_ost_change_rep rep;
	struct rpc_call call;
};

static void change_start(struct world *w, struct change *c, enum w_ost_change_kind kind,
	struct w_object_ref ref, uint64_t number, uint64_t size)
{
	memset(c, 0, sizeof(*c));
	c->req = (struct w_ost_change_req){
		.kind = kind, .number = number, .object = ref, .size = size};
	c->call = (struct rpc_call){.op = W_OP_OST_CHANGE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &c->req,
		.reply = &c->rep};
	rpc_call_start(w->mdt, &c->call);
}

static int change_wait(struct change *c)
{
	int err = rpc_call_wait(&c->call);

	rpc_call_fini(&c->call);
	return err;
}

static int do_change(struct world *w, enum w_ost_change_kind kind, struct w_object_ref ref,
	uint64_t number, uint64_t size)
{
	struct change c;

	change_start(w, &c, kind, ref, number, size);
	return change_wait(&c);
}

static uint64_t bytes_free(struct world *w)
{
	struct w_ost_statfs_req req = {0};
	struct w_ost_statfs_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_STATFS, .request = &req, .reply = &rep};

	CHECK_EQ(rpc_call(w->host, &call), 0);
	rpc_call_fini(&call);
	return rep.bytes_free;
}

static bool file_exists(struct world *w, struct w_object_ref ref)
{
	static char path[LIM_PATH_MAX + 1];
	uint8_t byte;

	oss_object_path(w->oss, ref.data_fid, ref.stripe, 0, path);
	return sim_disk_peek(w->server, path, &byte, 1) >= 0;
}

/* ---- space ---- */

static void script_space(struct world *w)
{
	struct w_object_attr attr;
	uint64_t before;

	memset(w->buf, 1, BUF);
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, W_OST_WRITE_FLAGS_SYNC), 0);
	before = bytes_free(w);
	crash(w, SIM_KILL);
	CHECK_EQ(attr_of(w, object(1), &attr), 0);
	CHECK_EQ(attr.size, 65536);
	/* It was counted when the target started; to open it takes no space. */
	CHECK_EQ(bytes_free(w), before);
}

TEST(opening_an_object_takes_no_space)
{
	run(&(struct setup){.script = script_space, .capacity = MIB}, 1);
}

/* ---- sizes ---- */

static void script_size_fails(struct world *w)
{
	struct w_object_attr attr;

	memset(w->buf, 1, BUF);
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, W_OST_WRITE_FLAGS_SYNC), 0);
	sim_disk_fail(w->server, SIM_DISK_WRITE, 1, NE_IO);
	CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_SET_SIZE, object(1), 5, 1000), -NE_IO);
	/* What failed was not applied: the repeat is not skipped. */
	CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_SET_SIZE, object(1), 5, 1000), 0);
	CHECK_EQ(attr_of(w, object(1), &attr), 0);
	CHECK_EQ(attr.size, 1000);
}

TEST(a_size_that_failed_is_set_by_the_repeat)
{
	run(&(struct setup){.script = script_size_fails}, 1);
}

static void script_size_power(struct world *w)
{
	struct w_object_attr attr;

	memset(w->buf, 1, BUF);
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, W_OST_WRITE_FLAGS_SYNC), 0);
	CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_SET_SIZE, object(1), 4, 60000), 0);
	sim_after(w->sim, env_random(sim_node_env(w->client)) % (6 * NS_PER_MS), power_loss, w);
	/* The call repeats itself until it is answered. */
	CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_SET_SIZE, object(1), 5, 1000), 0);
	CHECK_EQ(attr_of(w, object(1), &attr), 0);
	CHECK_EQ(attr.size, 1000);
	env_sleep(sim_node_env(w->client), 100 * NS_PER_MS);
	CHECK_EQ(attr_of(w, object(1), &attr), 0);
	CHECK_EQ(attr.size, 1000);
}

TEST(a_number_is_never_durable_before_its_size)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		run(&(struct setup){.script = script_size_power}, seed);
	}
}

/* ---- destruction and others ---- */

static void script_commit_destroy(struct world *w)
{
	struct w_commit_item item = {.object = object(1)};
	struct w_ost_commit_req req = {0};
	struct w_ost_commit_rep rep;
	struct rpc_call call = {.op = W_OP_OST_COMMIT, .request = &req, .reply = &rep};
	static struct change c;
	int err;

	memset(w->buf, 1, BUF);
	req.items.items = &item;
	req.items.count = 1;
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, 0), 0);
	rpc_call_start(w->host, &call);
	change_start(w, &c, W_OST_CHANGE_KIND_DESTROY, object(1), 1, 0);
	CHECK_EQ(change_wait(&c), 0);
	err = rpc_call_wait(&call);
	rpc_call_fini(&call);
	CHECK(err == 0 || err == -NE_STALE);
	CHECK(!file_exists(w, object(1)));
}

TEST(an_object_is_not_closed_under_its_commit)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		run(&(struct setup){.script = script_commit_destroy,
			    .sync_ns_max = 500 * NS_PER_MS},
			seed);
	}
}

static void script_size_destroy(struct world *w)
{
	static struct change sizes[6];
	static struct change destroy;
	static struct reading r;
	int err;

	memset(w->buf, 1, BUF);
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		change_start(w, &sizes[i], W_OST_CHANGE_KIND_SET_SIZE, object(1), i + 1, i * 1000);
	}
	change_start(w, &destroy, W_OST_CHANGE_KIND_DESTROY, object(1), 10, 0);
	for (unsigned i = 3; i < 6; i++) {
		change_start(w, &sizes[i], W_OST_CHANGE_KIND_SET_SIZE, object(1), i + 1, i * 1000);
	}
	read_start(w, &r, object(1), true);
	err = rpc_call_wait(&r.call);
	rpc_call_fini(&r.call);
	/* Destroyed is not lost. */
	CHECK(err == 0 || err == -NE_STALE);
	CHECK_EQ(change_wait(&destroy), 0);
	for (unsigned i = 0; i < 6; i++) {
		err = change_wait(&sizes[i]);
		CHECK(err == 0 || err == -NE_STALE);
	}
	CHECK(!file_exists(w, object(1)));
}

TEST(no_late_size_brings_an_object_back)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		run(&(struct setup){.script = script_size_destroy, .slow = true}, seed);
	}
}

static void script_long_down(struct world *w)
{
	struct w_object_attr attr;

	memset(w->buf, 1, BUF);
	CHECK_EQ(do_write(w->host, object(1), w->buf, 65536, W_OST_WRITE_FLAGS_SYNC), 0);
	CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_DESTROY, object(1), 1, 0), 0);
	crash(w, SIM_POWER_LOSS);
	(void)attr_of(w, object(2), &attr);
	CHECK(!file_exists(w, object(1)));
}

TEST(an_old_tombstone_still_buries)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		run(&(struct setup){.script = script_long_down, .down_ns = 2 * HOUR_NS}, seed);
	}
}

static void script_tombstones_go(struct world *w)
{
	struct w_object_attr attr;

	for (uint32_t i = 0; i < 40; i++) {
		CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_DESTROY, object(i + 1), i + 1, 0), 0);
	}
	CHECK_EQ(w->oss->facts_count, 40);
	env_sleep(sim_node_env(w->client), 2 * HOUR_NS);
	for (uint32_t i = 40; i < 60; i++) {
		CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_DESTROY, object(i + 1), i + 1, 0), 0);
	}
	CHECK_EQ(w->oss->facts_count, 20);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(attr_of(w, object(60), &attr), -NE_STALE);
	CHECK_EQ(w->oss->facts_count, 20);
}

TEST(old_tombstones_go_while_the_target_runs)
{
	run(&(struct setup){.script = script_tombstones_go}, 1);
}

/* ---- sync ---- */

#define WRITES_MAX 3000

static void writer(void *arg)
{
	struct world *w = arg;
	uint8_t byte[512] = {1};

	while (!w->stop && w->writes < WRITES_MAX) {
		CHECK_EQ(do_write(w->other, object((uint32_t)(w->writes++ % 3) + 1), byte,
				 sizeof(byte), 0),
			0);
	}
	w->stopped = true;
}

static void script_sync(struct world *w)
{
	struct env *env = sim_node_env(w->client);
	struct w_ost_sync_req req = {.all = true};
	struct w_ost_sync_rep rep;
	struct rpc_call call = {.op = W_OP_OST_SYNC, .request = &req, .reply = &rep};

	CHECK_EQ(env_spawn(env, "writer", writer, w), 0);
	while (w->writes < 10) {
		env_sleep(env, NS_PER_MS);
	}
	CHECK_EQ(rpc_call(w->host, &call), 0);
	rpc_call_fini(&call);
	w->stop = true;
	while (!w->stopped) {
		env_sleep(env, NS_PER_MS);
	}
	CHECK(w->writes < WRITES_MAX);
}

TEST(a_sync_ends_while_others_write)
{
	run(&(struct setup){.script = script_sync}, 1);
}

/* ---- headers that a power failure has spoilt ---- */

#define FILE_BYTES (4096 + 1000)
#define PLACE 2048

/* What the disk holds of an object after a crash: which of its two header sectors are garbage, which are zeros. */
static void header_spoil(struct world *w, struct w_object_ref ref, const char how[2])
{
	static char path[LIM_PATH_MAX + 1];
	static uint8_t bytes[FILE_BYTES];

	oss_object_path(w->oss, ref.data_fid, ref.stripe, 0, path);
	sim_node_crash(w->server, SIM_KILL);
	CHECK_EQ(sim_disk_peek(w->server, path, bytes, sizeof(bytes)), FILE_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		if (how[i] != '=') {
			memset(bytes + (size_t)i * PLACE, how[i] == '0' ? 0 : 0xa5, 512);
		}
	}
	CHECK_EQ(sim_disk_poke(w->server, path, bytes, sizeof(bytes)), 0);
	sim_after(w->sim, w->down_ns, restart, w);
}

static void script_headers(struct world *w)
{
	/* One valid sector is enough; never committed: there is nothing; else it is damaged, and says so. */
	static const struct {
		char how[3];
		int err;
		uint64_t size;
	} cases[] = {{"==", 0, 1000}, {"x=", 0, 1000}, {"=x", 0, 1000}, {"0=", 0, 1000},
		{"=0", 0, 1000}, {"x0", 0, 0}, {"0x", 0, 0}, {"00", 0, 0}, {"xx", -NE_CORRUPT, 0}};

	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct w_object_attr attr = {0};

		CHECK_EQ(do_write(w->host, object(i + 1), w->buf, 1000, W_OST_WRITE_FLAGS_SYNC), 0);
		header_spoil(w, object(i + 1), cases[i].how);
		CHECK_EQ(attr_of(w, object(i + 1), &attr), cases[i].err);
		CHECK_EQ(attr.size, cases[i].size);
		CHECK_EQ(do_write(w->host, object(i + 1), w->buf, 500, 0), cases[i].err);
		CHECK_EQ(do_change(w, W_OST_CHANGE_KIND_DESTROY, object(i + 1), i + 1, 0), 0);
		CHECK(!file_exists(w, object(i + 1)));
	}
}

TEST(spoilt_headers)
{
	run(&(struct setup){.script = script_headers}, 1);
}
