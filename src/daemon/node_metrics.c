/*
 * What the monitor is told of a node: its server, its own calls, and each of its targets (base/metric.h).
 */
#include "base/metric.h"
#include "daemon/node_int.h"
#include "mds/mds.h"
#include "mgs/mgs.h"
#include "oss/oss.h"

void node_metrics(struct node *node, struct metric_batch *batch)
{
	rpc_server_metrics(node->server, batch);
	rpc_client_metrics(node->client, batch);
	bufpool_metrics(node->bufpool, batch);
	for (unsigned i = 0; i < node->target_count; i++) {
		struct node_target *t = &node->targets[i];

		if (t->mgs != NULL) {
			mgs_metrics(t->mgs, batch);
		}
		if (t->mds != NULL) {
			rpc_service_metrics(t->service, batch);
			mds_metrics(t->mds, batch);
		}
		if (t->oss != NULL) {
			oss_metrics(t->oss, batch);
		}
	}
}
