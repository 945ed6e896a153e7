#include "linger.h"

#include <stdlib.h>

#include "batch.h"

#define LONGEST_SECONDS 1.0

typedef struct Kept {
  Tag settled;
  const Loop *loop;
  grpc_channel *channel; /* NULL: it was destroyed already; guarded by lock */
  struct Kept *next, **link;
} Kept;

static Kept *all; /* of all loops; guarded by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_settled(Tag *tag, bool ok) {
  Kept *kept = (Kept *)tag;
  (void)ok; /* false: the time is over */
  pthread_mutex_lock(&lock);
  *kept->link = kept->next;
  if (kept->next != NULL) kept->next->link = kept->link;
  grpc_channel *channel = kept->channel;
  pthread_mutex_unlock(&lock);
  if (channel != NULL) grpc_channel_destroy(channel);
  free(kept);
}

void linger_destroy_channel(Loop *loop, grpc_channel *channel) {
  bool connects = grpc_channel_check_connectivity_state(channel, 0) == GRPC_CHANNEL_CONNECTING;
  Kept *kept = connects ? malloc(sizeof *kept) : NULL;
  if (kept == NULL) {
    grpc_channel_destroy(channel);
    return;
  }
  pthread_mutex_lock(&lock);
  *kept = (Kept){ .settled.done = on_settled, .loop = loop, .channel = channel, .next = all, .link = &all };
  if (all != NULL) all->link = &kept->next;
  all = kept;
  pthread_mutex_unlock(&lock);
  grpc_channel_watch_connectivity_state(channel, GRPC_CHANNEL_CONNECTING, deadline_in(LONGEST_SECONDS),
                                        loop_running_queue(loop), &kept->settled);
}

void linger_end(const Loop *loop) {
  pthread_mutex_lock(&lock);
  for (Kept *kept = all; kept != NULL; kept = kept->next) {
    if (kept->loop != loop || kept->channel == NULL) continue;
    grpc_channel_destroy(kept->channel); /* which returns the tag */
    kept->channel = NULL;
  }
  pthread_mutex_unlock(&lock);
}
