/*
 * Questions of tools, asked as extended attributes nacre.*: README.md has the exact JSON.
 *
 * Lists of targets stop at TOOL_PAGE bytes and say where to go on, because a value of an extended attribute ends
 * at 64 KiB.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client_int.h"

/* Text after which a list ends with "next". The longest element, an entry with four addresses, is below 2 KiB. */
#define TOOL_PAGE (LIM_XATTR_VALUE_MAX - 6 * 1024)
#define TOOL_PATHS_MAX 32
/* Targets asked at the same time. */
#define PROBES_MAX 64

struct tool {
	struct client *c;
	const struct client_cred *cred;
	struct fid fid;
	const char *arg; /* behind the name and a dot; "" */
	struct client_json j;
};

static const char *kind_name(const struct client_target *t)
{
	switch (t->kind) {
	case W_TARGET_KIND_MGT:
		return "MGT";
	case W_TARGET_KIND_MDT:
		return "MDT";
	case W_TARGET_KIND_OST:
		return "OST";
	}
	return "?";
}

static void target_head(struct client_json *j, const struct client_target *t)
{
	client_json_open(j, NULL, '{');
	client_json_text(j, "name", t->name);
	client_json_text(j, "kind", kind_name(t));
	client_json_number(j, "index", t->index);
}

static void target_state(struct client_json *j, uint32_t state)
{
	client_json_bool(j, "degraded", (state & W_TARGET_STATE_DEGRADED) != 0);
	client_json_bool(j, "read_only", (state & W_TARGET_STATE_READ_ONLY) != 0);
	client_json_bool(j, "no_create", (state & W_TARGET_STATE_NO_CREATE) != 0);
	client_json_bool(j, "draining", (state & W_TARGET_STATE_DRAINING) != 0);
}

/* A list of targets from the position in arg on; fn writes one element. */
typedef void tool_target_fn(
	struct tool *t, struct client_target *target, const struct client_probe *probe);

/* A group of targets: those from *pos on, at most PROBES_MAX; ret_at says where each is. */
static uint32_t targets_take(
	struct tool *t, bool mgt, uint32_t *pos, struct client_probe *ret_probes, uint32_t *ret_at)
{
	struct client_target *target;
	uint32_t count = 0;

	while (count < PROBES_MAX && (target = client_target_next(t->c, pos)) != NULL) {
		if (target->kind != W_TARGET_KIND_MGT || mgt) {
			ret_at[count] = *pos - 1;
			ret_probes[count++] = (struct client_probe){.target = target};
		}
	}
	return count;
}

/* With `ask` they are asked first, a group at the same time. */
static int tool_targets(struct tool *t, bool mgt, bool ask, tool_target_fn *fn)
{
	_cleanup_(free_ptr) struct client_probe *probes =
		mem_zalloc_array(PROBES_MAX, sizeof(*probes));
	uint32_t pos = (uint32_t)strtoul(t->arg, NULL, 10);
	uint32_t at[PROBES_MAX];
	uint32_t count = PROBES_MAX;
	uint32_t next = 0;
	int err = probes == NULL ? -NE_NOMEM : 0;

	client_json_open(&t->j, "targets", '[');
	while (err == 0 && next == 0 && count == PROBES_MAX) {
		count = targets_take(t, mgt, &pos, probes, at);
		if (ask) {
			err = client_probe(
				t->c, probes, count, env_now(t->c->env) + CLIENT_STATUS_NS);
		}
		for (uint32_t i = 0; i < count && err == 0 && next == 0; i++) {
			if (t->j.out->len > TOOL_PAGE) {
				next = at[i];
			} else {
				fn(t, probes[i].target, &probes[i]);
			}
		}
	}
	client_json_close(&t->j, ']');
	client_json_number(&t->j, "next", next);
	return err;
}

/* ---- nacre.fid, nacre.path ---- */

static int tool_fid(struct tool *t)
{
	char text[FID_STR_MAX];

	client_json_text(&t->j, "fid", fid_format(t->fid, text, sizeof(text)));
	client_json_unsigned(&t->j, "ino", fid_ino(t->fid));
	return 0;
}

