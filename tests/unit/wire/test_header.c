/*
 * The message header: golden bytes, round trip, and that no bit of it can change unnoticed.
 */
#include <stdio.h>

#include "../test.h"
#include "base/crc32c.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "cases.h"
#include "wire/gen/wire.h"
#include "wire/header.h"

static void random_header(struct prng *rng, struct wire_header *h)
{
	prng_fill(rng, h, sizeof(*h));
	h->body_len = (uint32_t)prng_below(rng, LIM_MSG_BODY_MAX + UINT64_C(1));
	h->bulk_len = (uint32_t)prng_below(rng, LIM_MSG_BULK_MAX + UINT64_C(1));
}

static int decode_exact(const uint8_t *buf, size_t len, struct wire_header *ret)
{
	uint8_t *copy = malloc(len + (len == 0));
	int r;

	CHECK(copy != NULL);
	bytes_copy(copy, buf, len);
	r = wire_header_decode(copy, len, ret);
	free(copy);
	return r;
}

TEST(golden_header_decodes_to_counted_bytes)
{
	size_t len;
	uint8_t *golden = case_read_hex(GOLDEN_DIR "/header.hex", &len);
	uint8_t again[WIRE_HEADER_SIZE];
	struct wire_header h;

	CHECK_EQ(len, WIRE_HEADER_SIZE);
	CHECK_EQ(wire_header_decode(golden, len, &h), 0);
	CHECK_EQ(h.class, 1);
	CHECK_EQ(h.op, 0x0706);
	CHECK_EQ(h.flags, 0x0b0a0908);
	CHECK(h.session == UINT64_C(0x1716151413121110));
	CHECK_EQ(h.incarnation, 0x1b1a1918);
	CHECK_EQ(h.target, 0x1f1e1d1c);
	CHECK_EQ(h.slot, 0x2120);
	CHECK_EQ(h.key_id, 0x2322);
	CHECK_EQ(h.sequence, 0x27262524);
	CHECK(h.xid == UINT64_C(0x2f2e2d2c2b2a2928));
	CHECK_EQ(h.epoch, 0x33323130);
	CHECK_EQ(h.map, 0x37363534);
	CHECK_EQ(h.status, 0x3b3a3938);
	CHECK_EQ(h.deadline_ms, 0x3f3e3d3c);
	CHECK(h.transno == UINT64_C(0x4746454443424140));
	CHECK(h.last_committed == UINT64_C(0x4f4e4d4c4b4a4948));
	CHECK(h.trace[0] == 0x50 && h.trace[15] == 0x5f);
	CHECK_EQ(h.body_len, 0x10203);
	CHECK_EQ(h.bulk_len, 0x30201);
	CHECK_EQ(h.body_crc, 0x6b6a6968);
	CHECK_EQ(h.bulk_crc, 0x6f6e6d6c);
	CHECK(h.mac[0] == 0x70 && h.mac[15] == 0x7f);
	wire_header_encode(&h, again);
	CHECK(memcmp(again, golden, len) == 0);
	free(golden);
}

TEST(random_headers_round_trip)
{
	struct prng rng;

	prng_init(&rng, 7);
	for (int i = 0; i < 2000; i++) {
		struct wire_header h, back;
		uint8_t buf[WIRE_HEADER_SIZE], again[WIRE_HEADER_SIZE];

		random_header(&rng, &h);
		wire_header_encode(&h, buf);
		CHECK_EQ(wire_header_decode(buf, sizeof(buf), &back), 0);
		wire_header_encode(&back, again);
		CHECK(memcmp(buf, again, sizeof(buf)) == 0);
		CHECK(back.xid == h.xid && back.body_len == h.body_len && back.op == h.op);
	}
}

