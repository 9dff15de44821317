/* See data_box.h. */
#include "data_box.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bufpool.h"
#include "mds/mds_data.h"

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)
#define CHECK_EQ(a, b) \
	do { \
		int64_t check_a = (int64_t)(a), check_b = (int64_t)(b); \
		if (check_a != check_b) { \
			fprintf(stderr, "%s:%d: %s = %" PRId64 ", %s = %" PRId64 "\n", __FILE__, \
				__LINE__, #a, check_a, #b, check_b); \
			abort(); \
		} \
	} while (0)

/* ---- looking at servers, from their own fibers ---- */

static void object_add(struct dobjects *o, const struct dobject *item)
{
	CHECK(o->count < DOBJECTS_MAX);
	o->item[o->count++] = *item;
}

static int disk_one(void *ctx, const char *name)
{
	struct dserver *s = ctx;
	struct dobject item = {.ost = s->index};

	CHECK_EQ(sscanf(name, "%" SCNx64 "-%x-%x.%u", &item.data_fid.seq, &item.data_fid.oid,
			 &item.data_fid.ver, &item.stripe),
		4);
	object_add(&s->objects, &item);
	return 0;
}

static void ost_look(struct dserver *s)
{
	struct env *env = sim_node_env(s->node);
	char dir[32];

	s->objects.count = 0;
	for (unsigned i = 0; i < 256; i++) {
		snprintf(dir, sizeof(dir), "/ost/objects/%02x", i);
		CHECK_EQ(env_readdir(env, dir, disk_one, s), 0);
	}
	s->look = false;
}

struct layouts {
	struct dserver *s;
	uint8_t from[64];
	uint32_t from_len;
	unsigned seen;
	struct fid found[16];
	unsigned count;
	struct fid one;
};

static int inode_one(void *ctx, const struct state_rec *rec)
{
	struct layouts *l = ctx;
	const uint8_t *key = rec->key;

	CHECK(rec->key_len < sizeof(l->from));
	memcpy(l->from, key, rec->key_len);
	l->from_len = rec->key_len;
	l->seen++;
	if (key[17] == MDS_PART_INODE) {
		l->found[l->count++] = mds_fid_load(key + 1);
	}
	return 0;
}

static int inodes_batch(struct mds_op *op, void *ctx)
{
	struct layouts *l = ctx;
	struct mds_key from = {.len = l->from_len + 1};
	struct mds_key to = mds_key_kind(MDS_KEY_INODE + 1);
	uint32_t len = l->from_len;
	uint8_t saved[64];
	int r;

	memcpy(from.b, l->from, len);
	memcpy(saved, l->from, len);
	l->seen = 0;
	l->count = 0;
	r = mds_kv_range(op, &from, &to, 16, inode_one, l);
	if (r < 0) {
		memcpy(l->from, saved, len);
		l->from_len = len;
	}
	return r;
}

static int layout_one(struct mds_op *op, void *ctx)
{
	struct layouts *l = ctx;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, l->one, &inode);

	l->count = 0;
	if (r == 0 && (inode->d.state & W_ATTR_STATE_SIZE_OPEN) != 0) {
		l->s->settled = false;
	}
	if (r == 0 && S_ISREG(inode->d.mode)) {
		bool is_inline = (inode->d.state & W_ATTR_STATE_INLINE) != 0;

		CHECK(is_inline != mds_instantiated(inode));
	}
	if (r < 0 || !S_ISREG(inode->d.mode) || !mds_instantiated(inode)) {
		return r;
	}
	r = mds_layout_load(op, inode);
	l->count = r == 0;
	return r;
}

static void layout_add(struct mds_op *op, int status)
{
	struct layouts *l = mds_data_run_ctx(op);
	const uint8_t *present = op->layout.stripes_present.ptr;

	for (uint32_t i = 0; status == 0 && l->count == 1 && i < op->layout.osts.count; i++) {
		bool must = i / 8 < op->layout.stripes_present.len &&
			(present[i / 8] >> i % 8 & 1) != 0;
		struct dobject item = {.data_fid = op->layout.data_fid,
			.stripe = i,
			.ost = op->layout_osts[i],
			.must = must};

		object_add(&l->s->objects, &item);
	}
}

static bool mdt_quiet(const struct mds_data *data)
{
	return !data->window && data->intents.loaded.count == 0 &&
		data->intents.fresh_from == UINT64_MAX && data->intents.held_count == 0 && !data->intents.scanning &&
		data->intents.later_from == UINT64_MAX && list_empty(&data->sizes) &&
		data->sizers == 0;
}

static void check_line(void *ctx, const char *line)
{
	struct dserver *s = ctx;

	fprintf(stderr, "mds_check: %s\n", line);
	s->violations++;
}

