/*
 * Names: directories and what is in them. All in line: they are short, and rare next to reads and writes.
 */
#include <dirent.h>
#include <string.h>

#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

static int dir_code(struct env *env, int sys_result)
{
	posix_count_file(env);
	return sys_result < 0 ? ne_from_errno(-sys_result) : 0;
}

int posix_mkdir(struct env *env, const char *path)
{
	return dir_code(env, sys_mkdir(path));
}

int posix_unlink(struct env *env, const char *path)
{
	return dir_code(env, sys_unlink(path));
}

int posix_rmdir(struct env *env, const char *path)
{
	return dir_code(env, sys_rmdir(path));
}

int posix_rename(struct env *env, const char *from, const char *to)
{
	return dir_code(env, sys_rename(from, to));
}

int posix_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs)
{
	struct statfs st;
	uint64_t unit;
	uint32_t id[2];
	int rc = dir_code(env, sys_statfs(path, &st));

	if (rc < 0) {
		return rc;
	}
	unit = st.f_frsize > 0 ? (uint64_t)st.f_frsize : (uint64_t)st.f_bsize;
	_Static_assert(sizeof(st.f_fsid) == sizeof(id), "fsid is two words");
	memcpy(id, &st.f_fsid, sizeof(id));
	*ret_statfs = (struct env_statfs){
		.bytes_total = st.f_blocks * unit,
		.bytes_free = st.f_bfree * unit,
		.bytes_avail = st.f_bavail * unit,
		.files_total = st.f_files,
		.files_free = st.f_ffree,
		.fsid = (uint64_t)id[1] << 32 | id[0],
	};
	return 0;
}

int posix_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx)
{
	DIR *dir;
	int rc = dir_code(env, sys_opendir(path, &dir));

	if (rc < 0) {
		return rc;
	}
	for (;;) {
		const char *name;

		rc = sys_readdir(dir, &name);
		if (rc <= 0) {
			rc = rc < 0 ? ne_from_errno(-rc) : 0;
			break;
		}
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
			continue;
		}
		rc = fn(ctx, name);
		if (rc != 0) {
			break;
		}
	}
	(void)closedir(dir);
	return rc;
}
