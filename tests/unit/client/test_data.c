/*
 * Data: what is read is what a byte array would hold, over any number of OSTs and stripe sizes; sparse files,
 * the ends of the number range, appends and sizes between clients.
 */
#include "cluster.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "layout/layout.h"

static const struct client_cred root_cred = {.uid = 0, .gid = 0, .pid = 42, .caps = UINT64_MAX};

static struct client_file *file_create(struct client *c, const char *name, int flags)
{
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = flags};
	struct client_attr attr;
	struct client_file *f;

	CHECK_EQ(client_create_open(c, &root_cred, (struct client_entry){client_root(c), name},
			 &how, &attr, &f),
		0);
	return f;
}

static size_t file_read(
	struct client *c, struct client_file *f, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	size_t got = 0;

	CHECK_EQ(client_read(c, f, &iov, 1, off, &got), 0);
	return got;
}

static void file_write(
	struct client *c, struct client_file *f, const void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	size_t put = 0;

	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, off}, &put), 0);
	CHECK_EQ(put, len);
}

static uint64_t file_size(struct client *c, struct client_file *f)
{
	struct client_attr attr;

	CHECK_EQ(client_getattr(c, &root_cred, client_file_fid(f), f, &attr), 0);
	return attr.size;
}

static void file_truncate(struct client *c, struct client_file *f, uint64_t size)
{
	struct client_setattr set = {.valid = CLIENT_SET_SIZE, .size = size};
	struct client_attr attr;

	CHECK_EQ(client_setattr(c, &root_cred, client_file_fid(f), f, &set, &attr), 0);
	CHECK_EQ(attr.size, size);
}

/* ---- the property ---- */

#define MODEL_MAX (3 * 1024 * 1024)

struct model {
	uint8_t *bytes; /* zero beyond size */
	uint64_t size;
	uint8_t *buf;
	struct prng rng;
};

/* Cuts memory into random pieces, some of them empty. */
static unsigned iov_cut(struct prng *rng, uint8_t *buf, size_t len, struct iovec *iov, unsigned max)
{
	unsigned n = 0;

	while (len > 0) {
		size_t part = n + 1 == max ? len : (size_t)prng_below(rng, len + 1);

		iov[n++] = (struct iovec){.iov_base = buf, .iov_len = part};
		buf += part;
		len -= part;
	}
	return n;
}

static void model_write(struct client *c, struct client_file *f, struct model *m)
{
	struct iovec iov[9];
	uint64_t off = prng_below(&m->rng, MODEL_MAX - 1);
	size_t len = (size_t)(1 + prng_below(&m->rng, prng_chance(&m->rng, 1, 3) ? 900000 : 5000));
	size_t put = 0;
	unsigned n;

	if (prng_chance(&m->rng, 1, 3)) {
		off %= 6000;
	}
	len = (size_t)u64_min(len, MODEL_MAX - off);
	prng_fill(&m->rng, m->buf, len);
	n = iov_cut(&m->rng, m->buf, len, iov, ARRAY_SIZE(iov));
	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){iov, n, off}, &put), 0);
	CHECK_EQ(put, len);
	memcpy(m->bytes + off, m->buf, len);
	m->size = u64_max(m->size, off + len);
}

static void model_read(struct client *c, struct client_file *f, struct model *m)
{
	struct iovec iov[9];
	uint64_t off = prng_below(&m->rng, MODEL_MAX - 1);
	size_t len = (size_t)(1 + prng_below(&m->rng, MODEL_MAX - off));
	size_t want = off < m->size ? (size_t)u64_min(len, m->size - off) : 0;
	size_t got = 99;
	unsigned n = iov_cut(&m->rng, m->buf, len, iov, ARRAY_SIZE(iov));

	memset(m->buf, 0xee, len);
	CHECK_EQ(client_read(c, f, iov, n, off, &got), 0);
	CHECK_EQ(got, want);
	CHECK(memcmp(m->buf, m->bytes + off, want) == 0);
}

