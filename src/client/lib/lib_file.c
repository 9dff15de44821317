/*
 * Open files.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/lib_int.h"

static struct timespec time_of(int64_t ns)
{
	int64_t sec = ns / (int64_t)NS_PER_S;
	int64_t rest = ns % (int64_t)NS_PER_S;

	if (rest < 0) {
		sec--;
		rest += (int64_t)NS_PER_S;
	}
	return (struct timespec){.tv_sec = sec, .tv_nsec = (long)rest};
}

void lib_stat_fill(const struct client_attr *a, struct stat *ret_st)
{
	memset(ret_st, 0, sizeof(*ret_st));
	ret_st->st_ino = a->ino;
	ret_st->st_mode = a->mode;
	ret_st->st_nlink = a->nlink;
	ret_st->st_uid = a->uid;
	ret_st->st_gid = a->gid;
	ret_st->st_rdev = a->rdev;
	ret_st->st_size = (off_t)a->size;
	ret_st->st_blocks = (blkcnt_t)a->blocks;
	ret_st->st_blksize = (blksize_t)a->blksize;
	ret_st->st_atim = time_of(a->atime_ns);
	ret_st->st_mtim = time_of(a->mtime_ns);
	ret_st->st_ctim = time_of(a->ctime_ns);
}

/* ---- open ---- */

static int open_existing(struct lib_call *call, struct fid fid, struct client_file **ret_file)
{
	return client_open(call->fs->client, &call->cred, fid, call->flags, &call->attr, ret_file);
}

static int open_create(struct lib_call *call, struct client_file **ret_file)
{
	char name[LIM_NAME_MAX + 1];
	struct client_attr attr;
	struct fid parent;
	int err = lib_parent(call, call->path, &parent, name);

	if (err != 0) {
		return err;
	}
	/* A link that leads nowhere is not made a file of. */
	err = client_lookup(call->fs->client, &call->cred, parent, name, &attr);
	if (err == 0 && S_ISLNK(attr.mode)) {
		return (call->flags & O_EXCL) != 0 ? -NE_EXIST : -NE_NOENT;
	}
	if (err != 0 && err != -NE_NOENT) {
		return err;
	}
	return client_create_open(call->fs->client, &call->cred,
		(struct client_entry){parent, name}, &call->create, &call->attr, ret_file);
}

static int open_check(struct lib_call *call, const struct client_attr *attr)
{
	if ((call->flags & O_CREAT) != 0 && (call->flags & O_EXCL) != 0) {
		return -NE_EXIST;
	}
	if (S_ISLNK(attr->mode)) {
		return -NE_LOOP;
	}
	if ((call->flags & O_DIRECTORY) != 0 && !S_ISDIR(attr->mode)) {
		return -NE_NOTDIR;
	}
	if (S_ISDIR(attr->mode) && (call->flags & (O_ACCMODE | O_CREAT)) != O_RDONLY) {
		return -NE_ISDIR;
	}
	return S_ISREG(attr->mode) || S_ISDIR(attr->mode) ? 0 : -NE_NXIO;
}

static int open_any(struct lib_call *call, struct client_file **ret_file)
{
	struct client_attr attr;
	int err = lib_walk(call, call->path, (call->flags & O_NOFOLLOW) == 0, &attr);

	if (err == -NE_NOENT && (call->flags & O_CREAT) != 0) {
		return open_create(call, ret_file);
	}
	if (err == 0) {
		err = open_check(call, &attr);
	}
	return err != 0 ? err : open_existing(call, attr.fid, ret_file);
}

static int open_fiber(struct lib_call *call)
{
	struct nacre_file *f = mem_zalloc(sizeof(*f));
	int err = f == NULL ? -NE_NOMEM : open_any(call, &f->file);

	if (err != 0) {
		mem_free(f);
		return err;
	}
	f->fs = call->fs;
	list_push_back(&call->fs->files, &f->link);
	call->ret_file = f;
	return 0;
}

_export_ int nacre_open(
	struct nacre *fs, const char *path, int flags, mode_t mode, struct nacre_file **ret_file)
{
	struct lib_call call = {.what = "open", .fn = open_fiber, .path = path, .flags = flags};
	int rc;

