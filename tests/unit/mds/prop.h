/*
 * Random operations on an MDT and on the reference model, side by side: the same errnos, the same attributes.
 */
#ifndef NACRE_TESTS_MDS_PROP_H
#define NACRE_TESTS_MDS_PROP_H

#include "base/prng.h"
#include "mds_box.h"
#include "model.h"

#define PROP_NODES_MAX 60000

struct prop_user {
	uint32_t uid;
	uint32_t gid;
	unsigned group_count;
	uint32_t groups[4];
	bool root;
};

/* A file that the acting client has open. */
struct prop_open {
	uint32_t id;
	uint64_t handle;
};

#define PROP_OPENS_MAX 32
#define PROP_KINDS 9

struct prop {
	struct mbox box;
	struct mcli c; /* who acts */
	struct mcli viewer; /* reads without moving access times */
	struct prng rng;
	struct model *model;
	struct fid *fids; /* by model id */
	int64_t now; /* of the last change */
	unsigned ops;
	unsigned done
		[PROP_KINDS]; /* successes, to see that the test reaches what it means to test */
	unsigned failed[PROP_KINDS];
	unsigned asked_groups;
	struct prop_open opens[PROP_OPENS_MAX];
	unsigned open_count;
	uint64_t handle_last;
	unsigned orphans; /* files that were closed without a name */
	struct prng rng_before; /* as it was before the step in progress */
	bool dry; /* only the model moves */
	uint64_t transno; /* of the last change that was answered */
};

void prop_init(struct prop *p, uint64_t seed, unsigned hash_bits);
void prop_fini(struct prop *p);
/* From the node's fiber, with the MDT started: sessions for both clients. */
void prop_attach(struct prop *p, uint64_t session);
/* One random operation on both; aborts when they differ. */
void prop_step(struct prop *p);
/* Closes what is open. */
void prop_close_all(struct prop *p);
/* Does to the model what the step that a crash cut short would have done. */
void prop_step_again(struct prop *p);
/* Everything there is, compared; times too if asked for. Aborts when they differ, or returns false if quiet. */
bool prop_compare(struct prop *p, bool times, bool quiet);

#endif
