/* See cluster.h. */
#include "cluster.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/super.h"

#define RESTART_TRIES 2000
/* Small: a start reads all of them, and runs get to the end of one. */
#define WAL_SEGMENT_BYTES (128 * KIB)
#define ARMED_DOWN_NS (50 * NS_PER_MS)

void cluster_fail(struct cluster *c, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr,
		"FAILED seed %llu (faults: %s) at %.3f ms: ", (unsigned long long)c->opt.seed,
		c->faults, (double)sim_now(c->sim) / 1e6);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

static void must(struct cluster *c, int err, const char *what)
{
	if (err != 0) {
		cluster_fail(c, "%s: %s", what, ne_name(err));
	}
}

/* ---- making ---- */

static void keys_make(struct cluster *c)
{
	static struct rpc_key key;

	prng_fill(&c->rng, c->server_key, sizeof(c->server_key));
	prng_fill(&c->rng, c->uuid.bytes, sizeof(c->uuid.bytes));
	must(c,
		rpc_server_key_format(
			c->server_key, c->server_key_text, sizeof(c->server_key_text)),
		"server key");
	memset(&key, 0, sizeof(key));
	key.key_id = 1;
	key.role = RPC_ROLE_HOST;
	key.allow_root = true;
	key.cluster = c->uuid;
	strcpy(key.fsname, CLUSTER_FSNAME);
	must(c, rpc_key_derive(&key, c->server_key), "client key");
	must(c, rpc_key_format(&key, c->client_key_text, sizeof(c->client_key_text)), "client key");
}

static void target_add(struct cluster_host *h, const char *name, uint64_t capacity_bytes)
{
	struct node_target_config *t = &h->config.targets[h->config.target_count++];

	snprintf(t->name, sizeof(t->name), "%s", name);
	snprintf(t->path, sizeof(t->path), "/data-%s", name);
	t->capacity_bytes = capacity_bytes;
}

static void host_add(struct cluster *c, const char *name)
{
	struct cluster_host *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		abort();
	}
	h->cluster = c;
	h->node = sim_node_new(c->sim, name);
	snprintf(h->config.fsname, sizeof(h->config.fsname), "%s", CLUSTER_FSNAME);
	h->config.cluster = c->uuid;
	h->config.listen_count = 1;
	snprintf(h->config.listen[0], sizeof(h->config.listen[0]), "sim:%s:7988", name);
	h->config.mgs_count = 1;
	snprintf(h->config.mgs[0], sizeof(h->config.mgs[0]), "sim:mds:7988");
	snprintf(h->config.server_key, sizeof(h->config.server_key), "/server.key");
	h->config.kv_kind = STATE_KV_MODEL;
	h->config.wal_segment_bytes = WAL_SEGMENT_BYTES;
	h->config.pid = 100 + c->host_count;
	must(c,
		sim_disk_poke(
			h->node, "/server.key", c->server_key_text, strlen(c->server_key_text)),
		"server key file");
	c->hosts[c->host_count++] = h;
}

static void hosts_make(struct cluster *c)
{
	char name[LIM_TARGET_NAME_MAX + 1];

	host_add(c, "mds");
	target_add(c->hosts[0], "MGT0000", 0);
	target_add(c->hosts[0], "MDT0000", c->opt.mdt_capacity_bytes);
	for (unsigned i = 0; i < c->opt.host_count; i++) {
		struct cluster_host *h;

		snprintf(name, sizeof(name), "oss%u", i % CLUSTER_OSTS_MAX);
		host_add(c, name);
		h = c->hosts[c->host_count - 1];
		h->ost_first = c->ost_count;
		h->ost_count = c->opt.osts_per_host;
		for (unsigned k = 0; k < h->ost_count; k++) {
			target_name_format(W_TARGET_KIND_OST, (uint16_t)c->ost_count++, name);
			target_add(h, name, c->opt.ost_capacity_bytes);
		}
	}
}

