/*
 * Encoding and decoding of the message header; see header.h for the layout.
 *
 * Offsets are written out rather than derived from a struct, because a C struct's layout is not a wire
 * format. A golden test holds them.
 */
#include "wire/header.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "wire/gen/wire.h"
#include "wire/wire.h"

enum {
	OFF_MAGIC = 0,
	OFF_VERSION = 4,
	OFF_CLASS = 5,
	OFF_OP = 6,
	OFF_FLAGS = 8,
	OFF_CRC = 12,
	OFF_SESSION = 16,
	OFF_INCARNATION = 24,
	OFF_TARGET = 28,
	OFF_SLOT = 32,
	OFF_KEY_ID = 34,
	OFF_SEQUENCE = 36,
	OFF_XID = 40,
	OFF_EPOCH = 48,
	OFF_MAP = 52,
	OFF_STATUS = 56,
	OFF_DEADLINE = 60,
	OFF_TRANSNO = 64,
	OFF_COMMITTED = 72,
	OFF_TRACE = 80,
	OFF_BODY_LEN = 96,
	OFF_BULK_LEN = 100,
	OFF_BODY_CRC = 104,
	OFF_BULK_CRC = 108,
	OFF_MAC = 112,
	OFF_END = 128,
};

_Static_assert(OFF_TRACE + WIRE_TRACE_SIZE == OFF_BODY_LEN, "trace fills its place");
_Static_assert(OFF_MAC + WIRE_MAC_SIZE == OFF_END, "the mac is last");
_Static_assert((int)OFF_END == WIRE_HEADER_SIZE && (int)OFF_MAC == WIRE_MAC_OFFSET, "128 bytes");

/* The checksum of an encoded header: as if crc and mac were zero, whatever they are. */
static uint32_t header_crc(const uint8_t *buf)
{
	uint8_t copy[WIRE_HEADER_SIZE];

	/* One call over a copy: four calls over the pieces cost three times as much. */
	memcpy(copy, buf, sizeof(copy));
	memset(copy + OFF_CRC, 0, sizeof(uint32_t));
	memset(copy + OFF_MAC, 0, WIRE_MAC_SIZE);
	return crc32c(0, copy, sizeof(copy));
}

void wire_header_encode(const struct wire_header *h, uint8_t ret_buf[WIRE_HEADER_SIZE])
{
	uint8_t *b = ret_buf;

	ASSERT(h->body_len <= LIM_MSG_BODY_MAX);
	ASSERT(h->bulk_len <= LIM_MSG_BULK_MAX);
	le32_store(b + OFF_MAGIC, WIRE_MAGIC);
	b[OFF_VERSION] = WIRE_HEADER_VERSION;
	b[OFF_CLASS] = h->class;
	le16_store(b + OFF_OP, h->op);
	le32_store(b + OFF_FLAGS, h->flags);
	le64_store(b + OFF_SESSION, h->session);
	le32_store(b + OFF_INCARNATION, h->incarnation);
	le32_store(b + OFF_TARGET, h->target);
	le16_store(b + OFF_SLOT, h->slot);
	le16_store(b + OFF_KEY_ID, h->key_id);
	le32_store(b + OFF_SEQUENCE, h->sequence);
	le64_store(b + OFF_XID, h->xid);
	le32_store(b + OFF_EPOCH, h->epoch);
	le32_store(b + OFF_MAP, h->map);
	le32_store(b + OFF_STATUS, h->status);
	le32_store(b + OFF_DEADLINE, h->deadline_ms);
	le64_store(b + OFF_TRANSNO, h->transno);
	le64_store(b + OFF_COMMITTED, h->last_committed);
	memcpy(b + OFF_TRACE, h->trace, WIRE_TRACE_SIZE);
	le32_store(b + OFF_BODY_LEN, h->body_len);
	le32_store(b + OFF_BULK_LEN, h->bulk_len);
	le32_store(b + OFF_BODY_CRC, h->body_crc);
	le32_store(b + OFF_BULK_CRC, h->bulk_crc);
	memcpy(b + OFF_MAC, h->mac, WIRE_MAC_SIZE);
	wire_header_seal(b);
}

void wire_header_seal(uint8_t buf[WIRE_HEADER_SIZE])
{
	ASSERT(buf != NULL);
	le32_store(buf + OFF_CRC, header_crc(buf));
}

