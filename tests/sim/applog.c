/* See applog.h. */
#include "applog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "worker.h"

#define MAGIC UINT32_C(0x4c4f4731)
#define HEAD_BYTES 16u
#define CONTENT_MAX (APPLOG_WRITERS_MAX * APPLOG_RECORDS_MAX * APPLOG_RECORD_MAX)

struct applog *applog_new(struct cluster *c)
{
	struct applog *log = calloc(1, sizeof(*log));

	if (log == NULL) {
		abort();
	}
	log->cluster = c;
	log->content = malloc(CONTENT_MAX);
	for (unsigned i = 0; i < c->client_count; i++) {
		struct applog_writer *w = &log->writers[log->writer_count++];

		w->log = log;
		w->cl = &c->clients[i];
		w->index = i;
		prng_init(&w->rng, c->opt.seed * 7919 + i);
		w->count = (unsigned)prng_range(&w->rng, 4, 30);
	}
	return log;
}

void applog_free(struct applog *log)
{
	if (log != NULL) {
		free(log->content);
		free(log);
	}
}

void applog_died(struct applog_writer *w)
{
	w->deaths += w->writing;
	w->next += w->writing; /* that number may be taken */
	w->writing = false;
}

static unsigned losses(const struct applog *log)
{
	return log->cluster->mdt_losses + log->cluster->ost_losses;
}

/* A disk failed since then: EIO is an answer. */
static bool disk_failed(const struct applog *log, int err, uint64_t errors)
{
	return err != 0 && ne_errno(err) == EIO && errors != cluster_disk_errors(log->cluster);
}

/* The file exists durably before anybody appends. */
static bool file_find(struct applog_writer *w, struct client_file **ret_file)
{
	struct client_cred cred = worker_cred(false);
	struct client *c = w->cl->client;
	struct client_create how = {
		.mode = S_IFREG | 0666, .open_flags = O_CREAT | O_WRONLY | O_APPEND};
	struct client_attr attr;
	unsigned before = w->log->cluster->mdt_losses;
	uint64_t errors = cluster_disk_errors(w->log->cluster);
	int err;

	if (w->log->ready) {
		err = client_open(c, &cred, w->log->fid, O_WRONLY | O_APPEND, &attr, ret_file);
	} else {
		err = client_create_open(c, &cred,
			(struct client_entry){client_root(c), APPLOG_NAME}, &how, &attr, ret_file);
	}
	if (err == 0 && !w->log->ready) {
		err = client_sync(c);
		if (err == 0 && before == w->log->cluster->mdt_losses) {
			w->log->ready = true;
			w->log->fid = attr.fid;
		} else {
			(void)client_release(c, TAKE_PTR(*ret_file));
			return false;
		}
	}
	if (err == 0) {
		return true;
	}
	if (err != -NE_NOSPC && before == w->log->cluster->mdt_losses &&
		!disk_failed(w->log, err, errors)) {
		cluster_fail(w->log->cluster, "append log: open: %s", ne_name(err));
	}
	return false;
}

static size_t record_make(struct applog_writer *w)
{
	uint32_t len = (uint32_t)prng_range(&w->rng, 1, APPLOG_RECORD_MAX - HEAD_BYTES);

	if (!prng_chance(&w->rng, 1, 3)) {
		len = 1 + len % 300;
	}
	le32_store(w->buf, MAGIC);
	le32_store(w->buf + 4, w->index << 16 | w->next);
	le32_store(w->buf + 8, len);
	tree_bytes(w->index * 1000 + w->next, 0, w->buf + HEAD_BYTES, len);
	le32_store(w->buf + 12, crc32c(crc32c(0, w->buf, 12), w->buf + HEAD_BYTES, len));
	return HEAD_BYTES + len;
}

static void sync_now(struct applog_writer *w, struct client_file *f)
{
	unsigned mdt = w->log->cluster->mdt_losses;
	uint64_t errors = cluster_disk_errors(w->log->cluster);
	int err = client_fsync(w->cl->client, f, false);

	if (err == -NE_LOST_WRITES && losses(w->log) > 0) {
		return;
	}
	if (err != 0 && losses(w->log) == 0 && !disk_failed(w->log, err, errors)) {
		cluster_fail(w->log->cluster, "append log: fsync: %s", ne_name(err));
	}
	/* What the MDT forgot before is not covered: it was in the MDT when it lost power. */
	for (unsigned i = 0; err == 0 && i < w->next; i++) {
		w->synced[i] = w->synced[i] ||
			(w->answered[i] && w->losses[i] == losses(w->log) &&
				mdt == w->log->cluster->mdt_losses);
	}
}

