/*
 * Mounting, with the reason when it fails; names, directories, groups; the questions of tools.
 */
#include "cluster.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "layout/layout.h"

static const struct client_cred root_cred = {.uid = 0, .gid = 0, .pid = 42, .caps = UINT64_MAX};

/* ---- mounts that fail ---- */

static int mount_try(const struct client_options *opt, char *why, size_t cap)
{
	struct client *c = NULL;
	int err = client_new(opt, why, cap, &c);

	client_free(c);
	return err;
}

static void failures_body(struct cluster *cl, unsigned client)
{
	static const char *const nowhere[] = {"sim:nowhere:1", NULL};
	struct client_options good;
	struct client_options opt;
	struct rpc_key *key = mem_alloc(sizeof(*key));
	char *text = mem_alloc(RPC_KEY_TEXT_MAX);
	char why[256];

	CHECK(key != NULL && text != NULL);
	cluster_options(cl, client, &good);
	good.mount_patience_ns = 2 * NS_PER_S;

	opt = good;
	opt.mgs = nowhere;
	CHECK(mount_try(&opt, why, sizeof(why)) < 0);
	CHECK(strstr(why, "sim:nowhere:1 cannot be reached") != NULL);
	opt = good;
	opt.fsname = "other";
	CHECK(mount_try(&opt, why, sizeof(why)) < 0);
	CHECK(strstr(why, "'other'") != NULL || strstr(why, "denies") != NULL ||
		strstr(why, "key") != NULL);
	opt = good;
	opt.key_text = "not a key";
	CHECK_EQ(mount_try(&opt, why, sizeof(why)), -NE_INVAL);
	CHECK(strstr(why, "key file") != NULL);
	/* A key of another cluster's server. */
	cluster_key(cl, RPC_ROLE_HOST, key);
	key->secret[3] ^= 1;
	CHECK_EQ(rpc_key_format(key, text, RPC_KEY_TEXT_MAX), 0);
	opt = good;
	opt.key_text = text;
	CHECK(mount_try(&opt, why, sizeof(why)) < 0);
	CHECK(strstr(why, "refuses the key") != NULL);
	opt = good;
	opt.subdir = "no/such";
	CHECK_EQ(mount_try(&opt, why, sizeof(why)), -NE_NOENT);
	CHECK(strstr(why, "'no/such'") != NULL);
	/* No room for the reason is no reason to crash. */
	CHECK_EQ(mount_try(&opt, NULL, 0), -NE_NOENT);
	opt = good;
	CHECK_EQ(mount_try(&opt, why, 4), 0);
	mem_free(key);
	mem_free(text);
}

