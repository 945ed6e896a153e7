#include "call.h"

#include <grpc/byte_buffer.h>
#include <stdlib.h>

static void destroy_call(Op *op) {
  Call *call = (Call *)op;
  if (call->grpc != NULL) grpc_call_unref(call->grpc);
  if (call->message != NULL) grpc_byte_buffer_destroy(call->message);
  metadata_release(call->metadata);
  outcome_destroy(&call->outcome);
  inbox_destroy(&call->inbox);
  free(call);
}

OpKind call_kind = { .name = "wgtwo.call", .destroy = destroy_call };

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

static void init_part(Part *part, Call *call, void (*done)(Tag *, bool)) {
  part->tag.done = done;
  part->call = call;
}

Call *call_new(Loop *loop) {
  Call *call = calloc(1, sizeof *call);
  if (call == NULL) return NULL;
  op_init(&call->op, &call_kind, loop);
  outcome_init(&call->outcome);
  inbox_init(&call->inbox);
  init_part(&call->all, call, on_all);
  init_part(&call->opening, call, on_opening);
  init_part(&call->headers, call, on_headers);
  init_part(&call->incoming, call, on_incoming);
  init_part(&call->ending, call, on_ending);
  init_part(&call->writing, call, on_writing);
  return call;
}

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

bool call_start(Call *call, grpc_byte_buffer *request, bool wait_for_ready) {
  bool started = call->unary ? start_unary(call, request, wait_for_ready) : start_stream(call, request, wait_for_ready);
  if (!started) grpc_call_cancel(call->grpc, NULL);
  return started;
}

/* The end, and the replies before it */

bool call_has_status(Call *call) {
  return atomic_load(&call->ended) && (!call->tracked || atomic_load(&call->opening_over));
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

const unsigned char *call_peek(Call *call, size_t *length, bool *over) {
  if (call->abandoned) { /* what is left is of no interest, and nobody may come to empty the inbox */
    *over = call_has_status(call);
    return NULL;
  }
  const unsigned char *message = next_message(call, length);
  if (message != NULL) return message;
  *over = atomic_load(&call->no_more) && call_has_status(call);
  return *over ? next_message(call, length) : NULL; /* it may have come just before the end */
}

void call_abandon(Call *call) {
  call->abandoned = true;
  grpc_call_cancel(call->grpc, NULL);
}

/* Writing */

Sent call_may_send(Call *call) {
  if (call->unary || call->half_closed || atomic_load(&call->ended)) return SENT_OVER;
  return atomic_load(&call->busy) ? SENT_NOT_YET : SENT;
}

static Sent send_batch(Call *call, Batch *batch) {
  atomic_store(&call->busy, true);
  if (start_part(&call->writing, batch)) return SENT;
  atomic_store(&call->busy, false);
  return SENT_OVER;
}

Sent call_send(Call *call, const char *bytes, size_t length) {
  Sent sent = call_may_send(call);
  if (sent != SENT) return sent;
  Batch batch;
  batch_init(&batch);
  grpc_byte_buffer *message = byte_buffer_new(bytes, length);
  batch_send_message(&batch, message);
  sent = send_batch(call, &batch);
  grpc_byte_buffer_destroy(message);
  return sent;
}

Sent call_half_close(Call *call) {
  Sent sent = call_may_send(call);
  if (sent != SENT) return sent;
  call->half_closed = true;
  Batch batch;
  batch_init(&batch);
  batch_send_close(&batch);
  return send_batch(call, &batch);
}