static void mdt_look(struct dserver *s, struct mds *mds)
{
	struct env *env = sim_node_env(s->node);
	struct layouts *l = calloc(1, sizeof(*l));

	s->objects.count = 0;
	s->settled = mdt_quiet(mds->data);
	l->s = s;
	l->from[0] = MDS_KEY_INODE;
	l->from_len = 1;
	do {
		struct fid found[16];
		unsigned count;

		CHECK_EQ(mds_data_run(mds, STATE_READ, inodes_batch, NULL, l, NULL), 0);
		count = l->count;
		memcpy(found, l->found, sizeof(found));
		for (unsigned i = 0; i < count; i++) {
			l->one = found[i];
			CHECK_EQ(mds_data_run(mds, STATE_READ, layout_one, layout_add, l, NULL), 0);
		}
	} while (l->seen == 16);
	free(l);
	s->violations = 0;
	if (s->settled) {
		CHECK(mds_check(env, mds_state(mds), 0, check_line, s) >= 0);
	}
	s->look = false;
}

/* ---- servers ---- */

static void map_fill(struct dbox *b, struct w_mgs_map_rep *map, struct w_target *targets,
	struct w_pool *pool, char names[][16], char addrs[][32])
{
	static const uint32_t members[1] = {1};

	memset(map, 0, sizeof(*map));
	map->version = 1;
	map->fsname = wire_str_of("testfs");
	map->cluster = b->cluster;
	for (unsigned i = 0; i < b->ost_count; i++) {
		snprintf(names[i], 16, "OST%04x", i);
		snprintf(addrs[i], 32, "sim:ost%u:1", i);
		targets[i] = (struct w_target){.name = wire_str_of(names[i]),
			.kind = W_TARGET_KIND_OST,
			.index = (uint16_t)i,
			.state = b->states[i],
			.addr0 = wire_str_of(addrs[i])};
	}
	map->targets.items = targets;
	map->targets.count = b->ost_count;
	*pool = (struct w_pool){.name = wire_str_of("fast")};
	pool->osts.items = members;
	pool->osts.count = b->ost_count > 1 ? 1 : 0;
	map->pools.items = pool;
	map->pools.count = 1;
}

void dbox_map_set(struct dbox *b)
{
	struct w_mgs_map_rep map;
	struct w_target targets[DBOX_OSTS_MAX];
	struct w_pool pool;
	char names[DBOX_OSTS_MAX][16];
	char addrs[DBOX_OSTS_MAX][32];

	map_fill(b, &map, targets, &pool, names, addrs);
	CHECK_EQ(mds_map_set(b->mdt.mds, &map), 0);
}

static struct rpc_client *client_make(
	struct dbox *b, struct env *env, enum rpc_role role, uint8_t id, uint32_t incarnation)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_client_opts opts = {
		.env = env, .incarnation = incarnation, .key = key, .hostname = "test"};
	struct rpc_client *client = NULL;

	key->role = role;
	key->allow_root = true;
	key->cluster = b->cluster;
	strcpy(key->fsname, "testfs");
	CHECK_EQ(rpc_key_derive(key, b->server_key), 0);
	opts.uuid.bytes[0] = id;
	CHECK_EQ(rpc_client_new(&opts, &client), 0);
	free(key);
	return client;
}

static void dir_make(struct env *env, const char *path)
{
	int r = env_mkdir(env, path);

	CHECK(r == 0 || r == -NE_EXIST);
	CHECK_EQ(env_fsync_dir(env, "/"), 0);
}

