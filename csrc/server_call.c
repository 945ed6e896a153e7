#include "server_call.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "inbox.h"
#include "message.h"
#include "metadata.h"
#include "outbox.h"
#include "receive.h"

struct ServerCall {
  Op op;
  Tag received, sent, over; /* of the batch of each kind */
  grpc_slice path;
  gpr_timespec deadline;
  grpc_metadata_array metadata;

  Inbox inbox;
  grpc_byte_buffer *arriving; /* of the batch `received` */
  int was_cancelled;          /* of the batch that asks for the end */

  pthread_mutex_t lock; /* guards what follows */
  grpc_call *grpc;      /* NULL once no batch is outstanding and none will be */
  int batches;          /* outstanding */
  bool shown;           /* a userdata is to be told of news */
  bool wants_message, wants_room;
  bool half_closed; /* the client has sent its last message */
  bool watched;     /* its end is asked for, by the batch `over` or the one that sends the status */
  bool ended;       /* that has returned: nothing can be sent any more */
  bool cancelled;

  Outbox outbox;
  grpc_byte_buffer *leaving; /* of the batch `sent` */
  bool sending, headers_due, headers_sent;
  bool finished; /* no more messages come: status is sent after the last */
  bool status_sent;
  bool ends_with_sent; /* the batch `sent` asks for the end */
  Metadata *headers, *trailers;
  grpc_status_code code;
  grpc_slice status_text;
};

static ServerCall *of_received(Tag *tag) { return (ServerCall *)((char *)tag - offsetof(ServerCall, received)); }
static ServerCall *of_sent(Tag *tag) { return (ServerCall *)((char *)tag - offsetof(ServerCall, sent)); }
static ServerCall *of_over(Tag *tag) { return (ServerCall *)((char *)tag - offsetof(ServerCall, over)); }

/* Batches. All with the lock held, but for start_sending. */

static void start_batch(ServerCall *call, const grpc_op *ops, size_t count, Tag *tag) {
  op_own(&call->op);
  call->batches++;
  if (grpc_call_start_batch(call->grpc, ops, count, tag, NULL) == GRPC_CALL_OK) return;
  /* Only wrong use of the API gets here, so the call cannot go on. */
  call->batches--;
  atomic_fetch_sub(&call->op.owners, 1); /* not the last one: whoever called this has one */
  grpc_call_cancel(call->grpc, NULL);
}

static void receive_next(ServerCall *call) {
  grpc_op op = { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &call->arriving };
  start_batch(call, &op, 1, &call->received);
}

static grpc_op headers_op(const ServerCall *call) {
  grpc_op op = { .op = GRPC_OP_SEND_INITIAL_METADATA };
  if (call->headers != NULL) {
    op.data.send_initial_metadata.count = call->headers->count;
    op.data.send_initial_metadata.metadata = (grpc_metadata *)call->headers->pairs;
  }
  return op;
}

static grpc_op message_op(ServerCall *call) {
  call->leaving = outbox_pop(&call->outbox);
  grpc_op op = { .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = call->leaving };
  if (call->outbox.count > 0) op.flags = GRPC_WRITE_BUFFER_HINT; /* it may wait for the next, which is ready */
  return op;
}

static grpc_op status_op(ServerCall *call) {
  grpc_op op = { .op = GRPC_OP_SEND_STATUS_FROM_SERVER };
  op.data.send_status_from_server.status = call->code;
  op.data.send_status_from_server.status_details = &call->status_text;
  if (call->trailers != NULL) {
    op.data.send_status_from_server.trailing_metadata_count = call->trailers->count;
    op.data.send_status_from_server.trailing_metadata = (grpc_metadata *)call->trailers->pairs;
  }
  return op;
}

static grpc_op over_op(ServerCall *call) {
  call->watched = true;
  return (grpc_op){ .op = GRPC_OP_RECV_CLOSE_ON_SERVER, .data.recv_close_on_server.cancelled = &call->was_cancelled };
}

/* Asks for the end, once. */
static void watch_end(ServerCall *call) {
  if (call->watched || call->grpc == NULL) return;
  grpc_op op = over_op(call);
  start_batch(call, &op, 1, &call->over);
}

/* A batch to be sent, which has its share of the call already. */
typedef struct Sending {
  grpc_call *grpc;
  grpc_op ops[4];
  size_t count; /* 0: nothing is due, or something is under way */
} Sending;

