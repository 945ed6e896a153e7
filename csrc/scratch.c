/* The working memory of scratch.h. */

#include "scratch.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>

enum { ARENA_BLOCK = 16 << 10, FIRST_TEXT = 4 << 10, KEPT_TEXT = 256 << 10 };

/* Its address is the registry's key of the scratch. */
static const char scratch_key;

void scratch_free(Scratch *scratch) {
  arena_free(&scratch->arena);
  free(scratch->text);
  scratch->text = NULL;
  scratch->len = scratch->size = 0;
}

static int scratch_gc(lua_State *L) {
  scratch_free(lua_touserdata(L, 1));
  return 0;
}

Scratch *scratch_push(lua_State *L) {
  Scratch *scratch = lua_newuserdatauv(L, sizeof *scratch, 0);
  memset(scratch, 0, sizeof *scratch);
  arena_init(&scratch->arena, ARENA_BLOCK);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, scratch_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return scratch;
}

Scratch *scratch_take(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key);
  Scratch *scratch = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (scratch == NULL) {
    scratch = scratch_push(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scratch_key);
    return scratch;
  }
  arena_reset(&scratch->arena);
  scratch->len = 0;
  if (scratch->size > KEPT_TEXT) {
    free(scratch->text);
    scratch->text = NULL;
    scratch->size = 0;
  }
  return scratch;
}

bool scratch_grow(Scratch *scratch, size_t more) {
  size_t size = scratch->size > 0 ? scratch->size : FIRST_TEXT;
  while (size - scratch->len < more) {
    if (size > SIZE_MAX / 2) return false;
    size *= 2;
  }
  char *text = realloc(scratch->text, size);
  if (text == NULL) return false;
  scratch->text = text;
  scratch->size = size;
  return true;
}
