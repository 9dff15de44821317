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

#ifdef CANARY_SET_SIZE
/* An OST does not know the changes it has applied: a repeated SET_SIZE is applied again. */
#include "oss/oss_int.h"

void __real_oss_object_lock(struct oss *oss, struct oss_object *obj, bool exclusive);
void __wrap_oss_object_lock(struct oss *oss, struct oss_object *obj, bool exclusive);

void __wrap_oss_object_lock(struct oss *oss, struct oss_object *obj, bool exclusive)
{
	__real_oss_object_lock(oss, obj, exclusive);
	if (exclusive) {
		obj->header.d.applied = 0;
	}
}
#endif

#ifdef CANARY_TRUNCATE
/* Now and then an OST forgets to do a truncate that it was sent. */
#include "oss/oss_int.h"

int __real_oss_segments_set_size(struct oss *oss, struct oss_object *obj, uint64_t size);
int __wrap_oss_segments_set_size(struct oss *oss, struct oss_object *obj, uint64_t size);

int __wrap_oss_segments_set_size(struct oss *oss, struct oss_object *obj, uint64_t size)
{
	static unsigned calls;

	return ++calls % 8 == 0 ? 0 : __real_oss_segments_set_size(oss, obj, size);
}
#endif

#ifdef CANARY_DESTROY
/* Destroys and truncates are sent before their change is durable: after a power failure the file is back, as zeros. */
#include "env/fiber.h"
#include "store/state_int.h"

uint64_t __real_state_committed_lsn(const struct state *st);
uint64_t __wrap_state_committed_lsn(const struct state *st);
void __real_state_wait_durable(struct state *st, uint64_t lsn);
void __wrap_state_wait_durable(struct state *st, uint64_t lsn);

static bool sends_intents(const struct state *st)
{
	const struct fiber *f = env_self(st->env);

	return f != NULL && strcmp(f->name, "mds-intent") == 0;
}

uint64_t __wrap_state_committed_lsn(const struct state *st)
{
	return sends_intents(st) ? state_last_lsn(st) : __real_state_committed_lsn(st);
}

void __wrap_state_wait_durable(struct state *st, uint64_t lsn)
{
	if (!sends_intents(st)) {
		__real_state_wait_durable(st, lsn);
	}
}
#endif
