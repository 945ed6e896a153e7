/* Values on the wire as Lua values: what message.c gives for one field and totable.c for all of them. Lua thread only.
 */

#ifndef WGTWO_PUSH_H
#define WGTWO_PUSH_H

#include <lua.h>

#include "read.h"

/* Pushes one value of any type but a message; a missing one (WIRE_MISSING) is the type's zero. */
void push_scalar(lua_State *L, const Field *field, const WireField *value);

/* Pushes what the field is when it is not set: its default. */
void push_default(lua_State *L, const Field *field);

/* Pushes {seconds =, nanos =}. */
void push_instant(lua_State *L, const MessageType *type, const uint8_t *bytes, size_t len);

static inline bool is_instant(const MessageType *type) {
  return type->kind == KIND_TIMESTAMP || type->kind == KIND_DURATION;
}

#endif
