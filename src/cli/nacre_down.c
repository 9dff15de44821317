/*
 * nacre down: unmounts what is mounted from here and stops the servers in order. Data stays.
 *
 * A busy mount is refused unless --force, which detaches it; then servers that do not stop in time are killed
 * (nothing acknowledged is lost by that).
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define STOP_MS_MAX 15000

struct down {
	struct cluster c;
	bool force;
	bool json;
	unsigned unmounted;
	unsigned stopped;
};

static const char usage_text[] =
	"usage: nacre down [DIR] [--force] [--json]\n"
	"\n"
	"Unmounts and stops the file system in DIR (default $NACRE_DIR or ~/.nacre).\n"
	"\n"
	"  --force   detach busy mounts, kill servers that do not stop within 15 s\n"
	"  --json    print facts as JSON\n";

static int umount_one(void *ctx, const struct cli_mount *m)
{
	struct down *d = ctx;
	/* The servers stay until the process behind the mount has taken its leave of them. */
	int err = cli_umount(m->point, d->force || m->dead);

	if (err != 0 && err != ETIMEDOUT) {
		return cli_fail("%s: %s%s", m->point, strerror(err),
			err == EBUSY ? " (who uses it: fuser -vm; or --force)" : "");
	}
	d->unmounted++;
	return 0;
}

static bool stopped_within(struct cluster *c, const struct cluster_daemon *d, unsigned ms_max)
{
	for (unsigned ms = 0; ms < ms_max; ms += 10) {
		/* Our own child, if `up` ran in this process, would stay a zombie. */
		waitpid(d->pid, NULL, WNOHANG);
		if (cluster_daemon_pid(c, d) == 0) {
			return true;
		}
		usleep(10000);
	}
	return false;
}

static int daemon_stop(struct down *d, struct cluster_daemon *daemon)
{
	struct cluster *c = &d->c;
	char path[PATH_MAX];

	if (!stopped_within(c, daemon, STOP_MS_MAX)) {
		if (!d->force) {
			return cli_fail("%s (pid %d) does not stop; --force kills it", daemon->name,
				daemon->pid);
		}
		kill(daemon->pid, SIGKILL);
		if (!stopped_within(c, daemon, STOP_MS_MAX)) {
			return cli_fail("%s (pid %d) cannot be killed", daemon->name, daemon->pid);
		}
	}
	unlink(cluster_path(c, path, "run/%s.pid", daemon->name));
	d->stopped++;
	return 0;
}

static int daemons_stop(struct down *d)
{
	struct cluster *c = &d->c;
	int err = 0;

	for (unsigned i = 0; i < c->daemon_count; i++) {
		if (c->daemons[i].pid != 0) {
			kill(c->daemons[i].pid, SIGTERM);
		}
	}
	for (unsigned i = 0; i < c->daemon_count; i++) {
		if (c->daemons[i].pid != 0 && daemon_stop(d, &c->daemons[i]) != 0) {
			err = 1;
		}
	}
	return err;
}

static int down_run(struct down *d)
{
	char source[PATH_MAX];
	int err = cli_mounts_each(cluster_source(&d->c, source), umount_one, d);

	if (err == 0) {
		err = daemons_stop(d);
	}
	if (err != 0) {
		return err;
	}
	if (d->json) {
		json_t *j = json_pack("{s:s, s:s, s:i, s:i}", "dir", d->c.dir, "fsname",
			d->c.fsname, "unmounted", (int)d->unmounted, "stopped", (int)d->stopped);

		return j == NULL ? cli_fail("out of memory") : cli_json_print(j);
	}
	printf("file system %s: %u unmounted, %u servers stopped; data is in %s\n", d->c.fsname,
		d->unmounted, d->stopped, d->c.dir);
	return 0;
}

static const struct option options[] = {
	{"force", no_argument, NULL, 'f'},
	{"json", no_argument, NULL, 'j'},
	{"dir", required_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

int cli_down(int argc, char **argv)
{
	static struct down d;
	const char *dir = NULL;
	int opt;
	int err;

	while ((opt = getopt_long(argc, argv, ":fh", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			d.force = true;
			break;
		case 'j':
			d.json = true;
			break;
		case 'd':
			dir = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage_option("down", opt, argv);
		}
	}
	if (optind < argc && dir == NULL) {
		dir = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("down", "too many arguments");
	}
	err = cluster_dir_find(dir, d.c.dir, sizeof(d.c.dir));
	if (err == 0) {
		err = cluster_load(&d.c, false);
	}
	return err != 0 ? err : down_run(&d);
}
