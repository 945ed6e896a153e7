#include "httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "httpd_signing_key.h"
#include "option.h"

enum { MAX_BODY = 1024 * 1024, CONNECTION_LIMIT = 256, CONNECTION_TIMEOUT = 60, SEND_ANSWERS_SECONDS = 1 };

_Atomic(const LoopApi *) httpd_loop; /* the same for every Lua state, each of which sets it */

static void destroy_httpd(Op *op) {
  Httpd *httpd = (Httpd *)op;
  pthread_cond_destroy(&httpd->all_sent);
  pthread_mutex_destroy(&httpd->lock);
  free(httpd);
}

static OpKind httpd_kind = { .name = "wgtwo.httpd", .destroy = destroy_httpd };

static Httpd *check_httpd(lua_State *L) { return (Httpd *)httpd_loop->op_check(L, 1, &httpd_kind); }

/* Listening */

/* A listening socket, or -1 with the reason in text. */
static int open_socket(const char *address, int port, char *text, size_t size) {
  char service[8];
  struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
  struct addrinfo *found = NULL;
  snprintf(service, sizeof service, "%d", port);
  int failed = getaddrinfo(address, service, &hints, &found);
  if (failed != 0) {
    snprintf(text, size, "'%s' is no IP address", address);
    return -1;
  }
  int one = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
    snprintf(text, size, "cannot listen on %s port %d: %s", address, port, strerror(errno));
    if (fd >= 0) close(fd);
    fd = -1;
  }
  freeaddrinfo(found);
  return fd;
}

static int port_of(int fd) {
  struct sockaddr_storage address;
  socklen_t length = sizeof address;
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                                             : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* libmicrohttpd failed to start: it has closed the socket that it was given, or not, as the failure may be. The number
 * may be another thread's file by now. */
static void close_unless_closed(int fd, const struct stat *before) {
  struct stat now;
  if (fstat(fd, &now) == 0 && now.st_dev == before->st_dev && now.st_ino == before->st_ino) close(fd);
}

__attribute__((format(printf, 2, 0))) static void keep_reason(void *cls, const char *format, va_list args) {
  Httpd *httpd = cls;
  pthread_mutex_lock(&httpd->lock);
  vsnprintf(httpd->reason, sizeof httpd->reason, format, args);
  httpd->reason[strcspn(httpd->reason, "\r\n")] = '\0';
  pthread_mutex_unlock(&httpd->lock);
}

/* Starts libmicrohttpd's thread, with all signals blocked so that they reach the Lua thread. fd is its own from then
 * on. */
static struct MHD_Daemon *start(Httpd *httpd, int fd, unsigned timeout, const char *cert, const char *key) {
  unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert },
                                  { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key },
                                  { MHD_OPTION_END, 0, NULL } };
  if (cert != NULL) flags |= MHD_USE_TLS;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct MHD_Daemon *mhd =
      MHD_start_daemon(flags, 0, NULL, NULL, httpd_receive, httpd, MHD_OPTION_EXTERNAL_LOGGER, keep_reason,
                       httpd, /* the logger is first */
                       MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, httpd_completed, httpd,
                       MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTION_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT, timeout,
                       MHD_OPTION_ARRAY, cert == NULL ? tls + 2 : tls, MHD_OPTION_END);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return mhd;
}

static void init_httpd(Httpd *httpd, Loop *loop, size_t max_body) {
  pthread_condattr_t monotonic;
  httpd_loop->op_init(&httpd->op, &httpd_kind, loop);
  pthread_mutex_init(&httpd->lock, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&httpd->all_sent, &monotonic);
  pthread_condattr_destroy(&monotonic);
  httpd->max_body = max_body;
}

/*
 * httpd.listen{ address = "127.0.0.1", port = 0, cert = PEM, key = PEM, max_body = 1 MiB, connection_timeout = 60 }
 *   -> daemon | nil, text
 *
 * Port 0: the kernel chooses. With cert and key it speaks HTTPS. The timeout is in whole seconds, for idle connections.
 */