TEST(a_mount_that_fails_says_why)
{
	struct cluster *cl = cluster_new(1, 1, LIM_STRIPE_SIZE_MIN, 1);

	cluster_client_start(cl, 0, failures_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- names ---- */

struct listing {
	unsigned count;
	unsigned stop_at;
	uint64_t cookie;
	char names[64][16];
	uint64_t sizes[64];
};

static int list_one(void *ctx, const struct client_dirent *e_in)
{
	const char *name = e_in->name;
	size_t name_len = e_in->name_len;
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	const struct client_attr *attr = e_in->attr;
	struct listing *l = ctx;

	if (l->count == l->stop_at) {
		return 1;
	}
	CHECK(strlen(name) == name_len && !fid_is_zero(fid) && S_ISREG(mode));
	CHECK(l->count < 64 && name_len < 16);
	memcpy(l->names[l->count], name, name_len + 1);
	l->sizes[l->count] = attr != NULL ? attr->size : 0;
	l->count++;
	l->cookie = next_cookie;
	return 0;
}

static void listing_check(struct client *c, unsigned files)
{
	struct listing *l = mem_zalloc(sizeof(*l));
	struct client_attr attr;
	struct client_file *dir;
	struct fid parent;
	uint64_t seen = 0;
	bool end = false;

	CHECK_EQ(client_open(c, &root_cred, client_root(c), O_RDONLY, &attr, &dir), 0);
	while (!end) {
		/* Two at a time, though the MDT's pages hold more. */
		l->stop_at = l->count + 2;
		CHECK_EQ(client_readdir(c, &root_cred, dir,
				 &(struct client_listing){.cookie = l->cookie,
					 .bytes_max = 4096,
					 .plus = true,
					 .fn = list_one,
					 .ctx = l,
					 .ret_parent = &parent,
					 .ret_end = &end}),
			0);
	}
	CHECK(fid_eq(parent, fid_root()));
	CHECK_EQ(l->count, files);
	for (unsigned i = 0; i < files; i++) {
		unsigned number = (unsigned)atoi(l->names[i] + 1);

		/* Each once, in no order we know. */
		CHECK(l->names[i][0] == 'f' && number < 64 && (seen >> number & 1) == 0);
		seen |= UINT64_C(1) << number;
		CHECK_EQ(l->sizes[i], number * 1000);
	}
	CHECK_EQ(client_release(c, dir), 0);
	mem_free(l);
}

static void names_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_create how = {.mode = S_IFREG | 0666, .umask = 022, .open_flags = O_RDWR};
	struct client_file *open[10];
	struct client_attr attr;
	char long_name[300];
	uint8_t *buf = mem_zalloc(10000);
	struct client_counters counters;

	for (unsigned i = 0; i < 10; i++) {
		struct iovec iov = {.iov_base = buf, .iov_len = (size_t)i * 1000};
		size_t put;
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(
			client_create_open(c, &root_cred,
				(struct client_entry){client_root(c), name}, &how, &attr, &open[i]),
			0);
		CHECK_EQ(attr.mode, S_IFREG | 0644);
		CHECK_EQ(attr.ino, fid_ino(attr.fid));
		CHECK_EQ(client_write(
				 c, &root_cred, open[i], (struct client_buffers){&iov, 1, 0}, &put),
			0);
	}
	/* Sizes of files being written come from the OSTs. */
	listing_check(c, 10);
	client_counters(c, &counters);
	CHECK_EQ(counters.open_files, 10);
	CHECK_EQ(counters.bytes_written, 45000);
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(client_release(c, open[i]), 0);
	}
	listing_check(c, 10);
	CHECK_EQ(client_create(c, &root_cred, client_root(c), "f1", &how, &attr), -NE_EXIST);
	CHECK_EQ(client_lookup(c, &root_cred, client_root(c), "none", &attr), -NE_NOENT);
	memset(long_name, 'n', sizeof(long_name));
	long_name[256] = '\0';
	CHECK_EQ(client_lookup(c, &root_cred, client_root(c), long_name, &attr), -NE_NAMETOOLONG);
	CHECK_EQ(client_walk(c, &root_cred, client_root(c), "/f3", true, &attr), 0);
	CHECK_EQ(attr.size, 3000);
	CHECK_EQ(client_walk(c, &root_cred, client_root(c), "f3/x", true, &attr), -NE_NOTDIR);
	CHECK_EQ(client_walk(c, &root_cred, client_root(c), "f3/", true, &attr), -NE_NOTDIR);
	CHECK_EQ(client_walk(c, &root_cred, client_root(c), ".././", true, &attr), 0);
	CHECK(fid_eq(attr.fid, fid_root()));
	CHECK_EQ(client_unlink(c, &root_cred, client_root(c), "f0"), 0);
	CHECK_EQ(client_unlink(c, &root_cred, client_root(c), "f0"), -NE_NOENT);
	mem_free(buf);
}

