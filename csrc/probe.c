#include "probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "option.h"

static void free_secret(char *text) {
  if (text != NULL) explicit_bzero(text, strlen(text));
  free(text);
}

static void destroy_probe(Op *op) {
  Probe *probe = (Probe *)op;
  if (probe->cancel_fd >= 0) close(probe->cancel_fd);
  free(probe->host);
  free(probe->server_name);
  free(probe->roots);
  free(probe->cert);
  free_secret(probe->key);
  free(probe);
}

static OpKind probe_kind = { .name = "wgtwo.probe", .destroy = destroy_probe };

void probe_set(Probe *probe, const char *reason, const char *format, ...) {
  va_list args;
  if (probe->reason != NULL) return;
  probe->reason = reason;
  va_start(args, format);
  vsnprintf(probe->text, sizeof probe->text, format, args);
  va_end(args);
  for (char *c = probe->text; *c != '\0'; c++)
    if (*c < ' ' || *c > '~') *c = '?';
}

static void *run_thread(void *arg) {
  Probe *probe = arg;
  probe_run(probe);
  atomic_store(&probe->finished, true);
  op_ready(&probe->op);
  op_release(&probe->op);
  return NULL;
}

/* A copy of the option for the thread. False when memory is short. */
static bool copy_option(char **copy, const char *value) {
  *copy = value == NULL ? NULL : strdup(value);
  return value == NULL || *copy != NULL;
}

/* NULL, or why the thread does not run. */
static const char *start(Probe *probe, Loop *loop) {
  pthread_t thread;
  probe->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (probe->cancel_fd < 0) return "no descriptor is left";
  op_own(&probe->op); /* the thread's */
  int error = loop_start_thread(loop, &thread, run_thread, probe);
  if (error != 0) {
    op_release(&probe->op);
    return strerror(error);
  }
  pthread_detach(thread); /* the loop waits for the operation that it owns */
  return NULL;
}

/*
 * core.probe{ host =, port =, plaintext = false, roots = PEM, cert = PEM, key = PEM, server_name =,
 *   insecure_skip_verify = false, timeout = 1 } -> operation | nil, text
 *
 * server_name is the name that the certificate is to have, the host by default. Without roots, the system's are
 * trusted.
 */
static int probe(lua_State *L) {
  static const char *const names[] = { "host",    "port", "plaintext",   "roots",
                                       "cert",    "key",  "server_name", "insecure_skip_verify",
                                       "timeout", NULL };
  lua_settop(L, 1);
  OptionTable o = option_table(L, 1, "core.probe", names);
  const char *host = option_required(o, "host"), *server_name = option_string(o, "server_name");
  const char *roots = option_string(o, "roots"), *cert = option_string(o, "cert"), *key = option_string(o, "key");
  int port = (int)option_integer(o, "port", 1, 65535, 0), timeout_ms = option_milliseconds(o, "timeout", 1);
  bool plaintext = option_boolean(o, "plaintext"), skip_verify = option_boolean(o, "insecure_skip_verify");
  if (port == 0) return luaL_error(L, "core.probe: 'port' is missing");

  Loop *loop = loop_get(L);
  Op **box = op_new_userdata(L, &probe_kind);
  Probe *made = calloc(1, sizeof *made);
  if (made == NULL) return luaL_error(L, "not enough memory");
  op_init(&made->op, &probe_kind, loop);
  made->cancel_fd = -1;
  op_adopt(L, box, &made->op);
  made->plaintext = plaintext;
  made->skip_verify = skip_verify;
  made->timeout_ms = timeout_ms;
  snprintf(made->port, sizeof made->port, "%d", port);
  bool copied = copy_option(&made->host, host) && copy_option(&made->server_name, server_name) &&
                copy_option(&made->roots, roots) && copy_option(&made->cert, cert) && copy_option(&made->key, key);
  const char *wrong = copied ? start(made, loop) : "not enough memory";
  if (wrong == NULL) return 1;
  *box = NULL;
  op_release(&made->op);
  lua_pushnil(L);
  lua_pushstring(L, wrong);
  return 2;
}

/* operation:take() -> false | {ok = true} | {reason =, text =} */
static int take(lua_State *L) {
  Probe *done = (Probe *)op_check(L, 1, &probe_kind);
  if (!atomic_load(&done->finished)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  op_hold(L);
  lua_createtable(L, 0, 2);
  if (done->reason == NULL) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "ok");
  } else {
    lua_pushstring(L, done->reason);
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, done->text);
    lua_setfield(L, -2, "text");
  }
  op_let_go(L);
  return 1;
}

static int close_probe(lua_State *L) {
  Probe *closed = (Probe *)op_disown(L, 1, &probe_kind);
  if (closed == NULL) return 0;
  if (closed->cancel_fd >= 0) eventfd_write(closed->cancel_fd, 1);
  op_release(&closed->op);
  return 0;
}

void probe_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", take }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "probe", probe }, { NULL, NULL } };
  op_kind_register(L, &probe_kind, methods, close_probe);
  luaL_setfuncs(L, functions, 0);
}
