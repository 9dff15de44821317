/*
 * See node.h. Order of a start: key, superblocks (all checked before any is written), epochs, services, listen,
 * and in the background the MGS.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "daemon/node_int.h"
#include "daemon/super.h"
#include "mds/mds.h"
#include "mgs/mgs.h"
#include "oss/oss.h"

/* Bulk buffers of the process: bound, and what stays when idle. */
#define NODE_BUFPOOL_MAX (512 * MIB)
#define NODE_BUFPOOL_KEEP (32 * MIB)
#define NODE_STOP_PATIENCE (2 * NS_PER_S)

static int fail(char *why, size_t cap, int err, const char *fmt, ...) _printf_(4, 5);

static int fail(char *why, size_t cap, int err, const char *fmt, ...)
{
	va_list ap;

	ASSERT(err != 0);
	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return err;
}

static int super_refused(const struct node_target *t, int err, char *why, size_t cap)
{
	switch (err) {
	case -NE_NOTFORMATTED:
		return fail(why, cap, err, "%s: %s is not a target: prepare it with `nacre format`",
			t->config->name, t->config->path);
	case -NE_CORRUPT:
		return fail(why, cap, err,
			"%s: %s/" SUPER_FILE " is damaged: nothing was changed; restore it",
			t->config->name, t->config->path);
	case -NE_TOONEW:
		return fail(why, cap, err,
			"%s: %s was written by a newer version of Nacre: upgrade this host",
			t->config->name, t->config->path);
	case -NE_TOOOLD:
		return fail(why, cap, err,
			"%s: %s was written by a version of Nacre that is too old to be read",
			t->config->name, t->config->path);
	case -NE_LOCKED:
		return fail(why, cap, err, "%s: %s is in use by another nacred", t->config->name,
			t->config->path);
	default:
		return fail(why, cap, err, "%s: %s cannot be opened: %s", t->config->name,
			t->config->path, ne_text(err));
	}
}

static int super_foreign(
	const struct node *node, const struct node_target *t, char *why, size_t cap)
{
	char have[LIM_TARGET_NAME_MAX + 1];

	target_name_format(t->super.kind, t->super.index, have);
	if (strcmp(t->super.fsname, node->config->fsname) != 0 ||
		!uuid_eq(t->super.cluster, node->config->cluster)) {
		return fail(why, cap, -NE_FOREIGN,
			"%s: %s belongs to file system %s of another cluster: it is left alone",
			t->config->name, t->config->path, t->super.fsname);
	}
	if (strcmp(have, t->config->name) != 0) {
		return fail(why, cap, -NE_FOREIGN, "%s: %s is target %s: correct the configuration",
			t->config->name, t->config->path, have);
	}
	return 0;
}

/* Checks and locks; nothing is written yet. */
static int target_open(struct node *node, struct node_target *t, char *why, size_t cap)
{
	int err = super_read(node->env, t->config->path, &t->super);

	if (err == 0) {
		err = super_foreign(node, t, why, cap);
		if (err != 0) {
			return err;
		}
		err = super_lock(node->env, t->config->path, &t->lock);
	}
	if (err == 0) {
		/* Until now another process may have raised the epoch: it must not be used twice. */
		err = super_read(node->env, t->config->path, &t->super);
	}
	return err == 0 ? 0 : super_refused(t, err, why, cap);
}

static int target_epoch_raise(struct node *node, struct node_target *t, char *why, size_t cap)
{
	int err;

	t->super.epoch++;
	err = super_write(node->env, t->config->path, &t->super);
	if (err != 0) {
		return fail(why, cap, err, "%s: %s cannot be written: %s", t->config->name,
			t->config->path, ne_text(err));
	}
	return 0;
}

