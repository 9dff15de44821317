/*
 * See config.h. The document is loaded by libyaml into a tree of nodes; tables say which keys a mapping has
 * and which function takes each value. Every node knows its line and column.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "daemon/config.h"
#include "daemon/super.h"

struct parse {
	yaml_document_t doc;
	const char *name;
	struct config *config;
	char *why;
	size_t cap;
};

struct key {
	const char *name;
	bool required;
	int (*take)(struct parse *p, yaml_node_t *value, void *into);
};

static int bad(struct parse *p, yaml_mark_t mark, const char *fmt, ...) _printf_(3, 4);

static int bad(struct parse *p, yaml_mark_t mark, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(p->why, p->cap, "%s:%zu:%zu: ", p->name, mark.line + 1, mark.column + 1);

	ASSERT(n > 0);
	if ((size_t)n < p->cap) {
		va_start(ap, fmt);
		vsnprintf(p->why + n, p->cap - (size_t)n, fmt, ap);
		va_end(ap);
	}
	return -NE_CONFIG;
}

static yaml_node_t *node_at(struct parse *p, int index)
{
	return yaml_document_get_node(&p->doc, index);
}

static const char *scalar_of(yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

/* ---- values ---- */

static int take_text(
	struct parse *p, yaml_node_t *v, char *buf, size_t cap, const char *what, size_t min)
{
	const char *s = scalar_of(v);

	if (s == NULL) {
		return bad(p, v->start_mark, "%s must be a text", what);
	}
	if (strlen(s) != v->data.scalar.length) {
		return bad(p, v->start_mark, "%s contains a NUL byte", what);
	}
	if (strlen(s) >= cap || strlen(s) < min) {
		return bad(
			p, v->start_mark, "%s must have %zu to %zu characters", what, min, cap - 1);
	}
	memcpy(buf, s, strlen(s) + 1);
	return 0;
}

static int take_path(struct parse *p, yaml_node_t *v, char *buf, size_t cap, const char *what)
{
	int err = take_text(p, v, buf, cap, what, 1);

	if (err == 0 && buf[0] != '/') {
		return bad(p, v->start_mark, "%s must be an absolute path, not %s", what, buf);
	}
	return err;
}

static int take_u64(struct parse *p, yaml_node_t *v, uint64_t *ret, const char *what)
{
	const char *s = scalar_of(v);
	unsigned long long n;
	char *end;

	if (s == NULL || s[0] < '0' || s[0] > '9') {
		return bad(p, v->start_mark, "%s must be a number of 0 or more", what);
	}
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0') {
		return bad(p, v->start_mark, "%s must be a number, not %s", what, s);
	}
	*ret = n;
	return 0;
}

static bool addr_ok(const char *a)
{
	if (strncmp(a, "unix:/", 6) == 0) {
		return a[6] != '\0';
	}
	if (strncmp(a, "sim:", 4) == 0) {
		return true;
	}
	if (strncmp(a, "tcp:", 4) != 0) {
		return false;
	}
	const char *colon = strrchr(a + 4, ':');

	return colon != NULL && colon > a + 4 && colon[1] >= '0' && colon[1] <= '9';
}

static int take_addrs(struct parse *p, yaml_node_t *v, char (*into)[LIM_ADDR_LEN_MAX + 1],
	unsigned max, const char *what)
{
	unsigned n = 0;

	if (v->type != YAML_SEQUENCE_NODE) {
		bad(p, v->start_mark, "%s must be a list of addresses", what);
		return -NE_CONFIG;
	}
	for (yaml_node_item_t *it = v->data.sequence.items.start; it < v->data.sequence.items.top;
		it++) {
		yaml_node_t *item = node_at(p, *it);

		if (n == max) {
			return bad(p, item->start_mark, "%s has more than %u addresses", what, max);
		}
		int err = take_text(p, item, into[n], sizeof(into[n]), "an address", 1);

		if (err != 0) {
			return err;
		}
		if (!addr_ok(into[n])) {
			return bad(p, item->start_mark,
				"%s is no address: write unix:/PATH, tcp:HOST:PORT or "
				"tcp:[IPV6]:PORT",
				into[n]);
		}
		n++;
	}
	return (int)n;
}

/* ---- mappings ---- */

static int mapping_take(
	struct parse *p, yaml_node_t *map, const struct key *keys, unsigned count, void *into)
{
	unsigned seen = 0;

