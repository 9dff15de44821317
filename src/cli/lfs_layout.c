/*
 * Layouts in print, byte by byte as Lustre's `lfs getstripe`, because scripts read it: see
 * docs/lfs.md.
 *
 * A file has a line per field and a table of its objects; a directory's default is one line. A
 * single field that was asked for is its value alone. YAML names the objects differently.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/lfs.h"

#define SHOW_FIELDS \
	(LFS_SHOW_COUNT | LFS_SHOW_SIZE | LFS_SHOW_PATTERN | LFS_SHOW_GEN | LFS_SHOW_OFFSET | \
		LFS_SHOW_POOL | LFS_SHOW_FID | LFS_SHOW_MDT)

/* Prints the fields of one layout. */
struct printer {
	FILE *out;
	const struct lfs_layout *l;
	bool single;
	bool line; /* all in one line */
	bool begun;
};

static int count_shown(const struct lfs_layout *l, bool raw)
{
	if (raw && l->inherited) {
		return 0;
	}
	return l->stripe_count == 0 && !raw ? 1 : l->stripe_count;
}

static uint64_t size_shown(const struct lfs_layout *l, bool raw)
{
	if (raw && l->inherited) {
		return 0;
	}
	return l->stripe_size == 0 && !raw ? LIM_STRIPE_SIZE_DEFAULT : l->stripe_size;
}

static const char *pattern_of(const struct lfs_layout *l)
{
	return l->overstriped ? "raid0,overstriped" : "raid0";
}

/* "lmm_" stands in front of a file's names, "" of a directory's; names with their blanks are 15
 * wide. */
static void field(struct printer *p, const char *name, const char *value)
{
	if (p->single) {
		fprintf(p->out, "%s\n", value);
		return;
	}
	if (p->line && p->begun) {
		fputc(' ', p->out);
	}
	fprintf(p->out, "%s%-15s%s", p->l->dir ? "" : "lmm_", name, value);
	if (!p->line) {
		fputc('\n', p->out);
	}
	p->begun = true;
}

static void field_number(struct printer *p, const char *name, int64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRId64, n);
	field(p, name, text);
}

static void detail_print(struct printer *p)
{
	const struct lfs_layout *l = p->l;
	char text[FID_STR_MAX];

	snprintf(text, sizeof(text), "0x%08" PRIX32,
		l->pool[0] == '\0' ? LOV_MAGIC_V1 : LOV_MAGIC_V3);
	field(p, "magic:", text);
	if (l->dir) {
		return;
	}
	snprintf(text, sizeof(text), "0x%" PRIx64, l->fid.seq);
	field(p, "seq:", text);
	snprintf(text, sizeof(text), "0x%" PRIx32, l->fid.oid);
	field(p, "object_id:", text);
	field(p, "fid:", fid_format(l->fid, text, sizeof(text)));
}

static void fields_print(struct printer *p, const struct lfs_getstripe_options *o)
{
	const struct lfs_layout *l = p->l;
	char fid[FID_STR_MAX];

	if ((o->show & LFS_SHOW_DETAIL) != 0) {
		detail_print(p);
	} else if ((o->show & LFS_SHOW_FID) != 0) {
		field(p, "fid:", fid_format(l->fid, fid, sizeof(fid)));
	}
	if ((o->show & LFS_SHOW_MDT) != 0) {
		field_number(p, "mdt_index:", 0);
	}
	if ((o->show & LFS_SHOW_COUNT) != 0) {
		field_number(p, "stripe_count:", count_shown(l, o->raw));
	}
	if ((o->show & LFS_SHOW_SIZE) != 0) {
		field_number(p, "stripe_size:", (int64_t)size_shown(l, o->raw));
	}
	if ((o->show & LFS_SHOW_PATTERN) != 0) {
		field(p, "pattern:", pattern_of(l));
	}
	/* A default has no generation that means anything to a reader. */
	if ((o->show & LFS_SHOW_GEN) != 0 && (!l->dir || o->single)) {
		field_number(p, "layout_gen:", l->gen);
	}
	if ((o->show & LFS_SHOW_OFFSET) != 0) {
		field_number(p, "stripe_offset:", l->stripe_offset);
	}
	if ((o->show & LFS_SHOW_POOL) != 0 && (l->pool[0] != '\0' || o->single)) {
		field(p, "pool:", l->pool);
	}
	if (p->line && p->begun) {
		fputc('\n', p->out);
	}
}

