/*
 * Questions to a mount: extended attributes `nacre.*` and `lustre.lov`, and the facts in their
 * answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "cli/lfs.h"

/* A list in parts ends; a mount that never says so is broken. */
#define PARTS_MAX 1024

static int ask_bytes(
	const char *path, bool follow, const char *name, char *buf, size_t cap, size_t *ret_len)
{
	ssize_t n = follow ? getxattr(path, name, buf, cap) : lgetxattr(path, name, buf, cap);

	if (n < 0) {
		/* No such question: the path is not on Nacre, or the mount is older than this tool.
		 * */
		return errno == EOPNOTSUPP ? ENOTTY : errno;
	}
	*ret_len = (size_t)n;
	return 0;
}

int lfs_ask(const char *path, bool follow, const char *name, json_t **ret)
{
	_cleanup_(free_ptr) char *buf = mem_alloc(LIM_XATTR_VALUE_MAX);
	json_error_t why;
	size_t len = 0;
	json_t *j;
	int err = buf == NULL ? ENOMEM
			      : ask_bytes(path, follow, name, buf, LIM_XATTR_VALUE_MAX, &len);

	if (err != 0) {
		return err;
	}
	j = json_loadb(buf, len, 0, &why);
	if (!json_is_object(j)) {
		json_decref(j);
		return EPROTO;
	}
	*ret = j;
	return 0;
}

/* Appends the next part's targets. */
static int part_add(const char *path, const char *name, json_t *list, json_int_t *next)
{
	char part[64];
	json_t *j = NULL;
	json_int_t had = *next;
	int err;

	snprintf(part, sizeof(part), "%s.%lld", name, (long long)had);
	err = lfs_ask(path, true, part, &j);
	if (err != 0) {
		return err;
	}
	*next = json_integer_value(json_object_get(j, "next"));
	if (json_array_extend(list, json_object_get(j, "targets")) != 0 ||
		(*next != 0 && *next <= had)) {
		err = EPROTO;
	}
	json_decref(j);
	return err;
}

int lfs_ask_targets(const char *path, const char *name, json_t **ret)
{
	json_t *j = NULL;
	json_t *list;
	json_int_t next;
	int err = lfs_ask(path, true, name, &j);

	if (err != 0) {
		return err;
	}
	list = json_object_get(j, "targets");
	next = json_integer_value(json_object_get(j, "next"));
	if (!json_is_array(list)) {
		err = EPROTO;
	}
	for (unsigned i = 0; err == 0 && next > 0 && i < PARTS_MAX; i++) {
		err = part_add(path, name, list, &next);
	}
	if (err != 0) {
		json_decref(j);
		return err;
	}
	json_object_del(j, "next");
	*ret = j;
	return 0;
}

const char *lfs_text(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text == NULL ? "" : text;
}

/* ---- targets ---- */

static uint64_t number(const json_t *j, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(j, key));

	return n < 0 ? 0 : (uint64_t)n;
}

