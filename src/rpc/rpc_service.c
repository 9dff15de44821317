/*
 * What services call: starting and stopping, facts about exports, and a handler's view of its request.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"

int rpc_service_start(struct rpc_server *server, const struct rpc_service_opts *opts,
	struct rpc_service **ret_service)
{
	struct rpc_service *service;
	int rc;

	ASSERT(opts->ops->session_open != NULL && opts->ops->session_closed != NULL);
	ASSERT(opts->ops->request != NULL && opts->ops->state != NULL);
	if (strlen(opts->target) > LIM_TARGET_NAME_MAX || opts->target[0] == '\0' ||
		strlen(opts->fsname) > LIM_FSNAME_MAX) {
		return -NE_INVAL;
	}
	if (service_find(server, rpc_target_code(opts->target)) != NULL) {
		return -NE_EXIST;
	}
	service = mem_zalloc(sizeof(*service));
	if (service == NULL) {
		return -NE_NOMEM;
	}
	rc = rpc_stats_new(&service->stats);
	if (rc != 0) {
		mem_free(service);
		return rc;
	}
	service->server = server;
	strcpy(service->target, opts->target);
	strcpy(service->fsname, opts->fsname);
	service->code = rpc_target_code(opts->target);
	service->ops = opts->ops;
	service->ctx = opts->ctx;
	hmap_init(&service->exports);
	list_init(&service->all);
	list_push_back(&server->services, &service->link);
	*ret_service = service;
	return 0;
}

void rpc_service_stop(struct rpc_service *service)
{
	struct rpc_server *server;

	if (service == NULL) {
		return;
	}
	server = service->server;
	service->stopping = true;
	LIST_FOREACH_SAFE (it, &service->all) {
		struct rpc_export *exp = list_entry(it, struct rpc_export, all);

		export_close(exp, RPC_CLOSE_SHUTDOWN);
		exp->close_reason = RPC_CLOSE_SHUTDOWN;
	}
	server_janitor_wake(server);
	while (!list_empty(&service->all) || service->opens > 0) {
		(void)env_wait(server->env, &server->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	list_del(&service->link);
	hmap_fini(&service->exports);
	mem_free(service->stats);
	mem_free(service);
}

const struct rpc_stats *rpc_service_stats(const struct rpc_service *service)
{
	return service->stats;
}

struct rpc_export *rpc_service_export_next(struct rpc_service *service, struct rpc_export *exp)
{
	struct list *it = exp != NULL ? exp->all.next : service->all.next;

	while (it != &service->all) {
		struct rpc_export *next = list_entry(it, struct rpc_export, all);

		if (next->state == EXPORT_OPEN) {
			return next;
		}
		it = it->next;
	}
	return NULL;
}

/* ---- exports ---- */

const struct rpc_identity *rpc_export_identity(const struct rpc_export *exp)
{
	return &exp->peer->id;
}

uint64_t rpc_export_session(const struct rpc_export *exp)
{
	return exp->session;
}

uint64_t rpc_export_idle_ns(const struct rpc_export *exp)
{
	uint64_t last = exp->last_ns;

	if (exp->control != NULL && exp->control->conn != NULL) {
		last = u64_max(last, exp->control->conn->rx_last_ns);
	}
	return env_now(exp->service->server->env) - last;
}

void rpc_export_ctx_set(struct rpc_export *exp, void *ctx)
{
	exp->ctx = ctx;
}

void *rpc_export_ctx(const struct rpc_export *exp)
{
	return exp->ctx;
}

/* ---- requests ---- */

int rpc_request_reply(struct rpc_request *req, const void *reply)
{
	struct rpc_req *r = req_of(req);
	struct rpc_server *server = r->server;
	uint32_t had = r->rep.cap > RPC_BODY_INLINE ? r->rep.cap : 0;
	int rc;

	ASSERT(r->state == REQ_RUNNING);
	if (server->message_bytes > 2 * server->lim.message_total_bytes) {
		return -NE_NOMEM; /* readers of big replies do not fetch them */
	}
	rc = rpc_buf_encode(&r->rep, req->op->reply, reply);
	if (rc == 0 && r->rep.cap > RPC_BODY_INLINE && r->rep.cap > had) {
		r->bytes += r->rep.cap - had;
		server->message_bytes += r->rep.cap - had;
		r->home->message_bytes += r->rep.cap - had;
	}
	return rc;
}

struct span rpc_request_reply_bytes(const struct rpc_request *req)
{
	const struct rpc_req *r = req_of(req);

	return span_of(r->rep.ptr, r->rep.len);
}

void rpc_request_transno_set(struct rpc_request *req, uint64_t transno)
{
	req_of(req)->transno = transno;
}

void rpc_request_retry_after_set(struct rpc_request *req, uint64_t delay_ns)
{
	req_of(req)->retry_after_ns = u64_max(delay_ns, NS_PER_MS);
}

void rpc_request_bulk_out(struct rpc_request *req, const struct iovec *iov, unsigned count,
	void (*release)(void *arg), void *arg)
{
	struct rpc_req *r = req_of(req);

	ASSERT(count <= RPC_BULK_IOV_MAX && r->bulk_out_count == 0 && r->release == NULL);
	ASSERT(!req->op->modifies && rpc_iov_len(iov, count) <= LIM_MSG_BULK_MAX);
	for (unsigned i = 0; i < count; i++) {
		r->bulk_out[i] = iov[i];
	}
	r->bulk_out_count = count;
	r->release = release;
	r->release_arg = arg;
}

void *rpc_request_bulk_take(struct rpc_request *req)
{
	struct rpc_req *r = req_of(req);

	if (req->bulk_in == NULL) {
		return NULL;
	}
	ASSERT(r->server->bulk_bytes >= req->bulk_in_len);
	r->server->bulk_bytes -= req->bulk_in_len;
	return TAKE_PTR(req->bulk_in);
}

bool rpc_request_canceled(const struct rpc_request *req)
{
	return req_of(req)->canceled;
}
