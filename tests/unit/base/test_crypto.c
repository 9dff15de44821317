/*
 * Known answers for the cryptography: RFC 5869 appendix A, RFC 4231, and the GCM specification's
 * test cases (McGrew and Viega, the AES-256 ones).
 */
#include "base/crypto.h"

#include "base/error.h"
#include "test.h"

/* Hexadecimal to bytes; the buffer is large enough by construction of the test. */
static struct span unhex(const char *hex, uint8_t *buf)
{
	size_t len = strlen(hex) / 2;

	for (size_t i = 0; i < len; i++) {
		unsigned byte = 0;

		CHECK_EQ(sscanf(hex + 2 * i, "%2x", &byte), 1);
		buf[i] = (uint8_t)byte;
	}
	return span_of(buf, len);
}

static void check_hex(const void *got, const char *hex)
{
	uint8_t want[256];
	struct span s = unhex(hex, want);

	CHECK(memcmp(got, s.ptr, s.len) == 0);
}

static void hkdf_case(const char *ikm, const char *salt, const char *info, const char *okm)
{
	uint8_t ikm_buf[128], salt_buf[128], info_buf[128], out[128];

	CHECK_EQ(crypto_hkdf(unhex(ikm, ikm_buf), unhex(salt, salt_buf), unhex(info, info_buf), out,
			 strlen(okm) / 2),
		0);
	check_hex(out, okm);
}

TEST(hkdf_rfc5869)
{
	hkdf_case("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
		"f0f1f2f3f4f5f6f7f8f9",
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b8871858"
		"65");
	hkdf_case("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
		  "2829"
		  "2a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
		"606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788"
		"8"
		"98a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
		"b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8"
		"d"
		"9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
		"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271"
		"c"
		"b41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d8"
		"7");
	hkdf_case("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
		"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96"
		"c8");
}

