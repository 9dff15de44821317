/*
 * Fuzz targets: what is read from a target's directory, on a simulated disk.
 *
 * `super` and `object` take the file's bytes, as they are and with their checksum made right. `wal` takes the
 * bytes of segment files. `recover` takes a description of a log: records that chain or do not, in one
 * segment or several, with gaps, garbage and flipped bits. Whatever a store says it recovered, it keeps: it
 * takes a change, and is opened again with all of it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "daemon/super.h"
#include "fuzz.h"
#include "fuzz_sim.h"
#include "oss/oss.h"
#include "store/state_int.h"
#include "store/wal_int.h"

#define SEGMENT_BYTES (UINT64_C(64) * KIB)
#define LOG_BYTES_MAX (256 * KIB)

static void prepare(void *arg)
{
	static const char *const dirs[] = {"/t", "/o", "/s", "/s/wal"};

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++) {
		int r = env_mkdir(arg, dirs[i]);

		ASSERT(r == 0);
	}
}

static void poke(struct fuzz_sim *f, const char *path, const void *data, size_t len)
{
	int r = sim_disk_poke(f->node, path, data, len);

	ASSERT(r == 0);
}

/* ---- superblock ---- */

#define SUPER_PATH "/t/" SUPER_FILE

static void super_body(void *arg _unused_)
{
	static struct super super, again;
	struct env *env = fuzz_sim_get(prepare)->env;
	int r = super_read(env, "/t", &super);

	ASSERT(r == 0 || r == -NE_CORRUPT || r == -NE_TOONEW || r == -NE_TOOOLD);
	if (r == 0) {
		ASSERT(strlen(super.fsname) <= LIM_FSNAME_MAX && super.kind <= W_TARGET_KIND_OST);
		super.epoch++;
		r = super_write(env, "/t", &super);
		ASSERT(r == 0);
		r = super_read(env, "/t", &again);
		ASSERT(r == 0 && again.epoch == super.epoch && uuid_eq(again.uuid, super.uuid));
	} else {
		r = super_format(env, "/t", &super);
		ASSERT(r != 0);
	}
}

static void run_super(const uint8_t *data, size_t size)
{
	struct fuzz_sim *f = fuzz_sim_get(prepare);
	uint8_t *sealed = malloc(size + 16);

	ASSERT(sealed != NULL);
	fuzz_sim_disk_reset(f);
	poke(f, SUPER_PATH, data, size);
	(void)fuzz_sim_run(f, super_body, NULL);
	/* The bytes as the record within. */
	memcpy(sealed, "NACRETG1", 8);
	le32_store(sealed + 8, (uint32_t)size);
	if (size > 0) {
		memcpy(sealed + 12, data, size);
	}
	le32_store(sealed + 12 + size, crc32c(0, sealed, 12 + size));
	fuzz_sim_disk_reset(f);
	poke(f, SUPER_PATH, sealed, size + 16);
	(void)fuzz_sim_run(f, super_body, NULL);
	free(sealed);
}

static void super_seed_body(void *arg)
{
	struct super s = {.kind = W_TARGET_KIND_OST, .index = 3, .epoch = 5, .formatted_ns = 6};
	int r;

	strcpy(s.fsname, "scratch");
	r = super_write(arg, "/t", &s);
	ASSERT(r == 0);
}

static void seeds_super(struct fuzz_seeds *s)
{
	struct fuzz_sim *f = fuzz_sim_get(prepare);
	uint8_t buf[512];
	int64_t len;

	(void)fuzz_sim_run(f, super_seed_body, f->env);
	len = sim_disk_peek(f->node, SUPER_PATH, buf, sizeof(buf));
	ASSERT(len > 16 && len < (int64_t)sizeof(buf));
	fuzz_seed_add(s, "file", buf, (size_t)len);
	fuzz_seed_add(s, "record", buf + 12, (size_t)len - 16);
}

/* ---- header of an object ---- */

#define OBJECT_PATH "/o/x"

static void object_body(void *arg _unused_)
{
	struct strbuf sb;
	int r;

	strbuf_init(&sb, 65536);
	r = oss_object_inspect(fuzz_sim_get(prepare)->env, OBJECT_PATH, &sb);
	ASSERT(r == 0 || r == -NE_CORRUPT || r == -NE_TOONEW);
	ASSERT(r != 0 || strbuf_error(&sb) == 0);
	strbuf_fini(&sb);
}

