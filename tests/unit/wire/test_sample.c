/*
 * The generator's promises, one by one, on a schema that uses every feature of the language.
 */
#include "../test.h"
#include "base/strbuf.h"
#include "cases.h"
#include "wire/gen/sample.h"

static const uint8_t point_bytes[] = {
	0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd, 0xff, 0xff, 0xff, 0x34, 0x12};

/* {"Ab", red, one corner of 12 bytes with a future extension of 2, centre missing} */
static const uint8_t shape_bytes[] = {0x01, 0x00, 0x02, 0x00, 'A', 'b', 0x01, 0x00, 0x00, 0x00,
	0x10, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0xee, 0xee};

TEST(fields_are_little_endian_and_in_order)
{
	struct w_point p = {.x = -2, .y = -3, .weight = 0x1234};
	uint8_t buf[32];
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));

	CHECK_EQ(w_point_encode(&p, &enc), 0);
	CHECK_EQ(enc.pos, sizeof(point_bytes));
	CHECK(memcmp(buf, point_bytes, sizeof(point_bytes)) == 0);
	CHECK_EQ(w_point_size(&p), sizeof(point_bytes));
	CHECK_EQ(W_POINT_SIZE_MIN, 12);
	CHECK_EQ(W_POINT_SIZE_MAX, 14);
}

TEST(optional_fields_may_be_missing_as_a_whole_only)
{
	struct w_point p;

	CHECK_EQ(w_point_decode(&p, point_bytes, 14), 0);
	CHECK(p.x == -2 && p.y == -3 && p.weight == 0x1234);
	CHECK_EQ(w_point_decode(&p, point_bytes, 12), 0);
	CHECK(p.x == -2 && p.y == -3 && p.weight == 0);
	CHECK_EQ(w_point_decode(&p, point_bytes, 13), -NE_BADMSG);
	CHECK(p.x == 0 && p.y == 0);
	CHECK_EQ(w_point_decode(&p, point_bytes, 11), -NE_BADMSG);
	CHECK_EQ(w_point_decode(&p, NULL, 0), -NE_BADMSG);
}

TEST(newer_elements_and_structs_are_understood)
{
	struct w_shape s;
	struct w_point p;
	struct wire_iter it;
	char label[13];

	CHECK_EQ(w_shape_decode(&s, shape_bytes, sizeof(shape_bytes)), 0);
	CHECK_EQ(s.colour, W_COLOUR_RED);
	CHECK_EQ(wire_str_copy(s.label, label, sizeof(label)), 0);
	CHECK_STR(label, "Ab");
	CHECK(s.corners.count == 1 && s.corners.items == NULL);
	it = w_point_iter(&s.corners.view);
	CHECK(w_point_next(&it, &p));
	CHECK(p.x == 1 && p.y == 2 && p.weight == 3);
	CHECK(!w_point_next(&it, &p));
	CHECK_EQ(s.centre.x, 0);
}

TEST(bytes_that_decode_are_kept_as_views)
{
	struct w_shape s;
	uint8_t buf[64];
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));
	size_t shared = sizeof(shape_bytes);

	CHECK_EQ(w_shape_decode(&s, shape_bytes, shared), 0);
	CHECK(s.label.ptr == (const char *)shape_bytes + 4);
	CHECK_EQ(w_shape_encode(&s, &enc), 0);
	/* The extension of the corner is passed on; the centre is written as zeros. */
	CHECK_EQ(enc.pos, shared + 2 + 14);
	CHECK(memcmp(buf, shape_bytes, shared) == 0);
	CHECK_EQ(w_shape_size(&s), enc.pos);
}

/* Decodes the shape with one byte changed. */
static int shape_with(size_t at, uint8_t value)
{
	uint8_t copy[sizeof(shape_bytes)];
	struct w_shape s;

	memcpy(copy, shape_bytes, sizeof(copy));
	copy[at] = value;
	return w_shape_decode(&s, copy, sizeof(copy));
}

