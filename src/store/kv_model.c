/*
 * The checkpoint store of the simulator: an ordered map in memory, saved whole at each commit.
 *
 * Two files are written in turn: header (magic8 version4 crc4 generation8 lsn8 records8 bytes8 body-crc4
 * zero4, little-endian; crc over the header with crc = 0), then the records (key-length2 value-length2 key
 * value). A commit writes the older file and syncs it; a torn one does not count, and the other still
 * holds the commit before. Only env calls and memory: every crash the simulator knows happens to it. A
 * fetch reads in a helper job, so at a moment the seed decides.
 */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/omap.h"
#include "store/kv_int.h"

#define MODEL_MAGIC UINT64_C(0x314c444d4552434e) /* "NCREMDL1" */
#define MODEL_VERSION 1
#define MODEL_HEADER 56
#define MODEL_REC 4

struct kv_model {
	struct kv kv;
	struct env_file *files[2];
	struct omap map;
	uint64_t generation;
	uint64_t bytes; /* of the last saved file */
	uint64_t bytes_max;
};

struct model_image {
	uint8_t *buf;
	uint64_t len;
	uint64_t generation;
	uint64_t lsn;
	uint64_t records;
};

static struct kv_model *model_of(struct kv *kv)
{
	return container_of(kv, struct kv_model, kv);
}

static void model_close(struct kv *kv)
{
	struct kv_model *m = model_of(kv);

	env_file_close(m->files[0]);
	env_file_close(m->files[1]);
	omap_fini(&m->map);
	mem_free(m);
}

/* ---- images ---- */

static void image_header_encode(const struct model_image *im)
{
	uint8_t *p = im->buf;

	ASSERT(im->len >= MODEL_HEADER && im->generation > 0);
	memset(p, 0, MODEL_HEADER);
	le64_store(p, MODEL_MAGIC);
	le32_store(p + 8, MODEL_VERSION);
	le64_store(p + 16, im->generation);
	le64_store(p + 24, im->lsn);
	le64_store(p + 32, im->records);
	le64_store(p + 40, im->len);
	le32_store(p + 48, crc32c(0, p + MODEL_HEADER, im->len - MODEL_HEADER));
	le32_store(p + 12, crc32c(0, p, MODEL_HEADER));
}

/* True if buf (len bytes of file) begins with a whole image. */
static bool image_decode(uint8_t *buf, uint64_t len, struct model_image *ret_image)
{
	uint32_t crc;

	if (len < MODEL_HEADER || le64_load(buf) != MODEL_MAGIC) {
		return false;
	}
	crc = le32_load(buf + 12);
	le32_store(buf + 12, 0);
	if (crc != crc32c(0, buf, MODEL_HEADER) || le32_load(buf + 8) != MODEL_VERSION) {
		return false;
	}
	*ret_image = (struct model_image){.buf = buf,
		.generation = le64_load(buf + 16),
		.lsn = le64_load(buf + 24),
		.records = le64_load(buf + 32),
		.len = le64_load(buf + 40)};
	return ret_image->len >= MODEL_HEADER && ret_image->len <= len &&
		le32_load(buf + 48) == crc32c(0, buf + MODEL_HEADER, ret_image->len - MODEL_HEADER);
}

static int image_read(struct env_file *file, struct model_image *ret_image)
{
	struct model_image image;
	struct env_stat st;
	size_t got = 0;
	uint8_t *buf;
	int err = env_fstat(file, &st);

	if (err != 0) {
		return err;
	}
	buf = mem_alloc(st.size + 1);
	if (buf == NULL) {
		return -NE_NOMEM;
	}
	err = env_pread(file, buf, st.size, 0, &got);
	if (err == 0 && !image_decode(buf, got, &image)) {
		err = -NE_CORRUPT;
	}
	if (err != 0) {
		mem_free(buf);
		return err;
	}
	*ret_image = image;
	return 0;
}

/* Fills the map. The image's checksum is right, so what it says is what was written. */
static int image_load(struct kv_model *m, const struct model_image *im)
{
	const uint8_t *p = im->buf + MODEL_HEADER;
	int err = 0;

	for (uint64_t i = 0; i < im->records && err == 0; i++) {
		size_t key_len = le16_load(p);
		size_t val_len = le16_load(p + 2);

		p += MODEL_REC;
		err = omap_put(&m->map, span_of(p, key_len), span_of(p + key_len, val_len),
			(struct omap_mark){0});
		p += key_len + val_len;
	}
	ASSERT(err != 0 || p == im->buf + im->len);
	m->generation = im->generation;
	m->bytes = im->len;
	m->kv.lsn = im->lsn;
	return err;
}

