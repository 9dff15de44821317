/*
 * lfs mkdir (setdirstripe): a directory with permissions. There is one MDT, so what would choose
 * others is only checked.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs.h"

#define MODE_DEFAULT 0777

struct make {
	const char *cmd;
	mode_t mode;
	bool mode_given;
	bool parents;
};

static const struct option long_options[] = {
	{"mode", required_argument, NULL, 'm'},
	{"parents", no_argument, NULL, 'p'},
	{"mdt-index", required_argument, NULL, 'i'},
	{"mdt", required_argument, NULL, 'i'},
	{"index", required_argument, NULL, 'i'},
	{"mdt-count", required_argument, NULL, 'c'},
	{"count", required_argument, NULL, 'c'},
	{NULL, 0, NULL, 0},
};

static int mode_take(struct make *m)
{
	char *end;
	unsigned long mode = strtoul(optarg, &end, 8);

	if (end == optarg || *end != '\0' || mode > 07777) {
		return lfs_fail(m->cmd, EINVAL, "invalid mode '%s' (octal is wanted)", optarg);
	}
	m->mode = (mode_t)mode;
	m->mode_given = true;
	return 0;
}

static int option_take(int c, char **argv, struct make *m)
{
	int64_t n;

	switch (c) {
	case 'm':
		return mode_take(m);
	case 'p':
		m->parents = true;
		return 0;
	case 'i':
		if (lfs_int_parse(optarg, -1, 0, &n)) {
			return 0;
		}
		return lfs_refuse(
			m->cmd, EINVAL, "no MDT '%s': this file system has one, MDT 0", optarg);
	case 'c':
		if (lfs_int_parse(optarg, 1, 1, &n)) {
			return 0;
		}
		return lfs_refuse(
			m->cmd, EINVAL, "count '%s': this file system has one MDT", optarg);
	}
	return lfs_usage(m->cmd, "wrong option '%s'", argv[optind - 1]);
}

/* What is missing above the path, with the usual permissions. */
static int parents_make(const struct make *m, const char *path)
{
	_cleanup_(free_ptr) char *copy = strdup(path);

	if (copy == NULL) {
		return ENOMEM;
	}
	for (char *at = copy + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		if (mkdir(copy, MODE_DEFAULT) != 0 && errno != EEXIST) {
			return lfs_fail(m->cmd, errno, "cannot create directory '%s'", copy);
		}
		*at = '/';
	}
	return 0;
}

/* The deepest part of a path that exists must lie on Nacre. */
static int place_check(const struct make *m, const char *path)
{
	_cleanup_(free_ptr) char *copy = strdup(path);
	struct lfs_mount mount;
	char *slash;

	if (copy == NULL) {
		return lfs_fail(m->cmd, ENOMEM, "'%s'", path);
	}
	while (m->parents && access(copy, F_OK) != 0 && errno == ENOENT &&
		(slash = strrchr(copy, '/')) != NULL && slash != copy) {
		*slash = '\0';
	}
	return lfs_mount_need(m->cmd, copy, &mount);
}

static int make_one(const struct make *m, const char *path)
{
	struct stat st;
	int err = place_check(m, path);

	if (err == 0 && m->parents) {
		err = parents_make(m, path);
	}
	if (err != 0) {
		return err;
	}
	if (mkdir(path, m->mode) != 0) {
		err = errno;
		if (err == EEXIST && m->parents && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
			return 0;
		}
		return lfs_fail(m->cmd, err, "cannot create directory '%s'", path);
	}
	/* The umask does not touch what was said. */
	if (m->mode_given && chmod(path, m->mode) != 0) {
		return lfs_fail(m->cmd, errno, "cannot set permissions of '%s'", path);
	}
	return 0;
}

int lfs_mkdir(int argc, char **argv)
{
	struct make m = {.cmd = argv[0], .mode = MODE_DEFAULT};
	int code = 0;
	int c;

	opterr = 0;
	optind = 0;
	while (code == 0 && (c = getopt_long(argc, argv, "m:pi:c:", long_options, NULL)) != -1) {
		code = option_take(c, argv, &m);
	}
	if (code == 0 && optind == argc) {
		code = lfs_usage(m.cmd, "missing directory");
	}
	for (int i = optind; code == 0 && i < argc; i++) {
		code = make_one(&m, argv[i]);
	}
	return code;
}
