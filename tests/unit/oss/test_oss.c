/*
 * The OST over real rpc on the simulated world: data, holes, sizes, numbered changes, fences, crashes.
 *
 * The client's script runs in a fiber; a script that needs a restarted server crashes the node itself and
 * waits until it serves again (what the sessions' reconnect does by itself).
 */
#include "base/alloc.h"
#include "env/sim/sim.h"
#include "oss/oss.h"
#include "test.h"
#include "wire/gen/wire.h"

/* A simulated crash frees what a node had from its heap; OpenSSL's contexts are not of that heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

#define BUF (256 * 1024)
#define KEY_ID 7

struct world {
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *client;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	uint32_t epoch;
	uint64_t capacity;
	struct oss *oss;
	struct rpc_session *host; /* as a client host */
	struct rpc_session *mdt; /* as a server */
	void (*script)(struct world *w);
	bool done;
	uint8_t *buf;
};

static struct world *w_now;
/* Of the next run: disks that take their time. */
static bool disk_is_slow;

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
	sim_after(w->sim, 10 * NS_PER_MS, restart, w);
}

/* ---- client ---- */

static struct rpc_client *client_make(struct world *w, enum rpc_role role, uint8_t id)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_client_opts opts = {
		.env = sim_node_env(w->client), .incarnation = 1, .key = key, .hostname = "test"};
	struct rpc_client *client = NULL;

	key->key_id = KEY_ID;
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

	w->host = session_make(host);
	w->mdt = session_make(server);
	w->script(w);
	rpc_session_free(w->host, env_now(env) + NS_PER_S);
	rpc_session_free(w->mdt, env_now(env) + NS_PER_S);
	rpc_client_free(host);
	rpc_client_free(server);
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

static void run(void (*script)(struct world *w), uint64_t seed, uint64_t capacity)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sim_options opts;

	sim_options_default(&opts, seed);
	if (disk_is_slow) {
		opts.disk.slow_ppm = 300000;
		opts.disk.slow_ns_max = 8 * NS_PER_MS;
	}
	w->sim = sim_new(&opts);
	w->server = sim_node_new(w->sim, "ost");
	w->client = sim_node_new(w->sim, "cli");
	w->script = script;
	w->capacity = capacity;
	w->buf = malloc(BUF);
	w->cluster.bytes[3] = 7;
	w_now = w;
	sim_node_start(w->server, server_main, w);
	sim_node_start(w->client, client_main, w);
	CHECK_EQ(sim_run(w->sim, is_done, w, 3600 * NS_PER_S), 0);
	sim_node_stop_ask(w->server);
	CHECK_EQ(sim_run(w->sim, server_is_gone, w, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(w->server), 0);
	sim_free(w->sim);
	free(w->buf);
	free(w);
}

/* ---- calls ---- */

static struct w_object_ref object(uint32_t oid, uint32_t stripe)
{
	return (struct w_object_ref){.data_fid = {.seq = 0x200000401, .oid = oid},
		.stripe = stripe,
		.layout_gen = 1,
		.file_fid = {.seq = 0x200000401, .oid = oid + 1000}};
}

struct range {
	uint64_t off;
	uint32_t len;
};

#define AT(offset, length) ((struct range){.off = (offset), .len = (length)})

static int do_write(struct world *w, struct w_object_ref ref, struct range r, uint8_t fill,
	unsigned flags, struct w_ost_write_rep *ret)
{
	struct w_ost_write_req req = {
		.object = ref, .offset = r.off, .length = r.len, .flags = flags};
	struct w_ost_write_rep rep = {0};
	struct iovec iov = {.iov_base = w->buf, .iov_len = r.len};
	struct rpc_call call = {.op = W_OP_OST_WRITE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.bulk_out = &iov,
		.bulk_out_count = 1};
	int err;

	memset(w->buf, fill, r.len);
	err = rpc_call(w->host, &call);
	rpc_call_fini(&call);
	if (ret != NULL) {
		*ret = rep;
	}
	return err;
}

static int do_read(struct world *w, struct w_object_ref ref, struct range r, bool must_exist,
	uint64_t *ret_len, struct w_object_attr *ret_attr)
{
	struct w_ost_read_req req = {
		.object = ref, .offset = r.off, .length = r.len, .must_exist = must_exist};
	struct w_ost_read_rep rep = {0};
	struct iovec iov = {.iov_base = w->buf, .iov_len = r.len};
	struct rpc_call call = {.op = W_OP_OST_READ,
		.request = &req,
		.reply = &rep,
		.bulk_in = &iov,
		.bulk_in_count = 1};
	int err;

	memset(w->buf, 0xee, r.len);
	err = rpc_call(w->host, &call);
	*ret_len = call.bulk_in_len;
	rpc_call_fini(&call);
	if (ret_attr != NULL) {
		*ret_attr = rep.attr;
	}
	return err;
}

