/*
 * nacred: the server. Reads its configuration, serves the targets named there until SIGTERM or SIGINT.
 *
 * Exit codes: 0 stopped in order, 1 could not start (one line on stderr and in the log says why), 2 wrong usage.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "daemon/config.h"
#include "env/posix/posix.h"
#include "env/posix/reactor.h"
#include "monitor/monitor.h"
#include "nacre/version.h"

#define WHY_MAX 1024
/* Lines of one kind that are logged within a window; more are counted. */
#define LOG_BURST 20
#define LOG_WINDOW_NS (10 * NS_PER_S)
/* Readiness waits so long for the registration with the MGS. */
#define REGISTER_WAIT_NS (3 * NS_PER_S)

struct nacred {
	struct config config;
	struct reactor *reactor;
	struct env *env;
	struct node *node;
	struct monitor *monitor;
	int signal_fd;
	int ready_fd;
	int exit_code;
	char why[WHY_MAX];
};

static const char usage_text[] =
	"usage: nacred --config FILE [--check] [--ready-fd N]\n"
	"\n"
	"Serves the targets named in FILE (YAML) until SIGTERM.\n"
	"\n"
	"  -c, --config FILE   configuration; see docs/configuration.md\n"
	"      --check         verify the configuration and exit\n"
	"      --ready-fd N    write a line to descriptor N once the targets are served\n"
	"  -h, --help          this text\n"
	"  -V, --version       print the version\n"
	"\n"
	"Signals: TERM and INT stop in order, HUP opens the log file again.\n";

static int file_read(const char *path, char **ret_text, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;

	if (f == NULL) {
		return -errno;
	}
	text = mem_alloc(CONFIG_BYTES_MAX + 1);
	if (text == NULL) {
		fclose(f);
		return -ENOMEM;
	}
	n = fread(text, 1, CONFIG_BYTES_MAX + 1, f);
	if (ferror(f)) {
		n = 0;
		fclose(f);
		mem_free(text);
		return -EIO;
	}
	fclose(f);
	if (n > CONFIG_BYTES_MAX) {
		mem_free(text);
		return -EFBIG;
	}
	*ret_text = text;
	*ret_len = n;
	return 0;
}

static int config_load(struct nacred *d, const char *path)
{
	char *text = NULL;
	size_t len = 0;
	int err = file_read(path, &text, &len);

	if (err != 0) {
		fprintf(stderr, "nacred: %s: %s\n", path, strerror(-err));
		return 1;
	}
	err = config_parse(path, text, len, &d->config, d->why, sizeof(d->why));
	mem_free(text);
	if (err != 0) {
		fprintf(stderr, "nacred: %s\n", d->why);
		return 1;
	}
	d->config.node.uid = (uint32_t)geteuid();
	d->config.node.gid = (uint32_t)getegid();
	d->config.node.pid = (uint32_t)getpid();
	return 0;
}

/* Also at SIGHUP, which must not undo levels that were set at run time. */
static int log_open(const struct config *c)
{
	log_json_set(c->log_json);
	log_limit_set(LOG_BURST, LOG_WINDOW_NS);
	if (c->log_file[0] == '\0') {
		return 0;
	}

	int err = log_file_open(c->log_file);

	if (err != 0) {
		fprintf(stderr, "nacred: log file %s cannot be opened: %s\n", c->log_file,
			ne_text(err));
		return 1;
	}
	return 0;
}

static int signals_setup(struct nacred *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signal_fd < 0) {
		fprintf(stderr, "nacred: signalfd: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

/* Objects and connections are descriptors: take as many as are allowed. */
static void descriptors_raise(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &lim) != 0) {
			log_warn("nacred", "the limit of open files stays at %lu",
				(unsigned long)lim.rlim_cur);
		}
	}
}

static void ready_tell(struct nacred *d)
{
	static const char line[] = "ready\n";

	if (d->ready_fd >= 0) {
		/* Whoever asked for it may be gone: no reason to stop. */
		(void)!write(d->ready_fd, line, sizeof(line) - 1);
		close(d->ready_fd);
		d->ready_fd = -1;
	}
}

/* Returns when a signal asks for the end. */
static void signals_serve(struct nacred *d)
{
	for (;;) {
		struct signalfd_siginfo info;
		ssize_t n = read(d->signal_fd, &info, sizeof(info));

		if (n != (ssize_t)sizeof(info)) {
			/* Not interruptible, no deadline: the descriptor is readable now. */
			(void)!posix_fd_wait(
				d->env, d->signal_fd, POSIX_IN, ENV_FOREVER, ENV_WAIT_PLAIN);
			continue;
		}
		if (info.ssi_signo != SIGHUP) {
			log_info("nacred", "stopping on signal %u", info.ssi_signo);
			return;
		}
		(void)!log_open(&d->config);
	}
}

