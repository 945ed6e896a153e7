#include "server.h"

#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "loop.h"
#include "pem.h"
#include "probes.h"
#include "server_call.h"
#if HAVE_GRPC_CREDENTIALS_H
#include <grpc/credentials.h>
#endif

enum {
  REQUESTS = 32,     /* outstanding in gRPC */
  ACCEPTED_MAX = 256 /* calls that wait for Lua */
};

typedef struct Server Server;

/* One request for a call. It owns the server while it is outstanding. */
typedef struct Request {
  Tag tag;
  Server *server;
  grpc_call *call;
  grpc_call_details details;
  grpc_metadata_array metadata;
  bool outstanding; /* guarded by the server's lock */
} Request;

struct Server {
  Op op;
  Tag stopped;
  atomic_bool has_stopped;
  grpc_server *grpc;
  grpc_completion_queue *queue;
  bool started; /* Lua thread */

  pthread_mutex_t lock; /* guards what follows */
  bool closing;
  ServerCall *accepted[ACCEPTED_MAX]; /* a ring; each entry owns its call */
  size_t accepted_first, accepted_count;
  size_t outstanding; /* requests */
  Request requests[REQUESTS];
};

static Server *of_stopped(Tag *tag) { return (Server *)((char *)tag - offsetof(Server, stopped)); }

static void destroy_server(Op *op) {
  Server *server = (Server *)op;
  for (size_t i = 0; i < REQUESTS; i++) {
    grpc_call_details_destroy(&server->requests[i].details);
    grpc_metadata_array_destroy(&server->requests[i].metadata);
  }
  if (server->grpc != NULL) grpc_server_destroy(server->grpc);
  pthread_mutex_destroy(&server->lock);
  free(server);
}

static OpKind server_kind = { .name = "wgtwo.server", .destroy = destroy_server };

static Server *check_server(lua_State *L) { return (Server *)op_check(L, 1, &server_kind); }

/* Accepting. All but the tag's callback with the lock held. */

static void request_call(Server *server, Request *request) {
  if (server->closing || request->outstanding) return;
  if (server->accepted_count + server->outstanding >= ACCEPTED_MAX) return; /* each that returns finds a place */
  op_own(&server->op);
  request->outstanding = true;
  server->outstanding++;
  if (grpc_server_request_call(server->grpc, &request->call, &request->details, &request->metadata, server->queue,
                               server->queue, &request->tag) == GRPC_CALL_OK) {
    return;
  }
  request->outstanding = false;
  server->outstanding--;
  atomic_fetch_sub(&server->op.owners, 1); /* not the last one: whoever called this has one */
}

static void request_calls(Server *server) {
  for (size_t i = 0; i < REQUESTS; i++) request_call(server, &server->requests[i]);
}

static ServerCall *pop_accepted(Server *server) {
  ServerCall *call = server->accepted[server->accepted_first];
  server->accepted_first = (server->accepted_first + 1) % ACCEPTED_MAX;
  server->accepted_count--;
  return call;
}

static void on_requested(Tag *tag, bool ok) {
  Request *request = (Request *)((char *)tag - offsetof(Request, tag));
  Server *server = request->server;
  ServerCall *call =
      ok ? server_call_begin(server->op.loop, request->call, &request->details, &request->metadata) : NULL;
  pthread_mutex_lock(&server->lock);
  request->outstanding = false;
  server->outstanding--;
  bool keep = call != NULL && !server->closing;
  if (keep) server->accepted[(server->accepted_first + server->accepted_count++) % ACCEPTED_MAX] = call;
  if (ok) request_call(server, request);
  pthread_mutex_unlock(&server->lock);
  if (keep) {
    op_ready_soon(&server->op);
  } else if (call != NULL) {
    server_call_refuse(call);
  }
  op_release(&server->op);
}

/* Making and starting */

/* core.server([{["grpc.argument"] = integer or string, …}]) -> server. What is given comes last, and the last of two
 * equal names counts. */
