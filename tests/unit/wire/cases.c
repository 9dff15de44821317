/*
 * What is true of every codec, checked over golden and random instances.
 *
 * For an instance v: size(v) is what encode writes; a buffer one byte shorter is refused and left as it
 * was; decode(encode(v)) prints as v does and encodes to the same bytes; every truncation is refused with
 * the codec's own error, but for those at the border of an optional field, which are exactly as many as
 * there are optional fields; unknown bytes at the end change nothing. Inputs are copied to memory of
 * exactly their size, so that an address sanitizer sees one byte read too many.
 */
#include "cases.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/strbuf.h"

#define DUMP_MAX (4 * MIB)
/* Counts and lengths of random arrays and texts stay below this, so that nested arrays fit the arena. */
#define COUNT_MAX 40
#define LEN_MAX 5000

#define FAIL_UNLESS(cond, c) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, \
				(c)->codec->name, #cond); \
			abort(); \
		} \
	} while (0)

void case_rand_init(struct case_rand *r, uint64_t seed)
{
	prng_init(&r->rng, seed);
	r->arena = calloc(1, CASE_ARENA_BYTES);
	ASSERT(r->arena != NULL);
	r->used = 0;
}

void case_rand_fini(struct case_rand *r)
{
	free(r->arena);
	r->arena = NULL;
}

void case_rand_reset(struct case_rand *r)
{
	memset(r->arena, 0, r->used);
	r->used = 0;
}

uint64_t case_below(struct case_rand *r, uint64_t bound)
{
	return prng_below(&r->rng, bound);
}

uint64_t case_u64(struct case_rand *r)
{
	uint64_t v = prng_next(&r->rng);

	switch (case_below(r, 4)) {
	case 0:
		return v & 0xff;
	case 1:
		return v | UINT64_C(0xff000000ff0000f0);
	case 2:
		return UINT64_MAX;
	default:
		return v;
	}
}

static uint64_t case_length(struct case_rand *r, uint64_t max, uint64_t top)
{
	uint64_t most = u64_min(max, top);

	switch (case_below(r, 6)) {
	case 0:
		return 0;
	case 1:
		return most;
	case 2:
		return case_below(r, most + 1);
	default:
		return case_below(r, u64_min(most, 4) + 1);
	}
}

uint32_t case_count(struct case_rand *r, uint64_t max)
{
	/* The deeper the nesting, the less memory there is left: fewer elements. */
	uint64_t top = r->used > CASE_ARENA_BYTES / 16 ? 1 : COUNT_MAX;

	return (uint32_t)case_length(r, max, top);
}

struct fid case_fid(struct case_rand *r)
{
	return (struct fid){
		.seq = case_u64(r), .oid = (uint32_t)case_u64(r), .ver = (uint32_t)case_u64(r)};
}

struct uuid case_uuid(struct case_rand *r)
{
	struct uuid u;

	case_fill(r, u.bytes, sizeof(u.bytes));
	return u;
}

void case_fill(struct case_rand *r, void *buf, size_t len)
{
	prng_fill(&r->rng, buf, len);
}

void *case_alloc(struct case_rand *r, size_t n, size_t size)
{
	size_t bytes = u64_round_up(n * size + 1, 16);
	uint8_t *at = r->arena + r->used;

	ASSERT(bytes <= CASE_ARENA_BYTES - r->used);
	r->used += bytes;
	return at;
}

struct wire_str case_str(struct case_rand *r, uint64_t max)
{
	size_t len = case_length(r, max, r->used > CASE_ARENA_BYTES / 4 ? 1 : LEN_MAX);
	char *text = case_alloc(r, len, 1);

	case_fill(r, text, len);
	return wire_str_n(text, len);
}

struct wire_bytes case_bytes(struct case_rand *r, uint64_t max)
{
	size_t len = case_length(r, max, r->used > CASE_ARENA_BYTES / 4 ? 1 : LEN_MAX);
	uint8_t *data = case_alloc(r, len, 1);

	case_fill(r, data, len);
	return wire_bytes_of(data, len);
}

static char *dump_of(const struct wire_case *c, const void *v)
{
	struct strbuf sb;
	char *text = NULL;

	strbuf_init(&sb, DUMP_MAX);
	c->codec->dump(v, &sb);
	FAIL_UNLESS(strbuf_error(&sb) == 0, c);
	FAIL_UNLESS(strchr(strbuf_text(&sb), '\n') == NULL, c);
	text = strdup(strbuf_text(&sb));
	FAIL_UNLESS(text != NULL, c);
	strbuf_fini(&sb);
	return text;
}

/* Memory of exactly this size with these bytes; never NULL. */
static uint8_t *exact_copy(const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));

	ASSERT(copy != NULL);
	bytes_copy(copy, bytes, len);
	return copy;
}

/* Encodes into a buffer of exactly the size; a smaller one must be refused. The caller frees. */
static uint8_t *encode_of(const struct wire_case *c, const void *v, size_t *ret_len)
{
	size_t len = c->codec->size(v);
	uint8_t *buf = malloc(len + 1);
	struct wire_enc enc;

	FAIL_UNLESS(buf != NULL && len <= c->codec->size_max, c);
	if (len > 0) {
		enc = wire_enc_of(buf, len - 1);
		FAIL_UNLESS(c->codec->encode(v, &enc) == -NE_OVERFLOW && enc.pos == 0, c);
	}
	enc = wire_enc_of(buf, len);
	FAIL_UNLESS(c->codec->encode(v, &enc) == 0, c);
	FAIL_UNLESS(enc.pos == len, c);
	*ret_len = len;
	return buf;
}

