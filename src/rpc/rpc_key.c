/*
 * Keys: derivation, proofs, key files.
 *
 * A client's secret = HKDF-SHA256(server key, info = "nacre client key 1" and the encoded claims), so the
 * server needs no list of clients and a changed claim makes a wrong key. Servers among themselves use
 * HKDF(server key, "nacre server 1") whatever their claims say. Proofs are HMACs over a label and
 * the transcript, both hello bodies, so neither side can be lied to about versions, features, claims or nonces.
 * A connection's MAC keys are drawn from the secret and both nonces, one per direction.
 */
#include "rpc/rpc_int.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"

#define KEY_TAG "nacre-key-1 "
#define KEY_FAMILY "nacre-key-"
#define SERVER_KEY_TAG "nacre-server-key-1 "
#define SERVER_KEY_FAMILY "nacre-server-key-"

/* ---- claims ---- */

void rpc_claims_of_key(const struct rpc_key *key, struct w_key_claims *ret_claims)
{
	*ret_claims = (struct w_key_claims){
		.key_id = key->key_id,
		.role = (enum w_peer_role)key->role,
		.uid = key->uid,
		.gid = key->gid,
		.allow_root = key->allow_root,
		.read_only = key->read_only,
		.expires_s = key->expires_s,
		.fsname = wire_str_of(key->fsname),
		.subdir = wire_str_of(key->subdir),
		.cluster = key->cluster,
	};
}

int rpc_key_of_claims(const struct w_key_claims *claims, struct rpc_key *ret_key)
{
	int rc;

	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->key_id = claims->key_id;
	ret_key->role = (enum rpc_role)claims->role;
	ret_key->uid = claims->uid;
	ret_key->gid = claims->gid;
	ret_key->allow_root = claims->allow_root;
	ret_key->read_only = claims->read_only;
	ret_key->expires_s = claims->expires_s;
	ret_key->cluster = claims->cluster;
	rc = wire_str_copy(claims->fsname, ret_key->fsname, sizeof(ret_key->fsname));
	if (rc == 0) {
		rc = wire_str_copy(claims->subdir, ret_key->subdir, sizeof(ret_key->subdir));
	}
	return rc;
}

static int claims_encode(const struct rpc_key *key, struct wire_enc *enc)
{
	struct w_key_claims claims;

	rpc_claims_of_key(key, &claims);
	return w_key_claims_encode(&claims, enc);
}

int rpc_key_derive(struct rpc_key *key, const uint8_t server_key[RPC_KEY_BYTES])
{
	static const char label[] = "nacre client key 1";
	_cleanup_(free_ptr) uint8_t *info = NULL;
	struct wire_enc enc;
	int rc;

	ASSERT(key != NULL && server_key != NULL);
	if (key->role == RPC_ROLE_SERVER) {
		return crypto_hkdf(span_of(server_key, RPC_KEY_BYTES), span_of(NULL, 0),
			span_str("nacre server 1"), key->secret, RPC_KEY_BYTES);
	}
	info = mem_alloc(sizeof(label) + W_KEY_CLAIMS_SIZE_MAX);
	if (info == NULL) {
		return -NE_NOMEM;
	}
	memcpy(info, label, sizeof(label));
	enc = wire_enc_of(info + sizeof(label), W_KEY_CLAIMS_SIZE_MAX);
	rc = claims_encode(key, &enc);
	if (rc != 0) {
		return rc;
	}
	return crypto_hkdf(span_of(server_key, RPC_KEY_BYTES), span_of(NULL, 0),
		span_of(info, sizeof(label) + enc.pos), key->secret, RPC_KEY_BYTES);
}

/* ---- proofs and MAC keys ---- */

static int proof_make(const uint8_t secret[RPC_KEY_BYTES], const char *label, struct span hello,
	struct span reply, uint8_t ret_proof[RPC_PROOF_BYTES])
{
	static const uint8_t zero[RPC_PROOF_BYTES];
	const uint8_t *r = reply.ptr;
	size_t after = RPC_HELLO_PROOF_OFFSET + RPC_PROOF_BYTES;
	uint8_t lens[8];
	struct span data[6];

	ASSERT(reply.len >= after);
	le32_store(lens, (uint32_t)hello.len);
	le32_store(lens + 4, (uint32_t)reply.len);
	data[0] = span_str(label);
	data[1] = span_of(lens, sizeof(lens));
	data[2] = hello;
	data[3] = span_of(r, RPC_HELLO_PROOF_OFFSET);
	data[4] = span_of(zero, sizeof(zero));
	data[5] = span_of(r + after, reply.len - after);
	return crypto_hmac(span_of(secret, RPC_KEY_BYTES), data, 6, ret_proof);
}