static void mdt_serve(struct dserver *s, struct env *env, struct rpc_server *server)
{
	struct dbox *b = s->box;
	struct rpc_client *client = client_make(b, env, RPC_ROLE_SERVER, 200, s->epoch);
	struct rpc_service *service = NULL;
	struct mds_options opts = {
		.fsname = "testfs",
		.epoch = s->epoch,
		.store = {.dir = "/mdt",
			.kv_kind = STATE_KV_MODEL,
			.create = true,
			.wal_segment_bytes = 4 * MIB},
		.fid_seq_start = FID_SEQ_NORMAL,
		.fid_seq_count = 1000,
		.fid_batch = 256,
		.root_mode = 0777,
		.ost_client = client,
		.recovery_ns = b->recovery_ns,
	};
	struct rpc_service_opts so = {.target = "MDT0000", .fsname = "testfs", .ops = mds_service_ops()};
	char bound[LIM_ADDR_LEN_MAX + 1];
	struct mds *mds = NULL;

	dir_make(env, "/mdt");
	CHECK_EQ(mds_start(env, &opts, &mds), 0);
	s->mds = mds;
	dbox_map_set(b);
	so.ctx = mds;
	CHECK_EQ(rpc_service_start(server, &so, &service), 0);
	CHECK_EQ(rpc_server_listen(server, "sim:mdt:1", bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		if (s->look) {
			mdt_look(s, mds);
		}
		env_sleep(env, 20 * NS_PER_MS);
	}
	rpc_service_stop(service);
	s->mds = NULL;
	mds_stop(mds);
	rpc_client_free(client);
}

static void ost_serve(
	struct dserver *s, struct env *env, struct rpc_server *server, struct bufpool *pool)
{
	char target[16];
	char addr[32];
	char bound[LIM_ADDR_LEN_MAX + 1];
	struct oss_options opts = {.path = "/ost",
		.target = target,
		.fsname = "testfs",
		.epoch = s->epoch,
		.capacity_bytes = s->box->ost_capacity,
		.kv_kind = STATE_KV_MODEL,
		.bufpool = pool};
	struct oss *oss = NULL;

	snprintf(target, sizeof(target), "OST%04x", s->index);
	snprintf(addr, sizeof(addr), "sim:ost%u:1", s->index);
	dir_make(env, "/ost");
	CHECK_EQ(oss_format(env, "/ost"), 0);
	CHECK_EQ(oss_start(env, server, &opts, &oss), 0);
	s->oss = oss;
	CHECK_EQ(rpc_server_listen(server, addr, bound, sizeof(bound)), 0);
	while (!env_stopping(env)) {
		if (s->look) {
			ost_look(s);
		}
		env_sleep(env, 20 * NS_PER_MS);
	}
	s->oss = NULL;
	oss_stop(oss);
}

static void server_main(void *arg)
{
	struct dserver *s = arg;
	struct env *env = sim_node_env(s->node);
	struct rpc_server *server = NULL;
	struct bufpool *pool = NULL;
	struct rpc_server_opts so = {
		.env = env, .cluster = s->box->cluster, .server_key = s->box->server_key};

	s->epoch++;
	s->mds = NULL;
	s->oss = NULL;
	CHECK_EQ(bufpool_new(64 * MIB, 0, &pool), 0);
	so.bufpool = pool;
	so.uuid.bytes[0] = (uint8_t)(s->is_mdt ? 100 : 101 + s->index);
	so.uuid.bytes[1] = (uint8_t)s->epoch;
	CHECK_EQ(rpc_server_new(&so, &server), 0);
	if (s->is_mdt) {
		mdt_serve(s, env, server);
	} else {
		ost_serve(s, env, server, pool);
	}
	rpc_server_stop(server);
	rpc_server_free(server);
	bufpool_free(pool);
}

static void server_restart(void *arg)
{
	struct dserver *s = arg;

	if (!sim_node_is_up(s->node) && !s->hold) {
		sim_node_start(s->node, server_main, s);
	}
}

static void server_crashed(void *arg)
{
	struct dserver *s = arg;

	s->mds = NULL;
	s->oss = NULL;
	sim_after(s->box->sim, 30 * NS_PER_MS, server_restart, s);
}

void dbox_crash(struct dserver *s, enum sim_crash kind)
{
	sim_node_crash(s->node, kind);
}

void dbox_up(struct dserver *s)
{
	s->hold = false;
	server_restart(s);
}

static void server_make(struct dbox *b, struct dserver *s, bool is_mdt, unsigned index)
{
	char name[16];

	snprintf(name, sizeof(name), is_mdt ? "mdt" : "ost%u", index);
	s->box = b;
	s->is_mdt = is_mdt;
	s->index = index;
	s->node = sim_node_new(b->sim, name);
	sim_node_on_crash(s->node, server_crashed, s);
	sim_node_start(s->node, server_main, s);
}

void dbox_init(struct dbox *b, uint64_t seed, unsigned osts)
{
	struct sim_options opts;

	memset(b, 0, sizeof(*b));
	sim_options_default(&opts, seed);
	opts.log_events = 2000;
	opts.trace = getenv("DBOX_TRACE") != NULL;
	b->sim = sim_new(&opts);
	b->cluster.bytes[3] = 7;
	b->ost_count = osts;
	b->recovery_ns = 5 * NS_PER_S;
	for (unsigned i = 0; i < osts; i++) {
		b->states[i] = W_TARGET_STATE_UP;
		server_make(b, &b->ost[i], false, i);
	}
	server_make(b, &b->mdt, true, 0);
}

void dbox_fini(struct dbox *b)
{
	sim_free(b->sim);
	for (unsigned i = 0; i < b->cli_count; i++) {
		free(b->cli[i]);
	}
}

/* ---- clients ---- */

static int reclaim_one(struct dcli_box *c, struct rpc_session *session, struct dfile *f, bool last)
{
	struct w_mds_reclaim_open_req req = {
		.fid = f->fid, .handle = f->handle, .open = f->flags, .cred = c->cred, .last = last};
	struct w_mds_reclaim_open_rep rep;
	struct rpc_call call = {.op = W_OP_MDS_RECLAIM_OPEN,
		.flags = RPC_CALL_RECOVERY | RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int r = rpc_call(session, &call);

	rpc_call_fini(&call);
	c->reclaims += r == 0;
	return r;
}

static int mdt_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct dcli_box *c = ctx;
	unsigned left = 0;

	(void)info;
	if (event != RPC_EVENT_NEW && event != RPC_EVENT_RECOVERING && event != RPC_EVENT_RESUMED) {
		return 0;
	}
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		left += c->files[i].used;
	}
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		struct dfile *f = &c->files[i];
		int r;

		if (!f->used) {
			continue;
		}
		r = reclaim_one(c, session, f, --left == 0);
		if (r == -NE_CONNLOST) {
			return r;
		}
		/* Its create may have been executed and be answered from its slot. */
		if (r != 0 && r != -NE_STALE) {
			fprintf(stderr, "reclaim: %s\n", ne_name(r));
			return r == -NE_TIMEDOUT ? r : 0;
		}
	}
	return 0;
}