/* ---- the monitor ---- */

static void collect(void *ctx, struct metric_batch *batch)
{
	struct nacred *d = ctx;

	reactor_metrics(d->reactor, "0", batch);
	node_metrics(d->node, batch);
}

/* Without a word in the configuration: beside the first Unix socket, else in /run/nacre. */
static void monitor_place(struct nacred *d)
{
	struct monitor_config *m = &d->config.monitor;
	const struct node_config *c = &d->config.node;

	if (d->config.monitor_no_socket || m->socket[0] != '\0') {
		return;
	}
	for (unsigned i = 0; i < c->listen_count; i++) {
		if (monitor_path_of_server(c->listen[i], m->socket)) {
			return;
		}
	}
	monitor_path_of_target(c->fsname, c->targets[0].name, m->socket);
	if (monitor_dir_make(m->socket) != 0) {
		log_warn("nacred", "no directory for %s", m->socket);
	}
}

static int monitor_begin(struct nacred *d)
{
	struct monitor_options o = {.env = d->env,
		.config = &d->config.monitor,
		.daemon = "nacred",
		.fsname = d->config.node.fsname,
		.collect = collect,
		.ctx = d};
	int err;

	monitor_place(d);
	err = monitor_start(&o, d->why, sizeof(d->why), &d->monitor);
	if (err != 0 && !d->config.monitor_given) {
		log_warn("nacred", "%s: serving without metrics", d->why);
		return 0;
	}
	if (err == 0 && monitor_addr(d->monitor)[0] != '\0') {
		log_info("nacred", "metrics on %s", monitor_addr(d->monitor));
	}
	return err;
}

static int start(struct nacred *d)
{
	int err = node_start(d->env, &d->config.node, d->why, sizeof(d->why), &d->node);

	if (err == 0) {
		err = monitor_begin(d);
	}
	if (err != 0) {
		node_stop(TAKE_PTR(d->node));
	}
	return err;
}

static void main_fiber(void *arg)
{
	struct nacred *d = arg;
	int err = start(d);

	if (err != 0) {
		fprintf(stderr, "nacred: %s\n", d->why);
		if (d->config.log_file[0] != '\0') {
			log_error("nacred", "%s", d->why);
		}
		d->exit_code = 1;
	} else {
		log_info("nacred", "ready version=%s pid=%u", NACRE_VERSION, d->config.node.pid);
		/* Whoever waits for us wants the file system; but a missing MGS must not keep us. */
		if (node_register_wait(d->node, env_now(d->env) + REGISTER_WAIT_NS) != 0) {
			log_warn("nacred", "no MGS yet: serving; registration goes on");
		}
		ready_tell(d);
		signals_serve(d);
		monitor_stop(d->monitor);
		node_stop(d->node);
		log_info("nacred", "stopped");
	}
	reactor_stop(d->reactor);
}

static int serve(struct nacred *d)
{
	int err = reactor_new(NULL, &d->reactor);

	if (err != 0) {
		fprintf(stderr, "nacred: the reactor cannot start: %s\n", ne_text(err));
		return 1;
	}
	d->env = reactor_env(d->reactor);
	err = env_spawn(d->env, "nacred", main_fiber, d);
	if (err == 0) {
		err = reactor_run(d->reactor);
	}
	if (err != 0) {
		fprintf(stderr, "nacred: %s\n", ne_text(err));
		d->exit_code = 1;
	}
	reactor_free(d->reactor);
	close(d->signal_fd);
	return d->exit_code;
}

enum {
	OPT_CHECK = 256,
	OPT_READY_FD
};

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check", no_argument, NULL, OPT_CHECK},
	{"ready-fd", required_argument, NULL, OPT_READY_FD},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static int usage(void)
{
	fputs("nacred: wrong usage; see nacred --help\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	/* The configuration is too big for the stack. */
	static struct nacred d = {.signal_fd = -1, .ready_fd = -1};
	const char *path = NULL;
	bool check = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			path = optarg;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_READY_FD:
			d.ready_fd = atoi(optarg);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'V':
			printf("nacred %s\n", NACRE_VERSION);
			return 0;
		default:
			return usage();
		}
	}
	if (path == NULL || optind != argc) {
		return usage();
	}
	if (config_load(&d, path) != 0) {
		return 1;
	}
	if (check) {
		printf("%s: ok\n", path);
		return 0;
	}
	log_level_set(d.config.log_level);
	if (log_open(&d.config) != 0 || signals_setup(&d) != 0) {
		return 1;
	}
	descriptors_raise();
	return serve(&d);
}