int rpc_proofs_make(const uint8_t secret[RPC_KEY_BYTES], struct span hello, struct span hello_reply,
	struct rpc_proofs *ret_proofs)
{
	int rc = proof_make(secret, "nacre server proof 1", hello, hello_reply, ret_proofs->server);

	if (rc == 0) {
		rc = proof_make(
			secret, "nacre client proof 1", hello, hello_reply, ret_proofs->client);
	}
	return rc;
}

int rpc_conn_mac_start(struct rpc_conn *conn, bool client, const uint8_t secret[RPC_KEY_BYTES],
	const uint8_t nonces[2 * RPC_NONCE_BYTES])
{
	uint8_t keys[2 * CRYPTO_KEY_LEN];
	const uint8_t *up = keys;
	const uint8_t *down = keys + CRYPTO_KEY_LEN;
	int rc;

	ASSERT(!conn->mac && conn->tx_count == 0 && conn->rx_count == 0);
	rc = crypto_hkdf(span_of(secret, RPC_KEY_BYTES), span_of(nonces, 2 * RPC_NONCE_BYTES),
		span_str("nacre mac keys 1"), keys, sizeof(keys));
	if (rc == 0) {
		rc = crypto_gmac_init(&conn->tx_mac, client ? up : down);
	}
	if (rc == 0) {
		rc = crypto_gmac_init(&conn->rx_mac, client ? down : up);
	}
	crypto_wipe(keys, sizeof(keys));
	conn->mac = rc == 0;
	return rc;
}

/* ---- texts ---- */

