#include "loop.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "background.h"
#include "linger.h"
#include "probes.h"

#define LOOP_TYPE "wgtwo.loop"
enum { BATCH = 48 }; /* tags handled before the Lua thread is told: one wake-up for a burst, and both threads at work */
enum { DRAIN_WAIT_MS = 1000, DRAIN_WAITS = 5 };

struct Loop {
  bool used;         /* a thread was started or a descriptor is watched: it belongs to this process for good */
  unsigned ancestry; /* forks up to the process that it belongs to */
  int epoll_fd;      /* what the Lua thread waits on */
  int event_fd;      /* in epoll_fd; written when the ready list gets its first operation */

  pthread_mutex_t lock;
  int ops;                      /* operations not yet freed; guarded by lock */
  bool closing;                 /* the Lua thread waits for the last of them; guarded by lock */
  Op *ready_first, *ready_last; /* guarded by lock; each owned by the list */
  bool signalled;               /* event_fd holds a value; guarded by lock */

  grpc_completion_queue *queue; /* NULL before the first use of gRPC */
  pthread_t io_thread;
  Op *pending;   /* told by op_ready_soon, owned by the list; I/O thread only */
  unsigned tags; /* handled so far; I/O thread only */
};

static const char loop_key = 0;

/* Forks between the process that loaded this module and this one: asking the kernel for the pid would cost a tenth of
 * an event. */
static unsigned ancestry;

static void count_fork(void) { ancestry++; }

static void watch_forks(void) { pthread_atfork(NULL, NULL, count_fork); }

/* The ready list */

/* Puts op into the list, which takes over one owner from the caller. Returns true when the eventfd is to be written. */
static bool append_ready(Loop *loop, Op *op) {
  op->queued = true;
  op->next_ready = NULL;
  if (loop->ready_last != NULL) {
    loop->ready_last->next_ready = op;
  } else {
    loop->ready_first = op;
  }
  loop->ready_last = op;
  if (loop->signalled) return false;
  loop->signalled = true;
  return true;
}

