/*
 * A whole node and a mount with the n-th allocation or disk operation failing.
 *
 * One simulated node runs MGS, MDT and two OSTs as nacred does; the fault is armed before it starts for the
 * second time and meets its recovery, the registration with the MGS, the service, or (allocations) the
 * client. A node that stops itself is started again, as an init system does. The client's script makes
 * directories and files, writes, truncates, renames, unlinks and syncs; an operation may fail with the
 * fault's error, and is then left alone. At the end the node loses its power. What an fsync had confirmed is
 * there, byte for byte, and the name space is consistent.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "client/client.h"
#include "daemon/node.h"
#include "daemon/super.h"
#include "mds/mds.h"
#include "rpc/rpc.h"
#include "test.h"

#include "sweep.h"

#define FSNAME "faultfs"
#define ADDR "sim:server:7988"
#define BIG 300000
#define CUT 100000
#define SMALL 700
#define FILES 3

/* Sessions that end with their process hold contexts of OpenSSL, which are not of a node's heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

static const struct client_cred root_cred = {.pid = 42, .caps = UINT64_MAX};

struct world {
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *peer;
	struct node_config config;
	uint8_t server_key[RPC_KEY_BYTES];
	char key_text[RPC_KEY_TEXT_MAX];
	struct node *node;
	bool formatted;
	bool stop;
	struct env_waitq stop_q;
	struct client *client;
	bool done;
	/* what an fsync has confirmed: size, 0 nothing */
	uint64_t synced[FILES];
	uint8_t buf[BIG];
	uint8_t back[BIG];
};

static struct world *w;
static struct fault *fault;

/* ---- the server ---- */

static void format(struct env *env)
{
	for (unsigned i = 0; i < w->config.target_count; i++) {
		struct super super = {.cluster = w->config.cluster};

		CHECK_EQ(
			target_name_parse(w->config.targets[i].name, &super.kind, &super.index), 0);
		strcpy(super.fsname, FSNAME);
		env_random_bytes(env, super.uuid.bytes, sizeof(super.uuid.bytes));
		CHECK_EQ(super_format(env, w->config.targets[i].path, &super), 0);
	}
	w->formatted = true;
}

