/*
 * wgtwo.httpd: an HTTP server for the sandbox and for pages, on libmicrohttpd.
 *
 * libmicrohttpd's own thread receives requests. A complete one is copied, put into the daemon's bounded queue, and its
 * connection suspended; Lua takes the request, answers it, and the connection goes on. So no Lua runs on the foreign
 * thread, and a handler may take its time. Every request gets an answer: 500 when it was dropped, 503 when the daemon
 * closes or the queue is full.
 */
#ifndef WGTWO_HTTPD_H
#define WGTWO_HTTPD_H

#include <microhttpd.h>
#include <pthread.h>

#include "loop.h"

typedef struct HttpdRequest HttpdRequest;

typedef struct Httpd {
  Op op;
  struct MHD_Daemon *mhd;
  int port;
  size_t max_body;

  pthread_mutex_t lock; /* guards what follows, and the state of the daemon's requests */
  pthread_cond_t all_sent;
  HttpdRequest *first, *last; /* complete, not yet taken; each owned by the queue */
  int queued;
  HttpdRequest *open; /* all that libmicrohttpd knows, each owned by its connection */
  int answering;      /* of those: answered, not yet sent */
  bool closing;
  char reason[256]; /* libmicrohttpd's last complaint */
} Httpd;

/* The loop's functions, from the core. Set when the module is opened. */
extern _Atomic(const LoopApi *) httpd_loop;

/* httpd_request.c */

/* libmicrohttpd's callbacks; cls is the Httpd. */
enum MHD_Result httpd_receive(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *bytes, size_t *length, void **state);
void httpd_completed(void *cls, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code);

/* Pushes the next complete request, or false. Lua thread. */
int httpd_push_request(lua_State *L, Httpd *httpd);
/* Answers whatever waits with 503, and lets go of the queue. Lua thread. */
void httpd_answer_all(Httpd *httpd);
void httpd_request_register(lua_State *L);

/* httpd_response.c: a response from the arguments headers, body and options, of which the first stands at arg; what
 * stands behind them is dropped. Raises on misuse. The caller destroys it. Lua thread. */
struct MHD_Response *httpd_new_response(lua_State *L, int arg);

/* certificate.c: adds httpd.certificate to the table on top of the stack. */
void certificate_register(lua_State *L);

#endif