static int path_fid(const char *arg, struct fid *ret_fid, uint32_t *ret_link)
{
	char text[FID_STR_MAX];
	const char *end = strchr(arg, ']');
	size_t len;

	if (end == NULL) {
		*ret_link = 0;
		return fid_parse(arg, ret_fid);
	}
	len = (size_t)(end + 1 - arg);
	if (len >= sizeof(text)) {
		return -NE_INVAL;
	}
	memcpy(text, arg, len);
	text[len] = '\0';
	*ret_link = end[1] == '.' ? (uint32_t)strtoul(end + 2, NULL, 10) : 0;
	return fid_parse(text, ret_fid);
}

static int tool_path(struct tool *t)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX + 1);
	char text[FID_STR_MAX];
	struct fid fid;
	uint32_t link = 0;
	int err = path == NULL ? -NE_NOMEM : path_fid(t->arg, &fid, &link);

	if (err != 0) {
		return err;
	}
	client_json_text(&t->j, "fid", fid_format(fid, text, sizeof(text)));
	client_json_open(&t->j, "paths", '[');
	for (unsigned n = 0; n < TOOL_PATHS_MAX; n++) {
		uint32_t next = 0;

		err = client_fid2path(t->c, t->cred, fid, link,
			(struct client_out){path, LIM_PATH_MAX + 1}, &next);
		if (err != 0) {
			return err;
		}
		client_json_open(&t->j, NULL, '{');
		client_json_number(&t->j, "link", link);
		client_json_text(&t->j, "path", path);
		client_json_close(&t->j, '}');
		link = next;
		if (link == 0 || t->j.out->len > TOOL_PAGE - LIM_PATH_MAX) {
			break;
		}
	}
	client_json_close(&t->j, ']');
	client_json_number(&t->j, "next", link);
	return 0;
}

/* ---- nacre.map ---- */

static void map_target(
	struct tool *t, struct client_target *target, _unused_ const struct client_probe *probe)
{
	char uuid[UUID_STR_MAX];

	target_head(&t->j, target);
	client_json_text(&t->j, "uuid", uuid_format(target->uuid, uuid, sizeof(uuid)));
	client_json_number(&t->j, "epoch", target->epoch);
	client_json_bool(&t->j, "active", (target->state & W_TARGET_STATE_UP) != 0);
	target_state(&t->j, target->state);
	client_json_open(&t->j, "addresses", '[');
	for (unsigned i = 0; i < target->addrs.count; i++) {
		client_json_text(&t->j, NULL, target->addrs.addr[i]);
	}
	client_json_close(&t->j, ']');
	client_json_number(&t->j, "pid", target->pid);
	client_json_close(&t->j, '}');
}

static void map_pools(struct tool *t)
{
	client_json_open(&t->j, "pools", '[');
	for (uint32_t i = 0; t->arg[0] == '\0' && i < t->c->map.pool_count; i++) {
		const struct client_pool *pool = &t->c->map.pools[i];

		client_json_open(&t->j, NULL, '{');
		client_json_text(&t->j, "name", pool->name);
		client_json_open(&t->j, "osts", '[');
		for (uint32_t k = 0; k < pool->count; k++) {
			client_json_number(&t->j, NULL, pool->osts[k]);
		}
		client_json_close(&t->j, ']');
		client_json_close(&t->j, '}');
	}
	client_json_close(&t->j, ']');
}

static int tool_map(struct tool *t)
{
	char uuid[UUID_STR_MAX];
	/* Tools want to see a pool they have just made. The old map is better than none. */
	int err = client_map_fetch(t->c, env_now(t->c->env) + CLIENT_STATUS_NS);

	if (err == -NE_INTR) {
		return err;
	}
	client_json_text(&t->j, "fsname", t->c->fsname);
	client_json_number(&t->j, "version", t->c->map.version);
	client_json_text(&t->j, "cluster", uuid_format(t->c->map.cluster, uuid, sizeof(uuid)));
	map_pools(t);
	return tool_targets(t, true, false, map_target);
}

