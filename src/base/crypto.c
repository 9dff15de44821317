/*
 * Key derivation, MACs and sealing over OpenSSL. See crypto.h.
 *
 * Method: a context is created with cipher and key once; a message then sets only the IV, which in
 * OpenSSL 3 neither fetches nor allocates. GMAC is GCM with everything given as additional data.
 * The key schedule of the template lives as long as the context.
 */
#include "base/crypto.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/error.h"

/* EVP takes int lengths: longer spans go in pieces of this many bytes. */
#define CRYPTO_CHUNK_MAX (UINT64_C(1) << 30)

static void kdf_ctx_free(EVP_KDF_CTX **ctx)
{
	EVP_KDF_CTX_free(*ctx);
}

static void mac_ctx_free(EVP_MAC_CTX **ctx)
{
	EVP_MAC_CTX_free(*ctx);
}

static EVP_KDF_CTX *kdf_ctx_new(const char *name)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
	EVP_KDF_CTX *ctx = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);

	EVP_KDF_free(kdf);
	return ctx;
}

static EVP_MAC_CTX *mac_ctx_new(const char *name)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, name, NULL);
	EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);

	EVP_MAC_free(mac);
	return ctx;
}

/* OpenSSL's parameters are not const, but are only read. It dislikes NULL even for no bytes. */
static OSSL_PARAM param_bytes(const char *name, struct span data)
{
	static char nothing;
	void *ptr = data.len == 0 ? &nothing : (void *)(uintptr_t)data.ptr;

	return OSSL_PARAM_construct_octet_string(name, ptr, data.len);
}

static OSSL_PARAM param_sha256(const char *name)
{
	static char digest[] = "SHA256";

	return OSSL_PARAM_construct_utf8_string(name, digest, sizeof(digest) - 1);
}

int crypto_hkdf(struct span key, struct span salt, struct span info, void *out, size_t out_len)
{
	_cleanup_(kdf_ctx_free) EVP_KDF_CTX *ctx = kdf_ctx_new("HKDF");
	OSSL_PARAM params[5];
	unsigned count = 0;

	ASSERT(out != NULL && out_len > 0 && out_len <= CRYPTO_HKDF_MAX);
	ASSERT(key.ptr != NULL && key.len > 0);
	if (ctx == NULL) {
		return -NE_NOMEM;
	}
	params[count++] = param_sha256(OSSL_KDF_PARAM_DIGEST);
	params[count++] = param_bytes(OSSL_KDF_PARAM_KEY, key);
	if (salt.len > 0) {
		params[count++] = param_bytes(OSSL_KDF_PARAM_SALT, salt);
	}
	if (info.len > 0) {
		params[count++] = param_bytes(OSSL_KDF_PARAM_INFO, info);
	}
	params[count] = OSSL_PARAM_construct_end();
	return EVP_KDF_derive(ctx, out, out_len, params) == 1 ? 0 : -NE_IO;
}

int crypto_hmac(struct span key, const struct span *data, unsigned data_count,
	uint8_t ret_mac[CRYPTO_HASH_LEN])
{
	_cleanup_(mac_ctx_free) EVP_MAC_CTX *ctx = mac_ctx_new("HMAC");
	OSSL_PARAM params[] = {param_sha256(OSSL_MAC_PARAM_DIGEST), OSSL_PARAM_construct_end()};
	uint8_t mac[CRYPTO_HASH_LEN];
	size_t len = 0;

	ASSERT(key.ptr != NULL && key.len > 0);
	ASSERT(data != NULL || data_count == 0);
	if (ctx == NULL) {
		return -NE_NOMEM;
	}
	bool ok = EVP_MAC_init(ctx, key.ptr, key.len, params) == 1;

	for (unsigned i = 0; ok && i < data_count; i++) {
		ok = data[i].len == 0 || EVP_MAC_update(ctx, data[i].ptr, data[i].len) == 1;
	}
	if (!ok || EVP_MAC_final(ctx, mac, &len, sizeof(mac)) != 1) {
		return -NE_IO;
	}
	ASSERT(len == sizeof(mac));
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	ASSERT((a != NULL && b != NULL) || len == 0);
	return CRYPTO_memcmp(a, b, len) == 0;
}

int crypto_random(void *out, size_t len)
{
	unsigned char *p = out;

	ASSERT(out != NULL || len == 0);
	while (len > 0) {
		size_t chunk = u64_min(len, CRYPTO_CHUNK_MAX);

		if (RAND_bytes(p, (int)chunk) != 1) {
			return -NE_IO;
		}
		p += chunk;
		len -= chunk;
	}
	return 0;
}

void crypto_wipe(void *secret, size_t len)
{
	OPENSSL_cleanse(secret, len);
}

/* A context with cipher and key in place, in the given direction; NULL if there is no memory for
 * it. */
static EVP_CIPHER_CTX *gcm_ctx_new(const uint8_t key[CRYPTO_KEY_LEN], bool encrypt)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool ok = cipher != NULL && ctx != NULL &&
		EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) == 1;

	/* The context keeps its own reference to the cipher. */
	EVP_CIPHER_free(cipher);
	if (!ok) {
		EVP_CIPHER_CTX_free(ctx);
		return NULL;
	}
	ASSERT(EVP_CIPHER_CTX_get_iv_length(ctx) == CRYPTO_IV_LEN);
	ASSERT(EVP_CIPHER_CTX_get_key_length(ctx) == CRYPTO_KEY_LEN);
	return ctx;
}

/* Additional data: goes into the tag only. */
static bool gcm_aad(EVP_CIPHER_CTX *ctx, struct span data)
{
	const unsigned char *p = data.ptr;
	int out_len = 0;

	while (data.len > 0) {
		size_t chunk = u64_min(data.len, CRYPTO_CHUNK_MAX);

		if (EVP_CipherUpdate(ctx, NULL, &out_len, p, (int)chunk) != 1) {
			return false;
		}
		p += chunk;
		data.len -= chunk;
	}
	return true;
}