static uint8_t *record_encode(uint8_t *p, struct span key, struct span val)
{
	le16_store(p, (uint16_t)key.len);
	le16_store(p + 2, (uint16_t)val.len);
	bytes_copy(p + MODEL_REC, key.ptr, key.len);
	bytes_copy(p + MODEL_REC + key.len, val.ptr, val.len);
	return p + MODEL_REC + key.len + val.len;
}

/* The map with the sorted batch merged in. */
static void image_merge(
	struct kv_model *m, const struct kv_op *ops, uint32_t count, struct model_image *im)
{
	uint8_t *p = im->buf + MODEL_HEADER;
	struct omap_cursor cur;
	struct omap_entry e;
	uint32_t i = 0;

	(void)omap_first(&m->map, &cur);
	im->records = 0;
	for (;;) {
		bool more = omap_cursor_get(&cur, &e);
		int c = !more ? 1 : i == count ? -1 : span_cmp(e.key, ops[i].key);

		if (!more && i == count) {
			break;
		}
		if (c < 0) {
			p = record_encode(p, e.key, e.val);
			im->records++;
		} else if (!ops[i].del) {
			p = record_encode(p, ops[i].key, ops[i].val);
			im->records++;
		}
		i += c >= 0;
		if (c <= 0) {
			(void)omap_cursor_next(&cur);
		}
	}
	im->len = (uint64_t)(p - im->buf);
}

static int model_save(struct kv_model *m, const struct kv_op *ops, uint32_t count, uint64_t lsn)
{
	struct model_image im = {
		.generation = m->generation + 1, .lsn = lsn != 0 ? lsn : m->kv.lsn};
	struct env_file *file = m->files[im.generation % 2];
	uint64_t cap = MODEL_HEADER + m->bytes;
	struct iovec iov;
	int err;

	for (uint32_t i = 0; i < count; i++) {
		cap += MODEL_REC + ops[i].key.len + ops[i].val.len;
	}
	im.buf = mem_alloc(cap);
	if (im.buf == NULL) {
		return -NE_NOMEM;
	}
	image_merge(m, ops, count, &im);
	ASSERT(im.len <= cap);
	image_header_encode(&im);
	iov = (struct iovec){.iov_base = im.buf, .iov_len = im.len};
	err = im.len > m->bytes_max ? -NE_NOSPC : env_pwrite(file, &iov, 1, 0);
	if (err == 0) {
		err = env_fdatasync(file);
	}
	mem_free(im.buf);
	if (err == 0) {
		m->generation = im.generation;
		m->bytes = im.len;
	}
	return err;
}

static int model_apply(struct kv *kv, const struct kv_op *ops, uint32_t count, uint64_t lsn)
{
	struct kv_model *m = model_of(kv);
	int err = model_save(m, ops, count, lsn);

	for (uint32_t i = 0; i < count && err == 0; i++) {
		if (ops[i].del) {
			(void)omap_del(&m->map, ops[i].key);
		} else {
			err = omap_put(&m->map, ops[i].key, ops[i].val, (struct omap_mark){0});
			if (err != 0) {
				env_die(kv->env, "out of memory applying a checkpoint");
			}
		}
	}
	return err;
}

/* ---- fetch ---- */

struct model_call {
	struct kv_model *m;
	struct kv_fetch *fetch;
	int err;
};

static int model_get(struct kv_model *m, struct kv_fetch *f, struct kv_get *get)
{
	struct omap_entry e;

	get->err = omap_get(&m->map, get->key, &e) ? 0 : -NE_NOENT;
	return get->err != 0 ? 0 : kv_arena_copy(f, e.val.ptr, e.val.len, &get->val);
}

static int model_scan(struct kv_model *m, struct kv_fetch *f, struct kv_scan *scan)
{
	struct omap_cursor cur;
	struct omap_entry e;
	int err = kv_scan_prepare(f, scan);

	(void)omap_seek(&m->map, scan->from, &cur);
	for (; err == 0 && omap_cursor_get(&cur, &e); (void)omap_cursor_next(&cur)) {
		struct kv_rec *rec = &scan->recs[scan->count];

		if (kv_scan_past(scan, e.key)) {
			break;
		}
		if (scan->count == scan->max) {
			return 0;
		}
		err = kv_arena_copy(f, e.key.ptr, e.key.len, &rec->key);
		if (err == 0) {
			err = kv_arena_copy(f, e.val.ptr, e.val.len, &rec->val);
		}
		scan->count += err == 0;
	}
	scan->end = err == 0;
	return err;
}

static void model_fetch_job(void *arg)
{
	struct model_call *call = arg;
	struct kv_fetch *f = call->fetch;

	for (uint32_t i = 0; i < f->get_count && call->err == 0; i++) {
		call->err = model_get(call->m, f, &f->gets[i]);
	}
	for (uint32_t i = 0; i < f->scan_count && call->err == 0; i++) {
		call->err = model_scan(call->m, f, &f->scans[i]);
	}
}

