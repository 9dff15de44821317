/*
 * Frame for the MDT's tests: an MDT on a simulated node, and clients that call it through the real codecs
 * (requests and replies are encoded and decoded on their way), without a network.
 */
#ifndef NACRE_TESTS_MDS_BOX_H
#define NACRE_TESTS_MDS_BOX_H

#include "base/alloc.h"
#include "env/sim/sim.h"
#include "mds/mds.h"
#include "wire/gen/wire.h"

struct mbox {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	struct mds_options opts;
	struct mds *mds;
	env_fiber_fn *fn;
	void *arg;
	bool done;
};

/* A client's session; replies live until its next call. */
struct mcli {
	struct mbox *box;
	struct mds_session *session;
	struct w_cred cred;
	uint32_t groups[8];
	uint32_t seq;
	uint16_t slot;
	uint8_t *reqbuf;
	uint8_t *repbuf;
	void *req;
	uint64_t transno;
};

/* Every capability. */
#define MCLI_ROOT_CAPS UINT64_MAX

void mbox_init(struct mbox *b, uint64_t seed);
void mbox_init_opts(struct mbox *b, const struct sim_options *opts);
void mbox_fini(struct mbox *b);
/* fn(arg) as the node's process until it ended (true; then the process ends by `how`) or crashed. */
bool mbox_run(struct mbox *b, env_fiber_fn *fn, void *arg, enum sim_crash how);
/* From the node's fiber. */
void mbox_start(struct mbox *b);
void mbox_stop(struct mbox *b);
/* mds_check must find nothing. */
void mbox_check(struct mbox *b);

void mcli_init(struct mcli *c, struct mbox *b);
void mcli_fini(struct mcli *c);
/* A host session with allow_root and uid 0 with all capabilities, made or resumed. */
void mcli_open(struct mcli *c, uint64_t wanted);
void mcli_peer(struct mds_peer *peer, uint8_t client);
int mcli_open_peer(struct mcli *c, const struct mds_peer *peer, uint64_t wanted);
/* Who asks from now on: no groups known (-1), or these. */
void mcli_as(struct mcli *c, uint32_t uid, uint32_t gid, int group_count, const uint32_t *groups);
void mcli_as_root(struct mcli *c);
/* The status; *rep is valid when it is 0. */
int mcli_call(struct mcli *c, uint16_t op, const void *req, void *rep);

/* Short forms. ret may be NULL. */
int mcli_create(
	struct mcli *c, struct fid parent, const char *name, uint32_t mode, struct w_attr *ret);
int mcli_symlink(struct mcli *c, struct fid parent, const char *name, const char *target,
	struct w_attr *ret);
int mcli_lookup(struct mcli *c, struct fid parent, const char *name, struct w_attr *ret);
int mcli_getattr(struct mcli *c, struct fid fid, struct w_attr *ret);
int mcli_unlink(struct mcli *c, struct fid parent, const char *name, bool directory);
int mcli_link(
	struct mcli *c, struct fid fid, struct fid parent, const char *name, struct w_attr *ret);
int mcli_rename(struct mcli *c, struct fid sdir, const char *sname, struct fid ddir,
	const char *dname, uint32_t flags);
int mcli_setxattr(struct mcli *c, struct fid fid, const char *name, const void *value, size_t len,
	uint32_t flags);

#endif
