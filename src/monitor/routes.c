/*
 * What is answered: GET /metrics everywhere; over the Unix socket also GET /traces, POST /traces?sample=N,
 * GET /log and POST /log?level=LEVEL[&module=MODULE].
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "monitor/monitor_int.h"
#include "wire/wire.h"

static void refuse(struct monitor *m, struct http_answer *a, unsigned status, const char *text)
{
	m->refused_request++;
	a->status = status;
	strbuf_puts(&a->text, text);
}

static void no_answer(struct http_answer *a, int rc)
{
	a->status = 503;
	strbuf_printf(&a->text, "the reactor does not answer: %s\n", ne_text(rc));
}

/* ---- /metrics ---- */

static void metrics_get(struct monitor *m, struct http_answer *a)
{
	struct question *q;
	int rc = question_ask(m, QUESTION_METRICS, 0, &q);

	if (rc != 0) {
		no_answer(a, rc);
		return;
	}
	process_metrics(m, q->batch);
	a->type = "text/plain; version=0.0.4; charset=utf-8";
	metric_batch_print(q->batch, &a->text);
	question_free(q);
}

/* ---- /traces ---- */

static const char *record_op(const struct monitor *m, const struct trace_record *r)
{
	return r->kind == TRACE_FUSE && m->o.fuse_op != NULL ? m->o.fuse_op(r->op)
							     : wire_op_name(r->op);
}

static void record_print(const struct question *q, const struct trace_record *r, struct strbuf *out)
{
	static const char *const kinds[] = {"fuse", "call", "serve"};
	int64_t start = q->realtime_ns - (int64_t)(q->now_ns - r->start_ns);

	strbuf_puts(out, "{\"id\":\"");
	strbuf_hex(out, r->id, sizeof(r->id));
	strbuf_printf(out,
		"\",\"kind\":\"%s\",\"op\":\"%s\",\"target\":\"%s\",\"start_ns\":%" PRId64
		",\"duration_ns\":%" PRIu64 ",\"status\":\"%s\",\"bytes\":%" PRIu64
		",\"xid\":%" PRIu64 ",\"pid\":%" PRIu32 ",\"wait_ns\":{",
		kinds[r->kind], record_op(q->m, r), r->target, start, r->duration_ns,
		r->status == 0 ? "ok" : ne_name(r->status), r->bytes, r->xid, r->pid);
	for (unsigned i = 0; i < TRACE_WAITS; i++) {
		strbuf_printf(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",",
			trace_wait_name((enum trace_wait)i), r->wait_ns[i]);
	}
	strbuf_puts(out, "}}");
}

static void traces_get(struct monitor *m, struct http_answer *a)
{
	struct question *q;
	int rc = question_ask(m, QUESTION_TRACES, 0, &q);

	if (rc != 0) {
		no_answer(a, rc);
		return;
	}
	a->type = "application/json";
	strbuf_printf(&a->text, "{\"daemon\":\"%s\",\"fsname\":\"%s\",\"pid\":%d,\"spans\":[",
		m->o.daemon, m->o.fsname, (int)getpid());
	for (size_t i = 0; i < q->record_count; i++) {
		strbuf_puts(&a->text, i == 0 ? "\n" : ",\n");
		record_print(q, &q->records[i], &a->text);
	}
	strbuf_puts(&a->text, "]}\n");
	question_free(q);
}

static void traces_sample(struct monitor *m, const struct http_request *req, struct http_answer *a)
{
	const char *text = req->arg(req->ctx, "sample");
	struct question *q;
	unsigned long every;
	char *end;
	int rc;

	every = text != NULL && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : UINT32_MAX;
	if (every > 1000000 || *end != '\0') {
		refuse(m, a, 400, "sample must be a number from 0 (none) to 1000000\n");
		return;
	}
	rc = question_ask(m, QUESTION_SAMPLE, (uint32_t)every, &q);
	if (rc != 0) {
		no_answer(a, rc);
		return;
	}
	a->type = "application/json";
	strbuf_printf(&a->text, "{\"sample\":%lu,\"before\":%" PRIu32 "}\n", every, q->sample);
	question_free(q);
}

/* ---- /log ---- */

static void log_get(struct http_answer *a)
{
	char module[LOG_MODULE_MAX + 1];
	enum log_level level;

	a->type = "application/json";
	strbuf_printf(&a->text, "{\"level\":\"%s\",\"modules\":{", log_level_name(log_level_get()));
	for (unsigned i = 0; log_module_level_at(i, module, &level); i++) {
		strbuf_printf(&a->text, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", module,
			log_level_name(level));
	}
	strbuf_puts(&a->text, "}}\n");
}

static bool module_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n <= LOG_MODULE_MAX && name[n] == '\0';
}

static void log_post(struct monitor *m, const struct http_request *req, struct http_answer *a)
{
	const char *module = req->arg(req->ctx, "module");
	const char *text = req->arg(req->ctx, "level");
	enum log_level level;

	if (text == NULL || log_level_parse(text, &level) != 0) {
		refuse(m, a, 400, "level must be error, warn, info or debug\n");
		return;
	}
	if (module == NULL) {
		log_level_set(level);
		log_module_levels_clear();
	} else if (!module_ok(module)) {
		refuse(m, a, 400, "module must be a module's name in lower case\n");
		return;
	} else if (log_module_level_set(module, level) != 0) {
		refuse(m, a, 409,
			"16 modules have levels of their own already: set the common level "
			"first\n");
		return;
	}
	log_info("monitor", "log level of %s is %s now", module == NULL ? "everything" : module,
		log_level_name(level));
	log_get(a);
}

/* ---- all ---- */

static void local_answer(
	struct monitor *m, const struct http_request *req, bool get, struct http_answer *a)
{
	if (strcmp(req->path, "/traces") == 0) {
		if (get) {
			traces_get(m, a);
		} else {
			traces_sample(m, req, a);
		}
	} else if (strcmp(req->path, "/log") == 0) {
		if (get) {
			log_get(a);
		} else {
			log_post(m, req, a);
		}
	} else {
		refuse(m, a, 404, "there are /metrics, /traces and /log\n");
	}
}

void routes_answer(struct monitor *m, const struct http_request *req, struct http_answer *a)
{
	bool get = strcmp(req->method, "GET") == 0;

	if (!get && (strcmp(req->method, "POST") != 0 || strcmp(req->path, "/metrics") == 0)) {
		refuse(m, a, 405, "this method is not known here\n");
	} else if (strcmp(req->path, "/metrics") == 0) {
		metrics_get(m, a);
	} else if (req->local) {
		local_answer(m, req, get, a);
	} else {
		refuse(m, a, 404, "there is /metrics\n");
	}
}
