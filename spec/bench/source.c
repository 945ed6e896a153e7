/*
 * source MESSAGE_FILE COUNT DELAY_MS end|hold [CERT_FILE KEY_FILE]: an event source that is never the bottleneck.
 *
 * A gRPC server over HTTP/2 (nghttp2), with TLS where a certificate is given. Calls of Subscribe and of Stream… methods
 * are answered with COUNT copies of one message, packed into full DATA frames, and then ended or held open; any other
 * call with one empty message, DELAY_MS after its request. One thread a connection. Prints "PORT PID" when it listens;
 * ends with its parent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PREFIX = 5, BLOCK = 1 << 17, OUT = 1 << 18, IN = 1 << 16 };

/* What is served: set before the first connection, read by all threads. */
static unsigned char *block; /* as many prefixed messages as fill BLOCK, at least one */
static size_t block_size, message_size;
static uint64_t total; /* bytes of one answer */
static int64_t delay_ns;
static bool hold;
static SSL_CTX *tls; /* NULL: plaintext */

typedef struct Stream {
  int32_t id;
  bool streaming;
  uint64_t sent;       /* bytes of the answer so far */
  int64_t due;         /* of a delayed answer, in ns of the monotonic clock */
  struct Stream *next; /* in Connection.delayed */
} Stream;

typedef struct Connection {
  int fd;
  SSL *ssl; /* NULL: plaintext */
  nghttp2_session *session;
  Stream *delayed, **last; /* in order of due: the delay is the same for all */
  size_t used;             /* of out */
  unsigned char out[OUT], in[IN];
} Connection;

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

/* The socket, plain or TLS */

static ssize_t receive(Connection *c) {
  if (c->ssl != NULL) return SSL_read(c->ssl, c->in, IN);
  return recv(c->fd, c->in, IN, 0);
}

static bool send_out(Connection *c) {
  for (size_t at = 0; at < c->used;) {
    size_t left = c->used - at;
    ssize_t n = c->ssl != NULL ? SSL_write(c->ssl, c->out + at, (int)left) : send(c->fd, c->out + at, left, 0);
    if (n < 0 && c->ssl == NULL && errno == EINTR) continue;
    if (n <= 0) return false;
    at += (size_t)n;
  }
  c->used = 0;
  return true;
}

/* Gathers what the session has to say into large writes. */
static bool flush(Connection *c) {
  const uint8_t *bytes;
  ssize_t n;
  while ((n = nghttp2_session_mem_send(c->session, &bytes)) > 0) {
    if (c->used + (size_t)n > OUT && !send_out(c)) return false;
    memcpy(c->out + c->used, bytes, (size_t)n); /* one frame, 16 KiB at most */
    c->used += (size_t)n;
  }
  return n == 0 && send_out(c);
}

/* Answers */

static void end_ok(nghttp2_session *session, int32_t id, uint32_t *flags) {
  nghttp2_nv trailer = { (uint8_t *)"grpc-status", (uint8_t *)"0", 11, 1, NGHTTP2_NV_FLAG_NONE };
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  nghttp2_submit_trailer(session, id, &trailer, 1);
}

static ssize_t read_messages(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                             nghttp2_data_source *from, void *user) {
  Stream *stream = from->ptr;
  size_t n = 0;
  (void)user;
  while (n < room && stream->sent < total) {
    size_t at = stream->sent % block_size, part = block_size - at;
    if (part > room - n) part = room - n;
    if (part > total - stream->sent) part = total - stream->sent;
    memcpy(to + n, block + at, part);
    n += part;
    stream->sent += part;
  }
  if (n == 0 && hold) return NGHTTP2_ERR_DEFERRED;
  if (stream->sent == total && !hold) end_ok(session, id, flags);
  return (ssize_t)n;
}

static ssize_t read_empty(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                          nghttp2_data_source *from, void *user) {
  Stream *stream = from->ptr;
  size_t n = PREFIX - stream->sent < room ? PREFIX - stream->sent : room; /* the window may end within it */
  (void)user;
  memset(to, 0, n);
  stream->sent += n;
  if (stream->sent == PREFIX) end_ok(session, id, flags);
  return (ssize_t)n;
}

