/*
 * From the inbox of a stream to a Lua message. Lua thread.
 */
#ifndef WGTWO_RECEIVE_H
#define WGTWO_RECEIVE_H

#include <lua.h>
#include <stdbool.h>

#include "inbox.h"
#include "message.h"

/*
 * Takes out the message that inbox_peek has shown, and pushes it; where it is none, *reason says why, and is pushed
 * instead. False, and nothing is pushed: a finalizer has taken it meanwhile, peek again.
 */
bool receive_message(lua_State *L, Inbox *inbox, const MessageForm *form, const unsigned char *bytes, size_t length,
                     const char **reason);

#endif
