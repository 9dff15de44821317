/*
 * The unit-test frame: TEST(name) { ... } bodies register themselves; CHECK prints and aborts.
 *
 * Not a longjmp-based library because tests run inside fibers, where jumping out of a stack is not
 * possible. A program runs all its tests, or those whose name contains argv[1], and prints one line each.
 */
#ifndef NACRE_TESTS_TEST_H
#define NACRE_TESTS_TEST_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test_case {
	const char *name;
	void (*fn)(void);
	struct test_case *next;
};

static struct test_case *test_first;
static struct test_case **test_tail = &test_first;

#define TEST(tname) \
	static void test_fn_##tname(void); \
	static struct test_case test_case_##tname = {#tname, test_fn_##tname, NULL}; \
	__attribute__((constructor)) static void test_register_##tname(void) \
	{ \
		*test_tail = &test_case_##tname; \
		test_tail = &test_case_##tname.next; \
	} \
	static void test_fn_##tname(void)

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

#define CHECK_EQ(a, b) \
	do { \
		int64_t check_a = (int64_t)(a), check_b = (int64_t)(b); \
		if (check_a != check_b) { \
			fprintf(stderr, \
				"%s:%d: CHECK_EQ failed: %s = %" PRId64 ", %s = %" PRId64 "\n", \
				__FILE__, __LINE__, #a, check_a, #b, check_b); \
			abort(); \
		} \
	} while (0)

#define CHECK_STR(a, b) \
	do { \
		const char *check_a = (a), *check_b = (b); \
		if (strcmp(check_a, check_b) != 0) { \
			fprintf(stderr, "%s:%d: CHECK_STR failed: \"%s\" != \"%s\"\n", __FILE__, \
				__LINE__, check_a, check_b); \
			abort(); \
		} \
	} while (0)

int main(int argc, char **argv)
{
	unsigned ran = 0;

	for (struct test_case *t = test_first; t != NULL; t = t->next) {
		if (argc > 1 && strstr(t->name, argv[1]) == NULL) {
			continue;
		}
		t->fn();
		printf("ok %s\n", t->name);
		fflush(stdout);
		ran++;
	}
	if (ran == 0) {
		fprintf(stderr, "no test ran\n");
		return 1;
	}
	return 0;
}

#endif
