/*
 * Message buffers, counters and the small conversions both sides need. No state of its own.
 */
#include "rpc/rpc_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"

bool rpc_canary_slots_off;

bool rpc_error_is_foul(int rc)
{
	return rc == -NE_BADMSG || rc == -NE_CHECKSUM || rc == -NE_MAC || rc == -NE_BADSLOT ||
		rc == -NE_VERSION || rc == -NE_NOSYS || rc == -NE_INVAL;
}

int rpc_buf_reserve(struct rpc_buf *buf, uint32_t len)
{
	ASSERT(len <= LIM_MSG_BODY_MAX);
	buf->len = 0;
	if (buf->ptr == NULL) {
		buf->ptr = buf->inline_bytes;
		buf->cap = RPC_BODY_INLINE;
	}
	if (len <= buf->cap) {
		return 0;
	}
	rpc_buf_free(buf);
	buf->ptr = mem_alloc(len);
	if (buf->ptr == NULL) {
		return -NE_NOMEM;
	}
	buf->cap = len;
	return 0;
}

void rpc_buf_free(struct rpc_buf *buf)
{
	if (buf->ptr != NULL && buf->ptr != buf->inline_bytes) {
		mem_free(buf->ptr);
	}
	buf->ptr = NULL;
	buf->len = 0;
	buf->cap = 0;
}

int rpc_buf_encode(struct rpc_buf *buf, const struct wire_codec *codec, const void *v)
{
	struct wire_enc enc;
	int rc = rpc_buf_reserve(buf, 0);

	ASSERT(rc == 0);
	enc = wire_enc_of(buf->ptr, buf->cap);
	rc = codec->encode(v, &enc);
	if (rc == -NE_OVERFLOW) {
		size_t size = codec->size(v);

		if (size > LIM_MSG_BODY_MAX || size <= buf->cap) {
			return -NE_OVERFLOW;
		}
		rc = rpc_buf_reserve(buf, (uint32_t)size);
		if (rc != 0) {
			return rc;
		}
		enc = wire_enc_of(buf->ptr, buf->cap);
		rc = codec->encode(v, &enc);
	}
	if (rc == 0) {
		buf->len = (uint32_t)enc.pos;
	}
	return rc;
}

int rpc_status_decode(uint32_t status)
{
	if (status == 0) {
		return 0;
	}
	if (status >= NE_MAX || !ne_is_known((int)status)) {
		return -NE_IO;
	}
	return -(int)status;
}

uint64_t rpc_iov_len(const struct iovec *iov, unsigned count)
{
	uint64_t len = 0;

	ASSERT(iov != NULL || count == 0);
	for (unsigned i = 0; i < count; i++) {
		len += iov[i].iov_len;
	}
	return len;
}

uint32_t rpc_iov_crc(const struct iovec *iov, unsigned count, uint32_t len)
{
	uint32_t crc = 0;

	for (unsigned i = 0; i < count && len > 0; i++) {
		uint32_t part = (uint32_t)u64_min(iov[i].iov_len, len);

		crc = crc32c(crc, iov[i].iov_base, part);
		len -= part;
	}
	ASSERT(len == 0);
	return crc;
}

/* "0a1b" as a number; false if it is not four hexadecimal digits. */
static bool target_index_parse(const char *text, uint32_t *ret_index)
{
	uint32_t index = 0;

	for (unsigned i = 0; i < 4; i++) {
		char c = text[i];

		if (c >= '0' && c <= '9') {
			index = index << 4 | (uint32_t)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			index = index << 4 | (uint32_t)(c - 'a' + 10);
		} else {
			return false;
		}
	}
	*ret_index = index;
	return text[4] == '\0';
}

uint32_t rpc_target_code(const char *name)
{
	uint32_t index = 0;

	if (strcmp(name, "MGT") == 0 || strcmp(name, "MGS") == 0) {
		return (W_TARGET_KIND_MGT + UINT32_C(1)) << 24;
	}
	if (strncmp(name, "MDT", 3) == 0 && target_index_parse(name + 3, &index)) {
		return (W_TARGET_KIND_MDT + UINT32_C(1)) << 24 | index;
	}
	if (strncmp(name, "OST", 3) == 0 && target_index_parse(name + 3, &index)) {
		return (W_TARGET_KIND_OST + UINT32_C(1)) << 24 | index;
	}
	return UINT32_C(1) << 31 | crc32c(0, name, strlen(name));
}

bool rpc_log_allowed(struct rpc_log_limit *limit, uint64_t now_ns)
{
	if (now_ns < limit->next_ns) {
		limit->suppressed++;
		return false;
	}
	limit->next_ns = now_ns + NS_PER_S;
	return true;
}

/* ---- counters ---- */

int rpc_stats_new(struct rpc_stats **ret_stats)
{
	size_t count = wire_registry_wire.op_count;
	struct rpc_stats *stats;

	ASSERT(count > 0 && count < 4096);
	stats = mem_zalloc(sizeof(*stats) + count * sizeof(stats->ops[0]));
	if (stats == NULL) {
		return -NE_NOMEM;
	}
	stats->count = (unsigned)count;
	for (unsigned i = 0; i < stats->count; i++) {
		stats->ops[i].op = wire_registry_wire.ops[i].op;
	}
	*ret_stats = stats;
	return 0;
}

void rpc_stats_add(struct rpc_stats *stats, const struct wire_op *op, int status,
	uint64_t latency_ns, uint64_t bulk_bytes)
{
	size_t i = (size_t)(op - wire_registry_wire.ops);
	struct rpc_op_stats *s;

	ASSERT(i < stats->count);
	s = &stats->ops[i];
	s->errors += status != 0;
	s->bulk_bytes += bulk_bytes;
	metric_hist_add(&s->latency, latency_ns);
}

const struct rpc_op_stats *rpc_stats_next(const struct rpc_stats *stats, unsigned *pos)
{
	while (*pos < stats->count) {
		const struct rpc_op_stats *s = &stats->ops[(*pos)++];

		if (s->latency.count > 0) {
			return s;
		}
	}
	return NULL;
}
