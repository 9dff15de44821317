/*
 * lfs find's arguments: paths and predicates in any order, long names with one dash or two, single
 * letters as Lustre's.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "cli/lfs_find.h"

#define DEPTH_MAX 1000000
#define DAY_S UINT64_C(86400)
#define MINUTE_S UINT64_C(60)

struct parser {
	struct find_options *o;
	struct find_predicate *p; /* the one being made; counted when it is done */
	const char *word; /* as written */
	bool negate;
};

static int wrong(const struct parser *ps, const char *value)
{
	return lfs_fail("find", EINVAL, "invalid value '%s' of %s", value, ps->word);
}

/* ---- values ---- */

/* Cuts + or - off. */
static const char *sign_take(struct parser *ps, const char *value)
{
	if (value[0] == '+') {
		ps->p->sign = FIND_MORE;
		return value + 1;
	}
	if (value[0] == '-') {
		ps->p->sign = FIND_LESS;
		return value + 1;
	}
	return value;
}

static int take_text(struct parser *ps, const char *value, int arg)
{
	(void)arg;
	ps->p->text = value;
	return 0;
}

static int take_number(struct parser *ps, const char *value, int arg)
{
	int64_t n;

	(void)arg;
	if (!lfs_int_parse(sign_take(ps, value), 0, INT64_MAX, &n)) {
		return wrong(ps, value);
	}
	ps->p->value = (uint64_t)n;
	return 0;
}

/* arg: bytes of a number without a unit. */
static int take_size(struct parser *ps, const char *value, int arg)
{
	const char *n = sign_take(ps, value);
	size_t len = strlen(n);

	if (!lfs_size_parse(n, &ps->p->value, &ps->p->unit)) {
		return wrong(ps, value);
	}
	if (arg > 1 && isdigit((unsigned char)n[len - 1])) {
		ps->p->value *= (uint64_t)arg;
		ps->p->unit = (uint64_t)arg;
	}
	return 0;
}

static int take_types(struct parser *ps, const char *value, int arg)
{
	(void)arg;
	if (value[0] == '\0' || value[strspn(value, "bcdflps,")] != '\0') {
		return wrong(ps, value);
	}
	ps->p->text = value;
	return 0;
}

static int take_perm(struct parser *ps, const char *value, int arg)
{
	const char *digits = value;
	char *end;

	(void)arg;
	if (value[0] == '-') {
		ps->p->perm = FIND_PERM_ALL;
		digits++;
	} else if (value[0] == '/') {
		ps->p->perm = FIND_PERM_ANY;
		digits++;
	}
	ps->p->value = strtoul(digits, &end, 8);
	if (!isdigit((unsigned char)digits[0]) || *end != '\0' || ps->p->value > 07777) {
		return lfs_fail("find", EINVAL, "invalid mode '%s' of %s (octal is wanted)", value,
			ps->word);
	}
	return 0;
}

static int take_user(struct parser *ps, const char *value, int arg)
{
	const struct passwd *pw = getpwnam(value);

	if (pw == NULL) {
		if (isdigit((unsigned char)value[0]) || value[0] == '+' || value[0] == '-') {
			return take_number(ps, value, arg);
		}
		return lfs_refuse("find", EINVAL, "no user '%s'", value);
	}
	ps->p->value = pw->pw_uid;
	return 0;
}

static int take_group(struct parser *ps, const char *value, int arg)
{
	const struct group *gr = getgrnam(value);

	if (gr == NULL) {
		if (isdigit((unsigned char)value[0]) || value[0] == '+' || value[0] == '-') {
			return take_number(ps, value, arg);
		}
		return lfs_refuse("find", EINVAL, "no group '%s'", value);
	}
	ps->p->value = gr->gr_gid;
	return 0;
}

