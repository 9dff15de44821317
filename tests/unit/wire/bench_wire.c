/*
 * What the codecs cost: nanoseconds for encoding and decoding one typical create request and its reply,
 * and for a page of directory entries. Prints one line each; a run takes well under a second.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "wire/gen/wire.h"
#include "wire/header.h"

#define ROUNDS 1000000

static uint8_t buf[4096];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void report(const char *what, uint64_t start_ns, size_t bytes)
{
	printf("%s: %.1f ns, %zu bytes\n", what, (double)(now_ns() - start_ns) / ROUNDS, bytes);
}

static void bench_request(void)
{
	static const uint32_t groups[] = {100, 101, 102, 103};
	struct w_mds_create_req req = {.parent = {.seq = FID_SEQ_NORMAL, .oid = 7},
		.name = wire_str_of("a-typical-file-name.txt"),
		.mode = 0100644,
		.umask = 022};
	struct w_mds_create_req back;
	uint64_t start_ns = now_ns();
	size_t bytes = 0;

	req.cred.uid = 1000;
	req.cred.groups.items = groups;
	req.cred.groups.count = 4;
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_enc enc = wire_enc_of(buf, sizeof(buf));

		req.handle = (uint64_t)i;
		ASSERT(w_mds_create_req_encode(&req, &enc) == 0);
		ASSERT(w_mds_create_req_decode(&back, buf, enc.pos) == 0);
		ASSERT(back.handle == (uint64_t)i);
		bytes = enc.pos;
	}
	report("mds_create request, encode and decode", start_ns, bytes);
}

static void bench_reply(void)
{
	struct w_mds_create_rep rep, back;
	uint64_t start_ns = now_ns();
	size_t bytes = 0;

	memset(&rep, 0, sizeof(rep));
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_enc enc = wire_enc_of(buf, sizeof(buf));

		rep.created = (i & 1) != 0;
		ASSERT(w_mds_create_rep_encode(&rep, &enc) == 0);
		ASSERT(w_mds_create_rep_decode(&back, buf, enc.pos) == 0);
		ASSERT(back.created == rep.created);
		bytes = enc.pos;
	}
	report("mds_create reply, encode and decode", start_ns, bytes);
}

static void bench_header(void)
{
	struct wire_header h, back;
	uint64_t start_ns = now_ns();

	memset(&h, 0, sizeof(h));
	for (int i = 0; i < ROUNDS; i++) {
		h.xid = (uint64_t)i;
		wire_header_encode(&h, buf);
		ASSERT(wire_header_decode(buf, sizeof(buf), &back) == 0);
		ASSERT(back.xid == (uint64_t)i);
	}
	report("header, encode and decode, two CRC32C", start_ns, WIRE_HEADER_SIZE);
}

int main(void)
{
	bench_request();
	bench_reply();
	bench_header();
	return 0;
}