TEST(nothing_in_the_bytes_is_believed)
{
	CHECK_EQ(shape_with(0, 5), 0);
	CHECK_EQ(shape_with(0, 2), -NE_BADMSG); /* no such colour */
	CHECK_EQ(shape_with(1, 3), -NE_BADMSG);
	CHECK_EQ(shape_with(2, 13), -NE_BADMSG); /* longer than the bound, though bytes are there */
	CHECK_EQ(shape_with(3, 0xff), -NE_BADMSG);
	CHECK_EQ(shape_with(6, 7), -NE_BADMSG); /* more elements than the bound */
	CHECK_EQ(shape_with(6, 2), -NE_BADMSG); /* more elements than bytes */
	CHECK_EQ(shape_with(9, 0xff), -NE_BADMSG);
	CHECK_EQ(shape_with(10, 0x0b), -NE_BADMSG); /* the corner is too short */
	CHECK_EQ(shape_with(10, 0x11), -NE_BADMSG); /* and beyond the end */
}

TEST(bools_are_zero_or_one_and_flags_are_kept)
{
	struct w_draw_req req;
	const struct wire_case *c = wire_cases_sample;
	uint8_t *copy;

	while (c->codec != &w_draw_req_codec) {
		c++;
	}
	copy = malloc(c->len);
	CHECK(copy != NULL);
	memcpy(copy, c->bytes, c->len);
	CHECK_EQ(w_draw_req_decode(&req, copy, c->len), 0);
	copy[1] = 2;
	CHECK_EQ(w_draw_req_decode(&req, copy, c->len), -NE_BADMSG);
	copy[1] = 1;
	memset(copy + 2, 0xff, 4);
	CHECK_EQ(w_draw_req_decode(&req, copy, c->len), 0);
	CHECK(req.visible && req.traits == UINT32_MAX);
	CHECK_EQ(W_TRAIT_ALL, 0x80000001u);
	CHECK_EQ(W_TRAIT_HEAVY, UINT32_C(1) << 31);
	free(copy);
}

/* The decoded arrays of scalars give back what was encoded. */
TEST(arrays_of_scalars_are_read_by_index)
{
	static const uint64_t times[] = {1, UINT64_MAX, 3};
	static const enum w_colour palette[] = {W_COLOUR_BLUE, W_COLOUR_GREEN};
	static const bool marks[] = {true, false, true};
	static const uint16_t small[] = {0xbeef, 1};
	struct fid from = {.seq = 1, .oid = 2, .ver = 3};
	struct uuid by = {.bytes = {9, 8, 7}};
	struct w_draw_req in, out;
	uint8_t buf[512], *mark, *colour;
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));

	memset(&in, 0, sizeof(in));
	in.shape.colour = W_COLOUR_RED;
	in.times.items = times;
	in.times.count = 3;
	in.palette.items = palette;
	in.palette.count = 2;
	in.marks.items = marks;
	in.marks.count = 3;
	in.small.items = small;
	in.small.count = 2;
	in.sources.items = &from;
	in.sources.count = 1;
	in.editors.items = &by;
	in.editors.count = 1;
	CHECK_EQ(w_draw_req_encode(&in, &enc), 0);
	CHECK_EQ(w_draw_req_decode(&out, buf, enc.pos), 0);
	CHECK(out.times.count == 3 && wire_u64_at(&out.times.view, 1) == UINT64_MAX);
	CHECK(out.palette.count == 2 && wire_u16_at(&out.palette.view, 0) == W_COLOUR_BLUE);
	CHECK(out.marks.count == 3 && wire_bool_at(&out.marks.view, 2));
	CHECK(!wire_bool_at(&out.marks.view, 1));
	CHECK(out.small.count == 2 && wire_u16_at(&out.small.view, 0) == 0xbeef);
	CHECK(out.sources.count == 1 && fid_eq(wire_fid_at(&out.sources.view, 0), from));
	CHECK(out.editors.count == 1 && uuid_eq(wire_uuid_at(&out.editors.view, 0), by));

	/* Each element is validated, the last too. */
	mark = buf + (out.marks.view.ptr - buf) + 2;
	colour = buf + (out.palette.view.ptr - buf) + 2;
	*mark = 2;
	CHECK_EQ(w_draw_req_decode(&out, buf, enc.pos), -NE_BADMSG);
	*mark = 0;
	CHECK_EQ(w_draw_req_decode(&out, buf, enc.pos), 0);
	*colour = 4;
	CHECK_EQ(w_draw_req_decode(&out, buf, enc.pos), -NE_BADMSG);
}

