/*
 * Files.
 *
 * Reads try the page cache in line (preadv2 with RWF_NOWAIT) and go to the ring for the rest; direct ones leave it alone. Small writes
 * are a plain pwritev, because io_uring hands buffered writes to a worker thread, which costs ten times
 * more. Large aligned writes go through a second, O_DIRECT descriptor by the ring: the device reads the
 * caller's memory and the reactor goes on. The kernel keeps the page cache coherent with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

/* Direct writes begin to win here (bytes), and what every device accepts as alignment. */
#define FILE_DIRECT_MIN (128 * KIB)
#define FILE_DIRECT_ALIGN 4096
/* iovecs of one write call; the copy lies on the fiber's stack. */
#define FILE_IOV_MAX 32
/* Deallocating more than this (bytes) may take long: by the ring. */
#define FILE_PUNCH_INLINE_MAX (4 * MIB)

enum file_direct {
	FILE_DIRECT_NO = 0,
	FILE_DIRECT_WANTED, /* not opened yet */
	FILE_DIRECT_OPEN,
};

struct posix_file {
	struct env_file base;
	int fd;
	int direct_fd;
	enum file_direct direct;
	int direct_how; /* to open it: O_WRONLY or O_RDWR */
	bool nowait; /* the file system knows RWF_NOWAIT */
	unsigned flags;
};

static struct posix_file *file_of(struct env_file *f)
{
	return container_of(f, struct posix_file, base);
}

static int code_of(int64_t sys_result)
{
	return sys_result < 0 ? ne_from_errno((int)-sys_result) : 0;
}

int posix_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
	struct posix_file *f;
	int how = O_RDONLY;
	int fd;

	ASSERT(path[0] == '/');
	if ((flags & ENV_OPEN_WRITE) != 0) {
		how = (flags & ENV_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;
	}
	how |= (flags & ENV_OPEN_CREATE) != 0 ? O_CREAT : 0;
	how |= (flags & ENV_OPEN_EXCL) != 0 ? O_EXCL : 0;
	how |= (flags & ENV_OPEN_TRUNC) != 0 ? O_TRUNC : 0;
	f = mem_zalloc(sizeof(*f));
	if (f == NULL) {
		return -NE_NOMEM;
	}
	posix_count_file(env);
	fd = sys_open(path, how, 0600);
	if (fd < 0) {
		mem_free(f);
		return code_of(fd);
	}
	f->base.env = env;
	f->fd = fd;
	f->direct_fd = -1;
	f->direct = (flags & ENV_OPEN_DIRECT) != 0 && (flags & ENV_OPEN_WRITE) != 0
		? FILE_DIRECT_WANTED
		: FILE_DIRECT_NO;
	f->direct_how = (flags & ENV_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;
	f->nowait = true;
	f->flags = flags;
	*ret_file = &f->base;
	return 0;
}

void posix_file_close(struct env_file *base)
{
	struct posix_file *f = file_of(base);

	if (f->direct_fd >= 0) {
		sys_close(f->direct_fd);
	}
	sys_close(f->fd);
	mem_free(f);
}

/* ---- reading ---- */

struct file_rw {
	int fd;
	void *buf;
	const struct iovec *iov;
	unsigned count;
	uint64_t off;
};

static void prep_read(struct io_uring_sqe *sqe, void *arg)
{
	struct file_rw *rw = arg;

	io_uring_prep_read(sqe, rw->fd, rw->buf, rw->count, rw->off);
}

/* Bytes read, 0 at the end of the file, or -errno. */
static int64_t file_read_some(struct posix_file *f, void *buf, size_t len, uint64_t off)
{
	struct file_rw rw = {.fd = f->fd, .buf = buf, .off = off};
	int64_t n = -EAGAIN;

	rw.count = (unsigned)u64_min(len, GIB);
	if (f->nowait) {
		posix_count_file(f->base.env);
		n = sys_preadv2(f->fd, buf, rw.count, off, RWF_NOWAIT);
		if (n == -EOPNOTSUPP) {
			f->nowait = false;
			n = -EAGAIN;
		}
	}
	while (n == -EAGAIN || n == -EINTR) {
		n = posix_ring_call(f->base.env, prep_read, &rw);
	}
	return n;
}

int posix_pread(struct env_file *base, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct posix_file *f = file_of(base);
	size_t done = 0;

	while (done < len) {
		int64_t n = file_read_some(f, (char *)buf + done, len - done, off + done);

		if (n < 0) {
			return code_of(n);
		}
		if (n == 0) {
			break;
		}
		done += (size_t)n;
	}
	*ret_len = done;
	return 0;
}

/* RWF_NOWAIT alone begins to read ahead, at the caller's expense. */
int posix_pread_cached(struct env_file *base, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct posix_file *f = file_of(base);
	int64_t n = 0;

	posix_count_file(base->env);
	if (f->nowait && sys_is_cached(f->fd, off, len) > 0) {
		posix_count_file(base->env);
		n = sys_preadv2(f->fd, buf, len, off, RWF_NOWAIT);
	}
	*ret_len = n > 0 ? (size_t)n : 0;
	return n < 0 && n != -EAGAIN && n != -EOPNOTSUPP ? code_of(n) : 0;
}

/* ---- the second, O_DIRECT descriptor ---- */

/* Opens the second descriptor when it is first of use. */
static bool file_direct_ready(struct posix_file *f)
{
	char path[64];

	if (f->direct == FILE_DIRECT_WANTED) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
		posix_count_file(f->base.env);
		f->direct_fd = sys_open(path, f->direct_how | O_DIRECT, 0);
		f->direct = f->direct_fd >= 0 ? FILE_DIRECT_OPEN : FILE_DIRECT_NO;
	}
	return f->direct == FILE_DIRECT_OPEN;
}

