/*
 * nacre-fuse: one mount, one process, one reactor.
 *
 * Order: arguments, checks, reactor, client (connects), mount, INIT, then "ready" is told. Nothing is mounted before the
 * file system has answered; every failure is one line. SIGTERM and SIGINT detach the mount and end when it is no
 * longer used or DETACH_WAIT has passed, a second one at once; SIGHUP opens the log again; SIGUSR1 logs counters.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "env/posix/posix.h"
#include "env/posix/reactor.h"
#include "fuse/fuse.h"
#include "fuse/mount_opts.h"
#include "fuse/mount_sys.h"
#include "fuse/fuse_parse.h"
#include "fuse/mount_syslog.h"
#include "monitor/monitor.h"

#ifndef NACRE_VERSION
#define NACRE_VERSION "unknown"
#endif
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

#define EXIT_USAGE 1
#define EXIT_MOUNT 32 /* mount(8): mount failure */
#define KEY_BYTES 4096
#define DETACH_WAIT_NS (10 * NS_PER_S)
#define READY_WAIT_NS (10 * NS_PER_S)
/* Lines of one kind that are logged within a window; more are counted. */
#define LOG_BURST 20
#define LOG_WINDOW_NS (10 * NS_PER_S)
/* Taking leave of servers that do not answer: longer than client_free's own patience. */
#define END_WAIT_NS (15 * NS_PER_S)
/* Less likely to be killed for memory than what it serves; 0 is usual, -1000 never. */
#define OOM_SCORE "-900"

struct daemon {
	struct mount_opts opts;
	struct reactor *reactor;
	struct env *env;
	struct client *client;
	struct fuse_session *session;
	struct monitor *monitor;
	struct monitor_config monitor_config;
	int channel; /* /dev/fuse, -1 */
	int signals; /* signalfd */
	bool detached;
	bool hurry; /* a second signal */
	int rc;
	char why[MOUNT_WHY_MAX];
	char key[KEY_BYTES];
	char host[65];
};

static struct daemon the;

static void usage(FILE *to)
{
	(void)fputs("usage: nacre-fuse HOST[:PORT][,HOST...]:/FSNAME[/SUBDIR] DIRECTORY -o "
		    "key=PATH[,OPTION...]\n"
		    "       [--foreground] [--help] [--version]\n"
		    "\n"
		    "Serves one mount of a Nacre file system. Usually started by mount -t nacre, "
		    "whose options it\n"
		    "takes: see mount.nacre --help. Runs in the foreground.\n",
		to);
}

/* ---- telling how it went ---- */

/* To mount.nacre, which waits, or to whoever looks at stderr. False: nobody listens any more. */
static bool tell(const char *text)
{
	char line[MOUNT_WHY_MAX + 16];
	int len = snprintf(line, sizeof(line), "%s\n", text);
	bool ok = true;

	if (the.opts.ready_fd >= 0) {
		ok = write(the.opts.ready_fd, line, (size_t)len) == len;
		(void)close(the.opts.ready_fd);
		the.opts.ready_fd = -1;
	}
	return ok;
}

static int fail(int code, const char *why)
{
	char text[MOUNT_WHY_MAX + 8];

	if (the.opts.ready_fd >= 0) {
		(void)snprintf(text, sizeof(text), "error %s", why);
		(void)tell(text);
	} else {
		(void)fprintf(stderr, "nacre-fuse: %s\n", why);
	}
	return code;
}

/* ---- the log ---- */

static void syslog_sink(
	_unused_ void *ctx, enum log_level level, const char *module, const char *line)
{
	mount_syslog_line((int)level, module, line);
}

/* The process leaves its directory, and SIGHUP opens the log again. */
static void log_path_absolute(struct mount_opts *o)
{
	static char name[LIM_PATH_MAX];
	char cwd[LIM_PATH_MAX / 4];

	if (o->log_path[0] == '\0' || o->log_path[0] == '/' || strcmp(o->log_path, "syslog") == 0 ||
		getcwd(cwd, sizeof(cwd)) == NULL) {
		return;
	}
	(void)snprintf(name, sizeof(name), "%s", o->log_path);
	if ((size_t)snprintf(o->log_path, sizeof(o->log_path), "%s/%s", cwd, name) >=
		sizeof(o->log_path)) {
		(void)snprintf(o->log_path, sizeof(o->log_path), "%s", name);
	}
}