static bool all_are(const uint8_t *p, uint64_t len, uint8_t v)
{
	for (uint64_t i = 0; i < len; i++) {
		if (p[i] != v) {
			return false;
		}
	}
	return true;
}

static int do_commit(struct world *w, struct w_object_ref ref, uint64_t *ret_verifier)
{
	struct w_commit_item item = {.object = ref};
	struct w_ost_commit_req req = {0};
	struct w_ost_commit_rep rep;
	struct rpc_call call = {.op = W_OP_OST_COMMIT, .request = &req, .reply = &rep};
	int err;

	req.items.items = &item;
	req.items.count = 1;
	err = rpc_call(w->host, &call);
	*ret_verifier = err == 0 ? rep.verifier : 0;
	rpc_call_fini(&call);
	return err;
}

static int do_change(struct world *w, struct rpc_session *s, enum w_ost_change_kind kind,
	struct w_object_ref ref, uint64_t number, uint64_t size)
{
	struct w_ost_change_req req = {.kind = kind, .number = number, .object = ref, .size = size};
	struct w_ost_change_rep rep;
	struct rpc_call call = {.op = W_OP_OST_CHANGE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int err = rpc_call(s, &call);

	(void)w;
	rpc_call_fini(&call);
	return err;
}

static uint64_t size_of(struct world *w, struct w_object_ref ref)
{
	struct w_object_attr attr;
	uint64_t len;

	CHECK_EQ(do_read(w, ref, AT(0, 1), false, &len, &attr), 0);
	return attr.size;
}

/* ---- tests ---- */

static void script_data(struct world *w)
{
	struct w_ost_write_rep a;
	struct w_ost_write_rep b;
	struct w_object_attr attr;
	uint64_t len;

	CHECK_EQ(do_read(w, object(1, 0), AT(0, 4096), false, &len, &attr), 0);
	CHECK(len == 0 && !attr.exists && attr.size == 0);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 4096), true, &len, NULL), -NE_LOST_OBJECT);
	CHECK_EQ(do_write(w, object(1, 0), AT(10000, 5000), 0xaa, 0, &a), 0);
	CHECK(a.attr.exists && a.attr.size == 15000 && !a.stable && a.verifier != 0);
	CHECK(a.attr.mtime > 0);
	CHECK_EQ(do_write(w, object(1, 0), AT(131072, 131072), 0xbb, 0, &b), 0);
	CHECK(b.attr.number > a.attr.number && b.verifier == a.verifier);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 200000), true, &len, &attr), 0);
	CHECK_EQ(len, 200000);
	CHECK(all_are(w->buf, 10000, 0) && all_are(w->buf + 10000, 5000, 0xaa));
	CHECK(all_are(w->buf + 15000, 131072 - 15000, 0));
	CHECK(all_are(w->buf + 131072, 200000 - 131072, 0xbb));
	CHECK_EQ(do_read(w, object(1, 0), AT(262144 - 10, 100), true, &len, NULL), 0);
	CHECK_EQ(len, 10);
	CHECK_EQ(do_read(w, object(1, 0), AT(262144, 100), true, &len, NULL), 0);
	CHECK_EQ(len, 0);
	/* Another stripe of the same file is another object. */
	CHECK_EQ(do_read(w, object(1, 1), AT(0, 100), false, &len, &attr), 0);
	CHECK(!attr.exists);
}

TEST(data_holes_and_ends)
{
	run(script_data, 1, 0);
}

static void script_bad(struct world *w)
{
	uint64_t len;

	CHECK_EQ(do_write(w, object(0, 0), AT(0, 10), 1, 0, NULL), 0);
	CHECK_EQ(do_write(w, (struct w_object_ref){0}, AT(0, 10), 1, 0, NULL), -NE_INVAL);
	CHECK_EQ(do_write(w, object(1, LIM_STRIPE_COUNT_MAX), AT(0, 10), 1, 0, NULL), -NE_INVAL);
	CHECK_EQ(do_write(w, object(1, 0), AT(INT64_MAX, 10), 1, 0, NULL), -NE_FBIG);
	CHECK_EQ(do_write(w, object(1, 0), AT(UINT64_MAX, 10), 1, 0, NULL), -NE_FBIG);
	CHECK_EQ(do_read(w, object(1, 0), AT(UINT64_MAX, 10), false, &len, NULL), -NE_INVAL);
	/* Only the MDT changes objects. */
	CHECK_EQ(do_change(w, w->host, W_OST_CHANGE_KIND_DESTROY, object(0, 0), 1, 0), -NE_PERM);
	CHECK_EQ(do_change(w, w->host, W_OST_CHANGE_KIND_SET_SIZE, object(0, 0), 1, 0), -NE_PERM);
	CHECK_EQ(size_of(w, object(0, 0)), 10);
}

