/*
 * lfs find -printf: find(1)'s directives as far as Lustre's lfs has them, and %L. of the layout.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/lfs_find.h"

/* Of the path, of the inode; %A@ and the like, and %L., have a second letter. */
#define OF_PATH "pfPhdy%"
#define OF_INODE "sbkinmMuUgGtacw"
#define OF_STAMP "ATCW"
#define OF_LAYOUT "cFiopS"

bool find_format_check(const char *format, char *ret_bad, size_t cap)
{
	for (const char *at = format; *at != '\0'; at++) {
		const char *first = at;
		bool ok;

		if (*at != '%') {
			continue;
		}
		at++;
		if (*at == '\0') {
			ok = false;
			at--;
		} else if (*at == 'L') {
			at++;
			ok = *at != '\0' && strchr(OF_LAYOUT, *at) != NULL;
		} else if (strchr(OF_STAMP, *at) != NULL) {
			at++;
			ok = *at == '@';
		} else {
			ok = strchr(OF_PATH OF_INODE, *at) != NULL;
		}
		if (!ok) {
			snprintf(ret_bad, cap, "%.3s", first);
			return false;
		}
	}
	return true;
}

/* ---- pieces ---- */

/* \n and friends; returns what was used behind the backslash. */
static size_t escape_print(FILE *out, const char *at)
{
	static const char from[] = "abfnrtv\\\"";
	static const char to[] = "\a\b\f\n\r\t\v\\\"";
	const char *known = at[0] == '\0' ? NULL : strchr(from, at[0]);
	unsigned n = 0;
	size_t used = 0;

	if (known != NULL) {
		fputc(to[known - from], out);
		return 1;
	}
	while (used < 3 && at[used] >= '0' && at[used] <= '7') {
		n = n * 8 + (unsigned)(at[used++] - '0');
	}
	fputc(used > 0 ? (int)(n & 0xff) : '\\', out);
	return used;
}

static void mode_print(FILE *out, unsigned mode)
{
	static const char *const bits[] = {"---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"};
	char text[11];

	snprintf(text, sizeof(text), "%c%s%s%s",
		S_ISDIR(mode)            ? 'd'
			: S_ISLNK(mode)  ? 'l'
			: S_ISBLK(mode)  ? 'b'
			: S_ISCHR(mode)  ? 'c'
			: S_ISFIFO(mode) ? 'p'
			: S_ISSOCK(mode) ? 's'
					 : '-',
		bits[mode >> 6 & 7], bits[mode >> 3 & 7], bits[mode & 7]);
	if ((mode & S_ISUID) != 0) {
		text[3] = text[3] == 'x' ? 's' : 'S';
	}
	if ((mode & S_ISGID) != 0) {
		text[6] = text[6] == 'x' ? 's' : 'S';
	}
	if ((mode & S_ISVTX) != 0) {
		text[9] = text[9] == 'x' ? 't' : 'T';
	}
	fputs(text, out);
}

static void type_print(FILE *out, unsigned char type)
{
	static const char letters[] = "?pc?d?b?f?l?s";

	fputc(type < sizeof(letters) - 1 ? letters[type] : '?', out);
}

static void date_print(FILE *out, const struct statx_timestamp *t)
{
	time_t s = t->tv_sec;
	struct tm tm;
	char day[64];

	if (localtime_r(&s, &tm) == NULL) {
		fprintf(out, "%lld", (long long)t->tv_sec);
		return;
	}
	strftime(day, sizeof(day), "%a %b %e %H:%M:%S", &tm);
	fprintf(out, "%s.%09" PRIu32 "0 %d", day, t->tv_nsec, tm.tm_year + 1900);
}

static void seconds_print(FILE *out, const struct statx_timestamp *t)
{
	fprintf(out, "%lld.%09" PRIu32 "0", (long long)t->tv_sec, t->tv_nsec);
}

static const struct statx_timestamp *stamp(const struct find_file *f, char letter)
{
	switch (letter) {
	case 'a':
	case 'A':
		return &f->inode.stx_atime;
	case 'c':
	case 'C':
		return &f->inode.stx_ctime;
	case 'w':
	case 'W':
		return &f->inode.stx_btime;
	}
	return &f->inode.stx_mtime;
}

