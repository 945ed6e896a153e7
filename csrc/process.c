#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probes.h"
#include "loop.h"
#include "option.h"

extern char **environ;

enum { UNKNOWN_CODE = -1 }; /* the exit code of a child that something else has waited for */

typedef struct Process {
  Op op;
  pid_t pid;         /* 0 once it was waited for */
  int pidfd;         /* readable when it has ended */
  int input, output; /* our ends of its pipes; -1 when closed */
  int grace_ms;      /* to end after each of: the end of its input, SIGTERM */
  int exit_code, end_signal;
} Process;

static void close_descriptor(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void destroy_process(Op *op) {
  Process *process = (Process *)op;
  close_descriptor(&process->input);
  close_descriptor(&process->output);
  close_descriptor(&process->pidfd);
  free(process);
}

static OpKind process_kind = { .name = "wgtwo.process", .destroy = destroy_process };

static Process *check_process(lua_State *L) { return (Process *)op_check(L, 1, &process_kind); }

/* Starting */

/* The list at index as a NULL-terminated array, a userdata on the stack; the list keeps the strings. */
static char **string_array(lua_State *L, int index) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, index);
  char **strings = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *strings, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    size_t length = 0;
    const char *string = lua_rawgeti(L, index, i) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    if (string == NULL || strlen(string) != length)
      luaL_error(L, "core.spawn: arguments are strings without zero bytes");
    strings[i - 1] = (char *)string;
    lua_pop(L, 1); /* the list still holds it */
  }
  strings[n] = NULL;
  return strings;
}

/* Whether the table at index env (or nil) says something about the variable in `entry`, "NAME=value". */
static bool is_replaced(lua_State *L, int env, const char *entry) {
  if (lua_isnil(L, env)) return false;
  const char *equals = strchr(entry, '=');
  lua_pushlstring(L, entry, equals == NULL ? strlen(entry) : (size_t)(equals - entry));
  lua_rawget(L, env);
  bool replaced = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return replaced;
}

/* This process's environment with the changes of the table at index env, as a list on the stack. */
static void push_environment(lua_State *L, int env) {
  lua_Integer n = 0;
  lua_newtable(L);
  int list = lua_gettop(L);
  for (char **entry = environ; *entry != NULL; entry++) {
    if (is_replaced(L, env, *entry)) continue;
    lua_pushstring(L, *entry);
    lua_rawseti(L, list, ++n);
  }
  if (lua_isnil(L, env)) return;
  lua_pushnil(L);
  while (lua_next(L, env)) {
    if (lua_type(L, -2) != LUA_TSTRING) luaL_error(L, "core.spawn: names of environment variables are strings");
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
      lua_rawseti(L, list, ++n);
    }
    lua_pop(L, 1);
  }
}

/* 0 or an errno; on success in->write and out->read are ours. */
static int start(Process *process, char **argv, char **envp) {
  int in[2] = { -1, -1 }, out[2] = { -1, -1 }, error = 0;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  /* its input is a socket, since a write to a pipe that nobody reads would end this process with SIGPIPE */
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0 || pipe2(out, O_CLOEXEC) < 0) {
    error = errno;
    goto cleanup;
  }
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
#if HAVE_SPAWN_CLOSEFROM
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
#endif
  /* a process group of its own: Ctrl-C in a terminal reaches this process alone, which ends its children in order */
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  error = posix_spawnp(&process->pid, argv[0], &actions, &attributes, argv, envp);
  if (error != 0) {
    process->pid = 0;
    goto cleanup;
  }
  process->input = in[1];
  process->output = out[0];
  in[1] = out[0] = -1;

cleanup:
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  for (int i = 0; i < 2; i++) {
    close_descriptor(&in[i]);
    close_descriptor(&out[i]);
  }
  return error;
}

/* For a child that cannot be watched. */
static void end_at_once(Process *process) {
  kill(process->pid, SIGKILL);
  while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR) continue;
  process->pid = 0;
}

/*
 * core.spawn{ argv = {program, argument, …}, env = {NAME = value, or false to remove it}, grace = 2 }
 *   -> process | nil, text
 *
 * The grace is in seconds: how long it may take to end when it is closed, before it gets SIGTERM, and again before
 * SIGKILL.
 */
static int spawn(lua_State *L) {
  static const char *const names[] = { "argv", "env", "grace", NULL };
  lua_settop(L, 1);
  OptionTable o = option_table(L, 1, "core.spawn", names);
  int grace_ms = option_milliseconds(o, "grace", 2);
  lua_getfield(L, 1, "argv");
  luaL_argcheck(L, lua_istable(L, 2) && lua_rawlen(L, 2) > 0, 1, "argv is a list that begins with the program");
  lua_getfield(L, 1, "env");
  luaL_argcheck(L, lua_isnil(L, 3) || lua_istable(L, 3), 1, "env is a table");
  char **argv = string_array(L, 2);
  push_environment(L, 3);
  char **envp = string_array(L, lua_gettop(L));

  Loop *loop = loop_get(L);
  Op **box = op_new_userdata(L, &process_kind);
  Process *process = calloc(1, sizeof *process);
  if (process == NULL) return luaL_error(L, "not enough memory");
  op_init(&process->op, &process_kind, loop);
  process->pidfd = process->input = process->output = -1;
  process->grace_ms = grace_ms;
  op_adopt(L, box, &process->op);
  int error = start(process, argv, envp);
  if (error == 0) {
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    error = process->pidfd < 0 ? errno : loop_watch(loop, process->pidfd, &process->op);
    if (error != 0) end_at_once(process);
  }
  if (error == 0) return 1;
  *box = NULL;
  op_release(&process->op);
  lua_pushnil(L);
  lua_pushfstring(L, "cannot start %s: %s", argv[0], strerror(error));
  return 2;
}

