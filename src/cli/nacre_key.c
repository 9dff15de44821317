/*
 * nacre key: makes the server key of a cluster, and out of it the keys clients and administrators get.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/crypto.h"
#include "cli/cli.h"

struct key_args {
	struct rpc_key key;
	const char *server_key;
	const char *out;
	const char *days;
};

static const char usage_text[] =
	"usage: nacre key server --out FILE\n"
	"       nacre key new --server-key FILE --cluster UUID --fsname NAME --out FILE [OPTIONS]\n"
	"       nacre key show FILE\n"
	"\n"
	"`server` makes the key all servers of a cluster share; it never leaves them. `new` makes "
	"a\n"
	"key for clients. Key files have mode 0600 and are never replaced.\n"
	"\n"
	"  --role ROLE      host (asserts user ids, default), user (one uid) or admin\n"
	"  --id N           number of the key, for logs (default 1)\n"
	"  --uid N --gid N  role user: whose\n"
	"  --root-squash    role host: uid 0 is treated as nobody\n"
	"  --read-only      no changes\n"
	"  --subdir /PATH   this directory and below only\n"
	"  --days N         expires after N days (default never)\n";

static int file_new(const char *path, const char *text)
{
	struct stat st;
	int err;

	if (lstat(path, &st) == 0) {
		return cli_fail("%s exists: keys are never replaced", path);
	}
	err = cli_file_write(path, text, strlen(text), 0600);
	return err == 0 ? 0 : cli_fail("%s: %s", path, strerror(-err));
}

static int server_make(const struct key_args *a)
{
	uint8_t key[RPC_KEY_BYTES];
	char text[256];
	int err = crypto_random(key, sizeof(key));

	if (err == 0) {
		err = rpc_server_key_format(key, text, sizeof(text));
	}
	if (err != 0) {
		return cli_fail("cannot make a key: %s", ne_text(err));
	}
	err = file_new(a->out, text);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	return err;
}

int cli_server_key_read(const char *path, uint8_t *key)
{
	size_t len = 0;
	char *text = cli_file_read(path, RPC_KEY_TEXT_MAX, &len);
	int err;

	if (text == NULL) {
		return cli_fail("server key %s: %s", path, strerror(errno));
	}
	err = rpc_server_key_parse(text, len, key);
	explicit_bzero(text, len);
	free(text);
	return err == 0 ? 0 : cli_fail("%s is no server key, or it is damaged", path);
}

static int client_make(struct key_args *a)
{
	static char text[RPC_KEY_TEXT_MAX];
	uint8_t server_key[RPC_KEY_BYTES];
	int err = cli_server_key_read(a->server_key, server_key);

	if (err != 0) {
		return err;
	}
	if (a->days != NULL) {
		a->key.expires_s = (uint64_t)time(NULL) + strtoull(a->days, NULL, 10) * 24 * 3600;
	}
	err = rpc_key_derive(&a->key, server_key);
	if (err == 0) {
		err = rpc_key_format(&a->key, text, sizeof(text));
	}
	explicit_bzero(server_key, sizeof(server_key));
	if (err != 0) {
		return cli_fail("cannot make the key: %s", ne_text(err));
	}
	err = file_new(a->out, text);
	explicit_bzero(text, sizeof(text));
	return err;
}

static int show(const char *path)
{
	static const char *const roles[] = {"host", "user", "server", "admin"};
	static struct rpc_key key;
	char uuid[UUID_STR_MAX];
	size_t len = 0;
	char *text = cli_file_read(path, RPC_KEY_TEXT_MAX, &len);
	int err;

	if (text == NULL) {
		return cli_fail("%s: %s", path, strerror(errno));
	}
	err = rpc_key_parse(text, len, &key);
	free(text);
	if (err != 0) {
		return cli_fail("%s: %s", path,
			err == -NE_VERSION ? "made by a newer version"
					   : "not a client key, or damaged");
	}
	return cli_json_print(json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:i, s:I}",
		"key_id", (int)key.key_id, "role", roles[key.role & 3], "fsname", key.fsname,
		"cluster", uuid_format(key.cluster, uuid, sizeof(uuid)), "subdir", key.subdir,
		"allow_root", key.allow_root, "read_only", key.read_only, "uid", (int)key.uid,
		"gid", (int)key.gid, "expires_s", (json_int_t)key.expires_s));
}

enum {
	OPT_SERVER_KEY = 256,
	OPT_CLUSTER,
	OPT_FSNAME,
	OPT_OUT,
	OPT_ROLE,
	OPT_ID,
	OPT_UID,
	OPT_GID,
	OPT_SQUASH,
	OPT_READ_ONLY,
	OPT_SUBDIR,
	OPT_DAYS,
};

static const struct option options[] = {
	{"server-key", required_argument, NULL, OPT_SERVER_KEY},
	{"cluster", required_argument, NULL, OPT_CLUSTER},
	{"fsname", required_argument, NULL, OPT_FSNAME},
	{"out", required_argument, NULL, OPT_OUT},
	{"role", required_argument, NULL, OPT_ROLE},
	{"id", required_argument, NULL, OPT_ID},
	{"uid", required_argument, NULL, OPT_UID},
	{"gid", required_argument, NULL, OPT_GID},
	{"root-squash", no_argument, NULL, OPT_SQUASH},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"subdir", required_argument, NULL, OPT_SUBDIR},
	{"days", required_argument, NULL, OPT_DAYS},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int text_take(const char *name, char *buf, size_t cap)
{
	if (strlen(optarg) >= cap) {
		return cli_usage("key", "--%s %s is too long", name, optarg);
	}
	memcpy(buf, optarg, strlen(optarg) + 1);
	return 0;
}

static int number_take(const char *name, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(optarg, &end, 10);

	if (end == optarg || *end != '\0' || n > UINT32_MAX) {
		return cli_usage("key", "--%s %s is no number", name, optarg);
	}
	*ret = (uint32_t)n;
	return 0;
}

static int role_take(struct key_args *a)
{
	if (strcmp(optarg, "host") == 0) {
		a->key.role = RPC_ROLE_HOST;
	} else if (strcmp(optarg, "user") == 0) {
		a->key.role = RPC_ROLE_USER;
	} else if (strcmp(optarg, "admin") == 0) {
		a->key.role = RPC_ROLE_ADMIN;
	} else {
		return cli_usage("key", "--role %s: host, user or admin", optarg);
	}
	return 0;
}

static int option_take(struct key_args *a, int opt, char **argv)
{
	switch (opt) {
	case OPT_SERVER_KEY:
		a->server_key = optarg;
		return 0;
	case OPT_CLUSTER:
		return uuid_parse(optarg, &a->key.cluster) == 0
			? 0
			: cli_usage("key", "--cluster %s is no UUID", optarg);
	case OPT_FSNAME:
		return text_take("fsname", a->key.fsname, sizeof(a->key.fsname));
	case OPT_OUT:
		a->out = optarg;
		return 0;
	case OPT_ROLE:
		return role_take(a);
	case OPT_ID:
		return number_take("id", &a->key.key_id);
	case OPT_UID:
		return number_take("uid", &a->key.uid);
	case OPT_GID:
		return number_take("gid", &a->key.gid);
	case OPT_SQUASH:
		a->key.allow_root = false;
		return 0;
	case OPT_READ_ONLY:
		a->key.read_only = true;
		return 0;
	case OPT_SUBDIR:
		return optarg[0] == '/'
			? text_take("subdir", a->key.subdir, sizeof(a->key.subdir))
			: cli_usage("key", "--subdir %s: must begin with /", optarg);
	case OPT_DAYS:
		a->days = optarg;
		return 0;
	default:
		return cli_usage_option("key", opt, argv);
	}
}

int cli_key(int argc, char **argv)
{
	static struct key_args a = {.key = {.key_id = 1, .allow_root = true}};
	const char *verb;
	int opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}

		int err = option_take(&a, opt, argv);

		if (err != 0) {
			return err;
		}
	}
	verb = optind < argc ? argv[optind] : "";
	if (strcmp(verb, "show") == 0 && optind + 2 == argc) {
		return show(argv[optind + 1]);
	}
	if (strcmp(verb, "server") == 0 && optind + 1 == argc && a.out != NULL) {
		return server_make(&a);
	}
	if (strcmp(verb, "new") == 0 && optind + 1 == argc && a.out != NULL &&
		a.server_key != NULL && a.key.fsname[0] != '\0' && !uuid_is_zero(a.key.cluster)) {
		return client_make(&a);
	}
	return cli_usage("key", "something is missing");
}
