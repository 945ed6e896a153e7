/* Messages as JSON, by proto3's mapping. No Lua. */

#ifndef WGTWO_JSON_WRITE_H
#define WGTWO_JSON_WRITE_H

#include "json_text.h"
#include "schema.h"

/* Writes the checked bytes of a message. Uses the arena of json->out. `proto_names`: names as in the .proto file. A
 * Timestamp or Duration out of its range, which has no text, becomes an object of its two fields. */
void json_write_message(JsonText *json, const MessageType *type, const uint8_t *bytes, size_t len, bool proto_names);

#endif