static void server_main(void *arg _unused_)
{
	struct env *env = sim_node_env(w->server);
	char why[512];

	env_waitq_init(&w->stop_q);
	w->node = NULL;
	if (!w->formatted) {
		format(env);
	}
	while (node_start(env, &w->config, why, sizeof(why), &w->node) != 0) {
		CHECK(fault != NULL && fault_met(fault));
		env_sleep(env, 100 * NS_PER_MS);
	}
	while (!w->stop) {
		(void)!env_wait(env, &w->stop_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	node_stop(TAKE_PTR(w->node));
}

static void server_restart(void *arg _unused_)
{
	if (!sim_node_is_up(w->server)) {
		sim_node_start(w->server, server_main, NULL);
	}
}

static void server_died(void *arg _unused_)
{
	sim_after(w->sim, 50 * NS_PER_MS, server_restart, NULL);
}

static bool is_registered(void *arg _unused_)
{
	return sim_node_is_up(w->server) && w->node != NULL && node_registered(w->node);
}

static void config_make(void)
{
	static const char *const targets[] = {"MGT0000", "MDT0000", "OST0000", "OST0001"};
	static struct rpc_key key;
	struct node_config *c = &w->config;
	char text[256];

	strcpy(c->fsname, FSNAME);
	memset(w->server_key, 5, sizeof(w->server_key));
	c->cluster.bytes[0] = 6;
	c->listen_count = c->mgs_count = 1;
	strcpy(c->listen[0], ADDR);
	strcpy(c->mgs[0], ADDR);
	strcpy(c->server_key, "/server.key");
	c->kv_kind = STATE_KV_MODEL;
	c->pid = 10;
	for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
		struct node_target_config *t = &c->targets[c->target_count++];

		strcpy(t->name, targets[i]);
		snprintf(t->path, sizeof(t->path), "/data-%.15s", targets[i]);
	}
	CHECK_EQ(rpc_server_key_format(w->server_key, text, sizeof(text)), 0);
	CHECK_EQ(sim_disk_poke(w->server, c->server_key, text, strlen(text)), 0);
	memset(&key, 0, sizeof(key));
	key.key_id = 1;
	key.allow_root = true;
	key.cluster = c->cluster;
	strcpy(key.fsname, FSNAME);
	CHECK_EQ(rpc_key_derive(&key, w->server_key), 0);
	CHECK_EQ(rpc_key_format(&key, w->key_text, sizeof(w->key_text)), 0);
}

/* ---- the client ---- */

static bool may_fail(int err)
{
	return err == 0 || (fault != NULL && fault_met(fault));
}

static void mount_it(void)
{
	struct env *env = sim_node_env(w->peer);
	const char *mgs[] = {ADDR, NULL};
	struct client_options opt = {.env = env,
		.mgs = mgs,
		.fsname = FSNAME,
		.subdir = "",
		.key_text = w->key_text,
		.hostname = "peer",
		.pid = 7,
		.mount_patience_ns = 600 * NS_PER_S};
	char why[512];
	int err;

	while ((err = client_new(&opt, why, sizeof(why), &w->client)) != 0) {
		if (!may_fail(err)) {
			fprintf(stderr, "no mount: %s\n", why);
		}
		CHECK(may_fail(err));
		env_sleep(env, 100 * NS_PER_MS);
	}
}

static void fill(unsigned file)
{
	for (unsigned i = 0; i < BIG; i++) {
		w->buf[i] = (uint8_t)(i * 7 + i / 251 + file);
	}
}

static const char *name_of(unsigned file)
{
	static const char *const names[FILES] = {"big", "small", "cut"};

	return names[file];
}

static int file_put(struct client_file *f, unsigned file, uint64_t len)
{
	struct iovec iov = {.iov_base = w->buf, .iov_len = len};
	size_t put = 0;
	int err;

	fill(file);
	err = client_write(w->client, &root_cred, f,
		(struct client_buffers){.iov = &iov, .iov_count = 1}, &put);
	CHECK(err != 0 || put == len);
	if (err == 0 && file == 2) {
		struct client_setattr set = {.valid = CLIENT_SET_SIZE, .size = CUT};
		struct client_attr attr;

		err = client_setattr(w->client, &root_cred, client_file_fid(f), f, &set, &attr);
	}
	return err;
}

/* Writes under another name, syncs, renames: what is found under the name afterwards is whole. */
static int file_make(unsigned file, uint64_t len)
{
	struct fid root = client_root(w->client);
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = O_RDWR | O_TRUNC};
	struct client_file *f = NULL;
	struct client_attr attr;
	int err = client_create_open(w->client, &root_cred,
		(struct client_entry){.parent = root, .name = "new"}, &how, &attr, &f);

	if (err != 0) {
		return err;
	}
	err = file_put(f, file, len);
	if (err == 0) {
		err = client_fsync(w->client, f, false);
	}
	(void)client_release(w->client, f);
	if (err == 0) {
		err = client_rename(w->client, &root_cred, (struct client_entry){root, "new"},
			(struct client_entry){root, name_of(file)}, 0);
	}
	if (err == 0) {
		w->synced[file] = file == 2 ? CUT : len;
	}
	return err;
}

/* The namespace is durable by the fsync of the last file: everything earlier is in the log before it. */
static void script(void)
{
	static const uint64_t lens[FILES] = {BIG, SMALL, BIG};
	struct fid root = client_root(w->client);
	struct client_create dir = {.mode = S_IFDIR | 0755};
	struct client_attr attr;

	CHECK(may_fail(client_create(w->client, &root_cred, root, "dir", &dir, &attr)));
	for (unsigned i = 0; i < FILES; i++) {
		CHECK(may_fail(file_make(i, lens[i])));
	}
	/* Objects to be destroyed, and a directory with its only entry. */
	CHECK(may_fail(file_make(0, BIG)));
	CHECK(may_fail(client_rmdir(w->client, &root_cred, root, "dir")));
}

static void peer_main(void *arg _unused_)
{
	mount_it();
	script();
	client_free(TAKE_PTR(w->client));
	w->done = true;
}