static int mgs_target_start(struct node *node, struct node_target *t)
{
	char *dir = mem_alloc(LIM_PATH_MAX + 8);
	struct mgs_options opts = {
		.state_dir = dir,
		.kv_kind = node->config->kv_kind,
		.wal_segment_bytes = node->config->wal_segment_bytes,
		.fsname = node->config->fsname,
		.cluster = node->config->cluster,
		.epoch = t->super.epoch,
	};
	int err;

	if (dir == NULL) {
		return -NE_NOMEM;
	}
	snprintf(dir, LIM_PATH_MAX + 8, "%s/state", t->config->path);
	err = mgs_start(node->env, node->server, &opts, &t->mgs);
	mem_free(dir);
	return err;
}

static int mds_target_start(struct node *node, struct node_target *t)
{
	char *dir = mem_alloc(LIM_PATH_MAX + 8);
	struct mds_options opts = {
		.fsname = node->config->fsname,
		.index = t->super.index,
		.epoch = t->super.epoch,
		.store = {.dir = dir,
			.kv_kind = node->config->kv_kind,
			.wal_segment_bytes = node->config->wal_segment_bytes,
			.create = true,
			.incarnation_min = t->super.epoch,
			.capacity_bytes = t->capacity_bytes},
		.fid_seq_start = FID_SEQ_NORMAL + t->super.index * FID_SEQ_PER_MDT,
		.fid_seq_count = FID_SEQ_PER_MDT,
		.root_uid = node->config->uid,
		.root_gid = node->config->gid,
		.ost_client = node->client,
	};
	int err;

	if (dir == NULL) {
		return -NE_NOMEM;
	}
	snprintf(dir, LIM_PATH_MAX + 8, "%s/state", t->config->path);
	err = mds_start(node->env, &opts, &t->mds);
	mem_free(dir);
	if (err == 0) {
		struct rpc_service_opts so = {.target = t->config->name,
			.fsname = node->config->fsname,
			.ops = mds_service_ops(),
			.ctx = t->mds};

		err = rpc_service_start(node->server, &so, &t->service);
	}
	return err;
}

static int oss_target_start(struct node *node, struct node_target *t)
{
	struct oss_options opts = {
		.path = t->config->path,
		.target = t->config->name,
		.fsname = node->config->fsname,
		.epoch = t->super.epoch,
		.capacity_bytes = t->capacity_bytes,
		.kv_kind = node->config->kv_kind,
		.wal_segment_bytes = node->config->wal_segment_bytes,
		.bufpool = node->bufpool,
	};

	return oss_start(node->env, node->server, &opts, &t->oss);
}

static int target_start(struct node *node, struct node_target *t, char *why, size_t cap)
{
	int err;

	t->capacity_bytes = t->config->capacity_bytes != 0 ? t->config->capacity_bytes
							   : t->super.capacity_bytes;
	switch (t->super.kind) {
	case W_TARGET_KIND_MGT:
		err = mgs_target_start(node, t);
		break;
	case W_TARGET_KIND_MDT:
		err = mds_target_start(node, t);
		break;
	default:
		err = oss_target_start(node, t);
		break;
	}
	if (err != 0) {
		return fail(why, cap, err, "%s: %s cannot be started: %s (see the log)",
			t->config->name, t->config->path, ne_text(err));
	}
	return 0;
}

static void target_stop(struct node_target *t)
{
	rpc_service_stop(TAKE_PTR(t->service));
	mds_stop(TAKE_PTR(t->mds));
	oss_stop(TAKE_PTR(t->oss));
	mgs_stop(TAKE_PTR(t->mgs));
	env_file_close(TAKE_PTR(t->lock));
}

static int targets_start(struct node *node, char *why, size_t cap)
{
	int err = 0;

	for (unsigned i = 0; i < node->target_count && err == 0; i++) {
		err = target_open(node, &node->targets[i], why, cap);
	}
	for (unsigned i = 0; i < node->target_count && err == 0; i++) {
		err = target_epoch_raise(node, &node->targets[i], why, cap);
	}
	for (unsigned i = 0; i < node->target_count && err == 0; i++) {
		err = target_start(node, &node->targets[i], why, cap);
	}
	return err;
}

