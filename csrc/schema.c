/* Schemas and types in Lua.
 *
 * A schema userdata stands in the registry, so that it lives as long as the state: messages and types point into it
 * without holding it. Its user values: the bytes of its set, the documentation once somebody asked, and the blocks of
 * memory that the Schema lies in. Those are userdata: Lua frees them after the last finalizer of a closing state has
 * run. A type has one handle, found in the registry's table of handles by the type's address. */

#include "schema.h"

#include <lauxlib.h>

#include "schema_describe.h"

/* Their addresses are keys of the registry. */
static const char type_metatable_key, handles_key, schema_metatable_key;

typedef struct SchemaHandle {
  Schema *schema;
} SchemaHandle;

/* The mark tells it from other userdata, which is quicker than comparing metatables. */
typedef struct TypeHandle {
  const char *mark; /* type_metatable_key's address */
  const MessageType *type;
} TypeHandle;

/* -- Types -- */

const MessageType *schema_check_type(lua_State *L, int arg) {
  const TypeHandle *handle = lua_rawlen(L, arg) == sizeof *handle ? lua_touserdata(L, arg) : NULL;
  if (handle != NULL && handle->mark == &type_metatable_key) return handle->type;
  luaL_typeerror(L, arg, "message type");
  return NULL;
}

void schema_push_type(lua_State *L, const MessageType *type) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &handles_key);
  if (lua_rawgetp(L, -1, type) == LUA_TNIL) {
    lua_pop(L, 1);
    TypeHandle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->mark = &type_metatable_key;
    handle->type = type;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &type_metatable_key);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, type);
  }
  lua_remove(L, -2);
}

static int type_tostring(lua_State *L) {
  lua_pushstring(L, schema_check_type(L, 1)->name);
  return 1;
}

/* -- Schemas -- */

static const Schema *check_schema(lua_State *L) {
  const SchemaHandle *handle = lua_touserdata(L, 1);
  if (handle != NULL && lua_getmetatable(L, 1)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &schema_metatable_key);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (same && handle->schema != NULL) return handle->schema;
  }
  luaL_typeerror(L, 1, "schema");
  return NULL;
}

enum { SET_VALUE = 1, DOCUMENTATION_VALUE, BLOCKS_VALUE };

/* A block of memory to be allocated by Lua, protected, so that running out of it is no jump through the builder. */
typedef struct Blocks {
  lua_State *L;
  int list; /* stack index of the table that holds them */
  size_t size;
  void *block;
} Blocks;

static int new_block(lua_State *L) {
  Blocks *blocks = lua_touserdata(L, 2);
  blocks->block = lua_newuserdatauv(L, blocks->size, 0);
  lua_rawseti(L, 1, (lua_Integer)lua_rawlen(L, 1) + 1);
  return 0;
}

static void *block_source(void *owner, size_t size) {
  Blocks *blocks = owner;
  blocks->size = size;
  lua_pushcfunction(blocks->L, new_block);
  lua_pushvalue(blocks->L, blocks->list);
  lua_pushlightuserdata(blocks->L, blocks);
  if (lua_pcall(blocks->L, 2, 0, 0) == LUA_OK) return blocks->block;
  lua_pop(blocks->L, 1);
  return NULL;
}

/* schema(bytes) -> schema | nil, text */
static int core_schema(lua_State *L) {
  size_t len;
  const char *set = luaL_checklstring(L, 1, &len);
  SchemaHandle *handle = lua_newuserdatauv(L, sizeof *handle, 3);
  handle->schema = NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &schema_metatable_key);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, SET_VALUE);
  lua_newtable(L);
  Blocks blocks = { L, lua_gettop(L), 0, NULL };
  char error[SCHEMA_ERROR_SIZE];
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  handle->schema = schema_build_in(block_source, &blocks, (const uint8_t *)set, len, error);
  if (handle->schema == NULL) {
    lua_pushnil(L);
    lua_pushstring(L, error);
    return 2;
  }
  lua_setiuservalue(L, -2, BLOCKS_VALUE);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, handle->schema);
  return 1;
}

/* schema:type(name) -> TYPE | nil */
static int schema_type(lua_State *L) {
  const Schema *schema = check_schema(L);
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  const MessageType *type = schema_message(schema, name, len);
  if (type != NULL)
    schema_push_type(L, type);
  else
    lua_pushnil(L);
  return 1;
}

/* schema:types() -> names of the messages, map entries left out */
static int schema_types(lua_State *L) {
  const Schema *schema = check_schema(L);
  lua_createtable(L, (int)schema->message_count, 0);
  lua_Integer n = 0;
  for (uint32_t i = 0; i < schema->message_count; i++) {
    if (schema->messages[i]->map_entry) continue;
    lua_pushstring(L, schema->messages[i]->name);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* schema:enums() -> names of the enums */
static int schema_enums(lua_State *L) {
  const Schema *schema = check_schema(L);
  lua_createtable(L, (int)schema->enum_count, 0);
  for (uint32_t i = 0; i < schema->enum_count; i++) {
    lua_pushstring(L, schema->enums[i]->name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* schema:methods() -> list of what describe gives of a method */
static int schema_methods(lua_State *L) {
  const Schema *schema = check_schema(L);
  lua_newtable(L);
  lua_Integer n = 0;
  for (uint32_t i = 0; i < schema->service_count; i++) {
    const Service *service = schema->services[i];
    for (uint32_t j = 0; j < service->method_count; j++) {
      schema_describe_method(L, &service->methods[j]);
      lua_rawseti(L, -2, ++n);
    }
  }
  return 1;
}

/* schema:describe(name) -> table | nil */
static int schema_describe_name(lua_State *L) {
  const Schema *schema = check_schema(L);
  size_t len;
  const char *name = luaL_checklstring(L, 2, &len);
  schema_describe(L, schema, name, len);
  return 1;
}

/* schema:documentation(name) -> text | nil; reads the comments of the whole set the first time */
static int schema_documentation(lua_State *L) {
  check_schema(L);
  luaL_checkstring(L, 2);
  if (lua_getiuservalue(L, 1, DOCUMENTATION_VALUE) == LUA_TNIL) {
    size_t len;
    lua_getiuservalue(L, 1, SET_VALUE);
    const char *set = lua_tolstring(L, -1, &len);
    schema_push_documentation(L, (const uint8_t *)set, len);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, DOCUMENTATION_VALUE);
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static int schema_tostring(lua_State *L) {
  const Schema *schema = check_schema(L);
  lua_pushfstring(L, "wgtwo.schema (%d messages, %d services)", (int)schema->message_count, (int)schema->service_count);
  return 1;
}

static const luaL_Reg methods[] = {
  { "type", schema_type },
  { "types", schema_types },
  { "enums", schema_enums },
  { "methods", schema_methods },
  { "describe", schema_describe_name },
  { "documentation", schema_documentation },
  { NULL, NULL },
};

/* Makes a metatable of this name and puts it in the registry under `key`. Leaves it on the stack. */
static void make_metatable(lua_State *L, const char *name, const void *key) {
  lua_createtable(L, 0, 5);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

static void set_function(lua_State *L, const char *name, lua_CFunction function) {
  lua_pushcfunction(L, function);
  lua_setfield(L, -2, name);
}

void schema_register(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &handles_key);
  make_metatable(L, "wgtwo.type", &type_metatable_key);
  set_function(L, "__tostring", type_tostring);
  lua_pop(L, 1);
  make_metatable(L, "wgtwo.schema", &schema_metatable_key);
  set_function(L, "__tostring", schema_tostring);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  set_function(L, "schema", core_schema);
}
