/*
 * Ranges of open files: space, holes, copies.
 */
#include <limits.h>
#include <stdio.h>

#include "client/lib/lib_int.h"

/* fallocate(2)'s modes. */
#define MODE_KEEP_SIZE 0x01
#define MODE_PUNCH_HOLE 0x02
#define MODE_ZERO_RANGE 0x10

static int fallocate_fiber(struct lib_call *call)
{
	struct client_range range = {.off = call->off, .len = call->count};

	return client_allocate(
		call->fs->client, &call->cred, call->file->file, range, (unsigned)call->flags);
}

_export_ int nacre_fallocate(struct nacre_file *file, int mode, off_t off, off_t len)
{
	struct lib_call call = {.what = "fallocate", .fn = fallocate_fiber, .file = file};

	if (off < 0 || len <= 0) {
		return lib_fail(&call, -NE_INVAL);
	}
	switch (mode) {
	case 0:
		break;
	case MODE_KEEP_SIZE:
		call.flags = CLIENT_ALLOC_KEEP_SIZE;
		break;
	case MODE_PUNCH_HOLE | MODE_KEEP_SIZE:
		call.flags = CLIENT_ALLOC_PUNCH | CLIENT_ALLOC_KEEP_SIZE;
		break;
	case MODE_ZERO_RANGE:
		call.flags = CLIENT_ALLOC_ZERO;
		break;
	case MODE_ZERO_RANGE | MODE_KEEP_SIZE:
		call.flags = CLIENT_ALLOC_ZERO | CLIENT_ALLOC_KEEP_SIZE;
		break;
	default:
		return lib_fail(&call, -NE_NOTSUP);
	}
	call.off = (uint64_t)off;
	call.count = (uint64_t)len;
	return lib_run(file->fs, &call);
}

static int seek_fiber(struct lib_call *call)
{
	return client_seek(call->fs->client, call->file->file, call->off, call->flags == SEEK_DATA,
		&call->count);
}

_export_ off_t nacre_seek(struct nacre_file *file, off_t off, int whence)
{
	struct lib_call call = {.what = "seek", .fn = seek_fiber, .file = file, .flags = whence};
	int rc;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		return lib_fail(&call, -NE_INVAL);
	}
	if (off < 0) {
		return lib_fail(&call, -NE_NXIO);
	}
	call.off = (uint64_t)off;
	rc = lib_run(file->fs, &call);
	return rc == 0 ? (off_t)call.count : rc;
}

static int copy_fiber(struct lib_call *call)
{
	struct client_copy copy = {.from = call->file->file,
		.from_off = call->off,
		.to = call->file2->file,
		.to_off = call->off2,
		.len = call->count};
	uint64_t len = 0;
	int err = client_copy_range(call->fs->client, &call->cred, &copy, &len);

	call->len = (size_t)len;
	return err;
}

_export_ ssize_t nacre_copy_file_range(
	struct nacre_file *from, off_t from_off, struct nacre_file *to, off_t to_off, size_t len)
{
	struct lib_call call = {
		.what = "copy_file_range", .fn = copy_fiber, .file = from, .file2 = to};
	int rc;

	if (from->fs != to->fs) {
		return lib_fail(&call, -NE_XDEV);
	}
	if (from_off < 0 || to_off < 0) {
		return lib_fail(&call, -NE_INVAL);
	}
	call.off = (uint64_t)from_off;
	call.off2 = (uint64_t)to_off;
	call.count = u64_min(len, SSIZE_MAX);
	rc = lib_run(from->fs, &call);
	return rc == 0 ? (ssize_t)call.len : rc;
}
