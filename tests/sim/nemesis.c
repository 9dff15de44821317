/* See nemesis.h. */
#include "nemesis.h"

#include <stdio.h>
#include <string.h>

#include "daemon/super.h"

/* Shorter than what a worker waits after a client's death for its last requests (WORKER_QUIET_NS). */
#define PAUSE_NS_MAX (6 * NS_PER_S)

/* Data of an object begins here. */
#define OBJECT_HEADER_BYTES 4096

#define CRASHES (NEMESIS_KILL_MDT | NEMESIS_POWER_MDT | NEMESIS_KILL_OST | NEMESIS_POWER_OST)

static const char *const names[NEMESIS_KINDS] = {"kill-mdt", "power-mdt", "kill-ost", "power-ost",
	"crash-client", "suspend", "partition", "reset", "slow", "messages", "space", "clock",
	"error-mdt", "error-ost", "space-mdt", "corrupt"};

const char *nemesis_text(unsigned kinds, char *buf, size_t cap)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < NEMESIS_KINDS; i++) {
		if ((kinds >> i & 1) != 0) {
			len += (size_t)snprintf(
				buf + len, cap - len, "%s%s", len > 0 ? "," : "", names[i]);
		}
	}
	return len == 0 ? "none" : buf;
}

/* Of later versions: from numbers of their own. */
static unsigned new_draw(uint64_t seed)
{
	struct prng rng;
	unsigned kinds = 0;

	prng_init(&rng, seed ^ UINT64_C(0x6e65776b696e6473));
	kinds |= prng_chance(&rng, 1, 5) ? NEMESIS_CLOCK : 0;
	kinds |= prng_chance(&rng, 1, 8) ? NEMESIS_ERROR_MDT : 0;
	kinds |= prng_chance(&rng, 1, 8) ? NEMESIS_ERROR_OST : 0;
	kinds |= prng_chance(&rng, 1, 12) ? NEMESIS_SPACE_MDT : 0;
	kinds |= prng_chance(&rng, 1, 12) ? NEMESIS_CORRUPT : 0;
	return kinds;
}

static unsigned old_draw(struct prng *rng)
{
	unsigned kinds = 0;

	for (unsigned i = 0; i < NEMESIS_OLD_KINDS; i++) {
		kinds |= prng_chance(rng, 2, 5) ? 1u << i : 0;
	}
	if (!prng_chance(rng, 1, 8)) {
		kinds &= ~(unsigned)NEMESIS_SPACE;
	}
	switch (prng_below(rng, 4)) {
	case 0:
		return kinds & (NEMESIS_MESSAGES | NEMESIS_SPACE);
	case 1:
		/* Nothing that loses memory: every answer must be exactly right. */
		return kinds &
			~(unsigned)(NEMESIS_POWER_MDT | NEMESIS_POWER_OST | NEMESIS_CRASH_CLIENT);
	default:
		return kinds;
	}
}

unsigned nemesis_draw(struct prng *rng, uint64_t seed)
{
	return old_draw(rng) | new_draw(seed);
}

void nemesis_options(struct nemesis *n, bool on)
{
	struct sim_options *live = sim_options_live(n->cluster->sim);
	struct sim_options calm;

	sim_options_default(&calm, 0);
	live->net = calm.net;
	live->disk.slow_ppm = 0;
	live->disk.switch_ppm = calm.disk.switch_ppm;
	if (!on) {
		return;
	}
	if ((n->kinds & NEMESIS_MESSAGES) != 0) {
		sim_options_faults(live);
		live->net.segment_bytes_max = 1u << prng_range(&n->rng, 12, 16);
		live->net.lose_ppm = (uint32_t)prng_below(&n->rng, 1000);
		live->net.break_ppm = (uint32_t)prng_below(&n->rng, 4000);
		live->net.delay_ppm = (uint32_t)prng_below(&n->rng, 4000);
	}
	live->disk.slow_ppm = (n->kinds & NEMESIS_SLOW) != 0 ? 1000 : 0;
	/* A quarter of the time until a dead peer is noticed: runs get further. */
	live->net.detect_ns_max = 5 * NS_PER_S;
}

static struct cluster_host *ost_host(struct nemesis *n)
{
	return n->cluster->hosts[1 + prng_below(&n->rng, n->cluster->host_count - 1)];
}

