/* What a module of its own needs before it uses loop.h and op.h. */
#ifndef WGTWO_LOOP_LENT_H
#define WGTWO_LOOP_LENT_H

#include "loop.h"

/* Loads wgtwo.core and takes its functions. Raises where the core is of another build than this module. Lua thread. */
void loop_borrow(lua_State *L, const char *module);

#endif
