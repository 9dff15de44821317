/*
 * What the monitor is told of a reactor (base/metric.h).
 */
#include "base/metric.h"
#include "env/posix/posix_int.h"

void reactor_metrics(const struct reactor *r, const char *name, struct metric_batch *batch)
{
	struct reactor_stats s;

	reactor_stats(r, &s);
	metric_add(batch, METRIC_ID_reactor_busy, s.busy_ns, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_polling, s.polling_ns, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_idle, s.idle_ns, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_turns, s.turns, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_switches, s.switches, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_sleeps, s.sleeps, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_polls, s.spins_hit, name, "hit", NULL);
	metric_add(batch, METRIC_ID_reactor_polls, s.spins - s.spins_hit, name, "miss", NULL);
	metric_add(batch, METRIC_ID_reactor_wakeups, s.wakeups, name, NULL, NULL);
	metric_add(batch, METRIC_ID_reactor_syscalls, s.sys_epoll, name, "epoll", NULL);
	metric_add(batch, METRIC_ID_reactor_syscalls, s.sys_recv, name, "recv", NULL);
	metric_add(batch, METRIC_ID_reactor_syscalls, s.sys_send, name, "send", NULL);
	metric_add(batch, METRIC_ID_reactor_syscalls, s.sys_uring, name, "io_uring", NULL);
	metric_add(batch, METRIC_ID_reactor_syscalls, s.sys_file, name, "file", NULL);
	metric_add(batch, METRIC_ID_reactor_fibers, s.fibers, name, NULL, NULL);
}
