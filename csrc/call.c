#include "call.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "channel.h"
#include "inbox.h"
#include "message.h"
#include "receive.h"
#include "schema.h"

typedef struct Call Call;

enum { CLASS_VALUE = 1 }; /* the userdata's user value: the metatable of a stream's messages, or nil */

/* One outstanding batch of a call. */
typedef struct Part {
  Tag tag;
  Call *call;
} Part;

struct Call {
  Op op;
  grpc_call *grpc;
  const MessageType *reply;
  const Field *part; /* the submessage of each reply that Lua wants; NULL: the reply */
  Metadata *metadata;
  bool unary;

  Part all;      /* unary: the one batch */
  Part opening;  /* streams: initial metadata out, with the request where there is just one; unary with track: the
                    sending half */
  Part headers;  /* initial metadata in */
  Part incoming; /* the next reply */
  Part ending;   /* the status */
  Part writing;  /* a further request, or the half-close */

  Outcome outcome;
  grpc_byte_buffer
      *message; /* the reply that a receive has filled: of the batch that is outstanding, or of a finished unary call */
  Inbox inbox;

  atomic_bool opening_over; /* the opening has come back */
  atomic_bool opened;       /* the request side reached the transport */
  atomic_bool has_headers;  /* outcome.headers is filled */
  atomic_bool no_more;      /* no receive is outstanding and none will be started: the inbox holds all that is left */
  atomic_bool ended;        /* outcome's status is filled */
  atomic_bool busy;         /* writing is outstanding */
  bool tracked;
  bool half_closed; /* Lua thread */
  bool broken;      /* a reply could not be decoded, the call was cancelled for it; Lua thread */
};

static void destroy_call(Op *op) {
  Call *call = (Call *)op;
  if (call->grpc != NULL) grpc_call_unref(call->grpc);
  if (call->message != NULL) grpc_byte_buffer_destroy(call->message);
  metadata_release(call->metadata);
  outcome_destroy(&call->outcome);
  inbox_destroy(&call->inbox);
  free(call);
}

static OpKind call_kind = { .name = "wgtwo.call", .destroy = destroy_call };

static Call *check_call(lua_State *L) { return (Call *)op_check(L, 1, &call_kind); }

/* Batches: each owns the call from its start until its tag has come back. */

static bool start_part(Part *part, Batch *batch) {
  op_own(&part->call->op);
  if (batch_start(batch, part->call->grpc, &part->tag)) return true;
  op_release(&part->call->op);
  return false;
}

/* The last thing a tag's callback does. */
static void finish_part(Call *call) {
  op_ready_soon(&call->op);
  op_release(&call->op);
}

static Call *call_of(Tag *tag) { return ((Part *)tag)->call; }

/*
 * Starts the next receive, which takes over an owner from the caller; false: none was started, and none will be. I/O
 * thread, or the Lua thread where none is outstanding.
 */
static bool receive_next(Call *call) {
  Batch batch;
  batch_init(&batch);
  batch_receive_message(&batch, &call->message);
  if (batch_start(&batch, call->grpc, &call->incoming.tag)) return true;
  atomic_store(&call->no_more, true);
  return false;
}

/* The same where no receive is outstanding. */
static void receive_first(Call *call) {
  op_own(&call->op);
  if (!receive_next(call)) op_release(&call->op);
}

static void on_opening(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  if (ok) atomic_store(&call->opened, true);
  atomic_store(&call->opening_over, true);
  if (call->tracked) {
    finish_part(call);
  } else {
    op_release(&call->op); /* no news for Lua */
  }
}

static void on_headers(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  if (ok) atomic_store(&call->has_headers, true);
  finish_part(call);
}

static void on_incoming(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  grpc_byte_buffer *message = call->message;
  InboxState state = INBOX_FULL;
  call->message = NULL;
  if (!ok || message == NULL) {
    atomic_store(&call->no_more, true);
  } else {
    state = inbox_put(&call->inbox, message);
    grpc_byte_buffer_destroy(message);
    if (state == INBOX_NO_MEMORY)
      grpc_call_cancel_with_status(call->grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "out of memory", NULL);
  }
  op_ready_soon(&call->op);
  if (state == INBOX_FULL || !receive_next(call)) op_release(&call->op);
}