/* Decoding must print `text`; if `same`, it must also encode to exactly the bytes. */
static void check_decode(
	const struct wire_case *c, const uint8_t *bytes, size_t len, const char *text, bool same)
{
	uint8_t *copy = exact_copy(bytes, len);
	void *v = malloc(c->codec->struct_size);
	uint8_t *again;
	char *dump;
	size_t again_len;

	FAIL_UNLESS(v != NULL, c);
	memset(v, 0xa5, c->codec->struct_size);
	FAIL_UNLESS(c->codec->decode(v, copy, len) == 0, c);
	dump = dump_of(c, v);
	FAIL_UNLESS(strcmp(dump, text) == 0, c);
	again = encode_of(c, v, &again_len);
	if (same) {
		FAIL_UNLESS(again_len == len && memcmp(again, bytes, len) == 0, c);
	}
	free(again);
	free(dump);
	free(v);
	free(copy);
}

static void check_truncations(const struct wire_case *c, const uint8_t *bytes, size_t len)
{
	unsigned accepted = 0;
	/* Long ones are cut everywhere near both ends and here and there between. */
	size_t step = len > 2000 ? 61 : 1;

	for (size_t cut = 0; cut<len; cut += cut> 300 && cut + 300 < len ? step : 1) {
		uint8_t *copy = exact_copy(bytes, cut);
		int r = c->codec->check(copy, cut);

		FAIL_UNLESS(r == 0 || r == c->codec->bad, c);
		accepted += r == 0;
		free(copy);
	}
	if (step == 1) {
		FAIL_UNLESS(accepted == c->codec->optional_count, c);
	}
}

static void check_unknown_tail(
	const struct wire_case *c, const uint8_t *bytes, size_t len, const char *text)
{
	static const uint8_t tail[] = {0xff, 0x00, 0x7f};
	uint8_t *longer = malloc(len + sizeof(tail));

	FAIL_UNLESS(longer != NULL, c);
	bytes_copy(longer, bytes, len);
	memcpy(longer + len, tail, sizeof(tail));
	check_decode(c, longer, len + sizeof(tail), text, false);
	free(longer);
}

static void check_instance(const struct wire_case *c, const void *v)
{
	size_t len;
	uint8_t *bytes = encode_of(c, v, &len);
	char *text = dump_of(c, v);

	FAIL_UNLESS(len >= c->codec->size_min, c);
	check_decode(c, bytes, len, text, true);
	check_truncations(c, bytes, len);
	check_unknown_tail(c, bytes, len, text);
	free(text);
	free(bytes);
}

void case_check_golden(const struct wire_case *c)
{
	size_t len;
	uint8_t *bytes = encode_of(c, c->golden, &len);

	FAIL_UNLESS(len == c->len && memcmp(bytes, c->bytes, len) == 0, c);
	free(bytes);
	check_instance(c, c->golden);
}

void case_check_random(const struct wire_case *c, uint64_t seed, unsigned rounds)
{
	struct case_rand r;
	void *v = malloc(c->codec->struct_size);

	FAIL_UNLESS(v != NULL, c);
	case_rand_init(&r, seed);
	for (unsigned i = 0; i < rounds; i++) {
		memset(v, 0, c->codec->struct_size);
		c->random(&r, v);
		/* A nested struct may have come out longer than its 16-bit length can say. */
		struct wire_enc enc = wire_enc_of(r.arena + r.used, CASE_ARENA_BYTES - r.used);
		int result = c->codec->encode(v, &enc);

		FAIL_UNLESS(result == 0 || result == -NE_OVERFLOW, c);
		memset(r.arena + r.used, 0, enc.pos);
		if (result == 0) {
			check_instance(c, v);
		}
		case_rand_reset(&r);
	}
	case_rand_fini(&r);
	free(v);
}

static int hex_value(int ch)
{
	return isdigit(ch) ? ch - '0' : isxdigit(ch) ? tolower(ch) - 'a' + 10 : -1;
}

uint8_t *case_read_hex(const char *path, size_t *ret_len)
{
	FILE *f = fopen(path, "r");
	size_t cap = 1 << 16, digits = 0;
	uint8_t *bytes = calloc(1, cap);
	int ch;

	ASSERT(bytes != NULL);
	if (f == NULL) {
		fprintf(stderr, "%s cannot be opened\n", path);
		abort();
	}
	while ((ch = fgetc(f)) != EOF) {
		if (hex_value(ch) < 0) {
			continue;
		}
		ASSERT(digits / 2 < cap);
		bytes[digits / 2] = (uint8_t)(bytes[digits / 2] << 4 | hex_value(ch));
		digits++;
	}
	fclose(f);
	ASSERT(digits % 2 == 0);
	*ret_len = digits / 2;
	return bytes;
}

void case_check_golden_file(const struct wire_case *c, const char *folder)
{
	char path[512];
	uint8_t *wanted, *bytes;
	size_t wanted_len, len;
	int n = snprintf(path, sizeof(path), "%s/%s.hex", folder, c->codec->name);

	FAIL_UNLESS(n > 0 && (size_t)n < sizeof(path), c);
	wanted = case_read_hex(path, &wanted_len);
	bytes = encode_of(c, c->golden, &len);
	if (len != wanted_len || memcmp(bytes, wanted, len) != 0) {
		fprintf(stderr, "%s: the encoding has changed\n", path);
		abort();
	}
	free(bytes);
	free(wanted);
}