static void run_object(const uint8_t *data, size_t size)
{
	struct fuzz_sim *f = fuzz_sim_get(prepare);
	uint8_t sector[512] = {'N', 'A', 'C', 'O'};
	size_t len = size < 500 ? size : 500;

	fuzz_sim_disk_reset(f);
	poke(f, OBJECT_PATH, data, size);
	(void)fuzz_sim_run(f, object_body, NULL);
	le32_store(sector + 4, (uint32_t)len);
	if (len > 0) {
		memcpy(sector + 8, data, len);
	}
	le32_store(sector + 508, crc32c(0, sector, 508));
	poke(f, OBJECT_PATH, sector, sizeof(sector));
	(void)fuzz_sim_run(f, object_body, NULL);
}

static void seeds_object(struct fuzz_seeds *s)
{
	struct d_ost_object object = {.format = W_FORMAT_VERSION};
	uint8_t buf[512] = {'N', 'A', 'C', 'O'};
	struct wire_enc enc = wire_enc_of(buf + 8, sizeof(buf) - 12);
	int r = d_ost_object_encode(&object, &enc);

	ASSERT(r == 0);
	le32_store(buf + 4, (uint32_t)enc.pos);
	le32_store(buf + 508, crc32c(0, buf, 508));
	fuzz_seed_add(s, "sector", buf, sizeof(buf));
	fuzz_seed_add(s, "record", buf + 8, enc.pos);
}

/* ---- the log's files, byte for byte ---- */

static int count_record(void *ctx, const struct wal_rec *rec)
{
	unsigned *count = ctx;

	ASSERT(rec->len <= LIM_WAL_RECORD_MAX && rec->type > 0 && rec->type < WAL_TYPES);
	*count += 1 + (crc32c(0, rec->payload, rec->len) & 1);
	return 0;
}

static void wal_body(void *arg)
{
	struct env *env = arg;
	unsigned count = 0;
	struct wal_opts opts = {.dir = "/s/wal",
		.segment_bytes = SEGMENT_BYTES,
		.replay = count_record,
		.ctx = &count};
	struct wal *wal = NULL;
	uint64_t lsn;
	int r = wal_inspect(env, "/s/wal", count_record, &count);

	ASSERT(r == 0 || r == -NE_CORRUPT || r == -NE_TOONEW);
	r = wal_open(env, &opts, &wal);
	/* LIMIT: a log that has used its last incarnation. */
	ASSERT(r == 0 || r == -NE_CORRUPT || r == -NE_TOONEW || r == -NE_FOREIGN || r == -NE_LIMIT);
	if (r != 0) {
		return;
	}
	lsn = wal_last_lsn(wal);
	wal_close(wal);
	r = wal_open(env, &opts, &wal);
	ASSERT(r == 0 && wal_last_lsn(wal) > lsn);
	wal_close(wal);
}

static void segment_path(uint64_t number, char *path, size_t cap)
{
	char name[WAL_NAME_MAX];

	wal_seg_name(number, false, name, sizeof(name));
	(void)snprintf(path, cap, "/s/wal/%s", name);
}

/* A segment's header in front of data; with seal, every record found there gets its right checksum. */
static void segment_poke(
	struct fuzz_sim *f, uint64_t number, const uint8_t *data, size_t size, bool seal)
{
	static uint8_t buf[WAL_HEADER_BYTES + LOG_BYTES_MAX];
	struct wal_header h = {.number = number, .bytes = SEGMENT_BYTES, .salt = {1}};
	size_t len = size < LOG_BYTES_MAX ? size : LOG_BYTES_MAX;
	size_t end = WAL_HEADER_BYTES + len;
	struct wal_rec rec;
	uint32_t crc = 0;
	char path[64];

	wal_header_encode(&h, buf);
	if (len > 0) {
		memcpy(buf + WAL_HEADER_BYTES, data, len);
	}
	for (size_t at = WAL_HEADER_BYTES; seal && at + WAL_REC_BYTES <= end &&
		wal_rec_parse(buf + at, &rec) && at + WAL_REC_BYTES + rec.len <= end;
		at += wal_rec_bytes(rec.len)) {
		rec.prev_crc = rec.prev_crc == 0 ? crc : rec.prev_crc;
		crc = wal_rec_seal(buf + at, &rec, wal_seed(h.salt, number));
	}
	segment_path(number, path, sizeof(path));
	poke(f, path, buf, end);
}

