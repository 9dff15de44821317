/*
 * nacre sync: waits until everything written through the mount is durable on the servers. (FUSE does not pass
 * sync(2) on.)
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "cli/cli.h"

static const char usage_text[] =
	"usage: nacre sync MNT...\n"
	"\n"
	"Waits until everything written so far through the mount that holds\n"
	"each path is durable on the servers.\n";

int cli_sync(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}
		return cli_usage_option("sync", opt, argv);
	}
	if (optind == argc) {
		return cli_usage("sync", "which mount?");
	}
	for (int i = optind; i < argc; i++) {
		if (setxattr(argv[i], "nacre.sync", "1", 1, 0) != 0) {
			return cli_fail("%s: %s", argv[i],
				errno == EOPNOTSUPP ? "not on a nacre mount" : strerror(errno));
		}
	}
	return 0;
}