static bool shown(const struct lfs_getstripe_options *o, uint32_t ost)
{
	return o->ost == LFS_ANY || o->ost == (int64_t)ost;
}

static void objects_table(
	FILE *out, const struct lfs_layout *l, const struct lfs_getstripe_options *o)
{
	fputs("\tobdidx\t\t objid\t\t objid\t\t group\n", out);
	for (uint32_t i = 0; i < l->osts_count; i++) {
		if (shown(o, l->osts[i])) {
			fprintf(out, "\t%6" PRIu32 "\t%14llu\t%#13llx\t%14llu%s\n", l->osts[i],
				(unsigned long long)l->data_fid.oid,
				(unsigned long long)l->data_fid.oid,
				(unsigned long long)l->data_fid.seq, o->ost == LFS_ANY ? "" : " *");
		}
	}
	fputc('\n', out);
}

static void objects_yaml(
	FILE *out, const struct lfs_layout *l, const struct lfs_getstripe_options *o)
{
	fputs("lmm_objects:\n", out);
	for (uint32_t i = 0; i < l->osts_count; i++) {
		if (shown(o, l->osts[i])) {
			fprintf(out,
				"      - l_ost_idx: %" PRIu32 "\n        l_fid:     0x%" PRIx64
				":0x%" PRIx32 ":0x%" PRIx32 "\n",
				l->osts[i], l->data_fid.seq, l->data_fid.oid, l->data_fid.ver);
		}
	}
	fputc('\n', out);
}

void lfs_layout_print(FILE *out, const char *path, const struct lfs_layout *l,
	const struct lfs_getstripe_options *o, bool with_path)
{
	struct printer p = {
		.out = out, .l = l, .single = o->single, .line = l->dir && !o->yaml && !o->single};
	bool objects = (o->show & LFS_SHOW_OBJECTS) != 0;

	if (l->dir && (o->show & (SHOW_FIELDS | LFS_SHOW_DETAIL)) == 0) {
		return;
	}
	if (with_path && !o->single && !o->yaml) {
		fprintf(out, "%s\n", path);
	}
	fields_print(&p, o);
	if (o->single || !objects) {
		return;
	}
	/* A default lists OSTs only if it was set with them. */
	if (!l->dir || l->osts_count > 0) {
		if (o->yaml) {
			objects_yaml(out, l, o);
		} else {
			objects_table(out, l, o);
		}
	} else if (with_path && !o->yaml) {
		fputc('\n', out);
	}
}

json_t *lfs_layout_json(const char *path, const struct lfs_layout *l)
{
	json_t *osts = json_array();
	json_t *j;
	char fid[FID_STR_MAX];
	char data[FID_STR_MAX];

	for (uint32_t i = 0; i < l->osts_count; i++) {
		json_array_append_new(osts, json_integer((json_int_t)l->osts[i]));
	}
	j = json_pack("{s:s%, s:s, s:s, s:i, s:I, s:s, s:i, s:s, s:o}", "path", path, strlen(path),
		"type", l->dir ? "directory" : "file", "fid", fid_format(l->fid, fid, sizeof(fid)),
		"stripe_count", count_shown(l, false), "stripe_size",
		(json_int_t)size_shown(l, false), "pattern", pattern_of(l), "stripe_offset",
		l->stripe_offset, "pool", l->pool, "osts", osts);
	if (j == NULL) {
		return json_null(); /* a path that is no UTF-8 */
	}
	if (l->dir) {
		json_object_set_new(j, "inherited", json_boolean(l->inherited));
	} else {
		json_object_set_new(j, "layout_gen", json_integer((json_int_t)l->gen));
		json_object_set_new(
			j, "data_fid", json_string(fid_format(l->data_fid, data, sizeof(data))));
	}
	return j;
}