/* What is due next: headers, one message, and the status behind the last message. */
static Sending send_next(ServerCall *call) {
  Sending next = { .grpc = call->grpc };
  if (call->sending || call->ended || call->grpc == NULL || call->status_sent) return next;
  bool message = call->outbox.count > 0, status = call->finished && call->outbox.count <= 1;
  if (!call->headers_sent && (message || status || call->headers_due)) {
    next.ops[next.count++] = headers_op(call);
    call->headers_sent = true;
  }
  if (message) next.ops[next.count++] = message_op(call);
  if (status) {
    next.ops[next.count++] = status_op(call);
    call->status_sent = true;
    call->ends_with_sent = !call->watched;
    if (call->ends_with_sent) next.ops[next.count++] = over_op(call);
  }
  if (next.count == 0) return next;
  call->sending = true;
  call->batches++;
  op_own(&call->op);
  return next;
}

/* Starts it, without the lock: this takes longer than all else, and the other thread may want to go on. */
static void start_sending(ServerCall *call, const Sending *next) {
  if (next->count == 0) return;
  if (grpc_call_start_batch(next->grpc, next->ops, next->count, &call->sent, NULL) == GRPC_CALL_OK) return;
  /* Only wrong use of the API gets here, so the call cannot go on. */
  grpc_call_cancel(next->grpc, NULL);
  pthread_mutex_lock(&call->lock);
  call->batches--;
  pthread_mutex_unlock(&call->lock);
  op_release(&call->op);
}

/* Returns the grpc_call to unref, when this was the last batch of a call that is over. */
static grpc_call *settle(ServerCall *call) {
  if (!call->ended || call->batches > 0) return NULL;
  grpc_call *grpc = call->grpc;
  call->grpc = NULL;
  outbox_clear(&call->outbox);
  return grpc;
}

/* The end of a tag's callback: unlocks, and gives up the batch's share of the call. */
static void returned(ServerCall *call, bool tell) {
  if (tell && call->shown) op_ready_soon(&call->op);
  grpc_call *grpc = settle(call);
  pthread_mutex_unlock(&call->lock);
  if (grpc != NULL) grpc_call_unref(grpc);
  op_release(&call->op);
}

/* Tags: I/O thread. */

static void on_received(Tag *tag, bool ok) {
  ServerCall *call = of_received(tag);
  grpc_byte_buffer *message = call->arriving;
  call->arriving = NULL;
  InboxState state = INBOX_OPEN;
  if (message != NULL) {
    state = inbox_put(&call->inbox, message);
    grpc_byte_buffer_destroy(message);
  }
  pthread_mutex_lock(&call->lock);
  call->batches--;
  if (message == NULL || !ok) {
    call->half_closed = true;
  } else if (state == INBOX_NO_MEMORY) {
    call->half_closed = true;
    grpc_call_cancel_with_status(call->grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "not enough memory", NULL);
  } else if (state == INBOX_OPEN && !call->ended) {
    receive_next(call);
  }
  bool tell = call->wants_message;
  call->wants_message = false;
  returned(call, tell);
}

static void note_end(ServerCall *call) {
  call->ended = true;
  call->cancelled = call->was_cancelled != 0;
}

static void on_sent(Tag *tag, bool ok) {
  ServerCall *call = of_sent(tag);
  pthread_mutex_lock(&call->lock);
  call->batches--;
  call->sending = false;
  if (call->ends_with_sent) note_end(call);
  if (call->leaving != NULL) grpc_byte_buffer_destroy(call->leaving);
  call->leaving = NULL;
  Sending next = { .count = 0 };
  if (ok) {
    next = send_next(call);
  } else {
    outbox_clear(&call->outbox); /* cancelled */
    watch_end(call);
  }
  bool tell = call->wants_room && outbox_is_low(&call->outbox);
  if (tell) call->wants_room = false;
  returned(call, tell);
  start_sending(call, &next);
}

static void on_over(Tag *tag, bool ok) {
  ServerCall *call = of_over(tag);
  (void)ok;
  pthread_mutex_lock(&call->lock);
  call->batches--;
  note_end(call);
  returned(call, true);
}

/* Life */

/* gRPC only lends what is in the array, until its call ends; Lua may look at it after that. */
static void hold_metadata(const grpc_metadata_array *array) {
  for (size_t i = 0; i < array->count; i++) {
    grpc_slice_ref(array->metadata[i].key);
    grpc_slice_ref(array->metadata[i].value);
  }
}

