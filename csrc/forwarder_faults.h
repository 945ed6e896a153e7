/* A forwarder's faults as a script gives them. Lua thread. */
#ifndef WGTWO_FORWARDER_FAULTS_H
#define WGTWO_FORWARDER_FAULTS_H

#include <lua.h>

#include "forwarder_link.h"

/* Changes what the table at arg, the argument of forwarder:set, names; raises for what cannot be meant, and leaves the
 * faults then in any state. */
void faults_read(lua_State *L, int arg, Faults *faults);

#endif