static void model_truncate(struct client *c, struct client_file *f, struct model *m)
{
	uint64_t size = prng_below(&m->rng, MODEL_MAX);

	if (prng_chance(&m->rng, 1, 3)) {
		size %= 5000;
	}
	file_truncate(c, f, size);
	if (size < m->size) {
		memset(m->bytes + size, 0, m->size - size);
	}
	m->size = size;
}

static void model_allocate(struct client *c, struct client_file *f, struct model *m)
{
	static const unsigned modes[] = {0, CLIENT_ALLOC_KEEP_SIZE,
		CLIENT_ALLOC_KEEP_SIZE | CLIENT_ALLOC_PUNCH, CLIENT_ALLOC_ZERO,
		CLIENT_ALLOC_ZERO | CLIENT_ALLOC_KEEP_SIZE};
	unsigned flags = modes[prng_below(&m->rng, ARRAY_SIZE(modes))];
	uint64_t off = prng_below(&m->rng, MODEL_MAX - 1);
	uint64_t len = 1 + prng_below(&m->rng, MODEL_MAX - off);
	uint64_t end = off + len;

	if (prng_chance(&m->rng, 1, 3)) {
		off %= 6000;
		len = 1 + len % 3000;
		end = off + len;
	}
	CHECK_EQ(client_allocate(c, &root_cred, f, (struct client_range){off, len}, flags), 0);
	if ((flags & CLIENT_ALLOC_KEEP_SIZE) == 0) {
		m->size = u64_max(m->size, end);
	}
	end = u64_min(end, m->size);
	if ((flags & (CLIENT_ALLOC_PUNCH | CLIENT_ALLOC_ZERO)) != 0 && off < end) {
		memset(m->bytes + off, 0, end - off);
	}
}

/* What lies before data that was found is zeros; what was found lies within the file. */
static void model_seek(struct client *c, struct client_file *f, struct model *m)
{
	uint64_t off = prng_below(&m->rng, MODEL_MAX);
	uint64_t at = 0;
	int err = client_seek(c, f, off, true, &at);

	CHECK(err == 0 || err == -NE_NXIO);
	CHECK(err != 0 || (at >= off && at < m->size));
	for (uint64_t i = off; i < (err == 0 ? at : m->size); i++) {
		CHECK_EQ(m->bytes[i], 0);
	}
	err = client_seek(c, f, off, false, &at);
	CHECK_EQ(err, off < m->size ? 0 : -NE_NXIO);
	CHECK(err != 0 || (at >= off && at <= m->size));
}

static void model_copy(struct client *c, struct client_file *f, struct model *m)
{
	struct client_copy copy = {
		.from = f, .to = f, .len = 1 + prng_below(&m->rng, MODEL_MAX / 4)};
	uint64_t want;
	uint64_t len = 0;
	bool overlap;
	int err;

	copy.from_off = prng_below(&m->rng, MODEL_MAX);
	copy.to_off = prng_below(&m->rng, MODEL_MAX - copy.len);
	overlap = copy.from_off < copy.to_off + copy.len && copy.to_off < copy.from_off + copy.len;
	want = copy.from_off < m->size ? u64_min(copy.len, m->size - copy.from_off) : 0;
	err = client_copy_range(c, &root_cred, &copy, &len);
	CHECK_EQ(err, overlap ? -NE_INVAL : 0);
	if (overlap) {
		return;
	}
	CHECK_EQ(len, want);
	memmove(m->bytes + copy.to_off, m->bytes + copy.from_off, want);
	m->size = want > 0 ? u64_max(m->size, copy.to_off + want) : m->size;
}

