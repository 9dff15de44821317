/*
 * Parsing of what the user typed. Everything unknown is an error that names it, unless mount(8) said -s (sloppy).
 */
#include "fuse/mount_opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(char *ret_why, const char *what, const char *value)
{
	(void)snprintf(ret_why, MOUNT_WHY_MAX, "%s: '%.300s'", what, value);
	return -NE_INVAL;
}

void mount_opts_init(struct mount_opts *o)
{
	memset(o, 0, sizeof(*o));
	o->log_level = LOG_INFO;
	o->ready_fd = -1;
}

static int text_copy(char *to, size_t cap, const char *from, size_t len)
{
	if (len >= cap) {
		return -NE_NAMETOOLONG;
	}
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

/* ---- the source ---- */

static bool port_ok(const char *at, size_t len)
{
	unsigned long port = 0;

	for (size_t i = 0; i < len; i++) {
		if (at[i] < '0' || at[i] > '9' || len > 5) {
			return false;
		}
		port = port * 10 + (unsigned long)(at[i] - '0');
	}
	return len > 0 && port > 0 && port < 65536;
}

/* One "HOST", "HOST:PORT", "[V6]" or "[V6]:PORT". */
static int addr_add(struct mount_opts *o, const char *at, size_t len)
{
	size_t host = len;
	const char *colon;
	char *to = o->addrs[o->addr_count];
	int n;

	if (o->addr_count == LIM_ADDRS_MAX || len == 0) {
		return -NE_INVAL;
	}
	if (at[0] == '[') {
		const char *end = memchr(at, ']', len);

		host = end != NULL ? (size_t)(end - at) + 1 : 0;
	} else {
		colon = memchr(at, ':', len);
		host = colon != NULL ? (size_t)(colon - at) : len;
	}
	if (host == 0 || (at[0] == '[' && host < 4)) {
		return -NE_INVAL;
	}
	if (host == len) {
		n = snprintf(
			to, sizeof(o->addrs[0]), "tcp:%.*s:%d", (int)host, at, MOUNT_PORT_DEFAULT);
	} else {
		if (at[host] != ':' || !port_ok(at + host + 1, len - host - 1)) {
			return -NE_INVAL;
		}
		n = snprintf(to, sizeof(o->addrs[0]), "tcp:%.*s", (int)len, at);
	}
	if (n < 0 || (size_t)n >= sizeof(o->addrs[0])) {
		return -NE_INVAL;
	}
	o->addr_count++;
	return 0;
}

static int subdir_set(struct mount_opts *o, const char *at)
{
	size_t len;

	at += strspn(at, "/");
	len = strlen(at);
	while (len > 0 && at[len - 1] == '/') {
		len--;
	}
	return text_copy(o->subdir, sizeof(o->subdir), at, len);
}

int mount_source_parse(struct mount_opts *o, const char *source, char *ret_why)
{
	const char *slash = strstr(source, ":/");
	const char *at = source;
	const char *fs;
	size_t len;

	if (slash == NULL || slash == source) {
		return refuse(ret_why, "the source must be HOST[:PORT][,HOST...]:/FSNAME[/SUBDIR]",
			source);
	}
	if (text_copy(o->source, sizeof(o->source), source, strlen(source)) < 0) {
		return refuse(ret_why, "the source is too long", source);
	}
	o->addr_count = 0;
	while (at < slash) {
		const char *comma = memchr(at, ',', (size_t)(slash - at));
		const char *end = comma != NULL ? comma : slash;

		if (addr_add(o, at, (size_t)(end - at)) < 0) {
			return refuse(
				ret_why, "not a list of at most 8 addresses HOST[:PORT]", source);
		}
		at = end + 1;
	}
	fs = slash + 2;
	len = strcspn(fs, "/");
	if (len == 0 || text_copy(o->fsname, sizeof(o->fsname), fs, len) < 0) {
		return refuse(ret_why, "a file system's name has 1 to 8 characters", fs);
	}
	if (fs[len] != '\0' && subdir_set(o, fs + len) < 0) {
		return refuse(ret_why, "the subdirectory's path is too long", fs);
	}
	return 0;
}

/* ---- options ---- */

static int set_number(const char *value, uint64_t max, int base, uint64_t *ret_number)
{
	const char *digits = base == 16 ? "0123456789abcdef" : "0123456789";
	unsigned long long n;
	char *end;

	if (value == NULL || *value == '\0' || strchr(digits, *value) == NULL) {
		return -NE_INVAL;
	}
	n = strtoull(value, &end, base);
	if (*end != '\0' || n > max) {
		return -NE_INVAL;
	}
	*ret_number = n;
	return 0;
}

static int set_path(const char *value, char *to, size_t cap)
{
	return value != NULL && *value != '\0' ? text_copy(to, cap, value, strlen(value))
					       : -NE_INVAL;
}

/* Words that mean nothing to us but belong to every fstab. */
static bool word_is_fstab(const char *word)
{
	static const char *const words[] = {"defaults", "auto", "noauto", "user", "nouser", "users",
		"owner", "group", "nofail", "_netdev", "async", "relatime", "norelatime",
		"strictatime", "atime", "diratime", "nodiratime", "lazytime", "nolazytime",
		"silent", "loud", "mand", "nomand", "iversion", "noiversion"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i]) == 0) {
			return true;
		}
	}
	return strncmp(word, "x-", 2) == 0 || strncmp(word, "X-", 2) == 0 ||
		strncmp(word, "comment=", 8) == 0;
}

