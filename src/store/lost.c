/*
 * The mark that a write-back has failed in this boot of the host.
 *
 * After a failed fdatasync the kernel calls the pages clean: a later one says yes and writes nothing. So a
 * restarted process must not be taken for one whose memory is still with the kernel, as a killed one's
 * is (same boot id: what it had written is there). Before the process stops it leaves the file `write-back-failed` in
 * its directory, with the boot id and a random number that names this failure. While that is the boot id, sessions are
 * opened with the number: a client to whom the memory of before had another one is told that what was not durable may
 * be lost. What was written after the failure is as safe from a mere kill as ever, and nobody is told of it. The file
 * need not survive a power failure: it means nothing then.
 */
#include "store/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"

#define MARK_BYTES_MAX 128
/* After the boot id: a blank, 16 digits, a newline. */
#define NUMBER_BYTES 18

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

static uint64_t loss_draw(struct env *env)
{
	uint64_t loss;

	env_random_bytes(env, &loss, sizeof(loss));
	return loss | 1;
}

void lost_mark(struct env *env, const char *dir)
{
	char text[MARK_BYTES_MAX + 1];
	struct iovec iov = {.iov_base = text};
	struct env_file *file = NULL;
	int err = mark_open(env, dir, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNC, &file);

	iov.iov_len = (size_t)snprintf(
		text, sizeof(text), "%s %016" PRIx64 "\n", env_boot_id(env), loss_draw(env));
	ASSERT(iov.iov_len > NUMBER_BYTES && iov.iov_len <= MARK_BYTES_MAX);
	if (err == 0) {
		err = env_pwrite(file, &iov, 1, 0);
	}
	env_file_close(file);
	if (err != 0) {
		log_error("store", "%s: the mark of the failed write-back cannot be left (%s)", dir,
			ne_text(err));
	}
}

/* A mark that was cut short by the process's end, or by a full disk, is taken for a failure of right now, at every
 * start: what it would have said is not known. */
static uint64_t mark_parse(struct env *env, const char *text, size_t len)
{
	const char *boot = env_boot_id(env);
	size_t boot_len = strlen(boot);
	uint64_t loss = 0;

	if (len >= boot_len && memcmp(text, boot, boot_len) != 0) {
		return 0;
	}
	if (len == boot_len + NUMBER_BYTES) {
		loss = strtoull(text + boot_len, NULL, 16);
	}
	return loss != 0 ? loss : loss_draw(env);
}

int lost_load(struct env *env, const char *dir, uint64_t *ret_loss)
{
	char text[MARK_BYTES_MAX + 1];
	struct env_file *file = NULL;
	size_t len = 0;
	int err = mark_open(env, dir, ENV_OPEN_READ, &file);

	if (err == -NE_NOENT) {
		*ret_loss = 0;
		return 0;
	}
	if (err == 0) {
		err = env_pread(file, text, MARK_BYTES_MAX, 0, &len);
	}
	env_file_close(file);
	if (err != 0) {
		return err;
	}
	text[len] = '\0';
	*ret_loss = mark_parse(env, text, len);
	if (*ret_loss != 0) {
		log_warn("store",
			"%s: a write-back failed since the host was started: what was not synced "
			"before counts as lost",
			dir);
	}
	return 0;
}
