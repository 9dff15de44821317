/*
 * The object header: two places of one 512-byte sector each at the start of the object's first file.
 *
 *   0 magic "NACO"  4 record length (LE)  8 sequence (LE)  16 record (d_ost_object)  ... zeros ...
 *   508 CRC32C of 0..507
 *
 * Creation writes sequences 0 and 1 to both places, in one call; each change writes the next sequence to the older
 * place, after everything before it was synced. So a power failure that spoils the sector being written leaves the header
 * of before, and so does one sector that has decayed. The valid place with the higher sequence counts.
 *
 * Without a valid place: what was ever committed has two places that are not zeros, so a file shorter than the header, or
 * with a place of zeros, was never committed, whatever a power failure made of the other place: -NE_NOENT, it is made
 * anew. Else -NE_CORRUPT.
 */
#include "base/crc32c.h"
#include "oss/oss_int.h"

/* Far from each other: what a disk may spoil together with a sector are its neighbours. */
#define PLACE_BYTES (OSS_HEADER_BYTES / 2)
#define RECORD_OFFSET 16
#define RECORD_MAX (OSS_HEADER_SECTOR - RECORD_OFFSET - 4)

static const uint8_t magic[4] = {'N', 'A', 'C', 'O'};

static uint64_t place_of(uint64_t seq)
{
	return seq % 2 * PLACE_BYTES;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

/* -NE_NOENT: nothing was written there. */
static int place_read(struct env_file *file, uint64_t place, struct oss_header *ret_header)
{
	uint8_t sector[OSS_HEADER_SECTOR];
	size_t len;
	uint32_t rec_len;
	int err = env_pread(file, sector, sizeof(sector), place, &len);

	if (err != 0) {
		return err;
	}
	if (len < sizeof(sector) || all_zero(sector, sizeof(sector))) {
		return -NE_NOENT;
	}
	rec_len = le32_load(sector + 4);
	if (memcmp(sector, magic, sizeof(magic)) != 0 || rec_len > RECORD_MAX ||
		le32_load(sector + OSS_HEADER_SECTOR - 4) !=
			crc32c(0, sector, OSS_HEADER_SECTOR - 4)) {
		return -NE_CORRUPT;
	}
	ret_header->seq = le64_load(sector + 8);
	err = d_ost_object_decode(&ret_header->d, sector + RECORD_OFFSET, rec_len);
	if (err != 0 || place_of(ret_header->seq) != place) {
		return -NE_CORRUPT;
	}
	return ret_header->d.format > W_FORMAT_VERSION ? -NE_TOONEW : 0;
}

int oss_header_read(struct env_file *file, struct oss_header *ret_header)
{
	struct oss_header place[2];
	int err[2];

	ASSERT(file != NULL);
	for (unsigned i = 0; i < 2; i++) {
		err[i] = place_read(file, i * PLACE_BYTES, &place[i]);
		if (err[i] != 0 && err[i] != -NE_NOENT && err[i] != -NE_CORRUPT) {
			return err[i];
		}
	}
	if (err[0] != 0 && err[1] != 0) {
		return err[0] == -NE_NOENT ? err[0] : err[1];
	}
	*ret_header =
		err[1] != 0 || (err[0] == 0 && place[0].seq > place[1].seq) ? place[0] : place[1];
	return 0;
}

static void sector_fill(uint8_t *sector, const struct oss_header *header)
{
	struct wire_enc enc = wire_enc_of(sector + RECORD_OFFSET, RECORD_MAX);
	int err;

	memset(sector, 0, OSS_HEADER_SECTOR);
	memcpy(sector, magic, sizeof(magic));
	err = d_ost_object_encode(&header->d, &enc);
	ASSERT(err == 0);
	le32_store(sector + 4, (uint32_t)enc.pos);
	le64_store(sector + 8, header->seq);
	le32_store(sector + OSS_HEADER_SECTOR - 4, crc32c(0, sector, OSS_HEADER_SECTOR - 4));
}

int oss_header_write(struct env_file *file, const struct oss_header *header)
{
	uint8_t sector[OSS_HEADER_SECTOR];
	struct iovec iov = {.iov_base = sector, .iov_len = sizeof(sector)};

	ASSERT(file != NULL);
	sector_fill(sector, header);
	return env_pwrite(file, &iov, 1, place_of(header->seq));
}

int oss_header_create(struct env_file *file, struct oss_header *header)
{
	static const uint8_t zeros[PLACE_BYTES - OSS_HEADER_SECTOR];
	uint8_t sectors[2][OSS_HEADER_SECTOR];
	struct iovec iov[3] = {
		{.iov_base = sectors[0], .iov_len = sizeof(sectors[0])},
		{.iov_base = (void *)(uintptr_t)zeros, .iov_len = sizeof(zeros)},
		{.iov_base = sectors[1], .iov_len = sizeof(sectors[1])},
	};

	ASSERT(file != NULL);
	for (header->seq = 0; header->seq < 2; header->seq++) {
		sector_fill(sectors[header->seq], header);
	}
	header->seq = 1;
	return env_pwrite(file, iov, ARRAY_SIZE(iov), 0);
}

int oss_object_inspect(struct env *env, const char *file, struct strbuf *out)
{
	struct env_file *f = NULL;
	struct oss_header header;
	struct env_stat st;
	int err = env_file_open(env, file, ENV_OPEN_READ, &f);

	ASSERT(out != NULL);
	if (err != 0) {
		return err;
	}
	err = oss_header_read(f, &header);
	if (err == 0) {
		err = env_fstat(f, &st);
	}
	env_file_close(f);
	if (err != 0) {
		return err == -NE_NOENT ? -NE_CORRUPT : err;
	}
	d_ost_object_dump(&header.d, out);
	strbuf_printf(out, " data_bytes=%llu allocated_bytes=%llu",
		(unsigned long long)(st.size > OSS_HEADER_BYTES ? st.size - OSS_HEADER_BYTES : 0),
		(unsigned long long)st.blocks);
	return 0;
}