static int model_fetch(struct kv *kv, struct kv_fetch *fetch)
{
	struct model_call call = {.m = model_of(kv), .fetch = fetch};

	env_job(kv->env, ENV_JOB_LOOKUP, model_fetch_job, &call);
	return call.err;
}

/* ---- open, space ---- */

static int model_stat(struct kv *kv, struct kv_stat *ret_stat)
{
	struct kv_model *m = model_of(kv);

	*ret_stat = (struct kv_stat){
		.records = m->map.count, .bytes = m->bytes, .bytes_max = m->bytes_max};
	return 0;
}

static int model_reserve(struct kv *kv, uint64_t bytes)
{
	struct kv_model *m = model_of(kv);
	uint64_t len = m->bytes + bytes;
	int err = 0;

	if (len > m->bytes_max) {
		return -NE_NOSPC;
	}
	for (unsigned i = 0; i < 2 && err == 0; i++) {
		err = env_fallocate(m->files[i], ENV_FALLOC_KEEP_SIZE, 0, len);
	}
	return err;
}

/* Into its own file: the other one is what is left if this is torn. */
static int model_prove(struct kv *kv)
{
	struct kv_model *m = model_of(kv);
	uint64_t generation = m->generation;
	int err;

	m->generation--;
	err = model_save(m, NULL, 0, 0);
	m->generation = generation;
	return err;
}

static const struct kv_ops model_ops = {
	.prove = model_prove,
	.close = model_close,
	.fetch = model_fetch,
	.apply = model_apply,
	.stat = model_stat,
	.reserve = model_reserve,
};

static int model_files_open(struct kv_model *m, const struct kv_opts *opts, unsigned flags)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	int err = path == NULL ? -NE_NOMEM : 0;

	for (unsigned i = 0; i < 2 && err == 0; i++) {
		snprintf(path, LIM_PATH_MAX, "%s/model.%u", opts->dir, i);
		err = env_file_open(m->kv.env, path,
			ENV_OPEN_READ | (opts->read_only ? 0 : ENV_OPEN_WRITE) | flags,
			&m->files[i]);
	}
	return err;
}

/* Loads the newer valid image; -NE_NOENT: there never was one. */
static int model_load(struct kv_model *m)
{
	struct model_image images[2] = {{0}, {0}};
	struct env_stat st[2];
	int errs[2] = {0, 0};
	int err = 0, best;

	for (unsigned i = 0; i < 2 && err == 0; i++) {
		err = env_fstat(m->files[i], &st[i]);
		errs[i] = err == 0 ? image_read(m->files[i], &images[i]) : err;
		err = errs[i] == -NE_CORRUPT ? err : errs[i];
	}
	if (err == 0 && errs[0] != 0 && errs[1] != 0) {
		/* The first image is durable before the second is begun. */
		err = st[0].size == 0 || st[1].size == 0 ? -NE_NOENT : -NE_CORRUPT;
	}
	if (err == 0) {
		best = errs[0] != 0 ||
			(errs[1] == 0 && images[1].generation > images[0].generation);
		err = image_load(m, &images[best]);
	}
	mem_free(images[0].buf);
	mem_free(images[1].buf);
	return err;
}

static int model_open_files(struct kv_model *m, const struct kv_opts *opts)
{
	int err = model_files_open(m, opts, 0);

	if (err == -NE_NOENT) {
		if (!opts->create) {
			return -NE_NOTFORMATTED;
		}
		env_file_close(TAKE_PTR(m->files[0]));
		err = model_files_open(m, opts, ENV_OPEN_CREATE);
		if (err == 0) {
			err = env_fsync_dir(m->kv.env, opts->dir);
		}
	}
	/* What a killed process had written and not synced would be believed, and could still be lost. */
	for (unsigned i = 0; i < 2 && err == 0 && !opts->read_only; i++) {
		err = env_fdatasync(m->files[i]);
	}
	if (err == 0) {
		err = model_load(m);
	}
	if (err == -NE_NOENT) {
		return opts->create ? model_save(m, NULL, 0, 0) : -NE_NOTFORMATTED;
	}
	return err;
}

int kv_model_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv)
{
	struct kv_model *m = mem_zalloc(sizeof(*m));
	int err;

	if (m == NULL) {
		return -NE_NOMEM;
	}
	m->kv.ops = &model_ops;
	m->kv.env = env;
	m->bytes_max = opts->map_bytes;
	omap_init(&m->map);
	err = model_open_files(m, opts);
	if (err != 0) {
		log_error("store", "cannot open the checkpoint dir=%s error=%s", opts->dir,
			ne_name(err));
		model_close(&m->kv);
		return err;
	}
	*ret_kv = &m->kv;
	return 0;
}