int posix_pread_direct(struct env_file *base, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct posix_file *f = file_of(base);
	struct file_rw rw = {.fd = -1};
	size_t done = 0;
	size_t rest = 0;
	int rc = 0;

	while (done < len && f->direct_how == O_RDWR && file_direct_ready(f)) {
		int64_t n;

		rw = (struct file_rw){.fd = f->direct_fd, .buf = (char *)buf + done};
		rw.count = (unsigned)u64_min(len - done, GIB);
		rw.off = off + done;
		n = posix_ring_call(base->env, prep_read, &rw);
		if (n == -EINVAL || n == -EOPNOTSUPP) {
			f->direct = FILE_DIRECT_NO; /* not for this file system */
		} else if (n < 0 && n != -EINTR && n != -EAGAIN) {
			return code_of(n);
		}
		done += n > 0 ? (size_t)n : 0;
		if (n == 0 || done % FILE_DIRECT_ALIGN != 0) {
			*ret_len = done; /* the end of the file */
			return 0;
		}
	}
	if (done < len) {
		rc = posix_pread(base, (char *)buf + done, len - done, off + done, &rest);
	}
	*ret_len = done + rest;
	return rc;
}

/* ---- writing ---- */

static void prep_writev(struct io_uring_sqe *sqe, void *arg)
{
	struct file_rw *rw = arg;

	io_uring_prep_writev(sqe, rw->fd, rw->iov, rw->count, rw->off);
}

/* But for a rest at the end: programs whose memory does not begin at a page write 1 MiB less 48 bytes, then 48. */
static bool file_is_aligned(const struct iovec *iov, unsigned count, uint64_t off)
{
	uint64_t bits = off;
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		bits |= (uint64_t)(uintptr_t)iov[i].iov_base;
		bits |= i + 1 < count ? iov[i].iov_len : 0;
		total += iov[i].iov_len;
	}
	return bits % FILE_DIRECT_ALIGN == 0 && total >= FILE_DIRECT_MIN;
}

/* Part of an array of iovecs: `skip` bytes of the first are done. */
struct file_cursor {
	const struct iovec *iov;
	unsigned count;
	size_t skip;
	uint64_t off;
};

static void cursor_advance(struct file_cursor *c, size_t n)
{
	c->off += n;
	n += c->skip;
	while (c->count > 0 && n >= c->iov->iov_len) {
		n -= c->iov->iov_len;
		c->iov++;
		c->count--;
	}
	ASSERT(c->count > 0 || n == 0);
	c->skip = n;
}

