/*
 * Starting threads that work behind the Lua thread: gRPC's, and those of this library.
 *
 * All signals are blocked in them, so that signals reach the Lua thread. And they are SCHED_BATCH: what they wait for
 * comes in bursts, and a thread of that policy is not put in the place of a running one as soon as the first of a burst
 * is there. On two cores that is a tenth of the time of an event with its acknowledgement (spec/bench/PROFILES.md).
 */
#ifndef WGTWO_BACKGROUND_H
#define WGTWO_BACKGROUND_H

#include <signal.h>
#include <stdbool.h>

/* What the calling thread was before. */
typedef struct Background {
  sigset_t signals;
  bool restores_policy;
} Background;

/* Between these two every thread that the calling one starts is such a thread; threads that those start are, too. Any
 * thread. */
void background_begin(Background *before);
void background_end(const Background *before);

#endif
