/*
 * LMDB unplugged: its writes and syncs are recorded, cut at every point and reordered, and what the disk may
 * hold then is opened as a checkpoint.
 *
 * The C library's write calls are replaced in this program (the dynamic linker prefers ours), recorded for
 * data.mdb, and passed on. At a cut, everything up to the last finished fdatasync is on the disk, a write
 * through the O_DSYNC descriptor is from its end on, and of the others each 512-byte sector is old, new or
 * (for the write under way) nothing in between: any mixture. The store must open with an lsn not older than
 * the last batch that was acknowledged before the cut, and hold exactly what that batch left.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../unit/store/box.h"
#include "base/omap.h"
#include "store/kv.h"

#define SECTOR 512
#define BATCHES 16
#define EVENTS_MAX 4096
#define CUT_IMAGES 1 /* mixtures tried at each cut */

enum event_kind {
	EVENT_WRITE,
	EVENT_DSYNC_WRITE,
	EVENT_SYNC,
	EVENT_ACK, /* batch number in off */
};

struct event {
	enum event_kind kind;
	uint64_t off;
	size_t len;
	uint8_t *data;
};

static struct event events[EVENTS_MAX];
static unsigned event_count;
static pthread_mutex_t event_mutex = PTHREAD_MUTEX_INITIALIZER;
static ino_t watched; /* inode of data.mdb; 0: nothing is recorded */

static void event_add(enum event_kind kind, uint64_t off, const void *data, size_t len)
{
	struct event *e;

	pthread_mutex_lock(&event_mutex);
	CHECK(event_count < EVENTS_MAX);
	e = &events[event_count++];
	*e = (struct event){.kind = kind, .off = off, .len = len};
	if (len > 0) {
		e->data = malloc(len);
		CHECK(e->data != NULL);
		memcpy(e->data, data, len);
	}
	pthread_mutex_unlock(&event_mutex);
}

static bool is_watched(int fd)
{
	struct stat st;

	return watched != 0 && fstat(fd, &st) == 0 && st.st_ino == watched;
}

static void write_record(int fd, const void *buf, size_t len, off_t off)
{
	bool dsync = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;

	event_add(dsync ? EVENT_DSYNC_WRITE : EVENT_WRITE, (uint64_t)off, buf, len);
}

static void *real(const char *name)
{
	void *fn = dlsym(RTLD_NEXT, name);

	CHECK(fn != NULL);
	return fn;
}

/* By its linker name: with 64-bit offsets the C name means pwrite64, and LMDB calls pwrite. */
_export_ ssize_t record_pwrite(int fd, const void *buf, size_t len, off_t off) __asm__("pwrite");

ssize_t record_pwrite(int fd, const void *buf, size_t len, off_t off)
{
	static ssize_t (*next)(int, const void *, size_t, off_t);

	if (next == NULL) {
		*(void **)&next = real("pwrite");
	}
	if (is_watched(fd)) {
		write_record(fd, buf, len, off);
	}
	return next(fd, buf, len, off);
}

_export_ ssize_t writev(int fd, const struct iovec *iov, int count)
{
	static ssize_t (*next)(int, const struct iovec *, int);

	if (next == NULL) {
		*(void **)&next = real("writev");
	}
	if (is_watched(fd)) {
		off_t off = lseek(fd, 0, SEEK_CUR);

		for (int i = 0; i < count; i++) {
			write_record(fd, iov[i].iov_base, iov[i].iov_len, off);
			off += (off_t)iov[i].iov_len;
		}
	}
	return next(fd, iov, count);
}

_export_ ssize_t write(int fd, const void *buf, size_t len)
{
	static ssize_t (*next)(int, const void *, size_t);

	if (next == NULL) {
		*(void **)&next = real("write");
	}
	if (is_watched(fd)) {
		write_record(fd, buf, len, lseek(fd, 0, SEEK_CUR));
	}
	return next(fd, buf, len);
}

_export_ int fdatasync(int fd)
{
	static int (*next)(int);
	int rc;

	if (next == NULL) {
		*(void **)&next = real("fdatasync");
	}
	rc = next(fd);
	if (rc == 0 && is_watched(fd)) {
		event_add(EVENT_SYNC, 0, NULL, 0);
	}
	return rc;
}

