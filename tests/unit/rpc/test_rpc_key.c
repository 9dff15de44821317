/*
 * Key files, derivation, and the constants of the handshake.
 */
#include "test.h"

#include "rpc/rpc_int.h"

static const uint8_t server_key[RPC_KEY_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static void key_fill(struct rpc_key *key)
{
	memset(key, 0, sizeof(*key));
	key->key_id = 3;
	key->role = RPC_ROLE_USER;
	key->uid = 1000;
	key->gid = 1001;
	key->read_only = true;
	key->expires_s = 4000000000u;
	memset(key->cluster.bytes, 9, sizeof(key->cluster.bytes));
	strcpy(key->fsname, "scratch");
	strcpy(key->subdir, "/home/me");
	CHECK_EQ(rpc_key_derive(key, server_key), 0);
}

static bool key_same(const struct rpc_key *a, const struct rpc_key *b)
{
	return a->key_id == b->key_id && a->role == b->role && a->uid == b->uid &&
		a->gid == b->gid && a->allow_root == b->allow_root &&
		a->read_only == b->read_only && a->expires_s == b->expires_s &&
		uuid_eq(a->cluster, b->cluster) && strcmp(a->fsname, b->fsname) == 0 &&
		strcmp(a->subdir, b->subdir) == 0 &&
		memcmp(a->secret, b->secret, RPC_KEY_BYTES) == 0;
}

static struct rpc_key k1;
static struct rpc_key k2;
static char text[RPC_KEY_TEXT_MAX];

TEST(text_round_trip)
{
	key_fill(&k1);
	CHECK_EQ(rpc_key_format(&k1, text, sizeof(text)), 0);
	CHECK(text[strlen(text) - 1] == '\n');
	CHECK_EQ(rpc_key_parse(text, strlen(text), &k2), 0);
	CHECK(key_same(&k1, &k2));
	memset(k1.subdir, 'x', LIM_PATH_MAX);
	CHECK_EQ(rpc_key_derive(&k1, server_key), 0);
	CHECK_EQ(rpc_key_format(&k1, text, sizeof(text)), 0);
	CHECK_EQ(rpc_key_parse(text, strlen(text), &k2), 0);
	CHECK(key_same(&k1, &k2));
	CHECK_EQ(rpc_key_format(&k1, text, 100), -NE_RANGE);
}

TEST(text_damaged)
{
	size_t len;

	key_fill(&k1);
	CHECK_EQ(rpc_key_format(&k1, text, sizeof(text)), 0);
	len = strlen(text);
	for (size_t i = 0; i + 1 < len; i++) {
		char was = text[i];

		text[i] = was == '1' ? '2' : '1';
		CHECK(rpc_key_parse(text, len, &k2) != 0);
		text[i] = 'z';
		CHECK(rpc_key_parse(text, len, &k2) != 0);
		text[i] = was;
		CHECK(rpc_key_parse(text, i, &k2) != 0);
	}
	text[10] = '7';
	CHECK_EQ(rpc_key_parse(text, len, &k2), -NE_VERSION);
	CHECK_EQ(rpc_key_parse("hello", 5, &k2), -NE_INVAL);
	CHECK_EQ(rpc_key_parse("", 0, &k2), -NE_INVAL);
}

TEST(server_text)
{
	uint8_t got[RPC_KEY_BYTES];
	size_t len;

	CHECK_EQ(rpc_server_key_format(server_key, text, sizeof(text)), 0);
	len = strlen(text);
	CHECK_EQ(rpc_server_key_parse(text, len, got), 0);
	CHECK(memcmp(got, server_key, sizeof(got)) == 0);
	text[30] = text[30] == '0' ? '1' : '0';
	CHECK_EQ(rpc_server_key_parse(text, len, got), -NE_CHECKSUM);
	CHECK_EQ(rpc_server_key_format(server_key, text, 40), -NE_RANGE);
	/* A client's key is not a server's. */
	key_fill(&k1);
	CHECK_EQ(rpc_key_format(&k1, text, sizeof(text)), 0);
	CHECK_EQ(rpc_server_key_parse(text, strlen(text), got), -NE_INVAL);
}

TEST(every_claim_counts)
{
	key_fill(&k1);
	for (unsigned i = 0; i < 9; i++) {
		key_fill(&k2);
		switch (i) {
		case 0:
			k2.key_id++;
			break;
		case 1:
			k2.role = RPC_ROLE_HOST;
			break;
		case 2:
			k2.uid = 0;
			break;
		case 3:
			k2.gid = 0;
			break;
		case 4:
			k2.allow_root = true;
			break;
		case 5:
			k2.read_only = false;
			break;
		case 6:
			k2.expires_s = 0;
			break;
		case 7:
			strcpy(k2.subdir, "/");
			break;
		default:
			k2.cluster.bytes[3] ^= 1;
			break;
		}
		CHECK_EQ(rpc_key_derive(&k2, server_key), 0);
		CHECK(memcmp(k1.secret, k2.secret, RPC_KEY_BYTES) != 0);
	}
}

/* The proof is cut out of the encoded reply by its place. */
TEST(proof_offset)
{
	struct w_hello_rep rep;
	struct rpc_buf buf = {.ptr = NULL};

	memset(&rep, 0, sizeof(rep));
	memset(rep.proof, 0xab, sizeof(rep.proof));
	CHECK_EQ(rpc_buf_encode(&buf, &w_hello_rep_codec, &rep), 0);
	for (unsigned i = 0; i < buf.len; i++) {
		bool in =
			i >= RPC_HELLO_PROOF_OFFSET && i < RPC_HELLO_PROOF_OFFSET + RPC_PROOF_BYTES;

		CHECK((buf.ptr[i] == 0xab) == in);
	}
	rpc_buf_free(&buf);
}

TEST(proofs_cover_everything)
{
	uint8_t hello[200] = {1};
	uint8_t reply[150] = {2};
	struct rpc_proofs a;
	struct rpc_proofs b;

	key_fill(&k1);
	CHECK_EQ(rpc_proofs_make(k1.secret, span_of(hello, 200), span_of(reply, 150), &a), 0);
	CHECK(memcmp(a.server, a.client, RPC_PROOF_BYTES) != 0);
	for (unsigned i = 0; i < 200; i++) {
		hello[i] ^= 1;
		CHECK_EQ(rpc_proofs_make(k1.secret, span_of(hello, 200), span_of(reply, 150), &b),
			0);
		CHECK(memcmp(a.server, b.server, RPC_PROOF_BYTES) != 0);
		CHECK(memcmp(a.client, b.client, RPC_PROOF_BYTES) != 0);
		hello[i] ^= 1;
	}
	for (unsigned i = 0; i < 150; i++) {
		bool in =
			i >= RPC_HELLO_PROOF_OFFSET && i < RPC_HELLO_PROOF_OFFSET + RPC_PROOF_BYTES;

		reply[i] ^= 1;
		CHECK_EQ(rpc_proofs_make(k1.secret, span_of(hello, 200), span_of(reply, 150), &b),
			0);
		CHECK((memcmp(a.server, b.server, RPC_PROOF_BYTES) == 0) == in);
		reply[i] ^= 1;
	}
}

TEST(target_codes)
{
	CHECK_EQ(rpc_target_code("MGS"), rpc_target_code("MGT"));
	CHECK_EQ(rpc_target_code("MDT0000"), 0x02000000);
	CHECK_EQ(rpc_target_code("OST001f"), 0x0300001f);
	CHECK(rpc_target_code("OST001F") >> 31 == 1);
	CHECK(rpc_target_code("OST00010") >> 31 == 1);
	CHECK(rpc_target_code("x") != rpc_target_code("y"));
}