static int take_osts(struct parser *ps, const char *value, int arg)
{
	uint32_t cap = LIM_OST_MAX;

	(void)arg;
	ps->p->osts = mem_zalloc_array(cap, sizeof(*ps->p->osts));
	if (ps->p->osts == NULL) {
		return lfs_fail("find", ENOMEM, "%s", ps->word);
	}
	if (!lfs_osts_parse(value, ps->p->osts, cap, &ps->p->osts_count)) {
		mem_free(ps->p->osts);
		ps->p->osts = NULL;
		return wrong(ps, value);
	}
	return 0;
}

/* MDTs as indexes or names: only 0 exists. */
static int take_mdts(struct parser *ps, const char *value, int arg)
{
	_cleanup_(free_ptr) char *copy = strdup(value);
	char *rest = copy;
	char *word;

	(void)arg;
	while (copy != NULL && (word = strsep(&rest, ",")) != NULL) {
		const char *name = strstr(word, "MDT");
		int64_t n = -1;

		if (name != NULL) {
			n = (int64_t)strtoul(name + 3, NULL, 16);
		} else if (!lfs_int_parse(word, 0, LIM_MDT_MAX, &n)) {
			return wrong(ps, value);
		}
		ps->p->value |= n == 0;
	}
	return 0;
}

static uint64_t time_unit(char letter)
{
	switch (letter) {
	case 's':
		return 1;
	case 'm':
		return MINUTE_S;
	case 'h':
		return 3600;
	case 'd':
		return DAY_S;
	case 'w':
		return 7 * DAY_S;
	case 'y':
		return 365 * DAY_S;
	}
	return 0;
}

bool find_time_parse(const char *text, uint64_t *ret_s, uint64_t *ret_unit)
{
	uint64_t sum = 0;
	uint64_t least = UINT64_MAX;

	if (text[0] == '\0') {
		return false;
	}
	while (*text != '\0') {
		uint64_t unit = DAY_S;
		unsigned long n;
		char *end;

		if (!isdigit((unsigned char)*text)) {
			return false;
		}
		n = strtoul(text, &end, 10);
		if (*end != '\0') {
			unit = time_unit(*end++);
		}
		if (unit == 0 || n > INT64_MAX / unit || sum > INT64_MAX - n * unit) {
			return false;
		}
		sum += n * unit;
		least = u64_min(least, unit);
		text = end;
	}
	*ret_s = sum;
	*ret_unit = least;
	return true;
}

/* arg: which time. */
static int take_age(struct parser *ps, const char *value, int arg)
{
	ps->p->stamp = (char)arg;
	if (!find_time_parse(sign_take(ps, value), &ps->p->value, &ps->p->unit)) {
		return wrong(ps, value);
	}
	return 0;
}

static int take_minutes(struct parser *ps, const char *value, int arg)
{
	int err = take_number(ps, value, arg);

	if (err == 0 && ps->p->value > INT64_MAX / MINUTE_S) {
		return wrong(ps, value);
	}
	ps->p->stamp = (char)arg;
	ps->p->value *= MINUTE_S;
	ps->p->unit = MINUTE_S;
	return err;
}

/* ---- -newer ---- */

static bool date_parse(const char *value, int64_t *ret_s)
{
	static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d",
		"%H:%M:%S", "%H:%M", "@%s", "%s"};

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		time_t now = time(NULL);
		struct tm tm;
		const char *end;

		if (localtime_r(&now, &tm) == NULL) {
			return false;
		}
		tm.tm_sec = 0;
		if (i == 2) {
			tm.tm_hour = 0;
			tm.tm_min = 0;
		}
		tm.tm_isdst = -1;
		end = strptime(value, formats[i], &tm);
		if (end != NULL && *end == '\0') {
			*ret_s = mktime(&tm);
			return true;
		}
	}
	return false;
}

