/*
 * The checkpoint store on LMDB.
 *
 * Two named databases in one environment: "data" (records; a value is le32 CRC32C over key and value,
 * then the value) and "meta" ("format": le32 version, "lsn": le64 and its CRC). Every commit is fully
 * synced (no NOSYNC, NOMETASYNC or WRITEMAP, ever); the map has its final size at open. All calls run on
 * helper threads, each transaction within one job. MDB_NOTLS ties a reader to its transaction, not to
 * the thread. A SIGBUS or an error inside LMDB leaves its state unknown: the store refuses all further
 * calls then, and the target stops.
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "store/kv_int.h"

#define LMDB_FORMAT 1
/* Readers at once: helper threads, and inspections from outside. */
#define LMDB_READERS 126
#define LMDB_CRC_BYTES 4

struct kv_lmdb {
	struct kv kv;
	MDB_env *mdb;
	MDB_dbi data;
	MDB_dbi meta;
	bool read_only;
	atomic_bool broken;
};

static struct kv_lmdb *lmdb_of(struct kv *kv)
{
	return container_of(kv, struct kv_lmdb, kv);
}

static int lmdb_error(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return -NE_NOENT;
	case MDB_MAP_FULL:
		return -NE_NOSPC;
	case MDB_VERSION_MISMATCH:
		return -NE_TOONEW;
	case MDB_CORRUPTED:
	case MDB_INVALID:
	case MDB_PAGE_NOTFOUND:
	case MDB_BAD_VALSIZE:
	case MDB_INCOMPATIBLE:
		return -NE_CORRUPT;
	default:
		return rc > 0 ? ne_from_errno(rc) : -NE_IO;
	}
}

static MDB_val val_of(struct span s)
{
	return (MDB_val){.mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr};
}

static uint32_t record_crc(const void *key, size_t key_len, const void *val, size_t val_len)
{
	return crc32c(crc32c(0, key, key_len), val, val_len);
}

/* Takes a stored value apart. */
static int record_check(const MDB_val *key, const MDB_val *stored, struct span *ret_val)
{
	const uint8_t *p = stored->mv_data;
	size_t len;

	if (stored->mv_size < LMDB_CRC_BYTES ||
		stored->mv_size > LMDB_CRC_BYTES + LIM_KV_VALUE_MAX) {
		return -NE_CORRUPT;
	}
	len = stored->mv_size - LMDB_CRC_BYTES;
	if (le32_load(p) != record_crc(key->mv_data, key->mv_size, p + LMDB_CRC_BYTES, len)) {
		return -NE_CORRUPT;
	}
	*ret_val = span_of(p + LMDB_CRC_BYTES, len);
	return 0;
}

/* ---- jobs: a call with its arguments and result ---- */

struct lmdb_call {
	struct kv_lmdb *db;
	int (*fn)(struct lmdb_call *call);
	int err;
	const struct kv_opts *opts;
	struct kv_fetch *fetch;
	const struct kv_op *ops;
	uint32_t count;
	uint64_t lsn;
	uint64_t bytes;
	struct kv_stat stat;
	MDB_txn *reader; /* open while the job reads */
};

static void call_inner(void *arg)
{
	struct lmdb_call *call = arg;

	call->err = call->fn(call);
}

static void call_job(void *arg)
{
	struct lmdb_call *call = arg;

	if (kv_guard_run(call_inner, call) != 0) {
		log_error("store", "SIGBUS reading the checkpoint");
		atomic_store(&call->db->broken, true);
		mdb_txn_abort(
			TAKE_PTR(call->reader)); /* touches no page of the map; accepts NULL */
		call->err = -NE_IO;
	}
}

static int reader_begin(struct lmdb_call *call)
{
	return lmdb_error(mdb_txn_begin(call->db->mdb, NULL, MDB_RDONLY, &call->reader));
}

static int call_run(struct lmdb_call *call, enum env_job_kind kind)
{
	if (atomic_load(&call->db->broken)) {
		return -NE_IO;
	}
	env_job(call->db->kv.env, kind, call_job, call);
	return call->err;
}

/* ---- open ---- */

static int meta_put_u64(struct kv_lmdb *db, MDB_txn *txn, const char *name, uint64_t v)
{
	uint8_t buf[12];
	MDB_val key = val_of(span_str(name));
	MDB_val val = {.mv_size = sizeof(buf), .mv_data = buf};

	le64_store(buf, v);
	le32_store(buf + 8, record_crc(name, strlen(name), buf, 8));
	return mdb_put(txn, db->meta, &key, &val, 0);
}

