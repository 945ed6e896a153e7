/* What the files that build a schema share. Nothing else includes this. */

#ifndef WGTWO_SCHEMA_BUILD_H
#define WGTWO_SCHEMA_BUILD_H

#include "google/protobuf/descriptor.pb-c.h"
#include "schema.h"

typedef Google__Protobuf__FileDescriptorProto FileProto;
typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;
typedef Google__Protobuf__ServiceDescriptorProto ServiceProto;
typedef Google__Protobuf__MethodDescriptorProto MethodProto;

typedef struct Builder {
  Schema *schema;
  char *error;           /* SCHEMA_ERROR_SIZE bytes, filled by build_fail */
  uint32_t next_message; /* the second pass meets messages in the order of the first */
} Builder;

typedef enum SymbolKind { SYMBOL_NONE, SYMBOL_MESSAGE, SYMBOL_ENUM, SYMBOL_SERVICE, SYMBOL_METHOD } SymbolKind;

struct Symbol {
  const char *name;
  size_t len;
  uint32_t hash;
  SymbolKind kind;
  const void *what;
};

/* Writes the reason (one printable line) and returns false. */
bool build_fail(Builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Cleared memory of the schema's arena; NULL (with the reason written) when there is none. */
void *build_alloc(Builder *b, size_t count, size_t size);

/* A copy in the schema's arena. */
const char *build_text(Builder *b, const char *text, size_t len);

/* Checks that a name of the set is an identifier: letters, digits, '_', not starting with a digit. */
bool build_check_name(Builder *b, const char *name, const char *scope);

/* The symbol that a type name such as ".pkg.Type" points to; NULL with the reason written. */
const Symbol *build_resolve(Builder *b, const char *type_name, const char *user);

/* Fields, oneofs, defaults and the protobuf-c layout of one message, all symbols being known (schema_fields.c). */
bool build_fields(Builder *b, MessageType *type, const MessageProto *proto, bool proto3);

/* Where each field stands in the protobuf-c struct, and the descriptor (schema_layout.c). */
bool build_layout(Builder *b, MessageType *type, Field *fields);

/* Sets the kind of a well-known type whose fields are the known ones (schema_kind.c). */
void build_kind(MessageType *type);

/* Scope, release status and HTTP rule from the unknown fields of the options (schema_options.c). */
bool build_method_options(Builder *b, Method *method, const MethodProto *proto);

/* Name tables (schema_lookup.c). */
bool build_names(Builder *b, MessageType *type);
bool build_enum_index(Builder *b, EnumType *type, EnumValue *values);

/* The symbol table (schema_lookup.c). */
uint32_t symbol_hash(const char *name, size_t len);
const Symbol *symbol_find(const Schema *schema, const char *name, size_t len);

#endif
