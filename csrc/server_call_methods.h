/* What Lua sees of a call that the server has accepted. Lua thread. */
#ifndef WGTWO_SERVER_CALL_METHODS_H
#define WGTWO_SERVER_CALL_METHODS_H

#include <lua.h>

#include "server_call.h"

/* Pushes a closed userdata: the one at `spare` where that can be used again, else a new one. */
Op **server_call_userdata(lua_State *L, int spare);
/* Fills it with a call, taking over the caller's share. */
void server_call_fill(lua_State *L, Op **box, ServerCall *call);

void server_call_methods_register(lua_State *L);

#endif
