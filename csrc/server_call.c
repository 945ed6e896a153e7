#include "server_call.h"

#include <grpc/slice.h>
#include <stddef.h>
#include <stdlib.h>

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
  if (call->leaving != NULL) grpc_byte_buffer_destroy(call->leaving);
  call->leaving = NULL;
  if (call->ends_with_sent) call->ends_with_sent = call->watched = false;
  watch_end(call);
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

static void destroy_call(Op *op) {
  ServerCall *call = (ServerCall *)op;
  outbox_clear(&call->outbox);
  inbox_destroy(&call->inbox);
  metadata_release(call->headers);
  metadata_release(call->trailers);
  grpc_slice_unref(call->status_text);
  grpc_slice_unref(call->path);
  metadata_array_release(&call->metadata);
  pthread_mutex_destroy(&call->lock);
  free(call);
}

OpKind server_call_kind = { .name = "wgtwo.server_call", .destroy = destroy_call };

/* NULL: memory is short, and the call is cancelled. */
static ServerCall *new_call(Loop *loop, grpc_call *grpc, grpc_slice path, gpr_timespec deadline,
                            grpc_metadata_array *metadata) {
  ServerCall *call = calloc(1, sizeof *call);
  if (call == NULL) {
    grpc_call_cancel_with_status(grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "not enough memory", NULL);
    grpc_call_unref(grpc);
    return NULL;
  }
  op_init(&call->op, &server_call_kind, loop);
  call->received.done = on_received;
  call->sent.done = on_sent;
  call->over.done = on_over;
  call->grpc = grpc;
  call->path = grpc_slice_ref(path);
  call->deadline = deadline;
  call->metadata = *metadata;
  metadata_array_own(&call->metadata);
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

void server_call_leave(ServerCall *call, grpc_status_code code, const char *text) {
  pthread_mutex_lock(&call->lock);
  call->shown = false;
  if (!call->finished) cancel(call, code, text);
  pthread_mutex_unlock(&call->lock);
  op_release(&call->op);
}

void server_call_refuse(ServerCall *call) { server_call_leave(call, GRPC_STATUS_UNAVAILABLE, "the server is closing"); }

/* Lua thread */

bool server_call_show(ServerCall *call) {
  pthread_mutex_lock(&call->lock);
  call->shown = true;
  bool watched = call->watched;
  pthread_mutex_unlock(&call->lock);
  return watched;
}

void server_call_watch(ServerCall *call) {
  pthread_mutex_lock(&call->lock);
  watch_end(call);
  pthread_mutex_unlock(&call->lock);
}

bool server_call_is_over(ServerCall *call, bool *cancelled) {
  pthread_mutex_lock(&call->lock);
  bool over = call->ended;
  *cancelled = over && call->cancelled;
  pthread_mutex_unlock(&call->lock);
  return over;
}

void server_call_peer(ServerCall *call, char peer[PEER_SIZE]) {
  peer[0] = '\0';
  pthread_mutex_lock(&call->lock);
  if (call->grpc != NULL) copy_peer(call->grpc, peer);
  pthread_mutex_unlock(&call->lock);
}

/* The inbox was parked and is empty now: read on. */
static void unpark(ServerCall *call) {
  pthread_mutex_lock(&call->lock);
  if (call->grpc != NULL && !call->ended && !call->half_closed) receive_next(call);
  pthread_mutex_unlock(&call->lock);
}

const unsigned char *server_call_peek(ServerCall *call, size_t *length, bool *at_end) {
  *at_end = false;
  for (int attempt = 0; attempt < 2; attempt++) {
    bool unparked;
    const unsigned char *bytes = inbox_peek(&call->inbox, length, &unparked);
    if (unparked) unpark(call);
    if (bytes != NULL) return bytes;
    if (attempt > 0) break;
    pthread_mutex_lock(&call->lock);
    *at_end = call->half_closed || call->ended;
    if (!*at_end) call->wants_message = true;
    pthread_mutex_unlock(&call->lock);
    /* A message may have come between the look and the wish, or before the end: look once more. */
  }
  return NULL;
}

Put server_call_put(ServerCall *call, grpc_byte_buffer *buffer, size_t length, bool last) {
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

bool server_call_send_headers(ServerCall *call, Metadata *headers) {
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
  return !late;
}

void server_call_finish(ServerCall *call, grpc_status_code code, const char *text, size_t length, Metadata *trailers) {
  pthread_mutex_lock(&call->lock);
  Sending next = { .count = 0 };
  if (!call->finished) {
    call->finished = true;
    call->code = code;
    call->status_text = grpc_slice_from_copied_buffer(text, length);
    call->trailers = trailers;
    trailers = NULL;
    next = send_next(call);
  }
  pthread_mutex_unlock(&call->lock);
  start_sending(call, &next);
  metadata_release(trailers);
}

void server_call_cancel(ServerCall *call, grpc_status_code code, const char *text) {
  pthread_mutex_lock(&call->lock);
  cancel(call, code, text);
  pthread_mutex_unlock(&call->lock);
}

void server_call_queued(ServerCall *call, size_t *count, size_t *bytes) {
  pthread_mutex_lock(&call->lock);
  *count = call->outbox.count;
  *bytes = call->outbox.bytes;
  pthread_mutex_unlock(&call->lock);
}