TEST(bad_requests_are_refused)
{
	run(script_bad, 2, 0);
}

static void script_sizes(struct world *w)
{
	struct w_object_ref o = object(5, 0);
	uint64_t len;

	CHECK_EQ(do_write(w, o, AT(0, 100000), 0x11, 0, NULL), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 10, 50000), 0);
	CHECK_EQ(size_of(w, o), 50000);
	CHECK_EQ(do_write(w, o, AT(50000, 1000), 0x22, 0, NULL), 0);
	/* A repeat of a change that was applied does nothing. */
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 10, 50000), 0);
	CHECK_EQ(size_of(w, o), 51000);
	/* Growing leaves zeros, also where bytes were cut off before. */
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 11, 10), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 12, 60000), 0);
	CHECK_EQ(do_read(w, o, AT(0, 60000), true, &len, NULL), 0);
	CHECK_EQ(len, 60000);
	CHECK(all_are(w->buf, 10, 0x11) && all_are(w->buf + 10, 59990, 0));
	/* An object nobody wrote gets a size too. */
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, object(6, 0), 13, 777), 0);
	CHECK_EQ(size_of(w, object(6, 0)), 777);
}

TEST(sizes_are_set_once)
{
	run(script_sizes, 3, 0);
}

static void script_far(struct world *w)
{
	const uint64_t seg = UINT64_C(1) << 43;
	struct w_object_ref o = object(7, 0);
	uint64_t len;

	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 1, INT64_MAX), 0);
	CHECK_EQ(size_of(w, o), INT64_MAX);
	CHECK_EQ(do_read(w, o, AT(INT64_MAX - 100, 4096), true, &len, NULL), 0);
	CHECK_EQ(len, 100);
	CHECK(all_are(w->buf, 100, 0));
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 2, 5), 0);
	CHECK_EQ(size_of(w, o), 5);
	/* Across the end of a segment. */
	CHECK_EQ(do_write(w, o, AT(seg - 1000, 3000), 0x77, 0, NULL), 0);
	CHECK_EQ(size_of(w, o), seg + 2000);
	CHECK_EQ(do_read(w, o, AT(seg - 2000, 5000), true, &len, NULL), 0);
	CHECK_EQ(len, 4000);
	CHECK(all_are(w->buf, 1000, 0) && all_are(w->buf + 1000, 3000, 0x77));
	crash(w, SIM_KILL);
	CHECK_EQ(do_read(w, o, AT(seg - 2000, 5000), true, &len, NULL), 0);
	CHECK_EQ(len, 4000);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 3, seg + 1), 0);
	CHECK_EQ(size_of(w, o), seg + 1);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 4, seg - 500), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 5, seg + 500), 0);
	CHECK_EQ(do_read(w, o, AT(seg - 1000, 2000), true, &len, NULL), 0);
	CHECK_EQ(len, 1500);
	CHECK(all_are(w->buf, 500, 0x77) && all_are(w->buf + 500, 1000, 0));
	/* The very last byte: only what exists is looked at, not a million segments. */
	CHECK_EQ(do_write(w, o, AT(INT64_MAX - 1, 1), 0x55, W_OST_WRITE_FLAGS_SYNC, NULL), 0);
	CHECK_EQ(size_of(w, o), INT64_MAX);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_read(w, o, AT(INT64_MAX - 10, 100), true, &len, NULL), 0);
	CHECK(len == 10 && w->buf[9] == 0x55 && all_are(w->buf, 9, 0));
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 6, INT64_MAX - 1), 0);
	CHECK_EQ(size_of(w, o), INT64_MAX - 1);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_DESTROY, o, 7, 0), 0);
}

TEST(objects_reach_to_the_largest_offset)
{
	run(script_far, 4, 0);
}

static void script_destroy(struct world *w)
{
	struct w_object_ref o = object(8, 0);
	struct w_object_ref newer = o;
	uint64_t len;

	CHECK_EQ(do_write(w, o, AT(0, 5000), 0x33, W_OST_WRITE_FLAGS_SYNC, NULL), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_DESTROY, o, 1, 0), 0);
	CHECK_EQ(do_read(w, o, AT(0, 10), false, &len, NULL), -NE_STALE);
	CHECK_EQ(do_write(w, o, AT(0, 10), 1, 0, NULL), -NE_STALE);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_DESTROY, o, 1, 0), 0);
	/* Not even a power failure brings it back. */
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_write(w, o, AT(0, 10), 1, 0, NULL), -NE_STALE);
	/* Generations. */
	newer = object(9, 0);
	newer.layout_gen = 5;
	CHECK_EQ(do_write(w, object(9, 0), AT(0, 10), 1, 0, NULL), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_RAISE_GEN, newer, 2, 0), 0);
	CHECK_EQ(do_write(w, object(9, 0), AT(0, 10), 1, 0, NULL), -NE_STALE_LAYOUT);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_write(w, object(9, 0), AT(0, 10), 1, 0, NULL), -NE_STALE_LAYOUT);
	CHECK_EQ(do_write(w, newer, AT(0, 10), 1, 0, NULL), 0);
}

