/*
 * See super.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "daemon/super.h"
#include "oss/oss.h"

#define SUPER_BYTES_MAX 4096

static const char magic[8] = {'N', 'A', 'C', 'R', 'E', 'T', 'G', '1'};
static const char *const kinds[] = {"MGT", "MDT", "OST"};

void target_name_format(enum w_target_kind kind, uint16_t index, char *name)
{
	ASSERT(kind <= W_TARGET_KIND_OST);
	snprintf(name, LIM_TARGET_NAME_MAX + 1, "%s%04x", kinds[kind], index);
}

int target_name_parse(const char *name, enum w_target_kind *ret_kind, uint16_t *ret_index)
{
	char want[LIM_TARGET_NAME_MAX + 1];
	unsigned long index;
	char *end;

	if (strlen(name) != 7) {
		return -NE_INVAL;
	}
	index = strtoul(name + 3, &end, 16);
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		uint32_t max = k == W_TARGET_KIND_OST ? LIM_OST_MAX
			: k == W_TARGET_KIND_MDT      ? LIM_MDT_MAX
						      : 1;

		if (*end != '\0' || index >= max) {
			continue;
		}
		target_name_format((enum w_target_kind)k, (uint16_t)index, want);
		if (strcmp(want, name) == 0) {
			*ret_kind = (enum w_target_kind)k;
			*ret_index = (uint16_t)index;
			return 0;
		}
	}
	return -NE_INVAL;
}

static int path_of(char **ret_path, const char *dir, const char *name)
{
	char *p = mem_alloc(LIM_PATH_MAX + 1);

	if (p == NULL) {
		return -NE_NOMEM;
	}
	if (snprintf(p, LIM_PATH_MAX + 1, "%s/%s", dir, name) > LIM_PATH_MAX) {
		mem_free(p);
		return -NE_NAMETOOLONG;
	}
	*ret_path = p;
	return 0;
}

static int super_decode(const uint8_t *buf, size_t len, struct super *ret)
{
	struct d_target_super d;
	uint32_t rec_len;

	if (len < 16 || memcmp(buf, magic, sizeof(magic)) != 0) {
		return -NE_CORRUPT;
	}
	rec_len = le32_load(buf + 8);
	if (rec_len != len - 16 || le32_load(buf + 12 + rec_len) != crc32c(0, buf, 12 + rec_len) ||
		d_target_super_decode(&d, buf + 12, rec_len) != 0) {
		return -NE_CORRUPT;
	}
	if (d.format > W_FORMAT_VERSION) {
		return -NE_TOONEW;
	}
	if (d.format < W_FORMAT_VERSION) {
		return -NE_TOOOLD;
	}
	memset(ret, 0, sizeof(*ret));
	ret->cluster = d.cluster;
	ret->kind = d.kind;
	ret->index = d.index;
	ret->uuid = d.uuid;
	ret->epoch = d.epoch;
	ret->formatted_ns = d.formatted;
	ret->capacity_bytes = d.capacity_bytes;
	return wire_str_copy(d.fsname, ret->fsname, sizeof(ret->fsname)) == 0 ? 0 : -NE_CORRUPT;
}

int super_read(struct env *env, const char *dir, struct super *ret_super)
{
	struct env_file *file = NULL;
	char *path = NULL;
	uint8_t *buf;
	size_t len = 0;
	int err = path_of(&path, dir, SUPER_FILE);

	if (err != 0) {
		return err;
	}
	err = env_file_open(env, path, ENV_OPEN_READ, &file);
	mem_free(path);
	if (err != 0) {
		return err == -NE_NOENT ? -NE_NOTFORMATTED : err;
	}
	buf = mem_alloc(SUPER_BYTES_MAX);
	err = buf == NULL ? -NE_NOMEM : env_pread(file, buf, SUPER_BYTES_MAX, 0, &len);
	if (err == 0) {
		err = super_decode(buf, len, ret_super);
	}
	mem_free(buf);
	env_file_close(file);
	return err;
}

static int super_encode(const struct super *s, uint8_t *buf, size_t *ret_len)
{
	struct d_target_super d = {
		.format = W_FORMAT_VERSION,
		.fsname = wire_str_of(s->fsname),
		.cluster = s->cluster,
		.kind = s->kind,
		.index = s->index,
		.uuid = s->uuid,
		.epoch = s->epoch,
		.formatted = s->formatted_ns,
		.capacity_bytes = s->capacity_bytes,
	};
	struct wire_enc enc = wire_enc_of(buf + 12, SUPER_BYTES_MAX - 16);
	int err = d_target_super_encode(&d, &enc);

	if (err != 0) {
		return err;
	}
	memcpy(buf, magic, sizeof(magic));
	le32_store(buf + 8, (uint32_t)enc.pos);
	le32_store(buf + 12 + enc.pos, crc32c(0, buf, 12 + enc.pos));
	*ret_len = 16 + enc.pos;
	return 0;
}

static int file_replace(struct env *env, const char *tmp, const char *path, const struct iovec *iov)
{
	struct env_file *file = NULL;
	int err = env_file_open(
		env, tmp, ENV_OPEN_WRITE | ENV_OPEN_READ | ENV_OPEN_CREATE | ENV_OPEN_TRUNC, &file);

	if (err != 0) {
		return err;
	}
	err = env_pwrite(file, iov, 1, 0);
	if (err == 0) {
		err = env_fdatasync(file);
	}
	env_file_close(file);
	return err != 0 ? err : env_rename(env, tmp, path);
}

int super_write(struct env *env, const char *dir, const struct super *super)
{
	uint8_t *buf = mem_alloc(SUPER_BYTES_MAX);
	char *path = NULL;
	char *tmp = NULL;
	size_t len = 0;
	int err = buf == NULL ? -NE_NOMEM : super_encode(super, buf, &len);

	if (err == 0) {
		err = path_of(&path, dir, SUPER_FILE);
	}
	if (err == 0) {
		err = path_of(&tmp, dir, SUPER_FILE ".new");
	}
	if (err == 0) {
		struct iovec iov = {.iov_base = buf, .iov_len = len};

		err = file_replace(env, tmp, path, &iov);
	}
	if (err == 0) {
		err = env_fsync_dir(env, dir);
	}
	mem_free(buf);
	mem_free(path);
	mem_free(tmp);
	return err;
}

int super_lock(struct env *env, const char *dir, struct env_file **ret_file)
{
	struct env_file *file = NULL;
	char *path = NULL;
	int err = path_of(&path, dir, "lock");

	if (err != 0) {
		return err;
	}
	err = env_file_open(env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file);
	mem_free(path);
	if (err != 0) {
		return err;
	}
	err = env_file_lock(file);
	if (err != 0) {
		env_file_close(file);
		return err;
	}
	*ret_file = file;
	return 0;
}

static int dir_entry(void *ctx, const char *name)
{
	bool *found_other = ctx;

	/* What mkfs and an interrupted format leave does not count. */
	if (strcmp(name, "lost+found") != 0 && strcmp(name, "lock") != 0 &&
		strcmp(name, "state") != 0 && strcmp(name, "objects") != 0 &&
		strcmp(name, SUPER_FILE ".new") != 0) {
		*found_other = true;
	}
	return 0;
}

