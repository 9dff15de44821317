/*
 * One simulated node: clocks, lives, crash points, suspension.
 *
 * A node's monotonic clock: boot_mono + e + e * drift / 2^20, e = true time since boot less what it slept.
 * It is monotone because |drift| < 2^20. Boottime is the same without subtracting sleep. After power loss
 * both begin anew, as a host's do.
 *
 * A crash asked for by one of the node's own fibers parks that fiber and is carried out by the loop: a
 * fiber's stack cannot be recycled while it runs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "env/sim/sim_int.h"

#define DRIFT_SHIFT 20
/* Times (52 days) times drifts (1000 ppm) fit 63 bits. */
#define CLOCK_NS_MAX (UINT64_C(1) << 52)
#define DRIFT_PPM_MAX 1000
#define REALTIME_START (INT64_C(1767225600) * (int64_t)NS_PER_S) /* 2026-01-01 UTC */

/* ---- clocks ---- */

static uint64_t clock_local(const struct sim_node *node, uint64_t elapsed)
{
	return node->boot_mono_ns + elapsed +
		(uint64_t)(((int64_t)elapsed * node->drift) >> DRIFT_SHIFT);
}

static uint64_t clock_awake(const struct sim_node *node, uint64_t now)
{
	return (node->asleep ? node->sleep_since_ns : now) - node->slept_ns - node->boot_ns;
}

uint64_t sim_node_mono(const struct sim_node *node)
{
	return clock_local(node, clock_awake(node, node->sim->now));
}

uint64_t sim_node_boottime(const struct sim_node *node)
{
	return clock_local(node, node->sim->now - node->boot_ns);
}

int64_t sim_node_realtime(const struct sim_node *node)
{
	uint64_t elapsed = node->sim->now;

	return REALTIME_START + node->real_offset_ns + (int64_t)elapsed +
		(((int64_t)elapsed * node->drift) >> DRIFT_SHIFT);
}

/* The first true time at which the monotonic clock shows at least `local`, if the node stays awake. */
static uint64_t clock_true(const struct sim_node *node, uint64_t local)
{
	uint64_t target;
	uint64_t elapsed;

	if (local <= node->boot_mono_ns) {
		return node->sim->now;
	}
	target = local - node->boot_mono_ns;
	if (target > CLOCK_NS_MAX) {
		return ENV_FOREVER; /* after the end of every world */
	}
	elapsed = target - (uint64_t)(((int64_t)target * node->drift) >> DRIFT_SHIFT);
	while (clock_local(node, elapsed) < local) {
		elapsed += u64_max(1, local - clock_local(node, elapsed));
	}
	return u64_max(node->sim->now, node->boot_ns + node->slept_ns + elapsed);
}

void sim_node_deadline_update(struct sim_node *node)
{
	uint64_t local = fiber_deadline_next(&node->env.sched);

	if (local == node->deadline_local) {
		return;
	}
	node->deadline_local = local;
	node->deadline_ns = local == ENV_FOREVER ? ENV_FOREVER : clock_true(node, local);
}

static void clock_boot(struct sim_node *node)
{
	node->boot_ns = node->sim->now;
	node->boot_mono_ns = prng_range(&node->fault_rng, NS_PER_S, 100 * NS_PER_S);
	node->slept_ns = 0;
	node->asleep = false;
	for (unsigned i = 0; i < 32; i++) {
		node->env.boot_id[i] = "0123456789abcdef"[prng_below(&node->fault_rng, 16)];
	}
	node->env.boot_id[32] = '\0';
}

/* ---- making ---- */

/* The ready fiber to run next: any of the first few, the head at last. */
static struct fiber *node_pick(struct fiber_sched *sched, void *ctx)
{
	struct sim_node *node = ctx;
	struct list *entry = sched->ready.next;
	struct fiber *head = list_entry(entry, struct fiber, link);
	uint64_t i = 0;