struct cluster *cluster_new(const struct cluster_options *opt)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct sim_options so;
	char name[LIM_TARGET_NAME_MAX + 1];

	if (c == NULL) {
		abort();
	}
	c->opt = *opt;
	prng_init(&c->rng, opt->seed ^ UINT64_C(0x73696d636c757374));
	sim_options_default(&so, opt->seed);
	so.trace = opt->trace;
	so.quiet = opt->quiet;
	so.fibers_max = 4096;
	c->sim = sim_new(&so);
	keys_make(c);
	hosts_make(c);
	for (unsigned i = 0; i < opt->client_count; i++) {
		struct cluster_client *cl = &c->clients[c->client_count++];

		snprintf(name, sizeof(name), "client%u", i % CLUSTER_CLIENTS_MAX);
		cl->cluster = c;
		cl->index = i;
		cl->node = sim_node_new(c->sim, name);
	}
	return c;
}

void cluster_free(struct cluster *c)
{
	if (c == NULL) {
		return;
	}
	sim_free(c->sim);
	for (unsigned i = 0; i < c->host_count; i++) {
		free(c->hosts[i]);
	}
	free(c);
}

/* ---- lives of servers ---- */

static void host_format(struct cluster_host *h)
{
	struct cluster *c = h->cluster;
	struct env *env = sim_node_env(h->node);

	for (unsigned i = 0; i < h->config.target_count; i++) {
		struct super super;
		uint16_t index = 0;

		memset(&super, 0, sizeof(super));
		must(c, target_name_parse(h->config.targets[i].name, &super.kind, &index), "name");
		super.index = index;
		snprintf(super.fsname, sizeof(super.fsname), "%s", CLUSTER_FSNAME);
		super.cluster = c->uuid;
		env_random_bytes(env, super.uuid.bytes, sizeof(super.uuid.bytes));
		super.formatted_ns = env_realtime(env);
		must(c, super_format(env, h->config.targets[i].path, &super), "format");
	}
	h->formatted = true;
}