static int format_subdirs(struct env *env, const char *dir, enum w_target_kind kind)
{
	char *path = NULL;
	int err;

	if (kind == W_TARGET_KIND_OST) {
		return oss_format(env, dir);
	}
	err = path_of(&path, dir, "state");
	if (err != 0) {
		return err;
	}
	err = env_mkdir(env, path);
	mem_free(path);
	return err == -NE_EXIST ? 0 : err;
}

/* The directory's own entry must survive too. */
static int parent_sync(struct env *env, const char *dir)
{
	char *parent = mem_alloc(strlen(dir) + 2);
	char *slash;
	int err;

	if (parent == NULL) {
		return -NE_NOMEM;
	}
	memcpy(parent, dir, strlen(dir) + 1);
	slash = strrchr(parent, '/');
	ASSERT(slash != NULL);
	slash[slash == parent ? 1 : 0] = '\0';
	err = env_fsync_dir(env, parent);
	mem_free(parent);
	return err;
}

int super_format(struct env *env, const char *dir, const struct super *super)
{
	struct env_file *lock = NULL;
	struct super old;
	bool other = false;
	int err = env_mkdir(env, dir);

	if (err != 0 && err != -NE_EXIST) {
		return err;
	}
	err = super_read(env, dir, &old);
	if (err != -NE_NOTFORMATTED) {
		return err == 0 ? -NE_EXIST : err;
	}
	err = env_readdir(env, dir, dir_entry, &other);
	if (err == 0 && other) {
		err = -NE_NOTEMPTY;
	}
	if (err == 0) {
		err = super_lock(env, dir, &lock);
	}
	if (err == 0) {
		err = format_subdirs(env, dir, super->kind);
	}
	if (err == 0) {
		err = parent_sync(env, dir);
	}
	if (err == 0) {
		/* Last: its presence says that everything else is there. */
		err = super_write(env, dir, super);
	}
	env_file_close(lock);
	return err;
}
