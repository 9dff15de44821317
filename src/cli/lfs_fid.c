/*
 * lfs path2fid and fid2path: identifiers of paths, and paths of identifiers.
 *
 * A mount answers for what lies below its root: a mount of a subdirectory knows no path outside of
 * it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/lfs.h"

enum {
	OPT_JSON = 256,
	OPT_PARENTS,
};

/* A mount that never says that links end is broken. */
#define LINK_PARTS_MAX (1 << 20)

static int fid_ask(const char *path, bool follow, struct fid *ret)
{
	json_t *j = NULL;
	int err = lfs_ask(path, follow, "nacre.fid", &j);

	if (err == 0) {
		err = fid_parse(lfs_text(j, "fid"), ret) == 0 ? 0 : EPROTO;
		json_decref(j);
	}
	return err;
}

/* No errno: the link that was asked for is found. */
#define LINK_STOP (-1)

/* fn gets each link of a FID from link `first` on; non-zero stops and is returned. */
typedef int link_fn(void *ctx, uint64_t link, const char *path);

static int links_part(const char *point, const char *name, link_fn *fn, void *ctx, uint64_t *next)
{
	json_t *j = NULL;
	json_t *paths;
	int err = lfs_ask(point, true, name, &j);

	if (err != 0) {
		return err;
	}
	paths = json_object_get(j, "paths");
	for (size_t i = 0; err == 0 && i < json_array_size(paths); i++) {
		const json_t *one = json_array_get(paths, i);

		err = fn(ctx, (uint64_t)json_integer_value(json_object_get(one, "link")),
			lfs_text(one, "path"));
	}
	*next = (uint64_t)json_integer_value(json_object_get(j, "next"));
	json_decref(j);
	return err;
}

static int links_each(const char *point, struct fid fid, uint64_t first, link_fn *fn, void *ctx)
{
	char text[FID_STR_MAX];
	char name[FID_STR_MAX + 48];
	uint64_t next = first;
	int err;

	fid_format(fid, text, sizeof(text));
	for (unsigned i = 0; i < LINK_PARTS_MAX; i++) {
		uint64_t at = next;

		if (at == 0) {
			snprintf(name, sizeof(name), "nacre.path.%s", text);
		} else {
			snprintf(name, sizeof(name), "nacre.path.%s.%" PRIu64, text, at);
		}
		err = links_part(point, name, fn, ctx, &next);
		if (err != 0 || next == 0) {
			return err;
		}
		if (next <= at) {
			return EPROTO;
		}
	}
	return EPROTO;
}

/* ---- path2fid ---- */

