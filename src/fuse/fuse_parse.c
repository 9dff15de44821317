/*
 * The parser of requests: one table of shapes, one cursor over what follows the structure.
 *
 * Invariants: nothing is read outside of the pieces given; every name handed on is NUL-terminated, not empty,
 * has no slash and is not longer than LIM_NAME_MAX (entries, attributes) or LIM_SYMLINK_MAX (targets); data lengths
 * equal what the structure says. The kernel is trusted not to attack, but not to be without bugs.
 */
#include "fuse/fuse_parse.h"

#include <string.h>

#include "base/limits.h"

enum shape_data {
	DATA_NONE = 0,
	DATA_WRITE, /* as many bytes as the structure says */
	DATA_XATTR,
	DATA_FORGETS,
	DATA_ANY, /* not looked at: the request is refused */
};

struct shape {
	const char *name; /* NULL: no such request */
	uint8_t arg; /* bytes */
	uint8_t arg_min; /* bytes an old kernel sends; 0: all */
	uint8_t names; /* 0..2 */
	uint8_t data;
};

#define ARG(member) (uint8_t)sizeof(((union fuse_arg *)NULL)->member)

static const struct shape shapes[FUSE_OPCODES] = {
	[FUSE_LOOKUP] = {"LOOKUP", 0, 0, 1, DATA_NONE},
	[FUSE_FORGET] = {"FORGET", ARG(forget), 0, 0, DATA_NONE},
	[FUSE_GETATTR] = {"GETATTR", ARG(getattr), 0, 0, DATA_NONE},
	[FUSE_SETATTR] = {"SETATTR", ARG(setattr), 0, 0, DATA_NONE},
	[FUSE_READLINK] = {"READLINK", 0, 0, 0, DATA_NONE},
	[FUSE_SYMLINK] = {"SYMLINK", 0, 0, 2, DATA_NONE},
	[FUSE_MKNOD] = {"MKNOD", ARG(mknod), 0, 1, DATA_NONE},
	[FUSE_MKDIR] = {"MKDIR", ARG(mkdir), 0, 1, DATA_NONE},
	[FUSE_UNLINK] = {"UNLINK", 0, 0, 1, DATA_NONE},
	[FUSE_RMDIR] = {"RMDIR", 0, 0, 1, DATA_NONE},
	[FUSE_RENAME] = {"RENAME", ARG(rename), 0, 2, DATA_NONE},
	[FUSE_LINK] = {"LINK", ARG(link), 0, 1, DATA_NONE},
	[FUSE_OPEN] = {"OPEN", ARG(open), 0, 0, DATA_NONE},
	[FUSE_READ] = {"READ", ARG(io), 0, 0, DATA_NONE},
	[FUSE_WRITE] = {"WRITE", ARG(io), 0, 0, DATA_WRITE},
	[FUSE_STATFS] = {"STATFS", 0, 0, 0, DATA_NONE},
	[FUSE_RELEASE] = {"RELEASE", ARG(release), 0, 0, DATA_NONE},
	[FUSE_FSYNC] = {"FSYNC", ARG(fsync), 0, 0, DATA_NONE},
	[FUSE_SETXATTR] = {"SETXATTR", ARG(setxattr), 0, 1, DATA_XATTR},
	[FUSE_GETXATTR] = {"GETXATTR", ARG(getxattr), 0, 1, DATA_NONE},
	[FUSE_LISTXATTR] = {"LISTXATTR", ARG(getxattr), 0, 0, DATA_NONE},
	[FUSE_REMOVEXATTR] = {"REMOVEXATTR", 0, 0, 1, DATA_NONE},
	[FUSE_FLUSH] = {"FLUSH", ARG(flush), 0, 0, DATA_NONE},
	[FUSE_INIT] = {"INIT", ARG(init), FUSE_INIT_IN_COMPAT, 0, DATA_NONE},
	[FUSE_OPENDIR] = {"OPENDIR", ARG(open), 0, 0, DATA_NONE},
	[FUSE_READDIR] = {"READDIR", ARG(io), 0, 0, DATA_NONE},
	[FUSE_RELEASEDIR] = {"RELEASEDIR", ARG(release), 0, 0, DATA_NONE},
	[FUSE_FSYNCDIR] = {"FSYNCDIR", ARG(fsync), 0, 0, DATA_NONE},
	[FUSE_GETLK] = {"GETLK", 0, 0, 0, DATA_ANY},
	[FUSE_SETLK] = {"SETLK", 0, 0, 0, DATA_ANY},
	[FUSE_SETLKW] = {"SETLKW", 0, 0, 0, DATA_ANY},
	[FUSE_ACCESS] = {"ACCESS", ARG(access), 0, 0, DATA_NONE},
	[FUSE_CREATE] = {"CREATE", ARG(create), 0, 1, DATA_NONE},
	[FUSE_INTERRUPT] = {"INTERRUPT", ARG(interrupt), 0, 0, DATA_NONE},
	[FUSE_BMAP] = {"BMAP", 0, 0, 0, DATA_ANY},
	[FUSE_DESTROY] = {"DESTROY", 0, 0, 0, DATA_NONE},
	[FUSE_IOCTL] = {"IOCTL", ARG(ioctl), 0, 0, DATA_ANY},
	[FUSE_POLL] = {"POLL", 0, 0, 0, DATA_ANY},
	[FUSE_NOTIFY_REPLY] = {"NOTIFY_REPLY", 0, 0, 0, DATA_ANY},
	[FUSE_BATCH_FORGET] = {"BATCH_FORGET", ARG(batch_forget), 0, 0, DATA_FORGETS},
	[FUSE_FALLOCATE] = {"FALLOCATE", ARG(fallocate), 0, 0, DATA_NONE},
	[FUSE_READDIRPLUS] = {"READDIRPLUS", ARG(io), 0, 0, DATA_NONE},
	[FUSE_RENAME2] = {"RENAME2", ARG(rename2), 0, 2, DATA_NONE},
	[FUSE_LSEEK] = {"LSEEK", ARG(lseek), 0, 0, DATA_NONE},
	[FUSE_COPY_FILE_RANGE] = {"COPY_FILE_RANGE", ARG(copy), 0, 0, DATA_NONE},
	[FUSE_SETUPMAPPING] = {"SETUPMAPPING", 0, 0, 0, DATA_ANY},
	[FUSE_REMOVEMAPPING] = {"REMOVEMAPPING", 0, 0, 0, DATA_ANY},
	[FUSE_SYNCFS] = {"SYNCFS", 0, 0, 0, DATA_ANY},
	[FUSE_TMPFILE] = {"TMPFILE", ARG(create), 0, 1, DATA_NONE},
	[FUSE_STATX] = {"STATX", ARG(statx), 0, 0, DATA_NONE},
	[FUSE_COPY_FILE_RANGE_64] = {"COPY_FILE_RANGE_64", ARG(copy), 0, 0, DATA_NONE},
};