/* ---- nacre.statfs, nacre.check ---- */

static void statfs_target(
	struct tool *t, struct client_target *target, const struct client_probe *probe)
{
	const struct client_space *s = &probe->space;
	struct client_json *j = &t->j;
	int err = probe->err;

	target_head(j, target);
	if (err != 0) {
		client_json_text(j, "error", ne_text(err == -NE_TIMEDOUT ? -NE_TARGET_DOWN : err));
	} else {
		client_json_unsigned(j, "bytes_total", s->bytes_total);
		client_json_unsigned(j, "bytes_free", s->bytes_free);
		client_json_unsigned(j, "bytes_avail", s->bytes_avail);
		client_json_unsigned(j, "files_total", s->files_total);
		client_json_unsigned(j, "files_free", s->files_free);
		client_json_unsigned(j, "files_used", s->files_used);
		client_json_unsigned(j, "backing_fsid", s->backing_fsid & INT64_MAX);
		target_state(j, s->state);
	}
	client_json_close(j, '}');
}

static int tool_statfs(struct tool *t)
{
	client_json_text(&t->j, "fsname", t->c->fsname);
	return tool_targets(t, false, true, statfs_target);
}

static void check_target(
	struct tool *t, struct client_target *target, const struct client_probe *probe)
{
	struct client_json *j = &t->j;
	struct rpc_session *session =
		target->kind == W_TARGET_KIND_MGT ? t->c->mgs : target->session;
	int met = session != NULL ? rpc_session_error(session) : 0;
	int err = probe->err;

	target_head(j, target);
	client_json_text(j, "state", err == 0 ? "active" : "unreachable");
	if (err == 0) {
		client_json_text(j, "address", rpc_session_addr(session));
		client_json_unsigned(j, "latency_us", probe->latency_ns / NS_PER_US);
	} else {
		client_json_text(j, "error", ne_text(err == -NE_TIMEDOUT && met != 0 ? met : err));
	}
	client_json_close(j, '}');
}

static int tool_check(struct tool *t)
{
	return tool_targets(t, true, true, check_target);
}

/* ---- nacre.layout ---- */

static int minus_one(uint16_t value)
{
	return value == 0xffff ? -1 : value;
}

static void layout_common(struct client_json *j, const struct w_layout *l, bool dir)
{
	client_json_text(j, "type", dir ? "directory" : "file");
	client_json_text(j, "pattern", "raid0");
	client_json_unsigned(j, "stripe_size", l->stripe_size);
	client_json_number(j, "stripe_count", minus_one(l->stripe_count));
	client_json_bool(j, "overstriped", (l->flags & W_LAYOUT_FLAGS_OVERSTRIPED) != 0);
	client_json_bool(j, "explicit", (l->flags & W_LAYOUT_FLAGS_EXPLICIT_OSTS) != 0);
}

static bool bit_of(struct wire_bytes bits, uint32_t i)
{
	return i / 8 < bits.len && (((const uint8_t *)bits.ptr)[i / 8] >> (i % 8) & 1) != 0;
}

static void layout_file(struct client_json *j, const struct w_layout *l)
{
	char fid[FID_STR_MAX];
	uint32_t first = l->osts.count > 0 ? wire_u32_at(&l->osts.view, 0) : l->first_ost;

	client_json_number(j, "gen", l->gen);
	client_json_number(j, "stripe_offset", minus_one((uint16_t)first));
	client_json_bool(j, "inline", (l->flags & W_LAYOUT_FLAGS_INLINE) != 0);
	client_json_bool(j, "instantiated", (l->flags & W_LAYOUT_FLAGS_INSTANTIATED) != 0);
	client_json_text(j, "fid", fid_format(l->data_fid, fid, sizeof(fid)));
	client_json_open(j, "objects", '[');
	for (uint32_t i = 0; i < l->osts.count; i++) {
		/* 2,000 of them must fit a value: short ones. */
		client_json_open(j, NULL, '{');
		if (l->osts.count <= 512) {
			client_json_number(j, "stripe", i);
		}
		client_json_number(j, "ost", wire_u32_at(&l->osts.view, i));
		if (l->osts.count <= 512) {
			client_json_bool(j, "present", bit_of(l->stripes_present, i));
		}
		client_json_close(j, '}');
	}
	client_json_close(j, ']');
}