TEST(names)
{
	struct cluster *cl = cluster_new(2, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, names_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void groups_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_create how = {.mode = S_IFREG | 0640};
	struct client_setattr set = {.valid = CLIENT_SET_GID, .gid = 501};
	struct client_cred user = {.uid = 1000, .gid = 1000, .pid = 42};
	uint32_t wrong[1] = {7};
	struct client_file *f;
	struct client_attr attr;

	CHECK_EQ(client_create(c, &root_cred, client_root(c), "shared", &how, &attr), 0);
	CHECK_EQ(client_setattr(c, &root_cred, attr.fid, NULL, &set, &attr), 0);
	CHECK_EQ(client_lookup(c, &user, client_root(c), "shared", &attr), 0);
	CHECK_EQ(cl->groups_asked, 0);
	CHECK_EQ(client_open(c, &user, attr.fid, O_RDONLY, &attr, &f), 0);
	CHECK_EQ(cl->groups_asked, 1);
	CHECK_EQ(client_release(c, f), 0);
	/* What no group may do is decided without asking. */
	CHECK_EQ(client_open(c, &user, attr.fid, O_RDWR, &attr, &f), -NE_ACCES);
	CHECK_EQ(cl->groups_asked, 1);
	/* A list that is known is sent at once, and believed. */
	user.groups = wrong;
	user.group_count = 1;
	CHECK_EQ(client_open(c, &user, attr.fid, O_RDONLY, &attr, &f), -NE_ACCES);
	CHECK_EQ(cl->groups_asked, 1);
}

TEST(groups_are_fetched_when_needed)
{
	struct cluster *cl = cluster_new(3, 1, LIM_STRIPE_SIZE_MIN, 1);

	cluster_client_start(cl, 0, groups_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void suid_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_create how = {.mode = S_IFREG | S_ISUID | 0777, .open_flags = O_RDWR};
	struct client_cred user = {.uid = 1000, .gid = 1000, .pid = 42};
	uint8_t *buf = mem_zalloc(100000);
	struct client_file *f;
	struct client_attr attr;

	for (unsigned big = 0; big < 2; big++) {
		struct iovec iov = {.iov_base = buf, .iov_len = big != 0 ? 100000 : 100};
		size_t put;

		CHECK_EQ(client_create_open(c, &root_cred,
				 (struct client_entry){client_root(c), big != 0 ? "big" : "small"},
				 &how, &attr, &f),
			0);
		/* Root keeps the bit, others do not. */
		CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, 0}, &put),
			0);
		CHECK_EQ(client_getattr(c, &root_cred, attr.fid, f, &attr), 0);
		CHECK((attr.mode & S_ISUID) != 0);
		CHECK_EQ(client_write(c, &user, f, (struct client_buffers){&iov, 1, 0}, &put), 0);
		CHECK_EQ(client_getattr(c, &root_cred, attr.fid, f, &attr), 0);
		CHECK((attr.mode & S_ISUID) == 0);
		CHECK_EQ(client_release(c, f), 0);
	}
	mem_free(buf);
}