void wire_header_mac_set(uint8_t buf[WIRE_HEADER_SIZE], const uint8_t mac[WIRE_MAC_SIZE])
{
	ASSERT(buf != NULL && mac != NULL);
	memcpy(buf + OFF_MAC, mac, WIRE_MAC_SIZE);
}

static void header_load(const uint8_t *b, struct wire_header *h)
{
	h->class = b[OFF_CLASS];
	h->op = le16_load(b + OFF_OP);
	h->flags = le32_load(b + OFF_FLAGS);
	h->session = le64_load(b + OFF_SESSION);
	h->incarnation = le32_load(b + OFF_INCARNATION);
	h->target = le32_load(b + OFF_TARGET);
	h->slot = le16_load(b + OFF_SLOT);
	h->key_id = le16_load(b + OFF_KEY_ID);
	h->sequence = le32_load(b + OFF_SEQUENCE);
	h->xid = le64_load(b + OFF_XID);
	h->epoch = le32_load(b + OFF_EPOCH);
	h->map = le32_load(b + OFF_MAP);
	h->status = le32_load(b + OFF_STATUS);
	h->deadline_ms = le32_load(b + OFF_DEADLINE);
	h->transno = le64_load(b + OFF_TRANSNO);
	h->last_committed = le64_load(b + OFF_COMMITTED);
	memcpy(h->trace, b + OFF_TRACE, WIRE_TRACE_SIZE);
	h->body_len = le32_load(b + OFF_BODY_LEN);
	h->bulk_len = le32_load(b + OFF_BULK_LEN);
	h->body_crc = le32_load(b + OFF_BODY_CRC);
	h->bulk_crc = le32_load(b + OFF_BULK_CRC);
	memcpy(h->mac, b + OFF_MAC, WIRE_MAC_SIZE);
}

int wire_header_decode(const void *buf, size_t len, struct wire_header *ret_header)
{
	const uint8_t *b = buf;

	ASSERT(ret_header != NULL);
	ASSERT(buf != NULL || len == 0);
	if (len < WIRE_HEADER_SIZE || le32_load(b + OFF_MAGIC) != WIRE_MAGIC) {
		return -NE_BADMSG;
	}
	if (b[OFF_VERSION] != WIRE_HEADER_VERSION) {
		return -NE_VERSION;
	}
	if (le32_load(b + OFF_CRC) != header_crc(b)) {
		return -NE_CHECKSUM;
	}
	if (le32_load(b + OFF_BODY_LEN) > LIM_MSG_BODY_MAX ||
		le32_load(b + OFF_BULK_LEN) > LIM_MSG_BULK_MAX) {
		return -NE_BADMSG;
	}
	header_load(b, ret_header);
	return 0;
}

/* " name=value" unless it is zero. */
static void dump_number(struct strbuf *sb, const char *name, uint64_t value)
{
	if (value != 0) {
		strbuf_printf(sb, " %s=%" PRIu64, name, value);
	}
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 0) {
			return false;
		}
	}
	return true;
}

void wire_header_dump(const struct wire_header *h, struct strbuf *sb)
{
	ASSERT(h != NULL && sb != NULL);
	strbuf_printf(sb, "op=%s(%#06x) class=%s flags=", wire_op_name(h->op), h->op,
		w_msg_class_name(h->class));
	wire_dump_flags(sb, h->flags, w_msg_flags_bit_name);
	dump_number(sb, "session", h->session);
	dump_number(sb, "incarnation", h->incarnation);
	dump_number(sb, "target", h->target);
	dump_number(sb, "slot", h->slot);
	dump_number(sb, "key_id", h->key_id);
	dump_number(sb, "sequence", h->sequence);
	dump_number(sb, "xid", h->xid);
	dump_number(sb, "epoch", h->epoch);
	dump_number(sb, "map", h->map);
	if (h->status != 0) {
		strbuf_printf(sb, " status=%s", ne_name((int)(h->status & INT32_MAX)));
	}
	dump_number(sb, "deadline_ms", h->deadline_ms);
	dump_number(sb, "transno", h->transno);
	dump_number(sb, "last_committed", h->last_committed);
	if (!all_zero(h->trace, sizeof(h->trace))) {
		strbuf_puts(sb, " trace=");
		strbuf_hex(sb, h->trace, sizeof(h->trace));
	}
	dump_number(sb, "body_len", h->body_len);
	dump_number(sb, "bulk_len", h->bulk_len);
	if (!all_zero(h->mac, sizeof(h->mac))) {
		strbuf_puts(sb, " mac=");
		strbuf_hex(sb, h->mac, sizeof(h->mac));
	}
}
