/*
 * nacre inspect: a target's superblock, log and checkpoint, and an object's header, in readable form. Reads only;
 * works on running targets too (then the log's end may be missing).
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "cli/cli.h"
#include "daemon/super.h"
#include "mds/mds.h"
#include "mgs/mgs.h"
#include "oss/oss.h"
#include "store/state.h"

#define DUMP_MAX (1 << 20)

struct inspect {
	char path[PATH_MAX];
	char state_dir[PATH_MAX + 8];
	bool log;
	bool checkpoint;
	bool json;
	struct super super;
	struct strbuf sb;
	uint64_t count;
};

static const char usage_text[] =
	"usage: nacre inspect TARGET_DIR [--log] [--checkpoint] [--json]\n"
	"       nacre inspect OBJECT_FILE\n"
	"\n"
	"Without options: the superblock and a summary. Changes nothing.\n"
	"\n"
	"  --log          every record of the write-ahead log and what it changes\n"
	"  --checkpoint   every record of the checkpoint\n"
	"  --json         the superblock as JSON\n";

static void hex_print(const void *data, uint32_t len)
{
	const uint8_t *p = data;

	for (uint32_t i = 0; i < len; i++) {
		printf("%02x", p[i]);
	}
}

/* A record's value by what its key says it is; hex where nothing is known. */
static void value_print(
	struct inspect *in, const void *key, uint32_t key_len, const void *val, uint32_t len)
{
	const struct wire_codec *codec = NULL;

	switch (in->super.kind) {
	case W_TARGET_KIND_MDT:
		codec = mds_key_codec(key, key_len);
		break;
	case W_TARGET_KIND_OST:
		codec = oss_key_codec(key, key_len);
		break;
	default:
		codec = mgs_key_codec(key, key_len);
		break;
	}
	strbuf_clear(&in->sb);
	if (codec == NULL) {
		hex_print(val, len);
		return;
	}
	codec->dump_bytes(val, len, &in->sb);
	fputs(strbuf_text(&in->sb), stdout);
}

static int op_print(void *ctx, const struct state_op *op)
{
	struct inspect *in = ctx;

	printf("    %s ", op->del ? "del" : "put");
	hex_print(op->key, op->key_len);
	if (!op->del) {
		printf(" = ");
		value_print(in, op->key, op->key_len, op->val, op->val_len);
	}
	putchar('\n');
	return 0;
}

static int wal_print(void *ctx, const struct state_wal_view *rec)
{
	static const char *const types[] = {"?", "incarnation", "commit", "clean-stop"};
	struct inspect *in = ctx;
	uint64_t session = 0;

	printf("%s+%" PRIu64 " lsn=%" PRIx64 " %s bytes=%u crc=%08x durable=%" PRIx64 "\n",
		rec->file, rec->offset, rec->lsn, rec->type <= 3 ? types[rec->type] : "?", rec->len,
		rec->crc, rec->durable);
	in->count++;
	if (rec->type != STATE_WAL_COMMIT) {
		return 0;
	}
	return state_commit_decode(rec->payload, rec->len, &session, op_print, in);
}

static int kv_print(void *ctx, const struct state_rec *rec)
{
	struct inspect *in = ctx;

	in->count++;
	hex_print(rec->key, rec->key_len);
	printf(" = ");
	value_print(in, rec->key, rec->key_len, rec->val.data, rec->val.len);
	putchar('\n');
	return 0;
}

static int super_print(const struct inspect *in)
{
	const struct super *s = &in->super;
	char name[LIM_TARGET_NAME_MAX + 1];
	char cluster[UUID_STR_MAX];
	char uuid[UUID_STR_MAX];

	target_name_format(s->kind, s->index, name);
	uuid_format(s->cluster, cluster, sizeof(cluster));
	uuid_format(s->uuid, uuid, sizeof(uuid));
	if (in->json) {
		return cli_json_print(json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:I}", "target",
			name, "fsname", s->fsname, "cluster", cluster, "uuid", uuid, "format",
			W_FORMAT_VERSION, "epoch", (int)s->epoch, "capacity_bytes",
			(json_int_t)s->capacity_bytes));
	}
	printf("target %s\nfsname %s\ncluster %s\nuuid %s\nformat %d\nepoch %u\n"
	       "capacity_bytes %" PRIu64 "\n",
		name, s->fsname, cluster, uuid, W_FORMAT_VERSION, s->epoch, s->capacity_bytes);
	return 0;
}

static int log_inspect(struct env *env, struct inspect *in)
{
	int err = state_wal_inspect(env, in->state_dir, wal_print, in);

	if (err != 0) {
		return cli_fail("%s/wal: %s", in->state_dir, ne_text(err));
	}
	printf("%" PRIu64 " records\n", in->count);
	return 0;
}

static int checkpoint_inspect(struct env *env, struct inspect *in)
{
	uint64_t lsn = 0;
	int err;

	in->count = 0;
	err = state_kv_inspect(env, in->state_dir, STATE_KV_LMDB, kv_print, in, &lsn);
	if (err != 0) {
		return cli_fail("%s/kv: %s", in->state_dir, ne_text(err));
	}
	printf("%" PRIu64 " records, up to lsn %" PRIx64 "\n", in->count, lsn);
	return 0;
}

static int target_inspect(struct env *env, void *ctx)
{
	struct inspect *in = ctx;
	int err = super_read(env, in->path, &in->super);

	if (err != 0) {
		return cli_fail("%s: %s", in->path, ne_text(err));
	}
	snprintf(in->state_dir, sizeof(in->state_dir), "%s/state", in->path);
	if (!in->log && !in->checkpoint) {
		return super_print(in);
	}
	if (in->log) {
		err = log_inspect(env, in);
	}
	if (err == 0 && in->checkpoint) {
		err = checkpoint_inspect(env, in);
	}
	return err;
}

static int object_inspect(struct env *env, void *ctx)
{
	struct inspect *in = ctx;
	int err = oss_object_inspect(env, in->path, &in->sb);

	if (err == 0) {
		err = strbuf_error(&in->sb);
	}
	if (err != 0) {
		return cli_fail("%s: %s", in->path, ne_text(err));
	}
	printf("%s\n", strbuf_text(&in->sb));
	return 0;
}

static int inspect_run(struct inspect *in)
{
	struct stat st;
	int err;

	if (stat(in->path, &st) != 0) {
		return cli_fail("%s: %s", in->path, strerror(errno));
	}
	strbuf_init(&in->sb, DUMP_MAX);
	err = cli_env_run(S_ISDIR(st.st_mode) ? target_inspect : object_inspect, in);
	strbuf_fini(&in->sb);
	return err;
}

int cli_inspect(int argc, char **argv)
{
	static const struct option options[] = {
		{"log", no_argument, NULL, 'l'},
		{"checkpoint", no_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static struct inspect in;
	int opt;
	int err;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case 'l':
			in.log = true;
			break;
		case 'c':
			in.checkpoint = true;
			break;
		case 'j':
			in.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage_option("inspect", opt, argv);
		}
	}
	if (optind + 1 != argc) {
		return cli_usage("inspect", "one directory or file is needed");
	}
	err = cluster_dir_resolve(argv[optind], in.path, sizeof(in.path));
	return err != 0 ? err : inspect_run(&in);
}
