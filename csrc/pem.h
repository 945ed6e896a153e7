/*
 * Certificates and keys in PEM, looked at before gRPC gets them: with ones that it cannot use it says no more than
 * "empty address list", and some (seen in 1.51) end the process.
 */
#ifndef WGTWO_PEM_H
#define WGTWO_PEM_H

#include <lua.h>

/* NULL where certificates, one or more, can be used, and key (NULL: none) is that of the first; else why not, a text of
 * one line that needs no freeing. Any thread. */
const char *pem_check(const char *certificates, const char *key);

void pem_register(lua_State *L);

#endif