static int listen_for_requests(lua_State *L) {
  static const char *const names[] = { "address", "port", "cert", "key", "max_body", "connection_timeout", NULL };
  lua_settop(L, 1);
  OptionTable o = option_table(L, 1, "httpd.listen", names);
  const char *address = option_string(o, "address"), *cert = option_string(o, "cert"), *key = option_string(o, "key");
  int port = (int)option_integer(o, "port", 0, 65535, 0);
  size_t max_body = (size_t)option_integer(o, "max_body", 0, INT_MAX, MAX_BODY);
  unsigned timeout = (unsigned)option_integer(o, "connection_timeout", 1, 86400, CONNECTION_TIMEOUT);
  if ((cert == NULL) != (key == NULL)) return luaL_error(L, "httpd.listen: 'cert' and 'key' belong together");

  Loop *loop = httpd_loop->get(L);
  Op **box = httpd_loop->op_new_userdata(L, &httpd_kind);
  Httpd *httpd = calloc(1, sizeof *httpd);
  if (httpd == NULL) return luaL_error(L, "not enough memory");
  init_httpd(httpd, loop, max_body);
  httpd_loop->op_adopt(L, box, &httpd->op);

  int fd = open_socket(address == NULL ? "127.0.0.1" : address, port, httpd->reason, sizeof httpd->reason);
  if (fd >= 0) {
    httpd->port = port_of(fd);
    httpd_loop->use(loop);
    struct stat identity = { .st_ino = 0 };
    fstat(fd, &identity);
    httpd->mhd = start(httpd, fd, timeout, cert, key);
    if (httpd->mhd != NULL) return 1;
    close_unless_closed(fd, &identity);
  }
  lua_pushnil(L);
  if (fd >= 0 && httpd->reason[0] == '\0') {
    lua_pushliteral(L, "cannot start the HTTP server");
  } else if (fd >= 0) {
    lua_pushfstring(L, "cannot start the HTTP server: %s", httpd->reason);
  } else {
    lua_pushstring(L, httpd->reason);
  }
  return 2;
}

/* daemon:port() -> the port that it listens on */
static int push_port(lua_State *L) {
  lua_pushinteger(L, check_httpd(L)->port);
  return 1;
}

/* daemon:take() -> request | false */
static int take(lua_State *L) {
  Httpd *httpd = check_httpd(L);
  httpd_loop->op_hold(L);
  int results = httpd_push_request(L, httpd);
  httpd_loop->op_let_go(L);
  return results;
}

/* Closing */

/* Gives the answers a moment to leave; a peer that reads nothing is not waited for longer. */
static void wait_for_answers(Httpd *httpd) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += SEND_ANSWERS_SECONDS;
  pthread_mutex_lock(&httpd->lock);
  while (httpd->answering > 0 && pthread_cond_timedwait(&httpd->all_sent, &httpd->lock, &until) == 0) continue;
  pthread_mutex_unlock(&httpd->lock);
}

static int close_httpd(lua_State *L) {
  Httpd *httpd = (Httpd *)httpd_loop->op_disown(L, 1, &httpd_kind);
  if (httpd == NULL) return 0;
  if (httpd->mhd != NULL) {
    httpd_answer_all(httpd);
    wait_for_answers(httpd);
    MHD_stop_daemon(httpd->mhd);
    httpd->mhd = NULL;
  }
  httpd_loop->op_release(&httpd->op);
  return 0;
}

/* Module */

__attribute__((visibility("default"))) int luaopen_wgtwo_httpd(lua_State *L);

int luaopen_wgtwo_httpd(lua_State *L) {
  static const luaL_Reg methods[] = { { "take", take }, { "port", push_port }, { NULL, NULL } };
  static const luaL_Reg functions[] = { { "listen", listen_for_requests }, { NULL, NULL } };
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "wgtwo.core");
  lua_call(L, 1, 0);
  if (lua_getfield(L, LUA_REGISTRYINDEX, LOOP_API_KEY) != LUA_TLIGHTUSERDATA)
    return luaL_error(L, "wgtwo.core and wgtwo.httpd are not of one build");
  httpd_loop = lua_touserdata(L, -1);
  httpd_loop->op_kind_register(L, &httpd_kind, methods, close_httpd);
  httpd_request_register(L);
  luaL_newlib(L, functions);
  certificate_register(L);
  signing_key_register(L);
  return 1;
}
