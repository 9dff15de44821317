/*
 * Fuzz targets: what people, files, the kernel and the log hand us, as far as it is parsed without a disk.
 *
 * Each target parses the bytes as they are; where a checksum guards the parser it also parses them with the
 * checksum made right, or no input would ever come past it. What was accepted must stand its own printing:
 * a key, a FID or a layout that is formatted and parsed again is the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/uuid.h"
#include "daemon/config.h"
#include "daemon/super.h"
#include "fuse/fuse_parse.h"
#include "fuse/mount_opts.h"
#include "fuzz.h"
#include "layout/layout.h"
#include "rpc/rpc.h"
#include "store/state.h"

/* ---- key files ---- */

static void key_try(const char *text, size_t len)
{
	static struct rpc_key key, again;
	static char line[RPC_KEY_TEXT_MAX];
	int r = rpc_key_parse(text, len, &key);

	if (r != 0) {
		ASSERT(r == -NE_INVAL || r == -NE_VERSION || r == -NE_CHECKSUM);
		return;
	}
	ASSERT(strlen(key.fsname) <= LIM_FSNAME_MAX && strlen(key.subdir) <= LIM_PATH_MAX);
	r = rpc_key_format(&key, line, sizeof(line));
	ASSERT(r == 0);
	r = rpc_key_parse(line, strlen(line), &again);
	ASSERT(r == 0 && memcmp(&key, &again, sizeof(key)) == 0);
}

static char *hex(char *at, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		at += sprintf(at, "%02x", data[i]);
	}
	return at;
}

/* `tag claims secret crc` with the right crc; without claims for a server's key. */
static size_t key_line(char *line, const char *tag, const uint8_t *claims, size_t claims_len)
{
	uint8_t secret[RPC_KEY_BYTES] = {7, 8, 9};
	uint8_t crc[4];
	char *at = line + sprintf(line, "%s ", tag);

	le32_store(crc, crc32c(crc32c(0, claims, claims_len), secret, sizeof(secret)));
	at = hex(at, claims, claims_len);
	at += claims_len > 0 ? sprintf(at, " ") : 0;
	at = hex(at, secret, sizeof(secret));
	at += sprintf(at, " ");
	at = hex(at, crc, sizeof(crc));
	at += sprintf(at, "\n");
	return (size_t)(at - line);
}

static void run_key(const uint8_t *data, size_t size)
{
	static char line[3 * RPC_KEY_TEXT_MAX];

	key_try((const char *)data, size);
	if (size <= RPC_KEY_TEXT_MAX) {
		key_try(line, key_line(line, "nacre-key-1", data, size));
	}
}

static void seeds_key(struct fuzz_seeds *s)
{
	static struct rpc_key key;
	static char line[RPC_KEY_TEXT_MAX];
	uint8_t server_key[RPC_KEY_BYTES] = {1, 2, 3};
	int r;

	key.key_id = 9;
	key.role = RPC_ROLE_USER;
	key.uid = 1000;
	key.gid = 100;
	strcpy(key.fsname, "scratch");
	strcpy(key.subdir, "/home/a");
	r = rpc_key_derive(&key, server_key);
	ASSERT(r == 0);
	r = rpc_key_format(&key, line, sizeof(line));
	ASSERT(r == 0);
	fuzz_seed_add(s, "valid", line, strlen(line));
	fuzz_seed_add(s, "newer", "nacre-key-2 00 00 00\n", 21);
}

static void run_server_key(const uint8_t *data, size_t size)
{
	uint8_t key[RPC_KEY_BYTES], again[RPC_KEY_BYTES];
	char line[256];
	int r = rpc_server_key_parse((const char *)data, size, key);

	if (r != 0) {
		ASSERT(r == -NE_INVAL || r == -NE_VERSION || r == -NE_CHECKSUM);
		return;
	}
	r = rpc_server_key_format(key, line, sizeof(line));
	ASSERT(r == 0);
	r = rpc_server_key_parse(line, strlen(line), again);
	ASSERT(r == 0 && memcmp(key, again, sizeof(key)) == 0);
}

static void seeds_server_key(struct fuzz_seeds *s)
{
	char line[256];

	fuzz_seed_add(s, "valid", line, key_line(line, "nacre-server-key-1", NULL, 0));
	fuzz_seed_add(s, "newer", "nacre-server-key-2 00 00\n", 25);
}

/* ---- nacred's configuration ---- */

