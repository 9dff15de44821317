/*
 * The simulated world: many nodes in one thread, virtual time, everything decided by one seed.
 *
 * A `sim` holds nodes. Each node is a host with one process: an `env` to give to service cores, a disk that
 * survives crashes, clocks with an offset and a drift, and random numbers derived from the seed and the
 * node's name. sim_run drives them: it picks among the ready fibers of all nodes, delivers what the network
 * carries, and moves virtual time to the next thing that will happen. Nothing ever sleeps. The same seed,
 * options and calls give the same run, event for event (sim_log_hash proves it).
 *
 * Crash points. Every turn of a fiber and every file or network operation of a node is counted; a node can
 * be crashed at its k-th point (sim_crash_at), so a test enumerates k until a run ends unharmed. What
 * mem_alloc gave to a node is given back when it crashes; its fibers' stacks are recycled. (So the cores'
 * memory must come from mem_alloc: what libc allocated directly would be lost.)
 *
 * Faults have probabilities in parts per million, all 0 by default; sim_options_faults sets every ordinary
 * one. Tests change them while running through sim_options_live: faults during a safety phase, none during
 * a liveness phase. Not thread-safe.
 */
#ifndef NACRE_ENV_SIM_SIM_H
#define NACRE_ENV_SIM_SIM_H

#include <stdio.h>

#include "base/base.h"
#include "base/error.h"
#include "env/env.h"

struct sim;
struct sim_node;
struct sim_disk;

/* Streams "sim:node:port"; a connection behaves as TCP does, delays and breaks included. */
struct sim_net_options {
	uint64_t latency_ns_min; /* one way */
	uint64_t latency_ns_max;
	uint64_t bandwidth_bytes_per_s; /* of each direction of a connection */
	uint32_t buffer_bytes; /* sent and not yet read by the peer, per direction */
	uint32_t segment_bytes_max; /* a send is cut into random pieces up to this */
	uint32_t backlog; /* connections not yet accepted, per listener */
	uint64_t retransmit_ns_max; /* how long `delay` holds a segment and what follows */
	uint64_t connect_timeout_ns_max; /* until an unanswered connect gives up */
	uint64_t detect_ns_min; /* until a silent or unreachable peer is given up */
	uint64_t detect_ns_max;
	uint64_t late_ns_max; /* how much later what a broken connection had in flight arrives */
	uint32_t delay_ppm; /* per segment: lost and retransmitted */
	uint32_t lose_ppm; /* per segment: the path dies; reset at both ends after detect_ns */
	uint32_t break_ppm; /* per send: the connection is reset */
	uint32_t late_ppm; /* per broken connection: its segments in flight arrive late */
	uint32_t refuse_ppm; /* per connect */
	uint32_t connect_timeout_ppm;
	/* Not what TCP does, but what a hostile peer can send: for the robustness of codecs. Per segment. */
	uint32_t hostile_flip_ppm;
	uint32_t hostile_duplicate_ppm;
	uint32_t hostile_reorder_ppm;
};

struct sim_disk_options {
	uint64_t capacity_bytes; /* of disks made later; see sim_disk_capacity_set */
	uint64_t
		cached_ns_max; /* of an operation served from the page cache, when it waits at all */
	uint64_t sync_ns_min;
	uint64_t sync_ns_max;
	uint64_t slow_ns_max; /* of an operation hit by `slow` */
	uint32_t switch_ppm; /* per cached operation: it waits, so others run */
	uint32_t slow_ppm; /* per operation */
	uint32_t
		writeback_ppm; /* per write to a dirty page: the kernel had written the older content */
	uint32_t torn_ppm; /* per unsynced sector at power loss: garbage */
	/* Garbage may hit bytes of a torn sector that the write did not change. Off by default: then a
	 * record is safe from later appends to its sector ("powersafe overwrite", as SQLite assumes). */
	bool torn_neighbours;
	uint32_t read_error_ppm;
	uint32_t write_error_ppm;
	uint32_t sync_error_ppm;
	uint32_t nospace_ppm; /* per operation that may allocate */
};

struct sim_options {
	uint64_t seed;
	uint64_t time_ns_max; /* virtual end of the world: sim_run returns -NE_TIMEDOUT there */
	uint64_t turn_ns_max; /* virtual time one turn of a fiber takes: 1..max */
	uint64_t job_ns_max; /* until a helper job has run, and again until its caller knows */
	int64_t clock_offset_ns_max; /* of a node's realtime clock, either way */
	uint32_t clock_drift_ppm_max;
	unsigned fibers_max; /* of all nodes together */
	unsigned node_fibers_max; /* of one node */
	unsigned log_events; /* kept in the ring */
	bool trace; /* print events to stderr as they happen */
	bool quiet; /* print nothing when sim_run fails or the test aborts */
	struct sim_net_options net;
	struct sim_disk_options disk;
};

