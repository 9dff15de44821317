/*
 * The OST's service: objects named (data FID, stripe), kept as files of a local file system.
 *
 * Who calls it. The daemon (and the simulator) prepares a directory with oss_format, starts one `struct oss`
 * per OST on a reactor and an rpc server; requests arrive as struct rpc_request. Bodies are distrusted.
 *
 * Promises. A write is acknowledged when the kernel has it (a killed process loses nothing), with a
 * verifier that is new at each start and a number that grows; COMMIT makes it durable. A failed
 * write-back stops the target (RULES B4). What the MDT changes is numbered and applied once (RULES A7). A
 * destroyed object does not come back; a fenced client is not served.
 */
#ifndef NACRE_OSS_OSS_H
#define NACRE_OSS_OSS_H

#include "base/bufpool.h"
#include "base/fid.h"
#include "base/strbuf.h"
#include "rpc/rpc.h"
#include "store/state.h"

struct oss;

struct oss_options {
	const char *path; /* absolute; prepared by oss_format */
	const char *target; /* "OST0000" */
	const char *fsname;
	uint32_t epoch; /* of this start: greater than that of all earlier ones */
	uint64_t capacity_bytes; /* 0: what the backing file system has */
	enum state_kv_kind kv_kind;
	uint64_t wal_segment_bytes; /* of its log; 0: 4 MiB */
	struct bufpool *bufpool; /* shared with the rpc server */
};

/* Makes the directories of an empty target. What exists already is left as it is. */
_yields_ _check_ int oss_format(struct env *env, const char *path);
/* Recovers and begins to serve on the server. state_open's errors, -NE_NOTFORMATTED. */
_yields_ _check_ int oss_start(struct env *env, struct rpc_server *server,
	const struct oss_options *opts, struct oss **ret_oss);
/* Makes everything durable. Accepts NULL. */
_yields_ void oss_stop(struct oss *oss);
/* The newest map version the target knows, for the headers of replies. */
void oss_map_version_set(struct oss *oss, uint32_t version);

struct oss_status {
	uint64_t bytes_total, bytes_free, bytes_avail;
	uint64_t files_total, files_used;
	uint64_t objects_open;
	uint64_t reads, writes, commits, destroys;
	uint64_t reads_ahead; /* answered from what was read ahead */
	uint64_t bytes_read, bytes_written;
	uint64_t uptime_ms;
};

_yields_ _check_ int oss_status_get(struct oss *oss, struct oss_status *ret_status);
struct metric_batch;
_yields_ void oss_metrics(struct oss *oss, struct metric_batch *batch);

/* The codec of the value a key of the state store has, for showing it; NULL: raw bytes. */
const struct wire_codec *oss_key_codec(const void *key, uint32_t len);

/* Reads the header of an object file and prints it as `name=value` text, for `nacre inspect`.
 * -NE_CORRUPT when it is damaged. */
_yields_ _check_ int oss_object_inspect(struct env *env, const char *file, struct strbuf *out);

#endif
