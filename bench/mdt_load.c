/*
 * Load on one MDT without a mount: many sessions, each with several requests in flight, from one thread.
 *
 *	mdt_load --addr ADDR --key FILE --fsname NAME --pid PID [--sessions N] [--depth N] [--seconds S]
 *
 * Each session is a client of its own with a directory of its own; each of its fibers makes one request after the other.
 * Phases, each for some seconds: create (empty files, no open), stat (a look-up by name of a file made before), read (3,901
 * bytes of inline data of an open file), unlink of what was made. CPU time is read from the kernel's clocks of both processes, so
 * operations per CPU second do not depend on what else the machine does. Prints one line of JSON a phase.
 *
 * Invariants: every answer is checked (status, size, bytes); a phase is measured from the moment all fibers run until the
 * last has ended.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "env/posix/reactor.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define SESSIONS_MAX 1024
#define DEPTH_MAX LIM_SLOTS
#define OPEN_FILES 16 /* of each session, for the reads */
#define SMALL 3901
#define CONNECT_NS (10 * NS_PER_S)

struct options {
	const char *addr;
	const char *key;
	const char *fsname;
	pid_t pid; /* of the nacred that serves the MDT */
	unsigned sessions;
	unsigned depth;
	double seconds;
};

struct load;

struct session {
	struct load *load;
	struct rpc_client *client;
	struct rpc_session *rpc;
	struct fid dir;
	struct fid open[OPEN_FILES];
	uint64_t made; /* files f0 .. f(made - 1) */
	uint64_t removed;
};

struct phase {
	const char *name;
	/* One operation; 0, or -NE_NOENT when there is no more to do. */
	int (*run)(struct session *s, uint64_t n);
};

struct load {
	struct options opts;
	struct env *env;
	struct rpc_key key;
	struct rpc_addrs addrs;
	struct session *sessions;
	const struct phase *phase;
	uint64_t deadline;
	uint64_t ops;
	uint64_t next;
	unsigned running;
	struct env_waitq done;
	uint8_t data[SMALL];
};

static const struct w_cred root_cred = {.caps = UINT64_MAX};

static void must(int err, const char *what)
{
	if (err != 0) {
		fprintf(stderr, "mdt_load: %s: %s\n", what, ne_text(err));
		exit(1);
	}
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts = {0};

	(void)clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- operations ---- */

static int file_create(struct session *s, struct fid parent, const char *name, uint32_t mode,
	uint64_t handle, struct fid *ret_fid)
{
	struct w_mds_create_req req = {.cred = root_cred,
		.parent = parent,
		.name = wire_str_of(name),
		.target = wire_str_of(""),
		.security = wire_str_of(""),
		.mode = mode,
		.flags = W_CREATE_FLAGS_EXCL};
	struct w_mds_create_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_CREATE, .request = &req, .reply = &rep};
	int err;

	if (handle != 0) {
		req.flags |= W_CREATE_FLAGS_OPEN;
		req.open = W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE;
		req.handle = handle;
	}
	err = rpc_call(s->rpc, &call);
	if (err == 0) {
		*ret_fid = rep.info.attr.fid;
	}
	return err;
}

static void name_make(char name[32], uint64_t n)
{
	(void)snprintf(name, 32, "f%" PRIu64, n);
}

static int op_create(struct session *s, uint64_t n)
{
	struct fid fid;
	char name[32];

	(void)n;
	name_make(name, s->made++);
	return file_create(s, s->dir, name, S_IFREG | 0644, 0, &fid);
}

static int op_stat(struct session *s, uint64_t n)
{
	char name[32];
	struct w_mds_lookup_req req = {.cred = root_cred, .parent = s->dir};
	struct w_mds_lookup_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LOOKUP, .request = &req, .reply = &rep};
	int err;

	if (s->made == 0) {
		return -NE_NOENT;
	}
	name_make(name, hash_mix(n) % s->made);
	req.name = wire_str_of(name);
	err = rpc_call(s->rpc, &call);
	if (err == 0 && (!S_ISREG(rep.info.attr.mode) || rep.info.attr.nlink != 1)) {
		err = -NE_BADMSG;
	}
	return err;
}