TEST(what_was_destroyed_stays_destroyed)
{
	for (uint64_t seed = 10; seed < 30; seed++) {
		run(script_destroy, seed, 0);
	}
}

static void script_commit(struct world *w)
{
	struct w_ost_write_rep a;
	uint64_t verifier;
	uint64_t len;

	CHECK_EQ(do_write(w, object(1, 0), AT(0, 9000), 0x44, 0, &a), 0);
	CHECK_EQ(do_commit(w, object(1, 0), &verifier), 0);
	CHECK_EQ(verifier, a.verifier);
	CHECK_EQ(do_write(w, object(2, 0), AT(0, 9000), 0x55, W_OST_WRITE_FLAGS_SYNC, &a), 0);
	CHECK(a.stable);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 10000), true, &len, NULL), 0);
	CHECK(len == 9000 && all_are(w->buf, 9000, 0x44));
	CHECK_EQ(do_read(w, object(2, 0), AT(0, 10000), true, &len, NULL), 0);
	CHECK(len == 9000 && all_are(w->buf, 9000, 0x55));
	CHECK_EQ(do_commit(w, object(1, 0), &verifier), 0);
	CHECK(verifier != a.verifier);
	/* A killed process loses nothing, committed or not. */
	CHECK_EQ(do_write(w, object(1, 0), AT(9000, 9000), 0x66, 0, &a), 0);
	crash(w, SIM_KILL);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 20000), true, &len, NULL), 0);
	CHECK(len == 18000 && all_are(w->buf + 9000, 9000, 0x66));
}

TEST(committed_data_survives_power_loss)
{
	for (uint64_t seed = 40; seed < 80; seed++) {
		run(script_commit, seed, 0);
	}
}

/* ---- headers, and syncs that fail ---- */

#define PLACE_SECOND 2048

static void object_path(struct w_object_ref ref, char *buf, size_t cap)
{
	snprintf(buf, cap, "/ost/objects/%02x/%llx-%x-%x.%u",
		(unsigned)(fid_hash(ref.data_fid) % 256), (unsigned long long)ref.data_fid.seq,
		ref.data_fid.oid, ref.data_fid.ver, ref.stripe);
}

static void script_header(struct world *w)
{
	static uint8_t torn[16384];
	char path[128];
	uint64_t verifier;
	uint64_t len;

	CHECK_EQ(do_write(w, object(1, 0), AT(0, 9000), 0x44, 0, NULL), 0);
	CHECK_EQ(do_commit(w, object(1, 0), &verifier), 0);
	object_path(object(1, 0), path, sizeof(path));
	CHECK_EQ(sim_disk_flip(w->server, path, 20), 0);
	crash(w, SIM_KILL);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 10000), true, &len, NULL), 0);
	CHECK(len == 9000 && all_are(w->buf, 9000, 0x44));
	/* Both places of what was committed are bad: that is damage, not a hole. */
	CHECK_EQ(sim_disk_flip(w->server, path, PLACE_SECOND + 20), 0);
	crash(w, SIM_KILL);
	CHECK_EQ(do_read(w, object(1, 0), AT(0, 10000), false, &len, NULL), -NE_CORRUPT);
	/* One place garbage, the other never written: nothing was ever committed. */
	memset(torn, 0xa5, 100);
	object_path(object(2, 0), path, sizeof(path));
	CHECK_EQ(sim_disk_poke(w->server, path, torn, sizeof(torn)), 0);
	CHECK_EQ(do_read(w, object(2, 0), AT(0, 100), true, &len, NULL), -NE_LOST_OBJECT);
	CHECK_EQ(do_write(w, object(2, 0), AT(50, 50), 0x77, 0, NULL), 0);
	CHECK_EQ(do_read(w, object(2, 0), AT(0, 200), true, &len, NULL), 0);
	CHECK(len == 100 && all_are(w->buf, 50, 0) && all_are(w->buf + 50, 50, 0x77));
}

TEST(a_torn_header_is_not_the_end_of_an_object)
{
	run(script_header, 90, 0);
}

