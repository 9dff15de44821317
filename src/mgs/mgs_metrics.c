/*
 * What the monitor is told of the MGS (base/metric.h). Never yields.
 */
#include "base/metric.h"
#include "mgs/mgs_int.h"

void mgs_metrics(struct mgs *mgs, struct metric_batch *batch)
{
	rpc_service_metrics(mgs->service, batch);
	state_metrics(mgs->state, MGS_TARGET, batch);
	metric_add(batch, METRIC_ID_map_version, mgs_map_version(mgs), MGS_TARGET, NULL, NULL);
}
