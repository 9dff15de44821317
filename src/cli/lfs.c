/*
 * lfs: the user's tool, as Lustre's. Each command is a file lfs_COMMAND.c with an entry in the
 * table here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/lfs.h"
#include "nacre/version.h"

static const struct lfs_command commands[] = {
	{"setstripe",
		"[-c COUNT | -C COUNT] [-S SIZE] [-i INDEX] [-o OSTS] [-p POOL] PATH...\n"
		"       lfs setstripe -d DIRECTORY...",
		"Makes a file with this layout, or sets what new files of a directory get.\n"
		"  -c, --stripe-count N       objects, at most one per OST; -1: all OSTs, 0: "
		"default\n"
		"  -C, --overstripe-count N   objects, several per OST allowed\n"
		"  -S, --stripe-size SIZE     bytes per stripe (k, M, G); a multiple of 64k; 0: "
		"default\n"
		"  -i, --stripe-index N       OST of the first stripe; -1: any\n"
		"  -o, --ost LIST             exactly these OSTs in this order (0,2-4,OST0007)\n"
		"  -p, --pool NAME            OSTs of this pool; '' or none: no pool\n"
		"  -d, --delete               remove a directory's default\n",
		lfs_setstripe},
	{"getstripe", "[OPTIONS] PATH...",
		"Prints the layout of files, and what new files of a directory get. A directory's\n"
		"files are listed too.\n"
		"  -c, --stripe-count    -S, --stripe-size   -i, --stripe-index   -p, --pool\n"
		"  -g, --generation      -L, --layout        -F, --fid            -m, --mdt-index\n"
		"                        only this, without its name if it is one\n"
		"  -d, --directory       the directory itself, not its files\n"
		"  -r, --recursive       all below the directory\n"
		"  -O, --ost OST         only files with an object on this OST (--obd)\n"
		"  -q, --quiet           only the objects\n"
		"  -v, --verbose         magic, sequence, object id and FID too\n"
		"  -R, --raw             what is set, without defaults filled in\n"
		"  -y, --yaml            as YAML\n"
		"      --no-follow       a symbolic link itself\n"
		"      --json            as JSON\n",
		lfs_getstripe},
	{"df", "[-i] [-h|-H] [-l] [-v] [-p [FSNAME.]POOL] [-m[INDEX]] [-o[INDEX]] [PATH]",
		"Space of each target and of the file system.\n"
		"  -i, --inodes          files instead of bytes\n"
		"  -h, --human-readable  units of 1024\n"
		"  -H, --si              units of 1000\n"
		"  -l, --lazy            accepted; a target that does not answer is never waited "
		"for\n"
		"                        longer than 3 seconds\n"
		"  -v, --verbose         targets that are not in use too\n"
		"  -p, --pool POOL       only the OSTs of a pool\n"
		"  -m, --mdt[=INDEX]     only MDTs\n"
		"  -o, --ost[=INDEX]     only OSTs\n"
		"      --json            as JSON, in bytes\n",
		lfs_df},
	{"find", "PATH... [[!] PREDICATE]...",
		"Lists what satisfies all predicates; `!` in front of one turns it round. Names "
		"may\n"
		"begin with one dash or two. N may be +N (more) or -N (less).\n"
		"  -name GLOB  -iname GLOB  -path GLOB  -type bcdflps  -empty  -links N  -inum N\n"
		"  -size N[cbkMGTPE]  -blocks N[kMGTPE]  -perm MODE|-MODE|/MODE\n"
		"  -user NAME  -uid N  -group NAME  -gid N\n"
		"  -atime -mtime -ctime -btime N[smhdwy]  -amin -mmin -cmin -bmin N\n"
		"  -newer FILE  -newerXY REFERENCE (X: a b c m; Y: a b c m t)\n"
		"  -maxdepth N  -mindepth N\n"
		"  -ost LIST  -stripe-index LIST  -stripe-count N  -stripe-size N  -pool NAME\n"
		"  -layout raid0  -mdt-index LIST\n"
		"  -print  -print0  -printf FORMAT (find's, and %Lc %LF %Li %Lo %Lp %LS)\n",
		lfs_find},
	{"osts", "[--json] [PATH]", "OSTs of the file system, or of all mounted ones.\n", lfs_osts},
	{"mdts", "[--json] [PATH]", "MDTs of the file system, or of all mounted ones.\n", lfs_mdts},
	{"pool_list", "[--json] FSNAME[.POOL] | PATH",
		"Pools of a file system, or the OSTs of a pool.\n", lfs_pool_list},
	{"path2fid", "[--parents] [--json] PATH...",
		"Identifiers of files.\n"
		"  --parents  the identifier of each parent directory, and the name there\n",
		lfs_path2fid},
	{"fid2path", "[-0] [-f] [-c] [-n] [-l LINK] FSNAME|MOUNTPOINT FID...",
		"Paths of files.\n"
		"  -0, --print0      a NUL behind each instead of a line feed\n"
		"  -f, --print-fid   the identifier in front\n"
		"  -c, --print-link  the link's number in front\n"
		"  -l, --link N      only link N, from 0\n"
		"  -n, --name        only the last component\n"
		"      --json        as JSON\n",
		lfs_fid2path},
	{"getname", "[-i|-n|-u] [PATH...]",
		"Names of mounted file systems: FSNAME-INSTANCE MOUNTPOINT.\n"
		"  -i, --instance  only the instance\n"
		"  -n, --fsname    only the file system's name\n"
		"  -u, --uuid      the mount's uuid\n"
		"      --json      as JSON\n",
		lfs_getname},
	{"mkdir", "[-m MODE] [-p] [-i 0] [-c 1] DIRECTORY...",
		"Makes directories. There is one MDT: index 0 and count 1 are what there is.\n"
		"  -m, --mode MODE        permissions, in octal\n"
		"  -p, --parents          parents too; it is no error if it exists\n"
		"  -i, --mdt-index INDEX  0 or -1\n"
		"  -c, --mdt-count COUNT  1\n",
		lfs_mkdir},
	{"setdirstripe", "[-m MODE] [-i 0] [-c 1] DIRECTORY...", "The same as mkdir.\n", lfs_mkdir},
	{"check", "mgts|mdts|osts|all [PATH]",
		"Asks the targets of the mounted file systems whether they serve.\n"
		"  --json  as JSON, with the time each took\n",
		lfs_check},
};

static int help_all(FILE *out, int code)
{
	fputs("usage: lfs COMMAND [OPTIONS]\n\n", out);
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *help = commands[i].help;

		/* Its first sentence. */
		fprintf(out, "  %-13s%.*s\n", commands[i].name, (int)strcspn(help, ".;\n"), help);
	}
	fputs("\n`lfs COMMAND --help` tells more; `lfs --list-commands`; `lfs --version`.\n"
	      "Exit codes: 0 done, 2 wrong usage, else the errno of the failure.\n",
		out);
	return code;
}

