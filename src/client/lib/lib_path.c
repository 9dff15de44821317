/*
 * Paths and addresses as programs write them.
 */
#include <stdio.h>
#include <string.h>

#include "client/lib/lib_int.h"

#define MGS_PORT "7988"

int lib_walk(struct lib_call *call, const char *path, bool follow, struct client_attr *ret_attr)
{
	if (path[0] == '\0') {
		return -NE_NOENT;
	}
	return client_walk(call->fs->client, &call->cred, client_root(call->fs->client), path,
		follow, ret_attr);
}

int lib_parent(struct lib_call *call, const char *path, struct fid *ret_parent, char *name)
{
	struct client_attr attr;
	size_t len = strlen(path);
	_cleanup_(free_ptr) char *dir = NULL;
	size_t start;
	int err;

	while (len > 0 && path[len - 1] == '/') {
		len--;
	}
	for (start = len; start > 0 && path[start - 1] != '/'; start--) {
	}
	if (len == 0) {
		return path[0] == '\0' ? -NE_NOENT : -NE_EXIST;
	}
	if (len - start > LIM_NAME_MAX || start > LIM_PATH_MAX) {
		return -NE_NAMETOOLONG;
	}
	memcpy(name, path + start, len - start);
	name[len - start] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return -NE_INVAL;
	}
	dir = mem_zalloc(start + 1);
	if (dir == NULL) {
		return -NE_NOMEM;
	}
	memcpy(dir, path, start);
	err = client_walk(
		call->fs->client, &call->cred, client_root(call->fs->client), dir, true, &attr);
	if (err != 0) {
		return err;
	}
	*ret_parent = attr.fid;
	return S_ISDIR(attr.mode) ? 0 : -NE_NOTDIR;
}

static bool has_scheme(const char *text, size_t len)
{
	return (len > 4 && strncmp(text, "tcp:", 4) == 0) ||
		(len > 5 && strncmp(text, "unix:", 5) == 0);
}

/* Is there a port behind the host? A bare IPv6 address has several colons and none. */
static bool has_port(const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);

	if (text[0] == '[') {
		const char *end = memchr(text, ']', len);

		return end != NULL && end + 1 < text + len && end[1] == ':';
	}
	return colon != NULL && memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)) == NULL;
}

static int addr_format(const char *text, size_t len, char *ret_addr)
{
	bool bare6 = text[0] != '[' && !has_port(text, len) && memchr(text, ':', len) != NULL;
	int n;

	if (len > LIM_ADDR_LEN_MAX) {
		return -NE_INVAL;
	}
	if (has_scheme(text, len)) {
		n = snprintf(ret_addr, LIM_ADDR_LEN_MAX + 1, "%.*s", (int)len, text);
	} else if (has_port(text, len)) {
		n = snprintf(ret_addr, LIM_ADDR_LEN_MAX + 1, "tcp:%.*s", (int)len, text);
	} else {
		n = snprintf(ret_addr, LIM_ADDR_LEN_MAX + 1, "tcp:%s%.*s%s:" MGS_PORT,
			bare6 ? "[" : "", (int)len, text, bare6 ? "]" : "");
	}
	return n <= 0 || n > LIM_ADDR_LEN_MAX ? -NE_INVAL : 0;
}

int lib_addrs_parse(const char *text, char addrs[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1])
{
	int count = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		if (len > 0) {
			int err = count == LIM_ADDRS_MAX ? -NE_INVAL
							 : addr_format(text, len, addrs[count]);

			if (err != 0) {
				return err;
			}
			count++;
		}
		text += len;
		text += *text == ',';
	}
	return count;
}
