/* Tables to bytes, in two steps: a Lua value fills protobuf-c structs in an arena, protobuf-c packs them.
 *
 * The arena belongs to the Lua state (a userdata in the registry) and is reset for every message, so an error raised
 * half way leaks nothing. Strings are not copied: the table holds them. Lua thread only. */

#ifndef WGTWO_ENCODE_H
#define WGTWO_ENCODE_H

#include <lua.h>

#include "schema.h"

/* Pushes the bytes of the value at `index` (a table or a message; for Timestamp and Duration a number or text too), as
 * a string. Raises on misuse, naming the path of the field. */
void encode_push(lua_State *L, const MessageType *type, int index);

/* Adds encode to the module table on top of the stack. */
void encode_register(lua_State *L);

#endif
