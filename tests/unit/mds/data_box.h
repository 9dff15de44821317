/*
 * Frame for the tests of the MDT's data side: a simulated cluster of one MDT, some OSTs and client nodes, over the
 * real transport. Servers start again by themselves after a crash; clients wait, resend and re-claim as real ones do.
 */
#ifndef NACRE_TESTS_DATA_BOX_H
#define NACRE_TESTS_DATA_BOX_H

#include "env/sim/sim.h"
#include "layout/layout.h"
#include "mds/mds.h"
#include "oss/oss.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define DBOX_OSTS_MAX 4
#define DBOX_CLIENTS_MAX 3
#define DFILES_MAX 64
#define DOBJECTS_MAX 4096

struct dbox;
struct dcli_box;

/* An object: on a disk, or in a layout. */
struct dobject {
	struct fid data_fid;
	uint32_t stripe;
	uint32_t ost;
	bool must; /* the layout says it exists */
};

struct dobjects {
	struct dobject item[DOBJECTS_MAX];
	unsigned count;
};

struct dserver;
typedef void dserver_fn(struct dserver *s);

struct dserver {
	struct dbox *box;
	struct sim_node *node;
	unsigned index;
	bool is_mdt;
	uint32_t epoch;
	bool hold; /* stays down after a crash until let go */
	struct mds *mds; /* of this life; NULL while it starts */
	struct oss *oss;
	/* what the server's own fiber is asked to do */
	bool look; /* list objects; of the MDT: check, and list those of layouts */
	bool map_again; /* the map is set again, with the states of now */
	dserver_fn *ask; /* of the MDT: called once, then NULL */
	bool settled; /* the MDT has nothing more to do */
	int violations;
	struct dobjects objects;
};

/* An open file of a client. */
struct dfile {
	bool used;
	bool read_only;
	struct fid fid;
	uint64_t handle;
	uint32_t flags;
	struct w_attr attr;
	/* layout */
	bool objects;
	uint32_t gen;
	struct fid data_fid;
	struct layout_geom geom;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
	/* for the report */
	bool wrote;
	uint64_t size;
	uint64_t blocks;
	int64_t mtime;
	uint8_t present[LIM_STRIPE_COUNT_MAX / 8];
};

typedef void dcli_fn(struct dcli_box *c);

struct dcli_box {
	struct dbox *box;
	struct sim_node *node;
	struct env *env;
	unsigned index;
	struct rpc_client *client;
	struct rpc_session *mdt;
	struct rpc_session *ost[DBOX_OSTS_MAX];
	struct dfile files[DFILES_MAX];
	uint64_t handle_last;
	struct w_cred cred;
	bool done;
	dcli_fn *fn;
	unsigned reclaims;
};

struct dbox {
	struct sim *sim;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	struct dserver mdt;
	struct dserver ost[DBOX_OSTS_MAX];
	unsigned ost_count;
	uint64_t ost_capacity;
	uint64_t recovery_ns;
	struct dcli_box *cli[DBOX_CLIENTS_MAX];
	unsigned cli_count;
	uint32_t states[DBOX_OSTS_MAX]; /* of the map */
};

void dbox_init(struct dbox *b, uint64_t seed, unsigned osts);
/* Runs fn in the first client (and the other functions in others) until all have ended, then stops everything and
 * verifies that nothing leaked. */
void dbox_run(struct dbox *b, dcli_fn *const *fns, unsigned count);
/* The same without the stop: for tests that go on. */
void dbox_clients_run(struct dbox *b, dcli_fn *const *fns, unsigned count);
void dbox_fini(struct dbox *b);
void dbox_crash(struct dserver *s, enum sim_crash kind);
void dbox_up(struct dserver *s);
/* From a client: changes the states of all OSTs in the map. */
void dbox_states_set(struct dcli_box *c, uint32_t state);
/* From a client: waits until the MDT's intents are done, its window is closed and its sizes are known; then everything
 * must be consistent: mds_check, and the objects on the OSTs' disks are exactly those of the layouts. */
void dbox_settle(struct dcli_box *c);
/* Object files on all OSTs' disks. */
unsigned dbox_objects(struct dbox *b);

/* ---- a client's calls; statuses are returned ---- */

int dc_call(struct dcli_box *c, uint16_t op, const void *req, void *rep);
struct dfile *dc_create(struct dcli_box *c, const char *name, const struct w_layout *layout);
int dc_create_as(
	struct dcli_box *c, const char *name, const struct w_layout *layout, struct dfile **ret);
struct dfile *dc_open(struct dcli_box *c, const char *name, uint32_t flags);
int dc_open_fid(struct dcli_box *c, struct fid fid, uint32_t flags, struct dfile **ret);
int dc_lookup(struct dcli_box *c, const char *name, struct w_attr *ret);
int dc_getattr(struct dcli_box *c, struct fid fid, struct w_attr *ret);
/* Waits as a client does when the MDT has answered SETTLING. */
int dc_settle(struct dcli_box *c, const struct w_attr *attr);
/* size_known: sends a report. */
int dc_close(struct dcli_box *c, struct dfile *f, bool report);
int dc_fsync(struct dcli_box *c, struct dfile *f);
int dc_write(struct dcli_box *c, struct dfile *f, uint64_t off, const void *buf, size_t len);
int dc_append(struct dcli_box *c, struct dfile *f, const void *buf, size_t len);
/* Bytes read, or the error. */
int dc_read(struct dcli_box *c, struct dfile *f, uint64_t off, void *buf, size_t len);
int dc_size(struct dcli_box *c, struct dfile *f, uint64_t *ret_size);
int dc_truncate(struct dcli_box *c, struct fid fid, uint64_t handle, uint64_t size);
int dc_unlink(struct dcli_box *c, const char *name);
int dc_instantiate(struct dcli_box *c, struct dfile *f);
int dc_layout_get(
	struct dcli_box *c, struct fid fid, struct w_layout *ret, uint32_t *osts, char *pool);

#endif
