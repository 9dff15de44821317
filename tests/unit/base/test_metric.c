/*
 * Metrics: buckets, quantiles, and a strict reading of the text.
 */
#include "base/metric.h"

#include <ctype.h>

#include "base/error.h"
#include "base/limits.h"
#include "test.h"

TEST(buckets)
{
	CHECK_EQ(metric_bucket(0), 0);
	CHECK_EQ(metric_bucket(1), 0);
	CHECK_EQ(metric_bucket(1000), 0);
	CHECK_EQ(metric_bucket(1001), 1);
	CHECK_EQ(metric_bucket(2000), 1);
	CHECK_EQ(metric_bucket(2001), 2);
	for (unsigned i = 0; i < METRIC_BUCKETS - 1; i++) {
		CHECK_EQ(metric_bucket(NS_PER_US << i), i);
		CHECK_EQ(metric_bucket((NS_PER_US << i) + 1), i + 1);
	}
	CHECK_EQ(metric_bucket(UINT64_MAX), METRIC_BUCKETS - 1);
}

TEST(quantiles)
{
	struct metric_hist h = {0};

	CHECK_EQ(metric_hist_quantile(&h, 99, 100), 0);
	metric_hist_add(&h, 3000);
	CHECK_EQ(metric_hist_quantile(&h, 1, 2), 3000);
	for (unsigned i = 0; i < 98; i++) {
		metric_hist_add(&h, 3000);
	}
	metric_hist_add(&h, NS_PER_S);
	CHECK_EQ(h.count, 100);
	CHECK_EQ(h.sum_ns, 99 * 3000 + NS_PER_S);
	uint64_t half = metric_hist_quantile(&h, 50, 100);
	uint64_t last = metric_hist_quantile(&h, 100, 100);

	CHECK(half > 2000 && half <= 4000);
	CHECK_EQ(metric_hist_quantile(&h, 99, 100), 4000);
	CHECK_EQ(last, NS_PER_S);
	h = (struct metric_hist){0};
	metric_hist_add(&h, 200 * NS_PER_S);
	CHECK_EQ(metric_hist_quantile(&h, 1, 100), 200 * NS_PER_S);
}

/* ---- the text, read as strictly as Prometheus' own checker does ---- */

struct reader {
	char family[128]; /* of the last TYPE */
	char type[16];
	unsigned families;
	unsigned samples;
	/* within a histogram */
	char series[256]; /* labels without le */
	double le;
	uint64_t below;
	bool inf;
};

static bool name_ok(const char *s)
{
	if (strncmp(s, "nacre_", 6) != 0) {
		return false;
	}
	for (; *s != '\0'; s++) {
		if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '_') {
			return false;
		}
	}
	return true;
}

static bool ends(const char *s, const char *with)
{
	size_t n = strlen(s);
	size_t m = strlen(with);

	return n >= m && strcmp(s + n - m, with) == 0;
}

/* name{a="b",...} value: splits; labels get what is between the braces less le. */
static void sample_split(const char *line, char *name, char *labels, char *le, char *value)
{
	const char *p = line + strcspn(line, "{ ");
	char *to = labels;

	memcpy(name, line, (size_t)(p - line));
	name[p - line] = '\0';
	le[0] = '\0';
	if (*p == '{') {
		p++;
		while (*p != '}') {
			const char *eq = strchr(p, '=');
			const char *end = eq + 2;
			bool is_le = strncmp(p, "le=", 3) == 0;

			CHECK(eq != NULL && eq[1] == '"');
			while (*end != '"') {
				CHECK(*end != '\0');
				CHECK(*end != '\\' || strchr("\\\"n", end[1]) != NULL);
				end += *end == '\\' ? 2 : 1;
			}
			if (is_le) {
				memcpy(le, eq + 2, (size_t)(end - eq) - 2);
				le[end - eq - 2] = '\0';
			} else {
				memcpy(to, p, (size_t)(end - p) + 1);
				to += end - p + 1;
			}
			p = end + 1;
			CHECK(*p == ',' || *p == '}');
			p += *p == ',';
		}
		p++;
	}
	*to = '\0';
	CHECK(*p == ' ');
	strcpy(value, p + 1);
}

static void hist_read(
	struct reader *r, const char *name, const char *labels, const char *le, const char *value)
{
	uint64_t n = strtoull(value, NULL, 10);

	if (ends(name, "_bucket")) {
		double bound = strcmp(le, "+Inf") == 0 ? 1e300 : strtod(le, NULL);

		if (strcmp(r->series, labels) != 0 || r->inf) {
			snprintf(r->series, sizeof(r->series), "%s", labels);
			r->below = 0;
			r->le = 0;
			r->inf = false;
		}
		CHECK(bound > r->le && n >= r->below);
		r->le = bound;
		r->below = n;
		r->inf = bound > 1e299;
	} else if (ends(name, "_count")) {
		CHECK(r->inf && strcmp(r->series, labels) == 0);
		CHECK_EQ(n, r->below);
	} else {
		CHECK(ends(name, "_sum") && r->inf);
	}
}

