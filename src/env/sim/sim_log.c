/*
 * The event log (a ring and a hash over everything that ever went in) and the counters of faults.
 *
 * No address and no real time ever enters the hash: equal seeds must give equal hashes in every process.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "env/sim/sim_int.h"

static const struct {
	const char *name;
	unsigned group;
	const char *text;
} fault_table[SIM_FAULTS] = {
#define SIM_FAULT(fname, fgroup, ftext) {#fname, SIM_GROUP_##fgroup, ftext},
#include "env/sim/sim_stats.def"
#undef SIM_FAULT
};

static const char *const point_table[SIM_POINTS] = {
#define SIM_POINT(pname, ptext) ptext,
#include "env/sim/sim_stats.def"
#undef SIM_POINT
};

void *sim_alloc(size_t size)
{
	void *ptr = malloc(size);

	ASSERT(ptr != NULL);
	return ptr;
}

void *sim_zalloc(size_t size)
{
	void *ptr = calloc(1, size);

	ASSERT(ptr != NULL);
	return ptr;
}

void *sim_realloc(void *ptr, size_t size)
{
	void *moved = realloc(ptr, size);

	ASSERT(moved != NULL);
	return moved;
}

char *sim_strdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(sim_alloc(size), text, size);
}

const char *sim_point_name(enum sim_point point)
{
	ASSERT(point < SIM_POINTS);
	return point_table[point];
}

/* ---- events ---- */

static void event_print(const struct sim *sim, const struct sim_event *event, FILE *out)
{
	fprintf(out, "%12.6f ms %-10s %-18s %-12s a=%llu b=%llu %s\n", (double)event->at_ns / 1e6,
		event->node >= 0 ? sim->nodes[event->node]->name : "-",
		event->fiber != 0 ? event->fiber_name : "-", event->what,
		(unsigned long long)event->a, (unsigned long long)event->b, event->text);
}

static void text_copy(char *to, size_t cap, const char *from)
{
	size_t len = from != NULL ? strnlen(from, cap - 1) : 0;

	if (len > 0) {
		memcpy(to, from, len);
	}
	to[len] = '\0';
}

void sim_log_mix(struct sim *sim, uint64_t a, uint64_t b)
{
	sim->log_hash = hash_mix2(sim->log_hash ^ a, b);
}

void sim_log(struct sim *sim, const struct sim_node *node, const char *what, const char *text,
	uint64_t a, uint64_t b)
{
	struct sim_event *event = &sim->log[sim->log_count++ % sim->log_cap];
	const struct fiber *fiber = node != NULL ? node->env.sched.current : NULL;

	event->at_ns = sim->now;
	event->node = node != NULL ? (int16_t)node->index : -1;
	event->what = what;
	event->a = a;
	event->b = b;
	event->fiber = fiber != NULL ? (uint32_t)fiber->id : 0;
	text_copy(event->fiber_name, sizeof(event->fiber_name), fiber != NULL ? fiber->name : NULL);
	text_copy(event->text, sizeof(event->text), text);
	sim_log_mix(sim, sim->now, (uint64_t)(event->node + 1) << 32 | event->fiber);
	sim_log_mix(sim, a, b);
	sim_log_mix(
		sim, hash_bytes(what, strlen(what)), hash_bytes(event->text, strlen(event->text)));
	if (sim->opts.trace) {
		event_print(sim, event, stderr);
	}
}

uint64_t sim_log_hash(const struct sim *sim)
{
	return sim->log_hash;
}

void sim_log_print(const struct sim *sim, FILE *out)
{
	sim_log_tail(sim, out, sim->log_cap);
}

void sim_log_tail(const struct sim *sim, FILE *out, uint64_t count)
{
	uint64_t kept = u64_min(count, u64_min(sim->log_count, sim->log_cap));

	fprintf(out, "--- last %llu of %llu events, seed %llu ---\n", (unsigned long long)kept,
		(unsigned long long)sim->log_count, (unsigned long long)sim->opts.seed);
	for (uint64_t i = sim->log_count - kept; i < sim->log_count; i++) {
		event_print(sim, &sim->log[i % sim->log_cap], out);
	}
}

void sim_note(struct sim *sim, const char *fmt, ...)
{
	char text[sizeof(((struct sim_event *)NULL)->text)];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	sim_log(sim, NULL, "note", text, 0, 0);
}

/* ---- counters ---- */

void sim_fault(struct sim_node *node, enum sim_fault fault, const char *text, uint64_t value)
{
	ASSERT(fault < SIM_FAULTS);
	node->sim->stats.faults[fault]++;
	sim_log(node->sim, node, fault_table[fault].name, text, value, 0);
}

const struct sim_stats *sim_stats(const struct sim *sim)
{
	return &sim->stats;
}

void sim_stats_add(struct sim_stats *sum, const struct sim_stats *more)
{
	for (unsigned i = 0; i < SIM_FAULTS; i++) {
		sum->faults[i] += more->faults[i];
	}
	for (unsigned i = 0; i < SIM_POINTS; i++) {
		sum->passed[i] += more->passed[i];
		sum->crashed[i] += more->crashed[i];
	}
	sum->events += more->events;
	sum->runs += more->runs;
}

void sim_stats_print(const struct sim_stats *stats, FILE *out)
{
	fprintf(out, "%llu worlds, %llu events\n", (unsigned long long)stats->runs,
		(unsigned long long)stats->events);
	for (unsigned i = 0; i < SIM_FAULTS; i++) {
		fprintf(out, "fault %-16s %12llu  %s\n", fault_table[i].name,
			(unsigned long long)stats->faults[i], fault_table[i].text);
	}
	for (unsigned i = 0; i < SIM_POINTS; i++) {
		fprintf(out, "point %-16s %12llu  crashed at %llu times\n", point_table[i],
			(unsigned long long)stats->passed[i],
			(unsigned long long)stats->crashed[i]);
	}
}

unsigned sim_stats_check_all_fired(const struct sim_stats *stats, unsigned groups, FILE *out)
{
	unsigned zeros = 0;

	ASSERT(groups != 0);
	for (unsigned i = 0; i < SIM_FAULTS; i++) {
		if ((fault_table[i].group & groups) != 0 && stats->faults[i] == 0) {
			zeros++;
			if (out != NULL) {
				fprintf(out, "never fired: %s (%s)\n", fault_table[i].name,
					fault_table[i].text);
			}
		}
	}
	for (unsigned i = 0;
		(groups & (SIM_GROUP_POINTS | SIM_GROUP_PASSED)) != 0 && i < SIM_POINTS; i++) {
		bool wanted = (groups & SIM_GROUP_POINTS) != 0 || stats->passed[i] > 0;

		if (wanted && stats->crashed[i] == 0) {
			zeros++;
			if (out != NULL) {
				fprintf(out, "never crashed at: %s\n", point_table[i]);
			}
		}
	}
	return zeros;
}
