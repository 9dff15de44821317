/*
 * What the files of the simulated world share: the world, its nodes, events, crash points, faults.
 *
 * Time: sim->now is the one true time. A node's clocks are functions of it (sim_node.c); deadlines of its
 * fibers are on its own clock. Things that are not fibers (deliveries, resets, jobs, the test's actions)
 * are timers in sim->events on the true time; what a node owns is on one of its lists and is cancelled when
 * it crashes.
 */
#ifndef NACRE_ENV_SIM_SIM_INT_H
#define NACRE_ENV_SIM_SIM_INT_H

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "env/env_int.h"
#include "env/sim/sim.h"
#include "env/sim/sim_disk.h"

#define SIM_NODES_MAX 64
#define SIM_NAME_MAX 31
/* A ready fiber is passed over at most this often, a node with ready fibers too. */
#define SIM_SKIPS_MAX 24
/* Streams between two ends are cut at random within the first ready fibers. */
#define SIM_PICK_WINDOW 8
#define SIM_PPM 1000000
/* Events printed when a run fails; sim_log_print gives all that are kept. */
#define SIM_FAILED_EVENTS 200

struct sim_event {
	uint64_t at_ns;
	uint64_t a;
	uint64_t b;
	const char *what; /* a literal */
	uint32_t fiber; /* id, 0: none */
	int16_t node; /* index, -1: none */
	char fiber_name[18];
	char text[64];
};

/* What a fiber waits for inside of an operation; by slot of the pool. */
struct sim_doing {
	const char *op;
	const char *what;
	uint64_t since_ns;
};

struct sim {
	struct sim_options opts;
	struct sim_stats stats;
	uint64_t now;
	uint64_t end_ns;
	struct prng sched_rng;
	struct prng net_rng;
	struct prng test_rng;
	struct fiber_pool *pool;
	struct timer_heap events;
	struct list actions; /* struct sim_action */
	struct sim_doing *doing;
	struct sim_node *nodes[SIM_NODES_MAX];
	unsigned node_count;
	bool blocked[SIM_NODES_MAX][SIM_NODES_MAX]; /* [from][to] */
	struct list streams; /* every connection, for dumps and partitions */
	uint64_t stream_next;
	struct sim_event *log;
	unsigned log_cap;
	uint64_t log_count;
	uint64_t log_hash;
};

struct sim_user {
	uint32_t uid;
	unsigned count;
	uint32_t groups[SIM_USER_GROUPS_MAX];
};

struct sim_disk_fail {
	uint64_t left;
	enum ne_code code;
};

struct sim_node {
	struct env env;
	struct sim *sim;
	unsigned index;
	char name[SIM_NAME_MAX + 1];
	uint32_t uid;
	uint32_t gid;
	bool up; /* its process runs */
	bool powered; /* its host answers */
	bool stopped;
	bool asleep;
	bool died; /* the last end was env_die */
	bool crash_due; /* asked for by one of its own fibers */
	enum sim_crash crash_kind;
	unsigned crashes;
	unsigned life; /* counts starts */
	struct prng rng;
	struct prng fault_rng;
	struct mem_scope *heap;
	sim_action_fn *on_crash;
	void *on_crash_ctx;

	uint64_t boot_ns; /* true time of the last boot */
	uint64_t boot_mono_ns;
	uint64_t slept_ns; /* since boot */
	uint64_t sleep_since_ns;
	int64_t drift; /* in 2^-20 */
	int64_t real_offset_ns;
	uint64_t deadline_local; /* the scheduler's next deadline, and when that is */
	uint64_t deadline_ns;

	unsigned skips; /* turns others got while this node was ready */
	unsigned head_skips;
	const struct fiber *head;

	uint64_t points;
	uint64_t crash_at; /* 0: never */
	enum sim_crash crash_at_kind;
	unsigned crash_point; /* SIM_POINTS: none */

	struct sim_disk *disk;
	unsigned disk_factor;
	struct sim_disk_fail disk_fail[SIM_DISK_OPS];
	const char *corrupt_part;
	uint64_t corrupt_end;
	uint64_t corrupt_left; /* 0: none */
	struct list files; /* struct sim_file */

	struct list ends; /* struct sim_end */
	struct list listeners; /* struct sim_listener */
	uint32_t port_next;

	struct list jobs; /* struct sim_job */

	struct sim_user users[SIM_USERS_MAX];
	unsigned user_count;
	enum ne_code users_fail;
	uint64_t users_asked;
};

/* ---- memory of the simulator itself: never in a node's scope, never NULL ---- */

void *sim_alloc(size_t size);
void *sim_zalloc(size_t size);
void *sim_realloc(void *ptr, size_t size);
char *sim_strdup(const char *text);

