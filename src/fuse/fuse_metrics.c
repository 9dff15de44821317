/*
 * What the monitor is told of the FUSE side of a mount (base/metric.h). Never yields.
 */
#include "base/metric.h"
#include "fuse/fuse_int.h"

void fuse_session_metrics(const struct fuse_session *s, struct metric_batch *batch)
{
	const struct fuse_counters *c = &s->counters;

	for (uint32_t op = 0; op < FUSE_OPCODES; op++) {
		if (s->latency[op].count > 0) {
			metric_add_hist(batch, METRIC_ID_fuse_duration, &s->latency[op],
				fuse_op_name(op), NULL);
		}
	}
	metric_add(batch, METRIC_ID_fuse_errors, c->errors, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_transport, c->requests - c->uring, "dev_fuse", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_transport, c->uring, "io_uring", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_forgets, c->forgets, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_interrupts, c->interrupts, "received", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_interrupts, c->interrupted, "ended", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_delayed, c->queued, "queued", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_delayed, c->refused, "refused", NULL, NULL);
	metric_add(batch, METRIC_ID_fuse_delayed, c->malformed, "malformed", NULL, NULL);
	bufpool_metrics(s->pool, batch);
}
