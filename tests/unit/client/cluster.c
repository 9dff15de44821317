#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "layout/layout.h"
#include "mds/mds.h"
#include "mgs/mgs.h"

const char *__lsan_default_suppressions(void);
/* A simulated crash frees what came from mem_alloc; what OpenSSL allocated for a connection's MAC is lost. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

void cluster_key(const struct cluster *cl, enum rpc_role role, struct rpc_key *ret_key)
{
	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->key_id = 1;
	ret_key->role = role;
	ret_key->allow_root = true;
	ret_key->cluster = cl->uuid;
	strcpy(ret_key->fsname, CLUSTER_FS);
	MUST(rpc_key_derive(ret_key, cl->server_key) == 0);
}

static struct rpc_server *server_new(struct cluster *cl, struct env *env, const char *addr)
{
	struct rpc_server_opts opts = {
		.env = env, .cluster = cl->uuid, .server_key = cl->server_key};
	struct rpc_server *server;
	uint8_t random[16];

	env_random_bytes(env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	MUST(rpc_server_new(&opts, &server) == 0);
	if (addr != NULL) {
		char bound[LIM_ADDR_LEN_MAX + 1];

		MUST(rpc_server_listen(server, addr, bound, sizeof(bound)) == 0);
	}
	return server;
}

static void serve_until_stop(struct env *env)
{
	while (!env_stopping(env)) {
		env_sleep(env, 20 * NS_PER_MS);
	}
}

/* ---- MGS ---- */

static void mgs_main(void *arg)
{
	struct cluster *cl = arg;
	struct env *env = sim_node_env(cl->mgs_node);
	struct rpc_server *server = server_new(cl, env, "sim:mgs:1");
	struct mgs_options opts = {.state_dir = "/mgs",
		.kv_kind = STATE_KV_MODEL,
		.fsname = CLUSTER_FS,
		.cluster = cl->uuid,
		.epoch = 1};
	struct mgs *mgs;
	int err = env_mkdir(env, "/mgs");

	MUST(err == 0 || err == -NE_EXIST);
	MUST(mgs_start(env, server, &opts, &mgs) == 0);
	cl->mgs_serving = true;
	serve_until_stop(env);
	mgs_stop(mgs);
	rpc_server_stop(server);
	rpc_server_free(server);
}

struct registration {
	enum w_target_kind kind;
	unsigned index;
	uint32_t epoch;
	struct uuid uuid;
	const char *name;
	const char *addr;
};

/* A server's own connection to the MGS. */
struct link {
	struct rpc_client *rpc;
	struct rpc_session *mgs;
};

static void link_open(struct cluster *cl, struct env *env, struct uuid uuid, struct link *ret_link)
{
	struct rpc_key *key = mem_alloc(sizeof(*key));
	struct rpc_addrs *addrs = mem_zalloc(sizeof(*addrs));
	struct rpc_client_opts opts = {.env = env, .uuid = uuid, .incarnation = 1, .key = key};
	struct rpc_session_opts sopts = {.target = "MGT0000", .fsname = CLUSTER_FS, .addrs = addrs};

	MUST(key != NULL && addrs != NULL);
	cluster_key(cl, RPC_ROLE_SERVER, key);
	addrs->count = 1;
	strcpy(addrs->addr[0], "sim:mgs:1");
	MUST(rpc_client_new(&opts, &ret_link->rpc) == 0);
	MUST(rpc_session_new(ret_link->rpc, &sopts, &ret_link->mgs) == 0);
	mem_free(key);
	mem_free(addrs);
}

static void link_close(struct env *env, struct link *link)
{
	rpc_session_free(link->mgs, env_now(env) + NS_PER_S);
	rpc_client_free(link->rpc);
}

