/* The model's own structures. */
#ifndef NACRE_TESTS_MODEL_INT_H
#define NACRE_TESTS_MODEL_INT_H

#include "model.h"

struct model_entry {
	char *name; /* NULL: a hole */
	uint32_t id;
};

struct model_xattr {
	char *name;
	void *value;
	size_t len;
};

struct model_node {
	bool live;
	struct model_attr attr;
	unsigned opens;
	uint32_t parent; /* of a directory */
	char *target;
	struct model_entry *entries;
	unsigned entry_count;
	struct model_xattr *xattrs;
	unsigned xattr_count;
	uint8_t *data;
	size_t data_len; /* <= size: the rest is zero */
};

struct model {
	struct model_node *nodes; /* index: id - 1 */
	uint32_t count;
};

void *model_alloc(void *old, size_t size);
/* NULL when the id is not a living node's. */
struct model_node *model_node(const struct model *m, uint32_t id);
void model_node_clear(struct model_node *n);
bool model_capable(const struct model_cred *cred, enum model_cap cap);
bool model_in_group(const struct model_cred *cred, uint32_t gid);
int model_permission(const struct model_node *n, const struct model_cred *cred, unsigned mask);

#endif