static struct rpc_session *session_make(
	struct dcli_box *c, const char *target, const char *addr, rpc_event_fn *event)
{
	struct rpc_addrs *addrs = calloc(1, sizeof(*addrs));
	struct rpc_session_opts opts = {.target = target,
		.fsname = "testfs",
		.addrs = addrs,
		.on_event = event,
		.on_event_ctx = c};
	struct rpc_session *s = NULL;

	addrs->count = 1;
	strcpy(addrs->addr[0], addr);
	CHECK_EQ(rpc_session_new(c->client, &opts, &s), 0);
	free(addrs);
	return s;
}

static void client_main(void *arg)
{
	struct dcli_box *c = arg;
	struct dbox *b = c->box;

	c->client = client_make(b, c->env, RPC_ROLE_HOST, (uint8_t)(1 + c->index), 1);
	c->mdt = session_make(c, "MDT0000", "sim:mdt:1", mdt_event);
	for (unsigned i = 0; i < b->ost_count; i++) {
		char name[16];
		char addr[32];

		snprintf(name, sizeof(name), "OST%04x", i);
		snprintf(addr, sizeof(addr), "sim:ost%u:1", i);
		c->ost[i] = session_make(c, name, addr, NULL);
	}
	/* So that the MDT knows its OSTs. */
	CHECK_EQ(rpc_session_connect(c->mdt, ENV_FOREVER), 0);
	env_sleep(c->env, 200 * NS_PER_MS);
	c->fn(c);
	rpc_session_free(c->mdt, env_now(c->env) + NS_PER_S);
	for (unsigned i = 0; i < b->ost_count; i++) {
		rpc_session_free(c->ost[i], env_now(c->env) + NS_PER_S);
	}
	rpc_client_free(c->client);
	c->done = true;
}

static bool clients_done(void *arg)
{
	struct dbox *b = arg;

	for (unsigned i = 0; i < b->cli_count; i++) {
		if (!b->cli[i]->done && sim_node_is_up(b->cli[i]->node)) {
			return false;
		}
	}
	return true;
}

void dbox_clients_run(struct dbox *b, dcli_fn *const *fns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct dcli_box *c = calloc(1, sizeof(*c));
		char name[16];

		snprintf(name, sizeof(name), "cli%u", b->cli_count);
		c->box = b;
		c->index = b->cli_count;
		c->node = sim_node_new(b->sim, name);
		c->env = sim_node_env(c->node);
		c->fn = fns[i];
		c->cred = (struct w_cred){.groups_valid = true, .caps = UINT64_MAX};
		b->cli[b->cli_count++] = c;
		sim_node_start(c->node, client_main, c);
	}
	CHECK_EQ(sim_run(b->sim, clients_done, b, 3600 * NS_PER_S), 0);
}

static bool servers_gone(void *arg)
{
	struct dbox *b = arg;

	bool gone = true;

	for (unsigned i = 0; i < b->ost_count; i++) {
		gone &= sim_node_fibers(b->ost[i].node) == 0;
	}
	return gone && sim_node_fibers(b->mdt.node) == 0;
}

