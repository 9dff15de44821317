/*
 * The client core: one mount of one file system on one reactor, in fibers.
 *
 * libnacre's blocking API (include/nacre/nacre.h), nacre-fuse and the tools are adapters of this. Every
 * call marked _yields_ runs in a fiber of the client's env, talks to MDT and OSTs, waits through server
 * restarts (for `patience_ns`, 0 = for ever) and ends with -NE_INTR when the fiber is interrupted. Nothing is
 * cached that another client could see as wrong: until leases exist, names, attributes and data are asked
 * for each time. Errors are negative NE_* codes; ne_errno() gives what a POSIX caller sees.
 *
 * Ownership: handles belong to the caller until client_release. Buffers are the caller's and are used
 * in place (bulk goes straight to and from them). Not thread-safe: one reactor; adapters enter it.
 */
#ifndef NACRE_CLIENT_CLIENT_H
#define NACRE_CLIENT_CLIENT_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fid.h"
#include "base/limits.h"
#include "env/env.h"

struct client;
struct client_file; /* an open file or directory */

/* The groups of a process, asked for only when the MDT needs them: fills gids (cap entries). Returns
 * the number, or a negative code. May be NULL: then the list is empty. */
typedef int client_groups_fn(void *ctx, int32_t pid, uint32_t *gids, uint32_t cap);

struct client_options {
	struct env *env;
	const char *const *mgs; /* addresses, NULL-terminated */
	const char *fsname;
	const char *subdir; /* "" or "a/b": becomes the root of the mount */
	const char *key_text; /* contents of the key file (src/rpc: rpc_key_parse) */
	const char *key_path; /* where it came from, for messages; or NULL */
	const char *hostname; /* for people */
	uint32_t pid; /* for people */
	uint64_t patience_ns; /* 0: wait for ever */
	uint64_t mount_patience_ns; /* for client_new itself; 0: 15 s */
	bool read_only;
	client_groups_fn *groups;
	void *groups_ctx;
};

/* Who asks. caps: Linux capability bits; adapters that cannot know pass UINT64_MAX for uid 0, else 0. */
struct client_cred {
	uint32_t uid;
	uint32_t gid;
	int32_t pid;
	uint64_t caps;
	const uint32_t *groups; /* NULL: ask groups() when needed */
	uint32_t group_count;
	bool guard_links; /* the caller's host has fs.protected_hardlinks: see client_link */
};

struct client_attr {
	struct fid fid;
	uint64_t ino;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t rdev;
	uint64_t size; /* bytes; exact (OSTs were asked when the MDT's record is not) */
	uint64_t blocks; /* 512-byte units */
	uint32_t blksize;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint64_t change;
	uint32_t projid;
	unsigned flags; /* enum client_flag */
};

/* A name in a directory. */
struct client_entry {
	struct fid parent;
	const char *name;
};

/* Where a text or value is written, and what fits. */
struct client_out {
	void *buf;
	size_t cap;
};

/* What is written, and where. */
struct client_buffers {
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t off;
};

/* What chattr sets, of files and directories. */
enum client_flag {
	CLIENT_FLAG_IMMUTABLE = 1,
	CLIENT_FLAG_APPEND = 2,
	CLIENT_FLAG_NODUMP = 4,
};

/* client_setattr's valid bits. */
enum client_set {
	CLIENT_SET_MODE = 1,
	CLIENT_SET_UID = 2,
	CLIENT_SET_GID = 4,
	CLIENT_SET_SIZE = 8,
	CLIENT_SET_ATIME = 16,
	CLIENT_SET_ATIME_NOW = 32,
	CLIENT_SET_MTIME = 64,
	CLIENT_SET_MTIME_NOW = 128,
	CLIENT_SET_KILL_SUID = 256, /* what a write by somebody without CAP_FSETID takes away */
	CLIENT_SET_KILL_CAPABILITY = 4096, /* what any write takes away */
	CLIENT_SET_TOUCH = 8192, /* chown(-1, -1) */
	CLIENT_SET_FLAGS = 16384,
	CLIENT_SET_PROJID = 32768,
};

struct client_setattr {
	unsigned valid;
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t size;
	int64_t atime_ns;
	int64_t mtime_ns;
	uint32_t projid;
	unsigned flags; /* enum client_flag */
};

struct client_statfs {
	uint64_t bytes_total, bytes_free, bytes_avail;
	uint64_t files_total, files_free;
	uint32_t block_size;
	uint32_t name_max;
};

/* Connects to the MGS, reads the map, opens the MDT's session, resolves subdir. On failure, ret_why (cap
 * bytes, may be NULL) gets one line for the user: what, where, what to do. */
