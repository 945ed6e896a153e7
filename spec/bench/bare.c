/*
 * bare WHAT TARGET CA_FILE|- ARGUMENTS…: the least that a client on gRPC's C core can do, for others to be measured
 * against.
 *
 * One thread, one completion queue, nothing decoded:
 *   stream STREAMS EVENTS [MARK…]   reads STREAMS Subscribe calls until EVENTS have come, in all; memory and CPU at
 * each MARK unary  CALLS WINDOW             CALLS Ack calls, WINDOW in flight hold   STREAMS                  opens
 * STREAMS calls, one after another, and keeps them open until it is killed version Prints name=value pairs on one line.
 * Rates and CPU count from the first event, or the first call that was answered.
 */
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static grpc_channel *channel;
static grpc_completion_queue *queue;

static void die(const char *what) {
  fprintf(stderr, "bare: %s\n", what);
  exit(1);
}

/* Measuring */

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct Watch {
  double wall, cpu;
} Watch;

static Watch look(void) { return (Watch){ seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID) }; }

static long resident_kilobytes(void) {
  char line[256];
  long kilobytes = 0;
  FILE *status = fopen("/proc/self/status", "r");
  if (status == NULL) die("no /proc");
  while (fgets(line, sizeof line, status) != NULL && sscanf(line, "VmRSS: %ld", &kilobytes) != 1) continue;
  fclose(status);
  return kilobytes;
}

static void print_rate(long n, Watch from) {
  Watch to = look();
  printf("n=%ld rate=%.1f cpu=%.4f ", n, (double)n / (to.wall - from.wall), (to.cpu - from.cpu) / (double)n * 1e6);
}

/* Calls */

typedef struct Call {
  grpc_call *grpc;
  grpc_metadata_array headers, trailers;
  grpc_byte_buffer *reply;
  grpc_status_code status;
  grpc_slice details;
  double started;
  char opened, ended; /* tags; a received message has the call itself */
} Call;

/* Starts a call and its first batch: the request, and what else is given. */
static void start(Call *call, const char *path, gpr_timespec deadline, const char *request, const grpc_op *more,
                  size_t n_more, void *tag) {
  grpc_op ops[6];
  grpc_slice method = grpc_slice_from_static_string(path), slice = grpc_slice_from_copied_string(request);
  memset(ops, 0, sizeof ops);
  grpc_metadata_array_init(&call->headers);
  grpc_metadata_array_init(&call->trailers);
  call->grpc = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method, NULL, deadline, NULL);
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = grpc_raw_byte_buffer_create(&slice, 1);
  ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->headers;
  if (n_more > 0) memcpy(ops + 4, more, n_more * sizeof *more);
  if (grpc_call_start_batch(call->grpc, ops, 4 + n_more, tag, NULL) != GRPC_CALL_OK) die("cannot start a call");
  grpc_byte_buffer_destroy(ops[1].data.send_message.send_message);
  grpc_slice_unref(slice);
}

static grpc_op receive_status(Call *call) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  op.data.recv_status_on_client.trailing_metadata = &call->trailers;
  op.data.recv_status_on_client.status = &call->status;
  op.data.recv_status_on_client.status_details = &call->details;
  return op;
}

static grpc_op receive_message(Call *call) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_MESSAGE;
  op.data.recv_message.recv_message = &call->reply;
  return op;
}

static void finish(Call *call) {
  if (call->reply != NULL) grpc_byte_buffer_destroy(call->reply);
  grpc_metadata_array_destroy(&call->headers);
  grpc_metadata_array_destroy(&call->trailers);
  grpc_slice_unref(call->details);
  grpc_call_unref(call->grpc);
}

