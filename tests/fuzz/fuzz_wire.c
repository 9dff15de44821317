/*
 * Fuzz targets: every generated decoder, the message header, and a canary that must be found.
 *
 * Bytes are refused with the codec's own error, or they decode; then what was decoded encodes to a form
 * that decodes again, prints the same and encodes to the same bytes. The canary holds a planted bug of
 * the kind we fear: a count that is compared with bytes where elements were meant. A run that does not
 * find it proves nothing about the other targets.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "fuzz.h"
#include "wire/header.h"
#include "wire/wire.h"

#define DUMP_MAX (16 * MIB)

extern const struct wire_registry wire_registry_sample;

static const struct wire_registry *const registries[] = {
	&wire_registry_wire, &wire_registry_disk, &wire_registry_sample};
static const struct wire_codec *chosen_codec;
static void (*chosen)(const uint8_t *data, size_t size);

/* What v encodes to; NULL where a nested struct came out longer than its 16 bits of length. */
static uint8_t *encode(const struct wire_codec *c, const void *v, size_t *ret_len)
{
	size_t len = c->size(v);
	uint8_t *buf = malloc(len + 1);
	struct wire_enc enc;
	int r;

	ASSERT(buf != NULL);
	enc = wire_enc_of(buf, len);
	r = c->encode(v, &enc);
	if (r == -NE_OVERFLOW && len > UINT16_MAX) {
		free(buf);
		return NULL;
	}
	ASSERT(r == 0 && enc.pos == len);
	*ret_len = len;
	return buf;
}

static void dump(const struct wire_codec *c, const void *v, struct strbuf *sb)
{
	strbuf_init(sb, DUMP_MAX);
	c->dump(v, sb);
	ASSERT(strbuf_error(sb) == 0);
}

static void run_codec(const uint8_t *data, size_t size)
{
	const struct wire_codec *c = chosen_codec;
	void *first = malloc(c->struct_size), *second = malloc(c->struct_size);
	uint8_t *bytes, *again;
	size_t len, again_len;
	struct strbuf a, b;
	int r;

	ASSERT(first != NULL && second != NULL);
	r = c->decode(first, data, size);
	ASSERT(r == 0 || r == c->bad);
	bytes = r == 0 ? encode(c, first, &len) : NULL;
	if (bytes != NULL) {
		r = c->decode(second, bytes, len);
		ASSERT(r == 0);
		again = encode(c, second, &again_len);
		ASSERT(again != NULL && again_len == len);
		ASSERT(memcmp(bytes, again, len) == 0);
		dump(c, first, &a);
		dump(c, second, &b);
		ASSERT(strcmp(strbuf_text(&a), strbuf_text(&b)) == 0);
		strbuf_fini(&a);
		strbuf_fini(&b);
		free(again);
		free(bytes);
	}
	free(second);
	free(first);
}

/* The header's crc is made right, or no input would ever come past it. */
static void run_header(const uint8_t *data, size_t size)
{
	uint8_t buf[WIRE_HEADER_SIZE], again[WIRE_HEADER_SIZE];
	struct wire_header h;
	struct strbuf sb;

	if (wire_header_decode(data, size, &h) == 0) {
		wire_header_encode(&h, again);
		ASSERT(memcmp(again, data, sizeof(again)) == 0);
	}
	if (size < sizeof(buf)) {
		return;
	}
	memcpy(buf, data, sizeof(buf));
	wire_header_seal(buf);
	if (wire_header_decode(buf, sizeof(buf), &h) == 0) {
		ASSERT(h.body_len <= LIM_MSG_BODY_MAX && h.bulk_len <= LIM_MSG_BULK_MAX);
		wire_header_encode(&h, again);
		ASSERT(memcmp(again, buf, sizeof(buf)) == 0);
		strbuf_init(&sb, DUMP_MAX);
		wire_header_dump(&h, &sb);
		ASSERT(strbuf_error(&sb) == 0);
		strbuf_fini(&sb);
	}
}

static void run_canary(const uint8_t *data, size_t size)
{
	struct wire_dec dec = wire_dec_of(data, size);
	const uint8_t *at = wire_dec_take(&dec, 4);
	size_t count;

	if (at == NULL || at[0] != 'N' || at[1] != 'C') {
		return;
	}
	count = le16_load(at + 2);
	/* The planted bug: elements of 4 bytes are counted as if each were one. */
	if (count <= wire_dec_left(&dec)) {
		ASSERT(wire_dec_take(&dec, count * 4) != NULL);
	}
}

static void list(void)
{
	puts("header");
	for (size_t i = 0; i < ARRAY_SIZE(registries); i++) {
		for (size_t j = 0; j < registries[i]->codec_count; j++) {
			puts(registries[i]->codecs[j]->name);
		}
	}
}

static void choose(const char *name)
{
	if (strcmp(name, "header") == 0) {
		chosen = run_header;
	} else if (strcmp(name, "canary") == 0) {
		chosen = run_canary;
	}
	for (size_t i = 0; chosen == NULL && i < ARRAY_SIZE(registries); i++) {
		chosen_codec = wire_registry_codec(registries[i], name);
		chosen = chosen_codec != NULL ? run_codec : NULL;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = fuzz_target_name(*argc, *argv);

	for (int i = 1; i < *argc; i++) {
		if (strcmp((*argv)[i], "--list") == 0) {
			list();
			exit(0);
		}
	}
	if (name != NULL) {
		choose(name);
	}
	if (chosen == NULL) {
		fprintf(stderr, "give --target=NAME; --list prints the names\n");
		exit(2);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	chosen(data, size);
	return 0;
}