static void release_metadata(grpc_metadata_array *array) {
  for (size_t i = 0; i < array->count; i++) {
    grpc_slice_unref(array->metadata[i].key);
    grpc_slice_unref(array->metadata[i].value);
  }
  grpc_metadata_array_destroy(array);
}

static void destroy_call(Op *op) {
  ServerCall *call = (ServerCall *)op;
  outbox_clear(&call->outbox);
  inbox_destroy(&call->inbox);
  metadata_release(call->headers);
  metadata_release(call->trailers);
  grpc_slice_unref(call->status_text);
  grpc_slice_unref(call->path);
  release_metadata(&call->metadata);
  pthread_mutex_destroy(&call->lock);
  free(call);
}

static OpKind call_kind = { .name = "wgtwo.server_call", .destroy = destroy_call };

/* NULL: memory is short, and the call is cancelled. */
static ServerCall *new_call(Loop *loop, grpc_call *grpc, grpc_slice path, gpr_timespec deadline,
                            grpc_metadata_array *metadata) {
  ServerCall *call = calloc(1, sizeof *call);
  if (call == NULL) {
    grpc_call_cancel_with_status(grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "not enough memory", NULL);
    grpc_call_unref(grpc);
    return NULL;
  }
  op_init(&call->op, &call_kind, loop);
  call->received.done = on_received;
  call->sent.done = on_sent;
  call->over.done = on_over;
  call->grpc = grpc;
  call->path = grpc_slice_ref(path);
  call->deadline = deadline;
  call->metadata = *metadata;
  hold_metadata(&call->metadata);
  grpc_metadata_array_init(metadata);
  call->status_text = grpc_empty_slice();
  inbox_init(&call->inbox);
  pthread_mutex_init(&call->lock, NULL);
  return call;
}

ServerCall *server_call_begin(Loop *loop, grpc_call *grpc, grpc_slice path, gpr_timespec deadline,
                              grpc_metadata_array *metadata) {
  ServerCall *call = new_call(loop, grpc, path, deadline, metadata);
  if (call == NULL) return NULL;
  pthread_mutex_lock(&call->lock);
  watch_end(call);
  receive_next(call);
  pthread_mutex_unlock(&call->lock);
  return call;
}

ServerCall *server_call_begin_with(Loop *loop, grpc_call *grpc, grpc_slice path, gpr_timespec deadline,
                                   grpc_metadata_array *metadata, grpc_byte_buffer *message) {
  ServerCall *call = new_call(loop, grpc, path, deadline, metadata);
  if (call != NULL) {
    call->half_closed = true;
    bool kept = message != NULL && inbox_put(&call->inbox, message) != INBOX_NO_MEMORY;
    if (!kept) {
      pthread_mutex_lock(&call->lock);
      watch_end(call);
      if (message != NULL) {
        grpc_call_cancel_with_status(grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "not enough memory", NULL);
      }
      pthread_mutex_unlock(&call->lock);
    }
  }
  if (message != NULL) grpc_byte_buffer_destroy(message);
  return call;
}

/* Ends a call with a status of its own, at once, also when messages are waiting to be sent. With the lock held. */
static void cancel(ServerCall *call, grpc_status_code code, const char *text) {
  call->finished = true;
  outbox_clear(&call->outbox);
  watch_end(call);
  if (call->grpc != NULL && !call->ended) grpc_call_cancel_with_status(call->grpc, code, text, NULL);
}

/* Nobody will look at this call again: one that has its status ends by itself, another is cancelled. Gives up one
 * share. */
static void let_go(ServerCall *call, grpc_status_code code, const char *text) {
  pthread_mutex_lock(&call->lock);
  call->shown = false;
  if (!call->finished) cancel(call, code, text);
  pthread_mutex_unlock(&call->lock);
  op_release(&call->op);
}

void server_call_refuse(ServerCall *call) { let_go(call, GRPC_STATUS_UNAVAILABLE, "the server is closing"); }

Op **server_call_userdata(lua_State *L, int spare) {
  Op **box = lua_isnoneornil(L, spare) ? NULL : op_reuse(L, spare, &call_kind);
  return box != NULL ? box : op_new_userdata(L, &call_kind);
}

void server_call_show(lua_State *L, Op **box, ServerCall *call) {
  pthread_mutex_lock(&call->lock);
  call->shown = true;
  bool watched = call->watched;
  pthread_mutex_unlock(&call->lock);
  op_adopt_unlisted(box, &call->op);
  if (watched) op_list(L, &call->op);
}