static struct cluster_host *any_host(struct nemesis *n)
{
	return n->cluster->hosts[prng_below(&n->rng, n->cluster->host_count)];
}

static struct cluster_client *any_client(struct nemesis *n)
{
	return &n->cluster->clients[prng_below(&n->rng, n->cluster->client_count)];
}

static struct sim_node *any_node(struct nemesis *n)
{
	return prng_chance(&n->rng, 1, 2) ? any_host(n)->node : any_client(n)->node;
}

static uint64_t down_ns(struct nemesis *n)
{
	return 1 + prng_below(&n->rng, prng_chance(&n->rng, 1, 4) ? 8 * NS_PER_S : 200 * NS_PER_MS);
}

/* ---- pauses ---- */

static void host_resume(void *ctx)
{
	struct cluster_host *h = ctx;

	if (h->suspended && sim_node_is_up(h->node)) {
		sim_node_resume(h->node);
	}
	h->suspended = false;
}

static void client_resume(void *ctx)
{
	struct cluster_client *cl = ctx;

	if (cl->suspended && sim_node_is_up(cl->node)) {
		sim_node_resume(cl->node);
	}
	cl->suspended = false;
}

static void suspend(struct nemesis *n)
{
	struct sim *sim = n->cluster->sim;
	uint64_t ns = 1 + prng_below(&n->rng, PAUSE_NS_MAX);
	enum sim_pause how = prng_chance(&n->rng, 1, 3) ? SIM_PAUSE_SLEEP : SIM_PAUSE_STOP;

	if (prng_chance(&n->rng, 2, 3)) {
		struct cluster_host *h = any_host(n);

		if (sim_node_is_up(h->node) && !h->suspended) {
			h->suspended = true;
			sim_node_suspend(h->node, how);
			sim_after(sim, ns, host_resume, h);
		}
	} else {
		struct cluster_client *cl = any_client(n);

		if (sim_node_is_up(cl->node) && !cl->suspended) {
			cl->suspended = true;
			sim_node_suspend(cl->node, how);
			sim_after(sim, ns, client_resume, cl);
		}
	}
}

/* ---- network ---- */

static void heal(void *ctx)
{
	struct nemesis *n = ctx;

	sim_partition_heal(n->cluster->sim);
}

static void partition(struct nemesis *n)
{
	struct sim_node *a = any_node(n);
	struct sim_node *b = any_host(n)->node;

	if (a == b) {
		return;
	}
	sim_partition(n->cluster->sim, a, b, true);
	if (prng_chance(&n->rng, 2, 3)) {
		sim_partition(n->cluster->sim, b, a, true);
	}
	sim_after(n->cluster->sim, 1 + prng_below(&n->rng, PAUSE_NS_MAX), heal, n);
}

static void slow(struct nemesis *n)
{
	struct cluster_host *h = any_host(n);

	sim_disk_slow_set(
		h->node, prng_chance(&n->rng, 1, 2) ? 1 : 1 + (unsigned)prng_below(&n->rng, 30));
}

/* ---- disks and clocks ---- */

/* One of the next operations fails, once. */
static void disk_fail(struct nemesis *n, struct cluster_host *h)
{
	static const enum sim_disk_op ops[] = {
		SIM_DISK_SYNC, SIM_DISK_SYNC, SIM_DISK_WRITE, SIM_DISK_READ, SIM_DISK_NAMES};

	for (unsigned op = 0; op < SIM_DISK_OPS; op++) {
		sim_disk_fail(h->node, (enum sim_disk_op)op, 0, NE_IO);
	}
	sim_disk_fail(h->node, ops[prng_below(&n->rng, ARRAY_SIZE(ops))],
		1 + prng_below(&n->rng, prng_chance(&n->rng, 1, 2) ? 4 : 40), NE_IO);
}

/* Only what has a checksum, and more than one copy or a way to try again: data at rest has none. */
static void corrupt(struct nemesis *n)
{
	uint64_t nth = 1 + prng_below(&n->rng, 6);

	if (prng_chance(&n->rng, 1, 4)) {
		sim_disk_corrupt_read(any_host(n)->node, "/" SUPER_FILE, UINT64_MAX, nth);
	} else {
		sim_disk_corrupt_read(ost_host(n)->node, "/objects/", OBJECT_HEADER_BYTES, nth);
	}
}