/* Also at SIGHUP, which must not undo levels that were set at run time. */
static int log_start(const struct mount_opts *o)
{
	log_json_set(o->log_json);
	log_limit_set(LOG_BURST, LOG_WINDOW_NS);
	if (o->log_path[0] != '\0' && strcmp(o->log_path, "syslog") != 0) {
		return log_file_open(o->log_path);
	}
	if (!o->foreground || o->log_path[0] != '\0') {
		mount_syslog_open("nacre-fuse");
		log_sink_set(syslog_sink, NULL);
	}
	return 0;
}

/* ---- what the process asks of the system ---- */

static void memory_lock(void)
{
	struct rlimit limit;

	/* With a limit, later mappings would fail: only where there is none. */
	if (geteuid() != 0 &&
		(getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY)) {
		return;
	}
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
		log_info("fuse", "memory is not locked: %s", strerror(errno));
	}
}

static void system_settle(void)
{
	struct rlimit files;
	int fd;

	/* Memory the kernel needs to write pages back must not wait for this process to write pages back. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0 && geteuid() == 0) {
		log_info("fuse", "PR_SET_IO_FLUSHER: %s", strerror(errno));
	}
	if (geteuid() == 0) {
		fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			if (write(fd, OOM_SCORE, strlen(OOM_SCORE)) < 0) {
				log_info("fuse", "oom_score_adj: %s", strerror(errno));
			}
			(void)close(fd);
		}
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	memory_lock();
}

static int signals_start(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGUSR1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
		return -NE_IO;
	}
	the.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return the.signals >= 0 ? 0 : -NE_MFILE;
}

/* ---- signals ---- */

static void counters_log(void)
{
	struct fuse_counters c;

	fuse_session_counters(the.session, &c);
	log_asked("fuse",
		"requests=%llu uring=%llu errors=%llu malformed=%llu forgets=%llu interrupts=%llu "
		"interrupted=%llu queued=%llu refused=%llu",
		(unsigned long long)c.requests, (unsigned long long)c.uring,
		(unsigned long long)c.errors, (unsigned long long)c.malformed,
		(unsigned long long)c.forgets, (unsigned long long)c.interrupts,
		(unsigned long long)c.interrupted, (unsigned long long)c.queued,
		(unsigned long long)c.refused);
}

static void detach_job(void *arg)
{
	int *rc = arg;

	*rc = mount_detach(the.opts.target);
}

static void detach(void)
{
	int rc = 0;

	if (the.detached) {
		the.hurry = true;
		return;
	}
	the.detached = true;
	log_info("fuse", "detaching %s", the.opts.target);
	/* On a helper thread: detaching may write pages back, which this reactor serves. */
	env_job(the.env, ENV_JOB_BULK, detach_job, &rc);
	if (rc < 0) {
		log_warn("fuse", "cannot detach %s: %s", the.opts.target, ne_text(rc));
	}
}

/* read(2) of the signalfd: the number of a signal, or 0. */
static __attribute__((noinline)) uint32_t signal_next(void)
{
	struct signalfd_siginfo info;

	return read(the.signals, &info, sizeof(info)) == (ssize_t)sizeof(info) ? info.ssi_signo : 0;
}

static void signals_fiber(_unused_ void *arg)
{
	for (;;) {
		uint32_t sig = signal_next();

		switch (sig) {
		case 0:
			if (posix_fd_wait(the.env, the.signals, POSIX_IN, ENV_FOREVER,
				    ENV_WAIT_PLAIN) < 0) {
				return;
			}
			break;
		case SIGHUP:
			(void)log_start(&the.opts);
			break;
		case SIGUSR1:
			if (the.session != NULL) {
				counters_log();
			}
			break;
		default:
			detach();
			if (the.session != NULL) {
				fuse_session_poke(the.session);
			}
			break;
		}
	}
}

/* ---- the mount's life ---- */

static int client_start(void)
{
	const char *mgs[LIM_ADDRS_MAX + 1] = {NULL};
	struct client_options o = {.env = the.env,
		.mgs = mgs,
		.fsname = the.opts.fsname,
		.subdir = the.opts.subdir,
		.key_text = the.key,
		.key_path = the.opts.key_path,
		.hostname = the.host,
		.pid = (uint32_t)getpid(),
		.patience_ns = the.opts.patience_s * NS_PER_S,
		.mount_patience_ns = the.opts.mount_patience_s * NS_PER_S,
		.read_only = the.opts.read_only,
		.groups = fuse_groups_read};
	int rc;

	for (unsigned i = 0; i < the.opts.addr_count; i++) {
		mgs[i] = the.opts.addrs[i];
	}
	rc = client_new(&o, the.why, sizeof(the.why), &the.client);
	if (rc < 0 && the.why[0] == '\0') {
		(void)snprintf(the.why, sizeof(the.why), "connecting to %.300s: %s",
			the.opts.source, ne_text(rc));
	}
	return rc;
}

static int session_start(void)
{
	struct fuse_options o = {.env = the.env,
		.client = the.client,
		.fd = the.channel,
		.uring = !the.opts.no_uring,
		.init_mask = the.opts.init_mask};
	int rc = fuse_session_new(&o, &the.session);

	if (rc == 0) {
		rc = fuse_session_start(the.session);
	}
	if (rc == 0) {
		rc = fuse_session_ready_wait(the.session, env_now(the.env) + READY_WAIT_NS);
	}
	if (rc < 0) {
		(void)snprintf(the.why, sizeof(the.why), "the kernel's FUSE did not start: %s",
			rc == -NE_VERSION
				? "this kernel's is too old (7.31 or later, Linux 5.4, is needed)"
				: ne_text(rc));
	}
	return rc;
}

/* ---- the monitor ---- */

static void collect(_unused_ void *ctx, struct metric_batch *batch)
{
	reactor_metrics(the.reactor, "0", batch);
	client_metrics(the.client, batch);
	if (the.session != NULL) {
		fuse_session_metrics(the.session, batch);
	}
}

/* Without a word in the options the socket is where tools look for it, and a mount works without one. */
static int monitor_begin(void)
{
	struct monitor_config *c = &the.monitor_config;
	struct monitor_options o = {.env = the.env,
		.config = c,
		.daemon = "nacre-fuse",
		.fsname = the.opts.fsname,
		.fuse_op = fuse_op_name,
		.collect = collect};
	bool given = the.opts.monitor_path[0] != '\0' || the.opts.monitor_listen[0] != '\0';
	const char *wrong = NULL;
	int rc;

	if (the.opts.monitor_path[0] == '\0') {
		monitor_path_of_mount(the.opts.target, geteuid(), c->socket);
		(void)!monitor_dir_make(c->socket); /* what is wrong, the socket will tell */
	} else if (strcmp(the.opts.monitor_path, "none") != 0) {
		(void)snprintf(c->socket, sizeof(c->socket), "%s", the.opts.monitor_path);
	}
	if (the.opts.monitor_listen[0] != '\0') {
		(void)snprintf(c->listen, sizeof(c->listen), "tcp:%.240s", the.opts.monitor_listen);
		(void)snprintf(c->token_file, sizeof(c->token_file), "%s", the.opts.monitor_token);
		c->open = the.opts.monitor_open;
		wrong = monitor_listen_check(c->listen, c->open);
	}
	if (wrong != NULL) {
		(void)snprintf(
			the.why, sizeof(the.why), "monitor_listen: %.200s %s", c->listen, wrong);
		return -NE_INVAL;
	}
	rc = monitor_start(&o, the.why, sizeof(the.why), &the.monitor);
	if (rc < 0 && !given) {
		log_info("fuse", "%s: no metrics", the.why);
		the.why[0] = '\0';
		return 0;
	}
	if (rc == 0 && monitor_addr(the.monitor)[0] != '\0') {
		log_info("fuse", "metrics on %s", monitor_addr(the.monitor));
	}
	return rc;
}

static int mount_start(void)
{
	int rc = client_start();

	if (rc == 0) {
		rc = monitor_begin();
	}
	if (rc == 0) {
		rc = mount_do(&the.opts, &the.channel, the.why);
	}
	if (rc == 0) {
		rc = session_start();
		if (rc < 0) {
			detach();
		}
	}
	return rc;
}

/* Until it is unmounted, or was detached long enough ago. */
static void mount_serve(void)
{
	uint64_t deadline = the.detached ? env_now(the.env) + DETACH_WAIT_NS : ENV_FOREVER;

	while (fuse_session_end_wait(the.session, deadline) < 0) {
		if (the.detached && deadline == ENV_FOREVER) {
			deadline = env_now(the.env) + DETACH_WAIT_NS;
		}
		if (the.hurry || env_now(the.env) >= deadline) {
			log_warn("fuse", "%s is still in use: its programs get errors now",
				the.opts.target);
			break;
		}
	}
	counters_log();
}

/* Nothing waits here that servers would miss: they close a silent session themselves. */
static void end_watch_fiber(_unused_ void *arg)
{
	env_sleep(the.env, END_WAIT_NS);
	log_warn("fuse", "%s: servers do not answer; ending without a farewell", the.opts.target);
	_exit(0);
}

static void mount_end(void)
{
	if (env_spawn(the.env, "end-watch", end_watch_fiber, NULL) < 0) {
		log_warn("fuse", "no memory to watch the end of %s", the.opts.target);
	}
	if (the.session != NULL) {
		fuse_session_stop(the.session);
	}
	monitor_stop(TAKE_PTR(the.monitor));
	if (the.channel >= 0) {
		(void)close(the.channel);
	}
	fuse_session_free(TAKE_PTR(the.session));
	client_free(the.client);
}

static void main_fiber(_unused_ void *arg)
{
	the.rc = mount_start();
	if (the.rc == 0) {
		mount_readahead_raise(the.opts.target);
		log_info("fuse", "mounted %s on %s%s", the.opts.source, the.opts.target,
			fuse_session_uring(the.session) ? ", over io_uring" : "");
		if (!tell("ok") || env_spawn(the.env, "signals", signals_fiber, NULL) < 0) {
			detach(); /* whoever asked for it has gone */
		}
		mount_serve();
	}
	mount_end();
	reactor_stop(the.reactor);
}

static int reactor_start(void)
{
	struct reactor_options o = {.cpu = -1, .sqe128 = !the.opts.no_uring};
	int rc = reactor_new(&o, &the.reactor);

	if (rc < 0) {
		(void)snprintf(the.why, sizeof(the.why), "%s", ne_text(rc));
		return rc;
	}
	the.env = reactor_env(the.reactor);
	return env_spawn(the.env, "main", main_fiber, NULL);
}

static int run(void)
{
	int rc;

	system_settle();
	rc = signals_start();
	if (rc == 0) {
		rc = reactor_start();
	}
	if (rc == 0) {
		rc = reactor_run(the.reactor);
	}
	if (rc == 0) {
		rc = the.rc;
	}
	reactor_free(the.reactor);
	if (rc < 0) {
		log_error("fuse", "%s", the.why);
		return fail(EXIT_MOUNT, the.why[0] != '\0' ? the.why : ne_text(rc));
	}
	log_info("fuse", "unmounted %s", the.opts.target);
	return 0;
}

int main(int argc, char **argv)
{
	the.channel = -1;
	mount_opts_init(&the.opts);
	if (mount_opts_parse(&the.opts, argc, argv, the.why) < 0) {
		return fail(EXIT_USAGE, the.why);
	}
	if (the.opts.help) {
		usage(stdout);
		return 0;
	}
	if (the.opts.version) {
		(void)printf("nacre-fuse %s\n", NACRE_VERSION);
		return 0;
	}
	if (the.opts.ready_fd < 0) {
		the.opts.foreground = true;
	} else {
		(void)fcntl(the.opts.ready_fd, F_SETFD, FD_CLOEXEC);
	}
	if (gethostname(the.host, sizeof(the.host) - 1) != 0) {
		(void)snprintf(the.host, sizeof(the.host), "unknown");
	}
	if (mount_check(&the.opts, the.why) < 0 ||
		mount_key_read(&the.opts, the.key, sizeof(the.key), the.why) < 0) {
		return fail(EXIT_MOUNT, the.why);
	}
	log_path_absolute(&the.opts);
	log_level_set(the.opts.log_level);
	if (log_start(&the.opts) < 0) {
		(void)snprintf(the.why, sizeof(the.why), "the log file cannot be opened: %.300s",
			the.opts.log_path);
		return fail(EXIT_MOUNT, the.why);
	}
	(void)umask(0);
	if (chdir("/") != 0) {
		return fail(EXIT_MOUNT, "cannot change to /");
	}
	return run();
}