/* Lua */

static ServerCall *check_call(lua_State *L) { return (ServerCall *)op_check(L, 1, &call_kind); }

/* call:close(): a call that was not finished ends with CANCELLED; what was queued before finish is still sent. */
static int call_close(lua_State *L) {
  Op *op = op_disown(L, 1, &call_kind);
  if (op != NULL) let_go((ServerCall *)op, GRPC_STATUS_CANCELLED, "the handler left the call");
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
  ServerCall *call = check_call(L);
  if (lua_isnoneornil(L, 2)) {
    op_hold(L);
    metadata_push(L, &call->metadata);
    op_let_go(L);
    return 1;
  }
  const char *key = luaL_checkstring(L, 2);
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
  char peer[PEER_SIZE] = "";
  pthread_mutex_lock(&call->lock);
  if (call->grpc != NULL) copy_peer(call->grpc, peer);
  pthread_mutex_unlock(&call->lock);
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
  ServerCall *call = check_call(L);
  pthread_mutex_lock(&call->lock);
  bool cancelled = call->ended && call->cancelled;
  pthread_mutex_unlock(&call->lock);
  lua_pushboolean(L, cancelled);
  return 1;
}

/* call:over() -> true once nothing can be sent any more: the status has left, or the call was cancelled */
static int call_over(lua_State *L) {
  ServerCall *call = check_call(L);
  pthread_mutex_lock(&call->lock);
  bool over = call->ended;
  pthread_mutex_unlock(&call->lock);
  lua_pushboolean(L, over);
  return 1;
}

/* call:watch(): the call becomes ready when it has news, such as its end. Calls that the server does not expect do in
 * any case. */
static int call_watch(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_settop(L, 1);
  op_list(L, &call->op);
  pthread_mutex_lock(&call->lock);
  watch_end(call);
  pthread_mutex_unlock(&call->lock);
  return 0;
}

/* The inbox was parked and is empty now: read on. */
static void unpark(ServerCall *call) {
  pthread_mutex_lock(&call->lock);
  if (call->grpc != NULL && !call->ended && !call->half_closed) receive_next(call);
  pthread_mutex_unlock(&call->lock);
}

