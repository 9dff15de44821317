/*
 * Paths: "a/b/c" from a directory, component by component, symbolic links followed.
 *
 * For the mount's subdirectory, libnacre and the tools; the kernel walks by itself. The rest of the path is
 * kept at the end of one buffer of LIM_PATH_MAX; a link's target is put in front of it. Absolute targets
 * begin at the mount's root, ".." of the root is the root.
 */
#include "client/client_int.h"

/* A page just big enough to be answered. */
#define UP_BYTES 1024
/* Linux follows as many. */
#define WALK_LINKS_MAX 40

struct walk {
	struct client *c;
	const struct client_cred *cred;
	char *buf; /* LIM_PATH_MAX + 1 */
	char *target; /* the same */
	const char *rest;
	unsigned links;
	struct fid at; /* a directory */
	struct client_attr attr; /* of the last component */
};

/* Cuts the next component off; false at the end. */
static bool walk_component(struct walk *w, char name[LIM_NAME_MAX + 1], int *ret_err)
{
	size_t len;

	while (*w->rest == '/') {
		w->rest++;
	}
	len = strcspn(w->rest, "/");
	if (len == 0) {
		return false;
	}
	if (len > LIM_NAME_MAX) {
		*ret_err = -NE_NAMETOOLONG;
		return false;
	}
	memcpy(name, w->rest, len);
	name[len] = '\0';
	w->rest += len;
	return true;
}

static int walk_link(struct walk *w)
{
	size_t rest = strlen(w->rest);
	size_t len;
	int err;

	if (++w->links > WALK_LINKS_MAX) {
		return -NE_LOOP;
	}
	err = client_readlink(w->c, w->cred, w->attr.fid, w->target, LIM_PATH_MAX + 1);
	if (err != 0) {
		return err;
	}
	len = strlen(w->target);
	if (len == 0) {
		return -NE_NOENT;
	}
	if (len + rest > LIM_PATH_MAX) {
		return -NE_NAMETOOLONG;
	}
	memmove(w->buf + len, w->rest, rest + 1);
	memcpy(w->buf, w->target, len);
	w->rest = w->buf;
	if (w->target[0] == '/') {
		w->at = fid_is_zero(w->c->root) ? fid_root() : w->c->root;
	}
	return 0;
}

/* The parent of a directory: the answer of an empty page names it. */
static int walk_up(struct walk *w)
{
	struct w_mds_readdir_req req = {.fid = w->at, .bytes_max = UP_BYTES};
	struct w_mds_readdir_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_READDIR, .request = &req, .reply = &rep};
	struct fid top = fid_is_zero(w->c->root) ? fid_root() : w->c->root;
	/* To go up needs no permission to list. */
	struct client_cred self = client_cred_self(w->c);
	int err;

	if (fid_eq(w->at, top)) {
		return 0;
	}
	err = client_mdt_ask(w->c, &self, &req.cred, &call);
	if (err == 0) {
		w->at = rep.parent;
	}
	return err;
}

static int walk_step(struct walk *w, const char *name, bool follow_last)
{
	bool last = w->rest[strspn(w->rest, "/")] == '\0';
	int err = 0;

	if (strcmp(name, ".") == 0) {
		return client_getattr(w->c, w->cred, w->at, NULL, &w->attr);
	}
	if (strcmp(name, "..") == 0) {
		err = walk_up(w);
		return err != 0 ? err : client_getattr(w->c, w->cred, w->at, NULL, &w->attr);
	}
	err = client_lookup(w->c, w->cred, w->at, name, &w->attr);
	if (err != 0) {
		return err;
	}
	/* A slash behind the last component asks for what the link names. */
	if (S_ISLNK(w->attr.mode) && (!last || follow_last || *w->rest == '/')) {
		err = walk_link(w);
		return err != 0 ? err : client_getattr(w->c, w->cred, w->at, NULL, &w->attr);
	}
	if (S_ISDIR(w->attr.mode)) {
		w->at = w->attr.fid;
	} else if (!last || *w->rest == '/') {
		return -NE_NOTDIR;
	}
	return 0;
}

int client_walk(struct client *c, const struct client_cred *cred, struct fid from, const char *path,
	bool follow_last, struct client_attr *ret_attr)
{
	_cleanup_(free_ptr) char *buf = mem_alloc(2 * (LIM_PATH_MAX + 1));
	struct walk w = {.c = c, .cred = cred, .buf = buf, .rest = buf, .at = from};
	char name[LIM_NAME_MAX + 1];
	size_t len = strlen(path);
	int err;

	if (buf == NULL) {
		return -NE_NOMEM;
	}
	if (len > LIM_PATH_MAX) {
		return -NE_NAMETOOLONG;
	}
	memcpy(buf, path, len + 1);
	w.target = buf + LIM_PATH_MAX + 1;
	err = client_getattr(c, cred, from, NULL, &w.attr);
	while (err == 0 && walk_component(&w, name, &err)) {
		err = S_ISDIR(w.attr.mode) ? walk_step(&w, name, follow_last) : -NE_NOTDIR;
	}
	if (err == 0) {
		*ret_attr = w.attr;
	}
	return err;
}
