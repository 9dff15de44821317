/*
 * See metric.h. Printing sorts samples by metric and labels, adds up equal ones and writes HELP and TYPE once.
 */
#include "base/metric.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"

#define BATCH_START 256

struct metric_sample {
	enum metric_id id;
	bool merged; /* into the one before */
	uint64_t value;
	struct metric_hist *hist;
	char label[METRIC_LABELS][LIM_METRIC_LABEL_MAX + 1];
};

struct metric_batch {
	struct metric_sample *samples;
	size_t count;
	size_t cap;
	uint64_t dropped;
};

static const struct metric_desc descs[METRIC_IDS] = {
#define METRIC(id, name, type, unit, l1, l2, l3, help) \
	[METRIC_ID_##id] = {name, METRIC_##type, METRIC_##unit, {l1, l2, l3}, help},
#include "base/metrics.def"
#undef METRIC
};

const struct metric_desc *metric_desc(enum metric_id id)
{
	ASSERT((unsigned)id < METRIC_IDS);
	return &descs[id];
}

uint64_t metric_hist_quantile(const struct metric_hist *h, unsigned parts, unsigned whole)
{
	uint64_t below = 0;
	uint64_t rank;

	ASSERT(parts <= whole && whole > 0);
	if (h->count == 0) {
		return 0;
	}
	rank = (h->count * parts + whole - 1) / whole;
	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		uint64_t low = i == 0 ? 0 : NS_PER_US << (i - 1);
		uint64_t high = NS_PER_US << i;

		if (below + h->bucket[i] >= rank && h->bucket[i] > 0) {
			high = i == METRIC_BUCKETS - 1 ? u64_max(high, h->max_ns) : high;
			/* Of a merged or parsed histogram the maximum may be unknown. */
			if (h->max_ns > low) {
				high = u64_min(high, h->max_ns);
			}
			return low +
				(uint64_t)((double)(high - low) * (double)(rank - below) /
					(double)h->bucket[i]);
		}
		below += h->bucket[i];
	}
	return h->max_ns;
}

/* ---- batches ---- */

int metric_batch_new(struct metric_batch **ret_batch)
{
	struct metric_batch *b = mem_zalloc(sizeof(*b));

	if (b == NULL) {
		return -NE_NOMEM;
	}
	*ret_batch = b;
	return 0;
}

void metric_batch_free(struct metric_batch *b)
{
	if (b == NULL) {
		return;
	}
	for (size_t i = 0; i < b->count; i++) {
		mem_free(b->samples[i].hist);
	}
	mem_free(b->samples);
	mem_free(b);
}

static bool batch_grow(struct metric_batch *b)
{
	size_t cap = b->cap == 0 ? BATCH_START : b->cap * 2;
	struct metric_sample *more;

	if (b->count >= LIM_METRIC_SAMPLES) {
		return false;
	}
	more = mem_realloc(b->samples, cap * sizeof(*more));
	if (more == NULL) {
		return false;
	}
	b->samples = more;
	b->cap = cap;
	return true;
}

static struct metric_sample *sample_new(
	struct metric_batch *b, enum metric_id id, const char *const labels[METRIC_LABELS])
{
	struct metric_sample *s;

	ASSERT((unsigned)id < METRIC_IDS);
	if (b->count == b->cap && !batch_grow(b)) {
		b->dropped++;
		return NULL;
	}
	s = &b->samples[b->count++];
	memset(s, 0, sizeof(*s));
	s->id = id;
	for (unsigned i = 0; i < METRIC_LABELS; i++) {
		ASSERT((labels[i] != NULL) == (descs[id].label[i] != NULL));
		if (labels[i] != NULL) {
			strncpy(s->label[i], labels[i], LIM_METRIC_LABEL_MAX);
		}
	}
	return s;
}

void metric_add(struct metric_batch *b, enum metric_id id, uint64_t value, const char *l1,
	const char *l2, const char *l3)
{
	const char *const labels[METRIC_LABELS] = {l1, l2, l3};
	struct metric_sample *s = sample_new(b, id, labels);

	ASSERT(descs[id].type != METRIC_HISTOGRAM);
	if (s != NULL) {
		s->value = value;
	}
}

void metric_add_hist(struct metric_batch *b, enum metric_id id, const struct metric_hist *hist,
	const char *l1, const char *l2)
{
	const char *const labels[METRIC_LABELS] = {l1, l2, NULL};
	struct metric_sample *s;
	struct metric_hist *copy = mem_alloc(sizeof(*copy));

	ASSERT(descs[id].type == METRIC_HISTOGRAM);
	s = copy == NULL ? NULL : sample_new(b, id, labels);
	if (s == NULL) {
		b->dropped += copy == NULL;
		mem_free(copy);
		return;
	}
	*copy = *hist;
	s->hist = copy;
}

size_t metric_batch_count(const struct metric_batch *b)
{
	return b->count;
}

/* ---- text ---- */