static const struct shape *shape_of(uint32_t opcode)
{
	return opcode < FUSE_OPCODES && shapes[opcode].name != NULL ? &shapes[opcode] : NULL;
}

const char *fuse_op_name(uint32_t opcode)
{
	const struct shape *shape = shape_of(opcode);

	return shape != NULL ? shape->name : "UNKNOWN";
}

size_t fuse_arg_size(uint32_t opcode, bool setxattr_ext)
{
	const struct shape *shape = shape_of(opcode);

	if (shape == NULL) {
		return 0;
	}
	return opcode == FUSE_SETXATTR && !setxattr_ext ? FUSE_SETXATTR_IN_COMPAT : shape->arg;
}

int fuse_raw_split(const void *bytes, size_t len, bool setxattr_ext, struct fuse_raw *ret_raw)
{
	const uint8_t *at = bytes;
	struct fuse_in_header head;
	size_t arg_len;

	ASSERT(bytes != NULL);
	if (len < sizeof(head)) {
		return -NE_BADMSG;
	}
	memcpy(&head, bytes, sizeof(head));
	if (head.len != len) {
		return -NE_BADMSG;
	}
	len -= sizeof(head);
	arg_len = fuse_arg_size(head.opcode, setxattr_ext);
	if (arg_len > len) {
		arg_len = len; /* an old kernel's, or malformed: the parser decides */
	}
	*ret_raw = (struct fuse_raw){.head = at,
		.arg = at + sizeof(head),
		.arg_len = arg_len,
		.rest = at + sizeof(head) + arg_len,
		.rest_len = len - arg_len};
	return 0;
}

