/* A message as a plain table, whole. Lua thread only. */

#ifndef WGTWO_TOTABLE_H
#define WGTWO_TOTABLE_H

#include <lua.h>

/* Adds totable to the module table on top of the stack. */
void totable_register(lua_State *L);

#endif
