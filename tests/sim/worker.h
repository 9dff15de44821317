/*
 * A worker: one fiber of one client that does random operations in its own directory and checks every answer.
 *
 * It lives in the test's memory and survives its client: a new life of the client starts its fiber again, which
 * first finds out which of the possible states the directory is in (worker_resync), then goes on.
 */
#ifndef NACRE_TESTS_SIM_WORKER_H
#define NACRE_TESTS_SIM_WORKER_H

#include "cluster.h"
#include "tree.h"

/* After the death of a client its last requests may still be on their way; nobody fences it yet. */
#define WORKER_QUIET_NS (45 * NS_PER_S)

struct worker_profile {
	unsigned data_percent; /* of operations that are about contents */
	unsigned big_percent; /* of writes that are long or far out */
	unsigned truncate_percent; /* of those about contents, besides the usual ones */
	bool stripes; /* directories and files with layouts of their own */
};

struct worker {
	struct cluster *cluster;
	struct cluster_client *cl;
	unsigned index;
	char name[16]; /* of its directory, below the root */
	struct prng rng;
	struct worker_profile profile;
	const struct op *script; /* NULL: random operations */
	struct fid root;
	struct tree *tree; /* NULL: the directory was not made yet */
	unsigned ops_left;
	unsigned ops_done;
	unsigned resyncs;
	unsigned ops_lost; /* by power losses of the MDT */
	unsigned nospace;
	unsigned lost_writes; /* told by fsync or close */
	bool stop; /* end after this operation */
	bool running; /* a fiber is at it */
	bool idle; /* its work is done */
	/* of this life */
	struct client_file *files[TREE_HANDLES];
	bool lost_ok[TREE_HANDLES]; /* a loss was told by another handle */
	unsigned losses_at_open[TREE_HANDLES]; /* of OSTs */
	unsigned mdt_seen; /* power losses it knows of */
	unsigned life; /* of the client */
	/* the operation in progress */
	struct op op;
	bool in_flight;
	unsigned ost_losses; /* when it began */
	uint64_t disk_errors; /* the same */
	unsigned crashes; /* the same */
	bool resync_due; /* nobody knows whether the operation happened */
	uint8_t *buf; /* TREE_FILE_MAX + 1 bytes */
	struct snap snap;
};

struct worker *worker_new(struct cluster_client *cl, unsigned index, unsigned ops);
void worker_free(struct worker *w);
/* The fiber. */
void worker_main(void *arg);
/* Everything of it is durable and as the model says, or the test fails. For the end. */
_yields_ void worker_settle(struct worker *w);
/* The directory as another client sees it is the model. */
_yields_ void worker_compare(struct worker *w, struct client *c, const char *who);

/* worker_gen.c: the next operation. */
void worker_generate(struct worker *w, struct op *op);
/* worker_run.c: does it on the client; a NE_ code. */
_yields_ int worker_execute(struct worker *w, const struct op *op);
/* Checks an answer that nothing interrupted. */
_yields_ void worker_check(struct worker *w, const struct op *op, int rc);
/* A disk failed while it ran: EIO is an answer. */
bool worker_disk_failed(const struct worker *w, int rc);
/* O_TRUNC of a full MDT that was killed in the middle of it: cut, and then refused. */
bool worker_half_done(const struct worker *w, const struct op *op, int rc);
/* worker_walk.c: what a client sees of a directory. With sync every file is fsynced first. */
_yields_ _check_ int worker_walk(struct worker *w, struct client *c, bool sync);
struct client_cred worker_cred(bool user);

#define OP_TEXT_MAX 256
void op_text(const struct op *op, char *buf);

#endif
