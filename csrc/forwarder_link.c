#include "forwarder_link.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
  CAPACITY = 256 * 1024, /* of a direction's buffer */
  PARCELS = 256,         /* reads that a buffer can hold apart, each with its own time */
  ROUNDS = 16,           /* reads and writes of one link before the others have their turn */
  SLICES = 50            /* with limited bandwidth: at most this part of a second's bytes goes at once */
};
#define LINGER_SECONDS 1.0 /* how long the peers of a finished link have to close */

/* What one read brought, and when it is to arrive. */
typedef struct Parcel {
  double due;
  size_t length;
} Parcel;

/* One direction: a ring of bytes, cut into parcels. */
typedef struct Pipe {
  unsigned char *bytes;
  size_t first, used;
  Parcel parcels[PARCELS];
  size_t first_parcel, parcel_count;
  double next;    /* not before this time, for the bandwidth */
  bool ended;     /* the sender has half-closed */
  bool passed_on; /* and the receiver knows */
  bool lost;      /* something has vanished, so nothing can arrive any more */
} Pipe;

struct Link {
  End client, server;
  Pipe up, down;
  bool connected;
  bool over;
  double leaving; /* finished: closed at this time at the latest; 0 before */
  int64_t to_cut; /* bytes that may still go to the client; negative: all */
  double due;     /* when there is something to do */
  Link *next;
};

Link *link_next(const Link *link) { return link->next; }
void link_set_next(Link *link, Link *next) { link->next = next; }
bool link_is_over(const Link *link) { return link->over; }

/* Sockets */

static bool watch(const Wire *wire, End *end) {
  struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end };
  return epoll_ctl(wire->epoll_fd, EPOLL_CTL_ADD, end->fd, &event) == 0;
}

/* A child that is being forked may hold the socket as well for a moment. So closing alone neither takes it out of epoll
 * nor ends the connection. */
static void close_end(const Wire *wire, End *end, bool with_reset) {
  if (end->fd < 0) return;
  const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
  epoll_ctl(wire->epoll_fd, EPOLL_CTL_DEL, end->fd, NULL);
  if (with_reset) {
    connect(end->fd, &nobody, sizeof nobody); /* dissolves the connection with a RST */
  } else {
    shutdown(end->fd, SHUT_RDWR);
  }
  close(end->fd);
  end->fd = -1;
}

Link *link_new(const Wire *wire, int client_fd) {
  Link *link = calloc(1, sizeof *link);
  if (link == NULL) {
    close(client_fd);
    return NULL;
  }
  link->client = (End){ .fd = client_fd, .link = link };
  link->server = (End){ .fd = -1, .link = link };
  link->to_cut = wire->faults.cut_after;
  link->up.bytes = malloc(CAPACITY);
  link->down.bytes = malloc(CAPACITY);
  if (link->up.bytes == NULL || link->down.bytes == NULL || !watch(wire, &link->client)) {
    link_destroy(link, wire);
    return NULL;
  }
  return link;
}

void link_destroy(Link *link, const Wire *wire) {
  close_end(wire, &link->client, false);
  close_end(wire, &link->server, false);
  free(link->up.bytes);
  free(link->down.bytes);
  free(link);
}

void link_reset(Link *link, const Wire *wire) {
  close_end(wire, &link->client, true);
  close_end(wire, &link->server, true);
  link->over = true;
}

void link_finish(Link *link, double now) {
  if (link->over || link->leaving > 0) return;
  if (link->client.fd >= 0) shutdown(link->client.fd, SHUT_WR);
  if (link->server.fd >= 0) shutdown(link->server.fd, SHUT_WR);
  link->leaving = now + LINGER_SECONDS;
}

static Pipe *pipe_from(Link *link, const End *end) { return end == &link->client ? &link->up : &link->down; }

/* Whether what comes from this end vanishes. Once something did, everything does, as on a path that is gone for good.
 */
static bool is_dropped(Link *link, const End *end, const Wire *wire) {
  return (end == &link->client ? wire->faults.drop_up : wire->faults.drop_down) || pipe_from(link, end)->lost;
}