/* ---- the load ---- */

struct lmdb_load {
	struct real real;
	struct prng rng;
	struct omap states[BATCHES + 1]; /* after each batch */
	uint8_t *base; /* the file when recording began */
	size_t base_len;
	uint8_t *old; /* on the disk for sure */
	uint8_t *now; /* as the system sees it */
	size_t size;
	bool no_sync; /* the canary: syncs prove nothing */
	bool lost;
};

static void states_copy(struct lmdb_load *l, unsigned n)
{
	struct omap_cursor cur;
	struct omap_entry e;

	omap_init(&l->states[n]);
	if (n == 0) {
		return;
	}
	(void)omap_first(&l->states[n - 1], &cur);
	for (; omap_cursor_get(&cur, &e); (void)omap_cursor_next(&cur)) {
		CHECK_EQ(omap_put(&l->states[n], e.key, e.val, e.mark), 0);
	}
}

static void batch_apply(struct lmdb_load *l, struct kv *kv, unsigned n)
{
	static struct kv_op ops[100];
	static uint8_t keys[100][8];
	static uint8_t val[1000];
	uint32_t count = (uint32_t)prng_range(&l->rng, 1, 100);

	states_copy(l, n);
	prng_fill(&l->rng, val, sizeof(val));
	for (uint32_t i = 0; i < count; i++) {
		/* Ascending and spread, so that pages split, are copied and freed. */
		be64_store(keys[i], i * 100 + prng_below(&l->rng, 100));
		ops[i] = (struct kv_op){.key = span_of(keys[i], 8),
			.val = span_of(val, prng_below(&l->rng, sizeof(val))),
			.del = prng_chance(&l->rng, 1, 4)};
		if (ops[i].del) {
			ops[i].val.len = 0;
			(void)omap_del(&l->states[n], ops[i].key);
		} else {
			CHECK_EQ(omap_put(&l->states[n], ops[i].key, ops[i].val,
					 (struct omap_mark){0}),
				0);
		}
	}
	CHECK_EQ(kv_apply(kv, ops, count, n), 0);
	event_add(EVENT_ACK, n, NULL, 0);
}

static uint8_t *file_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	uint8_t *buf;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	buf = malloc((size_t)st.st_size + 1);
	CHECK(buf != NULL && read(fd, buf, (size_t)st.st_size) == st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return buf;
}

static void load_record(struct lmdb_load *l)
{
	struct kv_opts opts = {
		.kind = KV_LMDB, .dir = l->real.dir, .map_bytes = 16 * MIB, .create = true};
	char path[300];
	struct kv *kv = NULL;
	struct stat st;

	CHECK_EQ(kv_open(l->real.env, &opts, &kv), 0);
	snprintf(path, sizeof(path), "%s/data.mdb", l->real.dir);
	l->base = file_read(path, &l->base_len);
	CHECK(stat(path, &st) == 0);
	watched = st.st_ino;
	states_copy(l, 0);
	for (unsigned n = 1; n <= BATCHES; n++) {
		batch_apply(l, kv, n);
	}
	kv_close(kv);
	watched = 0;
}

/* ---- cuts ---- */

struct image_check {
	struct omap_cursor cur;
};

static int image_record(void *ctx, const struct kv_rec *rec)
{
	struct image_check *c = ctx;
	struct omap_entry e;

	if (!omap_cursor_get(&c->cur, &e) || !span_eq(e.key, rec->key) ||
		!span_eq(e.val, rec->val)) {
		return -NE_CORRUPT;
	}
	(void)omap_cursor_next(&c->cur);
	return 0;
}

/* Opens an image; true if it is right. */
static bool image_verify(struct lmdb_load *l, const char *dir, unsigned acked)
{
	struct kv_opts opts = {.kind = KV_LMDB, .dir = dir, .map_bytes = 16 * MIB};
	struct image_check c;
	struct omap_entry e;
	struct kv *kv = NULL;
	uint64_t lsn;
	bool right;

	if (kv_open(l->real.env, &opts, &kv) != 0) {
		return false;
	}
	lsn = kv_lsn(kv);
	right = lsn >= acked && lsn <= BATCHES;
	if (right) {
		(void)omap_first(&l->states[lsn], &c.cur);
		right = kv_walk(kv, image_record, &c) == 0 && !omap_cursor_get(&c.cur, &e);
	}
	kv_close(kv);
	return right;
}

