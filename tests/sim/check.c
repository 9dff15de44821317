/*
 * See check.h. Layouts come from walking the name space as a client and asking for nacre.layout; objects come from
 * listing the OSTs' directories. Neither looks into the MDT's records.
 */
#include "check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fid.h"
#include "mds/mds.h"
#include "worker.h"

#define CHECK_NS (600 * NS_PER_S)
#define FILES_MAX 8192u
#define OBJECTS_MAX 65536u
#define LAYOUT_TEXT_MAX 16384u

struct check_file {
	struct fid fid;
	struct fid data_fid; /* zero: no objects */
	char *osts; /* "objects" of the JSON text */
};

struct check {
	struct cluster *cluster;
	struct client *client;
	struct fid dirs[FILES_MAX];
	unsigned dir_count;
	struct check_file files[FILES_MAX];
	unsigned file_count;
	uint64_t cookie;
	/* of one OST */
	struct cluster_host *host;
	unsigned ost;
	unsigned objects;
	unsigned orphans;
	char text[LAYOUT_TEXT_MAX];
};

/* ---- what clients see ---- */

static int entry(void *ctx, const struct client_dirent *e_in)
{
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	struct check *k = ctx;

	k->cookie = next_cookie;
	if (S_ISDIR(mode)) {
		ASSERT(k->dir_count < FILES_MAX);
		k->dirs[k->dir_count++] = fid;
	} else if (S_ISREG(mode)) {
		ASSERT(k->file_count < FILES_MAX);
		k->files[k->file_count++] = (struct check_file){.fid = fid};
	}
	return 0;
}

static void dir_list(struct check *k, struct fid fid)
{
	struct client_cred cred = worker_cred(false);
	struct client_file *dir = NULL;
	struct client_attr attr;
	struct fid parent;
	bool end = false;
	int err = client_open(k->client, &cred, fid, O_RDONLY, &attr, &dir);

	k->cookie = 0;
	while (err == 0 && !end) {
		err = client_readdir(k->client, &cred, dir,
			&(struct client_listing){.cookie = k->cookie,
				.bytes_max = 32768,
				.plus = false,
				.fn = entry,
				.ctx = k,
				.ret_parent = &parent,
				.ret_end = &end});
	}
	if (err != 0) {
		cluster_fail(k->cluster, "listing a directory: %s", ne_name(err));
	}
	(void)client_release(k->client, dir);
}

static void layout_get(struct check *k, struct check_file *f)
{
	struct client_cred cred = worker_cred(false);
	size_t len = 0;
	char *at;
	int err = client_getxattr(k->client, &cred, f->fid, "nacre.layout",
		(struct client_out){k->text, sizeof(k->text) - 1}, &len);

	if (err != 0) {
		cluster_fail(k->cluster, "nacre.layout: %s", ne_name(err));
	}
	k->text[len] = '\0';
	if (strstr(k->text, "\"instantiated\": true") == NULL &&
		strstr(k->text, "\"instantiated\":true") == NULL) {
		return;
	}
	at = strstr(k->text, "\"fid\"");
	at = at == NULL ? NULL : strchr(at, '[');
	if (at == NULL) {
		cluster_fail(k->cluster, "nacre.layout without a FID: %s", k->text);
	}
	char fid[FID_STR_MAX] = {0};
	size_t n = strcspn(at, "]") + 1;

	if (n >= sizeof(fid)) {
		cluster_fail(k->cluster, "nacre.layout with an odd FID: %s", k->text);
	}
	memcpy(fid, at, n);
	if (fid_parse(fid, &f->data_fid) != 0) {
		cluster_fail(k->cluster, "nacre.layout with an odd FID: %s", k->text);
	}
	f->osts = strdup(k->text);
}

static void walk_fiber(void *arg)
{
	struct check *k = arg;

	k->dirs[k->dir_count++] = client_root(k->client);
	for (unsigned i = 0; i < k->dir_count; i++) {
		dir_list(k, k->dirs[i]);
	}
	for (unsigned i = 0; i < k->file_count; i++) {
		layout_get(k, &k->files[i]);
	}
}

