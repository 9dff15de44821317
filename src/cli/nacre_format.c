/*
 * nacre format: prepares a directory as a target. What is a target already, or holds anything else, is refused.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/super.h"

struct format {
	struct super super;
	char path[PATH_MAX];
	bool json;
};

static const char usage_text[] =
	"usage: nacre format --fsname NAME --cluster UUID --target NAME [OPTIONS] PATH\n"
	"\n"
	"Prepares the directory PATH (made if needed, else empty) as a target.\n"
	"\n"
	"  --fsname NAME      file system, up to 8 characters\n"
	"  --cluster UUID     identity of the cluster: the same for all its targets\n"
	"  --target NAME      MGT0000, MDT0000, OSTxxxx (hexadecimal)\n"
	"  --capacity SIZE    bytes it may use, e.g. 10G (default: what the disk has)\n"
	"  --json             print facts as JSON\n";

static int format_run(struct env *env, void *ctx)
{
	struct format *f = ctx;
	uint8_t random[16];
	int err;

	env_random_bytes(env, random, sizeof(random));
	f->super.uuid = uuid_from_random(random);
	f->super.formatted_ns = env_realtime(env);
	err = super_format(env, f->path, &f->super);
	switch (err) {
	case 0:
		return 0;
	case -NE_EXIST:
		return cli_fail("%s is a target already: it is left alone", f->path);
	case -NE_NOTEMPTY:
		return cli_fail("%s is not empty: it is left alone", f->path);
	case -NE_CORRUPT:
		return cli_fail("%s holds a damaged target: it is left alone", f->path);
	case -NE_TOONEW:
		return cli_fail("%s holds a target of a newer version: it is left alone", f->path);
	case -NE_LOCKED:
		return cli_fail("%s is in use", f->path);
	default:
		return cli_fail("%s: %s", f->path, ne_text(err));
	}
}

enum {
	OPT_FSNAME = 256,
	OPT_CLUSTER,
	OPT_TARGET,
	OPT_CAPACITY,
	OPT_JSON
};

static const struct option options[] = {
	{"fsname", required_argument, NULL, OPT_FSNAME},
	{"cluster", required_argument, NULL, OPT_CLUSTER},
	{"target", required_argument, NULL, OPT_TARGET},
	{"capacity", required_argument, NULL, OPT_CAPACITY},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int option_take(struct format *f, int opt, char **argv, unsigned *seen)
{
	switch (opt) {
	case OPT_FSNAME:
		if (strlen(optarg) < 1 || strlen(optarg) > LIM_FSNAME_MAX) {
			return cli_usage("format", "--fsname %s: 1 to %d characters", optarg,
				LIM_FSNAME_MAX);
		}
		snprintf(f->super.fsname, sizeof(f->super.fsname), "%s", optarg);
		*seen |= 1;
		return 0;
	case OPT_CLUSTER:
		*seen |= 2;
		return uuid_parse(optarg, &f->super.cluster) == 0
			? 0
			: cli_usage("format", "--cluster %s is no UUID", optarg);
	case OPT_TARGET:
		*seen |= 4;
		return target_name_parse(optarg, &f->super.kind, &f->super.index) == 0
			? 0
			: cli_usage("format", "--target %s: MGT0000, MDTxxxx or OSTxxxx", optarg);
	case OPT_CAPACITY:
		return cli_size_parse(optarg, &f->super.capacity_bytes)
			? 0
			: cli_usage("format", "--capacity %s is no size", optarg);
	case OPT_JSON:
		f->json = true;
		return 0;
	default:
		return cli_usage_option("format", opt, argv);
	}
}

static int report(const struct format *f)
{
	char name[LIM_TARGET_NAME_MAX + 1];
	char uuid[UUID_STR_MAX];

	target_name_format(f->super.kind, f->super.index, name);
	uuid_format(f->super.uuid, uuid, sizeof(uuid));
	if (f->json) {
		json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "path", f->path, "target", name,
			"fsname", f->super.fsname, "uuid", uuid);

		return j == NULL ? cli_fail("out of memory") : cli_json_print(j);
	}
	printf("%s is target %s of %s, uuid %s\n", f->path, name, f->super.fsname, uuid);
	return 0;
}

int cli_format(int argc, char **argv)
{
	static struct format f;
	unsigned seen = 0;
	int opt;
	int err;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}
		err = option_take(&f, opt, argv, &seen);
		if (err != 0) {
			return err;
		}
	}
	if (seen != 7 || optind + 1 != argc) {
		return cli_usage("format", "--fsname, --cluster, --target and one PATH are needed");
	}
	err = cluster_dir_resolve(argv[optind], f.path, sizeof(f.path));
	if (err == 0) {
		err = cli_env_run(format_run, &f);
	}
	return err != 0 ? err : report(&f);
}
