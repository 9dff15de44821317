/*
 * strbuf: what is appended is there, the bound and failures stick and lose nothing.
 */
#include "base/strbuf.h"

#include "base/alloc.h"
#include "base/error.h"
#include "test.h"

TEST(appends)
{
	struct strbuf sb;
	char *text = NULL;

	strbuf_init(&sb, 100000);
	CHECK_STR(strbuf_text(&sb), "");
	strbuf_puts(&sb, "a=");
	strbuf_printf(&sb, "%d %s", 7, "x");
	strbuf_append(&sb, ";\0;", 3);
	strbuf_append(&sb, NULL, 0);
	strbuf_hex(&sb, "\x00\xfe\x1a", 3);
	CHECK_EQ(strbuf_error(&sb), 0);
	CHECK_EQ(sb.len, 2 + 3 + 3 + 6);
	CHECK(memcmp(strbuf_text(&sb), "a=7 x;\0;00fe1a", sb.len + 1) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		strbuf_printf(&sb, "%09u\n", i);
	}
	CHECK_EQ(strbuf_error(&sb), 0);
	CHECK_EQ(sb.len, 14 + 10000);
	CHECK_EQ(strbuf_take(&sb, &text), 0);
	CHECK_STR(text + 14 + 9990, "000000999\n");
	CHECK_EQ(sb.len, 0);
	mem_free(text);
	CHECK_EQ(strbuf_take(&sb, &text), 0);
	CHECK_STR(text, "");
	mem_free(text);
	strbuf_fini(&sb);
}

TEST(bound)
{
	struct strbuf sb;
	char *text = NULL;

	strbuf_init(&sb, 10);
	strbuf_puts(&sb, "0123456789");
	CHECK_EQ(strbuf_error(&sb), 0);
	strbuf_puts(&sb, "x");
	CHECK_EQ(strbuf_error(&sb), -NE_RANGE);
	CHECK_STR(strbuf_text(&sb), "0123456789");
	CHECK_EQ(strbuf_take(&sb, &text), -NE_RANGE);
	strbuf_clear(&sb);
	CHECK_EQ(strbuf_error(&sb), 0);
	strbuf_printf(&sb, "%s", "12345");
	/* All or nothing, and nothing after a failure even if it would fit. */
	strbuf_printf(&sb, "%s", "123456");
	strbuf_puts(&sb, "1");
	strbuf_hex(&sb, "a", 1);
	CHECK_STR(strbuf_text(&sb), "12345");
	CHECK_EQ(strbuf_error(&sb), -NE_RANGE);
	strbuf_clear(&sb);
	strbuf_hex(&sb, "abcdef", 6);
	CHECK_EQ(strbuf_error(&sb), -NE_RANGE);
	strbuf_fini(&sb);
}

TEST(allocation_failures)
{
	for (uint64_t n = 1;; n++) {
		struct strbuf sb;
		unsigned good = 0;

		strbuf_init(&sb, 100000);
		mem_fail_nth(n);
		for (unsigned i = 0; i < 1000; i++) {
			strbuf_printf(&sb, "%09u\n", i);
			good += strbuf_error(&sb) == 0;
		}
		bool fired = mem_fail_fired();

		mem_fail_nth(0);
		CHECK_EQ(strbuf_error(&sb), fired ? -NE_NOMEM : 0);
		CHECK_EQ(sb.len, good * 10);
		CHECK_EQ(strlen(strbuf_text(&sb)), sb.len);
		strbuf_fini(&sb);
		if (!fired) {
			CHECK(n > 3 && good == 1000);
			break;
		}
	}
}
