#include "metadata.h"

#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

/* Leaves key and value of pair i on the stack, above what was there. */
static void push_pair(lua_State *L, int arg, lua_Integer i) {
  if (lua_rawgeti(L, arg, i) != LUA_TTABLE) luaL_argerror(L, arg, "metadata is a list of {key, value} pairs");
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
}

/* Raises unless the pair on top of the stack may be sent. Values are never shown: they may be secret. */
static void check_pair(lua_State *L, int arg) {
  if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
    luaL_argerror(L, arg, "metadata keys and values are strings");
  }
  size_t key_len, value_len;
  const char *key = lua_tolstring(L, -2, &key_len), *value = lua_tolstring(L, -1, &value_len);
  grpc_slice key_slice = grpc_slice_from_static_buffer(key, key_len);
  if (!grpc_header_key_is_legal(key_slice)) {
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "metadata key '%s': only lower-case letters, digits, '-', '_' and '.' are allowed", key));
  }
  if (!grpc_is_binary_header(key_slice) &&
      !grpc_header_nonbin_value_is_legal(grpc_slice_from_static_buffer(value, value_len))) {
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "metadata '%s': its value has a byte outside printable ASCII; use a key that ends in '-bin'",
                        key));
  }
}

Metadata *metadata_from_lua(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return NULL;
  luaL_checktype(L, arg, LUA_TTABLE);
  arg = lua_absindex(L, arg);
  luaL_checkstack(L, 8, NULL);
  lua_Integer count = (lua_Integer)lua_rawlen(L, arg);
  if (count == 0) return NULL;
  for (lua_Integer i = 1; i <= count; i++) {
    push_pair(L, arg, i);
    check_pair(L, arg);
    lua_pop(L, 2);
  }
  Metadata *metadata = calloc(1, sizeof *metadata + (size_t)count * sizeof metadata->pairs[0]);
  if (metadata == NULL) luaL_error(L, "not enough memory");
  atomic_init(&metadata->owners, 1);
  metadata->count = (size_t)count;
  for (lua_Integer i = 1; i <= count; i++) { /* nothing here can raise */
    size_t key_len, value_len;
    push_pair(L, arg, i);
    const char *key = lua_tolstring(L, -2, &key_len), *value = lua_tolstring(L, -1, &value_len);
    metadata->pairs[i - 1].key = grpc_slice_from_copied_buffer(key, key_len);
    metadata->pairs[i - 1].value = grpc_slice_from_copied_buffer(value, value_len);
    lua_pop(L, 2);
  }
  return metadata;
}

Metadata *metadata_own(Metadata *metadata) {
  if (metadata != NULL) atomic_fetch_add_explicit(&metadata->owners, 1, memory_order_relaxed);
  return metadata;
}

void metadata_release(Metadata *metadata) {
  if (metadata == NULL || atomic_fetch_sub_explicit(&metadata->owners, 1, memory_order_acq_rel) != 1) return;
  for (size_t i = 0; i < metadata->count; i++) {
    grpc_slice_unref(metadata->pairs[i].key);
    grpc_slice_unref(metadata->pairs[i].value);
  }
  free(metadata);
}

void metadata_array_own(const grpc_metadata_array *array) {
  for (size_t i = 0; i < array->count; i++) {
    grpc_slice_ref(array->metadata[i].key);
    grpc_slice_ref(array->metadata[i].value);
  }
}

void metadata_array_release(grpc_metadata_array *array) {
  for (size_t i = 0; i < array->count; i++) {
    grpc_slice_unref(array->metadata[i].key);
    grpc_slice_unref(array->metadata[i].value);
  }
  grpc_metadata_array_destroy(array);
}

static void push_slice(lua_State *L, grpc_slice slice) {
  lua_pushlstring(L, (const char *)GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
}

void metadata_push(lua_State *L, const grpc_metadata_array *array) {
  lua_createtable(L, (int)array->count, 0);
  for (size_t i = 0; i < array->count; i++) {
    lua_createtable(L, 2, 0);
    push_slice(L, array->metadata[i].key);
    lua_rawseti(L, -2, 1);
    push_slice(L, array->metadata[i].value);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}