	ASSERT(count <= 32);
	if (map->type != YAML_MAPPING_NODE) {
		return bad(p, map->start_mark, "expected keys and values here");
	}
	for (yaml_node_pair_t *it = map->data.mapping.pairs.start; it < map->data.mapping.pairs.top;
		it++) {
		yaml_node_t *k = node_at(p, it->key);
		const char *name = scalar_of(k);
		unsigned i = 0;

		while (i < count && (name == NULL || strcmp(keys[i].name, name) != 0)) {
			i++;
		}
		if (i == count) {
			return bad(p, k->start_mark, "unknown key %s", name == NULL ? "" : name);
		}
		if ((seen & (1u << i)) != 0) {
			return bad(p, k->start_mark, "key %s is given twice", name);
		}
		seen |= 1u << i;

		int err = keys[i].take(p, node_at(p, it->value), into);

		if (err != 0) {
			return err;
		}
	}
	for (unsigned i = 0; i < count; i++) {
		if (keys[i].required && (seen & (1u << i)) == 0) {
			return bad(p, map->start_mark, "key %s is missing", keys[i].name);
		}
	}
	return 0;
}

static int target_name(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_target_config *t = into;
	enum w_target_kind kind;
	uint16_t index;
	int err = take_text(p, v, t->name, sizeof(t->name), "name", 1);

	if (err == 0 && target_name_parse(t->name, &kind, &index) != 0) {
		return bad(p, v->start_mark,
			"%s is no target name: write MGT0000, MDTxxxx or OSTxxxx (hexadecimal, "
			"lower "
			"case)",
			t->name);
	}
	return err;
}

static int target_path(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_target_config *t = into;

	return take_path(p, v, t->path, sizeof(t->path) / 2, "path");
}

static int target_capacity(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_target_config *t = into;

	return take_u64(p, v, &t->capacity_bytes, "capacity_bytes");
}

static const struct key target_keys[] = {
	{"name", true, target_name},
	{"path", true, target_path},
	{"capacity_bytes", false, target_capacity},
};

static int take_targets(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;

	if (v->type != YAML_SEQUENCE_NODE) {
		return bad(p, v->start_mark, "targets must be a list");
	}
	for (yaml_node_item_t *it = v->data.sequence.items.start; it < v->data.sequence.items.top;
		it++) {
		yaml_node_t *item = node_at(p, *it);
		struct node_target_config *t = &c->targets[c->target_count];

		if (c->target_count == NODE_TARGETS_MAX) {
			return bad(p, item->start_mark, "more than %d targets", NODE_TARGETS_MAX);
		}
		int err = mapping_take(p, item, target_keys, ARRAY_SIZE(target_keys), t);

		if (err != 0) {
			return err;
		}
		for (unsigned i = 0; i < c->target_count; i++) {
			if (strcmp(c->targets[i].name, t->name) == 0 ||
				strcmp(c->targets[i].path, t->path) == 0) {
				return bad(p, item->start_mark,
					"%s: name or path is used by another target", t->name);
			}
		}
		c->target_count++;
	}
	return c->target_count > 0 ? 0 : bad(p, v->start_mark, "targets is empty");
}

static int log_level(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;
	const char *s = scalar_of(v);

	if (s == NULL || log_level_parse(s, &c->log_level) != 0) {
		return bad(p, v->start_mark, "level must be error, warn, info or debug");
	}
	return 0;
}

static int log_file(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;

	return take_path(p, v, c->log_file, sizeof(c->log_file), "file");
}

static int log_format(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;
	const char *s = scalar_of(v);

	if (s == NULL || (strcmp(s, "text") != 0 && strcmp(s, "json") != 0)) {
		return bad(p, v->start_mark, "format must be text or json");
	}
	c->log_json = strcmp(s, "json") == 0;
	return 0;
}

static const struct key log_keys[] = {
	{"level", false, log_level},
	{"file", false, log_file},
	{"format", false, log_format},
};

static int take_log(struct parse *p, yaml_node_t *v, void *into)
{
	(void)into;
	return mapping_take(p, v, log_keys, ARRAY_SIZE(log_keys), p->config);
}

static int monitor_socket(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;
	const char *s = scalar_of(v);

	if (s != NULL && strcmp(s, "none") == 0) {
		c->monitor_no_socket = true;
		return 0;
	}
	return take_path(p, v, c->monitor.socket, sizeof(c->monitor.socket), "socket");
}

static int monitor_listen(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;

	return take_text(p, v, c->monitor.listen, sizeof(c->monitor.listen), "listen", 1);
}

static int monitor_token(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;

	return take_path(p, v, c->monitor.token_file, sizeof(c->monitor.token_file), "token_file");
}

static int monitor_open(struct parse *p, yaml_node_t *v, void *into)
{
	struct config *c = into;
	const char *s = scalar_of(v);

	if (s == NULL || (strcmp(s, "true") != 0 && strcmp(s, "false") != 0)) {
		return bad(p, v->start_mark, "open must be true or false");
	}
	c->monitor.open = strcmp(s, "true") == 0;
	return 0;
}

static const struct key monitor_keys[] = {
	{"socket", false, monitor_socket},
	{"listen", false, monitor_listen},
	{"token_file", false, monitor_token},
	{"open", false, monitor_open},
};

