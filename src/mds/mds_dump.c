/*
 * Which codec reads the value of a key: for `nacre inspect`.
 */
#include "mds/mds_int.h"

static const struct wire_codec *inode_part_codec(uint8_t part)
{
	switch (part) {
	case MDS_PART_INODE:
		return &d_mds_inode_codec;
	case MDS_PART_LINK:
		return &d_mds_link_codec;
	default:
		/* Pieces are raw bytes; only the first of a layout or xattr is a record. */
		return NULL;
	}
}

const struct wire_codec *mds_key_codec(const void *key, uint32_t len)
{
	const uint8_t *k = key;

	ASSERT(key != NULL);
	if (len == 0) {
		return NULL;
	}
	switch (k[0]) {
	case MDS_KEY_GLOBALS:
		return &d_mds_globals_codec;
	case MDS_KEY_FID_RANGE:
		return &d_mds_fid_range_codec;
	case MDS_KEY_SESSION:
		return &d_mds_session_codec;
	case MDS_KEY_SLOT:
		return &d_mds_slot_codec;
	case MDS_KEY_ENTRY:
		return &d_mds_dirent_codec;
	case MDS_KEY_INODE:
		return inode_part_codec(len > 17 ? k[17] : MDS_PART_INODE);
	case MDS_KEY_ORPHAN:
		return &d_mds_orphan_codec;
	case MDS_KEY_SIZE_OPEN:
		return &d_mds_size_open_codec;
	case MDS_KEY_INTENT:
		return &d_mds_intent_codec;
	default:
		return NULL;
	}
}
