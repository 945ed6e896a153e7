#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "loop.h"

enum { READ_MAX = 1024 * 1024 };

typedef struct Watch {
  Op op;
  int fd;     /* of its own: what epoll knows must not be closed before the watch, or be another file then */
  int signal; /* that it takes from the thread; 0: none */
} Watch;

static void destroy_watch(Op *op) { free(op); }

static OpKind watch_kind = { .name = "wgtwo.watch", .destroy = destroy_watch };

static int descriptor(lua_State *L, int arg) {
  lua_Integer fd = luaL_checkinteger(L, arg);
  luaL_argcheck(L, fd >= 0 && fd <= 0x7FFFFFFF, arg, "a file descriptor is an integer, 0 or more");
  return (int)fd;
}

/* Pushes a watch that watches nothing yet. */
static Watch *push_watch(lua_State *L) {
  Loop *loop = loop_get(L);
  Op **box = op_new_userdata(L, &watch_kind);
  Watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) luaL_error(L, "not enough memory");
  op_init(&watch->op, &watch_kind, loop);
  watch->fd = -1;
  op_adopt(L, box, &watch->op);
  return watch;
}

/* 0, or an errno. */
static int begin(Watch *watch) { return watch->fd < 0 ? errno : loop_watch(watch->op.loop, watch->fd, &watch->op); }

/* core.watch(fd) -> watch, or nil and a reason */
static int new_watch(lua_State *L) {
  int fd = descriptor(L, 1);
  Watch *watch = push_watch(L);
  watch->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  int error = begin(watch);
  if (error == 0) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "descriptor %d cannot be watched: %s", fd, strerror(error));
  return 2;
}

static void mask(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(how, &set, NULL);
}

/* core.watch_signal(number) -> watch: has news when the signal has come, which does nothing else until it is closed. */
static int new_signal_watch(lua_State *L) {
  lua_Integer given = luaL_checkinteger(L, 1);
  int number = given > 0 && given <= SIGRTMAX ? (int)given : 0;
  sigset_t set;
  sigemptyset(&set);
  luaL_argcheck(L, sigaddset(&set, number) == 0, 1, "not the number of a signal");
  Watch *watch = push_watch(L);
  mask(SIG_BLOCK, number); /* the other threads of this process block all signals */
  watch->signal = number;
  watch->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  int error = begin(watch);
  if (error == 0) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "signal %d cannot be watched: %s", number, strerror(error));
  return 2;
}

/* Whether there is something; a signal is taken. */
static bool look(const Watch *watch) {
  struct signalfd_siginfo taken;
  if (watch->signal != 0) return read(watch->fd, &taken, sizeof taken) > 0;
  struct pollfd readable = { .fd = watch->fd, .events = POLLIN };
  return poll(&readable, 1, 0) > 0;
}

/* watch:take() -> whether the descriptor can be read now, or the signal has come */
static int watch_take(lua_State *L) {
  Watch *watch = (Watch *)op_check(L, 1, &watch_kind);
  bool can_be_read = look(watch);
  if (!can_be_read) loop_watch_again(watch->op.loop, watch->fd, &watch->op); /* more may have come since */
  lua_pushboolean(L, can_be_read);
  return 1;
}

static int close_watch(lua_State *L) {
  Watch *watch = (Watch *)op_disown(L, 1, &watch_kind);
  if (watch == NULL) return 0;
  if (watch->fd >= 0) {
    loop_unwatch(watch->op.loop, watch->fd);
    close(watch->fd);
  }
  if (watch->signal != 0) mask(SIG_UNBLOCK, watch->signal); /* one that has come and was not seen acts now */
  op_release(&watch->op);
  return 0;
}

/* core.read(fd, n) -> up to n bytes | "" at the end | false: nothing there now | nil and a reason */
static int read_descriptor(lua_State *L) {
  int fd = descriptor(L, 1);
  lua_Integer n = luaL_checkinteger(L, 2);
  luaL_argcheck(L, n >= 1 && n <= READ_MAX, 2, "1 byte to 1 MiB");
  luaL_Buffer buffer;
  char *space = luaL_buffinitsize(L, &buffer, (size_t)n);
  struct pollfd readable = { .fd = fd, .events = POLLIN };
  ssize_t got = -1;
  int ready;
  do {
    ready = poll(&readable, 1, 0);
    if (ready > 0) got = read(fd, space, (size_t)n);
  } while ((ready < 0 || (ready > 0 && got < 0)) && errno == EINTR);
  int error = errno;
  luaL_pushresultsize(&buffer, got > 0 ? (size_t)got : 0);
  if (got >= 0) return 1;
  if (ready == 0 || error == EAGAIN) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "cannot read descriptor %d: %s", fd, strerror(error));
  return 2;
}

void watch_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", watch_take }, { NULL, NULL } };
  static const luaL_Reg functions[] = {
    { "watch", new_watch }, { "watch_signal", new_signal_watch }, { "read", read_descriptor }, { NULL, NULL }
  };
  op_kind_register(L, &watch_kind, methods, close_watch);
  luaL_setfuncs(L, functions, 0);
}