static void run_config(const uint8_t *data, size_t size)
{
	static struct config config;
	char why[256];
	int r = config_parse("f.yaml", (const char *)data, size, &config, why, sizeof(why));

	if (r != 0) {
		ASSERT(r == -NE_CONFIG && memchr(why, '\0', sizeof(why)) != NULL);
		ASSERT(strncmp(why, "f.yaml:", 7) == 0);
		return;
	}
	ASSERT(config.node.target_count > 0 && config.node.target_count <= NODE_TARGETS_MAX);
	ASSERT(config.node.listen_count > 0 && config.node.listen_count <= NODE_ADDRS_MAX);
	ASSERT(config.node.mgs_count > 0 && config.node.mgs_count <= LIM_ADDRS_MAX);
	ASSERT(config.node.server_key[0] == '/' && config.node.fsname[0] != '\0');
}

static void seeds_config(struct fuzz_seeds *s)
{
	static const char full[] = "version: 1\nfsname: scratch\n"
				   "cluster_uuid: 01234567-89ab-4def-8123-456789abcdef\n"
				   "listen: [\"unix:/run/a.sock\", \"tcp:[::1]:7990\"]\n"
				   "advertise: [\"tcp:host.example:7990\"]\n"
				   "mgs: [\"tcp:[::1]:7988\"]\nserver_key: /etc/key\n"
				   "targets:\n  - {name: OST0000, path: /a, capacity_bytes: 0}\n"
				   "  - {name: MDT0000, path: /b}\nlog: {level: info, file: /l}\n";
	static const char bad[] = "a: &x [1, *x]\nb: !!str {? y : |\n  text\n}\n--- \n...\n";

	fuzz_seed_add(s, "full", full, sizeof(full) - 1);
	fuzz_seed_add(s, "bad", bad, sizeof(bad) - 1);
}

/* ---- the payload of a commit in the log ---- */

struct commit_sum {
	uint32_t ops;
	uint32_t bytes;
};

static int commit_op(void *ctx, const struct state_op *op)
{
	struct commit_sum *sum = ctx;

	ASSERT(op->key_len >= 1 && op->key_len <= LIM_KV_KEY_MAX);
	ASSERT(op->val_len <= LIM_KV_VALUE_MAX);
	sum->ops++;
	sum->bytes += crc32c(crc32c(0, op->key, op->key_len), op->val, op->val_len) & 1;
	return 0;
}

static void run_commit(const uint8_t *data, size_t size)
{
	struct commit_sum sum = {0};
	uint64_t session;
	int r = state_commit_decode(data, (uint32_t)size, &session, commit_op, &sum);

	ASSERT(r == 0 || r == -NE_CORRUPT);
	ASSERT(r != 0 || sum.ops == le32_load(data + 8));
}

static void seeds_commit(struct fuzz_seeds *s)
{
	static const uint8_t two[] = {1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 3, 0, 'k', 'v', 'a',
		'l', 1, 2, 0, 0, 'x', 'y'};

	fuzz_seed_add(s, "two", two, sizeof(two));
	fuzz_seed_add(s, "short", two, 20);
}

/* ---- layouts ---- */

static void run_lov(const uint8_t *data, size_t size)
{
	static struct lov_md md, again;
	static uint8_t buf[LOV_SIZE_MAX];
	size_t len = 0;
	int r = lov_decode(data, size, &md);

	if (r != 0) {
		ASSERT(r == -NE_INVAL);
		return;
	}
	ASSERT(md.osts_count <= LIM_STRIPE_COUNT_MAX);
	ASSERT(md.pool[0] == '\0' || layout_pool_name_ok(md.pool, strlen(md.pool)));
	r = lov_encode(&md, buf, sizeof(buf), &len);
	ASSERT(r == 0 && len <= sizeof(buf));
	r = lov_decode(buf, len, &again);
	ASSERT(r == 0 && again.osts_count == md.osts_count && again.pattern == md.pattern);
	ASSERT(memcmp(again.osts, md.osts, md.osts_count * sizeof(md.osts[0])) == 0);
	ASSERT(fid_eq(again.fid, md.fid) && strcmp(again.pool, md.pool) == 0);
}

static void seeds_lov(struct fuzz_seeds *s)
{
	static struct lov_md md;
	uint8_t buf[256];
	size_t len = 0;
	int r;

	md.pattern = LOV_PATTERN_RAID0;
	md.stripe_size = MIB;
	md.stripe_count = 3;
	md.fid = fid_root();
	md.osts_count = 3;
	md.osts[1] = 1;
	md.osts[2] = 5;
	r = lov_encode(&md, buf, sizeof(buf), &len);
	ASSERT(r == 0);
	fuzz_seed_add(s, "v1", buf, len);
	strcpy(md.pool, "fast");
	r = lov_encode(&md, buf, sizeof(buf), &len);
	ASSERT(r == 0);
	fuzz_seed_add(s, "v3", buf, len);
	le32_store(buf, LOV_MAGIC_SPECIFIC);
	fuzz_seed_add(s, "specific", buf, len);
}