	if (head != node->head) {
		node->head = head;
		node->head_skips = 0;
	}
	if (sched->ready_count > 1 && node->head_skips < SIM_SKIPS_MAX) {
		i = prng_below(&node->sim->sched_rng, u64_min(sched->ready_count, SIM_PICK_WINDOW));
	}
	if (i == 0) {
		node->head = NULL;
		return head;
	}
	node->head_skips++;
	node->sim->stats.faults[SIM_FAULT_OVERTAKE]++;
	while (i-- > 0) {
		entry = entry->next;
	}
	return list_entry(entry, struct fiber, link);
}

struct sim_node *sim_node_new(struct sim *sim, const char *name)
{
	struct sim_node *node = sim_zalloc(sizeof(*node));
	uint64_t seed = hash_mix2(sim->opts.seed, hash_bytes(name, strlen(name)));
	uint64_t offset = (uint64_t)sim->opts.clock_offset_ns_max;

	ASSERT(sim->node_count < SIM_NODES_MAX);
	ASSERT(strlen(name) > 0 && strlen(name) <= SIM_NAME_MAX && strchr(name, ':') == NULL);
	ASSERT(sim->opts.time_ns_max < CLOCK_NS_MAX &&
		sim->opts.clock_drift_ppm_max <= DRIFT_PPM_MAX);
	node->sim = sim;
	node->index = sim->node_count++;
	sim->nodes[node->index] = node;
	memcpy(node->name, name, strlen(name) + 1);
	prng_init(&node->rng, seed);
	prng_init(&node->fault_rng, hash_mix2(seed, 1));
	node->env.ops = &sim_env_ops;
	fiber_sched_init(&node->env.sched, sim->pool, sim->opts.node_fibers_max);
	node->env.sched.pick = node_pick;
	node->env.sched.pick_ctx = node;
	node->heap = mem_scope_new();
	node->drift = (int64_t)prng_range(
			      &node->fault_rng, 0, 2 * (uint64_t)sim->opts.clock_drift_ppm_max) -
		(int64_t)sim->opts.clock_drift_ppm_max;
	node->drift = node->drift * (1 << DRIFT_SHIFT) / SIM_PPM;
	node->real_offset_ns =
		(int64_t)prng_range(&node->fault_rng, 0, 2 * offset) - (int64_t)offset;
	node->deadline_local = ENV_FOREVER;
	node->deadline_ns = ENV_FOREVER;
	node->disk = disk_new(hash_mix2(seed, 2), sim->opts.disk.capacity_bytes, node->index + 1);
	node->disk_factor = 1;
	node->crash_point = SIM_POINTS;
	disk_attach(node->disk, &sim->opts, &sim->stats);
	list_init(&node->files);
	list_init(&node->ends);
	list_init(&node->listeners);
	list_init(&node->jobs);
	node->port_next = 49152;
	return node;
}

void sim_node_free(struct sim_node *node)
{
	ASSERT(!node->up);
	fiber_sched_fini(&node->env.sched);
	mem_scope_free(node->heap);
	disk_free(node->disk);
	free(node);
}

struct env *sim_node_env(struct sim_node *node)
{
	return &node->env;
}

const char *sim_node_name(const struct sim_node *node)
{
	return node->name;
}

bool sim_node_is_up(const struct sim_node *node)
{
	return node->up;
}

bool sim_node_died(const struct sim_node *node)
{
	return node->died;
}

void sim_node_clock_set(struct sim_node *node, int64_t delta_ns)
{
	node->real_offset_ns += delta_ns;
	sim_fault(node, SIM_FAULT_CLOCK, NULL, (uint64_t)delta_ns);
}

bool sim_node_runs(const struct sim_node *node)
{
	return node->up && !node->stopped && !node->asleep;
}

size_t sim_node_fibers(const struct sim_node *node)
{
	return node->env.sched.count;
}

size_t sim_node_heap_blocks(const struct sim_node *node)
{
	return mem_scope_blocks(node->heap);
}

void sim_node_ids_set(struct sim_node *node, uint32_t uid, uint32_t gid)
{
	node->uid = uid;
	node->gid = gid;
}

void sim_node_on_crash(struct sim_node *node, sim_action_fn *fn, void *ctx)
{
	node->on_crash = fn;
	node->on_crash_ctx = ctx;
}

