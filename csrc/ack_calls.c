#include "ack_calls.h"

#include <grpc/byte_buffer.h>
#include <stdlib.h>
#include <string.h>

#include "inbox.h"

/*
 * Calls that start close together share writes, and those that the Lua thread starts while the I/O thread reads come
 * through faster than those that the I/O thread starts. So the Lua thread starts what is queued in bursts of a quarter
 * of the limit, and is told when there are places for one. Only where it does not come, being busy, the I/O thread
 * keeps a quarter of the limit in flight.
 */
enum { QUARTER = 4 };

static int quarter(const AckCalls *calls) { return (calls->plan.limit + QUARTER - 1) / QUARTER; }

/* Under the lock. */
static bool has_places_for_burst(const AckCalls *calls) {
  return calls->plan.limit - calls->n_in_flight >= quarter(calls);
}

/* Lists: under the lock, or where there is only one thread left */

static void list_init(AckList *list) {
  list->first = NULL;
  list->end = &list->first;
}

static void list_append(AckList *list, Ack *ack) {
  ack->next = NULL;
  *list->end = ack;
  list->end = &ack->next;
}

/* NULL: it is empty. */
static Ack *list_take(AckList *list) {
  Ack *ack = list->first;
  if (ack == NULL) return NULL;
  list->first = ack->next;
  if (list->first == NULL) list->end = &list->first;
  return ack;
}

static void list_destroy(AckList *list) {
  for (Ack *ack; (ack = list_take(list)) != NULL;) ack_destroy(ack);
}

static void link_in_flight(AckCalls *calls, Ack *ack) {
  ack->next = calls->in_flight;
  ack->link = &calls->in_flight;
  if (ack->next != NULL) ack->next->link = &ack->next;
  calls->in_flight = ack;
}

static void unlink_in_flight(Ack *ack) {
  *ack->link = ack->next;
  if (ack->next != NULL) ack->next->link = ack->link;
}

/* Life */

void ack_calls_init(AckCalls *calls, Op *op, const AckPlan *plan) {
  memset(calls, 0, sizeof *calls);
  calls->op = op;
  calls->plan = *plan;
  pthread_mutex_init(&calls->lock, NULL);
  list_init(&calls->queued);
  list_init(&calls->finished);
}

void ack_calls_destroy(AckCalls *calls) {
  list_destroy(&calls->queued);
  list_destroy(&calls->finished);
  if (calls->recalled != NULL) ack_destroy(calls->recalled);
  metadata_release(calls->metadata);
  op_release(&calls->plan.channel->op);
  grpc_slice_unref(calls->plan.path);
  pthread_mutex_destroy(&calls->lock);
}

Ack *ack_new(AckCalls *calls, const char *request, size_t length) {
  Ack *ack = calloc(1, sizeof *ack + length);
  if (ack == NULL) return NULL;
  ack->calls = calls;
  outcome_init(&ack->outcome);
  ack->length = length;
  memcpy(ack->request, request, length);
  return ack;
}

void ack_destroy(Ack *ack) {
  if (ack->grpc != NULL) grpc_call_unref(ack->grpc);
  if (ack->reply != NULL) grpc_byte_buffer_destroy(ack->reply);
  metadata_release(ack->metadata);
  outcome_destroy(&ack->outcome);
  free(ack);
}

bool ack_is_expected(const Ack *ack) {
  const AckPlan *plan = &ack->calls->plan;
  unsigned char reply[EXPECTED_MAX];
  if (ack->outcome.code != GRPC_STATUS_OK || ack->reply == NULL) return false;
  size_t length = grpc_byte_buffer_length(ack->reply);
  if (length != plan->expected_length) return false;
  byte_buffer_copy(ack->reply, reply);
  return memcmp(reply, plan->expected, length) == 0;
}

/* Starting and ending, on either thread */

/* Under the lock. */
static int room(const AckCalls *calls) {
  return calls->plan.limit + calls->plan.queue - calls->n_queued - calls->n_in_flight - calls->n_finished;
}

/* Whether somebody who was refused can go on. Not for each place: one wake-up is to be good for many. Under the lock.
 */
static bool tells_room(AckCalls *calls) {
  if (!calls->refused || room(calls) <= calls->plan.queue / 4) return false;
  calls->refused = false;
  return true;
}

/* ack has its answer: counts it, or puts it aside for Lua. Returns whether Lua has to know something. */
static bool settle(AckCalls *calls, Ack *ack) {
  bool expected = ack_is_expected(ack), counted = expected && !ack->notify;
  pthread_mutex_lock(&calls->lock);
  unlink_in_flight(ack);
  calls->n_in_flight--;
  if (expected) calls->succeeded++;
  if (!counted) {
    calls->n_finished++;
    list_append(&calls->finished, ack);
  }
  bool none_left = calls->n_in_flight == 0 && calls->n_queued == 0;
  bool burst_is_due = calls->n_queued > 0 && calls->n_in_flight == calls->plan.limit - quarter(calls);
  bool news = tells_room(calls) || !counted || none_left || burst_is_due;
  pthread_mutex_unlock(&calls->lock);
  if (counted) ack_destroy(ack);
  return news;
}

/* A queued one that is to start now, with the metadata that it is to carry; NULL: none while up_to are in flight. */
static Ack *next_to_start(AckCalls *calls, int up_to) {
  Ack *ack = NULL;
  pthread_mutex_lock(&calls->lock);
  if (calls->n_in_flight < up_to && !calls->paused && !calls->closed) ack = list_take(&calls->queued);
  if (ack != NULL) {
    calls->n_queued--;
    calls->n_in_flight++;
    ack->metadata = metadata_own(calls->metadata);
  }
  pthread_mutex_unlock(&calls->lock);
  return ack;
}