static void signal_lua(Loop *loop) {
  uint64_t one = 1;
  while (write(loop->event_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

void op_ready(Op *op) {
  Loop *loop = op->loop;
  bool wake = false;
  pthread_mutex_lock(&loop->lock);
  if (!op->queued) {
    op_own(op);
    wake = append_ready(loop, op);
  }
  pthread_mutex_unlock(&loop->lock);
  if (wake) signal_lua(loop);
}

void op_ready_soon(Op *op) {
  if (op->pending) return;
  op_own(op);
  op->pending = true;
  op->next_pending = op->loop->pending;
  op->loop->pending = op;
}

static void publish_pending(Loop *loop) {
  while (loop->pending != NULL) {
    Op *op = loop->pending;
    loop->pending = op->next_pending;
    op->pending = false;
    op_ready(op);
    op_release(op);
  }
}

Op *loop_next_ready(Loop *loop) {
  pthread_mutex_lock(&loop->lock);
  Op *op = loop->ready_first;
  if (op != NULL) {
    loop->ready_first = op->next_ready;
    if (loop->ready_first == NULL) loop->ready_last = NULL;
    op->queued = false;
  }
  pthread_mutex_unlock(&loop->lock);
  return op;
}

/* Waking */

int loop_epoll_fd(const Loop *loop) { return loop->epoll_fd; }

void loop_wake(Loop *loop) {
  pthread_mutex_lock(&loop->lock);
  bool wake = !loop->signalled;
  loop->signalled = true;
  pthread_mutex_unlock(&loop->lock);
  if (wake) signal_lua(loop);
}

void loop_woken(Loop *loop, const struct epoll_event *event) {
  if (event->data.ptr != NULL) {
    op_ready(event->data.ptr);
    return;
  }
  uint64_t count;
  pthread_mutex_lock(&loop->lock);
  if (read(loop->event_fd, &count, sizeof count) == (ssize_t)sizeof count) loop->signalled = false;
  pthread_mutex_unlock(&loop->lock);
}

static int control_watch(Loop *loop, int operation, int fd, Op *op) {
  struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = op };
  return epoll_ctl(loop->epoll_fd, operation, fd, &event) == 0 ? 0 : errno;
}

int loop_watch(Loop *loop, int fd, Op *op) {
  loop->used = true;
  return control_watch(loop, EPOLL_CTL_ADD, fd, op);
}

void loop_watch_again(Loop *loop, int fd, Op *op) { control_watch(loop, EPOLL_CTL_MOD, fd, op); }

void loop_unwatch(Loop *loop, int fd) { epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL); }

/* Threads */

void loop_use(Loop *loop) { loop->used = true; }

int loop_start_thread(Loop *loop, pthread_t *thread, void *(*run)(void *), void *arg) {
  Background before;
  background_begin(&before);
  int error = pthread_create(thread, NULL, run, arg);
  background_end(&before);
  if (error == 0) loop_use(loop);
  return error;
}

static void run_tag(Loop *loop, Tag *tag, int ok) {
  tag->done(tag, ok != 0);
  if (++loop->tags % BATCH == 0) publish_pending(loop);
}

/*
 * Runs a tag's callback, and then those of the tags that each completes on the way, such as that of a stream's next
 * message when it is here already: gRPC lets this thread have them without the queue.
 */
static void run_tags(Loop *loop, void *tag, int ok) {
#if HAVE_GRPC_THREAD_LOCAL_CACHE
  do {
    grpc_completion_queue_thread_local_cache_init(loop->queue);
    run_tag(loop, tag, ok);
  } while (grpc_completion_queue_thread_local_cache_flush(loop->queue, &tag, &ok));
#else
  run_tag(loop, tag, ok);
#endif
}

static void *drive_queue(void *arg) {
  Loop *loop = arg;
  const gpr_timespec never = gpr_inf_future(GPR_CLOCK_REALTIME), at_once = gpr_inf_past(GPR_CLOCK_REALTIME);
  for (;;) {
    grpc_event event = grpc_completion_queue_next(loop->queue, never, NULL);
    while (event.type == GRPC_OP_COMPLETE) {
      run_tags(loop, event.tag, event.success);
      event = grpc_completion_queue_next(loop->queue, at_once, NULL);
    }
    publish_pending(loop);
    if (event.type == GRPC_QUEUE_SHUTDOWN) return NULL;
  }
}

static unsigned grpc_ancestry; /* the process that gRPC's threads are of */

/* gRPC writes failed handshakes to the standard error output, besides reporting them: not unless it was asked to. */
static void start_grpc(void) {
  Background before;
  background_begin(&before);
  bool quiet = getenv("GRPC_VERBOSITY") == NULL;
  if (quiet) setenv("GRPC_VERBOSITY", "NONE", 1);
  grpc_init(); /* never shut down: its threads outlive the Lua state, and the module is never unloaded */
  if (quiet) unsetenv("GRPC_VERBOSITY");
  background_end(&before);
  grpc_ancestry = ancestry;
}

/* Raises where this process was forked after gRPC had started: no Lua state of it can use gRPC, not even a new one. */
static void check_not_forked(lua_State *L, bool since_use) {
  if (!since_use) return;
  luaL_error(L,
             "wgtwo was used before this process was forked (pid %d is the child) and cannot be used in the child: "
             "fork first, or start a new process",
             (int)getpid());
}

grpc_completion_queue *loop_queue(lua_State *L, Loop *loop) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (loop->queue != NULL) return loop->queue;
  pthread_once(&once, start_grpc);
  check_not_forked(L, grpc_ancestry != ancestry);
  loop->queue = grpc_completion_queue_create_for_next(NULL);
  int error = loop_start_thread(loop, &loop->io_thread, drive_queue, loop);
  if (error != 0) {
    grpc_completion_queue_shutdown(loop->queue);
    grpc_completion_queue_destroy(loop->queue);
    loop->queue = NULL;
    luaL_error(L, "cannot start wgtwo's I/O thread: %s", strerror(error));
  }
  return loop->queue;
}

grpc_completion_queue *loop_running_queue(const Loop *loop) { return loop->queue; }

bool loop_is_foreign(const Loop *loop) { return loop->used && loop->ancestry != ancestry; }

/* Life */

/* 0, or an errno. */
static int open_descriptors(Loop *loop) {
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
  loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->event_fd, &event) == 0 ? 0 : errno;
}

static void close_descriptors(const Loop *loop) {
  if (loop->event_fd >= 0) close(loop->event_fd);
  if (loop->epoll_fd >= 0) close(loop->epoll_fd);
}

/* In a child that was forked before anything was started: descriptors of its own, since those that it got are still the
 * parent's. */