/* The next message's bytes, which stay in the inbox; or NULL: then pushes what take answers. */
static const unsigned char *next_message(lua_State *L, ServerCall *call, size_t *length) {
  for (int attempt = 0; attempt < 2; attempt++) {
    bool unparked;
    const unsigned char *bytes = inbox_peek(&call->inbox, length, &unparked);
    if (unparked) unpark(call);
    if (bytes != NULL) return bytes;
    if (attempt > 0) break;
    pthread_mutex_lock(&call->lock);
    bool at_end = call->half_closed || call->ended;
    if (!at_end) call->wants_message = true;
    pthread_mutex_unlock(&call->lock);
    /* A message may have come between the look and the wish, or before the end: look once more. */
    if (at_end) {
      lua_pushnil(L);
    } else {
      lua_pushboolean(L, 0);
    }
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

typedef enum Put { PUT_DONE, PUT_FULL, PUT_OVER, PUT_NO_MEMORY } Put;

/* Queues one message, taking it over, and starts to send. `last`: the status follows, and the bounds do not hold. */
static Put put(ServerCall *call, grpc_byte_buffer *buffer, size_t length, bool last) {
  pthread_mutex_lock(&call->lock);
  Put result = PUT_DONE;
  Sending next = { .count = 0 };
  if (call->ended || call->finished) {
    result = PUT_OVER;
  } else if (!last && outbox_is_full(&call->outbox)) {
    result = PUT_FULL;
    call->wants_room = true;
  } else {
    if (!outbox_put(&call->outbox, buffer, length)) result = PUT_NO_MEMORY;
    buffer = NULL;
    if (last) call->finished = true;
    next = send_next(call);
  }
  pthread_mutex_unlock(&call->lock);
  start_sending(call, &next);
  if (buffer != NULL) grpc_byte_buffer_destroy(buffer);
  return result;
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

/* The strings from index 2 on, one after the other, as a buffer of *length bytes that the caller owns. */
static grpc_byte_buffer *joined(lua_State *L, size_t *length) {
  int parts = lua_gettop(L);
  size_t part;
  *length = 0;
  for (int i = 2; i <= parts || i == 2; i++) {
    luaL_checklstring(L, i, &part);
    *length += part;
  }
  grpc_slice slice = grpc_slice_malloc(*length);
  unsigned char *end = GRPC_SLICE_START_PTR(slice);
  for (int i = 2; i <= parts; i++) {
    const char *bytes = lua_tolstring(L, i, &part);
    memcpy(end, bytes, part);
    end += part;
  }
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return buffer;
}

/* call:write(bytes, …) -> true: queued; false: the queue is full, the call becomes ready when there is room; nil: it is
 * over. Several strings are the parts of one message. */
static int call_write(lua_State *L) {
  ServerCall *call = check_call(L);
  size_t length;
  grpc_byte_buffer *message = joined(L, &length);
  return push_put(L, put(call, message, length, false));
}

/* call:reply(bytes) -> true, or nil when it is over: the one answer of a unary call, with status OK, in one batch */
static int call_reply(lua_State *L) {
  ServerCall *call = check_call(L);
  size_t length;
  const char *bytes = luaL_checklstring(L, 2, &length);
  return push_put(L, put(call, byte_buffer_new(bytes, length), length, true));
}

/* call:headers([list]): sends the initial metadata now; without it they leave with the first message. Raises when they
 * have left. */
static int call_headers(lua_State *L) {
  ServerCall *call = check_call(L);
  Metadata *headers = metadata_from_lua(L, 2);
  pthread_mutex_lock(&call->lock);
  bool late = call->headers_sent;
  Sending next = { .count = 0 };
  if (!late) {
    Metadata *before = call->headers;
    call->headers = headers;
    headers = before;
    call->headers_due = true;
    next = send_next(call);
  }
  pthread_mutex_unlock(&call->lock);
  start_sending(call, &next);
  metadata_release(headers);
  if (late) return luaL_error(L, "the initial metadata has left already: give it before the first message");
  return 0;
}

/* call:finish([code = 0[, message[, trailing]]]): the status follows what is queued. A second one, or one that is too
 * late, is nothing. */
static int call_finish(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_Integer code = luaL_optinteger(L, 2, 0);
  luaL_argcheck(L, code >= 0 && code <= 16, 2, "a gRPC status is 0 to 16");
  size_t length;
  const char *text = luaL_optlstring(L, 3, "", &length);
  Metadata *trailers = metadata_from_lua(L, 4);
  pthread_mutex_lock(&call->lock);
  Sending next = { .count = 0 };
  if (!call->finished) {
    call->finished = true;
    call->code = (grpc_status_code)code;
    call->status_text = grpc_slice_from_copied_buffer(text, length);
    call->trailers = trailers;
    trailers = NULL;
    next = send_next(call);
  }
  pthread_mutex_unlock(&call->lock);
  start_sending(call, &next);
  metadata_release(trailers);
  return 0;
}

/* call:reset([code = 14]): ends the call at once, whatever is queued. */
static int call_reset(lua_State *L) {
  ServerCall *call = check_call(L);
  lua_Integer code = luaL_optinteger(L, 2, GRPC_STATUS_UNAVAILABLE);
  luaL_argcheck(L, code >= 1 && code <= 16, 2, "a gRPC error status is 1 to 16");
  pthread_mutex_lock(&call->lock);
  cancel(call, (grpc_status_code)code, "stream reset");
  pthread_mutex_unlock(&call->lock);
  return 0;
}

/* call:queued() -> messages and bytes that wait to be sent */
static int call_queued(lua_State *L) {
  ServerCall *call = check_call(L);
  pthread_mutex_lock(&call->lock);
  size_t count = call->outbox.count, bytes = call->outbox.bytes;
  pthread_mutex_unlock(&call->lock);
  lua_pushinteger(L, (lua_Integer)count);
  lua_pushinteger(L, (lua_Integer)bytes);
  return 2;
}

void server_call_register(lua_State *L) {
  static const luaL_Reg methods[] = {
    { "path", call_path },           { "metadata", call_metadata }, { "packed_metadata", call_packed_metadata },
    { "peer", call_peer },           { "deadline", call_deadline }, { "over", call_over },
    { "cancelled", call_cancelled }, { "take", call_take },         { "write", call_write },
    { "reply", call_reply },         { "headers", call_headers },   { "finish", call_finish },
    { "reset", call_reset },         { "queued", call_queued },     { "watch", call_watch },
    { NULL, NULL }
  };
  op_kind_register(L, &call_kind, methods, call_close);
}
