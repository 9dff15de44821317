/*
 * Which function serves which request, and the few that are refused without asking anybody.
 *
 * ENOSYS makes the kernel do without, once and for ever: FLUSH (nothing is held back before write-behind exists, so close
 * has nothing to report that a write or fsync did not), POLL, BMAP, locks (local).
 */
#include "fuse/fuse_int.h"

static int op_none(_unused_ struct fuse_req *req)
{
	return FUSE_NO_ANSWER;
}

static int op_done(_unused_ struct fuse_req *req)
{
	return 0;
}

static fuse_op_fn *const table[FUSE_OPCODES] = {
	[FUSE_LOOKUP] = fuse_op_lookup,
	[FUSE_FORGET] = op_none,
	[FUSE_BATCH_FORGET] = op_none,
	[FUSE_GETATTR] = fuse_op_getattr,
	[FUSE_SETATTR] = fuse_op_setattr,
	[FUSE_READLINK] = fuse_op_readlink,
	[FUSE_SYMLINK] = fuse_op_symlink,
	[FUSE_MKNOD] = fuse_op_mknod,
	[FUSE_MKDIR] = fuse_op_mkdir,
	[FUSE_UNLINK] = fuse_op_unlink,
	[FUSE_RMDIR] = fuse_op_rmdir,
	[FUSE_RENAME] = fuse_op_rename,
	[FUSE_RENAME2] = fuse_op_rename2,
	[FUSE_LINK] = fuse_op_link,
	[FUSE_OPEN] = fuse_op_open,
	[FUSE_READ] = fuse_op_read,
	[FUSE_WRITE] = fuse_op_write,
	[FUSE_STATFS] = fuse_op_statfs,
	[FUSE_RELEASE] = fuse_op_release,
	[FUSE_FSYNC] = fuse_op_fsync,
	[FUSE_SETXATTR] = fuse_op_setxattr,
	[FUSE_GETXATTR] = fuse_op_getxattr,
	[FUSE_LISTXATTR] = fuse_op_listxattr,
	[FUSE_REMOVEXATTR] = fuse_op_removexattr,
	[FUSE_OPENDIR] = fuse_op_opendir,
	[FUSE_READDIR] = fuse_op_readdir,
	[FUSE_READDIRPLUS] = fuse_op_readdir,
	[FUSE_RELEASEDIR] = fuse_op_release,
	[FUSE_FSYNCDIR] = fuse_op_fsyncdir,
	[FUSE_IOCTL] = fuse_op_ioctl,
	[FUSE_ACCESS] = fuse_op_access,
	[FUSE_CREATE] = fuse_op_create,
	[FUSE_DESTROY] = op_done,
	[FUSE_FALLOCATE] = fuse_op_fallocate,
	[FUSE_LSEEK] = fuse_op_lseek,
	[FUSE_COPY_FILE_RANGE] = fuse_op_copy_file_range,
	[FUSE_COPY_FILE_RANGE_64] = fuse_op_copy_file_range,
	[FUSE_TMPFILE] = fuse_op_tmpfile,
	[FUSE_STATX] = fuse_op_statx,
};

fuse_op_fn *fuse_op_find(uint32_t opcode)
{
	return opcode < FUSE_OPCODES ? table[opcode] : NULL;
}