static void sample_read(struct reader *r, const char *line)
{
	static char name[256];
	static char labels[256];
	char le[64];
	char value[64];
	char *end;

	sample_split(line, name, labels, le, value);
	CHECK(name_ok(name));
	(void)strtod(value, &end);
	CHECK(*value != '\0' && *end == '\0');
	r->samples++;
	if (strcmp(r->type, "histogram") == 0) {
		CHECK(strncmp(name, r->family, strlen(r->family)) == 0);
		hist_read(r, name, labels, le, value);
		return;
	}
	CHECK_STR(name, r->family);
	CHECK(le[0] == '\0');
	CHECK_EQ(ends(name, "_total"), strcmp(r->type, "counter") == 0);
}

static void text_read(const char *text, struct reader *r)
{
	char help[128] = "";

	while (*text != '\0') {
		size_t len = strcspn(text, "\n");
		static char line[1024];

		CHECK(text[len] == '\n' && len < sizeof(line));
		memcpy(line, text, len);
		line[len] = '\0';
		text += len + 1;
		if (strncmp(line, "# HELP ", 7) == 0) {
			CHECK_EQ(sscanf(line + 7, "%127s", help), 1);
			CHECK(name_ok(help));
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			CHECK_EQ(sscanf(line + 7, "%127s %15s", r->family, r->type), 2);
			CHECK_STR(r->family, help);
			r->families++;
			r->inf = false;
		} else {
			sample_read(r, line);
		}
	}
}

TEST(text)
{
	struct metric_hist h = {0};
	struct metric_batch *b = NULL;
	struct reader r = {0};
	struct strbuf sb;

	CHECK_EQ(metric_batch_new(&b), 0);
	metric_hist_add(&h, 1500);
	metric_hist_add(&h, 100 * NS_PER_S);
	metric_add_hist(b, METRIC_ID_request_duration, &h, "MDT0000", "mds_create");
	metric_add(b, METRIC_ID_request_errors, 3, "MDT0000", "mds_create", NULL);
	metric_add(b, METRIC_ID_sessions, 7, "MDT0000", NULL, NULL);
	/* Another reactor's: added up. */
	metric_add(b, METRIC_ID_request_errors, 4, "MDT0000", "mds_create", NULL);
	metric_add_hist(b, METRIC_ID_request_duration, &h, "MDT0000", "mds_create");
	metric_add(b, METRIC_ID_cpu, 1500000001, "user", NULL, NULL);
	metric_add(b, METRIC_ID_cpu, 2 * NS_PER_S, "system", NULL, NULL);
	metric_add(b, METRIC_ID_build_info, 1, "a\"b\\c\nd", "x", "y");
	strbuf_init(&sb, MIB);
	metric_batch_print(b, &sb);
	CHECK_EQ(strbuf_error(&sb), 0);
	const char *text = strbuf_text(&sb);

	text_read(text, &r);
	CHECK_EQ(r.families, 6);
	CHECK(strstr(text,
		      "nacre_request_errors_total{target=\"MDT0000\",op=\"mds_create\"} 7\n") !=
		NULL);
	CHECK(strstr(text, "nacre_process_cpu_seconds_total{mode=\"user\"} 1.500000001\n") != NULL);
	CHECK(strstr(text, "nacre_process_cpu_seconds_total{mode=\"system\"} 2\n") != NULL);
	CHECK(strstr(text, "version=\"a\\\"b\\\\c\\nd\"") != NULL);
	CHECK(strstr(text, "op=\"mds_create\",le=\"0.000001\"} 0\n") != NULL);
	CHECK(strstr(text, "op=\"mds_create\",le=\"0.000002\"} 2\n") != NULL);
	CHECK(strstr(text, "op=\"mds_create\",le=\"+Inf\"} 4\n") != NULL);
	CHECK(strstr(text,
		      "nacre_request_duration_seconds_sum{target=\"MDT0000\",op=\"mds_create\"} "
		      "200.000003\n") != NULL);
	strbuf_fini(&sb);
	metric_batch_free(b);
}

/* A batch is bounded; what is left out is told. */
TEST(bound)
{
	struct metric_batch *b = NULL;
	struct strbuf sb;

	CHECK_EQ(metric_batch_new(&b), 0);
	for (unsigned i = 0; i < LIM_METRIC_SAMPLES + 5; i++) {
		char target[16];

		snprintf(target, sizeof(target), "T%u", i);
		metric_add(b, METRIC_ID_sessions, i, target, NULL, NULL);
	}
	CHECK_EQ(metric_batch_count(b), LIM_METRIC_SAMPLES);
	strbuf_init(&sb, 16 * MIB);
	metric_batch_print(b, &sb);
	CHECK(strstr(strbuf_text(&sb), "\nnacre_monitor_samples_dropped 5\n") != NULL);
	strbuf_fini(&sb);
	metric_batch_free(b);
}

/* Names follow the rules that Prometheus' own checker applies. */
TEST(table)
{
	for (unsigned i = 0; i < METRIC_IDS; i++) {
		const struct metric_desc *d = metric_desc((enum metric_id)i);

		CHECK(strlen(d->help) >= 10);
		CHECK_EQ(ends(d->name, "_total"), d->type == METRIC_COUNTER);
		CHECK(d->unit != METRIC_NS || strstr(d->name, "_seconds") != NULL);
		CHECK(d->type != METRIC_HISTOGRAM || (d->unit == METRIC_NS && d->label[2] == NULL));
		CHECK(!ends(d->name, "_count") && !ends(d->name, "_sum") &&
			!ends(d->name, "_bucket"));
		for (unsigned j = 0; j < i; j++) {
			CHECK(strcmp(d->name, metric_desc((enum metric_id)j)->name) != 0);
		}
	}
}
