/* See mds_box.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mds_box.h"

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

#define BODY_BYTES (LIM_MSG_BODY_MAX + 4096)

/* ---- the world ---- */

static void box_main(void *arg)
{
	struct mbox *b = arg;

	b->fn(b->arg);
	b->done = true;
}

static bool box_over(void *arg)
{
	struct mbox *b = arg;

	return b->done || !sim_node_is_up(b->node);
}

bool mbox_run(struct mbox *b, env_fiber_fn *fn, void *arg, enum sim_crash how)
{
	b->fn = fn;
	b->arg = arg;
	b->done = false;
	b->mds = NULL;
	sim_node_start(b->node, box_main, b);
	MUST(sim_run(b->sim, box_over, b, ENV_FOREVER) == 0);
	if (sim_node_is_up(b->node)) {
		sim_node_crash(b->node, how);
	}
	return b->done;
}

static void box_mkdir(void *arg)
{
	struct mbox *b = arg;

	MUST(env_mkdir(b->env, "/mdt") == 0);
	MUST(env_fsync_dir(b->env, "/") == 0);
}

void mbox_init_opts(struct mbox *b, const struct sim_options *opts)
{
	memset(b, 0, sizeof(*b));
	b->sim = sim_new(opts);
	b->node = sim_node_new(b->sim, "mds");
	b->env = sim_node_env(b->node);
	b->opts = (struct mds_options){
		.fsname = "test",
		.epoch = 1,
		.store = {.dir = "/mdt",
			.kv_kind = STATE_KV_MODEL,
			.create = true,
			.wal_segment_bytes = 4 * MIB},
		.fid_seq_start = FID_SEQ_NORMAL,
		.fid_seq_count = 1000,
		.fid_batch = 1024,
		.root_mode = 0777,
	};
	MUST(mbox_run(b, box_mkdir, b, SIM_KILL));
}

void mbox_init(struct mbox *b, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	mbox_init_opts(b, &opts);
}

void mbox_fini(struct mbox *b)
{
	sim_free(b->sim);
}

void mbox_start(struct mbox *b)
{
	int r = mds_start(b->env, &b->opts, &b->mds);

	if (r < 0) {
		fprintf(stderr, "mds_start: %s\n", ne_name(r));
		abort();
	}
}

void mbox_stop(struct mbox *b)
{
	mds_stop(b->mds);
	b->mds = NULL;
}

static void check_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "mds_check: %s\n", line);
}

void mbox_check(struct mbox *b)
{
	MUST(mds_check(b->env, mds_state(b->mds), b->opts.hash_bits, check_line, NULL) == 0);
}

/* ---- clients ---- */

void mcli_init(struct mcli *c, struct mbox *b)
{
	memset(c, 0, sizeof(*c));
	c->box = b;
	/* Not from mem_alloc: a crash of the node must not take the test's own memory. */
	c->reqbuf = malloc(BODY_BYTES);
	c->repbuf = malloc(BODY_BYTES);
	c->req = malloc(4096);
	MUST(c->reqbuf != NULL && c->repbuf != NULL && c->req != NULL);
	mcli_as_root(c);
}

void mcli_fini(struct mcli *c)
{
	free(c->reqbuf);
	free(c->repbuf);
	free(c->req);
}

void mcli_peer(struct mds_peer *peer, uint8_t client)
{
	*peer = (struct mds_peer){
		.client = {.bytes = {client}},
		.incarnation = 1,
		.role = W_PEER_ROLE_HOST,
		.allow_root = true,
		.key_id = 1,
		.subdir = "",
		.hostname = "test",
		.addr = "sim",
	};
}

int mcli_open_peer(struct mcli *c, const struct mds_peer *peer, uint64_t wanted)
{
	bool resumed = false;
	int r = mds_session_open(c->box->mds, peer, wanted, &c->session, &resumed);

	if (r == 0) {
		MUST(wanted == 0 || resumed);
	}
	return r;
}

void mcli_open(struct mcli *c, uint64_t wanted)
{
	struct mds_peer peer;

	mcli_peer(&peer, 1);
	MUST(mcli_open_peer(c, &peer, wanted) == 0);
}

void mcli_as(struct mcli *c, uint32_t uid, uint32_t gid, int group_count, const uint32_t *groups)
{
	c->cred = (struct w_cred){.uid = uid, .gid = gid, .groups_valid = group_count >= 0};
	for (int i = 0; i < group_count; i++) {
		c->groups[i] = groups[i];
	}
	c->cred.groups.items = c->groups;
	c->cred.groups.count = group_count < 0 ? 0 : (uint32_t)group_count;
}

void mcli_as_root(struct mcli *c)
{
	mcli_as(c, 0, 0, 0, NULL);
	c->cred.caps = MCLI_ROOT_CAPS;
}