static bool gcm_tag_get(EVP_CIPHER_CTX *ctx, uint8_t tag[CRYPTO_TAG_LEN])
{
	unsigned char none[CRYPTO_TAG_LEN];
	int out_len = 0;

	return EVP_CipherFinal_ex(ctx, none, &out_len) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_LEN, tag) == 1;
}

int crypto_gmac_init(struct crypto_gmac *gmac, const uint8_t key[CRYPTO_KEY_LEN])
{
	ASSERT(gmac != NULL);
	ASSERT(key != NULL);
	gmac->ctx = gcm_ctx_new(key, true);
	return gmac->ctx == NULL ? -NE_NOMEM : 0;
}

void crypto_gmac_fini(struct crypto_gmac *gmac)
{
	ASSERT(gmac != NULL);
	EVP_CIPHER_CTX_free(TAKE_PTR(gmac->ctx));
}

int crypto_gmac_tag(struct crypto_gmac *gmac, const uint8_t iv[CRYPTO_IV_LEN],
	const struct span *data, unsigned data_count, uint8_t ret_tag[CRYPTO_TAG_LEN])
{
	uint8_t tag[CRYPTO_TAG_LEN];

	ASSERT(gmac->ctx != NULL);
	ASSERT(data != NULL || data_count == 0);
	bool ok = EVP_CipherInit_ex2(gmac->ctx, NULL, NULL, iv, 1, NULL) == 1;

	for (unsigned i = 0; ok && i < data_count; i++) {
		ok = gcm_aad(gmac->ctx, data[i]);
	}
	if (!ok || !gcm_tag_get(gmac->ctx, tag)) {
		return -NE_IO;
	}
	memcpy(ret_tag, tag, sizeof(tag));
	return 0;
}

int crypto_gmac_verify(struct crypto_gmac *gmac, const uint8_t iv[CRYPTO_IV_LEN],
	const struct span *data, unsigned data_count, const uint8_t tag[CRYPTO_TAG_LEN])
{
	uint8_t want[CRYPTO_TAG_LEN];
	int rc = crypto_gmac_tag(gmac, iv, data, data_count, want);

	if (rc != 0) {
		return rc;
	}
	return crypto_equal(want, tag, CRYPTO_TAG_LEN) ? 0 : -NE_MAC;
}

int crypto_gcm_init(struct crypto_gcm *gcm, const uint8_t key[CRYPTO_KEY_LEN])
{
	ASSERT(gcm != NULL);
	ASSERT(key != NULL);
	gcm->seal = gcm_ctx_new(key, true);
	gcm->open = gcm_ctx_new(key, false);
	if (gcm->seal == NULL || gcm->open == NULL) {
		crypto_gcm_fini(gcm);
		return -NE_NOMEM;
	}
	return 0;
}

void crypto_gcm_fini(struct crypto_gcm *gcm)
{
	ASSERT(gcm != NULL);
	EVP_CIPHER_CTX_free(TAKE_PTR(gcm->seal));
	EVP_CIPHER_CTX_free(TAKE_PTR(gcm->open));
}

/* Runs the text through the cipher; the output is as long as the input. */
static bool gcm_text(EVP_CIPHER_CTX *ctx, struct span in, void *out)
{
	int out_len = 0;

	ASSERT(in.len <= INT_MAX);
	if (in.len == 0) {
		return true;
	}
	return EVP_CipherUpdate(ctx, out, &out_len, in.ptr, (int)in.len) == 1 &&
		out_len == (int)in.len;
}

int crypto_gcm_seal(struct crypto_gcm *gcm, const uint8_t iv[CRYPTO_IV_LEN], struct span aad,
	struct span plain, void *out)
{
	ASSERT(gcm->seal != NULL);
	ASSERT(out != NULL && plain.len <= INT_MAX);
	bool ok = EVP_CipherInit_ex2(gcm->seal, NULL, NULL, iv, 1, NULL) == 1 &&
		gcm_aad(gcm->seal, aad) && gcm_text(gcm->seal, plain, out) &&
		gcm_tag_get(gcm->seal, (uint8_t *)out + plain.len);

	return ok ? 0 : -NE_IO;
}

int crypto_gcm_open(struct crypto_gcm *gcm, const uint8_t iv[CRYPTO_IV_LEN], struct span aad,
	struct span sealed, void *out)
{
	uint8_t tag[CRYPTO_TAG_LEN];
	unsigned char none[CRYPTO_TAG_LEN];
	int out_len = 0;

	ASSERT(gcm->open != NULL);
	ASSERT(out != NULL || sealed.len <= CRYPTO_TAG_LEN);
	if (sealed.len < CRYPTO_TAG_LEN || sealed.len > INT_MAX) {
		return -NE_MAC;
	}
	size_t len = sealed.len - CRYPTO_TAG_LEN;

	memcpy(tag, (const uint8_t *)sealed.ptr + len, CRYPTO_TAG_LEN);
	bool ok = EVP_CipherInit_ex2(gcm->open, NULL, NULL, iv, 0, NULL) == 1 &&
		gcm_aad(gcm->open, aad) && gcm_text(gcm->open, span_of(sealed.ptr, len), out) &&
		EVP_CIPHER_CTX_ctrl(gcm->open, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_LEN, tag) == 1;

	if (ok && EVP_CipherFinal_ex(gcm->open, none, &out_len) == 1) {
		return 0;
	}
	if (len > 0) {
		crypto_wipe(out, len);
	}
	return ok ? -NE_MAC : -NE_IO;
}
