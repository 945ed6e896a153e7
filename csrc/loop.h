/*
 * The loop of one Lua state: where everything that takes time ends.
 *
 * Two threads meet here. The I/O thread drives gRPC's completion queue and never touches Lua; each tag is a callback
 * that it runs. The Lua thread starts operations, and waits in epoll on one descriptor: an eventfd that says that the
 * ready list has something, and the descriptors of watches. Every operation stands in the ready list at most once, so
 * the list is bounded by their number; what an operation holds for Lua is bounded by the operation itself.
 */
#ifndef WGTWO_LOOP_H
#define WGTWO_LOOP_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <sys/epoll.h>

#include "op.h"

/* What the completion queue hands back: embed one for each batch that can be outstanding. */
typedef struct Tag Tag;
struct Tag {
  void (*done)(Tag *tag, bool ok); /* I/O thread */
};

/* The loop of this state, made by luaopen_wgtwo_core. Raises in a process that was forked after gRPC or a thread had
 * started; one that was forked before has it to itself. */
Loop *loop_get(lua_State *L);
/* True in a child that was forked from the process that uses this loop: nothing of gRPC may be touched there, not even
 * freed. */
bool loop_is_foreign(const Loop *loop);

/* The completion queue; the first call starts gRPC and the I/O thread. Raises when the thread cannot be started. Lua
 * thread. */
grpc_completion_queue *loop_queue(lua_State *L, Loop *loop);

/* The same where it is known to run: a channel or a server exists. */
grpc_completion_queue *loop_running_queue(const Loop *loop);

/* Says that something was started that a forked child does not have: from now on the loop belongs to this process. Lua
 * thread. */
void loop_use(Loop *loop);

/* Starts a thread behind the Lua thread (background.h). 0, or an errno. */
int loop_start_thread(Loop *loop, pthread_t *thread, void *(*run)(void *), void *arg);

/* A descriptor that wakes the Lua thread: op becomes ready each time that more can be read; so what nobody reads does
 * not keep the loop awake. 0 or an errno: EEXIST where it is watched already. Lua thread. */
int loop_watch(Loop *loop, int fd, Op *op);
/* op becomes ready, at once where something can be read now. */
void loop_watch_again(Loop *loop, int fd, Op *op);
void loop_unwatch(Loop *loop, int fd);

/* For op.c: an operation begins, is freed. Any thread. */
void loop_count_op(Loop *loop);
void loop_uncount_op(Loop *loop);

/* For poll.c, on the Lua thread. The next ready operation, which the caller owns then, or NULL. */
Op *loop_next_ready(Loop *loop);
int loop_epoll_fd(const Loop *loop);
/* Makes the epoll descriptor readable until the next look at it. */
void loop_wake(Loop *loop);
/* What epoll said of one descriptor: the eventfd is emptied, a watch becomes ready. */
void loop_woken(Loop *loop, const struct epoll_event *event);

/* Waits until one of poll's events is there, and lets nothing else happen meanwhile. Raises what a pending hook raises:
 * "interrupted!" after Ctrl-C. Lua thread (poll.c). */
void poll_descriptor(lua_State *L, int fd, short events);

/* Functions for the `core` table on top of the stack: creates this state's loop. */
void loop_register(lua_State *L);
void poll_register(lua_State *L);

/* The functions that a module of its own (wgtwo.http, wgtwo.httpd) needs, as a light userdata in the registry under
 * LOOP_API_KEY. */
#define LOOP_API_KEY "wgtwo.loop.api"
typedef struct LoopApi {
  Loop *(*get)(lua_State *L);
  bool (*is_foreign)(const Loop *loop);
  int (*start_thread)(Loop *loop, pthread_t *thread, void *(*run)(void *), void *arg);
  void (*use)(Loop *loop);
  void (*op_init)(Op *op, OpKind *kind, Loop *loop);
  void (*op_own)(Op *op);
  void (*op_release)(Op *op);
  void (*op_ready)(Op *op);
  void (*op_kind_register)(lua_State *L, OpKind *kind, const luaL_Reg *methods, lua_CFunction close);
  Op **(*op_new_userdata)(lua_State *L, OpKind *kind);
  void (*op_adopt)(lua_State *L, Op **box, Op *op);
  Op *(*op_check)(lua_State *L, int arg, OpKind *kind);
  Op *(*op_check_open)(lua_State *L, int arg, OpKind *kind);
  Op *(*op_disown)(lua_State *L, int arg, OpKind *kind);
  void (*op_hold)(lua_State *L);
  void (*op_let_go)(lua_State *L);
} LoopApi;

#endif
