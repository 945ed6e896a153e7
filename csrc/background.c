#include "background.h"

#include <pthread.h>
#include <sched.h>

/* A thread gets the policy of the one that starts it. Where it is not the usual one somebody has chosen it: it stays.
 * Failure is no harm. */
void background_begin(Background *before) {
  static const struct sched_param none = { .sched_priority = 0 };
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before->signals);
  before->restores_policy = sched_getscheduler(0) == SCHED_OTHER && sched_setscheduler(0, SCHED_BATCH, &none) == 0;
}

void background_end(const Background *before) {
  static const struct sched_param none = { .sched_priority = 0 };
  if (before->restores_policy) sched_setscheduler(0, SCHED_OTHER, &none);
  pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
}
