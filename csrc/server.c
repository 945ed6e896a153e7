#include "server.h"

#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "background.h"
#include "loop.h"
#include "server_call_methods.h"
#include "server_credentials.h"

enum {
  /* Requests that are outstanding in gRPC: few, since Debian's gRPC searches its list of outstanding tags for each one
   * that returns; a call that finds none waits until one is repeated, which is at once. */
  REQUESTS = 8,        /* for calls of methods that gRPC does not know */
  METHOD_REQUESTS = 1, /* for each that it knows */
  ACCEPTED_MAX = 256   /* calls that wait for Lua, before requests are no longer repeated */
};

typedef struct Server Server;

/* A method that gRPC knows, since all its calls begin with one message: it hands out a call together with that. */
typedef struct Method {
  struct Method *next;
  void *handle; /* gRPC's */
  grpc_slice path;
} Method;

/* One request for a call. It owns the server while it is outstanding. */
typedef struct Request {
  Tag tag;
  Server *server;
  Method *method; /* NULL: any that gRPC does not know */
  struct Request *next_idle;
  grpc_call *call;
  grpc_call_details details; /* filled for a call of any method */
  gpr_timespec deadline;     /* this and what follows, for a call of `method` */
  grpc_byte_buffer *message;
  grpc_metadata_array metadata;
} Request;

struct Server {
  Op op;
  Tag stopped;
  atomic_bool has_stopped;
  grpc_server *grpc;
  grpc_completion_queue *queue;
  bool started;    /* Lua thread, as the next two until then */
  Method *methods; /* a list */
  size_t method_count;
  Request *requests; /* made when it starts */
  size_t request_count;

  pthread_mutex_t lock; /* guards what follows */
  bool closing;
  Request *idle;         /* a list: those that are not outstanding */
  ServerCall **accepted; /* a ring with a place for each request above ACCEPTED_MAX; each entry owns its call */
  size_t accepted_first, accepted_count;
};

static Server *of_stopped(Tag *tag) { return (Server *)((char *)tag - offsetof(Server, stopped)); }

static void destroy_server(Op *op) {
  Server *server = (Server *)op;
  for (size_t i = 0; i < server->request_count; i++) {
    grpc_call_details_destroy(&server->requests[i].details);
    grpc_metadata_array_destroy(&server->requests[i].metadata);
  }
  if (server->grpc != NULL) grpc_server_destroy(server->grpc);
  for (Method *method = server->methods, *next; method != NULL; method = next) {
    next = method->next;
    grpc_slice_unref(method->path);
    free(method);
  }
  free(server->requests);
  free(server->accepted);
  pthread_mutex_destroy(&server->lock);
  free(server);
}

static OpKind server_kind = { .name = "wgtwo.server", .destroy = destroy_server };

static Server *check_server(lua_State *L) { return (Server *)op_check(L, 1, &server_kind); }

/* Accepting. All but the tag's callback with the lock held. */

static void set_idle(Server *server, Request *request) {
  request->next_idle = server->idle;
  server->idle = request;
}

static grpc_call_error ask(Server *server, Request *request) {
  if (request->method == NULL) {
    return grpc_server_request_call(server->grpc, &request->call, &request->details, &request->metadata, server->queue,
                                    server->queue, &request->tag);
  }
  return grpc_server_request_registered_call(server->grpc, request->method->handle, &request->call, &request->deadline,
                                             &request->metadata, &request->message, server->queue, server->queue,
                                             &request->tag);
}

/* A request is outstanding, unless too many calls wait for Lua. */
static void request_call(Server *server, Request *request) {
  if (server->closing) return;
  if (server->accepted_count >= ACCEPTED_MAX) {
    set_idle(server, request);
    return;
  }
  op_own(&server->op);
  if (ask(server, request) == GRPC_CALL_OK) return;
  /* Only a wrong use of the API gets here. */
  atomic_fetch_sub(&server->op.owners, 1); /* not the last one: whoever called this has one */
}

static void request_idle(Server *server) {
  while (server->idle != NULL && server->accepted_count < ACCEPTED_MAX) {
    Request *request = server->idle;
    server->idle = request->next_idle;
    request_call(server, request);
  }
}

static size_t accepted_size(const Server *server) { return ACCEPTED_MAX + server->request_count; }

static void push_accepted(Server *server, ServerCall *call) {
  server->accepted[(server->accepted_first + server->accepted_count++) % accepted_size(server)] = call;
}

static ServerCall *pop_accepted(Server *server) {
  ServerCall *call = server->accepted[server->accepted_first];
  server->accepted_first = (server->accepted_first + 1) % accepted_size(server);
  server->accepted_count--;
  return call;
}

/* The caller owns the result. NULL: memory is short. */
static ServerCall *begin_call(Request *request) {
  Loop *loop = request->server->op.loop;
  ServerCall *call;
  if (request->method != NULL) {
    call = server_call_begin_with(loop, request->call, request->method->path, request->deadline, &request->metadata,
                                  request->message);
    request->message = NULL;
  } else {
    call =
        server_call_begin(loop, request->call, request->details.method, request->details.deadline, &request->metadata);
    grpc_call_details_destroy(&request->details);
    grpc_call_details_init(&request->details);
  }
  return call;
}

