/*
 * INIT: which features of the kernel are used, and what is lost where one is missing. See fuse_init.c.
 */
#ifndef NACRE_FUSE_FUSE_INIT_H
#define NACRE_FUSE_FUSE_INIT_H

#include "base/base.h"
#include "base/error.h"
#include "fuse/fuse_abi.h"

struct fuse_feature {
	uint64_t flag;
	const char *name;
	const char *since; /* "7.39, Linux 6.6" */
	const char *lost; /* what a mount on an older kernel does without */
};

/* What we ask for, in the order of the table in docs/mount.md; ends with flag 0. */
extern const struct fuse_feature fuse_features[];

struct fuse_init_want {
	uint64_t flags_mask; /* features never used are cleared (for tests); UINT64_MAX: all */
	bool uring; /* ask for FUSE over io_uring */
};

/* What was agreed. */
struct fuse_init_agreed {
	uint32_t minor;
	uint64_t flags;
	uint32_t max_write; /* bytes */
};

/* -NE_VERSION: the kernel is too old (or of another major version: then ret_out is the answer that makes it
 * ask again, and ret_agreed->minor is 0 with result 0). */
_check_ int fuse_init_agree(const struct fuse_init_in *in, const struct fuse_init_want *want,
	struct fuse_init_out *ret_out, struct fuse_init_agreed *ret_agreed);

#endif