/* The header with the change's number was in the kernel's memory when the sync failed, and only there. */
static void script_sync_fails(struct world *w)
{
	uint64_t verifier;

	CHECK_EQ(do_write(w, object(1, 0), AT(0, 9000), 0x44, 0, NULL), 0);
	CHECK_EQ(do_commit(w, object(1, 0), &verifier), 0);
	sim_disk_fail(w->server, SIM_DISK_SYNC, 2, NE_IO);
	sim_after(w->sim, 50 * NS_PER_MS, restart, w);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, object(1, 0), 5, 100), 0);
	CHECK_EQ(sim_crashes(w->server), 1);
	CHECK_EQ(size_of(w, object(1, 0)), 100);
	CHECK_EQ(do_write(w, object(1, 0), AT(100, 4900), 0x55, 0, NULL), 0);
	CHECK_EQ(do_commit(w, object(1, 0), &verifier), 0);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, object(1, 0), 5, 100), 0);
	CHECK_EQ(size_of(w, object(1, 0)), 5000);
}

TEST(a_change_whose_sync_failed_is_done_again)
{
	for (uint64_t seed = 91; seed < 94; seed++) {
		run(script_sync_fails, seed, 0);
	}
}

static uint64_t counter(struct world *w, const char *name)
{
	struct w_target_status_req req = {.target = wire_str_of("OST0000"), .counters = true};
	struct w_target_status_rep rep;
	struct rpc_call call = {.op = W_OP_TARGET_STATUS, .request = &req, .reply = &rep};
	uint64_t value = UINT64_MAX;
	struct w_counter c;

	CHECK_EQ(rpc_call(w->mdt, &call), 0);
	for (struct wire_iter it = w_counter_iter(&rep.counters.view); w_counter_next(&it, &c);) {
		if (c.name.len == strlen(name) && memcmp(c.name.ptr, name, c.name.len) == 0) {
			value = c.value;
		}
	}
	rpc_call_fini(&call);
	return value;
}

/* Reads [off, end) in order, and checks that it is all `fill`. */
static void read_on(
	struct world *w, struct w_object_ref o, uint64_t off, uint64_t end, uint8_t fill)
{
	for (; off < end; off += BUF) {
		uint32_t n = (uint32_t)u64_min(BUF, end - off);
		uint64_t len;

		CHECK_EQ(do_read(w, o, AT(off, n), true, &len, NULL), 0);
		CHECK_EQ(len, n);
		CHECK(all_are(w->buf, n, fill));
	}
}

static void script_ahead(struct world *w)
{
	struct w_object_ref o = object(1, 0);
	uint64_t end = 3 * MIB + 5000;
	uint64_t ahead;
	uint64_t len;

	for (uint64_t off = 0; off < end; off += BUF) {
		uint32_t n = (uint32_t)u64_min(BUF, end - off);

		CHECK_EQ(do_write(w, o, AT(off, n), 0x21, 0, NULL), 0);
	}
	/* In order: what comes next was fetched, until somebody changes or cuts the object. */
	read_on(w, o, 0, 2 * BUF, 0x21);
	env_sleep(sim_node_env(w->client), 100 * NS_PER_MS);
	CHECK_EQ(do_write(w, o, AT(MIB, BUF), 0x22, 0, NULL), 0);
	read_on(w, o, 2 * BUF, MIB, 0x21);
	read_on(w, o, MIB, MIB + BUF, 0x22);
	read_on(w, o, MIB + BUF, 2 * MIB, 0x21);
	env_sleep(sim_node_env(w->client), 100 * NS_PER_MS);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 7, 2 * MIB + 100), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_SET_SIZE, o, 8, 2 * MIB + BUF), 0);
	CHECK_EQ(do_read(w, o, AT(2 * MIB, BUF), true, &len, NULL), 0);
	CHECK_EQ(len, BUF);
	CHECK(all_are(w->buf, 100, 0x21) && all_are(w->buf + 100, BUF - 100, 0));
	CHECK_EQ(do_write(w, o, AT(2 * MIB, BUF), 0x23, 0, NULL), 0);
	read_on(w, o, 2 * MIB, 2 * MIB + BUF, 0x23);
	/* The simulated page cache has it or not, by chance: some are met. */
	ahead = counter(w, "reads_ahead");
	CHECK_EQ(do_write(w, o, AT(0, BUF), 0x24, W_OST_WRITE_FLAGS_SYNC, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		read_on(w, o, 0, BUF, 0x24);
		read_on(w, o, BUF, MIB, 0x21);
	}
	CHECK(counter(w, "reads_ahead") > ahead);
	/* So are smaller pieces, once it is clear that they go on. Nobody comes for the chunks of before. */
	env_sleep(sim_node_env(w->client), 20 * NS_PER_S);
	ahead = counter(w, "reads_ahead");
	for (uint64_t off = BUF; off < 2 * MIB; off += 32 * KIB) {
		CHECK_EQ(do_read(w, o, AT(off, 32 * KIB), true, &len, NULL), 0);
		CHECK(len == 32 * KIB &&
			all_are(w->buf, len, off / BUF == MIB / BUF ? 0x22 : 0x21));
	}
	CHECK(counter(w, "reads_ahead") > ahead);
	/* Nobody comes back for them. */
	env_sleep(sim_node_env(w->client), 20 * NS_PER_S);
}