static int new_server(lua_State *L) {
  grpc_arg args[MAX_ARGUMENTS] = {
    { .type = GRPC_ARG_INTEGER, .key = "grpc.so_reuseport", .value.integer = 0 },
    /* Clients ping as the platform allows; how often is not punished here. */
    { .type = GRPC_ARG_INTEGER, .key = "grpc.http2.min_ping_interval_without_data_ms", .value.integer = 10 },
    { .type = GRPC_ARG_INTEGER, .key = "grpc.http2.max_ping_strikes", .value.integer = 0 },
    { .type = GRPC_ARG_INTEGER, .key = "grpc.keepalive_permit_without_calls", .value.integer = 1 },
    /* A fixed window: what a client sends ahead of its handler stays small. */
    { .type = GRPC_ARG_INTEGER, .key = "grpc.http2.bdp_probe", .value.integer = 0 },
    { .type = GRPC_ARG_INTEGER, .key = "grpc.http2.lookahead_bytes", .value.integer = 1024 * 1024 },
    { .type = GRPC_ARG_INTEGER, .key = "grpc.max_receive_message_length", .value.integer = 16 * 1024 * 1024 },
  };
  size_t count = read_arguments(L, 1, "core.server", args, 7);
  Loop *loop = loop_get(L);
  grpc_completion_queue *queue = loop_queue(L, loop);
  Op **box = op_new_userdata(L, &server_kind);
  Server *server = calloc(1, sizeof *server);
  if (server == NULL) return luaL_error(L, "not enough memory");
  op_init(&server->op, &server_kind, loop);
  pthread_mutex_init(&server->lock, NULL);
  server->queue = queue;
  for (size_t i = 0; i < REQUESTS; i++) {
    server->requests[i].server = server;
    server->requests[i].tag.done = on_requested;
    grpc_call_details_init(&server->requests[i].details);
    grpc_metadata_array_init(&server->requests[i].metadata);
  }
  grpc_channel_args channel_args = { count, args };
  sigset_t before;
  signals_block(&before);
  server->grpc = grpc_server_create(&channel_args, NULL);
  grpc_server_register_completion_queue(server->grpc, queue, NULL);
  signals_restore(&before);
  op_adopt(L, box, &server->op);
  return 1;
}

static const char *pem(lua_State *L, const char *name, bool required) {
  int type = lua_getfield(L, 3, name);
  if (type != LUA_TSTRING && (required || type != LUA_TNIL)) luaL_error(L, "server:listen: '%s' is a PEM string", name);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1); /* still referenced by the table */
  return text;
}

/* NULL: *reason says why. */
static grpc_server_credentials *make_credentials(lua_State *L, const char **reason) {
  if (lua_isnoneornil(L, 3)) return grpc_insecure_server_credentials_create();
  luaL_checktype(L, 3, LUA_TTABLE);
  grpc_ssl_pem_key_cert_pair pair = { pem(L, "key", true), pem(L, "cert", true) };
  const char *client_ca = pem(L, "client_ca", false);
  *reason = pem_check(pair.cert_chain, pair.private_key);
  if (*reason == NULL && client_ca != NULL) *reason = pem_check(client_ca, NULL);
  if (*reason != NULL) return NULL;
  *reason = "gRPC refuses it";
  return grpc_ssl_server_credentials_create_ex(client_ca, &pair, 1,
                                               client_ca == NULL
                                                   ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                   : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
                                               NULL);
}

/* server:listen(address[, {cert =, key =, client_ca =}]) -> port, or nil and a reason. Port 0 is chosen by the kernel.
 */
static int server_listen(lua_State *L) {
  Server *server = check_server(L);
  const char *address = luaL_checkstring(L, 2);
  if (server->started) return luaL_error(L, "server:listen comes before server:start");
  const char *reason;
  grpc_server_credentials *credentials = make_credentials(L, &reason);
  if (credentials == NULL) {
    lua_pushnil(L);
    lua_pushfstring(L, "this certificate cannot be used: %s", reason);
    return 2;
  }
  sigset_t before;
  signals_block(&before);
  int port = grpc_server_add_http2_port(server->grpc, address, credentials);
  signals_restore(&before);
  grpc_server_credentials_release(credentials);
  if (port <= 0) {
    lua_pushnil(L);
    lua_pushfstring(L, "cannot listen on %s: the address is taken or wrong", address);
    return 2;
  }
  lua_pushinteger(L, port);
  return 1;
}