static void on_ending(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  (void)ok; /* always true: a failure is a status */
  atomic_store(&call->ended, true);
  finish_part(call);
}

static void on_all(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  (void)ok;
  atomic_store(&call->has_headers, true);
  atomic_store(&call->no_more, true);
  atomic_store(&call->ended, true);
  op_ready(&call->op); /* not soon: whoever made the call waits for just this, and nothing more comes of it */
  op_release(&call->op);
}

static void on_writing(Tag *tag, bool ok) {
  Call *call = call_of(tag);
  (void)ok; /* a failed write means that the call is over, which the status tells */
  atomic_store(&call->busy, false);
  finish_part(call);
}

/* Starting */

static bool start_unary(Call *call, grpc_byte_buffer *request, bool wait_for_ready) {
  Batch sending, rest;
  batch_init(&sending);
  batch_init(&rest);
  Batch *receiving = call->tracked ? &rest : &sending;
  batch_send_headers(&sending, call->metadata, wait_for_ready);
  batch_send_message(&sending, request);
  batch_send_close(&sending);
  if (call->tracked && !start_part(&call->opening, &sending)) return false;
  batch_receive_headers(receiving, &call->outcome);
  batch_receive_message(receiving, &call->message);
  batch_receive_status(receiving, &call->outcome);
  return start_part(&call->all, receiving);
}

/* request: NULL where the requests come one by one. */
static bool start_stream(Call *call, grpc_byte_buffer *request, bool wait_for_ready) {
  Batch opening, headers, status;
  batch_init(&opening);
  batch_init(&headers);
  batch_init(&status);
  batch_send_headers(&opening, call->metadata, wait_for_ready);
  if (request != NULL) {
    batch_send_message(&opening, request);
    batch_send_close(&opening);
    call->half_closed = true;
  }
  batch_receive_headers(&headers, &call->outcome);
  batch_receive_status(&status, &call->outcome);
  if (!start_part(&call->opening, &opening) || !start_part(&call->headers, &headers) ||
      !start_part(&call->ending, &status))
    return false;
  receive_first(call);
  return true;
}

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

static void init_part(Part *part, Call *call, void (*done)(Tag *, bool)) {
  part->tag.done = done;
  part->call = call;
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
  Call *call = calloc(1, sizeof *call);
  if (call == NULL) return luaL_error(L, "not enough memory");
  op_init(&call->op, &call_kind, loop);
  outcome_init(&call->outcome);
  inbox_init(&call->inbox);
  op_adopt(L, box, &call->op);
  lua_getfield(L, 2, "class");
  lua_setiuservalue(L, -2, CLASS_VALUE);
  call->metadata = metadata_from_lua(L, metadata_index);
  call->reply = o.reply;
  call->part = o.part;
  call->unary = kind == 0;
  call->tracked = o.track;
  init_part(&call->all, call, on_all);
  init_part(&call->opening, call, on_opening);
  init_part(&call->headers, call, on_headers);
  init_part(&call->incoming, call, on_incoming);
  init_part(&call->ending, call, on_ending);
  init_part(&call->writing, call, on_writing);

  Channel *channel = channel_check(L, 1); /* now: a finalizer may have closed it meanwhile */
  grpc_slice path = grpc_slice_from_copied_buffer(o.path, o.path_length);
  call->grpc = grpc_channel_create_call(channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, loop_running_queue(loop), path,
                                        NULL, deadline_in(o.timeout), NULL);
  grpc_slice_unref(path);
  grpc_byte_buffer *request = one_request ? byte_buffer_new(o.request, o.request_length) : NULL;
  bool started =
      call->unary ? start_unary(call, request, o.wait_for_ready) : start_stream(call, request, o.wait_for_ready);
  if (request != NULL) grpc_byte_buffer_destroy(request);
  if (!started) {
    grpc_call_cancel(call->grpc, NULL);
    return luaL_error(L, "gRPC refused to start %s", o.path);
  }
  return 1;
}

/* Taking */