TEST(what_is_read_ahead_is_never_old)
{
	for (uint64_t seed = 110; seed < 120; seed++) {
		run(script_ahead, seed, 0);
	}
}

struct writing {
	struct world *w;
	uint8_t acked;
	bool done;
};

/* Versions 1, 2, ... of the same range, through a session of its own. */
static void writer(void *arg)
{
	struct writing *wr = arg;
	struct env *env = sim_node_env(wr->w->client);
	uint8_t *buf = malloc(BUF);

	for (uint8_t v = 1; v < 60; v++) {
		struct w_ost_write_req req = {.object = object(1, 0), .offset = MIB, .length = BUF};
		struct w_ost_write_rep rep;
		struct iovec iov = {.iov_base = buf, .iov_len = BUF};
		struct rpc_call call = {.op = W_OP_OST_WRITE,
			.flags = RPC_CALL_REPEATABLE,
			.request = &req,
			.reply = &rep,
			.bulk_out = &iov,
			.bulk_out_count = 1};

		memset(buf, v, BUF);
		CHECK_EQ(rpc_call(wr->w->mdt, &call), 0);
		rpc_call_fini(&call);
		wr->acked = v;
		env_sleep(env, 20 * NS_PER_MS);
	}
	free(buf);
	wr->done = true;
}

static void script_ahead_race(struct world *w)
{
	struct writing wr = {.w = w};
	uint64_t len;

	for (uint64_t off = 0; off < 2 * MIB; off += BUF) {
		CHECK_EQ(do_write(w, object(1, 0), AT(off, BUF), 0, 0, NULL), 0);
	}
	CHECK_EQ(env_spawn(sim_node_env(w->client), "writer", writer, &wr), 0);
	while (!wr.done) {
		for (uint64_t off = 0; off < 2 * MIB; off += BUF) {
			uint8_t acked = wr.acked;

			CHECK_EQ(do_read(w, object(1, 0), AT(off, BUF), true, &len, NULL), 0);
			for (unsigned i = 0; off == MIB && i < BUF; i += 4096) {
				CHECK(w->buf[i] >= acked);
			}
		}
	}
}

TEST(a_completed_write_is_seen_by_who_is_read_ahead_for)
{
	disk_is_slow = true;
	for (uint64_t seed = 130; seed < 138; seed++) {
		run(script_ahead_race, seed, 0);
	}
	disk_is_slow = false;
}

static void script_full(struct world *w)
{
	struct w_object_ref o = object(1, 0);
	uint64_t len;
	uint64_t off = 0;
	int err = 0;

	while ((err = do_write(w, o, AT(off, 65536), 0x12, 0, NULL)) == 0) {
		off += 65536;
		CHECK(off <= 2 * MIB);
	}
	CHECK_EQ(err, -NE_NOSPC);
	CHECK(off >= MIB - 131072);
	CHECK_EQ(do_read(w, o, AT(0, 65536), true, &len, NULL), 0);
	CHECK_EQ(len, 65536);
	/* What is allocated may be written again. */
	CHECK_EQ(do_write(w, o, AT(0, 4096), 0x13, 0, NULL), 0);
	CHECK_EQ(do_change(w, w->mdt, W_OST_CHANGE_KIND_DESTROY, o, 1, 0), 0);
	CHECK_EQ(do_write(w, object(2, 0), AT(0, 65536), 0x12, 0, NULL), 0);
	crash(w, SIM_KILL);
	/* The count survives: it is made from the files. */
	CHECK_EQ(do_write(w, object(2, 0), AT(0, 65536), 0x12, 0, NULL), 0);
	for (off = 65536; off < MIB - 65536; off += 65536) {
		CHECK_EQ(do_write(w, object(2, 0), AT(off, 65536), 0x12, 0, NULL), 0);
	}
	CHECK_EQ(do_write(w, object(3, 0), AT(0, 131072), 0x12, 0, NULL), -NE_NOSPC);
}

TEST(a_full_target_reads_and_deletes)
{
	run(script_full, 90, MIB);
}

/* ---- ranges and holes ---- */

#define KEEP W_FALLOCATE_FLAGS_KEEP_SIZE
#define PUNCH (W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_KEEP_SIZE)
#define ZERO W_FALLOCATE_FLAGS_ZERO
#define NONE UINT64_MAX

