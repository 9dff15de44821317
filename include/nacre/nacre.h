/*
 * libnacre: a Nacre file system from a program of your own, without mounting it.
 *
 * nacre_mount connects to a file system; files are opened by path and read and written at offsets. All calls block, and
 * may be made from any number of threads at the same time, on the same mount and on the same file. Nothing is
 * cached: what another client has written is seen.
 *
 * Results. 0 or a count on success, a negative errno (-ENOENT) on failure; errno itself is not touched.
 * nacre_error_text() says more about the last failure of the calling thread: what, where and why.
 *
 * Paths are UTF-8 or any bytes, relative to the mounted directory, with or without a leading slash.
 * Symbolic links are followed as open(2), stat(2) and so on do. There is no working directory and no umask: modes are
 * used as they are given.
 *
 * Waiting. A server that is restarted is waited for: `patience_s` seconds, or for ever when it is 0. Signals do not
 * interrupt calls, as the library installs no handlers and starts its one thread with all signals blocked; a handler of
 * yours ends the call its thread is in by nacre_interrupt.
 *
 * The library never prints, exits or aborts. If it finds itself inconsistent, every call returns -ENOTRECOVERABLE
 * from then on and the program goes on without the file system. A mount does not survive fork(2): the child must
 * not use it. Structs passed in begin with `size`: set it to sizeof, zero the rest, fill what is needed.
 */
#ifndef NACRE_NACRE_H
#define NACRE_NACRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct nacre; /* a mounted file system */
struct nacre_file; /* an open file */
struct nacre_dir; /* an open directory */

enum nacre_mount_flags {
	NACRE_READ_ONLY = 1, /* refuse changes */
	NACRE_AS_USER =
		2, /* uid, gid and groups below are meant; else those of the calling process */
};

struct nacre_options {
	size_t size; /* sizeof(struct nacre_options) */
	/* Management servers, separated by commas: "HOST", "HOST:PORT" ([::1]:PORT for IPv6; port 7988 by default),
	 * "tcp:HOST:PORT" or "unix:/path". */
	const char *mgs;
	const char *fsname;
	const char *subdir; /* becomes the root of the mount; NULL: the whole file system */
	const char *key_path; /* file with the client key */
	unsigned patience_s; /* 0: wait for ever */
	unsigned flags; /* enum nacre_mount_flags */
	uid_t uid; /* NACRE_AS_USER: who acts. The server decides whether the key permits it. */
	gid_t gid;
	const gid_t *groups; /* supplementary groups */
	size_t groups_count;
};

/* Mounts. On failure `why` (cap bytes, may be NULL) gets one line for people. */
int nacre_mount(const struct nacre_options *options, char *why, size_t cap, struct nacre **ret_fs);
/* Closes what is open (handles become invalid) and unmounts. No other call may be running. 0, or what went wrong
 * with the last writes. fs may be NULL. */
int nacre_umount(struct nacre *fs);
/* Everything written through this mount, and every change of names so far, is durable. */
int nacre_sync(struct nacre *fs);

/* Ends the call that the calling thread is in, as a signal ends a system call: it returns -EINTR, or what it has done
 * so far, if it waits (or soon will). Made for signal handlers, and can be one itself: sigaction's sa_handler. Without
 * a call it does nothing. A call on its last steps, and nacre_close, may end as if nothing had happened. */
void nacre_interrupt(int signal_number);

/* flags: O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_NOFOLLOW, O_DIRECTORY.
 * mode: of a file that is made. */
int nacre_open(
	struct nacre *fs, const char *path, int flags, mode_t mode, struct nacre_file **ret_file);
/* The handle is gone in any case; the result is that of the last writes, as close(2)'s. */
int nacre_close(struct nacre_file *file);
/* Bytes transferred: fewer than asked for only at the end of the file, or after a partial failure. */
ssize_t nacre_pread(struct nacre_file *file, void *buf, size_t len, off_t off);
ssize_t nacre_pwrite(struct nacre_file *file, const void *buf, size_t len, off_t off);
ssize_t nacre_preadv(struct nacre_file *file, const struct iovec *iov, int count, off_t off);
ssize_t nacre_pwritev(struct nacre_file *file, const struct iovec *iov, int count, off_t off);
/* What was written before is durable. -EIO once per handle when a server lost unsynced writes. */
int nacre_fsync(struct nacre_file *file);
int nacre_ftruncate(struct nacre_file *file, off_t size);
/* As fallocate(2). mode: 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE with or
 * without FALLOC_FL_KEEP_SIZE; others: -EOPNOTSUPP. -ENOSPC leaves the size as it was. */
