/*
 * The mark that a write-back has failed in this boot of the host.
 *
 * After a failed fdatasync the kernel calls the pages clean: a later one says yes and writes nothing. So a
 * restarted process must not be taken for one whose memory is still with the kernel, as a killed one's
 * is (same boot id: COMMIT suffices). Before the target stops it leaves the file `write-back-failed` with the boot id
 * in its directory; while that is the boot id, sessions are opened with verifier 0, "unknown memory", and every
 * client with unsynced writes hears of their loss. The file need not survive a power failure: it means nothing then.
 */
#include <stdio.h>

#include "oss/oss_int.h"

#define MARK_BYTES_MAX 128

static int mark_open(struct oss *oss, unsigned flags, struct env_file **ret_file)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX + 1, "%s/write-back-failed", oss->path);
	err = env_file_open(oss->env, path, flags, ret_file);
	mem_free(path);
	return err;
}

void oss_lost_mark(struct oss *oss)
{
	const char *boot = env_boot_id(oss->env);
	struct iovec iov = {.iov_base = (void *)(uintptr_t)boot, .iov_len = strlen(boot)};
	struct env_file *file = NULL;
	int err = mark_open(oss, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNC, &file);

	ASSERT(iov.iov_len > 0 && iov.iov_len < MARK_BYTES_MAX);
	if (err == 0) {
		err = env_pwrite(file, &iov, 1, 0);
	}
	env_file_close(file);
	if (err != 0) {
		log_error(OSS_LOG, "%s: the mark of the failed write-back cannot be left (%s)",
			oss->target, ne_text(err));
	}
}

int oss_lost_load(struct oss *oss)
{
	const char *boot = env_boot_id(oss->env);
	char text[MARK_BYTES_MAX];
	struct env_file *file = NULL;
	size_t len = 0;
	int err = mark_open(oss, ENV_OPEN_READ, &file);

	ASSERT(!oss->memory_unknown);
	if (err == -NE_NOENT) {
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
	oss->memory_unknown = len < strlen(boot) || memcmp(text, boot, strlen(boot)) == 0;
	if (oss->memory_unknown) {
		log_warn(OSS_LOG,
			"%s: a write-back failed since the host was started: unsynced "
			"writes of before count as lost",
			oss->target);
	}
	return 0;
}