static bool word_flag(struct mount_opts *o, const char *word)
{
	struct {
		const char *word;
		bool *to;
		bool value;
	} const flags[] = {
		{"ro", &o->read_only, true},
		{"rw", &o->read_only, false},
		{"no_uring", &o->no_uring, true},
		{"foreground", &o->foreground, true},
		{"noatime", &o->noatime, true},
		{"monitor_open", &o->monitor_open, true},
	};
	struct {
		const char *word;
		enum mount_choice *to;
		enum mount_choice value;
	} const choices[] = {
		{"dev", &o->dev, MOUNT_YES},
		{"nodev", &o->dev, MOUNT_NO},
		{"suid", &o->suid, MOUNT_YES},
		{"nosuid", &o->suid, MOUNT_NO},
		{"exec", &o->exec, MOUNT_YES},
		{"noexec", &o->exec, MOUNT_NO},
		{"allow_other", &o->allow_other, MOUNT_YES},
		{"noallow_other", &o->allow_other, MOUNT_NO},
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (strcmp(word, flags[i].word) == 0) {
			*flags[i].to = flags[i].value;
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		if (strcmp(word, choices[i].word) == 0) {
			*choices[i].to = choices[i].value;
			return true;
		}
	}
	return false;
}

static int word_monitor(struct mount_opts *o, const char *name, const char *value)
{
	if (strcmp(name, "monitor") == 0) {
		return set_path(value, o->monitor_path, sizeof(o->monitor_path));
	}
	if (strcmp(name, "monitor_listen") == 0) {
		return set_path(value, o->monitor_listen, sizeof(o->monitor_listen));
	}
	if (strcmp(name, "monitor_token") == 0) {
		return set_path(value, o->monitor_token, sizeof(o->monitor_token));
	}
	return -NE_NODATA;
}

/* 0, -NE_INVAL (bad value), or -NE_NODATA (no such option). */
static int word_value(struct mount_opts *o, const char *name, const char *value)
{
	if (strcmp(name, "key") == 0) {
		return set_path(value, o->key_path, sizeof(o->key_path));
	}
	if (strcmp(name, "subdir") == 0) {
		return value != NULL ? subdir_set(o, value) : -NE_INVAL;
	}
	if (strcmp(name, "log") == 0) {
		return set_path(value, o->log_path, sizeof(o->log_path));
	}
	if (strcmp(name, "log_level") == 0) {
		return value != NULL ? log_level_parse(value, &o->log_level) : -NE_INVAL;
	}
	if (strncmp(name, "monitor", 7) == 0) {
		return word_monitor(o, name, value);
	}
	if (strcmp(name, "log_format") == 0) {
		bool json = value != NULL && strcmp(value, "json") == 0;

		o->log_json = json;
		return json || (value != NULL && strcmp(value, "text") == 0) ? 0 : -NE_INVAL;
	}
	if (strcmp(name, "patience") == 0) {
		return set_number(value, 1000000000, 10, &o->patience_s);
	}
	if (strcmp(name, "mount_patience") == 0) {
		return set_number(value, 1000000, 10, &o->mount_patience_s);
	}
	if (strcmp(name, "fuse_features") == 0) {
		return set_number(value, UINT64_MAX, 16, &o->init_mask);
	}
	return -NE_NODATA;
}

static int word_parse(struct mount_opts *o, char *word, char *ret_why)
{
	char *value;
	int rc;

	if (*word == '\0' || word_flag(o, word) || word_is_fstab(word)) {
		return 0;
	}
	value = strchr(word, '=');
	if (value != NULL) {
		*value++ = '\0';
	}
	rc = word_value(o, word, value);
	if (rc == -NE_NODATA) {
		return o->sloppy ? 0 : refuse(ret_why, "unknown option", word);
	}
	return rc < 0 ? refuse(ret_why, "bad value of option", word) : 0;
}

int mount_list_parse(struct mount_opts *o, const char *list, char *ret_why)
{
	char text[MOUNT_TEXT_MAX / 4];
	int rc = 0;

	while (rc == 0 && *list != '\0') {
		size_t len = strcspn(list, ",");

		if (text_copy(text, sizeof(text), list, len) < 0) {
			return refuse(ret_why, "option too long", list);
		}
		rc = word_parse(o, text, ret_why);
		list += len;
		list += *list == ',';
	}
	return rc;
}

/* ---- the command line ---- */

struct args {
	int argc;
	char **argv;
	int at;
};

/* The value of "-o VALUE" or "-oVALUE"; NULL if it is missing. */
static const char *arg_value(struct args *a)
{
	const char *word = a->argv[a->at];

	if (word[2] != '\0') {
		return word + 2;
	}
	return a->at + 1 < a->argc ? a->argv[++a->at] : NULL;
}

static int arg_letter(struct mount_opts *o, struct args *a, char *ret_why)
{
	const char *word = a->argv[a->at];
	const char *value;

	if (word[1] == 'o' || word[1] == 't' || word[1] == 'N') {
		value = arg_value(a);
		if (value == NULL) {
			return refuse(ret_why, "a value is missing behind", word);
		}
		return word[1] == 'o' ? mount_list_parse(o, value, ret_why) : 0;
	}
	for (const char *c = word + 1; *c != '\0'; c++) {
		switch (*c) {
		case 's':
			o->sloppy = true;
			break;
		case 'f':
			o->fake = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'r':
			o->read_only = true;
			break;
		case 'w':
			o->read_only = false;
			break;
		case 'n':
			break; /* there is no mtab */
		case 'h':
			o->help = true;
			break;
		case 'V':
			o->version = true;
			break;
		default:
			return refuse(ret_why, "unknown option", word);
		}
	}
	return 0;
}

static int arg_long(struct mount_opts *o, const char *word, char *ret_why)
{
	uint64_t fd;

	if (strcmp(word, "--help") == 0) {
		o->help = true;
	} else if (strcmp(word, "--version") == 0) {
		o->version = true;
	} else if (strcmp(word, "--foreground") == 0) {
		o->foreground = true;
	} else if (strncmp(word, "--ready-fd=", 11) == 0 &&
		set_number(word + 11, 1024, 10, &fd) == 0) {
		o->ready_fd = (int)fd;
	} else {
		return refuse(ret_why, "unknown option", word);
	}
	return 0;
}

static int args_complete(const struct mount_opts *o, unsigned words, char *ret_why)
{
	if (o->help || o->version) {
		return 0;
	}
	if (words < 2) {
		(void)snprintf(ret_why, MOUNT_WHY_MAX, "%s missing; see --help",
			words == 0 ? "source and directory are" : "the directory is");
		return -NE_INVAL;
	}
	if (o->key_path[0] == '\0') {
		(void)snprintf(ret_why, MOUNT_WHY_MAX, "the option -o key=PATH is missing");
		return -NE_INVAL;
	}
	return 0;
}

int mount_opts_parse(struct mount_opts *o, int argc, char **argv, char *ret_why)
{
	struct args a = {.argc = argc, .argv = argv};
	unsigned words = 0;
	int rc = 0;

	/* -s may stand behind the options it excuses. */
	for (int i = 1; i < argc; i++) {
		o->sloppy |= argv[i][0] == '-' && argv[i][1] != 'o' && argv[i][1] != '-' &&
			strchr(argv[i], 's') != NULL;
	}
	for (a.at = 1; rc == 0 && a.at < argc; a.at++) {
		const char *word = argv[a.at];

		if (strncmp(word, "--", 2) == 0) {
			rc = arg_long(o, word, ret_why);
		} else if (word[0] == '-' && word[1] != '\0') {
			rc = arg_letter(o, &a, ret_why);
		} else if (words == 0) {
			rc = mount_source_parse(o, word, ret_why);
			words++;
		} else if (words == 1) {
			words++;
			if (set_path(word, o->target, sizeof(o->target)) < 0) {
				rc = refuse(ret_why, "not a directory's path", word);
			}
		} else {
			rc = refuse(ret_why, "one word too many", word);
		}
	}
	return rc == 0 ? args_complete(o, words, ret_why) : rc;
}