static int listen_all(struct node *node, char *why, size_t cap)
{
	const struct node_config *c = node->config;

	for (unsigned i = 0; i < c->listen_count; i++) {
		int err = rpc_server_listen(
			node->server, c->listen[i], node->addrs[i], sizeof(node->addrs[i]));

		if (err != 0) {
			return fail(why, cap, err, "cannot listen on %s: %s", c->listen[i],
				ne_text(err));
		}
	}
	return 0;
}

static int rpc_make(struct node *node, char *why, size_t cap)
{
	const struct node_config *c = node->config;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid uuid;
	uint8_t random[16];
	int err = rpc_server_key_load(node->env, c->server_key, server_key);

	if (err != 0) {
		return fail(why, cap, err, "server key %s cannot be read: %s", c->server_key,
			ne_text(err));
	}
	env_random_bytes(node->env, random, sizeof(random));
	uuid = uuid_from_random(random);
	err = bufpool_new(NODE_BUFPOOL_MAX, NODE_BUFPOOL_KEEP, &node->bufpool);
	if (err == 0) {
		struct rpc_server_opts so = {.env = node->env,
			.uuid = uuid,
			.cluster = c->cluster,
			.server_key = server_key,
			.own_uid = c->uid,
			.bufpool = node->bufpool};

		err = rpc_server_new(&so, &node->server);
	}
	if (err == 0) {
		err = node_link_make(node, uuid, server_key);
	}
	explicit_bzero(server_key, sizeof(server_key));
	return err == 0 ? 0 : fail(why, cap, err, "cannot start: %s", ne_text(err));
}

int node_start(struct env *env, const struct node_config *config, char *ret_why, size_t cap,
	struct node **ret_node)
{
	struct node *node;
	int err;

	ASSERT(config->target_count <= NODE_TARGETS_MAX);
	ASSERT(config->listen_count <= NODE_ADDRS_MAX);
	ret_why[0] = '\0';
	node = mem_zalloc(sizeof(*node));
	if (node == NULL) {
		return fail(ret_why, cap, -NE_NOMEM, "out of memory");
	}
	node->env = env;
	node->config = config;
	node->target_count = config->target_count;
	for (unsigned i = 0; i < config->target_count; i++) {
		node->targets[i].config = &config->targets[i];
	}
	err = rpc_make(node, ret_why, cap);
	if (err == 0) {
		err = targets_start(node, ret_why, cap);
	}
	if (err == 0) {
		err = listen_all(node, ret_why, cap);
	}
	if (err == 0) {
		err = node_link_start(node);
		if (err != 0) {
			fail(ret_why, cap, err, "cannot start: %s", ne_text(err));
		}
	}
	if (err != 0) {
		node_stop(node);
		return err;
	}
	*ret_node = node;
	return 0;
}

void node_stop(struct node *node)
{
	if (node == NULL) {
		return;
	}
	node_link_stop(node, env_now(node->env) + NODE_STOP_PATIENCE);
	/* The MDT first: it needs the OSTs, not the other way round. */
	for (unsigned i = 0; i < node->target_count; i++) {
		if (node->targets[i].super.kind == W_TARGET_KIND_MDT) {
			target_stop(&node->targets[i]);
		}
	}
	for (unsigned i = 0; i < node->target_count; i++) {
		target_stop(&node->targets[i]);
	}
	if (node->server != NULL) {
		rpc_server_stop(node->server);
	}
	node_link_free(node);
	rpc_server_free(node->server);
	bufpool_free(node->bufpool);
	mem_free(node);
}

const char *node_addr(const struct node *node, unsigned i)
{
	ASSERT(i < node->config->listen_count);
	return node->addrs[i];
}

struct mds *node_mds(struct node *node, const char *target)
{
	for (unsigned i = 0; i < node->target_count; i++) {
		if (strcmp(node->targets[i].config->name, target) == 0) {
			return node->targets[i].mds;
		}
	}
	return NULL;
}

struct oss *node_oss(struct node *node, const char *target)
{
	for (unsigned i = 0; i < node->target_count; i++) {
		if (strcmp(node->targets[i].config->name, target) == 0) {
			return node->targets[i].oss;
		}
	}
	return NULL;
}