void dbox_run(struct dbox *b, dcli_fn *const *fns, unsigned count)
{
	dbox_clients_run(b, fns, count);
	b->mdt.hold = true;
	sim_crash_at(b->mdt.node, 0, SIM_KILL);
	sim_node_stop_ask(b->mdt.node);
	for (unsigned i = 0; i < b->ost_count; i++) {
		b->ost[i].hold = true;
		sim_crash_at(b->ost[i].node, 0, SIM_KILL);
		sim_node_stop_ask(b->ost[i].node);
	}
	CHECK_EQ(sim_run(b->sim, servers_gone, b, 600 * NS_PER_S), 0);
	CHECK_EQ(sim_node_heap_blocks(b->mdt.node), 0);
}

/* ---- calls ---- */

/* The reply of the last call lives until the next one of the same fiber. */
int dc_call(struct dcli_box *c, uint16_t op, const void *req, void *rep)
{
	struct rpc_call call = {.op = op, .request = req, .reply = rep};
	int r = rpc_call(c->mdt, &call);

	rpc_call_fini(&call);
	return r;
}

static void layout_take(struct dfile *f, const struct w_layout *l)
{
	f->objects = (l->flags & W_LAYOUT_FLAGS_INSTANTIATED) != 0;
	f->gen = l->gen;
	f->data_fid = l->data_fid;
	f->geom = (struct layout_geom){.stripe_size = l->stripe_size, .stripe_count = l->osts.view.count};
	for (uint32_t i = 0; i < l->osts.view.count; i++) {
		f->osts[i] = wire_u32_at(&l->osts.view, i);
	}
}

static void info_take(struct dfile *f, const struct w_inode_info *info)
{
	struct wire_iter it = w_layout_iter(&info->layouts.view);
	struct w_layout l;

	f->attr = info->attr;
	f->fid = info->attr.fid;
	if (w_layout_next(&it, &l)) {
		layout_take(f, &l);
	}
}

static struct dfile *file_new(struct dcli_box *c)
{
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		if (!c->files[i].used) {
			memset(&c->files[i], 0, sizeof(c->files[i]));
			return &c->files[i];
		}
	}
	CHECK(false);
	return NULL;
}

/* The MDT may have started again while an open was on its way: it knows of the open what stands in its log, so the
 * handle is re-claimed. */
static int reclaim_late(struct dcli_box *c, struct dfile *f, uint32_t epoch)
{
	if (rpc_session_info(c->mdt)->epoch == epoch) {
		return 0;
	}
	return reclaim_one(c, c->mdt, f, false);
}

int dc_create_as(struct dcli_box *c, const char *name, const struct w_layout *layout, struct dfile **ret)
{
	struct dfile *f = file_new(c);
	struct w_mds_create_req req = {.cred = c->cred,
		.parent = fid_root(),
		.name = wire_str_of(name),
		.mode = S_IFREG | 0644,
		.flags = W_CREATE_FLAGS_OPEN | (layout != NULL ? W_CREATE_FLAGS_LAYOUT : 0),
		.open = W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE,
		.want = W_WANT_LAYOUT,
		.handle = ++c->handle_last};
	struct w_mds_create_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_CREATE, .request = &req, .reply = &rep};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	int r;

	if (layout != NULL) {
		req.layouts.items = layout;
		req.layouts.count = 1;
	}
	r = rpc_call(c->mdt, &call);
	if (r == 0) {
		info_take(f, &rep.info);
		f->used = true;
		f->handle = req.handle;
		f->flags = req.open;
		*ret = f;
	}
	rpc_call_fini(&call);
	return r < 0 ? r : reclaim_late(c, f, epoch);
}

struct dfile *dc_create(struct dcli_box *c, const char *name, const struct w_layout *layout)
{
	struct dfile *f = NULL;

	CHECK_EQ(dc_create_as(c, name, layout, &f), 0);
	return f;
}

int dc_lookup(struct dcli_box *c, const char *name, struct w_attr *ret)
{
	struct w_mds_lookup_req req = {
		.cred = c->cred, .parent = fid_root(), .name = wire_str_of(name)};
	struct w_mds_lookup_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_LOOKUP, &req, &rep);

	if (r == 0) {
		*ret = rep.info.attr;
	}
	return r;
}

int dc_getattr(struct dcli_box *c, struct fid fid, struct w_attr *ret)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = fid};
	struct w_mds_getattr_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_GETATTR, &req, &rep);

	if (r == 0) {
		*ret = rep.info.attr;
	}
	return r;
}

int dc_open_fid(struct dcli_box *c, struct fid fid, uint32_t flags, struct dfile **ret)
{
	struct dfile *f = file_new(c);
	struct w_mds_open_req req = {.cred = c->cred,
		.fid = fid,
		.open = flags,
		.handle = ++c->handle_last,
		.want = W_WANT_LAYOUT};
	struct w_mds_open_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_OPEN, .request = &req, .reply = &rep};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		info_take(f, &rep.info);
		f->used = true;
		f->handle = req.handle;
		f->flags = flags & ~W_OPEN_FLAGS_TRUNC;
		f->size = f->attr.size;
		f->blocks = f->attr.blocks;
		*ret = f;
	}
	rpc_call_fini(&call);
	return r < 0 ? r : reclaim_late(c, f, epoch);
}