/* Returns the reply that was pushed; with a reason why it is none: nil, "decode", reason, and the call is cancelled. */
static int give_reply(lua_State *L, Call *call, const char *reason) {
  if (reason == NULL) return 1;
  call->broken = true;
  grpc_call_cancel(call->grpc, NULL);
  lua_pushnil(L);
  lua_pushliteral(L, "decode");
  lua_pushstring(L, reason);
  return 3;
}

/* Whether the status can be told: of a tracked call, with the fate of its request, which may come back later. */
static bool has_status(Call *call) {
  return atomic_load(&call->ended) && (!call->tracked || atomic_load(&call->opening_over));
}

static int take_unary(lua_State *L, Call *call) {
  if (!has_status(call)) {
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

/* No message: nil at the end, false before. */
static void push_end(lua_State *L, bool at_end) {
  if (at_end) {
    lua_pushnil(L);
  } else {
    lua_pushboolean(L, 0);
  }
}

/* The next message, which stays in the inbox. */
static const unsigned char *next_message(Call *call, size_t *length) {
  bool unparked;
  const unsigned char *message = inbox_peek(&call->inbox, length, &unparked);
  if (!unparked) return message;
  if (atomic_load(&call->ended)) {
    atomic_store(&call->no_more, true); /* the status comes after the last message, so there is none left to receive */
  } else {
    receive_first(call);
  }
  return message;
}

/* The same; where it is NULL, *over tells whether there will be no more. */
static const unsigned char *look(Call *call, size_t *length, bool *over) {
  if (call->broken) { /* what is left is of no interest, and nobody may come to empty the inbox */
    *over = has_status(call);
    return NULL;
  }
  const unsigned char *message = next_message(call, length);
  if (message != NULL) return message;
  *over = atomic_load(&call->no_more) && has_status(call);
  return *over ? next_message(call, length) : NULL; /* it may have come just before the end */
}

static int take_from_inbox(lua_State *L, Call *call) {
  MessageForm form = { call->reply, call->part, lua_getiuservalue(L, 1, CLASS_VALUE) == LUA_TTABLE ? 3 : 0, 2 };
  size_t length;
  bool over;
  const char *reason;
  const unsigned char *message;
  while ((message = look(call, &length, &over)) != NULL) {
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
  if (!has_status(call)) {
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

/* Sends what batch holds; pushes true, false where a write is under way, or nil where the call takes no more. */
static int write_batch(lua_State *L, Call *call, Batch *batch) {
  atomic_store(&call->busy, true);
  if (start_part(&call->writing, batch)) {
    lua_pushboolean(L, 1);
  } else {
    atomic_store(&call->busy, false);
    lua_pushnil(L);
  }
  return 1;
}

/* Pushes what keeps a write from starting, and returns true; false: it may start. */
static bool write_refused(lua_State *L, Call *call) {
  if (call->unary || call->half_closed || atomic_load(&call->ended)) {
    lua_pushnil(L);
    return true;
  }
  if (!atomic_load(&call->busy)) return false;
  lua_pushboolean(L, 0);
  return true;
}

/* call:write(bytes) -> true | false: the write before is still under way | nil: the call takes no more */
static int call_write(lua_State *L) {
  Call *call = check_call(L);
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  if (write_refused(L, call)) return 1;
  Batch batch;
  batch_init(&batch);
  grpc_byte_buffer *message = byte_buffer_new(bytes, length);
  batch_send_message(&batch, message);
  int results = write_batch(L, call, &batch);
  grpc_byte_buffer_destroy(message);
  return results;
}

/* call:finish() -> true | false: a write is still under way | nil: the call takes no more */
static int call_finish(lua_State *L) {
  Call *call = check_call(L);
  if (write_refused(L, call)) return 1;
  call->half_closed = true;
  Batch batch;
  batch_init(&batch);
  batch_send_close(&batch);
  return write_batch(L, call, &batch);
}

static int call_writable(lua_State *L) {
  Call *call = check_call(L);
  lua_pushboolean(L, !call->half_closed && !atomic_load(&call->busy) && !atomic_load(&call->ended));
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