static void layout_dir(struct client_json *j, const struct w_layout *l, bool inherited)
{
	client_json_bool(j, "inherited", inherited);
	client_json_number(j, "stripe_offset", minus_one(l->first_ost));
	client_json_open(j, "osts", '[');
	for (uint32_t i = 0; i < l->osts.count; i++) {
		client_json_number(j, NULL, wire_u32_at(&l->osts.view, i));
	}
	client_json_close(j, ']');
}

static int tool_layout(struct tool *t)
{
	struct w_mds_layout_get_req req = {.fid = t->fid};
	struct w_mds_layout_get_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LAYOUT_GET, .request = &req, .reply = &rep};
	char pool[LIM_POOL_NAME_MAX + 1];
	bool dir;
	int err = client_mdt_ask(t->c, t->cred, &req.cred, &call);

	if (err != 0) {
		return err;
	}
	if (wire_str_copy(rep.layout.pool, pool, sizeof(pool)) != 0) {
		return -NE_BADMSG;
	}
	dir = rep.inherited || (rep.layout.flags & W_LAYOUT_FLAGS_DIRECTORY) != 0;
	layout_common(&t->j, &rep.layout, dir);
	client_json_text(&t->j, "pool", pool);
	if (dir) {
		layout_dir(&t->j, &rep.layout, rep.inherited);
	} else {
		layout_file(&t->j, &rep.layout);
	}
	return 0;
}

/* ---- nacre.client ---- */

static int tool_client(struct tool *t)
{
	struct client *c = t->c;
	struct client_json *j = &t->j;
	char uuid[UUID_STR_MAX];

	client_json_text(j, "fsname", c->fsname);
	client_json_text(j, "subdir", c->subdir);
	client_json_text(j, "uuid", uuid_format(c->uuid, uuid, sizeof(uuid)));
	client_json_text(j, "hostname", c->hostname);
	client_json_number(j, "pid", c->pid);
	client_json_bool(j, "read_only", c->read_only);
	client_json_number(j, "map_version", c->map.version);
	client_json_open(j, "mgs", '[');
	for (unsigned i = 0; i < c->mgs_addrs.count; i++) {
		client_json_text(j, NULL, c->mgs_addrs.addr[i]);
	}
	client_json_close(j, ']');
	client_json_unsigned(j, "rpcs", c->counters.rpcs);
	client_json_unsigned(j, "bytes_read", c->counters.bytes_read);
	client_json_unsigned(j, "bytes_written", c->counters.bytes_written);
	client_json_unsigned(j, "reconnects", c->counters.reconnects);
	client_json_unsigned(j, "open_files", c->counters.open_files);
	return 0;
}

static const struct {
	const char *name;
	bool arg; /* may be followed by a dot and an argument */
	int (*fn)(struct tool *t);
} questions[] = {
	{"fid", false, tool_fid},
	{"path", true, tool_path},
	{"map", true, tool_map},
	{"statfs", true, tool_statfs},
	{"layout", false, tool_layout},
	{"client", false, tool_client},
	{"check", true, tool_check},
};

int client_tool_get(struct client *c, const struct client_cred *cred, struct fid fid,
	const char *name, struct strbuf *out)
{
	struct tool t = {.c = c, .cred = cred, .fid = fid, .j = {.out = out, .first = true}};
	size_t len = strcspn(name, ".");
	int err = -NE_NODATA;

	for (unsigned i = 0; i < ARRAY_SIZE(questions); i++) {
		if (strlen(questions[i].name) != len ||
			strncmp(questions[i].name, name, len) != 0 ||
			(name[len] == '.' && !questions[i].arg)) {
			continue;
		}
		t.arg = name[len] == '.' ? name + len + 1 : "";
		client_json_open(&t.j, NULL, '{');
		err = questions[i].fn(&t);
		client_json_close(&t.j, '}');
		break;
	}
	return err;
}
