/* Working memory of one Lua state for what encodes, converts and writes: an arena and a text buffer, kept from use to
 * use.
 *
 * A userdata in the registry owns it, so a Lua error raised in the middle of anything leaks nothing. One user at a
 * time: whoever takes it must not call Lua code before being done, and allocating in Lua is calling it, since a
 * finalizer may run. Lua thread only. */

#ifndef WGTWO_SCRATCH_H
#define WGTWO_SCRATCH_H

#include <lua.h>
#include <stdbool.h>
#include <string.h>

#include "arena.h"

typedef struct Scratch {
  Arena arena;
  char *text; /* written from the start by whoever took the scratch */
  size_t len, size;
} Scratch;

/* The state's scratch, emptied. Raises when there is no memory. */
Scratch *scratch_take(lua_State *L);

/* Pushes a scratch of the caller's own, for work that allocates in Lua too. */
Scratch *scratch_push(lua_State *L);

/* Frees what it holds; it may be used again. */
void scratch_free(Scratch *scratch);

/* Makes room for `more` bytes of text; false when there is no memory. */
bool scratch_grow(Scratch *scratch, size_t more);

static inline bool scratch_append(Scratch *scratch, const char *bytes, size_t len) {
  if (scratch->size - scratch->len < len && !scratch_grow(scratch, len)) return false;
  memcpy(scratch->text + scratch->len, bytes, len);
  scratch->len += len;
  return true;
}

#endif
