/*
 * One thread that drives all HTTP requests of a Lua state, with libcurl's multi interface; so connections are reused.
 *
 * A request is handed over whole with http_worker_submit: from then on its easy handle and its result belong to the
 * thread, until `finished` is set. The worker ends with the Lua state, and every request is finished by then.
 */
#ifndef WGTWO_HTTP_WORKER_H
#define WGTWO_HTTP_WORKER_H

#include <curl/curl.h>

#include "loop.h"

/* Bytes that grow up to a limit. */
typedef struct HttpBuffer {
  char *bytes;
  size_t length, size, limit;
  bool overflow; /* more came than the limit lets in */
} HttpBuffer;

typedef struct HttpWorker HttpWorker;

typedef struct HttpRequest HttpRequest;
struct HttpRequest {
  Op op;
  HttpWorker *worker;
  CURL *easy;                 /* NULL once finished */
  struct curl_slist *headers; /* of the request */
  char *body;                 /* of the request; NULL without one */
  size_t body_length;
  char *place;   /* "host:port", for errors */
  char *ca_file; /* that was asked for, or the system's; NULL for plain http */
  bool ca_given;

  atomic_bool cancelled; /* set on the Lua thread */
  atomic_bool finished;  /* what follows is not written any more */
  CURLcode code;
  long status;
  long os_error; /* errno of a failed connect, or 0 */
  HttpBuffer answer_headers, answer_body;
  char error[CURL_ERROR_SIZE]; /* curl's own text */
  HttpRequest *next;           /* in the worker's lists */
};

/* This state's worker, started at the first call. Raises. Lua thread. */
HttpWorker *http_worker_get(lua_State *L);
/* The worker becomes an owner of request until it is finished. False, with nothing done, when too many are under way.
 * Lua thread. */
bool http_worker_submit(HttpWorker *worker, HttpRequest *request);
/* Ends request soon. Lua thread. */
void http_worker_cancel(HttpWorker *worker, HttpRequest *request);
/* Most requests under way at once. */
#define HTTP_MOST_REQUESTS 1024

/* Metatable of the worker's userdata. */
void http_worker_register(lua_State *L);

#endif
