/* Placement: pools, explicit choices, exclusion of unusable targets, balance by free space. */
#include "layout/layout.h"
#include "test.h"

static struct prng rng;
static uint32_t osts[LIM_STRIPE_COUNT_MAX];
static uint32_t count;

static struct layout_request any(uint32_t stripes)
{
	return (struct layout_request){.stripe_count = stripes, .first_ost = LAYOUT_OST_ANY};
}

static void known_alike(struct layout_ost *k, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		k[i] = (struct layout_ost){.index = i, .bytes_avail = 100 * GIB, .usable = true};
	}
}

static int place(struct layout_request *req, const struct layout_ost *k, uint32_t n, uint32_t *out,
	uint32_t cap, uint32_t *ret_count)
{
	req->known = k;
	req->known_count = n;
	return layout_place(req, &rng, out, cap, ret_count);
}

TEST(alike_targets_are_used_evenly_and_once)
{
	struct layout_ost k[8];
	uint32_t hits[8] = {0};
	struct layout_request req = any(4);

	prng_init(&rng, 1);
	known_alike(k, 8);
	for (int i = 0; i < 8000; i++) {
		uint32_t seen = 0;

		CHECK_EQ(place(&req, k, 8, osts, 8, &count), 0);
		CHECK_EQ(count, 4);
		for (uint32_t s = 0; s < count; s++) {
			CHECK((seen & (1u << osts[s])) == 0);
			seen |= 1u << osts[s];
			hits[osts[s]]++;
		}
	}
	for (int i = 0; i < 8; i++) {
		CHECK(hits[i] > 3600 && hits[i] < 4400);
	}
}

TEST(free_space_weighs)
{
	struct layout_ost k[4];
	uint32_t hits[4] = {0};
	struct layout_request req = any(1);

	prng_init(&rng, 2);
	known_alike(k, 4);
	k[2].bytes_avail = 1 * GIB;
	for (int i = 0; i < 9000; i++) {
		CHECK_EQ(place(&req, k, 4, osts, 4, &count), 0);
		hits[osts[0]]++;
	}
	CHECK(hits[2] < 200);
	CHECK(hits[0] > 2500 && hits[1] > 2500 && hits[3] > 2500);
}

TEST(first_ost_list_and_pool)
{
	struct layout_ost k[6];
	uint32_t members[] = {1, 3, 5};
	uint32_t list[] = {4, 4, 0};
	struct layout_request req = any(3);

	prng_init(&rng, 3);
	known_alike(k, 6);
	req.first_ost = 4;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), 0);
	CHECK(osts[0] == 4 && osts[1] == 5 && osts[2] == 0);
	req.first_ost = 6;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), -NE_INVAL);
	req.first_ost = 3;
	req.members = members;
	req.member_count = 3;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), 0);
	CHECK(osts[0] == 3 && osts[1] == 5 && osts[2] == 1);
	req.first_ost = 2;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), -NE_INVAL);
	req = any(1);
	req.listed = list;
	req.listed_count = 3;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), 0);
	CHECK(count == 3 && osts[0] == 4 && osts[1] == 4 && osts[2] == 0);
	k[0].usable = false;
	CHECK_EQ(place(&req, k, 6, osts, 8, &count), -NE_TARGET_DOWN);
}

TEST(counts)
{
	struct layout_ost k[3];
	struct layout_request req = any(LAYOUT_COUNT_ALL);

	prng_init(&rng, 4);
	known_alike(k, 3);
	CHECK_EQ(place(&req, k, 3, osts, 100, &count), 0);
	CHECK_EQ(count, 3);
	req.stripe_count = 7;
	CHECK_EQ(place(&req, k, 3, osts, 100, &count), 0);
	CHECK_EQ(count, 3);
	req.overstripe = true;
	CHECK_EQ(place(&req, k, 3, osts, 100, &count), 0);
	CHECK_EQ(count, 7);
	k[0].usable = k[1].usable = k[2].usable = false;
	CHECK_EQ(place(&req, k, 3, osts, 100, &count), -NE_NOSPC);
	CHECK_EQ(place(&req, k, 0, osts, 100, &count), -NE_NOSPC);
}