int nacre_fallocate(struct nacre_file *file, int mode, off_t off, off_t len);
/* The first data (SEEK_DATA) or hole (SEEK_HOLE) at or behind off. -ENXIO: off is not before the end of the file, or no data
 * follows. */
off_t nacre_seek(struct nacre_file *file, off_t off, int whence);
/* As copy_file_range(2), of files of one mount: bytes copied, fewer than asked for at the end of `from`. */
ssize_t nacre_copy_file_range(
	struct nacre_file *from, off_t from_off, struct nacre_file *to, off_t to_off, size_t len);
int nacre_fstat(struct nacre_file *file, struct stat *ret_st);

int nacre_stat(struct nacre *fs, const char *path, struct stat *ret_st);
int nacre_lstat(struct nacre *fs, const char *path, struct stat *ret_st);
/* mode: R_OK, W_OK, X_OK, F_OK. */
int nacre_access(struct nacre *fs, const char *path, int mode);
int nacre_truncate(struct nacre *fs, const char *path, off_t size);
int nacre_chmod(struct nacre *fs, const char *path, mode_t mode);
/* (uid_t)-1 and (gid_t)-1 leave them. lchown is of a link itself. */
int nacre_chown(struct nacre *fs, const char *path, uid_t uid, gid_t gid);
int nacre_lchown(struct nacre *fs, const char *path, uid_t uid, gid_t gid);
/* As utimensat(2): UTIME_NOW, UTIME_OMIT; times NULL: now. */
int nacre_utimens(struct nacre *fs, const char *path, const struct timespec times[2]);

int nacre_mkdir(struct nacre *fs, const char *path, mode_t mode);
int nacre_rmdir(struct nacre *fs, const char *path);
int nacre_unlink(struct nacre *fs, const char *path);
/* flags: 0, RENAME_NOREPLACE, RENAME_EXCHANGE. */
int nacre_rename(struct nacre *fs, const char *from, const char *to, unsigned flags);
int nacre_link(struct nacre *fs, const char *from, const char *to);
int nacre_symlink(struct nacre *fs, const char *target, const char *path);
/* Writes the target and a NUL; returns its length. -ERANGE when cap is too small. */
ssize_t nacre_readlink(struct nacre *fs, const char *path, char *buf, size_t cap);

struct nacre_dirent {
	uint64_t ino;
	unsigned char type; /* DT_* */
	char name[256];
};

int nacre_opendir(struct nacre *fs, const char *path, struct nacre_dir **ret_dir);
/* 1: an entry ("." and ".." are not among them), 0: the end. One thread per handle at a time. */
int nacre_readdir(struct nacre_dir *dir, struct nacre_dirent *ret_entry);
int nacre_closedir(struct nacre_dir *dir);

/* Of the file a path names, links followed. Sizes and results as getxattr(2) and so on: cap 0 asks for the size. */
ssize_t nacre_getxattr(struct nacre *fs, const char *path, const char *name, void *buf, size_t cap);
int nacre_setxattr(struct nacre *fs, const char *path, const char *name, const void *value,
	size_t len, int flags);
int nacre_removexattr(struct nacre *fs, const char *path, const char *name);
ssize_t nacre_listxattr(struct nacre *fs, const char *path, char *buf, size_t cap);

int nacre_statvfs(struct nacre *fs, struct statvfs *ret_st);

/* Text for a negative errno, as strerror; never NULL. */
const char *nacre_strerror(int err);
/* One line about the last failure of a call of this thread ("" before the first): "open /a/b: permission denied". Valid
 * until the thread's next call. */
const char *nacre_error_text(void);
/* Version of the library, "0.1.0". */
const char *nacre_version(void);

enum nacre_log_level {
	NACRE_LOG_ERROR = 0,
	NACRE_LOG_WARN = 1,
	NACRE_LOG_INFO = 2,
	NACRE_LOG_DEBUG = 3,
};

/* Where the library's log lines go: nowhere by default (NULL). Called from any thread, one line at a time; it must not
 * call the library. Once, before the first mount. */
typedef void nacre_log_fn(void *ctx, enum nacre_log_level level, const char *line);
void nacre_log_set(nacre_log_fn *fn, void *ctx, enum nacre_log_level level);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
