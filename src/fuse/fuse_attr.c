/*
 * Between the kernel's and the client's words: node ids, credentials, attributes, times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fuse/fuse_int.h"

#define CAP_FSETID_BIT (UINT64_C(1) << 4)
#define STATX_BASIC_AND_BTIME 0xfffu /* STATX_BASIC_STATS | STATX_BTIME */

struct fid fuse_node_fid(const struct fuse_session *s, uint64_t nodeid)
{
	return nodeid == FUSE_NODE_ROOT ? client_root(s->client) : fid_from_ino(nodeid);
}

uint64_t fuse_fid_node(const struct fuse_session *s, struct fid fid)
{
	return fid_eq(fid, client_root(s->client)) ? FUSE_NODE_ROOT : fid_ino(fid);
}

struct client_cred fuse_req_cred(const struct fuse_req *req)
{
	const struct fuse_in_header *h = &req->msg.head;
	struct client_cred cred = {.uid = h->uid, .gid = h->gid, .pid = (int32_t)h->pid};

	if (h->uid == FUSE_ID_NONE || h->gid == FUSE_ID_NONE) {
		/* The kernel itself asks: write-back of mapped pages, background release. */
		cred.uid = 0;
		cred.gid = 0;
	}
	cred.caps = cred.uid == 0 ? UINT64_MAX : 0;
	return cred;
}

struct client_cred fuse_req_cred_kill(const struct fuse_req *req, bool kill)
{
	struct client_cred cred = fuse_req_cred(req);

	if ((req->s->agreed.flags & FUSE_HANDLE_KILLPRIV_V2) != 0) {
		/* The kernel has looked at the caller's CAP_FSETID. */
		cred.caps = kill ? cred.caps & ~CAP_FSETID_BIT : cred.caps | CAP_FSETID_BIT;
	}
	return cred;
}

int64_t fuse_time_ns(uint64_t sec, uint32_t ns)
{
	int64_t s = (int64_t)sec;
	int64_t limit = INT64_MAX / (int64_t)NS_PER_S - 1;

	if (ns >= NS_PER_S) {
		ns = 0;
	}
	s = i64_max(-limit, i64_min(limit, s));
	return s * (int64_t)NS_PER_S + ns;
}

static uint64_t time_split(int64_t ns, uint32_t *ret_ns)
{
	int64_t rest = ns % (int64_t)NS_PER_S;
	int64_t sec = ns / (int64_t)NS_PER_S;

	if (rest < 0) {
		rest += (int64_t)NS_PER_S;
		sec--;
	}
	*ret_ns = (uint32_t)rest;
	return (uint64_t)sec;
}

/*
 * st_blksize is what cp and stdio read and write at a time. With direct I/O the kernel pins the whole buffer of each
 * read, also where the file is short, so it follows the size: a small file is one request of its own
 * size, a big one goes in the largest requests there are. New files get the largest: stdio writes what it has.
 */
uint32_t fuse_blksize(uint32_t mode, uint64_t size)
{
	uint32_t blksize = 4096;

	if (!S_ISREG(mode)) {
		return blksize;
	}
	if (size == 0) {
		return LIM_FUSE_IO_MAX;
	}
	while (blksize < LIM_FUSE_IO_MAX && blksize < size) {
		blksize *= 2;
	}
	return blksize;
}

void fuse_attr_fill(const struct client_attr *attr, struct fuse_attr *ret_attr)
{
	*ret_attr = (struct fuse_attr){.ino = attr->ino,
		.size = attr->size,
		.blocks = attr->blocks,
		.mode = attr->mode,
		.nlink = attr->nlink,
		.uid = attr->uid,
		.gid = attr->gid,
		.rdev = (uint32_t)attr->rdev,
		.blksize = fuse_blksize(attr->mode, attr->size)};
	ret_attr->atime = time_split(attr->atime_ns, &ret_attr->atime_ns);
	ret_attr->mtime = time_split(attr->mtime_ns, &ret_attr->mtime_ns);
	ret_attr->ctime = time_split(attr->ctime_ns, &ret_attr->ctime_ns);
}

static struct fuse_sx_time sx_time(int64_t ns)
{
	struct fuse_sx_time t = {.reserved = 0};

	t.sec = (int64_t)time_split(ns, &t.ns);
	return t;
}

void fuse_statx_fill(const struct client_attr *attr, struct fuse_statx *ret_statx)
{
	*ret_statx = (struct fuse_statx){.mask = STATX_BASIC_AND_BTIME,
		.blksize = fuse_blksize(attr->mode, attr->size),
		.nlink = attr->nlink,
		.uid = attr->uid,
		.gid = attr->gid,
		.mode = (uint16_t)attr->mode,
		.ino = attr->ino,
		.size = attr->size,
		.blocks = attr->blocks,
		.atime = sx_time(attr->atime_ns),
		.btime = sx_time(attr->btime_ns),
		.ctime = sx_time(attr->ctime_ns),
		.mtime = sx_time(attr->mtime_ns),
		.rdev_major = major(attr->rdev),
		.rdev_minor = minor(attr->rdev)};
}

void fuse_entry_fill(const struct fuse_session *s, const struct client_attr *attr,
	struct fuse_entry_out *ret_entry)
{
	/* Before leases nothing may be cached: both validities are 0. An inode number is never used twice, so
	 * the generation is 0. */
	*ret_entry = (struct fuse_entry_out){.nodeid = fuse_fid_node(s, attr->fid)};
	fuse_attr_fill(attr, &ret_entry->attr);
}

int fuse_groups_read(_unused_ void *ctx, int32_t pid, uint32_t *gids, uint32_t cap)
{
	static char text[1024 * KIB]; /* the reactor's only; no yield while it is used */
	char path[48];
	const char *at;
	char *end;
	uint32_t count = 0;

	if (pid <= 0) {
		return -NE_PERM; /* a process of another pid name space */
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (fuse_sys_text(path, text, sizeof(text)) <= 0) {
		return -NE_PERM;
	}
	at = strstr(text, "\nGroups:");
	at = at != NULL ? at + strlen("\nGroups:") : "";
	while (count < cap && *at != '\n' && *at != '\0') {
		unsigned long gid = strtoul(at, &end, 10);

		if (end == at) {
			break;
		}
		gids[count++] = (uint32_t)gid;
		at = end;
		while (*at == ' ' || *at == '\t') {
			at++;
		}
	}
	return (int)count;
}