static const struct option path_options[] = {
	{"parents", no_argument, NULL, OPT_PARENTS},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

struct parents {
	const struct lfs_mount *mount;
	json_t *json; /* or printed */
	unsigned count;
};

static int parent_show(void *ctx, uint64_t link, const char *path)
{
	struct parents *p = ctx;
	_cleanup_(free_ptr) char *dir = NULL;
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	char text[FID_STR_MAX];
	struct fid fid;
	int err;

	(void)link;
	if (path[0] == '\0') {
		return ENOENT; /* the root of the mount */
	}
	if (asprintf(&dir, "%s/%.*s", p->mount->point, (int)(slash == NULL ? 0 : slash - path),
		    path) < 0) {
		dir = NULL;
		return ENOMEM;
	}
	err = fid_ask(dir, true, &fid);
	if (err != 0) {
		return err;
	}
	fid_format(fid, text, sizeof(text));
	if (p->json != NULL) {
		json_array_append_new(
			p->json, json_pack("{s:s, s:s}", "parent", text, "name", name));
	} else {
		printf("%s%s/%s", p->count > 0 ? "\t" : "", text, name);
	}
	p->count++;
	return 0;
}

struct path2fid {
	bool parents;
	bool several;
	json_t *json;
};

static int fid_show(const struct path2fid *o, const char *path, const struct lfs_mount *m)
{
	struct parents p = {.mount = m};
	char text[FID_STR_MAX];
	struct fid fid;
	json_t *j = NULL;
	int err = fid_ask(path, false, &fid);

	if (err != 0) {
		return lfs_fail("path2fid", err, "cannot get the FID of '%s'", path);
	}
	fid_format(fid, text, sizeof(text));
	if (o->json != NULL) {
		j = json_pack("{s:s, s:s}", "path", path, "fid", text);
		json_array_append_new(o->json, j);
	} else if (o->several) {
		printf("%s: ", path);
	}
	if (!o->parents) {
		if (o->json == NULL) {
			puts(text);
		}
		return 0;
	}
	p.json = o->json == NULL ? NULL : json_array();
	err = links_each(m->point, fid, 0, parent_show, &p);
	if (o->json != NULL) {
		json_object_set_new(j, "parents", p.json);
	} else if (p.count > 0 || o->several) {
		putchar('\n');
	}
	return err == 0 ? 0 : lfs_fail("path2fid", err, "no parent of '%s'", path);
}

int lfs_path2fid(int argc, char **argv)
{
	struct path2fid o = {0};
	int code = 0;
	int c;

	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "", path_options, NULL)) != -1) {
		if (c == OPT_PARENTS) {
			o.parents = true;
		} else if (c == OPT_JSON) {
			o.json = o.json == NULL ? json_array() : o.json;
		} else {
			json_decref(o.json);
			return lfs_usage("path2fid", "wrong option '%s'", argv[optind - 1]);
		}
	}
	if (optind == argc) {
		json_decref(o.json);
		return lfs_usage("path2fid", "missing path");
	}
	o.several = argc - optind > 1;
	for (int i = optind; i < argc; i++) {
		struct lfs_mount m;
		struct stat st;
		int err;

		if (lstat(argv[i], &st) != 0) {
			err = lfs_fail("path2fid", errno, "cannot access '%s'", argv[i]);
		} else if (lfs_mount_of(argv[i], false, &m) != 0) {
			err = lfs_refuse(
				"path2fid", ENOTTY, "'%s' is not on a Nacre file system", argv[i]);
		} else {
			err = fid_show(&o, argv[i], &m);
		}
		code = err != 0 ? err : code;
	}
	if (o.json != NULL) {
		return lfs_json_print(o.json) != 0 ? ENOMEM : code;
	}
	return code;
}

/* ---- fid2path ---- */

struct fid2path {
	char end; /* behind each path */
	bool print_fid;
	bool print_link;
	bool name_only;
	int64_t link; /* or LFS_ANY */
	json_t *json;
	const char *prefix; /* how the mount is called */
	char fid[FID_STR_MAX];
	json_t *paths; /* of this FID */
};

