/*
 * The 128-byte header that precedes the body and the bulk of every message.
 *
 * Fixed, little-endian, without padding or unions; the same on every transport:
 *
 *	  0 magic 4		  4 version 1		  5 class 1		  6 op 2
 *	  8 flags 4		 12 header crc 4	 16 session 8
 *	 24 incarnation 4	 28 target 4		 32 slot 2		 34 key id 2
 *	 36 sequence 4		 40 xid 8		 48 epoch 4		 52 map 4
 *	 56 status 4		 60 deadline ms 4	 64 transno 8		 72 last committed 8
 *	 80 trace 16		 96 body length 4	100 bulk length 4	104 body crc 4
 *	108 bulk crc 4		112 mac 16		128 body, then bulk
 *
 * The header's CRC32C covers the 128 bytes with the crc and the mac taken as zero, so a mac can be put in
 * after the rest is sealed. Decoding checks magic, version and crc in this order and believes no length
 * before; what the numbers mean is the business of rpc. Pure functions: thread-safe.
 */
#ifndef NACRE_WIRE_HEADER_H
#define NACRE_WIRE_HEADER_H

#include "base/base.h"

struct strbuf;

#define WIRE_HEADER_SIZE 128
/* "NACR" in the order of bytes on the wire. */
#define WIRE_MAGIC UINT32_C(0x5243414e)
#define WIRE_HEADER_VERSION 1
#define WIRE_TRACE_SIZE 16
#define WIRE_MAC_SIZE 16
#define WIRE_MAC_OFFSET 112

struct wire_header {
	/* enum w_msg_class */
	uint8_t class;
	/* enum w_op */
	uint16_t op;
	/* W_MSG_FLAGS_* */
	uint32_t flags;
	uint64_t session;
	/* Of the client. */
	uint32_t incarnation;
	/* Kind and index of the target. */
	uint32_t target;
	/* Exactly-once: slot of the session and the request's number in that slot. */
	uint16_t slot;
	uint16_t key_id;
	uint32_t sequence;
	/* Matches replies to requests on one connection. */
	uint64_t xid;
	/* Of the target; version of the cluster map the sender has. */
	uint32_t epoch;
	uint32_t map;
	/* Replies: 0 or a number of errors.def. */
	uint32_t status;
	/* Requests: time left, milliseconds; 0 for ever. */
	uint32_t deadline_ms;
	uint64_t transno;
	uint64_t last_committed;
	uint8_t trace[WIRE_TRACE_SIZE];
	/* Bytes; at most LIM_MSG_BODY_MAX and LIM_MSG_BULK_MAX. */
	uint32_t body_len;
	uint32_t bulk_len;
	/* CRC32C. */
	uint32_t body_crc;
	uint32_t bulk_crc;
	/* AES-GMAC over header and body, or zero. */
	uint8_t mac[WIRE_MAC_SIZE];
};

/* Writes WIRE_HEADER_SIZE bytes; lengths must be within their limits. */
void wire_header_encode(const struct wire_header *h, uint8_t ret_buf[WIRE_HEADER_SIZE]);
/* Makes the crc of an encoded header right after its bytes were changed. */
void wire_header_seal(uint8_t buf[WIRE_HEADER_SIZE]);
/* Puts a mac into an encoded header; its crc stays right. */
void wire_header_mac_set(uint8_t buf[WIRE_HEADER_SIZE], const uint8_t mac[WIRE_MAC_SIZE]);
/*
 * Reads the first 128 of len bytes. -NE_BADMSG: too short, another magic, or a length above its limit.
 * -NE_VERSION: another header version. -NE_CHECKSUM: damaged.
 */
_check_ int wire_header_decode(const void *buf, size_t len, struct wire_header *ret_header);
/* One line: op name, class, flags, and the fields that are not zero. */
void wire_header_dump(const struct wire_header *h, struct strbuf *sb);

#endif
