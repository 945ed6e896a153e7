/* What Lua sees of a client's call. Lua thread. */
#ifndef WGTWO_CALL_METHODS_H
#define WGTWO_CALL_METHODS_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void call_register(lua_State *L);

#endif
