/*
 * What the files of this module share.
 *
 * Keys of the state store: 'F' d_mgs_fs; 'T' name -> d_mgs_target; 'P' name -> d_mgs_pool; 'p' key -> d_mgs_param.
 * A pool with many members is stored in pieces: see mgs_pool.c.
 */
#ifndef NACRE_MGS_MGS_INT_H
#define NACRE_MGS_MGS_INT_H

#include "base/alloc.h"
#include "base/log.h"
#include "mgs/mgs.h"
#include "wire/gen/disk.h"
#include "wire/gen/wire.h"

#define MGS_LOG "mgs"
#define MGS_TARGETS_MAX (LIM_OST_MAX + LIM_MDT_MAX + 1)
#define MGS_ADDRS 4
#define MGS_PARAMS_MAX 1024
/* What an item of the map takes in a message beside its contents, at most (bytes). */
#define MGS_MAP_FRAME 64
/* OSTs per piece of a stored pool: a piece fits LIM_KV_VALUE_MAX. */
#define MGS_POOL_PIECE 400

struct mgs_target {
	char name[LIM_TARGET_NAME_MAX + 1];
	enum w_target_kind kind;
	uint16_t index;
	struct uuid uuid;
	uint32_t epoch;
	uint32_t state; /* W_TARGET_STATE_* */
	char addr[MGS_ADDRS][LIM_ADDR_LEN_MAX + 1];
	char boot_id[65];
	uint32_t pid;
};

struct mgs_pool {
	char name[LIM_POOL_NAME_MAX + 1];
	uint32_t *osts; /* ascending */
	uint32_t count;
};

struct mgs_param {
	char *key;
	char *value;
};

struct mgs {
	struct env *env;
	struct state *state;
	struct rpc_service *service;
	char fsname[LIM_FSNAME_MAX + 1];
	struct uuid cluster;
	uint32_t epoch;
	uint32_t version;
	uint64_t session_next;
	uint64_t started_ns;
	struct mgs_target *targets; /* by kind and index */
	uint32_t target_count;
	struct mgs_pool pools[LIM_POOLS_MAX]; /* by name */
	uint32_t pool_count;
	struct mgs_param *params; /* by key */
	uint32_t param_count;
	struct env_mutex change; /* one change at a time: memory follows the store */
};

/* mgs_store.c */
_yields_ _check_ int mgs_store_load(struct mgs *mgs);
/* A record to be put or deleted. */
struct mgs_effect {
	uint8_t key[LIM_KV_KEY_MAX];
	uint32_t key_len;
	uint8_t val[LIM_KV_VALUE_MAX];
	uint32_t val_len;
	bool del;
};
/* Applies the effects (at most a hundred or so: one log record) and a new map version, durably. The caller
 * holds mgs->change. */
_yields_ _check_ int mgs_store_apply(struct mgs *mgs, struct mgs_effect *effects, unsigned count);
_check_ int mgs_target_encode(const struct mgs_target *t, struct mgs_effect *ret_effect);
void mgs_target_fill(const struct mgs_target *t, struct w_target *ret_w);
_check_ int mgs_target_from(const struct w_target *w, struct mgs_target *ret_t);
_check_ int mgs_target_insert(struct mgs *mgs, const struct mgs_target *t);
struct mgs_target *mgs_target_find(struct mgs *mgs, const char *name);

/* mgs_pool.c */
_check_ int mgs_pool_load(struct mgs *mgs, const struct state_rec *rec);
_yields_ int mgs_pool_request(struct mgs *mgs, struct rpc_request *req);
void mgs_pools_fini(struct mgs *mgs);

/* mgs_param.c */
_check_ int mgs_param_load(struct mgs *mgs, const struct state_rec *rec);
_yields_ int mgs_param_request(struct mgs *mgs, struct rpc_request *req);
void mgs_params_fini(struct mgs *mgs);

/* mgs_map.c */
_yields_ int mgs_map_request(struct mgs *mgs, struct rpc_request *req);
_yields_ int mgs_register_request(struct mgs *mgs, struct rpc_request *req);
_yields_ int mgs_target_state_request(struct mgs *mgs, struct rpc_request *req);
_yields_ int mgs_status_request(struct mgs *mgs, struct rpc_request *req);
/* -NE_LIMIT: with `more` bytes the map would not fit the message that carries it. */
_check_ int mgs_map_room(const struct mgs *mgs, size_t more);
/* Tells everybody connected that there is a newer map. */
void mgs_map_announce(struct mgs *mgs);

/* True for those who may change the map. */
static inline bool mgs_may_change(const struct rpc_request *req)
{
	enum rpc_role role = rpc_export_identity(req->exp)->role;

	return role == RPC_ROLE_ADMIN || role == RPC_ROLE_SERVER;
}

#endif
