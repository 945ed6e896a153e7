#include "batch.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <string.h>

void outcome_init(Outcome *outcome) {
  grpc_metadata_array_init(&outcome->headers);
  grpc_metadata_array_init(&outcome->trailers);
  outcome->code = GRPC_STATUS_UNKNOWN;
  outcome->details = grpc_empty_slice();
  outcome->error_string = NULL;
}

void outcome_destroy(Outcome *outcome) {
  grpc_metadata_array_destroy(&outcome->headers);
  grpc_metadata_array_destroy(&outcome->trailers);
  grpc_slice_unref(outcome->details);
  gpr_free((void *)outcome->error_string);
}

static grpc_op *next_op(Batch *batch, grpc_op_type type) {
  grpc_op *op = &batch->ops[batch->count++];
  memset(op, 0, sizeof *op);
  op->op = type;
  return op;
}

void batch_send_headers(Batch *batch, const Metadata *metadata, bool wait_for_ready) {
  grpc_op *op = next_op(batch, GRPC_OP_SEND_INITIAL_METADATA);
  if (metadata != NULL) {
    op->data.send_initial_metadata.count = metadata->count;
    op->data.send_initial_metadata.metadata = (grpc_metadata *)metadata->pairs; /* gRPC does not write to it */
  }
  op->flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
  if (wait_for_ready) op->flags |= GRPC_INITIAL_METADATA_WAIT_FOR_READY;
}

void batch_send_message(Batch *batch, grpc_byte_buffer *message) {
  next_op(batch, GRPC_OP_SEND_MESSAGE)->data.send_message.send_message = message;
}

void batch_send_close(Batch *batch) { next_op(batch, GRPC_OP_SEND_CLOSE_FROM_CLIENT); }

void batch_receive_headers(Batch *batch, Outcome *outcome) {
  next_op(batch, GRPC_OP_RECV_INITIAL_METADATA)->data.recv_initial_metadata.recv_initial_metadata = &outcome->headers;
}

void batch_receive_message(Batch *batch, grpc_byte_buffer **message) {
  next_op(batch, GRPC_OP_RECV_MESSAGE)->data.recv_message.recv_message = message;
}

void batch_receive_status(Batch *batch, Outcome *outcome) {
  grpc_op *op = next_op(batch, GRPC_OP_RECV_STATUS_ON_CLIENT);
  op->data.recv_status_on_client.trailing_metadata = &outcome->trailers;
  op->data.recv_status_on_client.status = &outcome->code;
  op->data.recv_status_on_client.status_details = &outcome->details;
  op->data.recv_status_on_client.error_string = &outcome->error_string;
}

bool batch_start(Batch *batch, grpc_call *call, void *tag) {
  return grpc_call_start_batch(call, batch->ops, batch->count, tag, NULL) == GRPC_CALL_OK;
}

void copy_peer(grpc_call *call, char peer[PEER_SIZE]) {
  char *text = grpc_call_get_peer(call);
  size_t length = strlen(text);
  if (length >= PEER_SIZE) length = PEER_SIZE - 1;
  memcpy(peer, text, length);
  peer[length] = '\0';
  gpr_free(text);
}

grpc_byte_buffer *byte_buffer_new(const void *bytes, size_t length) {
  grpc_slice slice = grpc_slice_from_copied_buffer(bytes, length);
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return buffer;
}

gpr_timespec deadline_in(double timeout) {
  if (!(timeout >= 0 && timeout <= 1e9)) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos((int64_t)(timeout * 1e9), GPR_TIMESPAN));
}