static int sample_compare(const void *a, const void *b)
{
	const struct metric_sample *x = a;
	const struct metric_sample *y = b;
	int order = (x->id > y->id) - (x->id < y->id);

	for (unsigned i = 0; i < METRIC_LABELS && order == 0; i++) {
		order = strcmp(x->label[i], y->label[i]);
	}
	return order;
}

static void hist_merge(struct metric_hist *into, const struct metric_hist *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	into->max_ns = u64_max(into->max_ns, from->max_ns);
	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		into->bucket[i] += from->bucket[i];
	}
}

static void batch_merge(struct metric_batch *b)
{
	struct metric_sample *last = NULL;

	if (b->count > 0) {
		qsort(b->samples, b->count, sizeof(b->samples[0]), sample_compare);
	}
	for (size_t i = 0; i < b->count; i++) {
		struct metric_sample *s = &b->samples[i];

		if (last == NULL || sample_compare(last, s) != 0) {
			last = s;
			continue;
		}
		s->merged = true;
		last->value += s->value;
		if (s->hist != NULL) {
			hist_merge(last->hist, s->hist);
		}
	}
}

static void label_print(struct strbuf *out, const char *name, const char *value, bool first)
{
	strbuf_printf(out, "%s%s=\"", first ? "" : ",", name);
	for (const char *c = value; *c != '\0'; c++) {
		if (*c == '\\' || *c == '"') {
			strbuf_append(out, "\\", 1);
		}
		if (*c == '\n') {
			strbuf_puts(out, "\\n");
		} else {
			strbuf_append(out, c, 1);
		}
	}
	strbuf_append(out, "\"", 1);
}

/* {target="OST0000",le="..."} or nothing. */
static void labels_print(struct strbuf *out, const struct metric_sample *s, const char *le)
{
	const struct metric_desc *d = &descs[s->id];
	bool first = true;

	for (unsigned i = 0; i < METRIC_LABELS && d->label[i] != NULL; i++) {
		strbuf_puts(out, first ? "{" : "");
		label_print(out, d->label[i], s->label[i], first);
		first = false;
	}
	if (le != NULL) {
		strbuf_puts(out, first ? "{" : "");
		label_print(out, "le", le, first);
		first = false;
	}
	strbuf_puts(out, first ? " " : "} ");
}

/* Exact: nanoseconds are nine decimals. */
static void seconds_format(uint64_t ns, char *buf, size_t cap)
{
	int n = snprintf(buf, cap, "%" PRIu64 ".%09" PRIu64, ns / NS_PER_S, ns % NS_PER_S);

	ASSERT(n > 0 && (size_t)n < cap);
	while (n > 1 && buf[n - 1] == '0') {
		buf[--n] = '\0';
	}
	if (buf[n - 1] == '.') {
		buf[n - 1] = '\0';
	}
}

static void value_print(struct strbuf *out, enum metric_unit unit, uint64_t value)
{
	char text[40];

	if (unit == METRIC_NS) {
		seconds_format(value, text, sizeof(text));
		strbuf_printf(out, "%s\n", text);
	} else {
		strbuf_printf(out, "%" PRIu64 "\n", value);
	}
}

static void hist_print(struct strbuf *out, const struct metric_sample *s)
{
	const char *name = descs[s->id].name;
	uint64_t below = 0;
	char le[40];

	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		below += s->hist->bucket[i];
		seconds_format(NS_PER_US << i, le, sizeof(le));
		strbuf_printf(out, "nacre_%s_bucket", name);
		labels_print(out, s, i == METRIC_BUCKETS - 1 ? "+Inf" : le);
		strbuf_printf(out, "%" PRIu64 "\n", below);
	}
	strbuf_printf(out, "nacre_%s_sum", name);
	labels_print(out, s, NULL);
	value_print(out, METRIC_NS, s->hist->sum_ns);
	strbuf_printf(out, "nacre_%s_count", name);
	labels_print(out, s, NULL);
	strbuf_printf(out, "%" PRIu64 "\n", below);
}

static void head_print(struct strbuf *out, const struct metric_desc *d)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	strbuf_printf(out, "# HELP nacre_%s %s\n# TYPE nacre_%s %s\n", d->name, d->help, d->name,
		types[d->type]);
}

void metric_batch_print(struct metric_batch *b, struct strbuf *out)
{
	int last = -1;

	batch_merge(b);
	for (size_t i = 0; i < b->count; i++) {
		const struct metric_sample *s = &b->samples[i];
		const struct metric_desc *d = &descs[s->id];

		if (s->merged) {
			continue;
		}
		if ((int)s->id != last) {
			head_print(out, d);
			last = (int)s->id;
		}
		if (s->hist != NULL) {
			hist_print(out, s);
			continue;
		}
		strbuf_printf(out, "nacre_%s", d->name);
		labels_print(out, s, NULL);
		value_print(out, d->unit, s->value);
	}
	strbuf_printf(out,
		"# HELP nacre_monitor_samples_dropped Samples left out of this answer\n"
		"# TYPE nacre_monitor_samples_dropped gauge\n"
		"nacre_monitor_samples_dropped %" PRIu64 "\n",
		b->dropped);
}
