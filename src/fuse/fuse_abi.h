/*
 * The FUSE protocol as Linux speaks it on /dev/fuse and over io_uring: our own definitions of what we use.
 *
 * Distributions' headers are older than the kernels they run on, so nothing here comes from <linux/fuse.h>. The
 * numbers in comments are the protocol's minor version and the first kernel that has it (7.9 if none is given: we
 * refuse older ones). Source: the kernel's include/uapi/linux/fuse.h and fs/fuse/. Little and big endian: the
 * protocol is in the host's byte order. Sizes are asserted; every structure is a multiple of 8 bytes.
 */
#ifndef NACRE_FUSE_FUSE_ABI_H
#define NACRE_FUSE_FUSE_ABI_H

#include "base/base.h"

#define FUSE_MAJOR 7
#define FUSE_MINOR_MIN 31 /* Linux 5.4: the oldest kernel of a supported distribution */
#define FUSE_MINOR_MAX 45 /* Linux 6.18 */
#define FUSE_NODE_ROOT UINT64_C(1)
/* The kernel refuses reads with less room than this, or than max_write and the headers of a WRITE. */
#define FUSE_READ_MIN 8192
/* uid and gid of a request that no process stands behind (6.12). */
#define FUSE_ID_NONE UINT32_MAX

enum fuse_opcode {
	FUSE_LOOKUP = 1,
	FUSE_FORGET = 2,
	FUSE_GETATTR = 3,
	FUSE_SETATTR = 4,
	FUSE_READLINK = 5,
	FUSE_SYMLINK = 6,
	FUSE_MKNOD = 8,
	FUSE_MKDIR = 9,
	FUSE_UNLINK = 10,
	FUSE_RMDIR = 11,
	FUSE_RENAME = 12,
	FUSE_LINK = 13,
	FUSE_OPEN = 14,
	FUSE_READ = 15,
	FUSE_WRITE = 16,
	FUSE_STATFS = 17,
	FUSE_RELEASE = 18,
	FUSE_FSYNC = 20,
	FUSE_SETXATTR = 21,
	FUSE_GETXATTR = 22,
	FUSE_LISTXATTR = 23,
	FUSE_REMOVEXATTR = 24,
	FUSE_FLUSH = 25,
	FUSE_INIT = 26,
	FUSE_OPENDIR = 27,
	FUSE_READDIR = 28,
	FUSE_RELEASEDIR = 29,
	FUSE_FSYNCDIR = 30,
	FUSE_GETLK = 31,
	FUSE_SETLK = 32,
	FUSE_SETLKW = 33,
	FUSE_ACCESS = 34,
	FUSE_CREATE = 35,
	FUSE_INTERRUPT = 36,
	FUSE_BMAP = 37,
	FUSE_DESTROY = 38,
	FUSE_IOCTL = 39,
	FUSE_POLL = 40,
	FUSE_NOTIFY_REPLY = 41,
	FUSE_BATCH_FORGET = 42,
	FUSE_FALLOCATE = 43,
	FUSE_READDIRPLUS = 44,
	FUSE_RENAME2 = 45,
	FUSE_LSEEK = 46,
	FUSE_COPY_FILE_RANGE = 47,
	FUSE_SETUPMAPPING = 48,
	FUSE_REMOVEMAPPING = 49,
	FUSE_SYNCFS = 50, /* 7.34, 5.14 */
	FUSE_TMPFILE = 51, /* 7.37, 6.2 */
	FUSE_STATX = 52, /* 7.39, 6.6 */
	FUSE_COPY_FILE_RANGE_64 = 53, /* 7.45, 6.18 */
	FUSE_OPCODES = 54,
};

