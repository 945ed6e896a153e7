/*
 * Waiting, on the Lua thread: core.poll, and the few waits that are for one descriptor alone.
 *
 * It waits in epoll with the caller's signal mask, and with all signals blocked around it, so that none can come
 * between the look for a pending hook and the wait. Lua's own SIGINT handler only sets a hook on the main state: such a
 * hook is run here, by calling a function that does nothing on the main state, with nothing locked; what it raises is
 * raised again where the wait was called.
 */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "loop.h"

enum { WAKE_UPS = 16 }; /* descriptors handled in one poll */

static int do_nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* Runs the main state's hook, if one is set. LUA_OK, or a status with the error on top of L. */
static int run_pending_hook(lua_State *L) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *main = lua_tothread(L, -1);
  lua_pop(L, 1);
  if (lua_gethook(main) == NULL || !lua_checkstack(main, 2)) return LUA_OK;
  lua_pushcfunction(main, do_nothing);
  int status = lua_pcall(main, 0, 0, 0);
  if (status != LUA_OK && main != L) lua_xmove(main, L, 1);
  return status;
}

static void block_signals(sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, before);
}

/* Waits once, at most milliseconds (-1: for ever). */
static void wait_once(lua_State *L, Loop *loop, int milliseconds) {
  struct epoll_event events[WAKE_UPS];
  sigset_t before;
  block_signals(&before);
  int status = run_pending_hook(L), n = 0;
  if (status == LUA_OK) {
    n = epoll_pwait(loop_epoll_fd(loop), events, WAKE_UPS, milliseconds, &before);
    if (n < 0 && errno == EINTR) status = run_pending_hook(L);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  for (int i = 0; i < n; i++) loop_woken(loop, &events[i]);
  if (status != LUA_OK) lua_error(L);
}

void poll_descriptor(lua_State *L, int fd, short events) {
  struct pollfd ready = { .fd = fd, .events = events };
  sigset_t before;
  block_signals(&before);
  int status;
  do status = run_pending_hook(L);
  while (status == LUA_OK && ppoll(&ready, 1, NULL, &before) < 0 && errno == EINTR);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (status != LUA_OK) lua_error(L);
}

/* Appends the userdata of ready operations to the table at index 2; returns how many. */
static lua_Integer collect_ready(lua_State *L, Loop *loop) {
  lua_Integer n = 0;
  for (Op *op; (op = loop_next_ready(loop)) != NULL;) {
    bool shown = op_push_shown(L, op);
    op_release(op);
    if (shown) lua_rawseti(L, 2, ++n);
  }
  return n;
}

static int to_milliseconds(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return -1;
  lua_Number seconds = luaL_checknumber(L, arg);
  luaL_argcheck(L, seconds >= 0, arg, "a timeout is in seconds, 0 or more");
  return seconds >= 2e6 ? 2000000000 : (int)ceil(seconds * 1000);
}

/*
 * core.poll(timeout, list) -> n
 *
 * Puts the userdata of the operations that have news into list[1..n]. Waits at most timeout seconds for the first (nil:
 * for ever, 0: not at all); may return 0 early. Raises what a pending hook raises: "interrupted!" after Ctrl-C.
 */
static int poll_ready(lua_State *L) {
  Loop *loop = loop_get(L);
  int milliseconds = to_milliseconds(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  if (run_pending_hook(L) != LUA_OK) return lua_error(L); /* also where there always is news */
  lua_Integer n = collect_ready(L, loop);
  if (n == 0) {
    wait_once(L, loop, milliseconds);
    n = collect_ready(L, loop);
  }
  lua_pushinteger(L, n);
  return 1;
}

/* core.wake(): the next core.poll, or a foreign loop that watches core.pollfd(), does not wait. */
static int wake(lua_State *L) {
  loop_wake(loop_get(L));
  return 0;
}

static int pollfd(lua_State *L) {
  lua_pushinteger(L, loop_epoll_fd(loop_get(L)));
  return 1;
}

static int push_clock(lua_State *L, clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec * 1e-9);
  return 1;
}

static int now(lua_State *L) { return push_clock(L, CLOCK_MONOTONIC); }

static int realtime(lua_State *L) { return push_clock(L, CLOCK_REALTIME); }

void poll_register(lua_State *L) {
  static const luaL_Reg functions[] = {
    { "poll", poll_ready }, { "pollfd", pollfd }, { "wake", wake },
    { "now", now },         { "time", realtime }, { NULL, NULL },
  };
  luaL_setfuncs(L, functions, 0);
}
