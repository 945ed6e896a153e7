#include "forwarder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "forwarder_faults.h"
#include "forwarder_link.h"
#include "loop.h"

enum {
  BACKLOG = 128,
  LINKS_MAX = 1024, /* further connections wait in the kernel */
  EVENTS = 64,
};

/* What the Lua thread asks of the forwarder's thread, besides other faults. */
typedef enum Request { CHANGE = 1, RESET = 2, FINISH = 4, STOP = 8 } Request;

typedef struct Forwarder {
  Op op;
  Wire wire; /* its faults and the rest: forwarder's thread; its traffic: any */
  pthread_t thread;
  bool started;
  int port;
  int reserved_fd; /* bound to the port and never listens, so that the port stays ours while nobody does */
  int listen_fd;   /* negative while connects are refused; forwarder's thread */
  int wake_fd;
  Link *links; /* forwarder's thread */
  atomic_llong open, accepted;

  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t obeyed;
  Faults faults;     /* as Lua wants them */
  unsigned requests; /* Request bits that are not obeyed yet */
  int listen_error;  /* why nobody listens although somebody should: an errno */
} Forwarder;

static void close_fd(int fd) {
  if (fd >= 0) close(fd);
}

static void destroy_forwarder(Op *op) {
  Forwarder *forwarder = (Forwarder *)op;
  pthread_cond_destroy(&forwarder->obeyed);
  pthread_mutex_destroy(&forwarder->lock);
  free(forwarder);
}

static OpKind forwarder_kind = { .name = "wgtwo.forwarder", .destroy = destroy_forwarder };

static Forwarder *check_forwarder(lua_State *L) { return (Forwarder *)op_check(L, 1, &forwarder_kind); }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The forwarder's thread */

/* Listens on the reserved port; negative on failure. */
static int listen_again(const Forwarder *forwarder) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)forwarder->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
  if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0 &&
      epoll_ctl(forwarder->wire.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) {
    return fd;
  }
  int error = errno;
  close_fd(fd);
  errno = error;
  return -1;
}

