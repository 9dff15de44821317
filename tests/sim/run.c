/* See run.h. */
#include "run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actor.h"
#include "applog.h"
#include "check.h"
#include "names.h"
#include "nemesis.h"
#include "worker.h"

#define WORKERS_MAX 12
/* Its log takes most of it. */
#define MDT_CAPACITY_MIN (400 * KIB)
#define READY_NS (60 * NS_PER_S)
/* Well below the 120 s after which a client that does not get through loses its session. */
#define SAFETY_NS (45 * NS_PER_S)
/* Everything must end within this once nothing goes wrong any more: recovery windows, dead peers, the last
 * requests of dead clients. */
#define LIVENESS_NS (1200 * NS_PER_S)
/* Until sessions of dead clients are closed and what they had open is destroyed. */
#define ORPHANS_NS (400 * NS_PER_S)

enum run_phase {
	PHASE_WORK,
	PHASE_END
};

struct run {
	struct cluster *cluster;
	struct nemesis nemesis;
	struct worker *workers[WORKERS_MAX];
	unsigned worker_count;
	struct applog *applog; /* NULL: not in this run */
	struct names *names; /* the same */
	struct actor *actors[ACTORS_MAX];
	unsigned actor_count;
	enum run_phase phase;
	uint64_t start_ns;
	unsigned settled;
	unsigned compared;
};

static void fiber_spawn(struct cluster_client *cl, env_fiber_fn *fn, void *arg)
{
	if (env_spawn(sim_node_env(cl->node), "worker", fn, arg) != 0) {
		cluster_fail(cl->cluster, "%s: no fiber", sim_node_name(cl->node));
	}
}

static void worker_spawn(struct worker *w, env_fiber_fn *fn, void *arg)
{
	fiber_spawn(w->cl, fn, arg);
}

static void on_mount(struct cluster_client *cl, void *ctx)
{
	struct run *r = ctx;

	for (unsigned i = 0; i < r->worker_count && r->phase == PHASE_WORK; i++) {
		if (r->workers[i]->cl == cl && !r->workers[i]->idle) {
			worker_spawn(r->workers[i], worker_main, r->workers[i]);
		}
	}
	if (r->applog != NULL && r->phase == PHASE_WORK && !r->applog->writers[cl->index].idle) {
		fiber_spawn(cl, applog_main, &r->applog->writers[cl->index]);
	}
	for (unsigned i = 0; i < r->actor_count && r->phase == PHASE_WORK; i++) {
		if (r->actors[i]->cl == cl && !r->actors[i]->idle) {
			fiber_spawn(cl, r->actors[i]->main, r->actors[i]);
		}
	}
}

static void on_death(struct cluster_client *cl, void *ctx)
{
	struct run *r = ctx;

	for (unsigned i = 0; i < r->worker_count; i++) {
		if (r->workers[i]->cl == cl) {
			r->workers[i]->running = false;
		}
	}
	if (r->applog != NULL) {
		applog_died(&r->applog->writers[cl->index]);
	}
	for (unsigned i = 0; i < r->actor_count; i++) {
		if (r->actors[i]->cl == cl) {
			r->actors[i]->died(r->actors[i]);
		}
	}
}

static void cluster_draw(const struct run_options *opt, struct cluster_options *co, unsigned kinds)
{
	struct prng rng;

	prng_init(&rng, opt->seed ^ UINT64_C(0x746f706f6c6f6779));
	*co = (struct cluster_options){.seed = opt->seed, .trace = opt->trace, .quiet = opt->quiet};
	co->client_count = 1 + (unsigned)prng_below(&rng, prng_chance(&rng, 1, 4) ? 4 : 2);
	co->osts_per_host = prng_chance(&rng, 1, 4) ? 2 : 1;
	co->host_count = 1 + (unsigned)prng_below(&rng, CLUSTER_OSTS_MAX / co->osts_per_host);
	if ((kinds & NEMESIS_SPACE) != 0) {
		co->space_short = true;
		/* An OST takes new objects while it has a MiB. */
		co->ost_capacity_bytes = MIB + prng_below(&rng, 256) * KIB;
		co->host_count = 1;
	}
	if ((kinds & NEMESIS_SPACE_MDT) != 0) {
		co->space_short = true;
		co->mdt_capacity_bytes = MDT_CAPACITY_MIN + prng_below(&rng, 200) * KIB;
	}
	co->disk_errors = (kinds & NEMESIS_DISK_ERRORS) != 0;
}