static int op_read(struct session *s, uint64_t n)
{
	unsigned file = (unsigned)(n % OPEN_FILES);
	struct w_mds_read_req req = {.fid = s->open[file], .handle = file + 1, .length = SMALL};
	struct w_mds_read_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_READ, .request = &req, .reply = &rep};
	int err = rpc_call(s->rpc, &call);

	if (err == 0 &&
		(rep.data.len != SMALL || memcmp(rep.data.ptr, s->load->data, SMALL) != 0)) {
		err = -NE_BADMSG;
	}
	return err;
}

static int op_unlink(struct session *s, uint64_t n)
{
	char name[32];
	struct w_mds_unlink_req req = {.cred = root_cred, .parent = s->dir};
	struct w_mds_unlink_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_UNLINK, .request = &req, .reply = &rep};

	(void)n;
	if (s->removed == s->made) {
		return -NE_NOENT;
	}
	name_make(name, s->removed++);
	req.name = wire_str_of(name);
	return rpc_call(s->rpc, &call);
}

static const struct phase phases[] = {
	{"create", op_create}, {"stat", op_stat}, {"read", op_read}, {"unlink", op_unlink}};

/* ---- sessions ---- */

static int file_fill(struct session *s, struct fid fid, uint64_t handle)
{
	struct w_mds_write_req req = {
		.fid = fid, .handle = handle, .data = wire_bytes_of(s->load->data, SMALL)};
	struct w_mds_write_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_WRITE, .request = &req, .reply = &rep};

	return rpc_call(s->rpc, &call);
}

static void session_open(struct session *s, unsigned number)
{
	struct load *load = s->load;
	uint8_t random[16];
	char name[32];
	struct rpc_client_opts opts = {.env = load->env,
		.incarnation = 1,
		.key = &load->key,
		.hostname = "load",
		.pid = (uint32_t)getpid()};
	struct rpc_session_opts sopts = {
		.target = "MDT0000", .fsname = load->opts.fsname, .addrs = &load->addrs};

	env_random_bytes(load->env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	must(rpc_client_new(&opts, &s->client), "client");
	must(rpc_session_new(s->client, &sopts, &s->rpc), "session");
	must(rpc_session_connect(s->rpc, env_now(load->env) + CONNECT_NS), "connecting");
	(void)snprintf(name, sizeof(name), "load%u.%u", (unsigned)getpid(), number);
	must(file_create(s, fid_root(), name, S_IFDIR | 0755, 0, &s->dir), "mkdir");
	for (unsigned i = 0; i < OPEN_FILES; i++) {
		(void)snprintf(name, sizeof(name), "open%u", i);
		must(file_create(s, s->dir, name, S_IFREG | 0644, i + 1, &s->open[i]), "create");
		must(file_fill(s, s->open[i], i + 1), "write");
	}
}

/* ---- phases ---- */

static void worker_fiber(void *arg)
{
	struct session *s = arg;
	struct load *load = s->load;
	int err = 0;

	while (err == 0 && env_now(load->env) < load->deadline) {
		err = load->phase->run(s, load->next++);
		load->ops += err == 0;
	}
	if (err != -NE_NOENT) {
		must(err, load->phase->name);
	}
	load->running--;
	env_wake_all(load->env, &load->done);
}

static void phase_run(struct load *load, const struct phase *phase)
{
	clockid_t server = CLOCK_REALTIME;
	uint64_t wall, own, theirs;

	(void)clock_getcpuclockid(load->opts.pid, &server);
	load->phase = phase;
	load->ops = 0;
	load->deadline = env_now(load->env) + (uint64_t)(load->opts.seconds * 1e9);
	wall = clock_ns(CLOCK_MONOTONIC);
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	theirs = clock_ns(server);
	for (unsigned i = 0; i < load->opts.sessions * load->opts.depth; i++) {
		load->running++;
		must(env_spawn(load->env, "load", worker_fiber,
			     &load->sessions[i / load->opts.depth]),
			"fiber");
	}
	while (load->running > 0) {
		(void)env_wait(load->env, &load->done, 0, 0);
	}
	wall = clock_ns(CLOCK_MONOTONIC) - wall;
	own = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
	theirs = clock_ns(server) - theirs;
	printf("{\"phase\": \"%s\", \"ops\": %" PRIu64
	       ", \"seconds\": %.6f, \"driver_cpu_s\": %.6f, \"mdt_cpu_s\": %.6f}\n",
		phase->name, load->ops, (double)wall / 1e9, (double)own / 1e9,
		(double)theirs / 1e9);
	fflush(stdout);
}

static void load_fiber(void *arg)
{
	struct load *load = arg;

	env_waitq_init(&load->done);
	for (size_t i = 0; i < SMALL; i++) {
		load->data[i] = (uint8_t)hash_mix(i);
	}
	for (unsigned i = 0; i < load->opts.sessions; i++) {
		load->sessions[i].load = load;
		session_open(&load->sessions[i], i);
	}
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		phase_run(load, &phases[i]);
	}
	for (unsigned i = 0; i < load->opts.sessions; i++) {
		rpc_session_free(load->sessions[i].rpc, env_now(load->env) + NS_PER_S);
		rpc_client_free(load->sessions[i].client);
	}
}