struct cursor {
	const char *at;
	size_t left;
};

/* Takes a text with its NUL. */
static int name_take(struct cursor *c, bool target, const char **ret_name)
{
	const char *end = c->left > 0 ? memchr(c->at, '\0', c->left) : NULL;
	size_t len;

	if (end == NULL) {
		return -NE_BADMSG;
	}
	len = (size_t)(end - c->at);
	if (len > (target ? LIM_SYMLINK_MAX : LIM_NAME_MAX)) {
		return -NE_NAMETOOLONG;
	}
	if (len == 0 || (!target && memchr(c->at, '/', len) != NULL)) {
		return -NE_INVAL;
	}
	*ret_name = c->at;
	c->at += len + 1;
	c->left -= len + 1;
	return 0;
}

/* Names of attributes may hold a slash; that of a TMPFILE is nothing but one, and means nothing. */
static bool name_is_free(uint32_t opcode)
{
	return opcode == FUSE_TMPFILE || opcode == FUSE_SETXATTR || opcode == FUSE_GETXATTR ||
		opcode == FUSE_REMOVEXATTR;
}

static int names_take(const struct shape *shape, struct cursor *c, struct fuse_msg *msg)
{
	int rc = 0;

	if (shape->names >= 1) {
		rc = name_take(c, name_is_free(msg->head.opcode), &msg->name);
		if (rc == 0 && strlen(msg->name) > LIM_NAME_MAX) {
			rc = -NE_RANGE; /* setxattr(2)'s word for it */
		}
	}
	if (rc == 0 && shape->names == 2) {
		rc = name_take(c, msg->head.opcode == FUSE_SYMLINK, &msg->name2);
	}
	return rc;
}

static int data_take(const struct shape *shape, struct cursor *c, struct fuse_msg *msg)
{
	uint64_t want = 0;

	switch ((enum shape_data)shape->data) {
	case DATA_NONE:
		break;
	case DATA_WRITE:
		want = msg->arg.io.size;
		break;
	case DATA_XATTR:
		want = msg->arg.setxattr.size;
		break;
	case DATA_FORGETS:
		want = (uint64_t)msg->arg.batch_forget.count * 16;
		break;
	case DATA_ANY:
		want = c->left;
		break;
	}
	if (want != c->left) {
		return -NE_BADMSG;
	}
	msg->data = (const uint8_t *)c->at;
	msg->data_len = c->left;
	return 0;
}

static int arg_take(const struct shape *shape, const struct fuse_raw *raw, bool setxattr_ext,
	struct fuse_msg *msg)
{
	size_t want = fuse_arg_size(msg->head.opcode, setxattr_ext);
	size_t least = shape->arg_min != 0 ? shape->arg_min : want;

	if (raw->arg_len < least) {
		return -NE_BADMSG;
	}
	memcpy(&msg->arg, raw->arg, raw->arg_len < want ? raw->arg_len : want);
	return 0;
}

int fuse_msg_parse(const struct fuse_raw *raw, bool setxattr_ext, struct fuse_msg *ret_msg)
{
	struct cursor c = {.at = raw->rest, .left = raw->rest_len};
	const struct shape *shape;
	size_t ext;
	int rc;

	ASSERT(raw->head != NULL && ret_msg != NULL);
	*ret_msg = (struct fuse_msg){.name = NULL};
	memcpy(&ret_msg->head, raw->head, sizeof(ret_msg->head));
	shape = shape_of(ret_msg->head.opcode);
	if (shape == NULL) {
		return -NE_NOSYS;
	}
	ext = (size_t)ret_msg->head.ext_len8 * 8;
	if (ext > c.left) {
		return -NE_BADMSG;
	}
	c.left -= ext;
	rc = arg_take(shape, raw, setxattr_ext, ret_msg);
	if (rc == 0) {
		rc = names_take(shape, &c, ret_msg);
	}
	return rc == 0 ? data_take(shape, &c, ret_msg) : rc;
}
