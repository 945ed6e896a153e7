/* The schema: what a FileDescriptorSet says, as an index for reading and writing messages.
 *
 * A Schema owns every type below it, in one arena, and never changes once built: any thread may read it. In Lua its
 * memory is userdata that the registry holds until the state closes, without finalizers, so a MessageType pointer is
 * good for as long as any Lua code runs, the finalizers of a closing state included. Each MessageType carries a
 * protobuf-c descriptor built at run time; protobuf-c packs (and in the tests unpacks) with it. */

#ifndef WGTWO_SCHEMA_H
#define WGTWO_SCHEMA_H

#include <lua.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

typedef struct Schema Schema;
typedef struct Symbol Symbol;
typedef struct MessageType MessageType;
typedef struct EnumType EnumType;
typedef struct Field Field;
typedef struct Oneof Oneof;
typedef struct Method Method;
typedef struct Service Service;

/* Deepest nesting of messages, read or written; the outermost one is not counted. */
#define SCHEMA_MAX_NESTING 100

/* The numbers that FieldDescriptorProto.Type has. */
typedef enum FieldType {
  FIELD_DOUBLE = 1,
  FIELD_FLOAT = 2,
  FIELD_INT64 = 3,
  FIELD_UINT64 = 4,
  FIELD_INT32 = 5,
  FIELD_FIXED64 = 6,
  FIELD_FIXED32 = 7,
  FIELD_BOOL = 8,
  FIELD_STRING = 9,
  FIELD_MESSAGE = 11,
  FIELD_BYTES = 12,
  FIELD_UINT32 = 13,
  FIELD_ENUM = 14,
  FIELD_SFIXED32 = 15,
  FIELD_SFIXED64 = 16,
  FIELD_SINT32 = 17,
  FIELD_SINT64 = 18
} FieldType;

/* Message types that Lua or JSON treat in a way of their own. A type has its kind only when its fields are the known
 * ones. */
typedef enum MessageKind {
  KIND_PLAIN,
  KIND_TIMESTAMP,
  KIND_DURATION,
  KIND_FIELD_MASK,
  KIND_STRUCT,
  KIND_VALUE,
  KIND_LIST_VALUE,
  KIND_WRAPPER,
  KIND_ANY
} MessageKind;

struct Field {
  const char *name;
  uint32_t name_len;
  uint32_t number;
  FieldType type;
  uint8_t wire_type; /* of one value; a packed list is length-prefixed */
  bool repeated;     /* maps too */
  bool map;          /* repeated map entries; the entry's type is `message` */
  bool required;     /* proto2 */
  bool packed;
  bool presence; /* a value equal to the default is still sent: optional, oneof members, proto2, map entries */
  bool proto3_optional;
  uint16_t index;              /* in MessageType.fields and in the descriptor's */
  uint32_t offset;             /* in the protobuf-c struct */
  uint32_t quantifier;         /* has-flag, count, or oneof case in the protobuf-c struct; 0: none */
  const Oneof *oneof;          /* NULL outside of a oneof; the hidden one of a proto3 `optional` is left out */
  const MessageType *message;  /* FIELD_MESSAGE */
  const EnumType *enumeration; /* FIELD_ENUM */
  const char *json_name;
  uint32_t json_name_len;
  const char *json_key; /* json_name as it stands in JSON, quoted, with the colon */
  uint32_t json_key_len;
  const char *proto_key; /* the same of `name` */
  uint32_t proto_key_len;
  const char *default_text; /* string, bytes: proto2's default; NULL: empty */
  size_t default_len;
  union {
    int64_t integer; /* every integer type, bool and enum */
    double number;   /* float, double */
  } default_value;
};

struct Oneof {
  const char *name;
  const MessageType *owner;
  const Field **fields;
  uint16_t field_count;
  uint16_t index;
  uint32_t case_offset;
};

/* Names to fields: open addressing, a power of two of places, at most half of them taken. A place keeps both ends of
 * the name, so that names of up to 16 characters, which most are, compare without a look at the text. */
typedef struct NamePlace {
  uint64_t head, tail;
  const char *name;
  const Field *field; /* NULL: free */
  size_t len;
} NamePlace;

typedef struct FieldNames {
  NamePlace *places;
  uint32_t mask;
} FieldNames;

struct MessageType {
  ProtobufCMessageDescriptor descriptor; /* first: a descriptor pointer is a type pointer */
  const Schema *schema;
  const char *name; /* full, without a leading dot */
  const char *file;
  uint16_t field_count;
  uint16_t oneof_count;    /* without the hidden ones */
  const Field *fields;     /* by number */
  const Field **by_number; /* fields with numbers below `direct`; NULL where there is none */
  uint32_t direct;
  const Field **declared; /* in the order of the .proto file */
  const Oneof *oneofs;
  FieldNames names;      /* proto names */
  FieldNames json_names; /* JSON names, and proto names that are no other field's JSON name */
  MessageKind kind;
  bool map_entry;
  bool has_required; /* a field of it is proto2's `required` */
};

