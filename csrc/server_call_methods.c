#include "server_call_methods.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <lauxlib.h>
#include <string.h>

#include "message.h"
#include "parts.h"
#include "receive.h"

Op **server_call_userdata(lua_State *L, int spare) {
  Op **box = lua_isnoneornil(L, spare) ? NULL : op_reuse(L, spare, &server_call_kind);
  return box != NULL ? box : op_new_userdata(L, &server_call_kind);
}

void server_call_fill(lua_State *L, Op **box, ServerCall *call) {
  op_adopt_unlisted(box, &call->op);
  if (server_call_show(call)) op_list(L, &call->op);
}

/* After the other arguments: a number among them becomes a string, and a finalizer may close the call meanwhile. */
static ServerCall *check_call(lua_State *L) { return (ServerCall *)op_check(L, 1, &server_call_kind); }

/* call:close(): a call that was not finished ends with CANCELLED; what was queued before finish is still sent. */
static int call_close(lua_State *L) {
  Op *op = op_disown(L, 1, &server_call_kind);
  if (op != NULL) server_call_leave((ServerCall *)op, GRPC_STATUS_CANCELLED, "the handler left the call");
  return 0;
}

/* call:path() -> "/package.Service/Method" */
static int call_path(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(call->path), GRPC_SLICE_LENGTH(call->path));
  return 1;
}

/* call:metadata() -> list of {key, value}; call:metadata(key) -> the first value of key, or nil */
static int call_metadata(lua_State *L) {
  const char *key = luaL_optstring(L, 2, NULL);
  ServerCall *call = check_call(L);
  if (key == NULL) {
    op_hold(L);
    metadata_push(L, &call->metadata);
    op_let_go(L);
    return 1;
  }
  for (size_t i = 0; i < call->metadata.count; i++) {
    const grpc_metadata *pair = &call->metadata.metadata[i];
    if (grpc_slice_str_cmp(pair->key, key) != 0) continue;
    lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(pair->value), GRPC_SLICE_LENGTH(pair->value));
    return 1;
  }
  return 0;
}

static const char packed_key = 0; /* registry: the last packed metadata; most calls of a client have the same */

static void add_packed(luaL_Buffer *text, grpc_slice slice) {
  uint32_t length = (uint32_t)GRPC_SLICE_LENGTH(slice);
  luaL_addlstring(text, (const char *)&length, sizeof length);
  luaL_addlstring(text, (const char *)GRPC_SLICE_START_PTR(slice), length);
}

/* Where the bytes behind this packed slice begin; NULL: it is another one. */
static const char *behind_packed(const char *at, const char *end, grpc_slice slice) {
  uint32_t length = (uint32_t)GRPC_SLICE_LENGTH(slice);
  if ((size_t)(end - at) < sizeof length + length || memcmp(at, &length, sizeof length) != 0) return NULL;
  at += sizeof length;
  return memcmp(at, GRPC_SLICE_START_PTR(slice), length) == 0 ? at + length : NULL;
}

/* Pushes the last packed metadata. Whether these are the same. */
static bool push_last_packed(lua_State *L, const grpc_metadata_array *metadata) {
  size_t length;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &packed_key);
  const char *at = lua_tolstring(L, -1, &length);
  if (at == NULL) return false;
  const char *end = at + length;
  for (size_t i = 0; i < metadata->count && at != NULL; i++) {
    at = behind_packed(at, end, metadata->metadata[i].key);
    if (at != NULL) at = behind_packed(at, end, metadata->metadata[i].value);
  }
  return at != NULL && at == end;
}

/* call:packed_metadata() -> all keys and values in one string, each as string.unpack's "s4" reads it: for whoever keeps
 * many and looks at few. */
static int call_packed_metadata(lua_State *L) {
  ServerCall *call = check_call(L);
  if (push_last_packed(L, &call->metadata)) return 1;
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  op_hold(L);
  for (size_t i = 0; i < call->metadata.count; i++) {
    add_packed(&text, call->metadata.metadata[i].key);
    add_packed(&text, call->metadata.metadata[i].value);
  }
  op_let_go(L);
  luaL_pushresult(&text);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &packed_key);
  return 1;
}

/* call:peer() -> "ipv4:127.0.0.1:4711", or nil when the call is over */
static int call_peer(lua_State *L) {
  ServerCall *call = check_call(L);
  char peer[PEER_SIZE];
  server_call_peer(call, peer);
  if (peer[0] != '\0') {
    lua_pushstring(L, peer);
  } else {
    lua_pushnil(L);
  }
  return 1;
}

/* call:deadline() -> seconds left (0 when it has passed), or nil without one */
static int call_deadline(lua_State *L) {
  ServerCall *call = check_call(L);
  if (gpr_time_cmp(call->deadline, gpr_inf_future(call->deadline.clock_type)) == 0) return 0;
  gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
  double seconds = (double)left.tv_sec + left.tv_nsec / 1e9;
  lua_pushnumber(L, seconds > 0 ? seconds : 0);
  return 1;
}

/* call:cancelled() -> true once the client, its deadline or its connection has ended the call before its status was
 * sent */
static int call_cancelled(lua_State *L) {
  bool cancelled;
  server_call_is_over(check_call(L), &cancelled);
  lua_pushboolean(L, cancelled);
  return 1;
}