/* A peer has gone with an error. That vanishes too, or the other side learns of it. */
static void lose_end(Link *link, End *end, const Wire *wire) {
  if (!is_dropped(link, end, wire)) {
    link_reset(link, wire);
    return;
  }
  pipe_from(link, end)->lost = pipe_from(link, end)->ended = true;
  close_end(wire, end, false);
  if (link->client.fd < 0 && link->server.fd < 0) link->over = true;
}

void link_fail(Link *link, End *end, const Wire *wire) {
  if (end->fd >= 0 && !link->over) lose_end(link, end, wire);
}

/* Starts to connect, or sees how far that is. False: the server cannot be reached. */
static bool connect_server(Link *link, const Wire *wire) {
  End *server = &link->server;
  if (server->fd < 0) {
    server->fd = socket(wire->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->fd < 0 || !watch(wire, server)) return false;
    if (connect(server->fd, (const struct sockaddr *)&wire->target, wire->target_length) == 0) {
      link->connected = true;
    } else if (errno != EINPROGRESS) {
      return false;
    }
    return true;
  }
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  int error = 0;
  link->connected = getpeername(server->fd, (struct sockaddr *)&peer, &length) == 0;
  if (link->connected) return true;
  length = sizeof error;
  return getsockopt(server->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

/* Pipes. Reading and writing return whether something was moved. */

static void add_parcel(Pipe *pipe, size_t length, double due) {
  pipe->used += length;
  Parcel *last = &pipe->parcels[(pipe->first_parcel + pipe->parcel_count - 1) % PARCELS];
  if (pipe->parcel_count > 0 && last->due >= due) {
    last->length += length;
    return;
  }
  pipe->parcels[(pipe->first_parcel + pipe->parcel_count++) % PARCELS] = (Parcel){ due, length };
}

/* The free space that is in one piece. */
static size_t room(const Pipe *pipe, unsigned char **space) {
  size_t end = (pipe->first + pipe->used) % CAPACITY;
  *space = pipe->bytes + end;
  if (pipe->used == CAPACITY || pipe->parcel_count == PARCELS) return 0;
  return end >= pipe->first ? CAPACITY - end : pipe->first - end;
}

static void drop_bytes(Pipe *pipe, Wire *wire, size_t n) {
  pipe->lost = true;
  pipe->used = pipe->parcel_count = 0;
  atomic_fetch_add(&wire->traffic.dropped, (long long)n);
}

static bool read_into(Link *link, Pipe *pipe, End *from, Wire *wire, double now) {
  if (from->fd < 0 || pipe->ended) return false;
  bool drops = is_dropped(link, from, wire);
  if (drops && pipe->used > 0) drop_bytes(pipe, wire, pipe->used); /* what was on its way */
  unsigned char *space;
  size_t size = room(pipe, &space);
  if (size == 0) return false;
  ssize_t n = recv(from->fd, space, size, 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) lose_end(link, from, wire);
    return false;
  }
  pipe->ended = n == 0;
  if (drops) {
    drop_bytes(pipe, wire, (size_t)n);
  } else if (n > 0) {
    add_parcel(pipe, (size_t)n, wire->faults.delay > 0 ? now + wire->faults.delay : 0);
  }
  return true;
}

/* How many bytes may be written now, in one piece. */
static size_t due(const Link *link, const Pipe *pipe, const Wire *wire, double now) {
  const Parcel *parcel = &pipe->parcels[pipe->first_parcel];
  if (pipe->used == 0 || parcel->due > now) return 0;
  size_t size = parcel->length;
  if (size > CAPACITY - pipe->first) size = CAPACITY - pipe->first;
  if (wire->faults.bandwidth > 0) {
    if (pipe->next > now) return 0;
    size_t slice = (size_t)(wire->faults.bandwidth / SLICES) + 1;
    if (size > slice) size = slice;
  }
  if (pipe == &link->down && link->to_cut >= 0 && size > (uint64_t)link->to_cut) size = (size_t)link->to_cut;
  return size;
}

static void remove_bytes(Pipe *pipe, size_t n) {
  Parcel *parcel = &pipe->parcels[pipe->first_parcel];
  pipe->used -= n;
  pipe->first = pipe->used == 0 ? 0 : (pipe->first + n) % CAPACITY;
  parcel->length -= n;
  if (parcel->length > 0) return;
  pipe->first_parcel = (pipe->first_parcel + 1) % PARCELS;
  pipe->parcel_count--;
}

static bool write_from(Link *link, Pipe *pipe, End *to, Wire *wire, double now) {
  bool down = pipe == &link->down;
  if (to->fd < 0 || link->over) return false;
  if (down && link->to_cut == 0) {
    link_finish(link, now);
    return false;
  }
  if (pipe->used == 0 && pipe->ended && !pipe->lost && !pipe->passed_on) {
    pipe->passed_on = true;
    shutdown(to->fd, SHUT_WR);
    return false;
  }
  size_t size = due(link, pipe, wire, now);
  if (size == 0) return false;
  ssize_t n = send(to->fd, pipe->bytes + pipe->first, size, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) lose_end(link, to, wire);
    return false;
  }
  remove_bytes(pipe, (size_t)n);
  atomic_fetch_add(down ? &wire->traffic.down : &wire->traffic.up, n);
  if (down && link->to_cut >= 0) link->to_cut -= n;
  if (wire->faults.bandwidth > 0) pipe->next = now + (double)n / wire->faults.bandwidth;
  return true;
}

