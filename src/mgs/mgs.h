/*
 * The MGS: the cluster map of one file system - targets, where they are, pools, parameters.
 *
 * Stateless over its store: everything it answers is in the state store it was given, mirrored in memory. The
 * map has a version that grows with each change; clients and servers ask again when they see a newer one.
 * Targets register at every start; a target is known by its name and the identity of its storage.
 */
#ifndef NACRE_MGS_MGS_H
#define NACRE_MGS_MGS_H

#include "base/uuid.h"
#include "rpc/rpc.h"
#include "store/state.h"

struct mgs;

/* The MGS's own target name in SESSION_OPEN. */
#define MGS_TARGET "MGT0000"

struct mgs_options {
	const char *state_dir; /* absolute; exists */
	enum state_kv_kind kv_kind;
	uint64_t wal_segment_bytes; /* of its log; 0: 4 MiB */
	const char *fsname;
	struct uuid cluster;
	uint32_t epoch; /* of this start */
};

/* state_open's errors; -NE_FOREIGN when the store belongs to another file system or cluster. */
_yields_ _check_ int mgs_start(struct env *env, struct rpc_server *server,
	const struct mgs_options *opts, struct mgs **ret_mgs);
/* Accepts NULL. */
_yields_ void mgs_stop(struct mgs *mgs);
/* The codec of the value a key of the state store has, for showing it; NULL: raw bytes. */
const struct wire_codec *mgs_key_codec(const void *key, uint32_t len);
uint32_t mgs_map_version(const struct mgs *mgs);
struct metric_batch;
void mgs_metrics(struct mgs *mgs, struct metric_batch *batch);

#endif
