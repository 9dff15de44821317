/*
 * What the monitor is told of a mount (base/metric.h). Never yields.
 */
#include "base/metric.h"
#include "client/client_int.h"

void client_metrics(const struct client *c, struct metric_batch *batch)
{
	struct client_counters n;

	client_counters(c, &n);
	metric_add(batch, METRIC_ID_client_bytes, n.bytes_read, "read", NULL, NULL);
	metric_add(batch, METRIC_ID_client_bytes, n.bytes_written, "write", NULL, NULL);
	metric_add(batch, METRIC_ID_client_reconnects, n.reconnects, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_client_open_files, n.open_files, NULL, NULL, NULL);
	rpc_client_metrics(c->rpc, batch);
}
