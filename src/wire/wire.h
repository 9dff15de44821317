/*
 * What generated codecs are made of: bounded cursors, views into received bytes, tables of codecs.
 *
 * Encoding (proto/wire.schema says what, tools/wiregen how): little-endian, no padding, fields in order.
 * A string is a u16 length and its bytes, bytes are a u32 length and the bytes, an array is a u32 count
 * and its elements, a nested struct (also as an element) is a u16 length and its fields.
 *
 * Invariants. A cursor never moves past its end, and nothing is read or written that was not first
 * checked against it. Decoding allocates nothing and copies no strings: what it returns points into the
 * input, which must outlive it. Unknown trailing bytes of a message, record or struct are skipped;
 * fields marked optional may be missing and read as zero. On failure an encoder leaves its cursor where
 * it was, and a decoder leaves its struct zeroed. All functions are pure: thread-safe.
 */
#ifndef NACRE_WIRE_WIRE_H
#define NACRE_WIRE_WIRE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/fid.h"
#include "base/limits.h"
#include "base/uuid.h"

struct strbuf;

/* Text that is not NUL-terminated; ptr may be NULL if len is 0. */
struct wire_str {
	const char *ptr;
	uint16_t len;
};

struct wire_bytes {
	const void *ptr;
	uint32_t len;
};

/* The encoded elements of an array, without the count that precedes them. */
struct wire_view {
	const uint8_t *ptr;
	uint32_t size;
	uint32_t count;
};

/* Writes to buf[pos..cap). */
struct wire_enc {
	uint8_t *buf;
	size_t cap;
	size_t pos;
};

/* Reads pos..end. */
struct wire_dec {
	const uint8_t *pos;
	const uint8_t *end;
};

/* Walks the structs of a view; made by w_T_iter, moved by w_T_next. */
struct wire_iter {
	struct wire_dec dec;
	uint32_t left;
};

/* An array of structs that grows: wire_array_begin, w_T_append..., wire_array_end. */
struct wire_array {
	struct wire_enc *enc;
	size_t start;
	uint32_t count;
	uint32_t max;
};

static inline struct wire_str wire_str_of(const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	ASSERT(len <= UINT16_MAX);
	return (struct wire_str){.ptr = text, .len = (uint16_t)len};
}

static inline struct wire_str wire_str_n(const char *text, size_t len)
{
	ASSERT(len <= UINT16_MAX);
	return (struct wire_str){.ptr = text, .len = (uint16_t)len};
}

static inline struct wire_bytes wire_bytes_of(const void *ptr, size_t len)
{
	ASSERT(len <= UINT32_MAX);
	return (struct wire_bytes){.ptr = ptr, .len = (uint32_t)len};
}

