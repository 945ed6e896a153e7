/* Any bytes as a FileDescriptorSet: a schema or a reason, and of a schema every description, every lookup and every
 * comment. */

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "encode.h"
#include "json.h"
#include "message.h"
#include "schema.h"

/* Goes through a schema from Lua. What raises, or is not what it should be, is a finding. */
static const char script[] =
    "local core, set = ...\n"
    "local schema, reason = core.schema(set)\n"
    "if not schema then assert(type(reason) == 'string' and #reason > 0 and not reason:find('[^ -~]')) return end\n"
    "for _, name in ipairs(schema:types()) do\n"
    "  local type = assert(schema:type(name))\n"
    "  assert(tostring(type) == name)\n"
    "  local description = schema:describe(name)\n"
    "  assert(description.kind == 'message')\n"
    "  local message = assert(core.decode(type, ''))\n"
    "  for _, field in ipairs(description.fields) do\n"
    "    local _ = message[field.name]\n"
    "    assert(not core.has(message, field.name))\n"
    "  end\n"
    "  for _, oneof in ipairs(description.oneofs) do assert(core.which(message, oneof) == nil) end\n"
    "  assert(next(core.totable(message)) == nil)\n"
    "  core.tojson(message)\n"
    "  pcall(function() return message.no_such_field end)\n"
    "  schema:documentation(name)\n"
    "end\n"
    "for _, name in ipairs(schema:enums()) do assert(schema:describe(name).kind == 'enum') end\n"
    "for _, method in ipairs(schema:methods()) do\n"
    "  assert(schema:describe(method.name).name == method.name)\n"
    "  assert(schema:describe(method.service).kind == 'service')\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
  lua_State *L = luaL_newstate();
  if (L == NULL) abort();
  luaL_openlibs(L);
  if (luaL_loadstring(L, script) != LUA_OK) abort();
  lua_newtable(L);
  schema_register(L);
  message_register(L);
  encode_register(L);
  json_register(L);
  lua_pushlstring(L, (const char *)bytes, len);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    fprintf(stderr, "descriptor_set: %s\n", lua_tostring(L, -1));
    abort();
  }
  lua_close(L);
  return 0;
}