_yields_ _check_ int client_new(const struct client_options *opt, char *ret_why, size_t why_cap,
	struct client **ret_client);
/* Closes what is open, waits until everything written is on the servers. Accepts NULL. */
_yields_ void client_free(struct client *c);
struct fid client_root(const struct client *c);

/* ---- names ---- */

_yields_ _check_ int client_lookup(struct client *c, const struct client_cred *cred,
	struct fid parent, const char *name, struct client_attr *ret_attr);
/* f: an open handle of it, or NULL. */
_yields_ _check_ int client_getattr(struct client *c, const struct client_cred *cred,
	struct fid fid, struct client_file *f, struct client_attr *ret_attr);
_yields_ _check_ int client_setattr(struct client *c, const struct client_cred *cred,
	struct fid fid, struct client_file *f, const struct client_setattr *set,
	struct client_attr *ret_attr);
_yields_ _check_ int client_access(
	struct client *c, const struct client_cred *cred, struct fid fid, uint32_t mask);

struct client_create {
	uint32_t mode; /* type and permissions asked for */
	uint32_t umask;
	uint64_t rdev;
	const char *target; /* of a symbolic link */
	int open_flags; /* O_*: for client_create_open */
	const void *lov; /* NULL, or a lov_user_md wanted (setstripe) */
	size_t lov_len;
};

/* Makes a directory, node, fifo, socket, symbolic link or regular file without opening it. */
_yields_ _check_ int client_create(struct client *c, const struct client_cred *cred,
	struct fid parent, const char *name, const struct client_create *how,
	struct client_attr *ret_attr);
/* open(O_CREAT): creates and opens, or opens the existing one unless O_EXCL. O_TMPFILE: a file without a name in the
 * directory at.parent (at.name is ignored), which client_link may name unless O_EXCL. */
_yields_ _check_ int client_create_open(struct client *c, const struct client_cred *cred,
	struct client_entry at, const struct client_create *how, struct client_attr *ret_attr,
	struct client_file **ret_file);
_yields_ _check_ int client_unlink(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name);
_yields_ _check_ int client_rmdir(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name);
/* With cred->guard_links only what the caller owns, or a plain file the caller may read and write: -NE_PERM. */
_yields_ _check_ int client_link(struct client *c, const struct client_cred *cred, struct fid fid,
	struct fid parent, const char *name, struct client_attr *ret_attr);
/* Called with the last attributes of each inode whose last name went by a call to this client. Must not yield. */
typedef void client_gone_fn(void *ctx, const struct client_attr *attr);
void client_gone_set(struct client *c, client_gone_fn *fn, void *ctx);
/* flags: RENAME_NOREPLACE, RENAME_EXCHANGE. */
_yields_ _check_ int client_rename(struct client *c, const struct client_cred *cred,
	struct client_entry src, struct client_entry dst, unsigned flags);
/* Writes the target and a NUL. -NE_RANGE when cap is too small. */
_yields_ _check_ int client_readlink(
	struct client *c, const struct client_cred *cred, struct fid fid, char *buf, size_t cap);

/* ---- extended attributes; lustre.lov, trusted.lov and nacre.* are made by the client core ---- */

/* cap 0 asks for the size. */
_yields_ _check_ int client_getxattr(struct client *c, const struct client_cred *cred,
	struct fid fid, const char *name, struct client_out dst, size_t *ret_len);
/* flags: XATTR_CREATE, XATTR_REPLACE. */
_yields_ _check_ int client_setxattr(struct client *c, const struct client_cred *cred,
	struct fid fid, const char *name, struct span value_span, int flags);
_yields_ _check_ int client_removexattr(
	struct client *c, const struct client_cred *cred, struct fid fid, const char *name);
_yields_ _check_ int client_listxattr(struct client *c, const struct client_cred *cred,
	struct fid fid, char *buf, size_t cap, size_t *ret_len);

/* ---- files ---- */

/* The kernel's mark of an execve (__FMODE_EXEC): permission to execute is asked, not to read. */
#define CLIENT_O_EXEC 0x20
/* O_NOATIME where fcntl.h shows it. */
#define CLIENT_O_NOATIME 01000000
/* open_flags: O_ACCMODE (3: permission to do both, as Linux has it), O_APPEND, O_TRUNC, O_SYNC, O_DSYNC, O_DIRECT,
 * CLIENT_O_EXEC, CLIENT_O_NOATIME. */
_yields_ _check_ int client_open(struct client *c, const struct client_cred *cred, struct fid fid,
	int open_flags, struct client_attr *ret_attr, struct client_file **ret_file);
