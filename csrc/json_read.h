/* JSON to messages, by proto3's mapping, through the structs that encoding fills. No Lua. */

#ifndef WGTWO_JSON_READ_H
#define WGTWO_JSON_READ_H

#include "fill.h"
#include "scratch.h"

/* Reads the JSON of a message and packs it. The bytes lie in the scratch's arena; NULL with the reason in
 * `fill->error`. */
const uint8_t *json_read_message(Scratch *scratch, Fill *fill, const MessageType *type, const char *text,
                                 size_t text_len, size_t *len);

#endif
