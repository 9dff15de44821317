/*
 * Whether a file satisfies lfs find's predicates: cheap ones first, and nothing is asked that is
 * not needed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs_find.h"

int find_inode_need(struct find_file *f)
{
	if (f->have_inode) {
		return 0;
	}
	if (statx(f->dir_fd, f->name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
		    &f->inode) != 0) {
		return errno;
	}
	f->have_inode = true;
	f->type = (unsigned char)IFTODT(f->inode.stx_mode);
	return 0;
}

/* No getxattrat before Linux 6.13: the directory's descriptor stands in /proc. */
static int lov_get(const struct find_file *f, char *buf, size_t *ret_len)
{
	char near[64 + NAME_MAX];
	const char *path = f->name;
	ssize_t n;

	if (f->dir_fd != AT_FDCWD) {
		snprintf(near, sizeof(near), "/proc/self/fd/%d/%s", f->dir_fd, f->name);
		path = near;
	}
	n = lgetxattr(path, "lustre.lov", buf, LOV_SIZE_MAX);
	if (n < 0) {
		return errno;
	}
	*ret_len = (size_t)n;
	return 0;
}

int find_layout_need(struct find_file *f)
{
	_cleanup_(free_ptr) struct lov_md *md = NULL;
	_cleanup_(free_ptr) char *buf = NULL;
	size_t len = 0;
	int err;

	if (f->have_layout) {
		return 0;
	}
	f->no_layout = f->type != DT_REG && f->type != DT_DIR;
	f->have_layout = true;
	if (f->no_layout) {
		return 0;
	}
	md = mem_alloc(sizeof(*md));
	buf = mem_alloc(LOV_SIZE_MAX);
	err = md == NULL || buf == NULL ? ENOMEM : lov_get(f, buf, &len);
	if (err == ENODATA) {
		f->no_layout = true;
		return 0;
	}
	if (err == 0 && lov_decode(buf, len, md) != 0) {
		err = EPROTO;
	}
	f->have_layout = err == 0;
	return err != 0 ? err : lfs_layout_from_lov(md, f->type == DT_DIR, f->layout);
}

/* ---- comparisons ---- */

static bool number_cmp(uint64_t n, enum find_sign sign, uint64_t value)
{
	switch (sign) {
	case FIND_LESS:
		return n < value;
	case FIND_MORE:
		return n > value;
	case FIND_EQUAL:
		break;
	}
	return n == value;
}

/* Without a sign a size matches if it needs exactly so many units. */
bool find_size_cmp(uint64_t size, enum find_sign sign, uint64_t value, uint64_t unit)
{
	ASSERT(unit > 0);
	if (sign != FIND_EQUAL || unit == 1 || value == 0) {
		return number_cmp(size, sign, value);
	}
	return size <= value && size > value - unit;
}

/* As find(1): an age counts in whole units, what is left is ignored. */
bool find_age_cmp(int64_t age_s, enum find_sign sign, uint64_t value, uint64_t unit)
{
	uint64_t age = age_s < 0 ? 0 : (uint64_t)age_s;

	ASSERT(unit > 0);
	return number_cmp(age / unit, sign, value / unit);
}

static const struct statx_timestamp *stamp(const struct find_file *f, char which)
{
	switch (which) {
	case 'a':
		return &f->inode.stx_atime;
	case 'b':
		return (f->inode.stx_mask & STATX_BTIME) != 0 ? &f->inode.stx_btime : NULL;
	case 'c':
		return &f->inode.stx_ctime;
	}
	return &f->inode.stx_mtime;
}

static bool time_match(
	const struct find_options *o, const struct find_predicate *p, const struct find_file *f)
{
	const struct statx_timestamp *t = stamp(f, p->stamp);

	if (t == NULL) {
		return p->negate; /* not known: never matches */
	}
	if (p->kind == FIND_TIME) {
		return find_age_cmp(o->now_s - t->tv_sec, p->sign, p->value, p->unit);
	}
	return t->tv_sec != p->ref_s ? t->tv_sec > p->ref_s : t->tv_nsec > p->ref_ns;
}

static bool perm_match(const struct find_predicate *p, const struct find_file *f)
{
	unsigned mode = f->inode.stx_mode & 07777u;
	unsigned bits = (unsigned)p->value;

	switch (p->perm) {
	case FIND_PERM_ALL:
		return (mode & bits) == bits;
	case FIND_PERM_ANY:
		return bits == 0 || (mode & bits) != 0;
	case FIND_PERM_EXACT:
		break;
	}
	return mode == bits;
}

static char type_letter(unsigned char type)
{
	switch (type) {
	case DT_BLK:
		return 'b';
	case DT_CHR:
		return 'c';
	case DT_DIR:
		return 'd';
	case DT_REG:
		return 'f';
	case DT_LNK:
		return 'l';
	case DT_FIFO:
		return 'p';
	case DT_SOCK:
		return 's';
	}
	return '?';
}