static int do_allocate(struct world *w, struct w_object_ref ref, uint64_t off, uint64_t len,
	unsigned flags, struct w_object_attr *ret_attr)
{
	struct w_ost_allocate_req req = {
		.object = ref, .offset = off, .length = len, .flags = flags};
	struct w_ost_allocate_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_ALLOCATE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int err = rpc_call(w->host, &call);

	rpc_call_fini(&call);
	if (ret_attr != NULL) {
		*ret_attr = rep.attr;
	}
	return err;
}

/* NONE: nothing follows. */
static uint64_t seek(struct world *w, struct w_object_ref ref, uint64_t off, bool data)
{
	struct w_ost_seek_req req = {.object = ref, .offset = off, .data = data};
	struct w_ost_seek_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_SEEK, .request = &req, .reply = &rep};

	CHECK_EQ(rpc_call(w->host, &call), 0);
	rpc_call_fini(&call);
	return rep.found ? rep.offset : NONE;
}

static void script_ranges(struct world *w)
{
	struct w_object_ref o = object(1, 0);
	struct w_object_attr attr;
	uint64_t verifier;
	uint64_t len;

	/* Nothing is made by a punch, and nothing is all hole. */
	CHECK_EQ(do_allocate(w, o, 0, 65536, PUNCH, &attr), 0);
	CHECK(!attr.exists);
	CHECK(seek(w, o, 5, true) == NONE && seek(w, o, 5, false) == 5);
	/* Promised, the size kept; then grown; twice is as good as once. */
	CHECK_EQ(do_allocate(w, o, 0, 65536, KEEP, &attr), 0);
	CHECK(attr.exists && attr.size == 0 && attr.blocks >= 128);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(do_allocate(w, o, 4096, 100000, 0, &attr), 0);
		CHECK(attr.size == 104096 && attr.number > 0);
	}
	CHECK_EQ(do_write(w, o, AT(0, 65536), 0x21, 0, NULL), 0);
	CHECK_EQ(do_allocate(w, o, 8192, 8192, PUNCH, &attr), 0);
	CHECK_EQ(attr.size, 104096);
	CHECK_EQ(do_allocate(w, o, 100, 100, ZERO, &attr), 0);
	CHECK_EQ(do_allocate(w, o, 104090, 10, ZERO, &attr), 0);
	CHECK_EQ(attr.size, 104100);
	CHECK(seek(w, o, 0, true) == 0 && seek(w, o, 0, false) == 8192);
	CHECK(seek(w, o, 8192, true) == 16384 && seek(w, o, 104100, true) == NONE);
	CHECK_EQ(do_commit(w, o, &verifier), 0);
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(do_read(w, o, AT(0, 65536), true, &len, &attr), 0);
	CHECK(len == 65536 && attr.size == 104100);
	CHECK(all_are(w->buf, 100, 0x21) && all_are(w->buf + 100, 100, 0));
	CHECK(all_are(w->buf + 200, 8192 - 200, 0x21) && all_are(w->buf + 8192, 8192, 0));
	CHECK(all_are(w->buf + 16384, 65536 - 16384, 0x21));
	/* What makes no sense. */
	CHECK_EQ(do_allocate(w, o, 0, 0, 0, NULL), -NE_INVAL);
	CHECK_EQ(do_allocate(w, o, 0, 1, W_FALLOCATE_FLAGS_PUNCH, NULL), -NE_INVAL);
	CHECK_EQ(do_allocate(w, o, 0, 1, PUNCH | ZERO, NULL), -NE_INVAL);
	CHECK_EQ(do_allocate(w, o, INT64_MAX, 2, 0, NULL), -NE_FBIG);
}

TEST(ranges_are_promised_punched_and_found)
{
	for (uint64_t seed = 100; seed < 110; seed++) {
		run(script_ranges, seed, 0);
	}
}

#define SEGMENT (UINT64_C(1) << 43)

