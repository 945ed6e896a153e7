/*
 * One request: received on libmicrohttpd's thread, answered from Lua.
 *
 * Its connection owns it, and so does the queue or the userdata that shows it. What was received is copied, so that Lua
 * reads it without a lock; it does not change once the request is complete.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "header_table.h"
#include "httpd.h"

enum {
  QUEUE_LIMIT = 128,
  DISCARD_FACTOR = 16, /* a body too large is read on, up to so many times the limit, so that the 413 arrives */
  DISCARD_AT_LEAST = 1 << 20,
  CONTENT_TOO_LARGE = 413, /* its macro had three names so far */
};

typedef struct Field {
  char *name, *value;
  size_t length; /* of value */
} Field;

typedef struct FieldList {
  Field *fields;
  size_t count, size;
} FieldList;

typedef enum RequestState {
  RECEIVING,
  WAITING,  /* suspended; queued, or in Lua's hands */
  ANSWERED, /* status and response are set; being sent */
  OVER,     /* libmicrohttpd knows it no more */
} RequestState;

struct HttpdRequest {
  Op op;
  Httpd *httpd; /* the request is one of its owners */
  struct MHD_Connection *connection;
  char *method, *path;
  FieldList headers, query;
  char *body;
  size_t length, size; /* of the body */
  bool too_large;

  RequestState state; /* from here on guarded by the daemon's lock */
  unsigned status;
  struct MHD_Response *response;      /* NULL: a plain text that says the status */
  HttpdRequest *next;                 /* in the queue */
  HttpdRequest *next_open, **at_open; /* in the list of open ones */
};

/* Life */

static void free_fields(FieldList *list) {
  for (size_t i = 0; i < list->count; i++) {
    free(list->fields[i].name);
    free(list->fields[i].value);
  }
  free(list->fields);
}

static void destroy_request(Op *op) {
  HttpdRequest *request = (HttpdRequest *)op;
  if (request->response != NULL) MHD_destroy_response(request->response);
  free_fields(&request->headers);
  free_fields(&request->query);
  free(request->method);
  free(request->path);
  free(request->body);
  httpd_loop->op_release(&request->httpd->op);
  free(request);
}

static OpKind request_kind = { .name = "wgtwo.httpd.request", .destroy = destroy_request };

/* Receiving; libmicrohttpd's thread */

/* Without the white space behind a header's value. */
static size_t trimmed_length(const char *value, size_t length) {
  while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t')) length--;
  return length;
}

static enum MHD_Result add_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                 const char *value, size_t length) {
  FieldList *list = cls;
  if (list->count == list->size) {
    size_t size = list->size == 0 ? 16 : list->size * 2;
    Field *grown = realloc(list->fields, size * sizeof *grown);
    if (grown == NULL) return MHD_NO;
    list->fields = grown;
    list->size = size;
  }
  Field *field = &list->fields[list->count];
  field->length = value == NULL ? 0 : kind == MHD_HEADER_KIND ? trimmed_length(value, length) : length;
  field->name = strndup(name, name_length);
  field->value = malloc(field->length + 1);
  if (field->name == NULL || field->value == NULL) {
    free(field->name);
    free(field->value);
    return MHD_NO;
  }
  if (field->length > 0) memcpy(field->value, value, field->length);
  list->count++;
  return MHD_YES;
}

static bool copy_fields(struct MHD_Connection *connection, enum MHD_ValueKind kind, FieldList *list) {
  int there = MHD_get_connection_values_n(connection, kind, NULL, NULL);
  MHD_get_connection_values_n(connection, kind, add_field, list);
  return there < 0 || (size_t)there == list->count;
}

static void link_open(Httpd *httpd, HttpdRequest *request) {
  pthread_mutex_lock(&httpd->lock);
  request->next_open = httpd->open;
  request->at_open = &httpd->open;
  if (httpd->open != NULL) httpd->open->at_open = &request->next_open;
  httpd->open = request;
  pthread_mutex_unlock(&httpd->lock);
}

/* NULL when memory is short. */
static HttpdRequest *new_request(Httpd *httpd, struct MHD_Connection *connection, const char *method,
                                 const char *path) {
  HttpdRequest *request = calloc(1, sizeof *request);
  if (request == NULL) return NULL;
  httpd_loop->op_init(&request->op, &request_kind, httpd->op.loop);
  httpd_loop->op_own(&httpd->op);
  request->httpd = httpd;
  request->connection = connection;
  request->method = strdup(method);
  request->path = strdup(path);
  if (request->method == NULL || request->path == NULL ||
      !copy_fields(connection, MHD_HEADER_KIND, &request->headers) ||
      !copy_fields(connection, MHD_GET_ARGUMENT_KIND, &request->query)) {
    httpd_loop->op_release(&request->op);
    return NULL;
  }
  link_open(httpd, request);
  return request;
}

