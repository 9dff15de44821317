/*
 * lfs setstripe: a file with a layout of its own, or a directory's default.
 *
 * Both are a setxattr of `lustre.lov`. A file that is not there is made first, without data; if the
 * layout is then refused it is taken away again, so a failed setstripe leaves nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs.h"

#define LOV_XATTR "lustre.lov"

enum {
	OPT_UNSUPPORTED = 256,
};

static const struct option long_options[] = {
	{"stripe-count", required_argument, NULL, 'c'},
	{"count", required_argument, NULL, 'c'},
	{"overstripe-count", required_argument, NULL, 'C'},
	{"stripe-size", required_argument, NULL, 'S'},
	{"size", required_argument, NULL, 'S'},
	{"stripe-index", required_argument, NULL, 'i'},
	{"index", required_argument, NULL, 'i'},
	{"offset", required_argument, NULL, 'i'},
	{"ost", required_argument, NULL, 'o'},
	{"ost-list", required_argument, NULL, 'o'},
	{"ost-index", required_argument, NULL, 'o'},
	{"pool", required_argument, NULL, 'p'},
	{"delete", no_argument, NULL, 'd'},
	{"layout", required_argument, NULL, 'L'},
	{"component-end", required_argument, NULL, OPT_UNSUPPORTED},
	{"comp-end", required_argument, NULL, OPT_UNSUPPORTED},
	{"component-add", no_argument, NULL, OPT_UNSUPPORTED},
	{"comp-add", no_argument, NULL, OPT_UNSUPPORTED},
	{"component-del", no_argument, NULL, OPT_UNSUPPORTED},
	{"comp-del", no_argument, NULL, OPT_UNSUPPORTED},
	{"component-set", no_argument, NULL, OPT_UNSUPPORTED},
	{"comp-set", no_argument, NULL, OPT_UNSUPPORTED},
	{"component-flags", required_argument, NULL, OPT_UNSUPPORTED},
	{"comp-flags", required_argument, NULL, OPT_UNSUPPORTED},
	{"component-id", required_argument, NULL, OPT_UNSUPPORTED},
	{"comp-id", required_argument, NULL, OPT_UNSUPPORTED},
	{"mirror-count", optional_argument, NULL, OPT_UNSUPPORTED},
	{"extension-size", required_argument, NULL, OPT_UNSUPPORTED},
	{"ext-size", required_argument, NULL, OPT_UNSUPPORTED},
	{"foreign", optional_argument, NULL, OPT_UNSUPPORTED},
	{"ec", required_argument, NULL, OPT_UNSUPPORTED},
	{"yaml", required_argument, NULL, OPT_UNSUPPORTED},
	{"copy", required_argument, NULL, OPT_UNSUPPORTED},
	{NULL, 0, NULL, 0},
};

/* ---- arguments ---- */

static int count_take(struct lfs_setstripe_options *o, bool overstripe)
{
	int64_t n;

	if (!lfs_int_parse(optarg, -1, LIM_STRIPE_COUNT_MAX, &n)) {
		return lfs_fail("setstripe", EINVAL, "invalid stripe count '%s'", optarg);
	}
	if (o->count_given && o->overstripe != overstripe) {
		return lfs_fail("setstripe", EINVAL, "-c and -C exclude each other");
	}
	o->count_given = true;
	o->overstripe = overstripe;
	o->md.stripe_count = n < 0 ? LAYOUT_COUNT_ALL : (uint16_t)n;
	return 0;
}

static int size_take(struct lfs_setstripe_options *o)
{
	uint64_t n;

	if (!lfs_size_parse(optarg, &n, NULL)) {
		return lfs_fail("setstripe", EINVAL, "invalid stripe size '%s'", optarg);
	}
	if (n > LIM_STRIPE_SIZE_MAX) {
		return lfs_fail("setstripe", EINVAL, "stripe size '%s' over 4GB limit", optarg);
	}
	if (n % LIM_STRIPE_SIZE_MIN != 0) {
		return lfs_fail("setstripe", EINVAL,
			"stripe size '%s' is not a multiple of 65536 bytes", optarg);
	}
	o->size_given = true;
	o->md.stripe_size = n;
	return 0;
}

static int index_take(struct lfs_setstripe_options *o)
{
	uint32_t index;

	if (strcmp(optarg, "-1") == 0) {
		o->md.stripe_offset = LAYOUT_OST_ANY;
	} else if (lfs_ost_parse(optarg, &index)) {
		o->md.stripe_offset = (uint16_t)index;
	} else {
		return lfs_fail("setstripe", EINVAL, "invalid stripe index '%s'", optarg);
	}
	o->index_given = true;
	return 0;
}

static int osts_take(struct lfs_setstripe_options *o)
{
	if (!lfs_osts_parse(optarg, o->md.osts, LIM_STRIPE_COUNT_MAX, &o->md.osts_count)) {
		return lfs_fail("setstripe", EINVAL, "invalid OST list '%s'", optarg);
	}
	return 0;
}

