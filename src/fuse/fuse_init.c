/*
 * What is negotiated with the kernel at the first request.
 *
 * Not asked for, on purpose: WRITEBACK_CACHE (the kernel would own size and mtime), AUTO_INVAL_DATA and CACHE_SYMLINKS
 * (nothing may be cached before leases), POSIX_LOCKS and FLOCK_LOCKS (locks are the kernel's own, local to the host),
 * SPLICE (one copy more than writev from the buffer), EXPORT_SUPPORT, NO_OPEN (an open is a fact the MDT must know).
 */
#include "fuse/fuse_init.h"

#include "base/limits.h"

/* Requests in the background (readahead, asynchronous direct I/O) the kernel sends at once, and how many make
 * it hold back. 64 of 1 MiB keep 8 OSTs with 8 MiB each busy. */
#define MAX_BACKGROUND 64
#define CONGESTION 48
#define PAGE_BYTES 4096

const struct fuse_feature fuse_features[] = {
	{FUSE_ASYNC_READ, "ASYNC_READ", "7.6", "pages are read one request at a time"},
	{FUSE_ATOMIC_O_TRUNC, "ATOMIC_O_TRUNC", "7.3", "O_TRUNC costs one request more"},
	{FUSE_BIG_WRITES, "BIG_WRITES", "7.9", "writes are 4 KiB each"},
	{FUSE_DONT_MASK, "DONT_MASK", "7.12", "default ACLs cannot override the umask"},
	{FUSE_DO_READDIRPLUS, "DO_READDIRPLUS", "7.21", "entries come without attributes"},
	{FUSE_READDIRPLUS_AUTO, "READDIRPLUS_AUTO", "7.21", "attributes are fetched unasked"},
	{FUSE_ASYNC_DIO, "ASYNC_DIO", "7.22", "O_DIRECT with io_submit waits for each request"},
	{FUSE_PARALLEL_DIROPS, "PARALLEL_DIROPS", "7.25",
		"lookups in one directory wait for another"},
	{FUSE_MAX_PAGES, "MAX_PAGES", "7.28, Linux 4.20", "requests are 128 KiB instead of 1 MiB"},
	{FUSE_EXPLICIT_INVAL_DATA, "EXPLICIT_INVAL_DATA", "7.30, Linux 5.2",
		"pages mapped by mmap may be dropped when attributes change"},
	{FUSE_HANDLE_KILLPRIV_V2, "HANDLE_KILLPRIV_V2", "7.33, Linux 5.11",
		"a write first asks for security.capability"},
	{FUSE_SETXATTR_EXT, "SETXATTR_EXT", "7.33, Linux 5.11",
		"nothing: the field is not used yet"},
	{FUSE_INIT_EXT, "INIT_EXT", "7.36, Linux 5.17", "all features below"},
	{FUSE_DIRECT_IO_ALLOW_MMAP, "DIRECT_IO_ALLOW_MMAP", "7.39, Linux 6.6",
		"mmap with MAP_SHARED fails with ENODEV"},
	{FUSE_OVER_IO_URING, "OVER_IO_URING", "7.42, Linux 6.14, enable_uring",
		"requests come through /dev/fuse"},
	{0, NULL, NULL, NULL},
};

static uint64_t features_wanted(const struct fuse_init_want *want)
{
	uint64_t flags = 0;

	for (const struct fuse_feature *f = fuse_features; f->flag != 0; f++) {
		flags |= f->flag;
	}
	if (!want->uring) {
		flags &= ~FUSE_OVER_IO_URING;
	}
	return flags & want->flags_mask;
}

static uint64_t features_agreed(const struct fuse_init_in *in, const struct fuse_init_want *want)
{
	uint64_t offered = in->flags;
	uint64_t flags;

	if ((in->flags & FUSE_INIT_EXT) != 0) {
		offered |= (uint64_t)in->flags2 << 32;
	}
	flags = offered & features_wanted(want);
	if ((flags & FUSE_INIT_EXT) == 0) {
		flags &= UINT32_MAX; /* the answer has no field for the others */
	}
	if ((flags & FUSE_DO_READDIRPLUS) == 0) {
		flags &= ~FUSE_READDIRPLUS_AUTO;
	}
	return flags;
}

int fuse_init_agree(const struct fuse_init_in *in, const struct fuse_init_want *want,
	struct fuse_init_out *ret_out, struct fuse_init_agreed *ret_agreed)
{
	uint64_t flags;

	*ret_out = (struct fuse_init_out){.major = FUSE_MAJOR, .minor = FUSE_MINOR_MAX};
	*ret_agreed = (struct fuse_init_agreed){.minor = 0};
	if (in->major > FUSE_MAJOR) {
		return 0; /* the kernel asks again with our major version */
	}
	if (in->major < FUSE_MAJOR || in->minor < FUSE_MINOR_MIN) {
		return -NE_VERSION;
	}
	flags = features_agreed(in, want);
	ret_agreed->minor = in->minor < FUSE_MINOR_MAX ? in->minor : FUSE_MINOR_MAX;
	ret_agreed->flags = flags;
	ret_agreed->max_write = (flags & FUSE_MAX_PAGES) != 0 ? LIM_FUSE_IO_MAX : 32 * PAGE_BYTES;
	ret_out->max_readahead = in->max_readahead;
	ret_out->flags = (uint32_t)flags;
	ret_out->flags2 = (uint32_t)(flags >> 32);
	ret_out->max_background = MAX_BACKGROUND;
	ret_out->congestion_threshold = CONGESTION;
	ret_out->max_write = ret_agreed->max_write;
	ret_out->time_gran = 1;
	ret_out->max_pages = (uint16_t)(ret_agreed->max_write / PAGE_BYTES);
	ASSERT(ret_out->max_pages > 0);
	return 0;
}