static void host_main(void *arg)
{
	struct cluster_host *h = arg;
	struct cluster *c = h->cluster;
	struct env *env = sim_node_env(h->node);
	char why[512];
	int err = -1;

	env_waitq_init(&h->stop_q);
	if (!h->formatted) {
		host_format(h);
	}
	for (unsigned i = 0; err != 0; i++) {
		err = node_start(env, &h->config, why, sizeof(why), &h->server);
		if (err != 0 &&
			(!(c->opt.space_short || c->opt.disk_errors) || i >= RESTART_TRIES)) {
			cluster_fail(c, "%s does not start: %s", sim_node_name(h->node), why);
		}
		if (err != 0) {
			h->starts_failed++;
			env_sleep(env, 100 * NS_PER_MS);
		}
	}
	while (!h->stop) {
		(void)!env_wait(env, &h->stop_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	node_stop(TAKE_PTR(h->server));
}

static void host_start(struct cluster_host *h)
{
	ASSERT(!sim_node_is_up(h->node));
	h->server = NULL;
	h->stop = false;
	h->restart_due = false;
	h->suspended = false;
	sim_node_start(h->node, host_main, h);
}

static void host_restart(void *ctx)
{
	struct cluster_host *h = ctx;

	if (!sim_node_is_up(h->node)) {
		host_start(h);
	}
}

static void losses_count(struct cluster_host *h, enum sim_crash kind)
{
	if (kind == SIM_POWER_LOSS) {
		h->cluster->mdt_losses += h == h->cluster->hosts[0];
		h->cluster->ost_losses += h->ost_count > 0;
	}
}

static void host_died(void *ctx)
{
	struct cluster_host *h = ctx;

	h->server = NULL;
	h->cluster->crashes++;
	if (!h->restart_due) {
		/* At a crash point that was armed; or it ended itself: what it could not write back is lost. */
		losses_count(h, sim_node_died(h->node) ? SIM_POWER_LOSS : h->armed);
		h->restart_due = true;
		sim_after(h->cluster->sim, ARMED_DOWN_NS, host_restart, h);
	}
}

void cluster_host_crash(struct cluster_host *h, enum sim_crash kind, uint64_t down_ns)
{
	struct cluster *c = h->cluster;

	if (!sim_node_is_up(h->node)) {
		return;
	}
	losses_count(h, kind);
	sim_node_crash(h->node, kind);
	h->restart_due = true;
	sim_after(c->sim, down_ns, host_restart, h);
}

/* ---- lives of clients ---- */

static void client_main(void *arg)
{
	struct cluster_client *cl = arg;
	struct cluster *c = cl->cluster;
	struct env *env = sim_node_env(cl->node);
	const char *mgs[] = {"sim:mds:7988", NULL};
	struct client_options opt = {
		.env = env,
		.mgs = mgs,
		.fsname = CLUSTER_FSNAME,
		.subdir = "",
		.key_text = c->client_key_text,
		.hostname = sim_node_name(cl->node),
		.pid = 1000 + cl->index,
		.mount_patience_ns = 3600 * NS_PER_S,
	};
	char why[512];
	int err;

	env_waitq_init(&cl->stop_q);
	err = client_new(&opt, why, sizeof(why), &cl->client);
	if (err != 0) {
		cluster_fail(c, "%s does not mount: %s (%s)", sim_node_name(cl->node), why,
			ne_name(err));
	}
	if (c->on_mount != NULL) {
		c->on_mount(cl, c->ctx);
	}
	while (!cl->stop) {
		(void)!env_wait(env, &cl->stop_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	client_free(TAKE_PTR(cl->client));
	cl->stopped = true;
}

static void client_start(struct cluster_client *cl)
{
	ASSERT(!sim_node_is_up(cl->node));
	cl->client = NULL;
	cl->stop = false;
	cl->stopped = false;
	cl->restart_due = false;
	cl->suspended = false;
	cl->life++;
	sim_node_start(cl->node, client_main, cl);
}

static void client_restart(void *ctx)
{
	struct cluster_client *cl = ctx;

	if (!sim_node_is_up(cl->node)) {
		client_start(cl);
	}
}

static void client_died(void *ctx)
{
	struct cluster_client *cl = ctx;

	cl->client = NULL;
	if (cl->cluster->on_client_death != NULL) {
		cl->cluster->on_client_death(cl, cl->cluster->ctx);
	}
}

void cluster_client_crash(struct cluster_client *cl, enum sim_crash kind, uint64_t down_ns)
{
	if (!sim_node_is_up(cl->node)) {
		return;
	}
	cl->client = NULL;
	sim_node_crash(cl->node, kind);
	cl->restart_due = true;
	sim_after(cl->cluster->sim, down_ns, client_restart, cl);
}

/* ---- all of it ---- */

static bool servers_ready(void *ctx)
{
	const struct cluster *c = ctx;

	for (unsigned i = 0; i < c->host_count; i++) {
		if (c->hosts[i]->server == NULL || !node_registered(c->hosts[i]->server)) {
			return false;
		}
	}
	return true;
}

void cluster_start(struct cluster *c)
{
	for (unsigned i = 0; i < c->host_count; i++) {
		sim_node_on_crash(c->hosts[i]->node, host_died, c->hosts[i]);
		host_start(c->hosts[i]);
	}
	/* A file system that was never up cannot be mounted. */
	if (sim_run(c->sim, servers_ready, c, 60 * NS_PER_S) != 0) {
		cluster_fail(c, "the servers do not start");
	}
	for (unsigned i = 0; i < c->client_count; i++) {
		sim_node_on_crash(c->clients[i].node, client_died, &c->clients[i]);
		client_start(&c->clients[i]);
	}
}

static bool is_ready(void *ctx)
{
	const struct cluster *c = ctx;

	for (unsigned i = 0; i < c->client_count; i++) {
		if (c->clients[i].client == NULL) {
			return false;
		}
	}
	return servers_ready(ctx);
}

bool cluster_wait_ready(struct cluster *c, uint64_t max_ns)
{
	return sim_run(c->sim, is_ready, c, max_ns) == 0;
}

void cluster_heal(struct cluster *c)
{
	sim_partition_heal(c->sim);
	for (unsigned i = 0; i < c->host_count; i++) {
		struct cluster_host *h = c->hosts[i];

		if (h->suspended && sim_node_is_up(h->node)) {
			sim_node_resume(h->node);
		}
		h->suspended = false;
		sim_disk_slow_set(h->node, 1);
		for (unsigned op = 0; op < SIM_DISK_OPS; op++) {
			sim_disk_fail(h->node, (enum sim_disk_op)op, 0, NE_IO);
		}
		sim_disk_corrupt_read(h->node, "", 0, 0);
		host_restart(h);
	}
	for (unsigned i = 0; i < c->client_count; i++) {
		struct cluster_client *cl = &c->clients[i];

		if (cl->suspended && sim_node_is_up(cl->node)) {
			sim_node_resume(cl->node);
		}
		cl->suspended = false;
		client_restart(cl);
	}
}

static bool clients_stopped(void *ctx)
{
	struct cluster *c = ctx;

	for (unsigned i = 0; i < c->client_count; i++) {
		if (!c->clients[i].stopped || sim_node_fibers(c->clients[i].node) > 0) {
			return false;
		}
	}
	return true;
}

bool cluster_clients_stop(struct cluster *c, uint64_t max_ns)
{
	for (unsigned i = 0; i < c->client_count; i++) {
		struct cluster_client *cl = &c->clients[i];

		cl->stop = true;
		env_wake_all(sim_node_env(cl->node), &cl->stop_q);
	}
	return sim_run(c->sim, clients_stopped, c, max_ns) == 0;
}

static bool hosts_stopped(void *ctx)
{
	struct cluster *c = ctx;

	for (unsigned i = 0; i < c->host_count; i++) {
		if (sim_node_fibers(c->hosts[i]->node) > 0) {
			return false;
		}
	}
	return true;
}

bool cluster_hosts_stop(struct cluster *c, uint64_t max_ns)
{
	/* The OSTs last: the MDT needs them. */
	for (unsigned i = 0; i < c->host_count; i++) {
		struct cluster_host *h = c->hosts[i];

		h->stop = true;
		env_wake_all(sim_node_env(h->node), &h->stop_q);
	}
	return sim_run(c->sim, hosts_stopped, c, max_ns) == 0;
}

uint64_t cluster_disk_errors(const struct cluster *c)
{
	const struct sim_stats *s = sim_stats(c->sim);

	return s->faults[SIM_FAULT_READ_ERROR] + s->faults[SIM_FAULT_WRITE_ERROR] +
		s->faults[SIM_FAULT_SYNC_ERROR] + s->faults[SIM_FAULT_NAMES_ERROR] +
		s->faults[SIM_FAULT_CORRUPT_READ];
}

struct mds *cluster_mds(struct cluster *c)
{
	struct node *node = c->hosts[0]->server;

	return node == NULL ? NULL : node_mds(node, "MDT0000");
}

struct run_on {
	env_fiber_fn *fn;
	void *arg;
	bool done;
};

static void run_on_fiber(void *arg)
{
	struct run_on *r = arg;

	r->fn(r->arg);
	r->done = true;
}

static bool run_on_done(void *ctx)
{
	return ((struct run_on *)ctx)->done;
}

bool cluster_run_on(
	struct cluster *c, struct sim_node *node, env_fiber_fn *fn, void *arg, uint64_t max_ns)
{
	struct run_on r = {.fn = fn, .arg = arg};

	must(c, env_spawn(sim_node_env(node), "check", run_on_fiber, &r), "spawn");
	return sim_run(c->sim, run_on_done, &r, max_ns) == 0;
}