/* NAME, or FSNAME.NAME as lctl has it. */
static int pool_take(struct lfs_setstripe_options *o)
{
	const char *dot = strchr(optarg, '.');
	const char *name = dot == NULL ? optarg : dot + 1;
	size_t len = strlen(name);

	o->pool_given = true;
	if (len == 0 || strcmp(name, "none") == 0) {
		o->md.pool[0] = '\0';
		return 0;
	}
	if (!layout_pool_name_ok(name, len)) {
		return lfs_fail("setstripe", EINVAL, "invalid pool name '%s'", optarg);
	}
	memcpy(o->md.pool, name, len + 1);
	return 0;
}

static int option_take(int c, char **argv, struct lfs_setstripe_options *o)
{
	switch (c) {
	case 'c':
	case 'C':
		return count_take(o, c == 'C');
	case 'S':
	case 's':
		return size_take(o);
	case 'i':
		return index_take(o);
	case 'o':
		return osts_take(o);
	case 'p':
		return pool_take(o);
	case 'd':
		o->delete_default = true;
		return 0;
	case 'L':
		if (strcmp(optarg, "raid0") == 0) {
			return 0;
		}
		return lfs_fail("setstripe", EOPNOTSUPP, "layout '%s'", optarg);
	case 'E':
	case 'N':
	case 'z':
	case 'I':
	case OPT_UNSUPPORTED:
		return lfs_fail("setstripe", EOPNOTSUPP,
			"'%s': layouts with components, mirrors or templates", argv[optind - 1]);
	case ':':
		return lfs_usage("setstripe", "'%s' needs a value", argv[optind - 1]);
	}
	return lfs_usage("setstripe", "wrong option '%s'", argv[optind - 1]);
}

/* With a list of OSTs, -c says how many they are, -i which comes first. */
static int list_check(struct lfs_setstripe_options *o)
{
	struct lov_md *md = &o->md;
	uint32_t first = 0;
	bool twice = false;

	if (o->count_given && md->stripe_count != 0 && md->stripe_count != md->osts_count) {
		return lfs_fail("setstripe", EINVAL,
			"stripe count %u does not agree with %" PRIu32 " OSTs in the list",
			(unsigned)md->stripe_count, md->osts_count);
	}
	for (uint32_t i = 0; i < md->osts_count && !twice; i++) {
		for (uint32_t k = 0; k < i && !twice; k++) {
			twice = md->osts[k] == md->osts[i];
		}
	}
	if (twice && !o->overstripe) {
		return lfs_fail("setstripe", EINVAL, "an OST is listed twice without -C");
	}
	if (o->index_given && md->stripe_offset != LAYOUT_OST_ANY) {
		while (first < md->osts_count && md->osts[first] != md->stripe_offset) {
			first++;
		}
		if (first == md->osts_count) {
			return lfs_fail("setstripe", EINVAL,
				"stripe index %u is not in the list of OSTs",
				(unsigned)md->stripe_offset);
		}
	}
	/* Turn the list until `first` leads. */
	for (uint32_t n = 0; n < first; n++) {
		uint32_t head = md->osts[0];

		memmove(md->osts, md->osts + 1, (md->osts_count - 1) * sizeof(head));
		md->osts[md->osts_count - 1] = head;
	}
	md->stripe_offset = (uint16_t)md->osts[0];
	md->stripe_count = (uint16_t)md->osts_count;
	return 0;
}

int lfs_setstripe_parse(int argc, char **argv, struct lfs_setstripe_options *o, int *ret_first)
{
	int err = 0;
	int c;

	memset(o, 0, sizeof(*o));
	o->md.pattern = LOV_PATTERN_RAID0;
	o->md.stripe_offset = LAYOUT_OST_ANY;
	opterr = 0;
	optind = 0;
	while (err == 0 &&
		(c = getopt_long(argc, argv, ":c:C:S:s:i:o:p:dL:E:N::z:I:", long_options, NULL)) !=
			-1) {
		err = option_take(c, argv, o);
	}
	if (err != 0) {
		return err;
	}
	if (o->overstripe) {
		o->md.pattern |= LOV_PATTERN_OVERSTRIPED;
	}
	if (o->delete_default &&
		(o->count_given || o->size_given || o->index_given || o->pool_given ||
			o->md.osts_count > 0)) {
		return lfs_fail("setstripe", EINVAL, "cannot specify -d with -c, -S, -i, -o or -p");
	}
	if (o->md.osts_count > 0) {
		err = list_check(o);
	}
	if (err == 0 && optind == argc) {
		err = lfs_usage("setstripe", "missing file or directory");
	}
	*ret_first = optind;
	return err;
}

/* ---- doing ---- */

static bool known_ost(const struct lfs_targets *t, uint32_t index)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->list[i].kind == LFS_OST && t->list[i].index == index) {
			return true;
		}
	}
	return false;
}

static bool pool_member(const json_t *pool, uint32_t index)
{
	for (size_t i = 0; i < json_array_size(pool); i++) {
		if (json_integer_value(json_array_get(pool, i)) == (json_int_t)index) {
			return true;
		}
	}
	return false;
}