static int meta_get_u64(struct kv_lmdb *db, MDB_txn *txn, const char *name, uint64_t *ret_v)
{
	MDB_val key = val_of(span_str(name));
	MDB_val val;
	int rc = mdb_get(txn, db->meta, &key, &val);

	if (rc != 0) {
		return rc == MDB_NOTFOUND ? -NE_CORRUPT : lmdb_error(rc);
	}
	if (val.mv_size != 12 ||
		le32_load((uint8_t *)val.mv_data + 8) !=
			record_crc(name, strlen(name), val.mv_data, 8)) {
		return -NE_CORRUPT;
	}
	*ret_v = le64_load(val.mv_data);
	return 0;
}

/* Creates the databases and the meta records in one transaction. */
static int databases_make(struct kv_lmdb *db)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->mdb, NULL, 0, &txn);

	if (rc != 0) {
		return rc;
	}
	rc = mdb_dbi_open(txn, "data", MDB_CREATE, &db->data);
	if (rc == 0) {
		rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &db->meta);
	}
	if (rc == 0) {
		rc = meta_put_u64(db, txn, "format", LMDB_FORMAT);
	}
	if (rc == 0) {
		rc = meta_put_u64(db, txn, "lsn", 0);
	}
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* -NE_NOENT: an environment without databases (its making was cut short). */
static int databases_open(struct kv_lmdb *db)
{
	uint64_t format = 0;
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->mdb, NULL, MDB_RDONLY, &txn);
	int err;

	if (rc != 0) {
		return lmdb_error(rc);
	}
	rc = mdb_dbi_open(txn, "data", 0, &db->data);
	if (rc == 0) {
		rc = mdb_dbi_open(txn, "meta", 0, &db->meta);
	}
	err = lmdb_error(rc);
	if (err == 0) {
		err = meta_get_u64(db, txn, "format", &format);
	}
	if (err == 0 && format != LMDB_FORMAT) {
		err = format > LMDB_FORMAT ? -NE_TOONEW : -NE_TOOOLD;
	}
	if (err == 0) {
		err = meta_get_u64(db, txn, "lsn", &db->kv.lsn);
	}
	/* Committing keeps the handles. */
	rc = mdb_txn_commit(txn);
	return err != 0 ? err : lmdb_error(rc);
}

static int open_job(struct lmdb_call *call)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	const struct kv_opts *opts = call->opts;
	struct kv_lmdb *db = call->db;
	int dead, rc, err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/data.mdb", opts->dir);
	if (access(path, F_OK) != 0 && (errno != ENOENT || !opts->create)) {
		return errno == ENOENT ? -NE_NOTFORMATTED : ne_from_errno(errno);
	}
	rc = mdb_env_create(&db->mdb);
	if (rc != 0) {
		db->mdb = NULL;
		return lmdb_error(rc);
	}
	rc = mdb_env_set_mapsize(db->mdb, opts->map_bytes);
	rc = rc != 0 ? rc : mdb_env_set_maxdbs(db->mdb, 2);
	rc = rc != 0 ? rc : mdb_env_set_maxreaders(db->mdb, LMDB_READERS);
	rc = rc != 0
		? rc
		: mdb_env_open(db->mdb, opts->dir,
			  MDB_NOTLS | MDB_NORDAHEAD | (opts->read_only ? MDB_RDONLY : 0), 0600);
	rc = rc != 0 ? rc : mdb_reader_check(db->mdb, &dead);
	if (rc == 0 && !opts->read_only) {
		/* A meta page that a killed process had written and not synced would be believed, the log
		 * trimmed, and power loss could still bring the older one back. */
		rc = mdb_env_sync(db->mdb, 1);
	}
	if (rc != 0) {
		return lmdb_error(rc);
	}
	err = databases_open(db);
	if (err != -NE_NOENT) {
		return err;
	}
	if (!opts->create) {
		return -NE_NOTFORMATTED;
	}
	rc = databases_make(db);
	return rc != 0 ? lmdb_error(rc) : databases_open(db);
}

static int close_job(struct lmdb_call *call)
{
	mdb_env_close(call->db->mdb);
	return 0;
}

static void lmdb_close(struct kv *kv)
{
	struct kv_lmdb *db = lmdb_of(kv);
	struct lmdb_call call = {.db = db, .fn = close_job};

	if (db->mdb != NULL) {
		env_job(kv->env, ENV_JOB_BULK, call_job, &call);
	}
	mem_free(db);
}

/* ---- fetch ---- */

static int get_one(struct kv_lmdb *db, MDB_txn *txn, struct kv_fetch *f, struct kv_get *get)
{
	MDB_val key = val_of(get->key);
	MDB_val stored;
	struct span val;
	int rc = mdb_get(txn, db->data, &key, &stored);

	get->err = lmdb_error(rc);
	if (get->err == 0) {
		get->err = record_check(&key, &stored, &val);
	}
	if (get->err == 0) {
		return kv_arena_copy(f, val.ptr, val.len, &get->val);
	}
	return 0;
}