static void model_step(struct client *c, struct client_file *f, struct model *m)
{
	switch (prng_below(&m->rng, 13)) {
	case 8:
	case 9:
	case 10:
		model_allocate(c, f, m);
		break;
	case 11:
		model_seek(c, f, m);
		break;
	case 12:
		model_copy(c, f, m);
		break;
	case 0:
		model_truncate(c, f, m);
		break;
	case 1:
		CHECK_EQ(file_size(c, f), m->size);
		break;
	case 2:
		CHECK_EQ(client_fsync(c, f, false), 0);
		break;
	case 3:
	case 4:
	case 5:
		model_write(c, f, m);
		break;
	default:
		model_read(c, f, m);
	}
}

static void property_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct model m = {.bytes = mem_zalloc(MODEL_MAX), .buf = mem_zalloc(MODEL_MAX)};
	const char *name = client == 0 ? "f" : "g";
	struct client_file *f = file_create(c, name, O_RDWR);
	struct client_attr attr;

	CHECK(m.bytes != NULL && m.buf != NULL);
	prng_init(&m.rng, cl->u64 + client);
	for (unsigned i = 0; i < 90; i++) {
		model_step(c, f, &m);
	}
	CHECK_EQ(client_release(c, f), 0);
	CHECK_EQ(client_lookup(c, &root_cred, client_root(c), name, &attr), 0);
	CHECK_EQ(attr.size, m.size);
	CHECK_EQ(client_open(c, &root_cred, attr.fid, O_RDONLY, &attr, &f), 0);
	CHECK_EQ(file_read(c, f, m.buf, MODEL_MAX, 0), m.size);
	CHECK(memcmp(m.buf, m.bytes, m.size) == 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(m.bytes);
	mem_free(m.buf);
}

TEST(striping_is_a_byte_array)
{
	struct prng rng;

	prng_init(&rng, 7);
	for (unsigned osts = 1; osts <= CLUSTER_OSTS; osts++) {
		uint64_t stripe = LIM_STRIPE_SIZE_MIN * prng_range(&rng, 1, 6);
		/* Sometimes more stripes than OSTs. */
		uint32_t count = (uint32_t)prng_range(&rng, 1, osts * 2);
		struct cluster *cl = cluster_new(
			osts, osts, osts % 2 == 0 ? LIM_STRIPE_SIZE_MIN : stripe, count);

		cl->u64 = prng_next(&rng);
		cluster_client_start(cl, 0, property_body);
		cluster_run(cl, 1);
		cluster_free(cl);
	}
}

/* Kills a server every now and then while somebody works. */
static void killer(void *arg)
{
	struct cluster *cl = arg;
	unsigned victim = (unsigned)(sim_random(cl->sim) % (cl->ost_count + 1));
	uint64_t down = 50 * NS_PER_MS + sim_random(cl->sim) % (500 * NS_PER_MS);

	if (cl->client[0].done && cl->client[1].done) {
		return;
	}
	if (victim == cl->ost_count && cl->mdt_serving) {
		cluster_mdt_crash(cl, SIM_KILL, down);
	} else if (victim < cl->ost_count && cl->ost[victim].serving) {
		cluster_ost_crash(cl, victim, SIM_KILL, down);
	}
	sim_after(cl->sim, NS_PER_S + sim_random(cl->sim) % (3 * NS_PER_S), killer, cl);
}

TEST(striping_is_a_byte_array_under_faults)
{
	unsigned crashes = 0;

	for (unsigned seed = 1; seed <= 6; seed++) {
		struct cluster *cl = cluster_new(seed, 3, LIM_STRIPE_SIZE_MIN, 3);

		cl->u64 = seed * 100;
		sim_options_faults(sim_options_live(cl->sim));
		sim_after(cl->sim, NS_PER_S, killer, cl);
		cluster_client_start(cl, 0, property_body);
		cluster_client_start(cl, 1, property_body);
		cluster_run(cl, 2);
		for (unsigned i = 0; i < cl->ost_count; i++) {
			crashes += sim_crashes(cl->ost[i].node);
		}
		crashes += sim_crashes(cl->mdt_node);
		cluster_free(cl);
	}
	CHECK(crashes >= 6);
}