/* ---- life and death ---- */

void sim_node_start(struct sim_node *node, env_fiber_fn *fn, void *arg)
{
	int rc;

	ASSERT(!node->up);
	ASSERT(node->env.sched.count == 0);
	if (!node->powered) {
		clock_boot(node);
		node->powered = true;
	}
	node->up = true;
	node->died = false;
	node->life++;
	node->env.stopping = false;
	node->env.sched.now_ns = sim_node_mono(node);
	sim_log(node->sim, node, "start", node->env.boot_id, node->life, 0);
	rc = fiber_spawn(&node->env.sched, "main", fn, arg, NULL);
	ASSERT(rc == 0);
}

void sim_node_stop_ask(struct sim_node *node)
{
	node->env.stopping = true;
	sim_log(node->sim, node, "stop_ask", NULL, 0, 0);
}

static void node_doing_clear(struct sim_node *node)
{
	LIST_FOREACH (it, &node->env.sched.all) {
		const struct fiber *fiber = list_entry(it, struct fiber, all);

		node->sim->doing[fiber->slot] = (struct sim_doing){NULL, NULL, 0};
	}
}

void sim_node_crash_now(struct sim_node *node, enum sim_crash kind, const char *where)
{
	ASSERT(node->up);
	ASSERT(node->env.sched.current == NULL);
	sim_fault(node, kind == SIM_KILL ? SIM_FAULT_KILL : SIM_FAULT_POWER_LOSS, where,
		node->points);
	node->up = false;
	node->powered = kind == SIM_KILL;
	node->stopped = false;
	if (node->asleep) {
		sim_node_resume(node);
	}
	node->crash_due = false;
	node->crashes++;
	sim_jobs_crash(node);
	sim_net_node_crash(node, kind);
	sim_files_crash(node);
	node_doing_clear(node);
	fiber_sched_abandon(&node->env.sched);
	node->deadline_local = ENV_FOREVER;
	node->deadline_ns = ENV_FOREVER;
	node->head = NULL;
	mem_scope_clear(node->heap);
	disk_crash(node->disk, kind);
	if (node->on_crash != NULL) {
		sim_after(node->sim, 0, node->on_crash, node->on_crash_ctx);
	}
}

void sim_crash_here(struct sim_node *node, enum sim_crash kind, const char *where)
{
	ASSERT(node->env.sched.current != NULL);
	sim_log(node->sim, node, "crash_here", where, kind, node->points);
	node->crash_due = true;
	node->crash_kind = kind;
	fiber_park(&node->env.sched);
}

void sim_node_crash(struct sim_node *node, enum sim_crash kind)
{
	if (!node->up) {
		return;
	}
	if (node->env.sched.current != NULL) {
		sim_crash_here(node, kind, "asked");
	}
	sim_node_crash_now(node, kind, "asked");
}

/* ---- crash points ---- */

void sim_crash_at(struct sim_node *node, uint64_t k, enum sim_crash kind)
{
	node->crash_at = k == 0 ? 0 : node->points + k;
	node->crash_at_kind = kind;
	node->crash_point = SIM_POINTS;
}

void sim_crash_at_point(struct sim_node *node, enum sim_point point, enum sim_crash kind)
{
	ASSERT(point < SIM_POINTS);
	node->crash_at = 0;
	node->crash_at_kind = kind;
	node->crash_point = point;
}

uint64_t sim_crash_points(const struct sim_node *node)
{
	return node->points;
}

unsigned sim_crashes(const struct sim_node *node)
{
	return node->crashes;
}

bool sim_point_due(struct sim_node *node, enum sim_point point)
{
	struct sim_stats *stats = &node->sim->stats;

	node->points++;
	stats->passed[point]++;
	if (likely(node->points != node->crash_at && point != node->crash_point)) {
		return false;
	}
	node->crash_point = SIM_POINTS;
	stats->crashed[point]++;
	return true;
}

void sim_point_pass(struct sim_node *node, enum sim_point point)
{
	if (node->env.sched.current == NULL) {
		return; /* the test itself, not the process */
	}
	if (unlikely(sim_point_due(node, point))) {
		sim_crash_here(node, node->crash_at_kind, sim_point_name(point));
	}
}