static void workers_make(struct run *r, const struct run_options *opt, struct prng *rng)
{
	struct cluster *c = r->cluster;
	unsigned count = c->client_count + (unsigned)prng_below(rng, 3);

	for (unsigned i = 0; i < count; i++) {
		unsigned ops = opt->ops != 0 ? opt->ops : (unsigned)prng_range(rng, 20, 150);

		r->workers[r->worker_count++] =
			worker_new(&c->clients[i % c->client_count], i, ops);
		if (c->opt.ost_capacity_bytes != 0) {
			r->workers[i]->profile.data_percent = 80;
			r->workers[i]->profile.big_percent = 70;
			r->workers[i]->ops_left *= 4;
		}
	}
}

static bool all_idle(void *ctx)
{
	struct run *r = ctx;

	for (unsigned i = 0; i < r->worker_count; i++) {
		if (!r->workers[i]->idle) {
			return false;
		}
	}
	for (unsigned i = 0; r->applog != NULL && i < r->applog->writer_count; i++) {
		if (!r->applog->writers[i].idle) {
			return false;
		}
	}
	for (unsigned i = 0; i < r->actor_count; i++) {
		if (!r->actors[i]->idle) {
			return false;
		}
	}
	return true;
}

static bool time_up(void *ctx)
{
	struct run *r = ctx;

	return all_idle(ctx) || sim_now(r->cluster->sim) > r->start_ns + SAFETY_NS;
}

static void safety(struct run *r)
{
	if (sim_run(r->cluster->sim, time_up, r, LIVENESS_NS) != 0) {
		cluster_fail(r->cluster, "the world stands still");
	}
	for (unsigned i = 0; i < r->worker_count; i++) {
		r->workers[i]->stop = true;
	}
	for (unsigned i = 0; r->applog != NULL && i < r->applog->writer_count; i++) {
		r->applog->writers[i].stop = true;
	}
	for (unsigned i = 0; i < r->actor_count; i++) {
		r->actors[i]->stop = true;
	}
	nemesis_stop(&r->nemesis);
}

static void settle_fiber(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->cluster->ctx;

	worker_settle(w);
	r->settled++;
}

static bool all_settled(void *ctx)
{
	struct run *r = ctx;

	return r->settled == r->worker_count;
}

static void compare_fiber(void *arg)
{
	struct cluster_client *cl = arg;
	struct run *r = cl->cluster->ctx;

	for (unsigned i = 0; i < r->worker_count; i++) {
		worker_compare(r->workers[i], cl->client, sim_node_name(cl->node));
	}
	if (r->applog != NULL) {
		applog_check(r->applog, cl->client);
	}
	if (r->names != NULL && cl->index == 0) {
		names_check(r->names, cl->client);
	}
	r->compared++;
}

static void liveness(struct run *r)
{
	struct cluster *c = r->cluster;

	if (!cluster_wait_ready(c, LIVENESS_NS)) {
		cluster_fail(c, "servers and clients do not come back");
	}
	if (sim_run(c->sim, all_idle, r, LIVENESS_NS) != 0) {
		cluster_fail(c, "operations do not end although nothing is wrong any more");
	}
	r->phase = PHASE_END;
	for (unsigned i = 0; i < r->worker_count; i++) {
		worker_spawn(r->workers[i], settle_fiber, r->workers[i]);
	}
	if (sim_run(c->sim, all_settled, r, LIVENESS_NS) != 0) {
		cluster_fail(c, "the file system does not settle");
	}
	for (unsigned i = 0; i < c->client_count; i++) {
		if (!cluster_run_on(
			    c, c->clients[i].node, compare_fiber, &c->clients[i], LIVENESS_NS)) {
			cluster_fail(c, "comparing does not end");
		}
	}
}

static bool after(void *ctx)
{
	const struct run *r = ctx;

	return sim_now(r->cluster->sim) >= r->cluster->quiet_until_ns;
}

