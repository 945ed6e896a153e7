/*
 * Certificates for the sandbox and for tests: keys on P-256, signed by themselves or by an authority made the same way.
 * Lua thread. Nothing here is for production: keys are handed to Lua as text.
 */
#ifndef WGTWO_CERTIFICATE_H
#define WGTWO_CERTIFICATE_H

#include <lua.h>

/* Functions for the `httpd` table on top of the stack. */
void certificate_register(lua_State *L);

#endif
