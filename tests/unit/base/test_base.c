/*
 * base.h, list.h and bytes.h: what a failed assert does, arithmetic, clean-ups, lists, byte order.
 */
#include "base/base.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"
#include "test.h"

static void handler_exit(const char *cond, const char *file, int line, const char *func)
{
	bool right = strcmp(cond, "1 == 2") == 0 && strstr(file, "test_base.c") != NULL &&
		line > 0 && strcmp(func, "child_assert") == 0;

	_exit(right ? 42 : 1);
}

static void handler_returns(const char *cond, const char *file, int line, const char *func)
{
	(void)cond;
	(void)file;
	(void)line;
	(void)func;
}

/* What becomes of a process that fails an assert with this handler; its stderr ends in text. */
static int child_assert(base_assert_fn *handler, char *text, size_t cap)
{
	int fds[2];
	int status = 0;

	CHECK_EQ(pipe(fds), 0);
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		base_assert_handler_set(handler);
		ASSERT(1 == 2);
		_exit(0);
	}
	close(fds[1]);
	ssize_t len = read(fds[0], text, cap - 1);

	CHECK(len >= 0);
	text[len] = '\0';
	close(fds[0]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

TEST(assert_failed)
{
	char text[512];
	int status = child_assert(NULL, text, sizeof(text));

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK(strstr(text, "ASSERT failed: 1 == 2 at ") != NULL &&
		strstr(text, "child_assert") != NULL);
	status = child_assert(handler_exit, text, sizeof(text));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	CHECK_STR(text, "");
	status = child_assert(handler_returns, text, sizeof(text));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

TEST(arithmetic)
{
	CHECK_EQ(u64_min(1, UINT64_MAX), 1);
	CHECK(u64_max(1, UINT64_MAX) == UINT64_MAX);
	CHECK_EQ(i64_min(-1, 1), -1);
	CHECK_EQ(i64_max(-1, 1), 1);
	CHECK_EQ(u64_round_down(4097, 4096), 4096);
	CHECK_EQ(u64_round_up(4097, 4096), 8192);
	CHECK_EQ(u64_round_up(12, 6), 12);
	CHECK(u64_is_pow2(1) && u64_is_pow2(UINT64_C(1) << 63) && !u64_is_pow2(0) &&
		!u64_is_pow2(6));
}

TEST(take_ptr_and_cleanup)
{
	char *kept = NULL;
	{
		_cleanup_(free_ptr) char *text = strdup("kept");
		_cleanup_(free_ptr) char *dropped = strdup("dropped");

		CHECK(text != NULL && dropped != NULL);
		kept = TAKE_PTR(text);
		CHECK(text == NULL);
	}
	CHECK_STR(kept, "kept");
	free_ptr(&kept);
	CHECK(kept == NULL);
	free_ptr(&kept);
}

struct item {
	int value;
	struct list link;
};

TEST(list)
{
	struct list head = LIST_INIT(head);
	struct list other = LIST_INIT(other);
	struct item items[5] = {{.value = 0}};
	int want = 0;

	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		CHECK(!list_linked(&items[i].link));
		list_push_back(i < 3 ? &head : &other, &items[i].link);
		CHECK(list_linked(&items[i].link));
	}
	list_splice_back(&head, &other);
	CHECK(list_empty(&other));
	LIST_FOREACH (it, &head) {
		CHECK_EQ(list_entry(it, struct item, link)->value, want++);
	}
	CHECK_EQ(want, 5);
	LIST_FOREACH_SAFE (it, &head) {
		if (list_entry(it, struct item, link)->value % 2 == 1) {
			list_del(it);
			CHECK(!list_linked(it));
		}
	}
	list_push_front(&head, &items[1].link);
	CHECK(list_pop_front(&head) == &items[1].link);
	CHECK(list_pop_front(&head) == &items[0].link);
	CHECK(list_pop_front(&head) == &items[2].link);
	CHECK(list_pop_front(&head) == &items[4].link);
	CHECK(list_pop_front(&head) == NULL);
}

TEST(byte_order)
{
	static const uint8_t bytes[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t out[9] = {0};

	/* All at an odd address. */
	CHECK_EQ(le16_load(bytes + 1), 0x0201);
	CHECK_EQ(le32_load(bytes + 1), 0x04030201);
	CHECK_EQ(le64_load(bytes + 1), 0x0807060504030201);
	CHECK_EQ(be16_load(bytes + 1), 0x0102);
	CHECK_EQ(be32_load(bytes + 1), 0x01020304);
	CHECK_EQ(be64_load(bytes + 1), 0x0102030405060708);
	le64_store(out + 1, 0x0807060504030201);
	CHECK(memcmp(bytes, out, 9) == 0);
	be64_store(out + 1, 0x0102030405060708);
	CHECK(memcmp(bytes, out, 9) == 0);
	le32_store(out + 1, 0x04030201);
	be32_store(out + 5, 0x05060708);
	CHECK(memcmp(bytes, out, 9) == 0);
	le16_store(out + 1, 0x0201);
	be16_store(out + 3, 0x0304);
	CHECK(memcmp(bytes, out, 9) == 0);
}

TEST(spans)
{
	struct span empty = span_of(NULL, 0);

	CHECK(span_eq(empty, span_str("")) && span_cmp(empty, span_str("a")) < 0);
	CHECK(span_cmp(span_str("ab"), span_str("abc")) < 0 &&
		span_cmp(span_str("b"), span_str("abc")) > 0);
	CHECK(span_cmp(span_str("\xff"), span_str("a")) > 0);
	CHECK(span_eq(span_str("abc"), span_of("abcd", 3)) &&
		!span_eq(span_str("abc"), span_str("abd")));
	CHECK_EQ(span_cmp(span_str("abc"), span_of("abcd", 3)), 0);
}
