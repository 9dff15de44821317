/*
 * What the monitor is told of an OST (base/metric.h).
 */
#include "base/metric.h"
#include "oss/oss_int.h"

void oss_metrics(struct oss *oss, struct metric_batch *batch)
{
	struct oss_status st;

	rpc_service_metrics(oss->service, batch);
	state_metrics(oss->state, oss->target, batch);
	if (oss_status_get(oss, &st) != 0) {
		return; /* the disk's own failure is the services' to tell; the rest is true */
	}
	metric_add(batch, METRIC_ID_capacity, st.bytes_total, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_used, st.bytes_total - st.bytes_free, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_avail, st.bytes_avail, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_inodes, st.files_total, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_inodes_used, st.files_used, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_uptime, st.uptime_ms * NS_PER_MS, oss->target, NULL, NULL);
	metric_add(batch, METRIC_ID_objects_open, st.objects_open, oss->target, NULL, NULL);
}
