/*
 * Keys of the MDT's state: a kind byte, then big-endian numbers, so that memcmp is numeric order.
 *
 * Invariant: every key of an inode begins with MDS_KEY_INODE and its FID, the inode itself first; entries of
 * a directory lie together in cookie order. docs/format.md is the reference for people.
 */
#include "mds/mds_int.h"

static void key_u8(struct mds_key *key, uint8_t v)
{
	ASSERT(key->len + 1 <= MDS_KEY_MAX);
	key->b[key->len++] = v;
}

static void key_u16(struct mds_key *key, uint16_t v)
{
	ASSERT(key->len + 2 <= MDS_KEY_MAX);
	be16_store(key->b + key->len, v);
	key->len += 2;
}

static void key_u64(struct mds_key *key, uint64_t v)
{
	ASSERT(key->len + 8 <= MDS_KEY_MAX);
	be64_store(key->b + key->len, v);
	key->len += 8;
}

static void key_fid(struct mds_key *key, struct fid fid)
{
	ASSERT(key->len + 16 <= MDS_KEY_MAX);
	be64_store(key->b + key->len, fid.seq);
	be32_store(key->b + key->len + 8, fid.oid);
	be32_store(key->b + key->len + 12, fid.ver);
	key->len += 16;
}

static struct mds_key key_of(uint8_t kind)
{
	return (struct mds_key){.len = 1, .b = {kind}};
}

static struct mds_key key_of_fid(uint8_t kind, struct fid fid)
{
	struct mds_key key = key_of(kind);

	key_fid(&key, fid);
	return key;
}

struct mds_key mds_key_kind(uint8_t kind)
{
	return key_of(kind);
}

struct mds_key mds_key_globals(void)
{
	return key_of(MDS_KEY_GLOBALS);
}

struct mds_key mds_key_fid_range(void)
{
	return key_of(MDS_KEY_FID_RANGE);
}

struct mds_key mds_key_session(uint64_t session)
{
	struct mds_key key = key_of(MDS_KEY_SESSION);

	key_u64(&key, session);
	return key;
}

struct mds_key mds_key_slot(uint64_t session, uint16_t slot)
{
	struct mds_key key = key_of(MDS_KEY_SLOT);

	key_u64(&key, session);
	key_u16(&key, slot);
	return key;
}

struct mds_key mds_key_entry(struct fid parent, uint64_t cookie)
{
	struct mds_key key = key_of_fid(MDS_KEY_ENTRY, parent);

	key_u64(&key, cookie);
	return key;
}

struct mds_key mds_key_part(struct fid fid, enum mds_key_part part)
{
	struct mds_key key = key_of_fid(MDS_KEY_INODE, fid);

	key_u8(&key, (uint8_t)part);
	return key;
}

struct mds_key mds_key_inode(struct fid fid)
{
	return mds_key_part(fid, MDS_PART_INODE);
}

struct mds_key mds_key_piece(struct fid fid, enum mds_key_part part, uint16_t piece)
{
	struct mds_key key = mds_key_part(fid, part);

	key_u16(&key, piece);
	return key;
}

struct mds_key mds_key_xattr(struct fid fid, uint64_t hash, uint16_t piece)
{
	struct mds_key key = mds_key_part(fid, MDS_PART_XATTR);

	key_u64(&key, hash);
	key_u16(&key, piece);
	return key;
}

struct mds_key mds_key_link(struct fid child, struct fid parent, uint64_t cookie)
{
	struct mds_key key = mds_key_part(child, MDS_PART_LINK);

	key_fid(&key, parent);
	key_u64(&key, cookie);
	return key;
}

struct mds_key mds_key_orphan(struct fid fid)
{
	return key_of_fid(MDS_KEY_ORPHAN, fid);
}

struct mds_key mds_key_size_open(struct fid fid)
{
	return key_of_fid(MDS_KEY_SIZE_OPEN, fid);
}

struct mds_key mds_key_intent(uint64_t number)
{
	struct mds_key key = key_of(MDS_KEY_INTENT);

	key_u64(&key, number);
	return key;
}

struct fid mds_fid_load(const uint8_t *at)
{
	return (struct fid){
		.seq = be64_load(at), .oid = be32_load(at + 8), .ver = be32_load(at + 12)};
}

int mds_key_fid(const void *key, uint32_t len, struct fid *ret_fid)
{
	ASSERT(key != NULL && ret_fid != NULL);
	if (len < 17) {
		return -NE_CORRUPT;
	}
	*ret_fid = mds_fid_load((const uint8_t *)key + 1);
	return 0;
}