/* ---- the command line ---- */

static int usage(void)
{
	fprintf(stderr,
		"usage: mdt_load --addr ADDR --key FILE --fsname NAME --pid PID [--sessions N]\n"
		"\t[--depth N] [--seconds S]\n");
	return 2;
}

static bool options_read(int argc, char **argv, struct options *opts)
{
	static const struct option options[] = {{"addr", required_argument, NULL, 'a'},
		{"key", required_argument, NULL, 'k'}, {"fsname", required_argument, NULL, 'f'},
		{"pid", required_argument, NULL, 'p'}, {"sessions", required_argument, NULL, 's'},
		{"depth", required_argument, NULL, 'd'}, {"seconds", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'a':
			opts->addr = optarg;
			break;
		case 'k':
			opts->key = optarg;
			break;
		case 'f':
			opts->fsname = optarg;
			break;
		case 'p':
			opts->pid = (pid_t)strtol(optarg, NULL, 10);
			break;
		case 's':
			opts->sessions = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			opts->depth = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			opts->seconds = strtod(optarg, NULL);
			break;
		default:
			return false;
		}
	}
	return opts->addr != NULL && opts->key != NULL && opts->fsname != NULL && opts->pid > 0 &&
		opts->sessions > 0 && opts->sessions <= SESSIONS_MAX && opts->depth > 0 &&
		opts->depth <= DEPTH_MAX && strlen(opts->addr) <= LIM_ADDR_LEN_MAX;
}

static void key_read(const char *path, struct rpc_key *ret_key)
{
	static char text[RPC_KEY_TEXT_MAX];
	FILE *file = fopen(path, "r");
	size_t len = file == NULL ? 0 : fread(text, 1, sizeof(text), file);

	if (file != NULL) {
		(void)fclose(file);
	}
	must(rpc_key_parse(text, len, ret_key), path);
}

int main(int argc, char **argv)
{
	static struct load load = {.opts = {.sessions = 16, .depth = 8, .seconds = 3}};
	struct reactor_options ropts = {.cpu = -1};
	struct reactor *reactor;

	if (!options_read(argc, argv, &load.opts)) {
		return usage();
	}
	key_read(load.opts.key, &load.key);
	load.addrs.count = 1;
	(void)snprintf(load.addrs.addr[0], sizeof(load.addrs.addr[0]), "%s", load.opts.addr);
	load.sessions = calloc(load.opts.sessions, sizeof(*load.sessions));
	/* Each connection has fibers of its own beside those that work. */
	ropts.fibers_max = load.opts.sessions * (load.opts.depth + 8) + 16;
	if (load.sessions == NULL) {
		must(-NE_NOMEM, "memory");
	}
	must(reactor_new(&ropts, &reactor), "reactor");
	load.env = reactor_env(reactor);
	must(reactor_call(reactor, load_fiber, &load), "load");
	reactor_free(reactor);
	free(load.sessions);
	return 0;
}