static void verify_main(void *arg _unused_)
{
	struct client_file *f = NULL;
	struct client_attr attr;

	mount_it();
	for (unsigned i = 0; i < FILES; i++) {
		struct iovec iov = {.iov_base = w->back, .iov_len = BIG};
		size_t got = 0;
		int err = client_lookup(
			w->client, &root_cred, client_root(w->client), name_of(i), &attr);

		/* A rename may have been executed although its answer was an error, or be lost. */
		CHECK(err == 0 || err == -NE_NOENT);
		if (err != 0 || w->synced[i] == 0) {
			continue;
		}
		CHECK_EQ(attr.size, w->synced[i]);
		CHECK_EQ(client_open(w->client, &root_cred, attr.fid, O_RDONLY, &attr, &f), 0);
		CHECK_EQ(client_read(w->client, f, &iov, 1, 0, &got), 0);
		CHECK_EQ(got, w->synced[i]);
		fill(i);
		CHECK(memcmp(w->back, w->buf, got) == 0);
		CHECK_EQ(client_release(w->client, f), 0);
	}
	client_free(TAKE_PTR(w->client));
	w->done = true;
}

static bool is_done(void *arg _unused_)
{
	return w->done && sim_node_fibers(w->peer) == 0;
}

static void peer_run(env_fiber_fn *fn)
{
	w->done = false;
	sim_node_start(w->peer, fn, NULL);
	CHECK_EQ(sim_run(w->sim, is_done, NULL, 3600 * NS_PER_S), 0);
	sim_node_crash(w->peer, SIM_KILL);
}

/* ---- the name space, looked at from outside ---- */

static bool is_down(void *arg _unused_)
{
	return sim_node_fibers(w->server) == 0;
}

static void violation(void *ctx _unused_, const char *line)
{
	fprintf(stderr, "name space: %s\n", line);
}

static void inspect_main(void *arg _unused_)
{
	struct env *env = sim_node_env(w->server);
	struct state_opts opts = {.dir = "/data-MDT0000/state", .kv_kind = STATE_KV_MODEL};
	struct state *st = NULL;

	CHECK_EQ(state_open(env, &opts, &st), 0);
	CHECK_EQ(mds_check(env, st, 0, violation, NULL), 0);
	state_close(st);
}

static void inspect(void)
{
	w->stop = true;
	env_wake_all(sim_node_env(w->server), &w->stop_q);
	CHECK_EQ(sim_run(w->sim, is_down, NULL, 600 * NS_PER_S), 0);
	sim_node_on_crash(w->server, NULL, NULL);
	sim_node_crash(w->server, SIM_KILL);
	CHECK_EQ(sim_node_heap_blocks(w->server), 0);
	sim_node_start(w->server, inspect_main, NULL);
	CHECK_EQ(sim_run(w->sim, is_down, NULL, 600 * NS_PER_S), 0);
}

static bool once(struct fault *f)
{
	struct sim_options opts;
	bool met;

	w = calloc(1, sizeof(*w));
	CHECK(w != NULL);
	fault = NULL;
	sim_options_default(&opts, f->n);
	w->sim = sim_new(&opts);
	w->server = sim_node_new(w->sim, "server");
	w->peer = sim_node_new(w->sim, "peer");
	config_make();
	sim_node_start(w->server, server_main, NULL);
	CHECK_EQ(sim_run(w->sim, is_registered, NULL, 60 * NS_PER_S), 0);
	sim_node_on_crash(w->server, server_died, NULL);
	fault = f;
	fault_arm(f, w->sim, w->server);
	sim_node_crash(w->server, SIM_KILL);
	peer_run(peer_main);
	met = fault_disarm(f);
	fault = NULL;
	sim_node_crash(w->server, SIM_POWER_LOSS);
	CHECK_EQ(sim_run(w->sim, is_registered, NULL, 600 * NS_PER_S), 0);
	peer_run(verify_main);
	inspect();
	sim_free(w->sim);
	free(w);
	return met;
}

static uint64_t step(void)
{
	const char *suite = getenv("NACRE_SUITE");

	return suite != NULL && strcmp(suite, "long") == 0 ? 0 : 30;
}

#define CLUSTER_TEST(name, kind) \
	TEST(name) \
	{ \
		log_level_set(LOG_ERROR); \
		sweep(kind, step(), once); \
		log_level_set(LOG_INFO); \
	}

CLUSTER_TEST(cluster_reads, FAULT_READ)
CLUSTER_TEST(cluster_writes, FAULT_WRITE)
CLUSTER_TEST(cluster_syncs, FAULT_SYNC)
CLUSTER_TEST(cluster_reservations, FAULT_RESERVE)
CLUSTER_TEST(cluster_names, FAULT_NAMES)
CLUSTER_TEST(cluster_allocations, FAULT_ALLOC)
