/*
 * Reading ahead: the next chunks of an object that somebody reads in order, fetched while he is sent the last ones.
 *
 * A chunk is an aligned piece of an object in a pooled buffer, read O_DIRECT (what is in the page cache already is
 * taken from there), so a cold stream costs the disk's time or the network's, not their sum, and no fresh page cache.
 * Replies are sent from the chunk's memory. It goes when its end was read, when it is the least recently used
 * beyond the bound, or when nobody came for it for a few seconds.
 *
 * Invariant: a chunk that can be found holds what the object holds now. Who changes an object says so first
 * (oss_object_change_begin): what was read is dropped, what is being read will be, and nothing is begun until he has
 * ended. So other clients' completed writes are always seen.
 */
#include "oss/oss_int.h"

/* Bytes of a chunk: what a client asks for at once. */
#define CHUNK_BYTES MIB
/* Chunks ahead of a stream: enough to keep a disk busy while one is sent. */
#define WINDOW_MAX 4
/* Of all objects: 16 streams at full width. */
#define CHUNKS_MAX 64
/* Looked at so often while there are any; unused for so long, they go. */
#define SWEEP_NS (2 * NS_PER_S)
#define KEEP_NS (4 * NS_PER_S)

struct oss_ahead {
	struct list link; /* obj->ahead; not linked: nobody finds it any more */
	struct list lru; /* oss->ahead_lru, while linked */
	struct oss_object *obj;
	struct bufpool *pool;
	unsigned refs; /* who sends from it, fills it or waits for it */
	bool filling;
	bool stale; /* the object changed, or it could not be read */
	uint64_t off;
	uint32_t len;
	uint64_t used_ns;
	uint8_t *buf;
};

static void ahead_free(struct oss_ahead *a)
{
	ASSERT(a->refs == 0 && !list_linked(&a->link));
	bufpool_put(a->pool, a->buf);
	mem_free(a);
}

/* Touches nothing but the chunk: a reply may be sent after the target was stopped. */
void oss_ahead_release(void *arg)
{
	struct oss_ahead *a = arg;

	ASSERT(a->refs > 0);
	a->refs--;
	if (a->refs == 0 && !list_linked(&a->link)) {
		ahead_free(a);
	}
}

static void ahead_drop(struct oss *oss, struct oss_ahead *a)
{
	ASSERT(list_linked(&a->link) && oss->ahead_count > 0);
	list_del(&a->link);
	list_del(&a->lru);
	oss->ahead_count--;
	if (a->refs == 0) {
		ahead_free(a);
	}
}

void oss_ahead_forget(struct oss *oss, struct oss_object *obj)
{
	while (!list_empty(&obj->ahead)) {
		struct oss_ahead *a = list_entry(obj->ahead.next, struct oss_ahead, link);

		a->stale = true;
		ahead_drop(oss, a);
	}
}

static struct oss_ahead *ahead_find(const struct oss_object *obj, uint64_t off)
{
	LIST_FOREACH (it, &obj->ahead) {
		struct oss_ahead *a = list_entry(it, struct oss_ahead, link);

		if (off >= a->off && off - a->off < a->len) {
			return a;
		}
	}
	return NULL;
}

bool oss_ahead_has(const struct oss_object *obj, uint64_t off)
{
	return ahead_find(obj, off) != NULL;
}

/* ---- filling ---- */

static void fill_fiber(void *arg)
{
	struct oss_ahead *a = arg;
	struct oss_object *obj = a->obj;
	struct oss *oss = obj->oss;
	size_t got = 0;
	int err = env_pread_cached(obj->file, a->buf, a->len, OSS_HEADER_BYTES + a->off, &got);

	if (err == 0 && got < a->len) {
		got -= got % OSS_HEADER_BYTES;
		err = oss_segments_read(
			oss, obj, a->buf + got, a->len - got, a->off + got, OSS_READ_DIRECT);
	}
	a->filling = false;
	if (err != 0) {
		a->stale = true;
		if (list_linked(&a->link)) {
			ahead_drop(oss, a);
		}
	}
	oss_ahead_release(a);
	env_wake_all(oss->env, &obj->ahead_q);
	oss_object_unlock(oss, obj, false);
	oss_object_put(oss, obj);
	ASSERT(oss->ahead_fibers > 0);
	oss->ahead_fibers--;
	env_wake_all(oss->env, &oss->ahead_q);
}

/* Room for one more; the least recently used goes. */
static bool ahead_room(struct oss *oss)
{
	struct oss_ahead *a;

	if (oss->ahead_count < CHUNKS_MAX) {
		return true;
	}
	a = list_entry(oss->ahead_lru.next, struct oss_ahead, lru);
	if (a->filling) {
		return false;
	}
	ahead_drop(oss, a);
	return true;
}

static struct oss_ahead *ahead_new(struct oss *oss, struct oss_object *obj, uint64_t off)
{
	struct oss_ahead *a = ahead_room(oss) ? mem_zalloc(sizeof(*a)) : NULL;

