/*
 * Directories and space.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/lib/lib_int.h"

/* One page of entries from the MDT (bytes). */
#define PAGE_BYTES 16384

static int opendir_fiber(struct lib_call *call)
{
	struct nacre_dir *d = mem_zalloc(sizeof(*d));
	int err = d == NULL ? -NE_NOMEM : lib_walk(call, call->path, true, &call->attr);

	if (err == 0 && !S_ISDIR(call->attr.mode)) {
		err = -NE_NOTDIR;
	}
	if (err == 0) {
		err = client_open(call->fs->client, &call->cred, call->attr.fid,
			O_RDONLY | O_DIRECTORY, &call->attr, &d->file);
	}
	if (err != 0) {
		mem_free(d);
		return err;
	}
	d->fs = call->fs;
	list_push_back(&call->fs->dirs, &d->link);
	call->ret_dir = d;
	return 0;
}

_export_ int nacre_opendir(struct nacre *fs, const char *path, struct nacre_dir **ret_dir)
{
	struct lib_call call = {.what = "opendir", .fn = opendir_fiber, .path = path};
	int rc = lib_run(fs, &call);

	if (rc == 0) {
		*ret_dir = call.ret_dir;
	}
	return rc;
}

static int entry_take(void *ctx, const struct client_dirent *e_in)
{
	const char *name = e_in->name;
	size_t name_len = e_in->name_len;
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	struct nacre_dir *d = ctx;
	struct lib_entry *e = &d->entries[d->count];

	if (d->count == LIB_ENTRIES) {
		return 1;
	}
	ASSERT(name_len <= LIM_NAME_MAX);
	e->fid = fid;
	e->mode = mode;
	e->cookie = next_cookie;
	memcpy(e->name, name, name_len + 1);
	d->count++;
	d->cookie = next_cookie;
	return 0;
}

static int readdir_fiber(struct lib_call *call)
{
	struct nacre_dir *d = call->dir;
	struct fid parent;

	d->count = 0;
	d->next = 0;
	return client_readdir(call->fs->client, &call->cred, d->file,
		&(struct client_listing){.cookie = d->cookie,
			.bytes_max = PAGE_BYTES,
			.plus = false,
			.fn = entry_take,
			.ctx = d,
			.ret_parent = &parent,
			.ret_end = &d->end});
}

_export_ int nacre_readdir(struct nacre_dir *dir, struct nacre_dirent *ret_entry)
{
	struct lib_call call = {.what = "readdir", .fn = readdir_fiber, .dir = dir};

	while (dir->next == dir->count) {
		int rc;

		if (dir->end) {
			return 0;
		}
		rc = lib_run(dir->fs, &call);
		if (rc != 0) {
			return rc;
		}
	}

	const struct lib_entry *e = &dir->entries[dir->next++];

	memset(ret_entry, 0, sizeof(*ret_entry));
	ret_entry->ino = fid_ino(e->fid);
	/* DT_* are the type bits of a mode. */
	ret_entry->type = (unsigned char)(e->mode >> 12 & 15);
	memcpy(ret_entry->name, e->name, strlen(e->name) + 1);
	return 1;
}

static int closedir_fiber(struct lib_call *call)
{
	struct nacre_dir *d = call->dir;
	int err;

	list_del(&d->link);
	err = client_release(call->fs->client, d->file);
	mem_free(d);
	return err;
}

_export_ int nacre_closedir(struct nacre_dir *dir)
{
	struct lib_call call = {.what = "closedir", .fn = closedir_fiber, .dir = dir};

	return lib_run(dir->fs, &call);
}

static int statvfs_fiber(struct lib_call *call)
{
	return client_statfs(call->fs->client, &call->statfs);
}

_export_ int nacre_statvfs(struct nacre *fs, struct statvfs *ret_st)
{
	struct lib_call call = {.what = "statvfs", .fn = statvfs_fiber};
	const struct client_statfs *s = &call.statfs;
	int rc = lib_run(fs, &call);

	if (rc != 0) {
		return rc;
	}
	memset(ret_st, 0, sizeof(*ret_st));
	ret_st->f_bsize = s->block_size;
	ret_st->f_frsize = s->block_size;
	ret_st->f_blocks = s->bytes_total / s->block_size;
	ret_st->f_bfree = s->bytes_free / s->block_size;
	ret_st->f_bavail = s->bytes_avail / s->block_size;
	ret_st->f_files = s->files_total;
	ret_st->f_ffree = s->files_free;
	ret_st->f_favail = s->files_free;
	ret_st->f_namemax = s->name_max;
	return 0;
}