static int scan_records(MDB_cursor *cur, struct kv_fetch *f, struct kv_scan *scan)
{
	MDB_val key = val_of(scan->from);
	MDB_val stored;
	int rc =
		mdb_cursor_get(cur, &key, &stored, scan->from.len == 0 ? MDB_FIRST : MDB_SET_RANGE);
	int err = 0;

	for (; rc == 0 && err == 0; rc = mdb_cursor_get(cur, &key, &stored, MDB_NEXT)) {
		struct kv_rec *rec = &scan->recs[scan->count];
		struct span val;

		if (kv_scan_past(scan, span_of(key.mv_data, key.mv_size))) {
			scan->end = true;
			return 0;
		}
		if (scan->count == scan->max) {
			return 0;
		}
		scan->err = record_check(&key, &stored, &val);
		if (scan->err != 0) {
			return 0;
		}
		err = kv_arena_copy(f, key.mv_data, key.mv_size, &rec->key);
		if (err == 0) {
			err = kv_arena_copy(f, val.ptr, val.len, &rec->val);
		}
		scan->count += err == 0;
	}
	if (err == 0 && rc == MDB_NOTFOUND) {
		scan->end = true;
		return 0;
	}
	return err != 0 ? err : lmdb_error(rc);
}

static int scan_one(struct kv_lmdb *db, MDB_txn *txn, struct kv_fetch *f, struct kv_scan *scan)
{
	MDB_cursor *cur;
	int err, rc;

	err = kv_scan_prepare(f, scan);
	if (err != 0) {
		return err;
	}
	rc = mdb_cursor_open(txn, db->data, &cur);
	if (rc != 0) {
		return lmdb_error(rc);
	}
	err = scan_records(cur, f, scan);
	mdb_cursor_close(cur);
	return err;
}

static int fetch_job(struct lmdb_call *call)
{
	struct kv_fetch *f = call->fetch;
	int err = reader_begin(call);

	for (uint32_t i = 0; i < f->get_count && err == 0; i++) {
		err = get_one(call->db, call->reader, f, &f->gets[i]);
	}
	for (uint32_t i = 0; i < f->scan_count && err == 0; i++) {
		err = scan_one(call->db, call->reader, f, &f->scans[i]);
	}
	mdb_txn_abort(TAKE_PTR(call->reader));
	return err;
}

static int lmdb_fetch(struct kv *kv, struct kv_fetch *fetch)
{
	struct lmdb_call call = {.db = lmdb_of(kv), .fn = fetch_job, .fetch = fetch};

	return call_run(&call, ENV_JOB_LOOKUP);
}

/* ---- apply ---- */

static int op_apply(MDB_cursor *cur, const struct kv_op *op)
{
	MDB_val key = val_of(op->key);
	MDB_val stored = {.mv_size = LMDB_CRC_BYTES + op->val.len};
	uint8_t *p;
	int rc;

	if (op->del) {
		rc = mdb_cursor_get(cur, &key, &stored, MDB_SET);
		if (rc == MDB_NOTFOUND) {
			return 0;
		}
		return rc != 0 ? rc : mdb_cursor_del(cur, 0);
	}
	rc = mdb_cursor_put(cur, &key, &stored, MDB_RESERVE);
	if (rc == 0) {
		p = stored.mv_data;
		le32_store(p, record_crc(op->key.ptr, op->key.len, op->val.ptr, op->val.len));
		bytes_copy(p + LMDB_CRC_BYTES, op->val.ptr, op->val.len);
	}
	return rc;
}

static int apply_job(struct lmdb_call *call)
{
	struct kv_lmdb *db = call->db;
	MDB_cursor *cur;
	MDB_txn *txn;
	int rc = mdb_txn_begin(db->mdb, NULL, 0, &txn);

	if (rc != 0) {
		return lmdb_error(rc);
	}
	rc = mdb_cursor_open(txn, db->data, &cur);
	if (rc == 0) {
		for (uint32_t i = 0; i < call->count && rc == 0; i++) {
			rc = op_apply(cur, &call->ops[i]);
		}
		mdb_cursor_close(cur);
	}
	if (rc == 0 && call->lsn != 0) {
		rc = meta_put_u64(db, txn, "lsn", call->lsn);
	}
	if (rc != 0) {
		mdb_txn_abort(txn);
		return lmdb_error(rc);
	}
	return lmdb_error(mdb_txn_commit(txn));
}

