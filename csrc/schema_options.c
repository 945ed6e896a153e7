/* The platform's own method options, which descriptor.proto does not know: they stand among the unknown fields of
 * MethodOptions. Of another vendor's set the same numbers may mean something else; what does not look right is left
 * out, and is no error. */

#include <stdio.h>
#include <string.h>

#include "schema_build.h"
#include "utf8.h"
#include "wire.h"

enum { SCOPE_OPTION = 50013, RELEASE_STATUS_OPTION = 50015, HTTP_OPTION = 72295728 };

/* wgtwo.ReleaseStatus by number; UNSPECIFIED is no status. */
static const char *const release_statuses[] = { NULL, "STABLE", "BETA", "DEPRECATED" };

/* HttpRule's pattern by field number. */
static const char *const http_verbs[] = { NULL, NULL, "GET", "PUT", "POST", "DELETE", "PATCH" };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The text of a length-prefixed option; NULL when it is none. protobuf-c keeps the length in front of an unknown
 * field's bytes. */
static bool option_bytes(const ProtobufCMessageUnknownField *option, const uint8_t **at, size_t *len) {
  if (option->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) return false;
  const uint8_t *start = option->data;
  *len = (size_t)wire_take_varint(&start);
  *at = start;
  return true;
}

static bool set_text(Builder *b, const char **text, const char *prefix, const uint8_t *bytes, size_t len) {
  if (len == 0 || !utf8_is_text((const char *)bytes, len)) return true;
  size_t prefix_len = strlen(prefix);
  char *copy = build_alloc(b, prefix_len + len + 1, 1);
  if (copy == NULL) return false;
  memcpy(copy, prefix, prefix_len);
  memcpy(copy + prefix_len, bytes, len);
  *text = copy;
  return true;
}

static bool set_http(Builder *b, Method *method, const uint8_t *at, size_t len) {
  const uint8_t *end = at + len;
  WireField field;
  while (at < end && wire_read(&at, end, &field)) {
    if (field.wire_type != WIRE_BYTES || field.number >= COUNT(http_verbs) || http_verbs[field.number] == NULL)
      continue;
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s ", http_verbs[field.number]);
    return set_text(b, &method->http, prefix, field.data, field.len);
  }
  return true;
}

bool build_method_options(Builder *b, Method *method, const MethodProto *proto) {
  if (proto->options == NULL) return true;
  const ProtobufCMessage *options = &proto->options->base;
  for (unsigned i = 0; i < options->n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *option = &options->unknown_fields[i];
    const uint8_t *at;
    size_t len;
    bool stored = true;
    if (option->tag == RELEASE_STATUS_OPTION && option->wire_type == PROTOBUF_C_WIRE_TYPE_VARINT) {
      uint64_t status = wire_varint(option->data);
      if (status < COUNT(release_statuses)) method->status = release_statuses[status];
    } else if (option->tag == SCOPE_OPTION && option_bytes(option, &at, &len)) {
      stored = set_text(b, &method->scope, "", at, len);
    } else if (option->tag == HTTP_OPTION && option_bytes(option, &at, &len)) {
      stored = set_http(b, method, at, len);
    }
    if (!stored) return false;
  }
  return true;
}
