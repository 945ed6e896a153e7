#include "call_methods.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <lauxlib.h>

#include "call.h"
#include "channel.h"
#include "message.h"
#include "receive.h"
#include "schema.h"

enum { CLASS_VALUE = 1 }; /* the userdata's user value: the metatable of a stream's messages, or nil */

static Call *check_call(lua_State *L) { return (Call *)op_check(L, 1, &call_kind); }

/* Starting */

typedef struct CallOptions {
  const char *path, *kind, *request;
  size_t path_length, request_length;
  const MessageType *reply;
  const Field *part;
  double timeout;
  bool wait_for_ready, track;
} CallOptions;

static const Field *check_part(lua_State *L, const MessageType *reply, int arg) {
  size_t length;
  const char *name = luaL_optlstring(L, arg, NULL, &length);
  if (name == NULL) return NULL;
  const Field *part = schema_field(reply, name, length);
  if (part == NULL || part->type != FIELD_MESSAGE || part->repeated || part->oneof != NULL)
    luaL_error(L, "%s has no submessage '%s' outside of a oneof", reply->name, name);
  return part;
}

/* Reads the table at index 2; its strings stay on the stack, so that they live. */
static void read_options(lua_State *L, CallOptions *o) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_getfield(L, 2, "path");
  o->path = luaL_checklstring(L, -1, &o->path_length);
  lua_getfield(L, 2, "kind");
  o->kind = luaL_checkstring(L, -1);
  lua_getfield(L, 2, "request");
  o->request = luaL_optlstring(L, -1, NULL, &o->request_length);
  lua_getfield(L, 2, "reply");
  o->reply = schema_check_type(L, lua_gettop(L));
  lua_getfield(L, 2, "part");
  o->part = check_part(L, o->reply, lua_gettop(L));
  lua_getfield(L, 2, "timeout");
  o->timeout = luaL_optnumber(L, -1, -1);
  lua_getfield(L, 2, "wait_for_ready");
  o->wait_for_ready = lua_toboolean(L, -1);
  lua_getfield(L, 2, "track");
  o->track = lua_toboolean(L, -1);
}

/*
 * core.call(channel, {path=, kind=, request=, reply=, part=, class=, metadata=, timeout=, wait_for_ready=, track=}) ->
 * call
 */
static int new_call(lua_State *L) {
  static const char *const kinds[] = { "unary", "server", "client", "bidi", NULL };
  CallOptions o;
  Loop *loop = channel_check(L, 1)->op.loop;
  read_options(L, &o);
  lua_pushstring(L, o.kind);
  int kind = luaL_checkoption(L, -1, NULL, kinds);
  bool one_request = kind < 2;
  if (one_request && o.request == NULL) return luaL_error(L, "a %s call has a request", o.kind);
  if (kind == 0 && o.part != NULL) return luaL_error(L, "of a unary call's reply there is no part");
  if (lua_getfield(L, 2, "class") != LUA_TNIL) luaL_checktype(L, -1, LUA_TTABLE);
  lua_getfield(L, 2, "metadata");
  int metadata_index = lua_gettop(L);

  Op **box = op_new_userdata(L, &call_kind);
  Call *call = call_new(loop);
  if (call == NULL) return luaL_error(L, "not enough memory");
  op_adopt(L, box, &call->op);
  lua_getfield(L, 2, "class");
  lua_setiuservalue(L, -2, CLASS_VALUE);
  call->metadata = metadata_from_lua(L, metadata_index);
  call->reply = o.reply;
  call->part = o.part;
  call->unary = kind == 0;
  call->tracked = o.track;

  Channel *channel = channel_check(L, 1); /* now: a finalizer may have closed it meanwhile */
  grpc_slice path = grpc_slice_from_copied_buffer(o.path, o.path_length);
  call->grpc = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, loop_running_queue(loop), path,
                                        NULL, deadline_in(o.timeout), NULL);
  grpc_slice_unref(path);
  grpc_byte_buffer *request = one_request ? byte_buffer_new(o.request, o.request_length) : NULL;
  bool started = call_start(call, request, o.wait_for_ready);
  if (request != NULL) grpc_byte_buffer_destroy(request);
  return started ? 1 : luaL_error(L, "gRPC refused to start %s", o.path);
}

/* Taking */

/* Returns the reply that was pushed; with a reason why it is none: nil, "decode", reason, and the call is cancelled. */
static int give_reply(lua_State *L, Call *call, const char *reason) {
  if (reason == NULL) return 1;
  call_abandon(call);
  lua_pushnil(L);
  lua_pushliteral(L, "decode");
  lua_pushstring(L, reason);
  return 3;
}