/* Where the value of a key of the mapping stands. */
static yaml_mark_t mark_of(struct parse *p, yaml_node_t *map, const char *key)
{
	for (yaml_node_pair_t *it = map->data.mapping.pairs.start; it < map->data.mapping.pairs.top;
		it++) {
		const char *name = scalar_of(node_at(p, it->key));

		if (name != NULL && strcmp(name, key) == 0) {
			return node_at(p, it->value)->start_mark;
		}
	}
	return map->start_mark;
}

static int take_monitor(struct parse *p, yaml_node_t *v, void *into)
{
	struct monitor_config *m = &p->config->monitor;
	const char *wrong;
	int err;

	(void)into;
	p->config->monitor_given = true;
	err = mapping_take(p, v, monitor_keys, ARRAY_SIZE(monitor_keys), p->config);
	if (err != 0 || m->listen[0] == '\0') {
		return err;
	}
	wrong = monitor_listen_check(m->listen, m->open);
	if (wrong != NULL) {
		return bad(p, mark_of(p, v, "listen"), "%s %s", m->listen, wrong);
	}
	if (m->token_file[0] == '\0') {
		return bad(p, v->start_mark, "key token_file is missing: listen needs one");
	}
	return 0;
}

static int take_version(struct parse *p, yaml_node_t *v, void *into)
{
	uint64_t version = 0;
	int err = take_u64(p, v, &version, "version");

	(void)into;
	if (err == 0 && version != 1) {
		return bad(
			p, v->start_mark, "version %" PRIu64 " is not known: expected 1", version);
	}
	return err;
}

static int take_fsname(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;
	int err = take_text(p, v, c->fsname, sizeof(c->fsname), "fsname", 1);

	for (const char *s = c->fsname; err == 0 && *s != '\0'; s++) {
		bool ok = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			(*s >= '0' && *s <= '9') || *s == '_' || *s == '-';

		if (!ok) {
			return bad(
				p, v->start_mark, "fsname may have letters, digits, - and _ only");
		}
	}
	return err;
}

static int take_cluster(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;
	const char *s = scalar_of(v);

	if (s == NULL || uuid_parse(s, &c->cluster) != 0) {
		return bad(p, v->start_mark, "cluster_uuid must be a UUID (8-4-4-4-12 digits)");
	}
	return 0;
}

static int take_listen(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;
	int n = take_addrs(p, v, c->listen, NODE_ADDRS_MAX, "listen");

	if (n == 0) {
		return bad(p, v->start_mark, "listen is empty");
	}
	c->listen_count = n > 0 ? (unsigned)n : 0;
	return n < 0 ? n : 0;
}

static int take_advertise(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;
	int n = take_addrs(p, v, c->advertise, NODE_ADDRS_MAX, "advertise");

	c->advertise_count = n > 0 ? (unsigned)n : 0;
	return n < 0 ? n : 0;
}

static int take_mgs(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;
	int n = take_addrs(p, v, c->mgs, LIM_ADDRS_MAX, "mgs");

	if (n == 0) {
		return bad(p, v->start_mark, "mgs is empty");
	}
	c->mgs_count = n > 0 ? (unsigned)n : 0;
	return n < 0 ? n : 0;
}

static int take_server_key(struct parse *p, yaml_node_t *v, void *into)
{
	struct node_config *c = into;

	return take_path(p, v, c->server_key, sizeof(c->server_key), "server_key");
}

static const struct key top_keys[] = {
	{"version", true, take_version},
	{"fsname", true, take_fsname},
	{"cluster_uuid", true, take_cluster},
	{"listen", true, take_listen},
	{"advertise", false, take_advertise},
	{"mgs", true, take_mgs},
	{"server_key", true, take_server_key},
	{"targets", true, take_targets},
	{"log", false, take_log},
	{"monitor", false, take_monitor},
};

static int document_load(struct parse *p, const char *text, size_t len)
{
	yaml_parser_t parser;
	int err = 0;

	if (!yaml_parser_initialize(&parser)) {
		snprintf(p->why, p->cap, "out of memory");
		return -NE_NOMEM;
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &p->doc)) {
		err = bad(p, parser.problem_mark, "not valid YAML: %s",
			parser.problem != NULL ? parser.problem : "unknown problem");
	}
	yaml_parser_delete(&parser);
	return err;
}

int config_parse(const char *name, const char *text, size_t len, struct config *ret_config,
	char *ret_why, size_t cap)
{
	struct parse p = {.name = name, .config = ret_config, .why = ret_why, .cap = cap};
	yaml_node_t *root;
	int err;

	ASSERT(cap > 0 && ret_config != NULL);
	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->log_level = LOG_INFO;
	err = document_load(&p, text, len);
	if (err != 0) {
		return err;
	}
	root = yaml_document_get_root_node(&p.doc);
	if (root == NULL) {
		err = bad(&p, (yaml_mark_t){0}, "the file is empty");
	} else {
		err = mapping_take(&p, root, top_keys, ARRAY_SIZE(top_keys), &ret_config->node);
	}
	yaml_document_delete(&p.doc);
	return err;
}