TEST(hmac_rfc4231)
{
	uint8_t key[131], mac[CRYPTO_HASH_LEN];
	struct span two[2] = {span_str("what do ya want "), span_str("for nothing?")};

	/* Case 2, in two pieces with an empty one in between in the next call. */
	CHECK_EQ(crypto_hmac(span_str("Jefe"), two, 2, mac), 0);
	check_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	struct span three[3] = {two[0], span_of(NULL, 0), two[1]};

	CHECK_EQ(crypto_hmac(span_str("Jefe"), three, 3, mac), 0);
	check_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	/* Case 6: a key longer than a block. */
	struct span text = span_str("Test Using Larger Than Block-Size Key - Hash Key First");

	memset(key, 0xaa, sizeof(key));
	CHECK_EQ(crypto_hmac(span_of(key, sizeof(key)), &text, 1, mac), 0);
	check_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(equal_and_random)
{
	uint8_t a[64] = {0}, b[64] = {0};

	CHECK(crypto_equal(a, b, sizeof(a)));
	b[63] = 1;
	CHECK(!crypto_equal(a, b, sizeof(a)));
	CHECK(crypto_equal(a, b, 63) && crypto_equal(NULL, NULL, 0));
	CHECK_EQ(crypto_random(a, sizeof(a)), 0);
	CHECK_EQ(crypto_random(b, sizeof(b)), 0);
	CHECK(!crypto_equal(a, b, sizeof(a)));
	crypto_wipe(a, sizeof(a));
	memset(b, 0, sizeof(b));
	CHECK(crypto_equal(a, b, sizeof(a)));
}

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_IV "cafebabefacedbaddecaf888"
#define GCM_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_PLAIN \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e" \
	"2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_CIPHER \
	"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b" \
	"1056828838c5f61e6393ba7a0abcc9f662"
#define GCM_TAG "76fc6ece0f4e1768cddf8853bb2d551b"

/* Test case 13: zero key, zero IV, nothing: the tag is a GMAC of nothing. */
TEST(gmac_of_nothing)
{
	static const uint8_t zero[32];
	struct crypto_gmac gmac;
	uint8_t tag[CRYPTO_TAG_LEN];

	CHECK_EQ(crypto_gmac_init(&gmac, zero), 0);
	CHECK_EQ(crypto_gmac_tag(&gmac, zero, NULL, 0, tag), 0);
	check_hex(tag, "530f8afbc74536b9a963b4f1c4cb738b");
	crypto_gmac_fini(&gmac);
	crypto_gmac_fini(&gmac);
}

/* How the bytes are cut into spans does not matter; every bit of them, of IV and of tag does. */
TEST(gmac_spans_and_bits)
{
	uint8_t key[32], iv[12] = {1, 2, 3}, data[200], tag[16], again[16];
	struct crypto_gmac gmac;

	for (unsigned i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(i * 7);
	}
	(void)unhex(GCM_KEY, key);
	CHECK_EQ(crypto_gmac_init(&gmac, key), 0);
	struct span whole = span_of(data, sizeof(data));

	CHECK_EQ(crypto_gmac_tag(&gmac, iv, &whole, 1, tag), 0);
	for (size_t cut = 0; cut <= sizeof(data); cut++) {
		struct span cuts[3] = {span_of(data, cut), span_of(NULL, 0),
			span_of(data + cut, sizeof(data) - cut)};

		CHECK_EQ(crypto_gmac_tag(&gmac, iv, cuts, 3, again), 0);
		CHECK(memcmp(tag, again, sizeof(tag)) == 0);
		CHECK_EQ(crypto_gmac_verify(&gmac, iv, cuts, 3, tag), 0);
	}
	for (size_t bit = 0; bit < sizeof(data) * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_EQ(crypto_gmac_verify(&gmac, iv, &whole, 1, tag), -NE_MAC);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	tag[15] ^= 1;
	CHECK_EQ(crypto_gmac_verify(&gmac, iv, &whole, 1, tag), -NE_MAC);
	tag[15] ^= 1;
	iv[11] ^= 1;
	CHECK_EQ(crypto_gmac_verify(&gmac, iv, &whole, 1, tag), -NE_MAC);
	crypto_gmac_fini(&gmac);
}

/* A GMAC is the tag of GCM over no text: the two agree. */
TEST(gmac_agrees_with_gcm)
{
	uint8_t key[32], iv[12], aad[64], sealed[16], tag[16];
	struct crypto_gmac gmac;
	struct crypto_gcm gcm;
	struct span data = unhex(GCM_AAD, aad);

	(void)unhex(GCM_KEY, key);
	(void)unhex(GCM_IV, iv);
	CHECK_EQ(crypto_gmac_init(&gmac, key), 0);
	CHECK_EQ(crypto_gcm_init(&gcm, key), 0);
	CHECK_EQ(crypto_gmac_tag(&gmac, iv, &data, 1, tag), 0);
	CHECK_EQ(crypto_gcm_seal(&gcm, iv, data, span_of(NULL, 0), sealed), 0);
	CHECK(memcmp(tag, sealed, sizeof(tag)) == 0);
	CHECK_EQ(crypto_gcm_open(&gcm, iv, data, span_of(sealed, 16), NULL), 0);
	crypto_gmac_fini(&gmac);
	crypto_gcm_fini(&gcm);
}

/* Test case 16: text and additional data, then every bit of the sealed record flipped. */
TEST(gcm_seal_open)
{
	uint8_t key[32], iv[12], aad_buf[32], plain_buf[64], sealed[80], out[64];
	struct crypto_gcm gcm;
	struct span aad = unhex(GCM_AAD, aad_buf);
	struct span plain = unhex(GCM_PLAIN, plain_buf);
	size_t len = plain.len + CRYPTO_TAG_LEN;

	(void)unhex(GCM_KEY, key);
	(void)unhex(GCM_IV, iv);
	CHECK_EQ(plain.len, 60);
	CHECK_EQ(crypto_gcm_init(&gcm, key), 0);
	CHECK_EQ(crypto_gcm_seal(&gcm, iv, aad, plain, sealed), 0);
	check_hex(sealed, GCM_CIPHER GCM_TAG);
	CHECK_EQ(crypto_gcm_open(&gcm, iv, aad, span_of(sealed, len), out), 0);
	CHECK(memcmp(out, plain_buf, plain.len) == 0);
	for (size_t bit = 0; bit < len * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_EQ(crypto_gcm_open(&gcm, iv, aad, span_of(sealed, len), out), -NE_MAC);
		CHECK(out[0] == 0 && out[59] == 0);
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	CHECK_EQ(crypto_gcm_open(&gcm, iv, span_of(NULL, 0), span_of(sealed, len), out), -NE_MAC);
	CHECK_EQ(crypto_gcm_open(&gcm, iv, aad, span_of(sealed, len - 1), out), -NE_MAC);
	CHECK_EQ(crypto_gcm_open(&gcm, iv, aad, span_of(sealed, 15), out), -NE_MAC);
	/* In place, both ways, after the failures above. */
	memcpy(sealed, plain_buf, plain.len);
	CHECK_EQ(crypto_gcm_seal(&gcm, iv, aad, span_of(sealed, plain.len), sealed), 0);
	check_hex(sealed, GCM_CIPHER GCM_TAG);
	CHECK_EQ(crypto_gcm_open(&gcm, iv, aad, span_of(sealed, len), sealed), 0);
	CHECK(memcmp(sealed, plain_buf, plain.len) == 0);
	crypto_gcm_fini(&gcm);
	crypto_gcm_fini(&gcm);
}