static void checks(struct run *r)
{
	struct cluster *c = r->cluster;

	check_mds(c);
	c->quiet_until_ns = sim_now(c->sim) + ORPHANS_NS;
	if (sim_run(c->sim, after, r, ENV_FOREVER) != 0) {
		cluster_fail(c, "the world stands still");
	}
	check_mds(c);
	check_objects(c);
	if (!cluster_clients_stop(c, LIVENESS_NS)) {
		cluster_fail(c, "clients do not unmount");
	}
	if (!cluster_hosts_stop(c, LIVENESS_NS)) {
		cluster_fail(c, "servers do not stop");
	}
	for (unsigned i = 0; i < c->host_count; i++) {
		if (sim_node_heap_blocks(c->hosts[i]->node) != 0) {
			cluster_fail(c, "%s: %zu blocks of memory are left",
				sim_node_name(c->hosts[i]->node),
				sim_node_heap_blocks(c->hosts[i]->node));
		}
	}
	for (unsigned i = 0; i < c->client_count; i++) {
		if (sim_node_heap_blocks(c->clients[i].node) != 0) {
			cluster_fail(c, "client%u: %zu blocks of memory are left", i,
				sim_node_heap_blocks(c->clients[i].node));
		}
	}
}

static void result_fill(const struct run *r, struct run_result *ret)
{
	const struct cluster *c = r->cluster;

	memset(ret, 0, sizeof(*ret));
	ret->stats = *sim_stats(c->sim);
	ret->hash = sim_log_hash(c->sim);
	ret->virtual_ns = sim_now(c->sim);
	ret->kinds = r->nemesis.kinds;
	ret->osts = c->ost_count;
	ret->clients = c->client_count;
	ret->workers = r->worker_count;
	ret->crashes = c->crashes;
	ret->ordered = c->orders_checked;
	for (unsigned i = 0; i < r->worker_count; i++) {
		ret->ops += r->workers[i]->ops_done;
		ret->resyncs += r->workers[i]->resyncs;
		ret->ops_lost += r->workers[i]->ops_lost;
		ret->lost_writes += r->workers[i]->lost_writes;
		ret->nospace += r->workers[i]->nospace;
	}
}

static struct run *run_new(const struct cluster_options *co)
{
	struct run *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		abort();
	}
	r->cluster = cluster_new(co);
	r->cluster->ctx = r;
	r->cluster->on_mount = on_mount;
	r->cluster->on_client_death = on_death;
	return r;
}

static void run_free(struct run *r)
{
	for (unsigned i = 0; i < r->worker_count; i++) {
		worker_free(r->workers[i]);
	}
	applog_free(r->applog);
	names_free(r->names);
	cluster_free(r->cluster);
	free(r);
}

/* From numbers of their own: other seeds keep their meaning. */
static void actors_make(struct run *r)
{
	struct prng rng;

	prng_init(&rng, r->cluster->opt.seed ^ UINT64_C(0x6163746f7273));
	if (prng_chance(&rng, 1, 3)) {
		r->names = names_new(r->cluster);
		r->actor_count += names_actors(
			r->names, r->actors + r->actor_count, ACTORS_MAX - r->actor_count);
	}
}

void run_seed(const struct run_options *opt, struct run_result *ret_result)
{
	struct cluster_options co;
	struct prng rng;
	unsigned kinds;
	struct run *r;

	prng_init(&rng, opt->seed);
	kinds = nemesis_draw(&rng, opt->seed) & opt->kinds;
	cluster_draw(opt, &co, kinds);
	r = run_new(&co);
	workers_make(r, opt, &rng);
	r->applog = prng_chance(&rng, 1, 2) ? applog_new(r->cluster) : NULL;
	actors_make(r);
	cluster_start(r->cluster);
	if (!cluster_wait_ready(r->cluster, READY_NS)) {
		cluster_fail(r->cluster, "the cluster does not start");
	}
	r->start_ns = sim_now(r->cluster->sim);
	nemesis_start(&r->nemesis, r->cluster, kinds);
	safety(r);
	liveness(r);
	checks(r);
	result_fill(r, ret_result);
	run_free(r);
}

/* ---- a crash at every step of a fixed scenario ---- */

