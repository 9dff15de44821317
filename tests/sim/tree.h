/*
 * What one worker knows of its own subtree: the exact model, and what a crash may take from it.
 *
 * `now` is the model after every acknowledged operation. `base` is the model as of the last point at which all of
 * it was durable on the MDT, and `journal` holds the operations since: after a power loss of the MDT the
 * truth is the base and a prefix of the journal. For contents, `dirt` says per byte why it may be
 * otherwise: written to an OST and not fsynced, changed at the MDT since the base, or written by an operation
 * whose end nobody saw. Without such an excuse every byte, size and attribute must be exactly the model's.
 */
#ifndef NACRE_TESTS_SIM_TREE_H
#define NACRE_TESTS_SIM_TREE_H

#include "base/base.h"
#include "base/fid.h"
#include "base/prng.h"
#include "client/client.h"
#include "model/model.h"

#define TREE_NAMES 14u
#define TREE_XATTRS 3u
#define TREE_HANDLES 5u
#define TREE_XATTR_MAX 1500u
/* Longest content, bytes: several stripes of the smallest size. */
#define TREE_FILE_MAX (UINT64_C(448) << 10)
/* Times the model cannot know. */
#define TREE_TIME_UNKNOWN (-1)

enum op_kind {
	OP_MKNOD, /* regular, fifo, without opening */
	OP_MKDIR,
	OP_SYMLINK,
	OP_CREATE, /* open(O_CREAT) */
	OP_LINK,
	OP_UNLINK,
	OP_RMDIR,
	OP_RENAME,
	OP_SETATTR,
	OP_SETXATTR,
	OP_REMOVEXATTR,
	OP_OPEN,
	OP_CLOSE,
	OP_WRITE,
	OP_CHANGES, /* those above change the model; those below do not */
	OP_READ = OP_CHANGES,
	OP_FSYNC,
	OP_SYNC,
	OP_LOOKUP,
	OP_GETATTR,
	OP_READLINK,
	OP_READDIR,
	OP_GETXATTR,
	OP_KINDS,
};

struct op {
	enum op_kind kind;
	bool user; /* by an ordinary user rather than root */
	uint8_t name; /* tree_name() */
	uint8_t name2;
	uint8_t handle;
	uint32_t id;
	uint32_t id2;
	uint32_t mode;
	unsigned valid; /* of setattr: enum client_set */
	unsigned flags; /* of open, rename, setxattr */
	uint32_t uid;
	uint32_t gid;
	uint64_t off;
	uint64_t len; /* or the size of a truncate */
	uint64_t pattern;
	int64_t time_ns;
	bool to_objects; /* a write that went to OSTs: a power loss of the MDT does not undo it */
	uint16_t stripe_count; /* of a create: 0 as the directory says */
};

enum dirt_bit {
	DIRT_OST = 1, /* in an OST's memory only */
	DIRT_MDT = 2, /* changed at the MDT since the base */
	DIRT_UNKNOWN = 4, /* nobody saw the end */
};

struct dirt {
	uint8_t *bits; /* per byte, TREE_FILE_MAX of them */
	uint64_t high; /* no bits from here on */
	uint8_t any;
	bool striped; /* may be: it was longer than what the MDT holds */
	bool surely; /* it is: such a write was answered */
	bool broken; /* an OST lost the object: reads give EIO */
	unsigned ost_losses; /* when DIRT_OST was first set */
};

struct tree_handle {
	uint32_t id; /* 0: closed */
	unsigned flags; /* O_* */
};

struct tree {
	struct model *now;
	struct model *base;
	struct tree_handle handles[TREE_HANDLES];
	struct tree_handle base_handles[TREE_HANDLES];
	struct op *journal;
	unsigned journal_len;
	unsigned journal_cap;
	struct fid *fids; /* by id - 1; zero: not seen */
	struct dirt **dirts;
	uint32_t cap;
};

struct tree *tree_new(const struct client_attr *root);
void tree_free(struct tree *t);
const char *tree_name(unsigned i);
const char *tree_xattr(unsigned i);
/* Fills what the operation writes: a symlink's target, an xattr's value, data. */
void tree_target(const struct op *op, char *buf, size_t cap);
void tree_bytes(uint64_t pattern, uint64_t off, void *buf, size_t len);
void tree_model_cred(bool user, struct model_cred *ret_cred);

struct fid tree_fid(const struct tree *t, uint32_t id);
void tree_fid_set(struct tree *t, uint32_t id, struct fid fid);
/* NULL: nothing in doubt. */
struct dirt *tree_dirt(const struct tree *t, uint32_t id);
/* Bytes [from, to) of a file. */
void tree_mark(struct tree *t, uint32_t id, uint64_t from, uint64_t to, unsigned bits,
	unsigned ost_losses);
void tree_striped(struct tree *t, uint32_t id);
void tree_dirt_clear(struct tree *t, uint32_t id, unsigned bits);
void tree_broken(struct tree *t, uint32_t id);

/* Does it to a model; the errno (negative) or 0. *ret_id: the node made or opened. */
int tree_apply(struct model *m, struct tree_handle *handles, const struct op *op, uint32_t *ret_id);
/* Does it to `now` and notes it in the journal. Marks what becomes doubtful. */
int tree_do(struct tree *t, const struct op *op, unsigned ost_losses, uint32_t *ret_id);
/* Does to a model the write of a journal's entry that went to OSTs, if the file is there. */
void tree_apply_objects(struct model *m, const struct op *op);
/* All so far is durable at the MDT. */
void tree_based(struct tree *t);

/* ---- what a client sees ---- */

struct snap_xattr {
	int rc;
	size_t len;
	uint8_t value[TREE_XATTR_MAX];
};

struct snap_node {
	uint32_t parent; /* index; the root's own */
	uint32_t same; /* the first node with this FID: contents are there */
	char name[LIM_NAME_MAX + 1];
	struct client_attr attr;
	int data_rc;
	uint8_t *data;
	uint64_t data_len;
	char target[300];
	struct snap_xattr xattrs[TREE_XATTRS];
};

struct snap {
	struct snap_node *nodes;
	uint32_t count;
	uint32_t cap;
};

void snap_clear(struct snap *s);
struct snap_node *snap_add(struct snap *s, uint32_t parent, const char *name);

struct tree_view {
	const struct tree *tree;
	struct model *m;
	uint32_t fids_known; /* nodes up to this id must have the FID they were made with; 0: all */
	unsigned excuses; /* DIRT_* that count */
	unsigned ost_losses; /* so far */
	uint32_t *map; /* out, may be NULL: index in snap by id - 1, plus 1 */
	char *why; /* out: what differs */
	size_t why_cap;
};

/* Is what was seen this model, but for what is excused? */
bool tree_equal(const struct tree_view *v, const struct snap *s);
/* Must the mtime be the model's? Not of a file with objects: an OST's clock follows the MDT's only about, so a
 * write just before a utimes may look later than it. */
bool tree_mtime_exact(const struct tree *t, const struct model *m, uint32_t id);
/* The snapshot's contents become the model's. */
void tree_adopt(struct tree *t, const struct snap *s, const uint32_t *map);
/* Is there an excuse for the content of this file now? */
bool tree_doubtful(const struct tree *t, uint32_t id, unsigned ost_losses);
/* Compares len bytes read at off (total size `size`) with the model's content; -1 or the first bad offset. */
int64_t tree_content_check(
	const struct tree_view *v, uint32_t id, uint64_t off, const uint8_t *buf, uint64_t len);

#endif