static inline bool sim_chance(struct prng *rng, uint32_t ppm)
{
	return ppm != 0 && prng_below(rng, SIM_PPM) < ppm;
}

/* ---- nodes ---- */

static inline struct sim_node *sim_node_of(struct env *env)
{
	return container_of(env, struct sim_node, env);
}

/* The node's monotonic clock now. */
uint64_t sim_node_mono(const struct sim_node *node);
uint64_t sim_node_boottime(const struct sim_node *node);
int64_t sim_node_realtime(const struct sim_node *node);
/* Brings deadline_ns up to date with the scheduler. */
void sim_node_deadline_update(struct sim_node *node);
/* May its fibers and jobs run? */
bool sim_node_runs(const struct sim_node *node);
/* Runs one turn of one of its fibers; from the loop. */
void sim_node_turn(struct sim_node *node);
/* Carries out a crash; from the loop, or from another node's fiber. */
void sim_node_crash_now(struct sim_node *node, enum sim_crash kind, const char *where);
void sim_node_free(struct sim_node *node);
/* Passes a crash point; does not return if the node crashes there. */
void sim_point_pass(struct sim_node *node, enum sim_point point);
/* As sim_point_pass, but tells instead of crashing: the caller finishes half of its work, then calls
 * sim_crash_here. */
bool sim_point_due(struct sim_node *node, enum sim_point point);
_noreturn_ void sim_crash_here(struct sim_node *node, enum sim_crash kind, const char *where);
extern const struct env_ops sim_env_ops;

/* Waits and says so in dumps: what must live as long as the wait. Results as fiber_wait's. */
_yields_ int sim_wait(struct sim_node *node, struct env_waitq *q, uint64_t deadline_local,
	unsigned flags, const char *op, const char *what);
/* Lets time pass in an operation. */
_yields_ void sim_pass(struct sim_node *node, uint64_t ns, const char *op, const char *what);

/* ---- the network (sim_net.c) ---- */

void sim_net_node_crash(struct sim_node *node, enum sim_crash kind);
void sim_net_free(struct sim *sim);
void sim_net_dump(const struct sim *sim, FILE *out);

int sim_net_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener);
int sim_net_accept(struct env_listener *l, struct env_conn **ret_conn);
void sim_net_listener_close(struct env_listener *l);
int sim_net_connect(
	struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn);
int sim_net_recv(struct env_conn *c, void *buf, size_t min, size_t max, uint64_t deadline_ns,
	size_t *ret_len);
int sim_net_send(struct env_conn *c, const struct iovec *iov, unsigned iov_count);
const struct env_peer *sim_net_conn_peer(const struct env_conn *c);
void sim_net_conn_shutdown(struct env_conn *c);
void sim_net_conn_close(struct env_conn *c);

/* ---- files (sim_file.c, sim_path.c) ---- */

void sim_files_crash(struct sim_node *node);
int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
void sim_file_close(struct env_file *f);
int sim_file_pread_cached(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
int sim_file_pread(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len);
int sim_file_pwrite(struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off);
int sim_file_fdatasync(struct env_file *f);
int sim_file_ftruncate(struct env_file *f, uint64_t size);
int sim_file_fallocate(
	struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len);
int sim_file_seek(struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off);
int sim_file_fstat(struct env_file *f, struct env_stat *ret_stat);
int sim_file_utime(struct env_file *f, int64_t mtime_ns);
void sim_file_forget(struct env_file *f);
int sim_file_lock(struct env_file *f);
int sim_file_syncfs(struct env_file *f);
int sim_path_mkdir(struct env *env, const char *path);
int sim_path_unlink(struct env *env, const char *path);
int sim_path_rmdir(struct env *env, const char *path);
int sim_path_rename(struct env *env, const char *from, const char *to);
int sim_path_fsync_dir(struct env *env, const char *path);
int sim_path_stat(struct env *env, const char *path, struct env_stat *ret_stat);
int sim_path_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs);
int sim_path_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx);

/* ---- jobs (sim_job.c) ---- */

void sim_job_run(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg);
int sim_user_groups(
	struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count);
void sim_jobs_crash(struct sim_node *node);

/* ---- the event log (sim_log.c) ---- */

/* node may be NULL; text may be NULL. */
void sim_log(struct sim *sim, const struct sim_node *node, const char *what, const char *text,
	uint64_t a, uint64_t b);
/* Prints the last `count` events. */
void sim_log_tail(const struct sim *sim, FILE *out, uint64_t count);
/* Mixes into the hash only. */
void sim_log_mix(struct sim *sim, uint64_t a, uint64_t b);
/* A fault fired: counted and logged. */
void sim_fault(struct sim_node *node, enum sim_fault fault, const char *text, uint64_t value);
const char *sim_point_name(enum sim_point point);

#endif
