/*
 * lfs df: space of each target and of the file system.
 *
 * The table's format is Lustre's, byte by byte, for scripts: see docs/lfs.md. In the summary, OSTs
 * that share a disk are counted once, as df(1) of the mount does (their `backing_fsid` is the
 * same).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/lfs.h"

enum {
	OPT_JSON = 256,
};

static const struct option long_options[] = {
	{"inodes", no_argument, NULL, 'i'},
	{"human-readable", no_argument, NULL, 'h'},
	{"si", no_argument, NULL, 'H'},
	{"lazy", no_argument, NULL, 'l'},
	{"verbose", no_argument, NULL, 'v'},
	{"pool", required_argument, NULL, 'p'},
	{"mdt", optional_argument, NULL, 'm'},
	{"ost", optional_argument, NULL, 'o'},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

/* -m, -m0, -m=0 and --mdt=0. */
static bool index_take(const char *arg, int64_t *index)
{
	if (arg == NULL) {
		return true;
	}
	return lfs_int_parse(arg[0] == '=' ? arg + 1 : arg, 0, LIM_OST_MAX - 1, index);
}

static bool option_take(int c, struct lfs_df_options *o)
{
	switch (c) {
	case 'i':
		o->inodes = true;
		return true;
	case 'h':
		o->human = true;
		return true;
	case 'H':
		o->human = true;
		o->si = true;
		return true;
	case 'l':
		return true;
	case 'v':
		o->verbose = true;
		return true;
	case 'p':
		o->pool = optarg;
		return true;
	case 'm':
		o->mdt = true;
		return index_take(optarg, &o->mdt_index);
	case 'o':
		o->ost = true;
		return index_take(optarg, &o->ost_index);
	case OPT_JSON:
		o->json = true;
		return true;
	}
	return false;
}

int lfs_df_parse(int argc, char **argv, struct lfs_df_options *o, const char **ret_path)
{
	int c;

	*o = (struct lfs_df_options){.mdt_index = LFS_ANY, .ost_index = LFS_ANY};
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "ihHlvp:m::o::", long_options, NULL)) != -1) {
		if (!option_take(c, o)) {
			return lfs_usage("df", "wrong option '%s'", argv[optind - 1]);
		}
	}
	if (argc - optind > 1) {
		return lfs_usage("df", "one path at most");
	}
	if (!o->mdt && !o->ost) {
		o->mdt = true;
		o->ost = true;
	}
	*ret_path = optind < argc ? argv[optind] : NULL;
	return 0;
}

/* ---- printing ---- */

unsigned lfs_df_percent(uint64_t used, uint64_t avail)
{
	unsigned __int128 sum = (unsigned __int128)used + avail;

	if (sum == 0) {
		return 0;
	}
	return (unsigned)(((unsigned __int128)used * 100 + sum - 1) / sum);
}

/* A figure in its column, as a number or with a unit. */
static const char *figure(uint64_t n, const struct lfs_df_options *o, char *buf, size_t cap)
{
	static const char units[] = "KMGTPE";
	double base = o->si ? 1000 : 1024;
	double v = (double)n;
	unsigned radix = 0;

	while (o->human && v > base) {
		v /= base;
		radix++;
	}
	if (radix == 0) {
		snprintf(buf, cap, "%11" PRIu64, n);
	} else {
		snprintf(buf, cap, "%8.1f%c", v, units[radix - 1]);
	}
	return buf;
}

struct row {
	uint64_t total;
	uint64_t used;
	uint64_t avail;
};

static void row_print(FILE *out, const char *name, const struct row *r,
	const struct lfs_df_options *o, const char *where)
{
	unsigned shift = o->human || o->inodes ? 0 : 10;
	char total[32];
	char used[32];
	char avail[32];
	char percent[16];

	snprintf(percent, sizeof(percent), "%3u%%", lfs_df_percent(r->used, r->avail));
	fprintf(out, "%-20s %11s %11s %11s %4s %s", name,
		figure(r->total >> shift, o, total, sizeof(total)),
		figure(r->used >> shift, o, used, sizeof(used)),
		figure(r->avail >> shift, o, avail, sizeof(avail)), percent, where);
}

static struct row row_of(const struct lfs_target *t, bool inodes)
{
	if (inodes) {
		return (struct row){t->files_total, t->files_used, t->files_free};
	}
	return (struct row){t->bytes_total, t->bytes_total - u64_min(t->bytes_free, t->bytes_total),
		t->bytes_avail};
}

/* What is the matter with a target, a letter each. */
static void states_print(FILE *out, const struct lfs_target *t)
{
	char letters[8];
	unsigned n = 0;

	if (t->degraded) {
		letters[n++] = 'D';
	}
	if (t->read_only) {
		letters[n++] = 'R';
	}
	if (t->no_create || t->draining) {
		letters[n++] = 'N';
	}
	if (t->bytes_total > 0 && t->bytes_avail == 0) {
		letters[n++] = 'S';
	}
	if (t->files_total > 0 && t->files_free == 0) {
		letters[n++] = 'I';
	}
	if (n > 0) {
		fprintf(out, " %.*s", (int)n, letters);
	}
}