static bool append(struct applog_writer *w, struct client_file *f)
{
	struct client_cred cred = worker_cred(false);
	size_t len = record_make(w);
	struct iovec iov = {.iov_base = w->buf, .iov_len = len};
	unsigned before = losses(w->log);
	uint64_t errors = cluster_disk_errors(w->log->cluster);
	size_t done = 0;
	int err;

	w->losses[w->next] = before;
	w->writing = true;
	err = client_write(w->cl->client, &cred, f, (struct client_buffers){&iov, 1, 0}, &done);
	w->writing = false;
	if (err == 0 && done != len) {
		cluster_fail(w->log->cluster, "append log: a short write");
	}
	if (err != 0 && err != -NE_NOSPC && before == losses(w->log) &&
		!disk_failed(w->log, err, errors)) {
		cluster_fail(w->log->cluster, "append log: writer %u record %u: %s", w->index,
			w->next, ne_name(err));
	}
	if (err == 0) {
		w->answered[w->next] = true;
	} else {
		w->log->nospace++;
	}
	w->next++;
	return err == 0;
}

static void write_all(struct applog_writer *w, struct client_file *f)
{
	struct env *env = sim_node_env(w->cl->node);

	while (w->next < w->count && !w->stop) {
		if (!append(w, f)) {
			return;
		}
		if (prng_chance(&w->rng, 1, 6)) {
			sync_now(w, f);
		}
		env_sleep(env, prng_below(&w->rng, 3 * NS_PER_MS));
	}
}

void applog_main(void *writer)
{
	struct applog_writer *w = writer;
	struct env *env = sim_node_env(w->cl->node);
	struct client_file *f = NULL;

	/* The last requests of an earlier life may still come. */
	if (w->life != 0 && w->life != w->cl->life) {
		env_sleep(env, WORKER_QUIET_NS);
	}
	w->life = w->cl->life;
	while (w->next < w->count && !w->stop) {
		if (file_find(w, &f)) {
			write_all(w, f);
			(void)client_release(w->cl->client, TAKE_PTR(f));
		} else {
			env_sleep(env, 100 * NS_PER_MS);
		}
	}
	w->idle = true;
}

/* ---- reading ---- */

struct parse {
	struct applog *log;
	const uint8_t *buf;
	size_t len;
	int last[APPLOG_WRITERS_MAX];
	bool seen[APPLOG_WRITERS_MAX][APPLOG_RECORDS_MAX];
	size_t strange; /* bytes that belong to no whole record */
};

/* A whole record at off: its length, else 0. */
static size_t record_at(struct parse *p, size_t off)
{
	const uint8_t *b = p->buf + off;
	uint32_t writer;
	uint32_t number;
	uint32_t len;

	if (p->len - off < HEAD_BYTES || le32_load(b) != MAGIC) {
		return 0;
	}
	writer = le32_load(b + 4) >> 16;
	number = le32_load(b + 4) & 0xffff;
	len = le32_load(b + 8);
	if (len > p->len - off - HEAD_BYTES || writer >= p->log->writer_count ||
		number >= APPLOG_RECORDS_MAX ||
		le32_load(b + 12) != crc32c(crc32c(0, b, 12), b + HEAD_BYTES, len)) {
		return 0;
	}
	if (p->seen[writer][number]) {
		cluster_fail(p->log->cluster, "append log: record %u of writer %u is there twice",
			number, writer);
	}
	if ((int)number < p->last[writer]) {
		cluster_fail(p->log->cluster, "append log: record %u of writer %u comes after %d",
			number, writer, p->last[writer]);
	}
	p->last[writer] = (int)number;
	p->seen[writer][number] = true;
	return HEAD_BYTES + len;
}

static void parse(struct parse *p)
{
	for (size_t off = 0; off < p->len;) {
		size_t n = record_at(p, off);

		p->strange += n == 0;
		off += n == 0 ? 1 : n;
	}
}

void applog_check(struct applog *log, struct client *c)
{
	struct client_cred cred = worker_cred(false);
	struct client_file *f = NULL;
	struct client_attr attr;
	struct iovec iov = {.iov_base = log->content, .iov_len = CONTENT_MAX};
	static struct parse p;
	unsigned deaths = 0;
	size_t len = 0;
	int err;

	if (!log->ready) {
		return;
	}
	err = client_open(c, &cred, log->fid, O_RDONLY, &attr, &f);
	if (err == 0) {
		err = client_read(c, f, &iov, 1, 0, &len);
		(void)client_release(c, f);
	}
	if (err != 0 && !(ne_errno(err) == ne_errno(-NE_IO) && losses(log) > 0)) {
		cluster_fail(log->cluster, "append log: reading: %s", ne_name(err));
	}
	if (err != 0) {
		return;
	}
	memset(&p, 0, sizeof(p));
	p.log = log;
	p.buf = log->content;
	p.len = len;
	parse(&p);
	for (unsigned w = 0; w < log->writer_count; w++) {
		struct applog_writer *wr = &log->writers[w];

		deaths += wr->deaths;
		for (unsigned i = 0; i < wr->next; i++) {
			bool safe =
				wr->answered[i] && (wr->synced[i] || wr->losses[i] == losses(log));

			if (safe && !p.seen[w][i]) {
				cluster_fail(log->cluster,
					"append log: record %u of writer %u is missing "
					"(fsynced %d)",
					i, w, wr->synced[i]);
			}
		}
	}
	if (p.strange > 0 && losses(log) == 0 && deaths == 0 && log->nospace == 0) {
		cluster_fail(log->cluster, "append log: %zu bytes belong to no record", p.strange);
	}
}