/* ---- edges ---- */

static void sparse_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "sparse", O_RDWR);
	uint64_t far = UINT64_C(1) << 40;
	uint8_t *buf = mem_zalloc(512 * KIB);
	uint8_t *zero = mem_zalloc(512 * KIB);
	struct client_attr attr;

	CHECK(buf != NULL && zero != NULL);
	file_write(c, f, "end", 3, far);
	CHECK_EQ(file_size(c, f), far + 3);
	memset(buf, 1, 512 * KIB);
	CHECK_EQ(file_read(c, f, buf, 512 * KIB, 12345), 512 * KIB);
	CHECK(memcmp(buf, zero, 512 * KIB) == 0);
	memset(buf, 1, 512 * KIB);
	CHECK_EQ(file_read(c, f, buf, 512 * KIB, far - 100000), 100003);
	CHECK(memcmp(buf, zero, 100000) == 0 && memcmp(buf + 100000, "end", 3) == 0);
	CHECK_EQ(file_read(c, f, buf, 10, far + 3), 0);
	CHECK_EQ(file_read(c, f, buf, 10, far + 100), 0);
	CHECK_EQ(client_getattr(c, &root_cred, client_file_fid(f), f, &attr), 0);
	CHECK(attr.blocks > 0 && attr.blocks < 1000);
	/* Truncate grows it, the new part is zeros. */
	file_truncate(c, f, far * 2);
	memset(buf, 1, 100);
	CHECK_EQ(file_read(c, f, buf, 100, far * 2 - 40), 40);
	CHECK(memcmp(buf, zero, 40) == 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(buf);
	mem_free(zero);
}

TEST(sparse)
{
	struct cluster *cl = cluster_new(3, 4, LIM_STRIPE_SIZE_MIN * 2, 4);

	cluster_client_start(cl, 0, sparse_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void edges_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "big", O_RDWR);
	struct iovec iov = {.iov_base = "0123456789", .iov_len = 10};
	uint64_t max = LIM_FILE_SIZE_MAX;
	char buf[20];
	size_t put = 0;

	/* The last byte a file can have; what goes beyond is cut, at the end there is nothing left. */
	CHECK_EQ(
		client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, max - 4}, &put), 0);
	CHECK_EQ(put, 4);
	CHECK_EQ(file_size(c, f), max);
	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, max}, &put),
		-NE_FBIG);
	CHECK_EQ(client_write(
			 c, &root_cred, f, (struct client_buffers){&iov, 1, UINT64_MAX - 2}, &put),
		-NE_FBIG);
	CHECK_EQ(file_read(c, f, buf, 20, max - 6), 6);
	CHECK(memcmp(buf,
		      "\0\0"
		      "0123",
		      6) == 0);
	CHECK_EQ(file_read(c, f, buf, 20, max), 0);
	CHECK_EQ(file_read(c, f, buf, 20, UINT64_MAX), 0);
	/* No bytes, no memory. */
	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 0, 5}, &put), 0);
	CHECK_EQ(put, 0);
	CHECK_EQ(client_release(c, f), 0);
	/* A handle does what it was opened for. */
	f = file_create(c, "wr", O_WRONLY);
	CHECK_EQ(client_read(c, f, &iov, 1, 0, &put), -NE_BADF);
	CHECK_EQ(client_release(c, f), 0);
	f = file_create(c, "rd", O_RDONLY);
	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, 0}, &put),
		-NE_BADF);
	CHECK_EQ(client_release(c, f), 0);
}