static bool truth(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

static int target_decode(const json_t *j, struct lfs_target *t)
{
	const char *kind = lfs_text(j, "kind");
	const char *state = lfs_text(j, "state");

	if (strcmp(kind, "MGT") == 0) {
		t->kind = LFS_MGT;
	} else if (strcmp(kind, "MDT") == 0) {
		t->kind = LFS_MDT;
	} else if (strcmp(kind, "OST") == 0) {
		t->kind = LFS_OST;
	} else {
		return EPROTO;
	}
	snprintf(t->name, sizeof(t->name), "%s", lfs_text(j, "name"));
	snprintf(t->error, sizeof(t->error), "%s", lfs_text(j, "error"));
	snprintf(t->address, sizeof(t->address), "%s", lfs_text(j, "address"));
	t->index = (uint32_t)number(j, "index");
	/* nacre.map says it, nacre.check has a word for it, in nacre.statfs an error tells. */
	if (json_object_get(j, "active") != NULL) {
		t->active = truth(j, "active");
	} else {
		t->active = state[0] == '\0' ? t->error[0] == '\0' : strcmp(state, "active") == 0;
	}
	t->degraded = truth(j, "degraded");
	t->read_only = truth(j, "read_only");
	t->no_create = truth(j, "no_create");
	t->draining = truth(j, "draining");
	t->bytes_total = number(j, "bytes_total");
	t->bytes_free = number(j, "bytes_free");
	t->bytes_avail = number(j, "bytes_avail");
	t->files_total = number(j, "files_total");
	t->files_free = number(j, "files_free");
	t->files_used = number(j, "files_used");
	t->backing_fsid = number(j, "backing_fsid");
	t->latency_us = number(j, "latency_us");
	return t->name[0] == '\0' ? EPROTO : 0;
}

/* MGT, MDTs, OSTs, each by index. */
static int target_cmp(const void *left, const void *right)
{
	const struct lfs_target *a = left;
	const struct lfs_target *b = right;

	if (a->kind != b->kind) {
		return a->kind < b->kind ? -1 : 1;
	}
	return a->index < b->index ? -1 : a->index > b->index;
}

int lfs_targets_decode(const json_t *answer, struct lfs_targets *ret)
{
	const json_t *list = json_object_get(answer, "targets");
	struct lfs_targets t = {0};
	size_t count = json_array_size(list);
	int err = 0;

	if (!json_is_array(list)) {
		return EPROTO;
	}
	t.list = mem_zalloc_array(count + 1, sizeof(*t.list));
	if (t.list == NULL) {
		return ENOMEM;
	}
	while (err == 0 && t.count < count) {
		err = target_decode(json_array_get(list, t.count), &t.list[t.count]);
		t.count++;
	}
	if (err != 0) {
		lfs_targets_fini(&t);
		return err;
	}
	qsort(t.list, t.count, sizeof(*t.list), target_cmp);
	snprintf(t.fsname, sizeof(t.fsname), "%s", lfs_text(answer, "fsname"));
	*ret = t;
	return 0;
}

void lfs_targets_fini(struct lfs_targets *t)
{
	mem_free(t->list);
	t->list = NULL;
	t->count = 0;
}

int lfs_pool_find(const json_t *map, const char *pool, json_t **ret_osts)
{
	const json_t *pools = json_object_get(map, "pools");

	for (size_t i = 0; i < json_array_size(pools); i++) {
		const json_t *p = json_array_get(pools, i);

		if (strcmp(lfs_text(p, "name"), pool) == 0) {
			*ret_osts = json_object_get(p, "osts");
			return 0;
		}
	}
	return ENOENT;
}

/* ---- layouts ---- */

static int osts_decode(const json_t *list, bool objects, struct lfs_layout *l)
{
	size_t count = json_array_size(list);

	if (count > LIM_STRIPE_COUNT_MAX) {
		return EPROTO;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_array_get(list, i);
		const json_t *index = objects ? json_object_get(one, "ost") : one;

		if (!json_is_integer(index)) {
			return EPROTO;
		}
		l->osts[i] = (uint32_t)json_integer_value(index);
	}
	l->osts_count = (uint32_t)count;
	return 0;
}

int lfs_layout_decode(const json_t *answer, struct lfs_layout *ret)
{
	json_int_t count = json_integer_value(json_object_get(answer, "stripe_count"));
	json_int_t offset = json_integer_value(json_object_get(answer, "stripe_offset"));
	const char *type = lfs_text(answer, "type");
	bool dir = strcmp(type, "directory") == 0;

	memset(ret, 0, sizeof(*ret));
	if ((!dir && strcmp(type, "file") != 0) || count < -1 || count > LAYOUT_COUNT_ALL) {
		return EPROTO;
	}
	ret->dir = dir;
	ret->inherited = truth(answer, "inherited");
	ret->overstriped = truth(answer, "overstriped");
	ret->gen = (uint32_t)number(answer, "gen");
	ret->stripe_size = number(answer, "stripe_size");
	ret->stripe_count = (int)count;
	ret->stripe_offset = offset < 0 || offset >= LAYOUT_OST_ANY ? -1 : (int)offset;
	snprintf(ret->pool, sizeof(ret->pool), "%s", lfs_text(answer, "pool"));
	if (!dir && fid_parse(lfs_text(answer, "fid"), &ret->data_fid) != 0) {
		return EPROTO;
	}
	return osts_decode(json_object_get(answer, dir ? "osts" : "objects"), !dir, ret);
}

int lfs_layout_from_lov(const struct lov_md *md, bool dir, struct lfs_layout *ret)
{
	if (md->osts_count > LIM_STRIPE_COUNT_MAX) {
		return EPROTO;
	}
	memset(ret, 0, sizeof(*ret));
	ret->dir = dir;
	ret->overstriped = (md->pattern & LOV_PATTERN_OVERSTRIPED) != 0;
	ret->stripe_size = md->stripe_size;
	ret->stripe_count = md->stripe_count == LAYOUT_COUNT_ALL ? -1 : md->stripe_count;
	ret->stripe_offset = -1;
	if (!dir) {
		ret->gen = md->stripe_offset;
		ret->data_fid = md->fid;
	} else if (md->stripe_offset != LAYOUT_OST_ANY) {
		ret->stripe_offset = md->stripe_offset;
	}
	memcpy(ret->pool, md->pool, sizeof(ret->pool));
	ret->osts_count = md->osts_count;
	memcpy(ret->osts, md->osts, md->osts_count * sizeof(md->osts[0]));
	if (!dir && md->osts_count > 0) {
		ret->stripe_offset = (int)md->osts[0];
	}
	return 0;
}

int lfs_layout_ask(const char *path, bool follow, struct lfs_layout *ret)
{
	json_t *j = NULL;
	int err = lfs_ask(path, follow, "nacre.layout", &j);

	if (err == 0) {
		err = lfs_layout_decode(j, ret);
		json_decref(j);
	}
	if (err == 0) {
		err = lfs_ask(path, follow, "nacre.fid", &j);
	}
	if (err != 0) {
		return err;
	}
	err = fid_parse(lfs_text(j, "fid"), &ret->fid) == 0 ? 0 : EPROTO;
	json_decref(j);
	return err;
}
