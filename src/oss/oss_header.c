/*
 * The object header: one 512-byte sector at the start of the object's first file.
 *
 *   0 magic "NACO"  4 record length (LE)  8 record (d_ost_object)  ... zeros ...  508 CRC32C of 0..507
 *
 * It is written at creation and replaced in place by rare changes; a sector reaches the disk whole or not at
 * all. A file shorter than the header or with a header of zeros was never committed: -NE_NOENT. Anything
 * else that does not verify is damage: -NE_CORRUPT.
 */
#include "base/crc32c.h"
#include "oss/oss_int.h"

static const uint8_t magic[4] = {'N', 'A', 'C', 'O'};

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0) {
			return false;
		}
	}
	return true;
}

int oss_header_read(struct env_file *file, struct d_ost_object *ret_header)
{
	uint8_t sector[OSS_HEADER_SECTOR];
	size_t len;
	uint32_t rec_len;
	int err;

	ASSERT(file != NULL);
	err = env_pread(file, sector, sizeof(sector), 0, &len);
	if (err != 0) {
		return err;
	}
	if (len < sizeof(sector) || all_zero(sector, sizeof(sector))) {
		return -NE_NOENT;
	}
	rec_len = le32_load(sector + 4);
	if (memcmp(sector, magic, sizeof(magic)) != 0 || rec_len > OSS_HEADER_SECTOR - 12 ||
		le32_load(sector + OSS_HEADER_SECTOR - 4) !=
			crc32c(0, sector, OSS_HEADER_SECTOR - 4)) {
		return -NE_CORRUPT;
	}
	err = d_ost_object_decode(ret_header, sector + 8, rec_len);
	if (err != 0) {
		return -NE_CORRUPT;
	}
	return ret_header->format > W_FORMAT_VERSION ? -NE_TOONEW : 0;
}

int oss_header_write(struct env_file *file, const struct d_ost_object *header)
{
	uint8_t sector[OSS_HEADER_SECTOR] = {0};
	struct wire_enc enc = wire_enc_of(sector + 8, OSS_HEADER_SECTOR - 12);
	struct iovec iov = {.iov_base = sector, .iov_len = sizeof(sector)};
	int err;

	ASSERT(file != NULL);
	memcpy(sector, magic, sizeof(magic));
	err = d_ost_object_encode(header, &enc);
	ASSERT(err == 0);
	le32_store(sector + 4, (uint32_t)enc.pos);
	le32_store(sector + OSS_HEADER_SECTOR - 4, crc32c(0, sector, OSS_HEADER_SECTOR - 4));
	return env_pwrite(file, &iov, 1, 0);
}

int oss_object_inspect(struct env *env, const char *file, struct strbuf *out)
{
	struct env_file *f = NULL;
	struct d_ost_object header;
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
	d_ost_object_dump(&header, out);
	strbuf_printf(out, " data_bytes=%llu allocated_bytes=%llu",
		(unsigned long long)(st.size > OSS_HEADER_BYTES ? st.size - OSS_HEADER_BYTES : 0),
		(unsigned long long)st.blocks);
	return 0;
}