static size_t discard_limit(const Httpd *httpd) {
  size_t limit = httpd->max_body * DISCARD_FACTOR;
  return limit < DISCARD_AT_LEAST ? DISCARD_AT_LEAST : limit;
}

/* False when the connection is to be dropped. */
static bool append_body(HttpdRequest *request, const char *bytes, size_t length) {
  size_t limit = request->httpd->max_body;
  if (request->too_large || length > limit - request->length) {
    request->too_large = true;
    request->length += length; /* counts on, for the limit of what is discarded */
    return request->length <= discard_limit(request->httpd);
  }
  if (request->length + length > request->size) {
    size_t size = request->size == 0 ? 4096 : request->size * 2;
    while (size < request->length + length) size *= 2;
    char *grown = realloc(request->body, size);
    if (grown == NULL) return false;
    request->body = grown;
    request->size = size;
  }
  memcpy(request->body + request->length, bytes, length);
  request->length += length;
  return true;
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
                                     struct MHD_Response *response) {
  if (response == NULL) {
    char text[64];
    int length = snprintf(text, sizeof text, "%s\n", MHD_get_reason_phrase_for(status));
    response = MHD_create_response_from_buffer((size_t)length, text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "text/plain");
  }
  enum MHD_Result result = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return result;
}

static void set_answer(HttpdRequest *request, unsigned status, struct MHD_Response *response) {
  request->state = ANSWERED;
  request->status = status;
  request->response = response;
  request->httpd->answering++;
}

