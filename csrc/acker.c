#include "acker.h"

#include <grpc/byte_buffer.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ack_calls.h"
#include "inbox.h"
#include "message.h"
#include "schema.h"

typedef struct Acker {
  Op op;
  const MessageType *reply;
  AckCalls calls;
} Acker;

static void destroy_acker(Op *op) {
  Acker *acker = (Acker *)op;
  ack_calls_destroy(&acker->calls);
  free(acker);
}

static OpKind acker_kind = { .name = "wgtwo.acker", .destroy = destroy_acker };

static Acker *check_acker(lua_State *L) { return (Acker *)op_check(L, 1, &acker_kind); }

/* The option at index 2 of a name. */
static int check_count(lua_State *L, const char *name, lua_Integer least, lua_Integer absent) {
  lua_getfield(L, 2, name);
  int is_integer = 1;
  lua_Integer count = lua_isnil(L, -1) ? absent : lua_tointegerx(L, -1, &is_integer);
  if (!is_integer || count < least || count > INT_MAX / 2)
    luaL_error(L, "acker: %s is a number from %I on", name, least);
  lua_pop(L, 1);
  return (int)count;
}

/* core.acker(channel, {path=, reply=, expected=, timeout=, limit=, queue=0}) -> acker */
static int new_acker(lua_State *L) {
  Channel *channel = channel_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  AckPlan plan = { .limit = check_count(L, "limit", 1, 0), .queue = check_count(L, "queue", 0, 0) };
  size_t path_length;
  lua_getfield(L, 2, "path");
  const char *path = luaL_checklstring(L, -1, &path_length);
  lua_getfield(L, 2, "reply");
  const MessageType *reply = schema_check_type(L, lua_gettop(L));
  lua_getfield(L, 2, "expected");
  const char *expected = luaL_checklstring(L, -1, &plan.expected_length);
  if (plan.expected_length > EXPECTED_MAX)
    return luaL_error(L, "the expected reply has at most %d bytes", EXPECTED_MAX);
  memcpy(plan.expected, expected, plan.expected_length);
  lua_getfield(L, 2, "timeout");
  plan.timeout = luaL_checknumber(L, -1);

  Op **box = op_new_userdata(L, &acker_kind);
  channel = channel_check(L, 1); /* again: a finalizer may have closed it meanwhile */
  Acker *acker = calloc(1, sizeof *acker);
  if (acker == NULL) return luaL_error(L, "not enough memory");
  op_init(&acker->op, &acker_kind, channel->op.loop);
  acker->reply = reply;
  op_own(&channel->op);
  plan.channel = channel;
  plan.path = grpc_slice_from_copied_buffer(path, path_length);
  ack_calls_init(&acker->calls, &acker->op, &plan);
  op_adopt(L, box, &acker->op);
  return 1;
}

/* acker:metadata(list | nil): for the calls that start from now on; ends a pause */
static int acker_metadata(lua_State *L) {
  Acker *acker = check_acker(L);
  ack_calls_resume(&acker->calls, metadata_from_lua(L, 2));
  return 0;
}

/* acker:start(): starts what is queued, as far as there are places */
static int acker_start(lua_State *L) {
  ack_calls_start(&check_acker(L)->calls);
  return 0;
}

/* acker:pause(): what is sent waits until there is metadata */
static int acker_pause(lua_State *L) {
  ack_calls_pause(&check_acker(L)->calls);
  return 0;
}

/* acker:send(request, attempt, started, notify) -> true | false: there is no room */
static int acker_send(lua_State *L) {
  Acker *acker = check_acker(L);
  size_t length;
  const char *request = luaL_checklstring(L, 2, &length);
  lua_Integer attempt = luaL_checkinteger(L, 3);
  lua_Number started = luaL_checknumber(L, 4);
  Ack *ack = ack_new(&acker->calls, request, length);
  if (ack == NULL) return luaL_error(L, "not enough memory");
  ack->notify = lua_toboolean(L, 5);
  ack->attempt = attempt;
  ack->started = started;
  bool sent = ack_calls_send(&acker->calls, ack);
  if (!sent) ack_destroy(ack);
  lua_pushboolean(L, sent);
  return 1;
}

