/*
 * core.probe: why a connection to a gRPC server fails. gRPC's own words tell a certificate that is over from one of an
 * unknown CA as little as a server that wants a client certificate from one that speaks TLS where plaintext was tried.
 *
 * A short-lived thread connects once more, goes through the TLS handshake and listens for the server's first bytes,
 * never longer than the timeout; the result is an operation. Nothing of a call is sent.
 */
#ifndef WGTWO_PROBE_H
#define WGTWO_PROBE_H

#include <stdint.h>

#include "loop.h"

typedef struct Probe {
  Op op;
  /* what to do; not changed any more once the thread runs */
  char *host, *server_name, *roots, *cert, *key; /* NULL where not given */
  char port[8];
  bool plaintext, skip_verify;
  int timeout_ms;
  int cancel_fd; /* an eventfd: readable when nobody wants to know any more */

  atomic_bool finished; /* what follows is not written any more */
  const char *reason;   /* NULL: nothing is wrong */
  char text[256];
} Probe;

/* The reason and the text of the result, as printf does; the first that is set stays. The text is printable and one
 * line. */
__attribute__((format(printf, 3, 4))) void probe_set(Probe *probe, const char *reason, const char *format, ...);

/* probe_wire.c: all of it; the probe's thread. */
void probe_run(Probe *probe);

/* A connected socket with the time that is left for it. */
typedef struct ProbeWire {
  Probe *probe;
  int fd;
  int64_t deadline_ms; /* on the monotonic clock */
} ProbeWire;

/* What came of an attempt to read or write. */
typedef enum ProbeEvent { PROBE_READY, PROBE_TIMEOUT, PROBE_CANCELLED } ProbeEvent;

/* Milliseconds on the monotonic clock. */
int64_t probe_now_ms(void);

/* Waits until the wire can be read or written (POLLIN, POLLOUT). */
ProbeEvent probe_wait(const ProbeWire *wire, short events);

/* The first bytes that a client of HTTP/2 sends: the preface and empty settings. */
#define PROBE_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
enum { PROBE_PREFACE_LENGTH = 24 + 9 };

/* probe_tls.c. Goes through the handshake and sets what is wrong with it. True when the peer has said anything in TLS.
 */
bool probe_tls(ProbeWire *wire);

void probe_register(lua_State *L);

#endif
