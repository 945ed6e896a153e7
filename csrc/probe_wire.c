/*
 * The probe below TLS: name, connection, and whether the other side speaks TLS or plaintext. The probe's thread.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

enum { TLS_ALERT = 21, TLS_HANDSHAKE = 22, HTTP2_SETTINGS = 4, FRAME_HEADER = 9 };

int64_t probe_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ProbeEvent probe_wait(const ProbeWire *wire, short events) {
  struct pollfd fds[] = { { .fd = wire->fd, .events = events }, { .fd = wire->probe->cancel_fd, .events = POLLIN } };
  for (;;) {
    int64_t left = wire->deadline_ms - probe_now_ms();
    int n = poll(fds, 2, left > 0 ? (int)left : 0);
    if (n > 0) return fds[1].revents != 0 ? PROBE_CANCELLED : PROBE_READY;
    if (n == 0 || errno != EINTR) return PROBE_TIMEOUT;
  }
}

/* Connecting */

static void set_timeout(Probe *probe) {
  probe_set(probe, "timeout", "no answer within %g s", probe->timeout_ms / 1000.0);
}

/* 0, or an errno: ETIMEDOUT, ECANCELED. */
static int connect_to(ProbeWire *wire, const struct addrinfo *address) {
  int error = 0;
  socklen_t length = sizeof error;
  wire->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (wire->fd < 0) return errno;
  if (connect(wire->fd, address->ai_addr, address->ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  switch (probe_wait(wire, POLLOUT)) {
  case PROBE_TIMEOUT: return ETIMEDOUT;
  case PROBE_CANCELLED: return ECANCELED;
  case PROBE_READY: break;
  }
  return getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

static void close_wire(ProbeWire *wire) {
  if (wire->fd >= 0) close(wire->fd);
  wire->fd = -1;
}

/* Connects to the first address that can be connected to; else sets why the last could not. */
static bool open_wire(ProbeWire *wire, const struct addrinfo *addresses) {
  int error = EADDRNOTAVAIL;
  for (const struct addrinfo *address = addresses; address != NULL; address = address->ai_next) {
    error = connect_to(wire, address);
    if (error == 0) return true;
    close_wire(wire);
    if (error == ETIMEDOUT || error == ECANCELED) break;
  }
  if (error == ECONNREFUSED) {
    probe_set(wire->probe, "refused", "nothing listens there: connection refused");
  } else if (error == ETIMEDOUT) {
    set_timeout(wire->probe);
  } else if (error == ECONNRESET) {
    probe_set(wire->probe, "reset", "the connection was reset");
  } else {
    probe_set(wire->probe, "other", "%s", strerror(error));
  }
  return false;
}

static struct addrinfo *resolve(Probe *probe) {
  struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *found = NULL;
  int failed = getaddrinfo(probe->host, probe->port, &hints, &found);
  if (failed == EAI_NONAME || failed == EAI_AGAIN) {
    probe_set(probe, "name_not_found", "no address is known for the name \"%s\"", probe->host);
  } else if (failed != 0) {
    probe_set(probe, "other", "the name \"%s\": %s", probe->host, gai_strerror(failed));
  }
  return failed == 0 ? found : NULL;
}

/* Plaintext */

typedef enum Greeting { GREETS_TIMEOUT, GREETS_CLOSED, GREETS_TLS, GREETS_HTTP2, GREETS_HTTP1, GREETS_OTHER } Greeting;

static bool send_preface(ProbeWire *wire) {
  return send(wire->fd, PROBE_PREFACE, PROBE_PREFACE_LENGTH, MSG_NOSIGNAL) == PROBE_PREFACE_LENGTH;
}

/* What the server says to HTTP/2's preface. */
static Greeting read_greeting(ProbeWire *wire) {
  unsigned char bytes[FRAME_HEADER] = { 0 };
  size_t length = 0;
  while (length < sizeof bytes) {
    if (probe_wait(wire, POLLIN) != PROBE_READY) return length == 0 ? GREETS_TIMEOUT : GREETS_OTHER;
    ssize_t n = recv(wire->fd, bytes + length, sizeof bytes - length, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0 && length == 0) return GREETS_CLOSED;
    if (n <= 0) break;
    length += (size_t)n;
  }
  if (bytes[0] == TLS_ALERT || bytes[0] == TLS_HANDSHAKE) return GREETS_TLS;
  if (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0) return GREETS_HTTP1;
  return length == FRAME_HEADER && bytes[3] == HTTP2_SETTINGS ? GREETS_HTTP2 : GREETS_OTHER;
}

/* On a connection of its own: whether the server speaks TLS at all, whatever comes of the handshake. */
static bool speaks_tls(const ProbeWire *wire, const struct addrinfo *addresses) {
  Probe attempt = { .host = wire->probe->host, .skip_verify = true, .cancel_fd = wire->probe->cancel_fd };
  ProbeWire other = { .probe = &attempt, .fd = -1, .deadline_ms = wire->deadline_ms };
  bool speaks = open_wire(&other, addresses) && probe_tls(&other);
  close_wire(&other);
  return speaks;
}

static bool speaks_plaintext(const ProbeWire *wire, const struct addrinfo *addresses) {
  Probe attempt = { .cancel_fd = wire->probe->cancel_fd };
  ProbeWire other = { .probe = &attempt, .fd = -1, .deadline_ms = wire->deadline_ms };
  bool opened = open_wire(&other, addresses) && send_preface(&other);
  Greeting greeting = opened ? read_greeting(&other) : GREETS_CLOSED;
  close_wire(&other);
  return greeting == GREETS_HTTP2 || greeting == GREETS_HTTP1;
}

static void probe_plaintext(ProbeWire *wire, const struct addrinfo *addresses) {
  Probe *probe = wire->probe;
  Greeting greeting = send_preface(wire) ? read_greeting(wire) : GREETS_CLOSED;
  if (greeting == GREETS_CLOSED && speaks_tls(wire, addresses)) greeting = GREETS_TLS;
  switch (greeting) {
  case GREETS_HTTP2: break;
  case GREETS_TIMEOUT: set_timeout(probe); break;
  case GREETS_CLOSED: probe_set(probe, "reset", "the server closed the connection"); break;
  case GREETS_TLS: probe_set(probe, "tls_server", "the server speaks TLS, and this connection is plaintext"); break;
  case GREETS_HTTP1: probe_set(probe, "other", "the server speaks HTTP/1, not gRPC"); break;
  case GREETS_OTHER: probe_set(probe, "other", "the server does not speak HTTP/2"); break;
  }
}

void probe_run(Probe *probe) {
  ProbeWire wire = { .probe = probe, .fd = -1, .deadline_ms = probe_now_ms() + probe->timeout_ms };
  struct addrinfo *addresses = resolve(probe);
  if (addresses == NULL) return;
  if (open_wire(&wire, addresses)) {
    if (probe->plaintext) {
      probe_plaintext(&wire, addresses);
    } else if (!probe_tls(&wire) && probe->reason == NULL) { /* it closed without a word */
      if (speaks_plaintext(&wire, addresses)) {
        probe_set(probe, "plaintext_server", "the server does not speak TLS, but plaintext");
      } else {
        probe_set(probe, "reset", "the server closed the connection during the TLS handshake");
      }
    }
  }
  close_wire(&wire);
  freeaddrinfo(addresses);
}
