#include "acker.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "channel.h"
#include "inbox.h"
#include "message.h"
#include "schema.h"

enum { EXPECTED_MAX = 64 }; /* bytes: success says little */

typedef struct Acker Acker;

/* One call, from send until it was counted or taken. */
typedef struct Ack {
  Tag tag;
  Acker *acker; /* owned while the tag is out */
  grpc_call *grpc;
  Metadata *metadata;
  grpc_byte_buffer *reply;
  Outcome outcome;
  struct Ack *next, **link; /* in acker->in_flight or acker->finished; guarded by the lock */
  bool notify;
  lua_Integer attempt;
  lua_Number started;
  size_t length;
  unsigned char request[];
} Ack;

struct Acker {
  Op op;
  Channel *channel; /* owned */
  grpc_slice path;
  const MessageType *reply;
  double timeout;
  int limit;
  Metadata *metadata; /* of the calls to come; Lua thread */
  bool refused;       /* a send was refused for the limit: room is news; Lua thread sets it under the lock */

  pthread_mutex_t lock;
  Ack *in_flight;          /* guarded by lock, as all below */
  Ack *finished, **last;   /* for Lua */
  int n_in_flight, n_held; /* n_held: in flight or finished */
  lua_Integer succeeded;

  size_t expected_length;
  unsigned char expected[];
};

static void destroy_ack(Ack *ack) {
  if (ack->grpc != NULL) grpc_call_unref(ack->grpc);
  if (ack->reply != NULL) grpc_byte_buffer_destroy(ack->reply);
  metadata_release(ack->metadata);
  outcome_destroy(&ack->outcome);
  free(ack);
}

static void destroy_acker(Op *op) {
  Acker *acker = (Acker *)op;
  while (acker->finished != NULL) {
    Ack *ack = acker->finished;
    acker->finished = ack->next;
    destroy_ack(ack);
  }
  op_release(&acker->channel->op);
  grpc_slice_unref(acker->path);
  metadata_release(acker->metadata);
  pthread_mutex_destroy(&acker->lock);
  free(acker);
}

static OpKind acker_kind = { .name = "wgtwo.acker", .destroy = destroy_acker };

static Acker *check_acker(lua_State *L) { return (Acker *)op_check(L, 1, &acker_kind); }

/* The I/O thread's side */

static bool is_expected(const Acker *acker, const Ack *ack) {
  unsigned char reply[EXPECTED_MAX];
  if (ack->outcome.code != GRPC_STATUS_OK || ack->reply == NULL) return false;
  size_t length = grpc_byte_buffer_length(ack->reply);
  if (length != acker->expected_length) return false;
  byte_buffer_copy(ack->reply, reply);
  return memcmp(reply, acker->expected, length) == 0;
}

/* ack has its answer: counts it, or puts it aside for Lua. Returns whether Lua has to know something. */
static bool settle(Acker *acker, Ack *ack) {
  bool expected = is_expected(acker, ack), counted = expected && !ack->notify;
  pthread_mutex_lock(&acker->lock);
  *ack->link = ack->next;
  if (ack->next != NULL) ack->next->link = ack->link;
  acker->n_in_flight--;
  if (expected) acker->succeeded++;
  if (counted) {
    acker->n_held--;
  } else {
    ack->next = NULL;
    *acker->last = ack;
    acker->last = &ack->next;
  }
  bool news = !counted || acker->refused || acker->n_in_flight == 0;
  acker->refused = false;
  pthread_mutex_unlock(&acker->lock);
  if (counted) destroy_ack(ack);
  return news;
}

static void on_answer(Tag *tag, bool ok) {
  Ack *ack = (Ack *)tag;
  Acker *acker = ack->acker;
  (void)ok; /* always true: a failure is a status */
  if (settle(acker, ack)) op_ready_soon(&acker->op);
  op_release(&acker->op);
}

/* The Lua thread's side */