/* ---- what OSTs hold ---- */

static bool layout_has(const struct check_file *f, unsigned stripe, unsigned ost)
{
	const char *at = f->osts;

	while ((at = strstr(at, "\"stripe\"")) != NULL) {
		unsigned s = 0;
		unsigned o = 0;

		if (sscanf(at, "\"stripe\": %u, \"ost\": %u", &s, &o) != 2 &&
			sscanf(at, "\"stripe\":%u,\"ost\":%u", &s, &o) != 2) {
			return false;
		}
		if (s == stripe && o == ost) {
			return true;
		}
		at++;
	}
	return false;
}

static int object_seen(void *ctx, const char *name)
{
	struct check *k = ctx;
	struct fid fid = {0};
	unsigned stripe = 0;

	if (sscanf(name, "%" SCNx64 "-%x-%x.%u", &fid.seq, &fid.oid, &fid.ver, &stripe) != 4) {
		cluster_fail(k->cluster, "OST%04x has an odd file %s", k->ost, name);
	}
	k->objects++;
	for (unsigned i = 0; i < k->file_count; i++) {
		if (fid_eq(k->files[i].data_fid, fid)) {
			if (!layout_has(&k->files[i], stripe, k->ost)) {
				cluster_fail(k->cluster,
					"object %s is on OST%04x, its layout says: %s", name,
					k->ost, k->files[i].osts);
			}
			return 0;
		}
	}
	k->orphans++;
	sim_note(k->cluster->sim, "OST%04x: object %s belongs to no file", k->ost, name);
	return 0;
}

static void objects_fiber(void *arg)
{
	struct check *k = arg;
	struct env *env = sim_node_env(k->host->node);
	char path[128];

	for (unsigned d = 0; d < 256; d++) {
		int err;

		snprintf(path, sizeof(path), "/data-OST%04x/objects/%02x", k->ost, d);
		err = env_readdir(env, path, object_seen, k);
		if (err != 0 && err != -NE_NOENT) {
			cluster_fail(k->cluster, "%s: %s", path, ne_name(err));
		}
	}
}

void check_objects(struct cluster *c)
{
	struct check *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		abort();
	}
	k->cluster = c;
	k->client = c->clients[0].client;
	if (!cluster_run_on(c, c->clients[0].node, walk_fiber, k, CHECK_NS)) {
		cluster_fail(c, "walking the file system does not end");
	}
	for (unsigned i = 1; i < c->host_count; i++) {
		k->host = c->hosts[i];
		for (unsigned o = 0; o < k->host->ost_count; o++) {
			k->ost = k->host->ost_first + o;
			if (!cluster_run_on(c, k->host->node, objects_fiber, k, CHECK_NS)) {
				cluster_fail(c, "listing objects does not end");
			}
		}
	}
	if (k->orphans > 0) {
		cluster_fail(c, "%u of %u objects belong to no file", k->orphans, k->objects);
	}
	for (unsigned i = 0; i < k->file_count; i++) {
		free(k->files[i].osts);
	}
	free(k);
}

/* ---- the MDT ---- */

struct mds_checking {
	struct cluster *cluster;
	int found;
};

static void violation(void *ctx, const char *line)
{
	struct mds_checking *k = ctx;

	fprintf(stderr, "mds_check: %s\n", line);
	sim_note(k->cluster->sim, "mds_check: %s", line);
}

static void mds_fiber(void *arg)
{
	struct mds_checking *k = arg;

	k->found = mds_check(sim_node_env(k->cluster->hosts[0]->node),
		mds_state(cluster_mds(k->cluster)), 0, violation, k);
}

void check_mds(struct cluster *c)
{
	struct mds_checking k = {.cluster = c};

	if (!cluster_run_on(c, c->hosts[0]->node, mds_fiber, &k, CHECK_NS)) {
		cluster_fail(c, "mds_check does not end");
	}
	if (k.found != 0) {
		cluster_fail(c, "mds_check: %d violations", k.found);
	}
}