static void target_print(FILE *out, const struct lfs_targets *all, const struct lfs_target *t,
	const char *point, const struct lfs_df_options *o)
{
	char name[64];
	char where[PATH_MAX + 32];
	struct row r = row_of(t, o->inodes);

	if (!t->active) {
		fprintf(out, "%-20s: inactive device\n", t->name);
		return;
	}
	snprintf(name, sizeof(name), "%s-%s_UUID", all->fsname, t->name);
	snprintf(where, sizeof(where), "%s[%s:%" PRIu32 "]", point,
		t->kind == LFS_MDT ? "MDT" : "OST", t->index);
	row_print(out, name, &r, o, where);
	states_print(out, t);
	fputc('\n', out);
}

static bool wanted(const struct lfs_target *t, const struct lfs_df_options *o)
{
	int64_t index = t->kind == LFS_MDT ? o->mdt_index : o->ost_index;

	if (t->kind == LFS_MGT || (t->kind == LFS_MDT ? !o->mdt : !o->ost)) {
		return false;
	}
	return index == LFS_ANY || index == (int64_t)t->index;
}

/* Whether an OST before i in the list lies on the same disk and was counted. */
static bool disk_counted(const struct lfs_targets *t, size_t i, const struct lfs_df_options *o)
{
	uint64_t fsid = t->list[i].backing_fsid;

	for (size_t k = 0; fsid != 0 && k < i; k++) {
		const struct lfs_target *one = &t->list[k];

		if (one->kind == LFS_OST && one->active && wanted(one, o) &&
			one->backing_fsid == fsid) {
			return true;
		}
	}
	return false;
}

static void row_add(struct row *sum, const struct row *one)
{
	sum->total += one->total;
	sum->used += one->used;
	sum->avail += one->avail;
}

/* Bytes are the OSTs'. Files are the MDTs', as far as the OSTs can hold an object for each. */
static struct row summary(const struct lfs_targets *t, const struct lfs_df_options *o)
{
	struct row mdts = {0};
	struct row osts = {0};
	bool any_mdt = false;
	bool any_ost = false;

	for (size_t i = 0; i < t->count; i++) {
		const struct lfs_target *one = &t->list[i];
		struct row r = row_of(one, o->inodes);

		if (!one->active || !wanted(one, o)) {
			continue;
		}
		if (one->kind == LFS_MDT) {
			any_mdt = true;
			row_add(&mdts, &r);
		} else {
			any_ost = true;
			if (!disk_counted(t, i, o)) {
				row_add(&osts, &r);
			}
		}
	}
	if (!any_ost || (!o->inodes && !o->ost)) {
		return o->inodes || !o->ost ? mdts : osts;
	}
	if (!o->inodes || !any_mdt) {
		return osts;
	}
	if (osts.avail < mdts.avail) {
		mdts.total -= mdts.avail - osts.avail;
		mdts.avail = osts.avail;
	}
	return mdts;
}

void lfs_df_print(
	FILE *out, const struct lfs_targets *t, const char *point, const struct lfs_df_options *o)
{
	struct row sum = summary(t, o);

	if (o->inodes) {
		fprintf(out, "%-20s %11s %11s %11s %4s %s\n", "UUID", "Inodes", "IUsed", "IFree",
			"IUse%", "Mounted on");
	} else {
		fprintf(out, "%-20s %11s %11s %11s %4s %s\n", "UUID",
			o->human ? "bytes" : "1K-blocks", "Used", "Available", "Use%",
			"Mounted on");
	}
	for (size_t i = 0; i < t->count; i++) {
		if (wanted(&t->list[i], o)) {
			target_print(out, t, &t->list[i], point, o);
		}
	}
	fputc('\n', out);
	row_print(out, "filesystem_summary:", &sum, o, point);
	fputc('\n', out);
}

static json_t *target_json(const struct lfs_target *t)
{
	if (!t->active) {
		return json_pack("{s:s, s:s, s:I, s:b, s:s}", "name", t->name, "kind",
			t->kind == LFS_MDT ? "MDT" : "OST", "index", (json_int_t)t->index, "active",
			0, "error", t->error);
	}
	return json_pack("{s:s, s:s, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b}",
		"name", t->name, "kind", t->kind == LFS_MDT ? "MDT" : "OST", "index",
		(json_int_t)t->index, "active", 1, "bytes_total", (json_int_t)t->bytes_total,
		"bytes_free", (json_int_t)t->bytes_free, "bytes_avail", (json_int_t)t->bytes_avail,
		"files_total", (json_int_t)t->files_total, "files_free", (json_int_t)t->files_free,
		"files_used", (json_int_t)t->files_used, "degraded", t->degraded, "read_only",
		t->read_only, "no_create", t->no_create, "draining", t->draining);
}

