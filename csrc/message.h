/* Received messages, read lazily.
 *
 * A message is one userdata that holds its bytes, without __gc. It is checked once (wire_check); after that a field is
 * found by scanning when it is asked for. A submessage is a view: a userdata that points into its root and keeps it
 * alive through its one user value. Lua thread only. */

#ifndef WGTWO_MESSAGE_H
#define WGTWO_MESSAGE_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "schema.h"

typedef struct Message {
  const void *mark; /* message_mark: what tells a message from other userdata */
  const MessageType *type;
  const uint8_t *bytes; /* behind this struct, or inside the root's */
  size_t len;           /* 0 until the check has passed */
  size_t size;          /* bytes there are */
} Message;

/* Pushes a message of `len` bytes and returns the buffer to fill. It reads as empty until message_check has passed. */
uint8_t *message_new(lua_State *L, const MessageType *type, size_t len);

/* Checks the message at `index` (made by message_new, filled). NULL when it is well formed, and nothing is pushed; else
 * the reason, naming type and byte count: the text is pushed and lives as long as it stays on the stack. */
const char *message_check(lua_State *L, int index);

/* How Lua shall have a message. */
typedef struct MessageForm {
  const MessageType *type; /* of the bytes */
  const Field *part;       /* a singular submessage of the type: only that, empty when it is absent; NULL: the whole */
  int class;               /* stack index of the message's own metatable; 0: that of all messages */
  int owner;               /* stack index of its owner, a value that it keeps; used where it has a class */
} MessageForm;

/* Pushes room for the message that these bytes are, which wire_check has passed, to be filled with message_fill. Making
 * it may run finalizers, and they may take the bytes away: look again before. */
Message *message_new_formed(lua_State *L, const MessageForm *form, const uint8_t *bytes, size_t len);
void message_fill(Message *message, const MessageForm *form, const uint8_t *bytes, size_t len);

/* Pushes and returns the whole of the reason that wire_check has given, as message_check does. */
const char *message_push_reason(lua_State *L, const MessageType *type, size_t len, const char *reason);

/* The message at `index`, or NULL when the value is something else. */
const Message *message_test(lua_State *L, int index);

/* The same; raises an argument error when the value is something else. */
const Message *message_check_arg(lua_State *L, int arg);

/* Adds decode, totable, has, which, typename, bytes, is_message, type, delegate, view, owner and set_owner to the
 * module table on top of the stack. */
void message_register(lua_State *L);

#endif