/* INIT flags, as one 64-bit word: the high half travels in flags2 where FUSE_INIT_EXT is set (7.36, 5.17). */
#define FUSE_ASYNC_READ (UINT64_C(1) << 0)
#define FUSE_POSIX_LOCKS (UINT64_C(1) << 1)
#define FUSE_ATOMIC_O_TRUNC (UINT64_C(1) << 3)
#define FUSE_BIG_WRITES (UINT64_C(1) << 5)
#define FUSE_DONT_MASK (UINT64_C(1) << 6)
#define FUSE_FLOCK_LOCKS (UINT64_C(1) << 10)
#define FUSE_AUTO_INVAL_DATA (UINT64_C(1) << 12)
#define FUSE_DO_READDIRPLUS (UINT64_C(1) << 13)
#define FUSE_READDIRPLUS_AUTO (UINT64_C(1) << 14)
#define FUSE_ASYNC_DIO (UINT64_C(1) << 15)
#define FUSE_WRITEBACK_CACHE (UINT64_C(1) << 16)
#define FUSE_PARALLEL_DIROPS (UINT64_C(1) << 18)
#define FUSE_MAX_PAGES (UINT64_C(1) << 22) /* 7.28, 4.20 */
#define FUSE_EXPLICIT_INVAL_DATA (UINT64_C(1) << 25) /* 7.30, 5.2 */
#define FUSE_HANDLE_KILLPRIV_V2 (UINT64_C(1) << 28) /* 7.33, 5.11 */
#define FUSE_SETXATTR_EXT (UINT64_C(1) << 29) /* 7.33, 5.11 */
#define FUSE_INIT_EXT (UINT64_C(1) << 30) /* 7.36, 5.17 */
#define FUSE_HAS_EXPIRE_ONLY (UINT64_C(1) << 35) /* 7.38, 6.2 */
#define FUSE_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36) /* 7.39, 6.6 */
#define FUSE_PASSTHROUGH (UINT64_C(1) << 37) /* 7.40, 6.9 */
#define FUSE_HAS_RESEND (UINT64_C(1) << 39) /* 7.40, 6.9 */
#define FUSE_OVER_IO_URING (UINT64_C(1) << 41) /* 7.42, 6.14 */

enum fuse_fopen {
	FOPEN_DIRECT_IO = 1,
	FOPEN_KEEP_CACHE = 2,
	FOPEN_CACHE_DIR = 8,
	FOPEN_NOFLUSH = 32, /* 7.35, 5.16 */
	FOPEN_PARALLEL_DIRECT_WRITES = 64, /* 7.38, 6.2 */
};

enum fuse_fattr {
	FATTR_MODE = 1,
	FATTR_UID = 2,
	FATTR_GID = 4,
	FATTR_SIZE = 8,
	FATTR_ATIME = 16,
	FATTR_MTIME = 32,
	FATTR_FH = 64,
	FATTR_ATIME_NOW = 128,
	FATTR_MTIME_NOW = 256,
	FATTR_LOCKOWNER = 512,
	FATTR_CTIME = 1024,
	FATTR_KILL_SUIDGID = 2048, /* 7.33, 5.11 */
};

#define FUSE_GETATTR_FH 1u
#define FUSE_OPEN_KILL_SUIDGID 1u /* 7.33 */
#define FUSE_WRITE_CACHE 1u
#define FUSE_WRITE_LOCKOWNER 2u
#define FUSE_WRITE_KILL_SUIDGID 4u /* 7.31 */
#define FUSE_FSYNC_FDATASYNC 1u

/* ---- headers ---- */

struct fuse_in_header {
	uint32_t len; /* of header and all that follows */
	uint32_t opcode;
	uint64_t unique;
	uint64_t nodeid;
	uint32_t uid;
	uint32_t gid;
	uint32_t pid; /* the thread's number in the mount's pid name space, or 0 */
	uint16_t ext_len8; /* extensions at the end, in units of 8 bytes (7.38) */
	uint16_t padding;
};

struct fuse_out_header {
	uint32_t len;
	int32_t error; /* 0 or a negative errno */
	uint64_t
		unique; /* of the request; with FUSE_UNIQUE_INTERRUPT set: of the INTERRUPT itself */
};

/* ---- requests: what follows the header ---- */

struct fuse_forget_in {
	uint64_t nlookup;
};

struct fuse_batch_forget_in {
	uint32_t count; /* pairs (nodeid, nlookup) that follow */
	uint32_t dummy;
};

struct fuse_getattr_in {
	uint32_t flags;
	uint32_t dummy;
	uint64_t fh;
};

struct fuse_statx_in {
	uint32_t flags;
	uint32_t reserved;
	uint64_t fh;
	uint32_t sx_flags;
	uint32_t sx_mask;
};

struct fuse_mknod_in {
	uint32_t mode;
	uint32_t rdev;
	uint32_t umask;
	uint32_t padding;
};

struct fuse_mkdir_in {
	uint32_t mode;
	uint32_t umask;
};

struct fuse_rename_in {
	uint64_t newdir;
};

struct fuse_rename2_in {
	uint64_t newdir;
	uint32_t flags;
	uint32_t padding;
};

struct fuse_link_in {
	uint64_t nodeid;
};

struct fuse_setattr_in {
	uint32_t valid;
	uint32_t padding;
	uint64_t fh;
	uint64_t size;
	uint64_t lock_owner;
	uint64_t atime;
	uint64_t mtime;
	uint64_t ctime;
	uint32_t atime_ns;
	uint32_t mtime_ns;
	uint32_t ctime_ns;
	uint32_t mode;
	uint32_t unused4;
	uint32_t uid;
	uint32_t gid;
	uint32_t unused5;
};