static void register_target(struct cluster *cl, struct env *env, struct link *link,
	const struct registration *r, struct w_mgs_register_rep *ret_rep)
{
	struct w_mgs_register_req req = {.target = {.name = wire_str_of(r->name),
						 .kind = r->kind,
						 .index = (uint16_t)r->index,
						 .uuid = r->uuid,
						 .epoch = r->epoch,
						 .state = W_TARGET_STATE_UP,
						 .addr0 = wire_str_of(r->addr),
						 .boot_id = wire_str_of(env_boot_id(env))},
		.fsname = wire_str_of(CLUSTER_FS),
		.cluster = cl->uuid};
	struct rpc_call call = {.op = W_OP_MGS_REGISTER, .request = &req, .reply = ret_rep};

	MUST(rpc_call(link->mgs, &call) == 0);
	rpc_call_fini(&call);
}

/* ---- OSTs ---- */

static void ost_main(void *arg)
{
	struct cluster_ost *o = arg;
	struct cluster *cl = o->cl;
	struct env *env = sim_node_env(o->node);
	struct bufpool *pool;
	struct rpc_server_opts opts = {
		.env = env, .cluster = cl->uuid, .server_key = cl->server_key};
	struct rpc_server *server;
	char name[16];
	char addr[32];
	struct oss_options oopts = {
		.path = "/ost", .target = name, .fsname = CLUSTER_FS, .kv_kind = STATE_KV_MODEL};
	struct w_mgs_register_rep rep;
	struct link link;
	uint8_t random[16];
	int err = env_mkdir(env, "/ost");

	MUST(err == 0 || err == -NE_EXIST);
	MUST(env_fsync_dir(env, "/") == 0);
	snprintf(name, sizeof(name), "OST%04x", o->index);
	snprintf(addr, sizeof(addr), "sim:ost%u:%u", o->index, o->port);
	oopts.epoch = ++o->epoch;
	MUST(bufpool_new(64 * MIB, 8 * MIB, &pool) == 0);
	oopts.bufpool = pool;
	opts.bufpool = pool;
	env_random_bytes(env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	MUST(oss_format(env, "/ost") == 0);
	MUST(rpc_server_new(&opts, &server) == 0);
	MUST(oss_start(env, server, &oopts, &o->oss) == 0);
	MUST(rpc_server_listen(server, addr, addr, sizeof(addr)) == 0);
	link_open(cl, env, o->uuid, &link);
	register_target(cl, env, &link,
		&(struct registration){.kind = W_TARGET_KIND_OST,
			.index = o->index,
			.epoch = o->epoch,
			.uuid = o->uuid,
			.name = name,
			.addr = addr},
		&rep);
	link_close(env, &link);
	o->serving = true;
	serve_until_stop(env);
	oss_stop(o->oss);
	rpc_server_stop(server);
	rpc_server_free(server);
	bufpool_free(pool);
}

static void ost_restart(void *arg)
{
	struct cluster_ost *o = arg;

	if (!sim_node_is_up(o->node)) {
		sim_node_start(o->node, ost_main, o);
	}
}

struct crash {
	struct sim_node *node;
	enum sim_crash kind;
	sim_action_fn *restart;
	void *arg;
	uint64_t down_ns;
	struct sim *sim;
};

static void crash_now(void *arg)
{
	struct crash *k = arg;

	sim_node_crash(k->node, k->kind);
	sim_after(k->sim, k->down_ns, k->restart, k->arg);
	free(k);
}

static void crash(struct crash from)
{
	struct crash *k = malloc(sizeof(*k));

	MUST(k != NULL);
	*k = from;
	sim_after(k->sim, 0, crash_now, k);
}

void cluster_ost_crash(struct cluster *cl, unsigned ost, enum sim_crash kind, uint64_t down_ns)
{
	struct cluster_ost *o = &cl->ost[ost];

	o->serving = false;
	crash((struct crash){.node = o->node,
		.kind = kind,
		.restart = ost_restart,
		.arg = o,
		.down_ns = down_ns,
		.sim = cl->sim});
}

void cluster_ost_revive(struct cluster *cl, unsigned ost, uint64_t after_ns)
{
	sim_after(cl->sim, after_ns, ost_restart, &cl->ost[ost]);
}

/* ---- MDT ---- */

static void mdt_map(struct link *link, struct mds *mds, uint32_t *version)
{
	struct w_mgs_map_req req = {.fsname = wire_str_of(CLUSTER_FS), .have_version = *version};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};

	MUST(rpc_call(link->mgs, &call) == 0);
	if (rep.version != *version) {
		MUST(mds_map_set(mds, &rep) == 0);
		mds_map_version_set(mds, rep.version);
		*version = rep.version;
	}
	rpc_call_fini(&call);
}