/* Node 1 is the worker's directory; the others are numbered as they are made. */
static const struct op scenario[] = {
	{.kind = OP_MKDIR, .id = 1, .name = 0, .mode = S_IFDIR | 0755},
	{.kind = OP_CREATE,
		.id = 2,
		.name = 1,
		.mode = S_IFREG | 0644,
		.flags = O_CREAT | O_EXCL | O_RDWR},
	{.kind = OP_WRITE, .handle = 0, .len = 1000, .pattern = 11},
	{.kind = OP_FSYNC, .handle = 0},
	{.kind = OP_WRITE, .handle = 0, .off = 3000, .len = 9000, .pattern = 12},
	{.kind = OP_WRITE, .handle = 0, .off = 60000, .len = 80000, .pattern = 13},
	{.kind = OP_RENAME, .id = 2, .name = 1, .id2 = 1, .name2 = 2},
	{.kind = OP_READ, .handle = 0, .len = 200000},
	{.kind = OP_UNLINK, .id = 1, .name = 2},
	{.kind = OP_WRITE, .handle = 0, .off = 500, .len = 700, .pattern = 14},
	{.kind = OP_READ, .handle = 0, .len = 200000},
	{.kind = OP_CLOSE, .handle = 0},
	{.kind = OP_CREATE, .id = 1, .name = 3, .mode = S_IFREG | 0644, .flags = O_CREAT | O_RDWR},
	{.kind = OP_WRITE, .handle = 0, .len = 150000, .pattern = 15},
	{.kind = OP_SETATTR, .id = 4, .valid = CLIENT_SET_SIZE, .len = 70000},
	{.kind = OP_FSYNC, .handle = 0},
	{.kind = OP_SETATTR, .id = 4, .valid = CLIENT_SET_SIZE, .len = 120000},
	{.kind = OP_READ, .handle = 0, .len = 200000},
	{.kind = OP_LINK, .id = 2, .id2 = 4, .name = 4},
	{.kind = OP_SETXATTR, .id = 4, .name = 0, .len = 100, .pattern = 16},
	{.kind = OP_CREATE,
		.handle = 1,
		.id = 1,
		.name = 3,
		.mode = S_IFREG | 0644,
		.flags = O_CREAT | O_RDWR | O_TRUNC},
	{.kind = OP_WRITE, .handle = 1, .off = 65000, .len = 1500, .pattern = 17},
	{.kind = OP_FSYNC, .handle = 1},
	{.kind = OP_CLOSE, .handle = 0},
	{.kind = OP_SYMLINK, .id = 2, .name = 5, .mode = S_IFLNK | 0777, .pattern = 18},
	{.kind = OP_CLOSE, .handle = 1},
	{.kind = OP_UNLINK, .id = 1, .name = 3},
	{.kind = OP_SYNC},
};

bool run_step(const struct step_options *opt, struct run_result *ret_result)
{
	struct cluster_options co = {.seed = opt->seed,
		.host_count = STEP_HOSTS - 1,
		.osts_per_host = 1,
		.client_count = 1,
		.trace = opt->trace};
	struct run *r = run_new(&co);
	struct cluster_host *h = r->cluster->hosts[opt->host];
	struct worker *w = worker_new(&r->cluster->clients[0], 0, ARRAY_SIZE(scenario));
	bool crashed;

	ASSERT(opt->host < STEP_HOSTS);
	w->script = scenario;
	w->profile.stripes = true;
	r->workers[r->worker_count++] = w;
	(void)snprintf(r->cluster->faults, sizeof(r->cluster->faults), "%s of host %u at step %llu",
		opt->kind == SIM_KILL ? "kill" : "power loss", opt->host,
		(unsigned long long)opt->step);
	cluster_start(r->cluster);
	h->armed = opt->kind;
	sim_crash_at(h->node, opt->step, opt->kind);
	if (sim_run(r->cluster->sim, all_idle, r, LIVENESS_NS) != 0) {
		cluster_fail(r->cluster, "operations do not end");
	}
	crashed = sim_crashes(h->node) > 0;
	sim_crash_at(h->node, 0, opt->kind);
	liveness(r);
	checks(r);
	result_fill(r, ret_result);
	run_free(r);
	return crashed;
}
