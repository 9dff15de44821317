/*
 * The parts of the codecs that are not on the hot path: tables by number, growing arrays, printing.
 *
 * Tables are sorted by the generator and searched by halving. Printing escapes whatever came from
 * outside, so that a dump stays one line of plain text. No state: thread-safe.
 */
#include "wire/wire.h"

#include <inttypes.h>

#include "base/strbuf.h"

/* Bytes of a string and of raw bytes that a dump shows. */
#define DUMP_STR_MAX 255
#define DUMP_BYTES_MAX 32

int wire_str_copy(struct wire_str s, char *ret_text, size_t cap)
{
	ASSERT(ret_text != NULL && cap > 0);
	ASSERT(s.ptr != NULL || s.len == 0);
	if (s.len >= cap) {
		return -NE_NAMETOOLONG;
	}
	if (s.len > 0 && memchr(s.ptr, 0, s.len) != NULL) {
		return -NE_INVAL;
	}
	bytes_copy(ret_text, s.ptr, s.len);
	ret_text[s.len] = '\0';
	return 0;
}

int wire_array_begin(struct wire_enc *enc, uint32_t max, struct wire_array *ret_array)
{
	size_t start = enc->pos;
	uint8_t *at = wire_enc_take(enc, 4);

	ASSERT(ret_array != NULL);
	if (at == NULL) {
		return -NE_OVERFLOW;
	}
	le32_store(at, 0);
	*ret_array = (struct wire_array){.enc = enc, .start = start, .count = 0, .max = max};
	return 0;
}

bool wire_array_take(struct wire_array *array)
{
	ASSERT(array->enc->pos >= array->start + 4);
	return array->count < array->max && wire_enc_take(array->enc, 2) != NULL;
}

void wire_array_end(struct wire_array *array, struct wire_view *ret_view)
{
	struct wire_enc *enc = array->enc;
	size_t size = enc->pos - array->start - 4;

	ASSERT(enc->pos >= array->start + 4 && size <= UINT32_MAX);
	ASSERT(array->count <= array->max);
	le32_store(enc->buf + array->start, array->count);
	if (ret_view != NULL) {
		*ret_view = (struct wire_view){.ptr = enc->buf + array->start + 4,
			.size = (uint32_t)size,
			.count = array->count};
	}
}

const struct wire_op *wire_registry_op(const struct wire_registry *reg, uint16_t op)
{
	size_t low = 0;
	size_t high = reg->op_count;

	ASSERT(high == 0 || reg->ops != NULL);
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (reg->ops[mid].op == op) {
			return &reg->ops[mid];
		}
		if (reg->ops[mid].op < op) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return NULL;
}

const struct wire_record *wire_registry_record(const struct wire_registry *reg, uint16_t type)
{
	size_t low = 0;
	size_t high = reg->record_count;

	ASSERT(high == 0 || reg->records != NULL);
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (reg->records[mid].type == type) {
			return &reg->records[mid];
		}
		if (reg->records[mid].type < type) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return NULL;
}

const struct wire_codec *wire_registry_codec(const struct wire_registry *reg, const char *name)
{
	ASSERT(name != NULL);
	for (size_t i = 0; i < reg->codec_count; i++) {
		if (strcmp(reg->codecs[i]->name, name) == 0) {
			return reg->codecs[i];
		}
	}
	return NULL;
}

const struct wire_op *wire_op_find(uint16_t op)
{
	return wire_registry_op(&wire_registry_wire, op);
}

const struct wire_record *wire_record_find(uint16_t type)
{
	return wire_registry_record(&wire_registry_disk, type);
}

const char *wire_op_name(uint16_t op)
{
	const struct wire_op *found = wire_op_find(op);

	return found != NULL ? found->name : "unknown";
}

void wire_dump_str(struct strbuf *sb, struct wire_str s)
{
	size_t shown = s.len < DUMP_STR_MAX ? s.len : DUMP_STR_MAX;

	strbuf_puts(sb, "\"");
	for (size_t i = 0; i < shown; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\') {
			strbuf_printf(sb, "\\%c", c);
		} else if (c < 0x20 || c == 0x7f) {
			strbuf_printf(sb, "\\x%02x", c);
		} else {
			strbuf_append(sb, &s.ptr[i], 1);
		}
	}
	strbuf_puts(sb, "\"");
	if (shown < s.len) {
		strbuf_printf(sb, "...%u", s.len);
	}
}

void wire_dump_bytes(struct strbuf *sb, const void *ptr, size_t len)
{
	size_t shown = len < DUMP_BYTES_MAX ? len : DUMP_BYTES_MAX;

	ASSERT(ptr != NULL || len == 0);
	strbuf_puts(sb, "<");
	strbuf_hex(sb, ptr, shown);
	if (shown < len) {
		strbuf_printf(sb, "...%zu", len);
	}
	strbuf_puts(sb, ">");
}

void wire_dump_fid(struct strbuf *sb, struct fid f)
{
	char text[FID_STR_MAX];

	strbuf_puts(sb, fid_format(f, text, sizeof(text)));
}

void wire_dump_uuid(struct strbuf *sb, const struct uuid *u)
{
	char text[UUID_STR_MAX];

	ASSERT(u != NULL);
	strbuf_puts(sb, uuid_format(*u, text, sizeof(text)));
}

void wire_dump_flags(struct strbuf *sb, uint64_t value, const char *(*bit_name)(unsigned bit))
{
	uint64_t nameless = 0;
	const char *sep = "";

	if (value == 0) {
		strbuf_puts(sb, "0");
		return;
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *name = bit_name(bit);

		if ((value >> bit & 1) == 0) {
			continue;
		}
		if (name == NULL) {
			nameless |= UINT64_C(1) << bit;
			continue;
		}
		strbuf_printf(sb, "%s%s", sep, name);
		sep = "|";
	}
	if (nameless != 0) {
		strbuf_printf(sb, "%s%#" PRIx64, sep, nameless);
	}
}