	/* A file without a name could not be named by this API. */
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		return lib_fail(&call, -NE_NOTSUP);
	}
	call.create.mode = S_IFREG | (mode & 07777);
	call.create.open_flags = flags;
	rc = lib_run(fs, &call);
	if (rc == 0) {
		*ret_file = call.ret_file;
	}
	return rc;
}

static int close_fiber(struct lib_call *call)
{
	struct nacre_file *f = call->file;
	int err;

	list_del(&f->link);
	err = client_release(call->fs->client, f->file);
	mem_free(f);
	return err;
}

_export_ int nacre_close(struct nacre_file *file)
{
	struct lib_call call = {.what = "close", .fn = close_fiber, .file = file};

	return lib_run(file->fs, &call);
}

/* ---- data ---- */

static int read_fiber(struct lib_call *call)
{
	return client_read(call->fs->client, call->file->file, call->iov, call->iov_count,
		call->off, &call->len);
}

static int write_fiber(struct lib_call *call)
{
	return client_write(call->fs->client, &call->cred, call->file->file,
		(struct client_buffers){call->iov, call->iov_count, call->off}, &call->len);
}

static ssize_t transfer(struct nacre_file *file, struct lib_call *call, int count, off_t off)
{
	uint64_t total = 0;
	int rc;

	if (off < 0 || count < 0 || count > IOV_MAX) {
		return lib_fail(call, -NE_INVAL);
	}
	for (int i = 0; i < count; i++) {
		total += call->iov[i].iov_len;
		if (call->iov[i].iov_len > SSIZE_MAX || total > SSIZE_MAX) {
			return lib_fail(call, -NE_INVAL);
		}
	}
	call->file = file;
	call->iov_count = (unsigned)count;
	call->off = (uint64_t)off;
	rc = lib_run(file->fs, call);
	return rc == 0 || call->len > 0 ? (ssize_t)call->len : rc;
}

_export_ ssize_t nacre_preadv(
	struct nacre_file *file, const struct iovec *iov, int count, off_t off)
{
	struct lib_call call = {.what = "read", .fn = read_fiber, .iov = iov};

	return transfer(file, &call, count, off);
}

_export_ ssize_t nacre_pwritev(
	struct nacre_file *file, const struct iovec *iov, int count, off_t off)
{
	struct lib_call call = {.what = "write", .fn = write_fiber, .iov = iov};

	return transfer(file, &call, count, off);
}

_export_ ssize_t nacre_pread(struct nacre_file *file, void *buf, size_t len, off_t off)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};

	return nacre_preadv(file, &iov, 1, off);
}

_export_ ssize_t nacre_pwrite(struct nacre_file *file, const void *buf, size_t len, off_t off)
{
	/* An iovec has no const; the bytes are only read. */
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};

	return nacre_pwritev(file, &iov, 1, off);
}

static int fsync_fiber(struct lib_call *call)
{
	return client_fsync(call->fs->client, call->file->file, false);
}

_export_ int nacre_fsync(struct nacre_file *file)
{
	struct lib_call call = {.what = "fsync", .fn = fsync_fiber, .file = file};

	return lib_run(file->fs, &call);
}

static int fset_fiber(struct lib_call *call)
{
	struct client_file *f = call->file->file;

	return client_setattr(
		call->fs->client, &call->cred, client_file_fid(f), f, &call->set, &call->attr);
}

_export_ int nacre_ftruncate(struct nacre_file *file, off_t size)
{
	struct lib_call call = {.what = "ftruncate", .fn = fset_fiber, .file = file};

	call.set = (struct client_setattr){.valid = CLIENT_SET_SIZE, .size = (uint64_t)size};
	return size < 0 ? lib_fail(&call, -NE_INVAL) : lib_run(file->fs, &call);
}

static int fstat_fiber(struct lib_call *call)
{
	struct client_file *f = call->file->file;

	return client_getattr(call->fs->client, &call->cred, client_file_fid(f), f, &call->attr);
}

_export_ int nacre_fstat(struct nacre_file *file, struct stat *ret_st)
{
	struct lib_call call = {.what = "fstat", .fn = fstat_fiber, .file = file};
	int rc = lib_run(file->fs, &call);

	if (rc == 0) {
		lib_stat_fill(&call.attr, ret_st);
	}
	return rc;
}
