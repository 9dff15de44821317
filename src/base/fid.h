/*
 * FID: the 128-bit identity of a file or of a file's data, written `[0xseq:0xoid:0xver]`.
 *
 * A FID is never issued twice (RULES A3). Sequences are handed to MDTs by the MGS; within a
 * sequence the MDT counts oids. Files' inode numbers derive from FIDs and are unique: see fid_ino.
 */
#ifndef NACRE_BASE_FID_H
#define NACRE_BASE_FID_H

#include "base/base.h"

struct fid {
	uint64_t seq;
	uint32_t oid;
	uint32_t ver;
};

/* "[0x200000401:0x1:0x0]" plus NUL fits. */
#define FID_STR_MAX 48
/* Sequences: 0 invalid; FID_SEQ_ROOT holds the well-known FIDs; MDT n owns sequences from
 * FID_SEQ_NORMAL + n * FID_SEQ_PER_MDT. As in Lustre, ordinary sequences begin at 0x200000400. */
#define FID_SEQ_ROOT UINT64_C(0x200000007)
#define FID_SEQ_NORMAL UINT64_C(0x200000400)
#define FID_SEQ_PER_MDT (UINT64_C(1) << 24)
/* oids of one sequence in use: 1..FID_OID_MAX; then the next sequence is taken. */
#define FID_OID_MAX UINT32_C(0xfffffff0)

static inline struct fid fid_root(void)
{
	return (struct fid){.seq = FID_SEQ_ROOT, .oid = 1, .ver = 0};
}

static inline bool fid_eq(struct fid a, struct fid b)
{
	return a.seq == b.seq && a.oid == b.oid && a.ver == b.ver;
}

static inline bool fid_is_zero(struct fid f)
{
	return f.seq == 0 && f.oid == 0 && f.ver == 0;
}

/* <0, 0, >0 in key order. */
int fid_cmp(struct fid a, struct fid b);
/* Unique 64-bit inode number (never 0; the root's is 1). Injective over the FIDs an MDT can
 * issue: (seq - FID_SEQ_NORMAL) in the high 32 bits, oid in the low 32 bits. One exception: the
 * first FID of the first sequence would get the root's number and gets FID_INO_FIRST, which no
 * oid can produce. */
#define FID_INO_FIRST UINT64_C(0xffffffff)
uint64_t fid_ino(struct fid f);
/* The FID an inode number was made from; the zero FID for 0. */
struct fid fid_from_ino(uint64_t ino);
/* Not keyed: for tables whose FIDs a stranger does not choose. */
uint64_t fid_hash(struct fid f);
/* Writes the printed form (truncated if cap < FID_STR_MAX) and returns buf. */
const char *fid_format(struct fid f, char *buf, size_t cap);
/* Accepts the printed form with or without brackets. -NE_INVAL otherwise. */
_check_ int fid_parse(const char *text, struct fid *ret_fid);

#endif