static bool ost_match(const struct find_predicate *p, const struct lfs_layout *l)
{
	for (uint32_t i = 0; i < l->osts_count; i++) {
		for (uint32_t k = 0; k < p->osts_count; k++) {
			if (l->osts[i] == p->osts[k]) {
				return true;
			}
		}
	}
	return false;
}

static bool layout_match(const struct find_predicate *p, const struct find_file *f)
{
	const struct lfs_layout *l = f->layout;

	if (f->no_layout) {
		return false;
	}
	switch (p->kind) {
	case FIND_STRIPE_COUNT:
		return l->stripe_count < 0
			? p->sign == FIND_MORE
			: number_cmp((uint64_t)l->stripe_count, p->sign, p->value);
	case FIND_STRIPE_SIZE:
		return find_size_cmp(l->stripe_size, p->sign, p->value, p->unit);
	case FIND_OST:
		return ost_match(p, l);
	case FIND_POOL:
		return strcmp(p->text, l->pool) == 0;
	default:
		/* All layouts are of one kind. */
		return strcmp(p->text, "raid0") == 0;
	}
}

static int dir_empty(const struct find_file *f, bool *ret)
{
	int fd = openat(f->dir_fd, f->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (dir == NULL) {
		int err = errno;

		if (fd >= 0) {
			close(fd);
		}
		return err;
	}
	*ret = true;
	while (*ret && (e = readdir(dir)) != NULL) {
		*ret = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	}
	closedir(dir);
	return 0;
}

/* ---- predicates ---- */

static bool name_match(const struct find_predicate *p, const struct find_file *f)
{
	switch (p->kind) {
	case FIND_NAME:
		return fnmatch(p->text, f->base, 0) == 0;
	case FIND_INAME:
		return fnmatch(p->text, f->base, FNM_CASEFOLD) == 0;
	case FIND_PATH:
		return fnmatch(p->text, f->path, 0) == 0;
	case FIND_MDT:
		return p->value != 0;
	default:
		return strchr(p->text, type_letter(f->type)) != NULL;
	}
}

static bool inode_match(
	const struct find_options *o, const struct find_predicate *p, const struct find_file *f)
{
	switch (p->kind) {
	case FIND_SIZE:
		return find_size_cmp(f->inode.stx_size, p->sign, p->value, p->unit);
	case FIND_BLOCKS:
		return find_size_cmp(f->inode.stx_blocks * 512, p->sign, p->value, p->unit);
	case FIND_PERM:
		return perm_match(p, f);
	case FIND_USER:
		return number_cmp(f->inode.stx_uid, p->sign, p->value);
	case FIND_GROUP:
		return number_cmp(f->inode.stx_gid, p->sign, p->value);
	case FIND_LINKS:
		return number_cmp(f->inode.stx_nlink, p->sign, p->value);
	case FIND_INUM:
		return number_cmp(f->inode.stx_ino, p->sign, p->value);
	default:
		return time_match(o, p, f);
	}
}

static int empty_match(struct find_file *f, bool *ret)
{
	int err = 0;

	*ret = false;
	if (f->type == DT_DIR) {
		return dir_empty(f, ret);
	}
	if (f->type == DT_REG) {
		err = find_inode_need(f);
		*ret = err == 0 && f->inode.stx_size == 0;
	}
	return err;
}

/* 0: by name, 1: by inode, 2: by layout or entries. */
static unsigned stage(enum find_kind kind)
{
	if (kind < FIND_SIZE) {
		return 0;
	}
	return kind < FIND_STRIPE_COUNT ? 1 : 2;
}

static int one_match(const struct find_options *o, const struct find_predicate *p,
	struct find_file *f, bool *ret)
{
	int err = 0;

	switch (stage(p->kind)) {
	case 0:
		if (p->kind == FIND_TYPE && f->type == DT_UNKNOWN) {
			err = find_inode_need(f);
		}
		*ret = err == 0 && name_match(p, f);
		break;
	case 1:
		err = find_inode_need(f);
		*ret = err == 0 && inode_match(o, p, f);
		break;
	default:
		if (f->type == DT_UNKNOWN) {
			err = find_inode_need(f);
		}
		if (err == 0 && p->kind == FIND_EMPTY) {
			err = empty_match(f, ret);
		} else if (err == 0) {
			err = find_layout_need(f);
			*ret = err == 0 && layout_match(p, f);
		}
	}
	return err;
}

int find_match(const struct find_options *o, struct find_file *f, bool *ret_match)
{
	for (unsigned s = 0; s <= 2; s++) {
		for (unsigned i = 0; i < o->count; i++) {
			const struct find_predicate *p = &o->list[i];
			bool match = false;
			int err;

			if (stage(p->kind) != s) {
				continue;
			}
			err = one_match(o, p, f, &match);
			if (err != 0) {
				return err;
			}
			if (match == p->negate) {
				*ret_match = false;
				return 0;
			}
		}
	}
	*ret_match = true;
	return 0;
}