static void answer(Connection *c, Stream *stream) {
  nghttp2_nv headers[] = {
    { (uint8_t *)":status", (uint8_t *)"200", 7, 3, NGHTTP2_NV_FLAG_NONE },
    { (uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, NGHTTP2_NV_FLAG_NONE },
  };
  nghttp2_data_provider body = { .source.ptr = stream,
                                 .read_callback = stream->streaming ? read_messages : read_empty };
  nghttp2_submit_response(c->session, stream->id, headers, 2, &body);
}

static void answer_later(Connection *c, Stream *stream) {
  stream->due = now_ns() + delay_ns;
  stream->next = NULL;
  *c->last = stream;
  c->last = &stream->next;
}

static void forget(Connection *c, const Stream *stream) {
  for (Stream **link = &c->delayed; *link != NULL; link = &(*link)->next) {
    if (*link != stream) continue;
    *link = stream->next;
    if (stream->next == NULL) c->last = link;
    return;
  }
}

static void answer_due(Connection *c) {
  for (int64_t now = now_ns(); c->delayed != NULL && c->delayed->due <= now;) {
    Stream *stream = c->delayed;
    forget(c, stream);
    answer(c, stream);
  }
}

/* What nghttp2 tells */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  (void)user;
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return NGHTTP2_ERR_CALLBACK_FAILURE;
  stream->id = frame->hd.stream_id;
  nghttp2_session_set_stream_user_data(session, stream->id, stream);
  return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *user) {
  static const char subscribe[] = "/Subscribe", stream_kind[] = "/Stream";
  Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  (void)flags, (void)user;
  if (stream == NULL || name_length != 5 || memcmp(name, ":path", 5) != 0) return 0;
  stream->streaming = memmem(value, value_length, subscribe, sizeof subscribe - 1) != NULL ||
                      memmem(value, value_length, stream_kind, sizeof stream_kind - 1) != NULL;
  return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  if (stream == NULL || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  if (stream->streaming || delay_ns == 0) {
    answer(user, stream);
  } else {
    answer_later(user, stream);
  }
  return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user) {
  Stream *stream = nghttp2_session_get_stream_user_data(session, id);
  (void)error;
  if (stream == NULL) return 0;
  forget(user, stream);
  free(stream);
  return 0;
}

static nghttp2_session *new_session(Connection *c) {
  nghttp2_session *session;
  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
  nghttp2_session_server_new(&session, callbacks, c);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100000 } };
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
  return session;
}

/* One connection */

/* Waits for input until the next answer is due, and reads all there is. False: the connection is over. */
static bool take_input(Connection *c) {
  struct pollfd readable = { .fd = c->fd, .events = POLLIN };
  struct timespec wait, *at_most = NULL;
  if (c->delayed != NULL) {
    int64_t left = c->delayed->due - now_ns();
    if (left < 0) left = 0;
    wait = (struct timespec){ left / 1000000000, left % 1000000000 };
    at_most = &wait;
  }
  if (ppoll(&readable, 1, at_most, NULL) <= 0) return true;
  do {
    ssize_t n = receive(c);
    if (n <= 0 || nghttp2_session_mem_recv(c->session, c->in, (size_t)n) < 0) return false;
  } while (c->ssl != NULL && SSL_pending(c->ssl) > 0);
  return true;
}

static void talk(Connection *c) {
  c->session = new_session(c);
  while (flush(c) && (nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session))) {
    if (!take_input(c)) break;
    answer_due(c);
  }
  nghttp2_session_del(c->session);
}

static void *serve(void *arg) {
  Connection *c = calloc(1, sizeof *c);
  int one = 1;
  if (c == NULL) die("serve");
  c->fd = (int)(intptr_t)arg;
  c->last = &c->delayed;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (tls != NULL) {
    c->ssl = SSL_new(tls);
    SSL_set_fd(c->ssl, c->fd);
  }
  if (c->ssl == NULL || SSL_accept(c->ssl) == 1) talk(c);
  SSL_free(c->ssl);
  close(c->fd);
  free(c);
  return NULL;
}

/* Set-up */

static int choose_h2(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                     unsigned int offered_length, void *arg) {
  static const unsigned char h2[] = "\x02h2";
  (void)ssl, (void)arg;
  int found = SSL_select_next_proto((unsigned char **)chosen, length, h2, 3, offered, offered_length);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void set_up_tls(const char *certificate, const char *key) {
  tls = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
    fprintf(stderr, "source: cannot use %s and %s\n", certificate, key);
    exit(1);
  }
  SSL_CTX_set_alpn_select_cb(tls, choose_h2, NULL);
}

static void load_message(const char *path, uint64_t count) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) die(path);
  size_t length = (size_t)ftell(file);
  rewind(file);
  message_size = PREFIX + length;
  size_t copies = message_size < BLOCK ? BLOCK / message_size : 1;
  block_size = copies * message_size;
  block = calloc(copies, message_size);
  if (block == NULL || fread(block + PREFIX, 1, length, file) != length) die(path);
  fclose(file);
  for (int i = 0; i < 4; i++) block[1 + i] = (unsigned char)(length >> (24 - 8 * i));
  for (size_t i = 1; i < copies; i++) memcpy(block + i * message_size, block, message_size);
  total = count * message_size;
}

static int listen_on_loopback(void) {
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) < 0)
    die("listen");
  printf("%d %d\n", ntohs(address.sin_port), (int)getpid());
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 7) {
    fprintf(stderr, "usage: source MESSAGE_FILE COUNT DELAY_MS end|hold [CERT_FILE KEY_FILE]\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  load_message(argv[1], strtoull(argv[2], NULL, 10));
  delay_ns = (int64_t)(atof(argv[3]) * 1e6);
  hold = strcmp(argv[4], "hold") == 0;
  if (argc == 7) set_up_tls(argv[5], argv[6]);
  for (int listener = listen_on_loopback();;) {
    int fd = accept(listener, NULL, NULL);
    pthread_t thread;
    if (fd < 0) continue;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) die("thread");
    pthread_detach(thread);
  }
}