struct fuse_open_in {
	uint32_t flags;
	uint32_t open_flags;
};

struct fuse_create_in {
	uint32_t flags;
	uint32_t mode;
	uint32_t umask;
	uint32_t open_flags;
};

struct fuse_release_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t release_flags;
	uint64_t lock_owner;
};

struct fuse_flush_in {
	uint64_t fh;
	uint32_t unused;
	uint32_t padding;
	uint64_t lock_owner;
};

/* READ, READDIR, READDIRPLUS and WRITE. */
struct fuse_io_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t size;
	uint32_t io_flags;
	uint64_t lock_owner;
	uint32_t flags; /* of the open file now: O_* */
	uint32_t padding;
};

struct fuse_fsync_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t padding;
};

/* Without FUSE_SETXATTR_EXT only the first 8 bytes are sent. */
struct fuse_setxattr_in {
	uint32_t size;
	uint32_t flags;
	uint32_t ext_flags;
	uint32_t padding;
};
#define FUSE_SETXATTR_IN_COMPAT 8u

struct fuse_getxattr_in {
	uint32_t size;
	uint32_t padding;
};

struct fuse_access_in {
	uint32_t mask;
	uint32_t padding;
};

struct fuse_init_in {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint32_t flags2;
	uint32_t unused[11];
};
/* Before 7.36. */
#define FUSE_INIT_IN_COMPAT 16u

struct fuse_interrupt_in {
	uint64_t unique;
};

struct fuse_fallocate_in {
	uint64_t fh;
	uint64_t offset;
	uint64_t length;
	uint32_t mode;
	uint32_t padding;
};

struct fuse_lseek_in {
	uint64_t fh;
	uint64_t offset;
	uint32_t whence;
	uint32_t padding;
};

struct fuse_copy_file_range_in {
	uint64_t fh_in;
	uint64_t off_in;
	uint64_t nodeid_out;
	uint64_t fh_out;
	uint64_t off_out;
	uint64_t len;
	uint64_t flags;
};

struct fuse_ioctl_in {
	uint64_t fh;
	uint32_t flags;
	uint32_t cmd;
	uint64_t arg;
	uint32_t in_size;
	uint32_t out_size;
};

/* ---- answers ---- */

struct fuse_attr {
	uint64_t ino;
	uint64_t size;
	uint64_t blocks; /* of 512 bytes */
	uint64_t atime;
	uint64_t mtime;
	uint64_t ctime;
	uint32_t atime_ns;
	uint32_t mtime_ns;
	uint32_t ctime_ns;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint32_t rdev;
	uint32_t blksize; /* a power of two, or 0 */
	uint32_t flags;
};

struct fuse_entry_out {
	uint64_t nodeid;
	uint64_t generation;
	uint64_t entry_valid; /* seconds the kernel may believe it */
	uint64_t attr_valid;
	uint32_t entry_valid_ns;
	uint32_t attr_valid_ns;
	struct fuse_attr attr;
};

struct fuse_attr_out {
	uint64_t attr_valid;
	uint32_t attr_valid_ns;
	uint32_t dummy;
	struct fuse_attr attr;
};

struct fuse_sx_time {
	int64_t sec;
	uint32_t ns;
	int32_t reserved;
};

struct fuse_statx {
	uint32_t mask;
	uint32_t blksize;
	uint64_t attributes;
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint16_t mode;
	uint16_t spare0[1];
	uint64_t ino;
	uint64_t size;
	uint64_t blocks;
	uint64_t attributes_mask;
	struct fuse_sx_time atime;
	struct fuse_sx_time btime;
	struct fuse_sx_time ctime;
	struct fuse_sx_time mtime;
	uint32_t rdev_major;
	uint32_t rdev_minor;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t spare2[14];
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_ns;
	uint32_t flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};

struct fuse_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