/* An OST that was named must exist, and be in the pool if there is one (pool may be NULL). */
static int ost_check(
	const struct lfs_mount *m, const struct lfs_targets *t, const json_t *pool, uint32_t index)
{
	if (index == LAYOUT_OST_ANY) {
		return 0;
	}
	if (!known_ost(t, index)) {
		return lfs_fail("setstripe", EINVAL,
			"no OST with index %" PRIu32 " in file system '%s'", index, m->fsname);
	}
	if (pool != NULL && !pool_member(pool, index)) {
		return lfs_fail("setstripe", EINVAL,
			"OST with index %" PRIu32 " is not in the pool", index);
	}
	return 0;
}

/* Wishes that cannot be met are told before anything is made. */
static int map_check(const struct lfs_mount *m, const struct lov_md *md, const json_t *map)
{
	_cleanup_(lfs_targets_fini) struct lfs_targets t = {0};
	json_t *pool = NULL;
	int err = lfs_targets_decode(map, &t);

	if (err != 0) {
		return lfs_fail("setstripe", err, "'%s'", m->point);
	}
	if (md->pool[0] != '\0' && lfs_pool_find(map, md->pool, &pool) != 0) {
		return lfs_refuse("setstripe", ENOENT, "no pool '%s' in file system '%s'", md->pool,
			m->fsname);
	}
	if (md->osts_count == 0) {
		return ost_check(m, &t, pool, md->stripe_offset);
	}
	for (uint32_t i = 0; i < md->osts_count && err == 0; i++) {
		err = ost_check(m, &t, pool, md->osts[i]);
	}
	return err;
}

static int wishes_check(const char *path, const struct lov_md *md)
{
	struct lfs_mount m;
	json_t *map = NULL;
	int err = lfs_mount_need("setstripe", path, &m);

	if (err != 0 || (md->pool[0] == '\0' && md->stripe_offset == LAYOUT_OST_ANY)) {
		return err;
	}
	err = lfs_ask_targets(m.point, "nacre.map", &map);
	if (err != 0) {
		return lfs_fail("setstripe", err, "'%s'", m.point);
	}
	err = map_check(&m, md, map);
	json_decref(map);
	return err;
}

static int layout_fail(const char *path, bool dir, int err)
{
	if (err == EEXIST) {
		return lfs_refuse("setstripe", err,
			"create stripe file '%s' failed: stripe already set", path);
	}
	if (dir) {
		return lfs_fail("setstripe", err, "set default stripe of '%s' failed", path);
	}
	return lfs_fail("setstripe", err, "create stripe file '%s' failed", path);
}

static int set_new(const char *path, const void *value, size_t len)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	int err = 0;

	if (fd < 0) {
		return lfs_fail("setstripe", errno, "cannot create '%s'", path);
	}
	if (fsetxattr(fd, LOV_XATTR, value, len, 0) != 0) {
		err = errno;
		unlink(path);
	}
	close(fd);
	return err == 0 ? 0 : layout_fail(path, false, err);
}

static int set_path(const char *path, const struct lov_md *md)
{
	_cleanup_(free_ptr) char *buf = mem_alloc(LOV_SIZE_MAX);
	struct stat st;
	size_t len = 0;

	if (buf == NULL || lov_encode(md, buf, LOV_SIZE_MAX, &len) != 0) {
		return lfs_fail("setstripe", ENOMEM, "'%s'", path);
	}
	if (stat(path, &st) != 0) {
		if (errno != ENOENT) {
			return lfs_fail("setstripe", errno, "cannot access '%s'", path);
		}
		return set_new(path, buf, len);
	}
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
		return lfs_fail("setstripe", EINVAL, "'%s' is no file or directory", path);
	}
	if (setxattr(path, LOV_XATTR, buf, len, 0) != 0) {
		return layout_fail(path, S_ISDIR(st.st_mode), errno);
	}
	return 0;
}

static int delete_path(const char *path)
{
	struct lfs_mount m;
	struct stat st;
	int err = lfs_mount_need("setstripe", path, &m);

	if (err != 0) {
		return err;
	}
	if (stat(path, &st) != 0) {
		return lfs_fail("setstripe", errno, "cannot access '%s'", path);
	}
	if (!S_ISDIR(st.st_mode)) {
		return lfs_fail("setstripe", ENOTDIR, "cannot delete the layout of '%s'", path);
	}
	if (removexattr(path, LOV_XATTR) != 0 && errno != ENODATA) {
		return lfs_fail("setstripe", errno, "delete default stripe of '%s' failed", path);
	}
	return 0;
}

int lfs_setstripe(int argc, char **argv)
{
	struct lfs_setstripe_options o;
	int first = 0;
	int err = lfs_setstripe_parse(argc, argv, &o, &first);
	int code = err;

	if (err != 0) {
		return err;
	}
	for (int i = first; i < argc; i++) {
		if (o.delete_default) {
			err = delete_path(argv[i]);
		} else {
			err = wishes_check(argv[i], &o.md);
			if (err == 0) {
				err = set_path(argv[i], &o.md);
			}
		}
		code = err != 0 ? err : code;
	}
	return code;
}