TEST(every_flipped_bit_is_noticed_but_in_the_mac)
{
	struct wire_header h, back;
	uint8_t buf[WIRE_HEADER_SIZE];
	struct prng rng;

	prng_init(&rng, 8);
	random_header(&rng, &h);
	wire_header_encode(&h, buf);
	for (unsigned bit = 0; bit < WIRE_HEADER_SIZE * 8; bit++) {
		int r;

		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		r = wire_header_decode(buf, sizeof(buf), &back);
		buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (bit < 4 * 8) {
			CHECK_EQ(r, -NE_BADMSG);
		} else if (bit < 5 * 8) {
			CHECK_EQ(r, -NE_VERSION);
		} else {
			CHECK_EQ(r, bit < WIRE_MAC_OFFSET * 8 ? -NE_CHECKSUM : 0);
		}
	}
}

TEST(short_headers_are_refused)
{
	struct wire_header h, back;
	uint8_t buf[WIRE_HEADER_SIZE];

	memset(&h, 0, sizeof(h));
	wire_header_encode(&h, buf);
	for (size_t len = 0; len < sizeof(buf); len++) {
		CHECK_EQ(decode_exact(buf, len, &back), -NE_BADMSG);
	}
	CHECK_EQ(decode_exact(buf, sizeof(buf), &back), 0);
}

/* Sets a length in an encoded header and seals it again. */
static int decode_with_length(size_t offset, uint32_t value)
{
	static const uint8_t zero[16];
	struct wire_header h, back;
	uint8_t buf[WIRE_HEADER_SIZE];

	memset(&h, 0, sizeof(h));
	wire_header_encode(&h, buf);
	le32_store(buf + offset, value);
	memcpy(buf + 12, zero, 4);
	le32_store(buf + 12, crc32c(0, buf, sizeof(buf)));
	return wire_header_decode(buf, sizeof(buf), &back);
}

TEST(lengths_are_bounded)
{
	CHECK_EQ(decode_with_length(96, LIM_MSG_BODY_MAX), 0);
	CHECK_EQ(decode_with_length(96, LIM_MSG_BODY_MAX + 1), -NE_BADMSG);
	CHECK_EQ(decode_with_length(96, UINT32_MAX), -NE_BADMSG);
	CHECK_EQ(decode_with_length(100, LIM_MSG_BULK_MAX), 0);
	CHECK_EQ(decode_with_length(100, LIM_MSG_BULK_MAX + 1), -NE_BADMSG);
	CHECK_EQ(decode_with_length(100, UINT32_MAX), -NE_BADMSG);
}

TEST(failed_decode_writes_nothing)
{
	uint8_t buf[WIRE_HEADER_SIZE] = {0};
	struct wire_header h = {.xid = 5};

	CHECK_EQ(wire_header_decode(buf, sizeof(buf), &h), -NE_BADMSG);
	CHECK_EQ(h.xid, 5);
}

TEST(mac_is_put_in_after_sealing)
{
	struct wire_header h, back;
	uint8_t buf[WIRE_HEADER_SIZE], mac[WIRE_MAC_SIZE];

	memset(&h, 0, sizeof(h));
	memset(mac, 0x5a, sizeof(mac));
	wire_header_encode(&h, buf);
	wire_header_mac_set(buf, mac);
	CHECK_EQ(wire_header_decode(buf, sizeof(buf), &back), 0);
	CHECK(memcmp(back.mac, mac, sizeof(mac)) == 0);
}

TEST(dump_is_one_readable_line)
{
	struct wire_header h;
	struct strbuf sb;

	memset(&h, 0, sizeof(h));
	h.op = W_OP_MDS_CREATE;
	h.class = W_MSG_CLASS_URGENT;
	h.flags = W_MSG_FLAGS_REPLY | UINT32_C(1) << 31;
	h.xid = 42;
	h.status = NE_NOENT;
	strbuf_init(&sb, 1000);
	wire_header_dump(&h, &sb);
	CHECK_STR(strbuf_text(&sb),
		"op=mds_create(0x0203) class=urgent flags=reply|0x80000000 xid=42 status=NOENT");
	strbuf_fini(&sb);
}
