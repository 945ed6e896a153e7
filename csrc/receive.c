#include "receive.h"

#include "wire.h"

bool receive_message(lua_State *L, Inbox *inbox, const MessageForm *form, const unsigned char *bytes, size_t length,
                     const char **reason) {
  *reason = wire_check(form->type, bytes, length);
  if (*reason != NULL) {
    inbox_take(inbox, length);
    *reason = message_push_reason(L, form->type, length, *reason);
    return true;
  }
  size_t count = inbox->count;
  Message *message = message_new_formed(L, form, bytes, length);
  if (inbox->count != count) {
    lua_pop(L, 1);
    return false;
  }
  message_fill(message, form, bytes, length);
  inbox_take(inbox, length);
  return true;
}
