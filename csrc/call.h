/*
 * A client's call, of any of the four kinds, as an operation.
 *
 * A unary call is one batch. A stream is four independent parts: the request side, the initial metadata, the replies
 * (read by the I/O thread into the inbox, one receive outstanding at a time) and the status, which is outstanding for
 * the whole call. Each outstanding batch owns the call, so that closing it only has to cancel and let go.
 *
 * What Lua sees of it is in call_methods.c.
 */
#ifndef WGTWO_CALL_H
#define WGTWO_CALL_H

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "batch.h"
#include "inbox.h"
#include "loop.h"
#include "schema.h"

typedef struct Call Call;

/* One outstanding batch of a call. */
typedef struct Part {
  Tag tag;
  Call *call;
} Part;

struct Call {
  Op op;
  grpc_call *grpc;
  Metadata *metadata; /* of the request */
  const MessageType *reply;
  const Field *part; /* the submessage of each reply that Lua wants; NULL: the reply */
  bool unary;
  bool tracked; /* its status tells whether the request has left */

  Part all;      /* unary: the one batch */
  Part opening;  /* streams: initial metadata out, with the request where there is just one; unary and tracked: the
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
  bool half_closed;         /* Lua thread */
  bool abandoned;           /* its further replies are of no interest; Lua thread */
};

extern OpKind call_kind;

/* All: Lua thread. */

/* The caller owns the result; NULL: memory is short. */
Call *call_new(Loop *loop);
/* Starts it, once all up to `tracked` is set. request: NULL where the requests come one by one. False: gRPC refused,
 * and the call is cancelled. */
bool call_start(Call *call, grpc_byte_buffer *request, bool wait_for_ready);

/* Whether the status can be told: of a tracked call, with the fate of its request, which may come back later. */
bool call_has_status(Call *call);
/* A stream's next reply, which stays in the inbox. NULL: *over tells whether there will be no more. */
const unsigned char *call_peek(Call *call, size_t *length, bool *over);
/* Cancels it; what is left of the replies is passed over. */
void call_abandon(Call *call);

typedef enum Sent {
  SENT,
  SENT_NOT_YET, /* the request before is still under way */
  SENT_OVER     /* the call takes no more */
} Sent;
/* A further request, which is copied. */
Sent call_send(Call *call, const char *bytes, size_t length);
/* There will be no further request. */
Sent call_half_close(Call *call);
/* What they would return. */
Sent call_may_send(Call *call);

#endif
