/*
 * Private to lfs find: predicates, what is known of a file, the walk.
 *
 * Parsing makes a list of predicates that must all hold. Each says what it needs (a name, an inode,
 * a layout), and a file is asked only for what the predicates before could not settle: names are
 * compared first, then inodes, then layouts.
 */
#ifndef NACRE_CLI_LFS_FIND_H
#define NACRE_CLI_LFS_FIND_H

#include <stdio.h>

#include "cli/lfs.h"

/* More in one call is a mistake. */
#define FIND_PREDICATES_MAX 256

enum find_kind {
	/* of the name */
	FIND_NAME,
	FIND_INAME,
	FIND_PATH,
	FIND_TYPE,
	FIND_MDT,
	/* of the inode */
	FIND_SIZE,
	FIND_BLOCKS,
	FIND_PERM,
	FIND_USER,
	FIND_GROUP,
	FIND_LINKS,
	FIND_INUM,
	FIND_TIME,
	FIND_NEWER,
	/* of the layout, or of the entries of a directory */
	FIND_STRIPE_COUNT,
	FIND_STRIPE_SIZE,
	FIND_OST,
	FIND_POOL,
	FIND_LAYOUT,
	FIND_EMPTY,
};

enum find_sign {
	FIND_LESS = -1,
	FIND_EQUAL = 0,
	FIND_MORE = 1,
};

/* FIND_PERM: how the bits count. */
enum find_perm {
	FIND_PERM_EXACT,
	FIND_PERM_ALL,
	FIND_PERM_ANY,
};

struct find_predicate {
	enum find_kind kind;
	bool negate;
	enum find_sign sign;
	uint64_t value; /* number, bytes, seconds, bits */
	uint64_t unit; /* seconds or bytes a match may be off */
	char stamp; /* FIND_TIME, FIND_NEWER: a b c m */
	enum find_perm perm;
	int64_t ref_s; /* FIND_NEWER */
	uint32_t ref_ns;
	const char *text; /* glob, types, pool */
	uint32_t *osts; /* FIND_OST: osts_count of them */
	uint32_t osts_count;
};

enum find_output {
	FIND_PRINT,
	FIND_PRINT0,
	FIND_PRINTF,
};

struct find_options {
	struct find_predicate list[FIND_PREDICATES_MAX];
	unsigned count;
	int64_t depth_min;
	int64_t depth_max;
	enum find_output output;
	const char *format; /* FIND_PRINTF */
	char **paths; /* paths_count of argv's */
	unsigned paths_count;
	int64_t now_s; /* when it began */
};

/* A file on the way. */
struct find_file {
	int dir_fd; /* AT_FDCWD for an operand */
	const char *name; /* in dir_fd */
	const char *base; /* last component, for names */
	const char *path; /* as printed */
	size_t start_len; /* of `path`: the operand */
	unsigned depth;
	unsigned char type; /* DT_* */
	bool have_inode;
	struct statx inode;
	bool have_layout;
	bool no_layout; /* none of its own */
	struct lfs_layout *layout; /* room for it */
};

/* Parses argv; 0 or an exit code, having said why. */
_check_ int find_parse(int argc, char **argv, struct find_options *o);
void find_options_fini(struct find_options *o);
/* Seconds of N[smhdwy]..., "8h20m" too; *ret_unit is the smallest unit. */
bool find_time_parse(const char *text, uint64_t *ret_s, uint64_t *ret_unit);

/* Whether all predicates hold. 0, or an errno if the file could not be asked. */
_check_ int find_match(const struct find_options *o, struct find_file *f, bool *ret_match);
/* The comparisons, for tests. */
bool find_size_cmp(uint64_t size, enum find_sign sign, uint64_t value, uint64_t unit);
bool find_age_cmp(int64_t age_s, enum find_sign sign, uint64_t value, uint64_t unit);
/* Fetches what is not yet known. 0 or an errno. */
_check_ int find_inode_need(struct find_file *f);
_check_ int find_layout_need(struct find_file *f);

/* Checks a -printf format: false and what is wrong with it. */
bool find_format_check(const char *format, char *ret_bad, size_t cap);
/* Prints one file. 0 or an errno. */
_check_ int find_format_print(FILE *out, const char *format, struct find_file *f);

#endif
