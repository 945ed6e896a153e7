/*
 * One connection through a forwarder: a client's socket, a socket to the server, and a bounded buffer for each
 * direction. All of it belongs to the forwarder's thread.
 *
 * A link is never waited for: link_step does whatever can be done now, and says when it has something to do again apart
 * from what epoll tells (edge-triggered, so that a socket that nobody reads costs nothing).
 */
#ifndef WGTWO_FORWARDER_LINK_H
#define WGTWO_FORWARDER_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* What the wire does. All off: it forwards. */
typedef struct Faults {
  bool drop_up, drop_down; /* bytes towards the server, towards the client, vanish */
  bool refuse;             /* nobody listens */
  bool half_open;          /* connections are accepted, nothing is read */
  double delay;            /* seconds that each byte takes */
  double bandwidth;        /* bytes a second in each direction of each connection; 0: no limit */
  int64_t cut_after;       /* bytes towards the client of each connection, before it ends; negative: never */
} Faults;

typedef struct Traffic {
  atomic_llong up, down, dropped; /* bytes */
} Traffic;

/* What all links of one forwarder have in common. */
typedef struct Wire {
  Faults faults;
  Traffic traffic;
  int epoll_fd;
  struct sockaddr_storage target;
  socklen_t target_length;
} Wire;

typedef struct Link Link;

/* One of the two sockets; what epoll has for it. */
typedef struct End {
  int fd; /* negative: not connected yet, or gone */
  Link *link;
} End;

/* A link for an accepted connection, which it takes over: NULL when memory is short, and client_fd is closed. */
Link *link_new(const Wire *wire, int client_fd);
void link_destroy(Link *link, const Wire *wire);

/* Does what can be done at this time, if it was touched or has come to its time; returns the time of the next thing to
 * do, INFINITY for none. */
double link_step(Link *link, Wire *wire, double now);

/* epoll reported something about one of the sockets, or settings have changed. */
void link_touch(Link *link);
/* epoll reported an error on this socket. */
void link_fail(Link *link, End *end, const Wire *wire);

/* New faults are in effect: what counts, counts from here. */
void link_faults_changed(Link *link, const Wire *wire);
/* Ends it in good form on both sides: what was not forwarded yet is lost. */
void link_finish(Link *link, double now);
/* Ends it with a RST on both sides. */
void link_reset(Link *link, const Wire *wire);
/* Has ended; may be destroyed. */
bool link_is_over(const Link *link);

/* The list of all links of a forwarder, which belongs to forwarder.c. */
Link *link_next(const Link *link);
void link_set_next(Link *link, Link *next);

#endif
