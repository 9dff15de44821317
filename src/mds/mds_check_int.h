/*
 * What the checker's files share: the tables of what was read (mds_check.c) and is judged (mds_check_rules.c; of the
 * data side both are in mds_check_data.c).
 */
#ifndef NACRE_MDS_CHECK_INT_H
#define NACRE_MDS_CHECK_INT_H

#include "mds/mds_int.h"

struct check_inode {
	struct hmap_node node;
	struct fid fid;
	bool present; /* there is an inode record; else only others speak of it */
	bool orphan;
	bool size_open;
	bool reached; /* known to lie below the root */
	struct d_mds_inode d;
	uint32_t target_len;
	uint64_t symlink_bytes;
	uint64_t data_bytes;
	uint32_t xattrs;
	int64_t xattr_bytes; /* promised by first records, not found in pieces */
	uint32_t layouts; /* records, pieces too */
	struct check_layout *layout; /* owned */
	/* counted over entries */
	uint64_t names; /* entries that name it */
	uint64_t entries; /* entries in it */
	uint64_t subdirs;
	bool parent_named; /* its `parent` holds one of its names */
};

/* A place in a directory: what the entry there says, and what a link key says of it. */
struct check_tie {
	struct hmap_node node;
	struct fid parent;
	uint64_t cookie;
	bool entry;
	struct fid entry_fid;
	uint32_t entry_mode;
	uint64_t entry_name; /* hash */
	bool link;
	struct fid link_fid;
	uint64_t link_name;
};

struct check_layout {
	struct hmap_node node; /* by data FID; directories' have none */
	struct check_inode *inode;
	uint32_t gen;
	uint32_t flags;
	struct fid data_fid;
	uint32_t stripe_count;
	uint32_t present_end; /* the last stripe that has an object, plus one */
	uint32_t pieces; /* of the OST list, read so far */
	uint32_t ost_count;
	uint32_t ost_room; /* of `osts` */
	uint32_t *osts;
};

struct check_intent {
	struct hmap_node node; /* by object */
	uint64_t number;
	struct d_mds_intent d;
};

struct check_entry {
	struct fid parent;
	uint64_t cookie;
	uint64_t home;
	uint32_t mode;
	bool holder;
};

struct mds_check {
	mds_check_fn *fn;
	void *fn_ctx;
	int violations;
	int error;
	unsigned hash_bits;
	struct hash_key hash_key;
	struct hmap inodes;
	struct hmap ties;
	struct hmap layouts;
	struct hmap intents;
	struct d_mds_globals globals;
	bool globals_seen;
	struct d_mds_fid_range range;
	uint64_t session_last;
	/* the entry read last */
	bool chain_known;
	bool chain_on;
	struct fid chain_parent;
	uint64_t chain_cookie;
	uint64_t chain_start; /* of the chain it is in */
	/* where reading goes on */
	uint8_t from[LIM_KV_KEY_MAX];
	uint32_t from_len;
	unsigned seen;
};

void mds_check_report(struct mds_check *c, const char *fmt, ...) _printf_(2, 3);
struct check_inode *mds_check_inode(struct mds_check *c, struct fid fid);
struct check_tie *mds_check_tie(struct mds_check *c, struct fid parent, uint64_t cookie);
/* Is it below what was reserved? */
bool mds_check_reserved(const struct mds_check *c, struct fid fid);
void mds_check_rules(struct mds_check *c);

/* ---- mds_check_data.c ---- */

void mds_check_take_layout(struct mds_check *c, const struct state_rec *rec, struct check_inode *i);
void mds_check_take_size_open(
	struct mds_check *c, const struct state_rec *rec, struct check_inode *i);
void mds_check_take_intent(struct mds_check *c, const struct state_rec *rec);
/* What must hold of one inode that is there; of all that is no inode. */
void mds_check_data_inode(struct mds_check *c, const struct check_inode *i);
void mds_check_data_rules(struct mds_check *c);
/* Accepts NULL. */
void mds_check_layout_free(struct check_layout *l);
/* Before the inodes go. */
void mds_check_data_free(struct mds_check *c);

#endif
