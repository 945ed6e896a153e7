/*
 * fork(2) for the tests: what a script can do with another module, and plain Lua cannot.
 */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* LeakSanitizer's, where it is in the program. What a child got from its parent it may not free, so it looks like a
 * leak there: such a child ends before that is looked for. */
__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static void leave_early(int status, void *arg) {
  (void)arg;
  _exit(status);
}

/* fork([seconds = 20]) -> pid of the child; 0 in the child, which SIGALRM ends after so many seconds */
static int fork_process(lua_State *L) {
  unsigned seconds = (unsigned)luaL_optinteger(L, 1, 20);
  pid_t pid = fork();
  if (pid < 0) return luaL_error(L, "fork: %s", strerror(errno));
  if (pid == 0) {
    alarm(seconds);
    if (__lsan_do_recoverable_leak_check != NULL) on_exit(leave_early, NULL);
  }
  lua_pushinteger(L, pid);
  return 1;
}

/* wait(pid) -> "exit" or "signal", number */
static int wait_process(lua_State *L) {
  int status;
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return luaL_error(L, "waitpid: %s", strerror(errno));
  }
  lua_pushstring(L, WIFEXITED(status) ? "exit" : "signal");
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
  return 2;
}

/* leave(code): ends the process at once, without closing or flushing anything */
static int leave_process(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); }

/* state(code) -> true, or nil and the error: runs code in a Lua state of its own */
static int run_in_new_state(lua_State *L) {
  const char *code = luaL_checkstring(L, 1);
  lua_State *fresh = luaL_newstate();
  if (fresh == NULL) return luaL_error(L, "not enough memory");
  luaL_openlibs(fresh);
  bool failed = luaL_dostring(fresh, code) != LUA_OK;
  if (failed) {
    lua_pushnil(L);
    lua_pushstring(L, lua_tostring(fresh, -1));
  } else {
    lua_pushboolean(L, 1);
  }
  lua_close(fresh);
  return failed ? 2 : 1;
}

__attribute__((visibility("default"))) int luaopen_fork(lua_State *L);

int luaopen_fork(lua_State *L) {
  static const luaL_Reg functions[] = { { "fork", fork_process },
                                        { "wait", wait_process },
                                        { "leave", leave_process },
                                        { "state", run_in_new_state },
                                        { NULL, NULL } };
  luaL_newlib(L, functions);
  return 1;
}