/* Ending */

/* Waits at most milliseconds. True when the child has ended, and was waited for. */
static bool wait_for_end(Process *process, int milliseconds) {
  int status;
  if (process->pid == 0) return true;
  struct pollfd ended = { .fd = process->pidfd, .events = POLLIN };
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  int left = milliseconds;
  while (poll(&ended, 1, left) < 0 && errno == EINTR) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    left = milliseconds - (int)((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000);
    if (left < 0) left = 0;
  }
  pid_t waited = waitpid(process->pid, &status, WNOHANG);
  if (waited == 0 || (waited < 0 && errno != ECHILD)) return false;
  process->pid = 0;
  if (waited < 0) { /* something else has waited for it, or SIGCHLD is ignored here */
    process->exit_code = UNKNOWN_CODE;
    return true;
  }
  process->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  process->end_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return true;
}

/* By the descriptor: the number may be another process's by now, when something else has waited for this one. */
static bool send_signal(const Process *process, int number) {
  return process->pid != 0 && syscall(SYS_pidfd_send_signal, process->pidfd, number, NULL, 0) == 0;
}

/* process:take() -> false while it runs | exit code (128 + n after signal n, -1 where it is not known), n or nil */
static int process_take(lua_State *L) {
  Process *process = check_process(L);
  if (!wait_for_end(process, 0)) {
    loop_watch_again(process->op.loop, process->pidfd, &process->op); /* it may have ended since */
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushinteger(L, process->exit_code);
  if (process->end_signal == 0) return 1;
  lua_pushinteger(L, process->end_signal);
  return 2;
}

static int process_pid(lua_State *L) {
  Process *process = check_process(L);
  if (process->pid == 0) return 0;
  lua_pushinteger(L, process->pid);
  return 1;
}

/* process:stdout() -> the descriptor of its standard output; it stays the process's */
static int process_stdout(lua_State *L) {
  lua_pushinteger(L, check_process(L)->output);
  return 1;
}

/*
 * process:write(text) -> true, or nil and a reason. Waits until the child has read all but a pipe's capacity; Ctrl-C
 * ends the wait.
 */
static int process_write(lua_State *L) {
  const Process *process = check_process(L);
  size_t left;
  const char *text = luaL_checklstring(L, 2, &left);
  while (left > 0) {
    ssize_t n = send(process->input, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
      text += n;
      left -= (size_t)n;
    } else if (errno == EAGAIN) {
      poll_descriptor(L, process->input, POLLOUT);
      process = check_process(L); /* a hook may have closed it */
    } else if (errno != EINTR) {
      lua_pushnil(L);
      lua_pushfstring(L, "cannot write to the process: %s",
                      process->input < 0 ? "its input is closed" : strerror(errno));
      return 2;
    }
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* process:finish(): closes its standard input. */
static int process_finish(lua_State *L) {
  close_descriptor(&check_process(L)->input);
  return 0;
}

/* process:kill([signal = 15]) -> whether there was a process to kill */
static int process_kill_it(lua_State *L) {
  Process *process = check_process(L);
  lua_pushboolean(L, send_signal(process, (int)luaL_optinteger(L, 2, SIGTERM)));
  return 1;
}

/* process:close(): ends the child and waits for it, SIGKILL after two graces. */
static int close_process(lua_State *L) {
  Process *process = (Process *)op_disown(L, 1, &process_kind);
  if (process == NULL) return 0;
  close_descriptor(&process->input);
  if (process->pidfd >= 0) loop_unwatch(process->op.loop, process->pidfd);
  if (!wait_for_end(process, process->grace_ms)) {
    send_signal(process, SIGTERM);
    if (!wait_for_end(process, process->grace_ms)) {
      send_signal(process, SIGKILL);
      while (!wait_for_end(process, process->grace_ms)) continue;
    }
  }
  op_release(&process->op);
  return 0;
}

void process_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", process_take },
                                      { "pid", process_pid },
                                      { "stdout", process_stdout },
                                      { "write", process_write },
                                      { "finish", process_finish },
                                      { "kill", process_kill_it },
                                      { NULL, NULL } };
  static const luaL_Reg functions[] = { { "spawn", spawn }, { NULL, NULL } };
  op_kind_register(L, &process_kind, methods, close_process);
  luaL_setfuncs(L, functions, 0);
}