/* Leaves the rest that is no whole block to a buffered write. False: there is nothing but such a rest. */
static bool part_trim(struct iovec *part, unsigned *count)
{
	size_t total = 0;
	size_t rest;

	for (unsigned i = 0; i < *count; i++) {
		total += part[i].iov_len;
	}
	rest = total % FILE_DIRECT_ALIGN;
	if (total == rest || rest > part[*count - 1].iov_len) {
		return false;
	}
	part[*count - 1].iov_len -= rest;
	*count -= part[*count - 1].iov_len == 0;
	return *count > 0;
}

/* One write call, direct or buffered. Bytes, or -errno. */
static int64_t file_write_some(struct posix_file *f, const struct file_cursor *c, bool *direct)
{
	struct iovec part[FILE_IOV_MAX];
	struct file_rw rw = {.fd = f->direct_fd, .iov = part, .off = c->off};
	int64_t n;

	rw.count = c->count < FILE_IOV_MAX ? c->count : FILE_IOV_MAX;
	memcpy(part, c->iov, rw.count * sizeof(part[0]));
	part[0].iov_base = (char *)part[0].iov_base + c->skip;
	part[0].iov_len -= c->skip;
	*direct = *direct && part_trim(part, &rw.count);
	if (!*direct) {
		posix_count_file(f->base.env);
		return sys_pwritev(f->fd, part, rw.count, c->off);
	}
	n = posix_ring_call(f->base.env, prep_writev, &rw);
	if (n == -EINVAL || n == -EOPNOTSUPP || n > 0) {
		/* Not for this file system; or short, and then the rest may not be aligned. */
		*direct = n > 0 && n % FILE_DIRECT_ALIGN == 0;
		f->direct = n > 0 ? f->direct : FILE_DIRECT_NO;
		n = n > 0 ? n : -EINTR;
	}
	return n;
}

int posix_pwrite(struct env_file *base, const struct iovec *iov, unsigned iov_count, uint64_t off)
{
	struct posix_file *f = file_of(base);
	struct file_cursor c = {.iov = iov, .count = iov_count, .off = off};
	bool direct = f->direct != FILE_DIRECT_NO && file_is_aligned(iov, iov_count, off) &&
		file_direct_ready(f);

	cursor_advance(&c, 0);
	while (c.count > 0) {
		int64_t n = file_write_some(f, &c, &direct);

		if (n == -EINTR || n == -EAGAIN) {
			continue;
		}
		if (n <= 0) {
			return n == 0 ? -NE_NOSPC : code_of(n);
		}
		cursor_advance(&c, (size_t)n);
	}
	return 0;
}

/* ---- durability ---- */

static void prep_fdatasync(struct io_uring_sqe *sqe, void *arg)
{
	const int *fd = arg;

	io_uring_prep_fsync(sqe, *fd, IORING_FSYNC_DATASYNC);
}

static void prep_fsync(struct io_uring_sqe *sqe, void *arg)
{
	const int *fd = arg;

	io_uring_prep_fsync(sqe, *fd, 0);
}

static int file_sync(struct env *env, int fd, void (*prep)(struct io_uring_sqe *sqe, void *arg))
{
	int rc;

	do {
		rc = posix_ring_call(env, prep, &fd);
	} while (rc == -EINTR || rc == -EAGAIN);
	return code_of(rc);
}

int posix_fdatasync(struct env_file *base)
{
	return file_sync(base->env, file_of(base)->fd, prep_fdatasync);
}

int posix_fsync_dir(struct env *env, const char *path)
{
	int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
	int rc;

	if (fd < 0) {
		return code_of(fd);
	}
	rc = file_sync(env, fd, prep_fsync);
	sys_close(fd);
	return rc;
}

struct syncfs_job {
	int fd;
	int rc;
};

static void syncfs_job(void *arg)
{
	struct syncfs_job *job = arg;

	job->rc = sys_syncfs(job->fd);
}

