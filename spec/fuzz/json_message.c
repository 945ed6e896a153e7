/* Any text as the JSON of a message: a reason, or bytes that are well formed; and those bytes, written as JSON and read
 * again, are the same bytes. */

#include "every_type.h"
#include "json_read.h"
#include "json_write.h"
#include "wire.h"

static const MessageType *every;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "json_message: %s: %s\n", what, detail);
  abort();
}

/* The JSON of the bytes, NUL-terminated. */
static void write_text(Scratch *scratch, const uint8_t *bytes, size_t len, bool proto_names, unsigned indent) {
  JsonText json = { .out = scratch, .indent = indent };
  json_write_message(&json, every, bytes, len, proto_names);
  json_put(&json, "", 1);
  if (json.failed) abort();
}

static void read_again(const char *text, const uint8_t *bytes, size_t len) {
  Scratch scratch = { .len = 0 };
  Fill fill;
  size_t again_len = 0;
  arena_init(&scratch.arena, 16 << 10);
  const uint8_t *again = json_read_message(&scratch, &fill, every, text, strlen(text), &again_len);
  if (again == NULL) fail(fill.error, text);
  if (again_len != len || memcmp(again, bytes, len) != 0) fail("other bytes", text);
  scratch_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t text_len);

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t text_len) {
  if (every == NULL) every = schema_message(every_schema(), "test.Every", strlen("test.Every"));
  Scratch scratch = { .len = 0 };
  Fill fill;
  size_t len = 0;
  arena_init(&scratch.arena, 16 << 10);
  const uint8_t *bytes = json_read_message(&scratch, &fill, every, (const char *)text, text_len, &len);
  if (bytes != NULL) {
    const char *reason = wire_check(every, bytes, len);
    if (reason != NULL) fail("not well formed", reason);
    write_text(&scratch, bytes, len, false, 0);
    read_again(scratch.text, bytes, len);
    scratch.len = 0;
    write_text(&scratch, bytes, len, true, 2);
    read_again(scratch.text, bytes, len);
  } else if (fill.error[0] == '\0') {
    fail("no reason", "");
  }
  scratch_free(&scratch);
  return 0;
}