static struct mds *mdt_start(struct cluster *cl, struct env *env, struct link *link)
{
	struct w_mgs_register_rep rep;
	struct mds_options opts = {.fsname = CLUSTER_FS,
		.epoch = ++cl->mdt_epoch,
		.store = {.dir = "/mdt",
			.kv_kind = STATE_KV_MODEL,
			.create = true,
			.wal_segment_bytes = 4 * MIB},
		.fid_batch = 1024,
		.root_mode = 0777,
		.ost_client = link->rpc,
		.recovery_ns = 60 * NS_PER_S};
	struct mds *mds;
	int err = env_mkdir(env, "/mdt");

	MUST(err == 0 || err == -NE_EXIST);
	MUST(env_fsync_dir(env, "/") == 0);
	register_target(cl, env, link,
		&(struct registration){.kind = W_TARGET_KIND_MDT,
			.epoch = cl->mdt_epoch,
			.uuid = {.bytes = {1}},
			.name = "MDT0000",
			.addr = "sim:mdt:1"},
		&rep);
	opts.fid_seq_start = rep.fid_seq_start;
	opts.fid_seq_count = rep.fid_seq_count;
	MUST(mds_start(env, &opts, &mds) == 0);
	return mds;
}

static void mdt_main(void *arg)
{
	struct cluster *cl = arg;
	struct env *env = sim_node_env(cl->mdt_node);
	struct rpc_server *server = server_new(cl, env, NULL);
	struct rpc_service_opts sopts = {
		.target = "MDT0000", .fsname = CLUSTER_FS, .ops = mds_service_ops()};
	struct rpc_service *service;
	char addr[LIM_ADDR_LEN_MAX + 1];
	uint32_t version = 0;
	struct link link;
	struct mds *mds;

	link_open(cl, env, (struct uuid){.bytes = {1}}, &link);
	mds = mdt_start(cl, env, &link);
	mdt_map(&link, mds, &version);
	sopts.ctx = mds;
	MUST(rpc_service_start(server, &sopts, &service) == 0);
	MUST(rpc_server_listen(server, "sim:mdt:1", addr, sizeof(addr)) == 0);
	cl->mdt_serving = true;
	while (!env_stopping(env)) {
		env_sleep(env, 100 * NS_PER_MS);
		mdt_map(&link, mds, &version);
	}
	rpc_service_stop(service);
	mds_stop(mds);
	rpc_server_stop(server);
	rpc_server_free(server);
	link_close(env, &link);
}

static void mdt_restart(void *arg)
{
	struct cluster *cl = arg;

	if (!sim_node_is_up(cl->mdt_node)) {
		sim_node_start(cl->mdt_node, mdt_main, cl);
	}
}

void cluster_mdt_revive(struct cluster *cl, uint64_t after_ns)
{
	sim_after(cl->sim, after_ns, mdt_restart, cl);
}

void cluster_mdt_crash(struct cluster *cl, enum sim_crash kind, uint64_t down_ns)
{
	cl->mdt_serving = false;
	crash((struct crash){.node = cl->mdt_node,
		.kind = kind,
		.restart = mdt_restart,
		.arg = cl,
		.down_ns = down_ns,
		.sim = cl->sim});
}

/* ---- clients ---- */

