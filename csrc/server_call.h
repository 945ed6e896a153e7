/*
 * One call that a client makes, seen from the server.
 *
 * The I/O thread reads ahead into a bounded inbox and drains a bounded outbox, one batch of each direction at a time;
 * the Lua thread takes messages from the one and puts replies into the other. GRPC_OP_RECV_CLOSE_ON_SERVER is
 * outstanding while a call is watched, so that a cancellation is noticed while nothing else happens. gRPC's part is let
 * go as soon as the last batch has returned, whether or not Lua still holds the call, since a server cannot end before.
 *
 * What Lua sees of it is in server_call_methods.c.
 */
#ifndef WGTWO_SERVER_CALL_H
#define WGTWO_SERVER_CALL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>

#include "batch.h"
#include "inbox.h"
#include "loop.h"
#include "metadata.h"
#include "outbox.h"

typedef struct ServerCall {
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
} ServerCall;

extern OpKind server_call_kind;

/*
 * Starts to read what the client sends. Takes over call and, emptying it, metadata; the caller owns the result. NULL
 * when memory is short: the call was cancelled then. I/O thread.
 */
ServerCall *server_call_begin(Loop *loop, grpc_call *call, grpc_slice path, gpr_timespec deadline,
                              grpc_metadata_array *metadata);
/*
 * The same for a call whose only message has come with it, which is taken over as well. NULL: it ended without one.
 * Nothing is outstanding in gRPC until its answer, or until somebody waits for its end: most are answered before.
 */
ServerCall *server_call_begin_with(Loop *loop, grpc_call *call, grpc_slice path, gpr_timespec deadline,
                                   grpc_metadata_array *metadata, grpc_byte_buffer *message);

/* Nobody will look at this call again: one that has its status ends by itself, another is cancelled with this one.
 * Gives up one share. Any thread. */
void server_call_leave(ServerCall *call, grpc_status_code code, const char *text);
/* The same of a call that Lua has not seen: the server is closing. */
void server_call_refuse(ServerCall *call);

/* All others: Lua thread. */

/* It is told of news from now on. Returns whether it is watched. */
bool server_call_show(ServerCall *call);
/* Its end is noticed from now on. */
void server_call_watch(ServerCall *call);
bool server_call_is_over(ServerCall *call, bool *cancelled);
/* "" when it is over. */
void server_call_peer(ServerCall *call, char peer[PEER_SIZE]);

/* The bytes of the next message, which stay in the inbox. NULL: none is here, and the call becomes ready when one is,
 * or *at_end: none will come. */
const unsigned char *server_call_peek(ServerCall *call, size_t *length, bool *at_end);

typedef enum Put { PUT_DONE, PUT_FULL, PUT_OVER, PUT_NO_MEMORY } Put;
/* Queues one message, taking it over, and starts to send. `last`: the status follows, and the bounds do not hold.
 * PUT_FULL: the call becomes ready when there is room. */
Put server_call_put(ServerCall *call, grpc_byte_buffer *buffer, size_t length, bool last);
/* Sends the initial metadata, which are taken over. False: they have left already. */
bool server_call_send_headers(ServerCall *call, Metadata *headers);
/* The status, behind what is queued; takes over trailers. A second one is nothing. */
void server_call_finish(ServerCall *call, grpc_status_code code, const char *text, size_t length, Metadata *trailers);
/* Ends it at once, whatever is queued. */
void server_call_cancel(ServerCall *call, grpc_status_code code, const char *text);
void server_call_queued(ServerCall *call, size_t *count, size_t *bytes);

#endif
