/*
 * lfs find: walks directories and prints what satisfies the predicates.
 *
 * A directory is read whole, then its entries are looked at relative to its descriptor, so nothing
 * is looked up twice and paths may be longer than PATH_MAX. Directories are entered after they were
 * looked at, one descriptor per level; links are not followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "cli/lfs_find.h"

/* Bound of a path in memory, bytes: a level adds a name, and levels are bounded by descriptors. */
#define PATH_BYTES_MAX (64u << 20)

struct walk {
	const struct find_options *o;
	struct strbuf path;
	size_t start_len;
	struct lfs_layout *layout;
	int code;
};

struct entry {
	struct entry *next;
	unsigned char type;
	char name[];
};

static void entries_free(struct entry *list)
{
	while (list != NULL) {
		struct entry *next = list->next;

		mem_free(list);
		list = next;
	}
}

static int entry_add(struct entry ***tail, const struct dirent *d)
{
	size_t len = strlen(d->d_name) + 1;
	struct entry *e = mem_alloc(sizeof(*e) + len);

	if (e == NULL) {
		return ENOMEM;
	}
	e->next = NULL;
	e->type = d->d_type;
	memcpy(e->name, d->d_name, len);
	**tail = e;
	*tail = &e->next;
	return 0;
}

/* All entries of a directory; the descriptor stays the caller's. */
static int entries_read(int fd, struct entry **ret)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct entry *list = NULL;
	struct entry **tail = &list;
	const struct dirent *d;
	int err = 0;

	if (dir == NULL) {
		err = errno;
		if (copy >= 0) {
			close(copy);
		}
		return err;
	}
	while (err == 0) {
		errno = 0;
		d = readdir(dir);
		if (d == NULL) {
			err = errno;
			break;
		}
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
			err = entry_add(&tail, d);
		}
	}
	closedir(dir);
	if (err != 0) {
		entries_free(list);
		return err;
	}
	*ret = list;
	return 0;
}

static void failed(struct walk *w, int err)
{
	w->code = lfs_fail("find", err, "'%s'", strbuf_text(&w->path));
}

static int print(const struct walk *w, struct find_file *f)
{
	switch (w->o->output) {
	case FIND_PRINTF:
		return find_format_print(stdout, w->o->format, f);
	case FIND_PRINT0:
		fputs(f->path, stdout);
		putchar('\0');
		return 0;
	case FIND_PRINT:
		break;
	}
	puts(f->path);
	return 0;
}

/* Looks at one file; false if it vanished or could not be asked. */
static bool visit(struct walk *w, struct find_file *f)
{
	bool match = false;
	int err = 0;

	f->path = strbuf_text(&w->path);
	f->start_len = w->start_len;
	f->layout = w->layout;
	if (f->depth >= (uint64_t)w->o->depth_min) {
		err = find_match(w->o, f, &match);
	}
	if (err == 0 && match) {
		err = print(w, f);
	}
	if (err == 0 && f->type == DT_UNKNOWN) {
		err = find_inode_need(f);
	}
	if (err != 0 && (err != ENOENT || f->depth == 0)) {
		failed(w, err);
	}
	return err == 0;
}

static void directory(struct walk *w, int dir_fd, const char *name, unsigned depth);

static void child(struct walk *w, int fd, const struct entry *e, unsigned depth)
{
	struct find_file f = {
		.dir_fd = fd, .name = e->name, .base = e->name, .depth = depth, .type = e->type};
	size_t len = w->path.len;

	if (len > 0 && strbuf_text(&w->path)[len - 1] != '/') {
		strbuf_puts(&w->path, "/");
	}
	strbuf_puts(&w->path, e->name);
	if (strbuf_error(&w->path) != 0) {
		w->code = lfs_fail("find", ENAMETOOLONG, "'%s'", e->name);
		return;
	}
	if (visit(w, &f) && f.type == DT_DIR) {
		directory(w, fd, e->name, depth);
	}
	w->path.len = len;
	w->path.text[len] = '\0';
}

static void directory(struct walk *w, int dir_fd, const char *name, unsigned depth)
{
	struct entry *list = NULL;
	int fd;
	int err;

	if (depth >= (uint64_t)w->o->depth_max) {
		return;
	}
	fd = openat(
		dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
	if (fd < 0) {
		failed(w, errno);
		return;
	}
	err = entries_read(fd, &list);
	if (err != 0) {
		failed(w, err);
	}
	for (const struct entry *e = list; e != NULL; e = e->next) {
		child(w, fd, e, depth + 1);
	}
	entries_free(list);
	close(fd);
}

/* The last component of an operand, "/" for the root. */
static char *base_of(const char *path)
{
	size_t len = strlen(path);
	size_t begin;

	while (len > 1 && path[len - 1] == '/') {
		len--;
	}
	begin = len;
	while (begin > 0 && path[begin - 1] != '/') {
		begin--;
	}
	return begin == len ? strdup("/") : strndup(path + begin, len - begin);
}

static void operand(struct walk *w, const char *path)
{
	_cleanup_(free_ptr) char *base = base_of(path);
	struct find_file f = {.dir_fd = AT_FDCWD, .name = path, .base = base, .type = DT_UNKNOWN};
	struct lfs_mount m;
	int err = base == NULL ? ENOMEM : lfs_mount_need("find", path, &m);

	if (err != 0) {
		w->code = err;
		return;
	}
	strbuf_clear(&w->path);
	strbuf_puts(&w->path, path);
	w->start_len = w->path.len;
	err = strbuf_error(&w->path) != 0 ? ENOMEM : find_inode_need(&f);
	if (err != 0) {
		w->code = lfs_fail("find", err, "'%s'", path);
	} else if (visit(w, &f) && f.type == DT_DIR) {
		directory(w, AT_FDCWD, path, 0);
	}
}

/* One descriptor per level of directories. */
static void descriptors_raise(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &r);
	}
}

int lfs_find(int argc, char **argv)
{
	_cleanup_(free_ptr) struct find_options *o = mem_alloc(sizeof(*o));
	_cleanup_(free_ptr) struct lfs_layout *layout = mem_alloc(sizeof(*layout));
	struct walk w = {.o = o, .layout = layout};
	int err;

	if (o == NULL || layout == NULL) {
		return lfs_fail("find", ENOMEM, "cannot begin");
	}
	err = find_parse(argc, argv, o);
	if (err != 0) {
		return err;
	}
	descriptors_raise();
	strbuf_init(&w.path, PATH_BYTES_MAX);
	for (unsigned i = 0; i < o->paths_count; i++) {
		operand(&w, o->paths[i]);
	}
	strbuf_fini(&w.path);
	find_options_fini(o);
	return w.code;
}