static int test_groups(void *ctx, int32_t pid, uint32_t *gids, uint32_t cap)
{
	((struct cluster *)ctx)->groups_asked++;
	MUST(cap >= 2 && pid == 42);
	gids[0] = 500;
	gids[1] = 501;
	return 2;
}

void cluster_options(struct cluster *cl, unsigned client, struct client_options *opt)
{
	static const char *const mgs[] = {"sim:mgs:1", NULL};

	*opt = (struct client_options){.env = sim_node_env(cl->client[client].node),
		.mgs = mgs,
		.fsname = CLUSTER_FS,
		.subdir = "",
		.key_text = cl->key_text,
		.hostname = "host",
		.pid = 77,
		.groups = test_groups,
		.groups_ctx = cl};
}

struct client *cluster_mount(struct cluster *cl, unsigned client)
{
	struct client_options opt;
	char why[256];
	struct client *c;

	cluster_options(cl, client, &opt);
	opt.mount_patience_ns = 600 * NS_PER_S;

	int err = client_new(&opt, why, sizeof(why), &c);

	if (err != 0) {
		fprintf(stderr, "mount: %s (%s)\n", why, ne_name(err));
		abort();
	}
	return c;
}

static void client_main(void *arg)
{
	struct cluster_client *cc = arg;

	cc->c = cluster_mount(cc->cl, cc->index);
	cc->body(cc->cl, cc->index);
	client_free(cc->c);
	cc->c = NULL;
	cc->done = true;
}

void cluster_client_start(struct cluster *cl, unsigned client, cluster_body_fn *body)
{
	struct cluster_client *cc = &cl->client[client];

	cc->body = body;
	cc->done = false;
	sim_node_start(cc->node, client_main, cc);
}

void cluster_step_wait(struct cluster *cl, unsigned client, unsigned step)
{
	while (cl->step < step) {
		env_sleep(sim_node_env(cl->client[client].node), NS_PER_MS);
	}
}

/* ---- all ---- */

static bool all_serving(void *ctx)
{
	struct cluster *cl = ctx;
	bool all = cl->mgs_serving && cl->mdt_serving;

	for (unsigned i = 0; i < cl->ost_count; i++) {
		all = all && cl->ost[i].serving;
	}
	return all;
}

/* Waits until the MDT places objects on all OSTs. */
static void osts_wait(struct cluster *cl, struct client *c, struct lov_md *md)
{
	struct client_cred root = {.caps = UINT64_MAX};
	struct client_create how = {.mode = S_IFREG | 0644};
	struct client_attr attr;
	uint8_t buf[1024];
	size_t len = 0;

	do {
		*md = (struct lov_md){.pattern = LOV_PATTERN_RAID0,
			.stripe_count = LAYOUT_COUNT_ALL,
			.stripe_offset = LAYOUT_OST_ANY};
		MUST(lov_encode(md, buf, sizeof(buf), &len) == 0);
		how.lov = buf;
		how.lov_len = len;
		if (client_create(c, &root, client_root(c), "probe", &how, &attr) == 0) {
			MUST(client_getxattr(c, &root, attr.fid, "lustre.lov",
				     (struct client_out){buf, sizeof(buf)}, &len) == 0);
			MUST(lov_decode(buf, len, md) == 0);
			MUST(client_unlink(c, &root, client_root(c), "probe") == 0);
		}
		env_sleep(sim_node_env(cl->setup_node), 20 * NS_PER_MS);
	} while (md->osts_count != cl->ost_count);
}

