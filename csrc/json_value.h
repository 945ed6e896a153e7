/* JSON of plain Lua values: objects and arrays are tables, null is core.null. Lua thread only. */

#ifndef WGTWO_JSON_VALUE_H
#define WGTWO_JSON_VALUE_H

#include <lua.h>

/* Adds json_decode, json_encode, json_array and null to the module table on top of the stack. */
void json_value_register(lua_State *L);

#endif