static grpc_event next_event(void) {
  return grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

/* Streams */

static void open_stream(Call *call) {
  start(call, "/wgtwo.events.v0.EventsService/Subscribe", gpr_inf_future(GPR_CLOCK_REALTIME), "\x0a\x01\x06", NULL, 0,
        &call->opened);
  grpc_op status = receive_status(call), message = receive_message(call);
  grpc_call_start_batch(call->grpc, &status, 1, &call->ended, NULL);
  grpc_call_start_batch(call->grpc, &message, 1, call, NULL);
}

/* Whether event brings a message: it is let go, and the next one is asked for. */
static bool take_message(const Call *calls, long n_calls, grpc_event event) {
  const char *at = event.tag, *first = (const char *)calls;
  if (at < first || at >= first + n_calls * (long)sizeof *calls || (at - first) % (long)sizeof *calls != 0)
    return false;
  Call *call = event.tag;
  if (call->reply == NULL) return false;
  grpc_byte_buffer_destroy(call->reply);
  grpc_op message = receive_message(call);
  grpc_call_start_batch(call->grpc, &message, 1, call, NULL);
  return true;
}

static void read_streams(long n_streams, long n_events, char **marks) {
  Call *calls = calloc((size_t)n_streams, sizeof *calls);
  Watch first = { 0, 0 };
  long mark = *marks != NULL ? atol(*marks) : 0, n = 0;
  for (long i = 0; i < n_streams; i++) open_stream(&calls[i]);
  while (n < n_events) {
    if (!take_message(calls, n_streams, next_event())) continue;
    if (n++ == 0) first = look();
    if (n == mark) {
      printf("rss.%ld=%ld cpu.%ld=%.4f ", n, resident_kilobytes(), n, (look().cpu - first.cpu) / (double)n * 1e6);
      mark = *++marks != NULL ? atol(*marks) : 0;
    }
  }
  print_rate(n, first);
}

static void hold_streams(long n_streams) {
  Call *calls = calloc((size_t)n_streams, sizeof *calls);
  for (long i = 0; i < n_streams; i++) {
    open_stream(&calls[i]);
    while (!take_message(calls, n_streams, next_event())) continue;
  }
  printf("pid=%d rss=%ld\n", (int)getpid(), resident_kilobytes());
  fflush(stdout);
  for (;;) next_event();
}

/* Unary calls */

static void start_ack(Call *call) {
  memset(call, 0, sizeof *call);
  call->started = seconds(CLOCK_MONOTONIC);
  grpc_op more[] = { receive_message(call), receive_status(call) };
  gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(10, GPR_TIMESPAN));
  start(call, "/wgtwo.events.v0.EventsService/Ack", deadline, "\x0a\x21_INBOX.abcdefghijklmnopqrstuv.xyz\x10\x05", more,
        2, call);
}

static double finish_ack(Call *call) {
  double latency = seconds(CLOCK_MONOTONIC) - call->started;
  if (call->status != GRPC_STATUS_OK) die("a call failed");
  finish(call);
  return latency;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void call_unary(long n_calls, long window) {
  Call *calls = calloc((size_t)window, sizeof *calls);
  double *latency = calloc((size_t)n_calls, sizeof *latency);
  start_ack(&calls[0]); /* connects */
  finish_ack(next_event().tag);
  Watch first = look();
  long sent = 0, done = 0;
  while (sent < window && sent < n_calls) start_ack(&calls[sent++]);
  while (done < n_calls) {
    Call *call = next_event().tag;
    latency[done++] = finish_ack(call);
    if (sent++ < n_calls) start_ack(call);
  }
  print_rate(n_calls, first);
  qsort(latency, (size_t)n_calls, sizeof *latency, by_value);
  printf("p50=%.1f p99=%.1f ", latency[n_calls / 2] * 1e6, latency[n_calls * 99 / 100] * 1e6);
}

/* Set-up */

static char *read_file(const char *path) {
  static char text[1 << 16];
  FILE *file = fopen(path, "rb");
  if (file == NULL) die(path);
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  return text;
}

static void connect_to(const char *target, const char *ca_file) {
  grpc_channel_credentials *credentials = strcmp(ca_file, "-") == 0
                                              ? grpc_insecure_credentials_create()
                                              : grpc_ssl_credentials_create(read_file(ca_file), NULL, NULL, NULL);
  queue = grpc_completion_queue_create_for_next(NULL);
  channel = grpc_channel_create(target, credentials, NULL);
  grpc_channel_credentials_release(credentials);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  grpc_init();
  if (strcmp(what, "version") == 0) {
    printf("grpc=%s ", grpc_version_string());
    argc = 0;
  } else if (argc > 4) {
    connect_to(argv[2], argv[3]);
  }
  if (strcmp(what, "stream") == 0 && argc > 5) {
    read_streams(atol(argv[4]), atol(argv[5]), argv + 6);
  } else if (strcmp(what, "unary") == 0 && argc == 6) {
    call_unary(atol(argv[4]), atol(argv[5]));
  } else if (strcmp(what, "hold") == 0 && argc == 5) {
    hold_streams(atol(argv[4]));
  } else if (argc > 0) {
    fprintf(stderr, "usage: bare stream|unary|hold TARGET CA_FILE|- ARGUMENTS, or bare version\n");
    return 2;
  }
  printf("rss=%ld\n", resident_kilobytes());
  fflush(stdout);
  _exit(0); /* without waiting for gRPC's threads */
}