/* Sensible latencies, no faults. */
void sim_options_default(struct sim_options *opts, uint64_t seed);
/* Every ordinary fault (not the hostile ones, no disk errors) with probabilities a service must survive. */
void sim_options_faults(struct sim_options *opts);

/* Aborts when out of memory, as every function here does: it is a tool for tests. */
struct sim *sim_new(const struct sim_options *opts);
/* Ends every node as a kill would and frees everything. Accepts NULL. */
void sim_free(struct sim *sim);
struct sim_options *sim_options_live(struct sim *sim);
uint64_t sim_now(const struct sim *sim);
/* For the test's own decisions: a stream apart from those of nodes, network and scheduler. */
uint64_t sim_random(struct sim *sim);

typedef bool sim_until_fn(void *ctx);
typedef void sim_action_fn(void *ctx);
/* Drives the world until until(ctx) is true: 0. -NE_TIMEDOUT after max_ns (virtual, from now; ENV_FOREVER
 * for none), -NE_DEADLK when nothing can ever happen again; both print a dump. until NULL: runs until
 * nothing can happen any more, which then is 0. */
_check_ int sim_run(struct sim *sim, sim_until_fn *until, void *ctx, uint64_t max_ns);
/* Calls fn(ctx) after delay_ns, from the event loop: where tests crash, partition, restart. */
void sim_after(struct sim *sim, uint64_t delay_ns, sim_action_fn *fn, void *ctx);
/* Every fiber and what it waits for; connections. */
void sim_dump(struct sim *sim, FILE *out);

/* Where a node may be crashed. */
enum sim_point {
#define SIM_POINT(name, text) SIM_POINT_##name,
#include "env/sim/sim_stats.def"
#undef SIM_POINT
	SIM_POINTS,
};

/* ---- nodes ---- */

enum sim_crash {
	SIM_KILL, /* the process dies: what was written is in the kernel and stays, peers hear of it */
	SIM_POWER_LOSS, /* unsynced writes and directory operations are lost at random, peers hear nothing */
};

/* Makes a node with an empty disk; it runs nothing yet. `name` is copied. */
struct sim_node *sim_node_new(struct sim *sim, const char *name);
/* The same pointer in every life of the node. */
struct env *sim_node_env(struct sim_node *node);
const char *sim_node_name(const struct sim_node *node);
/* Starts the node's process with fn(arg) as its main fiber: first, or again after a crash. A new boot id
 * after power loss, the same after a kill. The node must not be up. */
void sim_node_start(struct sim_node *node, env_fiber_fn *fn, void *arg);
/* Ends the process. From a fiber of the node itself it does not return. Harmless if it is down. */
void sim_node_crash(struct sim_node *node, enum sim_crash kind);
bool sim_node_is_up(const struct sim_node *node);
/* Asks the process to stop: env_stopping becomes true. */
void sim_node_stop_ask(struct sim_node *node);
/* Fibers alive in the node: 0 means its main fiber and all others have ended. */
size_t sim_node_fibers(const struct sim_node *node);
/* Blocks that mem_alloc gave to this node's process and that it has not freed. */
size_t sim_node_heap_blocks(const struct sim_node *node);
/* Its last end was its own doing (env_die). */
bool sim_node_died(const struct sim_node *node);
/* Is called after each crash of the node, from the event loop; tests restart it from there or later. */
#define SIM_USERS_MAX 4
#define SIM_USER_GROUPS_MAX 8
/* What the user database of the node's host says of a user from now on; before, he is unknown. */
void sim_node_user_set(struct sim_node *node, uint32_t uid, const uint32_t *groups, unsigned count);
/* The database fails with this; NE_OK: it works again. */
void sim_node_users_fail(struct sim_node *node, enum ne_code code);
/* How often it was asked. */
uint64_t sim_node_users_asked(const struct sim_node *node);
void sim_node_on_crash(struct sim_node *node, sim_action_fn *fn, void *ctx);

enum sim_pause {
	SIM_PAUSE_STOP, /* SIGSTOP: all clocks go on, the kernel still receives */
	SIM_PAUSE_SLEEP, /* the host sleeps: its monotonic clock stands, its boottime goes on */
};

void sim_node_suspend(struct sim_node *node, enum sim_pause how);
void sim_node_resume(struct sim_node *node);
/* The realtime clock is set forward or back; the others go on. */
void sim_node_clock_set(struct sim_node *node, int64_t delta_ns);
/* What env_conn_peer says of this node to others (default 0, 0). */
void sim_node_ids_set(struct sim_node *node, uint32_t uid, uint32_t gid);