static int encode_draw(const struct w_draw_req *req)
{
	uint8_t buf[1024];
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));
	int r = w_draw_req_encode(req, &enc);

	CHECK((r == 0) == (enc.pos != 0));
	return r;
}

TEST(what_the_peer_would_refuse_is_not_encoded)
{
	static const char text[300];
	static const enum w_colour bad[] = {W_COLOUR_RED, (enum w_colour)2};
	static const uint64_t times[6];
	struct w_draw_req req;

	memset(&req, 0, sizeof(req));
	CHECK_EQ(encode_draw(&req), -NE_INVAL); /* zero is no colour */
	req.shape.colour = W_COLOUR_BLUE;
	CHECK_EQ(encode_draw(&req), 0);
	req.shape.label = wire_str_n(text, 13);
	CHECK_EQ(encode_draw(&req), -NE_INVAL);
	req.shape.label.len = 12;
	req.blob = wire_bytes_of(text, W_BLOB_MAX);
	CHECK_EQ(encode_draw(&req), 0);
	req.blob.len++;
	CHECK_EQ(encode_draw(&req), -NE_INVAL);
	req.blob.len = 0;
	req.note = wire_str_n(text, LIM_NAME_MAX + 1);
	CHECK_EQ(encode_draw(&req), -NE_INVAL);
	req.note.len--;
	req.times.items = times;
	req.times.count = 5;
	CHECK_EQ(encode_draw(&req), 0);
	req.times.count = 6;
	CHECK_EQ(encode_draw(&req), -NE_INVAL);
	req.times.count = 0;
	req.palette.items = bad;
	req.palette.count = 1;
	CHECK_EQ(encode_draw(&req), 0);
	req.palette.count = 2;
	CHECK_EQ(encode_draw(&req), -NE_INVAL);
}

TEST(arrays_grow_until_full)
{
	const struct w_point p = {.x = 1, .y = 2, .weight = 3};
	struct wire_view view;
	struct wire_array array;
	struct w_point back;
	uint8_t buf[4 + 2 * 16 + 15];
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));
	struct wire_enc tiny = wire_enc_of(buf, 3);
	struct wire_iter it;

	CHECK_EQ(wire_array_begin(&tiny, 6, &array), -NE_OVERFLOW);
	CHECK_EQ(tiny.pos, 0);
	CHECK_EQ(wire_array_begin(&enc, 6, &array), 0);
	CHECK_EQ(w_point_append(&array, &p), 0);
	CHECK_EQ(w_point_append(&array, &p), 0);
	CHECK_EQ(w_point_append(&array, &p), -NE_OVERFLOW);
	CHECK_EQ(enc.pos, 4 + 2 * 16);
	wire_array_end(&array, &view);
	CHECK(view.count == 2 && view.size == 32 && le32_load(buf) == 2);
	it = w_point_iter(&view);
	CHECK(w_point_next(&it, &back) && back.weight == 3);
	CHECK(w_point_next(&it, &back) && !w_point_next(&it, &back));
}

TEST(arrays_stop_at_their_bound)
{
	const struct w_point p = {.x = 1};
	struct wire_array array;
	uint8_t buf[256];
	struct wire_enc enc = wire_enc_of(buf, sizeof(buf));
	size_t before;

	CHECK_EQ(wire_array_begin(&enc, 2, &array), 0);
	CHECK_EQ(w_point_append(&array, &p), 0);
	CHECK_EQ(w_point_append(&array, &p), 0);
	before = enc.pos;
	CHECK_EQ(w_point_append(&array, &p), -NE_OVERFLOW);
	CHECK_EQ(enc.pos, before);
	wire_array_end(&array, NULL);
	CHECK_EQ(le32_load(buf), 2);
}

/* What was built in scratch memory is given to encode as a view. */
TEST(a_grown_array_becomes_a_field)
{
	const struct w_point p = {.x = 7};
	struct w_shape s = {.colour = W_COLOUR_RED}, back;
	struct wire_array array;
	uint8_t scratch[128], buf[128];
	struct wire_enc enc = wire_enc_of(scratch, sizeof(scratch));
	struct wire_enc out = wire_enc_of(buf, sizeof(buf));

	CHECK_EQ(wire_array_begin(&enc, 6, &array), 0);
	CHECK_EQ(w_point_append(&array, &p), 0);
	wire_array_end(&array, &s.corners.view);
	CHECK_EQ(w_shape_encode(&s, &out), 0);
	CHECK_EQ(w_shape_decode(&back, buf, out.pos), 0);
	CHECK_EQ(back.corners.count, 1);
}

