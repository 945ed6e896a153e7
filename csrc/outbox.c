#include "outbox.h"

#include <grpc/byte_buffer.h>
#include <stdlib.h>

enum { MAX_MESSAGES = 256, MAX_BYTES = 1024 * 1024 }; /* one message is let in while neither is reached */

struct OutboxItem {
  grpc_byte_buffer *message;
  size_t length;
  OutboxItem *next;
};

bool outbox_is_full(const Outbox *outbox) { return outbox->count >= MAX_MESSAGES || outbox->bytes >= MAX_BYTES; }

bool outbox_is_low(const Outbox *outbox) { return outbox->count <= MAX_MESSAGES / 2 && outbox->bytes <= MAX_BYTES / 2; }

bool outbox_put(Outbox *outbox, grpc_byte_buffer *message, size_t length) {
  OutboxItem *item = malloc(sizeof *item);
  if (item == NULL) {
    grpc_byte_buffer_destroy(message);
    return false;
  }
  *item = (OutboxItem){ .message = message, .length = length };
  if (outbox->last != NULL) {
    outbox->last->next = item;
  } else {
    outbox->first = item;
  }
  outbox->last = item;
  outbox->count++;
  outbox->bytes += length;
  return true;
}

grpc_byte_buffer *outbox_pop(Outbox *outbox) {
  OutboxItem *item = outbox->first;
  grpc_byte_buffer *message = item->message;
  outbox->first = item->next;
  if (outbox->first == NULL) outbox->last = NULL;
  outbox->count--;
  outbox->bytes -= item->length;
  free(item);
  return message;
}

void outbox_clear(Outbox *outbox) {
  while (outbox->first != NULL) grpc_byte_buffer_destroy(outbox_pop(outbox));
}
