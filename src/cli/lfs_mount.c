/*
 * The Nacre mounts of this host, out of /proc/self/mountinfo (proc(5)), and which of them a path
 * lies on.
 *
 * A path's mount is known by its mount id (statx(2), since Linux 5.8), so bind mounts and mounts
 * that cover each other are told apart. Where the kernel gives none, the longest mount point in
 * front of the real path counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs.h"

#define MOUNTS_FIRST 16
#define MOUNTS_MAX 4096

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x00001000U
#endif

/* \040 and friends become the characters they stand for. */
static void unescape(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] != '\0' && s[3] != '\0') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* HOST:PORT:/fsname[/sub]: what is behind the last ":/". */
static void fsname_cut(const char *source, char *fsname)
{
	const char *name = NULL;
	size_t len;

	for (const char *at = strstr(source, ":/"); at != NULL; at = strstr(at + 1, ":/")) {
		name = at + 2;
	}
	len = name == NULL ? 0 : strcspn(name, "/");
	if (len > LIM_FSNAME_MAX) {
		len = 0;
	}
	memcpy(fsname, name == NULL ? "" : name, len);
	fsname[len] = '\0';
}

bool lfs_mount_parse(char *line, struct lfs_mount *ret)
{
	char *save = NULL;
	char *word = strtok_r(line, " \n", &save);
	char *type;
	char *source;

	for (unsigned i = 0; word != NULL && strcmp(word, "-") != 0; i++) {
		if (i == 0) {
			ret->id = strtoull(word, NULL, 10);
		} else if (i == 4) {
			snprintf(ret->point, sizeof(ret->point), "%s", word);
		}
		word = strtok_r(NULL, " \n", &save);
	}
	type = strtok_r(NULL, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	if (word == NULL || type == NULL || source == NULL || strcmp(type, "fuse.nacre") != 0) {
		return false;
	}
	snprintf(ret->source, sizeof(ret->source), "%s", source);
	unescape(ret->source);
	unescape(ret->point);
	fsname_cut(ret->source, ret->fsname);
	return true;
}

struct mount_list {
	struct lfs_mount *list;
	size_t count;
	size_t cap;
};

static int list_add(struct mount_list *l, const struct lfs_mount *m)
{
	if (l->count == l->cap) {
		size_t cap = l->cap == 0 ? MOUNTS_FIRST : l->cap * 2;
		void *list = cap > MOUNTS_MAX ? NULL : mem_realloc(l->list, cap * sizeof(*m));

		if (list == NULL) {
			return ENOMEM;
		}
		l->list = list;
		l->cap = cap;
	}
	l->list[l->count++] = *m;
	return 0;
}

/* A later mount on the same point covers the earlier one. */
static void list_uncover(struct mount_list *l, const char *point)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++) {
		if (strcmp(l->list[i].point, point) != 0) {
			l->list[kept++] = l->list[i];
		}
	}
	l->count = kept;
}

int lfs_mounts(const char *fsname, struct lfs_mount **ret_list, size_t *ret_count)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(free_ptr) char *line = NULL;
	struct mount_list l = {0};
	struct lfs_mount m;
	size_t cap = 0;
	int err = 0;

	if (f == NULL) {
		return errno;
	}
	while (err == 0 && getline(&line, &cap, f) > 0) {
		if (!lfs_mount_parse(line, &m)) {
			continue;
		}
		list_uncover(&l, m.point);
		if (fsname == NULL || strcmp(fsname, m.fsname) == 0) {
			err = list_add(&l, &m);
		}
	}
	fclose(f);
	if (err != 0) {
		mem_free(l.list);
		return err;
	}
	*ret_list = l.list;
	*ret_count = l.count;
	return 0;
}

