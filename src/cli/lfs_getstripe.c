/*
 * lfs getstripe: layouts of files and directories' defaults.
 *
 * A directory is followed by what lies directly in it, all of it with -r, nothing with -d. In a
 * directory only files and directories count; a symbolic link is followed where it is an argument.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs.h"

enum {
	OPT_NO_FOLLOW = 256,
	OPT_JSON,
};

static const struct option long_options[] = {
	{"stripe-count", no_argument, NULL, 'c'},
	{"count", no_argument, NULL, 'c'},
	{"stripe-size", no_argument, NULL, 'S'},
	{"size", no_argument, NULL, 'S'},
	{"stripe-index", no_argument, NULL, 'i'},
	{"index", no_argument, NULL, 'i'},
	{"offset", no_argument, NULL, 'i'},
	{"pool", no_argument, NULL, 'p'},
	{"generation", no_argument, NULL, 'g'},
	{"layout", no_argument, NULL, 'L'},
	{"fid", no_argument, NULL, 'F'},
	{"mdt", no_argument, NULL, 'm'},
	{"mdt-index", no_argument, NULL, 'm'},
	{"directory", no_argument, NULL, 'd'},
	{"recursive", no_argument, NULL, 'r'},
	{"obd", required_argument, NULL, 'O'},
	{"ost", required_argument, NULL, 'O'},
	{"quiet", no_argument, NULL, 'q'},
	{"verbose", no_argument, NULL, 'v'},
	{"raw", no_argument, NULL, 'R'},
	{"yaml", no_argument, NULL, 'y'},
	{"no-follow", no_argument, NULL, OPT_NO_FOLLOW},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

/* Options that ask for one field. */
static unsigned field_of(int c)
{
	switch (c) {
	case 'c':
		return LFS_SHOW_COUNT;
	case 'S':
	case 's':
		return LFS_SHOW_SIZE;
	case 'i':
		return LFS_SHOW_OFFSET;
	case 'p':
		return LFS_SHOW_POOL;
	case 'g':
		return LFS_SHOW_GEN;
	case 'L':
		return LFS_SHOW_PATTERN;
	case 'F':
		return LFS_SHOW_FID;
	case 'm':
	case 'M':
		return LFS_SHOW_MDT;
	}
	return 0;
}

static int ost_take(struct lfs_getstripe_options *o)
{
	uint32_t index;

	if (!lfs_ost_parse(optarg, &index)) {
		return lfs_fail("getstripe", EINVAL, "invalid OST '%s'", optarg);
	}
	o->ost = index;
	return 0;
}

static int flag_take(int c, char **argv, struct lfs_getstripe_options *o)
{
	switch (c) {
	case 'd':
		o->dir_only = true;
		return 0;
	case 'r':
		o->recursive = true;
		return 0;
	case 'O':
		return ost_take(o);
	case 'q':
		o->quiet = true;
		return 0;
	case 'v':
		o->show |= LFS_SHOW_DEFAULT | LFS_SHOW_DETAIL;
		return 0;
	case 'R':
		o->raw = true;
		return 0;
	case 'y':
		o->yaml = true;
		return 0;
	case OPT_NO_FOLLOW:
		o->no_follow = true;
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	}
	return lfs_usage("getstripe", "wrong option '%s'", argv[optind - 1]);
}

int lfs_getstripe_parse(int argc, char **argv, struct lfs_getstripe_options *o, int *ret_first)
{
	int err = 0;
	int c;

	*o = (struct lfs_getstripe_options){.ost = LFS_ANY};
	opterr = 0;
	optind = 0;
	while (err == 0 &&
		(c = getopt_long(argc, argv, "cSsipgLFmMdrO:qvRy", long_options, NULL)) != -1) {
		if (field_of(c) != 0) {
			o->show |= field_of(c);
		} else {
			err = flag_take(c, argv, o);
		}
	}
	if (err != 0) {
		return err;
	}
	if (optind == argc) {
		return lfs_usage("getstripe", "missing file or directory");
	}
	if (o->dir_only && o->recursive) {
		return lfs_usage("getstripe", "-d and -r exclude each other");
	}
	o->single = o->show != 0 && (o->show & (o->show - 1)) == 0;
	if (o->quiet) {
		o->show = LFS_SHOW_OBJECTS;
		o->single = false;
	} else if (o->show == 0) {
		o->show = LFS_SHOW_DEFAULT;
	}
	*ret_first = optind;
	return 0;
}