int posix_syncfs(struct env_file *base)
{
	struct syncfs_job job = {.fd = file_of(base)->fd};

	env_job(base->env, ENV_JOB_BULK, syncfs_job, &job);
	return code_of(job.rc);
}

/* ---- size and space ---- */

int posix_ftruncate(struct env_file *base, uint64_t size)
{
	if (size > INT64_MAX) {
		return -NE_FBIG;
	}
	posix_count_file(base->env);
	return code_of(sys_ftruncate(file_of(base)->fd, size));
}

struct file_falloc {
	int fd;
	int mode;
	uint64_t off;
	uint64_t len;
};

static void prep_fallocate(struct io_uring_sqe *sqe, void *arg)
{
	struct file_falloc *fa = arg;

	/* As liburing's, whose length parameter changed its type between versions. */
	io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fa->fd, NULL, (unsigned)fa->mode, fa->off);
	sqe->addr = fa->len;
}

int posix_file_fallocate(
	struct env_file *base, enum env_fallocate_mode mode, uint64_t off, uint64_t len)
{
	static const int modes[] = {
		[ENV_FALLOC_RESERVE] = 0,
		[ENV_FALLOC_KEEP_SIZE] = FALLOC_FL_KEEP_SIZE,
		[ENV_FALLOC_PUNCH] = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		[ENV_FALLOC_ZERO] = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	struct file_falloc fa = {
		.fd = file_of(base)->fd, .mode = modes[mode], .off = off, .len = len};
	int rc;

	if (off > INT64_MAX || len > INT64_MAX - off) {
		return -NE_FBIG;
	}
	if (len > FILE_PUNCH_INLINE_MAX) {
		do {
			rc = posix_ring_call(base->env, prep_fallocate, &fa);
		} while (rc == -EINTR || rc == -EAGAIN);
		return code_of(rc);
	}
	posix_count_file(base->env);
	return code_of(sys_fallocate(fa.fd, fa.mode, off, len));
}

int posix_seek(struct env_file *base, uint64_t off, bool whence_data, uint64_t *ret_off)
{
	int64_t at;

	if (off > INT64_MAX) {
		return -NE_NXIO;
	}
	posix_count_file(base->env);
	at = sys_lseek(file_of(base)->fd, off, whence_data ? SEEK_DATA : SEEK_HOLE);
	if (at < 0) {
		return code_of(at);
	}
	*ret_off = (uint64_t)at;
	return 0;
}

/* ---- attributes ---- */

static void stat_convert(const struct stat *st, struct env_stat *ret_stat)
{
	*ret_stat = (struct env_stat){
		.is_dir = S_ISDIR(st->st_mode),
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks * 512,
		.mtime_ns = st->st_mtim.tv_sec * (int64_t)NS_PER_S + st->st_mtim.tv_nsec,
		.ino = st->st_ino,
		.dev = st->st_dev,
	};
}

int posix_fstat(struct env_file *base, struct env_stat *ret_stat)
{
	struct stat st;
	int rc;

	posix_count_file(base->env);
	rc = sys_fstat(file_of(base)->fd, &st);
	if (rc == 0) {
		stat_convert(&st, ret_stat);
	}
	return code_of(rc);
}

int posix_stat(struct env *env, const char *path, struct env_stat *ret_stat)
{
	struct stat st;
	int rc;

	posix_count_file(env);
	rc = sys_stat(path, &st);
	if (rc == 0) {
		stat_convert(&st, ret_stat);
	}
	return code_of(rc);
}

int posix_file_utime(struct env_file *base, int64_t mtime_ns)
{
	posix_count_file(base->env);
	return code_of(sys_futimens(file_of(base)->fd, mtime_ns));
}

void posix_file_forget(struct env_file *base)
{
	posix_count_file(base->env);
	/* Advice: where it is not taken, the pages may still go at any time. */
	(void)posix_fadvise(file_of(base)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

int posix_file_lock(struct env_file *base)
{
	int rc;

	posix_count_file(base->env);
	rc = sys_flock(file_of(base)->fd);
	return rc == -EAGAIN ? -NE_LOCKED : code_of(rc);
}