static void accept_clients(Forwarder *forwarder) {
  while (forwarder->listen_fd >= 0 && atomic_load(&forwarder->open) < LINKS_MAX) {
    int fd = accept4(forwarder->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    Link *link = link_new(&forwarder->wire, fd);
    if (link == NULL) continue;
    link_set_next(link, forwarder->links);
    forwarder->links = link;
    atomic_fetch_add(&forwarder->open, 1);
    atomic_fetch_add(&forwarder->accepted, 1);
    op_ready(&forwarder->op);
  }
}

/* Lets every link do what it can, and removes those that are over; returns when there is more to do. */
static double step_links(Forwarder *forwarder, double time) {
  double next = INFINITY;
  Link *left = NULL;
  for (Link *link = forwarder->links, *following; link != NULL; link = following) {
    following = link_next(link);
    next = fmin(next, link_step(link, &forwarder->wire, time));
    if (link_is_over(link)) {
      link_destroy(link, &forwarder->wire);
      atomic_fetch_sub(&forwarder->open, 1);
      op_ready(&forwarder->op);
    } else {
      link_set_next(link, left);
      left = link;
    }
  }
  forwarder->links = left;
  return next;
}

/* 0, or the errno that keeps it from listening. */
static int change_faults(Forwarder *forwarder, const Faults *faults) {
  forwarder->wire.faults = *faults;
  for (Link *link = forwarder->links; link != NULL; link = link_next(link)) link_faults_changed(link, &forwarder->wire);
  if (faults->refuse && forwarder->listen_fd >= 0) {
    shutdown(forwarder->listen_fd, SHUT_RDWR); /* a child that is being forked may hold it too */
    close(forwarder->listen_fd);
    forwarder->listen_fd = -1;
  } else if (!faults->refuse && forwarder->listen_fd < 0) {
    forwarder->listen_fd = listen_again(forwarder);
    if (forwarder->listen_fd < 0) return errno;
  }
  return 0;
}

/* Does what Lua has asked for, and tells it. False: the thread ends. */
static bool obey(Forwarder *forwarder) {
  uint64_t count;
  int error = 0;
  pthread_mutex_lock(&forwarder->lock);
  unsigned requests = forwarder->requests;
  Faults faults = forwarder->faults;
  if (requests != 0 && read(forwarder->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN) requests |= STOP;
  pthread_mutex_unlock(&forwarder->lock);
  if (requests == 0) return true;

  double time = now();
  if (requests & (RESET | FINISH)) accept_clients(forwarder); /* those that are connected already are meant too */
  if (requests & CHANGE) error = change_faults(forwarder, &faults);
  for (Link *link = forwarder->links; link != NULL; link = link_next(link)) {
    if (requests & (RESET | STOP)) link_reset(link, &forwarder->wire);
    if (requests & FINISH) link_finish(link, time);
    link_touch(link);
  }
  step_links(forwarder, time);

  pthread_mutex_lock(&forwarder->lock);
  forwarder->requests &= ~requests;
  forwarder->listen_error = error;
  pthread_cond_broadcast(&forwarder->obeyed);
  pthread_mutex_unlock(&forwarder->lock);
  return !(requests & STOP);
}

static int milliseconds_until(double next, double time) {
  if (next == INFINITY) return -1;
  return next <= time ? 0 : (int)fmin(ceil((next - time) * 1000), INT_MAX);
}

static void *forward(void *arg) {
  Forwarder *forwarder = arg;
  struct epoll_event events[EVENTS];
  while (obey(forwarder)) {
    double next = step_links(forwarder, now());
    accept_clients(forwarder); /* epoll has news of each at once */
    int n = epoll_wait(forwarder->wire.epoll_fd, events, EVENTS, milliseconds_until(next, now()));
    for (int i = 0; i < n; i++) {
      End *end = events[i].data.ptr;
      if (end == NULL) continue;
      link_touch(end->link);
      if (events[i].events & EPOLLERR) link_fail(end->link, end, &forwarder->wire);
    }
  }
  return NULL;
}

/* The Lua thread's side */

/* Asks, and waits until it is done: the other thread never blocks, so that is microseconds. faults: the new ones, or
 * NULL. Returns 0, or the errno that keeps the forwarder from listening. */
static int ask(Forwarder *forwarder, Request request, const Faults *faults) {
  uint64_t one = 1;
  pthread_mutex_lock(&forwarder->lock);
  if (faults != NULL) forwarder->faults = *faults;
  forwarder->requests |= request;
  while (write(forwarder->wake_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
  while (forwarder->requests != 0) pthread_cond_wait(&forwarder->obeyed, &forwarder->lock);
  int error = forwarder->listen_error;
  pthread_mutex_unlock(&forwarder->lock);
  return error;
}

/* "127.0.0.1:50051", "localhost:50051", "[::1]:50051": this machine and nothing else. */
static bool read_target(Wire *wire, const char *text) {
  char host[64], rest;
  unsigned port;
  struct sockaddr_in *four = (struct sockaddr_in *)&wire->target;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&wire->target;
  if (sscanf(text, "[%60[0-9a-fA-F:]]:%5u%c", host, &port, &rest) == 2 && port > 0 && port < 65536) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    wire->target_length = sizeof *six;
    return inet_pton(AF_INET6, host, &six->sin6_addr) == 1 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
  }
  if (sscanf(text, "%60[^:]:%5u%c", host, &port, &rest) != 2 || port == 0 || port > 65535) return false;
  four->sin_family = AF_INET;
  four->sin_port = htons((uint16_t)port);
  wire->target_length = sizeof *four;
  const char *address = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
  return inet_pton(AF_INET, address, &four->sin_addr) == 1 && ntohl(four->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* Binds the port, and finds out which it is. */
static bool reserve_port(Forwarder *forwarder, int port) {
  int on = 1;
  struct sockaddr_in address = { .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  forwarder->reserved_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (forwarder->reserved_fd < 0 || setsockopt(forwarder->reserved_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
      bind(forwarder->reserved_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      getsockname(forwarder->reserved_fd, (struct sockaddr *)&address, &length) < 0) {
    return false;
  }
  forwarder->port = ntohs(address.sin_port);
  return true;
}

/* 0, or an errno. */
static int start(Forwarder *forwarder, int port) {
  forwarder->wire.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  forwarder->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
  if (forwarder->wire.epoll_fd < 0 || forwarder->wake_fd < 0 ||
      epoll_ctl(forwarder->wire.epoll_fd, EPOLL_CTL_ADD, forwarder->wake_fd, &event) < 0 ||
      !reserve_port(forwarder, port)) {
    return errno;
  }
  forwarder->listen_fd = listen_again(forwarder);
  if (forwarder->listen_fd < 0) return errno;
  int error = loop_start_thread(forwarder->op.loop, &forwarder->thread, forward, forwarder);
  forwarder->started = error == 0;
  return error;
}

/* core.forwarder{target = "127.0.0.1:50051", port = 0} -> forwarder, or nil and a reason. Listens on 127.0.0.1; port 0
 * is chosen by the kernel. */
static int new_forwarder(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "target");
  const char *target = luaL_checkstring(L, -1);
  lua_getfield(L, 1, "port");
  lua_Integer port = luaL_optinteger(L, -1, 0);
  luaL_argcheck(L, port >= 0 && port <= 65535, 1, "a port is 0 to 65535");
  Wire wire = { .faults.cut_after = -1, .epoll_fd = -1 };
  luaL_argcheck(L, read_target(&wire, target), 1, "the target is a port of this machine, such as '127.0.0.1:50051'");

  Loop *loop = loop_get(L);
  Op **box = op_new_userdata(L, &forwarder_kind);
  Forwarder *forwarder = calloc(1, sizeof *forwarder);
  if (forwarder == NULL) return luaL_error(L, "not enough memory");
  op_init(&forwarder->op, &forwarder_kind, loop);
  forwarder->wire = wire;
  forwarder->faults = wire.faults;
  forwarder->reserved_fd = forwarder->listen_fd = forwarder->wake_fd = -1;
  pthread_mutex_init(&forwarder->lock, NULL);
  pthread_cond_init(&forwarder->obeyed, NULL);
  op_adopt(L, box, &forwarder->op);
  int error = start(forwarder, (int)port);
  if (error == 0) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "cannot forward from port %d: %s", (int)port, strerror(error));
  return 2;
}

static int forwarder_port(lua_State *L) {
  lua_pushinteger(L, check_forwarder(L)->port);
  return 1;
}

/* Pushes true, or nil and a reason. */
static int change(lua_State *L, Forwarder *forwarder, const Faults *faults) {
  int error = ask(forwarder, CHANGE, faults);
  if (error == 0) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "cannot listen on port %d again: %s", forwarder->port, strerror(error));
  return 2;
}

/*
 * forwarder:set{drop =, delay =, bandwidth =, refuse =, half_open =, cut_after =} -> true, or nil and a reason: what is
 * not named stays as it is, false turns it off. drop: true, "up" (towards the server) or "down"; a connection that has
 * lost bytes never delivers any again. delay: seconds. bandwidth: bytes a second in each direction of each connection.
 * refuse: nobody listens. half_open: connections are accepted, nothing is read. cut_after: bytes towards the client of
 * each connection, from now on, before it ends.
 */
static int forwarder_set(lua_State *L) {
  Forwarder *forwarder = check_forwarder(L);
  Faults faults = forwarder->faults;
  faults_read(L, 2, &faults);
  return change(L, forwarder, &faults);
}

/* forwarder:clear() -> true, or nil and a reason: all faults off. */
static int forwarder_clear(lua_State *L) {
  static const Faults none = { .cut_after = -1 };
  return change(L, check_forwarder(L), &none);
}

/* forwarder:reset(): ends all connections with a RST. */
static int forwarder_reset(lua_State *L) {
  ask(check_forwarder(L), RESET, NULL);
  return 0;
}

/* forwarder:close_connections(): ends all connections with a FIN. */
static int forwarder_close_connections(lua_State *L) {
  ask(check_forwarder(L), FINISH, NULL);
  return 0;
}

static void set_count(lua_State *L, const char *name, atomic_llong *count) {
  lua_pushinteger(L, (lua_Integer)atomic_load(count));
  lua_setfield(L, -2, name);
}

/* forwarder:stats() -> {connections =, accepted =, up =, down =, dropped =}: open and ever accepted connections, bytes.
 * The forwarder becomes ready when a connection came or ended. */
static int forwarder_stats(lua_State *L) {
  Forwarder *forwarder = check_forwarder(L);
  op_hold(L);
  lua_createtable(L, 0, 5);
  set_count(L, "connections", &forwarder->open);
  set_count(L, "accepted", &forwarder->accepted);
  set_count(L, "up", &forwarder->wire.traffic.up);
  set_count(L, "down", &forwarder->wire.traffic.down);
  set_count(L, "dropped", &forwarder->wire.traffic.dropped);
  op_let_go(L);
  return 1;
}

/* forwarder:close(): ends all connections and the thread. */
static int close_forwarder(lua_State *L) {
  Forwarder *forwarder = (Forwarder *)op_disown(L, 1, &forwarder_kind);
  if (forwarder == NULL) return 0;
  if (forwarder->started) {
    ask(forwarder, STOP, NULL);
    pthread_join(forwarder->thread, NULL);
  }
  close_fd(forwarder->reserved_fd);
  close_fd(forwarder->listen_fd);
  close_fd(forwarder->wake_fd);
  close_fd(forwarder->wire.epoll_fd);
  op_release(&forwarder->op);
  return 0;
}

void forwarder_register(lua_State *L) {
  static const luaL_Reg methods[] = { { "port", forwarder_port },
                                      { "set", forwarder_set },
                                      { "clear", forwarder_clear },
                                      { "reset", forwarder_reset },
                                      { "close_connections", forwarder_close_connections },
                                      { "stats", forwarder_stats },
                                      { NULL, NULL } };
  static const luaL_Reg functions[] = { { "forwarder", new_forwarder }, { NULL, NULL } };
  op_kind_register(L, &forwarder_kind, methods, close_forwarder);
  luaL_setfuncs(L, functions, 0);
}