static void move_in(lua_State *L, Loop *loop) {
  close_descriptors(loop);
  loop->signalled = false;
  int error = open_descriptors(loop);
  if (error != 0) luaL_error(L, "cannot make wgtwo's event descriptors: %s", strerror(error));
  loop->ancestry = ancestry;
}

Loop *loop_get(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loop_key);
  Loop **box = lua_touserdata(L, -1), *loop = box == NULL ? NULL : *box;
  lua_pop(L, 1);
  if (loop == NULL) luaL_error(L, "wgtwo is closed: this Lua state is ending");
  if (loop->ancestry == ancestry) return loop;
  check_not_forked(L, loop->used);
  move_in(L, loop);
  return loop;
}

/* Whether all operations have been freed; else the eventfd tells when they have. */
static bool all_freed(Loop *loop) {
  pthread_mutex_lock(&loop->lock);
  loop->closing = true;
  bool none = loop->ops == 0;
  pthread_mutex_unlock(&loop->lock);
  return none;
}

/*
 * Lets what is still out come back: every userdata was finalised before, so all calls are cancelled, and only their
 * tags and the ready list still own them. The queue may be shut down only after that, since a callback may start one
 * batch more until it learns of the cancellation. False: something never came back.
 */
static bool drain(Loop *loop) {
  struct pollfd readable = { .fd = loop->event_fd, .events = POLLIN };
  struct epoll_event event = { .data.ptr = NULL };
  for (int waits = 0; waits < DRAIN_WAITS;) {
    for (Op *op; (op = loop_next_ready(loop)) != NULL;) op_release(op);
    if (all_freed(loop)) return true;
    if (poll(&readable, 1, DRAIN_WAIT_MS) <= 0) waits++;
    loop_woken(loop, &event);
  }
  return false;
}

static void stop_io_thread(Loop *loop) {
  if (loop->queue == NULL) return;
  linger_end(loop);
  grpc_completion_queue_shutdown(loop->queue);
  pthread_join(loop->io_thread, NULL);
  grpc_completion_queue_destroy(loop->queue);
}

/* __gc, when the state closes. */
static int close_loop(lua_State *L) {
  Loop **box = luaL_checkudata(L, 1, LOOP_TYPE), *loop = *box;
  *box = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loop_key);
  if (lua_rawequal(L, 1, -1)) { /* not so of one that could not be opened */
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &loop_key);
  }
  if (loop == NULL || loop_is_foreign(loop) || !drain(loop))
    return 0; /* its threads still use it: the process is ending */
  stop_io_thread(loop);
  close_descriptors(loop);
  pthread_mutex_destroy(&loop->lock);
  free(loop);
  return 0;
}

void loop_count_op(Loop *loop) {
  pthread_mutex_lock(&loop->lock);
  loop->ops++;
  pthread_mutex_unlock(&loop->lock);
}

/* All under the lock: as soon as the Lua thread finds the last one gone, it frees the loop. */
void loop_uncount_op(Loop *loop) {
  pthread_mutex_lock(&loop->lock);
  loop->ops--;
  if (loop->ops == 0 && loop->closing) signal_lua(loop);
  pthread_mutex_unlock(&loop->lock);
}

static LoopApi api = {
  .get = loop_get,
  .is_foreign = loop_is_foreign,
  .start_thread = loop_start_thread,
  .use = loop_use,
  .op_init = op_init,
  .op_own = op_own,
  .op_release = op_release,
  .op_ready = op_ready,
  .op_kind_register = op_kind_register,
  .op_new_userdata = op_new_userdata,
  .op_adopt = op_adopt,
  .op_check = op_check,
  .op_check_open = op_check_open,
  .op_disown = op_disown,
  .op_hold = op_hold,
  .op_let_go = op_let_go,
};

void loop_register(lua_State *L) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  Loop **box = lua_newuserdatauv(L, sizeof(Loop *), 0);
  *box = NULL;
  luaL_newmetatable(L, LOOP_TYPE);
  lua_pushcfunction(L, close_loop);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);

  Loop *loop = *box = calloc(1, sizeof *loop);
  if (loop == NULL) luaL_error(L, "not enough memory");
  pthread_mutex_init(&loop->lock, NULL);
  loop->ancestry = ancestry;
  int error = open_descriptors(loop);
  if (error != 0) luaL_error(L, "cannot make wgtwo's event descriptors: %s", strerror(error));
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loop_key);

  lua_pushlightuserdata(L, &api);
  lua_setfield(L, LUA_REGISTRYINDEX, LOOP_API_KEY);
}