typedef struct EnumValue {
  const char *name;
  uint32_t name_len;
  int32_t number;
} EnumValue;

struct EnumType {
  ProtobufCEnumDescriptor descriptor;
  const char *name;
  const char *file;
  const EnumValue *values; /* as declared, aliases too */
  uint32_t value_count;
  const EnumValue **by_number; /* sorted; of aliases the first declared */
  uint32_t number_count;
  const EnumValue **by_name; /* sorted by name */
  bool null_value;           /* google.protobuf.NullValue */
};

struct Method {
  const char *name; /* "pkg.Service/Method" */
  const char *short_name;
  const Service *service;
  const MessageType *input, *output;
  bool client_streaming, server_streaming;
  const char *scope;  /* OAuth scope, NULL when none is named */
  const char *status; /* release status, NULL when none is named */
  const char *http;   /* "GET /path", NULL when none is named */
};

struct Service {
  const char *name;
  const char *file;
  const Method *methods;
  uint32_t method_count;
};

/* Everything of a set, each list in the set's own order. */
struct Schema {
  Arena arena;
  MessageType **messages;
  EnumType **enums;
  Service **services;
  uint32_t message_count, enum_count, service_count;
  Symbol *symbols; /* full names of messages, enums, services and methods */
  uint32_t symbol_mask;
};

/* -- Building, without Lua (schema_build.c) -- */

#define SCHEMA_ERROR_SIZE 256

/* Builds a schema from a serialised FileDescriptorSet, all of it in memory from `source`. Returns NULL with the reason
 * in `error` (one line). The bytes are not needed afterwards. */
Schema *schema_build_in(ArenaSource source, void *owner, const uint8_t *set, size_t len, char error[SCHEMA_ERROR_SIZE]);

/* The same in memory of its own, to be released with schema_free. */
Schema *schema_build(const uint8_t *set, size_t len, char error[SCHEMA_ERROR_SIZE]);
void schema_free(Schema *schema);

/* By full name, without a leading dot; NULL when there is none. A method is "pkg.Service/Method" or
 * "pkg.Service.Method". */
const MessageType *schema_message(const Schema *schema, const char *name, size_t len);
const MessageType *schema_message_of_url(const Schema *schema, const char *url,
                                         size_t len); /* of an Any: behind the '/' */
const EnumType *schema_enum(const Schema *schema, const char *name, size_t len);
const Service *schema_service(const Schema *schema, const char *name, size_t len);
const Method *schema_method(const Schema *schema, const char *name, size_t len);

/* -- Looking up, on hot paths -- */

/* The field with this number; NULL when the type has none. */
const Field *schema_field_by_high_number(const MessageType *type, uint32_t number);
static inline const Field *schema_field_by_number(const MessageType *type, uint32_t number) {
  return number < type->direct ? type->by_number[number] : schema_field_by_high_number(type, number);
}

/* The field with this proto name; NULL when the type has none. */
const Field *schema_field(const MessageType *type, const char *name, size_t len);

/* The field that JSON calls so, by its JSON name or its proto name. */
const Field *schema_field_by_json_name(const MessageType *type, const char *name, size_t len);

/* The oneof of this name; NULL when the type has none. */
const Oneof *schema_oneof(const MessageType *type, const char *name, size_t len);

const EnumValue *schema_enum_value(const EnumType *type, int32_t number);
const EnumValue *schema_enum_value_by_name(const EnumType *type, const char *name, size_t len);

/* -- For errors (schema_hint.c) -- */

#define SCHEMA_HINT_SIZE 256

/* What helps whoever gave a name that the type does not have, to stand behind it: " (did you mean 'x'?)" where one is
 * near, else " (it has: a, b, …)". Returns the hint. */
const char *schema_hint_field(const MessageType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]);
const char *schema_hint_oneof(const MessageType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]);
const char *schema_hint_enum_value(const EnumType *type, const char *name, size_t len, char hint[SCHEMA_HINT_SIZE]);

/* -- Lua (schema.c) -- */

/* The type handle at `arg`; raises an argument error when it is something else. */
const MessageType *schema_check_type(lua_State *L, int arg);

/* Pushes the one handle of a type. */
void schema_push_type(lua_State *L, const MessageType *type);

/* Adds core.schema to the module table on top of the stack. */
void schema_register(lua_State *L);

#endif