/* Crashes the node at the k-th crash point from now (1 = the next); 0 disarms. */
void sim_crash_at(struct sim_node *node, uint64_t k, enum sim_crash kind);
/* Crashes the node at its next crash point of this sort; sim_crash_at with 0 disarms. */
void sim_crash_at_point(struct sim_node *node, enum sim_point point, enum sim_crash kind);
/* Crash points the node has passed, over all its lives. */
uint64_t sim_crash_points(const struct sim_node *node);
unsigned sim_crashes(const struct sim_node *node);

/* ---- network ---- */

/* While on, nothing that a sends reaches b (the other direction is not touched). */
void sim_partition(struct sim *sim, struct sim_node *a, struct sim_node *b, bool on);
/* Ends every partition. */
void sim_partition_heal(struct sim *sim);
/* Resets every connection between two nodes as a middle box does. */
void sim_net_reset(struct sim *sim, struct sim_node *a, struct sim_node *b);

/* ---- disks ---- */

/* A copy of the node's disk, unsynced state included; give it to a node or free it. */
struct sim_disk *sim_disk_clone(const struct sim_node *node);
/* Replaces the disk of a node that is not up; takes the disk. */
void sim_node_disk_set(struct sim_node *node, struct sim_disk *disk);
void sim_disk_free(struct sim_disk *disk);
void sim_disk_capacity_set(struct sim_node *node, uint64_t bytes);
/* Every operation of this node takes its time times this (1 = normal). */
void sim_disk_slow_set(struct sim_node *node, unsigned factor);
/* Flips one bit of the byte at off, on the medium and in the cache. -NE_NOENT, -NE_INVAL past the end. */
_check_ int sim_disk_flip(struct sim_node *node, const char *path, uint64_t off);
/* Reads or writes a whole file behind the process's back (write: durable at once; makes the file, not its
 * directory). For tests. Read: at most cap bytes, returns the size or a negative code. */
int64_t sim_disk_peek(struct sim_node *node, const char *path, void *buf, size_t cap);
_check_ int sim_disk_poke(struct sim_node *node, const char *path, const void *buf, size_t len);

enum sim_disk_op {
	SIM_DISK_READ,
	SIM_DISK_WRITE,
	SIM_DISK_SYNC, /* fdatasync, syncfs */
	SIM_DISK_ALLOCATE, /* fallocate */
	SIM_DISK_NAMES, /* create, mkdir, unlink, rmdir, rename, fsync_dir */
	SIM_DISK_OPS,
};

/* The nth operation of this kind from now (1 = the next) fails with -code; 0 disarms. */
void sim_disk_fail(struct sim_node *node, enum sim_disk_op op, uint64_t nth, enum ne_code code);

/* The nth read from now below offset `end` of a file with `part` (a literal) in its path returns one bit flipped; the medium is right. 0 disarms. */
void sim_disk_corrupt_read(struct sim_node *node, const char *part, uint64_t end, uint64_t nth);

/* ---- what happened ---- */

enum sim_fault {
#define SIM_FAULT(name, group, text) SIM_FAULT_##name,
#include "env/sim/sim_stats.def"
#undef SIM_FAULT
	SIM_FAULTS,
};

enum sim_group {
	SIM_GROUP_NODE = 1, /* crashes, suspensions, jobs */
	SIM_GROUP_NET = 2, /* what TCP and hosts do */
	SIM_GROUP_HOSTILE = 4, /* what only an attacker does */
	SIM_GROUP_DISK = 8, /* lost, torn, reordered; slow */
	SIM_GROUP_ERROR = 16, /* disk errors that are reported */
	SIM_GROUP_ROT = 64, /* what only checksums of data at rest notice */
	SIM_GROUP_PASSED = 128, /* every crash point that was passed was hit by a crash */
	SIM_GROUP_POINTS = 32, /* every crash point was hit by a crash */
};

struct sim_stats {
	uint64_t faults[SIM_FAULTS];
	uint64_t passed[SIM_POINTS];
	uint64_t crashed[SIM_POINTS];
	uint64_t events; /* fiber turns, deliveries, timers, actions */
	uint64_t runs; /* worlds summed up here */
};

const struct sim_stats *sim_stats(const struct sim *sim);
/* Sums up over many worlds. */
void sim_stats_add(struct sim_stats *sum, const struct sim_stats *more);
void sim_stats_print(const struct sim_stats *stats, FILE *out);
/* How many counters of these groups (enum sim_group, or-ed) are 0; each is named on out (may be NULL). */
unsigned sim_stats_check_all_fired(const struct sim_stats *stats, unsigned groups, FILE *out);

/* A hash over every event so far: equal for equal runs. */
uint64_t sim_log_hash(const struct sim *sim);
/* The last events, one line each. */
void sim_log_print(const struct sim *sim, FILE *out);
/* Adds a line of the test's own to the event log. */
void sim_note(struct sim *sim, const char *fmt, ...) _printf_(2, 3);

#endif
