/*
 * Mistakes on purpose: the simulator must find each within a stated number of ordinary seeds.
 *
 * Each is a wrapper that the linker puts before one function (--wrap); CANARY_x says which. No code of the file
 * system knows of them.
 */
#include <stdint.h>
#include <string.h>

#include "env/env.h"
#include "rpc/rpc.h"
#include "store/state.h"

#ifdef CANARY_SLOTS
/* After a restart nobody remembers which requests were executed: a resent one is executed twice. */
int __wrap_rpc_export_slot_set(struct rpc_export *exp, const struct rpc_slot_state *state);

int __wrap_rpc_export_slot_set(struct rpc_export *exp, const struct rpc_slot_state *state)
{
	(void)exp;
	(void)state;
	return 0;
}
#endif

#if defined(CANARY_WAL_SYNC) || defined(CANARY_COMMIT_SYNC)
#ifdef CANARY_WAL_SYNC
#define FORGOTTEN "/wal/"
#else
#define FORGOTTEN "/objects/"
#endif
#define FILES_MAX 65536

/* Files whose fdatasync is forgotten; a file's memory may be used again, so opens write both ways. */
static const struct env_file *files[FILES_MAX];

int __real_env_file_open(
	struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
int __wrap_env_file_open(
	struct env *env, const char *path, unsigned flags, struct env_file **ret_file);
int __real_env_fdatasync(struct env_file *f);
int __wrap_env_fdatasync(struct env_file *f);

static unsigned place(const struct env_file *f)
{
	return (unsigned)(((uintptr_t)f >> 4) % FILES_MAX);
}

int __wrap_env_file_open(
	struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
	int err = __real_env_file_open(env, path, flags, ret_file);

	if (err == 0) {
		files[place(*ret_file)] = strstr(path, FORGOTTEN) != NULL ? *ret_file : NULL;
	}
	return err;
}

int __wrap_env_fdatasync(struct env_file *f)
{
	return files[place(f)] == f ? 0 : __real_env_fdatasync(f);
}
#endif

#ifdef CANARY_DURABLE
/* What should wait until it is durable does not: syncs return early, objects go before their unlink is safe. */
void __wrap_state_wait_durable(struct state *st, uint64_t lsn);

void __wrap_state_wait_durable(struct state *st, uint64_t lsn)
{
	(void)st;
	(void)lsn;
}
#endif