/* A request and the OSTs there are, out of the bytes; what is placed must be what was allowed. */
#define PLACE_OSTS 24

static bool place_known(
	const struct layout_ost *known, uint32_t count, uint32_t index, bool *ret_usable)
{
	for (uint32_t i = 0; i < count; i++) {
		if (known[i].index == index) {
			*ret_usable = known[i].usable;
			return true;
		}
	}
	return false;
}

static void run_place(const uint8_t *data, size_t size)
{
	struct fuzz_in in = fuzz_in_of(data, size);
	struct layout_ost known[PLACE_OSTS];
	uint32_t lists[2][PLACE_OSTS];
	uint32_t osts[32];
	uint8_t flags = fuzz_u8(&in);
	struct layout_request req = {.overstripe = flags & 1,
		.stripe_count = (uint32_t)fuzz_uint(&in, 2),
		.first_ost = (flags & 2) ? LAYOUT_OST_ANY : fuzz_u8(&in)};
	uint32_t known_count = fuzz_u8(&in) % (PLACE_OSTS + 1);
	uint32_t count = 0;
	struct prng prng;
	int r;

	for (uint32_t i = 0; i < known_count; i++) {
		uint8_t how = fuzz_u8(&in);

		known[i] = (struct layout_ost){.index = i + (how >> 4),
			.usable = how & 1,
			.bytes_avail = (how & 2) ? fuzz_uint(&in, 8) : GIB};
		lists[0][i] = lists[1][i] = (how & 4) ? i : fuzz_u8(&in);
	}
	req.listed = (flags & 4) ? lists[0] : NULL;
	req.listed_count = req.listed != NULL ? known_count : 0;
	req.members = (flags & 8) ? lists[1] : NULL;
	req.member_count = req.members != NULL ? known_count / 2 : 0;
	prng_init(&prng, size);
	req.known = known;
	req.known_count = known_count;
	r = layout_place(&req, &prng, osts, (flags & 16) ? 3 : ARRAY_SIZE(osts), &count);
	ASSERT(r == 0 || r == -NE_INVAL || r == -NE_NOSPC || r == -NE_TARGET_DOWN);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		bool usable = false;

		ASSERT(place_known(known, known_count, osts[i], &usable));
	}
	ASSERT(r != 0 || count <= ((flags & 16) ? 3u : ARRAY_SIZE(osts)));
}

static void seeds_place(struct fuzz_seeds *s)
{
	static const uint8_t even[] = {2, 4, 0, 4, 5, 5, 5, 5};
	static const uint8_t listed[] = {6, 0, 0, 3, 5, 5, 5};

	fuzz_seed_add(s, "even", even, sizeof(even));
	fuzz_seed_add(s, "listed", listed, sizeof(listed));
}

/* ---- what the kernel sends ---- */

static void fuse_try(const uint8_t *data, size_t size, bool ext)
{
	struct fuse_raw raw;
	struct fuse_msg msg;
	uint32_t sum = 0;

	if (fuse_raw_split(data, size, ext, &raw) != 0) {
		return;
	}
	if (fuse_msg_parse(&raw, ext, &msg) != 0) {
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		const char *name = i == 0 ? msg.name : msg.name2;

		if (name != NULL) {
			const uint8_t *at = (const uint8_t *)name;

			ASSERT(at >= data && at + strlen(name) < data + size);
			ASSERT(strlen(name) > 0 && strlen(name) <= LIM_SYMLINK_MAX);
		}
	}
	for (size_t i = 0; i < msg.data_len; i++) {
		sum += msg.data[i];
	}
	ASSERT(sum <= 255 * msg.data_len && fuse_op_name(msg.head.opcode) != NULL);
}

/* As it is, and with the length that it has. */
static void run_fuse(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	fuse_try(data, size, false);
	if (size < sizeof(struct fuse_in_header)) {
		return;
	}
	copy = malloc(size);
	ASSERT(copy != NULL);
	memcpy(copy, data, size);
	le32_store(copy, (uint32_t)size);
	fuse_try(copy, size, false);
	fuse_try(copy, size, true);
	free(copy);
}

static void fuse_seed(
	struct fuzz_seeds *s, const char *name, uint32_t opcode, const void *rest, size_t len)
{
	uint8_t buf[512] = {0};
	struct fuse_in_header head = {.opcode = opcode, .unique = 2, .nodeid = 1};
	size_t arg = fuse_arg_size(opcode, true);

