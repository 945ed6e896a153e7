/* core.http, which loads wgtwo.http (http.c) when it is first called: HTTP requests through libcurl, off the Lua
 * thread.
 */
#ifndef WGTWO_HTTP_H
#define WGTWO_HTTP_H

#include <lua.h>

void http_register(lua_State *L);

#endif
