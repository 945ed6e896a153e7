/*
 * The parts of a client's gRPC batch, and what a finished call leaves: shared by single calls and acknowledgements.
 */
#ifndef WGTWO_BATCH_H
#define WGTWO_BATCH_H

#include <grpc/grpc.h>
#include <stdbool.h>

#include "metadata.h"

/* Where gRPC puts what it receives. Its owner keeps it until the tag of the batch has returned. */
typedef struct Outcome {
  grpc_metadata_array headers, trailers;
  grpc_status_code code;
  grpc_slice details;
  const char *error_string; /* gRPC's own account, or NULL */
} Outcome;

void outcome_init(Outcome *outcome);
void outcome_destroy(Outcome *outcome);

typedef struct Batch {
  grpc_op ops[6];
  size_t count;
} Batch;

/* The parts are filled one by one: until then they hold nothing. */
static inline void batch_init(Batch *batch) { batch->count = 0; }
void batch_send_headers(Batch *batch, const Metadata *metadata, bool wait_for_ready);
void batch_send_message(Batch *batch, grpc_byte_buffer *message);
void batch_send_close(Batch *batch);
void batch_receive_headers(Batch *batch, Outcome *outcome);
void batch_receive_message(Batch *batch, grpc_byte_buffer **message);
void batch_receive_status(Batch *batch, Outcome *outcome);
/* False: gRPC refused the batch, and the tag will not come back. */
bool batch_start(Batch *batch, grpc_call *call, void *tag);

/* The other side's address, "ipv4:127.0.0.1:4711", as far as it fits: copied, so that no Lua error can come between
 * gRPC's text and its end. */
enum { PEER_SIZE = 256 };
void copy_peer(grpc_call *call, char peer[PEER_SIZE]);

/* A buffer with a copy of bytes; the caller owns it. */
grpc_byte_buffer *byte_buffer_new(const void *bytes, size_t length);
/* The deadline timeout seconds from now; negative, not a number or more than decades: none. */
gpr_timespec deadline_in(double timeout);

#endif
