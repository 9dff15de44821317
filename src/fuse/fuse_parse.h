/*
 * One request of the kernel, checked and taken apart. See fuse_parse.c.
 */
#ifndef NACRE_FUSE_FUSE_PARSE_H
#define NACRE_FUSE_FUSE_PARSE_H

#include "base/base.h"
#include "base/error.h"
#include "fuse/fuse_abi.h"

/* A request's own structure, copied out and zero-filled where an older kernel sends less. */
union fuse_arg {
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch_forget;
	struct fuse_getattr_in getattr;
	struct fuse_statx_in statx;
	struct fuse_setattr_in setattr;
	struct fuse_mknod_in mknod;
	struct fuse_mkdir_in mkdir;
	struct fuse_rename_in rename;
	struct fuse_rename2_in rename2;
	struct fuse_link_in link;
	struct fuse_open_in open;
	struct fuse_create_in create;
	struct fuse_io_in io;
	struct fuse_release_in release;
	struct fuse_flush_in flush;
	struct fuse_fsync_in fsync;
	struct fuse_setxattr_in setxattr;
	struct fuse_getxattr_in getxattr;
	struct fuse_access_in access;
	struct fuse_init_in init;
	struct fuse_interrupt_in interrupt;
	struct fuse_fallocate_in fallocate;
	struct fuse_lseek_in lseek;
	struct fuse_copy_file_range_in copy;
	struct fuse_ioctl_in ioctl;
};

/* The pieces as a transport has them: /dev/fuse delivers one stream, a ring has them apart. */
struct fuse_raw {
	const void *head; /* sizeof(struct fuse_in_header) bytes */
	const void *arg; /* the request's structure */
	size_t arg_len; /* bytes there */
	const void *rest; /* names and data */
	size_t rest_len;
};

struct fuse_msg {
	struct fuse_in_header head;
	union fuse_arg arg;
	const char *name; /* NUL-terminated, in the raw memory; NULL if the request has none */
	const char *name2; /* the new name of a rename, the target of a symbolic link */
	const uint8_t *data; /* of WRITE and SETXATTR; the pairs of BATCH_FORGET */
	size_t data_len;
};

/* Bytes of the structure behind the header of this kind of request; 0 for unknown ones. */
size_t fuse_arg_size(uint32_t opcode, bool setxattr_ext);
/* Splits a request that lies in one piece of memory. -NE_BADMSG if it is too short or its length wrong. */
_check_ int fuse_raw_split(
	const void *bytes, size_t len, bool setxattr_ext, struct fuse_raw *ret_raw);
/* -NE_BADMSG: malformed; -NE_NAMETOOLONG; -NE_INVAL: a name that is none; -NE_NOSYS: unknown opcode. The
 * header is written to ret_msg in any case, so that it can be answered. */
_check_ int fuse_msg_parse(const struct fuse_raw *raw, bool setxattr_ext, struct fuse_msg *ret_msg);
const char *fuse_op_name(uint32_t opcode);

#endif