static void on_requested(Tag *tag, bool ok) {
  Request *request = (Request *)((char *)tag - offsetof(Request, tag));
  Server *server = request->server;
  ServerCall *call = ok ? begin_call(request) : NULL;
  pthread_mutex_lock(&server->lock);
  bool keep = call != NULL && !server->closing;
  if (keep) push_accepted(server, call);
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
  grpc_channel_args channel_args = { count, args };
  Background before;
  background_begin(&before);
  server->grpc = grpc_server_create(&channel_args, NULL);
  grpc_server_register_completion_queue(server->grpc, queue, NULL);
  background_end(&before);
  op_adopt(L, box, &server->op);
  return 1;
}

/* server:listen(address[, {cert =, key =, client_ca =}]) -> port, or nil and a reason. Port 0 is chosen by the kernel.
 */
static int server_listen(lua_State *L) {
  Server *server = check_server(L);
  const char *address = luaL_checkstring(L, 2);
  if (server->started) return luaL_error(L, "server:listen comes before server:start");
  const char *reason;
  grpc_server_credentials *credentials = server_credentials(L, 3, &reason);
  if (credentials == NULL) {
    lua_pushnil(L);
    lua_pushfstring(L, "this certificate cannot be used: %s", reason);
    return 2;
  }
  Background before;
  background_begin(&before);
  int port = grpc_server_add_http2_port(server->grpc, address, credentials);
  background_end(&before);
  grpc_server_credentials_release(credentials);
  if (port <= 0) {
    lua_pushnil(L);
    lua_pushfstring(L, "cannot listen on %s: the address is taken or wrong", address);
    return 2;
  }
  lua_pushinteger(L, port);
  return 1;
}

/* server:expect(path): calls of this method begin with one message, and are handed out together with it. */
static int server_expect(lua_State *L) {
  Server *server = check_server(L);
  const char *path = luaL_checkstring(L, 2);
  luaL_argcheck(L, path[0] == '/', 2, "a path is of the form \"/package.Service/Method\"");
  if (server->started) return luaL_error(L, "server:expect comes before server:start");
  Method *method = calloc(1, sizeof *method);
  if (method == NULL) return luaL_error(L, "not enough memory");
  method->handle = grpc_server_register_method(server->grpc, path, NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  if (method->handle == NULL) {
    free(method);
    return luaL_error(L, "server:expect: %s is expected already", path);
  }
  method->path = grpc_slice_from_copied_string(path);
  method->next = server->methods;
  server->methods = method;
  server->method_count++;
  return 0;
}

static Request *add_requests(Server *server, Request *next, Method *method, size_t count) {
  for (size_t i = 0; i < count; i++, next++) {
    next->server = server;
    next->method = method;
    next->tag.done = on_requested;
    grpc_call_details_init(&next->details);
    grpc_metadata_array_init(&next->metadata);
    set_idle(server, next);
  }
  return next;
}

/* False: memory is short. */
static bool make_requests(Server *server) {
  size_t count = REQUESTS + METHOD_REQUESTS * server->method_count;
  server->requests = calloc(count, sizeof *server->requests);
  server->accepted = calloc(ACCEPTED_MAX + count, sizeof(ServerCall *));
  if (server->requests == NULL || server->accepted == NULL) {
    free(server->requests);
    free(server->accepted);
    server->requests = NULL;
    server->accepted = NULL;
    return false;
  }
  server->request_count = count;
  Request *next = add_requests(server, server->requests, NULL, REQUESTS);
  for (Method *method = server->methods; method != NULL; method = method->next) {
    next = add_requests(server, next, method, METHOD_REQUESTS);
  }
  return true;
}

static int server_start(lua_State *L) {
  Server *server = check_server(L);
  if (server->started) return 0;
  if (!make_requests(server)) return luaL_error(L, "not enough memory");
  server->started = true;
  Background before;
  background_begin(&before);
  grpc_server_start(server->grpc);
  background_end(&before);
  pthread_mutex_lock(&server->lock);
  request_idle(server);
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
    request_idle(server);
  }
  pthread_mutex_unlock(&server->lock);
  return call;
}

/* server:take([spare]) -> the next call, or false: the server becomes ready when there is one. `spare` is a call that
 * is closed and was never watched: nobody needs it any more, so its userdata may show the next one. */
static int server_take(lua_State *L) {
  Server *server = check_server(L);
  op_hold(L);
  Op **box = has_accepted(server) ? server_call_userdata(L, 2) : NULL;
  ServerCall *call = box != NULL ? take_accepted(server) : NULL; /* a finalizer may have closed the server meanwhile */
  if (call == NULL) {
    lua_pushboolean(L, 0);
  } else {
    server_call_fill(L, box, call);
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
  pthread_mutex_unlock(&server->lock);
  for (ServerCall *call; (call = take_accepted(server)) != NULL;) server_call_refuse(call);
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
  static const luaL_Reg methods[] = { { "listen", server_listen },
                                      { "expect", server_expect },
                                      { "start", server_start },
                                      { "take", server_take },
                                      { "shutdown", server_shutdown },
                                      { "stopped", server_stopped },
                                      { NULL, NULL } };
  static const luaL_Reg functions[] = { { "server", new_server }, { NULL, NULL } };
  op_kind_register(L, &server_kind, methods, server_close);
  server_call_methods_register(L);
  luaL_setfuncs(L, functions, 0);
}
