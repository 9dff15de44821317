/*
 * One stream carrying messages both ways.
 *
 * Sending: messages stand in two queues, urgent before normal. A fiber that finds nobody sending becomes
 * the sender: it seals and sends everything queued, in batches of one env_send, so that what others add
 * meanwhile goes out together. After a few batches it leaves the rest to a fiber of the connection's own,
 * so that a request is not kept by others' work. MACs are computed in the order of sending, because the
 * message number is their nonce.
 *
 * Receiving: one fiber; headers and small bodies through a buffer, large bodies and bulk directly to
 * their place. Nothing is believed before the header's crc, nothing is handed over before the body's
 * crc and the MAC. Whatever is wrong breaks the connection.
 *
 * Invariants: tx_count and rx_count count messages since authentication; a message in a queue has not
 * been sealed; `users` counts fibers that will touch the connection again after a yield.
 */
#include "rpc/rpc_int.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "wire/gen/wire.h"

int rpc_conn_new(
	struct env *env, struct env_conn *stream, uint64_t partial_ns, struct rpc_conn **ret_conn)
{
	struct rpc_conn *conn = mem_zalloc(sizeof(*conn));

	ASSERT(env != NULL && stream != NULL);
	if (conn == NULL) {
		env_conn_close(stream);
		return -NE_NOMEM;
	}
	conn->buf = mem_alloc(RPC_RECV_BUF_BYTES);
	if (conn->buf == NULL) {
		env_conn_close(stream);
		mem_free(conn);
		return -NE_NOMEM;
	}
	conn->env = env;
	conn->stream = stream;
	conn->partial_ns = partial_ns;
	list_init(&conn->urgent);
	list_init(&conn->normal);
	env_waitq_init(&conn->idle);
	conn->rx_last_ns = env_now(env);
	conn->tx_last_ns = conn->rx_last_ns;
	*ret_conn = conn;
	return 0;
}

static void conn_fail_queue(struct rpc_conn *conn, struct list *queue)
{
	struct list *it;

	while ((it = list_pop_front(queue)) != NULL) {
		struct rpc_out *out = list_entry(it, struct rpc_out, link);

		ASSERT(conn->queued > 0);
		conn->queued--;
		out->done(out, -NE_CONNLOST);
	}
}

void rpc_conn_break(struct rpc_conn *conn, int reason)
{
	ASSERT(reason < 0);
	if (conn->error == 0) {
		conn->error = reason;
		env_conn_shutdown(conn->stream);
	}
	/* What is being sent is done by its sender. */
	conn_fail_queue(conn, &conn->urgent);
	conn_fail_queue(conn, &conn->normal);
}

