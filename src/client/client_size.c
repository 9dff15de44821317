/*
 * A file's size, blocks and mtime as its objects tell them.
 *
 * The OST that holds the last byte always has its object's exact size, so the largest size that some object
 * explains is the file's.
 */
#include "client/client_int.h"

void client_sizes_add(struct client_sizes *sizes, const struct client_layout *layout,
	const struct client_object *o)
{
	uint64_t size;

	ASSERT(o->stripe < layout->geom.stripe_count);
	if (!o->attr.exists) {
		return;
	}
	size = layout_file_size(&layout->geom, o->stripe, u64_min(o->attr.size, LIM_FILE_SIZE_MAX));
	sizes->size = u64_max(sizes->size, size);
	sizes->blocks += o->attr.blocks;
	sizes->mtime_ns = i64_max(sizes->mtime_ns, o->attr.mtime);
	sizes->present[o->stripe / 8] |= (uint8_t)(1u << (o->stripe % 8));
}

struct sizes_ask {
	struct client_sizes *sizes;
	struct client_layout *layout;
};

static void sizes_object(void *ctx, const struct client_object *object)
{
	struct sizes_ask *ask = ctx;

	client_sizes_add(ask->sizes, ask->layout, object);
}

int client_sizes_ask(struct client *c, struct client_layout *layout, struct fid file,
	struct client_sizes *ret_sizes)
{
	struct sizes_ask ask = {.sizes = ret_sizes, .layout = layout};
	struct client_query q = {
		.c = c, .layout = layout, .file = file, .fn = sizes_object, .ctx = &ask};

	memset(ret_sizes, 0, sizeof(*ret_sizes));
	return client_query_run(&q);
}

void client_report_fill(const struct client_sizes *sizes, const struct client_layout *layout,
	struct w_size_report *ret_report)
{
	uint32_t count = layout->geom.stripe_count;

	*ret_report = (struct w_size_report){
		.valid = true,
		.size = sizes->size,
		.blocks = sizes->blocks,
		.mtime = sizes->mtime_ns,
		.stripes_present = wire_bytes_of(sizes->present, (count + 7) / 8),
	};
}