static void script_ranges_far(struct world *w)
{
	struct w_object_ref o = object(2, 0);
	struct w_object_attr attr;
	uint64_t len;

	CHECK_EQ(do_allocate(w, o, SEGMENT - 8192, 16384, 0, &attr), 0);
	CHECK(attr.size == SEGMENT + 8192 && attr.blocks >= 32);
	CHECK_EQ(do_write(w, o, AT(SEGMENT - 8192, 16384), 0x31, 0, NULL), 0);
	CHECK(seek(w, o, 0, true) == SEGMENT - 8192);
	CHECK(seek(w, o, SEGMENT - 8192, false) == SEGMENT + 8192);
	CHECK_EQ(do_allocate(w, o, SEGMENT - 4096, 8192, PUNCH, &attr), 0);
	CHECK(seek(w, o, SEGMENT - 8192, false) == SEGMENT - 4096);
	CHECK(seek(w, o, SEGMENT - 4096, true) == SEGMENT + 4096);
	CHECK_EQ(do_read(w, o, AT(SEGMENT - 8192, 16384), true, &len, NULL), 0);
	CHECK(all_are(w->buf, 4096, 0x31) && all_are(w->buf + 4096, 8192, 0));
	CHECK(all_are(w->buf + 12288, 4096, 0x31));
	/* Data far behind many segments that are not there. */
	CHECK_EQ(do_write(w, o, AT(200 * SEGMENT, 10), 0x32, 0, NULL), 0);
	CHECK(seek(w, o, SEGMENT + 8192, true) == 200 * SEGMENT);
	CHECK(seek(w, o, 200 * SEGMENT + 10, true) == NONE);
	CHECK(seek(w, o, 200 * SEGMENT + 10, false) == 200 * SEGMENT + 10);
	CHECK_EQ(do_allocate(w, o, 0, UINT64_C(1) << 62, PUNCH, &attr), 0);
	CHECK(seek(w, o, 0, true) == NONE && attr.size == 200 * SEGMENT + 10);
}

TEST(ranges_cross_segments)
{
	run(script_ranges_far, 120, 0);
}

static void script_promise(struct world *w)
{
	struct w_object_ref o = object(1, 0);

	CHECK_EQ(do_allocate(w, o, 0, 2 * MIB, 0, NULL), -NE_NOSPC);
	CHECK_EQ(size_of(w, o), 0);
	/* Far out, so that the object is all hole otherwise. */
	CHECK_EQ(do_allocate(w, o, 4 * MIB, MIB / 2, KEEP, NULL), 0);
	for (uint64_t off = 0; off < MIB / 2 - 65536; off += 65536) {
		CHECK_EQ(do_write(w, object(2, 0), AT(off, 65536), 0x12, 0, NULL), 0);
	}
	CHECK_EQ(do_write(w, object(3, 0), AT(0, 131072), 0x12, 0, NULL), -NE_NOSPC);
	/* The others' ENOSPC is not the promise's. */
	CHECK_EQ(do_allocate(w, o, 4 * MIB, MIB / 2, KEEP, NULL), 0);
	for (uint64_t off = 0; off < MIB / 2; off += 65536) {
		CHECK_EQ(do_write(w, o, AT(4 * MIB + off, 65536), 0x12, 0, NULL), 0);
	}
	/* Written space is not counted twice. */
	CHECK_EQ(do_allocate(w, object(2, 0), 0, MIB / 2 - 65536, 0, NULL), 0);
	CHECK_EQ(do_allocate(w, o, 4 * MIB, 262144, PUNCH, NULL), 0);
	CHECK_EQ(do_write(w, object(3, 0), AT(0, 131072), 0x12, 0, NULL), 0);
}

TEST(promised_space_is_kept)
{
	run(script_promise, 130, MIB);
}

static void script_fence(struct world *w)
{
	struct w_ost_fence_req req = {.client = {.bytes = {1}}, .incarnation = 1};
	struct w_ost_fence_rep rep;
	struct rpc_call call = {
		.op = W_OP_OST_FENCE, .flags = RPC_CALL_REPEATABLE, .request = &req, .reply = &rep};
	struct rpc_call again = call;
	struct rpc_call other = call;

	CHECK_EQ(do_write(w, object(1, 0), AT(0, 10), 1, 0, NULL), 0);
	CHECK_EQ(rpc_call(w->host, &call), -NE_PERM);
	rpc_call_fini(&call);
	/* Who says to be that client, but proves it with another key, is not that client. */
	req.key_id = KEY_ID + 1;
	CHECK_EQ(rpc_call(w->mdt, &other), 0);
	rpc_call_fini(&other);
	CHECK_EQ(do_write(w, object(1, 0), AT(0, 10), 1, 0, NULL), 0);
	req.key_id = KEY_ID;
	CHECK_EQ(rpc_call(w->mdt, &again), 0);
	rpc_call_fini(&again);
	CHECK_EQ(do_write(w, object(1, 0), AT(0, 10), 1, 0, NULL), -NE_FENCED);
	/* Nor does it come back with the same incarnation once the OST has started again. */
	crash(w, SIM_POWER_LOSS);
	CHECK_EQ(rpc_session_connect(w->host, env_now(sim_node_env(w->client)) + 90 * NS_PER_S),
		-NE_TIMEDOUT);
	CHECK_EQ(rpc_session_error(w->host), -NE_FENCED);
}

TEST(a_fenced_client_is_refused)
{
	run(script_fence, 95, 0);
}