TEST(writes_clear_set_id_bits)
{
	struct cluster *cl = cluster_new(4, 1, LIM_STRIPE_SIZE_MIN, 1);

	cluster_client_start(cl, 0, suid_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void read_only_body(struct cluster *cl, unsigned client)
{
	struct client_options opt;
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = O_RDWR};
	struct client_file *f;
	struct client_attr attr;
	struct client *c;

	cluster_options(cl, client, &opt);
	opt.read_only = true;
	CHECK_EQ(client_new(&opt, NULL, 0, &c), 0);
	CHECK_EQ(client_create_open(c, &root_cred, (struct client_entry){client_root(c), "x"}, &how,
			 &attr, &f),
		-NE_ROFS);
	CHECK_EQ(client_unlink(c, &root_cred, client_root(c), "x"), -NE_ROFS);
	CHECK_EQ(client_open(c, &root_cred, client_root(c), O_RDONLY, &attr, &f), 0);
	CHECK_EQ(client_release(c, f), 0);
	client_free(c);
}

TEST(read_only)
{
	struct cluster *cl = cluster_new(5, 1, LIM_STRIPE_SIZE_MIN, 1);

	cluster_client_start(cl, 0, read_only_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- tools ---- */

static void ask(struct client *c, struct fid fid, const char *name, char *buf, size_t cap)
{
	size_t len = 0;
	size_t size = 0;

	CHECK_EQ(client_getxattr(c, &root_cred, fid, name, (struct client_out){NULL, 0}, &size), 0);
	CHECK_EQ(client_getxattr(c, &root_cred, fid, name, (struct client_out){buf, cap - 1}, &len),
		0);
	buf[len] = '\0';
	CHECK(len > 2 && buf[0] == '{' && buf[len - 1] == '}');
}

static void has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) {
		fprintf(stderr, "no '%s' in: %s\n", part, text);
		CHECK(false);
	}
}

static void lov_check(struct client *c, struct fid fid)
{
	struct lov_md *md = mem_zalloc(sizeof(*md));
	uint8_t buf[512];
	size_t len = 0;

	CHECK_EQ(client_getxattr(c, &root_cred, fid, "lustre.lov",
			 (struct client_out){buf, sizeof(buf)}, &len),
		0);
	CHECK_EQ(lov_decode(buf, len, md), 0);
	CHECK_EQ(md->stripe_count, 3);
	CHECK_EQ(md->osts_count, 3);
	CHECK_EQ(client_getxattr(
			 c, &root_cred, fid, "trusted.lov", (struct client_out){buf, 4}, &len),
		-NE_RANGE);
	CHECK_EQ(client_setxattr(c, &root_cred, fid, "trusted.lov", span_of(buf, len), 0),
		-NE_NOTSUP);
	/* setstripe of an empty file. */
	*md = (struct lov_md){.pattern = LOV_PATTERN_RAID0,
		.stripe_size = 2 * LIM_STRIPE_SIZE_MIN,
		.stripe_count = 2,
		.stripe_offset = 0xffff};
	CHECK_EQ(lov_encode(md, buf, sizeof(buf), &len), 0);
	CHECK_EQ(client_setxattr(c, &root_cred, fid, "lustre.lov", span_of(buf, len), 0), 0);
	CHECK_EQ(client_getxattr(c, &root_cred, fid, "lustre.lov",
			 (struct client_out){buf, sizeof(buf)}, &len),
		0);
	CHECK_EQ(lov_decode(buf, len, md), 0);
	CHECK(md->stripe_count == 2 && md->stripe_size == 2 * LIM_STRIPE_SIZE_MIN);
	CHECK_EQ(client_setxattr(c, &root_cred, fid, "lustre.lov", span_of("junk", 4), 0),
		-NE_INVAL);
	mem_free(md);
}

static void tools_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_create how = {.mode = S_IFREG | 0644};
	struct client_attr attr;
	struct client_attr dir;
	char *text = mem_alloc(65536);
	char name[96];
	char fid[FID_STR_MAX];
	size_t len;

	CHECK(text != NULL);
	CHECK_EQ(client_create(c, &root_cred, client_root(c), "a\"b", &how, &attr), 0);
	ask(c, attr.fid, "nacre.fid", text, 65536);
	fid_format(attr.fid, fid, sizeof(fid));
	snprintf(name, sizeof(name), "{\"fid\": \"%s\", \"ino\": %" PRIu64 "}", fid, attr.ino);
	CHECK_STR(text, name);
	snprintf(name, sizeof(name), "nacre.path.%s", fid);
	ask(c, client_root(c), name, text, 65536);
	has(text, "\"paths\": [{\"link\": 0, \"path\": \"a\\\"b\"}], \"next\": 0}");
	ask(c, client_root(c), "nacre.map", text, 65536);
	has(text, "\"fsname\": \"testfs\"");
	has(text, "\"name\": \"OST0002\", \"kind\": \"OST\", \"index\": 2");
	has(text, "\"addresses\": [\"sim:ost2:1\"]");
	has(text, "\"active\": true");
	has(text, "\"next\": 0}");
	ask(c, client_root(c), "nacre.statfs", text, 65536);
	has(text, "{\"name\": \"MDT0000\", \"kind\": \"MDT\", \"index\": 0, \"bytes_total\": ");
	has(text, "\"name\": \"OST0001\"");
	ask(c, client_root(c), "nacre.check", text, 65536);
	has(text, "\"state\": \"active\", \"address\": \"sim:ost0:1\"");
	ask(c, client_root(c), "nacre.client", text, 65536);
	has(text, "\"hostname\": \"host\", \"pid\": 77, \"read_only\": false");
	ask(c, attr.fid, "nacre.layout", text, 65536);
	has(text,
		"{\"type\": \"file\", \"pattern\": \"raid0\", \"stripe_size\": 65536, "
		"\"stripe_count\": 3");
	has(text, "\"objects\": [{\"stripe\": 0, \"ost\": ");
	ask(c, client_root(c), "nacre.layout", text, 65536);
	has(text, "{\"type\": \"directory\"");
	has(text, "\"inherited\": false, \"stripe_offset\": -1, \"osts\": []}");
	how.mode = S_IFDIR | 0755;
	CHECK_EQ(client_create(c, &root_cred, client_root(c), "d", &how, &dir), 0);
	ask(c, dir.fid, "nacre.layout", text, 65536);
	has(text, "\"stripe_count\": 3");
	/* Without a default of its own it shows what new files get. */
	CHECK_EQ(client_removexattr(c, &root_cred, client_root(c), "lustre.lov"), 0);
	CHECK_EQ(client_removexattr(c, &root_cred, dir.fid, "lustre.lov"), 0);
	ask(c, dir.fid, "nacre.layout", text, 65536);
	has(text, "\"stripe_count\": 1");
	has(text, "\"inherited\": true");
	CHECK_EQ(client_getxattr(c, &root_cred, dir.fid, "lustre.lov",
			 (struct client_out){text, 65536}, &len),
		-NE_NODATA);
	CHECK_EQ(client_getxattr(c, &root_cred, attr.fid, "nacre.none",
			 (struct client_out){text, 100}, &len),
		-NE_NODATA);
	CHECK_EQ(client_getxattr(c, &root_cred, attr.fid, "nacre.fid.x",
			 (struct client_out){text, 100}, &len),
		-NE_NODATA);
	lov_check(c, attr.fid);
	mem_free(text);
}

