/*
 * ioctl: chattr's and lsattr's flags, in both of their shapes. Everything else is ENOTTY.
 *
 * The kernel's VFS turns FS_IOC_GETFLAGS and its three sisters into requests with the argument's bytes behind the
 * structure; who may set what the MDT decides. Flags we do not have cannot be set (EOPNOTSUPP), and are not shown.
 */
#include <errno.h>
#include <string.h>

#include "fuse/fuse_int.h"

/* linux/fs.h: _IOR('f', 1, long), _IOW('f', 2, long), _IOR('X', 31, struct fsxattr), _IOW('X', 32, struct fsxattr). */
#define IOC_GETFLAGS 0x80086601u
#define IOC_SETFLAGS 0x40086602u
#define IOC_FSGETXATTR 0x801c581fu
#define IOC_FSSETXATTR 0x401c5820u

/* The same flags in the two shapes, and ours. */
static const struct {
	uint32_t fl; /* FS_*_FL */
	uint32_t xfl; /* FS_XFLAG_* */
	unsigned ours;
} flag_map[] = {
	{0x10, 0x08, CLIENT_FLAG_IMMUTABLE},
	{0x20, 0x10, CLIENT_FLAG_APPEND},
	{0x40, 0x80, CLIENT_FLAG_NODUMP},
};

/* FS_XFLAG_HASATTR and the like: shown by others, never set. */
struct fsx {
	uint32_t xflags;
	uint32_t extsize;
	uint32_t nextents;
	uint32_t projid;
	uint32_t cowextsize;
	uint8_t pad[8];
};
_Static_assert(sizeof(struct fsx) == 28, "struct fsxattr of linux/fs.h");

static int not_ours(struct fuse_req *req)
{
	/* ENOTTY has no code of ours; older kernels hand ENOSYS on to the caller. */
	req->ret_errno = ENOTTY;
	return -NE_NOSYS;
}

/* -1 for flags that nobody here has. */
static int flags_take(uint32_t from, bool x, unsigned *ret_flags)
{
	unsigned flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flag_map); i++) {
		uint32_t bit = x ? flag_map[i].xfl : flag_map[i].fl;

		flags |= (from & bit) != 0 ? flag_map[i].ours : 0;
		from &= ~bit;
	}
	*ret_flags = flags;
	return from == 0 ? 0 : -NE_NOTSUP;
}

static uint32_t flags_give(unsigned flags, bool x)
{
	uint32_t to = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flag_map); i++) {
		if ((flags & flag_map[i].ours) != 0) {
			to |= x ? flag_map[i].xfl : flag_map[i].fl;
		}
	}
	return to;
}

static int flags_get(struct fuse_req *req, bool x)
{
	struct client_cred cred = fuse_req_cred(req);
	struct fid fid = fuse_node_fid(req->s, req->msg.head.nodeid);
	struct client_attr attr;
	struct fsx fsx = {.xflags = 0};
	size_t len = x ? sizeof(fsx) : sizeof(fsx.xflags);
	int rc = client_getattr(req->s->client, &cred, fid, NULL, &attr);

	if (rc < 0) {
		return rc;
	}
	if (req->msg.arg.ioctl.out_size < len) {
		return -NE_INVAL;
	}
	fsx.xflags = flags_give(attr.flags, x);
	fsx.projid = attr.projid;
	req->out.ioctl = (struct fuse_ioctl_answer){.head = {.result = 0}};
	memcpy(req->out.ioctl.bytes, &fsx, len);
	req->ret_data = &req->out.ioctl;
	req->ret_len = sizeof(req->out.ioctl.head) + len;
	return 0;
}

static int flags_set(struct fuse_req *req, bool x)
{
	struct client_cred cred = fuse_req_cred(req);
	struct fid fid = fuse_node_fid(req->s, req->msg.head.nodeid);
	struct client_setattr set = {.valid = CLIENT_SET_FLAGS};
	struct client_attr attr;
	struct fsx fsx = {.xflags = 0};
	size_t len = x ? sizeof(fsx) : sizeof(fsx.xflags);
	int rc;

	if (req->msg.data_len < len) {
		return -NE_INVAL;
	}
	memcpy(&fsx, req->msg.data, len);
	if (fsx.extsize != 0 || fsx.cowextsize != 0) {
		return -NE_NOTSUP;
	}
	rc = flags_take(fsx.xflags, x, &set.flags);
	if (rc == 0 && x) {
		rc = client_getattr(req->s->client, &cred, fid, NULL, &attr);
		set.projid = fsx.projid;
		set.valid |= rc == 0 && attr.projid != fsx.projid ? CLIENT_SET_PROJID : 0u;
	}
	if (rc == 0) {
		rc = client_setattr(req->s->client, &cred, fid, NULL, &set, &attr);
	}
	if (rc == 0) {
		req->out.ioctl = (struct fuse_ioctl_answer){.head = {.result = 0}};
		req->ret_data = &req->out.ioctl;
		req->ret_len = sizeof(req->out.ioctl.head);
	}
	return rc;
}

int fuse_op_ioctl(struct fuse_req *req)
{
	switch (req->msg.arg.ioctl.cmd) {
	case IOC_GETFLAGS:
		return flags_get(req, false);
	case IOC_SETFLAGS:
		return flags_set(req, false);
	case IOC_FSGETXATTR:
		return flags_get(req, true);
	case IOC_FSSETXATTR:
		return flags_set(req, true);
	default:
		return not_ours(req);
	}
}
