/*
 * lustre.lov: a layout in the form Lustre's tools know.
 *
 * Of a file: its objects, objid = oid and group = sequence of the data FID. Of a directory: the default it gives to new
 * files, if it has one of its own. Setting it is `lfs setstripe`.
 */
#include "client/client_int.h"

void client_lov_wanted(const struct lov_md *md, struct w_layout *ret_layout)
{
	*ret_layout = (struct w_layout){
		.pattern = W_LAYOUT_PATTERN_RAID0,
		.stripe_size = md->stripe_size,
		.stripe_count = md->stripe_count,
		.first_ost = md->stripe_offset,
		.pool = wire_str_of(md->pool),
	};
	if ((md->pattern & LOV_PATTERN_OVERSTRIPED) != 0) {
		ret_layout->flags |= W_LAYOUT_FLAGS_OVERSTRIPED;
	}
	if (md->osts_count > 0) {
		ret_layout->flags |= W_LAYOUT_FLAGS_EXPLICIT_OSTS;
		ret_layout->osts.items = md->osts;
		ret_layout->osts.count = md->osts_count;
		ret_layout->stripe_count = (uint16_t)md->osts_count;
	}
}

static int lov_of_layout(const struct w_layout *from, struct lov_md *md)
{
	bool dir = (from->flags & W_LAYOUT_FLAGS_DIRECTORY) != 0;

	md->pattern = LOV_PATTERN_RAID0;
	if ((from->flags & W_LAYOUT_FLAGS_OVERSTRIPED) != 0) {
		md->pattern |= LOV_PATTERN_OVERSTRIPED;
	}
	md->stripe_size = from->stripe_size;
	md->stripe_count = from->stripe_count;
	md->stripe_offset = dir ? from->first_ost : (uint16_t)from->gen;
	md->fid = from->data_fid;
	if (wire_str_copy(from->pool, md->pool, sizeof(md->pool)) != 0 ||
		from->osts.count > LIM_STRIPE_COUNT_MAX) {
		return -NE_BADMSG;
	}
	if (dir) {
		return 0;
	}
	md->osts_count = from->osts.count;
	for (uint32_t i = 0; i < from->osts.count; i++) {
		md->osts[i] = wire_u32_at(&from->osts.view, i);
	}
	return 0;
}

int client_lov_get(struct client *c, const struct client_cred *cred, struct fid fid, void *buf,
	size_t cap, size_t *ret_len)
{
	struct w_mds_layout_get_req req = {.fid = fid};
	struct w_mds_layout_get_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LAYOUT_GET, .request = &req, .reply = &rep};
	_cleanup_(free_ptr) struct lov_md *md = NULL;
	_cleanup_(free_ptr) char *scratch = NULL;
	size_t len = 0;
	int err = client_mdt_ask(c, cred, &req.cred, &call);

	if (err == -NE_INVAL || (err == 0 && rep.inherited)) {
		return -NE_NODATA;
	}
	if (err != 0) {
		return err;
	}
	md = mem_zalloc(sizeof(*md));
	scratch = mem_alloc(LOV_SIZE_MAX);
	if (md == NULL || scratch == NULL) {
		return -NE_NOMEM;
	}
	err = lov_of_layout(&rep.layout, md);
	if (err == 0) {
		err = lov_encode(md, scratch, LOV_SIZE_MAX, &len);
	}
	if (err == 0 && cap != 0 && len > cap) {
		err = -NE_RANGE;
	}
	if (err == 0) {
		bytes_copy(buf, scratch, cap == 0 ? 0 : len);
		*ret_len = len;
	}
	return err;
}

static int layout_send(
	struct client *c, const struct client_cred *cred, struct w_mds_layout_set_req *req)
{
	struct w_mds_layout_set_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LAYOUT_SET, .request = req, .reply = &rep};
	struct client_inode *inode;
	int err = client_change_check(c);

	if (err == 0) {
		err = client_mdt_ask(c, cred, &req->cred, &call);
	}
	if (err != 0) {
		return err;
	}
	inode = client_inode_find(c, req->fid);
	if (inode == NULL || inode->refs == 0) {
		return 0;
	}
	return client_inode_update(c, inode, &rep.info);
}

int client_lov_set(struct client *c, const struct client_cred *cred, struct fid fid,
	const void *value, size_t len)
{
	_cleanup_(free_ptr) struct lov_md *md = mem_zalloc(sizeof(*md));
	struct w_mds_layout_set_req req = {.fid = fid};
	int err = md == NULL ? -NE_NOMEM : lov_decode(value, len, md);

	if (err != 0) {
		return err;
	}
	client_lov_wanted(md, &req.layout);
	return layout_send(c, cred, &req);
}

int client_lov_remove(struct client *c, const struct client_cred *cred, struct fid fid)
{
	struct w_mds_layout_set_req req = {.fid = fid, .remove = true};

	return layout_send(c, cred, &req);
}