/* ---- walking ---- */

struct walk {
	const struct lfs_getstripe_options *o;
	json_t *json;
	unsigned printed;
	bool with_path;
	int code;
};

static bool has_ost(const struct lfs_layout *l, int64_t ost)
{
	for (uint32_t i = 0; i < l->osts_count; i++) {
		if ((int64_t)l->osts[i] == ost) {
			return true;
		}
	}
	return false;
}

/* Adds one layout to what is printed. */
static void show(struct walk *w, const char *path, const struct lfs_layout *l)
{
	if (w->o->ost != LFS_ANY && (l->dir || !has_ost(l, w->o->ost))) {
		return;
	}
	if (w->json != NULL) {
		json_array_append_new(w->json, lfs_layout_json(path, l));
		return;
	}
	/* A YAML document holds one layout. */
	if (w->o->yaml && w->printed > 0) {
		puts("---");
	}
	w->printed++;
	lfs_layout_print(stdout, path, l, w->o, w->with_path);
}

static void path_show(struct walk *w, const char *path, bool follow)
{
	_cleanup_(free_ptr) struct lfs_layout *l = mem_alloc(sizeof(*l));
	int err = l == NULL ? ENOMEM : lfs_layout_ask(path, follow, l);

	if (err == 0) {
		show(w, path, l);
	} else if (err == EINVAL || err == ENODATA) {
		/* A symbolic link, a device: Lustre's words, and no failure. */
		if (!w->o->quiet && w->o->ost == LFS_ANY && w->json == NULL) {
			printf("%s has no stripe info\n", path);
		}
	} else {
		w->code = lfs_fail("getstripe", err, "'%s'", path);
	}
}

static int name_filter(const struct dirent *e)
{
	return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
}

static unsigned char type_of(const char *path, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN) {
		return e->d_type;
	}
	return lstat(path, &st) == 0 ? (unsigned char)IFTODT(st.st_mode) : DT_UNKNOWN;
}

static void directory_walk(struct walk *w, const char *path);

static void entry_walk(struct walk *w, const char *dir, const struct dirent *e)
{
	_cleanup_(free_ptr) char *path = NULL;
	size_t len = strlen(dir);
	unsigned char type;

	if (asprintf(&path, "%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", e->d_name) <
		0) {
		path = NULL;
		w->code = lfs_fail("getstripe", ENOMEM, "'%s'", dir);
		return;
	}
	type = type_of(path, e);
	if (type == DT_REG || type == DT_DIR) {
		path_show(w, path, false);
	}
	if (type == DT_DIR && w->o->recursive) {
		directory_walk(w, path);
	}
}

static void directory_walk(struct walk *w, const char *path)
{
	struct dirent **list = NULL;
	int count = scandir(path, &list, name_filter, alphasort);

	if (count < 0) {
		w->code = lfs_fail("getstripe", errno, "cannot read '%s'", path);
		return;
	}
	for (int i = 0; i < count; i++) {
		entry_walk(w, path, list[i]);
		free(list[i]);
	}
	free(list);
}

static int path_run(const char *path, struct walk *w)
{
	struct lfs_mount m;
	struct stat st;
	bool follow = !w->o->no_follow;
	bool dir;
	int err;

	if ((follow ? stat(path, &st) : lstat(path, &st)) != 0) {
		return lfs_fail("getstripe", errno, "cannot access '%s'", path);
	}
	err = lfs_mount_need("getstripe", path, &m);
	if (err != 0) {
		return err;
	}
	dir = S_ISDIR(st.st_mode);
	/* -d of a directory is its line alone. */
	w->with_path = !(dir && w->o->dir_only);
	path_show(w, path, follow);
	if (dir && !w->o->dir_only) {
		directory_walk(w, path);
	}
	return 0;
}

int lfs_getstripe(int argc, char **argv)
{
	struct lfs_getstripe_options o;
	struct walk w = {.o = &o};
	int first = 0;
	int err = lfs_getstripe_parse(argc, argv, &o, &first);

	if (err != 0) {
		return err;
	}
	w.json = o.json ? json_array() : NULL;
	for (int i = first; i < argc; i++) {
		err = path_run(argv[i], &w);
		w.code = err != 0 ? err : w.code;
	}
	if (w.json != NULL) {
		err = lfs_json_print(w.json);
		w.code = err != 0 ? err : w.code;
	}
	return w.code;
}
