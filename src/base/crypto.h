/*
 * The cryptography Nacre uses, over OpenSSL's EVP (3.0): HKDF-SHA256 (RFC 5869), HMAC-SHA256 (RFC
 * 2104), AES-256-GMAC and AES-256-GCM with 12-byte IVs and 16-byte tags (NIST SP 800-38D), random
 * bytes.
 *
 * The rule of GCM and GMAC: an IV is used once per key, or the key is as good as public; choosing
 * IVs is the caller's business. Functions without a context are thread-safe; a context is for one
 * thread at a time. Contexts must be given back with _fini, which wipes their keys. -NE_IO: the
 * library refused.
 */
#ifndef NACRE_BASE_CRYPTO_H
#define NACRE_BASE_CRYPTO_H

#include "base/base.h"
#include "base/bytes.h"

/* Bytes. */
#define CRYPTO_KEY_LEN 32
#define CRYPTO_HASH_LEN 32
#define CRYPTO_IV_LEN 12
#define CRYPTO_TAG_LEN 16
/* HKDF's bound on its output: 255 hashes. */
#define CRYPTO_HKDF_MAX (255 * CRYPTO_HASH_LEN)

/* Derives out_len bytes (1..CRYPTO_HKDF_MAX); extract and expand in one. salt and info may be
 * empty. */
_check_ int crypto_hkdf(
	struct span key, struct span salt, struct span info, void *out, size_t out_len);
/* HMAC-SHA256 over the spans one after the other. key may not be empty. */
_check_ int crypto_hmac(struct span key, const struct span *data, unsigned data_count,
	uint8_t ret_mac[CRYPTO_HASH_LEN]);
/* True if equal; time depends on len only. */
_check_ bool crypto_equal(const void *a, const void *b, size_t len);
/* Bytes from the system's generator. */
_check_ int crypto_random(void *out, size_t len);
/* Overwrites a secret; not optimised away. NULL is allowed if len is 0. */
void crypto_wipe(void *secret, size_t len);

/* A key prepared for AES-256-GMAC; a message costs no allocation and no look-up. Zeroed = not
 * there. */
struct crypto_gmac {
	struct evp_cipher_ctx_st *ctx;
};

_check_ int crypto_gmac_init(struct crypto_gmac *gmac, const uint8_t key[CRYPTO_KEY_LEN]);
/* Accepts one that is zeroed or failed to init. */
void crypto_gmac_fini(struct crypto_gmac *gmac);
/* The tag over the spans one after the other. */
_check_ int crypto_gmac_tag(struct crypto_gmac *gmac, const uint8_t iv[CRYPTO_IV_LEN],
	const struct span *data, unsigned data_count, uint8_t ret_tag[CRYPTO_TAG_LEN]);
/* 0 if the tag is right, -NE_MAC if not. */
_check_ int crypto_gmac_verify(struct crypto_gmac *gmac, const uint8_t iv[CRYPTO_IV_LEN],
	const struct span *data, unsigned data_count, const uint8_t tag[CRYPTO_TAG_LEN]);

/* A key prepared for sealing and opening small records with AES-256-GCM. Zeroed = not there. */
struct crypto_gcm {
	struct evp_cipher_ctx_st *seal;
	struct evp_cipher_ctx_st *open;
};

_check_ int crypto_gcm_init(struct crypto_gcm *gcm, const uint8_t key[CRYPTO_KEY_LEN]);
void crypto_gcm_fini(struct crypto_gcm *gcm);
/* Writes plain.len + CRYPTO_TAG_LEN bytes to out: cipher text, then tag. aad is authenticated
 * only. out may be plain.ptr itself but not overlap it otherwise. plain.len < 2^31. */
_check_ int crypto_gcm_seal(struct crypto_gcm *gcm, const uint8_t iv[CRYPTO_IV_LEN],
	struct span aad, struct span plain, void *out);
/* Reverses it: writes sealed.len - CRYPTO_TAG_LEN bytes to out. -NE_MAC if anything differs
 * (also if sealed is too short or over 2^31 - 1): out holds zeros then. */
_check_ int crypto_gcm_open(struct crypto_gcm *gcm, const uint8_t iv[CRYPTO_IV_LEN],
	struct span aad, struct span sealed, void *out);

#endif
