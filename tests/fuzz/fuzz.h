/*
 * What a fuzz program defines, whether libFuzzer drives it (clang) or fuzz_driver.c (any compiler).
 *
 * A program chooses its target by `--target=NAME` or the environment variable NACRE_FUZZ_TARGET, and
 * prints its targets, one per line, for `--list`. A target aborts when something is wrong.
 *
 * A program defines either libFuzzer's two functions, or the table fuzz_targets and links fuzz_table.c,
 * which makes them of it; then `--seeds=DIR` writes the seeds of all its targets to DIR/TARGET/NAME.
 */
#ifndef NACRE_TESTS_FUZZ_FUZZ_H
#define NACRE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The value of --target=, or of the environment variable, or NULL. */
const char *fuzz_target_name(int argc, char **argv);

/* ---- tables of targets ---- */

struct fuzz_seeds;

struct fuzz_target {
	const char *name;
	void (*run)(const uint8_t *data, size_t size);
	void (*seeds)(struct fuzz_seeds *seeds); /* adds at least one */
};

extern const struct fuzz_target fuzz_targets[];
extern const unsigned fuzz_target_count;

void fuzz_seed_add(struct fuzz_seeds *seeds, const char *name, const void *data, size_t len);

/* ---- inputs that describe something: read as a stream that ends in zeros ---- */

struct fuzz_in {
	const uint8_t *at;
	size_t left;
};

static inline struct fuzz_in fuzz_in_of(const uint8_t *data, size_t size)
{
	return (struct fuzz_in){.at = data, .left = size};
}

/* At most len bytes; *ret_len says how many there are. */
static inline const uint8_t *fuzz_take(struct fuzz_in *in, size_t len, size_t *ret_len)
{
	const uint8_t *at = in->at;

	*ret_len = len < in->left ? len : in->left;
	in->at += *ret_len;
	in->left -= *ret_len;
	return at;
}

static inline uint64_t fuzz_uint(struct fuzz_in *in, unsigned bytes)
{
	uint8_t buf[8] = {0};
	size_t len;
	const uint8_t *at = fuzz_take(in, bytes, &len);

	if (len > 0) {
		memcpy(buf, at, len);
	}
	return le64_load(buf);
}

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	return (uint8_t)fuzz_uint(in, 1);
}

/* The input as a C string in the caller's memory; what does not fit is left out. */
static inline char *fuzz_text(const uint8_t *data, size_t size, char *buf, size_t cap)
{
	size_t len = size < cap - 1 ? size : cap - 1;

	if (len > 0) {
		memcpy(buf, data, len);
	}
	buf[len] = '\0';
	return buf;
}

#endif
