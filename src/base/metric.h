/*
 * Metrics: names, histograms, and the Prometheus text made of them.
 *
 * Counters are plain members of the structs they describe; only their reactor writes them, so counting is an
 * increment without lock or atomic. To read them, a collector runs in the reactor and copies values into a
 * `struct metric_batch`; whoever asked makes text of it, in another thread if it likes. Batches of several
 * reactors are gathered into one: equal names and labels are added up. Metrics are listed in metrics.def.
 */
#ifndef NACRE_BASE_METRIC_H
#define NACRE_BASE_METRIC_H

#include "base/base.h"
#include "base/strbuf.h"

/* Bucket i holds durations of at most 1 us << i; the last one all longer ones (over 67 s). */
#define METRIC_BUCKETS 28
#define METRIC_LABELS 3

struct metric_hist {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t max_ns;
	uint64_t bucket[METRIC_BUCKETS];
};

static inline unsigned metric_bucket(uint64_t ns)
{
	uint64_t us = (ns - (ns != 0)) / 1000;
	unsigned i = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);

	return i < METRIC_BUCKETS ? i : METRIC_BUCKETS - 1;
}

static inline void metric_hist_add(struct metric_hist *h, uint64_t ns)
{
	h->count++;
	h->sum_ns += ns;
	h->max_ns = ns > h->max_ns ? ns : h->max_ns;
	h->bucket[metric_bucket(ns)]++;
}

/* The duration below which `parts` of `whole` lie (99 of 100), ns; interpolated within its bucket; 0 if empty. */
uint64_t metric_hist_quantile(const struct metric_hist *h, unsigned parts, unsigned whole);

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
};

enum metric_unit {
	METRIC_NONE,
	METRIC_NS, /* shown as seconds */
};

enum metric_id {
#define METRIC(id, name, type, unit, l1, l2, l3, help) METRIC_ID_##id,
#include "base/metrics.def"
#undef METRIC
	METRIC_IDS
};

struct metric_desc {
	const char *name; /* without "nacre_" */
	enum metric_type type;
	enum metric_unit unit;
	const char *label[METRIC_LABELS]; /* names; NULL: not used */
	const char *help;
};

const struct metric_desc *metric_desc(enum metric_id id);

struct metric_batch;

/* A batch of at most LIM_METRIC_SAMPLES samples. -NE_NOMEM. */
_check_ int metric_batch_new(struct metric_batch **ret_batch);
void metric_batch_free(struct metric_batch *batch); /* accepts NULL */
/* Labels in the order of metrics.def, NULL for those it does not have; copied, cut at LIM_METRIC_LABEL_MAX. Beyond
 * the batch's bound, or without memory, the sample is left out and counted. */
void metric_add(struct metric_batch *batch, enum metric_id id, uint64_t value, const char *l1,
	const char *l2, const char *l3);
void metric_add_hist(struct metric_batch *batch, enum metric_id id, const struct metric_hist *hist,
	const char *l1, const char *l2);
size_t metric_batch_count(const struct metric_batch *batch);
/* Prometheus' text format 0.0.4. Sorts the batch and merges equal samples. Ends with the number of samples that
 * were left out. strbuf_error tells whether the text is whole. */
void metric_batch_print(struct metric_batch *batch, struct strbuf *out);

#endif