/* core.acker(channel, {path=, reply=, expected=, timeout=, limit=}) -> acker */
static int new_acker(lua_State *L) {
  Channel *channel = channel_check(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t path_length, expected_length;
  lua_getfield(L, 2, "path");
  const char *path = luaL_checklstring(L, -1, &path_length);
  lua_getfield(L, 2, "reply");
  const MessageType *reply = schema_check_type(L, lua_gettop(L));
  lua_getfield(L, 2, "expected");
  const char *expected = luaL_checklstring(L, -1, &expected_length);
  if (expected_length > EXPECTED_MAX) return luaL_error(L, "the expected reply has at most %d bytes", EXPECTED_MAX);
  lua_getfield(L, 2, "timeout");
  double timeout = luaL_checknumber(L, -1);
  lua_getfield(L, 2, "limit");
  lua_Integer limit = luaL_checkinteger(L, -1);
  if (limit < 1 || limit > INT_MAX) return luaL_error(L, "the limit in flight is a positive number");

  Op **box = op_new_userdata(L, &acker_kind);
  channel = channel_check(L, 1); /* again: a finalizer may have closed it meanwhile */
  Acker *acker = calloc(1, sizeof *acker + expected_length);
  if (acker == NULL) return luaL_error(L, "not enough memory");
  op_init(&acker->op, &acker_kind, channel->op.loop);
  pthread_mutex_init(&acker->lock, NULL);
  op_own(&channel->op);
  acker->channel = channel;
  acker->path = grpc_slice_from_copied_buffer(path, path_length);
  acker->reply = reply;
  acker->timeout = timeout;
  acker->limit = (int)limit;
  acker->last = &acker->finished;
  acker->expected_length = expected_length;
  memcpy(acker->expected, expected, expected_length);
  op_adopt(L, box, &acker->op);
  return 1;
}

static int acker_metadata(lua_State *L) {
  Acker *acker = check_acker(L);
  Metadata *metadata = metadata_from_lua(L, 2);
  metadata_release(acker->metadata);
  acker->metadata = metadata;
  return 0;
}

/* Room for one more in flight? If not, the acker becomes ready when there is. */
static bool reserve(Acker *acker) {
  pthread_mutex_lock(&acker->lock);
  bool room = acker->n_held < acker->limit;
  if (room) {
    acker->n_held++;
  } else {
    acker->refused = true;
  }
  pthread_mutex_unlock(&acker->lock);
  return room;
}

static void give_back(Acker *acker) {
  pthread_mutex_lock(&acker->lock);
  acker->n_held--;
  pthread_mutex_unlock(&acker->lock);
}

static bool start_ack(Acker *acker, Ack *ack) {
  ack->grpc =
      grpc_channel_create_call(acker->channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, loop_running_queue(acker->op.loop),
                               acker->path, NULL, deadline_in(acker->timeout), NULL);
  grpc_byte_buffer *request = byte_buffer_new(ack->request, ack->length);
  Batch batch;
  batch_init(&batch);
  batch_send_headers(&batch, ack->metadata, true);
  batch_send_message(&batch, request);
  batch_send_close(&batch);
  batch_receive_headers(&batch, &ack->outcome);
  batch_receive_message(&batch, &ack->reply);
  batch_receive_status(&batch, &ack->outcome);

  pthread_mutex_lock(&acker->lock); /* first into the list: the answer may come before batch_start has returned */
  ack->next = acker->in_flight;
  ack->link = &acker->in_flight;
  if (ack->next != NULL) ack->next->link = &ack->next;
  acker->in_flight = ack;
  acker->n_in_flight++;
  pthread_mutex_unlock(&acker->lock);
  op_own(&acker->op);
  bool started = batch_start(&batch, ack->grpc, &ack->tag);
  grpc_byte_buffer_destroy(request);
  return started;
}

/* acker:send(request, attempt, started, notify) -> true | false: as many as allowed are in flight */
static int acker_send(lua_State *L) {
  Acker *acker = check_acker(L);
  size_t length;
  const char *request = luaL_checklstring(L, 2, &length);
  lua_Integer attempt = luaL_checkinteger(L, 3);
  lua_Number started = luaL_checknumber(L, 4);
  if (!reserve(acker)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  Ack *ack = calloc(1, sizeof *ack + length);
  if (ack == NULL) {
    give_back(acker);
    return luaL_error(L, "not enough memory");
  }
  ack->tag.done = on_answer;
  ack->acker = acker;
  ack->metadata = metadata_own(acker->metadata);
  outcome_init(&ack->outcome);
  ack->notify = lua_toboolean(L, 5);
  ack->attempt = attempt;
  ack->started = started;
  ack->length = length;
  memcpy(ack->request, request, length);
  if (!start_ack(acker, ack)) { /* a failure like another: its status is UNKNOWN */
    if (settle(acker, ack)) op_ready(&acker->op);
    op_release(&acker->op);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static void push_reply(lua_State *L, const Acker *acker, grpc_byte_buffer *reply) {
  uint8_t *bytes = message_new(L, acker->reply, grpc_byte_buffer_length(reply));
  byte_buffer_copy(reply, bytes);
  if (message_check(L, -1) == NULL) {
    lua_setfield(L, -2, "reply");
  } else {
    lua_pop(L, 2); /* the message and the reason: an answer that cannot be read is one that does not say success */
  }
}

static void push_ack(lua_State *L, const Acker *acker, Ack *ack) {
  lua_createtable(L, 0, 8);
  lua_pushlstring(L, (const char *)ack->request, ack->length);
  lua_setfield(L, -2, "request");
  lua_pushinteger(L, ack->attempt);
  lua_setfield(L, -2, "attempt");
  lua_pushnumber(L, ack->started);
  lua_setfield(L, -2, "started");
  lua_pushboolean(L, is_expected(acker, ack));
  lua_setfield(L, -2, "ok");
  lua_pushboolean(L, ack->notify);
  lua_setfield(L, -2, "notify");
  lua_pushinteger(L, ack->outcome.code);
  lua_setfield(L, -2, "code");
  lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(ack->outcome.details), GRPC_SLICE_LENGTH(ack->outcome.details));
  lua_setfield(L, -2, "message");
  metadata_push(L, &ack->outcome.trailers);
  lua_setfield(L, -2, "metadata");
  if (ack->outcome.error_string != NULL) {
    lua_pushstring(L, ack->outcome.error_string);
    lua_setfield(L, -2, "error");
  }
  if (ack->outcome.code == GRPC_STATUS_OK && ack->reply != NULL) push_reply(L, acker, ack->reply);
}

/*
 * acker:take() -> false | {request=, attempt=, started=, notify=, ok=, code=, message=, metadata=, error=, reply=}
 * An answer other than the expected one, or one that asked to be told.
 */
static int acker_take(lua_State *L) {
  Acker *acker = check_acker(L);
  pthread_mutex_lock(&acker->lock);
  Ack *ack = acker->finished;
  pthread_mutex_unlock(&acker->lock);
  if (ack == NULL) {
    lua_pushboolean(L, 0);
    return 1;
  }
  op_hold(L);
  push_ack(L, acker, ack); /* may raise: ack stays in the list then */
  pthread_mutex_lock(&acker->lock);
  acker->finished = ack->next;
  if (acker->finished == NULL) acker->last = &acker->finished;
  acker->n_held--;
  bool news = acker->refused;
  acker->refused = false;
  pthread_mutex_unlock(&acker->lock);
  if (news) op_ready(&acker->op); /* whoever waits for room need not be the one that takes */
  destroy_ack(ack);
  op_let_go(L);
  return 1;
}

/* acker:counts() -> in flight, succeeded */
static int acker_counts(lua_State *L) {
  Acker *acker = check_acker(L);
  pthread_mutex_lock(&acker->lock);
  lua_Integer in_flight = acker->n_in_flight, succeeded = acker->succeeded;
  pthread_mutex_unlock(&acker->lock);
  lua_pushinteger(L, in_flight);
  lua_pushinteger(L, succeeded);
  return 2;
}

static int close_acker(lua_State *L) {
  Acker *acker = (Acker *)op_disown(L, 1, &acker_kind);
  if (acker == NULL) return 0;
  pthread_mutex_lock(&acker->lock); /* an ack in the list has not been answered, so its call is alive */
  for (Ack *ack = acker->in_flight; ack != NULL; ack = ack->next) grpc_call_cancel(ack->grpc, NULL);
  pthread_mutex_unlock(&acker->lock);
  op_release(&acker->op);
  return 0;
}

void acker_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "metadata", acker_metadata },
                                      { "send", acker_send },
                                      { "take", acker_take },
                                      { "counts", acker_counts },
                                      { NULL, NULL } };
  static const luaL_Reg functions[] = { { "acker", new_acker }, { NULL, NULL } };
  op_kind_register(L, &acker_kind, methods, close_acker);
  luaL_setfuncs(L, functions, 0);
}
