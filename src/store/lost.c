/*
 * The mark that a write-back has failed in this boot of the host.
 *
 * After a failed fdatasync the kernel calls the pages clean: a later one says yes and writes nothing. So a
 * restarted process must not be taken for one whose memory is still with the kernel, as a killed one's
 * is (same boot id: what it had written is there). Before the process stops it leaves the file `write-back-failed` with
 * the boot id in its directory; while that is the boot id, clients are told that what was not durable may be lost: an
 * OST's sessions are opened with verifier 0, "unknown memory", an MDT's with its epoch. The file need not survive a
 * power failure: it means nothing then.
 */
#include "store/lost.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"

#define MARK_BYTES_MAX 128

static int mark_open(struct env *env, const char *dir, unsigned flags, struct env_file **ret_file)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX + 1, "%s/write-back-failed", dir);
	err = env_file_open(env, path, flags, ret_file);
	mem_free(path);
	return err;
}

void lost_mark(struct env *env, const char *dir)
{
	const char *boot = env_boot_id(env);
	struct iovec iov = {.iov_base = (void *)(uintptr_t)boot, .iov_len = strlen(boot)};
	struct env_file *file = NULL;
	int err = mark_open(env, dir, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNC, &file);

	ASSERT(iov.iov_len > 0 && iov.iov_len < MARK_BYTES_MAX);
	if (err == 0) {
		err = env_pwrite(file, &iov, 1, 0);
	}
	env_file_close(file);
	if (err != 0) {
		log_error("store", "%s: the mark of the failed write-back cannot be left (%s)", dir,
			ne_text(err));
	}
}

int lost_load(struct env *env, const char *dir, bool *ret_lost)
{
	const char *boot = env_boot_id(env);
	char text[MARK_BYTES_MAX];
	struct env_file *file = NULL;
	size_t len = 0;
	int err = mark_open(env, dir, ENV_OPEN_READ, &file);

	if (err == -NE_NOENT) {
		*ret_lost = false;
		return 0;
	}
	if (err == 0) {
		err = env_pread(file, text, sizeof(text), 0, &len);
	}
	env_file_close(file);
	if (err != 0) {
		return err;
	}
	/* A mark that was cut short by the process's end counts as one of now. */
	*ret_lost = len < strlen(boot) || memcmp(text, boot, strlen(boot)) == 0;
	if (*ret_lost) {
		log_warn("store",
			"%s: a write-back failed since the host was started: what was not synced "
			"before counts as lost",
			dir);
	}
	return 0;
}