void rpc_conn_free(struct rpc_conn *conn)
{
	if (conn == NULL) {
		return;
	}
	rpc_conn_break(conn, -NE_CONNLOST);
	while (conn->users > 0) {
		(void)env_wait(conn->env, &conn->idle, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	ASSERT(!conn->sending && conn->queued == 0);
	env_conn_close(conn->stream);
	crypto_gmac_fini(&conn->tx_mac);
	crypto_gmac_fini(&conn->rx_mac);
	mem_free(conn->buf);
	mem_free(conn);
}

static void conn_unuse(struct rpc_conn *conn)
{
	ASSERT(conn->users > 0);
	conn->users--;
	if (conn->users == 0) {
		env_wake_all(conn->env, &conn->idle);
	}
}

/* ---- sending ---- */

static void conn_iv(uint64_t count, uint8_t iv[CRYPTO_IV_LEN])
{
	memset(iv, 0, CRYPTO_IV_LEN);
	le64_store(iv, count);
}

/* Puts crc and mac into the header's bytes. */
static int conn_seal(struct rpc_conn *conn, struct rpc_out *out)
{
	struct span parts[2] = {
		span_of(out->bytes, WIRE_HEADER_SIZE), span_of(out->body, out->header.body_len)};
	uint8_t iv[CRYPTO_IV_LEN];
	uint8_t mac[CRYPTO_TAG_LEN];
	int rc;

	memset(out->header.mac, 0, sizeof(out->header.mac));
	out->header.flags &= ~W_MSG_FLAGS_MAC;
	if (conn->mac) {
		out->header.flags |= W_MSG_FLAGS_MAC;
	}
	wire_header_encode(&out->header, out->bytes);
	if (!conn->mac) {
		return 0;
	}
	conn_iv(conn->tx_count, iv);
	conn->tx_count++;
	rc = crypto_gmac_tag(&conn->tx_mac, iv, parts, 2, mac);
	if (rc == 0) {
		wire_header_mac_set(out->bytes, mac);
	}
	return rc;
}

static struct rpc_out *conn_next(struct rpc_conn *conn)
{
	struct list *it = list_pop_front(&conn->urgent);

	if (it == NULL) {
		it = list_pop_front(&conn->normal);
	}
	if (it == NULL) {
		return NULL;
	}
	ASSERT(conn->queued > 0);
	conn->queued--;
	return list_entry(it, struct rpc_out, link);
}

static unsigned conn_put_iov(struct rpc_conn *conn, unsigned n, const void *ptr, size_t len)
{
	ASSERT(n < RPC_IOV_MAX);
	if (len == 0) {
		return n;
	}
	conn->iov[n] = (struct iovec){.iov_base = (void *)(uintptr_t)ptr, .iov_len = len};
	return n + 1;
}

/* Sends the vectors of one long bulk in pieces. */
static int conn_send_bulk_rest(struct rpc_conn *conn, const struct rpc_out *out, unsigned from)
{
	int rc = 0;

	while (rc == 0 && from < out->bulk_count) {
		unsigned n = out->bulk_count - from;

		n = n > RPC_IOV_MAX ? RPC_IOV_MAX : n;
		rc = env_send(conn->stream, out->bulk + from, n);
		from += n;
	}
	return rc;
}

/* Fills conn->batch and conn->iov; a message whose bulk does not fit is the last, *ret_rest says from
 * which vector on it must still be sent. */
static unsigned conn_gather(struct rpc_conn *conn, unsigned *ret_iov, unsigned *ret_rest)
{
	unsigned count = 0;
	unsigned iov = 0;

	*ret_rest = 0;
	while (count < RPC_BATCH_MAX && *ret_rest == 0) {
		struct rpc_out *out = conn_next(conn);
		unsigned i = 0;

		if (out == NULL) {
			break;
		}
		if (conn_seal(conn, out) != 0) {
			rpc_conn_break(conn, -NE_IO);
		}
		out->sending = true;
		conn->batch[count++] = out;
		iov = conn_put_iov(conn, iov, out->bytes, WIRE_HEADER_SIZE);
		iov = conn_put_iov(conn, iov, out->body, out->header.body_len);
		while (i < out->bulk_count && iov < RPC_IOV_MAX - 2 * RPC_BATCH_MAX) {
			iov = conn_put_iov(conn, iov, out->bulk[i].iov_base, out->bulk[i].iov_len);
			i++;
		}
		*ret_rest = i < out->bulk_count ? i : 0;
		if (i < out->bulk_count && i == 0) {
			/* No room for any of its bulk: it goes out after this batch. */
			*ret_rest = UINT32_MAX;
		}
		if (iov + 2 >= RPC_IOV_MAX) {
			break;
		}
	}
	*ret_iov = iov;
	return count;
}

/* Sends one batch; conn->sending is set by the caller. */
static void conn_send_batch(struct rpc_conn *conn)
{
	unsigned iov = 0;
	unsigned rest = 0;
	unsigned count = conn_gather(conn, &iov, &rest);
	int rc = conn->error; /* sealing may have failed */

	if (count == 0) {
		return;
	}
	conn->send_start_ns = env_now(conn->env);
	if (rc == 0) {
		rc = env_send(conn->stream, conn->iov, iov);
	}
	if (rc == 0 && rest != 0) {
		rc = conn_send_bulk_rest(
			conn, conn->batch[count - 1], rest == UINT32_MAX ? 0 : rest);
	}
	conn->tx_last_ns = env_now(conn->env);
	for (unsigned i = 0; i < count; i++) {
		conn->batch[i]->sending = false;
		conn->batch[i]->done(conn->batch[i], rc == 0 ? 0 : -NE_CONNLOST);
	}
	if (rc != 0) {
		rpc_conn_break(conn, -NE_CONNLOST);
	}
}

static void conn_send_fiber(void *arg)
{
	struct rpc_conn *conn = arg;

	ASSERT(conn->send_fiber);
	while (conn->queued > 0 && !conn->sending) {
		conn->sending = true;
		conn_send_batch(conn);
		conn->sending = false;
	}
	conn->send_fiber = false;
	conn_unuse(conn);
}

void rpc_conn_kick(struct rpc_conn *conn)
{
	if (conn->queued == 0 || conn->sending || conn->send_fiber) {
		return;
	}
	conn->send_fiber = true;
	conn->users++;
	if (env_spawn(conn->env, "rpc-send", conn_send_fiber, conn) != 0) {
		/* No fiber to be had: the next message or the owner's sweep tries again. */
		conn->send_fiber = false;
		conn_unuse(conn);
	}
}

void rpc_conn_send(struct rpc_conn *conn, struct rpc_out *out, enum rpc_send_how how)
{
	ASSERT(out->done != NULL && !out->sending);
	ASSERT(out->bulk_count > 0 || out->header.bulk_len == 0);
	if (conn->error != 0) {
		out->done(out, -NE_CONNLOST);
		return;
	}
	list_push_back(out->urgent ? &conn->urgent : &conn->normal, &out->link);
	conn->queued++;
	if (conn->sending) {
		return;
	}
	if (how != RPC_SEND_INLINE) {
		rpc_conn_kick(conn);
		if (how == RPC_SEND_BEHIND || conn->send_fiber) {
			return;
		}
	}
	conn->users++;
	conn->sending = true;
	for (unsigned turn = 0; conn->queued > 0 && turn < RPC_SEND_TURNS; turn++) {
		conn_send_batch(conn);
	}
	conn->sending = false;
	rpc_conn_kick(conn);
	conn_unuse(conn);
}

bool rpc_conn_unsend(struct rpc_conn *conn, struct rpc_out *out)
{
	if (!list_linked(&out->link) || out->sending) {
		return false;
	}
	ASSERT(conn->queued > 0);
	list_del(&out->link);
	conn->queued--;
	return true;
}

/* ---- receiving ---- */

/* Makes at least `need` bytes available at buf_pos. */
static int conn_fill(struct rpc_conn *conn, uint32_t need, uint64_t deadline_ns)
{
	uint32_t have = conn->buf_end - conn->buf_pos;
	uint32_t room;
	size_t got = 0;
	int rc;

	ASSERT(need <= RPC_RECV_BUF_BYTES);
	if (have >= need) {
		return 0;
	}
	if (have == 0) {
		conn->buf_pos = 0;
		conn->buf_end = 0;
	} else if (conn->buf_pos + need > RPC_RECV_BUF_BYTES) {
		memmove(conn->buf, conn->buf + conn->buf_pos, have);
		conn->buf_pos = 0;
		conn->buf_end = have;
	}
	room = RPC_RECV_BUF_BYTES - conn->buf_end;
	if (conn->bulk_was_big && need - have <= RPC_RECV_HEAD_BYTES) {
		room = room < RPC_RECV_HEAD_BYTES ? room : RPC_RECV_HEAD_BYTES;
	}
	rc = env_recv(
		conn->stream, conn->buf + conn->buf_end, need - have, room, deadline_ns, &got);
	conn->buf_end += (uint32_t)got;
	if (got > 0) {
		conn->rx_last_ns = env_now(conn->env);
	}
	return rc;
}

static int conn_recv(struct rpc_conn *conn, void *dst, uint32_t len, uint64_t deadline_ns)
{
	uint32_t have = conn->buf_end - conn->buf_pos;
	size_t got = 0;
	int rc;

	have = have < len ? have : len;
	bytes_copy(dst, conn->buf + conn->buf_pos, have);
	conn->buf_pos += have;
	if (have == len) {
		return 0;
	}
	rc = env_recv(
		conn->stream, (uint8_t *)dst + have, len - have, len - have, deadline_ns, &got);
	if (got > 0) {
		conn->rx_last_ns = env_now(conn->env);
	}
	return rc;
}

int rpc_conn_recv_header(
	struct rpc_conn *conn, uint64_t idle_deadline_ns, struct wire_header *ret_header)
{
	int rc;

	if (conn->error != 0) {
		return conn->error;
	}
	rc = conn_fill(conn, 1, idle_deadline_ns);
	if (rc == 0) {
		rc = conn_fill(conn, WIRE_HEADER_SIZE, env_now(conn->env) + conn->partial_ns);
	}
	if (rc != 0) {
		return rc;
	}
	rc = wire_header_decode(conn->buf + conn->buf_pos, WIRE_HEADER_SIZE, ret_header);
	if (rc != 0) {
		return rc;
	}
	if (conn->mac != ((ret_header->flags & W_MSG_FLAGS_MAC) != 0)) {
		return -NE_MAC;
	}
	conn->bulk_was_big = ret_header->bulk_len >= RPC_BULK_BIG;
	return 0;
}

static int conn_verify_mac(
	struct rpc_conn *conn, const struct wire_header *header, uint8_t *raw, const uint8_t *body)
{
	struct span parts[2] = {span_of(raw, WIRE_HEADER_SIZE), span_of(body, header->body_len)};
	static const uint8_t zero[WIRE_MAC_SIZE];
	uint8_t iv[CRYPTO_IV_LEN];

	conn_iv(conn->rx_count, iv);
	conn->rx_count++;
	wire_header_mac_set(raw, zero);
	return crypto_gmac_verify(&conn->rx_mac, iv, parts, 2, header->mac);
}

int rpc_conn_recv_body(struct rpc_conn *conn, const struct wire_header *header, struct rpc_buf *buf)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	int rc;

	ASSERT(conn->buf_end - conn->buf_pos >= WIRE_HEADER_SIZE);
	memcpy(raw, conn->buf + conn->buf_pos, WIRE_HEADER_SIZE);
	conn->buf_pos += WIRE_HEADER_SIZE;
	rc = rpc_buf_reserve(buf, header->body_len);
	if (rc != 0) {
		return rc;
	}
	buf->len = header->body_len;
	if (header->body_len > 0) {
		rc = conn_recv(
			conn, buf->ptr, header->body_len, env_now(conn->env) + conn->partial_ns);
		if (rc != 0) {
			return rc;
		}
	}
	if (crc32c(0, buf->ptr, buf->len) != header->body_crc) {
		return -NE_CHECKSUM;
	}
	return conn->mac ? conn_verify_mac(conn, header, raw, buf->ptr) : 0;
}

uint64_t rpc_conn_bulk_deadline(const struct rpc_conn *conn)
{
	/* 4 MiB in three times the patience with a small message: 70 KB/s with 20 s. */
	return env_now(conn->env) + 3 * conn->partial_ns;
}

/* Bytes nobody wants, through the receive buffer. */
static int conn_drop(struct rpc_conn *conn, uint32_t len, uint64_t deadline_ns)
{
	while (len > 0) {
		uint32_t have;
		int rc = conn_fill(conn, 1, deadline_ns);

		if (rc != 0) {
			return rc;
		}
		have = conn->buf_end - conn->buf_pos;
		have = have < len ? have : len;
		conn->buf_pos += have;
		len -= have;
	}
	return 0;
}

int rpc_conn_recv_bulk(
	struct rpc_conn *conn, void *dst, uint32_t len, uint64_t deadline_ns, uint32_t *crc)
{
	uint8_t *at = dst;

	if (dst == NULL) {
		conn->bulk_was_big = false;
		return conn_drop(conn, len, deadline_ns);
	}
	while (len > 0) {
		uint32_t part = len < RPC_BULK_CHUNK ? len : RPC_BULK_CHUNK;
		int rc = conn_recv(conn, at, part, deadline_ns);

		if (rc != 0) {
			return rc;
		}
		*crc = crc32c(*crc, at, part);
		at += part;
		len -= part;
	}
	return 0;
}
