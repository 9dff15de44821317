/*
 * What the monitor is told of an MDT (base/metric.h), besides what its RPC service counts. Never yields.
 */
#include <stdio.h>

#include "base/metric.h"
#include "mds/mds_int.h"

void mds_metrics(struct mds *mds, struct metric_batch *batch)
{
	char name[LIM_TARGET_NAME_MAX + 1];
	struct mds_status st;

	snprintf(name, sizeof(name), "MDT%04x", mds->opts.index);
	mds_status_get(mds, &st);
	metric_add(batch, METRIC_ID_capacity, st.space.bytes_total, name, NULL, NULL);
	metric_add(batch, METRIC_ID_used, st.space.bytes_total - st.space.bytes_free, name, NULL,
		NULL);
	metric_add(batch, METRIC_ID_avail, st.space.bytes_avail, name, NULL, NULL);
	metric_add(batch, METRIC_ID_inodes, st.space.files_total, name, NULL, NULL);
	metric_add(batch, METRIC_ID_inodes_used, st.space.files_used, name, NULL, NULL);
	metric_add(batch, METRIC_ID_uptime, st.uptime_ms * NS_PER_MS, name, NULL, NULL);
	state_metrics(mds->st, name, batch);
}