struct dfile *dc_open(struct dcli_box *c, const char *name, uint32_t flags)
{
	struct w_attr attr;
	struct dfile *f = NULL;

	CHECK_EQ(dc_lookup(c, name, &attr), 0);
	CHECK_EQ(dc_open_fid(c, attr.fid, flags, &f), 0);
	return f;
}

static struct w_size_report report_of(const struct dfile *f, bool report)
{
	struct w_size_report r = {.valid = report};

	if (report) {
		r.size = f->size;
		r.blocks = f->blocks;
		r.mtime = f->mtime;
		r.stripes_present = wire_bytes_of(f->present, (f->geom.stripe_count + 7) / 8);
	}
	return r;
}

int dc_close(struct dcli_box *c, struct dfile *f, bool report)
{
	struct w_mds_close_req req = {
		.fid = f->fid, .handle = f->handle, .report = report_of(f, report && f->objects)};
	struct w_mds_close_rep rep = {0};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	int r;

	/* From here on it is not re-claimed: if the close was executed before the MDT started again, that stands; if not,
	 * the open is forgotten with the start, and the size is asked for. */
	f->used = false;
	r = dc_call(c, W_OP_MDS_CLOSE, &req, &rep);
	return r == -NE_BADF && rpc_session_info(c->mdt)->epoch != epoch ? 0 : r;
}

static struct w_object_ref ref_of(const struct dfile *f, uint32_t stripe)
{
	return (struct w_object_ref){.data_fid = f->data_fid,
		.stripe = stripe,
		.layout_gen = f->gen,
		.file_fid = f->fid};
}

static int layout_refresh(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = f->fid, .want = W_WANT_LAYOUT};
	struct w_mds_getattr_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		info_take(f, &rep.info);
	}
	rpc_call_fini(&call);
	return r;
}

int dc_instantiate(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_instantiate_req req = {.fid = f->fid, .handle = f->handle};
	struct w_mds_instantiate_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_INSTANTIATE, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		info_take(f, &rep.info);
		CHECK(f->objects);
		f->size = f->attr.size;
	}
	rpc_call_fini(&call);
	return r;
}

static int object_write(
	struct dcli_box *c, struct dfile *f, struct layout_extent e, const uint8_t *buf)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = e.len};
	struct w_ost_write_req req = {.object = ref_of(f, e.stripe),
		.offset = e.object_off,
		.length = (uint32_t)e.len,
		.flags = W_OST_WRITE_FLAGS_SYNC};
	struct w_ost_write_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_WRITE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.bulk_out = &iov,
		.bulk_out_count = 1};
	int r = rpc_call(c->ost[f->osts[e.stripe]], &call);

	if (r == 0) {
		f->wrote = true;
		f->present[e.stripe / 8] |= (uint8_t)(1 << e.stripe % 8);
		f->mtime = i64_max(f->mtime, rep.attr.mtime);
		f->size = u64_max(f->size, e.file_off + e.len);
	}
	rpc_call_fini(&call);
	return r;
}

static int objects_write(
	struct dcli_box *c, struct dfile *f, uint64_t off, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		struct layout_extent e = layout_extent_at(&f->geom, off, u64_min(len, 256 * KIB));
		int r = object_write(c, f, e, buf);

		if (r < 0) {
			return r;
		}
		off += e.len;
		buf += e.len;
		len -= e.len;
	}
	return 0;
}

static int inline_write(struct dcli_box *c, struct dfile *f, uint64_t off, uint32_t flags,
	const void *buf, size_t len)
{
	struct w_mds_write_req req = {.fid = f->fid,
		.handle = f->handle,
		.offset = off,
		.flags = flags,
		.data = wire_bytes_of(buf, len)};
	struct w_mds_write_rep rep = {0};

	if (len > LIM_INLINE_MAX) {
		return -NE_FBIG;
	}
	return dc_call(c, W_OP_MDS_WRITE, &req, &rep);
}

/* Writes inline, or makes sure that there are objects: 0 done, 1 objects. */
static int write_prepare(struct dcli_box *c, struct dfile *f, uint64_t off, uint32_t flags,
	const void *buf, size_t len)
{
	int r = 0;

	if (f->objects) {
		return 1;
	}
	r = inline_write(c, f, off, flags, buf, len);
	if (r == -NE_LAYOUT_CHANGED) {
		r = layout_refresh(c, f);
		return r < 0 ? r : 1;
	}
	if (r == -NE_FBIG) {
		r = dc_instantiate(c, f);
		return r < 0 ? r : 1;
	}
	return r;
}

