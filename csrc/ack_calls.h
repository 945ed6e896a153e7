/*
 * The calls of an acker: queued, then in flight, then counted or finished.
 *
 * The Lua thread starts calls; the I/O thread does, from the answers that come, while the Lua thread is busy with
 * something else, so that queued calls go on while a handler computes. All state is guarded by one lock, which is never
 * held while gRPC works, except to cancel.
 */
#ifndef WGTWO_ACK_CALLS_H
#define WGTWO_ACK_CALLS_H

#include <grpc/slice.h>
#include <lua.h>
#include <pthread.h>

#include "batch.h"
#include "channel.h"
#include "op.h"

enum { EXPECTED_MAX = 64 }; /* bytes: success says little */

/* One call, from send until it was counted or taken. */
typedef struct Ack {
  Tag tag;
  struct AckCalls *calls;
  grpc_call *grpc;
  Metadata *metadata;
  grpc_byte_buffer *reply;
  Outcome outcome;
  struct Ack *next, **link; /* in one of the lists, link in in_flight only; guarded by the lock */
  bool notify;              /* Lua wants to know of success too */
  lua_Integer attempt;
  lua_Number started;
  size_t length;
  unsigned char request[];
} Ack;

/* First in, first out. */
typedef struct AckList {
  Ack *first, **end;
} AckList;

/* What is the same for all calls. */
typedef struct AckPlan {
  Channel *channel; /* owned */
  grpc_slice path;  /* owned */
  double timeout;   /* seconds, of one attempt */
  int limit;        /* in flight */
  int queue;        /* that may wait for a place in flight */
  size_t expected_length;
  unsigned char expected[EXPECTED_MAX]; /* the reply that means success */
} AckPlan;

typedef struct AckCalls {
  Op *op; /* whose it is: owned once for each call in flight, and told of news */
  AckPlan plan;
  Ack *recalled; /* taken back, and not dropped yet; Lua thread */

  pthread_mutex_t lock;
  Metadata *metadata;  /* of the calls to come; guarded by lock, as all below */
  bool paused, closed; /* nothing starts */
  bool refused;        /* there was no room: room is news */
  AckList queued;      /* not started */
  Ack *in_flight;      /* linked both ways */
  AckList finished;    /* for Lua */
  int n_queued, n_in_flight, n_finished;
  lua_Integer succeeded;
} AckCalls;

/* Takes over what plan owns. */
void ack_calls_init(AckCalls *calls, Op *op, const AckPlan *plan);

/* Nothing is in flight any more. */
void ack_calls_destroy(AckCalls *calls);

/* NULL: out of memory. */
Ack *ack_new(AckCalls *calls, const char *request, size_t length);
void ack_destroy(Ack *ack);

/* Whether it ended with the reply that means success. */
bool ack_is_expected(const Ack *ack);

/* Lua thread, all below. */

/* Queues ack, which it takes over, and starts what may start. False: there is no room, and the op becomes ready when
 * there is. */
bool ack_calls_send(AckCalls *calls, Ack *ack);

/* Takes over metadata (may be NULL), for the calls that start from now on. Ends a pause. */
void ack_calls_resume(AckCalls *calls, Metadata *metadata);

/* Starts what is queued, as far as there are places: to be called when the op had news. */
void ack_calls_start(AckCalls *calls);

/* Starts nothing until ack_calls_resume. */
void ack_calls_pause(AckCalls *calls);

/* The oldest that has finished; NULL: none. It stays until it is dropped. */
Ack *ack_calls_finished(AckCalls *calls);
void ack_calls_drop_finished(AckCalls *calls);

/* Pauses, and takes back the oldest that was not started; NULL: none. It is the same one until it is dropped, whatever
 * starts meanwhile. */
Ack *ack_calls_recall(AckCalls *calls);
void ack_calls_drop_recalled(AckCalls *calls);

/* How many there are, and how many have succeeded. */
typedef struct AckCounts {
  int queued, in_flight;
  lua_Integer succeeded;
} AckCounts;
AckCounts ack_calls_count(AckCalls *calls);

/* Cancels what is in flight, and starts nothing more. */
void ack_calls_close(AckCalls *calls);

#endif