/* First byte: 1 the file's very bytes, 2 right checksums, 4 two files. */
static void run_wal(const uint8_t *data, size_t size)
{
	struct fuzz_sim *f = fuzz_sim_get(prepare);
	uint8_t how = size > 0 ? data[0] : 0;
	const uint8_t *rest = data + (size > 0);
	size_t len = size - (size > 0);
	size_t first = (how & 4) ? len / 2 : len;
	char path[64];

	fuzz_sim_disk_reset(f);
	if (how & 1) {
		segment_path(1, path, sizeof(path));
		poke(f, path, rest, first);
	} else {
		segment_poke(f, 1, rest, first, how & 2);
	}
	if (how & 4) {
		segment_poke(f, 2, rest + first, len - first, how & 2);
	}
	(void)fuzz_sim_run(f, wal_body, f->env);
}

static void seeds_wal(struct fuzz_seeds *s)
{
	uint8_t buf[1 + 3 * 48] = {2};
	struct wal_rec rec = {
		.lsn = UINT64_C(1) << WAL_LSN_SHIFT, .type = WAL_INCARNATION, .len = 8};
	uint8_t *at = buf + 1;

	for (unsigned i = 0; i < 3; i++) {
		(void)wal_rec_seal(at, &rec, 0);
		rec.lsn++;
		rec.type = WAL_COMMIT;
		at += wal_rec_bytes(rec.len);
		rec.len = 12;
	}
	fuzz_seed_add(s, "one", buf, (size_t)(at - buf));
	buf[0] = 6;
	fuzz_seed_add(s, "two", buf, (size_t)(at - buf));
}

/* ---- a described log, under a whole store ---- */

struct maker {
	struct fuzz_sim *f;
	struct fuzz_in in;
	uint64_t number;
	size_t off;
	uint64_t lsn;
	uint32_t crc;
	uint8_t buf[SEGMENT_BYTES];
};

static const uint8_t maker_salt[16] = {3};

static void maker_flush(struct maker *m)
{
	struct wal_header h = {.number = m->number, .bytes = SEGMENT_BYTES};
	char path[64];

	memcpy(h.salt, maker_salt, sizeof(h.salt));
	wal_header_encode(&h, m->buf);
	segment_path(m->number, path, sizeof(path));
	poke(m->f, path, m->buf, sizeof(m->buf));
	memset(m->buf, 0, sizeof(m->buf));
	m->off = WAL_HEADER_BYTES;
}

/* A commit whose payload is right: up to 3 effects. */
static uint32_t maker_commit(struct maker *m, uint8_t *p, uint8_t count)
{
	uint8_t *at = p + STATE_COMMIT_HEADER;

	le64_store(p, 7);
	le32_store(p + 8, count % 4);
	for (unsigned i = 0; i < count % 4u; i++) {
		uint8_t what = fuzz_u8(&m->in);

		at[0] = what & 1;
		at[1] = 1;
		le16_store(at + 2, (what & 1) ? 0 : what >> 3);
		at[4] = (uint8_t)('a' + (what >> 1) % 4);
		memset(at + 5, what, le16_load(at + 2));
		at += 5 + le16_load(at + 2);
	}
	return (uint32_t)(at - p);
}

static uint32_t maker_payload(struct maker *m, struct wal_rec *rec, uint8_t op, uint8_t *p)
{
	size_t len = 0;
	const uint8_t *raw;

	if (rec->type == WAL_INCARNATION) {
		le64_store(p, (op & 64) ? fuzz_u8(&m->in) : m->lsn);
		rec->lsn = ((m->lsn >> WAL_LSN_SHIFT) + 1) << WAL_LSN_SHIFT;
		return 8;
	}
	if (rec->type == WAL_COMMIT && (op & 64) == 0) {
		return maker_commit(m, p, op >> 4);
	}
	raw = fuzz_take(&m->in, fuzz_u8(&m->in), &len);
	if (len > 0) {
		memcpy(p, raw, len);
	}
	return (uint32_t)len;
}

static void maker_record(struct maker *m, uint8_t op)
{
	struct wal_rec rec = {.lsn = m->lsn + 1, .prev_crc = m->crc};
	uint8_t *p = m->buf + m->off;

	rec.type = (enum wal_type)(1 + op / 4 % 3);
	rec.len = maker_payload(m, &rec, op, p + WAL_REC_BYTES);
	rec.durable = (op & 16) ? m->lsn : 0;
	if (op & 128) {
		uint8_t odd = fuzz_u8(&m->in);

		rec.lsn += odd & 3;
		rec.durable = (odd & 4) ? rec.lsn : rec.durable;
		rec.durable = (odd & 8) ? UINT64_MAX : rec.durable;
		rec.prev_crc ^= (odd & 16) ? 1 : 0;
	}
	m->crc = wal_rec_seal(p, &rec, wal_seed(maker_salt, m->number));
	m->lsn = rec.lsn;
	m->off += wal_rec_bytes(rec.len);
}