static void on_answer(Tag *tag, bool ok);

/* False: gRPC took nothing, there will be no answer. */
static bool start(AckCalls *calls, Ack *ack) {
  const AckPlan *plan = &calls->plan;
  ack->tag.done = on_answer;
  ack->grpc =
      grpc_channel_create_call(plan->channel->grpc, NULL, GRPC_PROPAGATE_DEFAULTS, loop_running_queue(calls->op->loop),
                               plan->path, NULL, deadline_in(plan->timeout), NULL);
  grpc_byte_buffer *request = byte_buffer_new(ack->request, ack->length);
  Batch batch;
  batch_init(&batch);
  batch_send_headers(&batch, ack->metadata, true);
  batch_send_message(&batch, request);
  batch_send_close(&batch);
  batch_receive_headers(&batch, &ack->outcome);
  batch_receive_message(&batch, &ack->reply);
  batch_receive_status(&batch, &ack->outcome);

  pthread_mutex_lock(&calls->lock); /* first into the list: the answer may come before batch_start has returned */
  link_in_flight(calls, ack);
  if (calls->closed) grpc_call_cancel(ack->grpc, NULL);
  pthread_mutex_unlock(&calls->lock);
  op_own(calls->op);
  bool started = batch_start(&batch, ack->grpc, &ack->tag);
  grpc_byte_buffer_destroy(request);
  return started;
}

/* Starts up to `most` of the queued calls while fewer than up_to are in flight. Returns whether Lua has to know
 * something: one that cannot be started is a failure like another, its status is UNKNOWN. */
static bool start_queued(AckCalls *calls, int up_to, int most) {
  bool news = false;
  while (most > 0) {
    Ack *ack = next_to_start(calls, up_to);
    if (ack == NULL) break;
    if (start(calls, ack)) {
      most--;
    } else {
      if (settle(calls, ack)) news = true;
      op_release(calls->op);
    }
  }
  return news;
}

/* I/O thread. */
static void on_answer(Tag *tag, bool ok) {
  Ack *ack = (Ack *)tag;
  AckCalls *calls = ack->calls;
  Op *op = calls->op;
  (void)ok; /* always true: a failure is a status */
  bool news = settle(calls, ack);
  if (start_queued(calls, quarter(calls), 1)) news = true;
  if (news) op_ready_soon(op);
  op_release(op);
}

/* The Lua thread's side */

static void start_now(AckCalls *calls, int most) {
  if (start_queued(calls, calls->plan.limit, most)) op_ready(calls->op);
}

bool ack_calls_send(AckCalls *calls, Ack *ack) {
  pthread_mutex_lock(&calls->lock);
  bool fits = room(calls) > 0;
  int most = 0;
  if (fits) {
    calls->n_queued++;
    list_append(&calls->queued, ack);
    most = calls->n_queued == 1 ? 1 : has_places_for_burst(calls) ? calls->plan.limit : 0;
  } else {
    calls->refused = true;
  }
  pthread_mutex_unlock(&calls->lock);
  start_now(calls, most);
  return fits;
}

void ack_calls_resume(AckCalls *calls, Metadata *metadata) {
  pthread_mutex_lock(&calls->lock);
  Metadata *before = calls->metadata;
  calls->metadata = metadata;
  calls->paused = false;
  pthread_mutex_unlock(&calls->lock);
  metadata_release(before);
  ack_calls_start(calls);
}

void ack_calls_start(AckCalls *calls) { start_now(calls, calls->plan.limit); }

void ack_calls_pause(AckCalls *calls) {
  pthread_mutex_lock(&calls->lock);
  calls->paused = true;
  pthread_mutex_unlock(&calls->lock);
}

Ack *ack_calls_finished(AckCalls *calls) {
  pthread_mutex_lock(&calls->lock);
  Ack *ack = calls->finished.first;
  pthread_mutex_unlock(&calls->lock);
  return ack;
}

void ack_calls_drop_finished(AckCalls *calls) {
  pthread_mutex_lock(&calls->lock);
  Ack *ack = list_take(&calls->finished);
  calls->n_finished--;
  bool news = tells_room(calls);
  pthread_mutex_unlock(&calls->lock);
  if (news) op_ready(calls->op); /* whoever waits for room need not be the one that drops */
  ack_destroy(ack);
}

Ack *ack_calls_recall(AckCalls *calls) {
  bool news = false;
  pthread_mutex_lock(&calls->lock);
  calls->paused = true;
  if (calls->recalled == NULL && (calls->recalled = list_take(&calls->queued)) != NULL) {
    calls->n_queued--;
    news = tells_room(calls);
  }
  pthread_mutex_unlock(&calls->lock);
  if (news) op_ready(calls->op);
  return calls->recalled;
}

void ack_calls_drop_recalled(AckCalls *calls) {
  ack_destroy(calls->recalled);
  calls->recalled = NULL;
}

AckCounts ack_calls_count(AckCalls *calls) {
  pthread_mutex_lock(&calls->lock);
  AckCounts counts = { calls->n_queued, calls->n_in_flight, calls->succeeded };
  pthread_mutex_unlock(&calls->lock);
  return counts;
}

void ack_calls_close(AckCalls *calls) {
  pthread_mutex_lock(&calls->lock);
  calls->closed = true;
  for (Ack *ack = calls->in_flight; ack != NULL; ack = ack->next) grpc_call_cancel(ack->grpc, NULL);
  pthread_mutex_unlock(&calls->lock);
}
