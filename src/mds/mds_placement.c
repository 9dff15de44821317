/*
 * Which OSTs a new layout gets: what is known of them is handed to layout_place.
 *
 * Targets that are degraded are used only where there are no others.
 */
#include "mds/mds_data.h"

int mds_placement_pool(
	const struct mds_data *data, struct wire_str name, const struct mds_pool **ret_pool)
{
	for (uint32_t i = 0; i < data->pool_count; i++) {
		const struct mds_pool *p = &data->pools[i];

		if (strlen(p->name) == name.len && memcmp(p->name, name.ptr, name.len) == 0) {
			*ret_pool = p;
			return 0;
		}
	}
	return -NE_NOPOOL;
}

bool mds_placement_usable(const struct mds_data *data, const struct w_layout *layout)
{
	for (uint32_t i = 0; i < layout->osts.count; i++) {
		if (!mds_ost_usable(data, mds_ost_find(data, layout->osts.items[i]))) {
			return false;
		}
	}
	return layout->osts.count > 0;
}

static bool degraded(const struct mds_ost *ost)
{
	return ((ost->map_state | ost->own_state) & W_TARGET_STATE_DEGRADED) != 0;
}

static uint32_t places_fill(struct mds_data *data)
{
	uint32_t n = 0;
	bool good = false;

	for (uint32_t i = 0; i < LIM_OST_MAX && n < data->ost_count; i++) {
		const struct mds_ost *ost = data->osts[i];

		if (ost == NULL) {
			continue;
		}
		data->places[n++] = (struct layout_ost){.index = ost->index,
			.bytes_avail = ost->bytes_avail,
			.usable = mds_ost_usable(data, ost)};
		good |= data->places[n - 1].usable && !degraded(ost);
	}
	for (uint32_t i = 0; good && i < n; i++) {
		if (degraded(data->osts[data->places[i].index])) {
			data->places[i].usable = false;
		}
	}
	return n;
}

static int choose(struct mds_op *op, struct layout_request *req, uint32_t *ret_count)
{
	struct mds_data *data = op->mds->data;

	req->known_count = places_fill(data);
	req->known = data->places;
	return layout_place(req, &data->prng, op->layout_osts, LIM_STRIPE_COUNT_MAX, ret_count);
}

int mds_placement_choose(struct mds_op *op, struct w_layout *layout, bool strict)
{
	struct mds_data *data = op->mds->data;
	const struct mds_pool *pool = NULL;
	struct layout_request req = {
		.stripe_count = layout->stripe_count,
		.first_ost = layout->first_ost,
		.overstripe = (layout->flags & W_LAYOUT_FLAGS_OVERSTRIPED) != 0,
	};
	uint32_t count = 0;
	int r = 0;

	ASSERT(layout->stripe_count > 0);
	/* A list is the user's: it is taken as it is. */
	if ((layout->flags & W_LAYOUT_FLAGS_EXPLICIT_OSTS) != 0) {
		ASSERT(layout->osts.items != NULL && layout->osts.count == layout->stripe_count);
		return 0;
	}
	if (layout->pool.len > 0) {
		r = mds_placement_pool(data, layout->pool, &pool);
	}
	if (pool != NULL) {
		req.members = pool->osts;
		req.member_count = pool->count;
	}
	mds_osts_active(data);
	if (r == 0) {
		r = choose(op, &req, &count);
	}
	/* A default that cannot be had any more does not keep files from being made. */
	if (r < 0 && !strict) {
		req = (struct layout_request){
			.stripe_count = layout->stripe_count,
			.first_ost = LAYOUT_OST_ANY,
			.overstripe = req.overstripe,
		};
		r = choose(op, &req, &count);
	}
	if (r < 0) {
		return r;
	}
	layout->osts.items = op->layout_osts;
	layout->osts.count = count;
	layout->stripe_count = (uint16_t)count;
	return 0;
}
