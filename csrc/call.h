/*
 * A client's call, of any of the four kinds, as an operation.
 *
 * A unary call is one batch. A stream is four independent parts: the request side, the initial metadata, the replies
 * (read by the I/O thread into the inbox, one receive outstanding at a time) and the status, which is outstanding for
 * the whole call. Each outstanding batch owns the call, so that closing it only has to cancel and let go.
 */
#ifndef WGTWO_CALL_H
#define WGTWO_CALL_H

#include <lua.h>

/* Functions for the `core` table on top of the stack. */
void call_register(lua_State *L);

#endif