static int take_unary(lua_State *L, Call *call) {
  if (!call_has_status(call)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  grpc_byte_buffer *message = call->message;
  if (message == NULL || call->outcome.code != GRPC_STATUS_OK) {
    lua_pushnil(L);
    return 1;
  }
  uint8_t *bytes = message_new(L, call->reply, grpc_byte_buffer_length(message));
  if (call->message == NULL) { /* a finalizer has taken it meanwhile */
    lua_pushnil(L);
    return 1;
  }
  byte_buffer_copy(message, bytes);
  grpc_byte_buffer_destroy(message);
  call->message = NULL;
  return give_reply(L, call, message_check(L, -1));
}

/* Nothing now: nil at the end, false before. */
static void push_end(lua_State *L, bool at_end) {
  if (at_end) {
    lua_pushnil(L);
  } else {
    lua_pushboolean(L, 0);
  }
}

static int take_from_inbox(lua_State *L, Call *call) {
  MessageForm form = { call->reply, call->part, lua_getiuservalue(L, 1, CLASS_VALUE) == LUA_TTABLE ? 3 : 0, 2 };
  size_t length;
  bool over;
  const char *reason;
  const unsigned char *message;
  while ((message = call_peek(call, &length, &over)) != NULL) {
    if (receive_message(L, &call->inbox, &form, message, length, &reason)) return give_reply(L, call, reason);
  }
  push_end(L, over);
  return 1;
}

/* call:take([owner]) -> the next reply | false: nothing yet | nil: over | nil, "decode", reason */
static int call_take(lua_State *L) {
  Call *call = check_call(L);
  lua_settop(L, 2);
  op_hold(L);
  int results = call->unary ? take_unary(L, call) : take_from_inbox(L, call);
  op_let_go(L);
  return results;
}

static void set_metadata(lua_State *L, const grpc_metadata_array *array, const char *field) {
  metadata_push(L, array);
  lua_setfield(L, -2, field);
}

static void push_status(lua_State *L, Call *call) {
  lua_createtable(L, 0, 8);
  lua_pushinteger(L, call->outcome.code);
  lua_setfield(L, -2, "code");
  lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(call->outcome.details),
                  GRPC_SLICE_LENGTH(call->outcome.details));
  lua_setfield(L, -2, "message");
  set_metadata(L, &call->outcome.trailers, "metadata");
  if (atomic_load(&call->has_headers)) set_metadata(L, &call->outcome.headers, "headers");
  if (call->outcome.error_string != NULL) {
    lua_pushstring(L, call->outcome.error_string);
    lua_setfield(L, -2, "error");
  }
  char peer[PEER_SIZE];
  copy_peer(call->grpc, peer);
  lua_pushstring(L, peer);
  lua_setfield(L, -2, "peer");
  if (call->tracked) {
    lua_pushboolean(L, atomic_load(&call->opened));
    lua_setfield(L, -2, "sent");
  }
}

/* call:status() -> nil while it runs | {code=, message=, metadata=, headers=, error=, peer=, sent=} */
static int call_status(lua_State *L) {
  Call *call = check_call(L);
  if (!call_has_status(call)) {
    lua_pushnil(L);
    return 1;
  }
  op_hold(L);
  push_status(L, call);
  op_let_go(L);
  return 1;
}

/* call:headers() -> the initial metadata, or nil while it has not arrived */
static int call_headers(lua_State *L) {
  Call *call = check_call(L);
  if (atomic_load(&call->has_headers)) {
    op_hold(L);
    metadata_push(L, &call->outcome.headers);
    op_let_go(L);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* Writing */

static int push_sent(lua_State *L, Sent sent) {
  if (sent == SENT) {
    lua_pushboolean(L, 1);
  } else {
    push_end(L, sent == SENT_OVER);
  }
  return 1;
}

/* call:write(bytes) -> true | false: the write before is still under way | nil: the call takes no more */
static int call_write(lua_State *L) {
  Call *call = check_call(L);
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  return push_sent(L, call_send(call, bytes, length));
}

/* call:finish() -> true | false: a write is still under way | nil: the call takes no more */
static int call_finish(lua_State *L) { return push_sent(L, call_half_close(check_call(L))); }

static int call_writable(lua_State *L) {
  lua_pushboolean(L, call_may_send(check_call(L)) == SENT);
  return 1;
}

/* Ending */

static int call_cancel(lua_State *L) {
  Call *call = check_call(L);
  grpc_call_cancel(call->grpc, NULL);
  return 0;
}

static int close_call(lua_State *L) {
  Call *call = (Call *)op_disown(L, 1, &call_kind);
  if (call == NULL) return 0;
  if (call->grpc != NULL && !atomic_load(&call->ended)) grpc_call_cancel(call->grpc, NULL);
  op_release(&call->op);
  return 0;
}

void call_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", call_take },       { "status", call_status },
                                      { "headers", call_headers }, { "write", call_write },
                                      { "finish", call_finish },   { "writable", call_writable },
                                      { "cancel", call_cancel },   { NULL, NULL } };
  static const luaL_Reg functions[] = { { "call", new_call }, { NULL, NULL } };
  op_kind_register(L, &call_kind, methods, close_call);
  luaL_setfuncs(L, functions, 0);
}
