/*
 * Small things the verbs share: files, sizes, JSON output, the program's own place.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_json_print(json_t *j)
{
	char *text = json_dumps(j, JSON_INDENT(2));

	json_decref(j);
	if (text == NULL) {
		return cli_fail("out of memory");
	}
	puts(text);
	free(text);
	return 0;
}

bool cli_size_parse(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "kmgtpe";
	unsigned long long n;
	unsigned shift = 0;
	char *end;

	if (text[0] < '0' || text[0] > '9') {
		return false;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0) {
		return false;
	}
	if (*end != '\0') {
		const char *u = strchr(units, *end | 0x20);

		if (u == NULL || end[1] != '\0') {
			return false;
		}
		shift = (unsigned)(u - units + 1) * 10;
	}
	if (shift > 0 && n >> (64 - shift) != 0) {
		return false;
	}
	*ret_bytes = (uint64_t)n << shift;
	return true;
}

const char *cli_size_format(uint64_t bytes, char *buf, size_t cap)
{
	static const char units[] = "BKMGTPE";
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024 && u + 2 < sizeof(units)) {
		v /= 1024;
		u++;
	}
	if (u == 0) {
		snprintf(buf, cap, "%" PRIu64, bytes);
	} else {
		snprintf(buf, cap, "%.1f%c", v, units[u]);
	}
	return buf;
}

char *cli_file_read(const char *path, size_t max, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;

	if (f == NULL) {
		return NULL;
	}
	text = malloc(max + 1);
	if (text == NULL) {
		fclose(f);
		errno = ENOMEM;
		return NULL;
	}
	n = fread(text, 1, max, f);
	if (ferror(f) || !feof(f)) {
		fclose(f);
		free(text);
		errno = EFBIG;
		return NULL;
	}
	fclose(f);
	text[n] = '\0';
	if (ret_len != NULL) {
		*ret_len = n;
	}
	return text;
}

static int file_write_fd(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

int cli_file_write(const char *path, const char *text, size_t len, unsigned mode)
{
	char tmp[PATH_MAX + 8];
	int fd;
	int err;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0) {
		return -errno;
	}
	err = file_write_fd(fd, text, len);
	if (err == 0 && fchmod(fd, mode) != 0) {
		err = -errno;
	}
	close(fd);
	if (err == 0 && rename(tmp, path) != 0) {
		err = -errno;
	}
	if (err != 0) {
		unlink(tmp);
	}
	return err;
}

const char *cli_bin_dir(void)
{
	static char dir[PATH_MAX];
	static char self[PATH_MAX];
	ssize_t n;

	if (dir[0] != '\0') {
		return dir;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0) {
		return "/usr/bin";
	}
	self[n] = '\0';
	snprintf(dir, sizeof(dir), "%s", dirname(self));
	return dir;
}