/* call:over() -> true once nothing can be sent any more: the status has left, or the call was cancelled */
static int call_over(lua_State *L) {
  bool cancelled;
  lua_pushboolean(L, server_call_is_over(check_call(L), &cancelled));
  return 1;
}

/* call:watch(): the call becomes ready when it has news, such as its end. Calls that the server does not expect do in
 * any case. */
static int call_watch(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_settop(L, 1);
  op_hold(L);
  op_list(L, &call->op);
  server_call_watch(call);
  op_let_go(L);
  return 0;
}

/* The next message's bytes, which stay in the inbox; or NULL: then pushes what take answers. */
static const unsigned char *next_message(lua_State *L, ServerCall *call, size_t *length) {
  bool at_end;
  const unsigned char *bytes = server_call_peek(call, length, &at_end);
  if (bytes != NULL) return bytes;
  if (at_end) {
    lua_pushnil(L);
  } else {
    lua_pushboolean(L, 0);
  }
  return NULL;
}

/*
 * call:take([TYPE]) -> the next message: bytes, or a message of TYPE; false: none yet, the call becomes ready; nil: the
 * client has half-closed or the call is over; nil, text: the bytes are no TYPE.
 */
static int call_take(lua_State *L) {
  ServerCall *call = check_call(L);
  const unsigned char *bytes;
  const char *reason;
  size_t length;
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    bytes = next_message(L, call, &length);
    if (bytes == NULL) return 1;
    inbox_take(&call->inbox, length);
    lua_pushlstring(L, (const char *)bytes, length); /* copies before a finalizer may run */
    return 1;
  }
  MessageForm form = { .type = schema_check_type(L, 2) };
  op_hold(L);
  do bytes = next_message(L, call, &length);
  while (bytes != NULL && !receive_message(L, &call->inbox, &form, bytes, length, &reason));
  op_let_go(L);
  if (bytes == NULL || reason == NULL) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

static int push_put(lua_State *L, Put result) {
  if (result == PUT_NO_MEMORY) return luaL_error(L, "not enough memory");
  if (result == PUT_OVER) {
    lua_pushnil(L);
  } else {
    lua_pushboolean(L, result == PUT_DONE);
  }
  return 1;
}

static int put(lua_State *L, bool last) {
  int parts = lua_gettop(L);
  luaL_checkany(L, 2);
  size_t length = parts_check(L, 2, parts);
  ServerCall *call = check_call(L);
  grpc_slice slice = grpc_slice_malloc(length);
  parts_write(L, 2, parts, GRPC_SLICE_START_PTR(slice));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return push_put(L, server_call_put(call, buffer, length, last));
}

/* call:write(bytes, …) -> true: queued; false: the queue is full, the call becomes ready when there is room; nil: it is
 * over. Several arguments are the parts of one message, and an integer among them is its varint. */
static int call_write(lua_State *L) { return put(L, false); }

/* call:reply(bytes, …) -> true, or nil when it is over: the one answer of a unary call, with status OK, in one batch */
static int call_reply(lua_State *L) { return put(L, true); }

/* call:headers([list]): sends the initial metadata now; without it they leave with the first message. Raises when they
 * have left. */
static int call_headers(lua_State *L) {
  ServerCall *call = check_call(L);
  if (server_call_send_headers(call, metadata_from_lua(L, 2))) return 0;
  return luaL_error(L, "the initial metadata has left already: give it before the first message");
}

/* call:finish([code = 0[, message[, trailing]]]): the status follows what is queued. A second one, or one that is too
 * late, is nothing. */
static int call_finish(lua_State *L) {
  lua_Integer code = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, code >= 0 && code <= 16, 2, "a gRPC status is 0 to 16");
  size_t length;
  const char *text = luaL_optlstring(L, 3, "", &length);
  ServerCall *call = check_call(L);
  server_call_finish(call, (grpc_status_code)code, text, length, metadata_from_lua(L, 4));
  return 0;
}

/* call:reset([code = 14]): ends the call at once, whatever is queued. */
static int call_reset(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_Integer code = luaL_optinteger(L, 2, GRPC_STATUS_UNAVAILABLE);
  luaL_argcheck(L, code >= 1 && code <= 16, 2, "a gRPC error status is 1 to 16");
  server_call_cancel(call, (grpc_status_code)code, "stream reset");
  return 0;
}

/* call:queued() -> messages and bytes that wait to be sent */
static int call_queued(lua_State *L) {
  ServerCall *call = check_call(L);
  size_t count, bytes;
  server_call_queued(call, &count, &bytes);
  lua_pushinteger(L, (lua_Integer)count);
  lua_pushinteger(L, (lua_Integer)bytes);
  return 2;
}

void server_call_methods_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "path", call_path },
                                      { "metadata", call_metadata },
                                      { "packed_metadata", call_packed_metadata },
                                      { "peer", call_peer },
                                      { "deadline", call_deadline },
                                      { "over", call_over },
                                      { "cancelled", call_cancelled },
                                      { "take", call_take },
                                      { "write", call_write },
                                      { "reply", call_reply },
                                      { "headers", call_headers },
                                      { "finish", call_finish },
                                      { "reset", call_reset },
                                      { "queued", call_queued },
                                      { "watch", call_watch },
                                      { NULL, NULL } };
  op_kind_register(L, &server_call_kind, methods, call_close);
}