static inline bool wire_str_eq(struct wire_str a, struct wire_str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline struct span wire_str_span(struct wire_str s)
{
	return span_of(s.ptr, s.len);
}

static inline struct span wire_bytes_span(struct wire_bytes b)
{
	return span_of(b.ptr, b.len);
}

/* Copies to a C string of cap bytes. -NE_NAMETOOLONG if it does not fit, -NE_INVAL if it holds a NUL. */
_check_ int wire_str_copy(struct wire_str s, char *ret_text, size_t cap);

/* buf may be NULL if cap is 0. */
static inline struct wire_enc wire_enc_of(void *buf, size_t cap)
{
	ASSERT(buf != NULL || cap == 0);
	return (struct wire_enc){.buf = buf, .cap = cap, .pos = 0};
}

/* Room for len bytes, or NULL; the cursor has moved if not NULL. */
static inline uint8_t *wire_enc_take(struct wire_enc *enc, size_t len)
{
	uint8_t *at;

	if (unlikely(len > enc->cap - enc->pos)) {
		return NULL;
	}
	at = enc->buf + enc->pos;
	enc->pos += len;
	return at;
}

static inline int wire_put_str(struct wire_enc *enc, struct wire_str s, uint32_t max)
{
	uint8_t *at;

	if (unlikely(s.len > max)) {
		return -NE_INVAL;
	}
	at = wire_enc_take(enc, 2 + (size_t)s.len);
	if (unlikely(at == NULL)) {
		return -NE_OVERFLOW;
	}
	le16_store(at, s.len);
	bytes_copy(at + 2, s.ptr, s.len);
	return 0;
}

static inline int wire_put_bytes(struct wire_enc *enc, struct wire_bytes b, uint32_t max)
{
	uint8_t *at;

	if (unlikely(b.len > max)) {
		return -NE_INVAL;
	}
	at = wire_enc_take(enc, 4 + (size_t)b.len);
	if (unlikely(at == NULL)) {
		return -NE_OVERFLOW;
	}
	le32_store(at, b.len);
	bytes_copy(at + 4, b.ptr, b.len);
	return 0;
}

/* Count and elements that are already encoded. elem_size 0: the size of one varies. */
static inline int wire_put_view(
	struct wire_enc *enc, const struct wire_view *view, uint32_t elem_size, uint32_t max)
{
	uint8_t *at;

	if (unlikely(view->count > max)) {
		return -NE_INVAL;
	}
	ASSERT(elem_size == 0 || view->size == (uint64_t)view->count * elem_size);
	at = wire_enc_take(enc, 4 + (size_t)view->size);
	if (unlikely(at == NULL)) {
		return -NE_OVERFLOW;
	}
	le32_store(at, view->count);
	bytes_copy(at + 4, view->ptr, view->size);
	return 0;
}

/* Closes a nested struct whose 16-bit length stands at `start`. */
static inline int wire_put_length(struct wire_enc *enc, size_t start)
{
	size_t len = enc->pos - start - 2;

	if (unlikely(len > UINT16_MAX)) {
		return -NE_OVERFLOW;
	}
	le16_store(enc->buf + start, (uint16_t)len);
	return 0;
}

/* buf may be NULL if len is 0. */
static inline struct wire_dec wire_dec_of(const void *buf, size_t len)
{
	static const uint8_t nothing;

	if (len == 0) {
		return (struct wire_dec){.pos = &nothing, .end = &nothing};
	}
	ASSERT(buf != NULL);
	return (struct wire_dec){.pos = buf, .end = (const uint8_t *)buf + len};
}

static inline size_t wire_dec_left(const struct wire_dec *dec)
{
	return (size_t)(dec->end - dec->pos);
}

/* The next len bytes, or NULL if there are fewer; the cursor has moved if not NULL. */
static inline const uint8_t *wire_dec_take(struct wire_dec *dec, size_t len)
{
	const uint8_t *at = dec->pos;

	if (unlikely(len > wire_dec_left(dec))) {
		return NULL;
	}
	dec->pos += len;
	return at;
}

static inline bool wire_get_str(struct wire_dec *dec, struct wire_str *ret, uint32_t max)
{
	const uint8_t *at = wire_dec_take(dec, 2);
	uint16_t len;

	if (unlikely(at == NULL)) {
		return false;
	}
	len = le16_load(at);
	if (unlikely(len > max || wire_dec_take(dec, len) == NULL)) {
		return false;
	}
	*ret = (struct wire_str){.ptr = (const char *)at + 2, .len = len};
	return true;
}

static inline bool wire_get_bytes(struct wire_dec *dec, struct wire_bytes *ret, uint32_t max)
{
	const uint8_t *at = wire_dec_take(dec, 4);
	uint32_t len;

	if (unlikely(at == NULL)) {
		return false;
	}
	len = le32_load(at);
	if (unlikely(len > max || wire_dec_take(dec, len) == NULL)) {
		return false;
	}
	*ret = (struct wire_bytes){.ptr = at + 4, .len = len};
	return true;
}

/* Count and elements of one size; the elements themselves are not looked at. */
static inline bool wire_get_view(
	struct wire_dec *dec, struct wire_view *ret, uint32_t elem_size, uint32_t max)
{
	const uint8_t *at = wire_dec_take(dec, 4);
	uint32_t count;
	uint64_t size;

	if (unlikely(at == NULL)) {
		return false;
	}
	count = le32_load(at);
	size = (uint64_t)count * elem_size;
	if (unlikely(count > max || size > UINT32_MAX || wire_dec_take(dec, size) == NULL)) {
		return false;
	}
	*ret = (struct wire_view){.ptr = at + 4, .size = (uint32_t)size, .count = count};
	return true;
}

/* The count of an array whose elements are nested structs, each of at least its length word. */
static inline bool wire_get_count(struct wire_dec *dec, uint32_t *ret_count, uint32_t max)
{
	const uint8_t *at = wire_dec_take(dec, 4);
	uint32_t count;

	if (unlikely(at == NULL)) {
		return false;
	}
	count = le32_load(at);
	if (unlikely(count > max || (uint64_t)count * 2 > wire_dec_left(dec))) {
		return false;
	}
	*ret_count = count;
	return true;
}

/* Reads a nested struct's length and gives a cursor over its bytes; `dec` is then behind them. */
static inline bool wire_get_nested(struct wire_dec *dec, struct wire_dec *ret_inner)
{
	const uint8_t *at = wire_dec_take(dec, 2);
	uint16_t len;

	if (unlikely(at == NULL)) {
		return false;
	}
	len = le16_load(at);
	if (unlikely(wire_dec_take(dec, len) == NULL)) {
		return false;
	}
	*ret_inner = (struct wire_dec){.pos = at + 2, .end = at + 2 + len};
	return true;
}

static inline void wire_store_fid(uint8_t *at, struct fid f)
{
	le64_store(at, f.seq);
	le32_store(at + 8, f.oid);
	le32_store(at + 12, f.ver);
}

static inline struct fid wire_load_fid(const uint8_t *at)
{
	return (struct fid){
		.seq = le64_load(at), .oid = le32_load(at + 8), .ver = le32_load(at + 12)};
}

static inline void wire_store_uuid(uint8_t *at, const struct uuid *u)
{
	memcpy(at, u->bytes, sizeof(u->bytes));
}

static inline struct uuid wire_load_uuid(const uint8_t *at)
{
	struct uuid u;

	memcpy(u.bytes, at, sizeof(u.bytes));
	return u;
}

/* Element i of a decoded array of scalars; i < count. An enum is read as the integer it travels as. */
static inline uint8_t wire_u8_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count);
	return view->ptr[i];
}