int dc_write(struct dcli_box *c, struct dfile *f, uint64_t off, const void *buf, size_t len)
{
	int r = write_prepare(c, f, off, W_WRITE_FLAGS_SYNC, buf, len);

	return r <= 0 ? r : objects_write(c, f, off, buf, len);
}

int dc_append(struct dcli_box *c, struct dfile *f, const void *buf, size_t len)
{
	struct w_mds_append_begin_req req = {.fid = f->fid, .handle = f->handle, .length = len};
	struct w_mds_append_begin_rep rep = {0};
	struct w_mds_append_end_req end = {.fid = f->fid, .handle = f->handle};
	struct w_mds_append_end_rep end_rep = {0};
	int r = write_prepare(c, f, 0, W_WRITE_FLAGS_APPEND, buf, len);

	if (r <= 0) {
		return r;
	}
	r = dc_call(c, W_OP_MDS_APPEND_BEGIN, &req, &rep);
	if (r < 0) {
		return r;
	}
	r = objects_write(c, f, rep.offset, buf, len);
	end.token = rep.token;
	end.size = rep.offset + len;
	CHECK_EQ(dc_call(c, W_OP_MDS_APPEND_END, &end, &end_rep), 0);
	return r;
}

/* ---- sizes and reads ---- */

static int object_attr(
	struct dcli_box *c, struct dfile *f, uint32_t stripe, struct w_object_attr *ret_attr)
{
	struct w_object_ref ref = ref_of(f, stripe);
	struct w_ost_getattr_req req = {0};
	struct w_ost_getattr_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_GETATTR, .request = &req, .reply = &rep};
	int r;

	req.objects.items = &ref;
	req.objects.count = 1;
	r = rpc_call(c->ost[f->osts[stripe]], &call);
	if (r == 0) {
		struct wire_iter it = w_object_attr_iter(&rep.attrs.view);

		CHECK(w_object_attr_next(&it, ret_attr));
	}
	rpc_call_fini(&call);
	return r;
}

int dc_size(struct dcli_box *c, struct dfile *f, uint64_t *ret_size)
{
	int r = layout_refresh(c, f);
	uint64_t size = 0;

	if (r < 0 || (f->attr.state & W_ATTR_STATE_SIZE_OPEN) == 0) {
		*ret_size = f->attr.size;
		return r;
	}
	for (uint32_t i = 0; i < f->geom.stripe_count; i++) {
		struct w_object_attr attr;

		r = object_attr(c, f, i, &attr);
		if (r < 0) {
			return r;
		}
		size = u64_max(size, layout_file_size(&f->geom, i, attr.exists ? attr.size : 0));
	}
	*ret_size = size;
	return 0;
}

static int object_read(struct dcli_box *c, struct dfile *f, struct layout_extent e, uint8_t *buf)
{
	struct iovec iov = {.iov_base = buf, .iov_len = e.len};
	struct w_ost_read_req req = {.object = ref_of(f, e.stripe),
		.offset = e.object_off,
		.length = (uint32_t)e.len};
	struct w_ost_read_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_READ,
		.request = &req,
		.reply = &rep,
		.bulk_in = &iov,
		.bulk_in_count = 1};
	int r = rpc_call(c->ost[f->osts[e.stripe]], &call);

	if (r == 0 && call.bulk_in_len < e.len) {
		memset(buf + call.bulk_in_len, 0, e.len - call.bulk_in_len);
	}
	rpc_call_fini(&call);
	return r;
}

static int inline_read(struct dcli_box *c, struct dfile *f, uint64_t off, void *buf, size_t len)
{
	struct w_mds_read_req req = {
		.fid = f->fid, .handle = f->handle, .offset = off, .length = (uint32_t)len};
	struct w_mds_read_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_READ, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		bytes_copy(buf, rep.data.ptr, rep.data.len);
		r = (int)rep.data.len;
	}
	rpc_call_fini(&call);
	return r;
}

int dc_read(struct dcli_box *c, struct dfile *f, uint64_t off, void *buf, size_t len)
{
	uint64_t size = 0;
	size_t done = 0;
	int r = dc_size(c, f, &size);

	if (r < 0) {
		return r;
	}
	if (!f->objects) {
		return inline_read(c, f, off, buf, len);
	}
	len = off >= size ? 0 : u64_min(len, size - off);
	while (done < len) {
		struct layout_extent e =
			layout_extent_at(&f->geom, off + done, u64_min(len - done, 256 * KIB));

		r = object_read(c, f, e, (uint8_t *)buf + done);
		if (r < 0) {
			return r;
		}
		done += e.len;
	}
	return (int)done;
}

