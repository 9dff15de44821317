/*
 * Mounts a Nacre file system, writes a file, reads it back and lists the directory.
 *
 *	hello MGS FSNAME KEYFILE [DIR]
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <nacre/nacre.h>

static int fail(const char *step)
{
	fprintf(stderr, "hello: %s: %s\n", step, nacre_error_text());
	return 1;
}

static int write_and_read(struct nacre *fs)
{
	static const char text[] = "Hello, parallel world\n";
	struct nacre_file *file;
	char buf[64];
	ssize_t n;

	if (nacre_open(fs, "hello.txt", O_CREAT | O_RDWR | O_TRUNC, 0644, &file) < 0) {
		return fail("open");
	}
	if (nacre_pwrite(file, text, strlen(text), 0) < 0 || nacre_fsync(file) < 0) {
		return fail("write");
	}
	n = nacre_pread(file, buf, sizeof(buf), 0);
	if (n < 0) {
		return fail("read");
	}
	printf("%.*s", (int)n, buf);
	return nacre_close(file) < 0 ? fail("close") : 0;
}

static int list(struct nacre *fs)
{
	struct nacre_dirent entry;
	struct nacre_dir *dir;
	int rc;

	if (nacre_opendir(fs, "/", &dir) < 0) {
		return fail("opendir");
	}
	while ((rc = nacre_readdir(dir, &entry)) > 0) {
		printf("%20llu %s\n", (unsigned long long)entry.ino, entry.name);
	}
	nacre_closedir(dir);
	return rc < 0 ? fail("readdir") : 0;
}

int main(int argc, char **argv)
{
	struct nacre_options options = {.size = sizeof(options)};
	struct nacre *fs;
	char why[256];
	int rc;

	if (argc < 4) {
		fprintf(stderr, "usage: hello MGS FSNAME KEYFILE [DIR]\n");
		return 2;
	}
	options.mgs = argv[1];
	options.fsname = argv[2];
	options.key_path = argv[3];
	options.subdir = argc > 4 ? argv[4] : NULL;
	options.patience_s = 30;
	if (nacre_mount(&options, why, sizeof(why), &fs) < 0) {
		fprintf(stderr, "hello: %s\n", why);
		return 1;
	}
	rc = write_and_read(fs);
	if (rc == 0) {
		rc = list(fs);
	}
	if (nacre_umount(fs) < 0 && rc == 0) {
		rc = fail("umount");
	}
	return rc;
}