void sim_node_turn(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct fiber_sched *sched = &node->env.sched;
	struct mem_scope *before;

	ASSERT(sched->ready_count > 0);
	sched->now_ns = sim_node_mono(node);
	if (unlikely(sim_point_due(node, SIM_POINT_TURN))) {
		sim_node_crash_now(node, node->crash_at_kind, "turn");
		return;
	}
	before = mem_scope_enter(node->heap);
	(void)fiber_step(sched);
	(void)mem_scope_enter(before);
	sim_log_mix(sim, sim->now, (uint64_t)node->index << 48 ^ node->points);
	sim->now += prng_range(&sim->sched_rng, 1, sim->opts.turn_ns_max);
	if (unlikely(node->crash_due)) {
		sim_node_crash_now(node, node->crash_kind, "here");
		return;
	}
	sim_node_deadline_update(node);
}

/* ---- suspension ---- */

void sim_node_suspend(struct sim_node *node, enum sim_pause how)
{
	if (!sim_node_runs(node)) {
		return;
	}
	if (how == SIM_PAUSE_SLEEP) {
		node->asleep = true;
		node->sleep_since_ns = node->sim->now;
	} else {
		node->stopped = true;
	}
	sim_fault(node, how == SIM_PAUSE_SLEEP ? SIM_FAULT_SLEEP : SIM_FAULT_STOP, NULL, 0);
}

/* ---- the operations that are the node's own ---- */

static uint64_t node_clock(struct env *env)
{
	return env_now(env);
}

static uint64_t node_boottime(struct env *env)
{
	return sim_node_boottime(sim_node_of(env));
}

static int64_t node_realtime(struct env *env)
{
	return sim_node_realtime(sim_node_of(env));
}

static uint64_t node_random(struct env *env)
{
	return prng_next(&sim_node_of(env)->rng);
}

static void node_random_bytes(struct env *env, void *buf, size_t len)
{
	prng_fill(&sim_node_of(env)->rng, buf, len);
}

_noreturn_ static void node_die(struct env *env, const char *why)
{
	struct sim_node *node = sim_node_of(env);

	log_error("sim", "node=%s dies: %s", node->name, why);
	sim_fault(node, SIM_FAULT_DIE, why, 0);
	node->died = true;
	sim_crash_here(node, SIM_KILL, why);
}

const struct env_ops sim_env_ops = {
	.clock = node_clock,
	.boottime = node_boottime,
	.realtime = node_realtime,
	.random = node_random,
	.random_bytes = node_random_bytes,
	.listen = sim_net_listen,
	.accept = sim_net_accept,
	.listener_close = sim_net_listener_close,
	.connect = sim_net_connect,
	.recv = sim_net_recv,
	.send = sim_net_send,
	.conn_peer = sim_net_conn_peer,
	.conn_shutdown = sim_net_conn_shutdown,
	.conn_close = sim_net_conn_close,
	.file_open = sim_file_open,
	.file_close = sim_file_close,
	.pread = sim_file_pread,
	.pread_cached = sim_file_pread_cached,
	.pread_direct = sim_file_pread,
	.pwrite = sim_file_pwrite,
	.fdatasync = sim_file_fdatasync,
	.ftruncate = sim_file_ftruncate,
	.fallocate = sim_file_fallocate,
	.seek = sim_file_seek,
	.fstat = sim_file_fstat,
	.file_utime = sim_file_utime,
	.file_forget = sim_file_forget,
	.file_lock = sim_file_lock,
	.syncfs = sim_file_syncfs,
	.mkdir = sim_path_mkdir,
	.unlink = sim_path_unlink,
	.rmdir = sim_path_rmdir,
	.rename = sim_path_rename,
	.fsync_dir = sim_path_fsync_dir,
	.stat = sim_path_stat,
	.statfs = sim_path_statfs,
	.readdir = sim_path_readdir,
	.job = sim_job_run,
	.user_groups = sim_user_groups,
	.die = node_die,
};