static void push_request(lua_State *L, const Ack *ack) {
  lua_createtable(L, 0, 10);
  lua_pushlstring(L, (const char *)ack->request, ack->length);
  lua_setfield(L, -2, "request");
  lua_pushinteger(L, ack->attempt);
  lua_setfield(L, -2, "attempt");
  lua_pushnumber(L, ack->started);
  lua_setfield(L, -2, "started");
  lua_pushboolean(L, ack->notify);
  lua_setfield(L, -2, "notify");
}

/* Adds the reply to the table on top of the stack. One that cannot be read is one that does not say success. */
static void add_reply(lua_State *L, const MessageType *type, grpc_byte_buffer *reply) {
  uint8_t *bytes = message_new(L, type, grpc_byte_buffer_length(reply));
  byte_buffer_copy(reply, bytes);
  if (message_check(L, -1) == NULL) {
    lua_setfield(L, -2, "reply");
  } else {
    lua_pop(L, 2); /* the message and the reason */
  }
}

/* Adds the answer to the table on top of the stack. */
static void add_answer(lua_State *L, const MessageType *type, Ack *ack) {
  const Outcome *outcome = &ack->outcome;
  lua_pushboolean(L, ack_is_expected(ack));
  lua_setfield(L, -2, "ok");
  lua_pushinteger(L, outcome->code);
  lua_setfield(L, -2, "code");
  lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(outcome->details), GRPC_SLICE_LENGTH(outcome->details));
  lua_setfield(L, -2, "message");
  metadata_push(L, &outcome->trailers);
  lua_setfield(L, -2, "metadata");
  if (outcome->error_string != NULL) {
    lua_pushstring(L, outcome->error_string);
    lua_setfield(L, -2, "error");
  }
  if (outcome->code == GRPC_STATUS_OK && ack->reply != NULL) add_reply(L, type, ack->reply);
}

/*
 * acker:take() -> false | {request=, attempt=, started=, notify=, ok=, code=, message=, metadata=, error=, reply=}
 * An answer other than the expected one, or one that asked to be told.
 */
static int acker_take(lua_State *L) {
  Acker *acker = check_acker(L);
  Ack *ack = ack_calls_finished(&acker->calls);
  if (ack == NULL || op_is_held(L)) { /* whoever holds it is about to drop that one */
    lua_pushboolean(L, 0);
    return 1;
  }
  op_hold(L);
  push_request(L, ack); /* may raise, as may the rest: ack stays in the list then */
  add_answer(L, acker->reply, ack);
  ack_calls_drop_finished(&acker->calls);
  op_let_go(L);
  return 1;
}

/* acker:unsend() -> false | {request=, attempt=, started=, notify=}: takes back the oldest that was not started; a
 * pause begins */
static int acker_unsend(lua_State *L) {
  Acker *acker = check_acker(L);
  Ack *ack = op_is_held(L) ? NULL : ack_calls_recall(&acker->calls);
  if (ack == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  op_hold(L);
  push_request(L, ack);
  ack_calls_drop_recalled(&acker->calls);
  op_let_go(L);
  return 1;
}

/* acker:counts() -> queued or in flight, succeeded */
static int acker_counts(lua_State *L) {
  AckCounts counts = ack_calls_count(&check_acker(L)->calls);
  lua_pushinteger(L, counts.queued + counts.in_flight);
  lua_pushinteger(L, counts.succeeded);
  return 2;
}

static int acker_queued(lua_State *L) {
  lua_pushinteger(L, ack_calls_count(&check_acker(L)->calls).queued);
  return 1;
}

static int close_acker(lua_State *L) {
  Acker *acker = (Acker *)op_disown(L, 1, &acker_kind);
  if (acker == NULL) return 0;
  ack_calls_close(&acker->calls);
  op_release(&acker->op);
  return 0;
}

void acker_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "metadata", acker_metadata }, { "pause", acker_pause },   { "start", acker_start },
    { "send", acker_send },         { "unsend", acker_unsend }, { "take", acker_take },
    { "counts", acker_counts },     { "queued", acker_queued }, { NULL, NULL }
  };
  static const luaL_Reg functions[] = { { "acker", new_acker }, { NULL, NULL } };
  op_kind_register(L, &acker_kind, methods, close_acker);
  luaL_setfuncs(L, functions, 0);
}
