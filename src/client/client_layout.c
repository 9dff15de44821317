/*
 * Layouts: a checked copy of what the MDT sent, and asking for a newer one.
 *
 * A layout never changes once it is in use, but for its bits of present stripes: a write that was
 * acknowledged sets one, so that a later read of this client takes a missing object for a loss, not a hole.
 */
#include "client/client_int.h"

struct client_layout *client_layout_ref(struct client_layout *layout)
{
	ASSERT(layout->refs > 0);
	layout->refs++;
	return layout;
}

void client_layout_unref(struct client_layout *layout)
{
	if (layout == NULL) {
		return;
	}
	ASSERT(layout->refs > 0);
	if (--layout->refs == 0) {
		mem_free(layout);
	}
}

void client_layout_put(struct client_layout **layout)
{
	client_layout_unref(*layout);
	*layout = NULL;
}

int client_layout_decode(const struct w_layout *from, struct client_layout **ret_layout)
{
	struct layout_geom geom = {
		.stripe_size = from->stripe_size, .stripe_count = from->osts.count};
	struct client_layout *layout;
	size_t present;
	int err = layout_geom_check(&geom);

	ASSERT(ret_layout != NULL);
	if (err != 0 || from->pattern != W_LAYOUT_PATTERN_RAID0 || fid_is_zero(from->data_fid)) {
		return -NE_BADMSG;
	}
	layout = mem_zalloc(sizeof(*layout) + geom.stripe_count * sizeof(layout->osts[0]));
	if (layout == NULL) {
		return -NE_NOMEM;
	}
	err = wire_str_copy(from->pool, layout->pool, sizeof(layout->pool));
	if (err != 0) {
		mem_free(layout);
		return -NE_BADMSG;
	}
	layout->refs = 1;
	layout->gen = from->gen;
	layout->flags = from->flags;
	layout->geom = geom;
	layout->data_fid = from->data_fid;
	for (uint32_t i = 0; i < geom.stripe_count; i++) {
		layout->osts[i] = wire_u32_at(&from->osts.view, i);
	}
	present = u64_min(from->stripes_present.len, sizeof(layout->present));
	bytes_copy(layout->present, from->stripes_present.ptr, present);
	*ret_layout = layout;
	return 0;
}

int client_layout_refresh(struct client *c, struct client_file *f)
{
	struct w_mds_getattr_req req = {.fid = f->inode->fid, .want = W_WANT_LAYOUT};
	struct w_mds_getattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int err = client_mdt_ask(c, &f->cred, &req.cred, &call);

	return err != 0 ? err : client_inode_update(c, f->inode, &rep.info);
}

int client_layout_instantiate(struct client *c, struct client_file *f)
{
	struct w_mds_instantiate_req req = {.fid = f->inode->fid, .handle = f->handle};
	struct w_mds_instantiate_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {.op = W_OP_MDS_INSTANTIATE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int err = client_mdt_call(c, &call);

	if (err == 0) {
		err = client_inode_update(c, f->inode, &rep.info);
	}
	if (err == 0 && (f->inode->inline_data || f->inode->layout == NULL)) {
		err = -NE_BADMSG;
	}
	if (err == 0) {
		f->size_opened = true;
	}
	return err;
}