static void owner_print(FILE *out, char letter, const struct statx *st)
{
	const struct passwd *pw = letter == 'u' ? getpwuid(st->stx_uid) : NULL;
	const struct group *gr = letter == 'g' ? getgrgid(st->stx_gid) : NULL;

	if (pw != NULL) {
		fputs(pw->pw_name, out);
	} else if (gr != NULL) {
		fputs(gr->gr_name, out);
	} else {
		fprintf(out, "%" PRIu32,
			letter == 'u' || letter == 'U' ? st->stx_uid : st->stx_gid);
	}
}

static void path_print(FILE *out, char letter, const struct find_file *f)
{
	const char *below = f->path + f->start_len;
	const char *slash;

	switch (letter) {
	case 'p':
		fputs(f->path, out);
		break;
	case 'f':
		fputs(f->base, out);
		break;
	case 'P':
		fputs(below[0] == '/' ? below + 1 : below, out);
		break;
	case 'h':
		slash = strrchr(f->path, '/');
		fprintf(out, "%.*s", slash == NULL ? 1 : (int)(slash - f->path),
			slash == NULL ? "." : f->path);
		break;
	case 'd':
		fprintf(out, "%u", f->depth);
		break;
	case 'y':
		type_print(out, f->type);
		break;
	default:
		fputc('%', out);
	}
}

static void inode_print(FILE *out, char letter, const struct find_file *f)
{
	const struct statx *st = &f->inode;

	switch (letter) {
	case 's':
		fprintf(out, "%llu", (unsigned long long)st->stx_size);
		break;
	case 'b':
		fprintf(out, "%llu", (unsigned long long)st->stx_blocks);
		break;
	case 'k':
		fprintf(out, "%llu", (unsigned long long)(st->stx_blocks + 1) / 2);
		break;
	case 'i':
		fprintf(out, "%llu", (unsigned long long)st->stx_ino);
		break;
	case 'n':
		fprintf(out, "%" PRIu32, st->stx_nlink);
		break;
	case 'm':
		fprintf(out, "%o", st->stx_mode & 07777u);
		break;
	case 'M':
		mode_print(out, st->stx_mode);
		break;
	case 'u':
	case 'U':
	case 'g':
	case 'G':
		owner_print(out, letter, st);
		break;
	default:
		date_print(out, stamp(f, letter));
	}
}

static void layout_print(FILE *out, char letter, const struct find_file *f)
{
	const struct lfs_layout *l = f->layout;

	if (f->no_layout) {
		return;
	}
	switch (letter) {
	case 'c':
		fprintf(out, "%d", l->stripe_count);
		break;
	case 'i':
		fprintf(out, "%d", l->stripe_offset);
		break;
	case 'o':
		for (uint32_t i = 0; i < l->osts_count; i++) {
			fprintf(out, "%s%" PRIu32, i > 0 ? "," : "", l->osts[i]);
		}
		break;
	case 'p':
		fputs(l->pool, out);
		break;
	default:
		fprintf(out, "%llu", (unsigned long long)l->stripe_size);
	}
}

/* The identifier follows from the inode number. */
static int fid_print(FILE *out, struct find_file *f)
{
	char text[FID_STR_MAX];
	int err = find_inode_need(f);

	if (err == 0) {
		fputs(fid_format(fid_from_ino(f->inode.stx_ino), text, sizeof(text)), out);
	}
	return err;
}

static int layout_directive(FILE *out, char letter, struct find_file *f)
{
	int err = f->type == DT_UNKNOWN ? find_inode_need(f) : 0;

	if (letter == 'F') {
		return fid_print(out, f);
	}
	if (err == 0) {
		err = find_layout_need(f);
	}
	if (err == 0) {
		layout_print(out, letter, f);
	}
	return err;
}

int find_format_print(FILE *out, const char *format, struct find_file *f)
{
	int err = 0;

	for (const char *at = format; *at != '\0' && err == 0; at++) {
		if (*at == '\\') {
			at += escape_print(out, at + 1);
		} else if (*at != '%') {
			fputc(*at, out);
		} else if (*++at == 'L') {
			err = layout_directive(out, *++at, f);
		} else if (strchr(OF_PATH, *at) != NULL && (*at != 'y' || f->type != DT_UNKNOWN)) {
			path_print(out, *at, f);
		} else {
			err = find_inode_need(f);
			if (err == 0 && *at == 'y') {
				path_print(out, *at, f);
			} else if (err == 0 && strchr(OF_STAMP, *at) != NULL) {
				seconds_print(out, stamp(f, *at++));
			} else if (err == 0) {
				inode_print(out, *at, f);
			}
		}
	}
	return err;
}