/* Hands a complete request to Lua, and suspends its connection until there is an answer; or answers itself. */
static bool hand_over(Httpd *httpd, HttpdRequest *request) {
  if (request->too_large || httpd->closing || httpd->queued >= QUEUE_LIMIT) {
    set_answer(request, request->too_large ? CONTENT_TOO_LARGE : MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
    return false;
  }
  MHD_suspend_connection(request->connection);
  request->state = WAITING;
  httpd_loop->op_own(&request->op);
  if (httpd->last != NULL) {
    httpd->last->next = request;
  } else {
    httpd->first = request;
  }
  httpd->last = request;
  httpd->queued++;
  return true;
}

/* The request is complete, or was answered and resumed. */
static enum MHD_Result go_on(Httpd *httpd, HttpdRequest *request) {
  bool handed_over = false;
  pthread_mutex_lock(&httpd->lock);
  if (request->state == RECEIVING) handed_over = hand_over(httpd, request);
  unsigned status = request->status;
  struct MHD_Response *response = handed_over ? NULL : request->response;
  if (!handed_over) request->response = NULL;
  pthread_mutex_unlock(&httpd->lock);
  if (!handed_over) return send_response(request->connection, status, response);
  httpd_loop->op_ready(&httpd->op);
  return MHD_YES;
}

/* Whether the request says that more is to come than would be read. */
static bool is_hopeless(const Httpd *httpd, struct MHD_Connection *connection) {
  const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
  return length != NULL && strtoull(length, NULL, 10) > discard_limit(httpd);
}

enum MHD_Result httpd_receive(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *bytes, size_t *length, void **state) {
  Httpd *httpd = cls;
  HttpdRequest *request = *state;
  (void)version;
  if (request == NULL) {
    *state = request = new_request(httpd, connection, method, url);
    if (request == NULL) return MHD_NO;
    return is_hopeless(httpd, connection) ? send_response(connection, CONTENT_TOO_LARGE, NULL) : MHD_YES;
  }
  if (*length == 0) return go_on(httpd, request);
  size_t received = *length;
  *length = 0;
  return append_body(request, bytes, received) ? MHD_YES : MHD_NO;
}

void httpd_completed(void *cls, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code) {
  Httpd *httpd = cls;
  HttpdRequest *request = *state;
  (void)connection;
  (void)code;
  if (request == NULL) return;
  *state = NULL;
  pthread_mutex_lock(&httpd->lock);
  if (request->state == ANSWERED && --httpd->answering == 0) pthread_cond_signal(&httpd->all_sent);
  request->state = OVER;
  *request->at_open = request->next_open;
  if (request->next_open != NULL) request->next_open->at_open = request->at_open;
  pthread_mutex_unlock(&httpd->lock);
  httpd_loop->op_release(&request->op);
}

/* Answering; Lua thread */

/* Takes response over. False when the request does not wait for an answer (any more). */
static bool answer(HttpdRequest *request, unsigned status, struct MHD_Response *response) {
  pthread_mutex_lock(&request->httpd->lock);
  bool waits = request->state == WAITING;
  if (waits) set_answer(request, status, response);
  pthread_mutex_unlock(&request->httpd->lock);
  if (waits) {
    MHD_resume_connection(request->connection); /* still there: only this thread resumes it */
  } else if (response != NULL) {
    MHD_destroy_response(response);
  }
  return waits;
}

void httpd_answer_all(Httpd *httpd) {
  pthread_mutex_lock(&httpd->lock);
  httpd->closing = true;
  for (;;) {
    HttpdRequest *request = httpd->open;
    while (request != NULL && request->state != WAITING) request = request->next_open;
    if (request == NULL) break;
    set_answer(request, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
    struct MHD_Connection *connection = request->connection;
    pthread_mutex_unlock(&httpd->lock);
    MHD_resume_connection(connection);
    pthread_mutex_lock(&httpd->lock);
  }
  HttpdRequest *queue = httpd->first;
  httpd->first = httpd->last = NULL;
  httpd->queued = 0;
  pthread_mutex_unlock(&httpd->lock);
  while (queue != NULL) {
    HttpdRequest *request = queue;
    queue = request->next;
    httpd_loop->op_release(&request->op);
  }
}

static HttpdRequest *check_request(lua_State *L) { return (HttpdRequest *)httpd_loop->op_check(L, 1, &request_kind); }

int httpd_push_request(lua_State *L, Httpd *httpd) {
  Op **box = httpd_loop->op_new_userdata(L, &request_kind);
  pthread_mutex_lock(&httpd->lock);
  HttpdRequest *request = httpd->first;
  if (request != NULL) {
    httpd->first = request->next;
    if (httpd->first == NULL) httpd->last = NULL;
    request->next = NULL;
    httpd->queued--;
  }
  pthread_mutex_unlock(&httpd->lock);
  if (request != NULL) {
    httpd_loop->op_adopt(L, box, &request->op);
  } else {
    lua_pushboolean(L, 0);
  }
  return 1;
}

static int close_request(lua_State *L) {
  HttpdRequest *request = (HttpdRequest *)httpd_loop->op_disown(L, 1, &request_kind);
  if (request == NULL) return 0;
  answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
  httpd_loop->op_release(&request->op);
  return 0;
}

/*
 * request:respond(status[, headers[, body[, {cut_after = bytes}]]]) -> true | nil, text
 *
 * Headers are a table {Name = value}. The answer is taken over whole; the connection sends it. With cut_after it ends
 * after so many bytes of the body, all of which were announced. nil when the request was answered before, or its
 * connection or daemon is gone.
 */
static int respond(lua_State *L) {
  HttpdRequest *request = check_request(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  luaL_argcheck(L, status >= 200 && status <= 599, 2, "a final HTTP status is 200 to 599");
  struct MHD_Response *response = httpd_new_response(L, 3);
  if (!answer(request, (unsigned)status, response)) {
    lua_pushnil(L);
    lua_pushliteral(L, "the request is over: it was answered before, or the server has closed");
    return 2;
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* Reading; Lua thread */

static int method(lua_State *L) {
  lua_pushstring(L, check_request(L)->method);
  return 1;
}

/* request:path() -> the path, percent-decoded, without the query */
static int path(lua_State *L) {
  lua_pushstring(L, check_request(L)->path);
  return 1;
}

/* request:query() -> {name = value}, percent-decoded; the last of several of a name; "" for a name without value */
static int query(lua_State *L) {
  const FieldList *list = &check_request(L)->query;
  httpd_loop->op_hold(L);
  lua_createtable(L, 0, (int)list->count);
  for (size_t i = 0; i < list->count; i++) {
    lua_pushlstring(L, list->fields[i].value, list->fields[i].length);
    lua_setfield(L, -2, list->fields[i].name);
  }
  httpd_loop->op_let_go(L);
  return 1;
}

/* request:header(name) -> the first value of that name, in any case, or nil */
static int header(lua_State *L) {
  const FieldList *list = &check_request(L)->headers;
  const char *name = luaL_checkstring(L, 2);
  for (size_t i = 0; i < list->count; i++) {
    if (strcasecmp(list->fields[i].name, name) != 0) continue;
    lua_pushlstring(L, list->fields[i].value, list->fields[i].length);
    return 1;
  }
  return 0;
}

/* request:headers() -> {lower-case name = value}; several of a name are joined with ", " */
static int headers(lua_State *L) {
  const FieldList *list = &check_request(L)->headers;
  httpd_loop->op_hold(L);
  lua_createtable(L, 0, (int)list->count);
  for (size_t i = 0; i < list->count; i++) {
    const Field *field = &list->fields[i];
    header_table_add(L, field->name, strlen(field->name), field->value, field->length);
  }
  httpd_loop->op_let_go(L);
  return 1;
}

static int body(lua_State *L) {
  const HttpdRequest *request = check_request(L);
  lua_pushlstring(L, request->body == NULL ? "" : request->body, request->length);
  return 1;
}

void httpd_request_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "method", method },   { "path", path },       { "query", query },
                                      { "header", header },   { "headers", headers }, { "body", body },
                                      { "respond", respond }, { NULL, NULL } };
  httpd_loop->op_kind_register(L, &request_kind, methods, close_request);
}
