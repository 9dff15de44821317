/*
 * nacre umount: unmounts and waits for the end of the daemon behind the mount.
 *
 * umount(8) returns when the kernel has let go of the mount; nacre-fuse then still makes durable what nobody fsynced, and takes
 * its leave of the servers. Whoever wants to switch machines off afterwards waits for that: here.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char usage_text[] = "usage: nacre umount MNT... [--lazy]\n"
				 "\n"
				 "Unmounts, and waits until everything written through the mount "
				 "is durable on the servers and\n"
				 "its daemon has ended. umount(8) does not wait for that.\n"
				 "\n"
				 "  --lazy   detach a mount that is in use; do not wait\n";

static const struct option options[] = {
	{"lazy", no_argument, NULL, 'l'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

struct wanted {
	const char *point;
	bool found;
	bool lazy;
	int err;
};

static int mount_end(void *ctx, const struct cli_mount *m)
{
	struct wanted *w = ctx;

	if (strcmp(m->point, w->point) != 0) {
		return 0;
	}
	w->found = true;
	w->err = cli_umount(m->point, w->lazy || m->dead);
	return 1; /* the newest only */
}

static int umount_one(const char *given, bool lazy)
{
	char point[PATH_MAX];
	struct wanted w = {.point = point, .lazy = lazy};

	if (cluster_dir_resolve(given, point, sizeof(point)) != 0) {
		return 1;
	}
	(void)!cli_mounts_each(NULL, mount_end, &w);
	if (!w.found) {
		return cli_fail("%s: no Nacre mount", given);
	}
	if (w.err == ETIMEDOUT) {
		return cli_fail(
			"%s is unmounted, but servers do not answer: what was not fsynced may "
			"not be durable",
			given);
	}
	return w.err == 0 ? 0
			  : cli_fail("%s: %s%s", given, strerror(w.err),
				    w.err == EBUSY ? " (who uses it: fuser -vm; or --lazy)" : "");
}

int cli_umount_verb(int argc, char **argv)
{
	bool lazy = false;
	int failed = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, ":lh", options, NULL)) != -1) {
		switch (opt) {
		case 'l':
			lazy = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage_option("umount", opt, argv);
		}
	}
	if (optind == argc) {
		return cli_usage("umount", "which mount?");
	}
	for (int i = optind; i < argc; i++) {
		failed |= umount_one(argv[i], lazy);
	}
	return failed;
}