static const struct option fid_options[] = {
	{"print0", no_argument, NULL, '0'},
	{"print-fid", no_argument, NULL, 'f'},
	{"print-link", no_argument, NULL, 'c'},
	{"cur", no_argument, NULL, 'c'},
	{"current", no_argument, NULL, 'c'},
	{"link", required_argument, NULL, 'l'},
	{"name", no_argument, NULL, 'n'},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

static int path_show(void *ctx, uint64_t link, const char *path)
{
	struct fid2path *o = ctx;
	const char *slash = strrchr(path, '/');

	if (o->link != LFS_ANY && (uint64_t)o->link != link) {
		return ENODATA;
	}
	if (o->json != NULL) {
		json_array_append_new(
			o->paths, json_pack("{s:I, s:s}", "link", (json_int_t)link, "path", path));
	} else {
		if (o->print_fid) {
			printf("%s ", o->fid);
		}
		if (o->print_link) {
			printf("%" PRIu64 " ", link);
		}
		if (o->name_only) {
			fputs(slash == NULL ? path : slash + 1, stdout);
		} else {
			printf("%s%s%s", o->prefix,
				path[0] != '\0' && strcmp(o->prefix, "/") != 0 ? "/" : "", path);
		}
		putchar(o->end);
	}
	return o->link != LFS_ANY ? LINK_STOP : 0;
}

static int fid_paths(struct fid2path *o, const struct lfs_mount *m, const char *arg)
{
	struct fid fid;
	int err;

	if (fid_parse(arg, &fid) != 0) {
		return lfs_fail("fid2path", EINVAL, "invalid FID '%s'", arg);
	}
	fid_format(fid, o->fid, sizeof(o->fid));
	o->paths = o->json == NULL ? NULL : json_array();
	err = links_each(m->point, fid, o->link == LFS_ANY ? 0 : (uint64_t)o->link, path_show, o);
	if (o->json != NULL) {
		json_array_append_new(
			o->json, json_pack("{s:s, s:o}", "fid", o->fid, "paths", o->paths));
	}
	if (err == LINK_STOP) {
		return 0;
	}
	/* A FID that was never given out, or whose file is gone, is Lustre's ENOENT. */
	if (err == ESTALE) {
		err = ENOENT;
	}
	if (o->link != LFS_ANY && (err == 0 || err == ENODATA || err == ENOENT)) {
		return lfs_refuse("fid2path", ENOENT, "%s has no link %" PRId64, o->fid, o->link);
	}
	return err == 0 ? 0 : lfs_fail("fid2path", err, "cannot find a path of %s", o->fid);
}

static int option_take(int c, char **argv, struct fid2path *o)
{
	switch (c) {
	case '0':
		o->end = '\0';
		return 0;
	case 'f':
		o->print_fid = true;
		return 0;
	case 'c':
		o->print_link = true;
		return 0;
	case 'n':
		o->name_only = true;
		return 0;
	case 'l':
		if (lfs_int_parse(optarg, 0, LIM_LINK_MAX, &o->link)) {
			return 0;
		}
		return lfs_fail("fid2path", EINVAL, "invalid link '%s'", optarg);
	case OPT_JSON:
		o->json = o->json == NULL ? json_array() : o->json;
		return 0;
	}
	return lfs_usage("fid2path", "wrong option '%s'", argv[optind - 1]);
}

/* Paths begin as the caller wrote the mount point, if it is the mount point. */
static char *prefix_of(const char *arg, const struct lfs_mount *m)
{
	_cleanup_(free_ptr) char *real = realpath(arg, NULL);
	char *prefix;
	size_t len;

	if (strchr(arg, '/') == NULL || real == NULL || strcmp(real, m->point) != 0) {
		return strdup(m->point);
	}
	prefix = strdup(arg);
	len = prefix == NULL ? 0 : strlen(prefix);
	while (len > 1 && prefix[len - 1] == '/') {
		prefix[--len] = '\0';
	}
	return prefix;
}

int lfs_fid2path(int argc, char **argv)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	_cleanup_(free_ptr) char *prefix = NULL;
	struct fid2path o = {.end = '\n', .link = LFS_ANY};
	size_t count = 0;
	int code = 0;
	int c;

	opterr = 0;
	optind = 0;
	while (code == 0 && (c = getopt_long(argc, argv, "0fcl:n", fid_options, NULL)) != -1) {
		code = option_take(c, argv, &o);
	}
	if (code == 0 && argc - optind < 2) {
		code = lfs_usage("fid2path", "name a file system or mount point, and FIDs");
	}
	if (code == 0) {
		code = lfs_mounts_need("fid2path", argv[optind], &mounts, &count);
	}
	if (code == 0) {
		prefix = prefix_of(argv[optind], &mounts[0]);
		code = prefix == NULL ? lfs_fail("fid2path", ENOMEM, "'%s'", argv[optind]) : 0;
	}
	if (code != 0) {
		json_decref(o.json);
		return code;
	}
	o.prefix = prefix;
	for (int i = optind + 1; i < argc; i++) {
		int err = fid_paths(&o, &mounts[0], argv[i]);

		code = err != 0 ? err : code;
	}
	if (o.json != NULL) {
		return lfs_json_print(o.json) != 0 ? ENOMEM : code;
	}
	return code;
}