/* Gives the root directory its default layout. */
static void setup_main(void *arg)
{
	struct cluster *cl = arg;
	struct client_cred root = {.caps = UINT64_MAX};
	struct lov_md *md = mem_zalloc(sizeof(*md));
	struct client_options opt;
	struct client *c;
	uint8_t buf[64];
	size_t len = 0;

	MUST(md != NULL);
	cluster_options(cl, 0, &opt);
	opt.env = sim_node_env(cl->setup_node);
	MUST(client_new(&opt, NULL, 0, &c) == 0);
	osts_wait(cl, c, md);
	*md = (struct lov_md){.pattern = LOV_PATTERN_RAID0};
	md->pattern |= cl->stripe_count > cl->ost_count ? LOV_PATTERN_OVERSTRIPED : 0;
	md->stripe_size = cl->stripe_size;
	md->stripe_count = (uint16_t)cl->stripe_count;
	md->stripe_offset = LAYOUT_OST_ANY;
	MUST(lov_encode(md, buf, sizeof(buf), &len) == 0);
	MUST(client_setxattr(c, &root, client_root(c), "lustre.lov", span_of(buf, len), 0) == 0);
	client_free(c);
	mem_free(md);
	cl->setup_done = true;
}

static bool setup_is_done(void *ctx)
{
	return ((struct cluster *)ctx)->setup_done;
}

struct cluster *cluster_new(
	uint64_t seed, unsigned osts, uint64_t stripe_size, uint32_t stripe_count)
{
	struct cluster *cl = calloc(1, sizeof(*cl));
	struct rpc_key *key = malloc(sizeof(*key));
	struct sim_options opts;
	struct prng rng;

	MUST(cl != NULL && key != NULL && osts <= CLUSTER_OSTS);
	sim_options_default(&opts, seed);
	prng_init(&rng, seed);
	prng_fill(&rng, cl->server_key, sizeof(cl->server_key));
	prng_fill(&rng, cl->uuid.bytes, sizeof(cl->uuid.bytes));
	cluster_key(cl, RPC_ROLE_HOST, key);
	MUST(rpc_key_format(key, cl->key_text, sizeof(cl->key_text)) == 0);
	free(key);
	cl->sim = sim_new(&opts);
	cl->ost_count = osts;
	cl->mgs_node = sim_node_new(cl->sim, "mgs");
	cl->mdt_node = sim_node_new(cl->sim, "mdt");
	cl->setup_node = sim_node_new(cl->sim, "setup");
	cl->stripe_size = stripe_size;
	cl->stripe_count = stripe_count;
	sim_node_start(cl->mgs_node, mgs_main, cl);
	for (unsigned i = 0; i < osts; i++) {
		struct cluster_ost *o = &cl->ost[i];
		char name[16];

		snprintf(name, sizeof(name), "ost%u", i);
		o->cl = cl;
		o->index = i;
		o->port = 1;
		o->uuid = (struct uuid){.bytes = {2, (uint8_t)i}};
		o->node = sim_node_new(cl->sim, name);
		sim_node_start(o->node, ost_main, o);
	}
	sim_node_start(cl->mdt_node, mdt_main, cl);
	for (unsigned i = 0; i < CLUSTER_CLIENTS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "client%u", i);
		cl->client[i].cl = cl;
		cl->client[i].index = i;
		cl->client[i].node = sim_node_new(cl->sim, name);
	}
	MUST(sim_run(cl->sim, all_serving, cl, 60 * NS_PER_S) == 0);
	sim_node_start(cl->setup_node, setup_main, cl);
	MUST(sim_run(cl->sim, setup_is_done, cl, 60 * NS_PER_S) == 0);
	return cl;
}

void cluster_free(struct cluster *cl)
{
	sim_free(cl->sim);
	free(cl);
}

struct run {
	struct cluster *cl;
	unsigned clients;
};

static bool clients_done(void *ctx)
{
	const struct run *run = ctx;

	for (unsigned i = 0; i < run->clients; i++) {
		if (!run->cl->client[i].done) {
			return false;
		}
	}
	return true;
}

void cluster_run(struct cluster *cl, unsigned clients)
{
	struct run run = {.cl = cl, .clients = clients};

	MUST(sim_run(cl->sim, clients_done, &run, 3600 * NS_PER_S) == 0);
	for (unsigned i = 0; i < clients; i++) {
		/* What a mount took it has given back. */
		MUST(sim_node_fibers(cl->client[i].node) <= 1);
	}
}