TEST(records_answer_corrupt)
{
	static const uint8_t bytes[] = {1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 'x', 5};
	struct d_drawing d;

	CHECK_EQ(d_drawing_decode(&d, bytes, sizeof(bytes)), 0);
	CHECK(d.id == 1 && d.title.len == 1 && d.stars == 5);
	CHECK_EQ(d_drawing_decode(&d, bytes, sizeof(bytes) - 1), 0);
	CHECK_EQ(d.stars, 0);
	CHECK_EQ(d_drawing_decode(&d, bytes, sizeof(bytes) - 2), -NE_CORRUPT);
	CHECK(d.title.ptr == NULL && d.id == 0);
}

TEST(dump_is_one_readable_line)
{
	const struct w_point corners[] = {{.x = -1, .y = 2, .weight = 3}};
	struct w_shape s = {.colour = W_COLOUR_GREEN, .label = wire_str_of("a\"\n")};
	struct strbuf sb;

	s.corners.items = corners;
	s.corners.count = 1;
	strbuf_init(&sb, 1000);
	w_shape_dump(&s, &sb);
	CHECK_STR(strbuf_text(&sb),
		"colour=green label=\"a\\\"\\x0a\" corners=[{x=-1 y=2 weight=3}] "
		"centre={x=0 y=0 weight=0}");
	strbuf_clear(&sb);
	w_shape_codec.dump_bytes(shape_bytes, 3, &sb);
	CHECK_STR(strbuf_text(&sb), "malformed, 3 bytes");
	strbuf_clear(&sb);
	wire_dump_flags(&sb, W_TRAIT_SHINY | W_TRAIT_HEAVY | 6, w_trait_bit_name);
	CHECK_STR(strbuf_text(&sb), "shiny|heavy|0x6");
	strbuf_fini(&sb);
}

TEST(tables_know_what_the_schema_says)
{
	const struct wire_registry *reg = &wire_registry_sample;
	const struct wire_op *op = wire_registry_op(reg, W_OP_DRAW);

	CHECK(op != NULL && op->modifies && !op->push && op->class == W_MSG_CLASS_NORMAL);
	op = wire_registry_op(reg, 0x300);
	CHECK(op != NULL && op->push && op->reply == NULL && op->class == W_MSG_CLASS_URGENT);
	op = wire_registry_op(reg, W_OP_NOTHING);
	CHECK(op != NULL && op->request->size_max == 0 && op->reply->check(NULL, 0) == 0);
	CHECK(wire_registry_op(reg, 1) == NULL && wire_registry_op(reg, 0x11) == NULL);
	CHECK(wire_registry_record(reg, D_TYPE_DRAWING)->codec == &d_drawing_codec);
	CHECK_EQ(reg->codec_count, 8);
	CHECK(W_HUGE == UINT64_C(0x100000001));
	CHECK_EQ(w_draw_req_codec.optional_count, 3);
}

TEST(names_with_zeros_are_not_c_strings)
{
	char text[4];

	CHECK_EQ(wire_str_copy(wire_str_n("ab\0", 3), text, sizeof(text)), -NE_INVAL);
	CHECK_EQ(wire_str_copy(wire_str_of("abcd"), text, sizeof(text)), -NE_NAMETOOLONG);
	CHECK_EQ(wire_str_copy(wire_str_of("abc"), text, sizeof(text)), 0);
	CHECK_STR(text, "abc");
	CHECK_EQ(wire_str_copy(wire_str_of(NULL), text, sizeof(text)), 0);
	CHECK_STR(text, "");
}

TEST(all_instances_hold)
{
	CHECK_EQ(wire_cases_sample_count, wire_registry_sample.codec_count);
	for (size_t i = 0; i < wire_cases_sample_count; i++) {
		case_check_golden(&wire_cases_sample[i]);
		case_check_random(&wire_cases_sample[i], i, 200);
	}
}