static bool stamp_of(const struct statx *st, char stamp, int64_t *ret_s, uint32_t *ret_ns)
{
	const struct statx_timestamp *t = &st->stx_mtime;

	if (stamp == 'a') {
		t = &st->stx_atime;
	} else if (stamp == 'c') {
		t = &st->stx_ctime;
	} else if (stamp == 'b' || stamp == 'B') {
		if ((st->stx_mask & STATX_BTIME) == 0) {
			return false;
		}
		t = &st->stx_btime;
	}
	*ret_s = t->tv_sec;
	*ret_ns = t->tv_nsec;
	return true;
}

/* xy: which time of the file, which of the reference. */
static int newer_take(struct parser *ps, const char *value, char x, char y)
{
	struct statx st;

	ps->p->kind = FIND_NEWER;
	ps->p->stamp = x == 'B' ? 'b' : x;
	if (y == 't') {
		return date_parse(value, &ps->p->ref_s) ? 0 : wrong(ps, value);
	}
	if (statx(AT_FDCWD, value, 0, STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
		return lfs_fail("find", errno, "cannot access '%s'", value);
	}
	if (!stamp_of(&st, y, &ps->p->ref_s, &ps->p->ref_ns)) {
		return lfs_refuse("find", EINVAL, "'%s' has no time of birth", value);
	}
	return 0;
}

static int take_newer(struct parser *ps, const char *value, int arg)
{
	return newer_take(ps, value, (char)arg, 'm');
}

/* ---- options that are no predicates ---- */

static int set_depth_max(struct find_options *o, const char *value)
{
	if (!lfs_int_parse(value, 0, DEPTH_MAX, &o->depth_max)) {
		return lfs_fail("find", EINVAL, "invalid -maxdepth '%s'", value);
	}
	return 0;
}

static int set_depth_min(struct find_options *o, const char *value)
{
	if (!lfs_int_parse(value, 0, DEPTH_MAX, &o->depth_min)) {
		return lfs_fail("find", EINVAL, "invalid -mindepth '%s'", value);
	}
	return 0;
}

static int set_print(struct find_options *o, const char *value)
{
	(void)value;
	o->output = FIND_PRINT;
	return 0;
}

static int set_print0(struct find_options *o, const char *value)
{
	(void)value;
	o->output = FIND_PRINT0;
	return 0;
}

static int set_printf(struct find_options *o, const char *value)
{
	char why[32];

	if (!find_format_check(value, why, sizeof(why))) {
		return lfs_fail("find", EINVAL, "unknown directive '%s' of -printf", why);
	}
	o->output = FIND_PRINTF;
	o->format = value;
	return 0;
}

/* Accepted for scripts: nothing would be different. */
static int set_nothing(struct find_options *o, const char *value)
{
	(void)o;
	(void)value;
	return 0;
}

static const struct {
	const char *name;
	bool value;
	int (*set)(struct find_options *o, const char *value);
} settings[] = {
	{"maxdepth", true, set_depth_max},
	{"D", true, set_depth_max},
	{"mindepth", true, set_depth_min},
	{"print", false, set_print},
	{"P", false, set_print},
	{"print0", false, set_print0},
	{"0", false, set_print0},
	{"printf", true, set_printf},
	{"lazy", false, set_nothing},
	{"l", false, set_nothing},
	{"xdev", false, set_nothing},
	{"mount", false, set_nothing},
	{"a", false, set_nothing},
	{"and", false, set_nothing},
	{"threads", true, set_nothing},
};

static const struct {
	const char *name;
	enum find_kind kind;
	bool value;
	int (*take)(struct parser *ps, const char *value, int arg);
	int arg;
} predicates[] = {
	{"name", FIND_NAME, true, take_text, 0},
	{"n", FIND_NAME, true, take_text, 0},
	{"iname", FIND_INAME, true, take_text, 0},
	{"path", FIND_PATH, true, take_text, 0},
	{"type", FIND_TYPE, true, take_types, 0},
	{"t", FIND_TYPE, true, take_types, 0},
	{"size", FIND_SIZE, true, take_size, 1},
	{"s", FIND_SIZE, true, take_size, 1},
	{"blocks", FIND_BLOCKS, true, take_size, 1024},
	{"b", FIND_BLOCKS, true, take_size, 1024},
	{"perm", FIND_PERM, true, take_perm, 0},
	{"user", FIND_USER, true, take_user, 0},
	{"U", FIND_USER, true, take_user, 0},
	{"uid", FIND_USER, true, take_user, 0},
	{"u", FIND_USER, true, take_user, 0},
	{"group", FIND_GROUP, true, take_group, 0},
	{"G", FIND_GROUP, true, take_group, 0},
	{"gid", FIND_GROUP, true, take_group, 0},
	{"g", FIND_GROUP, true, take_group, 0},
	{"links", FIND_LINKS, true, take_number, 0},
	{"inum", FIND_INUM, true, take_number, 0},
	{"atime", FIND_TIME, true, take_age, 'a'},
	{"A", FIND_TIME, true, take_age, 'a'},
	{"btime", FIND_TIME, true, take_age, 'b'},
	{"Btime", FIND_TIME, true, take_age, 'b'},
	{"B", FIND_TIME, true, take_age, 'b'},
	{"ctime", FIND_TIME, true, take_age, 'c'},
	{"C", FIND_TIME, true, take_age, 'c'},
	{"mtime", FIND_TIME, true, take_age, 'm'},
	{"M", FIND_TIME, true, take_age, 'm'},
	{"amin", FIND_TIME, true, take_minutes, 'a'},
	{"bmin", FIND_TIME, true, take_minutes, 'b'},
	{"Bmin", FIND_TIME, true, take_minutes, 'b'},
	{"cmin", FIND_TIME, true, take_minutes, 'c'},
	{"mmin", FIND_TIME, true, take_minutes, 'm'},
	{"newer", FIND_NEWER, true, take_newer, 'm'},
	{"anewer", FIND_NEWER, true, take_newer, 'a'},
	{"cnewer", FIND_NEWER, true, take_newer, 'c'},
	{"ost", FIND_OST, true, take_osts, 0},
	{"obd", FIND_OST, true, take_osts, 0},
	{"o", FIND_OST, true, take_osts, 0},
	{"O", FIND_OST, true, take_osts, 0},
	{"stripe-index", FIND_OST, true, take_osts, 0},
	{"i", FIND_OST, true, take_osts, 0},
	{"stripe-count", FIND_STRIPE_COUNT, true, take_number, 0},
	{"c", FIND_STRIPE_COUNT, true, take_number, 0},
	{"stripe-size", FIND_STRIPE_SIZE, true, take_size, 1},
	{"S", FIND_STRIPE_SIZE, true, take_size, 1},
	{"pool", FIND_POOL, true, take_text, 0},
	{"layout", FIND_LAYOUT, true, take_text, 0},
	{"L", FIND_LAYOUT, true, take_text, 0},
	{"mdt", FIND_MDT, true, take_mdts, 0},
	{"mdt-index", FIND_MDT, true, take_mdts, 0},
	{"m", FIND_MDT, true, take_mdts, 0},
	{"empty", FIND_EMPTY, false, take_text, 0},
};

/* ---- words ---- */

struct words {
	int argc;
	char **argv;
	int at;
};

/* The value of --name=VALUE or the next word. */
static const char *value_next(struct words *w, const char *equals)
{
	if (equals != NULL) {
		return equals;
	}
	return w->at < w->argc ? w->argv[w->at++] : NULL;
}

static int predicate_add(struct parser *ps, struct words *w, unsigned i, const char *equals)
{
	const char *value = predicates[i].value ? value_next(w, equals) : "";
	struct find_options *o = ps->o;
	int err;

	if (value == NULL) {
		return lfs_usage("find", "%s needs a value", ps->word);
	}
	if (o->count == FIND_PREDICATES_MAX) {
		return lfs_refuse("find", E2BIG, "more than %d predicates", FIND_PREDICATES_MAX);
	}
	ps->p = &o->list[o->count];
	*ps->p = (struct find_predicate){
		.kind = predicates[i].kind, .negate = ps->negate, .unit = 1};
	err = predicates[i].take(ps, value, predicates[i].arg);
	if (err == 0) {
		o->count++;
	}
	return err;
}

static int newer_add(struct parser *ps, struct words *w, const char *xy, const char *equals)
{
	const char *value = value_next(w, equals);
	struct find_options *o = ps->o;
	int err;

	if (strchr("abBcm", xy[0]) == NULL || strchr("abBcmt", xy[1]) == NULL) {
		return lfs_usage("find", "unknown predicate %s", ps->word);
	}
	if (value == NULL || o->count == FIND_PREDICATES_MAX) {
		return lfs_usage("find", "%s needs a value", ps->word);
	}
	ps->p = &o->list[o->count];
	*ps->p = (struct find_predicate){.kind = FIND_NEWER, .negate = ps->negate, .unit = 1};
	err = newer_take(ps, value, xy[0], xy[1]);
	if (err == 0) {
		o->count++;
	}
	return err;
}

static int setting_apply(struct parser *ps, struct words *w, unsigned i, const char *equals)
{
	const char *value = settings[i].value ? value_next(w, equals) : "";

	if (value == NULL) {
		return lfs_usage("find", "%s needs a value", ps->word);
	}
	if (ps->negate) {
		return lfs_usage("find", "! in front of %s", ps->word);
	}
	return settings[i].set(ps->o, value);
}

static bool name_is(const char *name, size_t len, const char *known)
{
	return strlen(known) == len && strncmp(name, known, len) == 0;
}

/* A word that begins with a dash. */
static int option_parse(struct parser *ps, struct words *w)
{
	const char *name = ps->word + (ps->word[1] == '-' ? 2 : 1);
	size_t len = strcspn(name, "=");
	const char *equals = name[len] == '=' ? name + len + 1 : NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(predicates); i++) {
		if (name_is(name, len, predicates[i].name)) {
			return predicate_add(ps, w, i, equals);
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(settings); i++) {
		if (name_is(name, len, settings[i].name)) {
			return setting_apply(ps, w, i, equals);
		}
	}
	if (len == 7 && strncmp(name, "newer", 5) == 0) {
		return newer_add(ps, w, name + 5, equals);
	}
	return lfs_usage("find", "unknown predicate %s", ps->word);
}

int find_parse(int argc, char **argv, struct find_options *o)
{
	struct words w = {.argc = argc, .argv = argv, .at = 1};
	struct parser ps = {.o = o};
	int err = 0;

	memset(o, 0, sizeof(*o));
	o->depth_max = DEPTH_MAX;
	o->now_s = time(NULL);
	o->paths = mem_zalloc_array((size_t)argc + 1, sizeof(*o->paths));
	if (o->paths == NULL) {
		return lfs_fail("find", ENOMEM, "arguments");
	}
	while (err == 0 && w.at < argc) {
		ps.word = argv[w.at++];
		if (strcmp(ps.word, "!") == 0 || strcmp(ps.word, "-not") == 0) {
			ps.negate = !ps.negate;
			continue;
		}
		if (ps.word[0] == '-' && ps.word[1] != '\0') {
			err = option_parse(&ps, &w);
		} else {
			o->paths[o->paths_count++] = argv[w.at - 1];
		}
		ps.negate = false;
	}
	if (err == 0 && ps.negate) {
		err = lfs_usage("find", "nothing behind !");
	}
	if (err == 0 && o->paths_count == 0) {
		err = lfs_usage("find", "missing path");
	}
	if (err != 0) {
		find_options_fini(o);
	}
	return err;
}

void find_options_fini(struct find_options *o)
{
	for (unsigned i = 0; i < o->count; i++) {
		mem_free(o->list[i].osts);
		o->list[i].osts = NULL;
	}
	mem_free(o->paths);
	o->paths = NULL;
	o->count = 0;
}