static void maker_odd(struct maker *m, uint8_t op)
{
	size_t back = fuzz_u8(&m->in);

	switch (op / 4 % 4) {
	case 0:
		maker_flush(m);
		m->number += 1 + (op >> 6);
		break;
	case 1: /* a bit */
		if (back < m->off) {
			m->buf[m->off - 1 - back] ^= (uint8_t)(1u << (op >> 5));
		}
		break;
	case 2: /* a hole */
		m->off += WAL_ALIGN * (1 + back);
		break;
	default: /* as after an opening that replaced the tail */
		m->lsn -= back < (m->lsn & 0xff) ? back : 0;
		break;
	}
}

static void recover_body(void *arg)
{
	struct env *env = arg;
	struct state_opts opts = {.dir = "/s",
		.kv_kind = STATE_KV_MODEL,
		.create = true,
		.wal_segment_bytes = SEGMENT_BYTES};
	struct state_run_opts run = {.kind = STATE_CHANGE, .session = 5};
	struct state_txn txn;
	struct state_val val;
	struct state *st = NULL;
	uint64_t lsn = 0;
	int r = state_open(env, &opts, &st);

	ASSERT(r == 0 || r == -NE_CORRUPT || r == -NE_FOREIGN);
	if (r != 0) {
		return;
	}
	state_txn_init(st, &run, &txn);
	state_txn_begin(&txn);
	r = state_put(&txn, "fuzz", 4, &run, 8);
	ASSERT(r == 0);
	state_txn_commit(&txn, &lsn);
	state_txn_fini(&txn);
	state_close(st);
	r = state_open(env, &opts, &st);
	ASSERT(r == 0 && state_last_lsn(st) >= lsn);
	run.kind = STATE_READ;
	state_txn_init(st, &run, &txn);
	state_txn_begin(&txn);
	r = state_get(&txn, "fuzz", 4, &val);
	ASSERT((r == 0 && val.len == 8) || r == -NE_MISSING_KEY);
	state_txn_abort(&txn);
	state_txn_fini(&txn);
	state_close(st);
}

static void run_recover(const uint8_t *data, size_t size)
{
	static struct maker m;

	memset(&m, 0, sizeof(m));
	m.f = fuzz_sim_get(prepare);
	m.in = fuzz_in_of(data, size);
	m.number = 1;
	m.off = WAL_HEADER_BYTES;
	fuzz_sim_disk_reset(m.f);
	while (m.in.left > 0 && m.number < 8) {
		uint8_t op = fuzz_u8(&m.in);

		if (m.off + 4096 > SEGMENT_BYTES) {
			maker_flush(&m);
			m.number++;
		}
		if (op % 4 == 3) {
			maker_odd(&m, op);
		} else {
			maker_record(&m, op);
		}
	}
	maker_flush(&m);
	(void)fuzz_sim_run(m.f, recover_body, m.f->env);
}

static void seeds_recover(struct fuzz_seeds *s)
{
	/* An incarnation and commits; the same over two segments; a flipped bit behind a durable record. */
	static const uint8_t plain[] = {0, 0x34, 8, 16, 24, 0x24, 9, 10, 8};
	static const uint8_t two[] = {0, 0x34, 8, 16, 24, 3, 0, 0x24, 9, 10, 0x14, 8};
	static const uint8_t torn[] = {0, 0x34, 8, 16, 24, 0x14, 9, 7, 3, 0x14, 8, 0x14, 8};

	fuzz_seed_add(s, "plain", plain, sizeof(plain));
	fuzz_seed_add(s, "two", two, sizeof(two));
	fuzz_seed_add(s, "torn", torn, sizeof(torn));
}

const struct fuzz_target fuzz_targets[] = {
	{"super", run_super, seeds_super},
	{"object", run_object, seeds_object},
	{"wal", run_wal, seeds_wal},
	{"recover", run_recover, seeds_recover},
};
const unsigned fuzz_target_count = ARRAY_SIZE(fuzz_targets);
