/* HTTP requests (RFC 9110) through libcurl, off the Lua thread: core.http. */
#ifndef WGTWO_HTTP_H
#define WGTWO_HTTP_H

#include <lua.h>

void http_register(lua_State *L);

#endif
