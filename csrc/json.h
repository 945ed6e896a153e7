/* JSON: messages by proto3's mapping (json_write.c, json_read.c) and plain Lua values (json.c). Lua thread only. */

#ifndef WGTWO_JSON_H
#define WGTWO_JSON_H

#include <lua.h>

/* Adds tojson, fromjson, json_decode, json_encode, json_array and null to the module table on top of the stack. */
void json_register(lua_State *L);

#endif