static inline bool wire_bool_at(const struct wire_view *view, uint32_t i)
{
	return wire_u8_at(view, i) != 0;
}

static inline uint16_t wire_u16_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count && view->size / 2 >= view->count);
	return le16_load(view->ptr + (size_t)i * 2);
}

static inline uint32_t wire_u32_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count && view->size / 4 >= view->count);
	return le32_load(view->ptr + (size_t)i * 4);
}

static inline uint64_t wire_u64_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count && view->size / 8 >= view->count);
	return le64_load(view->ptr + (size_t)i * 8);
}

static inline int32_t wire_i32_at(const struct wire_view *view, uint32_t i)
{
	return (int32_t)wire_u32_at(view, i);
}

static inline int64_t wire_i64_at(const struct wire_view *view, uint32_t i)
{
	return (int64_t)wire_u64_at(view, i);
}

static inline struct fid wire_fid_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count && view->size / 16 >= view->count);
	return wire_load_fid(view->ptr + (size_t)i * 16);
}

static inline struct uuid wire_uuid_at(const struct wire_view *view, uint32_t i)
{
	ASSERT(i < view->count && view->size / 16 >= view->count);
	return wire_load_uuid(view->ptr + (size_t)i * 16);
}

/*
 * Opens an array of structs at the cursor. Elements are added by w_T_append, which answers -NE_OVERFLOW
 * when the next does not fit the cursor or the array is at `max`, and then has changed nothing; so a
 * page is filled until the first refusal. -NE_OVERFLOW if not even the count fits.
 *
 * The view that wire_array_end shows is then the field of a message, which is encoded into another
 * buffer.
 */