static void image_write(const char *dir, const uint8_t *buf, size_t len)
{
	char path[300];
	int fd;

	(void)mkdir(dir, 0700);
	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK(write(fd, buf, len) == (ssize_t)len);
	close(fd);
}

/* Of what is not synced, each sector falls as it likes. */
static void image_mix(struct lmdb_load *l, uint8_t *out)
{
	unsigned bias = (unsigned)prng_below(&l->rng, 5);

	for (size_t off = 0; off < l->size; off += SECTOR) {
		bool keep = prng_below(&l->rng, 4) < bias;

		memcpy(out + off, (keep ? l->now : l->old) + off, SECTOR);
	}
}

static void cut(struct lmdb_load *l, unsigned acked, const char *dir)
{
	uint8_t *out = malloc(l->size);

	CHECK(out != NULL);
	for (int i = 0; i < CUT_IMAGES && !l->lost; i++) {
		image_mix(l, out);
		image_write(dir, out, l->size);
		l->lost = !image_verify(l, dir, acked);
	}
	free(out);
}

static size_t images_size(const struct lmdb_load *l)
{
	size_t size = l->base_len;

	for (unsigned i = 0; i < event_count; i++) {
		size = u64_max(size, events[i].off + events[i].len);
	}
	return u64_round_up(size, 4096);
}

/* Replays the record and cuts after each event. */
static void cuts(struct lmdb_load *l)
{
	unsigned acked = 0;
	char dir[300];

	snprintf(dir, sizeof(dir), "%s/image", l->real.dir);
	l->size = images_size(l);
	l->old = calloc(1, l->size);
	l->now = calloc(1, l->size);
	CHECK(l->old != NULL && l->now != NULL);
	memcpy(l->old, l->base, l->base_len);
	memcpy(l->now, l->base, l->base_len);
	for (unsigned i = 0; i < event_count && !l->lost; i++) {
		const struct event *e = &events[i];

		if (e->kind == EVENT_WRITE || e->kind == EVENT_DSYNC_WRITE) {
			memcpy(l->now + e->off, e->data, e->len);
			cut(l, acked, dir); /* under way, or done and not synced */
		}
		if (e->kind == EVENT_DSYNC_WRITE && !l->no_sync) {
			memcpy(l->old + e->off, e->data, e->len);
		}
		if (e->kind == EVENT_SYNC && !l->no_sync) {
			memcpy(l->old, l->now, l->size);
		}
		if (e->kind == EVENT_ACK) {
			acked = (unsigned)e->off;
		}
		cut(l, acked, dir);
	}
	free(l->old);
	free(l->now);
}

static struct lmdb_load load;

static void load_body(void *arg)
{
	struct lmdb_load *l = arg;
	unsigned writes = 0, dsyncs = 0, syncs = 0;

	prng_init(&l->rng, 4711);
	load_record(l);
	for (unsigned i = 0; i < event_count; i++) {
		writes += events[i].kind == EVENT_WRITE;
		dsyncs += events[i].kind == EVENT_DSYNC_WRITE;
		syncs += events[i].kind == EVENT_SYNC;
	}
	printf("  %u writes, %u synced writes, %u syncs\n", writes, dsyncs, syncs);
	CHECK(writes > BATCHES && syncs + dsyncs >= 2 * BATCHES);
	cuts(l);
	CHECK(!l->lost);
	/* The canary: were the syncs not there, this search would notice. */
	l->no_sync = true;
	box_quiet(true);
	cuts(l);
	box_quiet(false);
	CHECK(l->lost);
	for (unsigned i = 0; i < event_count; i++) {
		free(events[i].data);
	}
	for (unsigned n = 0; n <= BATCHES; n++) {
		omap_fini(&l->states[n]);
	}
	free(l->base);
}

static void load_real(void *arg)
{
	load_body(container_of(arg, struct lmdb_load, real));
}

TEST(lmdb_cut_and_reordered)
{
	real_run(&load.real, load_real);
}
