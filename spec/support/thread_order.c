/*
 * For ThreadSanitizer: the order that gRPC's completion queue establishes. gRPC is not instrumented and synchronises
 * with atomics of its own, so that what happened before a batch was started would look concurrent with what happens
 * when its tag comes back.
 *
 * The linker puts these functions in the place of gRPC's (--wrap), in the build for ThreadSanitizer only.
 */
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

grpc_event __real_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved) {
  grpc_event event = __real_grpc_completion_queue_next(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

int __real_grpc_completion_queue_thread_local_cache_flush(grpc_completion_queue *queue, void **tag, int *ok);
int __wrap_grpc_completion_queue_thread_local_cache_flush(grpc_completion_queue *queue, void **tag, int *ok);
int __wrap_grpc_completion_queue_thread_local_cache_flush(grpc_completion_queue *queue, void **tag, int *ok) {
  int found = __real_grpc_completion_queue_thread_local_cache_flush(queue, tag, ok);
  if (found) __tsan_acquire(*tag);
  return found;
}

grpc_call_error __real_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t n, void *tag, void *reserved);
grpc_call_error __wrap_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t n, void *tag, void *reserved);
grpc_call_error __wrap_grpc_call_start_batch(grpc_call *call, const grpc_op *ops, size_t n, void *tag, void *reserved) {
  __tsan_release(tag);
  return __real_grpc_call_start_batch(call, ops, n, tag, reserved);
}

grpc_call_error __real_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
                                                grpc_metadata_array *metadata, grpc_completion_queue *bound,
                                                grpc_completion_queue *notified, void *tag);
grpc_call_error __wrap_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
                                                grpc_metadata_array *metadata, grpc_completion_queue *bound,
                                                grpc_completion_queue *notified, void *tag);
grpc_call_error __wrap_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
                                                grpc_metadata_array *metadata, grpc_completion_queue *bound,
                                                grpc_completion_queue *notified, void *tag) {
  __tsan_release(tag);
  return __real_grpc_server_request_call(server, call, details, metadata, bound, notified, tag);
}

grpc_call_error __real_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
                                                           gpr_timespec *deadline, grpc_metadata_array *metadata,
                                                           grpc_byte_buffer **payload, grpc_completion_queue *bound,
                                                           grpc_completion_queue *notified, void *tag);
grpc_call_error __wrap_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
                                                           gpr_timespec *deadline, grpc_metadata_array *metadata,
                                                           grpc_byte_buffer **payload, grpc_completion_queue *bound,
                                                           grpc_completion_queue *notified, void *tag);
grpc_call_error __wrap_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
                                                           gpr_timespec *deadline, grpc_metadata_array *metadata,
                                                           grpc_byte_buffer **payload, grpc_completion_queue *bound,
                                                           grpc_completion_queue *notified, void *tag) {
  __tsan_release(tag);
  return __real_grpc_server_request_registered_call(server, method, call, deadline, metadata, payload, bound, notified,
                                                    tag);
}

void __real_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag);
void __wrap_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag);
void __wrap_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag) {
  __tsan_release(tag);
  __real_grpc_server_shutdown_and_notify(server, queue, tag);
}

void __real_grpc_channel_watch_connectivity_state(grpc_channel *channel, grpc_connectivity_state last,
                                                  gpr_timespec deadline, grpc_completion_queue *queue, void *tag);
void __wrap_grpc_channel_watch_connectivity_state(grpc_channel *channel, grpc_connectivity_state last,
                                                  gpr_timespec deadline, grpc_completion_queue *queue, void *tag);
void __wrap_grpc_channel_watch_connectivity_state(grpc_channel *channel, grpc_connectivity_state last,
                                                  gpr_timespec deadline, grpc_completion_queue *queue, void *tag) {
  __tsan_release(tag);
  __real_grpc_channel_watch_connectivity_state(channel, last, deadline, queue, tag);
}