int dc_fsync(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_size_req req = {
		.fid = f->fid, .handle = f->handle, .report = report_of(f, f->objects)};
	struct w_mds_size_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_SIZE, &req, &rep);

	if (r == 0) {
		f->attr = rep.attr;
	}
	return r;
}

int dc_truncate(struct dcli_box *c, struct fid fid, uint64_t handle, uint64_t size)
{
	struct w_mds_setattr_req req = {.cred = c->cred,
		.fid = fid,
		.handle = handle,
		.valid = W_SETATTR_VALID_SIZE,
		.size = size};
	struct w_mds_setattr_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_SETATTR, &req, &rep);

	for (unsigned i = 0; i < DFILES_MAX && r == 0; i++) {
		if (c->files[i].used && fid_eq(c->files[i].fid, fid)) {
			c->files[i].size = size;
		}
	}
	return r;
}

int dc_unlink(struct dcli_box *c, const char *name)
{
	struct w_mds_unlink_req req = {
		.cred = c->cred, .parent = fid_root(), .name = wire_str_of(name)};
	struct w_mds_unlink_rep rep = {0};

	return dc_call(c, W_OP_MDS_UNLINK, &req, &rep);
}

int dc_layout_get(
	struct dcli_box *c, struct fid fid, struct w_layout *ret, uint32_t *osts, char *pool)
{
	struct w_mds_layout_get_req req = {.cred = c->cred, .fid = fid};
	struct w_mds_layout_get_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_LAYOUT_GET, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		*ret = rep.layout;
		ret->osts.count = rep.layout.osts.view.count;
		for (uint32_t i = 0; i < ret->osts.count && osts != NULL; i++) {
			osts[i] = wire_u32_at(&rep.layout.osts.view, i);
		}
		if (pool != NULL) {
			CHECK_EQ(wire_str_copy(rep.layout.pool, pool, LIM_POOL_NAME_MAX + 1), 0);
		}
	}
	rpc_call_fini(&call);
	return r;
}

/* ---- everything together ---- */

static void look(struct dcli_box *c, struct dserver *s)
{
	s->look = true;
	while (s->look) {
		env_sleep(c->env, 10 * NS_PER_MS);
	}
}

static bool object_in(const struct dobjects *o, const struct dobject *item)
{
	for (unsigned i = 0; i < o->count; i++) {
		if (o->item[i].stripe == item->stripe && o->item[i].ost == item->ost &&
			fid_eq(o->item[i].data_fid, item->data_fid)) {
			return true;
		}
	}
	return false;
}

unsigned dbox_objects(struct dbox *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->ost_count; i++) {
		n += b->ost[i].objects.count;
	}
	return n;
}

void dbox_settle(struct dcli_box *c)
{
	struct dbox *b = c->box;
	struct dobjects *want = &b->mdt.objects;

	for (unsigned n = 0;; n++) {
		look(c, &b->mdt);
		if (b->mdt.settled) {
			break;
		}
		if (n >= 1200) {
			const struct mds_data *d = b->mdt.mds->data;

			fprintf(stderr,
				"never quiet: window %d loaded %zu fresh %" PRIx64 " held %u later %" PRIx64
				" sizes %d sizers %u files %zu\n",
				d->window, d->intents.loaded.count, d->intents.fresh_from,
				d->intents.held_count, d->intents.later_from,
				!list_empty(&d->sizes), d->sizers, d->files.count);
			abort();
		}
		env_sleep(c->env, 100 * NS_PER_MS);
	}
	CHECK_EQ(b->mdt.violations, 0);
	for (unsigned i = 0; i < b->ost_count; i++) {
		struct dserver *s = &b->ost[i];

		look(c, s);
		for (unsigned k = 0; k < s->objects.count; k++) {
			if (!object_in(want, &s->objects.item[k])) {
				fprintf(stderr, "object without owner: ost %u fid %#" PRIx64 ":%#x stripe %u\n",
					i, s->objects.item[k].data_fid.seq, s->objects.item[k].data_fid.oid,
					s->objects.item[k].stripe);
				for (unsigned n = 0; n < want->count; n++) {
					fprintf(stderr, "layout: ost %u oid %#x stripe %u\n", want->item[n].ost,
						want->item[n].data_fid.oid, want->item[n].stripe);
				}
				abort();
			}
		}
	}
	for (unsigned k = 0; k < want->count; k++) {
		CHECK(!want->item[k].must ||
			object_in(&b->ost[want->item[k].ost].objects, &want->item[k]));
	}
}