	head.len = (uint32_t)(sizeof(head) + arg + len);
	memcpy(buf, &head, sizeof(head));
	memcpy(buf + sizeof(head) + arg, rest, len);
	fuzz_seed_add(s, name, buf, head.len);
}

static void seeds_fuse(struct fuzz_seeds *s)
{
	fuse_seed(s, "lookup", FUSE_LOOKUP, "name", 5);
	fuse_seed(s, "rename2", FUSE_RENAME2, "old\0new", 8);
	fuse_seed(s, "setxattr", FUSE_SETXATTR, "user.a\0value", 12);
	fuse_seed(s, "write", FUSE_WRITE, "", 0);
	fuse_seed(s, "symlink", FUSE_SYMLINK, "link\0/to", 9);
	fuse_seed(s, "forget", FUSE_BATCH_FORGET, "", 0);
	fuse_seed(s, "init", FUSE_INIT, "", 0);
}

/* ---- what is typed ---- */

/* A word per line. */
static void run_mount(const uint8_t *data, size_t size)
{
	static struct mount_opts o;
	static char text[8192];
	char why[MOUNT_WHY_MAX];
	char *argv[34] = {(char *)(uintptr_t) "mount.nacre"};
	int argc = 1;
	char *rest = fuzz_text(data, size, text, sizeof(text));
	int r;

	while (argc < 33 && rest != NULL && *rest != '\0') {
		argv[argc++] = strsep(&rest, "\n");
	}
	mount_opts_init(&o);
	why[0] = '\0';
	r = mount_opts_parse(&o, argc, argv, why);
	ASSERT(r == 0 || (r == -NE_INVAL && why[0] != '\0'));
	ASSERT(o.addr_count <= LIM_ADDRS_MAX && strlen(o.fsname) <= LIM_FSNAME_MAX);
	if (r == 0 && !o.help && !o.version) {
		ASSERT(o.addr_count > 0 && o.fsname[0] != '\0' && o.key_path[0] != '\0');
	}
	for (unsigned i = 0; i < o.addr_count; i++) {
		ASSERT(memchr(o.addrs[i], '\0', sizeof(o.addrs[i])) != NULL);
	}
}

static void seeds_mount(struct fuzz_seeds *s)
{
	static const char full[] = "host:7988,[::1]:99:/fs/sub/dir\n/mnt\n-o\n"
				   "rw,key=/k,patience=5,noatime,log_level=debug,x-a,subdir=b\n-v";
	static const char other[] = "-fnrw\n--foreground\n--ready-fd=3\n-oro,_netdev,"
				    "fuse_features=ff,log=syslog\na:/b\nc\n--help\n-s";

	fuzz_seed_add(s, "full", full, sizeof(full) - 1);
	fuzz_seed_add(s, "other", other, sizeof(other) - 1);
}

static void run_names(const uint8_t *data, size_t size)
{
	char text[300];
	char back[FID_STR_MAX];
	char target[LIM_TARGET_NAME_MAX + 1];
	struct uuid uuid, uuid_again;
	struct fid fid, fid_again;
	enum w_target_kind kind;
	uint16_t index;

	fuzz_text(data, size, text, sizeof(text));
	if (fid_parse(text, &fid) == 0) {
		ASSERT(fid_parse(fid_format(fid, back, sizeof(back)), &fid_again) == 0);
		ASSERT(fid_eq(fid, fid_again));
	}
	if (uuid_parse(text, &uuid) == 0) {
		ASSERT(uuid_parse(uuid_format(uuid, back, sizeof(back)), &uuid_again) == 0);
		ASSERT(uuid_eq(uuid, uuid_again));
	}
	if (target_name_parse(text, &kind, &index) == 0) {
		target_name_format(kind, index, target);
		ASSERT(strcmp(target, text) == 0);
	}
}

static void seeds_names(struct fuzz_seeds *s)
{
	fuzz_seed_add(s, "fid", "[0x200000401:0x1:0x0]", 21);
	fuzz_seed_add(s, "uuid", "01234567-89ab-4def-8123-456789abcdef", 36);
	fuzz_seed_add(s, "target", "OST001f", 7);
}

const struct fuzz_target fuzz_targets[] = {
	{"key", run_key, seeds_key},
	{"server_key", run_server_key, seeds_server_key},
	{"config", run_config, seeds_config},
	{"commit", run_commit, seeds_commit},
	{"lov", run_lov, seeds_lov},
	{"place", run_place, seeds_place},
	{"fuse", run_fuse, seeds_fuse},
	{"mount", run_mount, seeds_mount},
	{"names", run_names, seeds_names},
};
const unsigned fuzz_target_count = ARRAY_SIZE(fuzz_targets);