static int server_start(lua_State *L) {
  Server *server = check_server(L);
  if (server->started) return 0;
  server->started = true;
  sigset_t before;
  signals_block(&before);
  grpc_server_start(server->grpc);
  signals_restore(&before);
  pthread_mutex_lock(&server->lock);
  request_calls(server);
  pthread_mutex_unlock(&server->lock);
  return 0;
}

static bool has_accepted(Server *server) {
  pthread_mutex_lock(&server->lock);
  bool any = server->accepted_count > 0;
  pthread_mutex_unlock(&server->lock);
  return any;
}

/* NULL: there is none. */
static ServerCall *take_accepted(Server *server) {
  ServerCall *call = NULL;
  pthread_mutex_lock(&server->lock);
  if (server->accepted_count > 0) {
    call = pop_accepted(server);
    if (server->outstanding < REQUESTS) request_calls(server);
  }
  pthread_mutex_unlock(&server->lock);
  return call;
}

/* server:take() -> the next call, or false: the server becomes ready when there is one */
static int server_take(lua_State *L) {
  Server *server = check_server(L);
  op_hold(L);
  Op **box = has_accepted(server) ? server_call_new_userdata(L) : NULL;
  ServerCall *call = box != NULL ? take_accepted(server) : NULL; /* a finalizer may have closed the server meanwhile */
  if (call == NULL) {
    lua_pushboolean(L, 0);
  } else {
    server_call_show(L, box, call);
  }
  op_let_go(L);
  return 1;
}

/* Ending */

static void on_stopped(Tag *tag, bool ok) {
  (void)ok;
  Server *server = of_stopped(tag);
  atomic_store(&server->has_stopped, true);
  op_ready_soon(&server->op);
  op_release(&server->op);
}

/* Stops to accept: calls that Lua has not seen are refused, those it has may end by themselves. */
static void stop_accepting(Server *server) {
  pthread_mutex_lock(&server->lock);
  bool again = server->closing;
  server->closing = true;
  ServerCall *refused[ACCEPTED_MAX];
  size_t count = 0;
  while (server->accepted_count > 0) refused[count++] = pop_accepted(server);
  pthread_mutex_unlock(&server->lock);
  for (size_t i = 0; i < count; i++) server_call_refuse(refused[i]);
  if (again) return;
  op_own(&server->op);
  server->stopped.done = on_stopped;
  grpc_server_shutdown_and_notify(server->grpc, server->queue, &server->stopped);
}

/* server:shutdown(): no new calls; those that go on may end. The server becomes ready when the last has. */
static int server_shutdown(lua_State *L) {
  stop_accepting(check_server(L));
  return 0;
}

/* server:stopped() -> whether the last call has ended after shutdown */
static int server_stopped(lua_State *L) {
  lua_pushboolean(L, atomic_load(&check_server(L)->has_stopped));
  return 1;
}

/* server:close(): ends every call now. Returns at once. */
static int server_close(lua_State *L) {
  Server *server = (Server *)op_disown(L, 1, &server_kind);
  if (server == NULL) return 0;
  stop_accepting(server);
  grpc_server_cancel_all_calls(server->grpc);
  op_release(&server->op);
  return 0;
}

void server_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "listen", server_listen },   { "start", server_start },
                                      { "take", server_take },       { "shutdown", server_shutdown },
                                      { "stopped", server_stopped }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "server", new_server }, { NULL, NULL } };
  op_kind_register(L, &server_kind, methods, server_close);
  server_call_register(L);
  luaL_setfuncs(L, functions, 0);
}