static void clock_set(struct nemesis *n)
{
	uint64_t max = prng_chance(&n->rng, 1, 4) ? 7200 * NS_PER_S : 5 * NS_PER_S;
	int64_t delta = (int64_t)prng_below(&n->rng, 2 * max) - (int64_t)max;

	sim_node_clock_set(any_node(n), delta);
}

/* ---- actions ---- */

/* Now, or in the middle of one of the next things it does. */
static void host_crash(struct nemesis *n, struct cluster_host *h, enum sim_crash kind)
{
	if (prng_chance(&n->rng, 1, 4)) {
		h->armed = kind;
		sim_crash_at_point(h->node, (enum sim_point)prng_below(&n->rng, SIM_POINTS), kind);
	} else if (prng_chance(&n->rng, 1, 2)) {
		h->armed = kind;
		sim_crash_at(h->node, 1 + prng_below(&n->rng, 300), kind);
	} else {
		cluster_host_crash(h, kind, down_ns(n));
	}
}

static void act(struct nemesis *n, unsigned kind)
{
	struct cluster *c = n->cluster;
	struct sim_node *a;
	struct sim_node *b;

	switch (kind) {
	case NEMESIS_KILL_MDT:
		host_crash(n, c->hosts[0], SIM_KILL);
		return;
	case NEMESIS_POWER_MDT:
		host_crash(n, c->hosts[0], SIM_POWER_LOSS);
		return;
	case NEMESIS_KILL_OST:
		host_crash(n, ost_host(n), SIM_KILL);
		return;
	case NEMESIS_POWER_OST:
		host_crash(n, ost_host(n), SIM_POWER_LOSS);
		return;
	case NEMESIS_CRASH_CLIENT:
		cluster_client_crash(any_client(n),
			prng_chance(&n->rng, 1, 2) ? SIM_KILL : SIM_POWER_LOSS, down_ns(n));
		return;
	case NEMESIS_SUSPEND:
		suspend(n);
		return;
	case NEMESIS_PARTITION:
		partition(n);
		return;
	case NEMESIS_RESET:
		a = any_node(n);
		b = any_host(n)->node;
		if (a != b) {
			sim_net_reset(c->sim, a, b);
		}
		return;
	case NEMESIS_SLOW:
		slow(n);
		return;
	case NEMESIS_CLOCK:
		clock_set(n);
		return;
	case NEMESIS_ERROR_MDT:
		disk_fail(n, c->hosts[0]);
		return;
	case NEMESIS_ERROR_OST:
		disk_fail(n, ost_host(n));
		return;
	case NEMESIS_CORRUPT:
		corrupt(n);
		return;
	default:
		return;
	}
}

static void tick(void *ctx)
{
	struct nemesis *n = ctx;
	uint64_t gap_ns = n->gap_ns;
	unsigned kind;

	if (n->stopped) {
		return;
	}
	do {
		kind = 1u << prng_below(&n->rng, NEMESIS_KINDS);
	} while ((n->kinds & kind) == 0);
	n->actions++;
	act(n, kind);
	/* A server that comes back needs a while until anything moves on. */
	if ((kind & CRASHES) != 0) {
		gap_ns += prng_below(&n->rng, 3) * NS_PER_S;
	}
	sim_after(n->cluster->sim, 1 + prng_below(&n->rng, 2 * gap_ns), tick, n);
}

void nemesis_start(struct nemesis *n, struct cluster *c, unsigned kinds)
{
	memset(n, 0, sizeof(*n));
	n->cluster = c;
	n->kinds = kinds;
	prng_init(&n->rng, c->opt.seed ^ UINT64_C(0x6e656d65736973));
	n->gap_ns = prng_range(&n->rng, 3, 60) * NS_PER_MS;
	(void)nemesis_text(kinds, c->faults, sizeof(c->faults));
	nemesis_options(n, true);
	if (kinds == 0) {
		return;
	}
	sim_after(c->sim, 1 + prng_below(&n->rng, 2 * n->gap_ns), tick, n);
}

void nemesis_stop(struct nemesis *n)
{
	n->stopped = true;
	for (unsigned i = 0; i < n->cluster->host_count; i++) {
		sim_crash_at(n->cluster->hosts[i]->node, 0, SIM_KILL);
	}
	nemesis_options(n, false);
	cluster_heal(n->cluster);
}