static int lmdb_apply(struct kv *kv, const struct kv_op *ops, uint32_t count, uint64_t lsn)
{
	struct lmdb_call call = {
		.db = lmdb_of(kv), .fn = apply_job, .ops = ops, .count = count, .lsn = lsn};

	ASSERT(!call.db->read_only);
	return call_run(&call, ENV_JOB_BULK);
}

/* A commit that changes nothing: its meta page is written and synced. */
static int lmdb_prove(struct kv *kv)
{
	return lmdb_apply(kv, NULL, 0, kv->lsn);
}

/* ---- space ---- */

/* Pages on the free list: each record of database 0 begins with its number of pages. */
static int free_pages(MDB_txn *txn, uint64_t *ret_pages)
{
	uint64_t pages = 0;
	MDB_cursor *cur;
	MDB_val key, val;
	int rc = mdb_cursor_open(txn, 0, &cur);

	if (rc != 0) {
		return lmdb_error(rc);
	}
	while ((rc = mdb_cursor_get(cur, &key, &val, MDB_NEXT)) == 0) {
		size_t n;

		memcpy(&n, val.mv_data, sizeof(n));
		pages += n;
	}
	mdb_cursor_close(cur);
	*ret_pages = pages;
	return rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

static int stat_job(struct lmdb_call *call)
{
	struct kv_lmdb *db = call->db;
	uint64_t free = 0, total;
	MDB_envinfo info;
	MDB_stat st;
	int rc, err;

	err = reader_begin(call);
	if (err == 0) {
		err = free_pages(call->reader, &free);
	}
	if (err == 0) {
		rc = mdb_stat(call->reader, db->data, &st);
		rc = rc != 0 ? rc : mdb_env_info(db->mdb, &info);
		err = lmdb_error(rc);
	}
	mdb_txn_abort(TAKE_PTR(call->reader));
	if (err == 0) {
		total = (uint64_t)info.me_last_pgno + 1;
		call->stat = (struct kv_stat){.records = st.ms_entries,
			.bytes = (total - u64_min(free, total)) * st.ms_psize,
			.bytes_free = free * st.ms_psize,
			.bytes_max = info.me_mapsize};
	}
	return err;
}

static int lmdb_stat(struct kv *kv, struct kv_stat *ret_stat)
{
	struct lmdb_call call = {.db = lmdb_of(kv), .fn = stat_job};
	int err = call_run(&call, ENV_JOB_BULK);

	if (err == 0) {
		*ret_stat = call.stat;
	}
	return err;
}

/* Free pages count; what they lack is allocated behind the end of the file, without changing its size. */
static int reserve_job(struct lmdb_call *call)
{
	mdb_filehandle_t fd;
	uint64_t end, bytes;
	int err = stat_job(call);

	if (err == 0) {
		err = lmdb_error(mdb_env_get_fd(call->db->mdb, &fd));
	}
	if (err != 0) {
		return err;
	}
	if (call->stat.bytes + call->bytes > call->stat.bytes_max) {
		return -NE_NOSPC;
	}
	end = call->stat.bytes + call->stat.bytes_free;
	bytes = call->bytes > call->stat.bytes_free ? call->bytes - call->stat.bytes_free : 0;
	if (bytes == 0) {
		return 0;
	}
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)bytes) != 0) {
		return errno == EOPNOTSUPP ? 0 : ne_from_errno(errno);
	}
	return 0;
}

static int lmdb_reserve(struct kv *kv, uint64_t bytes)
{
	struct lmdb_call call = {.db = lmdb_of(kv), .fn = reserve_job, .bytes = bytes};

	return call_run(&call, ENV_JOB_BULK);
}

static const struct kv_ops lmdb_ops = {
	.prove = lmdb_prove,
	.close = lmdb_close,
	.fetch = lmdb_fetch,
	.apply = lmdb_apply,
	.stat = lmdb_stat,
	.reserve = lmdb_reserve,
};

int kv_lmdb_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv)
{
	struct kv_lmdb *db = mem_zalloc(sizeof(*db));
	struct lmdb_call call = {.db = db, .fn = open_job, .opts = opts};
	int err;

	if (db == NULL) {
		return -NE_NOMEM;
	}
	db->kv.ops = &lmdb_ops;
	db->kv.env = env;
	db->read_only = opts->read_only;
	err = call_run(&call, ENV_JOB_BULK);
	if (err == 0 && opts->create) {
		err = env_fsync_dir(env, opts->dir);
	}
	if (err != 0) {
		log_error("store", "cannot open the checkpoint dir=%s error=%s", opts->dir,
			ne_name(err));
		lmdb_close(&db->kv);
		return err;
	}
	*ret_kv = &db->kv;
	return 0;
}