TEST(questions_of_tools)
{
	struct cluster *cl = cluster_new(6, 3, LIM_STRIPE_SIZE_MIN, 3);

	cluster_client_start(cl, 0, tools_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- everything made durable ---- */

static struct client_file *file_with_data(struct client *c, const char *name)
{
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = O_RDWR};
	uint8_t *data = mem_zalloc(LIM_STRIPE_SIZE_MIN * 3);
	struct iovec iov = {.iov_base = data, .iov_len = LIM_STRIPE_SIZE_MIN * 3};
	struct client_attr attr;
	struct client_file *f;
	size_t put = 0;

	CHECK(data != NULL);
	CHECK_EQ(client_create_open(c, &root_cred, (struct client_entry){client_root(c), name},
			 &how, &attr, &f),
		0);
	CHECK_EQ(client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, 0}, &put), 0);
	CHECK_EQ(put, iov.iov_len);
	mem_free(data);
	return f;
}

static int sync_all(struct client *c)
{
	return client_setxattr(
		c, &root_cred, client_root(c), "nacre.sync", (struct span){"1", 1}, 0);
}

static void sync_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *kept;

	CHECK_EQ(client_release(c, file_with_data(c, "removed")), 0);
	CHECK_EQ(client_release(c, file_with_data(c, "stays")), 0);
	kept = file_with_data(c, "open");
	CHECK_EQ(client_unlink(c, &root_cred, client_root(c), "removed"), 0);
	CHECK_EQ(client_unlink(c, &root_cred, client_root(c), "open"), 0);
	/* The objects of what is gone are destroyed a moment later. */
	env_sleep(sim_node_env(cl->client[client].node), NS_PER_S);
	CHECK_EQ(sync_all(c), 0);
	CHECK_EQ(sync_all(c), 0);
	CHECK_EQ(client_fsync(c, kept, false), 0);
	CHECK_EQ(client_release(c, kept), 0);
}

/* Files that were removed before their data was durable are no loss. */
TEST(sync_after_unlink)
{
	struct cluster *cl = cluster_new(7, 3, LIM_STRIPE_SIZE_MIN, 3);

	cluster_client_start(cl, 0, sync_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}
