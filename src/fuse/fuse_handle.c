/*
 * Open files and directories: numbers for the kernel, files of the client.
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "base/log.h"
#include "fuse/fuse_int.h"

int fuse_handle_new(struct fuse_session *s, struct client_file *file, uint64_t nodeid, int flags,
	uint64_t *ret_fh)
{
	struct fuse_handle *h = mem_zalloc(sizeof(*h));
	struct idr_id id;
	int rc = h != NULL ? idr_add(&s->handles, h, &id) : -NE_NOMEM;

	ASSERT(file != NULL);
	if (rc < 0) {
		mem_free(h);
		(void)client_release(s->client, file);
		return rc == -NE_LIMIT ? -NE_NFILE : rc;
	}
	h->file = file;
	h->flags = flags;
	h->nodeid = nodeid;
	env_mutex_init(&h->other_lock);
	*ret_fh = idr_pack(id);
	return 0;
}

struct fuse_handle *fuse_handle_find(const struct fuse_session *s, uint64_t fh)
{
	return idr_find(&s->handles, idr_unpack(fh));
}

int fuse_handle_file(
	struct fuse_session *s, struct fuse_handle *h, bool append, struct client_file **ret_file)
{
	struct client_cred cred = {
		.caps = UINT64_MAX}; /* the kernel has checked when it was opened */
	struct client_attr attr;
	int flags = O_WRONLY | (append ? O_APPEND : 0) | (h->flags & (O_SYNC | O_DSYNC));
	int rc = 0;

	if (((h->flags & O_APPEND) != 0) == append) {
		*ret_file = h->file;
		return 0;
	}
	env_mutex_lock(s->env, &h->other_lock);
	if (h->other == NULL) {
		rc = client_open(
			s->client, &cred, fuse_node_fid(s, h->nodeid), flags, &attr, &h->other);
	}
	env_mutex_unlock(s->env, &h->other_lock);
	*ret_file = h->other;
	return rc;
}

static int handle_release(struct fuse_session *s, struct fuse_handle *h)
{
	int rc = client_release(s->client, h->file);
	int rc2 = h->other != NULL ? client_release(s->client, h->other) : 0;

	mem_free(h);
	return rc < 0 ? rc : rc2;
}

int fuse_handle_close(struct fuse_session *s, uint64_t fh)
{
	struct fuse_handle *h = idr_remove(&s->handles, idr_unpack(fh));

	return h != NULL ? handle_release(s, h) : -NE_BADF;
}

void fuse_handles_close_all(struct fuse_session *s)
{
	struct fuse_handle *h;
	struct idr_id id;
	uint32_t pos = 0;

	while ((h = idr_next(&s->handles, &pos, &id)) != NULL) {
		int rc;

		(void)idr_remove(&s->handles, id);
		rc = handle_release(s, h);
		if (rc < 0) {
			log_warn("fuse", "closing inode %llu: %s", (unsigned long long)id.index,
				ne_text(rc));
		}
	}
}