static int help_one(const struct lfs_command *c)
{
	printf("usage: lfs %s %s\n\n%s", c->name, c->synopsis, c->help);
	return 0;
}

static const struct lfs_command *command_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0) {
			return &commands[i];
		}
	}
	return NULL;
}

static int list_commands(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		puts(commands[i].name);
	}
	puts("help");
	return 0;
}

static int help(int argc, char **argv)
{
	const struct lfs_command *c;

	if (argc < 3) {
		return help_all(stdout, 0);
	}
	c = command_find(argv[2]);
	return c != NULL ? help_one(c) : lfs_usage("help", "no command '%s'", argv[2]);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0) {
			return true;
		}
	}
	return false;
}

static int run(const struct lfs_command *c, int argc, char **argv)
{
	int code;

	if (wants_help(argc, argv)) {
		return help_one(c);
	}
	code = c->run(argc, argv);
	/* What could not be written was not told. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		return code != 0 ? code : lfs_refuse(c->name, EIO, "cannot write the output");
	}
	return code;
}

int main(int argc, char **argv)
{
	const struct lfs_command *c;

	if (argc < 2) {
		return help_all(stderr, LFS_USAGE);
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
		strcmp(argv[1], "-h") == 0) {
		return help(argc, argv);
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("lfs %s\n", NACRE_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--list-commands") == 0) {
		return list_commands();
	}
	c = command_find(argv[1]);
	if (c == NULL) {
		fprintf(stderr, "error: no command '%s'; see lfs help\n", argv[1]);
		return LFS_USAGE;
	}
	return run(c, argc - 1, argv + 1);
}
