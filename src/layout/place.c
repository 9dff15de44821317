/*
 * Which OSTs a new file gets.
 *
 * Candidates are the usable members. When their free space is alike (the emptiest has no more than 9/8
 * of the fullest's) they are taken round-robin from a random start, so stripes of one file never share an
 * OST while another is unused. Otherwise each is drawn with a probability proportional to its free space,
 * without replacement until all have been used once. An index asked for as first is always first.
 */
#include <string.h>

#include "layout/layout.h"

struct place {
	const struct layout_ost *cand[LIM_OST_MAX];
	uint32_t count;
};

static const struct layout_ost *ost_find(
	const struct layout_ost *known, uint32_t count, uint32_t index)
{
	for (uint32_t i = 0; i < count; i++) {
		if (known[i].index == index) {
			return &known[i];
		}
	}
	return NULL;
}

static bool is_member(const struct layout_request *req, uint32_t index)
{
	if (req->members == NULL) {
		return true;
	}
	for (uint32_t i = 0; i < req->member_count; i++) {
		if (req->members[i] == index) {
			return true;
		}
	}
	return false;
}

static int ost_usable(const struct layout_request *req, uint32_t index)
{
	const struct layout_ost *o = ost_find(req->known, req->known_count, index);

	if (o == NULL || !is_member(req, index)) {
		return -NE_INVAL;
	}
	return o->usable ? 0 : -NE_TARGET_DOWN;
}

static int place_listed(const struct layout_request *req, uint32_t *osts, uint32_t cap)
{
	if (req->listed_count > cap || req->listed_count > LIM_STRIPE_COUNT_MAX) {
		return -NE_INVAL;
	}
	for (uint32_t i = 0; i < req->listed_count; i++) {
		int err = ost_usable(req, req->listed[i]);

		if (err != 0) {
			return err;
		}
		osts[i] = req->listed[i];
	}
	return 0;
}

static bool space_is_alike(const struct place *p)
{
	uint64_t lo = UINT64_MAX;
	uint64_t hi = 0;

	for (uint32_t i = 0; i < p->count; i++) {
		lo = u64_min(lo, p->cand[i]->bytes_avail);
		hi = u64_max(hi, p->cand[i]->bytes_avail);
	}
	return hi - lo <= lo / 8;
}

/* Draws one candidate by weight and moves it to position `at`. */
static void draw_weighted(struct place *p, uint32_t at, struct prng *prng)
{
	/* Weights in MiB keep the sum of thousands of targets within 64 bits. */
	uint64_t sum = 0;

	for (uint32_t i = at; i < p->count; i++) {
		sum += p->cand[i]->bytes_avail / MIB + 1;
	}

	uint64_t r = prng_below(prng, sum);
	uint32_t pick = at;

	for (uint32_t i = at; i < p->count; i++) {
		uint64_t w = p->cand[i]->bytes_avail / MIB + 1;

		if (r < w) {
			pick = i;
			break;
		}
		r -= w;
	}

	const struct layout_ost *o = p->cand[pick];

	p->cand[pick] = p->cand[at];
	p->cand[at] = o;
}

static void rotate_to(struct place *p, uint32_t start)
{
	const struct layout_ost *tmp;

	ASSERT(start < p->count);
	/* Three reversals rotate in place. */
	for (uint32_t part = 0; part < 3; part++) {
		uint32_t a = part == 1 ? start : 0;
		uint32_t b = part == 0 ? start : p->count;

		for (; a + 1 < b; a++, b--) {
			tmp = p->cand[a];
			p->cand[a] = p->cand[b - 1];
			p->cand[b - 1] = tmp;
		}
	}
}

static void order_candidates(struct place *p, uint32_t first_ost, struct prng *prng)
{
	uint32_t start = 0;

	for (uint32_t i = 0; i < p->count; i++) {
		if (p->cand[i]->index == first_ost) {
			start = i;
		}
	}
	if (first_ost == LAYOUT_OST_ANY) {
		start = (uint32_t)prng_below(prng, p->count);
	}
	if (space_is_alike(p) || first_ost != LAYOUT_OST_ANY) {
		rotate_to(p, start);
		return;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		draw_weighted(p, i, prng);
	}
}

static void collect(const struct layout_request *req, struct place *p)
{
	p->count = 0;
	for (uint32_t i = 0; i < req->known_count && p->count < LIM_OST_MAX; i++) {
		if (req->known[i].usable && is_member(req, req->known[i].index)) {
			p->cand[p->count++] = &req->known[i];
		}
	}
}

static int place_chosen(const struct layout_request *req, struct place *p, struct prng *prng,
	uint32_t *osts, uint32_t cap, uint32_t *ret_count)
{
	uint32_t want = req->stripe_count;

	if (p->count == 0) {
		return -NE_NOSPC;
	}
	if (want == LAYOUT_COUNT_ALL || (!req->overstripe && want > p->count)) {
		want = p->count;
	}
	want = (uint32_t)u64_min(want, u64_min(cap, LIM_STRIPE_COUNT_MAX));
	if (want == 0) {
		return -NE_INVAL;
	}
	order_candidates(p, req->first_ost, prng);
	for (uint32_t i = 0; i < want; i++) {
		osts[i] = p->cand[i % p->count]->index;
	}
	*ret_count = want;
	return 0;
}

int layout_place(const struct layout_request *req, struct prng *prng, uint32_t *osts, uint32_t cap,
	uint32_t *ret_count)
{
	/* One reactor at a time places; the array is too big for a fiber's stack. */
	static _Thread_local struct place place;
	int err;

	ASSERT(req != NULL && osts != NULL);
	ASSERT(req->known_count == 0 || req->known != NULL);
	if (req->listed != NULL) {
		err = place_listed(req, osts, cap);
		if (err == 0) {
			*ret_count = req->listed_count;
		}
		return err;
	}
	if (req->first_ost != LAYOUT_OST_ANY) {
		err = ost_usable(req, req->first_ost);
		if (err != 0) {
			return err;
		}
	}
	collect(req, &place);
	return place_chosen(req, &place, prng, osts, cap, ret_count);
}