	if (a == NULL) {
		return NULL;
	}
	a->buf = bufpool_get(oss->bufpool, CHUNK_BYTES);
	if (a->buf == NULL) {
		mem_free(a);
		return NULL;
	}
	a->pool = oss->bufpool;
	a->obj = obj;
	a->off = off;
	a->len = (uint32_t)u64_min(CHUNK_BYTES, obj->size - off);
	a->used_ns = env_now(oss->env);
	a->filling = true;
	a->refs = 1;
	list_push_back(&obj->ahead, &a->link);
	list_push_back(&oss->ahead_lru, &a->lru);
	oss->ahead_count++;
	return a;
}

/* The fiber has its own share of the object and of its lock, which the caller holds. */
static bool ahead_start(struct oss *oss, struct oss_object *obj, uint64_t off)
{
	struct oss_ahead *a = ahead_new(oss, obj, off);

	if (a == NULL) {
		return false;
	}
	if (env_spawn(oss->env, "oss-ahead", fill_fiber, a) != 0) {
		ahead_drop(oss, a);
		oss_ahead_release(a);
		return false;
	}
	oss->ahead_fibers++;
	obj->refs++;
	obj->ios++;
	return true;
}

/* ---- sweeping ---- */

static void sweep_fiber(void *arg)
{
	struct oss *oss = arg;

	while (oss->ahead_count > 0 && !oss->stopping) {
		uint64_t now = env_now(oss->env);

		(void)env_wait(oss->env, &oss->sweep_q, now + SWEEP_NS, ENV_WAIT_PLAIN);
		now = env_now(oss->env);
		LIST_FOREACH_SAFE (it, &oss->ahead_lru) {
			struct oss_ahead *a = list_entry(it, struct oss_ahead, lru);

			if (!a->filling && now - a->used_ns >= KEEP_NS) {
				ahead_drop(oss, a);
			}
		}
	}
	oss->sweeping = false;
	ASSERT(oss->ahead_fibers > 0);
	oss->ahead_fibers--;
	env_wake_all(oss->env, &oss->ahead_q);
}

static void sweep_start(struct oss *oss)
{
	if (oss->sweeping || oss->ahead_count == 0) {
		return;
	}
	/* No fiber to be had: the next stream tries again. */
	if (env_spawn(oss->env, "oss-sweep", sweep_fiber, oss) == 0) {
		oss->sweeping = true;
		oss->ahead_fibers++;
	}
}

void oss_ahead_stop(struct oss *oss)
{
	oss->stopping = true;
	env_wake_all(oss->env, &oss->sweep_q);
	while (oss->ahead_fibers > 0) {
		(void)env_wait(oss->env, &oss->ahead_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}

/* ---- streams ---- */

struct oss_stream *oss_ahead_follow(struct oss_object *obj, uint64_t off, uint64_t len)
{
	struct oss_stream *s = NULL;

	for (unsigned i = 0; i < OSS_STREAMS && s == NULL; i++) {
		if (off != 0 && obj->streams[i].next == off) {
			s = &obj->streams[i];
		}
	}
	if (s != NULL) {
		s->window += s->window < WINDOW_MAX;
	} else {
		/* A new one; who begins at the start of an object will probably go on. */
		s = &obj->streams[obj->stream_turn++ % OSS_STREAMS];
		s->window = off == 0;
	}
	s->next = off + len;
	return s->window > 0 ? s : NULL;
}

void oss_ahead_run(
	struct oss *oss, struct oss_object *obj, const struct oss_stream *s, uint64_t from)
{
	uint64_t off = u64_round_down(from, CHUNK_BYTES);
	/* The chunk that `from` is in, and those ahead. */
	uint64_t end = u64_min(off + (s->window + 1) * CHUNK_BYTES, obj->size);

	ASSERT(obj->exists && obj->ios > 0);
	end = u64_min(end, OSS_SEGMENT_BYTES);
	if (obj->changing > 0 || oss->stopping) {
		return;
	}
	for (; off < end; off += CHUNK_BYTES) {
		if (ahead_find(obj, off) == NULL && !ahead_start(oss, obj, off)) {
			break;
		}
	}
	sweep_start(oss);
}

struct oss_ahead *oss_ahead_take(
	struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t len)
{
	struct oss_ahead *a = ahead_find(obj, off);

	if (a == NULL || off + len > a->off + a->len) {
		return NULL;
	}
	a->refs++;
	while (a->filling) {
		/* Not interruptible, no deadline: cannot fail. */
		(void)!env_wait(oss->env, &obj->ahead_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (a->stale) {
		oss_ahead_release(a);
		return NULL;
	}
	/* Another reader may have used it up while this one waited: it is as good as before. */
	if (list_linked(&a->link)) {
		a->used_ns = env_now(oss->env);
		list_del(&a->lru);
		list_push_back(&oss->ahead_lru, &a->lru);
		if (off + len == a->off + a->len) {
			ahead_drop(oss, a);
		}
	}
	oss->counters.reads_ahead++;
	return a;
}

void *oss_ahead_at(const struct oss_ahead *a, uint64_t off)
{
	ASSERT(off >= a->off && off - a->off < a->len);
	return a->buf + (off - a->off);
}
