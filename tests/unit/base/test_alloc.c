/*
 * The allocation hook: it fails the one it was asked to, and only that.
 */
#include "base/alloc.h"

#include "test.h"

TEST(nth_fails)
{
	for (uint64_t n = 0; n <= 6; n++) {
		void *got[5] = {NULL};
		char *grown = NULL;

		mem_fail_nth(n);
		got[0] = mem_alloc(10);
		got[1] = mem_zalloc(10);
		got[2] = mem_zalloc_array(3, 10);
		got[3] = mem_alloc_aligned(4096, 8192);
		grown = mem_realloc(NULL, 10);
		got[4] = grown;
		for (unsigned i = 0; i < 5; i++) {
			CHECK((got[i] == NULL) == (n == i + 1u));
			CHECK(!(n == i + 1u) || mem_fail_fired());
			mem_free(got[i]);
		}
		CHECK(mem_fail_fired() == (n >= 1 && n <= 5));
		mem_fail_nth(0);
		CHECK(!mem_fail_fired() && !mem_fail_due());
	}
}

TEST(contents)
{
	unsigned char *p = mem_zalloc(1000);
	unsigned char *q = mem_alloc_aligned(4096, 4096);

	CHECK(p != NULL && q != NULL && (uintptr_t)q % 4096 == 0);
	for (unsigned i = 0; i < 1000; i++) {
		CHECK_EQ(p[i], 0);
	}
	p[999] = 5;
	mem_fail_nth(1);
	CHECK(mem_realloc(p, 100000) == NULL);
	CHECK_EQ(p[999], 5);
	p = mem_realloc(p, 100000);
	CHECK(p != NULL && p[999] == 5);
	/* A product that does not fit. */
	volatile size_t huge = SIZE_MAX / 2;

	CHECK(mem_zalloc_array(huge, 3) == NULL);
	mem_free(p);
	mem_free(q);
	mem_free(NULL);
}