/* When this pipe can go on by itself. */
static double next_time(const Pipe *pipe, const Wire *wire, double now) {
  if (pipe->used == 0) return INFINITY;
  double when = pipe->parcels[pipe->first_parcel].due;
  if (wire->faults.bandwidth > 0 && pipe->next > when) when = pipe->next;
  return when > now ? when : INFINITY; /* due, and not written: epoll tells when there is room */
}

/* Steps */

/* Throws away what comes until the peers have closed, so that the end is a FIN and not a RST. */
static double step_leaving(Link *link, const Wire *wire, double now) {
  End *ends[] = { &link->client, &link->server };
  unsigned char scrap[4096];
  for (size_t i = 0; i < 2; i++) {
    ssize_t n = 1;
    while (ends[i]->fd >= 0 && (n = recv(ends[i]->fd, scrap, sizeof scrap, 0)) > 0) continue;
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || now >= link->leaving) close_end(wire, ends[i], false);
  }
  link->over = link->client.fd < 0 && link->server.fd < 0;
  return link->over ? INFINITY : link->leaving;
}

static bool both_passed_on(const Link *link) { return link->up.passed_on && link->down.passed_on; }

/* Both have half-closed, and at least one of them into the void. */
static bool both_ended(const Link *link) {
  return link->up.ended && link->down.ended && (link->up.lost || link->down.lost) && link->up.used == 0 &&
         link->down.used == 0;
}

static double step(Link *link, Wire *wire, double now) {
  if (link->leaving > 0) return step_leaving(link, wire, now);
  if (wire->faults.half_open) return INFINITY;
  if (!link->connected && !connect_server(link, wire)) {
    link_reset(link, wire);
    return INFINITY;
  }
  int rounds = 0;
  for (bool moved = true; moved && rounds < ROUNDS; rounds++) {
    moved = read_into(link, &link->up, &link->client, wire, now);
    if (link->connected) {
      if (write_from(link, &link->up, &link->server, wire, now)) moved = true;
      if (read_into(link, &link->down, &link->server, wire, now)) moved = true;
      if (write_from(link, &link->down, &link->client, wire, now)) moved = true;
    }
    if (link->over) return INFINITY;
    if (link->leaving > 0) return step_leaving(link, wire, now);
  }
  if (both_passed_on(link) || both_ended(link)) {
    link->over = true;
    return INFINITY;
  }
  if (rounds == ROUNDS) return now;
  return fmin(next_time(&link->up, wire, now), next_time(&link->down, wire, now));
}

double link_step(Link *link, Wire *wire, double now) {
  if (link->due <= now && !link->over) link->due = step(link, wire, now);
  return link->over ? INFINITY : link->due;
}

void link_touch(Link *link) { link->due = 0; }

void link_faults_changed(Link *link, const Wire *wire) {
  const Faults *faults = &wire->faults;
  link->to_cut = faults->cut_after;
  if (link->over || link->leaving > 0 || faults->drop_up || faults->drop_down) return;
  /* A peer that went into the void is known to be gone once the wire works again. */
  if ((link->up.lost && link->up.ended) || (link->down.lost && link->down.ended)) link_reset(link, wire);
}
