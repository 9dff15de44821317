/*
 * The request parser: golden requests as a 6.18 kernel sends them, every opcode cut at every length, random bytes.
 */
#include "base/limits.h"
#include "base/prng.h"
#include "fuse/fuse_parse.h"
#include "test.h"

struct build {
	uint8_t bytes[80000];
	size_t len;
};

static void put(struct build *b, const void *bytes, size_t len)
{
	CHECK(b->len + len <= sizeof(b->bytes));
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

static void begin(struct build *b, uint32_t opcode)
{
	struct fuse_in_header head = {
		.opcode = opcode, .unique = 42, .nodeid = 7, .uid = 1, .gid = 2, .pid = 3};

	b->len = 0;
	put(b, &head, sizeof(head));
}

static void text(struct build *b, const char *name)
{
	put(b, name, strlen(name) + 1);
}

static int parse_len(struct build *b, size_t len, struct fuse_msg *msg)
{
	/* Memory of exactly this size: a sanitizer sees what is read beyond. Kept until the next call. */
	static uint8_t *copy;
	uint32_t len32 = (uint32_t)len;
	struct fuse_raw raw;
	int rc;

	free(copy);
	copy = malloc(len > 0 ? len : 1);
	memcpy(b->bytes, &len32, sizeof(len32));
	memcpy(copy, b->bytes, len);
	rc = fuse_raw_split(copy, len, true, &raw);
	if (rc == 0) {
		rc = fuse_msg_parse(&raw, true, msg);
		/* What was handed on is used within its bounds. */
		if (rc == 0 && msg->name != NULL) {
			CHECK(strlen(msg->name) <= LIM_NAME_MAX && strlen(msg->name) > 0);
		}
		if (rc == 0 && msg->name2 != NULL) {
			CHECK(strlen(msg->name2) <= LIM_SYMLINK_MAX);
		}
		for (size_t i = 0; rc == 0 && i < msg->data_len; i++) {
			CHECK(msg->data + i < copy + len);
		}
	}
	return rc;
}

static int parse(struct build *b, struct fuse_msg *msg)
{
	return parse_len(b, b->len, msg);
}

TEST(golden_bytes_of_a_mkdir)
{
	/* mkdir("/d", 0755) under umask 022 by uid 1000, little endian. */
	static const uint8_t golden[] = {0x32, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
		0, 0, 0, 0, 0, /* header */
		0xe8, 3, 0, 0, 0xe8, 3, 0, 0, 0x10, 1, 0, 0, 0, 0, 0, 0, /* uid gid pid */
		0xed, 1, 0, 0, 0x12, 0, 0, 0, 'd', 0};
	struct fuse_raw raw;
	struct fuse_msg msg;

	CHECK_EQ(fuse_raw_split(golden, sizeof(golden), true, &raw), 0);
	CHECK_EQ(fuse_msg_parse(&raw, true, &msg), 0);
	CHECK_EQ(msg.head.opcode, FUSE_MKDIR);
	CHECK_EQ(msg.head.unique, 6);
	CHECK_EQ(msg.head.uid, 1000);
	CHECK_EQ(msg.head.pid, 272);
	CHECK_EQ(msg.arg.mkdir.mode, 0755);
	CHECK_EQ(msg.arg.mkdir.umask, 022);
	CHECK_STR(msg.name, "d");
	CHECK(msg.name2 == NULL);
}

TEST(names)
{
	static struct build b;
	struct fuse_rename2_in rename2 = {.newdir = 9, .flags = 1};
	struct fuse_msg msg;

	begin(&b, FUSE_RENAME2);
	put(&b, &rename2, sizeof(rename2));
	text(&b, "from");
	text(&b, "to");
	CHECK_EQ(parse(&b, &msg), 0);
	CHECK_EQ(msg.arg.rename2.newdir, 9);
	begin(&b, FUSE_SYMLINK);
	text(&b, "link");
	text(&b, "../a/target");
	CHECK_EQ(parse(&b, &msg), 0);
	begin(&b, FUSE_LOOKUP);
	text(&b, "a/b");
	CHECK_EQ(parse(&b, &msg), -NE_INVAL);
	begin(&b, FUSE_LOOKUP);
	text(&b, "");
	CHECK_EQ(parse(&b, &msg), -NE_INVAL);
	begin(&b, FUSE_LOOKUP);
	put(&b, "abc", 3);
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
	begin(&b, FUSE_LOOKUP);
	text(&b, "abc");
	text(&b, "more");
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
}

TEST(long_names)
{
	static struct build b;
	static char name[LIM_SYMLINK_MAX + 2];
	struct fuse_msg msg;

	memset(name, 'n', sizeof(name));
	name[LIM_NAME_MAX] = '\0';
	begin(&b, FUSE_UNLINK);
	text(&b, name);
	CHECK_EQ(parse(&b, &msg), 0);
	name[LIM_NAME_MAX] = 'n';
	name[LIM_NAME_MAX + 1] = '\0';
	begin(&b, FUSE_UNLINK);
	text(&b, name);
	CHECK_EQ(parse(&b, &msg), -NE_NAMETOOLONG);
	name[LIM_NAME_MAX + 1] = 'n';
	name[LIM_SYMLINK_MAX + 1] = '\0';
	begin(&b, FUSE_SYMLINK);
	text(&b, "l");
	text(&b, name);
	CHECK_EQ(parse(&b, &msg), -NE_NAMETOOLONG);
	begin(&b, FUSE_SYMLINK);
	text(&b, "l");
	text(&b, name + 1);
	CHECK_EQ(parse(&b, &msg), 0);
}

TEST(data_must_be_as_long_as_it_says)
{
	static struct build b;
	struct fuse_io_in io = {.fh = 1, .size = 5};
	struct fuse_setxattr_in x = {.size = 3};
	struct fuse_batch_forget_in forget = {.count = 2};
	uint64_t pairs[4] = {0};
	struct fuse_msg msg;

	begin(&b, FUSE_WRITE);
	put(&b, &io, sizeof(io));
	put(&b, "hello", 5);
	CHECK_EQ(parse(&b, &msg), 0);
	CHECK_EQ(msg.data_len, 5);
	put(&b, "!", 1);
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
	begin(&b, FUSE_SETXATTR);
	put(&b, &x, sizeof(x));
	text(&b, "user.a/b");
	put(&b, "val", 3);
	CHECK_EQ(parse(&b, &msg), 0);
	CHECK_STR(msg.name, "user.a/b");
	CHECK(memcmp(msg.data, "val", 3) == 0);
	begin(&b, FUSE_BATCH_FORGET);
	put(&b, &forget, sizeof(forget));
	put(&b, pairs, sizeof(pairs));
	CHECK_EQ(parse(&b, &msg), 0);
	forget.count = UINT32_MAX;
	begin(&b, FUSE_BATCH_FORGET);
	put(&b, &forget, sizeof(forget));
	put(&b, pairs, sizeof(pairs));
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
}

TEST(older_kernels_send_less)
{
	static struct build b;
	struct fuse_init_in init = {.major = 7, .minor = 31};
	struct fuse_setxattr_in x = {.size = 1};
	struct fuse_raw raw;
	struct fuse_msg msg;
	uint32_t len;

	begin(&b, FUSE_INIT);
	put(&b, &init, FUSE_INIT_IN_COMPAT);
	CHECK_EQ(parse(&b, &msg), 0);
	CHECK_EQ(msg.arg.init.minor, 31);
	CHECK_EQ(msg.arg.init.flags2, 0);
	begin(&b, FUSE_SETXATTR);
	put(&b, &x, FUSE_SETXATTR_IN_COMPAT);
	text(&b, "user.a");
	put(&b, "v", 1);
	len = (uint32_t)b.len;
	memcpy(b.bytes, &len, sizeof(len));
	CHECK_EQ(fuse_raw_split(b.bytes, b.len, false, &raw), 0);
	CHECK_EQ(fuse_msg_parse(&raw, false, &msg), 0);
	CHECK_STR(msg.name, "user.a");
}

TEST(extensions_are_cut_off)
{
	static struct build b;
	struct fuse_mkdir_in mkdir = {.mode = 0755};
	struct fuse_in_header head;
	uint64_t ext[2] = {16, 32};
	struct fuse_msg msg;

	begin(&b, FUSE_MKDIR);
	put(&b, &mkdir, sizeof(mkdir));
	text(&b, "d");
	put(&b, ext, sizeof(ext));
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
	memcpy(&head, b.bytes, sizeof(head));
	head.ext_len8 = 2;
	memcpy(b.bytes, &head, sizeof(head));
	CHECK_EQ(parse(&b, &msg), 0);
	head.ext_len8 = 1000;
	memcpy(b.bytes, &head, sizeof(head));
	CHECK_EQ(parse(&b, &msg), -NE_BADMSG);
}

TEST(every_opcode_at_every_length)
{
	static struct build b;
	static const uint8_t zeros[300];
	struct fuse_msg msg;
	unsigned good = 0;

	for (uint32_t op = 0; op < FUSE_OPCODES + 3; op++) {
		begin(&b, op);
		put(&b, zeros, sizeof(zeros));
		for (size_t len = 0; len <= b.len; len++) {
			int rc = parse_len(&b, len, &msg);

			CHECK(rc == 0 || rc == -NE_BADMSG || rc == -NE_INVAL || rc == -NE_NOSYS);
			CHECK(len >= 40 || rc == -NE_BADMSG);
			good += rc == 0;
		}
	}
	CHECK(good > 20);
	begin(&b, FUSE_OPCODES);
	CHECK_EQ(parse(&b, &msg), -NE_NOSYS);
	CHECK_EQ(msg.head.unique, 42);
}

TEST(random_bytes)
{
	static struct build b;
	struct prng prng;
	struct fuse_msg msg;
	unsigned good = 0;

	prng_init(&prng, 4711);
	for (unsigned round = 0; round < 100000; round++) {
		size_t len = prng_next(&prng) % 160;

		begin(&b, (uint32_t)(prng_next(&prng) % (FUSE_OPCODES + 1)));
		for (size_t i = 0; i < len; i++) {
			/* Mostly small values: sizes and counts that nearly fit. */
			uint64_t r = prng_next(&prng);
			uint8_t byte =
				(uint8_t)((r & 0x700) != 0 ? (r & 0x1f) * ((r >> 12) & 1) : r);

			put(&b, &byte, 1);
		}
		good += parse(&b, &msg) == 0;
	}
	CHECK(good > 1000);
}