static int rep_encode(
	void *ctx, const struct wire_op *op, const void *reply, struct span *ret_bytes)
{
	struct mcli *c = ctx;
	struct wire_enc enc = wire_enc_of(c->repbuf, BODY_BYTES);
	int r = op->reply->encode(reply, &enc);

	if (r == 0) {
		*ret_bytes = span_of(c->repbuf, enc.pos);
	}
	return r;
}

int mcli_call(struct mcli *c, uint16_t op, const void *req, void *rep)
{
	const struct wire_op *wop = wire_op_find(op);
	struct wire_enc enc = wire_enc_of(c->reqbuf, BODY_BYTES);
	struct mds_result result = {0};
	struct mds_request request = {
		.session = c->session,
		.op = wop,
		.body = c->req,
		.slot = wop->modifies ? c->slot : 0xffff,
		.seq = ++c->seq,
		.encode = rep_encode,
		.encode_ctx = c,
	};
	int r;

	MUST(wop->request->struct_size <= 4096);
	MUST(wop->request->encode(req, &enc) == 0);
	MUST(wop->request->decode(c->req, c->reqbuf, enc.pos) == 0);
	r = mds_serve(c->box->mds, &request, &result);
	c->transno = result.transno;
	if (r == 0 && rep != NULL) {
		MUST(wop->reply->decode(rep, c->repbuf, BODY_BYTES) == 0);
	}
	return r;
}

/* ---- short forms ---- */

static void attr_give(const struct w_attr *attr, struct w_attr *ret)
{
	if (ret != NULL) {
		*ret = *attr;
	}
}

static int create_call(struct mcli *c, struct w_mds_create_req *req, struct w_attr *ret)
{
	struct w_mds_create_rep rep;
	int r;

	req->cred = c->cred;
	r = mcli_call(c, W_OP_MDS_CREATE, req, &rep);
	if (r == 0) {
		attr_give(&rep.info.attr, ret);
	}
	return r;
}

int mcli_create(
	struct mcli *c, struct fid parent, const char *name, uint32_t mode, struct w_attr *ret)
{
	struct w_mds_create_req req = {
		.parent = parent, .name = wire_str_of(name), .mode = mode, .umask = 0};

	return create_call(c, &req, ret);
}

int mcli_symlink(
	struct mcli *c, struct fid parent, const char *name, const char *target, struct w_attr *ret)
{
	struct w_mds_create_req req = {.parent = parent,
		.name = wire_str_of(name),
		.mode = 0120777,
		.target = wire_str_of(target)};

	return create_call(c, &req, ret);
}

int mcli_lookup(struct mcli *c, struct fid parent, const char *name, struct w_attr *ret)
{
	struct w_mds_lookup_req req = {
		.cred = c->cred, .parent = parent, .name = wire_str_of(name)};
	struct w_mds_lookup_rep rep;
	int r = mcli_call(c, W_OP_MDS_LOOKUP, &req, &rep);

	if (r == 0) {
		attr_give(&rep.info.attr, ret);
	}
	return r;
}

int mcli_getattr(struct mcli *c, struct fid fid, struct w_attr *ret)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = fid};
	struct w_mds_getattr_rep rep;
	int r = mcli_call(c, W_OP_MDS_GETATTR, &req, &rep);

	if (r == 0) {
		attr_give(&rep.info.attr, ret);
	}
	return r;
}

int mcli_unlink(struct mcli *c, struct fid parent, const char *name, bool directory)
{
	struct w_mds_unlink_req req = {.cred = c->cred,
		.parent = parent,
		.name = wire_str_of(name),
		.directory = directory};
	struct w_mds_unlink_rep rep;

	return mcli_call(c, W_OP_MDS_UNLINK, &req, &rep);
}

int mcli_link(
	struct mcli *c, struct fid fid, struct fid parent, const char *name, struct w_attr *ret)
{
	struct w_mds_link_req req = {
		.cred = c->cred, .fid = fid, .parent = parent, .name = wire_str_of(name)};
	struct w_mds_link_rep rep;
	int r = mcli_call(c, W_OP_MDS_LINK, &req, &rep);

	if (r == 0) {
		attr_give(&rep.info.attr, ret);
	}
	return r;
}

int mcli_rename(struct mcli *c, struct fid sdir, const char *sname, struct fid ddir,
	const char *dname, uint32_t flags)
{
	struct w_mds_rename_req req = {.cred = c->cred,
		.src_parent = sdir,
		.src_name = wire_str_of(sname),
		.dst_parent = ddir,
		.dst_name = wire_str_of(dname),
		.flags = flags};
	struct w_mds_rename_rep rep;

	return mcli_call(c, W_OP_MDS_RENAME, &req, &rep);
}

int mcli_setxattr(struct mcli *c, struct fid fid, const char *name, const void *value, size_t len,
	uint32_t flags)
{
	struct w_mds_setxattr_req req = {.cred = c->cred,
		.fid = fid,
		.name = wire_str_of(name),
		.flags = flags,
		.value = wire_bytes_of(value, len)};
	struct w_mds_setxattr_rep rep;

	return mcli_call(c, W_OP_MDS_SETXATTR, &req, &rep);
}
