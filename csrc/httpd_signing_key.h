/*
 * RSA keys that sign the sandbox's id_tokens (RS256: RSASSA-PKCS1-v1_5 with SHA-256). Lua thread. Nothing here is for
 * production: the key can be taken out as text, so that a sandbox can go on with it after a restart.
 */
#ifndef WGTWO_HTTPD_SIGNING_KEY_H
#define WGTWO_HTTPD_SIGNING_KEY_H

#include <lua.h>

/* Functions for the `httpd` table on top of the stack. */
void signing_key_register(lua_State *L);

#endif