/* Gives the handle back; after a write the file's size becomes the MDT's. The result is what close(2)
 * would report; the handle is gone in any case. */
_yields_ int client_release(struct client *c, struct client_file *f);
struct fid client_file_fid(const struct client_file *f);
/* Reads into the iovec, at most its length; *ret_len is less only at the end of the file. */
_yields_ _check_ int client_read(struct client *c, struct client_file *f, const struct iovec *iov,
	unsigned iov_count, uint64_t off, size_t *ret_len);
/* Writes all of the iovec or fails; with O_APPEND off is ignored. *ret_len counts what was written
 * before an error too. The cred decides about set-id bits. */
_yields_ _check_ int client_write(struct client *c, const struct client_cred *cred,
	struct client_file *f, struct client_buffers io, size_t *ret_len);
/* client_allocate's flags. PUNCH goes with KEEP_SIZE only. */
enum client_allocate {
	CLIENT_ALLOC_KEEP_SIZE = 1,
	CLIENT_ALLOC_PUNCH = 2, /* the range becomes a hole */
	CLIENT_ALLOC_ZERO = 4, /* the range reads as zeros, its space is promised */
};

struct client_range {
	uint64_t off;
	uint64_t len;
};

/* fallocate(2): later writes into the range do not fail for want of space. Without KEEP_SIZE the file grows to the
 * range's end, once all space is there. */
_yields_ _check_ int client_allocate(struct client *c, const struct client_cred *cred,
	struct client_file *f, struct client_range range, unsigned flags);
/* lseek(2) with SEEK_DATA or SEEK_HOLE: the first of it at or behind off. -NE_NXIO: off is not before the end of the
 * file, or no data follows. */
_yields_ _check_ int client_seek(
	struct client *c, struct client_file *f, uint64_t off, bool data, uint64_t *ret_off);

struct client_copy {
	struct client_file *from;
	uint64_t from_off;
	struct client_file *to;
	uint64_t to_off;
	uint64_t len;
};

/* copy_file_range(2) within one mount; ranges of one file must not overlap (-NE_INVAL), the target not be O_APPEND
 * (-NE_BADF). *ret_len is less only at the end of the source, or when it counts what was copied before an error or
 * an interruption. */
_yields_ _check_ int client_copy_range(struct client *c, const struct client_cred *cred,
	const struct client_copy *copy, uint64_t *ret_len);
/* Everything written through any handle of this file so far is durable, and its size. -NE_LOST_WRITES
 * once per handle when a server lost unsynced writes. */
_yields_ _check_ int client_fsync(struct client *c, struct client_file *f, bool data_only);

/* One directory entry; attr is NULL without plus. Non-zero stops the walk (buffer full). */
struct client_dirent {
	const char *name; /* NUL-terminated */
	size_t name_len;
	struct fid fid;
	uint32_t mode; /* type bits of st_mode */
	uint64_t next_cookie; /* position after this entry */
	const struct client_attr *attr;
};
typedef int client_dirent_fn(void *ctx, const struct client_dirent *entry);
struct client_listing {
	uint64_t cookie; /* where to begin; 0: the start */
	size_t bytes_max;
	bool plus; /* with attributes */
	client_dirent_fn *fn;
	void *ctx;
	struct fid *ret_parent;
	bool *ret_end;
};
/* Walks from cookie (0: start) in cookie order; "." and ".." are not among the entries. *ret_end tells
 * that the last entry was passed. At most about bytes_max bytes of entries are fetched. */
_yields_ _check_ int client_readdir(struct client *c, const struct client_cred *cred,
	struct client_file *dir, const struct client_listing *walk);
/* Changes of the directory (or, without a handle, all metadata changes so far) are durable. */
_yields_ _check_ int client_sync(struct client *c);

_yields_ _check_ int client_statfs(struct client *c, struct client_statfs *ret_statfs);

/* ---- for tools ---- */

/* Path from the mount's root without leading slash. */
_yields_ _check_ int client_fid2path(struct client *c, const struct client_cred *cred,
	struct fid fid, uint32_t link, struct client_out out, uint32_t *ret_link_next);
/* Walks a path ("a/b/c") from a directory, following symbolic links when asked to. */
_yields_ _check_ int client_walk(struct client *c, const struct client_cred *cred, struct fid from,
	const char *path, bool follow_last, struct client_attr *ret_attr);
/* JSON text of a tool question, as served under the xattrs nacre.*: see src/client/README.md. */

struct client_counters {
	uint64_t rpcs;
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t reconnects;
	uint64_t open_files;
};
void client_counters(const struct client *c, struct client_counters *ret);
struct metric_batch;
void client_metrics(const struct client *c, struct metric_batch *batch);

#endif