static char *hex_put(char *at, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	return at;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Reads digits up to a blank or the end into at most cap bytes; -1 if they are not whole bytes. */
static int hex_get(struct span *text, uint8_t *ret_bytes, size_t cap)
{
	const char *p = text->ptr;
	size_t n = 0;
	size_t i = 0;

	for (; i + 1 < text->len && hex_digit(p[i]) >= 0; i += 2) {
		if (hex_digit(p[i + 1]) < 0 || n == cap) {
			return -1;
		}
		ret_bytes[n++] = (uint8_t)(hex_digit(p[i]) << 4 | hex_digit(p[i + 1]));
	}
	if (i < text->len && p[i] == ' ') {
		i++;
	}
	*text = span_of(p + i, text->len - i);
	return (int)n;
}

/* Removes the tag; -NE_VERSION if it is the family's but not the tag. */
static int tag_get(struct span *text, const char *tag, const char *family)
{
	size_t len = strlen(tag);

	if (text->len >= len && memcmp(text->ptr, tag, len) == 0) {
		*text = span_of((const char *)text->ptr + len, text->len - len);
		return 0;
	}
	len = strlen(family);
	if (text->len > len && memcmp(text->ptr, family, len) == 0) {
		return -NE_VERSION;
	}
	return -NE_INVAL;
}

static struct span text_trim(const char *text, size_t len)
{
	while (len > 0 &&
		(text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' ')) {
		len--;
	}
	return span_of(text, len);
}

/* claims, secret and crc of both, in ret_text. */
static int key_put(const struct rpc_key *key, const uint8_t *claims, size_t claims_len,
	char *ret_text, size_t cap)
{
	uint32_t crc = crc32c(0, claims, claims_len);
	uint8_t crc_bytes[4];
	char *at = ret_text;

	if (strlen(KEY_TAG) + 2 * (claims_len + RPC_KEY_BYTES + 4) + 4 > cap) {
		return -NE_RANGE;
	}
	crc = crc32c(crc, key->secret, RPC_KEY_BYTES);
	le32_store(crc_bytes, crc);
	memcpy(at, KEY_TAG, strlen(KEY_TAG));
	at = hex_put(at + strlen(KEY_TAG), claims, claims_len);
	*at++ = ' ';
	at = hex_put(at, key->secret, RPC_KEY_BYTES);
	*at++ = ' ';
	at = hex_put(at, crc_bytes, sizeof(crc_bytes));
	*at++ = '\n';
	*at = '\0';
	return 0;
}

int rpc_key_format(const struct rpc_key *key, char *ret_text, size_t cap)
{
	_cleanup_(free_ptr) uint8_t *claims = mem_alloc(W_KEY_CLAIMS_SIZE_MAX);
	struct wire_enc enc;
	int rc;

	if (claims == NULL) {
		return -NE_NOMEM;
	}
	enc = wire_enc_of(claims, W_KEY_CLAIMS_SIZE_MAX);
	rc = claims_encode(key, &enc);
	return rc != 0 ? rc : key_put(key, claims, enc.pos, ret_text, cap);
}

static int key_get(struct span text, uint8_t *claims_bytes, struct rpc_key *ret_key)
{
	uint8_t secret[RPC_KEY_BYTES];
	uint8_t crc[4];
	struct w_key_claims claims;
	int len = hex_get(&text, claims_bytes, W_KEY_CLAIMS_SIZE_MAX);
	int rc;

	if (len <= 0 || hex_get(&text, secret, sizeof(secret)) != RPC_KEY_BYTES ||
		hex_get(&text, crc, sizeof(crc)) != (int)sizeof(crc) || text.len != 0) {
		return -NE_INVAL;
	}
	if (le32_load(crc) !=
		crc32c(crc32c(0, claims_bytes, (size_t)len), secret, sizeof(secret))) {
		return -NE_CHECKSUM;
	}
	rc = w_key_claims_decode(&claims, claims_bytes, (size_t)len);
	if (rc != 0 || rpc_key_of_claims(&claims, ret_key) != 0) {
		return -NE_INVAL;
	}
	memcpy(ret_key->secret, secret, sizeof(secret));
	crypto_wipe(secret, sizeof(secret));
	return 0;
}

int rpc_key_parse(const char *text, size_t len, struct rpc_key *ret_key)
{
	_cleanup_(free_ptr) struct rpc_key *key = mem_zalloc(sizeof(*key));
	_cleanup_(free_ptr) uint8_t *claims = mem_alloc(W_KEY_CLAIMS_SIZE_MAX);
	struct span rest = text_trim(text, len);
	int rc = tag_get(&rest, KEY_TAG, KEY_FAMILY);

	if (rc != 0) {
		return rc;
	}
	if (key == NULL || claims == NULL) {
		return -NE_NOMEM;
	}
	rc = key_get(rest, claims, key);
	if (rc == 0) {
		*ret_key = *key;
	}
	crypto_wipe(key, sizeof(*key));
	return rc;
}

int rpc_server_key_format(const uint8_t key[RPC_KEY_BYTES], char *ret_text, size_t cap)
{
	uint8_t crc[4];
	char *at = ret_text;

	if (strlen(SERVER_KEY_TAG) + 2 * (RPC_KEY_BYTES + sizeof(crc)) + 3 > cap) {
		return -NE_RANGE;
	}
	le32_store(crc, crc32c(0, key, RPC_KEY_BYTES));
	memcpy(at, SERVER_KEY_TAG, strlen(SERVER_KEY_TAG));
	at = hex_put(at + strlen(SERVER_KEY_TAG), key, RPC_KEY_BYTES);
	*at++ = ' ';
	at = hex_put(at, crc, sizeof(crc));
	*at++ = '\n';
	*at = '\0';
	return 0;
}

int rpc_server_key_parse(const char *text, size_t len, uint8_t ret_key[RPC_KEY_BYTES])
{
	struct span rest = text_trim(text, len);
	uint8_t key[RPC_KEY_BYTES];
	uint8_t crc[4];
	int rc = tag_get(&rest, SERVER_KEY_TAG, SERVER_KEY_FAMILY);

	if (rc != 0) {
		return rc;
	}
	if (hex_get(&rest, key, sizeof(key)) != RPC_KEY_BYTES ||
		hex_get(&rest, crc, sizeof(crc)) != (int)sizeof(crc) || rest.len != 0) {
		return -NE_INVAL;
	}
	if (le32_load(crc) != crc32c(0, key, sizeof(key))) {
		return -NE_CHECKSUM;
	}
	memcpy(ret_key, key, sizeof(key));
	crypto_wipe(key, sizeof(key));
	return 0;
}

/* ---- files ---- */

static void key_text_free(char **text)
{
	if (*text != NULL) {
		crypto_wipe(*text, RPC_KEY_TEXT_MAX);
		mem_free(*text);
	}
}

static int key_text_read(struct env *env, const char *path, char *ret_text, size_t *ret_len)
{
	struct env_file *file = NULL;
	int rc = env_file_open(env, path, ENV_OPEN_READ, &file);

	if (rc != 0) {
		return rc;
	}
	rc = env_pread(file, ret_text, RPC_KEY_TEXT_MAX, 0, ret_len);
	env_file_close(file);
	return rc;
}

int rpc_key_load(struct env *env, const char *path, struct rpc_key *ret_key)
{
	_cleanup_(key_text_free) char *text = mem_alloc(RPC_KEY_TEXT_MAX);
	size_t len = 0;
	int rc;

	if (text == NULL) {
		return -NE_NOMEM;
	}
	rc = key_text_read(env, path, text, &len);
	return rc != 0 ? rc : rpc_key_parse(text, len, ret_key);
}

int rpc_server_key_load(struct env *env, const char *path, uint8_t ret_key[RPC_KEY_BYTES])
{
	_cleanup_(key_text_free) char *text = mem_alloc(RPC_KEY_TEXT_MAX);
	size_t len = 0;
	int rc;

	if (text == NULL) {
		return -NE_NOMEM;
	}
	rc = key_text_read(env, path, text, &len);
	return rc != 0 ? rc : rpc_server_key_parse(text, len, ret_key);
}