/* CREATE's answer: both, one behind the other. */
struct fuse_create_out {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

struct fuse_write_out {
	uint32_t size;
	uint32_t padding;
};

struct fuse_lseek_out {
	uint64_t offset;
};

/* Of COPY_FILE_RANGE_64; the older request is answered as a WRITE is. */
struct fuse_copy_file_range_out {
	uint64_t bytes_copied;
};

struct fuse_statfs_out {
	uint64_t blocks;
	uint64_t bfree;
	uint64_t bavail;
	uint64_t files;
	uint64_t ffree;
	uint32_t bsize;
	uint32_t namelen;
	uint32_t frsize;
	uint32_t padding;
	uint32_t spare[6];
};

/* What the kernel's own file attribute calls look at; the argument's bytes follow. */
struct fuse_ioctl_out {
	int32_t result;
	uint32_t flags;
	uint32_t in_iovs;
	uint32_t out_iovs;
};

struct fuse_getxattr_out {
	uint32_t size;
	uint32_t padding;
};

struct fuse_init_out {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
	uint16_t max_background;
	uint16_t congestion_threshold;
	uint32_t max_write;
	uint32_t time_gran;
	uint16_t max_pages;
	uint16_t map_alignment;
	uint32_t flags2;
	uint32_t max_stack_depth;
	uint16_t request_timeout; /* 7.43 */
	uint16_t unused[11];
};

/* An entry of READDIR: this, the name, zeros up to a multiple of 8. READDIRPLUS puts a fuse_entry_out before. */
struct fuse_dirent {
	uint64_t ino;
	uint64_t off; /* of the entry behind it */
	uint32_t namelen;
	uint32_t type; /* DT_*: the type bits of the mode >> 12 */
};

/* ---- over io_uring (7.42, 6.14; modules' switch enable_uring) ---- */

enum fuse_uring_cmd {
	FUSE_URING_REGISTER = 1,
	FUSE_URING_COMMIT_AND_FETCH = 2,
};

struct fuse_uring_ent {
	uint64_t flags;
	uint64_t commit_id;
	uint32_t payload_size;
	uint32_t padding;
	uint64_t reserved;
};

/* The shared header of an entry. in_out: fuse_in_header, then our fuse_out_header; op_in: the request's own
 * structure; everything else, and the whole answer, is in the payload. */
struct fuse_uring_header {
	uint8_t in_out[128];
	uint8_t op_in[128];
	struct fuse_uring_ent ent;
};

/* In the command area of a 128-byte submission entry. */
struct fuse_uring_cmd_req {
	uint64_t flags;
	uint64_t commit_id;
	uint16_t qid;
	uint8_t padding[6];
};

_Static_assert(sizeof(struct fuse_in_header) == 40, "abi");
_Static_assert(sizeof(struct fuse_out_header) == 16, "abi");
_Static_assert(sizeof(struct fuse_getattr_in) == 16, "abi");
_Static_assert(sizeof(struct fuse_statx_in) == 24, "abi");
_Static_assert(sizeof(struct fuse_mknod_in) == 16, "abi");
_Static_assert(sizeof(struct fuse_rename2_in) == 16, "abi");
_Static_assert(sizeof(struct fuse_setattr_in) == 88, "abi");
_Static_assert(sizeof(struct fuse_create_in) == 16, "abi");
_Static_assert(sizeof(struct fuse_release_in) == 24, "abi");
_Static_assert(sizeof(struct fuse_flush_in) == 24, "abi");
_Static_assert(sizeof(struct fuse_io_in) == 40, "abi");
_Static_assert(sizeof(struct fuse_setxattr_in) == 16, "abi");
_Static_assert(sizeof(struct fuse_init_in) == 64, "abi");
_Static_assert(sizeof(struct fuse_fallocate_in) == 32, "abi");
_Static_assert(sizeof(struct fuse_lseek_out) == 8, "abi");
_Static_assert(sizeof(struct fuse_copy_file_range_out) == 8, "abi");
_Static_assert(sizeof(struct fuse_copy_file_range_in) == 56, "abi");
_Static_assert(sizeof(struct fuse_ioctl_in) == 32, "abi");
_Static_assert(sizeof(struct fuse_attr) == 88, "abi");
_Static_assert(sizeof(struct fuse_entry_out) == 128, "abi");
_Static_assert(sizeof(struct fuse_attr_out) == 104, "abi");
_Static_assert(sizeof(struct fuse_statx) == 256, "abi");
_Static_assert(sizeof(struct fuse_statx_out) == 288, "abi");
_Static_assert(sizeof(struct fuse_open_out) == 16, "abi");
_Static_assert(sizeof(struct fuse_create_out) == 144, "abi");
_Static_assert(sizeof(struct fuse_statfs_out) == 80, "abi");
_Static_assert(sizeof(struct fuse_init_out) == 64, "abi");
_Static_assert(sizeof(struct fuse_ioctl_out) == 16, "abi");
_Static_assert(sizeof(struct fuse_dirent) == 24, "abi");
_Static_assert(sizeof(struct fuse_uring_ent) == 32, "abi");
_Static_assert(sizeof(struct fuse_uring_header) == 288, "abi");
_Static_assert(sizeof(struct fuse_uring_cmd_req) == 24, "abi");

#endif