TEST(ends_of_the_number_range)
{
	struct cluster *cl = cluster_new(4, 3, LIM_STRIPE_SIZE_MIN * 3, 3);

	cluster_client_start(cl, 0, edges_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- several clients ---- */

#define APPENDS 40
#define RECORD 3000

static void append_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "log", O_WRONLY | O_APPEND);
	uint8_t *record = mem_alloc(RECORD);

	for (unsigned i = 0; i < APPENDS; i++) {
		memset(record, (int)(client * 100 + i), RECORD);
		file_write(c, f, record, RECORD, 12345);
	}
	mem_free(record);
	CHECK_EQ(client_release(c, f), 0);
}

static void append_check(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "log", O_RDONLY);
	size_t len = (size_t)2 * APPENDS * RECORD;
	uint8_t *buf = mem_alloc(len + 1);
	unsigned next[2] = {0, 0};

	CHECK(buf != NULL);
	CHECK_EQ(file_read(c, f, buf, len + 1, 0), len);
	for (size_t at = 0; at < len; at += RECORD) {
		unsigned who = buf[at] / 100;

		/* Each client's records whole, and in its order. */
		CHECK(who < 2);
		CHECK_EQ(buf[at], who * 100 + next[who]++);
		for (size_t i = 1; i < RECORD; i++) {
			CHECK(buf[at + i] == buf[at]);
		}
	}
	CHECK_EQ(next[0], APPENDS);
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

TEST(appends_of_two_clients)
{
	struct cluster *cl = cluster_new(5, 3, LIM_STRIPE_SIZE_MIN, 3);

	cluster_client_start(cl, 0, append_body);
	cluster_client_start(cl, 1, append_body);
	cluster_run(cl, 2);
	cluster_client_start(cl, 2, append_check);
	cluster_run(cl, 3);
	cluster_free(cl);
}

TEST(appends_under_faults)
{
	for (unsigned seed = 1; seed <= 4; seed++) {
		struct cluster *cl = cluster_new(seed, 3, LIM_STRIPE_SIZE_MIN, 3);

		sim_options_faults(sim_options_live(cl->sim));
		sim_after(cl->sim, 500 * NS_PER_MS, killer, cl);
		cluster_client_start(cl, 0, append_body);
		cluster_client_start(cl, 1, append_body);
		cluster_run(cl, 2);
		cluster_client_start(cl, 2, append_check);
		cluster_run(cl, 3);
		cluster_free(cl);
	}
}

/* The writer: one step after each write. The reader: sees size and bytes of each at once. */
#define SIZES 12

static size_t size_after(unsigned i)
{
	return (size_t)i * 150001;
}

static void writer_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "grow", O_WRONLY);
	uint8_t *buf = mem_alloc(200000);

	CHECK(buf != NULL);
	memset(buf, 'x', 200000);
	for (unsigned i = 0; i < SIZES; i++) {
		file_write(c, f, buf, size_after(i + 1) - size_after(i), size_after(i));
		cl->step++;
		cluster_step_wait(cl, client, 2 * (i + 1));
	}
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

static void watcher_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = NULL;
	struct client_attr attr;
	uint8_t *buf = mem_alloc(2000000);
	int64_t mtime = 0;

	CHECK(buf != NULL);
	for (unsigned i = 1; i <= SIZES; i++) {
		cluster_step_wait(cl, client, 2 * i - 1);
		CHECK_EQ(client_lookup(c, &root_cred, client_root(c), "grow", &attr), 0);
		CHECK_EQ(attr.size, size_after(i));
		CHECK(attr.mtime_ns >= mtime && attr.blocks > 0);
		mtime = attr.mtime_ns;
		if (f == NULL) {
			CHECK_EQ(client_open(c, &root_cred, attr.fid, O_RDONLY, &attr, &f), 0);
		}
		memset(buf, 0, 2000000);
		CHECK_EQ(file_read(c, f, buf, 2000000, 0), size_after(i));
		for (size_t k = 0; k < size_after(i); k++) {
			CHECK(buf[k] == 'x');
		}
		cl->step++;
	}
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

