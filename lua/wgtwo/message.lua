--- Messages: making, reading and writing them.
--
-- Indexing a message gives its fields and nothing else (`event.sms_event.text`); everything else is a function here.
-- A field that is not set reads as its default, an absent message as nil; an unknown field name raises.
--
-- | proto | Lua |
-- |---|---|
-- | integers | integer, range-checked; uint64 in two's complement |
-- | float, double, bool, string, bytes | number, number, boolean, string (valid UTF-8, no `\0`), string |
-- | enum | its name; an unknown number stays a number; both are accepted |
-- | message | a message when read; a table or a message when sent |
-- | repeated, map | a sequence, a table; always there |
-- | Timestamp, Duration | `{seconds, nanos}` when read; a number, that table, or the JSON string when sent |
--
-- @module wgtwo.message

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local options = require "wgtwo.options"
local schema = require "wgtwo.schema"

local message = {}

-- The type that a function's first argument names: by name, a type itself, or any message of it.
local function type_of(kind)
  if type(kind) ~= "string" and core.is_message(kind) then return core.type(kind) end
  return schema.type(kind, 3) -- a tail call: 2 is the function here, 3 the script
end

-- A function of the core, with its errors at the line of the script that called the function here.
local function checked(f, first, second)
  local ok, result = pcall(f, first, second)
  if not ok then error(result, 3) end
  return result
end

local function check_string(where, what, value)
  if type(value) ~= "string" then
    error(("message.%s: %s must be a string, not %s"):format(where, what, type(value)), 3)
  end
end

local function failed(code, text)
  return nil, errors.new{ kind = "decode", code = code, message = text }
end

--- Makes a message from a table.
-- @tparam string kind the type's full name, or an unambiguous ending
-- @tparam[opt] table fields
-- @treturn message
-- @raise a field that the type does not have, or a value that does not fit, by its path
-- @usage local m = message.new("wgtwo.common.v0.PhoneNumber", { e164 = "+4799990000" })
--   print(m.e164)
function message.new(kind, fields)
  local of = type_of(kind)
  local bytes = checked(core.encode, of, fields or {})
  return assert(core.decode(of, bytes))
end

--- The bytes of a table or message.
-- @tparam string kind
-- @tparam table|message fields
-- @treturn string in protobuf's wire format
-- @raise a field that the type does not have, or a value that does not fit, by its path
-- @usage local bytes = message.encode("wgtwo.common.v0.PhoneNumber", { e164 = "+4799990000" })
function message.encode(kind, fields)
  local bytes = checked(core.encode, type_of(kind), fields) -- no tail call, for the level of errors
  return bytes
end

--- A message from its bytes.
-- @tparam string kind
-- @tparam string bytes
-- @treturn ?message
-- @treturn ?wgtwo.error of kind "decode" when the bytes are no message of that type
-- @usage local m = assert(message.decode("wgtwo.common.v0.PhoneNumber", bytes))
function message.decode(kind, bytes)
  check_string("decode", "bytes", bytes)
  local m, text = core.decode(type_of(kind), bytes)
  if m == nil then return failed("invalid_message", text) end
  return m
end

--- A message as plain tables, all the way down; only what is set is in it.
-- @function totable
-- @tparam message m
-- @treturn table
-- @usage for name, value in pairs(message.totable(m)) do print(name, value) end
message.totable = core.totable

local json_options = {
  names = { type = "string", one_of = { "json", "proto" }, default = "json" },
  indent = { type = "integer", min = 0, max = 16 },
}

--- A message as JSON, by proto3's mapping: 64-bit integers are strings, bytes are base64, times are strings.
-- @tparam message m
-- @tparam[opt] table given `names`: "json" (lowerCamelCase, the default) or "proto"; `indent`: spaces a level, one line
--   without
-- @treturn string
-- @usage print(message.tojson(event.message, { indent = 2 }))
function message.tojson(m, given)
  local text = checked(core.tojson, m, options.check("message.tojson", given, json_options))
  return text
end

--- A message from JSON; field names of either kind are read.
-- @tparam string kind
-- @tparam string text
-- @treturn ?message
-- @treturn ?wgtwo.error of kind "decode": where the text is no JSON, or not of that type
-- @usage local m = assert(message.fromjson("wgtwo.common.v0.PhoneNumber", '{"e164":"+4799990000"}'))
function message.fromjson(kind, text)
  check_string("fromjson", "the text", text)
  local m, why = core.fromjson(type_of(kind), text)
  if m == nil then return failed("invalid_json", why) end
  return m
end

--- Whether a field is set: for a plain scalar, whether it differs from its default.
-- @function has
-- @tparam message m
-- @tparam string field
-- @treturn boolean
-- @raise a field that the type does not have
-- @usage if message.has(event.message, "metadata") then … end
message.has = core.has

--- Which member of a oneof is set.
-- @function which
-- @tparam message m
-- @tparam string oneof
-- @treturn ?string the member's name
-- @raise a oneof that the type does not have
-- @usage message.which(event.message, "event") --> "sms_event"
message.which = core.which

--- The full name of a message's type.
-- @function typename
-- @tparam message m
-- @treturn string
-- @usage message.typename(event.sms_event) --> "wgtwo.events.v0.SmsEvent"
message.typename = core.typename

--- Whether a value is a message.
-- @function is
-- @param value
-- @treturn boolean
-- @usage message.is({}) --> false
message.is = core.is_message

return message