json_t *lfs_df_json(const struct lfs_targets *t, const char *point)
{
	static const struct lfs_df_options all = {
		.mdt = true, .ost = true, .mdt_index = LFS_ANY, .ost_index = LFS_ANY};
	struct lfs_df_options inodes = all;
	struct row bytes = summary(t, &all);
	struct row files;
	json_t *list = json_array();

	inodes.inodes = true;
	files = summary(t, &inodes);
	for (size_t i = 0; i < t->count; i++) {
		if (t->list[i].kind != LFS_MGT) {
			json_array_append_new(list, target_json(&t->list[i]));
		}
	}
	return json_pack("{s:s, s:s, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "fsname", t->fsname,
		"mount", point, "targets", list, "summary", "bytes_total", (json_int_t)bytes.total,
		"bytes_used", (json_int_t)bytes.used, "bytes_avail", (json_int_t)bytes.avail,
		"files_total", (json_int_t)files.total, "files_used", (json_int_t)files.used,
		"files_free", (json_int_t)files.avail);
}

/* ---- asking ---- */

/* NAME of NAME or FSNAME.NAME; NULL if it is another file system's. */
static const char *pool_name(const char *pool, const char *fsname)
{
	const char *dot = strchr(pool, '.');
	size_t len = strlen(fsname);

	if (dot == NULL) {
		return pool;
	}
	return (size_t)(dot - pool) == len && strncmp(pool, fsname, len) == 0 ? dot + 1 : NULL;
}

static bool listed(const json_t *osts, uint32_t index)
{
	for (size_t i = 0; i < json_array_size(osts); i++) {
		if (json_integer_value(json_array_get(osts, i)) == (json_int_t)index) {
			return true;
		}
	}
	return false;
}

/* Leaves MDTs and the pool's OSTs. */
static int pool_filter(const struct lfs_mount *m, const char *pool, struct lfs_targets *t)
{
	json_t *map = NULL;
	json_t *osts = NULL;
	size_t kept = 0;
	int err = lfs_ask(m->point, true, "nacre.map", &map);

	if (err != 0) {
		return lfs_fail("df", err, "'%s'", m->point);
	}
	err = lfs_pool_find(map, pool, &osts);
	if (err != 0) {
		json_decref(map);
		return lfs_refuse("df", err, "no pool '%s' in file system '%s'", pool, m->fsname);
	}
	for (size_t i = 0; i < t->count; i++) {
		if (t->list[i].kind != LFS_OST || listed(osts, t->list[i].index)) {
			t->list[kept++] = t->list[i];
		}
	}
	t->count = kept;
	json_decref(map);
	return 0;
}

/* *printed: a table stands above. */
static int df_mount(
	const struct lfs_mount *m, const struct lfs_df_options *o, json_t *json, bool *printed)
{
	_cleanup_(lfs_targets_fini) struct lfs_targets t = {0};
	const char *pool = o->pool == NULL ? NULL : pool_name(o->pool, m->fsname);
	json_t *answer = NULL;
	int err = lfs_ask_targets(m->point, "nacre.statfs", &answer);

	if (err == 0) {
		err = lfs_targets_decode(answer, &t);
		json_decref(answer);
	}
	if (err != 0) {
		return lfs_fail("df", err, "'%s'", m->point);
	}
	if (pool != NULL) {
		err = pool_filter(m, pool, &t);
	}
	if (err != 0) {
		return err;
	}
	if (json != NULL) {
		json_array_append_new(json, lfs_df_json(&t, m->point));
		return 0;
	}
	if (*printed) {
		putchar('\n');
	}
	*printed = true;
	lfs_df_print(stdout, &t, m->point, o);
	return 0;
}

int lfs_df(int argc, char **argv)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	struct lfs_df_options o;
	const char *path = NULL;
	size_t count = 0;
	size_t done = 0;
	bool printed = false;
	json_t *json;
	int err = lfs_df_parse(argc, argv, &o, &path);

	if (err == 0) {
		err = lfs_mounts_need("df", path, &mounts, &count);
	}
	if (err != 0) {
		return err;
	}
	json = o.json ? json_array() : NULL;
	for (size_t i = 0; i < count; i++) {
		int rc;

		if (o.pool != NULL && pool_name(o.pool, mounts[i].fsname) == NULL) {
			continue;
		}
		done++;
		rc = df_mount(&mounts[i], &o, json, &printed);
		err = rc != 0 ? rc : err;
	}
	if (done == 0 && err == 0) {
		err = lfs_refuse("df", ENODEV, "no mounted file system has a pool '%s'", o.pool);
	}
	if (json != NULL) {
		int rc = lfs_json_print(json);

		err = rc != 0 ? rc : err;
	}
	return err;
}