TEST(a_reader_sees_the_size_while_another_writes)
{
	struct cluster *cl = cluster_new(6, 5, LIM_STRIPE_SIZE_MIN, 5);

	cluster_client_start(cl, 0, writer_body);
	cluster_client_start(cl, 1, watcher_body);
	cluster_run(cl, 2);
	cluster_free(cl);
}

/* A reader that follows must never see zeros where bytes are on their way. */
static void follower_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "flow", O_RDONLY);
	uint8_t *buf = mem_alloc(256 * KIB);
	uint64_t at = 0;

	CHECK(buf != NULL);
	while (at < cl->u64) {
		size_t got = file_read(c, f, buf, 256 * KIB, at);

		for (size_t i = 0; i < got; i++) {
			CHECK(buf[i] != 0);
		}
		at += got;
		env_sleep(sim_node_env(cl->client[client].node), 100 * NS_PER_US);
	}
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

static void flow_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "flow", O_WRONLY);
	uint8_t *buf = mem_alloc(256 * KIB);
	uint64_t at = 0;
	struct prng rng;

	CHECK(buf != NULL);
	prng_init(&rng, 1);
	memset(buf, 'y', 256 * KIB);
	while (at < cl->u64) {
		/* Within a stripe: a write over several stripes is not atomic. */
		uint64_t left = LIM_STRIPE_SIZE_MIN - at % LIM_STRIPE_SIZE_MIN;
		size_t len = (size_t)u64_min(1 + prng_below(&rng, 60000), left);

		file_write(c, f, buf, len, at);
		at += len;
	}
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

TEST(a_reader_never_sees_a_hole_that_is_none)
{
	for (unsigned seed = 1; seed <= 3; seed++) {
		struct cluster *cl = cluster_new(seed, 4, LIM_STRIPE_SIZE_MIN, 4);

		cl->u64 = 3 * MIB;
		/* One OST answers much later than another: a whole write happens in between. */
		sim_options_live(cl->sim)->net.delay_ppm = 100000;
		cluster_client_start(cl, 0, flow_body);
		cluster_client_start(cl, 1, follower_body);
		cluster_run(cl, 2);
		cluster_free(cl);
	}
}

#define OPENERS 6
#define OPENS 30

struct opener {
	struct client *c;
	struct fid fid;
	unsigned *running;
};

static void opener_fiber(void *arg)
{
	struct opener *o = arg;

	for (unsigned i = 0; i < OPENS; i++) {
		struct client_attr attr;
		struct client_file *f;

		CHECK_EQ(client_open(o->c, &root_cred, o->fid, O_WRONLY, &attr, &f), 0);
		CHECK_EQ(attr.size, 300000);
		CHECK_EQ(client_release(o->c, f), 0);
	}
	(*o->running)--;
}

static void openers_body(struct cluster *cl, unsigned client)
{
	struct env *env = sim_node_env(cl->client[client].node);
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "shared", O_RDWR);
	uint8_t *buf = mem_zalloc(300000);
	unsigned running = OPENERS;
	struct opener o = {.c = c, .fid = client_file_fid(f), .running = &running};

	CHECK(buf != NULL);
	file_write(c, f, buf, 300000, 0);
	for (unsigned i = 0; i < OPENERS; i++) {
		CHECK_EQ(env_spawn(env, "opener", opener_fiber, &o), 0);
	}
	while (running > 0) {
		env_sleep(env, NS_PER_MS);
	}
	mem_free(buf);
	CHECK_EQ(client_release(c, f), 0);
}

/* Each open takes the MDT's newest layout; those that still ask the OSTs for the size keep theirs. */
TEST(opens_of_one_file_at_the_same_time)
{
	struct cluster *cl = cluster_new(1, 4, LIM_STRIPE_SIZE_MIN, 4);

	sim_options_live(cl->sim)->net.delay_ppm = 100000;
	cluster_client_start(cl, 0, openers_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}