_check_ int wire_array_begin(struct wire_enc *enc, uint32_t max, struct wire_array *ret_array);
/* Writes the count. ret_view, if not NULL, shows the elements; it lives as long as the buffer. */
void wire_array_end(struct wire_array *array, struct wire_view *ret_view);
/* For generated w_T_append: takes the element's length word; false if there is no room. */
bool wire_array_take(struct wire_array *array);

/* One encoding, for code that handles every message alike (tracing, tests, fuzzing). `v` is the struct. */
struct wire_codec {
	const char *name;
	/* sizeof the struct. */
	size_t struct_size;
	/* Encoded bytes when every optional field is missing and all is empty; and when all is as large as
	 * the schema allows (but a view that is passed on may hold longer elements of a newer peer). */
	uint64_t size_min;
	uint64_t size_max;
	/* How many of the last fields are optional. */
	unsigned optional_count;
	/* What decode answers when the bytes are wrong: -NE_BADMSG, or -NE_CORRUPT for disk records. */
	int bad;
	int (*encode)(const void *v, struct wire_enc *enc);
	int (*decode)(void *v, const void *buf, size_t len);
	size_t (*size)(const void *v);
	void (*dump)(const void *v, struct strbuf *sb);
	/* Decodes and forgets: 0 or the error. */
	int (*check)(const void *buf, size_t len);
	/* Decodes and prints, or prints what is wrong. */
	void (*dump_bytes)(const void *buf, size_t len, struct strbuf *sb);
};

struct wire_op {
	uint16_t op;
	/* enum w_msg_class */
	uint8_t class;
	bool modifies;
	bool push;
	const char *name;
	/* The body of a push is its request; its reply is NULL. */
	const struct wire_codec *request;
	const struct wire_codec *reply;
};

struct wire_record {
	uint16_t type;
	const char *name;
	const struct wire_codec *codec;
};

/* Everything one schema defines, its includes not; ops and records are sorted by number. */
struct wire_registry {
	const char *name;
	const struct wire_op *ops;
	size_t op_count;
	const struct wire_record *records;
	size_t record_count;
	const struct wire_codec *const *codecs;
	size_t codec_count;
};

/* NULL if there is none. */
const struct wire_op *wire_registry_op(const struct wire_registry *reg, uint16_t op);
const struct wire_record *wire_registry_record(const struct wire_registry *reg, uint16_t type);
const struct wire_codec *wire_registry_codec(const struct wire_registry *reg, const char *name);

/* proto/wire.schema and proto/disk.schema. */
extern const struct wire_registry wire_registry_wire;
extern const struct wire_registry wire_registry_disk;
const struct wire_op *wire_op_find(uint16_t op);
const struct wire_record *wire_record_find(uint16_t type);
/* "mds_create", or "unknown"; never NULL. */
const char *wire_op_name(uint16_t op);

/* For generated dump functions. Text is quoted, what is not printable escaped, what is long cut. */
void wire_dump_str(struct strbuf *sb, struct wire_str s);
void wire_dump_bytes(struct strbuf *sb, const void *ptr, size_t len);
void wire_dump_fid(struct strbuf *sb, struct fid f);
void wire_dump_uuid(struct strbuf *sb, const struct uuid *u);
/* Names joined by |, and what has no name as one hexadecimal number. bit_name(n) may answer NULL. */
void wire_dump_flags(struct strbuf *sb, uint64_t value, const char *(*bit_name)(unsigned bit));
/* An array is printed up to this many elements. */
#define WIRE_DUMP_ELEMS_MAX 16

#endif