static bool below(const char *path, const char *point)
{
	size_t len = strlen(point);

	if (strcmp(point, "/") == 0) {
		return true;
	}
	return strncmp(path, point, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Of the mounts in the list, the one with this id, else the deepest one above the path. */
static const struct lfs_mount *pick(
	const struct lfs_mount *list, size_t count, const struct statx *stx, const char *path)
{
	_cleanup_(free_ptr) char *real = NULL;
	const struct lfs_mount *best = NULL;

	if ((stx->stx_mask & STATX_MNT_ID) != 0) {
		for (size_t i = 0; i < count; i++) {
			if (list[i].id == stx->stx_mnt_id) {
				return &list[i];
			}
		}
		return NULL;
	}
	real = realpath(path, NULL);
	for (size_t i = 0; real != NULL && i < count; i++) {
		if (below(real, list[i].point) &&
			(best == NULL || strlen(list[i].point) >= strlen(best->point))) {
			best = &list[i];
		}
	}
	return best;
}

int lfs_mount_of(const char *path, bool follow, struct lfs_mount *ret)
{
	_cleanup_(free_ptr) struct lfs_mount *list = NULL;
	const struct lfs_mount *found;
	struct statx stx;
	size_t count = 0;
	int err;

	if (statx(AT_FDCWD, path, (follow ? 0 : AT_SYMLINK_NOFOLLOW) | AT_STATX_DONT_SYNC,
		    STATX_MNT_ID | STATX_TYPE, &stx) != 0) {
		return errno;
	}
	err = lfs_mounts(NULL, &list, &count);
	if (err != 0) {
		return err;
	}
	found = pick(list, count, &stx, path);
	if (found == NULL) {
		return ENOTTY;
	}
	*ret = *found;
	return 0;
}

static int refuse(const char *cmd, const char *path, int err)
{
	if (err == ENOTTY) {
		return lfs_refuse(cmd, err, "'%s' is not on a Nacre file system", path);
	}
	return lfs_fail(cmd, err, "cannot access '%s'", path);
}

int lfs_mount_need(const char *cmd, const char *path, struct lfs_mount *ret)
{
	_cleanup_(free_ptr) char *copy = NULL;
	int err = lfs_mount_of(path, true, ret);

	if (err != ENOENT) {
		return err == 0 ? 0 : refuse(cmd, path, err);
	}
	/* A dangling link counts by itself; what is not there at all, by its directory. */
	err = lfs_mount_of(path, false, ret);
	if (err == ENOENT) {
		copy = strdup(path);
		if (copy == NULL) {
			return lfs_fail(cmd, ENOMEM, "'%s'", path);
		}
		err = lfs_mount_of(dirname(copy), true, ret);
	}
	return err == 0 ? 0 : refuse(cmd, path, err);
}

static int mounts_of_path(const char *path, struct lfs_mount **ret_list, size_t *ret_count)
{
	struct lfs_mount *m = mem_alloc(sizeof(*m));
	int err = m == NULL ? ENOMEM : lfs_mount_of(path, true, m);

	if (err != 0) {
		mem_free(m);
		return err;
	}
	*ret_list = m;
	*ret_count = 1;
	return 0;
}

int lfs_mounts_need(
	const char *cmd, const char *arg, struct lfs_mount **ret_list, size_t *ret_count)
{
	struct lfs_mount *list = NULL;
	size_t count = 0;
	int err;

	/* A name, as it holds no slash, means a file system first. */
	if (arg == NULL || strchr(arg, '/') == NULL) {
		err = lfs_mounts(arg, &list, &count);
		if (err != 0) {
			return lfs_fail(cmd, err, "cannot read /proc/self/mountinfo");
		}
		if (count > 0) {
			*ret_list = list;
			*ret_count = count;
			return 0;
		}
		mem_free(list);
	}
	if (arg == NULL) {
		return lfs_refuse(cmd, ENODEV, "no Nacre file system is mounted");
	}
	err = mounts_of_path(arg, ret_list, ret_count);
	if (err == ENOENT && strchr(arg, '/') == NULL) {
		return lfs_refuse(cmd, ENODEV, "no file system '%s' is mounted", arg);
	}
	return err == 0 ? 0 : refuse(cmd, arg, err);
}
